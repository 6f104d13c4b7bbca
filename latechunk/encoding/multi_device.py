"""One encoder on several devices, with a process for each of them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue
from types import TracebackType
from typing import Self

import numpy as np

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError, ModelError
from latechunk.models.device import choose_device
from latechunk.types import FloatArray, PoolingTask, Settings, Tokens, WindowPlan

_GROUPS_PER_DEVICE = 4  # more than one, so that no device waits long for the slowest


class DevicePool:
    """An encoder that spreads documents over devices, one process each. Use it in a ``with`` statement.

    Implements ``latechunk.protocols.SpanEncoder`` with the settings of the encoder it is made of, so an index that
    was made with a pool opens with any encoder of these settings, and the other way round. The encoder itself tokenises
    and encodes queries. Threads may share a pool.

    The processes are spawned, so the program's main module must guard its start.

    Examples:
        >>> pool = DevicePool(encoder, ["cuda:0", "cuda:1"])  # doctest: +SKIP
        >>> with pool, Index.create("large.latechunk", encoder=pool) as large:  # doctest: +SKIP
        ...     large.add(documents)
    """

    def __init__(self, encoder: Encoder, devices: Sequence[str]) -> None:
        """Set the pool up. The first call starts the processes; each of them loads the model from this machine.

        Args:
            encoder: Says what to load.
            devices: Names as torch has them, such as ``["cuda:0", "cuda:1"]``.

        Raises:
            InputError: If there is no device, or torch cannot use one of them here.
        """
        if isinstance(devices, str) or not devices or not all(isinstance(one, str) for one in devices):
            raise InputError(f'devices must be a sequence of names, such as ["cuda:0", "cuda:1"], got {devices!r}')
        self._encoder = encoder
        self._devices = tuple(str(choose_device(device)) for device in devices)
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        waiting = context.SimpleQueue()
        for device in self._devices:
            waiting.put(device)
        self._processes = ProcessPoolExecutor(
            len(self._devices), context, _start_process, (encoder.settings, encoder.load_options, waiting)
        )
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, once they have answered what they were asked."""
        self._is_closed = True
        self._processes.shutdown()

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
        """Read each text on one of the devices; see ``SpanEncoder``. Reports each text when its group is done.

        Raises:
            ModelError: If a process fails or dies, or the model gives unusable vectors.
            InputError: If the pool is closed.
        """
        if self._is_closed:
            raise InputError("this pool of devices is closed; make another")
        groups = _share_out([len(task.tokens) for task in tasks], _GROUPS_PER_DEVICE * len(self._devices))
        results: dict[int, FloatArray] = {}
        futures: dict[Future[list[FloatArray]], list[int]] = {}
        try:
            for group in groups:
                futures[self._processes.submit(_encode, [tasks[number] for number in group])] = group
            for future in as_completed(futures):
                results.update(zip(futures[future], future.result(), strict=True))
                for number in futures[future] if on_progress else ():
                    on_progress(number, len(tasks[number].tokens))  # type: ignore[misc]
        except BrokenProcessPool as error:
            self._is_closed = True
            raise ModelError(
                f"encoding on {', '.join(self._devices)} failed: a process of the pool died, as happens when memory "
                f"runs out. The pool is closed; make another"
            ) from error
        except RuntimeError as error:
            raise ModelError(f"encoding on {', '.join(self._devices)} failed: {error}") from error
        finally:
            for future in futures:
                future.cancel()  # what an error or Ctrl-C left waiting; a finished one stays as it is
        return [results[number] for number in range(len(tasks))]


# What a worker process holds, set by _start_process; empty in the process that made the pool.
_recipe: list[tuple[Settings, Settings]] = []
_loaded: list[Encoder] = []


def _start_process(settings: Settings, options: Settings, waiting: SimpleQueue[str]) -> None:
    """Take one of the devices. The model loads at the first task, so that an error reaches the caller as its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the caller handles it
    _recipe.append((settings, {**options, "device": waiting.get()}))


def _encode(tasks: list[PoolingTask]) -> list[FloatArray]:
    if not _loaded:
        settings, options = _recipe[0]
        _loaded.append(Encoder.from_settings(settings, **options))
    return _loaded[0].encode_spans(tasks)


def _share_out(weights: Sequence[int], n_groups: int) -> list[list[int]]:
    """Part numbered things into groups of about the same weight, heaviest things first; no group is empty."""
    groups: list[list[int]] = [[] for _ in range(min(n_groups, len(weights)))]
    loads = np.zeros(len(groups), dtype=np.int64)
    for number in sorted(range(len(weights)), key=lambda one: -weights[one]):
        lightest = int(loads.argmin())
        groups[lightest].append(number)
        loads[lightest] += max(1, weights[number])
    return groups
