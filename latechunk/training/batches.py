"""Make the batches of a run: features for the model and labels for the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

from latechunk.encoding.encoder import Encoder
from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.training.data import TrainingData
from latechunk.training.loss import Features, encode
from latechunk.training.model import computing_in
from latechunk.training.reading import Reading
from latechunk.training.segments import Segment, SegmentSource
from latechunk.training.settings import PASSAGE, QUERY, TrainingSettings
from latechunk.training.states import Keep, KeptStates, States, batch_of, compute_states

MakeBatch: TypeAlias = Callable[[int], tuple[list[Features], dict[str, torch.Tensor]]]
"""Gives features and labels, as the loss takes them, of a batch by its number, always the same."""

_PARTS = 4  # that chunks are read in, each padded to its longest
_BATCH_TOKENS = 4_096  # of one pass of the lower layers


class BatchMaker:
    """Makes batch ``number`` of a run, always the same.

    What stays frozen is run here, once for each segment that is drawn and without gradient: the lower layers of an
    encoder with local-global context, from which passes with adapters go on, and all that the untrained model gives,
    the vectors of chunks read alone among it. Where a run goes through its batches again, it is kept on disk.
    """

    def __init__(
        self,
        encoder: Encoder,
        data: TrainingData,
        long_pass: LocalGlobalPass | None,
        trained: torch.nn.Module,
        settings: TrainingSettings,
        kept: Path | None = None,
    ) -> None:
        """Set up from what a run has; ``trained`` is what ``latechunk.training.model.build_model`` makes.

        ``kept`` is a folder for what frozen layers give, where the run goes through its batches again.
        """
        self._data = data
        self._long_pass = long_pass
        self._trained = trained
        self._settings = settings
        self._source = SegmentSource(data, settings.segments, settings.run.seed)
        self._kept = None if kept is None else KeptStates(kept)
        self._encoder = encoder
        self._plan = encoder.parts[1]
        self._reading = Reading(encoder, long_pass, settings.run.precision)
        self._questions = encoder.tokenize_queries([question.text for question in data.questions])

    def __call__(self, step: int) -> tuple[list[Features], dict[str, torch.Tensor]]:
        """What the loss takes at a step; see ``of``."""
        run, row = self._settings.run, self._settings.segments.batches_in_a_row
        number = step if run.n_batches is None else batch_of(step, run.n_batches, row, run.seed)
        segments = self._source.draw(number, run.batch_segments)
        with nullcontext(compute_states) if self._kept is None else self._kept.of(number) as keep:
            return self.of(segments, keep)

    def of(
        self, segments: Sequence[Segment], keep: Keep = compute_states
    ) -> tuple[list[Features], dict[str, torch.Tensor]]:
        """Features of the segments and of the questions, and labels, as the loss takes them."""
        return [self._read(segments, keep), self._read_questions(segments, keep)], self._label(segments)

    def _read(self, segments: Sequence[Segment], keep: Keep) -> Features:
        documents = [self._data.documents[one.document] for one in segments]
        sequences = [
            self._plan.sequence(document.tokens.ids[one.start : one.end], document.tokens.prompt_ids)
            for document, one in zip(documents, segments, strict=True)
        ]
        features = self._reading.runs(sequences, [one.ranges for one in segments])
        if self._long_pass is None:
            features |= self._reading.pad(sequences)
        else:
            long_pass, layout = self._long_pass, self._long_pass.lay_out(sequences)

            def read() -> States:
                with torch.no_grad(), computing_in(self._settings.run.precision, self._encoder.device):
                    return long_pass.lower(sequences, layout, _BATCH_TOKENS), None

            states, _ = keep("segments", read)
            features |= {"states": states.to(self._encoder.device), "layout": layout, "sequences": sequences}
        alone = None if self._settings.loss.late_weight == 1 else self._read_alone(segments, keep)
        return {**self._with_untrained(features, "segments", keep), "adapter": PASSAGE, "alone": alone}

    def _read_alone(self, segments: Sequence[Segment], keep: Keep) -> torch.Tensor:
        """Vectors of the chunks as texts of their own; the shortest are read together and so on."""

        def read() -> States:
            alone = self._encoder.tokenize([text for one in segments for text in self._texts(one)])
            order = np.argsort([len(tokens) for tokens in alone], kind="stable")
            parts = np.array_split(order, min(_PARTS, len(order)))
            vectors = [self._untrained(self._reading.whole([alone[place] for place in part], "")) for part in parts]
            return torch.cat(vectors)[np.argsort(order)], None

        return keep("segments.alone", read)[0].to(self._encoder.device)

    def _with_untrained(self, features: Features, name: str, keep: Keep) -> Features:
        """Features, and the vectors that the model gives of them without adapters."""
        untrained, _ = keep(f"{name}.untrained", lambda: (self._untrained(features), None))
        return {**features, "untrained": untrained.to(self._encoder.device)}

    def _untrained(self, features: Features) -> torch.Tensor:
        with torch.no_grad():
            return encode(self._trained, {**features, "adapter": None})

    def _texts(self, segment: Segment) -> list[str]:
        """Of the chunks of a segment."""
        document = self._data.documents[segment.document]
        spans = document.spans[segment.size][segment.first_chunk :][: len(segment.ranges)]
        return [document.text[span.start : span.end] for span in spans]

    def _read_questions(self, segments: Sequence[Segment], keep: Keep) -> Features:
        asked = [self._questions[number] for one in segments for number in one.questions]
        features = self._with_untrained(self._reading.whole(asked, "questions", keep), "questions", keep)
        return {**features, "adapter": QUERY if self._settings.query_adapter else None}

    def _label(self, segments: Sequence[Segment]) -> dict[str, torch.Tensor]:
        own_only = {*self._settings.segments.own_document_only}
        n_chunks, n_questions = ([len(getattr(one, name)) for one in segments] for name in ("ranges", "questions"))
        gold = torch.block_diag(  # type: ignore[no-untyped-call]
            *(torch.from_numpy(one.gold).float() for one in segments)
        ).bool()
        shared = [
            self._data.documents[one.document].set_name in own_only or self._data.questions[number].is_shared
            for one in segments
            for number in one.questions
        ]
        places = torch.arange(len(segments))
        return {
            "documents": torch.tensor([one.document for one in segments]),
            "owner": places.repeat_interleave(torch.tensor(n_chunks)),
            "asked_of": places.repeat_interleave(torch.tensor(n_questions)),
            "gold": gold,
            "own_only": torch.tensor(shared),
        }


class BatchCollator(SentenceTransformerDataCollator):
    """Where the trainer collates rows of texts, this one makes the batch that the row names."""

    def __init__(self, make: MakeBatch) -> None:
        super().__init__(preprocess_fn=make)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """One row, ``{"batch": number}``, to what ``latechunk.training.trainer.AdapterTrainer`` reads."""
        ((row),) = features
        read, labels = self.preprocess_fn(int(row["batch"]))
        return {"features": read, "labels": labels}
