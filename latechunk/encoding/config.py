"""Decide what an encoder is, from the arguments of ``Encoder.load``, the model's files and the machine."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from latechunk.encoding.settings import EncoderSettings, LoadOptions
from latechunk.encoding.tokenizer import special_ids
from latechunk.encoding.windows import Plan
from latechunk.errors import InputError, ModelError, PoolingError
from latechunk.models.adapter_manifest import AdapterManifest, FoundAdapters, find_adapters
from latechunk.models.catalogue import (
    DEFAULT_MODEL,
    LIGHT_MODEL,
    KnownModel,
    LocalGlobal,
    TaskSet,
    find_known_model,
    find_refused_model,
)
from latechunk.models.checkpoint import Checkpoint, find_checkpoint
from latechunk.models.device import Attention, choose_device, choose_dtype, give_back_memory, has_int8_units
from latechunk.models.fast_path import is_supported, load_fast
from latechunk.models.loaded import LoadedModel, PoolingChoice
from latechunk.types import Settings, require_text

_LOG = logging.getLogger("latechunk")
_LONG_WINDOW = 8_192
_LONGEST_OVERLAP = 256


@dataclass(frozen=True)
class ModelChoice:
    """Which files to load and how, as far as that can be said before they are loaded."""

    options: LoadOptions
    device: torch.device
    dtype: torch.dtype
    attention: Attention
    checkpoint: Checkpoint
    adapters: FoundAdapters | None
    local_global: LocalGlobal | None

    @property
    def known(self) -> KnownModel | None:
        """What latechunk knows of the model."""
        return self.checkpoint.known

    @property
    def manifest(self) -> AdapterManifest | None:
        """What the trained adapters say of themselves."""
        return self.adapters.manifest if self.adapters else None

    @property
    def tasks(self) -> TaskSet:
        """What there are adapters for; trained ones take the place of the checkpoint's own."""
        source = self.manifest or self.known
        return source.task_set if source else TaskSet()

    @property
    def recommended_embedding(self) -> Settings:
        """How chunk vectors are best made: as the adapters say, or as was measured where documents are read whole."""
        source = self.manifest or (self.known if self.local_global else None)
        return {"mode": source.mode if source else "late", "late_weight": source.late_weight if source else 0.5}

    def load(self) -> tuple[ModelChoice, LoadedModel]:
        """Load the model for inference: by ``latechunk.models.fast_path`` where it can, as ``load_trainable`` else.

        What is loaded so does not compute in int8; where that was chosen by ``"auto"``, the choice becomes float32.
        """
        fast = None if self.options.compile else load_fast(self.checkpoint, dtype=self.dtype, **self._how)
        loaded = self.load_trainable() if fast is None else fast
        choice = self
        if fast is None and self.dtype == torch.int8:
            if self.options.dtype != "auto":
                raise ModelError(
                    f'{self.options.model!r} with these adapters does not load in int8; pass dtype="float32"'
                )
            choice = replace(self, dtype=torch.float32)
        give_back_memory()  # of what was read and converted
        return choice, loaded

    def load_trainable(self) -> LoadedModel:
        """Load the model with the modules of transformers; see ``latechunk.models.loader.load_modules``."""
        from latechunk.models.loader import load_modules  # imports transformers, sentence-transformers and scikit-learn

        dtype = torch.float32 if self.dtype == torch.int8 else self.dtype
        return load_modules(self.checkpoint, pooling=self.options.pooling, dtype=dtype, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        folder = self.adapters.folder if self.adapters else self.checkpoint.folder
        return {
            "device": self.device,
            "attention": self.attention,
            "adapters": (folder, self.tasks.adapters),
        }


def choose_model(options: LoadOptions) -> ModelChoice:
    """Find the model's files and decide how to load them."""
    require_text(options.model, "model", InputError)
    _require_possible(options.model, options.pooling)
    device = choose_device(options.device)
    checkpoint = find_checkpoint(options.model, revision=options.revision, download=options.download)
    takes_int8 = not options.compile and is_supported(checkpoint, device, options.attention) and has_int8_units()
    dtype = choose_dtype(options.dtype, device, takes_int8=takes_int8)
    if dtype == torch.int8 and not takes_int8:
        raise InputError(
            f'dtype="int8" is for {DEFAULT_MODEL!r} and {LIGHT_MODEL!r}, on a CPU with VNNI, with attention '
            f'"auto" or "sdpa" and without compile; got {options.model!r:.80} on {device}: pass another dtype'
        )
    if checkpoint.known and not checkpoint.known.takes_float16 and dtype == torch.float16:
        raise InputError(f'{options.model!r} overflows float16; pass dtype="bfloat16" or dtype="float32"')
    adapters = find_adapters(checkpoint, options.adapters, (options.document_task, options.query_task))
    local_global = _choose_local_global(options, checkpoint, adapters.manifest if adapters else None)
    attention = _choose_attention(options, local_global)
    return ModelChoice(options, device, dtype, attention, checkpoint, adapters, local_global)


def choose_settings(choice: ModelChoice, loaded: LoadedModel) -> EncoderSettings:
    """Decide what the loaded model's vectors depend on."""
    options, checkpoint, known, manifest = choice.options, choice.checkpoint, choice.known, choice.manifest
    window_tokens, overlap_tokens = _choose_window(choice, loaded)
    document_task, document_prompt = choose_side(
        choice, loaded, "document", options.document_task, options.document_prompt
    )
    query_task, query_prompt = choose_side(choice, loaded, "query", options.query_task, options.query_prompt)
    dims = _choose_dims(choice, loaded)
    return EncoderSettings(
        model=checkpoint.name,
        revision=checkpoint.revision,
        weights_sha256=checkpoint.weights_sha256,
        tokenizer_sha256=checkpoint.tokenizer_sha256,
        pooling=options.pooling,
        special_tokens=options.special_tokens or (manifest.special_tokens if manifest else "exclude"),
        document_prompt=document_prompt,
        query_prompt=query_prompt,
        window_tokens=window_tokens,
        overlap_tokens=overlap_tokens,
        local_global=choice.local_global,
        dims=dims,
        document_task=document_task,
        query_task=query_task,
        config_sha256=checkpoint.config_sha256,
        layer_norm=bool(known and known.layer_norm and dims < loaded.dims),
        adapters=choice.adapters.label if choice.adapters else None,
        adapters_sha256=choice.adapters.sha256 if choice.adapters else None,
        separator_id=_choose_separator(options, choice, loaded),
    )


def make_plan(settings: EncoderSettings, tasks: TaskSet, tokenizer: Any) -> Plan:
    """Say how texts are read, with the tokenizer's special tokens."""
    prefix_ids, suffix_ids = special_ids(tokenizer)
    plan = Plan(
        prefix_ids=prefix_ids,
        suffix_ids=suffix_ids,
        window_tokens=settings.window_tokens,
        overlap_tokens=settings.overlap_tokens,
        special_tokens=settings.special_tokens,
        local_global=settings.local_global,
        dims=settings.dims,
        layer_norm=settings.layer_norm,
        separator_id=settings.separator_id,
    )
    prompts = [settings.document_prompt, settings.query_prompt, *(task.prompt for task in tasks.tasks)]
    _require_room(plan, tokenizer, prompts)
    return plan


def choose_side(
    choice: ModelChoice, loaded: LoadedModel, side: str, task: str | None, prompt: str | None
) -> tuple[str | None, str]:
    """Choose the task and the prompt of ``"document"`` or ``"query"``.

    Without a prompt from the user it is the task's, else the known model's, else the checkpoint's.

    Raises:
        InputError: If the model has no such task.
    """
    name, tasks = choice.options.model, choice.tasks
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
        prompt = getattr(choice.known, f"{side}_prompt", None)
    keys = ("document", "passage") if side == "document" else ("query",)
    own = next((text for key in keys if (text := loaded.prompts.get(key))), "")
    return None, own if prompt is None else prompt


@functools.cache
def warn_of_licence(known: KnownModel) -> None:
    """Log once a process what a licence that is not open restricts."""
    if not known.is_open:
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


def _choose_local_global(
    options: LoadOptions, checkpoint: Checkpoint, manifest: AdapterManifest | None
) -> LocalGlobal | None:
    """What the user gives, else what the adapters were trained with, else what is known of the model."""
    given, context = options.local_global, options.context
    trained = manifest.local_global if manifest else None
    known = trained or (checkpoint.known.local_global if checkpoint.known else None)
    if context in ("windows", "chunks"):
        if given:
            raise InputError(f'local_global has no effect with context="{context}"; leave one of them out')
        return None
    if context == "local-global" and not (given or known):
        raise InputError(
            f"no settings for local-global context are known for {checkpoint.name!r}; "
            f"pass local_global=LocalGlobal(...)"
        )
    return given or (trained if manifest and context == "auto" else known)


def _choose_separator(options: LoadOptions, choice: ModelChoice, loaded: LoadedModel) -> int | None:
    """The token between chunks, where documents are read so."""
    if options.context == "chunks" and loaded.separator_id is None:
        raise InputError(
            f'{options.model!r} is not known to have been trained on separated chunks; pass context="windows", or '
            f'load a model that was, such as "pplx-embed-context-v1-0.6b"'
        )
    return loaded.separator_id if options.context in ("auto", "chunks") and not choice.local_global else None


def _choose_attention(options: LoadOptions, local_global: LocalGlobal | None) -> Attention:
    """Local-global context brings block attention of its own, which is SDPA."""
    if local_global and options.compile:
        raise InputError('compile=True is for context="windows"; local-global context runs the layers one by one')
    if local_global and options.attention == "flash_attention_2":
        raise InputError('local-global context attends by SDPA; pass context="windows" to use FlashAttention 2')
    return "sdpa" if local_global and options.attention == "auto" else options.attention


def _choose_window(choice: ModelChoice, loaded: LoadedModel) -> tuple[int, int]:
    """Tokens of a window and of the overlap; the user's, the adapters', the known model's, the checkpoint's."""
    options, known, long = choice.options, choice.known, choice.local_global
    window = options.window_tokens
    if window is None and choice.manifest and options.context == "auto" and options.local_global is None:
        window = choice.manifest.window_tokens
    if window is None:
        longest = known.window_tokens if known else loaded.max_length or loaded.n_positions
        window = _LONG_WINDOW if long else longest
    if window is None:
        raise InputError(f"{options.model!r} does not say how long a text it can read; pass window_tokens")
    name, in_one_pass = ("local_tokens", long.local_tokens) if long else ("window_tokens", window)
    if loaded.n_positions is not None and in_one_pass > loaded.n_positions:
        raise InputError(f"{name} must be at most the {loaded.n_positions} positions of the model, got {in_one_pass}")
    if options.overlap_tokens is not None:
        return window, options.overlap_tokens
    is_known = known and window == known.window_tokens
    return window, known.overlap_tokens if known and is_known else min(_LONGEST_OVERLAP, window // 4)


def sizes_of(choice: ModelChoice, loaded: LoadedModel) -> list[int]:
    """Lengths of vectors that the model was trained for, ascending; the last is the whole."""
    shorter = {*(choice.known.matryoshka if choice.known else ()), *loaded.matryoshka}
    return sorted({size for size in shorter if 0 < size < loaded.dims} | {loaded.dims})


def _choose_dims(choice: ModelChoice, loaded: LoadedModel) -> int:
    dims, sizes = choice.options.dims, sizes_of(choice, loaded)
    if dims is None or dims in sizes:
        return dims or loaded.dims
    raise InputError(
        f"{choice.options.model!r} has vectors of {', '.join(map(str, sizes))} dims, got dims={dims}"
        + ("" if len(sizes) > 1 else "; it is not known to have been trained for shorter ones")
    )


def _require_room(plan: Plan, tokenizer: Any, prompts: Sequence[str]) -> None:
    """Raise unless a window holds more content, next to special tokens and the prompt, than it shares."""
    sizes = [("window_tokens", plan.window_tokens, "overlap_tokens", plan.overlap_tokens)]
    if long := plan.local_global:
        sizes.append(("local_tokens", long.local_tokens, "local_overlap", long.local_overlap))
    for prompt in prompts:
        n_taken = plan.n_special + len(tokenizer.encode(prompt, add_special_tokens=False).ids)
        for name, size, overlap_name, overlap in sizes:
            if size - n_taken <= overlap:
                raise InputError(
                    f"a window of {size} tokens ({name}) holds {size - n_taken} content tokens next to its special "
                    f"tokens and the prompt {prompt!r:.60}. It must hold more than the overlap of {overlap} "
                    f"({overlap_name}): make the window larger or the overlap smaller"
                )
