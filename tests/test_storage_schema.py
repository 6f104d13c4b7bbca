"""What is accepted as the database of an index, and what is refused before any of it is used."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from latechunk import Block, Index, Page
from latechunk.errors import IndexFormatError
from latechunk.maintenance.verify import verify
from latechunk.storage.schema import FORMAT
from tests.conftest import SCRIPTS, FakeEncoder

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("number", [0, FORMAT - 1, FORMAT + 1])
def test_an_index_of_another_format_is_refused_and_not_changed(tmp_path, number, read_only):
    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()
    store = tmp_path / "index" / "store.sqlite3"
    with closing(sqlite3.connect(store)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    before = store.read_bytes()

    with pytest.raises(
        IndexFormatError, match=f"has format {number}.*reads format {FORMAT}: index the documents again"
    ):
        Index.open(tmp_path / "index", read_only=read_only)

    assert store.read_bytes() == before


def test_an_index_of_format_8_as_it_was_first_made_is_sound(tmp_path):
    path = tmp_path / "index"
    shutil.copytree(FIXTURES / "format-8", path)
    assert verify(path) == []

    with Index.open(path, encoder=FakeEncoder()) as index:
        expected = {name: text for name, text in SCRIPTS.items() if name != "Greek"}
        expected["Latin"] += " And more of it."
        assert index.get("Latin").pages == (Page(0, 75, "i"), Page(75, 91))
        assert index.get("Han").outline == (Block("heading", 0, 8, 1),)
        assert [one.citation for one in index.chunks("Han")] == ["Han, 北京是中国的首都"]
        assert index.chunks("Latin")[-1].citation == "Latin, pp. i-2"
        assert {one: index.get(one).text for one in index.ids()} == expected
        for name in ("pairs", "sentences"):
            n_chunks = sum(len(index.chunks(one, granularity=name)) for one in expected)
            assert len(index.search("the capital", 1000, granularity=name)) == n_chunks
            assert index.search("Москва", 1, mode="lexical", granularity=name)[0].chunk.document_id == "Cyrillic"


@pytest.mark.parametrize("words", ["unicode61", 3, 1, ["a"], {"a": 1}])
def test_words_that_are_not_known_are_refused(tmp_path, words):
    import json

    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()
    with closing(sqlite3.connect(tmp_path / "index" / "store.sqlite3")) as connection, connection:
        search = json.dumps({"words": words, "vectors": "auto", "first_pass_dims": None})
        connection.execute("UPDATE settings SET value = ? WHERE name = 'search'", (search,))
    with pytest.raises(IndexFormatError, match="not have the tables that latechunk makes"):
        Index.open(tmp_path / "index", encoder=FakeEncoder())


def test_settings_that_are_a_view_are_not_looked_into(tmp_path):
    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()
    with closing(sqlite3.connect(tmp_path / "index" / "store.sqlite3")) as connection, connection:
        connection.execute("DROP TABLE settings")
        connection.execute("CREATE VIEW settings AS SELECT 'encoder' AS name, load_extension('x') AS value")
    with pytest.raises(IndexFormatError, match="not have the tables that latechunk makes"):
        Index.open(tmp_path / "index", encoder=FakeEncoder())
