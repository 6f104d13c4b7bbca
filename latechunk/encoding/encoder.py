"""Texts in, contextual unit vectors of their spans out: a mean-pooled encoder with its tokenizer and settings."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch

from latechunk.encoding.batching import Plan, SpanRunner
from latechunk.encoding.tokenizer import prepare_tokenizer, special_ids, split_prompt
from latechunk.errors import InputError, ModelError, PoolingError, QueryError
from latechunk.models.adapter_manifest import Bundle, FoundBundle, find_bundle
from latechunk.models.catalogue import (
    DEFAULT_MODEL,
    KnownModel,
    LocalGlobal,
    SpecialTokens,
    TaskSet,
    find_known_model,
    find_refused_model,
)
from latechunk.models.checkpoint import Checkpoint, find_checkpoint
from latechunk.models.device import Attention, Dtype, choose_device, choose_dtype, name_of
from latechunk.models.loader import AdapterFiles, LoadedModel, PoolingChoice, compile_forward, load_modules
from latechunk.types import FloatArray, PoolingTask, Settings, Tokens, WindowPlan, require_text

Context: TypeAlias = Literal["auto", "windows", "local-global"]

KIND = "sentence-transformers"  # in settings: tells this encoder from a user's own

_FINGERPRINTS = ("weights_sha256", "tokenizer_sha256", "config_sha256", "adapters_sha256")

_LOG = logging.getLogger("latechunk")
_LONG_WINDOW = 8_192


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What decides the vectors that an encoder gives; recorded in every index.

    Attributes:
        model: What the user called it; a label.
        revision: Commit of the hub's repository; a label.
        weights_sha256: Fingerprint of the weights.
        tokenizer_sha256: Fingerprint of the tokenizer.
        pooling: ``"checkpoint"`` if the model says of itself that it is mean-pooled, ``"mean"`` if the user says so.
        special_tokens: Whether special and prompt tokens count in a document's means; see :meth:`Encoder.load`.
        document_prompt: Text put before every window of a document.
        query_prompt: Text put before a query.
        window_tokens: Tokens of one forward pass, special tokens and prompt included.
        overlap_tokens: Content tokens that neighbouring windows share, at least.
        local_global: How a window longer than the model's useful length is read; None for in one plain pass.
        dims: Length of the vectors.
        document_task: What documents are encoded for, of a model with tasks.
        query_task: What queries are encoded for.
        config_sha256: Fingerprint of the model's settings.
        layer_norm: Whether a layer norm comes before the cut to fewer dims.
        adapters: Adapters that were trained over the model: its known name for those shipped with latechunk, else the
            folder's path; None without. A label.
        adapters_sha256: Fingerprint of what decides vectors in them.
    """

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


@dataclass(frozen=True)
class Encoder:
    """A mean-pooled transformer that reads documents whole. Make one with :meth:`load`.

    Safe to use from several threads. Implements :class:`latechunk.protocols.SpanEncoder`.
    """

    _settings: EncoderSettings
    device: torch.device
    dtype: torch.dtype
    _known: KnownModel | None = field(repr=False)
    _tasks: TaskSet = field(repr=False)
    _bundle: Bundle | None = field(repr=False)
    _model: LoadedModel = field(repr=False)
    _tokenizer: Any = field(repr=False)
    _plan: Plan = field(repr=False)
    _runner: SpanRunner = field(repr=False)
    _batch_tokens: int | None = field(repr=False)
    _compiled: bool = field(repr=False)

    @classmethod
    def load(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
        context: Context = "auto",
        local_global: LocalGlobal | None = None,
        window_tokens: int | None = None,
        overlap_tokens: int | None = None,
        dims: int | None = None,
        document_prompt: str | None = None,
        query_prompt: str | None = None,
        document_task: str | None = None,
        query_task: str | None = None,
        adapters: str | None = "auto",
        special_tokens: SpecialTokens | None = None,
        pooling: PoolingChoice = "checkpoint",
        batch_tokens: int | None = None,
        compile: bool = False,  # noqa: A002  torch's own word for it
        download: bool = True,
    ) -> Self:
        """Load a model.

        Args:
            model: ``"all-MiniLM-L6-v2"`` (carried by the extra ``minilm``, no download), another name that
                ``latechunk models`` lists, a folder, or the name of a repository on the model hub, which is downloaded
                if it is not on this machine.
            revision: Branch, tag or commit of the repository.
            device: ``"auto"`` for CUDA, then MPS, then CPU, or a device's name as torch has it.
            dtype: What the model computes in; means are in float32 whatever this is. ``"auto"`` takes bfloat16 on
                CUDA, on a CPU if a measurement finds it faster there (tens of milliseconds, once a process), and
                float32 elsewhere.
            attention: ``"auto"`` takes FlashAttention 2 where flash-attn is installed and device and dtype allow it,
                then with batches without padding, else what transformers prefers, which is SDPA for most models.
                ``"flash_attention_2"``, ``"sdpa"`` and ``"eager"`` are taken by name.
            context: ``"windows"`` reads each window in one plain pass. ``"local-global"`` gives an encoder of short
                texts a context of thousands of tokens: lower layers in windows of the length it was trained on, upper
                layers over everything; for BERT, RoBERTa and XLM-RoBERTa layouts. ``"auto"`` is ``"local-global"``
                where the settings of the model are known; with trained adapters it is what they were trained with.
            local_global: The settings of that; None for the adapters' or the known model's.
            window_tokens: Tokens read together, special tokens and prompt included. None for what trained adapters
                say, else 8,192 with ``"local-global"``, else for the useful length of a known model or what the
                checkpoint says it can read.
            overlap_tokens: Content tokens that neighbouring windows of a longer document share, at least. None for
                the known model's, else a quarter of a window, at most 256.
            dims: Length of the vectors, of a model trained for shorter ones (Matryoshka); they are cut before they
                are normalised. None for all.
            document_prompt: Text before every window of a document; None for the model's own.
            query_prompt: Text before a query; None for the model's own.
            document_task: What documents are encoded for, by the names of the model card, of a model with task
                adapters; None for passages to retrieve.
            query_task: What queries are encoded for; None for queries to retrieve with.
            adapters: ``"auto"`` for the adapters that the model is known to have, in its checkpoint or shipped with
                latechunk; a folder that latechunk's training wrote, for those; None for the model as it was published,
                without any. Documents are then read under the folder's document task, queries under its query task or,
                if it has none, by the model without adapters.
            special_tokens: ``"exclude"`` leaves special and prompt tokens out of the means, of documents and queries
                alike, which retrieved better on three of four evaluation sets; ``"include"`` adds those of every
                window that holds a part of the chunk, so that a chunk that is a whole document gets the model's own
                sentence embedding; ``"paper"`` adds the first ones to the first chunk and the last ones to the last.
                None for what trained adapters say, else ``"exclude"``.
            pooling: ``"mean"`` overrides what the checkpoint says (or does not say) of its pooling.
            batch_tokens: Padded tokens of one batch; None for what suits the device, which on CUDA is measured. If
                memory runs out, the batches are halved, and the log of ``latechunk`` says so.
            compile: Compile the forward pass with ``torch.compile``, for ``context="windows"``: the first passes take
                tens of seconds; later ones ran 1.24 times as fast in float32 on two CPU cores, and 1.04 times in
                bfloat16.
            download: False to use only what is on this machine.

        Raises:
            PoolingError: If the model is not mean-pooled.
            ModelError: If the model is missing, altered, incomplete, gives unusable vectors, or cannot be used; if
                adapters are missing or damaged, or were trained over other weights.
            MissingDependencyError: If it needs a package that is not installed, as adapters need peft.
            InputError: If an argument is out of range.
        """
        require_text(model, "model", InputError)
        _require_choice("pooling", pooling, ("checkpoint", "mean"))
        _require_choice("special_tokens", special_tokens, (None, "exclude", "include", "paper"))
        for name, value, least in (
            ("window_tokens", window_tokens, 1),
            ("overlap_tokens", overlap_tokens, 0),
            ("dims", dims, 1),
            ("batch_tokens", batch_tokens, 1),
        ):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
        _require_possible(model, pooling)
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        checkpoint = find_checkpoint(model, revision=revision, download=download)
        known = checkpoint.known
        if known and not known.takes_float16 and chosen_dtype == torch.float16:
            raise InputError(f'{model!r} overflows float16; pass dtype="bfloat16" or dtype="float32"')
        found = find_bundle(checkpoint, adapters)
        bundle, tasks = found.content if found else None, _tasks_of(known, found)
        chosen = _choose_local_global(checkpoint, bundle, context, local_global)
        loaded = load_modules(
            checkpoint,
            pooling=pooling,
            device=chosen_device,
            dtype=chosen_dtype,
            attention=_attention_for(attention, chosen, compile),
            adapters=_adapter_files(checkpoint, found, tasks),
        )
        tokenizer = prepare_tokenizer(model, loaded)
        prefix_ids, suffix_ids = special_ids(tokenizer)
        if window_tokens is None and bundle and context == "auto" and local_global is None:
            window_tokens = bundle.window_tokens
        window, overlap = _choose_window(checkpoint, loaded, chosen, window_tokens, overlap_tokens)
        special_tokens = special_tokens or (bundle.special_tokens if bundle else "exclude")
        sides = [
            _choose_side(model, loaded, known, tasks, side, task, prompt)
            for side, task, prompt in (
                ("document", document_task, document_prompt),
                ("query", query_task, query_prompt),
            )
        ]
        settings = EncoderSettings(
            model=model,
            revision=checkpoint.revision,
            weights_sha256=checkpoint.weights_sha256,
            tokenizer_sha256=checkpoint.tokenizer_sha256,
            pooling=pooling,
            special_tokens=special_tokens,
            document_prompt=sides[0][1],
            query_prompt=sides[1][1],
            window_tokens=window,
            overlap_tokens=overlap,
            local_global=chosen,
            dims=_choose_dims(model, loaded, known, dims),
            document_task=sides[0][0],
            query_task=sides[1][0],
            config_sha256=checkpoint.config_sha256,
            layer_norm=bool(known and known.layer_norm and (dims or loaded.dims) < loaded.dims),
            adapters=found.label if found else None,
            adapters_sha256=found.sha256 if found else None,
        )
        plan = Plan(
            prefix_ids=prefix_ids,
            suffix_ids=suffix_ids,
            window_tokens=window,
            overlap_tokens=overlap,
            special_tokens=special_tokens,
            local_global=chosen,
            dims=settings.dims,
            layer_norm=settings.layer_norm,
        )
        others = [task.prompt for task in tasks.tasks]
        _require_room(plan, tokenizer, (settings.document_prompt, settings.query_prompt, *others))
        if compile:
            compile_forward(loaded)
        encoder = cls(
            _settings=settings,
            device=chosen_device,
            dtype=chosen_dtype,
            _known=known,
            _tasks=tasks,
            _bundle=bundle,
            _model=loaded,
            _tokenizer=tokenizer,
            _plan=plan,
            _runner=SpanRunner(model, loaded, plan, device=chosen_device, batch_tokens=batch_tokens),
            _batch_tokens=batch_tokens,
            _compiled=compile,
        )
        encoder._test()
        if known and not known.is_open:
            _say_licence(known)
        return encoder

    def _test(self) -> None:
        """Encode a letter for each task: a model that computes nonsense says so now, not after a night of indexing."""
        try:
            self.encode_query("a")
            for task in self.tasks or (None,):
                self.encode_texts(["a"], task=task)
        except (RuntimeError, IndexError, TypeError, QueryError) as error:
            raise ModelError(
                f"{self._settings.model!r} loads and does not compute: {error}; its files do not belong together"
            ) from error

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        device: str = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
        batch_tokens: int | None = None,
        compile: bool = False,  # noqa: A002  torch's own word for it
    ) -> Self:
        """Load the encoder that an index recorded, from what is on this machine; nothing is downloaded.

        Args:
            settings: :attr:`settings` of an encoder.
            device: As for :meth:`load`, as are all others.
            dtype: What the model computes in.
            attention: How its layers attend.
            batch_tokens: Padded tokens of one batch.
            compile: Whether to compile the forward pass.

        Raises:
            ModelError: If the model or its adapters are not on this machine, or are no longer the same.
        """
        options = {name: value for name, value in settings.items() if name != "kind"}
        try:
            nested = options.get("local_global")
            wanted = EncoderSettings(**{**options, "local_global": LocalGlobal(**nested) if nested else None})
        except TypeError as error:
            raise ModelError(f"these are not the settings of an encoder of this version: {options}: {error}") from error
        encoder = cls.load(
            wanted.model,
            revision=wanted.revision,
            device=device,
            dtype=dtype,
            attention=attention,
            context="local-global" if wanted.local_global else "windows",
            local_global=wanted.local_global,
            window_tokens=wanted.window_tokens,
            overlap_tokens=wanted.overlap_tokens,
            dims=wanted.dims,
            document_prompt=wanted.document_prompt,
            query_prompt=wanted.query_prompt,
            document_task=wanted.document_task,
            query_task=wanted.query_task,
            adapters=adapters_argument(settings),
            special_tokens=wanted.special_tokens,
            pooling=wanted.pooling,
            batch_tokens=batch_tokens,
            compile=compile,
            download=False,
        )
        _require_same_adapters(wanted, encoder._settings)
        return encoder

    def __reduce__(self) -> tuple[Callable[[Settings, Settings], Encoder], tuple[Settings, Settings]]:
        """A pickled encoder is its settings; whoever unpickles it loads the model from the machine it is on."""
        return _unpickle, (self.settings, self.load_options)

    @staticmethod
    def fingerprint(
        model: str = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        adapters: str | None = "auto",
        download: bool = True,
    ) -> Settings:
        """What :meth:`load` with the same arguments would record of the files, as JSON, without loading the model.

        Returns:
            The fields of :attr:`settings` that end in ``_sha256``.

        Raises:
            ModelError: If the model or its adapters cannot be found.
        """
        checkpoint = find_checkpoint(model, revision=revision, download=download)
        found = find_bundle(checkpoint, adapters)
        hashes = {name: getattr(checkpoint, name) for name in _FINGERPRINTS if name != "adapters_sha256"}
        return {**hashes, "adapters_sha256": found.sha256 if found else None}

    @property
    def load_options(self) -> Settings:
        """The arguments with which :meth:`from_settings` loads an encoder that computes as this one does, as JSON."""
        return {
            "device": str(self.device),
            "dtype": name_of(self.dtype),
            "attention": self._model.attention,
            "batch_tokens": self._batch_tokens,
            "compile": self._compiled,
        }

    @property
    def adapters_argument(self) -> str | None:
        """What :meth:`load` takes as ``adapters`` to load those of this encoder."""
        return adapters_argument(self.settings)

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON."""
        return {"kind": KIND, **asdict(self._settings)}

    @property
    def runtime(self) -> Settings:
        """How this encoder computes here, as JSON: what may differ from machine to machine for the same vectors."""
        return {
            "device": str(self.device),
            "dtype": name_of(self.dtype),
            "attention": self._model.attention,
            "batches": "packed" if self._model.transformer.can_flatten_inputs else "padded",
            "batch_tokens": self._runner.batch_tokens,
            "compiled": self._compiled,
            **({"adapters": self._model.adapters.way} if self._model.adapters else {}),
        }

    @property
    def recommended_embedding(self) -> Settings:
        """How chunk vectors are best made: as the adapters say, or as was measured where documents are read whole."""
        if self._bundle:
            return {"mode": self._bundle.mode, "late_weight": self._bundle.late_weight}
        if self._known and self._settings.local_global:
            return {"mode": self._known.mode, "late_weight": self._known.late_weight}
        return {"mode": "late", "late_weight": 0.5}

    @property
    def batch_tokens(self) -> int:
        """Tokens of one batch; falls when memory runs out."""
        return self._runner.batch_tokens

    @property
    def tasks(self) -> tuple[str, ...]:
        """What there are adapters for, by the names of the model's or the adapters' card; empty without adapters."""
        return tuple(task.name for task in self._tasks.tasks)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, each with the document prompt, in order."""
        return self._tokenize(texts, self._settings.document_prompt)

    def tokenize_queries(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise queries, each with the query prompt, in order."""
        return self._tokenize(texts, self._settings.query_prompt)

    @property
    def parts(self) -> tuple[LoadedModel, Plan]:
        """The model in memory and how texts are read, for :mod:`latechunk.training`."""
        return self._model, self._plan

    def windows(self, tokens: Tokens) -> WindowPlan:
        """The windows in which a document of these tokens is read."""
        return self._runner.windows(tokens)

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read each text in context and pool its spans; see :class:`latechunk.protocols.SpanEncoder`.

        Raises:
            ModelError: If the model gives vectors that are not finite or are zero, or memory does not suffice for one
                window.
        """
        return self._runner.run(tasks, adapter=self._adapter(self._settings.document_task), on_progress=on_progress)

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query, of any length, to a unit vector, shape ``(dims,)``.

        Raises:
            QueryError: If the text is no string, cannot be UTF-8, or holds no token.
        """
        return np.asarray(self.encode_queries([text])[0], dtype=np.float32)

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode queries together, to unit vectors in order, shape ``(len(texts), dims)``.

        Raises:
            QueryError: If a text is no string, cannot be UTF-8, or holds no token.
        """
        for text in texts:
            require_text(text, "a query", QueryError)
        tokenised = self._tokenize(texts, self._settings.query_prompt)
        for text, tokens in zip(texts, tokenised, strict=True):
            if not len(tokens) or not text.strip():
                raise QueryError(f"a query must hold at least one token, and {text!r:.80} holds none")
        return self._encode_whole(tokenised, self._settings.query_task)

    def encode_texts(self, texts: Sequence[str], *, task: str | None = None) -> FloatArray:
        """Encode whole texts, of any length, each to one vector: to compare, cluster or classify them.

        Args:
            texts: What to encode.
            task: Of a model with tasks, what for, by the names of its card; with the task's own prompt. None to
                encode as documents of an index are.

        Returns:
            Unit vectors, shape ``(len(texts), dims)``.

        Raises:
            InputError: If the model has no such task, or a text is no string, cannot be UTF-8 or holds no token.
        """
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise InputError(
                f"encode_texts takes a list of texts, got {type(texts).__name__}: pass [text], list(texts)"
            )
        for text in texts:
            require_text(text, "a text", InputError)
        prompt = self._settings.document_prompt
        if task is not None:
            task, prompt = _choose_side(
                self._settings.model, self._model, self._known, self._tasks, "document", task, None
            )
        tokenised = self._tokenize(texts, prompt)
        for text, tokens in zip(texts, tokenised, strict=True):
            if not len(tokens) or not text.strip():
                raise InputError(f"a text must hold at least one token, and {text!r:.80} holds none")
        return self._encode_whole(tokenised, task or self._settings.document_task)

    def _encode_whole(self, tokenised: Sequence[Tokens], task: str | None) -> FloatArray:
        pooled = [PoolingTask(tokens, np.array([[0, len(tokens)]], dtype=np.int64)) for tokens in tokenised]
        vectors = self._runner.run(pooled, adapter=self._adapter(task))
        return np.concatenate(vectors) if vectors else np.zeros((0, self._settings.dims), dtype=np.float32)

    def _adapter(self, task: str | None) -> str | None:
        found = self._tasks.find(task)
        return found.adapter if found else None

    def _tokenize(self, texts: Sequence[str], prompt: str) -> list[Tokens]:
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts], add_special_tokens=False)
        return [
            split_prompt(encoding.ids, encoding.offsets, len(prompt), len(text))
            for encoding, text in zip(encodings, texts, strict=True)
        ]


def _unpickle(settings: Settings, options: Settings) -> Encoder:
    """Load a pickled encoder.

    Raises:
        ModelError: If the model is not on this machine, or its files differ from those of the encoder that was pickled.
    """
    encoder = Encoder.from_settings(settings, **options)
    differing = [name for name in _FINGERPRINTS if encoder.settings[name] != settings[name]]
    if differing:
        raise ModelError(
            f"the encoder that was pickled and the files of {settings['model']!r} on this machine differ in "
            f"{', '.join(differing)}; bring the same files here, or load the encoder here in place of a pickled one"
        )
    return encoder


def adapters_argument(settings: Settings) -> str | None:
    """What :meth:`Encoder.load` takes as ``adapters`` to load those that an encoder's settings record.

    Settings without adapters mean the published model, whatever latechunk ships for it by now; those of a model whose
    checkpoint has its own record a task of documents, and no trained adapters.
    """
    label = settings.get("adapters")
    if settings.get("adapters_sha256") is None:
        return None if settings.get("document_task") is None else "auto"
    return "auto" if label is None or find_known_model(label) else str(label)


def _require_same_adapters(wanted: EncoderSettings, loaded: EncoderSettings) -> None:
    if wanted.adapters_sha256 != loaded.adapters_sha256:
        raise ModelError(
            f"the adapters {wanted.adapters!r} of SHA-256 {wanted.adapters_sha256} were needed, and "
            f"{loaded.adapters!r} of SHA-256 {loaded.adapters_sha256} came: they have changed since. Bring those back "
            f"(shipped ones come with the version of latechunk that an index records), or make a new index"
        )


def _tasks_of(known: KnownModel | None, found: FoundBundle | None) -> TaskSet:
    """What there are adapters for; trained ones take the place of the checkpoint's own."""
    if found:
        return found.content.task_set
    return known.task_set if known else TaskSet()


def _adapter_files(checkpoint: Checkpoint, found: FoundBundle | None, tasks: TaskSet) -> AdapterFiles | None:
    return AdapterFiles(found.folder if found else checkpoint.folder, tasks.adapters) if tasks.adapters else None


@functools.cache
def _say_licence(known: KnownModel) -> None:
    what = "not for commercial use" if "-NC-" in known.licence else "read them before you use or share it"
    _LOG.warning("the weights of %s are under %s: %s", known.name, known.licence, what)


def _require_possible(name: str, pooling: PoolingChoice) -> None:
    """Raise for a model that is known not to work, before anything is downloaded."""
    known, refused = find_known_model(name), find_refused_model(name)
    if known and known.obstacle:
        raise ModelError(f"{name!r} cannot be loaded: {known.obstacle}; `latechunk models` lists what can")
    if refused and pooling == "checkpoint":
        raise PoolingError(
            f"{name!r} {refused.reason}. Late chunking takes means of token embeddings, which only a model trained "
            f"with mean pooling makes sense of; `latechunk models` lists some. To try it all the same, pass "
            f'pooling="mean"'
        )


def _require_choice(name: str, value: Any, choices: tuple[str | None, ...]) -> Any:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def _attention_for(attention: Attention, local_global: LocalGlobal | None, compiled: bool) -> Attention:
    """Local-global context brings block attention of its own, which is SDPA."""
    if local_global and compiled:
        raise InputError('compile=True is for context="windows"; local-global context runs the layers one by one')
    if local_global and attention == "flash_attention_2":
        raise InputError('local-global context attends by SDPA; pass context="windows" to use FlashAttention 2')
    return "sdpa" if local_global and attention == "auto" else attention


def _require_room(plan: Plan, tokenizer: Any, prompts: Sequence[str]) -> None:
    """Raise unless a window holds more content, beside special tokens and the prompt, than it shares."""
    sizes = [("window_tokens", plan.window_tokens, "overlap_tokens", plan.overlap_tokens)]
    if long := plan.local_global:
        sizes.append(("local_tokens", long.local_tokens, "local_overlap", long.local_overlap))
    for prompt in prompts:
        n_prompt = len(tokenizer.encode(prompt, add_special_tokens=False).ids)
        n_beside = len(plan.prefix_ids) + len(plan.suffix_ids) + n_prompt
        for name, size, overlap_name, overlap in sizes:
            if size - n_beside <= overlap:
                raise InputError(
                    f"a window of {size} tokens ({name}) holds {size - n_beside} content tokens beside its special "
                    f"tokens and the prompt {prompt!r:.60}, which must be more than the overlap of {overlap} "
                    f"({overlap_name}); make the window larger or the overlap smaller"
                )


def _choose_dims(name: str, model: LoadedModel, known: KnownModel | None, dims: int | None) -> int:
    known_sizes = {*(known.matryoshka if known else ()), *model.matryoshka}
    sizes = sorted({size for size in known_sizes if 0 < size < model.dims} | {model.dims})
    if dims is None or dims in sizes:
        return dims or model.dims
    raise InputError(
        f"{name!r} has vectors of {', '.join(map(str, sizes))} dims, got dims={dims}"
        + ("" if len(sizes) > 1 else "; it is not known to have been trained for shorter ones")
    )


def _choose_side(
    name: str,
    model: LoadedModel,
    known: KnownModel | None,
    tasks: TaskSet,
    side: str,
    task: str | None,
    prompt: str | None,
) -> tuple[str | None, str]:
    """Task and prompt of documents or of queries."""
    if prompt is not None:
        require_text(prompt, "a prompt", InputError)
    wanted = task or (tasks.document_task if side == "document" else tasks.query_task)
    if tasks.tasks and wanted is not None:
        found = tasks.find(wanted)
        if found is None:
            raise InputError(f"{name!r} has the tasks {', '.join(one.name for one in tasks.tasks)}, got {wanted!r}")
        return found.name, found.prompt if prompt is None else prompt
    if task is not None:
        raise InputError(f"{name!r} has no task adapters, got the task {task!r}; leave it out")
    if prompt is None:
        prompt = getattr(known, f"{side}_prompt") if known else None
    keys = ("document", "passage") if side == "document" else ("query",)
    own = next((text for key in keys if (text := model.prompts.get(key))), "")
    return None, own if prompt is None else prompt


def _choose_local_global(
    checkpoint: Checkpoint, bundle: Bundle | None, context: Context, given: LocalGlobal | None
) -> LocalGlobal | None:
    _require_choice("context", context, ("auto", "windows", "local-global"))
    if given is not None and not isinstance(given, LocalGlobal):
        raise InputError(f"local_global must be a latechunk.LocalGlobal or None, got {given!r:.80}")
    known = checkpoint.known.local_global if checkpoint.known else None
    known = (bundle.local_global if bundle else None) or known
    if context == "windows":
        if given:
            raise InputError('local_global has no effect with context="windows"; leave one of them out')
        return None
    if context == "local-global" and not (given or known):
        raise InputError(
            f"no settings for local-global context are known for {checkpoint.name!r}; "
            f"pass local_global=LocalGlobal(...)"
        )
    if bundle and context == "auto":
        return given or bundle.local_global
    return given or known


def _choose_window(
    checkpoint: Checkpoint,
    model: LoadedModel,
    local_global: LocalGlobal | None,
    window: int | None,
    overlap: int | None,
) -> tuple[int, int]:
    known = checkpoint.known
    if window is None:
        longest = known.window_tokens if known else model.max_length or model.n_positions
        window = _LONG_WINDOW if local_global else longest
    if window is None:
        raise InputError(f"{checkpoint.name!r} does not say how long a text it can read; pass window_tokens")
    name, in_one_pass = ("local_tokens", local_global.local_tokens) if local_global else ("window_tokens", window)
    if model.n_positions is not None and in_one_pass > model.n_positions:
        raise InputError(f"{name} must be at most the {model.n_positions} positions of the model, got {in_one_pass}")
    if overlap is None:
        is_known = known and window == known.window_tokens
        overlap = known.overlap_tokens if known and is_known else min(256, window // 4)
    return window, overlap
