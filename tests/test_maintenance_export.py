"""An index goes to a file and comes back the same; a file that is not whole and sound makes no index."""

import base64
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latechunk import Document, Index, Span, TokenChunker
from latechunk.errors import (
    IndexDamagedError,
    IndexExistsError,
    IndexMissingError,
    InputError,
    LateChunkError,
    StoreError,
    TransferError,
)
from latechunk.maintenance.export import export_index, import_index
from latechunk.maintenance.records import ExportedDocument
from latechunk.maintenance.verify import verify
from latechunk.storage.store import Counts, Store
from tests.conftest import SCRIPTS, FakeEncoder
from tests.damages import DOCUMENTS, VICTIM, answers, by_sql, contents, no_file_larger, reopen

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

SUFFIXES = (".jsonl", ".parquet")


@pytest.fixture(scope="module")
def exported(sound, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    for suffix in SUFFIXES:
        export_index(sound, folder / f"index{suffix}")
    return folder


def order(path):
    with reopen(path, read_only=True) as index:
        return index.ids()


def recorded(path):
    with reopen(path, read_only=True) as index:
        info = index.info()
    return info.encoder, info.chunkers, info.search, info.embedding, info.made


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_there_and_back(sound, exported, tmp_path, suffix):
    counts = import_index(exported / f"index{suffix}", tmp_path / "back")

    assert counts.n_documents == len(DOCUMENTS)
    assert contents(tmp_path / "back") == contents(sound)
    assert order(tmp_path / "back") == order(sound)
    assert recorded(tmp_path / "back") == recorded(sound)
    assert answers(tmp_path / "back") == answers(sound)
    assert verify(tmp_path / "back") == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_index(tmp_path, suffix):
    Index.create(tmp_path / "index", encoder=FakeEncoder()).close()

    assert export_index(tmp_path / "index", tmp_path / f"x{suffix}") == Counts(0, 0, 0)
    assert import_index(tmp_path / f"x{suffix}", tmp_path / "back") == Counts(0, 0, 0)
    assert verify(tmp_path / "back") == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_of_an_import_is_the_same_file(exported, tmp_path, suffix):
    import_index(exported / f"index{suffix}", tmp_path / "back")
    export_index(tmp_path / "back", tmp_path / f"again{suffix}")

    assert (tmp_path / f"again{suffix}").read_bytes() == (exported / f"index{suffix}").read_bytes()


texts = st.text(min_size=1, max_size=60).filter(str.strip) | st.sampled_from(list(SCRIPTS.values()))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20),
        st.tuples(texts, st.dictionaries(st.text(max_size=5), values, max_size=3)),
        max_size=5,
    ),
    st.integers(1, 3),
)
def test_whatever_an_index_holds_comes_back(tmp_path_factory, held, n_granularities):
    folder = tmp_path_factory.mktemp("whatever")
    chunkers = {f"size {n}": TokenChunker(max_tokens=n) for n in range(1, n_granularities + 1)}
    with Index.create(folder / "index", encoder=FakeEncoder(), chunkers=chunkers) as index:
        index.add([Document(name, text, metadata) for name, (text, metadata) in held.items()], on_error=print)
        before = [index.stored(name) for name in index.ids()]
    for suffix in SUFFIXES:
        export_index(folder / "index", folder / f"x{suffix}")
        import_index(folder / f"x{suffix}", folder / f"back{suffix}")
        assert verify(folder / f"back{suffix}") == []
        with Index.open(folder / f"back{suffix}", encoder=FakeEncoder(), read_only=True) as index:
            after = [index.stored(name) for name in index.ids()]
        assert [one.document for one in after] == [one.document for one in before]
        assert [one.chunkings for one in after] == [one.chunkings for one in before]
        assert [one.n_tokens for one in after] == [one.n_tokens for one in before]
        for one, other in zip(after, before, strict=True):
            assert one.vectors.tobytes() == other.vectors.tobytes()
    shutil.rmtree(folder)


def test_the_lines_are_as_they_are_described(exported, sound):
    header, *lines = (exported / "index.jsonl").read_text(encoding="utf-8").splitlines()
    header, documents = json.loads(header), [json.loads(line) for line in lines]

    assert (header["kind"], header["version"], header["n_documents"]) == ("latechunk-export", 3, len(DOCUMENTS))
    assert header["settings"]["encoder"] == {"kind": "fake", "model": "fake", "dims": 8}
    with reopen(sound, read_only=True) as index:
        for document in documents:
            stored = index.stored(document["id"])
            assert list(document["chunks"]) == ["sentences", "threes"]
            assert document["chunks"]["threes"] == [[one.start, one.end] for one in stored.chunkings[1]]
            vectors = np.frombuffer(base64.urlsafe_b64decode(document["vectors"]), "<f4").reshape(-1, 8)
            np.testing.assert_array_equal(vectors, stored.vectors)
            assert document["metadata"] == stored.document.metadata


def test_the_rows_are_as_they_are_described(exported, sound):
    table = parquet.read_table(exported / "index.parquet")

    assert table.column_names == [
        "document_id",
        "granularity",
        "chunk",
        "start",
        "end",
        "text",
        "metadata",
        "vector",
        "document_text",
        "pages",
        "outline",
        "n_tokens",
        "sha256",
    ]
    assert table.schema.field("vector").type == pyarrow.list_(pyarrow.float32(), 8)
    rows = [row for row in table.to_pylist() if row["granularity"] == "threes" and row["document_id"] == VICTIM]
    with reopen(sound, read_only=True) as index:
        chunks = index.chunks(VICTIM, granularity="threes")
        assert [(row["chunk"], row["start"], row["end"], row["text"]) for row in rows] == [
            (one.number, one.start, one.end, one.text) for one in chunks
        ]
        assert json.loads(rows[0]["metadata"]) == index.get(VICTIM).metadata
    firsts = [row for row in table.to_pylist() if row["document_text"] is not None]
    assert [(row["document_id"], row["document_text"]) for row in firsts] == [(one.id, one.text) for one in DOCUMENTS]
    assert all(row["chunk"] == 0 and row["granularity"] == "sentences" for row in firsts)


def test_pandas_and_polars_read_it(exported):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(exported / "index.parquet")
    assert len(frame.dropna(subset="document_text")) == len(DOCUMENTS)
    assert np.stack(frame["vector"]).shape == (len(frame), 8)


def test_each_batch_is_a_group_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.maintenance.export.BATCH", 1)
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=1)) as index:
        index.add([Document("long", "word " * 5_000), Document("longer", "other words " * 3_000)])
    export_index(tmp_path / "index", tmp_path / "x.parquet")

    assert parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups == 2
    assert import_index(tmp_path / "x.parquet", tmp_path / "back").n_chunks == 11_000
    assert verify(tmp_path / "back") == []


def test_the_metadata_of_each_row_count_in_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.maintenance.export.BATCH_BYTES", 10_000)
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=1)) as index:
        index.add([Document(name, "word " * 20, {"html": "<p>" * 200}) for name in "abcd"])
    export_index(tmp_path / "index", tmp_path / "x.parquet")

    assert parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups == 4
    assert import_index(tmp_path / "x.parquet", tmp_path / "back").n_documents == 4


# --- what cannot be exported, and where to


def test_nothing_is_overwritten(sound, tmp_path):
    (tmp_path / "x.jsonl").write_text("mine")

    with pytest.raises(InputError, match="exists already"):
        export_index(sound, tmp_path / "x.jsonl")

    assert (tmp_path / "x.jsonl").read_text() == "mine"


@pytest.mark.parametrize("name", ["x.json", "x", "x.jsonl.gz", "jsonl"])
def test_the_name_says_the_format(sound, tmp_path, name):
    with pytest.raises(InputError, match=r"ends in \.jsonl or \.parquet"):
        export_index(sound, tmp_path / name)
    with pytest.raises(InputError, match=r"ends in \.jsonl or \.parquet"):
        import_index(tmp_path / name, tmp_path / "back")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["text = x'41'", "vectors_sha256 = zeroblob(32)"])
def test_a_damaged_document_is_not_exported(sound, tmp_path, suffix, what):
    path = shutil.copytree(sound, tmp_path / "index")
    by_sql(path, f"UPDATE documents SET {what} WHERE id = '{VICTIM}'")

    with pytest.raises(IndexDamagedError, match=VICTIM):
        export_index(path, tmp_path / f"x{suffix}")

    assert [file.name for file in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_is_not_there(sound, tmp_path, suffix):
    folder = re.escape(str(tmp_path / "no"))
    with pytest.raises(StoreError, match=f"could not be written: there is no folder {folder}; make it first$"):
        export_index(sound, tmp_path / "no" / f"x{suffix}")
    with pytest.raises(IndexMissingError):
        export_index(tmp_path / "nothing", tmp_path / f"x{suffix}")
    with pytest.raises(TransferError, match="cannot be imported"):
        import_index(tmp_path / f"nothing{suffix}", tmp_path / "back")
    assert list(tmp_path.iterdir()) == []


def test_an_import_goes_nowhere_where_something_is(sound, exported):
    before = contents(sound)

    with pytest.raises(IndexExistsError):
        import_index(exported / "index.jsonl", sound)

    assert contents(sound) == before


def test_without_pyarrow_the_extra_is_named(sound, tmp_path):
    program = """
import sys
sys.modules["pyarrow"] = None
from latechunk.errors import MissingDependencyError
from latechunk.maintenance.export import export_index, import_index
for work in (lambda: export_index(sys.argv[1], sys.argv[2]), lambda: import_index(sys.argv[2], sys.argv[3])):
    try:
        work()
    except MissingDependencyError as error:
        print(error)
"""
    arguments = [str(sound), str(tmp_path / "x.parquet"), str(tmp_path / "back")]
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert run.stdout.count('pip install ".[parquet]"') == 2
    assert list(tmp_path.iterdir()) == []


# --- hostile files


def refuse(file, target, says):
    """The import fails with these words, naming the file, and leaves nothing."""
    with pytest.raises(TransferError, match="cannot be imported") as caught:
        import_index(file, target)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert not target.exists()


def lines_of(exported):
    return [json.loads(line) for line in (exported / "index.jsonl").read_text(encoding="utf-8").splitlines()]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def vectors(matrix):
    return base64.urlsafe_b64encode(np.asarray(matrix, dtype="<f4").tobytes()).decode()


def n_chunks(line):
    return sum(map(len, line["chunks"].values()))


UNIT = np.eye(8)[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one.update(version=1), "version must be one of 3"),
        (lambda one: one.update(kind="x"), "kind must be one of 'latechunk-export'"),
        (lambda one: one.update(settings=[]), "settings must be a"),
        (lambda one: one["settings"].update(encoder={}), "the manifest of the index"),
        (lambda one: one["settings"]["encoder"].update(dims=10**30), "dims"),
        (lambda one: one["settings"]["encoder"].update(dims=-1), "dims"),
        (lambda one: one["settings"].update(chunkers={str(n): {} for n in range(9)}), "chunkers"),
        (lambda one: one["settings"]["search"].update(words="x'; DROP TABLE documents"), "words must be True or False"),
        (lambda one: one["settings"]["embedding"].update(mode="x"), "mode must be"),
        (lambda one: one["settings"].update(more={}), "more"),
        (lambda one: one["settings"]["made"].update(at="x"), "the settings are not those that were exported"),
        (lambda one: one.pop("sha256"), "the settings are not those that were exported"),
        (lambda one: one.update(n_documents=-1), "n_documents must be at least 0"),
        (lambda one: one.update(n_tokens=1), "the settings are not those that were exported"),
        (lambda one: one.update(more=1), "there is no 'more'"),
    ],
)
def test_a_header_that_is_not_one(exported, tmp_path, change, says):
    lines = lines_of(exported)
    change(lines[0])

    refuse(write_lines(tmp_path / "x.jsonl", lines), tmp_path / "back", says)


def test_a_line_that_is_missing(exported, tmp_path):
    refuse(
        write_lines(tmp_path / "x.jsonl", lines_of(exported)[:-1]),
        tmp_path / "back",
        "it is not whole: it should hold 15 documents, ",
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one.pop("chunks"), "line 3: chunks is missing"),
        (lambda one: one.update(more=1), "line 3: there is no 'more'"),
        (lambda one: one.update(id=5), "line 3: id must be a string"),
        (lambda one: one.update(id="\udcff"), "line 3: it is not JSON"),
        (lambda one: one.update(id="another"), "it is not the document that was exported"),
        (lambda one: one.update(metadata={}), "it is not the document that was exported"),
        (lambda one: one.update(n_tokens=21), "it is not the document that was exported"),
        (lambda one: one.update(sha256="0" * 64), "it is not the document that was exported"),
        (lambda one: one.update(text=one["text"] + "!"), "it is not the document that was exported"),
        (lambda one: one["chunks"]["threes"][0].__setitem__(1, 3), "it is not the document that was exported"),
        (lambda one: one.update(vectors=vectors([UNIT] * n_chunks(one))), "it is not the document that was exported"),
        (lambda one: one.update(text=None), "line 3: text must be a string"),
        (lambda one: one.update(metadata=[]), "line 3: metadata must be"),
        (lambda one: one.update(n_tokens=0), "line 3: n_tokens must be at least 1"),
        (lambda one: one.update(n_tokens=2**70), "line 3: n_tokens must be less than"),
        (lambda one: one.update(n_tokens=1.5), "line 3: n_tokens must be"),
        (lambda one: one.update(n_tokens=True), "line 3: n_tokens must be a whole number"),
        (lambda one: one.update(chunks=[]), "line 3: chunks must be"),
        (lambda one: one["chunks"].update(threes=[[0, 1, 2]]), "line 3: chunks.threes.0"),
        (lambda one: one["chunks"]["threes"][0].__setitem__(0, 10**400), "a span needs 0 <= start < end"),
        (lambda one: one["chunks"]["threes"][0].__setitem__(0, "0"), "line 3: chunks.threes.0.0 must be"),
        (lambda one: one.update(vectors=5), "line 3: vectors must be"),
        (lambda one: one.update(vectors="AAA"), "line 3: document 'Cyrillic': its vectors must take"),
    ],
)
def test_a_line_that_is_no_document(exported, tmp_path, change, says):
    lines = lines_of(exported)
    change(lines[2])

    refuse(write_lines(tmp_path / "x.jsonl", lines), tmp_path / "back", says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one.update(id=""), "the id of a document must not be empty"),
        (lambda one: one["chunks"].pop("threes"), "must have chunks of sentences, threes, in this order"),
        (lambda one: one.update(chunks=dict(reversed(one["chunks"].items()))), "must have chunks of sentences, threes"),
        (lambda one: one["chunks"].update(threes=[]), "must have chunks of sentences, threes"),
        (lambda one: one["chunks"]["threes"][0].reverse(), "a span needs 0 <= start < end"),
        (lambda one: one["chunks"]["threes"][0].__setitem__(0, -1), "a span needs 0 <= start < end"),
        (lambda one: one["chunks"]["threes"][0].__setitem__(1, 10**6), "must stand in order, within its"),
        (lambda one: one["chunks"]["threes"].reverse(), "must stand in order, within its"),
        (lambda one: one["chunks"]["threes"].pop(), "its vectors must take"),
        (lambda one: one.update(vectors=vectors([UNIT])), "its vectors must take"),
        (lambda one: one.update(vectors=vectors([UNIT * 2] * n_chunks(one))), "must be of unit length"),
        (lambda one: one.update(vectors=vectors([UNIT * np.nan] * n_chunks(one))), "must be of unit length"),
        (lambda one: one.update(vectors=vectors([[np.inf] * 8] * n_chunks(one))), "must be of unit length"),
    ],
)
def test_a_document_with_a_right_checksum_that_no_index_can_hold(exported, tmp_path, change, says):
    lines = lines_of(exported)
    change(lines[2])
    document = ExportedDocument.from_json(json.dumps(lines[2]))
    lines[2]["sha256"] = document.checksum()

    refuse(write_lines(tmp_path / "x.jsonl", lines), tmp_path / "back", says)


def test_a_line_that_comes_twice(exported, tmp_path):
    lines = lines_of(exported)

    refuse(write_lines(tmp_path / "x.jsonl", [*lines, lines[1]]), tmp_path / "back", "'Latin' comes twice")
    refuse(write_lines(tmp_path / "x.jsonl", [*lines[:2], *lines[1:]]), tmp_path / "back", "line 3: the document id")


@pytest.mark.parametrize("content", [b"", b"\n", b"[1]\n", b"\xff\xfe\n", b"[" * 100_000, b'{"kind": ', b"9" * 5_000])
def test_what_is_no_export(tmp_path, content):
    (tmp_path / "x.jsonl").write_bytes(content)
    (tmp_path / "x.parquet").write_bytes(content)

    refuse(tmp_path / "x.jsonl", tmp_path / "back", "it is no header of an export")
    refuse(tmp_path / "x.parquet", tmp_path / "back", "cannot be read as Parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_off_anywhere(exported, tmp_path, suffix):
    content = (exported / f"index{suffix}").read_bytes()
    file = tmp_path / f"x{suffix}"
    ends = [content.index(b"\n") + 1, content.rindex(b"\n", 0, -1) + 1] if suffix == ".jsonl" else []
    for size in [*ends, *range(0, len(content) - 1, len(content) // 12)]:
        file.write_bytes(content[:size])
        refuse(file, tmp_path / "back", "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_with_flipped_bits_makes_the_same_index_or_none(exported, tmp_path, suffix):
    content = (exported / f"index{suffix}").read_bytes()
    good = import_to(exported / f"index{suffix}", tmp_path / "good")
    random = np.random.default_rng(0)
    n_refused = 0
    for number in range(40):
        spoiled = bytearray(content)
        spoiled[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        file = tmp_path / f"x{suffix}"
        file.write_bytes(spoiled)
        try:
            import_index(file, tmp_path / str(number))
        except TransferError:
            n_refused += 1
            assert not (tmp_path / str(number)).exists()
        else:
            assert contents(tmp_path / str(number)) == good
    assert n_refused > 20


def test_a_disk_that_fills_up_at_the_very_end_is_told(tmp_path):
    """SQLite moves its log into the database when it closes it, and says nothing if it cannot."""
    many = [Document(str(number), f"Number {number}.", {"filling": "abcdefgh" * 500}) for number in range(600)]
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add(many)
    export_index(tmp_path / "index", tmp_path / "index.jsonl")
    import_index(tmp_path / "index.jsonl", tmp_path / "whole")
    size = (tmp_path / "whole/store.sqlite3").stat().st_size

    with no_file_larger(size - 1), pytest.raises(StoreError, match="the disk did not take all of it"):
        import_index(tmp_path / "index.jsonl", tmp_path / "back")

    assert not (tmp_path / "back").exists()


def import_to(file, path):
    import_index(file, path)
    return contents(path)


def rewrite(exported, path, change, metadata=None):
    """An exported Parquet file with some of its columns changed."""
    table = parquet.read_table(exported / "index.parquet")
    rows = table.to_pylist()
    change(rows)
    table = pyarrow.Table.from_pylist(rows, schema=table.schema)
    parquet.write_table(table.replace_schema_metadata(metadata or table.schema.metadata), path)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[1].update(granularity="x"), "row 1: document 'Latin': it must have chunks of"),
        (lambda rows: rows[0].update(metadata="{}"), "row 1: document 'Latin': it is not the document that was"),
        (lambda rows: rows[0].update(document_text=None), "text must be a string"),
        (lambda rows: rows[0].update(n_tokens=None), "n_tokens must be a whole number"),
        (lambda rows: rows[0].update(sha256=None), "sha256 must be a string"),
        (lambda rows: rows[1].update(start=-5), "a span needs 0 <= start < end"),
        (lambda rows: rows[1].update(start=None), "chunks.sentences.1.0 must be a whole number"),
        (lambda rows: rows[1].update(vector=None), "its vectors must take"),
        (lambda rows: rows[1].update(vector=[None] * 8), "it is not the document that was exported"),
        (lambda rows: rows[1].update(vector=UNIT.tolist()), "it is not the document that was exported"),
        (lambda rows: rows.insert(0, rows.pop(1)), "text must be a string"),
        (lambda rows: rows.insert(1, rows.pop(2)), "must stand in order|it is not the document that was exported"),
        (lambda rows: rows[0].update(metadata="["), "metadata, pages or outline of document 'Latin' are not JSON"),
        (lambda rows: rows.pop(), "its vectors must take|it is not the document"),
        (lambda rows: rows.extend(rows[:2]), "comes twice|it must have chunks"),
        (lambda rows: rows.clear(), "is not whole"),
    ],
)
def test_a_row_that_is_no_chunk(exported, tmp_path, change, says):
    file = rewrite(exported, tmp_path / "x.parquet", change)

    with pytest.raises(TransferError) as caught:
        import_index(file, tmp_path / "back")

    assert any(one in str(caught.value) for one in says.split("|")), caught.value
    assert not (tmp_path / "back").exists()


def test_a_table_of_other_columns(exported, tmp_path):
    table = parquet.read_table(exported / "index.parquet")

    parquet.write_table(table.drop_columns(["start"]), tmp_path / "a.parquet")
    refuse(tmp_path / "a.parquet", tmp_path / "back", "it lacks the columns start")
    parquet.write_table(table.replace_schema_metadata({}), tmp_path / "b.parquet")
    refuse(tmp_path / "b.parquet", tmp_path / "back", "it is no header of an export")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_import_that_fails_midway_leaves_nothing(exported, tmp_path, suffix, monkeypatch):
    """In a folder that was there, and in one that was not."""
    put, n_calls = Store.put, []

    def fail_later(self, *arguments):
        n_calls.append(1)
        if len(n_calls) == 3:
            raise OSError("the disk has gone")
        put(self, *arguments)

    monkeypatch.setattr("latechunk.maintenance.export.BATCH", 2)
    monkeypatch.setattr(Store, "put", fail_later)
    with pytest.raises(LateChunkError, match="the disk has gone"):
        import_index(exported / f"index{suffix}", tmp_path / "back")
    assert not (tmp_path / "back").exists()

    n_calls.clear()
    (tmp_path / "empty").mkdir()
    with pytest.raises(LateChunkError, match="the disk has gone"):
        import_index(exported / f"index{suffix}", tmp_path / "empty")
    assert {file.name for file in (tmp_path / "empty").iterdir()} <= {"write.lock"}
    n_calls.extend([1] * 9)
    assert import_index(exported / f"index{suffix}", tmp_path / "empty").n_documents == len(DOCUMENTS)


def test_chunkers_of_the_users_own_come_back(tmp_path):
    class Halves:
        settings = {"kind": "halves"}

        def split(self, text, offsets):
            middle = int(offsets[len(offsets) // 2][0])
            return [Span(0, middle), Span(middle, len(text))]

    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=Halves()) as index:
        index.add([Document("a", "one two three four")])
    export_index(tmp_path / "index", tmp_path / "x.jsonl")
    import_index(tmp_path / "x.jsonl", tmp_path / "back")

    with Index.open(tmp_path / "back", encoder=FakeEncoder(), chunker=Halves()) as index:
        assert [one.text for one in index.chunks("a")] == ["one two ", "three four"]
