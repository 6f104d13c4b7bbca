"""Turn texts into what the model that is trained reads: sequences padded, or states of the frozen layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from latechunk.encoding.encoder import Encoder
from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.encoding.pooling import lay_out_runs, plan_pooling
from latechunk.encoding.windows import TokenSequence, pad, plan_windows
from latechunk.training.loss import Features
from latechunk.training.model import computing_in
from latechunk.training.settings import Precision
from latechunk.training.states import Keep, States, compute_states
from latechunk.types import IntArray, Tokens


class Reading:
    """Makes the features of texts that an encoder reads."""

    def __init__(self, encoder: Encoder, long_pass: LocalGlobalPass | None, precision: Precision) -> None:
        """Set up for an encoder, with the pass of its local-global context if it has one."""
        self._model, self._plan = encoder.parts
        self._device = encoder.device
        self._long_pass = long_pass
        self._precision = precision

    def whole(self, texts: Sequence[Tokens], name: str, keep: Keep = compute_states) -> Features:
        """Texts that are one span each."""
        sequences = [self._plan.sequence(tokens.ids, tokens.prompt_ids) for tokens in texts]
        whole = [np.array([[0, one.n_content]], dtype=np.int64) for one in sequences]
        return {**self._begin(sequences, name, keep), **self.runs(sequences, whole)}

    def _begin(self, sequences: Sequence[TokenSequence], name: str, keep: Keep) -> Features:
        """What the model goes on from, of texts that it reads in one plain pass."""
        if self._long_pass is None:
            return self.pad(sequences)
        long_pass, device = self._long_pass, self._device

        def read() -> States:
            with torch.no_grad(), computing_in(self._precision, device):
                return long_pass.lower_alone([one.ids for one in sequences])

        states, bias = keep(name, read)
        return {"states": states.to(device), "bias": None if bias is None else bias.to(device)}

    def pad(self, sequences: Sequence[TokenSequence]) -> Features:
        """Sequences that the whole model reads in one pass."""
        ids, mask = map(torch.from_numpy, pad([one.ids for one in sequences], self._model.pad_id))
        return {"input_ids": ids, "attention_mask": mask}

    def runs(self, sequences: Sequence[TokenSequence], ranges: Sequence[IntArray]) -> Features:
        """Rows of the spans of each sequence, for the span pool."""
        width = max(len(one.ids) for one in sequences)
        plans = [
            plan_pooling(
                spans,
                plan_windows(one.n_content, one.n_content, 0),
                one.n_prefix,
                one.n_suffix,
                self._plan.special_tokens,
                prefix_counts=self._model.prompt_counts or one.n_prefix == len(self._plan.prefix_ids),
            )
            for one, spans in zip(sequences, ranges, strict=True)
        ]
        first_spans = np.cumsum([0, *(len(spans) for spans in ranges)])
        windows = [(plan, 0, number * width, int(first_spans[number])) for number, plan in enumerate(plans)]
        rows, bags, spans = map(torch.from_numpy, lay_out_runs(windows))
        n_rows = torch.from_numpy(np.concatenate([plan.n_rows for plan in plans]))
        return {"rows": rows, "bags": bags, "spans": spans, "n_rows": n_rows}


def move_to(value: Any, device: torch.device) -> Any:
    """Move all tensors, however deep, as the trainer does."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: move_to(one, device) for name, one in value.items()}
    return type(value)(move_to(one, device) for one in value) if type(value) in (list, tuple) else value
