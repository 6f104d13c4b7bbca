"""The encoder: a mean-pooled model that turns texts into contextual unit vectors of their spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import torch

from latechunk.encoding.batching import SpanRunner
from latechunk.encoding.chunk_aware import encode_separated
from latechunk.encoding.config import (
    ModelChoice,
    choose_model,
    choose_settings,
    choose_side,
    make_plan,
    sizes_of,
    warn_of_licence,
)
from latechunk.encoding.query_batching import JoinedCalls
from latechunk.encoding.settings import (
    FINGERPRINTS,
    Context,
    EncoderSettings,
    LoadOptions,
    options_from,
    require_same_adapters,
    require_same_files,
)
from latechunk.encoding.tokenizer import prepare_tokenizer, tokenize
from latechunk.encoding.windows import Plan
from latechunk.errors import InputError, ModelError, QueryError
from latechunk.models.adapter_manifest import find_adapters
from latechunk.models.bert import BertTransformer
from latechunk.models.catalogue import DEFAULT_MODEL, LocalGlobal, SpecialTokens
from latechunk.models.checkpoint import find_checkpoint
from latechunk.models.device import Attention, Dtype, name_of
from latechunk.models.loaded import LoadedModel, PoolingChoice, compile_forward
from latechunk.types import FloatArray, PoolingTask, Settings, Tokens, WindowPlan, require_text

_MOST_QUERY_TOKENS = 8_192  # seconds of two CPU cores with the default model
KIND = "sentence-transformers"  # in settings: tells this encoder from a user's own


@dataclass(frozen=True, eq=False)  # equal to itself alone, as its model is, so that it may be a key
class Encoder:
    """A mean-pooled transformer that reads documents whole. Make one with ``load``.

    Safe to use from several threads. Implements ``latechunk.protocols.SpanEncoder``.

    Examples:
        >>> encoder = Encoder.load()  # doctest: +SKIP
        >>> encoder.encode_query("How many people live in Berlin?").shape  # doctest: +SKIP
        (384,)
    """

    _settings: EncoderSettings
    _choice: ModelChoice = field(repr=False)
    _model: LoadedModel = field(repr=False)
    _tokenizer: Any = field(repr=False)
    _plan: Plan = field(repr=False)
    _runner: SpanRunner = field(repr=False)
    _adapter_of: Mapping[str | None, str] = field(repr=False)  # by the names of tasks

    def __new__(cls, *parts: object, **_: object) -> Self:
        """Refuse what is no call of ``load``'s."""
        if not parts or not isinstance(parts[0], EncoderSettings):
            raise InputError("an encoder is loaded: Encoder.load(), or Encoder.load(name) for another model")
        return super().__new__(cls)

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
            model: ``"multilingual-e5-small-q4"`` (in the extra ``multilingual``, no download), ``"all-MiniLM-L6-v2"``
                (English, in the extra ``minilm``), another name that ``latechunk models`` lists, a folder, or a
                repository on the model hub, which is downloaded if it is not on this machine.
            revision: Branch, tag or commit of the repository.
            device: ``"auto"`` for CUDA, then MPS, then CPU, or a device's name as torch has it.
            dtype: What the model computes in; means are in float32 whatever this is. ``"auto"`` takes bfloat16 on
                CUDA and on CPUs with instructions for it (AVX512-BF16, AMX, ARM's BF16), and float32 elsewhere;
                of the two embedded models int8 on other CPUs that have VNNI, where it is 2.2 times as fast.
            attention: ``"auto"`` takes FlashAttention 2 where flash-attn is installed and device and dtype allow it,
                then with batches without padding, else what transformers prefers, which is SDPA for most models.
            context: ``"windows"`` reads each window in one plain pass. ``"local-global"`` gives an encoder of short
                texts a context of thousands of tokens: lower layers in windows of the length it was trained on, upper
                layers over everything; for BERT, RoBERTa and XLM-RoBERTa layouts. ``"chunks"`` reads a document as its
                chunks with the model's separator between them, for models trained so, which then see where chunks end;
                ``"windows"`` gives such a model's plain late chunking. ``"auto"`` is ``"local-global"`` where the
                settings of the model are known, and ``"chunks"`` for a model trained so; with trained adapters it is
                what they were trained with.
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
            document_task: What documents are encoded for, of a model with task adapters; None for passages to retrieve.
            query_task: What queries are encoded for; None for queries to retrieve with.
            adapters: ``"auto"`` for those that the model is known to have, in its checkpoint or shipped with latechunk;
                a folder that latechunk's training wrote; None for the model as it was published. Where a folder has
                no query task, queries are read by the model without adapters.
            special_tokens: ``"exclude"`` leaves special and prompt tokens out of all means, which retrieved better on
                three of four evaluation sets; ``"include"`` adds those of every window that holds a part of the chunk,
                so that a chunk that is a whole document gets the model's own sentence embedding. None for what trained
                adapters say, else ``"exclude"``.
            pooling: ``"mean"`` overrides what the checkpoint says (or does not say) of its pooling.
            batch_tokens: Padded tokens of one batch; None for what suits the device, which on CUDA is measured. If
                memory runs out, the batches are halved, and the log of ``latechunk`` says so.
            compile: Compile the forward pass, for ``context="windows"``: the first passes take tens of seconds; later
                ones ran 1.24 times as fast in float32 on two CPU cores, and 1.04 times in bfloat16.
            download: False to use only what is on this machine.

        Raises:
            PoolingError: If the model is not mean-pooled.
            ModelError: If the model is missing, altered, incomplete, gives unusable vectors, or cannot be used; if
                adapters are missing or damaged, or were trained over other weights.
            MissingDependencyError: If it needs a package that is not installed, as adapters need peft.
            InputError: If an argument is out of range.

        Examples:
            >>> Encoder.load("all-MiniLM-L6-v2", adapters=None, context="windows").settings["window_tokens"]
            128
        """
        arguments = {**locals()}  # by name, as the options have them
        del arguments["cls"]
        return cls._load(LoadOptions(**arguments))

    @classmethod
    def _load(cls, options: LoadOptions) -> Self:
        choice, loaded = choose_model(options).load()
        tokenizer = prepare_tokenizer(options.model, loaded)
        settings = choose_settings(choice, loaded)
        plan = make_plan(settings, choice.tasks, tokenizer)
        if options.compile:
            compile_forward(loaded)
        runner = SpanRunner(options.model, loaded, plan, device=choice.device, batch_tokens=options.batch_tokens)
        adapters: dict[str | None, str] = {task.name: task.adapter for task in choice.tasks.tasks}
        encoder = cls(settings, choice, loaded, tokenizer, plan, runner, adapters)
        encoder._try_out()
        if choice.known:
            warn_of_licence(choice.known)
        return encoder

    def _try_out(self) -> None:
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

        The other arguments are those of ``load``.

        Raises:
            ModelError: If the model or its adapters are not on this machine, or are no longer the same.
        """
        wanted = EncoderSettings.recorded(settings)
        options = options_from(
            wanted, device=device, dtype=dtype, attention=attention, batch_tokens=batch_tokens, compile=compile
        )
        encoder = cls._load(options)
        require_same_adapters(wanted, encoder._settings)
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
        """What ``load`` with the same arguments would record of the files, as JSON, without loading the model.

        Returns:
            The fields of ``settings`` that end in ``_sha256``.

        Raises:
            ModelError: If the model or its adapters cannot be found.
        """
        checkpoint = find_checkpoint(model, revision=revision, download=download)
        found = find_adapters(checkpoint, adapters)
        hashes = {name: getattr(checkpoint, name) for name in FINGERPRINTS if name != "adapters_sha256"}
        return {**hashes, "adapters_sha256": found.sha256 if found else None}

    @property
    def load_options(self) -> Settings:
        """The arguments with which ``from_settings`` loads an encoder that computes as this one does, as JSON.

        Int8 that ``"auto"`` chose stays ``"auto"``, since other devices and processors have none.
        """
        dtype = name_of(self.dtype)
        return {
            "device": str(self.device),
            "dtype": self._choice.options.dtype if dtype == "int8" else dtype,
            "attention": self._model.attention,
            "batch_tokens": self._choice.options.batch_tokens,
            "compile": self._choice.options.compile,
        }

    @property
    def adapters_argument(self) -> str | None:
        """What ``load`` takes as ``adapters`` to load those of this encoder."""
        return self._settings.adapters_argument

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._choice.device

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        return self._choice.dtype

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON."""
        return {"kind": KIND, **self._settings.model_dump()}

    @property
    def runtime(self) -> Settings:
        """How this encoder computes here, as JSON: what may differ from machine to machine for the same vectors."""
        return {
            "device": str(self.device),
            "dtype": name_of(self.dtype),
            "attention": self._model.attention,
            "batches": "packed" if self._model.transformer.can_flatten_inputs else "padded",
            "batch_tokens": self._runner.batch_tokens,
            "compiled": self._choice.options.compile,
            **({"adapters": self._model.adapters.way} if self._model.adapters else {}),
        }

    @property
    def recommended_embedding(self) -> Settings:
        """How chunk vectors are best made: as the adapters say, or as was measured where documents are read whole."""
        return self._choice.recommended_embedding

    @property
    def batch_tokens(self) -> int:
        """Tokens of one batch; falls when memory runs out."""
        return self._runner.batch_tokens

    @property
    def tasks(self) -> tuple[str, ...]:
        """What there are adapters for, by the names of the model's or the adapters' card; empty without adapters."""
        return tuple(task.name for task in self._choice.tasks.tasks)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths, ascending, that ``shorten`` cuts vectors to; the last is that of the vectors as they are."""
        return tuple(size for size in sizes_of(self._choice, self._model) if size <= self._settings.dims)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, each with the document prompt, in order.

        Examples:
            >>> encoder.tokenize(["Berlin is big."])[0].offsets.tolist()
            [[0, 6], [6, 9], [9, 13], [13, 14]]
        """
        _require_list("tokenize", texts)
        return tokenize(self._tokenizer, self._settings.document_prompt, texts)

    def tokenize_queries(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise queries, each with the query prompt, in order."""
        _require_list("tokenize_queries", texts)
        return tokenize(self._tokenizer, self._settings.query_prompt, texts)

    @cached_property
    def parts(self) -> tuple[LoadedModel, Plan]:
        """The model with the modules of transformers, and how texts are read, for ``latechunk.training``."""
        is_fast = isinstance(self._model.transformer, BertTransformer)
        return self._choice.load_trainable() if is_fast else self._model, self._plan

    def windows(self, tokens: Tokens) -> WindowPlan:
        """The windows in which a document of these tokens is read; with ``context="chunks"``, without its separators.

        Examples:
            >>> len(encoder.windows(encoder.tokenize(["Berlin is big."])[0]))
            1
        """
        return self._plan.windows(tokens)

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read each text in context and pool its spans; see ``latechunk.protocols.SpanEncoder``.

        Raises:
            ModelError: If the model gives vectors that are not finite or are zero, or memory does not suffice for one
                window.
        """
        separator = self._plan.separator_id
        if separator is None:
            return self._encode_documents(tasks, on_progress=on_progress)
        return encode_separated(tasks, separator, self._encode_documents, on_progress)

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query to a unit vector, shape ``(dims,)``.

        It may have 8,192 tokens, or as many as one window of the model if those are more; nothing is cut off.

        Queries that several threads encode at the same time go through the model together, which is several times
        as fast; a vector may then differ by rounding, some 1e-7, from that of the query alone.

        Raises:
            QueryError: If the text is no string, cannot be UTF-8, holds no token, or holds too many.

        Examples:
            >>> encoder.encode_query("people in Berlin").shape
            (384,)
        """
        (tokens,) = self._tokenize_queries([text])
        return self._encode_joined(tokens)

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Encode queries together, to unit vectors in order, shape ``(len(texts), dims)``.

        Raises:
            QueryError: If a text is no string, cannot be UTF-8, holds no token, or holds too many.
            InputError: If ``texts`` is no list or the like.

        Examples:
            >>> encoder.encode_queries(["people in Berlin", "the Seine"]).shape
            (2, 384)
        """
        _require_list("encode_queries", texts)
        return self._encode_whole(self._tokenize_queries(texts), self._adapter_of.get(self._settings.query_task))

    def encode_texts(self, texts: Sequence[str], *, task: str | None = None) -> FloatArray:
        """Encode whole texts, of any length, each to one vector: to compare, cluster or classify them.

        Args:
            texts: What to encode.
            task: Of a model with tasks, what for, with the task's own prompt; None to encode as an index encodes a
                document of a single chunk. Adapters that latechunk trains for documents do not change these.

        Returns:
            Unit vectors, shape ``(len(texts), dims)``.

        Raises:
            InputError: If the model has no such task, or a text is no string, cannot be UTF-8 or holds no token.

        Examples:
            >>> encoder.encode_texts(["Berlin is big.", "Paris is bigger."]).shape
            (2, 384)
        """
        _require_list("encode_texts", texts)
        prompt = self._settings.document_prompt
        if task is not None:
            task, prompt = choose_side(self._choice, self._model, "document", task, None)
        adapter = self._adapter(task or self._settings.document_task, is_whole=True)
        return self._encode_whole(self._tokenize_checked(texts, prompt, "a text", InputError), adapter)

    def shorten(self, vectors: FloatArray, dims: int) -> FloatArray:
        """Cut this encoder's vectors to a length that the model was trained for (Matryoshka).

        They equal those of the same model loaded with ``dims``.

        Args:
            vectors: Unit vectors, shape ``(n, self.settings["dims"])``.
            dims: How many numbers to keep.

        Returns:
            Unit vectors, float32, shape ``(n, dims)``.

        Raises:
            InputError: If the model was not trained for so short vectors, those of this encoder are shorter, or these
                are none of it.

        Examples:
            >>> vectors = encoder.encode_texts(["Berlin is big."])
            >>> encoder.shorten(vectors, 384).shape
            (1, 384)
        """
        own, sizes = self._settings.dims, self.sizes
        if dims not in sizes:
            only = "" if len(sizes) > 1 else "; it is not known to have been trained for shorter ones"
            raise InputError(
                f"{self._settings.model!r} has vectors of {', '.join(map(str, sizes))} dims, got {dims!r:.40}{only}"
            )
        if not isinstance(vectors, np.ndarray) or vectors.shape[1:] != (own,):
            got = f"shape {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
            raise InputError(f"shorten takes an array of this encoder's vectors, shape (n, {own}), got {got}")
        kept = vectors.astype(np.float64)
        if self._choice.known and self._choice.known.layer_norm and own == self._model.dims > dims:
            kept = kept - kept.mean(axis=1, keepdims=True)  # the norm's scale goes with the unit length
        kept = kept[:, :dims]
        return np.asarray(kept / np.linalg.norm(kept, axis=1, keepdims=True), dtype=np.float32)

    @cached_property
    def _encode_joined(self) -> JoinedCalls[Tokens, FloatArray]:
        adapter = self._adapter_of.get(self._settings.query_task)
        return JoinedCalls(lambda tokenised: list(self._encode_whole(tokenised, adapter)))

    def _tokenize_queries(self, texts: Sequence[str]) -> list[Tokens]:
        tokenised = self._tokenize_checked(texts, self._settings.query_prompt, "a query", QueryError)
        most, longest = max(_MOST_QUERY_TOKENS, self._settings.window_tokens), max(map(len, tokenised), default=0)
        if longest > most:
            raise QueryError(
                f"a query may have {most:,} tokens, and this one has {longest:,}; ask a shorter one, or encode the "
                f"text with encode_texts and search with search_by_vector"
            )
        return tokenised

    def _tokenize_checked(self, texts: Sequence[str], prompt: str, what: str, error: type[InputError]) -> list[Tokens]:
        for text in texts:
            require_text(text, what, error)
        tokenised = tokenize(self._tokenizer, prompt, texts)
        for text, tokens in zip(texts, tokenised, strict=True):
            if not len(tokens) or not text.strip():
                raise error(f"{what} must hold at least one token, and {text!r:.80} holds none")
        return tokenised

    def _encode_documents(
        self, tasks: Sequence[PoolingTask], *, on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read texts as documents, each under the adapter that is for it."""
        task = self._settings.document_task
        adapters = [self._adapter(task, is_whole=one.is_whole) for one in tasks]
        vectors: dict[int, FloatArray] = {}
        for adapter in dict.fromkeys(adapters):
            places = [place for place, own in enumerate(adapters) if own == adapter]
            report = partial(_report, places, on_progress) if on_progress else None
            own_tasks = [tasks[place] for place in places]
            vectors |= zip(places, self._runner.run(own_tasks, adapter=adapter, on_progress=report), strict=True)
        return [vectors[place] for place in range(len(tasks))]

    def _adapter(self, task: str | None, *, is_whole: bool) -> str | None:
        """The adapter that a text is read under for a task; ``is_whole`` where it is pooled as one span.

        What training adapts is the reading of documents in context: a text for itself is read as the model always was.
        """
        manifest = self._choice.manifest
        is_for_context = manifest is not None and task == manifest.document_task
        return None if is_whole and is_for_context else self._adapter_of.get(task)

    def _encode_whole(self, tokenised: Sequence[Tokens], adapter: str | None) -> FloatArray:
        pooled = [PoolingTask.whole(tokens) for tokens in tokenised]
        vectors = self._runner.run(pooled, adapter=adapter)
        return np.concatenate(vectors) if vectors else np.zeros((0, self._settings.dims), dtype=np.float32)


def _require_list(name: str, texts: object) -> None:
    """Raise an InputError for one text, or what can be gone through once alone; ``name`` is the method's."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InputError(f"{name} takes a list of texts, got {type(texts).__name__}: pass [text], list(texts)")


def _report(places: Sequence[int], on_progress: Callable[[int, int], None], task: int, n_tokens: int) -> None:
    on_progress(places[task], n_tokens)


def _unpickle(settings: Settings, options: Settings) -> Encoder:
    encoder = Encoder.from_settings(settings, **options)
    require_same_files(EncoderSettings.recorded(settings), encoder._settings)
    return encoder
