"""What made an index, as one value: recorded when it is made, compared when it is opened."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BeforeValidator, Field, InstanceOf, field_validator, model_validator

from latechunk.ann.faiss_ops import require_buildable
from latechunk.ann.spec import IndexSpec
from latechunk.chunking.registry import chunker_from_settings, to_chunker
from latechunk.embedding import Embedding
from latechunk.errors import IndexDamagedError, IndexFormatError, IndexMismatchError, InputError
from latechunk.models.catalogue import find_known_model
from latechunk.protocols import Chunker, ReportsRuntime, SpanEncoder, require_json
from latechunk.storage.fulltext import MOST_GRANULARITIES
from latechunk.storage.vectors import Precision
from latechunk.types import Settings, require_text
from latechunk.validation import Validated

_LABELS = ("model", "revision")  # of an encoder's settings: they name it, and decide no vector
_RECORDED_PACKAGES = ("latechunk", "torch", "transformers", "sentence-transformers", "tokenizers", "sentencex")
_MOST_DIMS = 65_536


def _to_embedding(value: Any) -> Embedding:
    if isinstance(value, Embedding):
        return value
    try:
        return Embedding(**value)
    except TypeError as error:
        raise InputError(f"embedding must be an object with mode and late_weight, got {value!r:.80}") from error


class SearchSettings(Validated):
    """How an index is searched and stored, see ``Index.create``; decides nothing of what is encoded."""

    error = IndexDamagedError

    words: bool
    vectors: str
    first_pass_dims: int | None
    precision: Precision = "float32"

    @classmethod
    def of_user(cls, words: bool, vectors: str, first_pass_dims: int | None, precision: Precision) -> Self:
        """Settings that a user gives, which raise an InputError where they are wrong."""
        if not isinstance(words, bool):
            raise InputError(f"words must be True or False for an index without lexical search, got {words!r:.80}")
        spec = IndexSpec(kind=vectors, first_pass_dims=first_pass_dims)
        if precision not in get_args(Precision):
            raise InputError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r:.80}")
        return cls(words=words, vectors=spec.kind, first_pass_dims=spec.first_pass_dims, precision=precision)

    @model_validator(mode="after")
    def _check_spec(self) -> Self:
        _ = self.spec
        return self

    @property
    def spec(self) -> IndexSpec:
        """What FAISS is asked for."""
        return IndexSpec(kind=self.vectors, first_pass_dims=self.first_pass_dims)


class IndexManifest(Validated):
    """What made an index; IndexDamagedError if it is not what latechunk writes.

    Attributes:
        encoder: Its settings; ``dims`` is the length of its vectors.
        chunkers: Their settings, by the names of the granularities, in order.
        made: When, with which packages, and how the encoder computed there; for people to read.
    """

    error = IndexDamagedError
    subject = "the manifest of the index is not what this latechunk writes (upgrade latechunk if a newer one made it)"

    encoder: dict[str, Any]
    chunkers: dict[str, dict[str, Any]] = Field(min_length=1, max_length=MOST_GRANULARITIES)
    embedding: Annotated[InstanceOf[Embedding], BeforeValidator(_to_embedding)]
    search: SearchSettings
    made: dict[str, Any]

    @field_validator("encoder")
    @classmethod
    def _check_encoder(cls, encoder: dict[str, Any]) -> dict[str, Any]:
        require_json("encoder", encoder)
        if encoder["dims"] > _MOST_DIMS:
            raise InputError(f"vectors may have up to {_MOST_DIMS:,} dims, got {encoder['dims']!r:.80}")
        return encoder

    @field_validator("chunkers", "made")
    @classmethod
    def _check_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        require_json("chunkers", value)
        if not all(name.strip() for name in value):
            raise InputError("the name of a granularity must not be blank")
        return value

    @classmethod
    def make(
        cls, encoder: SpanEncoder, chunkers: Mapping[str, Chunker], embedding: Embedding, search: SearchSettings
    ) -> Self:
        """The manifest of a new index; InputError if the settings of a part cannot be recorded."""
        runtime = require_json("runtime", encoder.runtime) if isinstance(encoder, ReportsRuntime) else {}
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(
            encoder=dict(require_json("encoder", encoder.settings)),
            chunkers={name: dict(require_json("chunker", one.settings)) for name, one in chunkers.items()},
            embedding=embedding,
            search=search,
            made={"at": at, **package_versions(), "on": dict(runtime)},
        )

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self:
        """Check what a store or an export records."""
        try:
            return cls.from_json(json.dumps(settings))
        except (TypeError, ValueError, RecursionError) as error:
            raise IndexDamagedError(f"{cls.subject}: {error}") from error

    def settings(self) -> dict[str, Settings]:
        """The same as JSON, part by part, as a store records it."""
        parts = {"encoder": self.encoder, "chunkers": self.chunkers, "embedding": self.embedding.settings}
        return {**parts, "search": self.search.model_dump(), "made": self.made}

    def stored_in(self, precision: Precision | None) -> Self:
        """The same for another index with these vectors, in another precision unless None; InputError if there is none.

        Examples:
            >>> manifest.stored_in("int8").search.precision
            'int8'
        """
        search = self.search
        kept = search.precision if precision is None else precision
        made = SearchSettings.of_user(search.words, search.vectors, search.first_pass_dims, kept)
        return self.model_copy(update={"search": made})

    @property
    def dims(self) -> int:
        """Length of the vectors."""
        return int(self.encoder["dims"])

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639 codes of what the model reads; none if that is many or not known."""
        known = find_known_model(str(self.encoder.get("model")))
        return known.languages if known else ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the vectors: vectors of equal fingerprints belong into one index."""
        labels = labels_of(self.encoder, self.encoder)
        encoder = {name: value for name, value in self.encoder.items() if name not in labels and value is not None}
        parts = [encoder, list(self.chunkers.items()), self.embedding.settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def differences(self, other: IndexManifest) -> list[str]:
        """What decides the vectors and differs in another manifest, setting by setting; none if the vectors fit."""
        labels = labels_of(self.encoder, other.encoder)
        ours, theirs = (
            {"encoder": {name: value for name, value in one.encoder.items() if name not in labels}}
            | {"chunkers": one.chunkers, "embedding": one.embedding.settings}
            for one in (self, other)
        )
        if ours == theirs and list(self.chunkers) != list(other.chunkers):
            return [f"its chunkers are in the order {list(self.chunkers)}, yours in {list(other.chunkers)}"]
        models = [str(one.encoder.get("model")) for one in (self, other)]
        if ours["encoder"] == theirs["encoder"] or models[0] == models[1]:
            return _differences(ours, theirs)
        for one in (ours, theirs):  # the names say more than the checksums of what they name
            one["encoder"] = {name: value for name, value in one["encoder"].items() if not name.endswith("_sha256")}
        return [f"its model is {models[0]!r:.80}, yours is {models[1]!r:.80}", *_differences(ours, theirs)]

    def require_encoder(self, where: str, given: Settings, remedy: str = "") -> None:
        """Raise an IndexMismatchError unless an encoder of these settings makes the same vectors.

        ``where`` names what holds the vectors, and ``remedy`` says what to do if it is no index.
        """
        _require_same("encoder", where, self.encoder, given, labels_of(self.encoder, given), remedy)

    def load_encoder(self, where: str, opens: str, runtime: Mapping[str, Any], remedy: str = "") -> SpanEncoder:
        """The encoder that made the vectors, from what is on this machine, which may raise a ModelError.

        IndexMismatchError if it is the user's own, which the function named ``opens`` takes, or is another one now.
        """
        from latechunk.encoding.encoder import KIND, Encoder

        if self.encoder.get("kind") != KIND:
            raise IndexMismatchError(
                f"{where} was made with an encoder of your own, {self.encoder}: pass it as {opens}(..., encoder=...)"
            )
        encoder = Encoder.from_settings(self.encoder, **runtime)
        self.require_encoder(where, encoder.settings, remedy)
        return encoder

    def require_made_as(self, path: Path | str, other: IndexManifest) -> None:
        """Raise an IndexMismatchError unless an index of this manifest is what another one asks for.

        ``vectors="auto"`` asks for nothing: it may have been optimised for another kind since.
        """
        search, asked = self.search.model_dump(), other.search.model_dump()
        if other.search.vectors == "auto":
            search["vectors"] = "auto"
        differing = [*self.differences(other), *_differences(search, asked)]
        if differing:
            raise IndexMismatchError(
                f"the index at {path} was made with other settings: {'; '.join(differing)}. Open it with Index.open to "
                f"use its own, or make a new index"
            )

    def name_given(
        self, chunker: Chunker | str | None, chunkers: Mapping[str, Chunker | str] | None
    ) -> dict[str, Chunker]:
        """The chunkers that the user passes to open the index, by name."""
        if chunker is None:
            return {name: to_chunker(one) for name, one in (chunkers or {}).items()}
        if chunkers is not None:
            raise InputError("chunker and chunkers both say how to cut: pass chunker for one way, chunkers for several")
        if len(self.chunkers) > 1:
            raise InputError(f"the index has several chunkers, {list(self.chunkers)}: pass chunkers={{name: chunker}}")
        return {next(iter(self.chunkers)): to_chunker(chunker)}

    def require_chunkers(self, path: Path, given: Mapping[str, Chunker]) -> None:
        """Raise an IndexMismatchError unless chunkers are among those that made the index."""
        for name, chunker in given.items():
            if name not in self.chunkers:
                known = ", ".join(map(repr, self.chunkers))
                raise IndexMismatchError(f"the index at {path} has the granularities {known}, and none called {name!r}")
            _require_same("chunker", f"the index at {path}", self.chunkers[name], chunker.settings, set())

    def complete_chunkers(self, path: Path, given: Mapping[str, Chunker]) -> dict[str, Chunker]:
        """All chunkers of the index: those given, and the others rebuilt from their settings."""
        complete: dict[str, Chunker] = {}
        for name, settings in self.chunkers.items():
            try:
                chunker = given.get(name) or chunker_from_settings(settings)
            except (TypeError, InputError) as error:
                raise IndexFormatError(
                    f"the index at {path} has a chunker with settings that this latechunk does not know, {settings}: "
                    f"{error}; upgrade latechunk"
                ) from error
            if chunker is None:
                how = "chunker=..." if len(self.chunkers) == 1 else f"chunkers={{{name!r}: ...}}"
                raise IndexMismatchError(
                    f"the index at {path} was made with a chunker of your own, {settings}: "
                    f"pass it as Index.open(..., {how})"
                )
            complete[name] = chunker
        return complete

    def require_searchable(self) -> None:
        """Raise an InputError unless FAISS can build what ``search`` says, and first numbers alone mean something."""
        require_buildable(self.search.spec, self.dims)
        known = find_known_model(str(self.encoder.get("model")))
        if self.search.first_pass_dims is not None and known and not known.matryoshka:
            raise InputError(
                f"first_pass_dims needs a Matryoshka model, whose vectors can be cut short, and {known.name} is none: "
                f"leave it out; `latechunk models` shows which have several dims"
            )


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index is and holds.

    ``size_bytes`` is what its folder takes on disk, ``chunker`` the first of ``chunkers``, ``n_chunks`` counts those of
    all granularities.

    Examples:
        >>> index.info().n_documents
        2
    """

    path: str
    format: int
    n_documents: int
    n_chunks: int
    n_tokens: int
    size_bytes: int
    encoder: Settings
    chunker: Settings
    chunkers: Mapping[str, Settings]
    search: Settings
    embedding: Settings
    made: Settings


def package_versions() -> dict[str, str]:
    """Versions of what takes part in making vectors."""
    versions = {"python": platform.python_version()}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def name_chunkers(chunker: Chunker | str | None, chunkers: Mapping[str, Chunker | str] | None) -> dict[str, Chunker]:
    """The granularities of a new index, by name; InputError if they cannot be recorded or told apart."""
    if chunkers is None:
        named = {"chunks": to_chunker(chunker)}
    elif chunker is not None:
        raise InputError("chunker and chunkers both say how to cut: pass chunker for one way, chunkers for several")
    elif not isinstance(chunkers, Mapping) or not 0 < len(chunkers) <= MOST_GRANULARITIES:
        raise InputError(
            f"chunkers must be a mapping of 1 to {MOST_GRANULARITIES} names to chunkers, got {chunkers!r:.80}"
        )
    else:
        named = {name: to_chunker(one) for name, one in chunkers.items()}
    for name, one in named.items():
        require_text(name, "the name of a granularity", InputError)
        if not name.strip():
            raise InputError("the name of a granularity must not be blank")
        _require_own_kind(one)
    return named


def labels_of(recorded: Settings, given: Settings) -> set[str]:
    """Settings of encoders that name something and decide no vector.

    The name of adapters is one where their fingerprints can be compared; where one side has none, it says what differs.
    """
    have_adapters = recorded.get("adapters_sha256") and given.get("adapters_sha256")
    return {*_LABELS, *(["adapters"] if have_adapters else [])}


def _require_own_kind(chunker: Chunker) -> None:
    """Refuse a chunker of the user's own whose settings are those of one of ours: it would be taken for it later."""
    try:
        is_ours = chunker_from_settings(chunker.settings) in (None, chunker)
    except (TypeError, AttributeError, InputError):
        is_ours = False
    if not is_ours:
        raise InputError(f"a chunker of your own needs settings with a kind of its own, got {chunker.settings!r:.200}")


def _require_same(
    what: str, where: str, recorded: Settings, given: Settings, labels: set[str], remedy: str = ""
) -> None:
    names = sorted((recorded.keys() | given.keys()) - labels)
    models = [str(one.get("model")) for one in (recorded, given)]
    hashes = [name for name in names if name.endswith("_sha256") and recorded.get(name) != given.get(name)]
    if models[0] == models[1]:
        hashes = []  # they are all there is to tell
    differing = _differences({name: recorded.get(name) for name in names if name not in hashes}, given)
    if hashes:
        named = f"it was {models[0]!r:.80}, yours is {models[1]!r:.80}"
        differing = [named, *differing, f"{', '.join(hashes)} differ{'s' * (len(hashes) == 1)}"]
    if differing:
        raise IndexMismatchError(
            f"{where} was made with another {what}: {'; '.join(differing)}. "
            + (remedy or f"Open the index (Index.open) without {what}= to use its own, or make a new index")
        )


def _differences(recorded: Settings, given: Settings, within: str = "") -> list[str]:
    """What differs, setting by setting, of those of ``recorded``."""
    found = []
    for name, was in recorded.items():
        got = given.get(name)
        if isinstance(was, dict) and isinstance(got, dict):
            found += _differences({**dict.fromkeys(got), **was}, got, f"{within}{name}.")
        elif was != got:
            found.append(f"its {within}{name} is {was!r:.80}, yours is {got!r:.80}")
    return found
