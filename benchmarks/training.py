"""How much data is enough: what adapters gain that were trained on 100, 300, 1,000 and so on questions of one set.

Trained on questions drawn from --data, measured on all questions of --evaluate, at chunks of 64 tokens: nDCG@10 in the
corpus and within the document, over the untrained default of the base model. Every run takes as many steps, so that
only the number of questions differs. Intervals are 95 %, from a bootstrap over documents.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report

from latechunk import Encoder
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.loaders import read_sets
from latechunk.models.adapter_manifest import AdapterManifest
from latechunk.models.catalogue import LIGHT_MODEL, Task, find_known_model
from latechunk.models.device import choose_dtype, name_of
from latechunk.training.data import prepare
from latechunk.training.evaluator import Measurer, compare_scores, means
from latechunk.training.run import train
from latechunk.training.settings import PASSAGE, QUERY, LossSettings, RunSettings, TrainingSettings


def draw(one: EvaluationSet, n_questions: int, seed: int) -> EvaluationSet:
    """A set with so many of its questions, drawn evenly, and the documents that answer them."""
    chosen = np.random.default_rng(seed).choice(len(one.questions), n_questions, replace=False)
    questions = tuple(one.questions[int(number)] for number in sorted(chosen))
    names = {gold.document_id for question in questions for gold in question.gold}
    return replace(one, documents=tuple(d for d in one.documents if d.id in names), questions=questions)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="a set to train on")
    arguments.add_argument("--evaluate", type=Path, required=True, help="a set to measure with")
    arguments.add_argument("--questions", type=int, nargs="+", default=[100, 300, 1_000, 3_000, 10**9])
    arguments.add_argument("--steps", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()

    (data,), held_out = read_sets(options.data), read_sets(options.evaluate)
    known = find_known_model(LIGHT_MODEL)
    if known is None:
        raise SystemExit("all-MiniLM-L6-v2 is not among the known ones")
    bundle = AdapterManifest(
        base=known.name,
        base_weights_sha256=str(known.weights_sha256),
        tasks=(
            Task(name="retrieval.passage", adapter=PASSAGE, prompt=""),
            Task(name="retrieval.query", adapter=QUERY, prompt=""),
        ),
        document_task="retrieval.passage",
        query_task="retrieval.query",
        local_global=known.trained_local_global,
        mode="blend",
        late_weight=LossSettings().late_weight,
    )
    dtype = name_of(choose_dtype("auto", Encoder.load(LIGHT_MODEL, adapters=None, dtype="float32").device))
    measurer = Measurer(known.name, "auto", dtype, held_out, bundle, lambda n_characters: None)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        references = measurer.references(Path(folder) / "references.npz", "")
        for wanted in options.questions:
            n_questions = min(wanted, len(data.questions))
            begin = time.perf_counter()
            encoder = Encoder.load(LIGHT_MODEL, adapters=None, dtype="float32", local_global=known.trained_local_global)
            run = RunSettings(n_steps=options.steps, seed=options.seed, precision=dtype, save_steps=options.steps)
            settings = TrainingSettings(run=run, query_adapter=True)
            chosen = prepare(encoder, [draw(data, n_questions, options.seed)], settings.segments.chunk_tokens)
            out = Path(folder) / str(n_questions)
            train(encoder, chosen, out, settings)
            scores = measurer.copied(out)
            row: dict[str, Any] = {"questions": n_questions, "seconds": round(time.perf_counter() - begin)}
            for scope, comparison in compare_scores(scores, references["untrained"], held_out).items():
                row[scope] = {
                    "trained": round(means(scores)[scope], 2),
                    "gain": round(comparison.difference, 2),
                    "interval": [round(comparison.low, 2), round(comparison.high, 2)],
                }
            rows.append(row)
            print(row, flush=True)
    figures = {
        "trained_on": data.name,
        "measured_on": [one.name for one in held_out],
        "steps": options.steps,
        "naive": {scope: round(value, 2) for scope, value in means(references["naive"]).items()},
        "untrained": {scope: round(value, 2) for scope, value in means(references["untrained"]).items()},
        "rows": rows,
    }
    report("training", figures, save=options.save)


if __name__ == "__main__":
    main()
