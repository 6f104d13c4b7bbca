"""What the standard suite leaves out: scores, vectors, diversity, filters, thresholds, ids, persistence."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStoreRetriever
from langchain_latechunk import LateChunkEmbeddings, LateChunkRetriever, LateChunkVectorStore

from latechunk import Index, SentenceChunker
from latechunk.errors import DocumentError, FilterError, IndexExistsError, IndexMissingError, InputError, QueryError


def test_a_document_goes_in_whole_and_comes_out_in_chunks(store, index, documents):
    assert store.add_documents(documents) == ["berlin", "paris", "stub"]

    found = store.similarity_search("people", k=10)

    whole = {document.id: document.page_content for document in documents}
    assert index.get("berlin").text == whole["berlin"]
    assert {one.id for one in found} == {"berlin#0", "berlin#1", "berlin#2", "paris#0", "paris#1", "stub"}
    for one in found:
        assert one.page_content in whole[one.id.partition("#")[0]]
        own = next(d.metadata for d in documents if d.id == one.id.partition("#")[0])
        assert one.metadata | own == one.metadata


def test_the_vectors_are_late(store, fake, index, documents):
    store.add_documents(documents[:1])
    (alone,) = LateChunkEmbeddings(fake).embed_documents(["It has many people."])

    (late,) = index.search_by_vector(np.array(alone, dtype=np.float32), 1)

    assert late.chunk.text == "It has many people. "
    assert 0.9 < late.score < 0.9999  # the words before and after the chunk reach into it


def test_ids_are_those_given_or_the_documents_or_made_from_the_text(store):
    ids = store.add_documents([Document("one", id="own"), Document("two", id="own2")], ids=["given", None])
    (first,), (second,) = store.add_documents([Document("three")]), store.add_texts(["four"])

    assert ids == ["given", "own2"]
    assert first != second
    assert {one.id for one in store.get_by_ids(["given", "own2", first, second])} == {"given", "own2", first, second}


def test_adding_documents_without_ids_twice_changes_nothing(store, fake):
    loaded = [Document("A file.", metadata={"source": "a.md"}), Document("A text.")]
    rows = [Document(f"name: {n}", metadata={"source": "a.csv", "row": n}) for n in range(2)]

    first = store.add_documents([*loaded, *rows])
    n_encoded = fake.n_encoded
    assert store.add_documents([*loaded, *rows]) == first
    assert store.add_documents(rows[1:]) == first[3:]
    assert (first[0], len(set(first)), len(store.index), fake.n_encoded) == ("a.md", 4, 4, n_encoded)
    assert store.add_documents([Document("The file changed.", metadata={"source": "a.md"})]) == ["a.md"]
    assert len(store.index) == 4


def test_what_comes_from_one_source_that_is_no_file_is_kept(store):
    for text, source in (("One.", "tweet"), ("Two.", "news"), ("Three.", "tweet")):
        store.add_documents([Document(text, metadata={"source": source})])

    assert {one.page_content for one in store.similarity_search("tweet", k=4)} == {"One.", "Two.", "Three."}


def test_replacing_a_document_drops_its_old_chunks(store, documents):
    store.add_documents(documents)
    store.add_documents([Document("Berlin is smaller now.", id="berlin")])

    found = store.similarity_search("Berlin", k=10)

    assert [one.page_content for one in found if one.id.startswith("berlin")] == ["Berlin is smaller now."]


def test_get_by_ids_takes_documents_and_chunks(store, documents):
    store.add_documents(documents)

    whole, chunk, part, only = store.get_by_ids(["berlin", "berlin#1", "berlin#10:20", "stub#0"])

    assert (whole.id, whole.page_content, whole.metadata) == (
        "berlin",
        documents[0].page_content,
        {"n": 1, "source": "berlin.txt"},
    )
    assert (chunk.id, chunk.page_content) == ("berlin#1", "It has many people. ")
    assert (part.id, part.page_content) == ("berlin#10:20", documents[0].page_content[10:20])
    assert (only.id, only.page_content) == ("stub#0", "Hello there.")
    assert store.get_by_ids(["no", "no#1", "berlin#9", "berlin#7:5", "berlin#0:1000", "", "#1", "berlin#-1"]) == []


def test_no_other_chunks_are_read_than_those_of_the_ids(store, index, documents, monkeypatch):
    store.add_documents(documents)
    read, chunks = [], index.chunks
    monkeypatch.setattr(
        index, "chunks", lambda *one, number: read.append((*one, number)) or chunks(*one, number=number)
    )

    found = store.get_by_ids(["berlin#0", "paris#1", "berlin#2", "berlin#0", "paris#0"])

    assert [one.id for one in found] == ["berlin#0", "paris#1", "berlin#2", "berlin#0", "paris#0"]
    assert sorted({*read}) == [("berlin", 0), ("berlin", 2), ("paris", 0), ("paris", 1)]


def test_a_hit_does_not_read_the_rest_of_its_document(store, index, documents, monkeypatch):
    store.add_documents(documents)
    read, get = [], index.get
    monkeypatch.setattr(index, "get", lambda name: read.append(name) or get(name))

    found = store.similarity_search("people", k=10)

    assert {"berlin#0", "paris#0", "stub"} < {one.id for one in found}
    assert read == ["stub"]  # which is one chunk


def test_every_id_that_a_search_gives_can_be_looked_up(tmp_path, fake, documents):
    chunkers = {"small": SentenceChunker(max_tokens=8), "large": SentenceChunker(max_tokens=12)}
    with Index.create(tmp_path / "x", encoder=fake, chunkers=chunkers) as index:
        store = LateChunkVectorStore(index, add_chunk_metadata=False)
        store.add_documents(documents)
        for options in ({}, {"expand": 1}, {"within": "large"}, {"granularity": "large"}):
            for found in store.similarity_search("people", k=10, **options):
                (again,) = store.get_by_ids([found.id])
                assert again == found, options


def test_a_chunk_knows_its_place(store, index, documents):
    store.add_documents(documents)

    ((found, _),) = store.similarity_search_with_score("many people", k=1)

    assert found.metadata == {
        "source": "berlin.txt",
        "n": 1,
        "latechunk_document_id": "berlin",
        "latechunk_chunk": 1,
        "latechunk_granularity": "chunks",
        "start_index": 34,
        "end_index": 54,
    }
    assert documents[0].page_content[34:54] == found.page_content
    (same,) = store.get_by_ids(["berlin#1"])
    assert same == found
    (retrieved,) = store.as_retriever(search_kwargs={"k": 1}).invoke("many people")
    assert retrieved == LateChunkRetriever(index=index, k=1).invoke("many people")[0] == found
    bare = LateChunkVectorStore(index, add_chunk_metadata=False).similarity_search("many people", k=1)[0]
    assert bare.metadata == {"source": "berlin.txt", "n": 1}


def test_scores_are_those_of_the_index(store, index, documents):
    store.add_documents(documents)

    pairs = store.similarity_search_with_score("The Seine", k=3)

    hits = index.search("The Seine", 3)
    assert [score for _, score in pairs] == [hit.score for hit in hits]
    assert [one.page_content for one, _ in pairs] == [hit.chunk.text for hit in hits]


def test_relevance_lies_between_0_and_1(store, documents):
    store.add_documents(documents)

    cosines = [score for _, score in store.similarity_search_with_score("Hello there.", k=10, mode="dense")]
    relevance = [
        score for _, score in store.similarity_search_with_relevance_scores("Hello there.", k=10, mode="dense")
    ]
    above = store.similarity_search_with_relevance_scores("Hello there.", k=10, mode="dense", score_threshold=0.9)

    assert relevance == pytest.approx([(cosine + 1) / 2 for cosine in cosines])
    assert [one.id for one, _ in above] == ["stub"]
    assert min(cosines) < 0.5 < max(cosines)


@pytest.mark.parametrize(
    ("options", "to_relevance"),
    [
        ({}, lambda score: 0.5 + 0.5 * score / (1 + abs(score))),
        ({"fusion": "rrf"}, lambda score: 61 * score),
        ({"mode": "lexical"}, lambda score: score / (1 + score)),
    ],
    ids=["default", "rrf", "lexical"],
)
async def test_relevance_grows_with_the_score_in_every_mode(store, documents, options, to_relevance):
    store.add_documents(documents)

    scores = [score for _, score in store.similarity_search_with_score("the Seine", k=10, **options)]
    found = store.similarity_search_with_relevance_scores("the Seine", k=10, **options)
    relevance = [score for _, score in found]
    assert relevance == pytest.approx([to_relevance(score) for score in scores])
    assert relevance == sorted(relevance, reverse=True)
    assert 1 >= relevance[0] > relevance[-1] >= 0
    assert await store.asimilarity_search_with_relevance_scores("the Seine", k=10, **options) == found
    if not options:
        assert store._select_relevance_score_fn()(scores[0]) == relevance[0]


def test_relevance_of_a_reranker_is_refused(store, documents):
    store.add_documents(documents)

    with pytest.raises(InputError, match="what a reranker gives may be any number"):
        store.similarity_search_with_relevance_scores("Hello", rerank=lambda question, texts: [0.0] * len(texts))


def test_search_by_vector_is_search_by_its_text(store, documents):
    store.add_documents(documents)
    vector = store.embeddings.embed_query("The Seine")

    assert store.similarity_search_by_vector(vector, k=2) == store.similarity_search("The Seine", k=2, mode="dense")
    assert store.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.3) == (
        store.max_marginal_relevance_search("The Seine", k=2, lambda_mult=0.3, mode="dense")
    )


def test_diversity_skips_repetition(store):
    store.add_texts(["red apple", "red apple", "green pear"], ids=["a", "b", "c"])

    near = [one.id for one in store.similarity_search("red apple", k=2)]
    diverse = [one.id for one in store.max_marginal_relevance_search("red apple", k=2, lambda_mult=0.1)]
    relevant = [one.id for one in store.max_marginal_relevance_search("red apple", k=2, lambda_mult=1.0)]
    few = [one.id for one in store.max_marginal_relevance_search("red apple", k=2, fetch_k=1, lambda_mult=0.1)]

    assert near == relevant == ["a", "b"]
    assert diverse == ["a", "c"]
    assert few == ["a", "b"]  # fetch_k below k is k


def test_filters_and_thresholds_and_modes(store, documents):
    store.add_documents(documents)

    assert {one.metadata["n"] for one in store.similarity_search("it", k=9, filter={"n": {"$gt": 1}})} == {2}
    assert {one.id for one in store.similarity_search("it", k=9, document_ids=["stub"])} == {"stub"}
    assert [one.id for one in store.similarity_search("Hello there.", k=9, mode="dense", score_threshold=0.99)] == [
        "stub"
    ]
    assert [one.id for one in store.similarity_search("Seine", k=9, mode="lexical")] == ["paris#1"]
    assert len(store.similarity_search("it", k=9, per_document=True)) == 3
    with pytest.raises(FilterError, match="did you mean"):
        store.similarity_search("it", filter={"n": {"$gte ": 1}})


def test_expanded_passages_have_ids_of_their_own(store, documents):
    store.add_documents(documents)

    (found,) = store.similarity_search("many people", k=1, expand=1)

    assert (found.id, found.page_content) == ("berlin", documents[0].page_content)  # all of it


def test_unknown_keywords_are_named(store, documents):
    store.add_documents(documents)

    with pytest.raises(InputError, match="there is no 'filters': did you mean 'filter'"):
        store.similarity_search("it", filters={})
    with pytest.raises(InputError, match='leave out rerank, and any mode but "dense"'):
        store.similarity_search_by_vector([1.0] * 16, mode="lexical")
    with pytest.raises(InputError, match="got collection_name"):
        LateChunkVectorStore.from_texts([], store.embeddings, collection_name="x")


def test_every_option_of_a_search_is_taken(store, documents):
    store.add_documents(documents)
    options = {"mode": "hybrid", "fusion": "rrf", "dense_weight": 0.25, "candidates": 7, "document_ids": ["paris"]}

    found = store.similarity_search_with_score("the capital", 2, **options)

    hits = store.index.search("the capital", 2, **options)
    assert [(one.page_content, score) for one, score in found] == [(hit.chunk.text, hit.score) for hit in hits]
    assert {hit.chunk.document_id for hit in hits} == {"paris"}
    assert hits != store.index.search("the capital", 2, document_ids=["paris"])


@pytest.mark.parametrize("vector", [[1.0], [0.0] * 16, [float("nan")] * 16])
def test_a_vector_that_is_none(store, documents, vector):
    store.add_documents(documents)
    with pytest.raises(InputError, match="the vector must be"):
        store.similarity_search_by_vector(vector)


def test_an_empty_query(store, documents):
    store.add_documents(documents)
    with pytest.raises(QueryError):
        store.similarity_search("")


def test_delete(store, documents):
    store.add_documents(documents)

    assert store.delete(["berlin", "nobody"]) is True
    assert store.delete([]) is True
    assert store.get_by_ids(["berlin"]) == []
    assert len(store.similarity_search("it", k=9)) == 3
    assert store.delete(store.index.ids()) is True
    assert store.similarity_search("it", k=9) == []


async def test_delete_by_filter(store):
    store.add_documents(
        [Document(f"Text {n}.", id=str(n), metadata={"lang": "de" if n < 2 else "en"}) for n in range(6)]
    )

    assert store.delete(["0", "2"], filter={"lang": "en"}) is True
    assert store.index.ids() == ["0", "1", "3", "4", "5"]
    assert store.delete(document_ids=["3", "4"], ids=["4", "5"]) is True
    assert store.index.ids() == ["0", "1", "3", "5"]
    assert await store.adelete(filter={"lang": "de"}) is True
    assert store.index.ids() == ["3", "5"]
    assert await store.adelete(document_ids=["3", "nobody"]) is True
    assert store.index.ids() == ["5"]


@pytest.mark.parametrize("nothing", [{}, {"ids": None}, {"filter": {}}])
async def test_delete_with_nothing_said(store, documents, nothing):
    store.add_documents(documents)

    with pytest.raises(InputError, match=r"to empty the store say so: delete\(store.index.ids\(\)\)"):
        store.delete(**nothing)
    with pytest.raises(InputError, match="to empty the store"):
        await store.adelete(**nothing)
    with pytest.raises(InputError, match="a filter that not every document meets"):
        store.delete(filter={"$and": [{}]})
    assert len(store.index) == 3


def test_no_keyword_is_without_effect(store, documents):
    for add in (store.add_documents, lambda _, **given: store.add_texts(["Text."], **given)):
        with pytest.raises(
            InputError, match="batch_size, on_error and show_progress and no further keywords; got namespace"
        ):
            add(documents, namespace="x")
    with pytest.raises(InputError, match="batch_size must be a whole number"):
        store.add_documents(documents, batch_size=0)
    with pytest.raises(InputError, match=r'as_retriever has no filter, k; .* as_retriever\(search_kwargs={"filter"'):
        store.as_retriever(k=1, filter={"n": 2})
    with pytest.raises(InputError, match='fetch_k and lambda_mult would have no effect: pass search_type="mmr"'):
        store.as_retriever(search_kwargs={"lambda_mult": 0.3, "fetch_k": 9})
    assert len(store.index) == 0


def test_batch_size_says_how_many_are_committed_together(store, documents):
    with pytest.raises(DocumentError, match="holds no token"):
        store.add_documents([*documents, Document(" ", id="blank")], batch_size=2)
    assert store.index.ids() == ["berlin", "paris"]


def test_as_retriever(store, documents):
    store.add_documents(documents)
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"n": 2}})

    assert isinstance(retriever, VectorStoreRetriever)
    assert [one.id for one in retriever.invoke("The Seine")] == ["paris#1"]
    assert len(retriever.invoke("The Seine", k=2)) == 2
    assert len(store.as_retriever(search_type="mmr", search_kwargs={"k": 2}).invoke("it")) == 2
    threshold = {"score_threshold": 0.99, "mode": "dense"}
    best = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=threshold)
    assert [one.id for one in best.invoke("Hello there.")] == ["stub"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"filters": {"n": 2}}, "there is no 'filters': did you mean 'filter'"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"filter": {"n": {"$gtt": 2}}}, "did you mean"),
        ({"granularity": "pages"}, "granularity must be one of the index's granularities"),
    ],
)
def test_what_a_retriever_cannot_search_with_is_told_when_it_is_made(store, given, message):
    for search_type in ("similarity", "mmr"):
        with pytest.raises(InputError, match=message):
            store.as_retriever(search_type=search_type, search_kwargs=given)
    store.as_retriever(search_kwargs={"candidates": 5})  # k is 4 then


async def test_async_twins(tmp_path, embedding, documents):
    store = await LateChunkVectorStore.afrom_documents(documents, embedding, path=tmp_path / "x")
    with store:
        vector = await store.embeddings.aembed_query("people")
        assert (await store.asimilarity_search("Hello there.", k=1))[0].id == "stub"
        found = store.similarity_search("people", k=2, mode="dense")
        assert await store.asimilarity_search_by_vector(vector, k=2) == found
        assert len(await store.amax_marginal_relevance_search("people", k=2)) == 2
        assert len(await store.amax_marginal_relevance_search_by_vector(vector, k=2)) == 2
        assert (await store.asimilarity_search_with_relevance_scores("people", k=1))[0][1] <= 1
        assert await store.aadd_documents([Document("new", id="new")]) == ["new"]
        assert len(await store.aadd_texts(["newer"])) == 1
        assert (await store.aget_by_ids(["new"]))[0].page_content == "new"
        assert await store.adelete(["new"]) is True
        assert len(await store.as_retriever().ainvoke("people")) == 3 + 1


async def test_async_twins_leave_the_loop_free(tmp_path, fake, documents):
    begun, free = asyncio.Event(), threading.Event()
    loop, own = asyncio.get_running_loop(), threading.get_ident()
    encode = fake.encode_spans

    def wait(tasks, on_progress=None):
        assert threading.get_ident() != own  # or nobody could set free
        loop.call_soon_threadsafe(begun.set)
        free.wait()
        return encode(tasks, on_progress)

    fake.encode_spans = wait
    with LateChunkVectorStore.create(tmp_path / "x", embedding=LateChunkEmbeddings(fake)) as store:
        adding = asyncio.create_task(store.aadd_documents(documents))
        await asyncio.wait({adding, asyncio.ensure_future(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert not adding.done()
        free.set()
        assert await adding == ["berlin", "paris", "stub"]
    assert threading.get_ident() not in fake.threads


def test_a_store_survives_on_disk(tmp_path, embedding, documents):
    with LateChunkVectorStore.from_documents(documents, embedding, path=tmp_path / "x") as store:
        before = store.similarity_search_with_score("people", k=5)
        n_encoded = embedding.encoder.n_encoded

    with LateChunkVectorStore.open(tmp_path / "x", embedding=embedding) as store:
        assert store.similarity_search_with_score("people", k=5) == before
        assert store.get_by_ids(["paris"])[0].page_content == documents[1].page_content
        store.add_documents(documents)
    assert embedding.encoder.n_encoded == n_encoded

    with pytest.raises(IndexExistsError, match=r"Index\.open"):
        LateChunkVectorStore.create(tmp_path / "x", embedding=embedding)
    with pytest.raises(IndexMissingError, match="there is no index"):
        LateChunkVectorStore.open(tmp_path / "nothing")


def test_opening_loads_the_model_when_it_is_needed(tmp_path, minilm, documents):
    LateChunkVectorStore.from_documents(documents, LateChunkEmbeddings(minilm), path=tmp_path / "x").close()

    with LateChunkVectorStore.open(tmp_path / "x") as store:
        retriever = store.as_retriever(search_kwargs={"k": 1})
        assert store.index._encoder is None
        assert retriever.invoke("Which river is in the capital of France?")[0].id == "paris"


def test_a_temporary_index_goes_with_its_store(embedding, documents):
    store = LateChunkVectorStore.from_documents(documents, embedding)
    folder = store.index.path
    assert store.index.get("berlin").text == documents[0].page_content
    assert folder.is_dir()

    retriever = store.as_retriever()
    del store
    assert retriever.invoke("people")
    del retriever
    assert not folder.parent.exists()


def test_add_texts_counts(store):
    with pytest.raises(InputError, match="metadatas must be as many as the texts, 2, got 1"):
        store.add_texts(["a", "b"], [{}])
    with pytest.raises(InputError, match="ids must be as many as the texts, 2, got 1"):
        store.add_texts(["a", "b"], ids=["1"])
    assert store.index.ids() == []
