"""One encoder on several devices: a process for each, started and fed by sentence-transformers' own machinery."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError, LateChunkError, ModelError
from latechunk.models.device import choose_device
from latechunk.types import FloatArray, PoolingTask, Settings, Tokens, WindowPlan

_GROUPS_PER_DEVICE = 4  # more than one, so that no device waits long for the slowest


class DevicePool:
    """An encoder that spreads documents over devices, one process each. Use it in a ``with`` statement.

    Implements :class:`latechunk.protocols.SpanEncoder` with the settings of the encoder it is made of, so that an index
    may be made with it and opened with any other, and the other way round. Queries are encoded by the encoder itself.
    Threads may share a pool, and take turns.
    As with all processes that Python spawns, the program's main module must guard its start with
    ``if __name__ == "__main__":``.
    """

    def __init__(self, encoder: Encoder, devices: Sequence[str]) -> None:
        """Start the processes, each of which loads the model from this machine.

        Args:
            encoder: Says what to load; also tokenises and encodes queries.
            devices: Names as torch has them, such as ``["cuda:0", "cuda:1"]``.

        Raises:
            InputError: If there is no device, or one of them is not a name that torch can use here.
        """
        if isinstance(devices, str) or not devices or not all(isinstance(one, str) for one in devices):
            raise InputError(f'devices must be a sequence of names, such as ["cuda:0", "cuda:1"], got {devices!r}')
        self._encoder = encoder
        self._devices = tuple(str(choose_device(device)) for device in devices)
        runtime = encoder.runtime
        self._host = _Worker(dict(encoder.settings), str(runtime["dtype"]), str(runtime["attention"]))
        self._lock = threading.Lock()
        self._pool: Any = self._host.start_multi_process_pool(list(self._devices))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, once they have answered what they were asked."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._pool is not None:
            self._host.stop_multi_process_pool(self._pool)
            self._pool = None

    @property
    def settings(self) -> Settings:
        """Those of the encoder."""
        return self._encoder.settings

    @property
    def runtime(self) -> Settings:
        """How it computes here, as JSON."""
        return {**self._encoder.runtime, "device": ", ".join(self._devices)}

    @property
    def recommended_embedding(self) -> Settings:
        """How chunk vectors are best made with it."""
        return self._encoder.recommended_embedding

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, in order."""
        return self._encoder.tokenize(texts)

    def windows(self, tokens: Tokens) -> WindowPlan:
        """The windows in which a document of these tokens is read."""
        return self._encoder.windows(tokens)

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query to a unit vector, shape ``(dims,)``, on the encoder's own device."""
        return self._encoder.encode_query(text)

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read each text on one of the devices; see ``SpanEncoder``. Reports progress at the end.

        Raises:
            ModelError: If a process fails or dies, or the model gives unusable vectors.
            InputError: If the pool is closed.
        """
        groups = _share_out([len(task.tokens) for task in tasks], _GROUPS_PER_DEVICE * len(self._devices))
        with self._lock:
            answers = self._ask([[tasks[number] for number in group] for group in groups])
        results: dict[int, FloatArray] = {}
        for group, vectors in zip(groups, answers, strict=True):
            results.update(zip(group, vectors, strict=True))
        if on_progress:
            for number, task in enumerate(tasks):
                on_progress(number, len(task.tokens))
        return [results[number] for number in range(len(tasks))]

    def _ask(self, groups: list[list[PoolingTask]]) -> list[list[FloatArray]]:
        """Have the processes answer; a call that did not end leaves answers behind, so the pool ends with it."""
        if self._pool is None:
            raise InputError("this pool of devices is closed, or a call of it did not end; make another")
        finished = False
        try:
            answers: Any = self._host._multi_process(groups, show_progress_bar=False, pool=self._pool, chunk_size=1)
            finished = True
        except RuntimeError as error:
            raise ModelError(
                f"encoding on {', '.join(self._devices)} failed: {error}. The pool is closed; make another"
            ) from error
        finally:
            if not finished:
                self._stop()
        whole = []
        for answer in answers:
            if isinstance(answer, LateChunkError):
                raise answer
            whole.append(answer)
        return whole


class _Worker(SentenceTransformer):
    """What sentence-transformers sends to each process: not weights, but what to load there."""

    def __init__(self, settings: dict[str, Any], dtype: str, attention: str) -> None:
        super().__init__(modules=[torch.nn.Identity()], device="cpu")
        self._latechunk_settings = settings
        self._latechunk_options: dict[str, Any] = {"dtype": dtype, "attention": attention}
        self._latechunk_encoder: Encoder | None = None

    def _inference(self, inputs: list[Any], **options: Any) -> list[Any]:
        """Vectors of each group; an error of ours is an answer too, and no line on the user's terminal."""
        try:
            if self._latechunk_encoder is None:
                self._latechunk_encoder = Encoder.from_settings(
                    self._latechunk_settings, device=str(options["device"]), **self._latechunk_options
                )
            return [self._latechunk_encoder.encode_spans(tasks) for tasks in inputs]
        except LateChunkError as error:
            return [error]


def _share_out(weights: Sequence[int], n_groups: int) -> list[list[int]]:
    """Part numbered things into groups of about the same weight, heaviest things first; no group is empty."""
    groups: list[list[int]] = [[] for _ in range(min(n_groups, len(weights)))]
    loads = np.zeros(len(groups), dtype=np.int64)
    for number in sorted(range(len(weights)), key=lambda one: -weights[one]):
        lightest = int(loads.argmin())
        groups[lightest].append(number)
        loads[lightest] += max(1, weights[number])
    return groups
