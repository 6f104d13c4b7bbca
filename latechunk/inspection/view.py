"""What the page of a document shows for a question: scores, ranks, context shifts, window seams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from latechunk.chunking.fixed import FixedSpans
from latechunk.chunking.outline import heading_title
from latechunk.embedding import Embedding, chunk_documents, context_shifts, embed_chunks
from latechunk.errors import DocumentError, InputError, QueryError, SpanError
from latechunk.index import Index
from latechunk.protocols import ExposesWindows
from latechunk.storage.store import StoredDocument
from latechunk.types import Document, FloatArray, IntArray, Mode, Span, WindowPlan, require_text

_ORDER: tuple[Mode, ...] = ("late", "naive", "blend")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of making the chunks' vectors, and what the question makes of them.

    Attributes:
        scores: Cosine of each chunk's vector with the question's, in the order of the chunks.
        ranks: Place of each chunk among those of the document, 1 for the best score; the earlier chunk first on a tie.
    """

    name: Mode
    scores: tuple[float, ...]
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A document and a question, and what the document's chunks score for it.

    Attributes:
        spans: The document's chunks as the index has them, in order of their starts; may overlap, may leave gaps.
        n_tokens: Content tokens of each chunk.
        shifts: Context shift of each chunk: 1 less the cosine of its late with its naive vector, in [0, 2]; None
            where these were not compared.
        arms: That of the index; where vectors are compared late, naive, and blend where the index blends.
        mode: Which of them the index searches by.
        late_weight: Share of the late vector in a blend; None where the index does not blend.
        seams: First character of each window but the first, where ownership of tokens passes to it; None if the
            encoder does not say how it reads a document.
        gold: Where the answer is known to stand, or None.
        citations: How each chunk is cited; see ``latechunk.Chunk.citation``.
        pages: First character and citation of each page that holds text.
        headings: First character, level and title of each heading.
    """

    question: str
    document_id: str
    text: str
    spans: tuple[Span, ...]
    n_tokens: tuple[int, ...]
    shifts: tuple[float, ...] | None
    arms: tuple[Arm, ...]
    mode: Mode
    late_weight: float | None
    seams: tuple[int, ...] | None
    gold: Span | None
    model: str
    citations: tuple[str, ...] = ()
    pages: tuple[tuple[int, str], ...] = ()
    headings: tuple[tuple[int, int, str], ...] = ()


def inspect(
    index: Index,
    question: str,
    *,
    document_id: str | None = None,
    gold: Span | None = None,
    compare: bool = False,
) -> View:
    """Score all chunks of one document for a question, by the vectors that the index has stored.

    The document is tokenised, to count tokens and to find windows, and not encoded unless ``compare`` asks for vectors
    that are not stored.

    Args:
        index: Where the document is.
        question: What is asked of it.
        document_id: None for the document that the best hit lies in.
        gold: Where the answer is known to stand.
        compare: Score late and naive vectors, too. Those that are not stored are made now, which takes about as long as
            adding the document did.

    Raises:
        InputError: If the index is empty, or has no document of this id.
        QueryError: If the question holds no token.
        SpanError: If ``gold`` reaches beyond the document's end.
        DocumentError: If a chunk cannot be read alone, which ``compare`` does.
        ModelError: If the model is not on this machine or gives unusable vectors.
        IndexDamagedError: If the document is no longer what was stored.
    """
    require_text(question, "the question", QueryError)
    if not question.strip():
        raise QueryError(f"the question must hold at least one word, got {question!r:.80}")
    stored = _find_document(index, question, document_id)
    document, spans = stored.document, stored.chunkings[0]
    if gold and gold.end > len(document.text):
        raise SpanError(
            f"the gold span [{gold.start}, {gold.end}) must lie in document {document.id!r}, which has "
            f"{len(document.text)} characters (Unicode code points): count from its start, or name another document"
        )
    encoder, recorded = index.encoder, index.manifest.embedding
    reading = Embedding("blend" if compare else "late")  # whether chunks are tokenised alone, too
    (cut,) = chunk_documents(encoder, [FixedSpans({document.id: spans})], reading, [document], _raise)
    vectors: dict[Mode, FloatArray] = {}
    for mode in _ORDER:
        if mode == recorded.mode:
            vectors[mode] = stored.vectors[: len(spans)]
        elif compare and mode != "blend":
            (vectors[mode],) = embed_chunks(encoder, Embedding(mode), [cut])
    query = np.asarray(encoder.encode_query(question), dtype=np.float32)
    windows = encoder.windows(cut.tokens) if isinstance(encoder, ExposesWindows) else None
    return View(
        question=question,
        document_id=document.id,
        text=document.text,
        spans=tuple(spans),
        n_tokens=tuple((cut.ranges[:, 1] - cut.ranges[:, 0]).tolist()),
        shifts=tuple(context_shifts(vectors["late"], vectors["naive"]).tolist()) if compare else None,
        arms=tuple(make_arm(name, matrix @ query) for name, matrix in vectors.items()),
        mode=recorded.mode,
        late_weight=recorded.late_weight if recorded.mode == "blend" else None,
        seams=seams_in_text(windows, cut.tokens.offsets) if windows else None,
        gold=gold,
        model=str(encoder.settings.get("model", "")),
        citations=tuple(chunk.citation for chunk in index.chunks(document.id)),
        pages=tuple(
            (page.start, f"p. {number + 1 if page.label is None else page.label}")
            for number, page in enumerate(document.pages)
            if page.start < page.end
        ),
        headings=tuple(
            (start, block.level, heading_title(document.text, block))
            for start, block in {one.start: one for one in document.outline or () if one.kind == "heading"}.items()
        ),
    )


def make_arm(name: Mode, scores: FloatArray) -> Arm:
    """Rank scores, shape ``(n_chunks,)``; the earlier chunk comes first on a tie."""
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return Arm(name, tuple(scores.tolist()), tuple(ranks.tolist()))


def seams_in_text(windows: WindowPlan, offsets: IntArray) -> tuple[int, ...]:
    """First character that each window but the first owns; ``offsets`` of tokens have shape ``(n_tokens, 2)``."""
    return tuple(offsets[windows.seams[1:-1], 0].tolist())


def _find_document(index: Index, question: str, document_id: str | None) -> StoredDocument:
    if not len(index):
        raise InputError(f"inspecting needs a document, and the index at {index.path} holds none: add some first")
    if document_id is None:
        (best,) = index.search(question, k=1)
        document_id = best.chunk.document_id
    stored = index.stored(document_id)
    if stored is None:
        raise InputError(
            f"the index at {index.path} has no document {document_id!r}: pass one of its {len(index)} ids, which "
            f"Index.ids() lists and search prints, or none to take the document of the best hit"
        )
    return stored


def _raise(_: Document, error: DocumentError) -> NoReturn:
    error.add_note("to compare late with naive vectors, each chunk is read alone, too; leave compare out")
    raise error
