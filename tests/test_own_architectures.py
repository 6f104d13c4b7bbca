"""JinaBERT and the bidirectional Qwen3 of latechunk: equal to their description, loaded as they are published."""

import json
import logging
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

from latechunk import Document, Encoder, Index, SentenceChunker, TokenChunker
from latechunk.errors import IndexMismatchError, InputError, ModelError, PoolingError, SpanError
from latechunk.models.catalogue import KNOWN_MODELS
from latechunk.models.jina_bert import alibi_slopes
from latechunk.models.pplx_qwen3 import TanhInt8
from latechunk.storage.vectors import pack, unpack
from latechunk.types import PoolingTask, Tokens
from tests import references
from tests.checkpoints import write_jina_bert, write_pplx
from tests.conftest import SCRIPTS

TEXT = " ".join(SCRIPTS.values())
LAYOUTS = ("jina-v2", "jina-v2-code", "pplx", "pplx-context")


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("own")
    return {
        "jina-v2": write_jina_bert(place / "jina-v2"),
        "jina-v2-code": write_jina_bert(place / "jina-v2-code", post_norm=True, modules=False),
        "pplx": write_pplx(place / "pplx"),
        "pplx-context": write_pplx(place / "pplx-context", context=True),
    }


@pytest.fixture(scope="session")
def encoders(folders):
    return {name: Encoder.load(str(folder), dtype="float32") for name, folder in folders.items()}


def reference(folder, ids):
    """States of one text, by NumPy."""
    config = json.loads((folder / "config.json").read_text())
    compute = references.jina_bert if config["model_type"] == "bert" else references.pplx_qwen3
    return compute(config, load_file(folder / "model.safetensors"), np.asarray(ids))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def some_ids(n, seed=0):
    return np.random.default_rng(seed).integers(5, 200, n)


def states_of(encoder, rows, **options):
    """States of a padded batch, by the encoder's model."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[encoder._model.pad_id] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.inference_mode():
        return encoder._model.transformer.model(input_ids=ids, attention_mask=mask, **options).last_hidden_state


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("length", [1, 7, 130, 1500])
def test_states_are_those_of_the_description(folders, encoders, layout, length):
    ids = some_ids(length)

    got = states_of(encoders[layout], [ids])[0].numpy()

    expected = reference(folders[layout], ids)
    np.testing.assert_allclose(got, expected, atol=2e-5)
    np.testing.assert_allclose(unit(got.mean(axis=0)), unit(expected.mean(axis=0)), atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_changes_nothing(folders, layout, attention):
    encoder = Encoder.load(str(folders[layout]), dtype="float32", attention=attention)
    rows = [some_ids(n, seed=n) for n in (130, 57, 57, 7, 1)]

    got = states_of(encoder, rows).numpy()

    assert encoder.runtime["attention"] == attention
    for row, states in zip(rows, got, strict=True):
        np.testing.assert_allclose(states[: len(row)], reference(folders[layout], row), atol=2e-5)


def test_the_second_kind_of_token_has_an_embedding_of_its_own(encoders):
    ids = some_ids(9)
    types = torch.tensor([[0] * 4 + [1] * 5])

    assert torch.equal(
        states_of(encoders["jina-v2"], [ids], token_type_ids=types * 0), states_of(encoders["jina-v2"], [ids])
    )
    other = states_of(encoders["jina-v2"], [ids, ids[:6]], token_type_ids=torch.cat([types, types]))
    alone = states_of(encoders["jina-v2"], [ids[:6]], token_type_ids=types[:, :6])
    np.testing.assert_allclose(other[1, :6].numpy(), alone[0].numpy(), atol=1e-5)
    assert not torch.allclose(other[0], states_of(encoders["jina-v2"], [ids])[0], atol=0.1)


def test_slopes_of_heads_that_are_no_power_of_two_are_filled_from_between():
    assert alibi_slopes(4) == [2**-2, 2**-4, 2**-6, 2**-8]
    assert alibi_slopes(12) == [*(2**-k for k in range(1, 9)), 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_precision_stays_near(folders, encoders, layout):
    half = Encoder.load(str(folders[layout]), dtype="bfloat16")

    got, expected = half.encode_query(TEXT), encoders[layout].encode_query(TEXT)

    assert half._model.transformer.model.dtype == torch.bfloat16
    assert got @ expected > 0.999


@pytest.mark.parametrize("layout", ["jina-v2", "jina-v2-code", "pplx"])
def test_gradients_reach_all_weights(folders, encoders, layout):
    model = Encoder.load(str(folders[layout]), dtype="float32")._model.transformer.model

    model(input_ids=torch.tensor(some_ids(20))[None], attention_mask=None).last_hidden_state.square().sum().backward()

    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_load_as_published_without_their_code_and_without_a_word(tmp_path, folders, capfd, caplog, layout):
    for name in ("modeling", "configuration", "st_quantize", "modeling_bert"):
        (folders[layout] / f"{name}.py").write_text("raise SystemExit('code of the repository ran')")

    with caplog.at_level(logging.WARNING):
        encoder = Encoder.load(str(folders[layout]), dtype="float32")

    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
    settings = encoder.settings
    assert settings["window_tokens"] == (32_768 if "pplx" in layout else 8_192)
    assert settings["document_prompt"] == settings["query_prompt"] == ""
    assert settings["dims"] == 48


@pytest.mark.parametrize("layout", ["jina-v2", "jina-v2-code"])
def test_a_text_of_its_own_gets_the_mean_of_its_tokens(folders, encoders, layout):
    encoder = encoders[layout]
    ids = encoder._tokenizer.encode(TEXT).ids

    got = Encoder.load(str(folders[layout]), dtype="float32", special_tokens="include").encode_query(TEXT)

    np.testing.assert_allclose(got, unit(reference(folders[layout], ids).mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(
        encoder.encode_query(TEXT), unit(reference(folders[layout], ids)[1:-1].mean(axis=0)), atol=1e-5
    )


def test_int8_is_the_rounded_tanh_of_the_mean():
    means = torch.tensor([[0.0, 0.003, -0.004, 0.5, -9.0]])

    assert TanhInt8()({"sentence_embedding": means})["sentence_embedding"].tolist() == [[0, 0, -1, 59, -127]]


def int8(means):
    return unit(np.round(127 * np.tanh(means)))


@pytest.mark.parametrize("layout", ["pplx", "pplx-context"])
def test_a_text_of_its_own_gets_the_published_int8_vector(folders, encoders, layout):
    ids = encoders[layout]._tokenizer.encode(TEXT).ids

    got = encoders[layout].encode_query(TEXT)

    # A number that lies between two whole ones to within 1e-5 may be rounded either way.
    np.testing.assert_allclose(got, int8(reference(folders[layout], ids).mean(axis=0)), atol=5e-3)


def test_int8_vectors_are_stored_in_int8_without_loss(encoders):
    ranges = [(start, start + 5) for start in range(0, 40, 5)]
    (got,) = encoders["pplx-context"].encode_spans([task_of(40, *ranges)])

    np.testing.assert_allclose(unpack(b"".join(pack(got, "int8")), got.shape[1], "int8"), got, atol=2e-7)


# Chunks with separators between them.


def joined(folder, encoder, chunks):
    """Vectors of chunks of ids, as the published model makes them: by NumPy, from its description."""
    separator = encoder.settings["separator_id"]
    ids = [token for chunk in chunks for token in [separator, *chunk]][1:]
    states = reference(folder, ids)
    bounds = np.cumsum([0, *(len(chunk) + 1 for chunk in chunks)])
    return int8(np.stack([states[begin : end - 1].mean(axis=0) for begin, end in pairwise(bounds)]))


def task_of(n, *ranges):
    places = np.arange(n)
    return PoolingTask(Tokens((), some_ids(n), np.stack([places, places + 1], axis=1)), np.array(ranges))


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 40)],
        [(0, 5), (5, 17), (17, 20)],
        [(0, 1), (1, 2), (2, 40)],
        [(3, 9), (9, 12), (15, 33)],  # with gaps, which nobody reads
        [(0, 10), (6, 20), (19, 40)],  # overlapping, as when a token belongs to two chunks
    ],
)
def test_chunks_are_read_with_separators_between_them(folders, encoders, ranges):
    encoder, folder = encoders["pplx-context"], folders["pplx-context"]
    task = task_of(40, *ranges)

    (got,) = encoder.encode_spans([task])

    chunks = [task.tokens.ids[start:end] for start, end in ranges]
    np.testing.assert_allclose(got, joined(folder, encoder, chunks), atol=5e-3)


def test_each_granularity_is_read_by_itself(encoders):
    encoder = encoders["pplx-context"]
    fine, coarse = [(0, 10), (10, 20), (20, 40)], [(0, 20), (20, 40)]

    both, one, other = encoder.encode_spans(
        [task_of(40, *fine, *coarse, (0, 40)), task_of(40, *fine), task_of(40, *coarse)]
    )

    np.testing.assert_allclose(both[:3], one, atol=1e-6)
    np.testing.assert_allclose(both[3:5], other, atol=1e-6)
    np.testing.assert_allclose(both[5:], encoder.encode_spans([task_of(40, (0, 40))])[0], atol=1e-6)


def test_plain_late_chunking_is_there_by_choice(folders, encoders):
    plain = Encoder.load(str(folders["pplx-context"]), dtype="float32", context="windows")
    task = task_of(40, (0, 10), (10, 40))

    (got,) = plain.encode_spans([task])

    states = reference(folders["pplx-context"], task.tokens.ids)
    np.testing.assert_allclose(got, int8(np.stack([states[:10].mean(axis=0), states[10:].mean(axis=0)])), atol=5e-3)
    assert plain.settings["separator_id"] is None
    assert np.abs(got - encoders["pplx-context"].encode_spans([task])[0]).max() > 0.01


def test_long_documents_are_read_in_windows_that_hold_separators(folders, encoders):
    ranges = [(start, min(start + 25, 990)) for start in range(0, 990, 25)]
    task = task_of(990, *ranges)
    windowed = Encoder.load(str(folders["pplx-context"]), dtype="float32", window_tokens=400, overlap_tokens=100)
    told = []

    (got,) = windowed.encode_spans([task], lambda number, n_tokens: told.append((number, n_tokens)))

    (whole,) = encoders["pplx-context"].encode_spans([task])
    assert got.shape == whole.shape == (40, 48)
    assert (got * whole).sum(axis=1).min() > 0.5
    assert sum(n_tokens for _, n_tokens in told) == 990
    assert len(told) > 2


def test_ranges_that_hold_no_token_are_refused(encoders):
    with pytest.raises(SpanError, match="a range of tokens needs 0 <= start < end <= 40, got"):
        encoders["pplx-context"].encode_spans([task_of(40, (0, 10), (12, 12))])


def test_an_index_remembers_that_chunks_are_separated(tmp_path, folders, encoders):
    encoder = encoders["pplx-context"]
    documents = [Document(str(n), text) for n, text in enumerate(SCRIPTS.values())]
    with Index.create(tmp_path / "x", encoder=encoder, chunker=SentenceChunker(max_tokens=40)) as index:
        index.add(documents)
        expected = index.search("Berlin", k=3)
        assert index.info().encoder["separator_id"] == encoder.settings["separator_id"]

    with Index.open(tmp_path / "x", dtype="float32") as index:
        assert index.search("Berlin", k=3) == expected
    plain = Encoder.load(str(folders["pplx-context"]), dtype="float32", context="windows")
    with pytest.raises(IndexMismatchError, match="separator_id"):
        Index.open(tmp_path / "x", encoder=plain)
    with Index.create(tmp_path / "y", encoder=plain, chunker=TokenChunker(max_tokens=20)) as index:
        index.add(documents)
    with Index.open(tmp_path / "y", dtype="float32") as index:
        index.add([Document("new", TEXT)])
        assert index.info().encoder["separator_id"] is None


def test_a_pickled_encoder_reads_as_before(encoders):
    again = pickle.loads(pickle.dumps(encoders["pplx-context"]))
    task = task_of(40, (0, 10), (10, 40))

    np.testing.assert_array_equal(again.encode_spans([task])[0], encoders["pplx-context"].encode_spans([task])[0])


@pytest.mark.parametrize("layout", ["jina-v2", "pplx"])
def test_only_models_trained_on_separated_chunks_read_so(folders, layout):
    with pytest.raises(InputError, match=r"is not known to have been trained on separated chunks"):
        Encoder.load(str(folders[layout]), context="chunks")
    assert {model.name for model in KNOWN_MODELS if model.reads_chunks} == {
        "pplx-embed-context-v1-0.6b",
        "pplx-embed-context-v1-4b",
    }


# What does not fit.


def test_code_of_another_repository_may_mean_another_wiring(tmp_path):
    code = {"AutoModel": "jinaai/jina-bert-v2-qk-devlin-norm-1e-2--modeling_bert.JinaBertModel"}
    folder = write_jina_bert(tmp_path / "es", post_norm=True, auto_map=code)

    with pytest.raises(
        ModelError, match=r"names the code of jinaai/jina-bert-v2-qk-devlin-norm-1e-2, which is never run"
    ):
        Encoder.load(str(folder))
    with pytest.raises(ModelError, match="cannot be loaded: its configuration names code"):
        Encoder.load("jina-embeddings-v2-base-es")


def test_another_feed_forward_layer_is_refused(tmp_path, folders):
    folder = copy_with(folders["jina-v2"], tmp_path / "copy", "config.json", feed_forward_type="original")

    with pytest.raises(ModelError, match="feed_forward_type must be geglu or reglu in a JinaBERT, got 'original'"):
        Encoder.load(str(folder))


def copy_with(folder, copy, name, **changes):
    copy.mkdir()
    for path in folder.rglob("*.*"):
        if path.is_file():
            (copy / path.relative_to(folder)).parent.mkdir(exist_ok=True)
            (copy / path.relative_to(folder)).write_bytes(path.read_bytes())
    content = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**content, **changes}))
    return copy


def test_a_model_that_says_nothing_of_its_pooling_is_refused(tmp_path):
    folder = write_jina_bert(tmp_path / "plain", modules=False, emb_pooler=None)

    with pytest.raises(PoolingError, match="does not say how its token embeddings are pooled"):
        Encoder.load(str(folder))
    assert Encoder.load(str(folder), pooling="mean").settings["dims"] == 48


def test_a_model_that_pools_otherwise_is_refused(tmp_path, folders):
    modes = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    folder = copy_with(folders["jina-v2"], tmp_path / "copy", "1_Pooling/config.json", **modes)

    with pytest.raises(PoolingError, match="pools by 'cls'"):
        Encoder.load(str(folder))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_that_lacks_weights_is_an_error(tmp_path, folders, layout):
    folder = copy_with(folders[layout], tmp_path / "copy", "config.json")
    weights = load_tensors(folder / "model.safetensors")
    lost = next(name for name in weights if "1." in name and ("value" in name or "v_proj" in name))
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=f"is incomplete: its files lack 1 weights .*{lost}"):
        Encoder.load(str(folder))


def test_a_module_of_the_repository_s_own_is_refused(tmp_path, folders):
    folder = copy_with(folders["pplx"], tmp_path / "copy", "config.json")
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "st_other.Thing"
    (folder / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(ModelError, match=r"wants 'st_other.Thing', which is code of its own"):
        Encoder.load(str(folder))


def test_prompts_of_the_files_are_used(tmp_path, folders):
    folder = copy_with(folders["jina-v2"], tmp_path / "copy", "config.json")
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "query: "}}))

    assert Encoder.load(str(folder)).settings["query_prompt"] == "query: "


def test_a_document_that_is_one_chunk_is_read_as_a_query_is(encoders):
    encoder = encoders["pplx-context"]
    (tokens,) = encoder.tokenize(["Berlin is the capital."])

    ((whole,),) = encoder.encode_spans([PoolingTask.whole(tokens)])

    np.testing.assert_allclose(whole, encoder.encode_query("Berlin is the capital."), atol=1e-6)
