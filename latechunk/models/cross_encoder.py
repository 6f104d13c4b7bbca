"""Score texts by a cross-encoder, which reads question and text together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from latechunk.errors import InputError, ModelError
from latechunk.models.checkpoint import find_checkpoint
from latechunk.models.device import choose_device
from latechunk.models.loader import BROKEN_FILES, LOADING, require_whole, watched_loading
from latechunk.threads import make_lock

_EXAMPLE = "cross-encoder/ms-marco-MiniLM-L6-v2"


class CrossEncoderReranker:
    """Any cross-encoder of sentence-transformers with one output, to be passed as ``Index.search(..., rerank=)``.

    A cross-encoder reads at most a few hundred tokens of question and text together; what is beyond is not read.
    Threads may share one.
    """

    def __init__(self, model: CrossEncoder, *, batch_size: int = 32) -> None:
        """Take a model that is loaded already.

        Raises:
            InputError: If it is no cross-encoder with one output, or ``batch_size`` is no number of at least 1.
        """
        if not isinstance(model, CrossEncoder):
            raise InputError(
                f"a reranker needs a sentence_transformers.CrossEncoder, got {type(model).__name__}; "
                f"CrossEncoderReranker.load takes a name"
            )
        if model.num_labels != 1:
            raise InputError(
                f"a reranker needs a cross-encoder with one output, the relevance, and this one has {model.num_labels}"
            )
        if type(batch_size) is not int or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
        self._model = model
        self._batch_size = batch_size
        self._lock = make_lock()

    @classmethod
    def load(
        cls, name: str, *, revision: str | None = None, device: str = "auto", batch_size: int = 32
    ) -> CrossEncoderReranker:
        """Load a cross-encoder.

        Args:
            name: A folder, or the name of a repository on the model hub such as
                ``"cross-encoder/ms-marco-MiniLM-L6-v2"``, which is downloaded if it is not on this machine.
            revision: Branch, tag or commit of the repository.
            device: ``"auto"``, or a device as torch names it.
            batch_size: Pairs that are read together.

        Raises:
            ModelError: If it cannot be found, does not load, or loads only in part. No pickled weights, no remote code.

        Examples:
            >>> reranker = CrossEncoderReranker.load("cross-encoder/ms-marco-MiniLM-L6-v2")  # doctest: +SKIP
            >>> index.search("people in Berlin", rerank=reranker)  # doctest: +SKIP
        """
        checkpoint = find_checkpoint(
            name, revision=revision, download=True, hint=f"a reranker is, for one, {_EXAMPLE!r}"
        )
        with LOADING:
            try:
                with watched_loading() as missing:
                    model = CrossEncoder(
                        str(checkpoint.folder),
                        device=str(choose_device(device)),
                        local_files_only=True,
                        trust_remote_code=False,
                        model_kwargs={"use_safetensors": True},
                    )
            except BROKEN_FILES as error:
                raise ModelError(f"{name!r} at {checkpoint.folder} does not load: {error}") from error
        require_whole(checkpoint, missing)
        return cls(model, batch_size=batch_size)

    def __call__(self, question: str, texts: Sequence[str]) -> list[float]:
        """Score texts by how well they answer a question, more being better, in the model's own unit."""
        with self._lock, torch.inference_mode():
            scores = self._model.predict(
                [(question, text) for text in texts], batch_size=self._batch_size, show_progress_bar=False
            )
        return [float(score) for score in np.asarray(scores)]
