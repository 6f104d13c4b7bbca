"""The settings of an encoder: what is asked of ``Encoder.load``, and what an index records."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field

from latechunk.errors import LateChunkError, ModelError
from latechunk.models.catalogue import DEFAULT_MODEL, LocalGlobal, SpecialTokens, find_known_model
from latechunk.models.device import Attention, Dtype
from latechunk.models.loaded import PoolingChoice
from latechunk.types import Settings
from latechunk.validation import Validated

Context: TypeAlias = Literal["auto", "windows", "local-global", "chunks"]

FINGERPRINTS = ("weights_sha256", "tokenizer_sha256", "config_sha256", "adapters_sha256")


class EncoderSettings(Validated):
    """What decides the vectors that an encoder gives; recorded in every index.

    ``model``, ``revision`` and ``adapters`` are labels: the fingerprints say what they stand for. ``adapters`` is the
    known name of those shipped with latechunk, else the folder's path. ``separator_id`` is the token between chunks
    with ``context="chunks"``, else None. ``Encoder.load`` describes the other fields.
    """

    error: ClassVar[type[LateChunkError]] = ModelError
    subject: ClassVar[str] = "these are not the settings of an encoder of this version"

    model: str
    revision: str | None
    weights_sha256: str
    tokenizer_sha256: str
    pooling: PoolingChoice
    special_tokens: SpecialTokens
    document_prompt: str
    query_prompt: str
    window_tokens: int
    overlap_tokens: int
    local_global: LocalGlobal | None
    dims: int
    document_task: str | None = None
    query_task: str | None = None
    config_sha256: str | None = None
    layer_norm: bool = False
    adapters: str | None = None
    adapters_sha256: str | None = None
    separator_id: int | None = None

    @classmethod
    def recorded(cls, settings: Settings) -> Self:
        """Read what ``Encoder.settings`` gives."""
        return cls(**{name: value for name, value in settings.items() if name != "kind"})

    @property
    def context(self) -> Context:
        """How documents are read, as ``Encoder.load`` takes it."""
        if self.local_global:
            return "local-global"
        return "windows" if self.separator_id is None else "chunks"

    @property
    def adapters_argument(self) -> str | None:
        """What ``Encoder.load`` takes as ``adapters`` to load the recorded ones.

        Settings without adapters mean the published model, whatever latechunk ships for it by now; those of a model
        whose checkpoint has its own adapters record a task of documents, and no trained adapters.
        """
        if self.adapters_sha256 is None:
            return None if self.document_task is None else "auto"
        return "auto" if self.adapters is None or find_known_model(self.adapters) else self.adapters


class LoadOptions(Validated):
    """The arguments of ``Encoder.load``, which documents them, each checked by itself."""

    model: str = DEFAULT_MODEL
    revision: str | None = None
    device: str = "auto"
    dtype: Dtype = "auto"
    attention: Attention = "auto"
    context: Context = "auto"
    local_global: LocalGlobal | None = None
    window_tokens: int | None = Field(default=None, ge=1)
    overlap_tokens: int | None = Field(default=None, ge=0)
    dims: int | None = Field(default=None, ge=1)
    document_prompt: str | None = None
    query_prompt: str | None = None
    document_task: str | None = None
    query_task: str | None = None
    adapters: str | None = "auto"
    special_tokens: SpecialTokens | None = None
    pooling: PoolingChoice = "checkpoint"
    batch_tokens: int | None = Field(default=None, ge=1)
    compile: bool = False
    download: bool = True


def options_from(settings: EncoderSettings, **how: Any) -> LoadOptions:
    """The options that load the encoder of these settings, from what is on this machine, computing as ``how`` says."""
    same = LoadOptions.model_fields.keys() & EncoderSettings.model_fields.keys() - {"adapters"}
    return LoadOptions(
        **{name: getattr(settings, name) for name in same},
        context=settings.context,
        adapters=settings.adapters_argument,
        download=False,
        **how,
    )


def require_same_adapters(wanted: EncoderSettings, loaded: EncoderSettings) -> None:
    """Raise unless the adapters that were loaded are those that were recorded."""
    if wanted.adapters_sha256 != loaded.adapters_sha256:
        raise ModelError(
            f"the adapters {wanted.adapters!r} of SHA-256 {wanted.adapters_sha256} were needed, and "
            f"{loaded.adapters!r} of SHA-256 {loaded.adapters_sha256} came: they have changed since. Bring those back "
            f"(shipped ones come with the version of latechunk that an index records), or make a new index"
        )


def require_same_files(wanted: EncoderSettings, loaded: EncoderSettings) -> None:
    """Raise unless an encoder was loaded from the files that a pickled one was."""
    differing = [name for name in FINGERPRINTS if getattr(loaded, name) != getattr(wanted, name)]
    if differing:
        raise ModelError(
            f"the encoder that was pickled and the files of {wanted.model!r} on this machine differ in "
            f"{', '.join(differing)}; bring the same files here, or load the encoder here in place of a pickled one"
        )
