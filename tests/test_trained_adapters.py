"""Adapters trained over a base: merged, switched off, refused when they do not fit, and recorded by an index."""

import builtins
import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel
from typer.testing import CliRunner

from latechunk import Document, Encoder, Index, LocalGlobal, TokenChunker
from latechunk.cli import app
from latechunk.embedding import choose_embedding
from latechunk.errors import IndexMismatchError, InputError, MissingDependencyError, ModelError
from latechunk.models import adapters as loading
from latechunk.models.adapter_manifest import AdapterManifest, read_adapter_manifest, write_adapter_manifest
from latechunk.models.adapters import load_adapters
from latechunk.models.catalogue import KNOWN_MODELS, Task, find_known_model
from latechunk.types import PoolingTask
from tests.checkpoints import TRAINED, write_bert, write_trained
from tests.conftest import SCRIPTS, FakeEncoder

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # when peft writes the adapters
]

TEXT = " ".join(SCRIPTS.values())
ADAPTERS = ("retrieval_passage", "retrieval_query")
TASKS = ("retrieval.passage", "retrieval.query")
LONG = LocalGlobal(
    local_layers=1,
    local_tokens=32,
    local_overlap=8,
    penalty=2.0,
    distance=24.0,
    width=4.0,
    block_tokens=32,
    mean_tokens=16,
)
SHA = "0" * 64


@pytest.fixture(autouse=True)
def _room_of_the_model(monkeypatch):
    """No more room for merged copies than the tiny model takes, as for a large one."""
    monkeypatch.setattr(loading, "ROOM", 0)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "bert", positions=128)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, base):
    return write_trained(tmp_path_factory.mktemp("trained") / "adapters", base, mode="blend", late_weight=0.3)


@pytest.fixture(scope="session")
def encoder(base, trained):
    return Encoder.load(str(base), adapters=str(trained), dtype="float32")


@pytest.fixture(scope="session")
def plain(base):
    return Encoder.load(str(base), dtype="float32")


@pytest.fixture
def copy(tmp_path, trained):
    return shutil.copytree(trained, tmp_path / "copy")


def load_base(base):
    return AutoModel.from_pretrained(str(base), dtype=torch.float32)


def document_of(encoder, text=TEXT):
    """The text as a span in a document, with another beside it."""
    (tokens,) = encoder.tokenize([text])
    return encoder.encode_spans([PoolingTask(tokens, np.array([[0, len(tokens)], [0, 1]]))])[0][0]


def states_of(model, encoder, text):
    """Mean of the content tokens of a short text, under a model of transformers or peft."""
    ids = encoder._tokenizer.encode(text, add_special_tokens=True).ids
    with torch.inference_mode():
        mean = model(torch.tensor([ids])).last_hidden_state[0][1:-1].mean(dim=0)
    return (mean / mean.norm()).numpy()


def change(folder, **fields):
    path = folder / "latechunk.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# What is computed.


@pytest.mark.parametrize(
    ("lora", "scaling", "rank"),
    [
        ({}, 8 / 4, 4),
        ({"use_rslora": True}, 8 / math.sqrt(4), 4),
        ({"rank_pattern": {"layer.1.attention.self.query": 2}}, 8 / 2, 2),
        ({"alpha_pattern": {"layer.1.attention.self.query": 3}}, 3 / 4, 4),
    ],
    ids=["plain", "rslora", "rank pattern", "alpha pattern"],
)
def test_merged_weights_are_the_layers_own_and_the_product_of_the_factors(tmp_path, base, lora, scaling, rank):
    folder = write_trained(tmp_path / "adapters", base, lora=lora)
    model, stem = load_base(base), "encoder.layer.1.attention.self.query"
    layer, own = model.get_submodule(stem), model.get_submodule(stem).weight
    before = own.detach().clone()

    adapters = load_adapters("tiny", model, folder, ADAPTERS)

    assert adapters.way == "merged"
    for name in ADAPTERS:
        file = load_file(folder / name / "adapter_model.safetensors")
        factors = [file[f"base_model.model.{stem}.lora_{one}.weight"] for one in "AB"]
        assert factors[0].shape[0] == rank
        with adapters.at_work(name):
            torch.testing.assert_close(layer.weight.data, before + scaling * factors[1] @ factors[0])
            assert layer.weight is not own
    with adapters.at_work(None):
        assert layer.weight is own
    assert torch.equal(own, before)


def test_merging_leaves_the_model_its_own_modules(base, trained):
    model, untouched = load_base(base), load_base(base)
    load_adapters("tiny", model, trained, ADAPTERS)

    assert [(path, type(module)) for path, module in model.named_modules()] == [
        (path, type(module)) for path, module in untouched.named_modules()
    ]
    for (name, got), (_, expected) in zip(model.named_parameters(), untouched.named_parameters(), strict=True):
        assert torch.equal(got, expected), name
    assert not hasattr(model, "peft_config")


@pytest.mark.parametrize("text", [SCRIPTS["Latin"], SCRIPTS["Han"]])
def test_merged_adapters_give_what_peft_gives_unmerged(base, trained, encoder, text):
    expected = [
        states_of(PeftModel.from_pretrained(load_base(base), str(trained / name)).eval(), encoder, text)
        for name in ADAPTERS
    ]

    np.testing.assert_allclose(document_of(encoder, text), expected[0], atol=1e-5)
    np.testing.assert_allclose(encoder.encode_query(text), expected[1], atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts([text], task="retrieval.query")[0], expected[1], atol=1e-5)
    assert abs(expected[0] @ expected[1]) < 0.99


def test_adapters_that_are_merged_and_switched_agree(tmp_path, base, trained, encoder):
    """Five adapters of which each changes nearly all weights take more room than the model."""
    switched = Encoder.load(str(base), adapters=str(many_adapters(tmp_path, base, trained)), dtype="float32")

    assert (encoder.runtime["adapters"], switched.runtime["adapters"]) == ("merged", "switched")
    np.testing.assert_allclose(document_of(switched), document_of(encoder), atol=1e-5)
    np.testing.assert_allclose(switched.encode_query(TEXT), encoder.encode_query(TEXT), atol=1e-5)


def test_a_small_model_merges_adapters_that_take_more_room_than_itself(tmp_path, base, trained, encoder, monkeypatch):
    monkeypatch.setattr(loading, "ROOM", 10_000_000)
    merged = Encoder.load(str(base), adapters=str(many_adapters(tmp_path, base, trained)), dtype="float32")

    assert merged.runtime["adapters"] == "merged"
    np.testing.assert_array_equal(document_of(merged), document_of(encoder))


def many_adapters(tmp_path, base, trained, n=5):
    folder = shutil.copytree(trained, tmp_path / "many")
    others = [Task(name=f"other {number}", adapter=f"other_{number}", prompt="") for number in range(n)]
    for task in others:
        shutil.copytree(folder / "retrieval_query", folder / task.adapter)
    write_adapter_manifest(folder, read_adapter_manifest(folder).replaced(tasks=(*TRAINED, *others)))
    return folder


@pytest.mark.parametrize("n", [0, 5], ids=["merged", "switched"])
def test_no_adapter_is_the_base_to_the_bit_before_and_after_one_was_at_work(tmp_path, base, trained, n):
    model, untouched = load_base(base), load_base(base).eval()
    folder = many_adapters(tmp_path, base, trained, n)
    adapters = load_adapters("tiny", model, folder, read_adapter_manifest(folder).task_set.adapters)
    ids = torch.arange(40)[None] + 5

    with torch.inference_mode():
        expected = untouched(ids).last_hidden_state
        first = model(ids).last_hidden_state
        with adapters.at_work("retrieval_query"):
            other = model(ids).last_hidden_state
        with adapters.at_work(None):
            last = model(ids).last_hidden_state

    assert torch.equal(first, expected)
    assert torch.equal(last, expected)
    assert not torch.allclose(other, expected)


def test_none_is_the_untrained_path_to_the_bit(base, encoder, plain):
    off = Encoder.load(str(base), adapters=None, dtype="float32")

    np.testing.assert_array_equal(document_of(off), document_of(plain))
    np.testing.assert_array_equal(off.encode_query(TEXT), plain.encode_query(TEXT))
    assert off.settings == plain.settings
    assert off.tasks == ()
    assert "adapters" not in off.runtime
    assert off.settings["adapters"] is off.settings["adapters_sha256"] is None


def test_a_folder_without_a_query_task_leaves_queries_to_the_base(tmp_path, base, encoder, plain):
    folder = write_trained(tmp_path / "adapters", base, queries=False)

    half = Encoder.load(str(base), adapters=str(folder), dtype="float32")

    document = document_of(half)
    np.testing.assert_allclose(document, document_of(encoder), atol=1e-6)
    np.testing.assert_array_equal(half.encode_query(TEXT), plain.encode_query(TEXT))
    np.testing.assert_array_equal(document_of(half), document)  # again, after the base was at work
    assert half.tasks == ("retrieval.passage",)
    assert (half.settings["document_task"], half.settings["query_task"]) == ("retrieval.passage", None)
    with pytest.raises(InputError, match=r"has the tasks retrieval\.passage, got 'retrieval\.query'"):
        Encoder.load(str(base), adapters=str(folder), query_task="retrieval.query")


def test_tasks_can_be_chosen(base, trained, encoder):
    symmetric = Encoder.load(str(base), adapters=str(trained), query_task="retrieval.passage", dtype="float32")

    assert encoder.tasks == TASKS
    np.testing.assert_allclose(symmetric.encode_query(TEXT), document_of(encoder), atol=1e-6)


def test_the_prompt_of_a_task_goes_before_its_texts(copy, base, encoder):
    tasks = (TRAINED[0].replaced(prompt="passage: "), TRAINED[1])
    write_adapter_manifest(copy, read_adapter_manifest(copy).replaced(tasks=tasks))

    prompted = Encoder.load(str(base), adapters=str(copy), dtype="float32")

    assert prompted.settings["document_prompt"] == "passage: "
    assert not np.allclose(document_of(prompted), document_of(encoder), atol=1e-3)
    np.testing.assert_allclose(prompted.encode_query(TEXT), encoder.encode_query(TEXT), atol=1e-6)


def test_long_texts_are_read_under_the_adapter_in_every_layer(base, copy):
    write_adapter_manifest(copy, read_adapter_manifest(copy).replaced(local_global=LONG))
    encoder = Encoder.load(str(base), adapters=str(copy), dtype="float32")
    hand = Encoder.load(str(base), adapters=None, local_global=LONG, window_tokens=8_192, dtype="float32")
    with encoder._model.adapters.at_work("retrieval_passage"):
        hand._model.transformer.model.load_state_dict(encoder._model.transformer.model.state_dict())

    np.testing.assert_allclose(document_of(encoder), document_of(hand), atol=1e-6)
    assert len(encoder.tokenize([TEXT])[0]) > LONG.local_tokens


def test_a_text_for_itself_is_read_without_the_adapter_of_documents(encoder, plain):
    (tokens,) = encoder.tokenize([TEXT])
    context = PoolingTask(tokens, np.array([[0, 2], [2, len(tokens)]]))
    done = []

    alone, within, again = encoder.encode_spans(
        [PoolingTask.whole(tokens), context, PoolingTask.whole(tokens)], lambda *one: done.append(one)
    )

    np.testing.assert_allclose(alone, plain.encode_texts([TEXT]), atol=1e-6)
    np.testing.assert_allclose(again, alone, atol=1e-6)
    for task in (None, "retrieval.passage"):
        np.testing.assert_allclose(encoder.encode_texts([TEXT], task=task), alone, atol=1e-6)
    assert not np.allclose(within, plain.encode_spans([context])[0], atol=1e-2)
    assert [sum(n for task, n in done if task == number) for number in range(3)] == [len(tokens)] * 3


def test_threads_with_different_tasks_never_mix(encoder):
    rng = np.random.default_rng(0)
    jobs = [((None, *TASKS)[n], list(SCRIPTS.values())[m]) for n, m in rng.integers(0, [3, len(SCRIPTS)], (150, 2))]

    def compute(job):
        return encoder.encode_query(job[1]) if job[0] is None else encoder.encode_texts([job[1]], task=job[0])[0]

    expected = {job: compute(job) for job in set(jobs)}
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(compute, jobs))

    for job, vector in zip(jobs, got, strict=True):
        np.testing.assert_allclose(vector, expected[job], atol=1e-5)


def test_in_bfloat16_the_sum_is_rounded_and_not_the_factors(base, trained, encoder):
    model = AutoModel.from_pretrained(str(base), dtype=torch.bfloat16)
    layer = model.get_submodule("encoder.layer.0.output.dense")
    own = layer.weight.detach().clone()
    file = load_file(trained / "retrieval_query" / "adapter_model.safetensors")
    a, b = (file[f"base_model.model.encoder.layer.0.output.dense.lora_{one}.weight"] for one in "AB")

    adapters = load_adapters("tiny", model, trained, ADAPTERS)

    with adapters.at_work("retrieval_query"):
        assert torch.equal(layer.weight.data, (own.float() + 2.0 * (b @ a)).to(torch.bfloat16))
    half = Encoder.load(str(base), adapters=str(trained), dtype="bfloat16")
    assert float(half.encode_query(TEXT) @ encoder.encode_query(TEXT)) > 0.99


@pytest.mark.parametrize("lora", [{"use_dora": True}, {"target_modules": ["word_embeddings"]}])
def test_what_a_product_of_factors_does_not_say_is_not_merged(tmp_path, base, lora):
    folder = write_trained(tmp_path / "adapters", base, lora=lora)

    encoder = Encoder.load(str(base), adapters=str(folder), dtype="float32")

    model = PeftModel.from_pretrained(load_base(base), str(folder / "retrieval_query")).eval()
    assert encoder.runtime["adapters"] == "switched"
    expected = states_of(model, encoder, SCRIPTS["Latin"])
    np.testing.assert_allclose(encoder.encode_query(SCRIPTS["Latin"]), expected, atol=1e-5)


# What is taken from the folder where the caller says nothing.


def test_the_folder_says_how_texts_are_read_and_chunks_made(base, copy):
    bundle = read_adapter_manifest(copy).replaced(local_global=LONG, window_tokens=512, special_tokens="include")
    write_adapter_manifest(copy, bundle)

    encoder = Encoder.load(str(base), adapters=str(copy))

    settings = encoder.settings
    assert (settings["window_tokens"], settings["special_tokens"]) == (512, "include")
    assert settings["local_global"]["local_tokens"] == 32
    assert encoder.recommended_embedding == {"mode": "blend", "late_weight": 0.3}
    assert choose_embedding(encoder, None, None).settings == {"mode": "blend", "late_weight": 0.3}
    assert choose_embedding(encoder, "late", None).mode == "late"
    assert choose_embedding(encoder, None, 0.7).late_weight == 0.7


def test_what_the_caller_says_wins(base, copy):
    write_adapter_manifest(
        copy, read_adapter_manifest(copy).replaced(local_global=LONG, window_tokens=512, special_tokens="include")
    )

    windows = Encoder.load(str(base), adapters=str(copy), context="windows", special_tokens="exclude").settings
    narrow = Encoder.load(str(base), adapters=str(copy), window_tokens=100).settings
    other = Encoder.load(str(base), adapters=str(copy), local_global=LONG.replaced(penalty=1.0)).settings

    assert (windows["local_global"], windows["window_tokens"], windows["special_tokens"]) == (None, 128, "exclude")
    assert (narrow["window_tokens"], narrow["local_global"]["penalty"]) == (100, 2.0)
    assert (other["window_tokens"], other["local_global"]["penalty"]) == (8_192, 1.0)


def test_encoders_of_the_users_own_and_untrained_ones_are_at_their_best_as_before(plain):
    assert choose_embedding(FakeEncoder(), None, None).settings == {"mode": "late"}
    assert choose_embedding(plain, None, None).settings == {"mode": "late"}

    class Named(FakeEncoder):
        settings = {"kind": "own", "dims": 8, "model": "all-MiniLM-L6-v2", "local_global": {"local_layers": 5}}

    assert choose_embedding(Named(), None, None).settings == {"mode": "blend", "late_weight": 0.6}


def test_models_that_are_known_bring_the_adapters_shipped_for_them(monkeypatch, base, trained, encoder, plain):
    know(monkeypatch, base, trained)

    loaded = Encoder.load(str(base), dtype="float32")
    off = Encoder.load(str(base), adapters=None, dtype="float32")

    np.testing.assert_allclose(loaded.encode_query(TEXT), encoder.encode_query(TEXT), atol=1e-6)
    np.testing.assert_array_equal(off.encode_query(TEXT), plain.encode_query(TEXT))
    assert loaded.settings["adapters"] == "tiny"
    assert loaded.settings["adapters_sha256"] == encoder.settings["adapters_sha256"]
    assert off.settings == plain.settings
    assert "trained by latechunk, shipped with it" in CliRunner().invoke(app, ["models"]).output


def know(monkeypatch, base, trained):
    """Have latechunk know the tiny model, with adapters shipped for it."""
    tiny = find_known_model("multilingual-e5-large-instruct").replaced(
        name="tiny",
        repository="somebody/tiny",
        also=(str(base),),
        window_tokens=128,
        overlap_tokens=32,
        document_prompt="",
        query_prompt="",
        mode="late",
        trained=str(trained),
    )
    monkeypatch.setattr("latechunk.models.catalogue.KNOWN_MODELS", (*KNOWN_MODELS, tiny))


# What is refused.


def load(base, folder):
    return Encoder.load(str(base), adapters=str(folder), dtype="float32")


def test_adapters_of_another_base_are_refused_by_naming_both(tmp_path, trained, base):
    other = tmp_path / "other"
    shutil.copytree(base, other)
    weights = load_file(other / "model.safetensors")
    weights["embeddings.LayerNorm.weight"][0] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    sha256 = read_adapter_manifest(trained).base_weights_sha256

    with pytest.raises(ModelError, match=f"were trained over 'tiny', with weights of SHA-256 {sha256}.*has [0-9a-f]+"):
        load(other, trained)


def test_a_folder_that_is_not_there_or_holds_nothing_is_refused(tmp_path, base):
    with pytest.raises(ModelError, match="there is no such folder"):
        load(base, tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"it has no latechunk\.json"):
        load(base, tmp_path)
    with pytest.raises(ModelError, match=r"adapters must name a folder|there is no such folder"):
        load(base, "a\0b")
    for wrong in ("", " ", 3, ["auto"]):
        with pytest.raises(InputError, match="adapters"):
            Encoder.load(str(base), adapters=wrong)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(copy, base, name):
    (copy / "retrieval_query" / name).unlink()

    with pytest.raises(ModelError, match=f"needs {name} in .*retrieval_query"):
        load(base, copy)


KEY = "base_model.model.encoder.layer.1.output.dense.lora_B.weight"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights.pop(KEY),
        lambda weights: weights.update({KEY.replace("layer.1", "layer.9"): weights[KEY].clone()}),
        lambda weights: weights.update({KEY: weights[KEY][:, :3].clone()}),
        lambda weights: weights[KEY].fill_(float("nan")),
    ],
    ids=["lacking", "surplus", "of another shape", "not a number"],
)
def test_weights_that_do_not_fit_are_refused(copy, base, spoil):
    path = copy / "retrieval_query" / "adapter_model.safetensors"
    weights = load_file(path)
    spoil(weights)
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(ModelError, match="retrieval_query"):
        load(base, copy)


def test_damaged_weights_are_refused(copy, base):
    path = copy / "retrieval_query" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(ModelError, match="retrieval_query does not load"):
        load(base, copy)


def test_an_adapter_that_changes_the_biases_of_the_base_is_refused(tmp_path, base):
    folder = write_trained(tmp_path / "adapters", base, lora={"bias": "lora_only"})

    with pytest.raises(ModelError, match="must be plain LoRA over an unchanged base; it has .*bias 'lora_only'"):
        load(base, folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "is of format 2, and this latechunk reads format 1; upgrade latechunk"),
        ({"format": None}, "is of format None"),
        ({"base": ""}, "base must be a name"),
        ({"base_weights_sha256": "abc"}, "64 hexadecimal digits"),
        ({"tasks": []}, "tasks .*at least 1 item"),
        ({"tasks": {}}, "tasks must be an array"),
        ({"tasks": [3]}, r"tasks\.0 must be an object, got 3"),
        ({"tasks": [{"name": "a", "adapter": "b"}]}, r"tasks\.0\.prompt is missing"),
        ({"tasks": [{"name": 1, "adapter": "b", "prompt": ""}]}, r"tasks\.0\.name must be a string, got 1"),
        ({"document_task": "x"}, "must be None or among the tasks"),
        ({"document_task": 3}, "document_task must be a string, got 3"),
        ({"query_task": "x"}, "must be None or among the tasks"),
        ({"local_global": []}, "local_global must be an object"),
        ({"local_global": {"local_layers": 1}}, r"local_global\.local_tokens is missing"),
        ({"window_tokens": 0}, "window_tokens must be at least 1, got 0"),
        ({"window_tokens": True}, "window_tokens must be a whole number"),
        ({"special_tokens": "some"}, "special_tokens must be one of 'exclude' or 'include', got 'some'"),
        ({"mode": "early"}, "mode must be one of"),
        ({"late_weight": 1.0}, "late_weight must be less than 1, got 1.0"),
        ({"late_weight": float("nan")}, "late_weight must be less than 1, got nan"),
        ({"surprise": 1}, "there is no 'surprise'"),
    ],
)
def test_every_field_of_the_file_is_checked(copy, base, fields, message):
    change(copy, **fields)

    with pytest.raises(ModelError, match=r"latechunk\.json cannot be read as latechunk writes it: .*" + message):
        load(base, copy)


@pytest.mark.parametrize("change_one", [{"local_layers": 1.5}, {"penalty": "2"}, {"width": 0.0}, {"penalty": 10**400}])
def test_every_setting_of_the_context_is_checked(copy, base, change_one):
    write_adapter_manifest(copy, read_adapter_manifest(copy).replaced(local_global=LONG))
    nested = json.loads((copy / "latechunk.json").read_text())["local_global"]
    change(copy, local_global={**nested, **change_one})

    with pytest.raises(ModelError, match="cannot be read as latechunk writes it"):
        load(base, copy)


@pytest.mark.parametrize("name", ["..", "../other", "a/b", "a\\b", "/tmp", "", ".hidden", "a.b", "a\0"])
def test_adapters_lie_in_subfolders_of_plain_names(copy, base, name):
    change(copy, tasks=[{"name": "a", "adapter": name, "prompt": ""}], document_task="a", query_task=None)

    with pytest.raises(ModelError, match="must be the plain name of a subfolder"):
        load(base, copy)


def test_the_names_of_tasks_differ(copy, base):
    change(copy, tasks=[{"name": "a", "adapter": name, "prompt": ""} for name in ADAPTERS], document_task="a")

    with pytest.raises(ModelError, match="the names of tasks must differ, got 'a', 'a'"):
        load(base, copy)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_such_file_is_refused(copy, base, content):
    (copy / "latechunk.json").write_bytes(content)

    with pytest.raises(ModelError, match=r"latechunk\.json"):
        load(base, copy)


def test_without_peft_the_error_names_the_extra(monkeypatch, base, trained):
    actual = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "peft":
            raise ModuleNotFoundError("No module named 'peft'")
        return actual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"\.\[adapters\].*adapters=None"):
        load(base, trained)
    Encoder.load(str(base), adapters=None)


def test_a_bundle_is_written_as_it_is_read(tmp_path):
    bundle = AdapterManifest(
        base="naïve",
        base_weights_sha256=SHA,
        tasks=TRAINED,
        document_task="retrieval.passage",
        query_task=None,
        local_global=LONG,
        window_tokens=512,
        special_tokens="include",
        mode="blend",
        late_weight=0.6,
    )

    write_adapter_manifest(tmp_path, bundle)

    assert read_adapter_manifest(tmp_path) == bundle
    with pytest.raises(InputError, match="tasks must be a tuple"):
        bundle.replaced(tasks=[Task(name="a", adapter="b", prompt="")])


# What an index records.


DOCUMENTS = [Document(name, text) for name, text in SCRIPTS.items()]


@pytest.fixture
def indexed(tmp_path, base, copy):
    """An index made with the adapters of a folder, and what it answers."""
    encoder = load(base, copy)
    with Index.create(tmp_path / "x", encoder=encoder, chunker=TokenChunker(max_tokens=20)) as index:
        index.add(DOCUMENTS)
        return tmp_path / "x", index.search("Berlin", k=3)


def test_an_index_reloads_the_adapters_it_was_made_with(indexed, copy):
    path, expected = indexed

    with Index.open(path, dtype="float32") as index:
        assert index.search("Berlin", k=3) == expected
        info = index.info()
        assert info.encoder["adapters"] == str(copy)
        assert info.embedding == {"mode": "blend", "late_weight": 0.3}
        assert info.made["on"]["adapters"] == "merged"
        assert index.encoder.settings == info.encoder


def test_an_index_refuses_adapters_that_changed_by_naming_both_sides(indexed, base, copy):
    path, _ = indexed
    with Index.open(path) as index:
        before = index.info().encoder["adapters_sha256"]
    shutil.copy(copy / ADAPTERS[0] / "adapter_model.safetensors", copy / ADAPTERS[1] / "adapter_model.safetensors")
    after = load(base, copy).settings["adapters_sha256"]

    with Index.open(path) as index, pytest.raises(ModelError, match=f"{before} were needed, and .*{after} came"):
        index.search("Berlin")
    with pytest.raises(IndexMismatchError, match=rf"{before}.*{after}"):
        Index.open(path, encoder=load(base, copy))


def test_an_index_says_where_adapters_were_that_are_gone(indexed, copy, tmp_path):
    path, _ = indexed
    copy.rename(tmp_path / "moved")

    with (
        Index.open(path) as index,
        pytest.raises(ModelError, match=f"looked for in {copy}, and there is no such folder"),
    ):
        index.search("Berlin")


def test_adapters_that_were_moved_open_the_index_all_the_same(indexed, base, copy, tmp_path):
    path, expected = indexed
    moved = shutil.move(copy, tmp_path / "moved")

    with Index.open(path, encoder=load(base, moved)) as index:
        assert index.search("Berlin", k=3) == expected


def test_an_index_made_with_adapters_refuses_the_base_and_the_other_way_round(indexed, tmp_path, encoder, plain):
    path, _ = indexed
    with pytest.raises(IndexMismatchError, match=r"its adapters is '.*', yours is None"):
        Index.open(path, encoder=plain)
    Index.create(tmp_path / "plain", encoder=plain).close()
    with pytest.raises(IndexMismatchError, match=r"its adapters is None, yours is '"):
        Index.open(tmp_path / "plain", encoder=encoder)


@pytest.mark.parametrize("with_fields", [True, False])
def test_an_index_without_adapters_stays_without_when_there_are_some(monkeypatch, tmp_path, base, trained, with_fields):
    plain = Encoder.load(str(base), dtype="float32", document_prompt="", query_prompt="")
    with Index.create(tmp_path / "x", encoder=plain, chunker=TokenChunker(max_tokens=20)) as index:
        index.add(DOCUMENTS)
        expected = index.search("Berlin", k=3)
        settings = dict(index.info().encoder)
    if not with_fields:  # as indexes recorded before there were adapters
        import sqlite3

        del settings["adapters"], settings["adapters_sha256"]
        with sqlite3.connect(tmp_path / "x" / "store.sqlite3") as connection:
            connection.execute("UPDATE settings SET value = ? WHERE name = 'encoder'", (json.dumps(settings),))
        connection.close()
    know(monkeypatch, base, trained)

    with Index.open(tmp_path / "x", dtype="float32") as index:
        assert index.search("Berlin", k=3) == expected
        assert index.encoder.tasks == ()
    with pytest.raises(IndexMismatchError, match="adapters_sha256"):
        Index.open(tmp_path / "x", encoder=Encoder.load(str(base)))


def test_an_index_with_shipped_adapters_opens_by_the_models_name(monkeypatch, tmp_path, base, copy):
    know(monkeypatch, base, copy)
    with Index.create(tmp_path / "x", chunker=TokenChunker(max_tokens=20), encoder=Encoder.load(str(base))) as index:
        index.add(DOCUMENTS)

    with Index.open(tmp_path / "x") as index:
        assert index.encoder.settings["adapters"] == "tiny"
        assert index.encoder.adapters_argument == "auto"
    monkeypatch.undo()
    with Index.open(tmp_path / "x") as index, pytest.raises(ModelError, match="there is no such folder"):
        index.search("Berlin")


# The command line.


def command(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_command_line_makes_an_index_with_adapters_and_says_so(tmp_path, base, copy):
    (tmp_path / "a.txt").write_text(TEXT)
    path, file = tmp_path / "x", tmp_path / "a.txt"
    options = ("--chunker", "token", "--dtype", "float32", "-q")

    made = command("index", path, file, "--model", base, "--adapters", copy, *options)
    info = command("info", path)

    assert made.exit_code == 0, made.output
    assert f"{copy}, SHA-256" in info.output
    assert "documents retrieval.passage, queries retrieval.query" in info.output
    assert command("index", path, file, "--adapters", copy, *options).exit_code == 0
    assert command("index", path, file, "--adapters", "auto", *options).exit_code == 0
    refused = command("index", path, file, "--adapters", "none", *options)
    assert refused.exit_code != 0
    assert "--adapters is" in refused.output


def test_the_command_line_makes_an_index_without(tmp_path, base):
    (tmp_path / "a.txt").write_text(TEXT)

    made = command("index", tmp_path / "x", tmp_path / "a.txt", "--model", base, "--adapters", "none", "-q")

    assert made.exit_code == 0, made.output
    with Index.open(tmp_path / "x") as index:
        assert index.info().encoder["adapters"] is None


def test_the_evaluation_takes_them_too(base, copy, tmp_path):
    from latechunk.evaluation.run import EvaluationRequest, _load_encoders

    request = EvaluationRequest(data=tmp_path, out=tmp_path, arms=("late",), max_tokens=(64,), models=(str(base),))

    (name,) = _load_encoders(request.replaced(adapters=str(copy)))
    (without,) = _load_encoders(request.replaced(adapters=None))

    assert (name, without) == (f"{base}, adapters copy", f"{base}, no adapters")
