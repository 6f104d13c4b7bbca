"""Whether anything is lost at window seams: keys hidden in 256 to 32,768 tokens of filler, looked for by their chunk.

``hit@1`` is the share of questions whose first chunk, within the right document, holds the key; by length, and by the
depth at which the key is hidden, naive beside late and blend.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report
from passkeys import LENGTHS, make_passkeys

from latechunk import Encoder
from latechunk.evaluation.harness import Setup, evaluate
from latechunk.evaluation.metrics import judge, measure
from latechunk.models.catalogue import LIGHT_MODEL

ARMS = ("naive", "late", "blend")
DEPTHS = ("first fifth", "second", "third", "fourth", "last fifth")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    arguments.add_argument("--documents", type=int, default=20)
    arguments.add_argument("--max-tokens", type=int, default=64)
    arguments.add_argument("--context", default="auto")
    options = arguments.parse_args()

    encoders = {"default": Encoder.load(LIGHT_MODEL, context=options.context, adapters=None)}
    setup = Setup(encoders, max_tokens=(options.max_tokens,), arms=ARMS)
    figures: dict[str, Any] = {"max_tokens": options.max_tokens, "n_documents": options.documents}
    for n_tokens in options.lengths:
        made = make_passkeys(n_tokens, n_documents=options.documents)
        with tempfile.TemporaryDirectory() as work:
            found = evaluate(made, setup, Path(work), lambda what, share: None)
        judged = judge(made, found.tables["default", options.max_tokens])
        row: dict[str, Any] = {}
        for result in found.results:
            hits = measure(judged, result.rankings["document"], "document", 10)["hit@1"]
            by_depth = [round(float(part.mean()), 2) for part in np.array_split(hits, len(DEPTHS))]
            row[result.arm] = {"hit@1": round(float(hits.mean()), 3), "by_depth": by_depth}
        figures[str(n_tokens)] = row
        print(n_tokens, {arm: one["hit@1"] for arm, one in row.items()}, flush=True)
    report(f"passkey-{options.context}", {"depths": DEPTHS, **figures}, save=options.save)


if __name__ == "__main__":
    main()
