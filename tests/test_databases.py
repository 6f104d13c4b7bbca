"""Vector databases filled from folders, kept up to date, and searched as the index is; what is wrong harms nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from latechunk import DatabaseSearcher, Document, Index, Page, SearchOptions, TokenChunker
from latechunk.cli import app
from latechunk.errors import (
    FilterError,
    IndexFormatError,
    IndexMismatchError,
    IndexMissingError,
    InputError,
    QueryError,
    StoreError,
    TransferError,
)
from tests.conftest import SCRIPTS, FakeEncoder

pytest.importorskip("pyarrow")

from latechunk.databases import open_database
from latechunk.databases.rows import list_facets
from latechunk.distributed import PushReport, embed_folder, push_folders
from tests import databases
from tests.databases import KINDS, ListDatabase, new_table, opened

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Payload indexes have no effect")

CHUNKER = TokenChunker(max_tokens=8)
HOSTILE = 'it\'s "q"; DROP TABLE chunks;-- \x00\x01 %s {x} $1'
WORDS = [
    f"{first}{second}" for first in ("ka", "lo", "mi", "nu", "pe", "ro") for second in ("ba", "di", "fo", "gu", "he")
]


class OtherEncoder(FakeEncoder):
    """Of the same dims, and another model."""

    @property
    def settings(self):
        return {**super().settings, "kind": "other"}


def make_documents(n=40):
    draw = random.Random(7)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(3, 45))) for _ in range(n)]
    documents = [
        Document(f"d{number}", text, {"n": number, "half": number / 2, "tags": ["even" if number % 2 == 0 else "odd"]})
        for number, text in enumerate(texts)
    ]
    text = "# Guide\nBerlin is big.\n# Staff\nMany people live there, and all of them work.\n"
    return [
        *documents,
        Document(
            "guide", text, {"lang": "en", "a.b": "x", "a": {"b": "y"}}, pages=(Page(0, 8, "i"), Page(8, len(text)))
        ),
        Document(HOSTILE, f"{HOSTILE} stands in a text.", {HOSTILE: HOSTILE}),
        *(Document(name, text, {"script": name, "none": None}) for name, text in SCRIPTS.items()),
    ]


DOCUMENTS = make_documents()
QUESTIONS = [" ".join(random.Random(seed).choices(WORDS, k=4)) for seed in range(100)]


def embed(documents, out, **options):
    return embed_folder(documents, out, **{"encoder": FakeEncoder(), "chunker": CHUNKER, **options})


def make_index(documents, path):
    index = Index.create(path, encoder=FakeEncoder(), chunker=CHUNKER, vectors="flat")
    index.add(documents)
    return index


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("embedded") / "folder"
    embed(DOCUMENTS, path)
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with make_index(DOCUMENTS, tmp_path_factory.mktemp("indexed") / "index") as index:
        yield index


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory):
    with databases.postgres() as url:
        yield url


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    server = request.getfixturevalue("postgres_url") if request.param == "pgvector" else None
    with databases.database_url(request.param, tmp_path, server) as url:
        yield url


@pytest.fixture
def table():
    return new_table()


@pytest.fixture
def filled(folder):
    """A searcher over a list."""
    database = ListDatabase()
    push_folders([folder], database)
    return DatabaseSearcher(database, encoder=FakeEncoder())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_ask_over_its_parents_connections(filled):
    """With pgvector it got answers to what others asked, with LanceDB it waited without end."""
    found = filled.search("kaba", k=1)
    child = os.fork()
    if not child:
        status = 1
        try:
            for ask in (lambda: filled.search("kaba"), lambda: filled.neighbours([found[0].chunk])):
                with pytest.raises(StoreError, match="open it in this process"):
                    ask()
            filled.close()
            status = 0
        finally:
            os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    assert filled.search("kaba", k=1) == found


def places(hits):
    return [place(hit) for hit in hits]


def place(hit):
    return hit.chunk.document_id, hit.chunk.number


def assert_same_hits(found, expected, tolerance=1e-6):
    """The same chunks in the same order, but for those whose scores rounding may tell apart or not."""
    assert sorted(places(found)) == sorted(places(expected))
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.chunk == other.chunk or abs(one.score - other.score) < tolerance


# --- filled, and asked


def test_it_answers_as_the_index_does_through_both_frameworks_after_changes_as_well(
    url, table, folder, index, tmp_path
):
    langchain = pytest.importorskip("langchain_latechunk")
    llama = pytest.importorskip("llama_index.retrievers.latechunk")
    n_chunks = index.info().n_chunks
    with opened(url, table) as database:
        assert push_folders([folder], database) == PushReport(n_written=len(DOCUMENTS), n_chunks=n_chunks)
        searcher = DatabaseSearcher(database, encoder=FakeEncoder(), exact=True)
        ask(searcher, index, langchain, llama)

        edited = [
            Document("d3", f"{DOCUMENTS[3].text} babaka kaba.", {"n": 3}),  # longer
            Document("d4", "kaba lodi", {"n": 4}),  # shorter
            Document("d5", DOCUMENTS[5].text, {"n": "new"}),  # other metadata
            *(one for one in DOCUMENTS if one.id not in ("d3", "d4", "d5", "d6", "guide")),
        ]
        embed(edited, tmp_path / "edited")
        with make_index(edited, tmp_path / "index") as changed:
            report = push_folders([tmp_path / "edited"], database, prune=True)
            assert (report.n_written, report.n_deleted, report.n_unchanged) == (3, 2, len(DOCUMENTS) - 5)
            ask(searcher, changed, langchain, llama, QUESTIONS[::4])
            assert searcher.database.documents().keys() == set(changed.ids())


def ask(searcher, index, langchain, llama, questions=QUESTIONS):
    ours, theirs = (
        [
            langchain.LateChunkRetriever(index=one, k=10, mode="dense"),
            llama.LateChunkRetriever(one, similarity_top_k=10, mode="dense"),
        ]
        for one in (searcher, index)
    )
    for question in questions:
        found, expected = (one.search(question, k=10, mode="dense") for one in (searcher, index))
        assert_same_hits(found, expected)
        documents = ours[0].invoke(question)
        assert [
            (one.metadata["latechunk_document_id"], one.metadata["latechunk_chunk"]) for one in documents
        ] == places(found)
        assert [one.page_content for one in documents] == [hit.chunk.text for hit in found]
        nodes, others = ([(one.node, one.score) for one in two[1].retrieve(question)] for two in (ours, theirs))
        assert [(node.ref_doc_id, node.start_char_idx) for node, _ in nodes] == [
            (hit.chunk.document_id, hit.chunk.start) for hit in found
        ]
        by_id = {node.node_id: node for node, _ in others}
        assert by_id.keys() == {node.node_id for node, _ in nodes}
        for node, _ in nodes:
            assert node == by_id[node.node_id]  # text, metadata, source and neighbours


def test_a_second_push_writes_nothing(url, table, folder):
    with opened(url, table) as database:
        push_folders([folder], database)
        database.write = None
        assert push_folders([folder], database) == PushReport(n_unchanged=len(DOCUMENTS))
        assert push_folders([folder], database, prune=True) == PushReport(n_unchanged=len(DOCUMENTS))


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from latechunk.databases import open_database
from latechunk.distributed import push_folders, pushing
{patch}
calls = 0
def dying(*args, **keywords):
    global calls
    calls += 1
    if calls == {n}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **keywords)
{target} = dying
pushing._BATCH_ROWS = 15
push_folders([{folder!r}], open_database({url!r}, table={table!r}))
"""
# In the midst of the rows of a document; and what is called there.
MIDST = {
    "postgresql": ("import psycopg; original = psycopg.Copy.write_row", "psycopg.Copy.write_row", 50),
    "qdrant": (
        "from latechunk.databases import qdrant; qdrant._REQUEST_BYTES = 1\noriginal = qdrant.QdrantClient.upsert",
        "qdrant.QdrantClient.upsert",
        40,
    ),
    "lancedb": (
        "from lancedb.table import LanceTable; original = LanceTable.add",
        "LanceTable.add",
        4,
    ),
}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_push_that_is_killed_goes_on_and_ends_whole(url, table, folder, index):
    patch, target, n = MIDST[url.partition(":")[0]]
    root = str(Path(__file__).parent.parent)
    program = KILLED.format(root=root, patch=patch, target=target, n=n, folder=str(folder), url=url, table=table)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr

    with opened(url, table) as database:
        before = database.documents()
        n_whole = sum(digest is not None for digest in before.values())
        assert 0 < n_whole < len(DOCUMENTS)
        report = push_folders([folder], database)
        assert (report.n_written, report.n_unchanged) == (len(DOCUMENTS) - n_whole, n_whole)
        assert push_folders([folder], database).n_written == 0
        searcher = DatabaseSearcher(database, encoder=FakeEncoder())
        everything = [one.search("kaba", k=10_000, mode="dense") for one in (searcher, index)]
        assert_same_hits(*everything)


def test_a_document_of_which_rows_are_gone_is_written_again(url, table, folder, index):
    with opened(url, table) as database:
        push_folders([folder], database)
        rows = [hit.chunk for hit in index.search("kaba", k=10_000, mode="dense") if hit.chunk.document_id == "d7"]
        assert len(rows) > 1
        spoil(database, url, table)
        assert database.documents()["d7"] is None
        assert push_folders([folder], database).n_written == 1
        assert_same_hits(
            DatabaseSearcher(database, encoder=FakeEncoder()).search("kaba", k=10_000, mode="dense"),
            index.search("kaba", k=10_000, mode="dense"),
        )


def spoil(database, url, table):
    """Remove the last chunk of document d7."""
    if url.startswith("postgresql"):
        database._connection().execute(f"DELETE FROM {table} WHERE document_id = 'd7' AND number = n_chunks - 1")
    elif url.startswith("lancedb"):
        database._table.delete("document_id = 'd7' AND number = n_chunks - 1")
    else:
        from latechunk.databases.rows import chunk_id

        last = max(number for number in range(20) if database._client.retrieve(table, [chunk_id("d7", number)]))
        database._client.delete(table, [chunk_id("d7", last)])


# --- words, filters, options


def test_words_of_every_script_are_found(url, table, folder):
    with opened(url, table) as database:
        push_folders([folder], database)
        searcher = DatabaseSearcher(database)  # loads no model
        for name, question in {
            "Latin": "creme BRULEE",
            "Cyrillic": "столица",
            "Han": "首都",
            "Thai": "ประชากร",
            "Devanagari": "राजधानी",
            "Hangul": "수도이다",
            HOSTILE: "drop table",
        }.items():
            hits = searcher.search(question, k=3, mode="lexical")
            assert hits[0].chunk.document_id == name, question
            assert hits[0].dense is None
            assert hits[0].lexical == hits[0].score > 0
        assert searcher.search("xyzzy", mode="lexical") == []


def test_scores_by_words_are_those_of_bm25(url, table, folder, filled):
    if url.startswith("lancedb"):
        pytest.skip("LanceDB has an index of its own, with the mean length of what it holds")
    with opened(url, table) as database:
        push_folders([folder], database)
        for question in QUESTIONS[:20]:
            found, expected = (
                one.search(question, k=200, mode="lexical") for one in (DatabaseSearcher(database), filled)
            )
            assert_same_hits(found, expected, tolerance=1e-5)


def test_dense_and_words_are_fused_by_rank(url, table, folder):
    with opened(url, table) as database:
        push_folders([folder], database)
        searcher = DatabaseSearcher(database, encoder=FakeEncoder())
        question = QUESTIONS[0]
        dense, words = (
            {place(hit): rank for rank, hit in enumerate(searcher.search(question, k=50, mode=mode), start=1)}
            for mode in ("dense", "lexical")
        )
        scores = {
            chunk: sum(share / (60 + ranks[chunk]) for ranks, share in ((dense, 0.65), (words, 0.35)) if chunk in ranks)
            for chunk in [*dense, *words]
        }
        for hit in searcher.search(question, k=10):
            assert hit.score == pytest.approx(scores[place(hit)])
            assert (hit.dense is None, hit.lexical is None) == (place(hit) not in dense, place(hit) not in words)
        best = sorted(scores.values(), reverse=True)[:10]
        assert [hit.score for hit in searcher.search(question, k=10, fusion="rrf")] == pytest.approx(best)
        only_words = searcher.search(question, k=5, dense_weight=0.0)
        expected = [hit.lexical for hit in searcher.search(question, k=5, mode="lexical")]
        assert [hit.lexical for hit in only_words] == pytest.approx(expected)


FILTERS = [
    {},
    {"n": 3},
    {"n": 3.0},
    {"n": "3"},
    {"half": 1.5},
    {"n": {"$ne": 3}},
    {"n": {"$in": [1, 2, "x"]}},
    {"n": {"$in": []}},
    {"n": {"$nin": [1, 2]}},
    {"tags": "even", "n": {"$ne": 4}},
    {"none": None},
    {"lang": {"$not": {"$eq": "en"}}},
    {"a.b": "x"},
    {"a.b": "y"},
    {"a": {"b": "y"}},
    {"$or": [{"n": 1}, {"$and": [{"tags": "odd"}, {"$not": {"n": {"$in": [3, 5]}}}]}]},
    {HOSTILE: HOSTILE},
    {"script": "x' OR '1'='1"},
    {"x] ['\"": "y"},
]
ORDERED = [{"n": {"$gte": 38}}, {"half": {"$lt": 1}}, {"$not": {"n": {"$gt": 2}}}, {"a.b": {"$lte": 1}}]
STRINGS = [{"script": {"$gt": "T"}}, {"a.b": {"$lte": "x"}}, {HOSTILE: {"$gte": HOSTILE}}]


def test_filters_mean_what_they_mean_in_an_index(url, table, folder, index):
    kind = url.partition(":")[0]
    with opened(url, table) as database:
        push_folders([folder], database)
        searcher = DatabaseSearcher(database, encoder=FakeEncoder())

        def found(**options):
            return {hit.chunk.document_id for hit in searcher.search("kaba", k=10_000, mode="dense", **options)}

        possible = FILTERS + (ORDERED if kind != "lancedb" else []) + (STRINGS if kind == "postgresql" else [])
        for one in possible:
            assert found(filter=one) == set(index.ids(filter=one)), one
        for one in [*ORDERED, *STRINGS]:
            if one not in possible:
                with pytest.raises(FilterError, match=r"\$(gte?|lte?) in the filter"):
                    found(filter=one)
        for operator, value in {"$like": "a%", "$exists": True, "$between": [1, 2], "$contains": "a"}.items():
            with pytest.raises(FilterError, match=rf"\{operator} in the filter cannot be asked of the"):
                found(filter={"n": {operator: value}})
        with pytest.raises(FilterError, match="must be one of"):
            found(filter={"n": {"$regex": "a"}})
        assert found(document_ids=["d1", HOSTILE, "unknown"]) == {"d1", HOSTILE}
        assert found(document_ids=[]) == set()
        assert found(document_ids=["d1", "d2"], filter={"tags": "odd"}) == {"d1"}
        words = searcher.search("kaba lodi", k=100, mode="lexical", filter={"tags": "odd"})
        assert words
        assert all(hit.chunk.metadata["tags"] == ["odd"] for hit in words)


def test_the_options_of_a_search_have_the_effect_that_they_have_in_an_index(url, table, folder, index):
    with opened(url, table) as database:
        push_folders([folder], database)
        searcher = DatabaseSearcher(database, encoder=FakeEncoder())
        for options in [
            {"mmr": 0.3},
            {"per_document": True},
            {"score_threshold": 0.5},
            {"rerank": lambda question, texts: [-len(text) for text in texts], "candidates": 30},
            {"granularity": "chunks"},
        ]:
            found, expected = (one.search(QUESTIONS[3], k=8, mode="dense", **options) for one in (searcher, index))
            assert_same_hits(found, expected)
        vector = FakeEncoder().encode_query(QUESTIONS[4])
        asked = SearchOptions(k=5)
        assert_same_hits(searcher.search_with(3 * vector, asked), index.search_with(vector, asked))


def test_no_more_rows_are_asked_for_where_each_document_asked_for_is_found(filled, monkeypatch):
    n_chunks = Counter(row.chunk.document_id for row in filled.database.rows.values())
    (one, n), (other, _) = n_chunks.most_common(2)
    nearest, asked = filled.database.nearest, []

    def note(vector, n, where, *, exact):
        asked.append(n)
        return nearest(vector, n, where, exact=exact)

    monkeypatch.setattr(filled.database, "nearest", note)

    hits = filled.search("kaba", k=n + 1, mode="dense", per_document=True, document_ids=[one, other])

    assert {hit.chunk.document_id for hit in hits} == {one, other}
    assert asked == [n + 1]


def test_what_a_database_cannot_do_is_refused(filled):
    langchain = pytest.importorskip("langchain_latechunk")
    llama = pytest.importorskip("llama_index.retrievers.latechunk")
    for options, said in [
        ({"fusion": "calibrated"}, "fusion"),
        ({"within": "section"}, "within"),
        ({"expand": 1}, "expand"),
        ({"granularity": "pages"}, "granularity"),
        ({"filter": {"n": {"$gt": 1}}}, r"\$gt in the filter cannot be asked of a list"),
    ]:
        with pytest.raises(InputError, match=said):
            filled.search("kaba", **options)
        with pytest.raises(ValueError, match=said):  # pydantic's own
            langchain.LateChunkRetriever(index=filled, **options)
        with pytest.raises(InputError, match=said):
            llama.LateChunkRetriever(filled, **options)
    with pytest.raises(QueryError, match="must hold a word"):
        filled.search("?!", mode="lexical")
    with pytest.raises(QueryError, match="must be a string"):
        filled.search(3)
    with pytest.raises(InputError, match="search by vector"):
        filled.search_with(np.ones(8), SearchOptions(mode="hybrid"))
    with pytest.raises(InputError, match="8 numbers"):
        filled.search_with(np.ones(9), SearchOptions())
    with pytest.raises(InputError, match=r"LateChunkRetriever takes .*DatabaseSearcher"):
        llama.LateChunkRetriever(filled.database)


def test_both_retrievers_take_their_options_to_a_database(filled):
    langchain = pytest.importorskip("langchain_latechunk")
    llama = pytest.importorskip("llama_index.retrievers.latechunk")
    question = QUESTIONS[5]
    expected = places(filled.search(question, k=4, filter={"tags": "odd"}))
    documents = langchain.LateChunkRetriever(index=filled, k=4).invoke(question, filter={"tags": "odd"})
    assert [(one.metadata["latechunk_document_id"], one.metadata["latechunk_chunk"]) for one in documents] == expected
    assert documents[0].id == "{}#{}".format(*expected[0])
    field = pytest.importorskip("langchain_core.runnables").ConfigurableField(id="k")
    configurable = langchain.LateChunkRetriever(index=filled).configurable_fields(k=field)
    found = configurable.invoke(question, config={"configurable": {"k": 2}})  # LangChain passes all fields on
    assert [one.page_content for one in found] == [hit.chunk.text for hit in filled.search(question, k=2)]
    diverse = langchain.LateChunkRetriever(index=filled, k=4, search_type="mmr", mode="dense").invoke(question)
    assert [one.page_content for one in diverse] == [
        hit.chunk.text for hit in filled.search(question, k=4, mmr=0.5, candidates=20, mode="dense")
    ]
    nodes = llama.LateChunkRetriever(filled, similarity_top_k=4, filter={"tags": "odd"}).retrieve(question)
    assert [one.node.ref_doc_id for one in nodes] == [name for name, _ in expected]
    other = llama.LateChunkEmbedding(encoder=OtherEncoder())
    with pytest.raises(IndexMismatchError, match="what is in a list was made with another model"):
        llama.LateChunkRetriever(filled, embed_model=other, mode="dense")


def test_a_question_goes_in_with_the_encoder_of_the_vectors(filled, folder):
    with pytest.raises(IndexMismatchError, match="^what is in a list was made with another.*another table"):
        DatabaseSearcher(filled.database, encoder=OtherEncoder())
    with pytest.raises(IndexMismatchError, match=r"encoder of your own.*DatabaseSearcher.open"):
        DatabaseSearcher(filled.database).search("kaba")


# --- folders


def test_several_folders_are_pushed_as_one(tmp_path, folder):
    embed(DOCUMENTS[:20], tmp_path / "one")
    embed(DOCUMENTS[15:], tmp_path / "two")
    database, whole = ListDatabase(), ListDatabase()
    assert push_folders([tmp_path / "one", tmp_path / "two"], database).n_written == len(DOCUMENTS)
    push_folders([folder], whole)
    assert database.rows.keys() == whole.rows.keys()
    embed([Document("d0", "another")], tmp_path / "three")
    with pytest.raises(TransferError, match="different documents of the id 'd0'"):
        push_folders([tmp_path / "one", tmp_path / "three"], database)
    embed(DOCUMENTS[:1], tmp_path / "four", chunker=TokenChunker(max_tokens=3))
    with pytest.raises(IndexMismatchError, match="max_tokens"):
        push_folders([tmp_path / "one", tmp_path / "four"], database)
    with pytest.raises(InputError, match="at least one folder"):
        push_folders([], database)
    with pytest.raises(InputError, match="no folder of embedded documents"):
        push_folders([tmp_path], database)


def test_of_two_rows_of_one_document_the_later_counts(tmp_path):
    embed([Document("a", "one two three"), Document("b", "kaba")], tmp_path / "out")
    embed([Document("a", "four five")], tmp_path / "out")
    database = ListDatabase()
    push_folders([tmp_path / "out"], database)
    assert sorted(row.chunk.text for row in database.rows.values()) == ["four five", "kaba"]


def test_a_dry_run_changes_nothing_and_counts_right(tmp_path, folder):
    database = ListDatabase()
    would = push_folders([folder], database, dry_run=True)
    assert (database.settings(), database.rows) == (None, {})
    assert push_folders([folder], database) == would
    embed(DOCUMENTS[:3], tmp_path / "few")
    n_rows = len(database.rows)
    would = push_folders([tmp_path / "few"], database, prune=True, dry_run=True)
    assert would == PushReport(n_unchanged=3, n_deleted=len(DOCUMENTS) - 3)
    assert len(database.rows) == n_rows
    assert push_folders([tmp_path / "few"], database) == PushReport(n_unchanged=3, n_gone=len(DOCUMENTS) - 3)
    assert push_folders([tmp_path / "few"], database, prune=True) == would


def test_progress_counts_documents(folder, monkeypatch):
    monkeypatch.setattr("latechunk.distributed.pushing._BATCH_ROWS", 10)
    told = []
    database = ListDatabase()
    push_folders([folder], database, on_progress=told.append)
    assert sum(one.documents for one in told) == len(DOCUMENTS)
    assert database.n_writes == len(told) > 5


def test_facets_are_of_what_filters_can_name():
    metadata = {"a": {"b": [1.0, [2], {"c": 3}], "x.y": 4}, "a.b": {"c": 5}, "t": True, "big": 2**70, "long": "x" * 500}
    facets = list_facets(metadata)
    assert facets[:2] == ['["a.b", 1]', '["t", true]']
    assert facets[2] == f'["big", {float(2**70)!r}]'.replace("e+", "e+")
    assert facets[3].startswith("sha256 ")
    assert len(facets) == 4
    least = -(2**63)
    assert list_facets({"n": [least, float(least), least - 1]}) == [f'["n", {least}]']  # equal in an index
    assert list_facets({"n": [10**400, 1]})[1:] == ['["n", 1]']  # which no float holds, and an index does


# --- what is wrong


def test_urls_and_names_that_are_none_are_refused(tmp_path):
    for url in ("", "chroma:x", "http://localhost:6333", "lancedb:", "mysql://me:secret@host/db", None):
        with pytest.raises(InputError, match="URL of a database must be like") as caught:
            open_database(url)
        assert "secret" not in str(caught.value)
    for name in ("", "a b", 'a"; DROP TABLE x; --', "1a", "x" * 49, "a.b", None):
        with pytest.raises(InputError, match="table must be a name"):
            open_database(f"lancedb:{tmp_path}", table=name)


def test_a_push_goes_on_where_one_was_killed_that_made_the_table(tmp_path, folder):
    """LanceDB then has a folder of the table without a version, which it calls corrupt."""
    pytest.importorskip("lancedb")
    (tmp_path / "vectors" / "chunks.lance" / "_versions").mkdir(parents=True)
    url = f"lancedb:{tmp_path / 'vectors'}"

    with pytest.raises(StoreError, match="there is no"):
        DatabaseSearcher.open(url)
    assert push_folders([folder], open_database(url)).n_written > 0
    assert push_folders([folder], open_database(url)).n_written == 0


@pytest.mark.parametrize("url", ["postgresql://me:secret@127.0.0.1:1/x", "qdrant:http://me:a@secret@127.0.0.1:1"])
def test_a_server_that_is_not_there_is_said(url, folder):
    pytest.importorskip("psycopg" if url.startswith("postgresql") else "qdrant_client")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        push_folders([folder], open_database(url))
    assert "secret" not in str(caught.value)
    result = CliRunner().invoke(app, ["push", str(folder), url])
    assert result.exit_code == 1
    assert "refused" in result.output
    assert "secret" not in result.output


def test_a_postgresql_url_that_cannot_be_read_is_said():
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="cannot be read"):
        open_database("postgresql://me@host:port:1/x?y")


def test_asking_a_folder_of_lancedb_that_is_not_there_makes_none(tmp_path, folder):
    pytest.importorskip("lancedb")
    url = f"lancedb:{tmp_path / 'none'}"
    with opened(url, "chunks") as database:
        assert push_folders([folder], database, dry_run=True).n_written
    with pytest.raises(IndexMissingError, match="there is no LanceDB table"):
        DatabaseSearcher.open(url)

    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_a_file_is_said(tmp_path, folder):
    pytest.importorskip("lancedb")
    (tmp_path / "file").write_text("text")
    with pytest.raises(StoreError, match="cannot be used"):
        push_folders([folder], open_database(f"lancedb:{tmp_path / 'file'}"))


def test_a_folder_of_qdrant_that_is_damaged_is_said(tmp_path, folder):
    pytest.importorskip("qdrant_client")
    url = f"qdrant:{tmp_path / 'qdrant'}"
    with opened(url, "docs") as database:
        push_folders([folder], database)
    (tmp_path / "qdrant/collection/docs/storage.sqlite").write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError, match="'docs' at .* cannot be used: file is not a database"):
        open_database(url, table="docs")


def test_a_table_that_is_not_there_or_of_another_program_is_left_alone(url, table, folder):
    with opened(url, table) as database:
        with pytest.raises(IndexMissingError, match="latechunk push"):
            DatabaseSearcher(database)
        with pytest.raises(IndexMissingError, match="latechunk push"):
            database.nearest(np.ones(8, dtype=np.float32), 3, None, exact=False)
        make_anothers(database, url, table)
        for use in (lambda: push_folders([folder], database, prune=True), lambda: DatabaseSearcher(database)):
            with pytest.raises(IndexFormatError, match="was not made by latechunk"):
                use()


def make_anothers(database, url, table):
    if url.startswith("postgresql"):
        database._connection().execute(f"CREATE TABLE {table} (id text)")
    elif url.startswith("lancedb"):
        database._database.create_table(table, [{"id": "a"}])
    else:
        from qdrant_client import models

        database._client.create_collection(table, models.VectorParams(size=3, distance=models.Distance.DOT))


def test_vectors_of_other_settings_are_refused_and_nothing_is_lost(url, table, folder, tmp_path):
    embed(DOCUMENTS[:2], tmp_path / "dims", encoder=FakeEncoder(dims=4))
    embed(DOCUMENTS[:2], tmp_path / "model", encoder=OtherEncoder())
    with opened(url, table) as database:
        push_folders([folder], database)
        before = database.documents()
        with pytest.raises(IndexMismatchError, match="its encoder.dims is 8, yours is 4.*another table"):
            push_folders([tmp_path / "dims"], database, prune=True)
        with pytest.raises(IndexMismatchError, match="encoder.kind is 'fake', yours is 'other'"):
            push_folders([tmp_path / "model"], database, prune=True)
        assert database.documents() == before


def test_rows_of_another_format_are_refused(filled, folder):
    filled.database._settings = {**filled.database._settings, "format": 99}
    with pytest.raises(IndexFormatError, match="format 99.*upgrade"):
        push_folders([folder], filled.database)
    filled.database._settings = {**filled.database._settings, "format": 1}
    with pytest.raises(
        IndexFormatError, match="format 1, and this latechunk writes 3: push the documents into another"
    ):
        push_folders([folder], filled.database)
    filled.database._settings = {"format": 3, "encoder": 3}
    with pytest.raises(IndexFormatError, match="cannot be read"):
        DatabaseSearcher(filled.database)


def test_a_damaged_folder_loses_nothing_that_is_there(url, table, folder, tmp_path):
    embed(DOCUMENTS[:3], tmp_path / "out")
    with opened(url, table) as database:
        push_folders([tmp_path / "out"], database)
        before = database.documents()
        embed([Document("new", "kaba lodi")], tmp_path / "out")
        *_, part = sorted((tmp_path / "out").glob("part-*.parquet"))
        content = bytearray(part.read_bytes())
        content[100:-2_000] = bytes(len(content) - 2_100)  # a footer without the pages
        part.write_bytes(content)
        with pytest.raises(TransferError, match=r"part-.*parquet"):
            push_folders([tmp_path / "out"], database)
        assert before.items() <= database.documents().items()


def test_a_search_goes_on_after_the_server_closed_its_connection(postgres_url, table, folder):
    with opened(postgres_url, table) as database, opened(postgres_url, table) as other:
        push_folders([folder], database)
        searcher = DatabaseSearcher(database, encoder=FakeEncoder())
        expected = searcher.search(QUESTIONS[0])
        other._connection().execute("SELECT pg_terminate_backend(%s)", [database._connection().info.backend_pid])
        assert searcher.search(QUESTIONS[0]) == expected


def test_of_several_first_pushes_one_makes_the_table(postgres_url, table, tmp_path):
    """The others ended with an error of PostgreSQL's own catalogue."""
    for name in "abcd":
        embed([Document(f"{name}{n}", "Berlin is big.") for n in range(5)], tmp_path / name)
    reports = []

    def push(name):
        with opened(postgres_url, table) as database:
            reports.append(push_folders([tmp_path / name], database))

    threads = [threading.Thread(target=push, args=(name,)) for name in "abcd"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert [one.n_written for one in reports] == [5] * 4
    with opened(postgres_url, table) as database:
        assert len(database.documents()) == 20


def test_of_two_first_pushes_to_qdrant_one_makes_the_collection(table, folder, tmp_path):
    with opened(f"qdrant:{tmp_path / 'qdrant'}", table) as database:
        push_folders([folder], database)
        made = database.settings()

        database.prepare(made, 8)  # of one that had found none before

        assert (database.settings(), len(database.documents())) == (made, len(DOCUMENTS))


def test_no_request_to_qdrant_is_larger_than_it_takes_whatever_the_metadata(table, tmp_path, monkeypatch):
    qdrant = pytest.importorskip("latechunk.databases.qdrant")
    sizes = []
    original = qdrant.QdrantClient.upsert

    def upsert(self, collection, points, **options):
        sizes.append(sum(len(one.model_dump_json()) for one in points))
        return original(self, collection, points, **options)

    monkeypatch.setattr(qdrant.QdrantClient, "upsert", upsert)
    monkeypatch.setattr(qdrant, "_REQUEST_BYTES", 50_000)
    embed([Document("page", "Berlin is big. " * 40, {"html": "<p>" * 3_000})], tmp_path / "out")

    with opened(f"qdrant:{tmp_path / 'qdrant'}", table) as database:
        report = push_folders([tmp_path / "out"], database)
        assert database.documents().keys() == {"page"}

    assert report.n_chunks > 10
    assert len(sizes) > 1
    assert max(sizes) < 80_000


def test_connections_of_threads_that_have_ended_are_closed(postgres_url, table, folder, monkeypatch):
    monkeypatch.setenv("PGAPPNAME", table)
    with opened(postgres_url, table) as database:
        push_folders([folder], database)
        searcher = DatabaseSearcher(database, encoder=FakeEncoder())
        for question in QUESTIONS[:20]:  # as of a web server with a thread for each request
            thread = threading.Thread(target=searcher.search, args=(question,))
            thread.start()
            thread.join()
        held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        ((n_held,),) = database._connection().execute(held, [table]).fetchall()
        assert n_held <= 3  # of this thread, the last one, and one that the server is ending
    with pytest.raises(StoreError, match="is closed: open it again"):
        searcher.search(QUESTIONS[0])
    assert not database._connections  # nor one that was made just now


def test_exact_passes_over_an_approximate_index(postgres_url, table, folder, index):
    with opened(postgres_url, table) as database:
        push_folders([folder], database)
        database._connection().execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_ip_ops)")
        database._connection().execute("SET enable_seqscan = off")
        used = f"SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{table}_embedding_idx'"
        vector = FakeEncoder().encode_query(QUESTIONS[0])
        for exact in (True, False):
            searcher = DatabaseSearcher(database, encoder=FakeEncoder(), exact=exact)
            options = SearchOptions(k=60, filter={"tags": "odd"})  # more than HNSW looks at by itself
            assert len(searcher.search_with(vector, options)) == 60
            assert_same_hits(
                searcher.search_with(vector, SearchOptions(k=10)), index.search_with(vector, SearchOptions(k=10))
            )
            database._connection().execute("SELECT pg_stat_force_next_flush()")
            ((n_scans,),) = database._connection().execute(used).fetchall()
            assert (n_scans == 0) == exact


def test_a_missing_package_names_its_extra():
    program = """
import sys
sys.modules.update(dict.fromkeys(("psycopg", "qdrant_client", "lancedb")))
from latechunk.databases import open_database
from latechunk.errors import MissingDependencyError
for url, extra in {"postgresql://h/d": "pgvector", "qdrant:x": "qdrant", "lancedb:x": "lancedb"}.items():
    try:
        open_database(url)
    except MissingDependencyError as error:
        assert f".[{extra}]" in str(error)
    else:
        raise SystemExit(f"{url} was opened")
assert not {"torch", "transformers", "pyarrow"} & sys.modules.keys() - {None}
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- the command


def test_threads_of_lancedb_do_not_outlive_the_command(folder, tmp_path):
    code = "import atexit, latechunk.cli; atexit.register(print, 'Python ends'); latechunk.cli.run()"
    for options, exit_code in (["--json"], 0), (["--table", "a b"], 2):
        command = [sys.executable, "-c", code, "push", str(folder), f"lancedb:{tmp_path / 'base'}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == exit_code, done.stderr
        if not exit_code:
            assert json.loads(done.stdout)["n_written"] == len(DOCUMENTS)  # and nothing after it


def test_the_command_pushes_and_says_what_it_did(url, table, folder, tmp_path):
    runner = CliRunner()
    base = ["push", str(folder), url, "--table", table]
    dry = runner.invoke(app, [*base, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert f"would be {len(DOCUMENTS)} written" in dry.output
    assert runner.invoke(app, base).exit_code == 0
    again = runner.invoke(app, [*base, "--json"])
    assert json.loads(again.stdout)["n_unchanged"] == len(DOCUMENTS)
    embed(DOCUMENTS[:3], tmp_path / "few")
    few = ["push", str(tmp_path / "few"), url, "--table", table]
    assert "left that the folders do not hold (--prune" in runner.invoke(app, few).output
    assert f"{len(DOCUMENTS) - 3} removed" in runner.invoke(app, [*few, "--prune"]).output
    assert runner.invoke(app, ["push", str(folder), url, "--table", "a b"]).exit_code == 2
