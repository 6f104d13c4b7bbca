"""Documents embedded on a Ray cluster of three machines, while one of them and some workers die."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FakeEncoder

pytest.importorskip("ray.data", reason="the extra ray is not installed")
pytest.importorskip("pyarrow")

N_DOCUMENTS = 21  # that can be embedded
PATIENCE = 1_200  # seconds, after which it is taken for a job that hangs; 60 to 90 are usual on two cores


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What tests/ray_scenario.py found."""
    script = Path(__file__).parent / "ray_scenario.py"
    folder = tmp_path_factory.mktemp("ray")
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, errors[-4_000:]
    result = json.loads(output.splitlines()[-1])
    if "skip" in result:
        pytest.skip(result["skip"])
    return result


def test_rows_of_a_dataset_are_those_of_one_machine(found):
    assert found["statuses"] == {**{f"d0{n}": "embedded" for n in range(4)}, "blank": "failed"}
    assert "holds no token" in found["reason"]
    assert found["rows_deviation"] < 1e-5


def test_a_machine_that_is_killed_costs_nothing_but_time(found):
    assert found["n_machines_left"] == 2
    assert found["killed"] == {"embedded": N_DOCUMENTS, "failed": 2, "chunks": found["n_chunks"]}
    assert found["told_once"]
    assert found["deviation"] < 1e-5
    # Two workers hold two documents each when the machine dies, and again when the killer does.
    assert N_DOCUMENTS <= found["encoded"] <= N_DOCUMENTS + 8


def test_a_document_that_kills_its_worker_fails_alone(found):
    assert found["errors"].keys() == {"blank", "bad"}
    assert found["errors"]["bad"].startswith("each worker process that embedded it died")


def test_what_is_there_is_not_encoded_again(found):
    assert found["again"] == {"embedded": 0, "unchanged": N_DOCUMENTS, "failed": 1}
    assert found["encoded_again"] == 0


def test_an_error_of_the_model_ends_the_job_with_its_message(found):
    assert found["error"][0] == "ModelError"
    assert "unit length" in found["error"][1]


def test_what_a_worker_wrote_before_it_died_is_counted(tmp_path):
    from latechunk import Document, TokenChunker
    from latechunk.distributed import EmbeddedFolder, embed_folder
    from latechunk.distributed.outcomes import Outcome
    from latechunk.distributed.ray_data import _Tally

    options = {"encoder": FakeEncoder(), "chunker": TokenChunker(max_tokens=2)}
    embed_folder([Document("old", "It was there before.")], tmp_path / "out", **options)
    tally = _Tally(EmbeddedFolder.open(tmp_path / "out"), run=2)
    embed_folder([Document("new", "One two three four five.")], tmp_path / "out", **options)  # by the worker

    for name in ("old", "new", "new"):
        tally.add(Outcome("unchanged", name))
    tally.add(Outcome("embedded", "later", n_chunks=4, n_tokens=7))

    assert tally.counts == {"n_unchanged": 1, "n_embedded": 2, "n_chunks": 3 + 4, "n_tokens": 5 + 7}


def test_of_two_documents_of_an_id_the_second_fails_whoever_embeds_it(tmp_path):
    """Both stayed, and no index could be made of the folder, whatever was embedded later."""
    from latechunk import Document, TokenChunker
    from latechunk.distributed import EmbeddedFolder, embed_folder, import_folders, read_embedded
    from latechunk.distributed.outcomes import Outcome
    from latechunk.distributed.ray_data import _Tally

    options = {"encoder": FakeEncoder(), "chunker": TokenChunker(max_tokens=2)}
    embed_folder([Document("old", "It was there before.")], tmp_path / "out", **options)
    folder = EmbeddedFolder.open(tmp_path / "out")
    told = []
    tally = _Tally(folder, run=2, on_outcome=told.append)
    texts = [
        ("twin", "One two three."),
        ("twin", "Four five."),
        ("old", "Six."),
        ("again", "Same."),
        ("again", "Same."),
    ]
    for number, (name, text) in enumerate(texts):  # each by a worker of its own
        embed_folder([Document(name, text)], tmp_path / str(number), **options)
        (part,) = EmbeddedFolder.open(tmp_path / str(number)).parts()
        part.rename(folder.path / f"part-000002-{number:016x}.parquet")
    tally.add(Outcome("unchanged", "old"))
    for name, _ in texts:
        tally.add(Outcome("embedded", name, n_chunks=1, n_tokens=1))

    tally.settle_twins()

    assert {one.document.id: one.document.text for one in read_embedded(tmp_path / "out")} == {
        "old": "It was there before.",
        "twin": "One two three.",
        "again": "Same.",
    }
    assert [one.id for one in told if one.status == "failed"] == ["old", "twin"]
    assert (tally.counts["n_failed"], tally.counts["n_embedded"], tally.counts["n_unchanged"]) == (2, 2, 1)
    assert [name for name, _ in folder.errors()] == ["old", "twin"]
    assert import_folders([tmp_path / "out"], tmp_path / "index").n_documents == 3
