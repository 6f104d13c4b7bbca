"""What stored vectors of less precision cost: nDCG@10 of dense search, in the corpus and within the document.

Documents are encoded once, by the default encoder with its own settings, and their vectors rounded as an index in each
precision stores them. ``difference`` is to float32, with a 95 % interval from a bootstrap over documents, and
``worst_difference`` the least over sets and scopes; ``bytes`` is what a vector takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from common import parser, report
from default_search import cut_short

from latechunk import Encoder
from latechunk.embedding import choose_embedding, encode_queries
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import encode
from latechunk.evaluation.ranking import SCOPES, rank
from latechunk.evaluation.statistics import compare
from latechunk.models.catalogue import LIGHT_MODEL
from latechunk.storage.vectors import Precision, n_bytes, pack, unpack

_DEPTH = 10


def measure(evaluation_set: EvaluationSet, encoder: Encoder, max_tokens: int) -> dict[str, Any]:
    embedding = choose_embedding(encoder, None, None)
    passes = encode(
        encoder, evaluation_set, [max_tokens], late=True, naive={max_tokens: True}, on_progress=lambda _: None
    )[max_tokens]
    table, vectors = passes.table, passes.of(embedding)
    questions = encode_queries(encoder, [one.text for one in evaluation_set.questions])
    judged, clusters = judge(evaluation_set, table), [one.cluster for one in evaluation_set.questions]
    figures: dict[str, Any] = {"n_chunks": len(table), "n_questions": len(clusters)}
    for scope in SCOPES:
        values = {}
        for precision in get_args(Precision):
            rounded = unpack(b"".join(pack(vectors, precision)), vectors.shape[1], precision)
            ranked = rank(evaluation_set, table, questions @ rounded.T, scope, _DEPTH)
            values[precision] = 100 * headline(judged, ranked, scope, _DEPTH)
        figures[scope] = {"float32": round(float(values["float32"].mean()), 2)}
        for precision in ("float16", "int8"):
            found = compare(values[precision], values["float32"], clusters)
            figures[scope][precision] = {
                "difference": round(found.difference, 3),
                "interval": [round(found.low, 3), round(found.high, 3)],
            }
    return figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--sets", nargs="+", help="names of some  [default: all]")
    arguments.add_argument("--max-tokens", type=int, default=128)
    arguments.add_argument("--most-characters", type=int, help="of a set's documents in a language  [default: all]")
    options = arguments.parse_args()
    encoder = Encoder.load(LIGHT_MODEL)
    sets = {}
    for one in read_sets(options.data):
        if options.sets is None or one.name in options.sets:
            sets[one.name] = measure(cut_short(one, options.most_characters, None), encoder, options.max_tokens)
            print(one.name, sets[one.name], flush=True)
    figures: dict[str, Any] = {"bytes": {one: n_bytes(encoder.settings["dims"], one) for one in get_args(Precision)}}
    for precision in ("float16", "int8"):
        differences = [own[scope][precision]["difference"] for own in sets.values() for scope in SCOPES]
        figures[precision] = {
            "mean_difference": round(sum(differences) / len(differences), 3),
            "worst_difference": min(differences),
        }
    report("precision", {**figures, "sets": sets}, save=options.save)


if __name__ == "__main__":
    main()
