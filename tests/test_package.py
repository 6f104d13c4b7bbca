import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import latechunk


def loaded_after(statement):
    program = f"import sys\n{statement}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_public_names():
    assert sorted(latechunk.__all__) == [
        "AddReport",
        "Block",
        "Chunk",
        "CrossEncoderReranker",
        "DEFAULT_MODEL",
        "DatabaseSearcher",
        "DevicePool",
        "Document",
        "EmbeddedDocument",
        "Embedding",
        "Encoder",
        "Hit",
        "Index",
        "IndexKeywords",
        "LateChunkError",
        "LocalGlobal",
        "Mode",
        "OUTLINE",
        "OnError",
        "PAGES",
        "Page",
        "PagesWarning",
        "Progress",
        "SearchKeywords",
        "SearchOptions",
        "SentenceChunker",
        "Span",
        "StructureChunker",
        "TokenChunker",
        "__version__",
        "chunker_from_settings",
        "embed_documents",
        "error_handler",
        "join_pages",
        "name_documents",
        "pack_metadata",
        "page_metadata",
        "read_embedded",
        "to_chunker",
        "unpack_document",
    ]
    for name in latechunk.__all__:
        assert getattr(latechunk, name) is not None
        assert name in dir(latechunk)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        latechunk.Nothing


def test_the_top_level_holds_what_a_user_touches():
    assert len(list(Path(latechunk.__file__).parent.glob("*.py"))) <= 10


def test_the_command_runs_as_a_module_too():
    result = subprocess.run(
        [sys.executable, "-m", "latechunk", "--version"], capture_output=True, text=True, check=True
    )

    assert result.stdout == f"latechunk {latechunk.__version__}\n"


def test_the_version_is_the_distributions():
    assert version("latechunk") == latechunk.__version__


def test_importing_loads_nothing_heavy():
    assert not {"torch", "faiss", "transformers", "numpy", "sentencex"} & loaded_after("import latechunk")


def test_help_loads_nothing_heavy():
    statement = """
from typer.testing import CliRunner
from latechunk.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
assert CliRunner().invoke(app, ["index", "--help"]).exit_code == 0
assert CliRunner().invoke(app, ["train", "--help"]).exit_code == 0
"""
    assert not {"torch", "faiss", "transformers", "numpy"} & loaded_after(statement)


def test_info_and_documents_need_no_model():
    assert not {"torch", "transformers"} & loaded_after("from latechunk import Document, Index, SentenceChunker")


def test_every_error_is_a_late_chunk_error():
    from latechunk import errors

    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(classes) > 10
    for one in classes:
        assert issubclass(one, errors.LateChunkError)
        assert one.__doc__


def test_a_search_computes_no_product_by_blas():
    """Threads of BLAS go on for 25 ms after a product of some size; FAISS and the encoder wait for the cores meanwhile.

    Of 1,000,000 chunks a search took 35 ms in place of 7 for one such product.
    """
    package = Path(latechunk.__file__).parent
    files = [*(package / "search").glob("*.py"), package / "ann" / "reader.py", package / "ann" / "vector_index.py"]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            is_product = isinstance(node, ast.MatMult) or (
                isinstance(node, ast.Attribute) and node.attr in ("dot", "matmul", "inner", "vdot", "tensordot")
            )
            assert not is_product, f"{file}: use einsum"
    assert len(files) > 10
