"""What the default of the embedded model gains over naive chunking, on a folder of evaluation sets.

Each set is a folder with docs.jsonl and queries.jsonl. Naive is each chunk alone, special tokens in no mean. Means are
over the sets named by --mean-over; the worst gain is over all. Intervals are 95 %, from a bootstrap over documents.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report, stop
from scoring import score

from latechunk import Encoder, SentenceChunker
from latechunk.embed import Embedding, cut_documents, embed_cuts
from latechunk.evaluation.readers import read_sets
from latechunk.evaluation.statistics import bootstrap_interval
from latechunk.models import find_known_model

MEAN_OVER = ("squad2-dev16", "fairytaleqa-val", "covidqa-dev", "qmsum-val")
ALL = (*MEAN_OVER, "chroma-chunking", "squality-dev")


def measure(encoder: Encoder, embedding: Embedding, folder: Path, max_tokens: int) -> dict[str, Any]:
    """The default and naive on one set."""
    begin = time.perf_counter()
    (asked_of,) = read_sets(folder)
    questions = asked_of.questions
    chunker = SentenceChunker(max_tokens=max_tokens)
    cuts = cut_documents(encoder, [chunker], Embedding("blend"), asked_of.documents, stop)
    queries = np.stack([encoder.encode_query(question.text) for question in questions])
    naive = np.concatenate(embed_cuts(encoder, Embedding("naive"), cuts))
    chosen = np.concatenate(embed_cuts(encoder, embedding, cuts))
    row: dict[str, Any] = {"n_questions": len(questions)}
    for scope, within in (("corpus", False), ("document", True)):
        asked = [question for question in questions if question.has_spans or not within]
        if not asked:
            continue
        kept = [number for number, question in enumerate(questions) if question.has_spans or not within]
        before, after = (score(cuts, asked, queries[kept] @ one.T, within=within) for one in (naive, chosen))
        low, high = bootstrap_interval(after - before, [question.cluster for question in asked])
        row[scope] = {
            "naive": round(float(before.mean()), 2),
            "default": round(float(after.mean()), 2),
            "gain": round(float((after - before).mean()), 2),
            "interval": [round(low, 2), round(high, 2)],
        }
        print(
            f"{folder.name:<16} {max_tokens:>4} {scope:<9} naive {before.mean():6.2f}  default {after.mean():6.2f}  "
            f"gain {(after - before).mean():+6.2f} [{low:+.2f}, {high:+.2f}]",
            flush=True,
        )
    row["seconds"] = round(time.perf_counter() - begin, 1)
    return row


def summarise(rows: dict[str, dict[str, Any]], mean_over: Sequence[str]) -> dict[str, float]:
    """The figures that one reads first."""
    chosen = [row for name, row in rows.items() if name in mean_over] or list(rows.values())
    return {
        "mean_gain_corpus": round(float(np.mean([row["corpus"]["gain"] for row in chosen])), 2),
        "mean_gain_document": round(float(np.mean([row["document"]["gain"] for row in chosen])), 2),
        "worst_gain_corpus": min(row["corpus"]["gain"] for row in rows.values()),
        "worst_interval_high": min(row["corpus"]["interval"][1] for row in rows.values()),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--sets", nargs="+", default=list(ALL))
    arguments.add_argument("--mean-over", nargs="+", default=list(MEAN_OVER))
    arguments.add_argument("--max-tokens", type=int, nargs="+", default=[64, 128])
    arguments.add_argument("--dtype", default="auto")
    options = arguments.parse_args()

    encoder = Encoder.load(dtype=options.dtype)
    known = find_known_model(encoder.settings["model"])
    if known is None:
        raise SystemExit("the default model is not among the known ones")
    embedding = Embedding(known.mode, known.late_weight)
    figures: dict[str, Any] = {}
    for max_tokens in options.max_tokens:
        rows = {name: measure(encoder, embedding, options.data / name, max_tokens) for name in options.sets}
        summary = summarise(rows, options.mean_over)
        figures |= summary if not figures else {}
        figures[f"at_{max_tokens}"] = {**summary, "sets": rows}
    figures |= {"embedding": embedding.settings, "encoder": encoder.settings, "dtype": str(encoder.dtype)}
    report("context", figures, save=options.save)


if __name__ == "__main__":
    main()
