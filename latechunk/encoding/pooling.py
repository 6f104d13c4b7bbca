"""Token embeddings in, means of spans out: the one pooling that training and inference share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from latechunk.encoding.pooling_plan import PoolingPlan, rows_to_sum
from latechunk.types import IntArray


class SpanPool(torch.nn.Module):
    """Means of runs of token embeddings, taken in float32 on their device; differentiable.

    In place of the Pooling of sentence-transformers: one vector for each span, not for each text. A span that lies in
    several windows is summed over several passes; :meth:`add` takes one of them, :meth:`means` ends it.
    """

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Pool spans that lie in one pass.

        Args:
            features: ``token_embeddings`` of any shape ``(..., hidden)``, ``rows``, ``bags`` and ``spans`` as
                :meth:`add` takes them, and ``n_rows``, shape ``(n_spans,)``.

        Returns:
            The same with ``sentence_embedding``, shape ``(n_spans, hidden)``, float32.
        """
        embeddings = features["token_embeddings"]
        n_rows = features["n_rows"]
        sums = torch.zeros((len(n_rows), embeddings.shape[-1]), dtype=torch.float32, device=embeddings.device)
        table = embeddings.reshape(-1, embeddings.shape[-1])
        sums = self.add(sums, table, features["rows"], features["bags"], features["spans"])
        return {**features, "sentence_embedding": self.means(sums, n_rows)}

    @staticmethod
    def add(
        sums: torch.Tensor, table: torch.Tensor, rows: torch.Tensor, bags: torch.Tensor, spans: torch.Tensor
    ) -> torch.Tensor:
        """Add what one pass gives of each span, in place.

        Args:
            sums: Of all spans, float32, shape ``(n_spans, hidden)``.
            table: Token embeddings in any dtype, shape ``(n_rows, hidden)``.
            rows: Rows to sum, run after run.
            bags: Where each run begins in ``rows``.
            spans: The span that each run belongs to.

        Returns:
            ``sums``.
        """
        return sums.index_add_(0, spans, functional.embedding_bag(rows, table.float(), bags, mode="sum"))

    @staticmethod
    def means(sums: torch.Tensor, n_rows: torch.Tensor) -> torch.Tensor:
        """Divide sums by what they are the sums of, shape ``(n_spans, hidden)``."""
        return sums / n_rows[:, None]


def lay_out_runs(plans: list[PoolingPlan], first_rows: list[int]) -> dict[str, IntArray]:
    """Write out for :class:`SpanPool` the runs of several texts, each of which is read in one window.

    Args:
        plans: Of each text.
        first_rows: The row of the table that each text's sequence begins at.

    Returns:
        ``rows``, ``bags``, ``spans`` and ``n_rows``; spans count on from text to text.
    """
    first_spans = np.cumsum([0, *(len(plan.n_rows) for plan in plans)])
    starts = np.concatenate([plan.piece_start + row for plan, row in zip(plans, first_rows, strict=True)])
    ends = np.concatenate([plan.piece_end + row for plan, row in zip(plans, first_rows, strict=True)])
    rows, bags = rows_to_sum(starts, ends)
    spans = [plan.piece_span + first for plan, first in zip(plans, first_spans[:-1], strict=True)]
    return {
        "rows": rows,
        "bags": bags,
        "spans": np.concatenate(spans),
        "n_rows": np.concatenate([plan.n_rows for plan in plans]),
    }
