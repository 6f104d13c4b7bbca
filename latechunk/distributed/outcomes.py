"""Documents to outcomes: embedded, unchanged since an earlier run, or failed; what every engine does with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from latechunk.distributed.folder import Known
from latechunk.embedding import Embedding, Progress, embed_documents
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.readers import Problem, SourceFile, read_documents
from latechunk.storage.store import StoredDocument
from latechunk.types import Document, Span

Status: TypeAlias = Literal["embedded", "relabelled", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document: ``stored`` if it has a new row, ``reason`` if it failed; the counts if encoded."""

    status: Status
    id: str
    stored: StoredDocument | None = None
    reason: str = ""
    n_chunks: int = 0
    n_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What ``embed_folder`` did: numbers of documents, and of chunks and tokens encoded for them.

    Attributes:
        n_embedded: Documents that were encoded.
        n_relabelled: Documents of which only metadata or pages were new.
        n_unchanged: Documents that were there already.
        n_failed: Documents of which the folder's ``errors`` files have the reason.
    """

    n_embedded: int = 0
    n_relabelled: int = 0
    n_unchanged: int = 0
    n_failed: int = 0
    n_chunks: int = 0
    n_tokens: int = 0


def count(outcome: Outcome) -> Counter[str]:
    """An outcome, by the names of ``EmbedReport``."""
    return Counter({f"n_{outcome.status}": 1, "n_chunks": outcome.n_chunks, "n_tokens": outcome.n_tokens})


def read_all(
    files: Sequence[SourceFile],
    on_note: Callable[[str, str], None] = lambda place, what: None,  # noqa: ARG005
    *,
    encoding: str | None = None,
    rows: bool = False,
    password: str | None = None,
) -> Iterator[Document | Problem]:
    """What ``latechunk.readers.read_documents``, whose arguments these are, gives, and each problem in its place.

    Examples:
        >>> from latechunk.readers import find_files
        >>> list(read_all(find_files([], print)))
        []
    """
    options: dict[str, Any] = {"encoding": encoding, "rows": rows, "password": password}
    problems: list[Problem] = []
    for document in read_documents(files, problems.append, on_note, **options):
        yield from problems
        problems.clear()
        yield document
    yield from problems


def embed(
    documents: Iterable[Document | Problem],
    encoder: SpanEncoder,
    chunker: Chunker,
    embedding: Embedding,
    known: Known | None,
    tell: Callable[[Outcome], None],
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Embed what is not known, and tell what becomes of each document, in this thread."""

    def settle(outcome: Outcome) -> None:
        tell(outcome)
        if on_progress:
            on_progress(Progress(0, 0, left_out=1) if outcome.status == "failed" else Progress(1, 0))

    def changed() -> Iterator[Document]:
        for document in documents:
            if isinstance(document, Problem):
                settle(Outcome("failed", document.place, reason=document.reason))
                continue
            found = known.find(document) if known else None
            if found is None:
                yield document
            elif found == "unchanged":
                settle(Outcome("unchanged", document.id))
            else:
                settle(Outcome("relabelled", document.id, found))

    embedded = embed_documents(
        changed(),
        encoder=encoder,
        chunker=chunker,
        **embedding.settings,
        on_error=lambda document, error: settle(Outcome("failed", document.id, reason=str(error))),
        on_progress=on_progress,
    )
    for one in embedded:
        spans = [Span(chunk.start, chunk.end) for chunk in one.chunks]
        stored = StoredDocument(one.document, one.n_tokens, [spans], one.vectors)
        tell(Outcome("embedded", one.document.id, stored, n_chunks=len(spans), n_tokens=one.n_tokens))
