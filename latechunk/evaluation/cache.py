"""Keep finished rankings in a folder, so that an evaluation that is run again computes only what is missing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latechunk.embedding import choose_embedding
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet
from latechunk.evaluation.ranking import NOTHING, SCOPES, Ranking, Rankings, Scope
from latechunk.manifest import package_versions
from latechunk.protocols import ReportsRuntime, SpanEncoder
from latechunk.search.options import SearchOptions
from latechunk.types import Settings


@dataclass(frozen=True, slots=True)
class CacheKey:
    """All that decides the rankings of one set with one encoder and chunk size; names their files.

    ``chunker`` tells what cuts the documents from others where it is not ``chunker_for``.
    """

    evaluation_set: EvaluationSet
    encoder: SpanEncoder
    max_tokens: int
    depth: int
    seed: int
    chunker: Settings | None = None

    def path(self, work: Path, part: str) -> Path:
        """The file of an arm, or of another part."""
        settings = {name: value for name, value in self.encoder.settings.items() if name not in ("model", "revision")}
        made_by = {name: value for name, value in package_versions().items() if name in ("latechunk", "sentencex")}
        dtype = self.encoder.runtime.get("dtype") if isinstance(self.encoder, ReportsRuntime) else None
        embedding = choose_embedding(self.encoder, None, None).settings
        search = repr(SearchOptions())  # what an arm that searches does where it says nothing
        run = [self.max_tokens, self.depth, self.seed, dtype, made_by, part, embedding, search, self.chunker]
        decisive = json.dumps([self.evaluation_set.fingerprint, settings, *run], sort_keys=True)
        digest = hashlib.sha256(decisive.encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.-]", "_", self.evaluation_set.name)[:60]
        return work / f"{name}-{self.max_tokens}-{part}-{digest}.npz"

    def write(self, work: Path, arm: str, rankings: Rankings, n_chunks: int) -> None:
        """Keep the rankings of an arm."""
        arrays: dict[str, np.ndarray] = {"n_chunks": np.array([n_chunks])}
        for scope, ranking in rankings.items():
            arrays[f"{scope}-chunks"], arrays[f"{scope}-documents"] = ranking.chunks, ranking.documents
            arrays[f"{scope}-weights"] = np.array(ranking.weights, dtype=np.float64)
        write_arrays(self.path(work, arm), arrays)

    def read(self, work: Path, arm: str) -> Rankings | None:
        """What an earlier run has finished; None if it has not, or its file is damaged."""
        arrays = read_arrays(self.path(work, arm))
        n_questions, n_documents = len(self.evaluation_set.questions), len(self.evaluation_set.documents)
        n_chunks = int(arrays["n_chunks"][0]) if arrays.get("n_chunks", np.zeros(0)).shape == (1,) else 0
        rankings: dict[Scope, Ranking] = {}
        for scope in SCOPES:
            width = self.depth if scope == "corpus" else 0
            chunks, documents = arrays.get(f"{scope}-chunks"), arrays.get(f"{scope}-documents")
            if chunks is None or not _are_numbers(chunks, (n_questions, self.depth), n_chunks):
                return None
            if documents is None or not _are_numbers(documents, (n_questions, width), n_documents):
                return None
            weights = tuple(arrays.get(f"{scope}-weights", np.zeros(0)).tolist())
            rankings[scope] = Ranking(chunks, documents, weights)
        return rankings


def _are_numbers(array: np.ndarray, shape: tuple[int, int], n: int) -> bool:
    """Whether these are numbers of ``n`` things, or ``NOTHING``."""
    is_right = array.shape == shape and array.dtype == np.int64
    return is_right and bool(((array >= NOTHING) & (array < n)).all())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file whole or not at all; InputError if it cannot be."""
    unfinished = path.with_suffix(".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}; free some space, or choose another folder") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what ``write_arrays`` wrote; empty if it is not there or damaged. Never unpickles."""
    try:
        with path.open("rb") as opened:  # which NumPy leaves open where it finds no archive
            file = np.load(opened, allow_pickle=False)
            return {name: file[name] for name in file.files} if isinstance(file, np.lib.npyio.NpzFile) else {}
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}
