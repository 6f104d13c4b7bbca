"""jina-embeddings-v3 in its released layout, tiny and random: tasks, prompts, dimensions, threads, long windows."""

import json
import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from latechunk import Document, Encoder, Index, TokenChunker
from latechunk.embedding.chunks import token_ranges
from latechunk.encoding.config import warn_of_licence
from latechunk.errors import DocumentError, IndexMismatchError, InputError, ModelError, QueryError, SpanError
from latechunk.models.adapters import load_adapters
from latechunk.models.catalogue import KNOWN_MODELS, find_known_model
from latechunk.types import PoolingTask
from tests.checkpoints import JINA_ADAPTERS, write_jina
from tests.conftest import SCRIPTS

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # when peft writes the checkpoint
]

TASKS = ("retrieval.query", "retrieval.passage", "separation", "classification", "text-matching")
PROMPTS = {
    "retrieval.query": "Represent the query for retrieving evidence documents: ",
    "retrieval.passage": "Represent the document for retrieval: ",
}
TEXT = " ".join(SCRIPTS.values())


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_jina(tmp_path_factory.mktemp("models") / "jina")


@pytest.fixture(scope="session")
def encoder(folder):
    return Encoder.load(str(folder), dtype="float32")


def by_hand(folder, encoder, text, task, special=False):
    """Mean over a text's tokens under one adapter, computed with transformers and peft alone."""
    prompt = PROMPTS.get(task, "")
    adapter = JINA_ADAPTERS[TASKS.index(task)]
    base = AutoModel.from_pretrained(str(folder), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(folder / adapter)).eval()
    tokenizer = encoder._tokenizer
    n_prompt = len(tokenizer.encode(prompt, add_special_tokens=False).ids) if prompt else 0
    ids = tokenizer.encode(prompt + text, add_special_tokens=True).ids
    with torch.inference_mode():
        states = model(torch.tensor([ids])).last_hidden_state[0]
    mean = (states if special else states[1 + n_prompt : -1]).mean(dim=0)
    return (mean / mean.norm()).numpy()


def test_a_query_and_a_document_are_encoded_under_their_own_tasks_and_prompts(folder, encoder):
    (tokens,) = encoder.tokenize([TEXT])
    everything = PoolingTask.whole(tokens)

    query = encoder.encode_query(TEXT)
    ((document,),) = encoder.encode_spans([everything])

    np.testing.assert_allclose(query, by_hand(folder, encoder, TEXT, "retrieval.query"), atol=1e-5)
    np.testing.assert_allclose(document, by_hand(folder, encoder, TEXT, "retrieval.passage"), atol=1e-5)
    assert encoder.settings["document_prompt"] == PROMPTS["retrieval.passage"]
    assert encoder.settings["query_prompt"] == PROMPTS["retrieval.query"]


@pytest.mark.parametrize("task", TASKS)
def test_each_task_gives_what_transformers_and_peft_give(folder, encoder, task):
    (vector,) = encoder.encode_texts([TEXT], task=task)

    np.testing.assert_allclose(vector, by_hand(folder, encoder, TEXT, task), atol=1e-5)


def test_each_task_gives_other_vectors(encoder):
    vectors = np.concatenate([encoder.encode_texts(["Berlin is a city."], task=task) for task in TASKS])

    similar = vectors @ vectors.T - np.eye(len(TASKS))
    assert similar.max() < 0.99
    assert encoder.tasks == TASKS


def test_tasks_are_chosen_at_load(folder, encoder):
    symmetric = Encoder.load(
        str(folder), dtype="float32", document_task="text-matching", query_task="text-matching", document_prompt=""
    )

    np.testing.assert_allclose(
        symmetric.encode_query(TEXT), encoder.encode_texts([TEXT], task="text-matching")[0], atol=1e-6
    )
    assert symmetric.settings["document_task"] == symmetric.settings["query_task"] == "text-matching"


def test_threads_with_different_tasks_never_mix(encoder):
    rng = np.random.default_rng(0)
    jobs = [(TASKS[n], list(SCRIPTS.values())[m]) for n, m in rng.integers(0, [5, len(SCRIPTS)], (200, 2))]
    expected = {job: encoder.encode_texts([job[1]], task=job[0])[0] for job in set(jobs)}

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda job: encoder.encode_texts([job[1]], task=job[0])[0], jobs))

    for job, vector in zip(jobs, got, strict=True):
        np.testing.assert_allclose(vector, expected[job], atol=1e-5)


def test_a_failed_pass_leaves_no_task_behind(encoder):
    adapters = encoder._model.adapters
    with pytest.raises(ZeroDivisionError), adapters.at_work("separation"):
        _ = 1 / 0

    np.testing.assert_allclose(encoder.encode_query(TEXT), encoder.encode_query(TEXT), atol=1e-6)


def test_a_document_of_8192_tokens_is_one_window(encoder):
    n_prompt = len(encoder.tokenize(["a"])[0].prompt_ids)
    words = list(SCRIPTS.values())
    text = " ".join(words[n % len(words)] for n in range(4_000))
    (tokens,) = encoder.tokenize([text])
    end = int(tokens.offsets[8_192 - 2 - n_prompt - 1, 1])
    (tokens,) = encoder.tokenize([text[:end]])
    assert 8_100 < len(tokens) + n_prompt + 2 <= 8_192
    widths = []
    forward = encoder._runner._forward
    encoder._runner._forward = lambda sequences, budget: (
        widths.append([len(s.ids) for s in sequences]),
        forward(sequences, budget),
    )[1]

    spans = TokenChunker(max_tokens=512).split(text[:end], tokens.offsets)
    try:
        encoder.encode_spans([PoolingTask(tokens, token_ranges(tokens.offsets, spans))])
    finally:
        del encoder._runner._forward

    assert widths == [[len(tokens) + n_prompt + 2]]


def test_positions_stay_in_float32_whatever_the_model_computes_in(folder):
    encoder = Encoder.load(str(folder), dtype="bfloat16")
    model = encoder._model.transformer.model

    expected = 20_000.0 ** -(np.arange(0, 8, 2) / 8)  # heads of 8: RoPE with the base that v3 has at inference
    assert model.dtype == torch.bfloat16
    assert model.rotary_emb.inv_freq.dtype == torch.float32
    np.testing.assert_allclose(model.rotary_emb.inv_freq.numpy(), expected, rtol=1e-6)


def test_it_loads_when_its_files_say_how_it_is_pooled(tmp_path):
    other = write_jina(tmp_path / "jina", modules=True)

    loaded = Encoder.load(str(other), dtype="float32")

    expected = by_hand(other, loaded, TEXT, "retrieval.query")
    np.testing.assert_allclose(loaded.encode_query(TEXT), expected, atol=1e-5)


def test_files_that_name_code_of_their_own_are_read_without_it(tmp_path, folder, encoder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]')
    (copy / "custom_st.py").write_text("raise SystemExit('code of the repository ran')")

    loaded = Encoder.load(str(copy), dtype="float32")

    np.testing.assert_allclose(loaded.encode_query(TEXT), encoder.encode_query(TEXT), atol=1e-5)


def test_nothing_is_printed_while_loading(folder, capfd, caplog):
    warn_of_licence.cache_clear()
    with caplog.at_level(logging.WARNING, logger="latechunk"):
        Encoder.load(str(folder), dtype="float32")
        Encoder.load(str(folder), dtype="float32")

    licence = "the weights of jina-embeddings-v3 are under CC-BY-NC-4.0: not for commercial use"
    assert caplog.messages == [licence]  # once, and no load report
    out, err = capfd.readouterr()
    assert out == ""
    assert "MISSING" not in err
    assert "LOAD REPORT" not in err


@pytest.mark.parametrize("dims", [8, 16, 32])
def test_vectors_are_cut_before_they_are_normalised(folder, encoder, dims):
    cut = Encoder.load(str(folder), dtype="float32", dims=dims)

    got, whole = cut.encode_query(TEXT), encoder.encode_query(TEXT)

    assert got.shape == (dims,)
    np.testing.assert_allclose(got, whole[:dims] / np.linalg.norm(whole[:dims]), atol=1e-5)


def test_a_size_that_the_model_was_not_trained_for_lists_those_that_it_was(folder):
    with pytest.raises(InputError, match=r"has vectors of 8, 16, 32 dims, got dims=24"):
        Encoder.load(str(folder), dims=24)
    assert find_known_model("jina-embeddings-v3").matryoshka == (32, 64, 128, 256, 512, 768)


def test_an_index_keeps_the_task_and_the_size(tmp_path, folder):
    encoder = Encoder.load(str(folder), dtype="float32", dims=16)
    with Index.create(tmp_path / "x", encoder=encoder, chunker=TokenChunker(max_tokens=20)) as index:
        index.add([Document(str(n), text) for n, text in enumerate(SCRIPTS.values())])
        expected = index.search("Berlin", k=3)

    with Index.open(tmp_path / "x", dtype="float32") as index:
        assert index.search("Berlin", k=3) == expected
        assert index.info().encoder["dims"] == 16
        assert index.info().encoder["document_task"] == "retrieval.passage"


def test_an_unknown_task_lists_the_known_ones(folder, encoder):
    for wrong in (
        lambda: encoder.encode_texts(["a"], task="passage"),
        lambda: Encoder.load(str(folder), query_task="x"),
    ):
        with pytest.raises(InputError, match=r"has the tasks retrieval\.query, .*text-matching, got"):
            wrong()


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_adapter_file_is_an_error_that_names_it(tmp_path, folder, name):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "separation" / name).unlink()

    with pytest.raises(ModelError, match=f"needs {name} in .*separation"):
        Encoder.load(str(copy))


def change_adapter(folder, copy, change):
    shutil.copytree(folder, copy)
    path = copy / "classification" / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


KEY = "base_model.model.layers.1.mlp.fc2.lora_B.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop(KEY),
        lambda weights: weights.update({KEY.replace("fc2", "fc9"): weights[KEY].clone()}),
        lambda weights: weights.update({KEY: weights[KEY][:, :3].clone()}),
    ],
    ids=["lacking", "surplus", "of another shape"],
)
def test_an_adapter_that_does_not_fit_is_an_error(tmp_path, folder, change):
    change_adapter(folder, tmp_path / "copy", change)

    with pytest.raises(ModelError, match="classification"):
        Encoder.load(str(tmp_path / "copy"))


def test_a_base_that_lacks_weights_is_an_error(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    (key,) = [key for key in weights if key.endswith("layers.1.mlp.fc2.weight")]
    del weights[key]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"is incomplete: its files lack 1 weights .*layers.1.mlp.fc2.weight"):
        Encoder.load(str(copy))


def test_an_adapter_of_another_kind_is_an_error(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "separation" / "adapter_config.json"
    path.write_text(json.dumps({"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": []}))

    with pytest.raises(ModelError, match="must be of the type LORA"):
        Encoder.load(str(copy))


def test_loaded_adapters_equal_their_files(folder):
    model = AutoModel.from_pretrained(str(folder), dtype=torch.float32)
    load_adapters("tiny", model, folder, JINA_ADAPTERS)

    state = model.state_dict()
    for name in JINA_ADAPTERS:
        for key, value in load_file(folder / name / "adapter_model.safetensors").items():
            key = key.removeprefix("base_model.model.")
            stem, dot, _ = key.rpartition(".weight")
            own = f"{stem}.{name}.weight" if dot else f"{key}.{name}"
            assert torch.equal(state[own], value.float()), own


def test_peft_agrees_on_which_adapter_is_at_work(encoder):
    adapters = encoder._model.adapters
    for name in ("separation", "separation", "classification"):
        with adapters.at_work(name):
            assert {tuple(layer.active_adapters) for layer in adapters._layers.layers} == {(name,)}
            assert len(adapters._layers.layers) == 2 + 6 * 2 + 1  # embeddings, both layers, the pooler
    assert adapters.way == encoder.runtime["adapters"] == "switched"


# What a hostile tester found.


def change_config(folder, copy, name, **changes):
    shutil.copytree(folder, copy)
    path = copy / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return copy


@pytest.mark.parametrize(
    ("name", "changes"),
    [("retrieval_passage/adapter_config.json", {"lora_alpha": 16}), ("config.json", {"hidden_act": "relu"})],
)
def test_settings_that_change_vectors_change_what_an_index_accepts(tmp_path, folder, name, changes):
    same = Encoder.load(str(folder), dtype="float32")
    with Index.create(tmp_path / "x", encoder=same, chunker=TokenChunker(max_tokens=20)):
        pass
    other = Encoder.load(str(change_config(folder, tmp_path / "copy", name, **changes)), dtype="float32")

    with pytest.raises(IndexMismatchError, match="config_sha256"):
        Index.open(tmp_path / "x", encoder=other)
    Index.open(tmp_path / "x", encoder=Encoder.load(str(folder), dtype="bfloat16")).close()


def test_labels_in_settings_change_nothing(tmp_path, folder):
    changes = {"_name_or_path": "elsewhere", "transformers_version": "9", "dtype": "float32"}
    copy = change_config(folder, tmp_path / "copy", "config.json", **changes)

    assert Encoder.load(str(copy)).settings["config_sha256"] == Encoder.load(str(folder)).settings["config_sha256"]


def test_linked_adapters_are_part_of_the_fingerprint(tmp_path, folder):
    copy, elsewhere = tmp_path / "copy", tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    shutil.move(copy / "separation", elsewhere)
    (copy / "separation").symlink_to(elsewhere)
    before = Encoder.load(str(copy)).settings["weights_sha256"]
    shutil.copy(copy / "classification" / "adapter_model.safetensors", elsewhere / "adapter_model.safetensors")

    assert Encoder.load(str(copy)).settings["weights_sha256"] != before


def test_a_link_to_nothing_is_an_error_that_names_it(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").symlink_to(tmp_path / "gone")

    with pytest.raises(ModelError, match=r"model.safetensors is a link to nothing"):
        Encoder.load(str(copy))


@pytest.mark.parametrize(
    "changes",
    [
        {"modules_to_save": ["dense"]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "nonsense"},
        {"layer_replication": [[0, 2]]},
        {"rank_pattern": 5},
        {"target_modules": "(((("},
    ],
)
def test_adapters_that_are_more_than_lora_are_refused(tmp_path, folder, changes):
    copy = change_config(folder, tmp_path / "copy", "separation/adapter_config.json", **changes)

    with pytest.raises(ModelError, match="separation"):
        Encoder.load(str(copy))


def test_every_task_is_tried_at_load(tmp_path, folder):
    def spoil(weights):
        weights[KEY][:] = float("nan")

    change_adapter(folder, tmp_path / "copy", spoil)

    with pytest.raises(ModelError, match="classification"):  # NaN is not even equal to what the file holds
        Encoder.load(str(tmp_path / "copy"))
    copy = change_config(folder, tmp_path / "other", "separation/adapter_config.json", lora_alpha=1e300)
    with pytest.raises(ModelError, match="not finite"):
        Encoder.load(str(copy))


def test_loading_in_threads_spoils_nothing(folder):
    def load(_):
        return Encoder.load(str(folder), dtype="float32").encode_query(TEXT)

    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(load, range(8)))

    for vector in vectors:
        np.testing.assert_array_equal(vector, vectors[0])
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"


@pytest.mark.parametrize(
    "quiet",
    [
        lambda: logging.disable(logging.CRITICAL),
        lambda: logging.getLogger("transformers.modeling_utils").setLevel(logging.CRITICAL),
    ],
)
def test_missing_weights_are_found_however_logging_is_set_up(tmp_path, folder, quiet):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    (key,) = [key for key in weights if key.endswith("layers.1.mlp.fc2.weight")]
    del weights[key]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    level = logging.getLogger("transformers.modeling_utils").level
    quiet()
    try:
        with pytest.raises(ModelError, match="is incomplete"):
            Encoder.load(str(copy))
    finally:
        logging.disable(logging.NOTSET)
        logging.getLogger("transformers.modeling_utils").setLevel(level)


def test_dims_beyond_the_model_are_refused(folder):
    with pytest.raises(InputError, match="has vectors of 8, 16, 32 dims, got dims=512"):
        Encoder.load(str(folder), dims=512)


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode_texts([]).shape == (0, 32)


@pytest.mark.parametrize("text", [" ", "\n\n", "\t "])
def test_blank_texts_are_refused_where_white_space_is_a_token(tmp_path, encoder, text):
    with pytest.raises(QueryError):
        encoder.encode_query(text)
    with pytest.raises(InputError):
        encoder.encode_texts([text])
    with (
        Index.create(tmp_path / "x", encoder=encoder, chunker=TokenChunker(max_tokens=20)) as index,
        pytest.raises(DocumentError, match="a document needs text that is not blank"),
    ):
        index.add([Document("a", text)])


@pytest.mark.parametrize("ranges", [[[0, 0]], [[2, 1]], [[-1, 2]], [[0, 10_000]]])
def test_ranges_that_hold_no_token_are_refused(encoder, ranges):
    (tokens,) = encoder.tokenize([TEXT])

    with pytest.raises(SpanError, match="a range of tokens needs 0 <= start < end"):
        encoder.encode_spans([PoolingTask(tokens, np.array(ranges))])


def test_a_tokenizer_of_another_model_is_an_error(encoder):
    (tokens,) = encoder.tokenize([TEXT])
    foreign = replace(tokens, ids=tokens.ids + 100_000)

    with pytest.raises(ModelError, match="the tokenizer belongs to another model"):
        encoder.encode_spans([PoolingTask(foreign, np.array([[0, 1]]))])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"pad_token_id": "x"}),
        ("config.json", {"num_attention_heads": 0}),
        ("config.json", {"hidden_size": "abc"}),
        ("config.json", {"pad_token_id": 100_000}),
    ],
)
def test_settings_that_make_no_sense_are_errors(tmp_path, folder, name, content):
    with pytest.raises(ModelError):
        Encoder.load(str(change_config(folder, tmp_path / "copy", name, **content)))


def test_settings_nested_too_deep_are_an_error(tmp_path, folder):
    for name in ("config.json", "tokenizer.json", "separation/adapter_config.json"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(folder, copy)
        (copy / name).write_text("[" * 100_000)
        with pytest.raises(ModelError):
            Encoder.load(str(copy))


def with_known(monkeypatch, **changes):
    """Have jina-embeddings-v3 known otherwise, to try what other models need."""
    known = tuple(one.replaced(**changes) if one.model_type == "jina_embeddings_v3" else one for one in KNOWN_MODELS)
    monkeypatch.setattr("latechunk.models.catalogue.KNOWN_MODELS", known)


def test_a_model_that_overflows_float16_says_so(folder, monkeypatch):
    with_known(monkeypatch, takes_float16=False)

    with pytest.raises(InputError, match='overflows float16; pass dtype="bfloat16"'):
        Encoder.load(str(folder), dtype="float16")


def test_a_layer_norm_comes_before_the_cut_where_the_card_says_so(folder, encoder, monkeypatch):
    with_known(monkeypatch, layer_norm=True)
    whole = encoder.encode_query(TEXT).astype(np.float64)
    normed = (whole - whole.mean()) / whole.std()

    cut = Encoder.load(str(folder), dtype="float32", dims=8)
    full = Encoder.load(str(folder), dtype="float32")

    np.testing.assert_allclose(cut.encode_query(TEXT), normed[:8] / np.linalg.norm(normed[:8]), atol=1e-4)
    np.testing.assert_allclose(full.encode_query(TEXT), whole, atol=1e-5)
    assert cut.settings["layer_norm"]
    assert not full.settings["layer_norm"]


def test_quiet_says_nothing_of_the_licence(tmp_path, folder):
    with Index.create(tmp_path / "x", encoder=Encoder.load(str(folder)), chunker=TokenChunker(max_tokens=20)) as index:
        index.add([Document("a", TEXT)])
    command = [
        sys.executable,
        "-c",
        "from latechunk.cli import run; run()",
        "search",
        str(tmp_path / "x"),
        "Berlin",
        "--dtype",
        "float32",
    ]

    told = subprocess.run(command, capture_output=True, text=True)
    quiet = subprocess.run([*command, "-q"], capture_output=True, text=True)

    assert "CC-BY-NC-4.0" in told.stderr
    assert quiet.stderr == ""
    assert quiet.stdout == told.stdout != ""
