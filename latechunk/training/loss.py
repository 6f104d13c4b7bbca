"""The contrastive loss: a question's chunks within the document and against others, and its document against others."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from latechunk.training.settings import LossSettings

Features = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Banked:
    """Questions compared with the memory bank.

    Attributes:
        scores: Shape ``(n_questions, n_chunks)``.
        owner: The segment of each chunk.
        documents: The document of each segment.
    """

    scores: torch.Tensor
    owner: torch.Tensor
    documents: torch.Tensor


class SpanContrastiveLoss(torch.nn.Module):
    """InfoNCE of questions with the chunks and the documents that answer them, anchored to the untrained model.

    Each contrast is ``-log(sum of exp(s) over answers / sum of exp(s) over candidates)``, with cosines ``s`` divided by
    the temperature. There are three:

    - within: the chunks that answer, against the other chunks of the segment;
    - across: the same, against the chunks of other documents too, of the batch and of the segments before it (a memory
      bank, without gradient);
    - document: the segment, whose score is that of its best chunk, against the segments of other documents of batch
      and bank. It teaches chunks whose document they are of, which the other two alone unteach.

    Chunks of the same document in other segments are no candidates: they may answer as well. So may what is closer
    than the answers by more than a margin, which is left out, too. A chunk's vector is what an index would hold, the
    blend of its late vector with that of its text read alone. Only the late one is trained: with multilingual-e5-small,
    adapters of chunks read alone cost more on other collections than they gained. (van den Oord et al. 2018; several
    positives as in Khosla et al. 2020, L_in; bank as in Wu et al. 2018; in-sequence negatives as in Conti et al. 2025;
    shares of the contrasts and margin as in pplx-embed-context, 2026; documents by their best chunk as in Dai and
    Callan 2019, MaxP.)
    """

    def __init__(self, model: torch.nn.Module, settings: LossSettings) -> None:
        """Set the loss up for a model made by ``latechunk.training.model.build_model``."""
        super().__init__()
        self.model = model
        self._settings = settings
        self._bank: deque[tuple[int, torch.Tensor]] = deque(maxlen=settings.bank_segments)

    def forward(self, features: Sequence[Features], labels: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute the parts of the loss.

        Args:
            features: Segments, with ``alone``, the vectors of their chunks read alone, None where only late vectors
                count, and ``untrained``, those of the untrained model, late; and the questions, with ``untrained``
                likewise, and with ``adapter`` None where they have none.
            labels: ``documents``, the document of each segment; ``owner``, the segment of each chunk; ``asked_of``,
                the segment of each question; ``gold``, shape ``(n_questions, n_chunks)``; ``own_only``, whether a
                question is asked of many documents.

        Returns:
            ``contrast``, and ``document``, ``anchor`` and ``query_anchor`` where they have a weight; the sum is
            minimised.
        """
        segments, questions = features
        settings = self._settings
        queries = encode(self.model, questions) if questions["adapter"] else questions["untrained"]
        late = encode(self.model, segments)
        mixed = self._mix(late, segments["alone"])
        parts = self._contrasts(mixed, queries, labels)
        if settings.anchor:
            parts["anchor"] = settings.anchor * self._moved(late, segments["untrained"])
        if settings.query_anchor and queries.requires_grad:
            parts["query_anchor"] = settings.query_anchor * self._moved(queries, questions["untrained"])
        if torch.is_grad_enabled():
            self._bank += [
                (document, mixed.detach()[labels["owner"] == number])
                for number, document in enumerate(labels["documents"].tolist())
            ]
        return parts

    def _moved(self, vectors: torch.Tensor, untrained: torch.Tensor) -> torch.Tensor:
        """How far vectors are from those of the untrained model on average, in the scale of the scores."""
        return (1 - (vectors * untrained).sum(dim=1)).mean() / self._settings.temperature

    def _contrasts(
        self, mixed: torch.Tensor, queries: torch.Tensor, labels: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        settings = self._settings
        scores, banked = queries @ mixed.T / settings.temperature, self._bank_scores(queries)
        asked_of, gold, documents = labels["asked_of"], labels["gold"], labels["documents"]
        # Other documents are no candidates where the question is asked of many of them (own_only); nor is the own one
        # in other segments of batch and bank, which may answer as well.
        asked = documents[asked_of][:, None]
        may_compare = ~labels["own_only"][:, None]
        foreign, foreign_banked = (documents != asked) & may_compare, (banked.documents != asked) & may_compare
        best = scores.masked_fill(~gold, -torch.inf).amax(dim=1)

        own = labels["owner"] == asked_of[:, None]
        within = self._contrast(scores, gold, own, best)
        candidates = torch.cat([own | foreign[:, labels["owner"]], foreign_banked[:, banked.owner]], dim=1)
        across = self._contrast(torch.cat([scores, banked.scores], dim=1), gold, candidates, best)
        chunks = settings.within_weight * within + (1 - settings.within_weight) * across
        parts = {"contrast": (1 - settings.document_weight) * chunks.mean()}

        if settings.document_weight:
            by_segment = max_by(scores, labels["owner"], len(documents))
            is_own = functional.one_hot(asked_of, len(documents)).bool()
            document = self._contrast(
                torch.cat([by_segment, max_by(banked.scores, banked.owner, len(banked.documents))], dim=1),
                is_own,
                torch.cat([is_own | foreign, foreign_banked], dim=1),
                by_segment.gather(1, asked_of[:, None])[:, 0],
            )
            parts["document"] = settings.document_weight * document.mean()
        return parts

    def _contrast(
        self, scores: torch.Tensor, gold: torch.Tensor, candidates: torch.Tensor, best: torch.Tensor
    ) -> torch.Tensor:
        """InfoNCE without the candidates that are above ``best`` by more than the margin.

        ``gold`` may have fewer columns than the others: those of the bank, where nothing is an answer.
        """
        gold = functional.pad(gold, (0, scores.shape[1] - gold.shape[1]))
        if self._settings.margin is not None:
            candidates = gold | (candidates & (scores <= best[:, None] + self._settings.margin))
        return info_nce(scores, gold, candidates)

    def _mix(self, late: torch.Tensor, alone: torch.Tensor) -> torch.Tensor:
        """The vectors that an index would hold, shape ``(n_chunks, dims)``."""
        weight = self._settings.late_weight
        if weight == 1:
            return late
        return functional.normalize(weight * late + (1 - weight) * alone, dim=1)

    def _bank_scores(self, queries: torch.Tensor) -> _Banked:
        """Compare with the bank, whose chunks come from earlier steps: they get no gradient."""
        device, temperature = queries.device, self._settings.temperature
        vectors = [mixed.to(device) for _, mixed in self._bank]
        return _Banked(
            scores=queries @ torch.cat([queries.new_zeros((0, queries.shape[1])), *vectors]).T / temperature,
            owner=torch.tensor([place for place, one in enumerate(vectors) for _ in one], dtype=torch.long).to(device),
            documents=torch.tensor([document for document, _ in self._bank], dtype=torch.long).to(device),
        )

    def bank_state(self) -> dict[str, torch.Tensor]:
        """The bank, to be saved in a checkpoint."""
        state: dict[str, torch.Tensor] = {}
        for place, (document, mixed) in enumerate(self._bank):
            state |= {f"{place}.mixed": mixed.cpu().contiguous(), f"{place}.document": torch.tensor(document)}
        return state

    def load_bank(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what ``bank_state`` gave."""
        self._bank.clear()
        for place in range(len(state) // 2):
            self._bank.append((int(state[f"{place}.document"]), state[f"{place}.mixed"]))


def encode(model: torch.nn.Module, features: Features) -> torch.Tensor:
    """Unit vectors of all spans, in float32, shape ``(n_spans, dims)``."""
    vectors: torch.Tensor = model(dict(features))["sentence_embedding"].float()
    return functional.normalize(vectors, dim=1)


def info_nce(scores: torch.Tensor, gold: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Minus the logarithm of the share that answers have in the softmax over the candidates, shape ``(n,)``.

    All have the shape ``(n, m)``; ``gold`` has at least one in each row, and is part of the candidates.
    """
    low = torch.finfo(scores.dtype).min
    return torch.logsumexp(scores.masked_fill(~candidates, low), dim=1) - torch.logsumexp(
        scores.masked_fill(~gold, low), dim=1
    )


def max_by(values: torch.Tensor, owner: torch.Tensor, n: int) -> torch.Tensor:
    """The largest value of each row among those of each of ``n`` owners, which all have some, shape ``(rows, n)``."""
    found = values.new_zeros((len(values), n))
    return found.scatter_reduce(1, owner.expand(len(values), -1), values, "amax", include_self=False)
