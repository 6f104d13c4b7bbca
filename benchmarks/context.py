"""What the default of an embedded model gains over naive chunking, with and without its trained adapters.

Each set is a folder with docs.jsonl and queries.jsonl. Naive is each chunk alone by the model as it is published,
without trained adapters, of chunks and questions alike; special tokens are in no mean. One run measures all three on
the same chunks with the same scorer: naive, "untrained" (what latechunk makes with the published model), "default".
Means are over the sets named by --mean-over, the worst gain is over all, and the gain in look-alikes over the sets of
documents that differ in a name alone. Intervals are 95 %, from a bootstrap over documents. --half measures one half of
the questions: settings were chosen on half 0, and half 1 confirms them. --sets squality-dev:12 takes the first 12
documents of a set, and --without-untrained leaves the third way out.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report, stop
from scoring import score

from latechunk import Encoder, SentenceChunker
from latechunk.embedding import (
    ChunkedDocument,
    Embedding,
    blend,
    choose_embedding,
    chunk_documents,
    embed_chunks,
)
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.statistics import bootstrap_interval
from latechunk.models.catalogue import DEFAULT_MODEL
from latechunk.types import FloatArray

MEAN_OVER = ("squad2-dev16", "fairytaleqa-val", "covidqa-dev", "qmsum-val")
LOOKALIKE = ("lookalike-cities", "lookalike-companies", "lookalike-models")
LANGUAGES = ("xquad-dev16", "jaquad-train101", "drcd-dev", "iapp-thai-dev")
ALL = (*MEAN_OVER, "chroma-chunking", "squality-dev", *LOOKALIKE, *LANGUAGES)


def read_part(folder: Path, wanted: str) -> EvaluationSet:
    """A set by its name, ``name:12`` for its first 12 documents and the questions that these answer."""
    name, _, n_documents = wanted.partition(":")
    (found,) = read_sets(folder / name)
    documents = found.documents[: int(n_documents)] if n_documents else found.documents
    names = {document.id for document in documents}
    questions = [one for one in found.questions if all(gold.document_id in names for gold in one.gold)]
    return replace(found, documents=documents, questions=tuple(questions))


def measure(
    encoder: Encoder,
    base: Encoder,
    embedding: Embedding,
    asked_of: EvaluationSet,
    max_tokens: int,
    half: int | None,
    *,
    untrained: bool,
) -> dict[str, Any]:
    """Naive, untrained where that is wanted, and default on one set."""
    begin = time.perf_counter()
    questions = [one for one in asked_of.questions if half is None or zlib.crc32(one.id.encode()) % 2 == half]
    chunker = SentenceChunker(max_tokens=max_tokens)
    cuts = chunk_documents(encoder, [chunker], Embedding("blend"), asked_of.documents, stop)
    texts = [question.text for question in questions]
    queries, plain_queries = encoder.encode_queries(texts), base.encode_queries(texts)
    naive = np.concatenate(embed_chunks(base, Embedding("naive"), cuts))
    ways = {"untrained": (plain_queries, embed_untrained(base, cuts, naive))} if untrained else {}
    ways["default"] = (queries, np.concatenate(embed_chunks(encoder, embedding, cuts)))
    row: dict[str, Any] = {"n_questions": len(questions), "n_documents": len(asked_of.documents)}
    for scope, within in (("corpus", False), ("document", True)):
        asked = [question for question in questions if question.has_spans or not within]
        if not asked:
            continue
        kept = [number for number, question in enumerate(questions) if question.has_spans or not within]
        before = score(cuts, asked, plain_queries[kept] @ naive.T, within=within)
        row[scope] = {"naive": round(float(before.mean()), 2)}
        for way, (asking, chunks) in ways.items():
            after = score(cuts, asked, asking[kept] @ chunks.T, within=within)
            low, high = bootstrap_interval(after - before, [question.cluster for question in asked])
            row[scope][way] = {
                "value": round(float(after.mean()), 2),
                "gain": round(float((after - before).mean()), 2),
                "interval": [round(low, 2), round(high, 2)],
            }
            print(
                f"{asked_of.name:<16} {max_tokens:>4} {scope:<9} naive {before.mean():6.2f}  "
                f"{way} {after.mean():6.2f}  gain {(after - before).mean():+6.2f} [{low:+.2f}, {high:+.2f}]",
                flush=True,
            )
    row["seconds"] = round(time.perf_counter() - begin, 1)
    return row


def embed_untrained(base: Encoder, cuts: Sequence[ChunkedDocument], naive: FloatArray) -> FloatArray:
    """The vectors that latechunk makes with the published model where nothing is asked for."""
    embedding = choose_embedding(base, None, None)
    late = np.concatenate(embed_chunks(base, Embedding("late"), cuts))
    return blend(late, naive, embedding.late_weight) if embedding.mode == "blend" else late


def summarise(rows: dict[str, dict[str, Any]], mean_over: Sequence[str]) -> dict[str, float]:
    """The figures that one reads first."""
    chosen = [row for name, row in rows.items() if name in mean_over] or list(rows.values())
    alike = [rows[name]["corpus"]["default"]["gain"] for name in LOOKALIKE if name in rows]
    return {
        "mean_gain_corpus": round(float(np.mean([row["corpus"]["default"]["gain"] for row in chosen])), 2),
        "mean_gain_document": round(float(np.mean([row["document"]["default"]["gain"] for row in chosen])), 2),
        "worst_gain_corpus": min(row["corpus"]["default"]["gain"] for row in rows.values()),
        "worst_interval_high": min(row["corpus"]["default"]["interval"][1] for row in rows.values()),
        **({"lookalike_gain": round(float(np.mean(alike)), 2)} if alike else {}),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--sets", nargs="+", default=list(ALL))
    arguments.add_argument("--mean-over", nargs="+", default=list(MEAN_OVER))
    arguments.add_argument("--max-tokens", type=int, nargs="+", default=[64, 128])
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--adapters", default="auto", help="of the default: auto, or a folder that training wrote")
    arguments.add_argument("--without-untrained", dest="untrained", action="store_false")
    arguments.add_argument("--half", type=int, choices=(0, 1))
    options = arguments.parse_args()

    encoder, base = (Encoder.load(options.model, dtype=options.dtype, adapters=one) for one in (options.adapters, None))
    embedding = choose_embedding(encoder, None, None)
    parts = [read_part(options.data, wanted) for wanted in options.sets]
    figures: dict[str, Any] = {}
    for max_tokens in options.max_tokens:
        rows = {
            asked_of.name: measure(
                encoder, base, embedding, asked_of, max_tokens, options.half, untrained=options.untrained
            )
            for asked_of in parts
        }
        summary = summarise(rows, options.mean_over)
        figures |= summary if not figures else {}
        figures[f"at_{max_tokens}"] = {**summary, "sets": rows}
    figures |= {"embedding": embedding.settings, "encoder": encoder.settings, "dtype": str(encoder.dtype)}
    report("context" if options.model == DEFAULT_MODEL else f"context-{options.model}", figures, save=options.save)


if __name__ == "__main__":
    main()
