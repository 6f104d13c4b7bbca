"""Choose the settings of the local-global context on half of the questions, and confirm them on the other half.

One setting at a time is changed, from those that the model comes with, and each configuration is tried with several
weights of the blend. The gain over naive (each chunk alone by the published model), in the corpus and within the
document, is averaged over the sets, that of look-alikes by itself; a configuration is admitted if it loses
significantly on no set, and the admitted one with the largest gain on the first half of the questions wins. The second
half then tells what it is worth. --sets qmsum-val:6 takes the first 6 documents of a set, and --adapters none sweeps
the published model.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report, stop
from context import ALL, LOOKALIKE, read_part
from scoring import score

from latechunk import Encoder, SentenceChunker
from latechunk.embedding import ChunkedDocument, Embedding, chunk_documents, embed_chunks
from latechunk.evaluation.dataset import Question
from latechunk.evaluation.statistics import bootstrap_interval
from latechunk.models.catalogue import DEFAULT_MODEL, LocalGlobal
from latechunk.types import FloatArray, PoolingTask

SIZES = (64, 128)
WEIGHTS = (0.4, 0.5, 0.6, 1.0)
WINDOW = 8_192


def grid(own: LocalGlobal) -> Iterator[tuple[LocalGlobal | None, int]]:
    """Configurations with the number of tokens that they read in one pass."""
    yield own, WINDOW
    yield None, own.local_tokens
    yield own, 2_048
    for change in (
        *({"local_layers": own.local_layers + step} for step in (-2, -1, 1)),
        {"local_tokens": 2 * own.local_tokens, "local_overlap": 2 * own.local_overlap},
        *({"penalty": own.penalty + step} for step in (-1, 1)),
        *({"mean_tokens": size} for size in (32, 128)),
    ):
        yield own.replaced(**change), WINDOW


def describe(configuration: LocalGlobal | None, tokens: int) -> str:
    """A configuration in one line."""
    if configuration is None:
        return f"plain windows of {tokens}"
    windows = f"windows of {configuration.local_tokens}, penalty {configuration.penalty:g}"
    return f"K = {configuration.local_layers}, {windows}, means of {configuration.mean_tokens}, {tokens:,} tokens"


@dataclass(frozen=True)
class Prepared:
    """One set: everything that does not depend on the configuration; by chunk size where there are several."""

    name: str
    questions: list[Question]
    plain_queries: FloatArray
    queries: FloatArray
    cuts: dict[int, list[ChunkedDocument]]
    naive: dict[int, FloatArray]


def prepare(encoder: Encoder, base: Encoder, data: Path, sets: Sequence[str]) -> Iterator[Prepared]:
    """Read, cut and encode naively."""
    for asked in (read_part(data, wanted) for wanted in sets):
        texts = [question.text for question in asked.questions]
        cuts = {
            size: chunk_documents(base, [SentenceChunker(max_tokens=size)], Embedding("blend"), asked.documents, stop)
            for size in SIZES
        }
        naive = {size: np.concatenate(embed_chunks(base, Embedding("naive"), some)) for size, some in cuts.items()}
        queries = (base.encode_queries(texts), encoder.encode_queries(texts))
        yield Prepared(asked.name, list(asked.questions), *queries, cuts, naive)


def embed_late(encoder: Encoder, cuts: dict[int, list[ChunkedDocument]]) -> dict[int, FloatArray]:
    """Late vectors of the chunks of every size, from one reading of each document."""
    documents = list(zip(*cuts.values(), strict=True))
    vectors = encoder.encode_spans(
        [PoolingTask(some[0].tokens, np.concatenate([one.ranges for one in some])) for some in documents]
    )
    parts = [
        np.split(rows, np.cumsum([len(one.ranges) for one in some])[:-1])
        for some, rows in zip(documents, vectors, strict=True)
    ]
    return {size: np.concatenate(some) for size, some in zip(cuts, zip(*parts, strict=True), strict=True)}


def try_out(encoder: Encoder, prepared: Sequence[Prepared]) -> dict[tuple[float, int, int, str, str], dict[str, float]]:
    """Gains of one configuration: by weight, half of the questions, chunk size, scope and set."""
    gains = {}
    for one in prepared:
        late_of = embed_late(encoder, one.cuts)
        for size, cuts in one.cuts.items():
            late, naive = late_of[size], one.naive[size]
            for scope, within in (("corpus", False), ("document", True)):
                kept = [n for n, question in enumerate(one.questions) if question.has_spans or not within]
                if not kept:
                    continue
                asked = [one.questions[n] for n in kept]
                half = np.array([zlib.crc32(question.id.encode()) % 2 for question in asked])
                before = score(cuts, asked, one.plain_queries[kept] @ naive.T, within=within)
                for weight in WEIGHTS:
                    mixed = weight * late + (1 - weight) * naive
                    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
                    difference = score(cuts, asked, one.queries[kept] @ mixed.T, within=within) - before
                    for number in (0, 1):
                        mine = np.flatnonzero(half == number)
                        interval = bootstrap_interval(difference[mine], [asked[n].cluster for n in mine])
                        gains[weight, number, size, scope, one.name] = {
                            "gain": round(float(difference[mine].mean()), 3),
                            "high": round(interval[1], 3),
                        }
    return gains


def summarise(
    gains: dict[tuple[float, int, int, str, str], dict[str, float]], weight: float, half: int
) -> dict[str, Any]:
    """Mean gains of one weight on one half, those of look-alikes by themselves, and where it loses significantly."""
    mine = {name[2:]: one for name, one in gains.items() if name[:2] == (weight, half)}

    def mean_of(size: int, scope: str, *, alike: bool) -> float | None:
        some = [
            one["gain"]
            for (its_size, its_scope, name), one in mine.items()
            if (its_size, its_scope, name in LOOKALIKE) == (size, scope, alike)
        ]
        return round(float(np.mean(some)), 2) if some else None

    return {
        "means": {f"{n}-{scope}": mean_of(n, scope, alike=False) for n in SIZES for scope in ("corpus", "document")},
        "lookalikes": {f"{n}-corpus": mean_of(n, "corpus", alike=True) for n in SIZES},
        "losses": sorted("/".join(map(str, name)) for name, one in mine.items() if one["high"] < 0),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a folder of sets")
    arguments.add_argument("--sets", nargs="+", default=list(ALL))
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    arguments.add_argument("--adapters", default="auto", help="auto, none, or a folder that training wrote")
    arguments.add_argument("--log", type=Path, required=True, help="a file of finished configurations, to go on from")
    options = arguments.parse_args()

    adapters = None if options.adapters == "none" else options.adapters
    own = Encoder.load(options.model, adapters=adapters)
    settings = own.settings["local_global"]
    if settings is None:
        raise SystemExit(f"{options.model} has no local-global context to sweep")
    lines = options.log.read_text(encoding="utf-8").splitlines() if options.log.exists() else []
    tried = [json.loads(line) for line in lines]
    done = {row["configuration"] for row in tried}
    left = [one for one in grid(LocalGlobal(**settings)) if describe(*one) not in done]
    base = Encoder.load(options.model, context="windows", adapters=None)
    prepared = list(prepare(own, base, options.data, options.sets)) if left else []
    for configuration, tokens in left:
        context = "local-global" if configuration else "windows"
        encoder = Encoder.load(
            options.model, adapters=adapters, context=context, local_global=configuration, window_tokens=tokens
        )
        gains = try_out(encoder, prepared)
        rows = [
            {
                "configuration": describe(configuration, tokens),
                "local_global": configuration.model_dump() if configuration else None,
                "window_tokens": tokens,
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
            halves = [(row[half]["means"], row[half]["lookalikes"]) for half in ("first_half", "second_half")]
            print(row["configuration"], row["late_weight"], *halves, flush=True)
    admitted = [row for row in tried if not row["first_half"]["losses"]]
    best = max(admitted, key=lambda row: sum(row["first_half"]["means"].values())) if admitted else None
    figures = {"model": options.model, "adapters": options.adapters, "sets": options.sets, "best": best, "tried": tried}
    kind = "-published" if adapters is None else ""
    report(f"context_sweep-{options.model}{kind}", figures, save=options.save)


if __name__ == "__main__":
    main()
