"""Choose the settings of the local-global context on half of the questions, and confirm them on the other half.

Every configuration is tried on four sets, two chunk sizes and several weights of the blend. The gain over naive, in the
corpus and within the document, is averaged over the sets; a configuration is admitted if it loses significantly on no
set, and the admitted one with the largest gain on the first half of the questions wins. The second half then tells what
it is worth.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report, stop
from scoring import score

from latechunk import Encoder, SentenceChunker
from latechunk.embedding import ChunkedDocument, Embedding, chunk_documents, embed_chunks
from latechunk.evaluation.dataset import Question
from latechunk.evaluation.loaders import read_sets
from latechunk.evaluation.statistics import bootstrap_interval
from latechunk.models.catalogue import LIGHT_MODEL, LocalGlobal
from latechunk.types import FloatArray, IntArray

SETS = ("squad2-dev16", "fairytaleqa-val", "covidqa-dev", "qmsum-val")
WEIGHTS = (0.5, 0.6, 1.0)
SIZES = (64, 128)


def _settings(layers: int, penalty: float) -> LocalGlobal:
    return LocalGlobal(
        local_layers=layers,
        local_tokens=128,
        local_overlap=32,
        penalty=penalty,
        distance=96.0,
        width=16.0,
        mean_tokens=64,
    )


GRID: list[tuple[LocalGlobal | None, int]] = [
    (None, 128),
    (_settings(5, 2.0), 8_192),
    (_settings(5, 2.0), 2_048),
    (_settings(5, 3.0), 8_192),
    (_settings(4, 3.0), 8_192),
    (_settings(5, 1.0), 8_192),
]


@dataclass(frozen=True)
class Prepared:
    """One set and chunk size: everything that does not depend on the configuration."""

    name: str
    size: int
    questions: list[Question]
    cuts: list[ChunkedDocument]
    queries: FloatArray
    naive: FloatArray
    half: IntArray
    clusters: list[str]


def prepare(encoder: Encoder, data: Path) -> list[Prepared]:
    """Read, cut and encode naively."""
    prepared = []
    for name, size in itertools.product(SETS, SIZES):
        (asked,) = read_sets(data / name)
        chunker = SentenceChunker(max_tokens=size)
        cuts = chunk_documents(encoder, [chunker], Embedding("naive"), asked.documents, stop)
        prepared.append(
            Prepared(
                name=name,
                size=size,
                questions=list(asked.questions),
                cuts=cuts,
                queries=np.stack([encoder.encode_query(question.text) for question in asked.questions]),
                naive=np.concatenate(embed_chunks(encoder, Embedding("naive"), cuts)),
                half=np.array([zlib.crc32(question.id.encode()) % 2 for question in asked.questions]),
                clusters=[question.cluster for question in asked.questions],
            )
        )
    return prepared


def try_out(encoder: Encoder, prepared: Sequence[Prepared]) -> dict[str, Any]:
    """Gains of one configuration: by weight, half of the questions, chunk size, set and scope."""
    gains: dict[str, Any] = {}
    for one in prepared:
        late = np.concatenate(embed_chunks(encoder, Embedding("late"), one.cuts))
        for within in (False, True):
            before = score(one.cuts, one.questions, one.queries @ one.naive.T, within=within)
            for weight in WEIGHTS:
                mixed = weight * late + (1 - weight) * one.naive
                mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
                difference = score(one.cuts, one.questions, one.queries @ mixed.T, within=within) - before
                for number in (0, 1):
                    mine = one.half == number
                    clusters = [name for name, is_mine in zip(one.clusters, mine, strict=True) if is_mine]
                    gains[f"{weight}/{number}/{one.size}/{one.name}/{'document' if within else 'corpus'}"] = {
                        "gain": round(float(difference[mine].mean()), 3),
                        "high": round(bootstrap_interval(difference[mine], clusters)[1], 3),
                    }
    return gains


def summarise(gains: dict[str, Any], weight: float, half: int) -> dict[str, Any]:
    """Mean gains of one weight on one half, and whether it loses significantly anywhere."""
    prefix = f"{weight}/{half}/"
    mine = {name.removeprefix(prefix): one for name, one in gains.items() if name.startswith(prefix)}
    return {
        "means": {
            f"{size}-{scope}": round(float(np.mean([mine[f"{size}/{name}/{scope}"]["gain"] for name in SETS])), 2)
            for size in SIZES
            for scope in ("corpus", "document")
        },
        "losses": sorted(name for name, one in mine.items() if one["high"] < 0),
    }


def describe(configuration: LocalGlobal | None, window: int) -> str:
    """A configuration in one line."""
    if configuration is None:
        return f"plain windows of {window}"
    return f"K = {configuration.local_layers}, penalty {configuration.penalty:g}, {window} tokens"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--log", type=Path, required=True, help="a file of finished configurations, to go on from")
    options = arguments.parse_args()

    lines = options.log.read_text(encoding="utf-8").splitlines() if options.log.exists() else []
    tried = [json.loads(line) for line in lines]
    left = [one for one in GRID if describe(*one) not in {row["configuration"] for row in tried}]
    prepared = prepare(Encoder.load(LIGHT_MODEL, context="windows", adapters=None), options.data) if left else []
    for configuration, window in left:
        context = "local-global" if configuration else "windows"
        encoder = Encoder.load(
            LIGHT_MODEL, adapters=None, context=context, local_global=configuration, window_tokens=window
        )
        gains = try_out(encoder, prepared)
        rows = [
            {
                "configuration": describe(configuration, window),
                "local_global": configuration.model_dump() if configuration else None,
                "window_tokens": window,
                "late_weight": weight,
                "first_half": summarise(gains, weight, 0),
                "second_half": summarise(gains, weight, 1),
            }
            for weight in WEIGHTS
        ]
        with options.log.open("a", encoding="utf-8") as log:
            log.writelines(f"{json.dumps(row)}\n" for row in rows)
        tried += rows
        for row in rows:
            print(row["configuration"], row["late_weight"], row["first_half"], row["second_half"], flush=True)
    admitted = [row for row in tried if not row["first_half"]["losses"]]
    best = max(admitted, key=lambda row: sum(row["first_half"]["means"].values()))
    report("context_sweep", {"best": best, "tried": tried}, save=options.save)


if __name__ == "__main__":
    main()
