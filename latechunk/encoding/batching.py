"""Encode the spans of tokenised texts: windows packed into batches, forward passes, sums on the device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.encoding.pooling import PoolingPlan, SpanPool, lay_out_runs, plan_pooling, require_ranges
from latechunk.encoding.windows import Plan, TokenSequence, pad
from latechunk.errors import ModelError
from latechunk.models.device import give_back_memory, is_out_of_memory, name_of, tokens_that_fit
from latechunk.models.loaded import LoadedModel
from latechunk.types import FloatArray, IntArray, PoolingTask, Tokens, WindowPlan

_LOG = logging.getLogger("latechunk")
_PROBE_TOKENS = 2_048
# Passes on a CPU after which freed memory goes back. After each one indexing takes 3 % longer and 12 MB less, and if it
# never does, 60 MB more.
_PASSES_KEPT = 8


@dataclass(frozen=True, slots=True)
class _Job:
    """One text on its way, with the lengths of the sequences of its windows, and its first span's row in the sums."""

    tokens: Tokens
    windows: WindowPlan
    lengths: IntArray
    pieces: PoolingPlan
    first_span: int


class SpanRunner:
    """Runs a model over texts of any length. Safe to use from several threads."""

    def __init__(
        self, label: str, model: LoadedModel, plan: Plan, *, device: torch.device, batch_tokens: int | None
    ) -> None:
        """Make a runner of a model that is on ``device``; ``batch_tokens`` None for what suits the device."""
        self._label = label
        self._model = model
        self._plan = plan
        self._device = device
        self._plain_tokens = plan.plain_tokens
        self._pad_id = model.pad_id
        backbone: Any = model.transformer.model
        embedding = backbone.get_input_embeddings()
        self._n_embeddings = int(getattr(embedding, "base_layer", embedding).num_embeddings)  # of peft's layers, theirs
        long = plan.local_global
        self._long_pass = LocalGlobalPass(backbone, long, pad_id=model.pad_id) if long else None
        self._n_passes = 0
        # On two CPU cores batches of 4,096 tokens ran fastest: 32 windows of 128 tokens gave 12.4 thousand tokens a
        # second in float32 and 52.8 in bfloat16, 256 windows 8.1 and 29.0: their states no longer fit the caches.
        self.batch_tokens = batch_tokens or (4_096 if device.type == "cpu" else 8_192)
        if batch_tokens is None and device.type == "cuda":
            self.batch_tokens = self._measure_budget()

    def run(
        self,
        tasks: Sequence[PoolingTask],
        *,
        adapter: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[FloatArray]:
        """Read each text under an adapter, or under none, and pool its spans.

        ``on_progress`` is called with (number of the task, content tokens of it done since the last call).

        Returns:
            For each task its spans' vectors in order, unit length, float32, shape ``(n_spans, dims)``.

        Raises:
            ModelError: If vectors are not finite or are zero, or one window alone does not fit the memory.
        """
        if not tasks:
            return []
        bounds = np.cumsum([0, *(len(task.ranges) for task in tasks)])
        jobs = [self._start(task, int(first)) for task, first in zip(tasks, bounds[:-1], strict=True)]
        with torch.inference_mode():
            sums = torch.zeros((int(bounds[-1]), self._model.hidden), dtype=torch.float32, device=self._device)
            for batch in self._run_batches(jobs, sums, adapter):
                for number, window in batch if on_progress else ():
                    seams = jobs[number].windows.seams
                    on_progress(number, int(seams[window + 1] - seams[window]))  # type: ignore[misc]
            vectors = self._finish(sums, np.concatenate([job.pieces.n_rows for job in jobs]))
        return [vectors[begin:end] for begin, end in pairwise(bounds)]

    def _start(self, task: PoolingTask, first_span: int) -> _Job:
        plan, tokens = self._plan, task.tokens
        require_ranges(task)
        if len(tokens) and int(tokens.ids.max()) >= self._n_embeddings:
            raise ModelError(
                f"{self._label!r} has {self._n_embeddings} token embeddings, and its tokenizer gave the token "
                f"{int(tokens.ids.max())}: the tokenizer belongs to another model"
            )
        windows = plan.windows(tokens)
        n_prefix, n_suffix = len(plan.prefix_ids) + len(tokens.prompt_ids), len(plan.suffix_ids)
        prefix_counts = self._model.prompt_counts or not tokens.prompt_ids
        pieces = plan_pooling(
            task.ranges, windows, n_prefix, n_suffix, plan.special_tokens, prefix_counts=prefix_counts
        )
        return _Job(tokens, windows, n_prefix + (windows.ends - windows.starts) + n_suffix, pieces, first_span)

    def _run_batches(
        self, jobs: Sequence[_Job], sums: torch.Tensor, adapter: str | None
    ) -> Iterator[list[tuple[int, int]]]:
        """Run all windows, longest first; yields those of each pass as (job, window) when it is done.

        A pass costs what its padded rectangle costs, the longest window times the number of windows. So windows of all
        texts are sorted by length and taken in that order: neighbours are of nearly the same length, and little is
        padding. The first window of a batch is its longest, which says how many fit into the budget of tokens. Longest
        first also means that memory runs out at the first pass if it does at all, and not an hour into the work. If it
        does run out, the batch is tried again at half its size, down to one window; a smaller budget then stays for the
        batches after it, unless the batch that failed was small for want of windows.
        """
        lengths = np.concatenate([job.lengths for job in jobs])
        order = np.argsort(-lengths, kind="stable")
        lengths = lengths[order]
        jobs_of = np.repeat(np.arange(len(jobs)), [len(job.lengths) for job in jobs])[order]
        windows = np.concatenate([np.arange(len(job.lengths)) for job in jobs])[order]
        n_long = int((lengths > self._plain_tokens).sum())
        begin, budget = 0, self.batch_tokens
        while begin < len(lengths):
            size = max(1, budget // int(lengths[begin]))
            end = min(begin + size, n_long if begin < n_long else len(lengths))  # a pass is plain, or it is not
            batch = list(zip(jobs_of[begin:end].tolist(), windows[begin:end].tolist(), strict=True))
            if self._run_pass(jobs, batch, sums, adapter, budget):
                yield batch
                begin, budget = end, self.batch_tokens
                self._n_passes += 1
                if self._device.type == "cpu" and self._n_passes % _PASSES_KEPT == 0:
                    give_back_memory()
            else:
                if self._device.type == "cuda":  # here, where nothing holds the tensors of the pass that failed
                    torch.cuda.empty_cache()
                budget = max(1, min(budget, int(lengths[begin]) * len(batch)) // 2)
                # A batch that was small already says more about the moment than about what fits.
                self.batch_tokens = min(self.batch_tokens, max(budget, self._plain_tokens))
                _LOG.warning("memory ran out on %s; going on with a batch of %d tokens", self._device, budget)

    def _run_pass(
        self, jobs: Sequence[_Job], batch: list[tuple[int, int]], sums: torch.Tensor, adapter: str | None, budget: int
    ) -> bool:
        """Run one pass and add its sums; False if memory ran out over it, and it can be cut into smaller ones."""
        sequences = []
        for number, window in batch:
            tokens, windows = jobs[number].tokens, jobs[number].windows
            content = tokens.ids[windows.starts[window] : windows.ends[window]]
            sequences.append(self._plan.sequence(content, tokens.prompt_ids))
        try:
            with self._model.adapters.at_work(adapter) if self._model.adapters else nullcontext():
                table, first_rows = self._forward(sequences, budget)
            pieces = [
                (jobs[number].pieces, window, int(row), jobs[number].first_span)
                for (number, window), row in zip(batch, first_rows, strict=True)
            ]
            rows, bags, spans = lay_out_runs(pieces)
            SpanPool.add(sums, table, self._move(rows), self._move(bags), self._move(spans))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            length = max(len(one.ids) for one in sequences)
            if len(batch) == 1 and min(length, budget) <= self._plain_tokens:
                raise ModelError(
                    f"{self._label!r} ran out of memory on {self._device} over one window of {length} tokens; load it "
                    f'with a smaller window_tokens, with dtype="bfloat16", or on another device'
                ) from error
            return False
        return True

    def _forward(self, sequences: Sequence[TokenSequence], budget: int) -> tuple[torch.Tensor, IntArray]:
        """Token embeddings in the model's dtype, shape ``(n_rows, hidden)``, and the first row of each sequence."""
        lengths = np.array([len(one.ids) for one in sequences])
        width = int(lengths.max())
        if self._long_pass and width > self._plain_tokens:
            embeddings = self._long_pass(sequences, width, budget)
        elif self._model.transformer.can_flatten_inputs:
            return self._packed_pass(sequences), np.cumsum(lengths) - lengths
        else:
            ids, mask = pad([one.ids for one in sequences], self._pad_id)
            features = {"input_ids": self._move(ids)}
            if not mask.all():  # without a mask attention takes its fastest way
                features["attention_mask"] = self._move(mask)
            embeddings = self._model.transformer(features)["token_embeddings"]
        return embeddings.reshape(-1, embeddings.shape[-1]), np.arange(len(sequences)) * width

    def _packed_pass(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        """One row of all sequences one after the other, without padding, as FlashAttention takes it."""
        transformer = self._model.transformer
        features = dict(transformer.data_collator([{"input_ids": one.ids.tolist()} for one in sequences]))
        features.pop("labels", None)
        if transformer._flatten_position_offset:
            features["position_ids"] = features["position_ids"] + transformer._flatten_position_offset
        moved = {
            name: value.to(self._device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        embeddings: torch.Tensor = transformer(moved)["token_embeddings"]
        return embeddings[0]

    def _move(self, array: IntArray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type != "cuda":
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _finish(self, sums: torch.Tensor, n_rows: IntArray) -> FloatArray:
        """Means, the modules after the pooling, the cut to a Matryoshka dimension, then unit length."""
        features = {"sentence_embedding": sums / self._move(n_rows)[:, None]}
        for module in self._model.finish:
            features = module(features)
        vectors = features["sentence_embedding"].float()
        if self._plan.layer_norm:
            vectors = functional.layer_norm(vectors, vectors.shape[1:])
        vectors = vectors[:, : self._plan.dims]
        norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        unit = (vectors / norms).cpu().numpy()
        if not np.isfinite(unit).all():  # also where a norm is 0
            dtype = name_of(self._model.transformer.model.dtype)
            raise ModelError(
                f"{self._label!r} in {dtype} on {self._device} gave vectors that are not finite or are zero; load it "
                f'with dtype="float32"'
                + ("" if dtype != "float32" else ", or another copy of it: this one's weights are damaged")
            )
        return np.asarray(unit, dtype=np.float32)

    def _measure_budget(self) -> int:
        """Tokens of a pass that fit the memory of a GPU, from what one short pass takes."""
        n_tokens = min(_PROBE_TOKENS, self._plain_tokens)
        probe = TokenSequence(ids=np.full(n_tokens, self._pad_id + 1), n_prefix=0, n_suffix=0)
        adapters = self._model.adapters
        dearest = adapters.at_work(adapters.names[0]) if adapters else nullcontext()
        with torch.inference_mode(), dearest:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
            table, _ = self._forward([probe], n_tokens)
            del table
            torch.cuda.synchronize(self._device)
            used = torch.cuda.max_memory_allocated(self._device) - before
        free, _ = torch.cuda.mem_get_info(self._device)
        return tokens_that_fit(free, used, n_tokens, least=self._plain_tokens)
