"""What requests for vectors look like in the dialects of OpenAI, Jina, Voyage and Perplexity, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from annotated_types import MaxLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator

from latechunk.serving.formats import Kind
from latechunk.serving.limits import MOST_INPUTS

Encoding: TypeAlias = Literal["float", "base64", "base64_int8", "base64_binary"]
Dtype: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary"]


class _FirstWrong(FailFast):
    """The first wrong item of a list is told, and not each of a million; pydantic's own cannot be part of a union."""

    __hash__ = object.__hash__


# No list is looked at beyond what any server may allow: a body has room for millions of empty ones.
Texts: TypeAlias = Annotated[list[str], _FirstWrong(), MaxLen(MOST_INPUTS)]
_Nested: TypeAlias = Annotated[list[Texts], _FirstWrong(), MaxLen(MOST_INPUTS)]
_MOST_FIELDS = 64


class Request(BaseModel):
    """Base of all requests: strict types, unknown fields refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        """Each unknown field is an error of its own, and a body has room for a million."""
        if isinstance(value, dict) and len(value) > _MOST_FIELDS:
            raise ValueError(f"a request has at most {_MOST_FIELDS} fields, got {len(value):,}")
        return value


def _refuse_tokens(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    flat = [one[0] if isinstance(one, list) and one else one for one in items]
    if any(isinstance(one, int) for one in flat):
        raise ValueError(
            "must be texts, and these are numbers of tokens, which only the tokenizer that made them can read; in "
            "LangChain's OpenAIEmbeddings say check_embedding_ctx_length=False"
        )
    return value


class _Vectors(Request):
    """How vectors come back, in everybody's words."""

    model: str | None = Field(None, description="Which model; the first that the server has where none is named.")
    input_type: Literal["query", "document"] | None = Field(None, description="Voyage's; documents unless said.")
    dimensions: int | None = Field(None, ge=1, description="Length of the vectors, of those the model was trained for.")
    output_dimension: int | None = Field(None, ge=1, description="The same in Voyage's words.")
    encoding_format: Encoding | None = Field(None, description="Numbers, or base64; with the kind in Perplexity's.")
    output_dtype: Dtype | None = Field(None, description="Of the numbers; Voyage's.")
    truncation: bool | None = Field(None, description="Accepted: nothing is truncated, long texts are read in windows.")
    user: str | None = Field(None, description="Accepted and not used.")

    @property
    def dims(self) -> int | None:
        """Length of the vectors; None for all."""
        return self.dimensions if self.output_dimension is None else self.output_dimension

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if None not in (self.dimensions, self.output_dimension) and self.dimensions != self.output_dimension:
            raise ValueError("dimensions and output_dimension are two words for one thing; choose one")
        if self.output_dtype not in (None, "float") and self.encoding_format in ("base64_int8", "base64_binary"):
            raise ValueError("output_dtype and encoding_format both name a kind of numbers; choose one")
        return self


class EmbeddingsRequest(_Vectors):
    """A request of ``POST /v1/embeddings``, in OpenAI's form with Jina's and Voyage's fields."""

    input: Annotated[str | Texts, BeforeValidator(_refuse_tokens)] = Field(description="Texts.")
    task: str | None = Field(None, description="Jina's: what the vectors are for, such as retrieval.query.")
    late_chunking: bool = Field(False, description="Jina's: all inputs are the chunks of one document, in order.")
    embedding_type: Literal["float", "base64", "int8", "uint8", "binary", "ubinary"] | None = Field(
        None, description="Jina's: numbers of this type, or float in base64."
    )
    truncate: bool | None = Field(None, description="Accepted: nothing is truncated.")
    normalized: bool | None = Field(None, description="Vectors are always of unit length, so it may not be false.")

    @property
    def texts(self) -> list[str]:
        """What to embed."""
        return [self.input] if isinstance(self.input, str) else self.input

    @property
    def is_query(self) -> bool:
        """Whether the texts are queries."""
        return self.input_type == "query" or self.task == "retrieval.query"

    @property
    def output(self) -> tuple[Kind, bool]:
        """The kind of numbers, and whether they come in base64."""
        if self.embedding_type is not None:
            return ("float", True) if self.embedding_type == "base64" else (self.embedding_type, False)
        return _output(self.encoding_format, self.output_dtype)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.normalized is False:
            raise ValueError("normalized must be true or left out: all vectors are of unit length")
        if self.embedding_type is not None and (self.encoding_format or self.output_dtype):
            raise ValueError("embedding_type says what encoding_format and output_dtype say; choose one dialect")
        if self.task is not None and self.input_type is not None:
            raise ValueError("task and input_type both say what the vectors are for; choose one")
        if self.late_chunking and (self.is_query or self.task not in (None, "retrieval.passage")):
            raise ValueError("late_chunking is for the passages of a document; leave task and input_type out")
        return self


class ContextualizedRequest(_Vectors):
    """A request of ``POST /v1/contextualizedembeddings``: Voyage's has ``inputs``, Perplexity's ``input``."""

    inputs: _Nested | Texts | None = Field(
        None, description="Of each document its chunks; or whole documents to be cut, or queries."
    )
    input: _Nested | None = Field(None, description="Of each document its chunks; Perplexity's.")
    enable_auto_chunking: bool = Field(False, description="Cut each document; the chunks' texts come back.")
    chunk_size: int | None = Field(None, ge=1, description="The most tokens of such a chunk; 512 unless said.")
    chunk_overlap: int | None = Field(
        None, ge=0, description="Tokens that it repeats of the one before; 0 unless said."
    )

    @property
    def documents(self) -> list[list[str]]:
        """Of each document its chunks, or its text alone."""
        given = self.inputs if self.inputs is not None else self.input or []
        return [[one] if isinstance(one, str) else one for one in given]

    @property
    def output(self) -> tuple[Kind, bool]:
        """The kind of numbers, and whether they come in base64, which is Perplexity's default."""
        chosen = self.encoding_format or self.output_dtype
        return ("int8", True) if self.input and not chosen else _output(self.encoding_format, self.output_dtype)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (self.inputs is None) == (self.input is None):
            raise ValueError("inputs (Voyage) or input (Perplexity) is needed, and not both")
        if not self.enable_auto_chunking and (self.chunk_size or self.chunk_overlap):
            raise ValueError("chunk_size and chunk_overlap need enable_auto_chunking=true")
        if self.chunk_overlap and self.chunk_overlap >= (self.chunk_size or 512):
            raise ValueError(
                f"chunk_overlap ({self.chunk_overlap}) must be below chunk_size ({self.chunk_size or 512})"
            )
        if any(not chunks for chunks in self.documents):
            raise ValueError("each document needs at least one chunk, and one is an empty list")
        return self._fit_lists()

    def _fit_lists(self) -> Self:
        is_alone = self.enable_auto_chunking or self.input_type == "query"
        if self.enable_auto_chunking and self.input_type == "query":
            raise ValueError("queries are not cut into chunks; leave enable_auto_chunking out")
        if is_alone and any(len(chunks) > 1 for chunks in self.documents):
            what = "enable_auto_chunking takes documents" if self.enable_auto_chunking else 'input_type "query" takes'
            raise ValueError(f"{what} one text each, not lists of chunks")
        if not is_alone and any(isinstance(one, str) for one in self.inputs or ()):
            raise ValueError(
                "inputs must be a list of lists, the chunks of each document, unless enable_auto_chunking is true or "
                'input_type is "query"'
            )
        return self


def _output(encoding: Encoding | None, dtype: Dtype | None) -> tuple[Kind, bool]:
    if encoding == "base64_int8":
        return "int8", True
    if encoding == "base64_binary":
        return "bits", True
    return dtype or "float", encoding == "base64"
