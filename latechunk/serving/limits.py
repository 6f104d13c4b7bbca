"""What one server takes on, as one value: sizes, counts and times beyond which it says no."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from latechunk.validation import Validated

MOST_INPUTS = 100_000  # that any server takes in one request


class Limits(Validated):
    """What a server takes on.

    Attributes:
        body_bytes: Of one request.
        inputs: Texts of one request, and chunks of all its documents together.
        tokens: Of all texts of one request together; eight times as many characters are looked at, and no more.
        requests: Being answered or waiting at the same time; the next one is told to come back (429).
        pending_bytes: Bodies of all these requests together; likewise.
        threads: Requests that are worked on at the same time; those that encode share passes of the model.
        batch_tokens: Tokens of several requests that go through the model together.
        connections: Open at the same time; the next one is closed at once.
        read_seconds: For the head, and for the body of a request to arrive.
        idle_seconds: Between two requests of a connection. Clients and proxies that keep theirs for longer, and most do
            for 5 to 60 seconds, now and then ask over one that is closed at that very moment.
        write_seconds: For a client to take 64 KB of an answer.
        work_seconds: For a request to be worked on, and at shutdown for those under way to finish.

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> Limits(tokens=10_000).inputs
        2048
    """

    body_bytes: int = Field(default=8 * 2**20, ge=1_024)
    inputs: int = Field(default=2_048, ge=1, le=MOST_INPUTS)
    tokens: int = Field(default=131_072, ge=1)
    requests: int = Field(default=256, ge=1)
    pending_bytes: int = Field(default=64 * 2**20, ge=1_024)
    threads: int = Field(default=64, ge=1)
    batch_tokens: int = Field(default=8_192, ge=1)
    connections: int = Field(default=12_000, ge=1)
    read_seconds: FiniteFloat = Field(default=30.0, gt=0)
    idle_seconds: FiniteFloat = Field(default=75.0, ge=1)
    write_seconds: FiniteFloat = Field(default=30.0, gt=0)
    work_seconds: FiniteFloat = Field(default=300.0, gt=0)
