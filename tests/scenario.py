"""What a process does to an index while it is killed or its writes fail, and what must hold afterwards.

An operation is a function that takes what is stored before it, and returns what may be stored as soon as it has begun,
the last of it when it is done, and how it is done. A new one needs its function and a place in a scenario. What is done
may be done twice: when it fails, it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latechunk import Document, Index, SentenceChunker
from latechunk.chunking.places import with_outline
from latechunk.errors import IndexExistsError, IndexFormatError, IndexMissingError
from tests.conftest import FakeEncoder

State = Mapping[str, Document] | None
QUERY = "Version of the sentence"
FILES = {"store.sqlite3", "write.lock"}  # of an index that is closed
VECTORS = {"vectors.faiss", "vectors.npy", "vectors.json"}  # besides, where it was searched


@dataclass
class World:
    """What the operations work on."""

    path: Path
    index: Index | None = None


@dataclass(frozen=True)
class Step:
    """An operation at its place: the states that may be found once it has begun, the one before it first."""

    name: str
    states: Sequence[State]
    act: Callable[[World], None]


Operation = Callable[[State], tuple[Sequence[State], Callable[[World], None]]]


def create(before):
    def act(world):
        try:
            world.index = _create(world.path)
        except IndexExistsError:  # an earlier try failed when the index was there already
            open_again(before)[1](world)

    return [{}], act


def open_again(before):
    def act(world):
        world.index = Index.open(world.path, encoder=FakeEncoder(), lock_timeout=0)

    return [before], act


def close(before):
    def act(world):
        if world.index:
            index, world.index = world.index, None
            index.close()

    return [before], act


def add(before):
    return _put(before, [_document(name, 1) for name in ("a", "b", "c", "d")])


def replace(before):
    return _put(before, [_document(name, 2) for name in ("b", "e")])


def relabel(before):
    return _put(before, [Document("a", before["a"].text, {"version": 1, "labels": ["new", "né"]})])


def replace_and_relabel(before):
    return _put(before, [_document("c", 3), Document("d", before["d"].text, {}), before["e"]])


def delete(before):
    gone = ["a", "c", "never there"]
    return [_without(before, gone)], lambda world: world.index.delete(gone)


def search(before):
    return [before], lambda world: world.index.search(QUERY)


def add_two_batches(before):
    """More than are stored in one transaction: the first 64, then the rest."""
    new = [Document(f"many {number}", f"Number {number}.", {"n": number}) for number in range(70)]
    first = {**before, **{one.id: one for one in new[:64]}}
    return [first, *_put(first, new[64:])[0]], lambda world: world.index.add(new)


def add_more_than_the_log_holds(before):
    """Above 1,000 pages SQLite moves its log into the database at once, rather than when it is closed."""
    return _put(before, [Document("large", "A large one.", {"filling": "abcdefgh" * 540_000})])


def delete_many(before):
    gone = [f"many {number}" for number in range(3, 70)]
    return [_without(before, gone)], lambda world: world.index.delete(gone)


def delete_large(before):
    return [_without(before, ["large"])], lambda world: world.index.delete(["large"])


def optimize(before):
    return [before], lambda world: world.index.optimize(vectors="ivf")


SCENARIOS: Mapping[str, Sequence[Operation]] = {
    "changes": (
        create,
        add,
        replace,
        close,
        open_again,
        relabel,
        search,
        delete,
        close,
        open_again,
        add_two_batches,
        replace_and_relabel,
        delete_many,
        optimize,
        add,
        close,
    ),
    "large": (create, add, add_more_than_the_log_holds, delete_large, replace, close),
}


def plan(operations: Sequence[Operation]) -> list[Step]:
    """The operations, each with the states that may be found from its beginning on."""
    steps: list[Step] = []
    before: State = None
    for number, operation in enumerate(operations):
        after, act = operation(before)
        steps.append(Step(f"{number} {operation.__name__}", [before, *after], act))
        before = after[-1]
    return steps


def check_whole(index: Index, allowed: Sequence[State], scores: Mapping[str, Sequence[float]]) -> None:
    """One of the states is stored, to the character, and searching finds its chunks, all and no others.

    Args:
        index: It is read twice: by id and by searching.
        allowed: What may be stored.
        scores: For every text of the plan, the score of each of its chunks.
    """
    stored = {one: index.get(one) for one in index.ids()}
    allowed = [state and {name: with_outline(one) for name, one in state.items()} for state in allowed]
    assert stored in allowed, f"stored are {_brief(stored)}, allowed {[_brief(one) for one in allowed]}"
    assert len(index) == len(stored)
    texts: dict[str, str] = {}
    hits = index.search(QUERY, k=10**6, mode="dense")
    assert len(index.search(QUERY, k=10**6)) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for hit in sorted(hits, key=lambda hit: hit.chunk.number):
        chunk, document = hit.chunk, stored[hit.chunk.document_id]
        assert chunk.metadata == document.metadata
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert abs(hit.score - scores[document.text][chunk.number]) < 1e-5
        texts[document.id] = texts.get(document.id, "") + chunk.text
    assert texts == {one.id: one.text for one in stored.values()}


def check_afterwards(world: World, allowed: Sequence[State], scores: Mapping[str, Sequence[float]]) -> None:
    """A process that comes later finds one of the states, and can write at once and leave nothing lying about."""
    try:
        open_again(None)[1](world)
    except (IndexMissingError, IndexFormatError):
        assert None in allowed, "the index is gone"
        world.index = _create(world.path)
        allowed = [{}]
    with world.index as index:
        check_whole(index, [one for one in allowed if one is not None], scores)
        stored = {one: index.get(one) for one in index.ids()}
        index.add([_document("b", 3)])
        check_whole(index, [{**stored, "b": _document("b", 3)}], scores)
    assert {file.name for file in world.path.iterdir()} == FILES | VECTORS  # check_whole searches


def measure_scores(path: Path, steps: Sequence[Step]) -> dict[str, list[float]]:
    """The scores of the chunks of each text of the plan, from an index that nothing happened to."""
    texts = {one.text for step in steps for state in step.states for one in (state or {}).values()}
    texts.add(_document("b", 3).text)
    with _create(path) as index:
        index.add([Document(text, text) for text in sorted(texts)])
        scores: dict[str, list[float]] = {text: [] for text in texts}
        for hit in sorted(index.search(QUERY, k=10**6, mode="dense"), key=lambda hit: hit.chunk.number):
            scores[hit.chunk.document_id].append(hit.score)
    return scores


def _create(path: Path) -> Index:
    return Index.create(path, encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8), lock_timeout=0)


def _document(name: str, version: int) -> Document:
    sentences = [
        f"Version {version} of {name}, sentence {number}: naïve, 東京, 👍🏽. " for number in range(1 + version)
    ]
    return Document(name, "".join(sentences), {"version": version, "names": [name, "é"]})


def _put(before, documents):
    return [{**before, **{one.id: one for one in documents}}], lambda world: world.index.add(documents)


def _without(before, ids):
    return {one: document for one, document in before.items() if one not in ids}


def _brief(state: State) -> object:
    """What tells states apart, for a message; a document may be None where there is an id and nothing behind it."""
    return state and {name: one and f"{one.text[:12]} {str(dict(one.metadata))[:40]}" for name, one in state.items()}
