"""What the embedded models gain and lose in whole numbers of 8 bits on a CPU: speed, and what the vectors find.

``dtype="int8"`` against float32 and bfloat16, over the demo's documents in blends. ``speed`` is a ratio to float32,
``cosine`` the mean cosine of a vector with that of float32, ``found`` with ``--data`` nDCG@10 times 100 of the vectors
alone in the corpus, on the first ``--characters`` of each set. ``compiled`` is the speed of ``torch.compile`` against
no compilation, in plain windows, after its warm-up. With ``ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI`` a processor with units
for bfloat16 computes as one without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report, stop, time_in_turn
from default_search import cut_short

from latechunk import Encoder, SentenceChunker
from latechunk.demo import read_documents
from latechunk.embedding import Embedding, choose_embedding, chunk_documents, embed_chunks, encode_queries
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import encode
from latechunk.evaluation.ranking import rank
from latechunk.models.catalogue import DEFAULT_MODEL

_SIZE, _DEPTH = 128, 10


def find(encoder: Encoder, one: EvaluationSet) -> float:
    embedding = choose_embedding(encoder, None, None)
    own = encode(encoder, one, [_SIZE], late=True, naive={_SIZE: True}, on_progress=lambda _: None)[_SIZE]
    queries = encode_queries(encoder, [question.text for question in one.questions])
    found = rank(one, own.table, queries @ own.of(embedding).T, "corpus", _DEPTH)
    return round(float(np.nanmean(100 * headline(judge(one, own.table), found, "corpus", _DEPTH))), 2)


def compare_compiled(model: str, rounds: int) -> float:
    encoders = [Encoder.load(model, dtype="float32", context="windows", compile=one) for one in (False, True)]
    cuts = chunk_documents(encoders[0], [SentenceChunker(max_tokens=_SIZE)], Embedding("late"), read_documents(), stop)
    runs = [lambda one=one: embed_chunks(one, Embedding("late"), cuts) for one in encoders]
    for run in runs:
        run()
    plain, compiled = time_in_turn(runs, rounds)
    return round(plain / compiled, 2)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    arguments.add_argument("--data", type=Path, help="a folder of sets  [default: none is measured]")
    arguments.add_argument("--sets", nargs="+", help="names of some  [default: all]")
    arguments.add_argument("--characters", type=int, default=60_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()

    encoders = {dtype: Encoder.load(options.model, dtype=dtype) for dtype in ("float32", "bfloat16", "int8")}
    embedding = choose_embedding(encoders["float32"], None, None)
    chunker = SentenceChunker(max_tokens=_SIZE)
    cuts = chunk_documents(encoders["float32"], [chunker], embedding, read_documents(), stop)
    vectors = {name: np.concatenate(embed_chunks(one, embedding, cuts)) for name, one in encoders.items()}
    seconds = time_in_turn(
        [lambda one=one: embed_chunks(one, embedding, cuts) for one in encoders.values()], options.rounds
    )
    figures: dict[str, Any] = {
        "model": options.model,
        "speed": {name: round(seconds[0] / taken, 2) for name, taken in zip(encoders, seconds, strict=True)},
        "cosine": {
            name: round(float((own * vectors["float32"]).sum(axis=1).mean()), 4) for name, own in vectors.items()
        },
        "compiled": compare_compiled(options.model, options.rounds),
        "found": {
            one.name: {
                name: find(encoder, cut_short(one, options.characters, None)) for name, encoder in encoders.items()
            }
            for one in (read_sets(options.data) if options.data else ())
            if options.sets is None or one.name in options.sets
        },
    }
    report("eight_bits", figures, save=options.save)


if __name__ == "__main__":
    main()
