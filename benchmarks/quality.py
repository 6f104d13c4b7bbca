"""All evaluation sets of a folder with all-MiniLM-L6-v2 as it is published, in the arms that the docs show.

Made by ``latechunk evaluate``; what is finished under --out is not run again. With --save the tables of
docs/evaluation.md can be made anew by ``python benchmarks/tables.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import parser, report

from latechunk.evaluation.run import EvaluationRequest, evaluate_folder
from latechunk.models.catalogue import LIGHT_MODEL


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument(
        "--out", type=Path, default=Path("build/quality"), help="for the report and what is finished"
    )
    arguments.add_argument("--max-tokens", type=int, nargs="+", default=[64, 128])
    arguments.add_argument("--adapters", help="auto for the trained ones, or a folder  [default: none]")
    options = arguments.parse_args()

    told: set[str] = set()

    def tell(what: str, share: float) -> None:
        if what not in told:
            told.add(what)
            print(what, flush=True)

    request = EvaluationRequest(
        data=options.data,
        out=options.out,
        models=(LIGHT_MODEL,),
        arms=("naive", "late", "blend", "document", "lexical", "hybrid"),
        max_tokens=tuple(options.max_tokens),
        adapters=options.adapters,
    )
    found = evaluate_folder(request, tell)
    rows: list[dict[str, Any]] = [{name: value for name, value in row.items() if name != "parts"} for row in found.rows]
    figures = {"rows": rows, "seconds": found.made["seconds"], "encoders": found.encoders}
    report("quality", figures, save=options.save)


if __name__ == "__main__":
    main()
