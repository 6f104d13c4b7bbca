import json
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk.ann import persist
from latechunk.ann.faiss_ops import SearchParams, core_of
from latechunk.ann.id_filter import IdFilters
from latechunk.ann.persist import read_cache, write_cache
from latechunk.ann.spec import FaissSpec, IndexSpec
from latechunk.ann.vector_index import Tuning, VectorIndex, first_pass
from latechunk.errors import IndexDamagedError
from latechunk.storage.store import Commit
from tests.stores import clustered

DIMS = 8
FACTORIES = ["Flat", "SQ8", "SQfp16", "RaBitQ", "IVF5,SQ8", "IVF5,Flat", "IVF5,PQ4x4", "IVF5,RaBitQ2", "HNSW8,SQ8"]
FACTORIES += ["HNSW8", "RR8,IVF5,SQ6", "PCAR4,SQ8"]


def filled(factory="Flat", n=80):
    """Chunks of the numbers 10, 20 and so on, four of them in each document."""
    cache = VectorIndex(FaissSpec(factory, DIMS))
    vectors = clustered(max(n, 80), DIMS)
    if not cache.index.is_trained:
        cache.index.train(clustered(300, DIMS))
    numbers = 10 * np.arange(1, n + 1)
    cache.add(numbers, 1 + np.arange(n) // 4, vectors[:n])
    cache.settle()
    cache.commit = Commit(3, "ab", 0)
    cache.params = SearchParams(5, 64, 2)
    cache.tuning = None if factory == "Flat" else Tuning(80, 0.99, 0.98)
    return cache


def find(cache, query, n, documents=None):
    return cache.find(query, n, cache.filters.of(documents)).tolist()


def write(cache, folder):
    return write_cache(cache, folder, 0, IndexSpec(cache.spec.factory))


def read(folder, factory="Flat", dims=DIMS):
    return read_cache(folder, 0, dims, IndexSpec(factory))


def test_find_by_hand():
    cache = VectorIndex.exact(2)
    cache.add(np.array([7, 8, 9]), np.array([1, 1, 2]), np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32))
    cache.settle()

    assert find(cache, np.array([0, 1], dtype=np.float32), 2) == [8, 9]
    assert find(cache, np.array([0, 1], dtype=np.float32), 1, np.array([2])) == [9]
    assert find(cache, np.array([0, 1], dtype=np.float32), 1, np.array([], dtype=np.int64)) == []


@given(st.integers(1, 30), st.sets(st.integers(1, 10)), st.integers(1, 40))
def test_a_flat_cache_finds_exactly_what_is_left(n, kept, k):
    cache = filled(n=n)
    cache.keep(np.array(sorted(kept), dtype=np.int64))
    left = [place for place in range(n) if 1 + place // 4 in kept]
    query = clustered(1, DIMS, seed=5)[0]

    scores = clustered(80, DIMS)[left] @ query

    assert set(find(cache, query, k)) == {10 * (left[place] + 1) for place in np.argsort(-scores)[:k]}


@pytest.mark.parametrize("numbers", [[], [7], [7, 8, 9]])
def test_vectors_come_in_the_order_given_and_none_is_made_up(numbers):
    cache = VectorIndex.exact(2)
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)[: len(numbers)]
    cache.add(np.array(numbers, dtype=np.int64), np.array(numbers, dtype=np.int64), vectors)
    cache.settle()

    assert cache.vectors_of(np.array(numbers[::-1], dtype=np.int64)).tolist() == vectors[::-1].tolist()
    for number in (1, 6, 10):
        with pytest.raises(IndexDamagedError, match="^a chunk has no vector; `latechunk verify` says what is wrong$"):
            cache.vectors_of(np.array([*numbers, number]))


def _no_lists():
    raise NotImplementedError


def test_selections_are_kept_by_identity_and_by_content():
    selections = IdFilters(np.array([1, 1, 2, 5]), np.array([True, False, True, True]), _no_lists)
    documents = np.array([1, 5])

    first = selections.of(documents)

    assert first.mask.tolist() == [True, False, False, True]
    assert (first.n, first.share, first.positions.tolist()) == (2, 2 / 3, [0, 3])
    assert selections.of(documents) is first
    assert selections.of(np.array([1, 5])) is first
    assert selections.of(np.array([1, 4])) is not first
    for number in range(10):
        selections.of(np.array([number]))
    assert selections.of(documents) is not first
    assert selections.of(None) is selections.of(None)


@given(st.lists(st.integers(-1, 9), max_size=30), st.booleans(), st.sets(st.integers(-1, 10)), st.data())
def test_selections_by_hand(documents, is_sorted, wanted, data):
    owners = np.array(sorted(documents) if is_sorted else documents, dtype=np.int64)
    alive = np.array([data.draw(st.booleans()) for _ in documents], dtype=bool)

    selection = IdFilters(owners, alive, _no_lists).of(np.array(sorted(wanted), dtype=np.int64))

    assert selection.mask.tolist() == [bool(one) and owner in wanted for one, owner in zip(alive, owners, strict=True)]


def test_first_pass_is_the_head_at_unit_length():
    vectors = np.array([[3, 4, 12], [0, 0, 1], [0, 2, 1]], dtype=np.float32)

    assert first_pass(vectors, 2) == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 1]]))
    assert first_pass(vectors, 3) is vectors


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("n", [0, 1, 80])
def test_what_is_written_is_read_back(tmp_path, factory, n):
    before = filled(factory, n)
    write(before, tmp_path)

    after = read(tmp_path, factory)

    assert (after.commit, after.params, after.tuning) == (before.commit, before.params, before.tuning)
    assert after.numbers.tolist() == before.numbers.tolist()
    assert after.documents.tolist() == before.documents.tolist()
    for query in clustered(20, DIMS, seed=3):
        assert find(after, query, 7) == find(before, query, 7)
        assert find(after, query, 7, np.arange(0, 30, 3)) == find(before, query, 7, np.arange(0, 30, 3))
    for cache in (before, after):
        cache.keep(np.arange(2, 90))
        cache.add(np.arange(900, 960), np.arange(300, 360), clustered(60, DIMS, seed=4))
        cache.settle()
    for query in clustered(20, DIMS, seed=3):
        assert sorted(find(after, query, 999)) == sorted(find(before, query, 999))
        assert find(after, query, 5, np.arange(0, 350, 3)) == find(before, query, 5, np.arange(0, 350, 3))


def is_mapped(cache):
    return isinstance(faiss.downcast_InvertedLists(core_of(cache.index).invlists), faiss.OnDiskInvertedLists)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="this system has no names for open files")
@pytest.mark.parametrize("factory", ["IVF5,SQ8", "IVF5,RaBitQ2", "RR8,IVF5,SQ6"])
def test_lists_stay_in_their_file_until_they_change(tmp_path, factory):
    before = filled(factory)
    write(before, tmp_path)
    written = (tmp_path / "vectors.faiss").read_bytes()
    cache, kept, other = (read(tmp_path, factory) for _ in range(3))
    assert is_mapped(cache)
    write(filled(factory, 20), tmp_path)  # as another process does

    assert is_mapped(read(tmp_path, factory))
    for query in clustered(20, DIMS, seed=3):
        assert find(cache, query, 7) == find(before, query, 7)
    kept.keep(np.arange(1, 90))
    assert is_mapped(kept)  # nothing was removed
    kept.keep(np.arange(2, 90))
    assert not is_mapped(kept)
    assert sorted(find(kept, clustered(1, DIMS)[0], 99)) == list(range(50, 810, 10))
    other.add(np.arange(900, 901), np.arange(300, 301), clustered(1, DIMS))
    assert not is_mapped(other)
    write(cache, tmp_path)  # in a later state of a store that changed no vector
    assert (tmp_path / "vectors.faiss").read_bytes() == written


def test_where_open_files_have_no_names_all_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(persist, "_OPEN_FILES", tmp_path / "none")
    before = filled("IVF5,SQ8")
    write(before, tmp_path)

    after = read(tmp_path, "IVF5,SQ8")

    assert not is_mapped(after)
    assert find(after, clustered(1, DIMS)[0], 7) == find(before, clustered(1, DIMS)[0], 7)


@pytest.mark.parametrize("factory", ["HNSW8,SQ8", "IVF5,SQ8"])
def test_the_dead_stay_dead_in_the_file(tmp_path, factory):
    before = filled(factory)
    before.keep(np.arange(5, 15))
    write(before, tmp_path)

    after = read(tmp_path, factory)

    assert len(after) == 40
    assert sorted(find(after, clustered(1, DIMS)[0], 99)) == list(range(170, 570, 10))
    assert len(find(after, clustered(1, DIMS)[0], 39)) == 39


@pytest.mark.parametrize("name", ["vectors.faiss", "vectors.npy"])
def test_any_flipped_byte_is_found(tmp_path, monkeypatch, name):
    monkeypatch.setattr(persist, "_REPLACED", 0)
    write(filled(n=5), tmp_path)
    path = tmp_path / name
    good = path.read_bytes()

    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(IndexDamagedError):
            read(tmp_path)


@pytest.mark.parametrize("name", ["vectors.faiss", "vectors.npy", "vectors.json"])
@pytest.mark.parametrize(
    "change", [lambda good: good[:-1], lambda good: good + b" ", lambda good: b"", lambda good: None]
)
def test_any_cut_longer_or_missing_file_is_refused(tmp_path, name, change):
    write(filled("IVF5,SQ8", 20), tmp_path)
    path = tmp_path / name
    content = change(path.read_bytes())
    path.write_bytes(content) if content is not None else path.unlink()

    if (name, content and content[-1:]) == ("vectors.json", b" "):
        assert len(read(tmp_path, "IVF5,SQ8")) == 20  # white space behind JSON means nothing
    else:
        with pytest.raises(IndexDamagedError, match="cannot be used"):
            read(tmp_path, "IVF5,SQ8")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layout", 2, "layout must be one of 4, got 2"),
        ("held", {"factory": "Flat", "dims": DIMS}, "its label is not the one that was written"),
        ("held", None, "held"),
        ("wanted", {"kind": "IVF999999999,SQ8"}, "no kind of vector index"),
        ("params", {"n_probes": 1, "n_explored": 1, "per_hit": 7}, "its label is not the one that was written"),
        ("params", {"n_probes": 1.5}, "must be a whole number"),
        ("tuning", None, "its label is not the one that was written"),
        ("commit", {"number": 4, "token": "ab", "n_removed": 0}, "its label is not the one that was written"),
        ("commit", None, "commit"),
        ("rows_blocks", [], "its label is not the one that was written"),
        ("sha256", "x", "its label is not the one that was written"),
        ("more", 1, "there is no 'more'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, field, value, message):
    write(filled("IVF5,SQ8"), tmp_path)
    label = json.loads((tmp_path / "vectors.json").read_text())
    (tmp_path / "vectors.json").write_text(json.dumps({**label, field: value}))

    with pytest.raises(IndexDamagedError, match=message):
        read_cache(tmp_path, 0, DIMS, None)


@pytest.mark.parametrize("label", ["", "{", "[]", "{}", "null", "[" * 100_000, b"\xff"])
def test_what_is_no_label_is_refused(tmp_path, label):
    write(filled(), tmp_path)
    (tmp_path / "vectors.json").write_bytes(label if isinstance(label, bytes) else label.encode())

    with pytest.raises(IndexDamagedError):
        read(tmp_path)


def test_missing_files_and_other_dimensions_are_found(tmp_path):
    with pytest.raises(IndexDamagedError):
        read(tmp_path)
    write(filled(), tmp_path)
    with pytest.raises(IndexDamagedError, match="vectors of 8 numbers"):
        read(tmp_path, dims=7)
    (tmp_path / "vectors.faiss").unlink()
    with pytest.raises(IndexDamagedError):
        read(tmp_path)


def test_a_label_of_other_content_is_not_trusted(tmp_path):
    write(filled(), tmp_path)
    label = (tmp_path / "vectors.json").read_text()
    other = filled()
    other.index.reset()
    other.index.add(clustered(80, DIMS, seed=2))
    write(other, tmp_path)
    (tmp_path / "vectors.json").write_text(label)

    with pytest.raises(IndexDamagedError, match="not the file that was written"):
        read(tmp_path)


def test_files_that_another_process_replaces_after_their_label_was_read_are_read(tmp_path, monkeypatch):
    write(filled(n=80), tmp_path)
    n_read = 0

    def read_label(*place):
        nonlocal n_read
        n_read += 1
        label = persist.CacheLabel.from_json((tmp_path / "vectors.json").read_bytes())
        if n_read == 1:
            write(filled(n=40), tmp_path)
        return label

    monkeypatch.setattr(persist, "read_label", read_label)

    assert (len(read(tmp_path)), n_read) == (40, 2)


@pytest.mark.parametrize("name", ["faiss.write_index", "np.save", "os.replace"])
def test_a_fault_in_writing_leaves_what_was_there_and_no_litter(tmp_path, monkeypatch, name):
    write(filled(), tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(f"latechunk.ann.persist.{name}", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))

    with pytest.raises(OSError, match="full"):
        write(filled(n=4), tmp_path)

    assert sorted(tmp_path.iterdir()) == before
    assert len(read(tmp_path)) == 80


def test_a_fault_between_the_two_files_is_found(tmp_path, monkeypatch):
    write(filled(), tmp_path)
    replace = persist.os.replace
    monkeypatch.setattr(
        "latechunk.ann.persist.os.replace",
        lambda old, new: replace(old, new) if new.suffix == ".faiss" else (_ for _ in ()).throw(OSError("full")),
    )
    with pytest.raises(OSError, match="full"):
        write(filled(n=4), tmp_path)

    with pytest.raises(IndexDamagedError):
        read(tmp_path)


def test_what_is_wrong_with_files_is_said_in_full(tmp_path):
    path = tmp_path / "vectors.faiss"

    def message(factory="Flat", dims=DIMS):
        with pytest.raises(IndexDamagedError) as caught:
            read(tmp_path, factory, dims)
        return str(caught.value)

    assert message().startswith(f"{path} cannot be used: {tmp_path / 'vectors.json'} cannot be read: [Errno 2]")
    n_bytes = write(filled(), tmp_path)
    assert n_bytes == sum(one.stat().st_size for one in tmp_path.iterdir())
    assert message("SQ8") == (
        f"{path} cannot be used: it holds 'Flat' for IndexSpec(kind='Flat', first_pass_dims=None), and "
        "IndexSpec(kind='SQ8', first_pass_dims=None) is wanted"
    )
    assert message(dims=7) == f"{path} cannot be used: it holds vectors of 8 numbers, and 7 are wanted"
    path.write_bytes(b"rubbish")
    assert message() == f"{path} cannot be used: it is not the file that was written"


def test_what_is_in_no_state_of_a_store_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="^an index that is in no state of the store cannot be written$"):
        write(VectorIndex.exact(DIMS), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_faiss_is_one_of_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "latechunk.ann.persist.faiss.write_index", lambda *_: (_ for _ in ()).throw(RuntimeError("full"))
    )
    with pytest.raises(OSError, match=f"^FAISS could not write {tmp_path / 'vectors.faiss.new'}: full$"):
        write(filled(), tmp_path)


def test_of_documents_that_come_out_of_order_all_positions_are_found():
    for owners in ([3, 3, 1, 3, 2], [1, 2, 3, 3, 3], []):
        filters = IdFilters(np.array(owners, dtype=np.int64), np.ones(len(owners), dtype=bool), _no_lists)
        found = filters.of(np.array([1, 3]))

        assert found.positions.tolist() == [place for place, owner in enumerate(owners) if owner != 2]
        assert found.share == (0.8 if owners else 0.0)
        assert filters.everything.is_all
        assert found.is_all == (not owners)


def test_counts_for_each_list():
    calls = []
    lists = lambda: (calls.append(1), (np.array([0, 2, 2, 0], dtype=np.uint16), 4))[1]  # noqa: E731
    filters = IdFilters(np.array([1, 1, 2, 2]), np.array([True, True, True, False]), lists)

    assert filters.everything.n_per_list.tolist() == [1, 0, 2, 0]
    assert filters.of(np.array([2])).n_per_list.tolist() == [0, 0, 1, 0]
    assert calls == [1]
    assert [filters.everything.bitmap.is_member(place) for place in range(4)] == [True, True, True, False]
    assert [filters.of(np.array([2])).array.is_member(place) for place in range(4)] == [False, False, True, False]
