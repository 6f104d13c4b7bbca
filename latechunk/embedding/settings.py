"""How chunk vectors are made, as a setting, and what is chosen where the user says nothing."""

from __future__ import annotations

from dataclasses import dataclass

from latechunk.errors import InputError
from latechunk.models.catalogue import find_known_model
from latechunk.protocols import RecommendsEmbedding, SpanEncoder
from latechunk.types import Mode, Settings


@dataclass(frozen=True, slots=True)
class Embedding:
    """How chunk vectors are made.

    Attributes:
        mode: ``"late"`` pools the chunk from the document's token embeddings, ``"naive"`` encodes the chunk's text
            alone, ``"blend"`` is the unit vector along ``late_weight * late + (1 - late_weight) * naive``.
        late_weight: Share of the late vector in a blend, strictly between 0 and 1; without effect on other modes.

    Raises:
        InputError: If a setting is out of range.

    Examples:
        >>> Embedding("blend", late_weight=0.6).settings
        {'mode': 'blend', 'late_weight': 0.6}
    """

    mode: Mode = "late"
    late_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in ("late", "naive", "blend"):
            raise InputError(f'mode must be "late", "naive" or "blend", got {self.mode!r}')
        if not isinstance(self.late_weight, float) or not 0 < self.late_weight < 1:
            raise InputError(f"late_weight must be a float strictly between 0 and 1, got {self.late_weight!r}")

    @property
    def settings(self) -> Settings:
        """What decides the vectors, as JSON."""
        return {"mode": self.mode} | ({"late_weight": self.late_weight} if self.mode == "blend" else {})


def choose_embedding(encoder: SpanEncoder, mode: Mode | None, late_weight: float | None) -> Embedding:
    """Take what the caller says, and for the rest what the encoder recommends.

    An encoder of the user's own that recommends nothing gets what was measured to be best for the model that its
    settings name, if it reads whole documents as ours do; else ``Embedding("late", 0.5)``.

    Raises:
        InputError: If a value is out of range, or a share is given and the vectors are not blended.
    """
    best = Embedding("late", 0.5)
    if isinstance(encoder, RecommendsEmbedding):
        best = Embedding(**encoder.recommended_embedding)
    elif encoder.settings.get("local_global"):
        known = find_known_model(str(encoder.settings.get("model")))
        best = Embedding(known.mode, known.late_weight) if known else best
    chosen = Embedding(best.mode if mode is None else mode, best.late_weight if late_weight is None else late_weight)
    if late_weight is not None and chosen.mode != "blend":
        why = "as the encoder recommends; say" if mode is None else "so it would have no effect; say"
        raise InputError(
            f'late_weight is the share of the late vector in a blend, and mode is "{chosen.mode}", {why} mode="blend", '
            f"or leave late_weight out"
        )
    return chosen
