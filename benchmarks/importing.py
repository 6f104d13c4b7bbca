"""Time and memory of `latechunk import`: part files of made-up documents of one chunk each, with random vectors.

``peak_rss_mb`` is that of the process that imports, which begins with nothing read; ``start_mb`` what it takes before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import parser, peak_rss_mb, report

DIMS = 384
PART = 4_096
SENTENCE = "Station {n} measures the water at kilometre {m} of the river, and has done so since {y}."


class MadeUp:
    """An encoder of which only the settings are asked."""

    def __init__(self) -> None:
        self.settings = {"kind": "made up", "model": "made up", "dims": DIMS}


def fill(folder: Path, n: int) -> None:
    """Write part files."""
    from latechunk import Document, Span, TokenChunker
    from latechunk.distributed.folder import EmbeddedFolder
    from latechunk.distributed.local import make_manifest
    from latechunk.distributed.rows import to_table
    from latechunk.embedding import Embedding
    from latechunk.storage.store import StoredDocument

    random = np.random.default_rng(0)
    target = EmbeddedFolder.prepare(folder, make_manifest(MadeUp(), TokenChunker(), Embedding("late")))
    with target.writing() as run:
        for begin in range(0, n, PART):
            vectors = random.standard_normal((min(PART, n - begin), DIMS), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            documents = []
            for number, vector in enumerate(vectors, start=begin):
                text = SENTENCE.format(n=number, m=number % 977, y=1850 + number % 170)
                document = Document(f"station-{number}", text, {"year": 1850 + number % 170})
                documents.append(StoredDocument(document, 20, [[Span(0, len(text))]], vector[None]))
            target.write_part(run, to_table(documents, DIMS, target.manifest.fingerprint))


def measure(folder: Path, index: Path) -> dict[str, float]:
    """Import in this process."""
    from latechunk.distributed import import_folders

    start, begin = peak_rss_mb(), time.perf_counter()
    counts = import_folders([folder], index)
    return {
        "n_rows": counts.n_documents,
        "seconds": round(time.perf_counter() - begin, 1),
        "peak_rss_mb": round(peak_rss_mb()),
        "start_mb": round(start),
        "index_mb": round(sum(one.stat().st_size for one in index.iterdir()) / 1e6),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=2_000_000)
    arguments.add_argument("--folder", type=Path, help="what the measuring process imports")
    options = arguments.parse_args()
    if options.folder:
        print(json.dumps(measure(options.folder / "parts", options.folder / "index")))
        return
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch, "parts"), options.rows)
        command = [sys.executable, __file__, "--folder", scratch]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    report("importing", json.loads(output.splitlines()[-1]), save=options.save)


if __name__ == "__main__":
    main()
