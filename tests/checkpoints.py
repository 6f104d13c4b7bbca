"""Writes tiny random checkpoints in the layouts that users have: sentence-transformers folders and plain ones."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    JinaEmbeddingsV3Config,
    JinaEmbeddingsV3Model,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from latechunk.models.adapter_manifest import AdapterManifest, write_adapter_manifest
from latechunk.models.catalogue import Task
from tests.conftest import SCRIPTS

TRAINING_TEXT = [*SCRIPTS.values(), "query: what is it? passage: it is the capital, and it has people."] * 3


def train_wordpiece() -> PreTrainedTokenizerFast:
    """Every character, alone and within a word, and the most frequent words.

    The library's trainers for word pieces and Unigram break ties by chance: each run would test another vocabulary.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = _count_words(normalizer, splitter)
    characters = sorted({character for word in words for character in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *characters, *("##" + one for one in characters), *_most_frequent(words)][:600]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = _template(tokenizer, "[CLS]", "[SEP]")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def train_unigram() -> PreTrainedTokenizerFast:
    """In the way of XLM-RoBERTa: NFKC, a mark for each word's start; every character and the most frequent parts.

    Signs are pieces of their own.
    """
    normalizer, splitter = normalizers.NFKC(), pre_tokenizers.Metaspace()
    parts: Counter[str] = Counter()
    for word, count in _count_words(normalizer, splitter).items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + 7, len(word) + 1)):
                part = word[start:end]
                if len(part) == 1 or not any(unicodedata.category(one).startswith("P") for one in part):
                    parts[part] += count
    pieces = [*sorted(part for part in parts if len(part) == 1), *_most_frequent(parts)][:495]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    total = sum(parts[piece] for piece in pieces)
    vocab = [*((one, 0.0) for one in special), *((piece, math.log(parts[piece] / total)) for piece in pieces)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=special.index("<unk>")))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = _template(tokenizer, "<s>", "</s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        bos_token="<s>",
        eos_token="</s>",
    )


def train_bytes() -> PreTrainedTokenizerFast:
    """In the way of ModernBERT and GPT: byte-level BPE, several tokens to a character outside the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    tokenizer.post_processor = _template(tokenizer, "<s>", "</s>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", cls_token="<s>", sep_token="</s>")


def write_bert(
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    positions: int = 128,
    pooling: str = "mean",
    dense: bool = False,
    normalize: bool = True,
    include_prompt: bool = True,
    prompts: dict[str, str] | None = None,
) -> Path:
    """A sentence-transformers folder: BERT, Pooling, Dense if wanted, Normalize if wanted."""
    plain = write_plain(folder.parent / f"{folder.name}-plain", tokenizer or train_wordpiece(), positions)
    modules = [Transformer(str(plain)), Pooling(32, pooling_mode=pooling, include_prompt=include_prompt)]
    if dense:
        modules.append(Dense(32, 16))
    if normalize:
        modules.append(Normalize())
    model = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
    model.save(str(folder), create_model_card=False)
    return folder


def write_plain(folder: Path, tokenizer: PreTrainedTokenizerFast, positions: int = 128, kind: str = "bert") -> Path:
    """A transformers folder, which does not say how it is pooled."""
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.2,
    )
    if kind == "bert":
        model = BertModel(BertConfig(**sizes, pad_token_id=tokenizer.pad_token_id))
    else:
        model = XLMRobertaModel(XLMRobertaConfig(**sizes, pad_token_id=tokenizer.pad_token_id))
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


JINA_ADAPTERS = ("retrieval_query", "retrieval_passage", "separation", "classification", "text_matching")
JINA_TARGETS = (
    *("word_embeddings", "token_type_embeddings", "q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2", "dense"),
)


TINY = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, initializer_range=0.2)


def write_jina(folder: Path, *, modules: bool = False, sizes: dict[str, Any] | None = None) -> Path:
    """A random jina-embeddings-v3 in its released layout: the base in bfloat16, and five LoRA adapters in subfolders.

    Args:
        folder: To be made.
        modules: Whether its files say how it is pooled, as sentence-transformers has it.
        sizes: Of its configuration; None for a tiny one, empty for the released ones.
    """
    from peft import LoraConfig, get_peft_model

    tokenizer = train_unigram()
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), **TINY} if sizes is None else sizes
    config = JinaEmbeddingsV3Config(**sizes, pad_token_id=tokenizer.pad_token_id)
    config.matryoshka_dimensions = [config.hidden_size // 4, config.hidden_size // 2, config.hidden_size]
    base = JinaEmbeddingsV3Model(config).to(torch.bfloat16)
    plain = folder.parent / f"{folder.name}-plain" if modules else folder
    base.save_pretrained(str(plain))
    tokenizer.save_pretrained(str(plain))
    if modules:
        pooled = [Transformer(str(plain)), Pooling(config.hidden_size, pooling_mode="mean"), Normalize()]
        SentenceTransformer(modules=pooled, device="cpu").save(str(folder), create_model_card=False)
    for seed, name in enumerate(JINA_ADAPTERS, start=1):
        torch.manual_seed(seed)
        lora = LoraConfig(r=4, lora_alpha=1, target_modules=list(JINA_TARGETS))
        adapted = get_peft_model(AutoModel.from_pretrained(str(folder), dtype=torch.bfloat16), lora)
        for weight_name, weight in adapted.named_parameters():
            if "lora_" in weight_name:
                torch.nn.init.normal_(weight, std=0.5 if config.hidden_size < 100 else 0.02)
        adapted.to(torch.bfloat16).save_pretrained(str(folder / name))
    return folder


TRAINED = (
    Task(name="retrieval.passage", adapter="retrieval_passage", prompt=""),
    Task(name="retrieval.query", adapter="retrieval_query", prompt=""),
)


def write_trained(
    folder: Path, base: Path, *, queries: bool = True, lora: dict[str, Any] | None = None, **fields: Any
) -> Path:
    """A folder of random adapters over a sentence-transformers folder, as training writes it.

    Args:
        folder: To be made.
        base: What :func:`write_bert` has written.
        queries: Whether there is an adapter for queries.
        lora: Settings of peft that differ from rank 4 over all linear layers of the encoder.
        fields: Of the bundle, that differ from its defaults.
    """
    from peft import LoraConfig, get_peft_model

    options = {"r": 4, "lora_alpha": 8, "target_modules": r"encoder\..*\.(query|key|value|dense)", **(lora or {})}
    tasks = TRAINED[: 2 if queries else 1]
    for seed, task in enumerate(tasks, start=1):
        torch.manual_seed(seed)
        adapted = get_peft_model(AutoModel.from_pretrained(str(base), dtype=torch.float32), LoraConfig(**options))
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.2)
        adapted.save_pretrained(str(folder / task.adapter))
    bundle = AdapterManifest(
        base="tiny",
        base_weights_sha256=hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest(),
        tasks=tasks,
        document_task="retrieval.passage",
        query_task="retrieval.query" if queries else None,
        **fields,
    )
    write_adapter_manifest(folder, bundle)
    return folder


def _count_words(normalizer: normalizers.Normalizer, splitter: pre_tokenizers.PreTokenizer) -> Counter[str]:
    return Counter(
        word for text in TRAINING_TEXT for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )


def _most_frequent(counts: Counter[str]) -> list[str]:
    return sorted((one for one in counts if len(one) > 1), key=lambda one: (-counts[one] * len(one), one))


def _template(tokenizer: Tokenizer, first: str, last: str) -> processors.TemplateProcessing:
    ids = [(name, tokenizer.token_to_id(name)) for name in (first, last)]
    return processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)


JINA_BERT_CODE = {False: "jinaai/jina-bert-implementation", True: "jinaai/jina-bert-v2-qk-post-norm"}


def write_jina_bert(
    folder: Path, *, post_norm: bool = False, modules: bool = True, sizes: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """A random jina-embeddings-v2 in its published layout: settings that name code of their own.

    Args:
        folder: To be made.
        post_norm: The layout of jina-embeddings-v2-base-code, in place of the others'.
        modules: Whether its files say how it is pooled, as sentence-transformers has it.
        sizes: Of its configuration; None for a tiny one.
        changes: Of its configuration, after all else.
    """
    from latechunk.models.jina_bert import JinaBertConfig, JinaBertModel

    tokenizer = train_bytes() if post_norm else train_wordpiece()
    sizes = sizes or dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=6, intermediate_size=96)
    code = JINA_BERT_CODE[post_norm]
    settings = {
        "_name_or_path": code,
        "architectures": ["JinaBertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        **({"attn_implementation": "torch"} if post_norm else {}),
        "auto_map": {
            "AutoConfig": f"{code}--configuration_bert.JinaBertConfig",
            "AutoModel": f"{code}--modeling_bert.JinaBertModel",
        },
        "classifier_dropout": None,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8192,
        "model_max_length": 8192,
        "model_type": "bert",
        "pad_token_id": tokenizer.pad_token_id,
        "position_embedding_type": "alibi",
        "torch_dtype": "float32",
        "transformers_version": "4.26.0",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": len(tokenizer),
        **sizes,
        **changes,
    }
    torch.manual_seed(0)
    own = {name: value for name, value in settings.items() if name not in ("model_type", "attn_implementation")}
    model = JinaBertModel(JinaBertConfig(**own, qk_post_norm=post_norm))
    _write_random(folder, model, settings, tokenizer)
    if modules:
        _write_modules(folder, settings["hidden_size"])
        own = {"max_seq_length": 8192, "do_lower_case": False, "model_args": {"trust_remote_code": True}}
        (folder / "sentence_bert_config.json").write_text(json.dumps(own))
    return folder


def write_pplx(folder: Path, *, context: bool = False, sizes: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A random pplx-embed-v1 in its published layout, or a pplx-embed-context-v1, which has no modules.json.

    Args:
        folder: To be made.
        context: Of the second kind.
        sizes: Of its configuration; None for a tiny one.
        changes: Of its configuration, after all else.
    """
    from latechunk.models.pplx_qwen3 import PplxQwen3Config, PplxQwen3Model

    tokenizer = train_end_of_text()
    end = tokenizer.eos_token_id
    tiny = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96)
    settings = {
        "architectures": ["PPLXQwen3Model"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_implementation": "sdpa",
        "auto_map": {
            "AutoConfig": "configuration.PPLXQwen3Config",
            "AutoModel": "modeling.PPLXQwen3ContextualModel" if context else "modeling.PPLXQwen3Model",
        },
        "bos_token_id": end,
        "dtype": "float32",
        "eos_token_id": end,
        "head_dim": 32,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 32768,
        "model_type": "bidirectional_pplx_qwen3",
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "transformers_version": "5.0.0.dev0",
        "use_bidirectional_attention": True,
        "use_cache": False,
        "use_sliding_window": False,
        "vocab_size": len(tokenizer),
        **(sizes or tiny),
        **changes,
    }
    torch.manual_seed(0)
    _write_random(folder, PplxQwen3Model(PplxQwen3Config(**settings)), settings, tokenizer)
    if not context:
        quantizer = {"idx": 2, "name": "2", "path": "", "type": "st_quantize.FlexibleQuantizer"}
        _write_modules(folder, settings["hidden_size"], {**quantizer, "kwargs": ["quantization"]})
    return folder


def train_end_of_text() -> PreTrainedTokenizerFast:
    """In the way of Qwen: byte-level BPE that adds nothing, and one special token, which ends texts and pads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|endoftext|>")


def _write_random(
    folder: Path, model: PreTrainedModel, settings: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    """A folder of settings, tokenizer and weights, in which a forgotten bias or norm would be seen."""
    small = model.config.hidden_size < 100
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_norm = "norm" in name.lower() and name.endswith("weight")
            std = 0.2 if is_norm or small else 0.02
            torch.nn.init.normal_(weight, mean=1.0 if is_norm else 0.0, std=std)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    tokenizer.save_pretrained(str(folder))


def _write_modules(folder: Path, hidden: int, *more: dict[str, Any]) -> None:
    types = [("", "Transformer"), ("1_Pooling", "Pooling")]
    entries = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(types)
    ]
    (folder / "modules.json").write_text(json.dumps([*entries, *more]))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": hidden, **modes}))
