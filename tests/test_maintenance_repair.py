"""What can be mended is mended, what cannot is said, and nothing that can still be read is lost."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from latechunk import Document
from latechunk.errors import IndexBusyError, IndexDamagedError, ModelError, StoreError
from latechunk.maintenance.repair import repair
from latechunk.maintenance.verify import verify
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
    make,
    reopen,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "index"
    make(path)
    return path


@pytest.fixture(scope="module")
def original(sound):
    return contents(sound)


@pytest.fixture(scope="module")
def found(sound):
    return answers(sound)


@pytest.fixture
def index_path(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "index")


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
    assert f"encoded document {VICTIM!r} anew" in report.done or "'Latin'" in str(report.done)
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
    saved = json.loads(line)
    assert {"id", "text", "metadata", "salvaged"} == saved.keys()
    assert len(saved["salvaged"]["chunks"]) == len(original[VICTIM][3][0]) + len(original[VICTIM][3][1])
    with reopen(index_path) as index:  # nothing of it is left in any of the indexes
        index.add([Document(VICTIM, original[VICTIM][0], original[VICTIM][1])])
    assert verify(index_path) == []
    assert contents(index_path) == original


def test_bytes_that_are_no_text_are_saved_as_they_are(index_path):
    by_sql(index_path, f"UPDATE documents SET text = x'41ff42', metadata = '{{' WHERE id = '{VICTIM}'")

    (file,) = mend(index_path, drop=True).files

    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved["text"] == "A\N{REPLACEMENT CHARACTER}B"
    assert saved["salvaged"]["text_base64"] == "Qf9C"
    assert saved["salvaged"]["metadata_raw"] == "{"


def test_without_its_encoder_a_document_is_listed_and_the_rest_is_mended(index_path, original):
    by_sql(index_path, "DELETE FROM vectors WHERE chunk = 20; INSERT INTO words_0 (words_0) VALUES ('delete-all')")

    report = repair(index_path)

    assert "no document was encoded anew" in "".join(report.done)
    assert "encoder of your own" in "".join(report.done)
    assert {problem.part for problem in report.remaining} == {"vector"}
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
    assert "encoded document 'Greek' anew" in report.done
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


def test_a_damaged_cache_is_deleted(index_path, found):
    (index_path / "vectors.faiss").write_bytes(b"garbage")
    (index_path / "vectors.json").write_bytes(b"garbage")

    report = mend(index_path, encoder=NoEncoder())

    assert report.is_whole
    assert list(report.done) == ["deleted vectors.faiss, vectors.json; the next opening builds anew what is needed"]
    assert answers(index_path) == found


def test_it_waits_for_the_writer(index_path):
    with hold_write_lock(index_path, 1), pytest.raises(IndexBusyError):
        repair(index_path, lock_timeout=0)


def test_an_index_that_is_open_sees_that_it_was_replaced(index_path, original):
    with reopen(index_path) as index:
        flip(index_path, page_of(index_path, "chunks"))
        report = mend(index_path)
        assert report.is_whole
        with pytest.raises(StoreError, match="open the index again"):
            index.add([Document("new", "A new one.")])
    assert contents(index_path) == original


# --- damaged pages


def page_of(path, table):
    """The page where a table or index begins, from 0."""
    with closing(sqlite3.connect(path / STORE)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return root - 1


def flip(path, page, noise=b"\xa5" * 4096):
    begin = 100 if page == 0 else 0
    with (path / STORE).open("rb+") as file:
        file.seek(4096 * page + begin)
        file.write(noise[begin:])


@pytest.mark.parametrize(
    "name",
    [
        "chunks",
        "vectors",
        "sqlite_autoindex_chunks_1",
        "sqlite_autoindex_documents_1",
        "commits",
        "sqlite_sequence",
        "words_0_data",
        "words_1_idx",
        "words_0_config",
        "words_1_docsize",
    ],
)
@pytest.mark.parametrize("noise", [bytes(4096), b"\xa5" * 4096])
def test_a_damaged_page_that_holds_no_text_loses_nothing(index_path, original, found, name, noise):
    flip(index_path, page_of(index_path, name), noise)
    damaged = (index_path / STORE).read_bytes()
    assert any(problem.mending in ("salvage", "words") for problem in verify(index_path))

    report = mend(index_path)

    assert report.is_whole, report
    assert verify(index_path) == []
    assert contents(index_path) == original
    assert same_texts(answers(index_path), found)
    kept = [file for file in report.files if ".damaged-" in file.name]
    assert [file.read_bytes() for file in kept] == [damaged]


def test_documents_below_a_damaged_root_are_found(index_path, original):
    flip(index_path, page_of(index_path, "documents"), bytes(4096))

    report = mend(index_path)

    assert contents(index_path) == original, report
    assert report.is_whole


def test_documents_that_were_deleted_are_not_found_again(index_path, original):
    """Their pages may still lie about."""
    with reopen(index_path) as index:
        index.add([Document("secret", "This was deleted for a reason. " * 20)])
    with reopen(index_path) as index:
        index.delete(["secret"])
    flip(index_path, page_of(index_path, "documents"), bytes(4096))

    mend(index_path)

    assert contents(index_path) == original


@pytest.mark.parametrize("kind", ["zeros", "noise", "bits", "cut"])
def test_whatever_page_is_damaged_each_document_is_whole_or_named(sound, original, tmp_path, kind):
    stored = (sound / STORE).read_bytes()
    n_pages = len(stored) // 4096
    n_whole, unmended = 0, []
    for page in range(n_pages):
        path = shutil.copytree(sound, tmp_path / str(page))
        (path / STORE).write_bytes(spoil(stored, page, kind))
        if not verify(path):
            assert {one[0] for one in contents(path).values()} == {one[0] for one in original.values()}
            continue
        try:
            report = mend(path, drop=True)
        except IndexDamagedError:
            unmended.append(page)
            continue
        left = {problem.document for problem in report.remaining}
        named = str(report.lost)
        assert not left
        now = contents(path)
        texts = {one[0] for one in now.values()}
        for name, value in original.items():
            # Ids and metadata have no checksum, and bits may have flipped in those.
            is_there = value[0] in texts if kind == "bits" else now.get(name) == value
            assert is_there or repr(name) in named or "of any number" in named, (page, name, report)
        n_whole += report.is_whole
        shutil.rmtree(path)
    assert max(unmended, default=0) < 3  # the pages of the schema and the settings
    assert n_whole > n_pages / 3 or kind == "cut"


def spoil(stored, page, kind):
    random = np.random.default_rng(page)
    begin, end = max(100, 4096 * page), 4096 * (page + 1)
    spoiled = bytearray(stored)
    if kind == "cut":
        return bytes(spoiled[: 4096 * page + int(random.integers(4096))])
    if kind == "bits":
        for place in random.integers(begin, end, 3):
            spoiled[place] ^= 1 << int(random.integers(8))
        return bytes(spoiled)
    spoiled[begin:end] = bytes(end - begin) if kind == "zeros" else random.bytes(end - begin)
    return bytes(spoiled)


def test_without_settings_the_texts_are_saved(index_path, original):
    flip(index_path, page_of(index_path, "settings"))

    with pytest.raises(IndexDamagedError, match="cannot be salvaged, and was not changed") as caught:
        mend(index_path)

    (file,) = index_path.glob("salvaged-*.jsonl")
    assert str(file) in str(caught.value)
    saved = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {one["id"]: (one["text"], one["metadata"]) for one in saved} == {
        name: value[:2] for name, value in original.items()
    }


def test_what_is_no_database_is_left_alone(index_path):
    (index_path / STORE).write_bytes(b"not a database" * 1000)

    with pytest.raises(IndexDamagedError, match="cannot be salvaged"):
        mend(index_path)

    assert (index_path / STORE).read_bytes() == b"not a database" * 1000
    assert not [file for file in index_path.iterdir() if file.name.startswith(("new-", "salvaged-"))]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER evil AFTER INSERT ON documents BEGIN DELETE FROM chunks; END",
        "CREATE TABLE more (x)",
        "DROP TABLE vectors",
        "DROP TABLE chunks",
        "DROP TABLE words_1",
    ],
)
def test_tables_that_latechunk_does_not_make_are_not_taken_over(index_path, original, statement):
    by_sql(index_path, statement)

    report = mend(index_path)

    assert report.is_whole, report
    assert verify(index_path) == []
    assert contents(index_path) == original


def test_what_lies_in_the_log_is_kept(index_path, original):
    """A kill leaves changes in the log beside the database, which belongs to that database and to no other."""
    with reopen(index_path) as index:
        index.add([Document("late", "This lies in the log.")])
        copy = shutil.copytree(index_path, index_path.with_name("copy"))
    assert (copy / f"{STORE}-wal").stat().st_size > 0
    by_sql(copy, "DROP TABLE words_1")

    assert mend(copy).is_whole
    now = contents(copy)
    assert now.pop("late")[0] == "This lies in the log."
    assert now == original


def test_numbers_are_not_given_again_after_a_salvage(index_path):
    flip(index_path, page_of(index_path, "vectors"))

    mend(index_path)

    with reopen(index_path) as index:
        index.add([Document("new", "A new one.")])
    with closing(sqlite3.connect(index_path / STORE)) as connection:
        (new,) = connection.execute("SELECT number FROM documents WHERE id = 'new'").fetchone()
        (highest,) = connection.execute("SELECT max(number) FROM documents WHERE id != 'new'").fetchone()
    assert new > highest
