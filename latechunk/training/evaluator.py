"""Measure a model in training on held-out questions, with the vectors that an index would hold."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from latechunk.embedding import Embedding
from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.evaluation.cache import read_arrays, write_arrays
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.metrics import headline, judge
from latechunk.evaluation.passes import encode
from latechunk.evaluation.ranking import SCOPES, Scope, rank
from latechunk.evaluation.statistics import Comparison, Values, compare
from latechunk.models.adapter_manifest import AdapterManifest, write_adapter_manifest
from latechunk.models.catalogue import LocalGlobal
from latechunk.models.device import Dtype

CHUNK_TOKENS = 64
DEPTH = 10
METRIC = "ndcg_"  # and the scope; the trainer logs it with the prefix "eval_"

Scores = dict[Scope, Values]
References = dict[str, Scores]
"""What training is measured against: ``naive``, chunks read alone by the base model; ``untrained``, as latechunk makes
vectors with it by default; ``begin``, with the settings of the run before its first step, without adapters or under
those it begins with."""


@dataclass(frozen=True, slots=True)
class Measurer:
    """Loads encoders afresh, to measure them.

    Attributes:
        base: Name or folder of the base model.
        sets: What is held out.
        bundle: How the adapters are to be used.
        on_characters: Called with the characters done since the last call.
        start: A folder with the adapters that training begins with; None for none.
    """

    base: str
    device: str
    dtype: Dtype
    sets: Sequence[EvaluationSet]
    bundle: AdapterManifest
    on_characters: Callable[[int], None]
    start: Path | None = None

    @property
    def embedding(self) -> Embedding:
        """How chunk vectors are made under the adapters."""
        return Embedding(self.bundle.mode, self.bundle.late_weight)

    def trained(self, write: Callable[[Path], object]) -> Scores:
        """With adapters that ``write`` puts into a folder, read as the run has it."""
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            write_adapter_manifest(Path(folder), self.bundle)
            (scores,) = measure(self._load(adapters=folder), self.sets, [self.embedding], self.on_characters)
        return scores

    def copied(self, folder: Path) -> Scores:
        """With the adapters in a folder, whatever it says of how to read."""
        names = self.bundle.task_set.adapters
        return self.trained(lambda copy: [shutil.copytree(folder / name, copy / name) for name in names])

    def references(self, kept: Path, key: str) -> References:
        """Before the first step; measured once, and kept in a file, which is refused under another key.

        Figures of two sets of questions would mean nothing side by side.
        """
        found = read_arrays(kept)
        if found and str(found.get("key")) != key:
            raise InputError(
                "the run was begun with other held-out questions, other ways to measure them, or other adapters to "
                "begin with; give the same"
            )
        names = ("naive", "untrained", "begin")
        if found:
            return {name: {scope: found[f"{name}-{scope}"] for scope in SCOPES} for name in names}
        references = dict(zip(names, self._measure_references(), strict=True))
        arrays = {f"{name}-{scope}": one[scope] for name, one in references.items() for scope in SCOPES}
        write_arrays(kept, {"key": np.array(key), **arrays})
        return references

    def _measure_references(self) -> tuple[Scores, Scores, Scores]:
        default = Encoder.load(self.base, device=self.device, dtype=self.dtype, adapters=None)
        own = Embedding(**default.recommended_embedding)
        naive, untrained = measure(default, self.sets, [Embedding("naive"), own], self.on_characters)
        bundle = self.bundle
        is_same = own == self.embedding and default.settings["local_global"] == (
            bundle.local_global and bundle.local_global.model_dump()
        )
        del default
        if self.start is not None:
            return naive, untrained, self.copied(self.start)
        if is_same:
            return naive, untrained, untrained
        encoder = self._load(adapters=None, local_global=bundle.local_global)
        (begin,) = measure(encoder, self.sets, [self.embedding], self.on_characters)
        return naive, untrained, begin

    def _load(self, adapters: str | None, local_global: LocalGlobal | None = None) -> Encoder:
        return Encoder.load(
            self.base, device=self.device, dtype=self.dtype, adapters=adapters, local_global=local_global
        )


class HeldOutEvaluator(SentenceEvaluator):
    """Called by the trainer: writes the adapters as a run leaves them, and measures an encoder that loads them."""

    def __init__(self, measurer: Measurer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = f"{METRIC}{SCOPES[0]}"
        self._measurer = measurer
        self._last: tuple[int, Scores] | None = None

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,  # noqa: ARG002  the trainer's
        epoch: float = -1,  # noqa: ARG002
        steps: int = -1,
    ) -> dict[str, float]:
        """The mean nDCG@10 of a model in training, by scope, times 100; without what cannot be measured."""
        scores = self._measurer.trained(lambda folder: model[0].adapters.save(folder, dtype=torch.float16))
        self._last = steps, scores
        return to_metrics(scores)

    def finish(self, folder: Path, steps: int | None) -> tuple[Scores, dict[str, float]]:
        """Scores and means of a run's adapters in a folder; of the last call, if that was after so many steps.

        None where they are not those that the run's steps left.
        """
        done, scores = self._last or (None, None)
        if scores is None or done != steps:
            scores = self._measurer.copied(folder)
        return scores, to_metrics(scores)


def to_metrics(scores: Scores) -> dict[str, float]:
    """What the trainer logs of scores: means by scope, of those that can be measured."""
    return {f"{METRIC}{scope}": value for scope, value in means(scores).items() if not math.isnan(value)}


def measure(
    encoder: Encoder,
    sets: Sequence[EvaluationSet],
    embeddings: Sequence[Embedding],
    on_characters: Callable[[int], None] | None = None,
) -> list[Scores]:
    """Measure how well chunks of 64 tokens are found, with chunk vectors made in one or more ways.

    Each set is a corpus of its own. ``on_characters`` is called with the characters done since the last call.

    Returns:
        For each way the nDCG@10 of every question of all sets, times 100, in the corpus and within its document; NaN
        where a question has none.
    """
    found: list[dict[Scope, list[Values]]] = [{scope: [] for scope in SCOPES} for _ in embeddings]
    modes = {embedding.mode for embedding in embeddings}
    for one in sets:
        vectors = encode(
            encoder,
            one,
            [CHUNK_TOKENS],
            late=bool(modes & {"late", "blend"}),
            naive={CHUNK_TOKENS: bool(modes & {"naive", "blend"})},
            on_progress=on_characters or (lambda _: None),
        )[CHUNK_TOKENS]
        judgements = judge(one, vectors.table)
        queries = encoder.encode_queries([question.text for question in one.questions])
        for embedding, values in zip(embeddings, found, strict=True):
            scores = queries @ vectors.of(embedding).T
            for scope in SCOPES:
                ranking = rank(one, vectors.table, scores, scope, DEPTH)
                values[scope].append(100 * headline(judgements, ranking, scope, DEPTH))
    return [{scope: np.concatenate(values[scope]) for scope in SCOPES} for values in found]


def means(scores: Scores) -> dict[Scope, float]:
    """Of all questions that have a value; NaN where none has."""
    kept = {scope: values[~np.isnan(values)] for scope, values in scores.items()}
    return {scope: float(values.mean()) if len(values) else float("nan") for scope, values in kept.items()}


def compare_scores(scores: Scores, reference: Scores, sets: Sequence[EvaluationSet]) -> dict[Scope, Comparison]:
    """Compare two ways of making vectors, questions of one document together."""
    clusters = np.array([f"{one.name}\0{question.cluster}" for one in sets for question in one.questions])
    compared: dict[Scope, Comparison] = {}
    for scope, values in scores.items():
        kept = ~np.isnan(values) & ~np.isnan(reference[scope])
        if kept.any():
            compared[scope] = compare(values[kept], reference[scope][kept], clusters[kept].tolist())
    return compared
