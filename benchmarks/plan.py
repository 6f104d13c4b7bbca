"""What a corpus of so many chunks takes: hours to encode, bytes, memory, latency, machines. A model, not a measurement.

It scales figures measured on this project's machine (benchmarks/results) and says which; each can be given otherwise.
What no machine of the project measured, such as the rate of a GPU, has to be given: --gpu-tokens-per-second.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common import RESULTS, parser, report

SIZES = (10**6, 10**8, 10**10)


@dataclass(frozen=True)
class Rates:
    """Inputs of the model; per chunk and machine where nothing else is said.

    Attributes:
        cpu_tokens_per_second: Of one worker, a machine of two cores.
        gpu_tokens_per_second: Of one GPU; None if nobody measured it.
        tokens_per_chunk: Content tokens, each encoded ``passes`` times.
        disk_bytes: Of the index; ``part_bytes`` of the part files before compression.
        memory_bytes: While it is searched.
        search_ms: Median of a search by vector in ``search_chunks`` chunks on one machine; taken to grow with them.
    """

    cpu_tokens_per_second: float
    gpu_tokens_per_second: float | None
    tokens_per_chunk: float
    passes: float
    dims: int
    text_bytes: float
    disk_bytes: float
    memory_bytes: float
    search_ms: float
    search_chunks: float
    build_seconds: float
    add_seconds: float


def measured(**given: Any) -> Rates:
    """The rates of benchmarks/results, but for those that are given."""
    encode = json.loads((RESULTS / "encode.json").read_text(encoding="utf-8"))["figures"]
    scale = json.loads((RESULTS / "scale-1000000.json").read_text(encoding="utf-8"))["figures"]
    n = scale["n_chunks"]
    found = {
        "cpu_tokens_per_second": encode["tokens_per_second_float32"],
        "gpu_tokens_per_second": None,
        "tokens_per_chunk": 100.0,
        "passes": 2.0,  # the default blends late with naive vectors
        "dims": scale["dims"],
        "text_bytes": 450.0,
        "disk_bytes": scale["disk_mb"] * 1e6 / n,
        "memory_bytes": scale["rss_mb"] * 1e6 / n,
        "search_ms": scale["p50_ms"],
        "search_chunks": float(n),
        "build_seconds": scale["build_s"] / n,
        "add_seconds": scale["add_s"] / n,
    }
    return Rates(**{**found, **{name: value for name, value in given.items() if value is not None}})


def plan(n_chunks: int, rates: Rates, *, machine_bytes: float, most_ms: float, deadline_hours: float) -> dict[str, Any]:
    """What so many chunks take.

    Args:
        n_chunks: Of all documents.
        rates: The inputs.
        machine_bytes: Memory of a machine that searches.
        most_ms: Longest median of a search by vector on one machine.
        deadline_hours: In which everything is to be encoded.
    """
    n_tokens = n_chunks * rates.tokens_per_chunk * rates.passes
    cpu_hours = n_tokens / rates.cpu_tokens_per_second / 3600
    gpu_hours = n_tokens / rates.gpu_tokens_per_second / 3600 if rates.gpu_tokens_per_second else None
    by_memory = n_chunks * rates.memory_bytes / machine_bytes
    by_latency = n_chunks / rates.search_chunks * rates.search_ms / most_ms
    n_shards = max(1, -int(-max(by_memory, by_latency) // 1))
    return {
        "n_chunks": n_chunks,
        "n_tokens": n_tokens,
        "cpu_worker_hours": cpu_hours,
        "cpu_workers_in_time": max(1, -int(-cpu_hours / deadline_hours // 1)),
        "gpu_hours": gpu_hours,
        "gpus_in_time": None if gpu_hours is None else max(1, -int(-gpu_hours / deadline_hours // 1)),
        "part_bytes": n_chunks * (rates.text_bytes + 4 * rates.dims),
        "disk_bytes": n_chunks * rates.disk_bytes,
        "memory_bytes": n_chunks * rates.memory_bytes,
        "import_hours": n_chunks * (rates.add_seconds + rates.build_seconds) / 3600 / n_shards,
        "shards": n_shards,
        "ms_in_one_index": n_chunks / rates.search_chunks * rates.search_ms,
        "ms_in_a_shard": n_chunks / n_shards / rates.search_chunks * rates.search_ms,
    }


def table(plans: Sequence[dict[str, Any]]) -> str:
    """The plans as Markdown."""
    lines = [
        "| chunks | tokens encoded | hours of one two-core machine | machines for a week | GPU hours | part files "
        "| index on disk | memory | search in one index | shards |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in plans:
        gpu = "not measured" if one["gpu_hours"] is None else f"{one['gpu_hours']:,.1f}"
        cells = (
            f"{one['n_chunks']:.0e}".replace("e+", "e"),
            f"{one['n_tokens']:.1e}".replace("e+", "e"),
            f"{one['cpu_worker_hours']:,.0f}",
            f"{one['cpu_workers_in_time']:,}",
            gpu,
            *(f"{one[name] / 1e9:,.1f} GB" for name in ("part_bytes", "disk_bytes", "memory_bytes")),
            f"{one['ms_in_one_index']:,.0f} ms",
            f"{one['shards']:,}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = parser(__doc__)
    arguments.add_argument("--chunks", type=float, nargs="+", default=SIZES)
    arguments.add_argument("--cpu-tokens-per-second", type=float, help="of a worker of two cores")
    arguments.add_argument("--gpu-tokens-per-second", type=float, help="of a GPU; without it no GPU hours")
    arguments.add_argument("--tokens-per-chunk", type=float)
    arguments.add_argument("--passes", type=float, help="2 for a blend, 1 for late or naive vectors alone")
    arguments.add_argument("--text-bytes", type=float, help="of a chunk")
    arguments.add_argument("--machine-gb", type=float, default=24.0, help="memory of a machine that searches")
    arguments.add_argument("--most-ms", type=float, default=30.0, help="median of a search by vector on one machine")
    arguments.add_argument("--hours", type=float, default=168.0, help="in which everything is to be encoded")
    options = arguments.parse_args(given)
    names = ("cpu_tokens_per_second", "gpu_tokens_per_second", "tokens_per_chunk", "passes", "text_bytes")
    rates = measured(**{name: getattr(options, name) for name in names})
    limits = {"machine_bytes": options.machine_gb * 1e9, "most_ms": options.most_ms, "deadline_hours": options.hours}
    plans = [plan(int(n), rates, **limits) for n in options.chunks]
    print(table(plans))
    figures = {"rates": vars(rates), "limits": limits, "plans": plans}
    report("plan", figures, save=options.save)
    return figures


if __name__ == "__main__":
    main()
