"""Vectors over HTTP, asked for by the clients that people use; they are the library's own."""

import base64

import httpx
import numpy as np
import pytest

from latechunk import Document, Encoder, Span, StructureChunker, embed_documents
from latechunk.chunking.fixed import FixedSpans
from tests.checkpoints import write_bert, write_jina
from tests.serving import running

pytest.importorskip("fastapi")

from latechunk.serving import make_app, open_served
from latechunk.serving.model import join_chunks

TEXTS = ["Berlin is the capital of Germany.", "It has 3.8 million people.", "The Spree runs through it."]
CONTEXT_MODEL = "tiny-context"  # a name by which LangChain's Voyage class knows a contextual model


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = write_bert(
        tmp_path_factory.mktemp("models") / "tiny", prompts={"query": "query: ", "document": "passage: "}
    )
    return Encoder.load(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def url(encoder):
    with open_served(encoder=encoder, aliases=[CONTEXT_MODEL], mode="late") as served, running(make_app(served)) as url:
        yield url


@pytest.fixture
def ask(url):
    def ask(path, status=200, **body):
        answer = httpx.post(url + path, json=body, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def vectors_of(answer):
    return np.array([one["embedding"] for one in answer["data"]])


def late_vectors(encoder, chunks, mode="late"):
    """What the library makes of a document that is given by its chunks."""
    text, spans = join_chunks(chunks)
    (one,) = embed_documents([Document("x", text)], encoder=encoder, chunker=FixedSpans({"x": spans}), mode=mode)
    return one.vectors


def test_the_openai_package_gets_the_librarys_vectors(url, encoder):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")

    by_default = client.embeddings.create(model="tiny", input=TEXTS)  # it asks for base64 on its own
    as_numbers = client.embeddings.create(model="tiny", input=TEXTS[0], encoding_format="float")
    late = client.embeddings.create(model="tiny", input=TEXTS, extra_body={"late_chunking": True})

    expected = encoder.encode_texts(TEXTS)
    np.testing.assert_allclose([one.embedding for one in by_default.data], expected, atol=1e-6)
    np.testing.assert_allclose(as_numbers.data[0].embedding, expected[0], atol=1e-6)
    np.testing.assert_allclose([one.embedding for one in late.data], late_vectors(encoder, TEXTS), atol=1e-6)
    assert [one.index for one in by_default.data] == [0, 1, 2]
    assert by_default.usage.total_tokens == sum(len(tokens) for tokens in encoder.tokenize(TEXTS))
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'; this server has 'tiny'") as caught:
        client.embeddings.create(model="gpt", input=TEXTS)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="input\\[1\\] must not be blank"):
        client.embeddings.create(model="tiny", input=["a", ""])
    assert [one.id for one in client.models.list().data] == ["tiny", CONTEXT_MODEL]
    assert client.models.retrieve("tiny") == client.models.list().data[0]
    with pytest.raises(openai.NotFoundError, match="there is no model 'org/gpt'; this server has 'tiny'"):
        client.models.retrieve("org/gpt")


def test_the_voyageai_package_gets_the_librarys_vectors(url, encoder):
    voyageai = pytest.importorskip("voyageai")
    client = voyageai.Client(api_key="none", base_url=f"{url}/v1")

    nested = client.contextualized_embed([TEXTS, TEXTS[:1]], model="tiny", input_type="document")
    queries = client.contextualized_embed([["where is it?"], ["who?"]], model="tiny", input_type="query")
    cut = client.contextualized_embed(
        [" ".join(TEXTS)], model="tiny", input_type="document", enable_auto_chunking=True, chunk_size=12
    )
    plain = client.embed(TEXTS, model="tiny", input_type="document")

    np.testing.assert_allclose(nested.results[0].embeddings, late_vectors(encoder, TEXTS), atol=1e-6)
    np.testing.assert_allclose(nested.results[1].embeddings, encoder.encode_texts(TEXTS[:1]), atol=1e-6)
    expected = encoder.encode_queries(["where is it?", "who?"])
    np.testing.assert_allclose([one.embeddings[0] for one in queries.results], expected, atol=1e-6)
    np.testing.assert_allclose(plain.embeddings, encoder.encode_texts(TEXTS), atol=1e-6)
    document = Document("x", " ".join(TEXTS))
    (one,) = embed_documents([document], encoder=encoder, chunker=StructureChunker(max_tokens=12), mode="late")
    np.testing.assert_allclose(cut.results[0].embeddings, one.vectors, atol=1e-6)
    assert cut.results[0].chunk_texts == [chunk.text for chunk in one.chunks]
    assert len(one.chunks) > 1
    assert cut.chunker_version.endswith("structure")
    assert nested.total_tokens > 0
    with pytest.raises(voyageai.error.InvalidRequestError, match="must not be blank"):
        client.contextualized_embed([["a", " "]], model="tiny")


@pytest.mark.parametrize("dtype", ["float", "int8", "uint8", "binary", "ubinary"])
def test_the_voyageai_package_reads_all_kinds_of_numbers(url, encoder, dtype):
    voyageai = pytest.importorskip("voyageai")
    client = voyageai.Client(api_key="none", base_url=f"{url}/v1")

    answer = client.contextualized_embed([TEXTS], model="tiny", input_type="document", output_dtype=dtype)

    found, expected = np.array(answer.results[0].embeddings), late_vectors(encoder, TEXTS)
    bits = expected >= 0
    if dtype == "float":
        np.testing.assert_allclose(found, expected, atol=1e-6)
    elif "int8" in dtype:
        scaled = (found - (128 if dtype == "uint8" else 0)).astype(float)
        cosines = (scaled * expected).sum(axis=1) / np.linalg.norm(scaled, axis=1)
        assert cosines.min() > 0.999
        assert np.abs(scaled).max(axis=1).tolist() == [127] * len(TEXTS)
    else:
        assert (found + (128 if dtype == "binary" else 0)).tolist() == np.packbits(bits, axis=1).tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_classes_of_langchain_get_the_librarys_vectors(url, encoder, monkeypatch):
    langchain_openai = pytest.importorskip("langchain_openai")
    made = langchain_openai.OpenAIEmbeddings(
        base_url=f"{url}/v1", api_key="none", model="tiny", check_embedding_ctx_length=False
    )
    np.testing.assert_allclose(made.embed_documents(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    np.testing.assert_allclose(made.embed_query("where?"), encoder.encode_texts(["where?"])[0], atol=1e-6)
    told = made.embed_query("where?", extra_body={"input_type": "query"})  # as docs/serving.md has it
    np.testing.assert_allclose(told, encoder.encode_query("where?"), atol=1e-6)

    jina = pytest.importorskip("langchain_community.embeddings.jina")
    monkeypatch.setattr(jina, "JINA_API_URL", f"{url}/v1/embeddings")
    made = jina.JinaEmbeddings(jina_api_key="none", model_name="tiny")
    np.testing.assert_allclose(made.embed_documents(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    with pytest.raises(RuntimeError, match="must not be blank"):  # it reads detail
        made.embed_documents([""])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchains_voyage_class_gets_contextual_vectors(url, encoder, monkeypatch):
    langchain_voyageai = pytest.importorskip("langchain_voyageai")
    made = langchain_voyageai.VoyageAIEmbeddings(model=CONTEXT_MODEL, api_key="none", base_url=f"{url}/v1")
    # It counts tokens with a tokenizer that it downloads.
    monkeypatch.setattr(
        type(made._client), "tokenize", lambda self, texts, model=None: [text.split() for text in texts]
    )

    found = made.embed_documents(TEXTS)
    query = made.embed_query("where?")

    np.testing.assert_allclose(found, encoder.encode_texts(TEXTS), atol=1e-6)  # each a document of one chunk
    np.testing.assert_allclose(query, encoder.encode_query("where?"), atol=1e-6)


def test_the_class_of_llama_index_gets_the_librarys_vectors(url, encoder):
    module = pytest.importorskip("llama_index.embeddings.openai_like")
    made = module.OpenAILikeEmbedding(model_name="tiny", api_base=f"{url}/v1", api_key="none")

    np.testing.assert_allclose(made.get_text_embedding_batch(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    query = {"extra_body": {"input_type": "query"}}  # as docs/serving.md has it
    told = module.OpenAILikeEmbedding(model_name="tiny", api_base=f"{url}/v1", api_key="none", additional_kwargs=query)
    np.testing.assert_allclose(told.get_query_embedding("where?"), encoder.encode_query("where?"), atol=1e-6)


def test_perplexitys_form_is_int8_in_base64_and_bits_lowest_first(ask, encoder):
    expected = late_vectors(encoder, TEXTS)

    by_default = ask("/v1/contextualizedembeddings", input=[TEXTS], model="tiny")
    bits = ask("/v1/contextualizedembeddings", input=[TEXTS], encoding_format="base64_binary")

    (document,) = by_default["data"]
    found = [np.frombuffer(base64.b64decode(one["embedding"]), np.int8) for one in document["data"]]
    assert np.array(found).tolist() == np.round(expected * 127 / np.abs(expected).max(axis=1, keepdims=True)).tolist()
    first = base64.b64decode(bits["data"][0]["data"][0]["embedding"])
    assert [byte >> bit & 1 for byte in first for bit in range(8)] == (expected[0] >= 0).astype(int).tolist()


def test_jinas_fields_choose_task_type_and_queries(ask, encoder):
    query = ask("/v1/embeddings", input="who?", task="retrieval.query")
    same = ask("/v1/embeddings", input=["who?"], input_type="query")
    passage = ask("/v1/embeddings", input="who?", task="retrieval.passage", truncate=True, normalized=True)
    late = ask("/v1/embeddings", input=TEXTS, late_chunking=True, embedding_type="base64")

    np.testing.assert_allclose(vectors_of(query)[0], encoder.encode_query("who?"), atol=1e-6)
    assert query == same
    np.testing.assert_allclose(vectors_of(passage), encoder.encode_texts(["who?"]), atol=1e-6)
    decoded = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in late["data"]]
    np.testing.assert_allclose(decoded, late_vectors(encoder, TEXTS), atol=1e-6)


def test_a_document_that_is_cut_where_it_has_white_space_is_encoded_as_it_is(ask, encoder):
    text = "Berlin is the capital.\n\nIt has people. 北京是中国的首都。它有两千多万人口。"
    cuts = [0, 24, 39, 48, len(text)]
    spans = [Span(*pair) for pair in zip(cuts, cuts[1:], strict=False)]

    answer = ask("/v1/embeddings", input=[text[span.start : span.end] for span in spans], late_chunking=True)

    assert join_chunks([text[span.start : span.end] for span in spans]) == (text, spans)
    (one,) = embed_documents([Document("x", text)], encoder=encoder, chunker=FixedSpans({"x": spans}), mode="late")
    np.testing.assert_allclose(vectors_of(answer), one.vectors, atol=1e-6)


def test_a_blend_is_the_librarys_blend(encoder):
    with open_served(encoder=encoder, mode="blend") as served, running(make_app(served)) as url:
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": TEXTS, "late_chunking": True}).json()

    np.testing.assert_allclose(vectors_of(answer), late_vectors(encoder, TEXTS, "blend"), atol=1e-6)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_tasks_and_matryoshka_dimensions_of_jina(tmp_path):
    pytest.importorskip("peft")
    folder = write_jina(tmp_path / "jina", modules=True)
    whole = Encoder.load(str(folder), device="cpu", dtype="float32")
    size = whole.settings["dims"] // 2
    short = Encoder.load(str(folder), device="cpu", dtype="float32", dims=size)
    with open_served(encoder=whole, mode="blend") as served, running(make_app(served)) as url:

        def ask(status=200, **body):
            answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=60)
            assert answer.status_code == status, answer.text
            return answer.json()

        task = "text-matching" if "text-matching" in whole.tasks else whole.tasks[-1]
        of_task = ask(input=TEXTS, task=task)
        late = ask(input=TEXTS, late_chunking=True, dimensions=size)
        query = ask(input="who?", task="retrieval.query", dimensions=size)
        wrong = ask(400, input="who?", dimensions=size - 1)
        unknown = ask(400, input="who?", task="poetry")

    np.testing.assert_allclose(vectors_of(of_task), whole.encode_texts(TEXTS, task=task), atol=1e-6)
    np.testing.assert_allclose(vectors_of(query)[0], short.encode_query("who?"), atol=1e-6)
    np.testing.assert_allclose(vectors_of(late), late_vectors(short, TEXTS, "blend"), atol=1e-6)
    assert str(tmp_path) not in str(wrong)
    assert f"got {size - 1}" in wrong["detail"]
    assert "this model has the tasks" in unknown["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "input is missing"),
        ({"input": [1, 2]}, "check_embedding_ctx_length=False"),
        ({"input": [[1, 2]]}, "check_embedding_ctx_length=False"),
        ({"input": []}, "a request takes 1 to 2,048 texts, got 0"),
        ({"input": ["a"] * 2_049}, "a request takes 1 to 2,048 texts, got 2,049"),
        ({"input": "\ud800"}, "lone surrogate"),
        ({"input": "a", "late_chunkin": True}, "did you mean 'late_chunking'?"),
        ({"input": "a", "dimensions": 7}, "has vectors of 32 dims, got 7"),
        ({"input": "a", "dimensions": float("nan")}, "dimensions must be a whole number"),
        ({"input": "a", "normalized": False}, "all vectors are of unit length"),
        ({"input": "a", "embedding_type": "int4"}, "embedding_type must be one of"),
        ({"input": "a", "late_chunking": True, "input_type": "query"}, "late_chunking is for the passages"),
        ({"input": "a", "task": "separation"}, "has no tasks of its own"),
        ({"input": "a", "dimensions": 8, "output_dimension": 16}, "choose one"),
        ({"input": "a " * 530_000}, "at most 1,048,576 characters together, and these have 1,060,000"),
        ({"input": [None] * 500_000}, "input.0 must be a string, got None"),
        ({f"field{number}": 1 for number in range(200_000)}, "at most 64 fields, got 200,000"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(url, body, said):
    import json

    answer = httpx.post(
        f"{url}/v1/embeddings", content=json.dumps(body), headers={"Content-Type": "application/json"}, timeout=60
    )

    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert answer.json()["error"]["message"] == answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "inputs (Voyage) or input (Perplexity) is needed"),
        ({"inputs": [["a"]], "input": [["a"]]}, "and not both"),
        ({"inputs": ["a"]}, "must be a list of lists"),
        ({"inputs": [[]]}, "at least one chunk"),
        ({"inputs": [["a", "b"]], "input_type": "query"}, "one text each"),
        ({"inputs": [["a", "b"]], "enable_auto_chunking": True}, "one text each"),
        ({"inputs": ["a"], "enable_auto_chunking": True, "input_type": "query"}, "queries are not cut"),
        ({"inputs": [["a"]], "chunk_size": 8}, "need enable_auto_chunking=true"),
        ({"inputs": ["a"], "enable_auto_chunking": True, "chunk_size": 8, "chunk_overlap": 8}, "must be below"),
        ({"inputs": [["a"], ["b", "\t"]]}, "input[1][1] must not be blank"),
        ({"inputs": [[None] * 10] * 50_000}, "must be"),
        ({"inputs": [["a"]] * 2_049}, "1 to 2,048 texts"),
        ({"inputs": [[]] * 1_000_000}, "at most 100000 items"),
    ],
)
def test_a_wrong_contextual_request_is_told_what_is_wrong(ask, body, said):
    assert said in ask("/v1/contextualizedembeddings", 400, **body)["detail"]


def test_chunks_that_overlap_come_back_as_they_were_cut(ask):
    words = " ".join(f"word{number}" for number in range(40))

    answer = ask(
        "/v1/contextualizedembeddings", inputs=[words], enable_auto_chunking=True, chunk_size=30, chunk_overlap=10
    )

    texts = [one["text"] for one in answer["data"][0]["data"]]
    assert len(texts) > 1
    assert all(text in words for text in texts)
    assert sum(map(len, texts)) > len(words)


def test_too_many_tokens_are_refused(encoder):
    from latechunk.serving import Limits

    with open_served(encoder=encoder, limits=Limits(tokens=20)) as served, running(make_app(served)) as url:
        answers = [
            httpx.post(f"{url}/v1/embeddings", json={"input": ["a " * 15, "b " * 15], **more})
            for more in ({}, {"late_chunking": True}, {"input_type": "query"})
        ]

    assert [one.status_code for one in answers] == [400] * 3
    assert all("at most 20 tokens together, and these have 30" in one.json()["detail"] for one in answers)
