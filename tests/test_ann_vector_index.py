import hashlib
import json
import subprocess
import sys
import textwrap

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
FLAT = IndexSpec("flat")
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
    cache.commit = Commit(3, "ab", 0)
    cache.effort = SearchParams(5, 64, 2)
    cache.tuning = None if factory == "Flat" else Tuning(80, 0.99, 0.98)
    return cache


def find(cache, query, n, documents=None):
    return cache.find(query, n, cache.select(documents)).tolist()


def write(cache, folder):
    return write_cache(cache, folder, 0, IndexSpec(cache.recipe.factory))


def read(folder, factory="Flat", dims=DIMS):
    return read_cache(folder, 0, dims, IndexSpec(factory))


def relabel(folder, **fields):
    """Change the label, and make its checksum right for the file as it is now."""
    label = json.loads((folder / "vectors.json").read_text())
    label["sha256"] = hashlib.sha256((folder / "vectors.faiss").read_bytes()).hexdigest()
    (folder / "vectors.json").write_text(json.dumps({**label, **fields}))


def test_find_by_hand():
    cache = VectorIndex.exact(2)
    cache.add(np.array([7, 8, 9]), np.array([1, 1, 2]), np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32))

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
    vectors = np.array([[3, 4, 12], [0, 0, 1]], dtype=np.float32)

    assert first_pass(vectors, 2) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))
    assert first_pass(vectors, 3) is vectors


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("n", [0, 1, 80])
def test_what_is_written_is_read_back(tmp_path, factory, n):
    before = filled(factory, n)
    write(before, tmp_path)

    after = read(tmp_path, factory)

    assert (after.commit, after.effort, after.tuning) == (before.commit, before.effort, before.tuning)
    assert after.numbers.tolist() == before.numbers.tolist()
    assert after.documents.tolist() == before.documents.tolist()
    for query in clustered(20, DIMS, seed=3):
        assert find(after, query, 7) == find(before, query, 7)
        assert find(after, query, 7, np.arange(0, 30, 3)) == find(before, query, 7, np.arange(0, 30, 3))
    for cache in (before, after):
        cache.keep(np.arange(2, 90))
        cache.add(np.arange(900, 960), np.arange(300, 360), clustered(60, DIMS, seed=4))
    for query in clustered(20, DIMS, seed=3):
        assert sorted(find(after, query, 999)) == sorted(find(before, query, 999))
        assert find(after, query, 5, np.arange(0, 350, 3)) == find(before, query, 5, np.arange(0, 350, 3))


@pytest.mark.parametrize("factory", ["HNSW8,SQ8", "IVF5,SQ8"])
def test_the_dead_stay_dead_in_the_file(tmp_path, factory):
    before = filled(factory)
    before.keep(np.arange(5, 15))
    write(before, tmp_path)

    after = read(tmp_path, factory)

    assert len(after) == 40
    assert sorted(find(after, clustered(1, DIMS)[0], 99)) == list(range(170, 570, 10))
    assert len(find(after, clustered(1, DIMS)[0], 39)) == 39


def test_any_flipped_byte_is_found(tmp_path):
    write(filled(n=5), tmp_path)
    path = tmp_path / "vectors.faiss"
    good = path.read_bytes()

    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(IndexDamagedError):
            read(tmp_path)


@pytest.mark.parametrize("factory", FACTORIES)
def test_flipped_bytes_under_a_right_checksum_are_refused_or_harmless(tmp_path, factory):
    write(filled(factory), tmp_path)
    path = tmp_path / "vectors.faiss"
    good = path.read_bytes()
    random = np.random.default_rng(0)
    queries = clustered(3, DIMS, seed=9)
    for _ in range(150):
        bad = bytearray(good)
        for place in random.integers(len(good), size=random.integers(1, 6)):
            bad[place] = random.integers(256)
        path.write_bytes(bad)
        relabel(tmp_path)
        try:
            cache = read(tmp_path, factory)
        except IndexDamagedError:
            continue
        for query in queries:
            assert set(find(cache, query, 10)) <= set(cache.numbers.tolist())
            assert len(find(cache, query, 10, np.arange(0, 20))) <= 10


@pytest.mark.parametrize("factory", FACTORIES)
def test_any_cut_or_longer_file_is_refused(tmp_path, factory):
    write(filled(factory, 20), tmp_path)
    path = tmp_path / "vectors.faiss"
    good = path.read_bytes()

    for content in [good[:n] for n in range(0, len(good), 7)] + [good + b"x"]:
        path.write_bytes(content)
        relabel(tmp_path)
        with pytest.raises(IndexDamagedError):
            read(tmp_path, factory)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2**31 - 1},
        {"n": 2**62},
        {"n": -1},
        {"n": 79},
        {"n": True},
        {"n": "80"},
        {"layout": 1},
        {"recipe": {"factory": "IVF65536,SQ8", "dims": DIMS}},
        {"recipe": {"factory": "IVF999999999,SQ8", "dims": DIMS}},
        {"recipe": {"factory": "IVF5,PQ4x12", "dims": DIMS}},
        {"recipe": {"factory": "HNSW8,SQ8", "dims": DIMS}},
        {"recipe": {"factory": "Flat", "dims": DIMS}},
        {"recipe": {"factory": "IVF5,SQ8", "dims": 2**40}},
        {"recipe": {"factory": ["IVF5,SQ8"], "dims": DIMS}},
        {"recipe": None},
        {"kind": {"kind": "IVF999999999,SQ8", "first_pass_dims": None}},
        {"kind": {"kind": "flat", "first_pass_dims": None}},
        {"kind": {"kind": "IVF5,SQ8", "first_pass_dims": 4}},
        {"effort": {"n_probes": 0, "n_explored": 1, "per_hit": 1}},
        {"effort": {"n_probes": 1, "n_explored": 1, "per_hit": 10**9}},
        {"effort": {}},
        {"tuning": None},
        {"tuning": {"n_trained": 80, "recall": float("nan"), "recall_noisy": 1}},
        {"commit": None},
        {"commit": {"number": 10**21, "token": "a", "n_removed": 0}},
        {"commit": {"number": 1, "token": 1, "n_removed": 0}},
        {"sha256": "x"},
    ],
    ids=str,
)
def test_labels_that_do_not_fit_are_refused(tmp_path, fields):
    write(filled("IVF5,SQ8"), tmp_path)
    relabel(tmp_path, **fields)

    for kind in (IndexSpec("IVF5,SQ8"), None):
        with pytest.raises(IndexDamagedError):
            read_cache(tmp_path, 0, DIMS, kind)


@pytest.mark.parametrize("label", ["", "{", "[]", "{}", "null", "[" * 100_000, b"\xff"])
def test_what_is_no_label_is_refused(tmp_path, label):
    write(filled(), tmp_path)
    (tmp_path / "vectors.json").write_bytes(label if isinstance(label, bytes) else label.encode())

    with pytest.raises(IndexDamagedError):
        read(tmp_path)


def change_array(folder, cache, place, values):
    """Write other values at a place of the file, in items of their size."""
    path = folder / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[place : place + values.nbytes] = values.tobytes()
    path.write_bytes(content)
    relabel(folder)


@pytest.mark.parametrize("numbers", [[0, 20], [-5, 20], [20, 20], [30, 20]])
def test_numbers_that_no_store_gives_are_refused(tmp_path, numbers):
    write(filled(n=80), tmp_path)
    change_array(tmp_path, None, 0, np.array(numbers))

    with pytest.raises(IndexDamagedError, match="numbers"):
        read(tmp_path)


@pytest.mark.parametrize("value", [80, -1, 2**40, 5])
def test_positions_that_there_are_not_or_twice_are_refused(tmp_path, value):
    write(filled("IVF5,SQ8"), tmp_path)
    ids_at = 2 * 8 * 80 + 10 + 4 * 2 * DIMS + 4 * 5 * DIMS + 8 * 5
    held = np.frombuffer((tmp_path / "vectors.faiss").read_bytes(), dtype="<i8", count=1, offset=ids_at)[0]
    change_array(tmp_path, None, ids_at, np.array([value if value != held else 6]))

    with pytest.raises(IndexDamagedError, match="its lists"):
        read(tmp_path, "IVF5,SQ8")


@pytest.mark.parametrize("sizes", [[2**60, -(2**60) + 80, 0, 0, 0], [80, 80, 0, 0, 0], [81, -1, 0, 0, 0]])
def test_lists_of_sizes_that_do_not_add_up_are_refused(tmp_path, sizes):
    write(filled("IVF5,SQ8"), tmp_path)
    change_array(tmp_path, None, 2 * 8 * 80 + 10 + 4 * 2 * DIMS + 4 * 5 * DIMS, np.array(sizes))

    with pytest.raises(IndexDamagedError, match="its lists do not hold"):
        read(tmp_path, "IVF5,SQ8")


@pytest.mark.parametrize(("place", "value"), [(0, 0), (0, 99), (3, 2**31 - 1), (80, 80), (81, -2), (85, 2**30)])
def test_graphs_that_lead_to_nowhere_are_refused(tmp_path, place, value):
    write(filled("HNSW8,SQ8"), tmp_path)
    change_array(tmp_path, None, 2 * 8 * 80 + 10 + 4 * 2 * DIMS + 4 * place, np.array([value], dtype="<i4"))

    with pytest.raises(IndexDamagedError):
        read(tmp_path, "HNSW8,SQ8")


def test_links_to_nodes_below_their_level_are_refused(tmp_path):
    cache = filled("HNSW8,SQ8", 80)
    graph = core_of(cache.index).hnsw
    levels = faiss.vector_to_array(graph.levels)
    offsets = faiss.vector_to_array(graph.offsets)
    neighbors = faiss.vector_to_array(graph.neighbors)
    high, low = np.flatnonzero(levels > 1)[0], np.flatnonzero(levels == 1)[-1]
    neighbors[int(offsets[high]) + 16] = low
    faiss.copy_array_to_vector(neighbors, graph.neighbors)
    write(cache, tmp_path)

    with pytest.raises(IndexDamagedError, match="nowhere"):
        read(tmp_path, "HNSW8,SQ8")


def test_numbers_learnt_that_are_not_finite_are_refused(tmp_path):
    write(filled("IVF5,SQ8"), tmp_path)
    change_array(tmp_path, None, 2 * 8 * 80 + 10, np.array([np.nan], dtype="<f4"))

    with pytest.raises(IndexDamagedError, match="not finite"):
        read(tmp_path, "IVF5,SQ8")


def test_codes_of_another_version_of_faiss_are_refused_where_their_layout_changes(tmp_path):
    for factory, is_refused in (("IVF5,RaBitQ", True), ("IVF5,SQ8", False)):
        write(filled(factory), tmp_path)
        relabel(tmp_path, faiss="1.0.0")
        if is_refused:
            with pytest.raises(IndexDamagedError, match="version"):
                read(tmp_path, factory)
        else:
            assert len(read(tmp_path, factory)) == 80


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


def test_a_file_replaced_while_it_is_read_is_not_mixed_up(tmp_path, monkeypatch):
    write(filled(), tmp_path)
    read_arrays = persist._read_arrays

    def replace_behind_the_back(cache, reader, n):
        monkeypatch.undo()
        write(filled(n=60), tmp_path)
        read_arrays(cache, reader, n)

    monkeypatch.setattr(persist, "_read_arrays", replace_behind_the_back)

    assert len(read(tmp_path)) == 80
    assert len(read(tmp_path)) == 60


@pytest.mark.parametrize("name", ["json.dumps", "write_data", "os.replace"])
def test_a_fault_in_writing_leaves_what_was_there_and_no_litter(tmp_path, monkeypatch, name):
    write(filled(), tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(f"latechunk.ann.persist.{name}", lambda *_: (_ for _ in ()).throw(OSError("full")))

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


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory hold on Linux")
def test_files_that_ask_for_much_memory_do_not_get_it(tmp_path):
    write(filled("IVF5,SQ8"), tmp_path)
    code = """
        import resource, json, sys
        from pathlib import Path
        from latechunk.ann.persist import read_cache
        from latechunk.errors import IndexDamagedError
        folder = Path(sys.argv[1])
        label = json.loads((folder / "vectors.json").read_text())
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
        for factory in ("IVF65536,SQ8", "IVF65536,PQ8x12", "HNSW128", "Flat", "SQ8", "PCA8,SQ8"):
            for n in (80, 2**20, 2**31 - 1):
                label["recipe"]["factory"] = label["kind"]["kind"] = factory
                label["n"] = n
                (folder / "vectors.json").write_text(json.dumps(label))
                try:
                    read_cache(folder, 0, 8, None)
                except IndexDamagedError as error:
                    pass
                else:
                    raise SystemExit(f"{factory} {n} was read")
        print("refused")
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout) == (0, "refused\n"), result.stderr
