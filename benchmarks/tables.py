"""Write the tables of README.md and docs/local-global.md from benchmarks/results, between their markers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from common import RESULTS

ROOT = Path(__file__).parent.parent
TITLES = {
    "squad2-dev16": "SQuAD 2.0 (encyclopedia)",
    "fairytaleqa-val": "FairytaleQA (stories)",
    "covidqa-dev": "COVID-QA (science)",
    "qmsum-val": "QMSum (meetings)",
    "chroma-chunking": "Chroma chunking (mixed)",
    "squality-dev": "SQuALITY (which story)",
}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gains(max_tokens: int) -> str:
    """What the default gains, with intervals, at one chunk size."""
    sets = read("context")["figures"][f"at_{max_tokens}"]["sets"]
    rows = []
    for name, row in sets.items():
        cells = [TITLES.get(name, name), f"{row['n_questions']:,}"]
        for scope in ("corpus", "document"):
            one = row.get(scope)
            cells.append(
                f"{one['naive']:.1f} → {one['default']:.1f} ({one['gain']:+.1f}, "
                f"{one['interval'][0]:+.1f} to {one['interval'][1]:+.1f})"
                if one
                else ""
            )
        rows.append(cells)
    return table([f"chunks of at most {max_tokens} tokens", "questions", "in the corpus", "within the document"], rows)


def sweep() -> str:
    rows = []
    for row in read("context_sweep")["figures"]["tried"]:
        first, second = row["first_half"], row["second_half"]
        cells = [row["configuration"], f"{row['late_weight']:g}"]
        cells += [
            f"{half['means'][f'{size}-corpus']:+.2f} / {half['means'][f'{size}-document']:+.2f}"
            for size in (64, 128)
            for half in (first, second)
        ]
        cells.append(str(len(first["losses"]) + len(second["losses"])))
        rows.append(cells)
    header = ["configuration", "weight", "64, chosen", "64, confirmed", "128, chosen", "128, confirmed", "sets lost"]
    return table(header, rows)


def cost() -> str:
    figures = read("context_speed")["figures"]
    rows = [
        [f"{n:,} tokens", f"{one['ratio_to_windowed']:.2f}", f"{one['blend_ratio_to_windowed']:.2f}"]
        for n, one in ((n, figures[f"at_{n}"]) for n in (2_000, 8_000))
    ]
    header = ["documents of", "late, local-global", "blend, local-global"]
    return f"{table(header, rows)}\n\nOne pass over 8,192 tokens adds {figures['memory_mb']} MB to the process."


def speed() -> str:
    halved, exact = (read(f"embed-{dtype}")["figures"] for dtype in ("bfloat16", "float32"))
    search, memory, startup = (read(name)["figures"] for name in ("search", "memory", "startup"))
    rows = [
        [
            "text to stored vectors, against bare forward passes",
            f"{halved['ratio_to_bare']:.2f} (bfloat16), {exact['ratio_to_bare']:.2f} (float32)",
        ],
        [
            f"search in {search['n_chunks']:,} chunks, against raw FAISS",
            f"{search['ratio_to_faiss']:.2f} times its time",
        ],
        [
            f"peak memory, one document of {memory['n_characters']:,} characters",
            f"{memory['peak_rss_mb'] / 1000:.2f} GB",
        ],
        ["`import latechunk`, `latechunk --help`", f"{startup['import_s']:.2f} s, {startup['help_s']:.2f} s"],
    ]
    return table(["speed and memory, two CPU cores", "measured"], rows)


def fill(path: Path, contents: dict[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for name, content in contents.items():
        block = f"<!-- {name} -->\n\n{content}\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name} -->(.*?<!-- end of {name} -->)?"
        text, count = re.subn(pattern, lambda _, block=block: block, text, count=1, flags=re.DOTALL)
        if not count:
            raise SystemExit(f"{path} has no marker for {name}")
    path.write_text(text, encoding="utf-8")


def main() -> None:
    fill(ROOT / "README.md", {"gains": gains(64), "speed": speed()})
    every_size = "\n\n".join(gains(size) for size in (64, 128, 256))
    fill(ROOT / "docs" / "local-global.md", {"sweep": sweep(), "gains": every_size, "cost": cost()})


if __name__ == "__main__":
    main()
