"""What a search without options finds, against its parts and against what users build of such parts.

For each set and scope (in the corpus, within the documents that answer) nDCG@10 of ``default``, which is
``Index.search(question)`` on an index with the default encoder, and of ``naive`` (chunks and questions read alone by
the model as it is published), ``bm25`` (BM25 of the same chunks, without what their documents add) and ``rrf``
(reciprocal ranks of the 50 best of both, as LangChain's EnsembleRetriever fuses). The interval is that of the default
less the best of the three, 95 %, from a bootstrap over documents. Where the ids of a set's documents begin with their
language ("ar:Warsaw"), the means of each language stand beside those of all. ``worst_against_best_part`` is the least
such difference over sets, ``mean_default_corpus`` the mean over sets, ``lookalike_mean`` that over sets of documents
that look alike.
"""

from __future__ import annotations

import dataclasses
import json
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, parser, report

from latechunk import Encoder
from latechunk.embedding import Embedding, choose_embedding, encode_queries
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import encode
from latechunk.evaluation.ranking import SCOPES, ChunkTable, Rankings, rank
from latechunk.evaluation.searching import KnownQuestions, filled_index, rank_by_search
from latechunk.evaluation.statistics import compare
from latechunk.index import Index
from latechunk.search.fusion import fuse_by_rank
from latechunk.storage.terms import to_terms
from latechunk.types import FloatArray, ScoreArray

_DEPTH, _FUSED = 10, 50


def cut_short(one: EvaluationSet, most_characters: int | None, most_questions: int | None) -> EvaluationSet:
    """The first documents of each language up to so many characters, and so many questions, spread evenly."""
    documents = []
    for _, own in groupby(one.documents, key=lambda document: language_of(document.id)):
        group = list(own)
        ends = accumulate(len(document.text) for document in group)
        documents += [
            document
            for number, (document, end) in enumerate(zip(group, ends, strict=True))
            if not number or most_characters is None or end <= most_characters
        ]
    kept = {document.id for document in documents}
    questions = [question for question in one.questions if all(gold.document_id in kept for gold in question.gold)]
    step = 1 if most_questions is None else max(1, len(questions) // most_questions)
    return dataclasses.replace(one, documents=tuple(documents), questions=tuple(questions[::step]))


def language_of(document_id: str) -> str:
    """What an id like "ar:Warsaw" begins with, else nothing."""
    return document_id.partition(":")[0] if ":" in document_id[:4] else ""


def plain_bm25(index: Index, evaluation_set: EvaluationSet, n_chunks: int) -> ScoreArray:
    """BM25 of each question with each chunk, shape ``(n_questions, n_chunks)``; chunk numbers count from 1."""
    scores = np.zeros((len(evaluation_set.questions), n_chunks))
    with index._store.snapshot():
        known = index._store.word_rows(0, index._store.chunk_places(0).numbers)
        for row, question in zip(scores, evaluation_set.questions, strict=True):
            for term in dict.fromkeys(to_terms(question.text)):
                places, found = index._store.score_term(term, 0, known)
                row[places] += found
    return np.where(scores > 0, scores, -np.inf)


def fuse(evaluation_set: EvaluationSet, table: ChunkTable, sides: list[ScoreArray | FloatArray]) -> Rankings:
    rankings = {}
    for scope in SCOPES:
        ranked = [rank(evaluation_set, table, side, scope, _FUSED).chunks for side in sides]
        fused = np.full((len(evaluation_set.questions), len(table)), -np.inf)
        for row, *places in zip(fused, *ranked, strict=True):
            for chunk, score in fuse_by_rank(
                [[one for one in own.tolist() if one >= 0] for own in places], [1, 1]
            ).items():
                row[chunk] = score
        rankings[scope] = rank(evaluation_set, table, fused, scope, _DEPTH)
    return rankings


def measure(evaluation_set: EvaluationSet, encoder: Encoder, published: Encoder, max_tokens: int) -> dict[str, object]:
    def read(one: Encoder, *, late: bool):
        return encode(
            one, evaluation_set, [max_tokens], late=late, naive={max_tokens: True}, on_progress=lambda _: None
        )

    own, alone = read(encoder, late=True)[max_tokens], read(published, late=False)[max_tokens]
    table, embedding = own.table, choose_embedding(encoder, None, None)
    texts = [question.text for question in evaluation_set.questions]
    questions = encode_queries(encoder, texts)
    known = KnownQuestions(encoder, dict(zip((one.text for one in evaluation_set.questions), questions, strict=True)))
    with filled_index(known, embedding, evaluation_set, table, own.of(embedding), max_tokens) as index:
        default = rank_by_search(index, evaluation_set, table, _DEPTH, {})
        bm25 = plain_bm25(index, evaluation_set, len(table))
    naive = encode_queries(published, texts) @ alone.of(Embedding("naive")).T
    arms: dict[str, Rankings] = {
        "default": default,
        "naive": {scope: rank(evaluation_set, table, naive, scope, _DEPTH) for scope in SCOPES},
        "bm25": {scope: rank(evaluation_set, table, bm25, scope, _DEPTH) for scope in SCOPES},
        "rrf": fuse(evaluation_set, table, [naive, bm25]),
    }
    judged = judge(evaluation_set, table)
    figures: dict[str, Any] = {"n_chunks": len(table), "n_questions": len(evaluation_set.questions)}
    for scope in SCOPES:
        values = {arm: 100 * headline(judged, one[scope], scope, _DEPTH) for arm, one in arms.items()}
        is_measured = ~np.isnan(values["default"])
        if not is_measured.any():
            continue
        means = {arm: float(one[is_measured].mean()) for arm, one in values.items()}
        best = max(("naive", "bm25", "rrf"), key=lambda arm: means[arm])
        clusters = [one.cluster for one, kept in zip(evaluation_set.questions, is_measured, strict=True) if kept]
        found = compare(values["default"][is_measured], values[best][is_measured], clusters)
        figures[scope] = {
            **{arm: round(mean, 2) for arm, mean in means.items()},
            "best_part": best,
            "difference": round(found.difference, 2),
            "interval": [round(found.low, 2), round(found.high, 2)],
        }
        languages = np.array([language_of(one.gold[0].document_id) for one in evaluation_set.questions])
        if languages[0]:
            figures[scope]["languages"] = {
                str(language): {
                    arm: round(float(np.nanmean(one[languages == language])), 2) for arm, one in values.items()
                }
                for language in np.unique(languages)
            }
    return figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--sets", nargs="+", help="names of some  [default: all]")
    arguments.add_argument("--max-tokens", type=int, default=128)
    arguments.add_argument("--model", help="its name  [default: the default model]")
    arguments.add_argument("--adapters", default="auto", help="of the default: auto, or a folder that training wrote")
    arguments.add_argument("--most-characters", type=int, help="of a set's documents in a language  [default: all]")
    arguments.add_argument("--most-questions", type=int, help="of a set  [default: all]")
    arguments.add_argument("--whole", nargs="+", default=[], help="sets that are measured whole all the same")
    arguments.add_argument(
        "--join", action="store_true", help="keep the other sets of the saved result, as all take long"
    )
    options = arguments.parse_args()

    given = {"model": options.model} if options.model else {}
    encoder = Encoder.load(**given, adapters=options.adapters)
    published = Encoder.load(**given, adapters=None, context="windows")
    name = "-".join(["default_search", *([options.model] if options.model else [])])
    if options.sets and not options.join:
        name = "-".join([name, *options.sets])
    sets: dict[str, Any] = {}
    whole = set(options.whole)
    if options.join:
        saved = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["figures"]
        sets, whole = saved["sets"], whole | (set(saved["whole"]) - set(options.sets or sets))
    for one in read_sets(options.data):
        if options.sets is None or one.name in options.sets:
            is_whole = one.name in options.whole
            part = one if is_whole else cut_short(one, options.most_characters, options.most_questions)
            sets[one.name] = measure(part, encoder, published, options.max_tokens)
            print(one.name, sets[one.name], flush=True)
    scopes = [(title, scope, own[scope]) for title, own in sets.items() for scope in SCOPES if scope in own]
    corpus = {title: own["default"] for title, scope, own in scopes if scope == "corpus"}
    alike = [value for title, value in corpus.items() if title.startswith("lookalike")]
    figures = {
        "mean_default_corpus": round(float(np.mean(list(corpus.values()))), 2),
        "worst_against_best_part": min(own["difference"] for _, _, own in scopes),
        "lookalike_mean": round(float(np.mean(alike)), 2) if alike else None,
        "most_characters": options.most_characters,
        "whole": sorted(whole),
        "sets": dict(sorted(sets.items())),
    }
    report(name, figures, save=options.save)


if __name__ == "__main__":
    main()
