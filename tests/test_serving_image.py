"""The Dockerfile and the compose example, as far as one can look at them without Docker; and a read-only index."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import typer
import yaml

from latechunk import Document, Index
from latechunk.cli import app
from tests.conftest import FakeEncoder
from tests.documentation import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OPTIONS = {
    one for parameter in typer.main.get_command(app).commands["serve"].params for one in (*parameter.opts, "serve")
}


def options_of(words):
    return {word for word in words if word.startswith("--")}


def test_the_image_runs_our_command_as_an_ordinary_user():
    entry = json.loads(re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)[-1])
    command = json.loads(re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE)[-1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.MULTILINE)

    assert entry == ["latechunk"]
    assert command[0] == "serve"
    assert options_of(command) <= OPTIONS
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.search(r"^USER latechunk$", last, re.MULTILINE)
    assert "useradd" in last


def test_what_the_image_is_built_from_is_there_and_is_not_kept_from_docker():
    copied = [
        path for words in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for path in words.split()[:-1]
    ]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}

    assert {"pyproject.toml", "latechunk"} <= set(copied)
    assert all((ROOT / path).exists() for path in copied)
    assert {path.removeprefix("./") for path in copied} == let_in


def test_the_compose_example_mounts_the_index_for_reading_alone():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["latechunk"]

    assert service["command"][0] == "serve"
    assert options_of(service["command"]) <= OPTIONS
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert service["read_only"] is True
    assert service["user"] != "0"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


READ = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from latechunk.serving import open_served
from latechunk.serving.passages import search
from latechunk import SearchOptions
from tests.conftest import FakeEncoder
with open_served([Path(sys.argv[1])], encoder=FakeEncoder()) as served:
    print(search(served, "Which river?", SearchOptions(k=1), index=None).passages[0].document_id)
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="mounts of Linux")
def test_an_index_that_cannot_be_written_is_served(tmp_path):
    """As a volume that is mounted for reading alone, and whatever the last writer left of SQLite's side files."""
    folder = tmp_path / "cities"
    with Index.create(folder, encoder=FakeEncoder()) as index:
        index.add([Document("berlin", "The Spree is a river of Berlin.")])
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" && exec "$@"'
    probe = subprocess.run(["unshare", "-Urm", "sh", "-c", mount, str(folder), "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("this system does not let us mount")

    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount, str(folder), sys.executable, "-c", READ, str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    assert run.stdout.strip() == "berlin", run.stderr
