"""Indexes that older versions made: brought to this version's format whole, or not at all."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from latechunk import Document, Index
from latechunk.errors import IndexFormatError, StoreError
from latechunk.maintenance.verify import verify
from latechunk.storage import schema as schema_module
from latechunk.storage.schema import FORMAT, fill_words
from tests.conftest import SCRIPTS, FakeEncoder

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def old(tmp_path):
    """An index of format 1: documents in many scripts, one replaced, two deleted since, "last" with the last number."""
    shutil.copytree(FIXTURES / "format-1", tmp_path / "index")
    return tmp_path / "index"


def rows(path, query):
    with closing(sqlite3.connect(path / "store.sqlite3")) as connection:
        return connection.execute(query).fetchall()


def schema_of(path):
    return sorted(sql for (sql,) in rows(path, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def test_an_index_of_format_1_holds_all_it_held(old):
    before = rows(old, 'SELECT number, document, place, "start", "end" FROM chunks ORDER BY number')
    vectors = rows(old, "SELECT * FROM vectors ORDER BY chunk")

    with Index.open(old, encoder=FakeEncoder()) as index:
        assert index.info().format == FORMAT == 2
        expected = {name: text for name, text in SCRIPTS.items() if name != "Greek"}
        expected["Latin"] += " And more of it."
        assert {one: index.get(one).text for one in index.ids()} == expected
        assert index.get("Latin").metadata == {"script": "Latin", "n": 0}
        assert len(index.search("the capital", 1000)) == len(before)
        assert index.search("Москва", 1, mode="lexical")[0].chunk.document_id == "Cyrillic"
        assert index.search("capital", 1, filter={"script": "Thai"})[0].chunk.document_id == "Thai"
        assert list(index.chunkers) == ["chunks"]
        unchanged = index.add([Document(one, text, index.get(one).metadata) for one, text in expected.items()])
        assert unchanged.n_unchanged == len(expected)

    assert rows(old, 'SELECT number, document, place, "start", "end" FROM chunks ORDER BY number') == before
    assert rows(old, "SELECT * FROM vectors ORDER BY chunk") == vectors


def test_its_tables_are_those_of_a_new_index(old, tmp_path):
    Index.create(tmp_path / "new", encoder=FakeEncoder()).close()
    Index.open(old, encoder=FakeEncoder()).close()

    assert schema_of(old) == schema_of(tmp_path / "new")
    assert rows(old, "PRAGMA integrity_check") == [("ok",)]
    assert rows(old, "PRAGMA foreign_key_check") == []


def test_numbers_of_what_was_deleted_are_not_used_again(old):
    before = dict(rows(old, "SELECT name, seq FROM sqlite_sequence"))
    assert before["documents"] > rows(old, "SELECT max(number) FROM documents")[0][0]

    with Index.open(old, encoder=FakeEncoder()) as index:
        index.add([Document("new", "A new document.")])

    assert rows(old, "SELECT number FROM documents WHERE id = 'new'") == [(before["documents"] + 1,)]
    assert rows(old, "SELECT min(number) FROM chunks WHERE document = (SELECT max(number) FROM documents)") == [
        (before["chunks"] + 1,)
    ]


def test_an_index_of_format_1_is_not_changed_by_a_reader(old):
    content = (old / "store.sqlite3").read_bytes()
    with pytest.raises(IndexFormatError, match="older latechunk.*format 2 first.*latechunk optimize"):
        Index.open(old, read_only=True)
    assert (old / "store.sqlite3").read_bytes() == content


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    def fail(connection, granularity):
        fill_words(connection, granularity)
        raise sqlite3.OperationalError("disk I/O error")

    before = rows(old, "SELECT * FROM chunks"), schema_of(old)
    monkeypatch.setattr(schema_module, "fill_words", fail)
    with pytest.raises(StoreError):
        Index.open(old, encoder=FakeEncoder())
    assert (rows(old, "SELECT * FROM chunks"), schema_of(old)) == before
    monkeypatch.undo()
    with Index.open(old, encoder=FakeEncoder()) as index:
        assert len(index) == 14


def test_two_that_migrate_at_once_do_it_once(old):
    with Index.open(old, encoder=FakeEncoder()) as one, Index.open(old, encoder=FakeEncoder()) as other:
        assert one.ids() == other.ids()


def test_an_index_of_format_2_as_it_was_first_made_is_sound(tmp_path):
    path = tmp_path / "index"
    shutil.copytree(FIXTURES / "format-2", path)
    assert verify(path) == []

    with Index.open(path, encoder=FakeEncoder()) as index:
        expected = {name: text for name, text in SCRIPTS.items() if name != "Greek"}
        expected["Latin"] += " And more of it."
        assert {one: index.get(one).text for one in index.ids()} == expected
        for name in ("pairs", "sentences"):
            n_chunks = sum(len(index.chunks(one, granularity=name)) for one in expected)
            assert len(index.search("the capital", 1000, granularity=name)) == n_chunks
            assert index.search("Москва", 1, mode="lexical", granularity=name)[0].chunk.document_id == "Cyrillic"


@pytest.mark.parametrize("words", ["porter", 3, ["unicode61"], {"a": 1}])
def test_a_tokenizer_that_is_not_known_is_refused(tmp_path, words):
    import json

    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()
    with closing(sqlite3.connect(tmp_path / "index" / "store.sqlite3")) as connection, connection:
        search = json.dumps({"words": words, "vectors": "auto", "first_pass_dims": None})
        connection.execute("UPDATE settings SET value = ? WHERE name = 'search'", (search,))
    with pytest.raises(IndexFormatError, match="not as latechunk made it"):
        Index.open(tmp_path / "index", encoder=FakeEncoder())


def test_settings_that_are_a_view_are_not_looked_into(tmp_path):
    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()
    with closing(sqlite3.connect(tmp_path / "index" / "store.sqlite3")) as connection, connection:
        connection.execute("DROP TABLE settings")
        connection.execute("CREATE VIEW settings AS SELECT 'encoder' AS name, load_extension('x') AS value")
    with pytest.raises(IndexFormatError, match="not as latechunk made it"):
        Index.open(tmp_path / "index", encoder=FakeEncoder())
