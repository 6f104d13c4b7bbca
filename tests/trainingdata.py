"""Writes tiny sets of questions to train on, and loads tiny encoders to train."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from latechunk import Encoder, LocalGlobal
from latechunk.models import device as hardware

TINY_CONTEXT = LocalGlobal(
    local_layers=1,
    local_tokens=32,
    local_overlap=8,
    penalty=2.0,
    distance=24.0,
    width=4.0,
    block_tokens=16,
    mean_tokens=8,
    reference_tokens=128,
)
WORDS = [
    "river",
    "bridge",
    "mayor",
    "cheese",
    "capital",
    "people",
    "million",
    "city",
    "old",
    "stone",
    "market",
    "winter",
]


def write_set(folder: Path, n_documents: int = 3, n_sentences: int = 30, seed: int = 0, licence: bool = True) -> Path:
    """docs.jsonl and queries.jsonl: each document has four questions, each answered by one of its sentences."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    documents, questions = [], []
    for number in range(n_documents):
        text, places = "", []
        for _ in range(n_sentences):
            sentence = " ".join(chance.choice(WORDS, size=5)).capitalize() + ". "
            places.append((len(text), len(text) + len(sentence) - 1))
            text += sentence
        documents.append({"id": f"d{number}", "text": text.strip()})
        for place in chance.choice(n_sentences, size=4, replace=False):
            start, end = places[place]
            asked = " ".join(text[start:end].split()[:3])
            questions.append({"text": f"What of {asked}?", "doc_id": f"d{number}", "spans": [[start, end]]})
    (folder / "docs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    (folder / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    if licence:
        (folder / "README.md").write_text("# Tiny\n\n- source: made up\n- licence: CC0-1.0\n- language: en\n")
    return folder


def load_long(base: Path) -> Encoder:
    """With local-global context."""
    return Encoder.load(str(base), dtype="float32", adapters=None, local_global=TINY_CONTEXT, window_tokens=512)


@contextmanager
def computing_in_float32() -> Iterator[None]:
    """One number format on every machine: processors differ in whether they have units for bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardware, "_cpu_features", frozenset)
        yield
