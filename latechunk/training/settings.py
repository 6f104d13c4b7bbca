"""How an adapter is trained: settings that check themselves, with an InputError for what is out of range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from latechunk.errors import InputError
from latechunk.validation import Validated

PASSAGE, QUERY = "retrieval_passage", "retrieval_query"  # the adapters, of documents and of questions

Precision: TypeAlias = Literal["float32", "bfloat16"]

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[_Finite, Field(gt=0)]
_NotNegative = Annotated[_Finite, Field(ge=0)]
_Count = Annotated[int, Field(ge=1)]
_CountFromZero = Annotated[int, Field(ge=0)]

LINEAR_LAYERS = r"(query|key|value|dense|q_proj|k_proj|v_proj|o_proj|Wqkv|Wo|Wi)"
"""Names of the linear layers of the encoders that latechunk knows, as a regular expression of the last part."""


class LoraSettings(Validated):
    """The shape of the adapters.

    Attributes:
        rank: At most 1,024, the width of large encoders; memory grows with it.
        alpha: The update is scaled by ``alpha / rank``.
        n_layers: How many layers, counted from the top, are adapted. None for those that read the whole sequence where
            the encoder has a local-global context, else for all.
        targets: Regular expression of the names, within a layer, of the linear layers that are adapted.
    """

    rank: Annotated[int, Field(ge=1, le=1_024)] = 64
    alpha: _Positive = 128.0
    n_layers: _Count | None = None
    targets: str = LINEAR_LAYERS


class LossSettings(Validated):
    """What training minimises.

    Cosines are divided by the temperature; margin and anchors are in such scores, too, so that a smaller temperature,
    for a model whose cosines are close together, scales the whole loss.

    Attributes:
        late_weight: Share of the late vector in the blend that is trained; the rest is the vector of the chunk's text
            read alone, by the model without adapters. 1 trains for indexes of late vectors alone.
        document_weight: Share of the loss that tells documents apart, by the best chunk of each; the rest tells chunks
            apart.
        within_weight: Share, of that rest, of the chunks of the same segment; the others are those of the whole batch
            and the memory bank.
        margin: A chunk or document that is no answer counts only if its score is at most this much above that of the
            best answer; what is closer still is likely to answer too. None counts all.
        anchor: Weight of what the score of late vectors with those of the untrained model falls by.
        query_anchor: The same for questions, where they have an adapter.
        bank_segments: How many earlier segments give their chunks as further negatives.
    """

    temperature: _Positive = 0.05
    late_weight: Annotated[float, Field(gt=0, le=1)] = 0.7
    document_weight: Annotated[float, Field(ge=0, le=1)] = 0.2
    within_weight: Annotated[float, Field(ge=0, le=1)] = 0.4
    margin: _NotNegative | None = 2.0
    anchor: _NotNegative = 0.15
    query_anchor: _NotNegative = 0.15
    bank_segments: _CountFromZero = 24


class SegmentSettings(Validated):
    """What one training example is: a segment of a document, cut into chunks, and questions that it answers.

    Attributes:
        chunk_tokens: Sizes of chunks; each segment is cut to one of them.
        least_tokens: The shortest segment, in content tokens; lengths up to ``most_tokens`` are drawn evenly on a
            logarithmic scale, one for each batch.
        mixture: Weight of each set, by name; sets that are not named have weight 1, and a weight of 0 leaves a set out.
        batches_in_a_row: So many batches in a row are of one set, so that batch and bank hold documents of one kind,
            which are the hardest to tell apart; 0 draws the set of each segment by itself.
        own_document_only: Sets whose questions are asked of many documents, and thus only of chunks of their own.
        whole: Sets of which segments have ``most_tokens``, so that they are whole documents unless these are longer:
            without its beginning nothing tells which document it is.
    """

    chunk_tokens: Annotated[tuple[_Count, ...], Field(min_length=1)] = (48, 64, 96, 128)
    least_tokens: Annotated[int, Field(ge=2)] = 511
    most_tokens: int = 2_046
    most_questions: _Count = 16
    mixture: Mapping[str, _NotNegative] = {}
    batches_in_a_row: _CountFromZero = 6
    own_document_only: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.most_tokens < self.least_tokens:
            raise InputError(f"most_tokens must be at least {self.least_tokens}, got {self.most_tokens}")
        return self


class RunSettings(Validated):
    """How the run goes.

    Attributes:
        batch_segments: At most 1,024; memory grows with it.
        n_batches: How many different batches there are, gone through again and again; what frozen layers give of them
            is kept on disk. None draws a new one at each step.
        learning_rate: At its peak, of AdamW.
        warmup_steps: Steps until the peak; after it the rate falls along a cosine.
        precision: What the forward pass computes in; weights are float32.
        evaluate_steps: Steps between two evaluations; 0 for none.
        save_steps: Steps between two checkpoints.
    """

    n_steps: _Count = 450
    batch_segments: Annotated[int, Field(ge=1, le=1_024)] = 4
    n_batches: _Count | None = None
    learning_rate: _Positive = 3e-4
    warmup_steps: _CountFromZero = 30
    weight_decay: _NotNegative = 0.01
    max_gradient_norm: _Positive = 1.0
    seed: _CountFromZero = 0
    precision: Precision = "float32"
    evaluate_steps: _CountFromZero = 0
    save_steps: _Count = 100


class TrainingSettings(Validated):
    """All that decides the result of a run, except the data and the base model."""

    lora: LoraSettings = LoraSettings()
    loss: LossSettings = LossSettings()
    segments: SegmentSettings = SegmentSettings()
    run: RunSettings = RunSettings()
    query_adapter: bool = True

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Of the adapters that are trained."""
        return (PASSAGE, QUERY) if self.query_adapter else (PASSAGE,)
