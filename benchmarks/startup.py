"""What a new Python needs for `import latechunk` (seconds beyond its own start), `latechunk --help` and a first search.

The search is `latechunk search` of a small stored index; `first_search_ratio_to_torch` is its time by that of `import
torch`, the median over runs that alternate, since both depend on what else the machine does.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import parser, report

from latechunk import Document, Index

TEXT = "Berlin is the capital of Germany. It has 3.8 million inhabitants. The Spree flows through it. "
RUN = "import sys; sys.argv = ['latechunk', *{}]; from latechunk.cli import run; run()"


def seconds(program: str, rounds: int) -> float:
    return statistics.median(once(program) for _ in range(rounds))


def once(program: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def alternating(rounds: int) -> tuple[float, float, float]:
    """Seconds of a first search and of importing torch, and the ratio of the one to the other; medians."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.latechunk"
        with Index.create(path) as index:
            index.add([Document(f"document {number}", TEXT * number) for number in range(1, 21)])
        search = RUN.format(["search", str(path), "How many people live in the capital?"])
        once(search), once("import torch")  # from the disk into memory
        pairs = [(once(search), once("import torch")) for _ in range(rounds)]
    searched, imported = zip(*pairs, strict=True)
    ratio = statistics.median(one / other for one, other in pairs)
    return statistics.median(searched), statistics.median(imported), ratio


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=11)
    options = arguments.parse_args()

    bare = seconds("pass", options.rounds)
    imported = seconds("import latechunk", options.rounds)
    helped = seconds(RUN.format(["--help"]), options.rounds)
    searched, torch_imported, ratio = alternating(options.rounds)
    figures = {
        "import_s": round(imported - bare, 3),
        "help_s": round(helped, 3),
        "python_s": round(bare, 3),
        "first_search_s": round(searched, 3),
        "import_torch_s": round(torch_imported, 3),
        "first_search_ratio_to_torch": round(ratio, 2),
    }
    report("startup", figures, save=options.save)


if __name__ == "__main__":
    main()
