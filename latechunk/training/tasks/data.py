"""Read scored pairs of texts, or texts with labels, and hold some of them out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from latechunk.errors import InputError
from latechunk.evaluation.tables import field_of, name_of, read_lines, read_table
from latechunk.types import FloatArray, IntArray, require_text

TextTask: TypeAlias = Literal["text-matching", "classification", "separation"]
Row: TypeAlias = tuple[str, Mapping[str, Any]]

_COLUMNS = {
    "text-matching": ("sentence1", "sentence2", "score"),
    "classification": ("text", "label"),
    "separation": ("text", "label"),
}
_LEAST_ROWS, _MOST_HELD_OUT = 20, 1_000
_SHARE = 0.1
_CLASSES_IN_BATCH = 8


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Texts, and pairs of them with scores, of which only the order counts.

    Attributes:
        texts: Each once.
        pairs: Places of two texts, shape ``(n_pairs, 2)``.
        scores: Shape ``(n_pairs,)``; more is more alike.
    """

    texts: tuple[str, ...]
    pairs: IntArray
    scores: FloatArray

    @property
    def n_rows(self) -> int:
        """Pairs."""
        return len(self.pairs)

    @property
    def rows(self) -> list[list[float]]:
        """What a run learns of the texts, as JSON."""
        return [*self.pairs.tolist(), self.scores.tolist()]

    def draw(self, number: int, size: int, seed: int) -> IntArray:
        """The pairs of a batch: all come once before one comes again, in another order each time.

        Examples:
            >>> pairs = ScoredPairs(("a", "b"), np.array([[0, 1]] * 5), np.arange(5.0))
            >>> sorted(np.concatenate([pairs.draw(number, 2, seed=0) for number in range(3)])[:5].tolist())
            [0, 1, 2, 3, 4]
        """
        places = np.arange(number * size, (number + 1) * size)
        rounds = {one: np.random.default_rng((seed, one)).permutation(self.n_rows) for one in {*places // self.n_rows}}
        return np.array([rounds[place // self.n_rows][place % self.n_rows] for place in places.tolist()])

    def take(self, rows: IntArray) -> ScoredPairs:
        """Some of the pairs, with their texts alone."""
        used, pairs = np.unique(self.pairs[rows], return_inverse=True)
        return ScoredPairs(
            tuple(self.texts[place] for place in used), pairs.reshape(-1, 2).astype(np.int64), self.scores[rows]
        )

    def hold_out(self, seed: int) -> tuple[ScoredPairs, ScoredPairs | None]:
        """A tenth of the pairs, at most 1,000, to measure with, and those of the others that share no text with them.

        Nothing is held out of less than 20 pairs, nor where nothing to train on would be left.
        """
        if self.n_rows < _LEAST_ROWS:
            return self, None
        n_held = min(_MOST_HELD_OUT, round(_SHARE * self.n_rows))
        held = np.random.default_rng(seed).choice(self.n_rows, n_held, replace=False)
        is_shared = np.isin(self.pairs, self.pairs[held]).any(axis=1)
        kept = np.flatnonzero(~is_shared)
        if len(kept) < n_held or len(np.unique(self.scores[held])) < 2 or len(np.unique(self.scores[kept])) < 2:
            return self, None
        return self.take(kept), self.take(np.sort(held))


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts, each once, with the numbers of their labels, shape ``(n_texts,)``."""

    texts: tuple[str, ...]
    labels: IntArray

    @property
    def n_rows(self) -> int:
        """Texts."""
        return len(self.texts)

    @property
    def rows(self) -> list[int]:
        """What a run learns of the texts, as JSON."""
        return list(map(int, self.labels))

    def draw(self, number: int, size: int, seed: int) -> IntArray:
        """The texts of a batch: up to 8 labels at random, and equally many texts of each, as far as there are so many.

        Examples:
            >>> texts = LabelledTexts(("a", "b", "c", "d"), np.array([0, 0, 1, 1]))
            >>> np.sort(texts.draw(0, 4, seed=0)).tolist()
            [0, 1, 2, 3]
        """
        chance = np.random.default_rng((seed, number))
        labels, counts = np.unique(self.labels, return_counts=True)
        repeated = labels[counts > 1]  # a label of a single text has no two to bring together
        n_labels = min(_CLASSES_IN_BATCH, len(repeated), max(2, size // 2))
        chosen = chance.choice(repeated, n_labels, replace=False)
        drawn = []
        for label in chosen:
            own = np.flatnonzero(self.labels == label)
            drawn.append(chance.choice(own, min(len(own), max(2, size // n_labels)), replace=False))
        return np.concatenate(drawn)

    def take(self, rows: IntArray) -> LabelledTexts:
        """Some of the texts."""
        return LabelledTexts(tuple(self.texts[place] for place in rows), self.labels[rows])

    def hold_out(self, seed: int) -> tuple[LabelledTexts, LabelledTexts | None]:
        """A tenth of the texts, at most 1,000, to measure with, and the others; nothing of less than 20 texts.

        Texts are drawn among labels that have at least three, and two of each stay to be trained on.
        """
        if self.n_rows < _LEAST_ROWS:
            return self, None
        n_held = min(_MOST_HELD_OUT, round(_SHARE * self.n_rows))
        order = np.random.default_rng(seed).permutation(self.n_rows)
        left = dict(zip(*np.unique(self.labels, return_counts=True), strict=True))
        held: list[int] = []
        for place in order.tolist():
            label = self.labels[place]
            if len(held) < n_held and left[label] > 2:
                held.append(place)
                left[label] -= 1
        if len({*self.labels[held].tolist()}) < 2:
            return self, None
        is_held = np.isin(np.arange(self.n_rows), held)
        return self.take(np.flatnonzero(~is_held)), self.take(np.flatnonzero(is_held))


TextData: TypeAlias = ScoredPairs | LabelledTexts


def read_texts(path: Path, task: TextTask) -> TextData:
    """Read the rows of a file: ``sentence1``, ``sentence2`` and ``score``, or ``text`` and ``label``.

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file.
        task: What is trained; text matching needs pairs, the others labels.

    Raises:
        InputError: If the file cannot be read, a row lacks a field, has a blank text, a score that is no number, or a
            text another label than elsewhere; or there is nothing to tell apart.
    """
    rows = _read_rows(path, _COLUMNS[task])
    if task == "text-matching":
        return _read_pairs(path, rows)
    return _read_labelled(path, rows)


def _read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    if not path.is_file():
        raise InputError(f"{path} is no file; name a .csv, .tsv, .jsonl or .parquet file of {', '.join(columns)}")
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return read_table(path, columns, ", ".join(columns))
    if kind == ".jsonl":
        return read_lines(path)
    if kind == ".parquet":
        return _read_parquet(path)
    raise InputError(f"{path} must be a .csv, .tsv, .jsonl or .parquet file, got {kind or 'no suffix'}")


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet  # comes with datasets, which training needs

    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read as a Parquet file: {error}") from error
    return ((f"{path}, row {number}", row) for number, row in enumerate(rows, start=1))


def _read_pairs(path: Path, rows: Iterable[Row]) -> ScoredPairs:
    places: dict[str, int] = {}
    pairs, scores = [], []
    for place, row in rows:
        texts = [_text(place, row, name) for name in ("sentence1", "sentence2")]
        pairs.append([places.setdefault(text, len(places)) for text in texts])
        scores.append(_score(place, row))
    if len({*scores}) < 2:
        raise InputError(f"{path}: needed are pairs of at least two different scores, got {len({*scores})}")
    return ScoredPairs(tuple(places), np.array(pairs, dtype=np.int64), np.array(scores))


def _read_labelled(path: Path, rows: Iterable[Row]) -> LabelledTexts:
    labels: dict[str, str] = {}
    for place, row in rows:
        text, label = _text(place, row, "text"), name_of(place, row, "label").strip()
        if labels.setdefault(text, label) != label:
            raise InputError(
                f"{place}: this text has the label {label!r:.60}, and {labels[text]!r:.60} elsewhere; keep one of the "
                f"two: {text!r:.80}"
            )
    names, numbers, counts = np.unique(list(labels.values()), return_inverse=True, return_counts=True)
    if len(names) < 2 or (counts > 1).sum() < 2:
        raise InputError(
            f"{path}: needed are at least two labels with two different texts each, got "
            f"{', '.join(f'{name} ({count})' for name, count in list(zip(names, counts, strict=True))[:5]) or 'none'}"
        )
    return LabelledTexts(tuple(labels), numbers.astype(np.int64))


def _text(place: str, row: Mapping[str, Any], name: str) -> str:
    text: str = field_of(place, row, name, str)
    if not text.strip():
        raise InputError(f"{place}: the field {name!r} is blank")
    require_text(text, f"{place}: the field {name!r}", InputError)
    return text


def _score(place: str, row: Mapping[str, Any]) -> float:
    value = row.get("score")
    try:
        if isinstance(value, bool):
            raise ValueError(f"{value} is no number")
        score = float(value)  # type: ignore[arg-type]  # TypeError for what is no number is told below
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{place}: needed is a field 'score', a number, got {value!r:.60}")
    return score
