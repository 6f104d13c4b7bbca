"""A stream of documents in, batches out that are prepared in the background while the one before is worked on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from latechunk.errors import InputError
from latechunk.types import Document

Source = TypeVar("Source")
Result = TypeVar("Result")

# What is encoded together and committed together: enough windows to fill batches, little enough to lose to a kill.
_BATCH_DOCUMENTS = 64
_MOST_CHARACTERS = 400_000
_LEAST_CHARACTERS = 20_000
_SECONDS = 30.0


class Pace:
    """How many characters make a batch: as many as take half a minute, within bounds.

    A small model on a fast machine gets full batches; a large one on a slow machine still commits twice a minute, or
    after each document where one alone takes longer.
    """

    def __init__(self) -> None:
        """Start with the smallest batch, since nothing is known of the speed yet."""
        self.n_characters = _LEAST_CHARACTERS

    def note(self, n_characters: int, seconds: float) -> None:
        """Take in how long a batch took."""
        if n_characters:
            fitting = int(n_characters * _SECONDS / max(seconds, 1e-6))
            self.n_characters = max(_LEAST_CHARACTERS, min(_MOST_CHARACTERS, fitting))


def take_batches(documents: Iterable[Document], pace: Pace) -> Iterator[tuple[list[Document], list[Document]]]:
    """Cut a stream into batches.

    Returns:
        Batches; beside each the documents met in it whose id came before in the stream.

    Raises:
        InputError: If the stream holds something else than documents.
    """
    seen: set[str] = set()
    batch: list[Document] = []
    repeated: list[Document] = []
    n_characters = 0
    for document in documents:
        if not isinstance(document, Document):
            raise InputError(f"add takes latechunk.Document objects, got {type(document).__name__}: {document!r:.80}")
        if document.id in seen:
            repeated.append(document)
            continue
        seen.add(document.id)
        batch.append(document)
        n_characters += len(document.text)
        if len(batch) >= _BATCH_DOCUMENTS or n_characters >= pace.n_characters:
            yield batch, repeated
            batch, repeated, n_characters = [], [], 0
    if batch or repeated:
        yield batch, repeated


def prepare_ahead(source: Iterable[Source], prepare: Callable[[Source], Result]) -> Generator[Result]:
    """Apply ``prepare`` to each item in a thread of its own, one item ahead of the caller.

    What ``prepare`` raises comes in the place of its item. If the source itself fails, the item before comes first.
    """
    running: Future[Result] | None = None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="latechunk-prepare") as pool:
        try:
            for item in source:
                upcoming = pool.submit(prepare, item)
                done, running = running, None  # should it have failed, nothing comes behind it
                result = [done.result()] if done else []
                running = upcoming
                yield from result
        except (GeneratorExit, KeyboardInterrupt, SystemExit):
            running = None  # the caller wants no more
            raise
        finally:
            if running:
                yield running.result()
