"""Means of the token embeddings of spans: the one pooling that training and inference share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from latechunk.encoding.pooling_plan import PoolingPlan, rows_to_sum
from latechunk.types import IntArray


class SpanPool(torch.nn.Module):
    """Means of runs of token embeddings, taken in float32 on their device; differentiable.

    In place of the Pooling of sentence-transformers: one vector for each span, not for each text. A span that lies in
    several windows is summed over several passes; ``add`` takes one of them, ``means`` ends it.
    """

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Pool spans that lie in one pass.

        From ``token_embeddings`` of any shape ``(..., hidden)``, ``rows``, ``bags`` and ``spans`` as ``add`` takes
        them, and ``n_rows``, shape ``(n_spans,)``, it adds ``sentence_embedding``, float32, ``(n_spans, hidden)``.
        """
        embeddings, n_rows = features["token_embeddings"], features["n_rows"]
        table = embeddings.reshape(-1, embeddings.shape[-1])
        sums = torch.zeros((len(n_rows), table.shape[1]), dtype=torch.float32, device=table.device)
        sums = self.add(sums, table, features["rows"], features["bags"], features["spans"])
        return {**features, "sentence_embedding": self.means(sums, n_rows)}

    @staticmethod
    def add(
        sums: torch.Tensor, table: torch.Tensor, rows: torch.Tensor, bags: torch.Tensor, spans: torch.Tensor
    ) -> torch.Tensor:
        """Add what one pass gives of each span to ``sums``, in place.

        ``table`` has token embeddings in any dtype, shape ``(n_rows, hidden)``; ``rows`` are those to sum, run after
        run, ``bags`` where each run begins in them, ``spans`` the span that each run belongs to.
        """
        return sums.index_add_(0, spans, functional.embedding_bag(rows, table.float(), bags, mode="sum"))

    @staticmethod
    def means(sums: torch.Tensor, n_rows: torch.Tensor) -> torch.Tensor:
        """Divide sums by what they are the sums of, shape ``(n_spans, hidden)``."""
        return sums / n_rows[:, None]


def lay_out_runs(windows: Sequence[tuple[PoolingPlan, int, int, int]]) -> tuple[IntArray, IntArray, IntArray]:
    """Write out ``rows``, ``bags`` and ``spans`` for ``SpanPool.add`` of the windows that one pass reads.

    Args:
        windows: Of each the plan of its text, its number in that text, the row of the table that its sequence begins
            at, and the number that the first span of its text has among all spans.
    """
    starts, ends, spans = [], [], []
    for plan, window, first_row, first_span in windows:
        pieces = slice(plan.window_pieces[window], plan.window_pieces[window + 1])
        starts.append(plan.piece_start[pieces] + first_row)
        ends.append(plan.piece_end[pieces] + first_row)
        spans.append(plan.piece_span[pieces] + first_span)
    rows, bags = rows_to_sum(np.concatenate(starts), np.concatenate(ends))
    return rows, bags, np.concatenate(spans)
