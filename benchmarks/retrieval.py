"""nDCG@10 of naive, late and blended vectors on the same chunks, in the corpus and within the right document."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import load_documents, load_questions, parser, report, stop
from scoring import score

from latechunk import Encoder, SentenceChunker
from latechunk.embed import Embedding, cut_documents, embed_cuts

ARMS = ("naive", "late", "blend")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder with docs.jsonl and queries.jsonl")
    arguments.add_argument("--model", default="all-MiniLM-L6-v2")
    arguments.add_argument("--context", default="windows", help="auto, windows or local-global")
    arguments.add_argument("--dtype", default="float32")
    arguments.add_argument("--max-tokens", type=int, default=64)
    options = arguments.parse_args()

    encoder = Encoder.load(options.model, dtype=options.dtype, context=options.context)
    questions = [question for question in load_questions(options.data) if question.spans]
    chunker = SentenceChunker(max_tokens=options.max_tokens)
    cuts = cut_documents(encoder, chunker, Embedding("blend"), load_documents(options.data), stop)
    queries = np.stack([encoder.encode_query(question.text) for question in questions])
    figures: dict[str, float | int | str] = {}
    for arm in ARMS:
        vectors = np.concatenate(embed_cuts(encoder, Embedding(arm), cuts))
        for scope, within in (("corpus", False), ("document", True)):
            mean = score(cuts, questions, queries @ vectors.T, within=within).mean()
            figures[f"{arm}_ndcg10_{scope}"] = round(float(mean), 2)
            print(f"{arm:<6} {scope:<9} nDCG@10 {mean:.2f}")
    for scope in ("corpus", "document"):
        gain = float(figures[f"late_ndcg10_{scope}"]) - float(figures[f"naive_ndcg10_{scope}"])
        figures[f"late_gain_{scope}"] = round(gain, 2)
    figures |= {
        "data": options.data.name,
        "n_questions": len(questions),
        "max_tokens": options.max_tokens,
        "context": options.context,
    }
    report(f"retrieval-{options.data.name}-{options.max_tokens}-{options.context}", figures, save=options.save)


if __name__ == "__main__":
    main()
