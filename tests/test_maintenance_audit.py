"""The audit proves what is so, and sees what is not, also where all checksums agree."""

from dataclasses import replace

import numpy as np
import pytest

from latechunk import Document, Index, SentenceChunker, Span, TokenChunker
from latechunk.embedding import Embedding, chunk_documents, context_shifts, embed_chunks
from latechunk.errors import IndexDamagedError, IndexMismatchError, InputError
from latechunk.maintenance.audit import TOLERANCES, audit
from latechunk.storage.directory import STORE
from latechunk.storage.store import Store
from tests.conftest import FakeEncoder, no_error
from tests.damages import CHUNKERS, DOCUMENTS, VICTIM, by_sql


def build(path, encoder=None, documents=DOCUMENTS, **options):
    options = {"chunkers": CHUNKERS, "mode": "late"} | options
    with Index.create(path, encoder=encoder or FakeEncoder(), **options) as index:
        index.add(documents)
    return path


def run(path, encoder=None, chunkers=None, **options):
    with Index.open(path, encoder=encoder or FakeEncoder(), chunkers=chunkers, read_only=True) as index:
        return audit(index, **options)


def forge(path, change):
    """Store a document's parts anew, changed, with checksums that agree."""
    store = Store.open(path / STORE, read_only=False)
    store.put([change(store.stored(VICTIM))])
    store.close()


def faults(report):
    return {one.document: one.faults for one in report.documents if one.faults}


@pytest.mark.parametrize("mode", ["late", "naive", "blend"])
def test_what_the_model_gives_is_proven(tmp_path, mode):
    report = run(build(tmp_path / "index", mode=mode), n=100)

    assert report.is_proven
    assert report.deviation < 1e-12
    assert (report.n_documents, len(report.documents), report.tolerance) == (15, 15, 1e-5)
    assert [one.document for one in report.documents] == [one.id for one in DOCUMENTS]
    assert all(one.n_outside == {"sentences": 0, "threes": 0} for one in report.documents)


def test_a_sample_is_drawn_and_drawn_again(tmp_path):
    build(tmp_path / "index")
    names = [[one.document for one in run(tmp_path / "index", n=4, seed=seed).documents] for seed in (1, 1, 2)]

    assert names[0] == names[1] != names[2]
    assert [len(one) for one in names] == [4, 4, 4]


def test_context_shifts_are_those_of_late_and_naive_vectors(tmp_path):
    report = run(build(tmp_path / "index"), n=100)

    encoder, shifts = FakeEncoder(), {}
    for name, chunker in CHUNKERS.items():
        cuts = chunk_documents(encoder, [chunker], Embedding("blend"), DOCUMENTS, no_error)
        late, naive = (embed_chunks(encoder, Embedding(mode), cuts) for mode in ("late", "naive"))
        shifts[name] = np.concatenate([context_shifts(*pair) for pair in zip(late, naive, strict=True)])
    for name, values in shifts.items():
        assert report.shifts[name] == pytest.approx(
            {level: np.quantile(values, level) for level in (0, 0.25, 0.5, 0.75, 0.95, 1)}, abs=1e-6
        )
    largest = sorted(np.concatenate(list(shifts.values())), reverse=True)[:5]
    assert [one.shift for one in report.largest] == pytest.approx(largest, abs=1e-6)
    texts = {one.id: one.text for one in DOCUMENTS}
    assert all(texts[one.document][one.start : one.end] == one.text for one in report.largest)


def test_an_empty_index_has_nothing_to_disprove(tmp_path):
    report = run(build(tmp_path / "index", documents=[]))

    assert (report.is_proven, report.documents, report.deviation, report.shifts) == (True, [], 0.0, {})


def test_another_vector_is_seen(tmp_path):
    def change(stored):
        vectors = stored.vectors.copy()
        vectors[3] = vectors[4]  # of two chunks by sentences, then three by threes
        return replace(stored, vectors=vectors)

    forge(build(tmp_path / "index"), change)

    report = run(tmp_path / "index", n=100)

    assert not report.is_proven
    assert list(faults(report)) == [VICTIM]
    (fault,) = faults(report)[VICTIM]
    assert fault.startswith("1 of its vectors are not what the model gives; the worst is that of chunk 1 of 'threes'")


def test_naive_vectors_in_the_place_of_late_ones_are_seen(tmp_path):
    build(tmp_path / "naive", mode="naive")
    build(tmp_path / "late")
    with Index.open(tmp_path / "naive", encoder=FakeEncoder(), chunkers=CHUNKERS) as index:
        naive = index.stored(VICTIM)
    forge(tmp_path / "late", lambda stored: replace(stored, vectors=naive.vectors))

    assert list(faults(run(tmp_path / "late", n=100))) == [VICTIM]


def test_other_spans_are_seen(tmp_path):
    def change(stored):
        first, second, *rest = stored.chunkings[1]
        return replace(stored, chunkings=[stored.chunkings[0], [Span(first.start, first.end - 1), second, *rest]])

    forge(build(tmp_path / "index"), change)

    assert "'threes' cuts it otherwise now" in faults(run(tmp_path / "index", n=100))[VICTIM]


def test_another_number_of_tokens_is_seen(tmp_path):
    forge(build(tmp_path / "index"), lambda stored: replace(stored, n_tokens=stored.n_tokens + 1))

    (fault,) = faults(run(tmp_path / "index", n=100))[VICTIM]
    assert "are recorded" in fault


def test_a_damaged_document_is_an_error(tmp_path):
    by_sql(build(tmp_path / "index"), f"UPDATE documents SET text = x'41' WHERE id = '{VICTIM}'")

    with pytest.raises(IndexDamagedError, match=VICTIM):
        run(tmp_path / "index", n=100)


class EveryOther:
    """Leaves every second word out."""

    settings = {"kind": "every other word"}

    def split(self, text, offsets):
        return [Span(int(start), int(end)) for start, end in offsets[::2]]


def test_tokens_outside_of_chunks_are_counted(tmp_path):
    build(tmp_path / "index", chunkers={"other": EveryOther()}, documents=[Document("a", "one two three four five")])

    report = run(tmp_path / "index", chunkers={"other": EveryOther()})

    assert report.is_proven
    assert report.documents[0].n_outside == {"other": 2}
    with pytest.raises(IndexMismatchError):
        run(tmp_path / "index")


class Rounding(FakeEncoder):
    """As a model in another number format is: nearly the same."""

    def __init__(self, dtype, noise):
        super().__init__()
        self.runtime = {"dtype": dtype}
        self.noise = noise

    def encode_spans(self, tasks, on_progress=None):
        return [self.disturb(one) for one in super().encode_spans(tasks, on_progress)]

    def disturb(self, vectors):
        moved = vectors + np.random.default_rng(0).normal(size=vectors.shape) * self.noise
        return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_tolerance_is_that_of_the_coarser_format(tmp_path, dtype):
    build(tmp_path / "index", encoder=Rounding("float32", 0))
    # A disturbance of length d puts a unit vector 1 - cos = d^2 / 2 away, and d is about noise * sqrt(8).
    near, far = (np.sqrt(factor * TOLERANCES[dtype] * 2 / 8) for factor in (0.05, 20))

    within, beyond = (run(tmp_path / "index", encoder=Rounding(dtype, noise)) for noise in (near, far))

    assert within.dtypes == ("float32", dtype)
    assert within.tolerance == TOLERANCES[dtype]
    assert within.is_proven
    assert within.deviation > 0
    assert not beyond.is_proven


class Shy(FakeEncoder):
    """Finds no token in one text when it stands alone."""

    def tokenize(self, texts):
        return super().tokenize(["" if text.strip() == "three" else text for text in texts])


def test_a_chunk_that_cannot_be_read_alone_has_no_shift(tmp_path):
    documents = [Document("a", "one two three"), Document("b", "four five")]
    one = {"words": TokenChunker(max_tokens=1)}
    build(tmp_path / "index", encoder=Shy(), chunkers=one, documents=documents)

    report = run(tmp_path / "index", encoder=Shy())

    assert report.is_proven
    assert report.n_without_shift == 1
    assert {shift.document for shift in report.largest} == {"b"}


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3"])
def test_the_sample_is_a_whole_number(index, n):
    with pytest.raises(InputError, match="n must be a whole number"):
        audit(index, n=n)


def test_a_chunker_that_changed_is_seen(tmp_path):
    """One that says it is the same."""

    class Fickle:
        settings = {"kind": "fickle"}
        size = 2

        def split(self, text, offsets):
            return TokenChunker(max_tokens=self.size).split(text, offsets)

    build(tmp_path / "index", chunkers={"a": Fickle(), "b": SentenceChunker(max_tokens=8)})
    Fickle.size = 3

    report = run(tmp_path / "index", chunkers={"a": Fickle()}, n=3)

    assert all("'a' cuts it otherwise now" in one.faults for one in report.documents)
    assert report.deviation < 1e-12  # the vectors are right for the chunks that are stored
