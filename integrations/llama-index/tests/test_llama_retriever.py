import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.indices.query.query_transform import DecomposeQueryTransform
from llama_index.core.llms import MockLLM
from llama_index.core.schema import MetadataMode, NodeRelationship, ObjectType, QueryBundle
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.retrievers.latechunk import LateChunkEmbedding, LateChunkRetriever, read_nodes, to_documents

from latechunk import Document, Index, SentenceChunker
from latechunk.errors import (
    DocumentError,
    FilterError,
    IndexBusyError,
    IndexMismatchError,
    InputError,
    QueryError,
    StoreError,
)

TOP = 50


def places(nodes):
    return [(found.node.ref_doc_id, found.node.start_char_idx, found.node.end_char_idx) for found in nodes]


def test_nodes_are_what_the_index_finds(index, documents):
    texts = {one.id_: one.text for one in documents}
    hits = index.search("Which river runs through Paris?", k=3)

    nodes = LateChunkRetriever(index, similarity_top_k=3).retrieve("Which river runs through Paris?")

    assert [found.score for found in nodes] == [hit.score for hit in hits]
    assert places(nodes) == [(hit.chunk.document_id, hit.chunk.start, hit.chunk.end) for hit in hits]
    for found in nodes:
        node = found.node
        assert node.text == texts[node.ref_doc_id][node.start_char_idx : node.end_char_idx]
        assert node.source_node.node_type == ObjectType.DOCUMENT
        assert node.metadata == index.get(node.ref_doc_id).metadata == node.source_node.metadata


def test_every_chunk_knows_its_neighbours(index, documents):
    nodes = {one.node_id: one.node for one in LateChunkRetriever(index, similarity_top_k=TOP).retrieve("capital")}

    for document in documents:
        own = sorted((one for one in nodes.values() if one.ref_doc_id == document.id_), key=lambda n: n.start_char_idx)
        assert "".join(one.text for one in own) == document.text
        for one, following in zip(own, [*own[1:], None], strict=True):
            assert (one.next_node and one.next_node.node_id) == (following and following.node_id)
            assert following is None or following.prev_node.node_id == one.node_id
        assert own[0].prev_node is None


def test_neighbours_may_be_left_out(index):
    nodes = LateChunkRetriever(index, link_neighbours=False).retrieve("capital")

    assert {tuple(found.node.relationships) for found in nodes} == {(NodeRelationship.SOURCE,)}


def test_ids_are_those_of_the_transform(index, documents, transform):
    retrieved = {found.node_id: found.text for found in LateChunkRetriever(index, similarity_top_k=TOP).retrieve("a")}

    assert retrieved == {node.node_id: node.text for node in transform(documents)}


def test_joined_passages_have_ids_and_neighbours_of_their_own(index, documents):
    single = LateChunkRetriever(index, similarity_top_k=TOP).retrieve("It has many people.")
    by_number = [
        next(one.node for one in single if one.node.ref_doc_id == "berlin" and one.text == chunk.text)
        for chunk in index.chunks("berlin")[:4]
    ]

    (found,) = LateChunkRetriever(index, similarity_top_k=1, expand=1).retrieve("It has many people.")

    assert (found.node.start_char_idx, found.node.end_char_idx) == (0, by_number[2].end_char_idx)
    assert found.node.text == documents[0].text[: by_number[2].end_char_idx]
    assert found.node_id not in {one.node_id for one in single}
    assert found.node.prev_node is None
    assert found.node.next_node.node_id == by_number[3].node_id


def test_metadata_belongs_to_the_caller(index):
    retriever = LateChunkRetriever(index, similarity_top_k=TOP)
    for found in retriever.retrieve("capital"):
        found.node.metadata["year"] = "changed"
        found.node.metadata.setdefault("tags", []).append("changed")

    assert all("changed" not in str(found.node.metadata) for found in retriever.retrieve("capital"))


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "lexical"},
        {"mode": "hybrid"},
        {"mode": "hybrid", "fusion": "rrf", "dense_weight": 0.2},
        {"filter": {"year": {"$gt": 1000}}},
        {"document_ids": ["paris"]},
        {"score_threshold": 0.1},
        {"mmr": 0.5},
        {"mmr": 0.5, "candidates": 8},
        {"per_document": True},
        {"expand": 1},
        {"rerank": lambda question, texts: [float(len(text)) for text in texts]},
    ],
)
def test_options_are_those_of_the_index(index, options):
    hits = index.search("capital of France", k=4, **options)

    nodes = LateChunkRetriever(index, similarity_top_k=4, **options).retrieve("capital of France")

    assert hits
    assert [(found.score, found.text) for found in nodes] == [(hit.score, hit.chunk.text) for hit in hits]


def test_granularities(tmp_path, encoder, documents):
    chunkers = {"small": SentenceChunker(max_tokens=8), "large": SentenceChunker(max_tokens=20)}
    with Index.create(tmp_path / "two.latechunk", encoder=encoder, chunkers=chunkers) as index:
        index.add(to_documents(documents))
        large = {(one.start, one.end): one for one in index.chunks("berlin", granularity="large")}

        (found,) = LateChunkRetriever(index, similarity_top_k=1, within="large", document_ids=["berlin"]).retrieve("a")
        assert (found.node.start_char_idx, found.node.end_char_idx) in large
        neighbours = [one for one in (found.node.prev_node, found.node.next_node) if one]
        assert len(large) > 1
        assert neighbours

        everything = LateChunkRetriever(index, similarity_top_k=TOP, granularity="large", document_ids=["berlin"])
        assert {(o.node.start_char_idx, o.node.end_char_idx) for o in everything.retrieve("a")} == set(large)


def test_a_citation_stands_where_an_llm_reads_it(index):
    (found,) = LateChunkRetriever(index, similarity_top_k=1, citation_key="source").retrieve("Hello there.")

    assert found.node.metadata["source"] == "stub:0-12"
    assert found.node.get_content(MetadataMode.LLM) == "source: stub:0-12\n\nHello there."

    with pytest.raises(DocumentError, match="has the metadata key 'year' already"):
        LateChunkRetriever(index, citation_key="year").retrieve("Berlin")


def test_metadata_that_no_llm_is_shown(index):
    (found,) = LateChunkRetriever(index, similarity_top_k=1, excluded_metadata_keys=["year"]).retrieve("Germany")

    assert found.metadata == {"year": 1237, "tags": ["river", "wall"]}
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert found.node.get_content(mode).startswith("tags: ['river', 'wall']\n\nBerlin")
    with pytest.raises(InputError, match="excluded_metadata_keys must be a list of strings, got 'year'"):
        LateChunkRetriever(index, excluded_metadata_keys="year")


def test_a_vector_that_another_retriever_left_is_passed_over(index):
    retriever = LateChunkRetriever(index)

    expected = places(retriever.retrieve("Which river?"))

    assert places(retriever.retrieve(QueryBundle("Which river?", embedding=[1.0, 2.0]))) == expected


def test_hypothetical_answers_are_averaged(index, encoder):
    texts = ["The Seine runs through it.", "Crème brûlée is eaten there."]
    vector = (encoder.encode_query(texts[0]) + encoder.encode_query(texts[1])) / 2
    hits = index.search_by_vector(vector, 3)

    nodes = LateChunkRetriever(index, similarity_top_k=3).retrieve(QueryBundle("x", custom_embedding_strs=texts))

    assert [found.text for found in nodes] == [hit.chunk.text for hit in hits]
    with pytest.raises(InputError, match='custom_embedding_strs.*mode="dense"'):
        LateChunkRetriever(index, mode="hybrid").retrieve(QueryBundle("x", custom_embedding_strs=texts))


def test_a_decomposed_question_is_searched_for_as_any_other(index):
    question = DecomposeQueryTransform(llm=MockLLM()).run("Which river?", metadata={"index_summary": "Cities."})
    assert question.custom_embedding_strs == [question.query_str]

    for options in ({}, {"mode": "hybrid"}):
        retriever = LateChunkRetriever(index, **options)
        assert retriever.retrieve(question) == retriever.retrieve(question.query_str)


def test_bad_arguments_are_errors_at_once(index, encoder):
    with pytest.raises(InputError, match=r"takes an open latechunk.Index, got str: .*Index.open"):
        LateChunkRetriever("cities.latechunk")
    with pytest.raises(InputError, match="got VectorStoreIndex"):
        LateChunkRetriever(VectorStoreIndex([], embed_model=LateChunkEmbedding(encoder=encoder)))
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        LateChunkRetriever(index, similarity_top_k=0)
    with pytest.raises(InputError, match="mode must be one of"):
        LateChunkRetriever(index, mode="magic")
    with pytest.raises(FilterError, match="year.*gtt"):
        LateChunkRetriever(index, filter={"year": {"$gtt": 1}})
    with pytest.raises(InputError, match="filters and filter both"):
        LateChunkRetriever(index, filter={}, filters=MetadataFilters(filters=[]))
    bad = MetadataFilters(filters=[MetadataFilter(key="a", operator="all", value="b")])
    with pytest.raises(FilterError, match="'all' and needs a list"):
        LateChunkRetriever(index, filters=bad)


def test_questions_and_states_that_cannot_be(index):
    retriever = LateChunkRetriever(index)

    with pytest.raises(QueryError):
        retriever.retrieve(" ")
    index.close()
    with pytest.raises(StoreError, match="closed"):
        retriever.retrieve("Berlin")


def test_an_index_of_another_model_is_refused(index, other_encoder):
    with pytest.raises(IndexMismatchError, match="its seed is 'words', yours is 'other words'"):
        LateChunkRetriever(Index.open(index.path, encoder=other_encoder))
    with pytest.raises(IndexMismatchError, match="another model than the embed_model's.*Leave embed_model out"):
        LateChunkRetriever(index, embed_model=LateChunkEmbedding(encoder=other_encoder))
    with pytest.raises(IndexMismatchError, match="encoder of your own"), Index.open(index.path) as alone:
        LateChunkRetriever(alone).retrieve("Berlin")


def test_an_embed_model_of_the_index_may_encode_queries(index, encoder):
    class Shouting(type(encoder)):
        def encode_query(self, text):
            return super().encode_query(f"{text} Paris")

    shouting = LateChunkEmbedding(encoder=Shouting())
    expected = [hit.chunk.text for hit in index.search("Seine Paris", 3, mode="dense")]

    nodes = LateChunkRetriever(index, similarity_top_k=3, embed_model=shouting).retrieve("Seine")

    assert [found.text for found in nodes] == expected
    with pytest.raises(InputError, match='embed_model is for mode="dense"'):
        LateChunkRetriever(index, mode="lexical", embed_model=shouting)
    with pytest.raises(InputError, match="must be a LateChunkEmbedding, got WordEncoder"):
        LateChunkRetriever(index, embed_model=encoder)


def test_asking_does_not_block_the_loop(index, encoder, monkeypatch):
    encode = encoder.encode_query

    async def ask():
        begun, go_on = asyncio.Event(), threading.Event()
        loop, own = asyncio.get_running_loop(), threading.get_ident()

        def wait(text):
            assert threading.get_ident() != own  # or nobody could set go_on
            loop.call_soon_threadsafe(begun.set)
            go_on.wait()
            return encode(text)

        monkeypatch.setattr(encoder, "encode_query", wait)
        task = asyncio.create_task(LateChunkRetriever(index, similarity_top_k=1).aretrieve("Hello there."))
        await asyncio.wait({task, asyncio.ensure_future(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        return await task

    assert places(asyncio.run(ask())) == [("stub", 0, 12)]


N_DOCUMENTS, N_VERSIONS = 20, 40


def text_about(number, version):
    return f"Marker{number} begins here. Version{version} of text {number}. It ends."


def document_about(number, version):
    return Document(f"d{number}", text_about(number, version), {"n": number})


def ask_about(number):
    return f"Marker{number} begins here."


def check_nodes(number, nodes):
    """The right document comes first, and every node is a piece of some state of its own document."""
    assert nodes[0].node.ref_doc_id == f"d{number}"
    for found in nodes:
        node, own = found.node, found.node.metadata["n"]
        assert node.ref_doc_id == f"d{own}"
        texts = {text_about(own, version)[node.start_char_idx : node.end_char_idx] for version in range(N_VERSIONS)}
        assert node.text in texts


def ask_until(stop, retriever, number):
    n_asked = 0
    while not stop.is_set() or not n_asked:
        check_nodes(number, retriever.retrieve(ask_about(number)))
        n_asked += 1
    return n_asked


async def ask_in_tasks(retriever, n_tasks):
    async def ask(number):
        for _ in range(3):
            check_nodes(number, await retriever.aretrieve(ask_about(number)))

    await asyncio.gather(*(ask(task % N_DOCUMENTS) for task in range(n_tasks)))


def add_versions(index):
    for version in range(1, N_VERSIONS):
        index.add([document_about(number, version) for number in range(0, N_DOCUMENTS, 3)])
        index.add([document_about(100 + version, 0)])


def test_threads_and_tasks_ask_while_documents_are_added(tmp_path, encoder):
    """Ten threads and fifty tasks ask one retriever while an eleventh thread adds and replaces documents."""
    stop = threading.Event()
    with (
        Index.create(tmp_path / "busy.latechunk", encoder=encoder, chunker=SentenceChunker(max_tokens=4)) as index,
        ThreadPoolExecutor(11) as pool,
    ):
        index.add([document_about(number, 0) for number in range(N_DOCUMENTS)])
        retriever = LateChunkRetriever(index, similarity_top_k=3)
        asking = [pool.submit(ask_until, stop, retriever, number) for number in range(10)]
        adding = pool.submit(add_versions, index)
        try:
            asyncio.run(ask_in_tasks(retriever, 50))
            adding.result()
        finally:
            stop.set()
        assert all(one.result() for one in asking)
        assert len(index) == N_DOCUMENTS + N_VERSIONS - 1
        newest = LateChunkRetriever(index, similarity_top_k=1, document_ids=["d0"]).retrieve("Version39 of text 0.")
        assert newest[0].text.startswith("Version39 of text")


def test_an_index_that_another_process_writes(index, transform):
    """Searching goes on; a change waits, and then says who is in the way."""
    hold = (
        "import sys, pathlib; from latechunk.storage.directory import hold_write_lock\n"
        "with hold_write_lock(pathlib.Path(sys.argv[1]), timeout=10): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(index.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with Index.open(index.path, encoder=transform.encoder, lock_timeout=0.1) as here:
            assert places(LateChunkRetriever(here, similarity_top_k=1).retrieve("Hello there.")) == [("stub", 0, 12)]
            with pytest.raises(IndexBusyError, match="being written by another process.*try the change again"):
                here.add([Document("new", "Something new.")])
    finally:
        holder.communicate()
    with Index.open(index.path, encoder=transform.encoder) as here:
        here.add([Document("new", "Something new.")])
        index_sees = LateChunkRetriever(index, similarity_top_k=1).retrieve("Something new.")
    assert places(index_sees) == [("new", 0, 14)]


@pytest.mark.parametrize("name", ["k", "top_k"])
def test_how_many_is_called_similarity_top_k(index, name):
    with pytest.raises(InputError, match=f"how many nodes to give is similarity_top_k here; got {name}"):
        LateChunkRetriever(index, **{name: 2})


@pytest.mark.parametrize("key", [5, "", b"place", ["place"]])
def test_a_citation_key_is_checked_at_once(index, key, tmp_path):
    for make in (lambda: LateChunkRetriever(index, citation_key=key), lambda: read_nodes(tmp_path, citation_key=key)):
        with pytest.raises(InputError, match="citation_key must be the name of a metadata key, or None"):
            make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "pages"}, "granularity must be one of the index's granularities, 'chunks'"),
        ({"within": "chunks"}, "within must name another granularity"),
        ({"filter": {"year": {"$gtt": 1}}}, "gtt"),
    ],
)
def test_options_that_do_not_fit_the_index_are_told_at_once(index, options, message):
    with pytest.raises(InputError, match=message):
        LateChunkRetriever(index, **options)


def test_words_of_an_index_without_them_are_told_at_once(tmp_path, encoder):
    with Index.create(tmp_path / "x", encoder=encoder, words=False) as index:
        for mode in ("lexical", "hybrid"):
            with pytest.raises(InputError, match="made without lexical search"):
                LateChunkRetriever(index, mode=mode)
