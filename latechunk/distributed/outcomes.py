"""Documents to outcomes: embedded, unchanged since an earlier run, or failed; what every engine does with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from latechunk.distributed.known import Known
from latechunk.embedding import Embedding, Progress, embed_documents
from latechunk.embedding.stream import explain_foreign, explain_twin
from latechunk.errors import DocumentError, InputError
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.readers import Problem, SourceFile, read_documents
from latechunk.readers.files import find_place
from latechunk.storage.store import StoredDocument
from latechunk.types import Document, Span

Status: TypeAlias = Literal["embedded", "relabelled", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document.

    Attributes:
        stored: If it has a new row.
        reason: If it failed; ``place`` is then the file and row that it was read from, or its id.
        n_chunks: If it was encoded, as ``n_tokens``.
    """

    status: Status
    id: str
    stored: StoredDocument | None = None
    reason: str = ""
    n_chunks: int = 0
    n_tokens: int = 0
    place: str = ""

    @classmethod
    def failure(cls, document: Document | Problem, reason: str) -> Outcome:
        """What becomes of one that cannot be read or embedded."""
        if isinstance(document, Problem):
            return cls("failed", document.place, reason=reason, place=document.place)
        return cls("failed", document.id, reason=reason, place=find_place(document))


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


def pass_changed(
    documents: Iterable[Document | Problem], known: Known | None, settle: Callable[[Outcome], None]
) -> Iterator[Document]:
    """The documents that are to be encoded; settles the others: unchanged, with new metadata alone, or failures."""
    seen: set[str] = set()
    for document in documents:
        if isinstance(document, Problem):
            settle(Outcome.failure(document, document.reason))
            continue
        if not isinstance(document, Document):
            raise InputError(explain_foreign(document))
        try:
            if document.id in seen:  # the first one may be unchanged
                raise DocumentError(explain_twin(document.id))
            found = known.find(document) if known else None
        except DocumentError as error:
            settle(Outcome.failure(document, str(error)))
            continue
        seen.add(document.id)
        if found is None:
            yield document
        elif found == "unchanged":
            settle(Outcome("unchanged", document.id))
        else:
            settle(Outcome("relabelled", document.id, found))


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

    embedded = embed_documents(
        pass_changed(documents, known, settle),
        encoder=encoder,
        chunker=chunker,
        **embedding.settings,
        on_error=lambda document, error: settle(Outcome.failure(document, str(error))),
        on_progress=on_progress,
    )
    for one in embedded:
        spans = [Span(chunk.start, chunk.end) for chunk in one.chunks]
        stored = StoredDocument(one.document, one.n_tokens, [spans], one.vectors)
        tell(Outcome("embedded", one.document.id, stored, n_chunks=len(spans), n_tokens=one.n_tokens))
