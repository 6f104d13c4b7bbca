"""What can be mended is mended, what cannot is said, and nothing that can still be read is lost."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from latechunk import Document, Index
from latechunk.errors import IndexBusyError, ModelError, StoreError
from latechunk.maintenance.dump import dump_documents
from latechunk.maintenance.repair import repair
from latechunk.maintenance.verify import verify
from latechunk.readers import SourceFile, read_documents
from latechunk.storage.directory import STORE, hold_write_lock
from tests.conftest import FakeEncoder
from tests.damages import (
    CHUNKERS,
    ENCODED,
    LOST,
    MENDED,
    VICTIM,
    answers,
    by_sql,
    content,
    contents,
    damage,
    reopen,
)


@pytest.fixture(scope="module")
def original(sound):
    return contents(sound)


@pytest.fixture(scope="module")
def found(sound):
    return answers(sound)


class NoEncoder(FakeEncoder):
    """Knows what it is, and cannot read."""

    def tokenize(self, texts):
        raise AssertionError("this document needed no encoder")


def mend(path, **options):
    return repair(path, **({"encoder": FakeEncoder(), "chunkers": CHUNKERS} | options))


def content_of(path, name):
    with reopen(path, read_only=True) as index:
        return content(index.stored(name))


def same_texts(now, before):
    """Whether two lists of answers agree, in any order of hits with equal scores."""
    return [sorted((round(hit.score, 5), hit.chunk.text) for hit in one) for one in now] == [
        sorted((round(hit.score, 5), hit.chunk.text) for hit in one) for one in before
    ]


def test_a_sound_index_is_left_alone(index_path):
    before = (index_path / STORE).read_bytes()

    report = mend(index_path)

    assert (report.found, report.done, report.lost, report.remaining, report.files) == ([], [], [], [], [])
    assert report.is_whole
    assert (index_path / STORE).read_bytes() == before


@pytest.mark.parametrize("one", ENCODED, ids=str)
def test_what_a_sound_text_gives_is_made_anew(index_path, original, found, one):
    damage(index_path, one)

    report = mend(index_path)

    assert report.is_whole, report
    assert f"encoded document {VICTIM!r} again" in report.done or "'Latin'" in str(report.done)
    assert verify(index_path) == []
    assert contents(index_path) == original
    assert same_texts(answers(index_path), found)


@pytest.mark.parametrize("one", MENDED, ids=str)
def test_what_is_no_documents_needs_no_encoder(index_path, original, found, one):
    damage(index_path, one)

    report = mend(index_path, encoder=NoEncoder())

    assert report.is_whole, report
    assert report.done
    assert verify(index_path) == []
    assert contents(index_path) == original
    assert same_texts(answers(index_path), found)


@pytest.mark.parametrize("one", LOST, ids=str)
def test_what_cannot_be_mended_is_listed_and_stays(index_path, original, one):
    damage(index_path, one)

    report = mend(index_path)

    assert not report.is_whole
    assert report.remaining
    assert not report.lost
    assert report.files == []
    assert {problem.part for problem in report.remaining} <= {"document", "chunk", "vector"}


@pytest.mark.parametrize("one", LOST, ids=str)
def test_what_cannot_be_mended_is_removed_when_asked_and_saved_before(index_path, original, one):
    damage(index_path, one)

    report = mend(index_path, drop=True)

    assert not report.is_whole
    assert len(report.lost) == 1
    assert verify(index_path) == []
    assert contents(index_path) == {name: value for name, value in original.items() if name != VICTIM}
    (file,) = report.files
    (line,) = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(line).keys() == {"id", "text", "metadata", "latechunk_file"}
    with reopen(index_path) as index:  # nothing of it is left in any of the indexes
        index.add([Document(VICTIM, original[VICTIM][0], original[VICTIM][1])])
    assert verify(index_path) == []
    assert contents(index_path) == original


def test_bytes_that_are_no_text_are_saved_with_marks(index_path):
    by_sql(index_path, f"UPDATE documents SET text = x'41ff42', metadata = '{{' WHERE id = '{VICTIM}'")

    (file,) = mend(index_path, drop=True).files

    saved = json.loads(file.read_text(encoding="utf-8"))
    marked = "A\N{REPLACEMENT CHARACTER}B"
    assert saved == {"id": VICTIM, "text": marked, "metadata": {}, "latechunk_file": None}


def test_without_its_encoder_a_document_is_listed_and_the_rest_is_mended(index_path, original):
    by_sql(index_path, "DELETE FROM vectors WHERE chunk = 20; DELETE FROM postings; DELETE FROM segments")

    report = repair(index_path)

    assert "no document was encoded again" in "".join(report.done)
    assert "encoder of your own" in "".join(report.done)
    assert {problem.part for problem in report.remaining} == {"document"}
    assert mend(index_path).is_whole
    assert contents(index_path) == original


def test_a_document_that_cannot_be_encoded_is_listed(index_path, original):
    class Forgetful(FakeEncoder):
        def tokenize(self, texts):
            found = super().tokenize(texts)
            alone = super().tokenize([""])[0]
            return [alone if "العاصمة" in text else one for one, text in zip(found, texts, strict=True)]

    by_sql(index_path, f"UPDATE documents SET vectors_sha256 = zeroblob(32) WHERE id IN ('{VICTIM}', 'Greek')")

    report = mend(index_path, encoder=Forgetful())

    assert {problem.document for problem in report.remaining} == {VICTIM}
    assert "encoded document 'Greek' again" in report.done
    assert {problem.part for problem in verify(index_path)} == {"document"}
    assert content_of(index_path, "Greek") == original["Greek"]


def test_an_encoder_that_fails_changes_nothing(index_path):
    class Failing(FakeEncoder):
        def encode_spans(self, tasks, on_progress=None):
            raise ModelError("out of order")

    by_sql(index_path, f"UPDATE documents SET vectors_sha256 = zeroblob(32) WHERE id = '{VICTIM}'")
    problems = verify(index_path)

    with pytest.raises(ModelError, match="out of order"):
        mend(index_path, encoder=Failing())

    assert set(problems) <= set(verify(index_path))
    assert mend(index_path).is_whole


def test_many_kinds_of_damage_at_once(index_path, original, found):
    for one in [*MENDED[:4], *ENCODED[:1], *MENDED[-2:]]:
        damage(index_path, one)

    assert mend(index_path).is_whole
    assert verify(index_path) == []
    assert contents(index_path) == original
    assert same_texts(answers(index_path), found)


@pytest.mark.parametrize("text", ["CAST(text AS TEXT)", "5"])
def test_a_text_of_another_type_keeps_nothing_else_from_being_mended(index_path, original, text):
    by_sql(index_path, f"DELETE FROM postings; UPDATE documents SET text = {text} WHERE id = '{VICTIM}'")

    report = mend(index_path)

    assert "rebuilt the lexical index" in report.done
    assert {problem.document for problem in report.remaining} == {VICTIM}
    assert len(mend(index_path, drop=True).lost) == 1
    assert verify(index_path) == []
    assert contents(index_path) == {name: value for name, value in original.items() if name != VICTIM}


def test_a_damaged_cache_is_deleted(index_path, found):
    (index_path / "vectors.faiss").write_bytes(b"garbage")
    (index_path / "vectors.json").write_bytes(b"garbage")

    report = mend(index_path, encoder=NoEncoder())

    assert report.is_whole
    assert list(report.done) == ["deleted vectors.faiss, vectors.json; the next opening rebuilds what it needs"]
    assert answers(index_path) == found


def test_it_waits_for_the_writer(index_path):
    with hold_write_lock(index_path, 1), pytest.raises(IndexBusyError):
        repair(index_path, lock_timeout=0)


def test_an_index_that_is_open_sees_that_it_was_replaced(index_path, original):
    with reopen(index_path) as index:
        shutil.copytree(index_path, index_path.with_name("copy"))
        (index_path / STORE).unlink()
        shutil.copy(index_path.with_name("copy") / STORE, index_path / STORE)
        with pytest.raises(StoreError, match="open the index again"):
            index.add([Document("new", "A new one.")])
    assert contents(index_path) == original


# --- damaged pages: nothing is changed, and all that can be read is written to a file


def page_of(path, table):
    """The page where a table or index begins, from 0."""
    with closing(sqlite3.connect(path / STORE)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return root - 1


def spoil(path, page, noise):
    """Overwrite a page, but for the header of the file; with None cut the file off there."""
    content = bytearray((path / STORE).read_bytes())
    begin, end = max(100, 4096 * page), 4096 * (page + 1)
    if noise is None:
        del content[begin:]
    else:
        content[begin:end] = noise * (end - begin)
    (path / STORE).write_bytes(content)
    return bytes(content)


def read_dump(report):
    """Texts and metadata by ids; empty if there is no file."""
    lines = [json.loads(line) for file in report.files for line in file.read_text(encoding="utf-8").splitlines()]
    return {one["id"]: (one["text"], one["metadata"]) for one in lines}


@pytest.mark.parametrize(
    "name", ["chunks", "vectors", "sqlite_autoindex_documents_1", "commits", "sqlite_sequence", "settings"]
)
@pytest.mark.parametrize("noise", [b"\0", b"\xa5"])
def test_all_documents_are_written_where_no_page_of_theirs_is_damaged(index_path, original, name, noise):
    damaged = spoil(index_path, page_of(index_path, name), noise)

    report = mend(index_path)

    assert not report.is_whole
    assert report.remaining == report.found
    assert read_dump(report) == {name: value[:2] for name, value in original.items()}
    assert (index_path / STORE).read_bytes() == damaged
    (what,) = report.done
    assert f"the {len(original)} documents that can still be read are in salvaged-" in what


def test_what_was_written_makes_a_new_index(index_path, original, tmp_path):
    spoil(index_path, page_of(index_path, "vectors"), b"\xa5")
    (file,) = mend(index_path).files

    with Index.create(tmp_path / "new", encoder=FakeEncoder(), chunkers=CHUNKERS) as index:
        index.add(read_documents([SourceFile(file, file.name)], pytest.fail))

    assert contents(tmp_path / "new") == original


@pytest.mark.parametrize("noise", [b"\0", b"\xa5", None])
def test_whatever_page_is_damaged_each_document_is_whole_or_written_or_named(sound, original, tmp_path, noise):
    n_pages = len((sound / STORE).read_bytes()) // 4096
    n_saved = 0
    for page in range(n_pages):
        path = shutil.copytree(sound, tmp_path / str(page))
        spoil(path, page, noise)
        report = mend(path, drop=True)
        left = read_dump(report)
        sound_ones = {name: one for name, one in left.items() if repr(name) not in str(report.lost)}
        assert all(original[name][:2] == one for name, one in sound_ones.items())
        if report.remaining:
            n_saved += len(left) == len(original)
            continue
        now = contents(path)
        assert all(now.get(name) == value or repr(name) in str(report.lost) for name, value in original.items())
        n_saved += len(now) == len(original)
        shutil.rmtree(path)
    assert n_saved > n_pages / 3 or noise is None


def test_chunks_of_documents_that_are_no_numbers_do_not_keep_the_rest_from_being_written(index_path, original):
    by_sql(index_path, "UPDATE chunks SET document = x'00ff' WHERE number = 3")

    path, n_saved = dump_documents(index_path)

    assert n_saved == len(original)
    assert len(path.read_text(encoding="utf-8").splitlines()) == n_saved


def test_a_table_whose_definition_is_no_text_is_named_and_what_can_be_read_is_written(index_path, original):
    content = (index_path / STORE).read_bytes()
    place = content.index(b"CREATE TABLE settings")
    (index_path / STORE).write_bytes(content[:place] + b"\xff" + content[place + 1 :])

    assert "dump" in [one.mending for one in verify(index_path)]
    report = mend(index_path)
    assert report.remaining
    assert report.done


def test_what_is_no_database_is_left_alone(index_path):
    (index_path / STORE).write_bytes(b"not a database" * 1000)

    report = mend(index_path)

    assert list(report.done) == ["nothing was changed; no document can be read any more"]
    assert [problem.mending for problem in report.remaining] == ["none"]
    assert (index_path / STORE).read_bytes() == b"not a database" * 1000
    assert not [file for file in index_path.iterdir() if file.name.startswith("salvaged-")]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER evil AFTER INSERT ON documents BEGIN DELETE FROM chunks; END",
        "CREATE TABLE more (x)",
        "DROP TABLE chunks",
        "DROP TABLE postings",
    ],
)
def test_tables_that_latechunk_does_not_make_are_left_alone(index_path, original, statement):
    by_sql(index_path, statement)
    before = (index_path / STORE).read_bytes()

    report = mend(index_path)

    assert "dump" in {problem.mending for problem in report.remaining}
    assert read_dump(report) == {name: value[:2] for name, value in original.items()}
    assert (index_path / STORE).read_bytes() == before


def test_a_view_in_the_place_of_the_documents_is_not_run(index_path):
    by_sql(
        index_path,
        "ALTER TABLE documents RENAME TO others; CREATE VIEW documents AS SELECT 1 AS number, 'x' AS id, '{}' AS "
        "metadata, x'' AS text_sha256, x'' AS vectors_sha256, 1 AS n_tokens, randomblob(1000) AS text",
    )

    assert read_dump(mend(index_path)) == {}


def test_numbers_are_not_given_again_after_a_repair(index_path):
    by_sql(index_path, "DELETE FROM sqlite_sequence")

    mend(index_path)

    with reopen(index_path) as index:
        index.add([Document("new", "A new one.")])
    with closing(sqlite3.connect(index_path / STORE)) as connection:
        (new,) = connection.execute("SELECT number FROM documents WHERE id = 'new'").fetchone()
        (highest,) = connection.execute("SELECT max(number) FROM documents WHERE id != 'new'").fetchone()
    assert new > highest
