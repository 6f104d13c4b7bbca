"""What a worker of a Ray cluster does: rows of documents to rows of what became of them. Imports no Ray itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as arrow

from latechunk.chunking.registry import to_chunker
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.known import Known
from latechunk.distributed.local import make_manifest
from latechunk.distributed.outcomes import Outcome, embed, read_all
from latechunk.distributed.rows import schema, to_table
from latechunk.embedding import Embedding, choose_embedding
from latechunk.embedding.stream import load_encoder
from latechunk.errors import InputError, ModelError
from latechunk.manifest import IndexManifest
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.readers import Problem, SourceFile
from latechunk.readers.pages import pack_metadata
from latechunk.readers.rows import line_document
from latechunk.types import Document, Mode, Settings
from latechunk.types.batches import in_batches

if TYPE_CHECKING:
    from latechunk.models.device import Dtype

PROBLEM = "latechunk_problem"
"""The column of the reason where a row is what could not be read."""
_GROUP_CHARACTERS = 400_000  # that are embedded together, and of which a part file is made
_SUMMARY = arrow.schema(
    [(name, arrow.string()) for name in ("id", "status", "reason", "place")]
    + [(name, arrow.int64()) for name in ("n_chunks", "n_tokens")]
)


@dataclass(frozen=True, slots=True)
class Workers:
    """The actors that embed, each with an encoder.

    Attributes:
        n: How many.
        num_cpus: CPUs of each, of which its encoder has as many threads. Leave at least one of the cluster's for what
            reads the dataset, unless ``read_files`` made it, whose tasks ask for none.
        num_gpus: GPUs of each.
        device: Where their encoders run; ``"auto"`` is the GPU where they have one.
        dtype: What they compute in.
        batch_documents: Rows that one gets at a time; what it holds is lost if it dies.
    """

    n: int = 1
    num_cpus: float = 1
    num_gpus: float = 0
    device: str = "auto"
    dtype: Dtype = "auto"
    batch_documents: int = 64

    def __post_init__(self) -> None:
        if self.n < 1 or self.batch_documents < 1 or self.num_cpus < 0 or self.num_gpus < 0:
            raise InputError(f"n and batch_documents must be at least 1, num_cpus and num_gpus at least 0, got {self}")


@dataclass(frozen=True, slots=True)
class Job:
    """What the workers are told: how to embed, and where to write, if anywhere."""

    load: Callable[[], SpanEncoder]
    chunker: Chunker
    embedding: Embedding
    manifest: IndexManifest
    workers: Workers
    folder: Path | None = None
    run: int = 0

    @classmethod
    def make(
        cls,
        encoder: SpanEncoder | str | None,
        chunker: Chunker | str | None,
        mode: Mode | None,
        late_weight: float | None,
        workers: Workers,
    ) -> Job:
        """The job of these arguments of ``embed_dataset``."""
        cut, loaded = to_chunker(chunker), load_encoder(encoder)
        embedding = choose_embedding(loaded, mode, late_weight)
        load: Callable[[], SpanEncoder] = partial(_itself, loaded)
        if type(loaded).__module__ == "latechunk.encoding.encoder":  # which loads torch, and a user's own may not need
            load = partial(_load, loaded.settings, workers.device, workers.dtype)
        return cls(load, cut, embedding, make_manifest(loaded, cut, embedding), workers)

    def within(self, folder: EmbeddedFolder, run: int) -> Job:
        """The same, whose results go into part files."""
        return replace(self, folder=folder.path, run=run)


def _itself(encoder: SpanEncoder) -> SpanEncoder:
    return encoder


def _load(settings: Settings, device: str, dtype: Dtype) -> SpanEncoder:
    """Our encoder on the device of the worker, where the driver may have none."""
    from latechunk.encoding.encoder import Encoder

    return Encoder.from_settings(settings, device=device, dtype=dtype)


class Embedder:
    """What an actor runs: it turns rows of documents into rows of what became of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._encoder = job.load()
        made = make_manifest(self._encoder, job.chunker, job.embedding)
        if differing := job.manifest.differences(made):
            raise ModelError(f"the model on this machine is not the driver's: {'; '.join(differing)}")
        self._folder = EmbeddedFolder(job.folder, job.manifest) if job.folder else None
        self._known = Known(self._folder) if self._folder else None

    def __call__(self, rows: arrow.Table) -> Iterator[arrow.Table]:
        """Embed documents, group by group, and write them, if the job says where; yields what became of them."""
        for documents in in_batches(to_documents(rows.to_pylist()), _count_characters, _GROUP_CHARACTERS):
            outcomes: list[Outcome] = []
            job = self._job
            embed(documents, self._encoder, job.chunker, job.embedding, self._known, outcomes.append)
            yield self._deliver(outcomes)

    def _deliver(self, outcomes: Sequence[Outcome]) -> arrow.Table:
        manifest = self._job.manifest
        stored = [one.stored for one in outcomes if one.stored]
        if self._folder is None:
            return _to_rows(outcomes, manifest.dims, manifest.fingerprint)
        if stored:
            self._folder.write_part(self._job.run, to_table(stored, manifest.dims, manifest.fingerprint))
        failed = [(one.id, one.reason) for one in outcomes if one.status == "failed"]
        if failed:
            self._folder.write_errors(self._job.run, failed)
        rows = [{name: getattr(one, name) for name in _SUMMARY.names} for one in outcomes]
        return arrow.Table.from_pylist(rows, schema=_SUMMARY)


def read_rows(files: arrow.Table, options: Mapping[str, Any]) -> Iterator[arrow.Table]:
    """Read files, whose ``path`` and ``name`` are given, into rows as ``to_documents`` takes them."""
    columns = arrow.schema([(name, arrow.large_string()) for name in ("id", "text", "metadata", PROBLEM)])
    sources = [SourceFile(Path(one["path"]), one["name"]) for one in files.to_pylist()]
    yield columns.empty_table()
    for one in read_all(sources, **options):
        if isinstance(one, Problem):
            row = {"id": one.place, PROBLEM: one.reason}
        else:
            row = {"id": one.id, "text": one.text, "metadata": json.dumps(pack_metadata(one))}
        yield arrow.Table.from_pylist([row], schema=columns)


def to_documents(rows: Iterable[dict[str, Any]]) -> Iterator[Document | Problem]:
    """The document of each row, or why it is none."""
    for row in rows:
        fields = dict(row)
        problem = fields.pop(PROBLEM, None)
        if problem is not None:
            yield Problem(fields["id"], problem)
            continue
        try:
            metadata = fields.pop("metadata", None)
            if metadata is not None:
                fields["metadata"] = json.loads(metadata) if isinstance(metadata, str) else metadata
            yield line_document(fields, lambda _: None)
        except ValueError as error:
            yield Problem(str(fields.get("id")), str(error))


def name_of(document: Document | Problem) -> str:
    """Its id, or the place of what could not be read."""
    return document.place if isinstance(document, Problem) else document.id


def _count_characters(one: Document | Problem) -> int:
    return 0 if isinstance(one, Problem) else len(one.text)


def _to_rows(outcomes: Sequence[Outcome], dims: int, fingerprint: str) -> arrow.Table:
    """Rows of documents, with ``status`` and ``reason``; of those that failed all else but the id is null."""
    stored = [one for one in outcomes if one.stored]
    failed = [one for one in outcomes if not one.stored]
    table = to_table([one.stored for one in stored if one.stored], dims, fingerprint)
    nothing = arrow.Table.from_pylist([{"id": one.id} for one in failed], schema=schema(dims))
    told = {name: [getattr(one, name) for one in (*stored, *failed)] for name in ("status", "reason")}
    whole = arrow.concat_tables([table, nothing])
    for name, values in told.items():
        whole = whole.append_column(name, arrow.array(values, arrow.string()))
    return whole
