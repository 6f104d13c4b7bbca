"""The contrastive loss of questions and chunks: within the document, over the batch, and over a memory bank."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from latechunk.training.settings import LossSettings

Features = dict[str, Any]


class SpanContrastiveLoss(torch.nn.Module):
    """InfoNCE of questions with the chunks that answer them, anchored to the untrained model.

    For each question, the chunks that answer it are summed inside the softmax: the loss is
    ``-log(sum of exp(s) over answers / sum of exp(s) over candidates)``, with cosines ``s`` divided by the temperature.
    It is taken against the chunks of the same segment, and against those of other documents too: of the batch, and of
    the segments before it (a memory bank, without gradient). Chunks of the same document in other segments are no
    candidates: they may answer as well. A chunk's vector is what an index would hold, the blend of its late vector with
    that of its text read alone, both of which are trained. (van den Oord et al. 2018; several positives as in Khosla et
    al. 2020, L_in; bank as in Wu et al. 2018; in-sequence negatives as in Conti et al. 2025.)
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
            features: Groups of segments with ``adapter`` set, and ``alone``, their chunks as texts of their own in
                parts, with ``places`` that say which chunk each is; empty where only late vectors are trained. Last
                come the questions, with ``adapter`` None and no more where they have no adapter.
            labels: ``documents``, the document of each segment; ``owner``, the segment of each chunk; ``asked_of``,
                the segment of each question; ``gold``, shape ``(n_questions, n_chunks)``; ``own_only``, whether a
                question is asked of many documents; ``queries``, the base model's vectors of the questions, shape
                ``(n_questions, dims)``.

        Returns:
            ``contrast``, and ``anchor`` and ``query_anchor`` where they have a weight; the sum is minimised.
        """
        groups, questions = features[:-1], features[-1]
        queries = self._encode(questions) if questions["adapter"] else labels["queries"]
        if len(groups) == 1 or not torch.is_grad_enabled():
            return self._parts(torch.cat([self._read(group) for group in groups]), queries, groups, labels)
        return self._cached(groups, queries, labels)

    def _read(self, group: Features) -> torch.Tensor:
        """Late vectors of a group's chunks, and naive ones next to them, shape ``(n_chunks, 1 or 2, dims)``."""
        late = self._encode(group)
        if not group["alone"]:
            return late[:, None]
        parts = [self._encode({**part, "adapter": group["adapter"]}) for part in group["alone"]]
        order = torch.cat([part["places"] for part in group["alone"]]).argsort()
        return torch.stack([late, torch.cat(parts)[order]], dim=1)

    def _encode(self, features: Features) -> torch.Tensor:
        vectors: torch.Tensor = self.model(dict(features))["sentence_embedding"].float()
        return functional.normalize(vectors, dim=1)

    def _parts(
        self, read: torch.Tensor, queries: torch.Tensor, groups: Sequence[Features], labels: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """All parts of the loss, from the vectors of all segments as ``_read`` gives them."""
        settings = self._settings
        parts = {"contrast": self._contrast(read, queries, labels)}
        if settings.anchor:
            # Keeps late vectors close to the base model's. It pulls on the late half only: naive vectors are free.
            with torch.no_grad():
                untrained = torch.cat([self._encode({**group, "adapter": None}) for group in groups])
            parts["anchor"] = settings.anchor * (1 - (read[:, 0] * untrained).sum(dim=1)).mean()
        if settings.query_anchor and queries.requires_grad:
            parts["query_anchor"] = settings.query_anchor * (1 - (queries * labels["queries"]).sum(dim=1)).mean()
        if torch.is_grad_enabled():
            self._remember(read.detach(), labels)
        return parts

    def _contrast(self, read: torch.Tensor, queries: torch.Tensor, labels: dict[str, torch.Tensor]) -> torch.Tensor:
        settings = self._settings
        scores = queries @ self._mix(read).T / settings.temperature
        # Two contrasts. Within the segment: which passage of this document answers? Across: which chunk of all? Chunks
        # of the same document in another segment of the batch are left out of the second, since they may answer as
        # well, and so are all other documents where the question is asked of many of them (own_only).
        asked_of, gold = labels["asked_of"], labels["gold"]
        own = labels["owner"] == asked_of[:, None]
        documents = labels["documents"]
        foreign = documents[labels["owner"]] != documents[asked_of][:, None]
        may_compare = ~labels["own_only"][:, None]
        within = info_nce(scores, gold, own)
        forward = settings.document_weight * within
        if settings.document_weight < 1:
            # The bank's chunks come from earlier steps: they get no gradient, and none of them counts as an answer.
            banked, kept = self._bank_scores(queries, documents[asked_of])
            candidates = torch.cat([own | (foreign & may_compare), kept & may_compare], dim=1)
            nothing = torch.zeros_like(kept)
            across = info_nce(torch.cat([scores, banked], dim=1), torch.cat([gold, nothing], dim=1), candidates)
            forward = forward + (1 - settings.document_weight) * across
        return forward.mean()

    def _mix(self, read: torch.Tensor) -> torch.Tensor:
        """The vectors that an index would hold, shape ``(n_chunks, dims)``."""
        if read.shape[1] == 1:
            return read[:, 0]
        weight = self._settings.late_weight
        return functional.normalize(weight * read[:, 0] + (1 - weight) * read[:, 1], dim=1)

    def _bank_scores(self, queries: torch.Tensor, asked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores with the bank, and which of them are of another document, shape ``(n_questions, n_banked)`` each."""
        if not self._bank:
            nothing = queries.new_zeros((len(queries), 0))
            return nothing, nothing.bool()
        chunks = torch.cat([self._mix(read.to(queries.device)) for _, read in self._bank])
        documents = torch.cat([torch.full((len(read),), document) for document, read in self._bank])
        scores = queries @ chunks.T / self._settings.temperature
        return scores, documents.to(asked.device) != asked[:, None]

    def _remember(self, read: torch.Tensor, labels: dict[str, torch.Tensor]) -> None:
        for number, document in enumerate(labels["documents"].tolist()):
            self._bank.append((document, read[labels["owner"] == number]))

    def bank_state(self) -> dict[str, torch.Tensor]:
        """The bank, to be saved in a checkpoint."""
        state: dict[str, torch.Tensor] = {}
        for place, (document, read) in enumerate(self._bank):
            state |= {f"{place}.read": read.cpu().contiguous(), f"{place}.document": torch.tensor(document)}
        return state

    def load_bank(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what ``bank_state`` gave."""
        self._bank.clear()
        for place in range(len(state) // 2):
            self._bank.append((int(state[f"{place}.document"]), state[f"{place}.read"]))

    def _cached(
        self, groups: Sequence[Features], queries: torch.Tensor, labels: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The same loss and gradients with one group of segments in memory at a time (Gao et al. 2021, GradCache)."""
        # The loss needs the vectors of all segments at once; activations of all do not fit the memory. So the step is
        # taken in three passes: (1) vectors of all groups without activations; (2) the loss of these vectors and its
        # gradient with respect to them, which is small; (3) in backward, each group is read again with activations,
        # and the gradient of its vectors is passed through. By the chain rule the sum equals the gradient of a single
        # pass. It needs equal vectors in passes 1 and 3, which is why the model is never in training mode (dropout).
        with torch.no_grad():
            read = torch.cat([self._read(group) for group in groups])
        read.requires_grad_()
        query_leaf = queries.detach().requires_grad_(queries.requires_grad)
        parts = self._parts(read, query_leaf, groups, labels)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        gradients: Any = read.grad

        def pass_on(scale: torch.Tensor) -> None:
            first = 0
            with torch.enable_grad():
                for group in groups:
                    again = self._read(group)
                    own = gradients[first : first + len(again)]
                    first += len(again)
                    # d(sum(again * own)) / d(weights) is own times the Jacobian of again: this group's chain rule.
                    (again * own * scale).sum().backward()
                if query_leaf.grad is not None:
                    (queries * query_leaf.grad * scale).sum().backward()  # type: ignore[no-untyped-call]

        # The trainer calls backward on the sum of what is returned. Its gradient arrives at `total`, whose hook runs
        # pass 3; `scale` in there is what the trainer multiplied the loss by (gradient accumulation, mixed precision).
        total = torch.stack([part.detach() for part in parts.values()]).sum().requires_grad_()
        total.register_hook(pass_on)  # type: ignore[no-untyped-call]
        shown = {name: part.detach() for name, part in parts.items()}
        rest = torch.stack(list(shown.values())).sum()
        # The parts are for show; their sum is the one tensor whose backward call runs the second pass.
        return {**shown, "cached": total - rest}


def info_nce(scores: torch.Tensor, gold: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Minus the logarithm of the share that answers have in the softmax over the candidates, shape ``(n,)``.

    All have the shape ``(n, m)``; ``gold`` has at least one in each row, and is part of the candidates.
    """
    low = torch.finfo(scores.dtype).min
    return torch.logsumexp(scores.masked_fill(~candidates, low), dim=1) - torch.logsumexp(
        scores.masked_fill(~gold, low), dim=1
    )
