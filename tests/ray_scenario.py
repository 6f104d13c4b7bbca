"""A small Ray cluster, and what is embedded on it while machines and workers die; prints what came of it as JSON.

It runs as a program of its own, so that neither Ray's threads nor its warnings are in the process of the tests.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])

from tests.conftest import FakeEncoder  # noqa: E402


class LoggedEncoder(FakeEncoder):
    """Writes down what it encodes, takes its time, and kills its process on a text with the word."""

    def __init__(self, log: Path, seconds: float = 0.0) -> None:
        super().__init__()
        self.log, self.seconds = log, seconds

    def tokenize(self, texts):
        if any("killer" in text for text in texts):
            os._exit(1)
        return super().tokenize(texts)

    def encode_spans(self, tasks, on_progress=None):
        with self.log.open("a") as log:
            log.write(f"{len(tasks)}\n")
        time.sleep(self.seconds * len(tasks))
        return super().encode_spans(tasks, on_progress)


def persist(start):
    """Try to start a node, which gives up after 30 seconds, several times: the machine may be busy."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


def n_encoded(log: Path) -> int:
    return sum(map(int, log.read_text().split()))


def main(folder: Path) -> None:
    import ray
    import ray.data
    from ray.cluster_utils import Cluster

    from latechunk import Document, TokenChunker
    from latechunk.distributed import EmbeddedFolder, Workers, embed_dataset, embed_dataset_to, embed_folder
    from latechunk.errors import LateChunkError

    sizes = {"num_cpus": 1, "object_store_memory": 80_000_000}
    try:
        cluster = persist(lambda: Cluster(initialize_head=True, head_node_args={**sizes, "include_dashboard": False}))
        others = [persist(lambda: cluster.add_node(**sizes)) for _ in range(2)]
    except Exception as error:
        print(json.dumps({"skip": f"Ray gives up to start three nodes on this machine: {error}"}))
        return
    ray.init(address=cluster.address, log_to_driver=False)
    options = {"chunker": TokenChunker(max_tokens=6)}
    rows = [
        {
            "id": f"d{n:02}",
            "text": f"Document {n} is about number {n}. " * (1 + n % 4),
            "metadata": json.dumps({"n": n}),
        }
        for n in range(20)
    ]
    rows.append({"id": "long", "text": "Many words are in this one. " * 2_000, "metadata": "{}"})
    rows.append({"id": "blank", "text": " ", "metadata": "{}"})
    found: dict[str, object] = {}

    def dataset(given=rows, n_blocks=12):
        return ray.data.from_items(given, override_num_blocks=n_blocks)

    def held(out: Path) -> dict[str, object]:
        there = EmbeddedFolder.open(out)
        return {one.document.id: one for part in there.parts() for some in there.documents(part) for one in some}

    def deviation(ours, theirs) -> float:
        assert ours.keys() == theirs.keys()
        assert all(ours[name].document == theirs[name].document for name in ours)
        return max(float(np.abs(ours[name].vectors - theirs[name].vectors).max()) for name in ours)

    documents = [Document(row["id"], row["text"], json.loads(row["metadata"])) for row in rows]
    embed_folder(documents, folder / "local", encoder=FakeEncoder(), **options)
    alone = held(folder / "local")
    found["n_chunks"] = sum(len(one.vectors) for one in alone.values())

    # rows, for a stage of the user's own
    small = rows[:4] + rows[-1:]
    embedded = embed_dataset(dataset(small, 2), encoder=FakeEncoder(), **options).take_all()
    by_id = {row["id"]: row for row in embedded}
    found["statuses"] = {name: row["status"] for name, row in sorted(by_id.items())}
    found["reason"] = by_id["blank"]["reason"]
    found["rows_deviation"] = max(
        float(
            np.abs(np.array([chunk["vector"] for chunk in by_id[row["id"]]["chunks"]]) - alone[row["id"]].vectors).max()
        )
        for row in small[:-1]
    )

    # a machine is killed in mid-job, and a document kills each worker that gets it
    log = folder / "log"
    told: list[str] = []

    def kill_a_machine(outcome):
        told.append(outcome.id)
        if len(told) == 5:
            cluster.remove_node(others.pop(), allow_graceful=False)

    workers = Workers(n=2, batch_documents=2)
    killer = {"id": "bad", "text": "a killer among them", "metadata": "{}"}
    report = embed_dataset_to(
        dataset([*rows, killer]),
        folder / "out",
        encoder=LoggedEncoder(log, 0.2),
        workers=workers,
        on_outcome=kill_a_machine,
        **options,
    )
    found["n_machines_left"] = 1 + len(others)
    found["told_once"] = len(told) == len(set(told)) == len(rows) + 1
    found["killed"] = {"embedded": report.n_embedded, "failed": report.n_failed, "chunks": report.n_chunks}
    found["encoded"] = n_encoded(log)
    found["errors"] = dict(EmbeddedFolder.open(folder / "out").errors())
    found["deviation"] = deviation(held(folder / "out"), alone)

    # the same again
    log.write_text("")
    report = embed_dataset_to(dataset(), folder / "out", encoder=LoggedEncoder(log), workers=workers, **options)
    found["again"] = {"embedded": report.n_embedded, "unchanged": report.n_unchanged, "failed": report.n_failed}
    found["encoded_again"] = n_encoded(log)

    # an error of the model ends the job with its message
    try:
        embed_dataset_to(dataset(small, 1), folder / "wrong", encoder=_Wrong(), workers=workers, **options)
    except LateChunkError as error:
        found["error"] = [type(error).__name__, str(error)]
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps(found))


class _Wrong(FakeEncoder):
    def encode_spans(self, tasks, on_progress=None):
        return [2 * one for one in super().encode_spans(tasks, on_progress)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
