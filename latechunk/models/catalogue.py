"""What is known of particular checkpoints and cannot be read in them: the data of ``known.toml``."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeAlias

from pydantic import Field, FiniteFloat, model_validator

from latechunk.types import Mode
from latechunk.validation import Validated

SpecialTokens: TypeAlias = Literal["exclude", "include"]


class LocalGlobal(Validated):
    """How an encoder of short texts reads a long one: lower layers in windows, upper layers over everything.

    Attributes:
        local_layers: How many layers run on windows; the others run once over the whole.
        local_tokens: Tokens of a window, special tokens and prompt included.
        local_overlap: Content tokens that neighbouring windows share, at least.
        penalty: What the attention score of a far token loses: ``penalty * sigmoid((d - distance) / width)`` at a
            distance of ``d`` tokens.
        distance: Where half of it is lost, in tokens.
        width: How gently, in tokens.
        block_tokens: A token attends to its own block of so many tokens and to the two next to it one by one, and to
            all others through means.
        mean_tokens: Tokens of each mean; divides ``block_tokens``.
        reference_tokens: In a longer sequence the penalty of the means grows by the logarithm of how much longer.

    Raises:
        InputError: If a setting is out of range.

    Examples:
        >>> LocalGlobal(local_layers=4, local_tokens=128, local_overlap=32, penalty=2.0, distance=96.0, width=16.0)
        LocalGlobal(local_layers=4, ...)
    """

    subject: ClassVar[str] = "local_global"

    local_layers: int = Field(ge=0)
    local_tokens: int = Field(ge=1)
    local_overlap: int = Field(ge=0)
    penalty: FiniteFloat
    distance: FiniteFloat
    width: FiniteFloat = Field(gt=0)
    block_tokens: int = Field(default=128, ge=1)
    mean_tokens: int = Field(default=32, ge=1)
    reference_tokens: int = Field(default=2_046, ge=1)

    @model_validator(mode="after")
    def _blocks_hold_whole_means(self) -> Self:
        if self.block_tokens % self.mean_tokens:
            raise ValueError(f"mean_tokens ({self.mean_tokens}) must divide block_tokens ({self.block_tokens})")
        return self


class Task(Validated):
    """A use that a model has an adapter for.

    Attributes:
        name: What the model card calls it.
        adapter: The subfolder of the checkpoint, or of a folder of trained adapters.
        prompt: Text that goes before its inputs.
    """

    name: str
    adapter: str
    prompt: str

    @model_validator(mode="after")
    def _names_are_usable(self) -> Self:
        if not self.name.strip():
            raise ValueError("the name of a task must not be blank")
        # The name comes from a file, and becomes part of a path: it must not lead out of the folder.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.adapter):
            raise ValueError(
                f"the adapter of a task must be the plain name of a subfolder, of letters, digits, - and _, got "
                f"{self.adapter!r:.80}"
            )
        return self


class TaskSet(Validated):
    """What a model has adapters for.

    Attributes:
        tasks: All of them, with unique names; none where a model has no adapters.
        document_task: That of documents where the user says nothing, by name.
        query_task: Likewise of queries. None where the model reads them without an adapter.
    """

    tasks: tuple[Task, ...] = ()
    document_task: str | None = None
    query_task: str | None = None

    def find(self, name: str | None) -> Task | None:
        """Look a task up by its name."""
        return next((task for task in self.tasks if task.name == name), None)

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters of all tasks, each once."""
        return tuple(dict.fromkeys(task.adapter for task in self.tasks))


class KnownModel(Validated):
    """A checkpoint that latechunk knows; ``known.toml`` says what each field means."""

    name: str
    repository: str | None = None
    licence: str
    is_open: bool = True
    dims: int
    window_tokens: int
    overlap_tokens: int
    also: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    package: str | None = None
    extra: str | None = None
    packed: str | None = None
    weights_sha256: str | None = None
    model_type: str | None = None
    local_global: LocalGlobal | None = None
    trained_local_layers: int | None = None
    mode: Mode = "late"
    late_weight: float = 0.5
    temperature: float | None = None
    document_prompt: str | None = None
    query_prompt: str | None = None
    tasks: tuple[Task, ...] = ()
    document_task: str | None = None
    query_task: str | None = None
    trained: str | None = None
    matryoshka: tuple[int, ...] = ()
    layer_norm: bool = False
    takes_float16: bool = True
    reads_chunks: bool = False
    obstacle: str | None = None
    note: str = ""
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called: its name, then its repositories."""
        return (self.name, *((self.repository,) if self.repository else ()), *self.also)

    @property
    def task_set(self) -> TaskSet:
        """What the checkpoint itself has adapters for."""
        return TaskSet(tasks=self.tasks, document_task=self.document_task, query_task=self.query_task)

    @property
    def trained_local_global(self) -> LocalGlobal | None:
        """How it reads longer texts under adapters that are trained over it."""
        if self.local_global is None or self.trained_local_layers is None:
            return self.local_global
        return self.local_global.replaced(local_layers=self.trained_local_layers)


class RefusedModel(Validated):
    """Checkpoints that late chunking does not fit: what users call them, a pattern of their repositories, and why."""

    family: str
    pattern: str
    reason: str


class _Catalogue(Validated):
    known: tuple[KnownModel, ...]
    refused: tuple[RefusedModel, ...]


_CATALOGUE = _Catalogue.from_json(
    json.dumps(tomllib.loads(Path(__file__).with_name("known.toml").read_text(encoding="utf-8")))
)
KNOWN_MODELS, REFUSED_MODELS = _CATALOGUE.known, _CATALOGUE.refused
DEFAULT_MODEL = "multilingual-e5-small-q4"
LIGHT_MODEL = "all-MiniLM-L6-v2"  # half the layers, a third of the memory, English alone


def find_known_model(name: str) -> KnownModel | None:
    """Look a model up by its name or a repository of it, in any case."""
    named = name.casefold()
    return next((model for model in KNOWN_MODELS if named in map(str.casefold, model.names)), None)


def spell(name: str) -> str:
    """A known name as it is written, whatever its case; any other as it is."""
    known = find_known_model(name)
    return next(one for one in known.names if one.casefold() == name.casefold()) if known else name


def suggest(name: str) -> str:
    """Words for an error: which known name may be meant, or where they are listed."""
    names = {one.casefold(): one for model in KNOWN_MODELS if not model.obstacle for one in model.names}
    near = difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.75)
    return f"did you mean {names[near[0]]!r}?" if near else "`latechunk models` lists those that are known"


def find_refused_model(name: str) -> RefusedModel | None:
    """Look up whether a repository is known not to be mean-pooled."""
    return next((model for model in REFUSED_MODELS if re.fullmatch(model.pattern, name, re.IGNORECASE)), None)


def recognise(model_type: str | None) -> KnownModel | None:
    """Find the one known model of an architecture, whatever its files are called."""
    return next((model for model in KNOWN_MODELS if model_type and model.model_type == model_type), None)
