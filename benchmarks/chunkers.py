"""What the default search finds with one chunker against another, on documents with questions.

For each set and scope (in the corpus, within the documents that answer) nDCG@10 with each chunker, and what each of the
others gains over the first: the difference with its 95 % interval, from a bootstrap over documents. ``packed`` packs
sentences up to the size and knows of nothing else. ``worst_gain`` is the least upper end of all intervals: below 0
where a chunker loses for sure.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import parser, report
from default_search import cut_short
from structure import KINDS, make_chunker

from latechunk import Document, Encoder
from latechunk.embedding import choose_embedding, encode_queries
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import encode
from latechunk.evaluation.ranking import SCOPES
from latechunk.evaluation.searching import KnownQuestions, filled_index, rank_by_search
from latechunk.evaluation.statistics import compare
from latechunk.models.catalogue import LIGHT_MODEL
from latechunk.protocols import Chunker
from latechunk.types import FloatArray, IntArray, Span

_DEPTH = 10


class ForDocument:
    """A chunker bound to one document, since the harness hands over texts."""

    def __init__(self, chunker: Chunker, document: Document) -> None:
        self._chunker, self._document = chunker, document
        self.settings = chunker.settings

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut the document."""
        split = getattr(self._chunker, "split_document", None)
        return split(self._document, offsets) if split else self._chunker.split(text, offsets)


def measure(one: EvaluationSet, encoder: Encoder, kinds: list[str], max_tokens: int) -> dict[str, object]:
    def chunker_of(number: int, document: Document) -> Chunker:
        return ForDocument(make_chunker(kinds[number], max_tokens, str(document.metadata.get("lang", "en"))), document)

    numbers = range(len(kinds))
    read = encode(
        encoder, one, numbers, late=True, naive=dict.fromkeys(numbers, True),
        on_progress=lambda _: None, chunker_of=chunker_of,
    )  # fmt: skip
    embedding = choose_embedding(encoder, None, None)
    questions = encode_queries(encoder, [question.text for question in one.questions])
    known = KnownQuestions(encoder, dict(zip((question.text for question in one.questions), questions, strict=True)))
    values: dict[str, dict[str, FloatArray]] = {scope: {} for scope in SCOPES}
    figures: dict[str, object] = {"n_questions": len(one.questions)}
    for number, kind in enumerate(kinds):
        own = read[number]
        with filled_index(known, embedding, one, own.table, own.of(embedding), max_tokens) as index:
            found = rank_by_search(index, one, own.table, _DEPTH, {})
        judged = judge(one, own.table)
        figures[f"n_chunks_{kind}"] = len(own.table)
        for scope in SCOPES:
            values[scope][kind] = 100 * headline(judged, found[scope], scope, _DEPTH)
    for scope, by_kind in values.items():
        is_measured = ~np.isnan(by_kind[kinds[0]])
        if not is_measured.any():
            continue
        clusters = [question.cluster for question, kept in zip(one.questions, is_measured, strict=True) if kept]
        figures[scope] = {kind: round(float(own[is_measured].mean()), 2) for kind, own in by_kind.items()}
        for kind in kinds[1:]:
            gain = compare(by_kind[kind][is_measured], by_kind[kinds[0]][is_measured], clusters)
            figures[scope][f"gain_{kind}"] = [round(x, 2) for x in (gain.difference, gain.low, gain.high)]
    return figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--sets", nargs="+", help="names of some  [default: all]")
    arguments.add_argument("--chunkers", nargs="+", default=["packed", "structure"], choices=KINDS)
    arguments.add_argument("--max-tokens", type=int, default=128)
    arguments.add_argument("--most-characters", type=int, help="of the documents of a set  [default: all]")
    arguments.add_argument("--most-questions", type=int, help="of a set  [default: all]")
    options = arguments.parse_args()

    encoder = Encoder.load(LIGHT_MODEL)
    sets: dict[str, dict[str, object]] = {}
    for one in read_sets(options.data):
        if options.sets is None or one.name in options.sets:
            short = cut_short(one, options.most_characters, options.most_questions)
            sets[one.name] = measure(short, encoder, options.chunkers, options.max_tokens)
            print(one.name, sets[one.name], flush=True)
    gains = [
        gain[2]
        for own in sets.values()
        for scope in SCOPES
        for name, gain in own.get(scope, {}).items()
        if name.startswith("gain")
    ]
    figures = {"worst_gain": min(gains), "most_characters": options.most_characters, "sets": sets}
    report("chunkers", figures, save=options.save)


if __name__ == "__main__":
    main()
