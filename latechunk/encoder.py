"""Texts in, contextual unit vectors of their spans out: the forward passes of a mean-pooled encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from latechunk.checkpoint import Checkpoint, LoadedModel, PoolingChoice, find_checkpoint, load_modules
from latechunk.errors import InputError, ModelError, QueryError
from latechunk.hardware import Dtype, choose_device, choose_dtype
from latechunk.localglobal import LocalGlobalPass, TokenSequence
from latechunk.models import DEFAULT_MODEL, LocalGlobal
from latechunk.pooling import PoolingPlan, SpecialTokens, plan_pooling, rows_to_sum
from latechunk.tokens import prepare_tokenizer, special_ids, split_prompt
from latechunk.types import FloatArray, IntArray, PoolingTask, Settings, Tokens, require_text
from latechunk.windows import WindowPlan, plan_windows

Context: TypeAlias = Literal["auto", "windows", "local-global"]

KIND = "sentence-transformers"  # in settings: tells this encoder from a user's own

_LONG_WINDOW = 8_192

# On two CPU cores batches of 4,096 tokens ran fastest: 32 windows of 128 tokens gave 12.4 thousand tokens a second in
# float32 and 52.8 in bfloat16, 256 windows 8.1 and 29.0, because their states no longer fit the caches.
_BATCH_TOKENS = {"cpu": 4_096, "mps": 8_192, "cuda": 65_536}


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


@dataclass(frozen=True, slots=True)
class _Job:
    """One text on its way: its windows and the sums of its spans so far, shape ``(n_spans, hidden)``."""

    tokens: Tokens
    windows: WindowPlan
    plan: PoolingPlan
    sums: FloatArray


@dataclass(frozen=True)
class Encoder:
    """A mean-pooled transformer that reads documents whole. Make one with :meth:`load`.

    Safe to use from several threads. Implements :class:`latechunk.types.SpanEncoder`.
    """

    _settings: EncoderSettings
    device: torch.device
    dtype: torch.dtype
    batch_tokens: int
    _model: LoadedModel = field(repr=False)
    _tokenizer: Any = field(repr=False)
    _prefix_ids: tuple[int, ...] = field(repr=False)
    _suffix_ids: tuple[int, ...] = field(repr=False)
    _long_pass: LocalGlobalPass | None = field(repr=False)

    @classmethod
    def load(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: Dtype = "auto",
        context: Context = "auto",
        local_global: LocalGlobal | None = None,
        window_tokens: int | None = None,
        overlap_tokens: int | None = None,
        document_prompt: str | None = None,
        query_prompt: str | None = None,
        special_tokens: SpecialTokens = "exclude",
        pooling: PoolingChoice = "checkpoint",
        batch_tokens: int | None = None,
        download: bool = True,
    ) -> Self:
        """Load a model.

        Args:
            model: ``"all-MiniLM-L6-v2"`` (carried by the extra ``minilm``, no download), a folder, or the name of a
                repository on the model hub, which is downloaded if it is not on this machine.
            revision: Branch, tag or commit of the repository.
            device: ``"auto"`` for CUDA, then MPS, then CPU, or a device's name as torch has it.
            dtype: What the model computes in; means are in float32 whatever this is. ``"auto"`` takes bfloat16 on
                CUDA, on a CPU if a measurement finds it faster there (tens of milliseconds, once a process), and
                float32 elsewhere.
            context: ``"windows"`` reads each window in one plain pass. ``"local-global"`` gives an encoder of short
                texts a context of thousands of tokens: lower layers in windows of the length it was trained on, upper
                layers over everything; for BERT, RoBERTa and XLM-RoBERTa layouts. ``"auto"`` is ``"local-global"``
                where the settings of the model are known.
            local_global: The settings of that; None for the known model's.
            window_tokens: Tokens read together, special tokens and prompt included. None for 8,192 with
                ``"local-global"``, else for the useful length of a known model or what the checkpoint says it can read.
            overlap_tokens: Content tokens that neighbouring windows of a longer document share, at least. None for
                the known model's, else a quarter of a window, at most 256.
            document_prompt: Text before every window of a document; None for the model's own.
            query_prompt: Text before a query; None for the model's own.
            special_tokens: ``"exclude"`` leaves special and prompt tokens out of the means, of documents and queries
                alike, which retrieved better on three of four evaluation sets; ``"include"`` adds those of every
                window that holds a part of the chunk, so that a chunk that is a whole document gets the model's own
                sentence embedding; ``"paper"`` adds the first ones to the first chunk and the last ones to the last.
            pooling: ``"mean"`` overrides what the checkpoint says (or does not say) of its pooling.
            batch_tokens: Padded tokens of one batch; None for what suits the device.
            download: False to use only what is on this machine.

        Raises:
            PoolingError: If the model is not mean-pooled.
            ModelError: If the model is missing, altered, incomplete, or cannot be used.
            InputError: If an argument is out of range.
        """
        require_text(model, "model", InputError)
        _require_choice("pooling", pooling, ("checkpoint", "mean"))
        for name, value, least in (
            ("window_tokens", window_tokens, 1),
            ("overlap_tokens", overlap_tokens, 0),
            ("batch_tokens", batch_tokens, 1),
        ):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        checkpoint = find_checkpoint(model, revision=revision, download=download)
        loaded = load_modules(checkpoint, pooling=pooling, device=chosen_device, dtype=chosen_dtype)
        known = checkpoint.known
        tokenizer = prepare_tokenizer(model, loaded)
        prefix_ids, suffix_ids = special_ids(tokenizer)
        chosen = _choose_local_global(checkpoint, context, local_global)
        window, overlap = _choose_window(checkpoint, loaded, chosen, window_tokens, overlap_tokens)
        batch = batch_tokens or _BATCH_TOKENS.get(chosen_device.type, 8_192)
        settings = EncoderSettings(
            model=model,
            revision=checkpoint.revision,
            weights_sha256=checkpoint.weights_sha256,
            tokenizer_sha256=checkpoint.tokenizer_sha256,
            pooling=pooling,
            special_tokens=_require_choice("special_tokens", special_tokens, ("exclude", "include", "paper")),
            document_prompt=_find_prompt(
                loaded, ("document", "passage"), document_prompt, known.document_prompt if known else None
            ),
            query_prompt=_find_prompt(loaded, ("query",), query_prompt, known.query_prompt if known else None),
            window_tokens=window,
            overlap_tokens=overlap,
            local_global=chosen,
            dims=loaded.dims,
        )
        encoder = cls(
            _settings=settings,
            device=chosen_device,
            dtype=chosen_dtype,
            batch_tokens=batch,
            _model=loaded,
            _tokenizer=tokenizer,
            _prefix_ids=prefix_ids,
            _suffix_ids=suffix_ids,
            _long_pass=LocalGlobalPass(
                loaded.transformer.model, chosen, pad_id=loaded.tokenizer.pad_token_id or 0, batch_tokens=batch
            )
            if chosen
            else None,
        )
        for prompt in (settings.document_prompt, settings.query_prompt):
            encoder._require_room(prompt)
        return encoder

    @classmethod
    def from_settings(cls, settings: Settings, *, device: str = "auto", dtype: Dtype = "auto") -> Self:
        """Load the encoder that an index recorded, from what is on this machine.

        Raises:
            ModelError: If the model is not on this machine, or is no longer the same.
        """
        options = {name: value for name, value in settings.items() if name != "kind"}
        try:
            nested = options.get("local_global")
            wanted = EncoderSettings(**{**options, "local_global": LocalGlobal(**nested) if nested else None})
        except TypeError as error:
            raise ModelError(f"these are not the settings of an encoder of this version: {options}: {error}") from error
        return cls.load(
            wanted.model,
            revision=wanted.revision,
            device=device,
            dtype=dtype,
            context="local-global" if wanted.local_global else "windows",
            local_global=wanted.local_global,
            window_tokens=wanted.window_tokens,
            overlap_tokens=wanted.overlap_tokens,
            document_prompt=wanted.document_prompt,
            query_prompt=wanted.query_prompt,
            special_tokens=wanted.special_tokens,
            pooling=wanted.pooling,
            download=False,
        )

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON."""
        return {"kind": KIND, **asdict(self._settings)}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise documents, each with the document prompt, in order."""
        return self._tokenize(texts, self._settings.document_prompt)

    def encode_spans(
        self, tasks: Sequence[PoolingTask], on_progress: Callable[[int, int], None] | None = None
    ) -> list[FloatArray]:
        """Read each text in context and pool its spans; see :class:`latechunk.types.SpanEncoder`.

        Raises:
            ModelError: If the model gives vectors that are not finite or are zero.
        """
        jobs = [self._start(task) for task in tasks]
        for batch in self._batches(jobs):
            self._run(jobs, batch)
            if on_progress:
                for number, window in batch:
                    seams = jobs[number].windows.seams
                    on_progress(number, int(seams[window + 1] - seams[window]))
        return [self._finish(job) for job in jobs]

    def encode_query(self, text: str) -> FloatArray:
        """Encode a query, of any length, to a unit vector, shape ``(dims,)``.

        Raises:
            QueryError: If the text is no string, cannot be UTF-8, or holds no token.
        """
        require_text(text, "a query", QueryError)
        (tokens,) = self._tokenize([text], self._settings.query_prompt)
        if not len(tokens):
            raise QueryError(f"a query must hold at least one token, and {text!r:.80} holds none")
        task = PoolingTask(tokens=tokens, ranges=np.array([[0, len(tokens)]], dtype=np.int64))
        (vectors,) = self.encode_spans([task])
        return np.asarray(vectors[0], dtype=np.float32)

    def _tokenize(self, texts: Sequence[str], prompt: str) -> list[Tokens]:
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts], add_special_tokens=False)
        return [
            split_prompt(encoding.ids, encoding.offsets, len(prompt), len(text))
            for encoding, text in zip(encodings, texts, strict=True)
        ]

    def _start(self, task: PoolingTask) -> _Job:
        n_prefix = len(self._prefix_ids) + len(task.tokens.prompt_ids)
        size = self._settings.window_tokens - n_prefix - len(self._suffix_ids)
        windows = plan_windows(len(task.tokens), size, self._settings.overlap_tokens)
        plan = plan_pooling(task.ranges, windows, n_prefix, len(self._suffix_ids), self._settings.special_tokens)
        return _Job(task.tokens, windows, plan, np.zeros((len(task.ranges), self._model.hidden), dtype=np.float32))

    def _batches(self, jobs: Sequence[_Job]) -> Iterator[list[tuple[int, int]]]:
        """Windows of all jobs as (job, window), longest first, in batches of at most ``batch_tokens`` with padding.

        A batch holds either sequences for a plain pass or longer ones, never both.
        """
        jobs_of = np.repeat(np.arange(len(jobs)), [len(job.windows) for job in jobs])
        windows = np.concatenate([np.arange(len(job.windows)) for job in jobs] or [np.zeros(0, dtype=np.int64)])
        content = np.concatenate([job.windows.ends - job.windows.starts for job in jobs] or [windows])
        n_prompt = np.array([len(job.tokens.prompt_ids) for job in jobs], dtype=np.int64)[jobs_of]
        lengths = content + n_prompt + len(self._prefix_ids) + len(self._suffix_ids)
        order = np.argsort(-lengths, kind="stable")
        n_long = int((lengths > self._plain_tokens).sum())
        begin = 0
        while begin < len(order):
            size = max(1, self.batch_tokens // int(lengths[order[begin]]))
            end = min(begin + size, n_long) if begin < n_long else begin + size
            batch = order[begin:end]
            yield list(zip(jobs_of[batch].tolist(), windows[batch].tolist(), strict=True))
            begin = end

    @property
    def _plain_tokens(self) -> int:
        """The longest sequence that is read in one plain pass."""
        long = self._settings.local_global
        return long.local_tokens if long else self._settings.window_tokens

    def _run(self, jobs: Sequence[_Job], batch: list[tuple[int, int]]) -> None:
        """Run one forward pass and add the sums of its pieces to their spans."""
        sequences = [self._sequence(jobs[number], window) for number, window in batch]
        width = max(len(sequence) for sequence in sequences)
        starts, ends = [], []
        pieces = [
            slice(jobs[number].plan.window_pieces[window], jobs[number].plan.window_pieces[window + 1])
            for number, window in batch
        ]
        for row, ((number, _), piece) in enumerate(zip(batch, pieces, strict=True)):
            starts.append(jobs[number].plan.piece_start[piece] + row * width)
            ends.append(jobs[number].plan.piece_end[piece] + row * width)
        rows, bags = rows_to_sum(np.concatenate(starts), np.concatenate(ends))
        sums = self._sum_rows(self._forward(sequences, width), rows, bags)
        done = 0
        for (number, _), piece in zip(batch, pieces, strict=True):
            spans = jobs[number].plan.piece_span[piece]
            np.add.at(jobs[number].sums, spans, sums[done : done + len(spans)])
            done += len(spans)

    def _sequence(self, job: _Job, window: int) -> TokenSequence:
        content = job.tokens.ids[job.windows.starts[window] : job.windows.ends[window]]
        parts = (self._prefix_ids, job.tokens.prompt_ids, content, self._suffix_ids)
        return TokenSequence(
            ids=np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]),
            n_prefix=len(self._prefix_ids) + len(job.tokens.prompt_ids),
            n_suffix=len(self._suffix_ids),
        )

    def _forward(self, sequences: Sequence[TokenSequence], width: int) -> torch.Tensor:
        """Token embeddings of sequences, shape ``(n_sequences, width, hidden)``, in the model's dtype."""
        if self._long_pass and width > self._plain_tokens:
            return self._long_pass(sequences, width)
        return self._plain_pass(sequences, width)

    @torch.inference_mode()
    def _plain_pass(self, sequences: Sequence[TokenSequence], width: int) -> torch.Tensor:
        ids = np.full((len(sequences), width), self._model.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros((len(sequences), width), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence.ids
            mask[row, : len(sequence)] = 1
        features = {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }
        embeddings: torch.Tensor = self._model.transformer(features)["token_embeddings"]
        return embeddings

    @torch.inference_mode()
    def _sum_rows(self, embeddings: torch.Tensor, rows: IntArray, bags: IntArray) -> FloatArray:
        """Sum runs of rows in float32 on the device, shape ``(n_bags, hidden)``."""
        table = embeddings.reshape(-1, embeddings.shape[-1]).float()
        sums = functional.embedding_bag(
            torch.from_numpy(rows).to(self.device), table, torch.from_numpy(bags).to(self.device), mode="sum"
        )
        return np.asarray(sums.cpu().numpy(), dtype=np.float32)

    @torch.inference_mode()
    def _finish(self, job: _Job) -> FloatArray:
        """Means, then the modules behind the pooling, then unit length."""
        means = job.sums / job.plan.n_rows[:, None].astype(np.float32)
        features = {"sentence_embedding": torch.from_numpy(means).to(self.device)}
        for module in self._model.finish:
            features = module(features)
        vectors = features["sentence_embedding"].float()
        norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        if not bool(torch.isfinite(vectors).all()) or bool((norms == 0).any()):
            raise ModelError(
                f"{self._settings.model!r} in {self.dtype} on {self.device} gave vectors that are not finite or are "
                f'zero; load it with dtype="float32"'
            )
        return np.asarray((vectors / norms).cpu().numpy(), dtype=np.float32)

    def _require_room(self, prompt: str) -> None:
        """Raise unless a window holds more content, beside special tokens and the prompt, than it shares."""
        n_prompt = len(self._tokenizer.encode(prompt, add_special_tokens=False).ids)
        n_beside = len(self._prefix_ids) + len(self._suffix_ids) + n_prompt
        sizes = [("window_tokens", self._settings.window_tokens, "overlap_tokens", self._settings.overlap_tokens)]
        if long := self._settings.local_global:
            sizes.append(("local_tokens", long.local_tokens, "local_overlap", long.local_overlap))
        for name, size, overlap_name, overlap in sizes:
            if size - n_beside <= overlap:
                raise InputError(
                    f"a window of {size} tokens ({name}) holds {size - n_beside} content tokens beside its special "
                    f"tokens and the prompt {prompt!r:.60}, which must be more than the overlap of {overlap} "
                    f"({overlap_name}); make the window larger or the overlap smaller"
                )


def _require_choice(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def _choose_local_global(checkpoint: Checkpoint, context: Context, given: LocalGlobal | None) -> LocalGlobal | None:
    _require_choice("context", context, ("auto", "windows", "local-global"))
    known = checkpoint.known.local_global if checkpoint.known else None
    if context == "windows":
        if given:
            raise InputError('local_global has no effect with context="windows"; leave one of them out')
        return None
    if context == "local-global" and not (given or known):
        raise InputError(
            f"no settings for local-global context are known for {checkpoint.name!r}; "
            f"pass local_global=LocalGlobal(...)"
        )
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


def _find_prompt(model: LoadedModel, names: tuple[str, ...], given: str | None, known: str | None) -> str:
    if given is not None:
        require_text(given, "a prompt", InputError)
        return given
    if known is not None:
        return known
    return next((prompt for name in names if (prompt := model.prompts.get(name))), "")
