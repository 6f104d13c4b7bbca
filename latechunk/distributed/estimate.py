"""What embedding a corpus would take: documents, tokens, time and bytes, from a measured sample; writes nothing."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from latechunk.chunking.registry import to_chunker
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.known import Known
from latechunk.distributed.local import make_manifest
from latechunk.distributed.outcomes import Outcome, pass_changed
from latechunk.embedding import Embedding, choose_embedding, chunk_documents, embed_chunks
from latechunk.embedding.chunks import blank_error
from latechunk.embedding.stream import Pace, load_encoder, require_documents, take_batches
from latechunk.protocols import Chunker, SpanEncoder
from latechunk.readers import Problem
from latechunk.types import Document, Mode

_SAMPLE = 256  # documents
_CHARACTERS = 100_000  # of each of them
_SECONDS = 10.0
_CHUNK_BYTES = 60  # that a chunk takes in a part file besides its vector


@dataclass(frozen=True, slots=True)
class Estimate:
    """What ``embed_folder`` would do, and takes.

    Attributes:
        n_documents: To be encoded; ``n_unchanged`` are there already, and ``n_failed`` would fail, as blank ones do.
        n_tokens: About as many, as ``n_chunks``, by a sample of up to 256 documents; exact if they are no more.
        tokens_per_second: Measured here on that sample, with this encoder, for about ten seconds.
        hours: Of one such encoder for all tokens.
        n_bytes: Of the part files, about, before their compression.
    """

    n_documents: int
    n_unchanged: int
    n_failed: int
    n_tokens: int
    n_chunks: int
    tokens_per_second: float
    hours: float
    n_bytes: int


def estimate_embedding(
    documents: Iterable[Document | Problem],
    out: str | os.PathLike[str],
    *,
    encoder: SpanEncoder | str | None = None,
    chunker: Chunker | str | None = None,
    mode: Mode | None = None,
    late_weight: float | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Estimate:
    """Say what ``embed_folder`` with the same arguments would take. Reads all documents, and encodes some of them.

    ``on_outcome`` is called with what would become of each document that would not be encoded.

    Raises:
        InputError: If ``out`` is something else.
        IndexMismatchError: If the vectors in ``out`` were made with other settings.
        ModelError: If the model cannot be loaded.

    Examples:
        >>> estimate_embedding(documents, "not-yet").n_documents
        2
    """
    require_documents("estimate_embedding", documents)
    cut, loaded = to_chunker(chunker), load_encoder(encoder)
    embedding = choose_embedding(loaded, mode, late_weight)
    folder = EmbeddedFolder.find(out, make_manifest(loaded, cut, embedding))
    known = Known(folder) if folder else None
    sample: list[Document] = []
    draw = random.Random(0)  # noqa: S311  a sample, no secret
    n_documents = n_characters = n_bytes = 0
    counts: Counter[str] = Counter()

    def settle(outcome: Outcome) -> None:
        counts[outcome.status] += 1
        if on_outcome:
            on_outcome(outcome)

    for document in pass_changed(documents, known, settle):
        if not document.text.strip():
            settle(Outcome.failure(document, str(blank_error(document))))
            continue
        n_documents += 1
        n_characters += len(document.text)
        n_bytes += len(document.text.encode())
        place = n_documents - 1 if len(sample) < _SAMPLE else draw.randrange(n_documents)
        if place < _SAMPLE:  # so each document is in the sample with the same chance
            sample[place : place + 1] = [Document(document.id, document.text[:_CHARACTERS], document.metadata)]
    measured = _measure(sample, loaded, cut, embedding)
    share = n_characters / max(1, sum(len(one.text) for one in sample))
    n_tokens, n_chunks = round(measured.n_tokens * share), round(measured.n_chunks * share)
    return Estimate(
        n_documents,
        counts["unchanged"] + counts["relabelled"],
        counts["failed"],
        n_tokens,
        n_chunks,
        tokens_per_second=round(measured.tokens_per_second, 1),
        hours=n_tokens / max(measured.tokens_per_second, 1e-9) / 3600 if n_tokens else 0.0,
        n_bytes=n_bytes + n_chunks * (4 * loaded.settings["dims"] + _CHUNK_BYTES),
    )


@dataclass(slots=True)
class _Measured:
    n_tokens: int = 0
    n_chunks: int = 0
    n_encoded: int = 0  # tokens
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.n_encoded / self.seconds if self.seconds else 0.0


def _measure(sample: list[Document], encoder: SpanEncoder, chunker: Chunker, embedding: Embedding) -> _Measured:
    """Cut all of a sample, and encode of it what ten seconds allow."""
    measured = _Measured()
    for batch in take_batches(sample, Pace()):
        chunked = chunk_documents(encoder, [chunker], embedding, batch.documents, lambda *_: None)
        n_tokens = sum(len(one.tokens) for one in chunked)
        measured.n_tokens += n_tokens
        measured.n_chunks += sum(len(one.spans) for one in chunked)
        if chunked and measured.seconds < _SECONDS:
            begin = time.perf_counter()
            embed_chunks(encoder, embedding, chunked)
            measured.seconds += time.perf_counter() - begin
            measured.n_encoded += n_tokens
    return measured
