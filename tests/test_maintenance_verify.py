"""Every kind of damage is named."""

import sqlite3
import stat

import pytest

from latechunk import Document, Index, SentenceChunker
from latechunk.errors import IndexFormatError, IndexMissingError, StoreError
from latechunk.maintenance.problems import Problem
from latechunk.maintenance.verify import _damage_noted, verify
from latechunk.storage.connection import connect
from latechunk.storage.directory import STORE
from latechunk.storage.schema import FORMAT
from tests.conftest import SCRIPTS, FakeEncoder
from tests.damages import CHUNKERS, ENCODED, LOST, MENDED, VICTIM, by_sql, damage, no_file_larger, reopen


def snapshot(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if not file.name.endswith(("-wal", "-shm"))}


def test_a_sound_index_has_no_problem_and_nothing_is_written(sound):
    before = snapshot(sound)

    assert verify(sound) == []

    assert snapshot(sound) == before


def test_an_empty_index_is_sound(tmp_path):
    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()

    assert verify(tmp_path / "index") == []


def test_an_index_without_words_is_sound(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunkers=CHUNKERS, words=False) as index:
        index.add([Document(name, text) for name, text in SCRIPTS.items()])

    assert verify(tmp_path / "index") == []


def test_an_index_in_use_is_sound(sound):
    with reopen(sound) as index:
        index.search("capital", 1)
        assert verify(sound) == []


def test_it_needs_no_right_to_write(index_path):
    (index_path / STORE).chmod(stat.S_IRUSR)

    assert verify(index_path) == []


def test_a_full_disk_is_no_damage(sound):
    """SQLite cannot make the file there that readers and the writer share, which it calls an I/O error."""
    for read in (verify, lambda path: reopen(path, read_only=True)):
        with no_file_larger(1_000), pytest.raises(StoreError, match=r"store.sqlite3-shm.*free some space"):
            read(sound)


def test_a_folder_that_cannot_be_written_is_no_damage(tmp_path):
    connection = connect(tmp_path / "new", "rwc")
    connection.execute("PRAGMA query_only = ON")
    problems = []

    with pytest.raises(StoreError, match="get write permission"), _damage_noted(problems, "database", "it fails"):
        connection.execute("CREATE TABLE t (a)")
    assert problems == []
    connection.close()


@pytest.mark.parametrize("one", [*ENCODED, *MENDED, *LOST], ids=str)
def test_damage_is_named(index_path, one):
    damage(index_path, one)

    problems = verify(index_path)

    assert [problem for problem in problems if problem.part == one.part and one.says in problem.what], problems


def test_a_problem_says_where_what_and_what_to_do(index_path):
    by_sql(index_path, f"DELETE FROM vectors WHERE chunk = (SELECT number FROM chunks JOIN (SELECT number AS d FROM "
           f"documents WHERE id = '{VICTIM}') ON document = d WHERE granularity = 1 AND place = 2)")  # fmt: skip

    (problem,) = verify(index_path)

    what = "its chunks and vectors are not those that its checksum was made of"
    assert problem == Problem("document", what, "encode", VICTIM)
    assert str(problem) == (
        f"document 'Arabic': {what}. `latechunk repair` encodes the document again from its text, which is intact"
    )


def test_a_damaged_document_does_not_hide_another(index_path):
    by_sql(index_path, "UPDATE documents SET text = x'ff' WHERE id IN ('Greek', 'Thai')")

    assert {problem.document for problem in verify(index_path)} == {"Greek", "Thai"}


def test_words_of_sound_documents_are_compared_beside_damaged_ones(index_path):
    by_sql(
        index_path,
        "UPDATE documents SET text = x'ff' WHERE id = 'Greek'; UPDATE segments SET lengths = x'01'",
    )

    assert {(problem.part, problem.document) for problem in verify(index_path)} >= {
        ("document", "Greek"),
        ("words", None),
    }


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM settings WHERE name = 'encoder'", "encoder"),
        ("UPDATE settings SET value = '[' WHERE name = 'encoder'", "cannot be read"),
        ("UPDATE settings SET value = '[1]' WHERE name = 'encoder'", "cannot be read"),
        ("UPDATE settings SET value = '{\"dims\": 0}' WHERE name = 'encoder'", "dims"),
        ("UPDATE settings SET value = '{\"dims\": 1e99}' WHERE name = 'encoder'", "dims"),
        ("UPDATE settings SET value = '{\"dims\": 99999999999}' WHERE name = 'encoder'", "dims"),
        ("UPDATE settings SET value = '{}' WHERE name = 'chunkers'", "chunkers"),
        ("UPDATE settings SET value = '{\"a\": 1}' WHERE name = 'chunkers'", "chunkers.a must be an object"),
        ("UPDATE settings SET value = '{\"mode\": \"x\"}' WHERE name = 'embedding'", "mode"),
        ("UPDATE settings SET value = '{\"words\": 1}' WHERE name = 'search'", "search"),
        ("INSERT INTO settings VALUES ('more', '{}')", "more"),
    ],
)
def test_settings_that_no_index_has(index_path, statement, says):
    by_sql(index_path, statement)

    (problem,) = verify(index_path)

    assert (problem.part, problem.mending) == ("settings", "none")
    assert says in problem.what


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (x)",
        "CREATE TRIGGER evil AFTER INSERT ON documents BEGIN DELETE FROM chunks; END",
        "CREATE VIEW evil AS SELECT * FROM documents",
        "CREATE INDEX more ON documents (n_tokens)",
        "DROP TABLE postings",
    ],
)
def test_tables_that_latechunk_does_not_make(index_path, statement):
    by_sql(index_path, statement)

    (problem,) = verify(index_path)

    assert (problem.part, problem.mending) == ("database", "dump")
    assert "does not have the tables that latechunk makes" in problem.what


def test_what_is_no_database(index_path):
    (index_path / STORE).write_bytes(b"not a database, but long enough to look like a file of something" * 100)

    (problem,) = verify(index_path)

    assert (problem.part, problem.mending) == ("database", "none")


def test_a_file_that_was_cut_off(index_path):
    content = (index_path / STORE).read_bytes()
    (index_path / STORE).write_bytes(content[: len(content) // 2])

    problems = verify(index_path)

    assert [problem.mending for problem in problems] == ["dump"]
    assert "malformed" in problems[0].what


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_a_newer_and_an_older_format_are_refused(index_path, number):
    by_sql(index_path, f"PRAGMA user_version = {number}")
    with pytest.raises(IndexFormatError, match=f"has format {number}.*index the documents again"):
        verify(index_path)


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(IndexMissingError):
        verify(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IndexFormatError):
        verify(tmp_path / "folder")
    sqlite3.connect(tmp_path / "folder" / STORE).executescript("CREATE TABLE x (y)")
    with pytest.raises(IndexFormatError, match="not the database of a latechunk index"):
        verify(tmp_path / "folder")


@pytest.mark.parametrize("name", ["vectors.faiss", "vectors.json"])
@pytest.mark.parametrize("content", [b"", b"garbage", b'{"commit": null}'])
def test_a_damaged_cache(tmp_path, documents, name, content):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8)) as index:
        index.add(documents)
        index.search("Berlin", 1)
    assert verify(tmp_path / "index") == []
    (tmp_path / "index" / name).write_bytes(content)

    problems = verify(tmp_path / "index")

    assert {(problem.part, problem.mending) for problem in problems} == {("cache", "cache")}


def test_a_cache_of_a_state_that_is_no_longer_kept_is_no_problem(tmp_path, documents, monkeypatch):
    monkeypatch.setattr("latechunk.storage.schema.MOST_COMMITS", 2)
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8)) as index:
        index.add(documents[:1])
        index.search("Berlin", 1)
    with Index.open(tmp_path / "index", encoder=FakeEncoder()) as index:
        for number in range(4):
            index.add([Document("new", f"Version {number} of it.")])
        assert verify(tmp_path / "index") == []
        assert "Version 3" in {hit.chunk.text[:9] for hit in index.search("Version of it", 9)}


def test_a_cache_that_is_missing_or_behind_is_no_problem(tmp_path, documents):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8)) as index:
        index.add(documents[:1])
        index.search("Berlin", 1)
    with Index.open(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add(documents[1:])
        assert verify(tmp_path / "index") == []
    for file in (tmp_path / "index").glob("vectors*"):
        file.unlink()
    assert verify(tmp_path / "index") == []
