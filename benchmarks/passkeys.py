"""Synthetic sets for ``passkey.py``: a key hidden in filler of a given length, as in LongEmbed's passkey task.

Each document is made of the filler of "Landmark Attention" (Mohtashami and Jaggi, 2023) with one sentence that says
the key of one person, at one of several depths; the question asks for that person's key. In LongEmbed (Zhu et al.,
2024) the right document is looked for; here the chunk that holds the key, which shows what is lost at window seams.
"""

from __future__ import annotations

import numpy as np

from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.types import Document, Span

LENGTHS = (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
_FILLER_TOKENS = 24  # as WordPiece counts them; a length is met within a few per cent
_FIRST = ("Ada", "Bruno", "Carla", "David", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas")
_LAST = ("Abara", "Berg", "Costa", "Dietrich", "Eriksen", "Fontaine", "Gupta", "Hansen", "Ito", "Jensen")


def make_passkeys(n_tokens: int, *, n_documents: int = 20, seed: int = 0) -> EvaluationSet:
    """Make documents of about ``n_tokens`` tokens, their keys spread evenly over the depths.

    Args:
        n_tokens: Length of each document.
        n_documents: How many, each about another person; at most 100.
        seed: Of names and keys.

    Raises:
        InputError: If there are no names for so many documents, or no room for a key.
    """
    names = [f"{first} {last}" for first in _FIRST for last in _LAST]
    if not 1 <= n_documents <= len(names) or n_tokens < 100:
        raise InputError(
            f"passkeys are made for 1 to {len(names)} documents of at least 100 tokens, got {n_documents} of {n_tokens}"
        )
    rng = np.random.default_rng([seed, n_tokens])
    chosen = rng.permutation(len(names))[:n_documents]
    keys = rng.choice(np.arange(10_000, 100_000), n_documents, replace=False)
    documents, questions = [], []
    for number, (name, key) in enumerate(zip([names[one] for one in chosen], keys.tolist(), strict=True)):
        before, after = _filler_around(n_tokens, (number + 0.5) / n_documents)
        statement = f"The pass key for {name} is {key}. Remember it. {key} is the pass key for {name}. "
        documents.append(Document(f"{n_tokens}-{number}", before + statement + after))
        span = Span(len(before), len(before) + len(statement) - 1)
        questions.append(
            Question(f"q{number}", f"what is the pass key for {name}?", (Gold(documents[-1].id, (span,)),))
        )
    return EvaluationSet(f"passkey-{n_tokens}", tuple(documents), tuple(questions))


def _filler_around(n_tokens: int, depth: float) -> tuple[str, str]:
    """Whole repetitions of the filler before and after the key."""
    n_repetitions = max(1, (n_tokens - 30) // _FILLER_TOKENS)
    n_before = round(depth * n_repetitions)
    return _FILLER * n_before, _FILLER * (n_repetitions - n_before)
