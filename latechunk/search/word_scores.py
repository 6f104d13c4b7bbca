"""Scores of all chunks by words, without an array of all chunks, of which there may be millions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from latechunk.search.fusion import best_places
from latechunk.storage.rows import ChunkPlaces
from latechunk.types import BoolArray, IntArray, ScoreArray
from latechunk.types.arrays import counted_ranges


@dataclass(frozen=True, slots=True)
class WordScores:
    """Chunks that hold no term have a score of their document, which is the same for all of them.

    Attributes:
        places: All chunks.
        of_documents: What each document gives to its chunks that hold no term, shape ``(n_documents,)``.
        n_others: How many such chunks each has.
        holding: Places of the chunks that hold a term, ascending.
        held: Their scores.
    """

    places: ChunkPlaces
    of_documents: ScoreArray
    n_others: IntArray
    holding: IntArray
    held: ScoreArray

    def at(self, chunks: IntArray) -> ScoreArray:
        """The scores of chunks, by their places."""
        scores = self.of_documents[self.places.document_of[chunks]]
        at, is_held = self._find_held(chunks)
        scores[is_held] = self.held[at[is_held]]
        return scores

    def mean_and_deviation(self) -> tuple[float, float]:
        """Of all chunks."""
        # A sum over all is one over documents and one over chunks that hold a term; not by BLAS, see rank_chunks.
        n = max(1, len(self.places))
        mean = float((self.n_others * self.of_documents).sum() + self.held.sum()) / n
        squares = (self.n_others * (self.of_documents - mean) ** 2).sum() + ((self.held - mean) ** 2).sum()
        return mean, math.sqrt(float(squares) / n)

    def best(self, n: int, is_selected: BoolArray | None, *, only_holding: bool) -> IntArray:
        """The places of the ``n`` best chunks with a score above 0, best first, by place on a tie.

        ``is_selected`` says of which documents, shape ``(n_documents,)``, None for all; ``only_holding`` leaves out
        chunks that hold no term, and takes those with one also where it scores nothing.
        """
        of_held = self.places.document_of[self.holding]
        may_be_found = np.ones(len(of_held), dtype=np.bool_) if is_selected is None else is_selected[of_held]
        if only_holding:
            chosen = best_places(self.held, np.flatnonzero(may_be_found), n)
            return self.holding[chosen]
        chosen = best_places(self.held, np.flatnonzero(may_be_found & (self.held > 0)), n)
        found = np.concatenate([self.holding[chosen], self._best_others(n, is_selected)])
        scores = self.at(found)
        return found[np.lexsort((found, -scores))[:n]]

    def _best_others(self, n: int, is_selected: BoolArray | None) -> IntArray:
        """The places of the ``n`` best chunks that hold no term."""
        is_possible = (self.of_documents > 0) & (self.n_others > 0)
        if is_selected is not None:
            is_possible &= is_selected
        documents = best_places(self.of_documents, np.flatnonzero(is_possible), n)  # each gives one at least
        enough = int(np.searchsorted(np.cumsum(self.n_others[documents]), n)) + 1
        documents = documents[:enough]
        starts = np.searchsorted(self.places.document_of, documents)
        chunks = counted_ranges(starts, self.places.sizes[documents])
        return chunks[~self._find_held(chunks)[1]]

    def _find_held(self, chunks: IntArray) -> tuple[IntArray, BoolArray]:
        """Where each chunk stands among those that hold a term, and whether it is one of them."""
        if not len(self.holding):
            return np.zeros(len(chunks), dtype=np.int64), np.zeros(len(chunks), dtype=np.bool_)
        at = np.minimum(np.searchsorted(self.holding, chunks), len(self.holding) - 1)
        return at, self.holding[at] == chunks
