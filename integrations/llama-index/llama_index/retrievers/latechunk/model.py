"""A model's settings in, its encoder out: loaded at first use, and shared by all that have the same settings."""

from __future__ import annotations

import pickle
import threading
import weakref
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from llama_index.core.schema import BaseComponent
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation, model_validator

from latechunk import DEFAULT_MODEL, LocalGlobal
from latechunk.errors import InputError
from latechunk.protocols import SpanEncoder, require_json

if TYPE_CHECKING:
    from latechunk import Encoder

_LOADED: weakref.WeakValueDictionary[tuple[Any, ...], SpanEncoder] = weakref.WeakValueDictionary()
_LOADING = threading.Lock()

_DECISIVE = (
    "model",
    "revision",
    "context",
    "local_global",
    "window_tokens",
    "overlap_tokens",
    "dims",
    "document_prompt",
    "query_prompt",
    "document_task",
    "query_task",
    "adapters",
    "special_tokens",
    "pooling",
)
_RUNTIME = ("device", "dtype", "attention", "batch_tokens", "download")
_FINGERPRINT = ("weights_sha256", "tokenizer_sha256", "config_sha256", "adapters_sha256")
_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError, NotImplementedError)


class _Keeper:
    """Keeps an encoder in memory beside the settings that it was loaded with.

    It is no part of what a component is: copies share it, pickles leave it out, comparisons pass over it.
    """

    def __init__(self) -> None:
        self.key: tuple[Any, ...] = ()
        self.encoder: SpanEncoder | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keeper)

    def __hash__(self) -> int:
        return hash(_Keeper)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


class ModelFields(BaseComponent):
    """The fields by which a model is chosen: arguments of ``latechunk.Encoder.load``, with its defaults.

    The model is loaded when it is first needed. Components of one process with the same settings share one in memory.
    What only says how to compute is left out of the serialised form, and so of the keys of caches.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str = Field(default=DEFAULT_MODEL, description="A known model's name, a folder, or a repository's name.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of the repository.")
    context: Literal["auto", "windows", "local-global"] = Field(default="auto", description="How a text is read.")
    local_global: LocalGlobal | None = Field(default=None, description="Settings of local-global context.")
    window_tokens: int | None = Field(default=None, ge=1, description="Tokens that are read together.")
    overlap_tokens: int | None = Field(default=None, ge=0, description="Tokens that neighbouring windows share.")
    dims: int | None = Field(default=None, ge=1, description="Length of the vectors, of a Matryoshka model.")
    document_prompt: str | None = Field(default=None, description="Text before every window of a document.")
    query_prompt: str | None = Field(default=None, description="Text before a query.")
    document_task: str | None = Field(default=None, description="What documents are encoded for.")
    query_task: str | None = Field(default=None, description="What queries are encoded for.")
    adapters: str | None = Field(default="auto", description='Trained ones: "auto", None for none, or their folder.')
    special_tokens: Literal["include", "exclude"] | None = Field(
        default=None, description="Whether special tokens count in means."
    )
    pooling: Literal["checkpoint", "mean"] = Field(default="checkpoint", description="Overrides the checkpoint's.")
    device: str = Field(default="auto", exclude=True, description="Where the model runs.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(default="auto", exclude=True)
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(default="auto", exclude=True)
    batch_tokens: int | None = Field(default=None, ge=1, exclude=True, description="Padded tokens of one batch.")
    download: bool = Field(default=True, exclude=True, description="Whether a model that is not here is downloaded.")
    encoder: Annotated[SpanEncoder | None, SkipValidation] = Field(
        default=None,
        exclude=True,
        description="In place of all these: a loaded latechunk.Encoder, whose settings then become the fields' values, "
        "or an encoder of your own, which stays here.",
    )

    _keeper: _Keeper = PrivateAttr(default_factory=_Keeper)

    @model_validator(mode="after")
    def _take_over(self) -> Self:
        """Check a given encoder, and take an Encoder of latechunk apart into the fields, which can be pickled."""
        if self.encoder is None:
            return self
        chosen = [name for name in (*_DECISIVE, *_RUNTIME) if getattr(self, name) != _default_of(name)]
        if chosen:
            raise InputError(f"encoder and {', '.join(chosen)} both say what to encode with; leave one side out")
        missing = [name for name in ("tokenize", "encode_spans", "encode_query") if not hasattr(self.encoder, name)]
        if missing:
            raise InputError(
                f"encoder must be a latechunk.Encoder or an object of your own with the methods of "
                f"latechunk.protocols.SpanEncoder; {type(self.encoder).__name__} has no {', '.join(missing)}. "
                f"To choose a model by name pass model="
            )
        require_json("encoder", self.encoder.settings)
        if hasattr(self.encoder, "load_options"):  # an Encoder; importing the class would load torch
            self._adopt(cast("Encoder", self.encoder))
        return self

    def load_encoder(self) -> SpanEncoder:
        """What makes the vectors; loaded now if it was not yet.

        Raises:
            PoolingError: If the model is not mean-pooled.
            ModelError: If it is missing, altered, incomplete, or cannot be used.
            InputError: If a setting does not fit it.
        """
        if self.encoder is not None:
            return self.encoder
        key = self._key()
        with _LOADING:
            if self._keeper.encoder is None or self._keeper.key != key:
                encoder = _LOADED.get(key) or self._load()
                _LOADED[key] = encoder
                self._keeper.key, self._keeper.encoder = key, encoder
            return self._keeper.encoder

    def fingerprint(self) -> dict[str, Any]:
        """What decides the vectors and no field says, as JSON; loads no model.

        Raises:
            ModelError: If the model cannot be found.
        """
        if self.encoder is not None:
            return {"encoder": dict(self.encoder.settings)}
        if self._keeper.encoder is not None and self._keeper.key == self._key():
            return {name: self._keeper.encoder.settings[name] for name in _FINGERPRINT}
        from latechunk import Encoder

        return dict(
            Encoder.fingerprint(self.model, revision=self.revision, adapters=self.adapters, download=self.download)
        )

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled. LlamaIndex leaves out what cannot be, with a line in the log; here that is an error."""
        for name in ("encoder", "chunker"):
            try:
                pickle.dumps(getattr(self, name, None))
            except _UNPICKLABLE as error:
                raise InputError(
                    f"the {name} of this {type(self).__name__} cannot be pickled ({error}), as num_workers above 1 "
                    f"needs: run with one worker, or give {type(getattr(self, name)).__name__} __getstate__ and "
                    f"__setstate__ that leave out what cannot be"
                ) from error
        return super().__getstate__()

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in (*_DECISIVE, *_RUNTIME))

    def _load(self) -> SpanEncoder:
        from latechunk import Encoder

        return Encoder.load(
            self.model,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            attention=self.attention,
            context=self.context,
            local_global=self.local_global,
            window_tokens=self.window_tokens,
            overlap_tokens=self.overlap_tokens,
            dims=self.dims,
            document_prompt=self.document_prompt,
            query_prompt=self.query_prompt,
            document_task=self.document_task,
            query_task=self.query_task,
            adapters=self.adapters,
            special_tokens=self.special_tokens,
            pooling=self.pooling,
            batch_tokens=self.batch_tokens,
            download=self.download,
        )

    def _adopt(self, encoder: Encoder) -> None:
        settings, runtime = encoder.settings, encoder.runtime
        nested = settings["local_global"]
        for name in _DECISIVE:
            if name not in ("context", "local_global", "adapters"):
                setattr(self, name, settings[name])
        self.local_global = LocalGlobal(**nested) if nested else None
        self.context = "local-global" if nested else "windows"
        self.adapters = encoder.adapters_argument
        self.device, self.dtype, self.attention = runtime["device"], runtime["dtype"], runtime["attention"]
        self.encoder = None
        key = self._key()
        with _LOADING:
            _LOADED[key] = encoder
            self._keeper.key, self._keeper.encoder = key, encoder


def _default_of(name: str) -> Any:
    return ModelFields.model_fields[name].default
