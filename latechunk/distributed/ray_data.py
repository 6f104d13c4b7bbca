"""Embed the documents of a Ray dataset, by actors on the machines of a Ray cluster, each with an encoder of its own.

What a worker that dies costs, as tried with Ray 2.60: by default Ray Data ends the job. With errored blocks allowed it
goes on, but waits without a word and without an end once every actor of its pool is dead. So actors here are restarted
without limit, and their tasks are never tried again: one that kills its worker cannot do so twice. ``embed_dataset_to``
runs strictly first. If a worker dies, it goes on with what is left, passes over what is lost, and embeds that a
document at a time at last, so that one that kills its worker is the only one that fails.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.known import Known
from latechunk.distributed.outcomes import EmbedReport, Outcome, count
from latechunk.distributed.worker import Embedder, Job, Workers, name_of, read_rows, to_documents
from latechunk.embedding import Progress
from latechunk.embedding.stream import explain_twin
from latechunk.errors import LateChunkError, MissingDependencyError, ModelError
from latechunk.printing import how_to_install
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.readers import SourceFile
from latechunk.types import Mode
from latechunk.validation import require_function

if importlib.util.find_spec("ray") is None:
    raise MissingDependencyError(f"Ray is not installed; {how_to_install('ray')}")

import ray
import ray.data

_LOG = logging.getLogger("latechunk")
_FILES_READ = 8  # by a task
_BLOCK_BYTES = 2**20  # of text, a minute's work on a CPU: what a worker gets, and loses if it dies
_DIED = "each worker process that embedded it died; it may need more memory than there is"


def start_ray(address: str | None = None) -> None:
    """Connect to the cluster at an address, that of ``RAY_ADDRESS``, or one on this machine; only errors are told."""
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def read_files(files: Sequence[SourceFile], **options: Any) -> ray.data.Dataset:
    """The documents of files as a dataset, read by the machines of the cluster, which must all see the files.

    Args:
        files: From ``latechunk.readers.find_files``.
        options: Those of ``latechunk.readers.read_documents``.

    Examples:
        >>> dataset = read_files(find_files([Path("docs")], print))  # doctest: +SKIP
    """
    rows = [{"path": str(one.path.absolute()), "name": one.name} for one in files]
    if not ray.is_initialized():
        ray.init()
    dataset = ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // _FILES_READ)).map_batches(
        read_rows,
        batch_size=_FILES_READ,
        batch_format="pyarrow",
        num_cpus=0,  # the workers may have all CPUs, and would wait for what they are to embed
        concurrency=max(2, len(ray.nodes())),
        fn_kwargs={"options": options},
    )
    dataset.context.target_max_block_size = _BLOCK_BYTES
    return dataset


def embed_dataset(
    dataset: ray.data.Dataset,
    *,
    encoder: SpanEncoder | str | None = None,
    chunker: Chunker | str | None = None,
    mode: Mode | None = None,
    late_weight: float | None = None,
    workers: Workers | None = None,
) -> ray.data.Dataset:
    """Embed the documents of a dataset, for ``write_parquet``, ``write_lance`` or a stage of your own.

    Nothing runs until the result is used. ``embed_dataset_to`` writes part files instead, goes on where it was stopped,
    and outlives workers that die. To resume with this function, set a ``ray.data.checkpoint.CheckpointConfig`` with
    ``id_column="id"``.

    Args:
        dataset: With the columns ``text`` and ``id``; all others, and those in ``metadata``, a mapping or JSON, become
            metadata. Rows without an id get a hash of their text.
        encoder: As ``latechunk.embed_documents`` has it. Checkpoints must be on every machine.
        chunker: Likewise.
        mode: Likewise.
        late_weight: Likewise.
        workers: The actors; None for one with one CPU.

    Returns:
        A row for each document, as ``latechunk.distributed.rows`` describes, with ``status`` ("embedded" or "failed")
        and ``reason``; of a document that failed, only these and ``id`` are not null.

    Raises:
        InputError: If a setting is out of range.
        ModelError: If the model cannot be loaded here; on a worker, when the result is used.

    Examples:
        >>> rows = embed_dataset(ray.data.read_parquet("documents"), workers=Workers(n=4))  # doctest: +SKIP
        >>> rows.write_parquet("embedded")  # doctest: +SKIP
    """
    return _map(dataset, Job.make(encoder, chunker, mode, late_weight, workers or Workers()))


def embed_dataset_to(
    dataset: ray.data.Dataset,
    out: str | os.PathLike[str],
    *,
    encoder: SpanEncoder | str | None = None,
    chunker: Chunker | str | None = None,
    mode: Mode | None = None,
    late_weight: float | None = None,
    workers: Workers | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> EmbedReport:
    """Embed the documents of a dataset into a folder of part files, as ``embed_folder`` does it.

    The actors write the files. If one dies, what it held is embedded by others; a document that kills its worker again
    is one that failed.

    Args:
        dataset: As for ``embed_dataset``; it is read again if a worker dies, and must then give the same documents.
        out: The folder, on a file system that all machines see.
        encoder: As for ``embed_dataset``.
        chunker: Likewise.
        mode: Likewise.
        late_weight: Likewise.
        workers: Likewise.
        on_outcome: Called with what became of each document, without its vectors.
        on_progress: Called now and then.

    Raises:
        InputError: If a setting is out of range, or ``out`` is something else.
        IndexMismatchError: If the vectors in ``out`` were made with other settings; the message names them.
        TransferError: If ``out`` lacks a part file that an earlier run wrote.
        IndexBusyError: If another process is writing there.
        ModelError: If the model cannot be loaded here or on a worker, or gives unusable vectors.

    Examples:
        >>> embed_dataset_to(ray.data.read_parquet("documents"), "/shared/embedded")  # doctest: +SKIP
    """
    require_function("on_outcome", on_outcome)
    require_function("on_progress", on_progress)
    job = Job.make(encoder, chunker, mode, late_weight, workers or Workers())
    folder = EmbeddedFolder.prepare(out, job.manifest)
    with folder.writing() as run:
        job = job.within(folder, run)
        tally = _Tally(folder, run, on_outcome, on_progress)
        try:
            if not _run_strictly(dataset, job, tally):
                tally.take(_map(dataset, job, lenient=True))
                for outcome in _embed_alone(dataset, job, tally):
                    tally.add(outcome)
                    folder.write_errors(run, [(outcome.id, outcome.reason)])
            tally.settle_twins()
        except ray.exceptions.RayError as error:
            raise _cause(error) from error
    return EmbedReport(**tally.counts)


class _Tally:
    """Counts outcomes as they come from workers, each document once, however often it is tried."""

    def __init__(
        self,
        folder: EmbeddedFolder,
        run: int,
        on_outcome: Callable[[Outcome], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.done: set[str] = set()
        self._folder, self._run, self._tell, self._advance = folder, run, on_outcome, on_progress
        self._before = Known(folder).ids
        self._sizes: dict[str, tuple[int, int]] = {}
        self._unchanged: set[str] = set()
        self._n_kept: dict[str, int] = {}  # of the rows that this run wrote of an id

    def take(self, summaries: ray.data.Dataset) -> None:
        """Run a job that writes part files."""
        for batch in summaries.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.to_pylist():
                self.add(Outcome(**row))

    def add(self, outcome: Outcome) -> None:
        """Count a document, unless it was; one that a worker wrote before it died counts as embedded."""
        if outcome.id in self.done:
            if outcome.status in ("embedded", "relabelled"):  # again, or another document of this id
                self._n_kept[outcome.id] = int(outcome.id not in self._unchanged)
            return
        if outcome.status == "unchanged" and outcome.id not in self._before:
            if outcome.id not in self._sizes:
                self._sizes = self._folder.sizes(self._run)
            n_chunks, n_tokens = self._sizes[outcome.id]
            outcome = replace(outcome, status="embedded", n_chunks=n_chunks, n_tokens=n_tokens)
        self.done.add(outcome.id)
        if outcome.status == "unchanged":
            self._unchanged.add(outcome.id)
        self.counts += count(outcome)
        if self._advance:
            is_left_out = outcome.status == "failed"
            self._advance(Progress(not is_left_out, outcome.n_tokens, left_out=int(is_left_out)))
        if self._tell:
            self._tell(outcome)

    def settle_twins(self) -> None:
        """Have the second document of an id fail, which no worker sees if the first one is another's."""
        for name in self._folder.drop_twins(self._run, self._n_kept):
            outcome = Outcome("failed", name, reason=explain_twin(name), place=name)
            self._folder.write_errors(self._run, [(name, outcome.reason)])
            self.counts += count(outcome)
            if self._tell:
                self._tell(outcome)


def _run_strictly(dataset: ray.data.Dataset, job: Job, tally: _Tally) -> bool:
    """Run a job; False if a worker or a machine died, on which it ends."""
    try:
        tally.take(_map(dataset, job))
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        _LOG.warning("a worker is gone (%s); going on with what is left", type(error).__name__)
        return False  # and the error with all that it holds, the other workers among it
    return True


def _map(dataset: ray.data.Dataset, job: Job, *, lenient: bool = False, alone: bool = False) -> ray.data.Dataset:
    workers = job.workers
    mapped = dataset.map_batches(
        Embedder,
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(
            size=workers.n, max_tasks_in_flight_per_actor=1 if alone else None
        ),  # what waits for a worker is lost with it
        batch_size=1 if alone else workers.batch_documents,
        batch_format="pyarrow",
        num_cpus=workers.num_cpus,
        num_gpus=workers.num_gpus,
        max_restarts=-1,
        max_task_retries=0,
    )
    if job.folder:  # else the settings are the user's
        mapped.context.max_errored_blocks = -1 if lenient else 0
        mapped.context.enable_progress_bars = False
    return mapped


def _embed_alone(dataset: ray.data.Dataset, job: Job, tally: _Tally) -> Iterator[Outcome]:
    """Embed what is left of a dataset, each document in a block of its own; yields those that kill their workers."""
    rows = (row for batch in dataset.iter_batches(batch_format="pyarrow") for row in batch.to_pylist())
    left = [row for row in rows if name_of(*to_documents([row])) not in tally.done]  # of a few blocks
    if left:
        alone = ray.data.from_items(left, override_num_blocks=len(left))
        tally.take(_map(alone, job, lenient=True, alone=True))
    for (one,) in (list(to_documents([row])) for row in left):
        if name_of(one) not in tally.done:
            yield Outcome.failure(one, _DIED)


def _cause(error: BaseException) -> LateChunkError:
    """The error of ours that ended a worker's task, or one that has its message."""
    seen: BaseException | None = error
    while seen is not None:
        cause = getattr(seen, "cause", None)
        if isinstance(cause, LateChunkError):
            return cause
        seen = cause if isinstance(cause, BaseException) and cause is not seen else seen.__cause__
        if isinstance(seen, LateChunkError):
            return seen
    return ModelError(f"a worker cannot embed: {error}")
