"""Seconds that a new Python needs for `import latechunk` (beyond its own start) and `latechunk --help`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import parser, report


def seconds(program: str, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=11)
    options = arguments.parse_args()

    bare = seconds("pass", options.rounds)
    imported = seconds("import latechunk", options.rounds)
    helped = seconds(
        "import sys; sys.argv = ['latechunk', '--help']; from latechunk.cli import run; run()", options.rounds
    )
    figures = {"import_s": round(imported - bare, 3), "help_s": round(helped, 3), "python_s": round(bare, 3)}
    report("startup", figures, save=options.save)


if __name__ == "__main__":
    main()
