"""What never changes while adapters are trained, kept on disk: hidden states of the frozen lower layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latechunk.encoding.encoder import Encoder
from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.encoding.windows import TokenSequence
from latechunk.errors import ModelError
from latechunk.training.data import TrainingData
from latechunk.training.model import computing_in
from latechunk.training.settings import Precision
from latechunk.types import FloatArray, IntArray, Settings

_DTYPE = np.float16  # rounds a state of a normalised layer by less than bfloat16 does, and takes half of float32


@dataclass(frozen=True, slots=True)
class FrozenArrays:
    """What the frozen part of a model gives for all training data, mapped from disk.

    Attributes:
        states: What the lower layers give of each document, special tokens first, then the content, one document after
            another, shape ``(n_rows, hidden)``; None where no layers are kept.
        state_bounds: Document ``i`` has the rows ``state_bounds[i]`` to ``state_bounds[i + 1]``.
        questions: Unit vectors of the questions by the base model, shape ``(n_questions, dims)``.
    """

    states: NDArray[np.float16] | None
    state_bounds: IntArray
    questions: FloatArray


def keep_frozen(
    encoder: Encoder,
    data: TrainingData,
    long_pass: LocalGlobalPass | None,
    folder: Path,
    *,
    precision: Precision,
    on_progress: Callable[[int], None],
) -> FrozenArrays:
    """Compute it, or take what an earlier run with the same model and data has left in ``folder``.

    The encoder is the base model, without adapters. Without a ``long_pass`` no states are kept. ``on_progress`` is
    called with the content tokens done since the last call.

    Raises:
        ModelError: If states do not fit half precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sequences = [encoder.parts[1].sequence(one.tokens.ids, one.tokens.prompt_ids) for one in data.documents]
    state_bounds = np.cumsum([0, *(len(one.ids) for one in sequences)]).astype(np.int64)
    key = f"{fingerprint(encoder.settings, data)} {long_pass is not None} {precision} special-first"
    if _read_key(folder) != key:
        (folder / "key.json").unlink(missing_ok=True)
        with computing_in(precision, encoder.device):
            if long_pass is not None:
                _write_states(data, sequences, long_pass, folder, state_bounds, on_progress)
            np.save(folder / "questions.npy", encoder.encode_queries([question.text for question in data.questions]))
        (folder / "key.json").write_text(json.dumps(key), encoding="utf-8")
    return FrozenArrays(
        states=np.load(folder / "states.npy", mmap_mode="r", allow_pickle=False) if long_pass is not None else None,
        state_bounds=state_bounds,
        questions=np.load(folder / "questions.npy", allow_pickle=False),
    )


def kept_bytes(encoder: Encoder, data: TrainingData) -> int:
    """What the arrays of ``keep_frozen`` take on disk: states of 2 bytes a number, vectors of questions of 4."""
    model, plan = encoder.parts
    around = len(data.documents) * (plan.n_special + len(data.documents[0].tokens.prompt_ids))
    states = 2 * (data.n_tokens + around) * model.hidden if plan.local_global else 0
    return states + 4 * len(data.questions) * model.dims


def fingerprint(encoder: Settings, data: TrainingData) -> str:
    """SHA-256 over what decides the arrays, and over what is trained on."""
    digest = hashlib.sha256()
    digest.update(json.dumps(dict(encoder), sort_keys=True, default=str).encode())
    for document in data.documents:
        digest.update(json.dumps(document.set_name).encode() + document.tokens.ids.tobytes())
        for size, ranges in document.cuts.items():
            digest.update(f"{size}:".encode() + ranges.tobytes())
    for question in data.questions:
        digest.update(json.dumps([question.text, question.document, question.answers.tolist()]).encode())
    return digest.hexdigest()


def _read_key(folder: Path) -> str | None:
    try:
        found: str = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


@torch.no_grad()
def _write_states(
    data: TrainingData,
    sequences: Sequence[TokenSequence],
    long_pass: LocalGlobalPass,
    folder: Path,
    bounds: IntArray,
    on_progress: Callable[[int], None],
) -> None:
    rows: Any = None
    for number, (document, sequence) in enumerate(zip(data.documents, sequences, strict=True)):
        layout = long_pass.lay_out([sequence])
        (states,) = long_pass.lower([sequence], layout, 4_096)
        values = states[: layout.n_special + sequence.n_content].float().cpu().numpy()
        half = values.astype(_DTYPE)
        if not np.isfinite(half).all():
            raise ModelError(f"the states of {document.id!r} reach {np.abs(values).max():.3g}, beyond half precision")
        if rows is None:
            shape = (int(bounds[-1]), values.shape[1])
            rows = np.lib.format.open_memmap(folder / "states.npy", mode="w+", dtype=_DTYPE, shape=shape)
        rows[bounds[number] : bounds[number + 1]] = half
        on_progress(len(document.tokens))
    rows.flush()
