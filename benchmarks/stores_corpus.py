"""What the compared stores are given, and what they must answer: documents in clusters, exact nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latechunk.types import FloatArray, IntArray

CHUNKS_PER_DOCUMENT = 20
N_PARTS = 100  # each document belongs to one, so that a part holds 1 % of all chunks
K = 10
_RARE_PART = N_PARTS  # of one document of three chunks, fewer than a search asks for
_WORDS_PER_CHUNK = 100
_VOCABULARY = 30_000


@dataclass(frozen=True, slots=True)
class Source:
    """A document cut already: its chunks' texts, their unit vectors, shape ``(n_chunks, dims)``, and its metadata."""

    id: str
    texts: Sequence[str]
    vectors: FloatArray
    metadata: Mapping[str, Any]

    @property
    def keys(self) -> list[str]:
        """A name for each chunk."""
        return [f"{self.id}#{number}" for number in range(len(self.texts))]


@dataclass(frozen=True, slots=True)
class Question:
    """A unit vector, and the parts in which to search, None for all."""

    vector: FloatArray
    parts: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a store gave back: name, text and metadata of a chunk."""

    key: str
    text: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents to add first, those to put in the place of some, those to add later, and vectors to search for."""

    sources: Sequence[Source]
    replacements: Sequence[Source]
    additions: Sequence[Source]
    queries: FloatArray


def make_corpus(n_chunks: int, dims: int, n_queries: int, *, n_changes: int) -> Corpus:
    """Make a corpus, always the same.

    Vectors lie around centres, a hundred chunks to each, and queries do as well. Texts are made-up words, as frequent
    as Zipf's law says. The last document is the rare one.
    """
    random = np.random.default_rng(0)
    centres = _unit(random.standard_normal((max(2, n_chunks // 100), dims)))
    words = _vocabulary(random)

    def vectors(n: int) -> FloatArray:
        noise = random.standard_normal((n, dims)) / np.sqrt(dims)
        return _unit(centres[random.integers(len(centres), size=n)] + 0.8 * noise)

    def source(document_id: str, n: int, part: int) -> Source:
        metadata = {"title": f"The document {document_id}", "part": part}
        return Source(document_id, _texts(random, words, n), vectors(n), metadata)

    n_documents = n_chunks // CHUNKS_PER_DOCUMENT
    sources = [source(f"d{n}", CHUNKS_PER_DOCUMENT, n % N_PARTS) for n in range(n_documents)]
    shorter = CHUNKS_PER_DOCUMENT * 3 // 4
    replaced = [n_documents // 20 + number for number in range(n_changes)]
    return Corpus(
        sources=[*sources, source("rare", 3, _RARE_PART)],
        replacements=[source(f"d{n}", shorter, n % N_PARTS) for n in replaced],
        additions=[source(f"new{n}", CHUNKS_PER_DOCUMENT, n % N_PARTS) for n in range(n_changes)],
        queries=vectors(n_queries),
    )


def one_percent(queries: FloatArray) -> list[Question]:
    """Search in one part, another one each time."""
    return [Question(vector, (number % N_PARTS,)) for number, vector in enumerate(queries)]


def ten_percent(queries: FloatArray) -> list[Question]:
    """Search in ten parts, another ten each time."""
    steps = (*range(0, 90, 10), 95)  # with 90 for the last there would be ten choices only
    return [
        Question(vector, tuple((number + step) % N_PARTS for step in steps)) for number, vector in enumerate(queries)
    ]


def same_part(queries: FloatArray) -> list[Question]:
    """Search in one part, always the same."""
    return [Question(vector, (0,)) for vector in queries]


def rare_part(queries: FloatArray) -> list[Question]:
    """Search where there are fewer chunks than a search asks for."""
    return [Question(vector, (_RARE_PART,)) for vector in queries]


def own_vectors(sources: Iterable[Source]) -> list[Question]:
    """Search for every fifth chunk by its own vector."""
    return [Question(vector) for source in sources for vector in source.vectors[::5]]


class State:
    """What a store should hold now, and so what is right."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = {source.id: source for source in sources}
        self._update()

    def put(self, source: Source) -> None:
        """Add a document, or put it in the place of the one of its id."""
        self._sources[source.id] = source
        self._update()

    def remove(self, sources: Iterable[Source]) -> None:
        """Take documents out."""
        for source in sources:
            del self._sources[source.id]
        self._update()

    def judge(self, question: Question, found: Sequence[Found]) -> str:
        """Say what is wrong with an answer, nothing if it is right."""
        places = np.arange(len(self._keys)) if question.parts is None else self._places_in(question.parts)
        cosines = self._vectors[places] @ question.vector
        best = np.sort(cosines)[::-1][:K]
        if len(found) != len(best):
            return f"{len(found)} hits instead of {len(best)}"
        known = [self._place_of.get(one.key) for one in found]
        if len(set(known)) < len(known):
            return "the same chunk twice"
        for one, place in zip(found, known, strict=True):
            if place is None or one.text != self._texts[place]:
                return "a chunk that is gone"
            if any(one.metadata[name] != value for name, value in self._metadata[place].items()):
                return "another chunk's metadata"
        if not np.allclose(self._vectors[known] @ question.vector, best, atol=1e-6):
            return "not the nearest"
        return ""

    def _places_in(self, parts: Sequence[int]) -> IntArray:
        return np.flatnonzero(np.isin(self._parts, parts))

    def _update(self) -> None:
        sources = list(self._sources.values())
        self._keys = [key for source in sources for key in source.keys]
        self._place_of = {key: place for place, key in enumerate(self._keys)}
        self._texts = [text for source in sources for text in source.texts]
        self._metadata = [source.metadata for source in sources for _ in source.texts]
        self._parts = np.array([metadata["part"] for metadata in self._metadata])
        self._vectors = np.concatenate([source.vectors for source in sources])


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _vocabulary(random: np.random.Generator) -> list[str]:
    letters = np.array(list("etaoinshrdlucmfw"))
    lengths = random.integers(2, 10, size=_VOCABULARY)
    return ["".join(random.choice(letters, size=length)) for length in lengths]


def _texts(random: np.random.Generator, words: Sequence[str], n: int) -> list[str]:
    ranks = np.minimum(random.zipf(1.3, size=(n, _WORDS_PER_CHUNK)), len(words)) - 1
    return [" ".join(words[rank] for rank in row) for row in ranks.tolist()]
