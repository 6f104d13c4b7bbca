"""nDCG@10 of naive, late and blended vectors on the same chunks, in the corpus and within the document.

A chunk is relevant to a question where it shares a character with a gold span. Within the document means ranked among
the chunks of the right document only. The measure is ir-measures' nDCG@10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import ir_measures
import numpy as np
from common import Question, load_documents, load_questions, parser, report

from latechunk import Document, Encoder, SentenceChunker
from latechunk.embed import Cut, Embedding, cut_documents, embed_cuts
from latechunk.types import FloatArray

ARMS = ("naive", "late", "blend")
DEPTH = 10


def judge(cuts: Sequence[Cut], questions: Sequence[Question]) -> Iterator[ir_measures.Qrel]:
    places = {cut.document.id: number for number, cut in enumerate(cuts)}
    for question in questions:
        number = places[question.document_id]
        for place, span in enumerate(cuts[number].spans):
            if any(span.start < end and start < span.end for start, end in question.spans):
                yield ir_measures.Qrel(question.id, f"{number}-{place}", 1)


def rank(
    cuts: Sequence[Cut], questions: Sequence[Question], scores: FloatArray, *, within: bool
) -> Iterator[ir_measures.ScoredDoc]:
    names = [f"{number}-{place}" for number, cut in enumerate(cuts) for place in range(len(cut.spans))]
    owners = np.repeat(np.arange(len(cuts)), [len(cut.spans) for cut in cuts])
    places = {cut.document.id: number for number, cut in enumerate(cuts)}
    for question, row in zip(questions, scores, strict=True):
        allowed = np.flatnonzero(owners == places[question.document_id]) if within else np.arange(len(names))
        for chunk in allowed[np.argsort(-row[allowed], kind="stable")[:DEPTH]]:
            yield ir_measures.ScoredDoc(question.id, names[chunk], float(row[chunk]))


def stop(document: Document, error: Exception) -> None:
    raise SystemExit(f"{document.id}: {error}")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder with docs.jsonl and queries.jsonl")
    arguments.add_argument("--model", default="all-MiniLM-L6-v2")
    arguments.add_argument("--dtype", default="float32")
    arguments.add_argument("--max-tokens", type=int, default=64)
    options = arguments.parse_args()

    encoder = Encoder.load(options.model, dtype=options.dtype)
    questions = load_questions(options.data)
    chunker = SentenceChunker(max_tokens=options.max_tokens)
    cuts = cut_documents(encoder, chunker, Embedding("blend"), load_documents(options.data), stop)
    queries = np.stack([encoder.encode_query(question.text) for question in questions])
    qrels = list(judge(cuts, questions))
    figures: dict[str, float | int | str] = {}
    for arm in ARMS:
        vectors = np.concatenate(embed_cuts(encoder, Embedding(arm), cuts))
        for scope, within in (("corpus", False), ("document", True)):
            run = list(rank(cuts, questions, queries @ vectors.T, within=within))
            result = ir_measures.calc_aggregate([ir_measures.nDCG @ DEPTH], qrels, run)
            figures[f"{arm}_ndcg10_{scope}"] = round(100 * result[ir_measures.nDCG @ DEPTH], 2)
            print(f"{arm:<6} {scope:<9} nDCG@{DEPTH} {figures[f'{arm}_ndcg10_{scope}']}")
    for scope in ("corpus", "document"):
        gain = float(figures[f"late_ndcg10_{scope}"]) - float(figures[f"naive_ndcg10_{scope}"])
        figures[f"late_gain_{scope}"] = round(gain, 2)
    figures |= {"data": options.data.name, "n_questions": len(questions), "max_tokens": options.max_tokens}
    report(f"retrieval-{options.data.name}-{options.max_tokens}", figures, save=options.save)


if __name__ == "__main__":
    main()
