"""The distribution itself: what is in its wheel, and that it installs beside the released llama-index-core."""

import importlib.util
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import llama_index.core
import llama_index.retrievers.latechunk
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "llama_index/retrievers/latechunk/"


def test_public_names():
    assert sorted(llama_index.retrievers.latechunk.__all__) == [
        "LateChunkEmbedding",
        "LateChunkNode",
        "LateChunkRetriever",
        "LateChunkTransform",
        "join_pages",
        "read_nodes",
        "to_documents",
        "to_filter",
    ]


def test_the_tree_leaves_the_namespace_to_others():
    assert not (ROOT / "llama_index" / "__init__.py").exists()
    assert not (ROOT / "llama_index" / "retrievers" / "__init__.py").exists()
    assert getattr(sys.modules["llama_index"], "__file__", None) is None
    assert llama_index.core.__version__


def test_importing_it_loads_no_model_library():
    code = "import sys, llama_index.retrievers.latechunk; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if importlib.util.find_spec("build") is None or importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs build and hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_has_no_init_of_the_namespace(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()

    code = [name for name in names if ".dist-info/" not in name]
    assert "llama_index/__init__.py" not in names
    assert "llama_index/retrievers/__init__.py" not in names
    assert {f"{PACKAGE}__init__.py", f"{PACKAGE}py.typed"} <= set(code)
    assert all(name.startswith(PACKAGE) for name in code)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "Requires-Dist: llama-index-core<0.15,>=0.14" in metadata


def test_the_wheel_installs_beside_the_released_core(wheel, tmp_path):
    """Unpacked into a folder of its own, before everything else on the path, the core still imports."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import llama_index.core, llama_index.retrievers.latechunk as own\n"
        "print(own.__file__, own.LateChunkRetriever.__name__)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout.split() == [str(tmp_path / PACKAGE / "__init__.py"), "LateChunkRetriever"]


def test_the_core_in_use_is_the_one_that_is_supported():
    assert version("llama-index-core").startswith("0.14.")


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    """Its Python, as it stands, but for the LLM and the model that would have to be downloaded."""
    from llama_index.core.llms import MockLLM

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tutorial,) = [one for one in blocks if "papers" in one]  # test_llama_loaders.py runs it
    blocks.remove(tutorial)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    names = {"MockLLM": MockLLM}

    exec(blocks[0], names)
    assert "berlin 0 64 Berlin is the capital of Germany. Its population is 3.8 million." in capsys.readouterr().out
    names["index"].close()
    exec(blocks[1].replace("llm=...", "llm=MockLLM()"), names)
    assert "3.8 million" in str(names["query_engine"].query("How many people live in Berlin?"))
    exec(blocks[2].replace("nomic-ai/nomic-embed-text-v1.5", "all-MiniLM-L6-v2"), names)
    assert names["transform"].dims == names["embedding"].dims == 256
