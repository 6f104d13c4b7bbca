"""What the benchmarks share: reading documents and questions, timing pairs, describing the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.readers import find_files, read_documents

if TYPE_CHECKING:
    from latechunk import Document, Encoder  # loads torch, which a benchmark of memory may not want

RESULTS = Path(__file__).parent / "results"
_REPORTED = ("latechunk", "torch", "transformers", "flash-attn", "faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs", "numpy")
_SKIPPED = ("queries.jsonl", "questions.jsonl")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--save", action="store_true", help="also write the figures to benchmarks/results")
    return arguments


def load_documents(folder: Path) -> list[Document]:
    """Documents of a folder: docs.jsonl if it has one, else all files below it that are read."""
    paths = [folder / "docs.jsonl"] if (folder / "docs.jsonl").is_file() else [folder]
    files = [file for file in find_files(paths, stop) if file.path.name not in _SKIPPED]
    return list(read_documents(files, stop))


def time_in_turn(functions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Run things in turn, after a warm-up of each; the median seconds of each."""
    seconds: list[list[float]] = [[] for _ in functions]
    for number in range(rounds + 1):
        for function, times in zip(functions, seconds, strict=True):
            begin = time.perf_counter()
            function()
            if number:
                times.append(time.perf_counter() - begin)
    return [statistics.median(times) for times in seconds]


def peak_rss_mb() -> float:
    """The most memory that this process ever held, in megabytes of 10**6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # of which getrusage also counts what the process held that started this one
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def report(name: str, figures: dict[str, Any], *, save: bool) -> None:
    """Print the figures as one line of JSON, the last of the output, and save them with their environment."""
    if save:
        RESULTS.mkdir(exist_ok=True)
        content = {"benchmark": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), **_environment()}
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps({**content, "figures": figures}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures))


def _environment() -> dict[str, Any]:
    import torch

    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _REPORTED if any(Distribution.discover(name=name))},
        },
    }


def load_random_jina(folder: Path, *, tiny: bool, **options: Any) -> Encoder:
    """Write jina-embeddings-v3 with random weights, in its released layout, if it is not there yet, and load it.

    Args:
        folder: To be made; its files may be deleted once the model is loaded.
        tiny: For a tiny one instead of 570 million parameters.
        options: For :meth:`latechunk.Encoder.load`.
    """
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from latechunk import Encoder
    from tests.checkpoints import write_jina

    if not folder.is_dir():
        write_jina(folder, sizes=None if tiny else {})
    return Encoder.load(str(folder), **options)


def stop(problem: object, reason: object = "") -> None:
    """End the benchmark over data that cannot be used."""
    raise SystemExit(f"the data cannot be used: {problem} {reason}")
