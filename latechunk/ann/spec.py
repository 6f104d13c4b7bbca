"""What the user asks for (``IndexSpec``), and the FAISS index that this means for a number of vectors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from latechunk.errors import InputError

EXACT = "Flat"
AUTO_IVF_FROM = 50_000
"""From how many vectors on ``auto`` means ``ivf``.

An exact search of 50,000 vectors of 384 numbers takes 6 ms on one core (12 ms for 100,000), which is what encoding the
query takes; up to there an approximate one would save nothing that anybody notices.
"""
MIN_TRAINED = 256
"""Fewer vectors than this are always searched exactly: there is nothing to learn from them, and nothing to gain."""

_MAX_LISTS = 65_536  # the centroids of 65,536 lists of 1,024 numbers take 268 MB, and all are read for each query
_MAX_LINKS = 128
_PER_LIST = 39  # FAISS's own least number of training vectors for each centroid of k-means

_CODE = r"(?:Flat|SQ(?:4|6|8|fp16|bf16)|RaBitQ[2-8]?)"
_PQ = r"PQ(?P<pieces>\d{1,4})(?:x(?P<bits>[4-9]|1[0-2]))?"
_TRANSFORM = r"(?:(?:OPQ\d{1,4}(?:_\d{1,4})?|PCAR?\d{1,4}|RR\d{1,4}),)?"
_FACTORY = re.compile(
    rf"{_TRANSFORM}(?:IVF(?P<lists>\d{{1,6}}),(?:{_CODE}|{_PQ})"
    rf"|HNSW(?P<links>\d{{1,3}})(?:[,_](?:Flat|SQ(?:4|6|8|fp16|bf16)))?"
    rf"|{_CODE})",
    re.ASCII,
)
_ACCEPTED = (
    'accepted are "auto", "flat", "ivf", "hnsw", and these FAISS factory strings: IVFn,CODE with n lists of 1 to '
    f"{_MAX_LISTS}; HNSWm, HNSWm,SQ8 and the like with m links of 2 to {_MAX_LINKS}; or CODE alone; where CODE is "
    "Flat, SQ4, SQ6, SQ8, SQfp16, SQbf16, RaBitQ, RaBitQ2 to RaBitQ8 or, after IVF, PQm or PQmx4 to PQmx12; with "
    "OPQm, PCAd, PCARd or RRd in front where wanted. No refinement need be named: hits are always scored again with "
    "the whole vectors"
)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """How vectors are searched.

    Attributes:
        kind: ``"flat"`` compares with every vector; ``"ivf"`` groups them and looks into the nearest groups; ``"hnsw"``
            walks a graph of neighbours; ``"auto"`` is flat for few vectors and ivf for many. Or a FAISS factory string
            for inner product, such as ``"IVF1024,RaBitQ"``, ``"HNSW32_SQ8"`` or ``"IVF4096,PQ48"``. Until there are
            enough vectors to train it, every kind is flat.
        first_pass_dims: Let FAISS hold only the first so many numbers of each vector, for models trained for that
            (Matryoshka); hits are scored again with all of them. None for all.

    Raises:
        InputError: If ``kind`` is none that is accepted, or ``first_pass_dims`` is no length.
    """

    kind: str = "auto"
    first_pass_dims: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not (self.kind in _NAMES or is_factory(self.kind)):
            raise InputError(f"there is no kind of vector index {self.kind!r:.80}: {_ACCEPTED}")
        dims = self.first_pass_dims
        if dims is not None and (isinstance(dims, bool) or not isinstance(dims, int) or dims < 1):
            raise InputError(f"first_pass_dims must be a whole number of at least 1, or None, got {dims!r:.80}")

    @property
    def settings(self) -> dict[str, str | int | None]:
        """The same by the names under which an index records it."""
        return {"vectors": self.kind, "first_pass_dims": self.first_pass_dims}

    def faiss_spec(self, n: int, dims: int) -> FaissSpec:
        """What to build for ``n`` vectors of ``dims`` numbers.

        Raises:
            InputError: If ``first_pass_dims`` is more than there are.
        """
        held = self.first_pass_dims or dims
        if held > dims:
            raise InputError(
                f"first_pass_dims is {held}, and the vectors of this index have {dims} numbers: give at most that"
            )
        spec = FaissSpec(self._factory(n), held)
        return spec if n >= spec.min_training else FaissSpec(EXACT, dims)

    def _factory(self, n: int) -> str:
        kind = self.kind
        if kind == "auto":
            kind = "ivf" if n >= AUTO_IVF_FROM else "flat"
        if kind == "ivf":
            # The rule of FAISS's guidelines, 4 sqrt(n), as far as each list has what it takes to train it.
            return f"IVF{max(1, min(round(4 * math.sqrt(n)), n // _PER_LIST, _MAX_LISTS))},SQ8"
        return {"flat": EXACT, "hnsw": "HNSW32,SQ8"}.get(kind, kind)


@dataclass(frozen=True, slots=True)
class FaissSpec:
    """A FAISS factory string, and how many numbers of each vector it is to hold."""

    factory: str
    dims: int

    def is_exact(self, dims: int) -> bool:
        """Whether it holds vectors of ``dims`` numbers whole."""
        return self.factory == EXACT and self.dims == dims

    @property
    def n_lists(self) -> int:
        """Number of groups, 0 if there are none."""
        found = _FACTORY.fullmatch(self.factory)
        return int(found["lists"] or 0) if found else 0

    @property
    def min_training(self) -> int:
        """How many vectors it takes to train it."""
        found = _FACTORY.fullmatch(self.factory)
        n_codewords = 2 ** int(found["bits"] or 8) if found and found["pieces"] else 0
        return max(MIN_TRAINED, 4 * self.n_lists, 4 * n_codewords)

    @property
    def training_size(self) -> int:
        """How many vectors are wanted to train it well."""
        return max(20_000, 2 * self.min_training, _PER_LIST * self.n_lists)


_NAMES = ("auto", "flat", "ivf", "hnsw")


def is_factory(text: str) -> bool:
    """Whether a text is one of the factory strings that are accepted. FAISS itself would try to allocate any number."""
    found = _FACTORY.fullmatch(text)
    if found is None:
        return False
    n_lists, n_links = found["lists"], found["links"]
    return (n_lists is None or 1 <= int(n_lists) <= _MAX_LISTS) and (n_links is None or 2 <= int(n_links) <= _MAX_LINKS)
