"""Load the encoder of a model's settings at first use; all that have the same settings share it."""

from __future__ import annotations

import pickle
import threading
import weakref
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, cast

from llama_index.core.schema import BaseComponent
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation, model_validator

from latechunk import DEFAULT_MODEL, LocalGlobal
from latechunk.errors import InputError
from latechunk.protocols import SpanEncoder, require_json

if TYPE_CHECKING:
    from latechunk import Encoder

_Key: TypeAlias = tuple[Any, ...]

_LOADED: weakref.WeakValueDictionary[_Key, SpanEncoder] = weakref.WeakValueDictionary()
_LOADING = threading.Lock()

_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError, NotImplementedError)


class _Keeper:
    """Keeps an encoder in memory beside the settings that it was loaded with.

    It is no part of what a component is: copies share it, pickles leave it out, comparisons pass over it.
    """

    key: _Key = ()
    encoder: SpanEncoder | None = None

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
    special_tokens: Literal["include", "exclude"] | None = Field(default=None, description="Whether means have them.")
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

    @model_validator(mode="before")
    @classmethod
    def _take_name(cls, values: Any) -> Any:
        """Take the name of a model in place of an encoder for what it is."""
        if isinstance(values, dict) and isinstance(values.get("encoder"), str):
            if "model" in values:
                raise InputError("encoder and model both say what to encode with; leave one of them out")
            named = {**values, "model": values["encoder"]}
            del named["encoder"]
            return named
        return values

    @model_validator(mode="after")
    def _take_over(self) -> Self:
        """Check a given encoder, and take an Encoder of latechunk apart into the fields, which can be pickled."""
        if self.encoder is None:
            return self
        chosen = [name for name, value in self._arguments() if value != ModelFields.model_fields[name].default]
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
        """What makes the vectors; loaded now if it was not yet, with the errors of ``latechunk.Encoder.load``."""
        if self.encoder is not None:
            return self.encoder
        with _LOADING:
            encoder = self._held() or _LOADED.get(self._key())
            if encoder is None:
                from latechunk import Encoder

                encoder = Encoder.load(**dict(self._arguments()))
            self._hold(encoder)
            return encoder

    def fingerprint(self) -> dict[str, Any]:
        """What decides the vectors and no field says, as JSON; loads no model, and ModelError without its files."""
        if self.encoder is not None:
            return {"encoder": dict(self.encoder.settings)}
        held = self._held()
        if held is not None:
            return {name: value for name, value in held.settings.items() if name.endswith("_sha256")}
        from latechunk import Encoder

        return dict(
            Encoder.fingerprint(self.model, revision=self.revision, adapters=self.adapters, download=self.download)
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make one from what ``to_dict`` gave; InputError unless an encoder or chunker of your own is passed."""
        fields = {name: value for name, value in data.items() if name != "made_by"}
        made_by = data.get("made_by", {}).get("encoder")
        encoder = kwargs.get("encoder")
        if made_by is not None and (encoder is None or encoder.settings != made_by):
            raise InputError(
                f"this was made with an encoder of your own, {made_by}: pass it, from_dict(data, encoder=...)"
            )
        return super().from_dict(fields, **kwargs)

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

    def _arguments(self) -> list[tuple[str, Any]]:
        """What ``Encoder.load`` takes."""
        return [(name, getattr(self, name)) for name in ModelFields.model_fields if name != "encoder"]

    def _key(self) -> _Key:
        return tuple(value for _, value in self._arguments())

    def _held(self) -> SpanEncoder | None:
        return self._keeper.encoder if self._keeper.key == self._key() else None

    def _hold(self, encoder: SpanEncoder) -> None:
        self._keeper.key, self._keeper.encoder = self._key(), encoder
        _LOADED[self._keeper.key] = encoder

    def _adopt(self, encoder: Encoder) -> None:
        settings, runtime = encoder.settings, encoder.runtime
        nested = settings["local_global"]
        for name, _ in self._arguments():
            if name in settings and name not in ("local_global", "adapters"):
                setattr(self, name, settings[name])
        self.local_global = LocalGlobal(**nested) if nested else None
        self.context = "local-global" if nested else "windows"
        self.adapters = encoder.adapters_argument
        self.device, self.dtype, self.attention = runtime["device"], runtime["dtype"], runtime["attention"]
        self.encoder = None
        with _LOADING:
            self._hold(encoder)
