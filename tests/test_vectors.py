import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import vectors
from latechunk.errors import IndexDamagedError
from latechunk.store import Commit
from latechunk.vectors import VectorCache


def unit(seed, n, dims=6):
    vectors = np.random.default_rng(seed).normal(size=(n, dims)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(n=5):
    cache = VectorCache(6)
    cache.add(np.arange(1, n + 1), unit(0, n))
    cache.commit = Commit(3, "ab", 0)
    return cache


def test_search_by_hand():
    cache = VectorCache(2)
    cache.add(np.array([7, 8, 9]), np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32))

    scores, numbers = cache.search(np.array([0, 1], dtype=np.float32), 2)

    assert numbers == [8, 9]
    assert scores == pytest.approx([1.0, 0.8])


def test_ties_come_in_order_of_number():
    cache = VectorCache(2)
    cache.add(np.array([9, 4, 6]), np.array([[1, 0]] * 3, dtype=np.float32))

    assert cache.search(np.array([1, 0], dtype=np.float32), 3)[1] == [4, 6, 9]


@given(st.integers(1, 30), st.sets(st.integers(1, 30)), st.integers(1, 40))
def test_search_gives_exactly_what_is_left(n, gone, k):
    cache = filled(n)
    cache.remove(np.array(sorted(gone), dtype=np.int64))
    left = [number for number in range(1, n + 1) if number not in gone]
    query = unit(1, 1)[0]

    scores, numbers = cache.search(query, k)

    exact = unit(0, n)[[number - 1 for number in left]] @ query if left else np.zeros(0)
    assert len(numbers) == min(k, len(left))
    assert numbers == [left[place] for place in np.argsort(-exact, kind="stable")[:k]]
    assert scores == pytest.approx(sorted(exact.tolist(), reverse=True)[:k], abs=1e-6)


def test_what_is_written_is_read_back(tmp_path):
    filled().write(tmp_path)

    cache = VectorCache.read(tmp_path, 6)

    assert cache.commit == Commit(3, "ab", 0)
    assert cache.numbers().tolist() == [1, 2, 3, 4, 5]
    assert cache.search(unit(0, 5)[3], 1)[1] == [4]


def test_any_flipped_byte_is_found(tmp_path):
    filled().write(tmp_path)
    path = tmp_path / "vectors.faiss"
    good = path.read_bytes()

    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(IndexDamagedError):
            VectorCache.read(tmp_path, 6)


@pytest.mark.parametrize(
    "label",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"commit": {"number": 1000000000000000000000, "token": "a", "n_removed": 0}, "sha256": "x"}',
        '{"commit": null, "sha256": "x"}',
        '{"commit": {"n": 1}}',
    ],
)
def test_a_damaged_label_is_found(tmp_path, label):
    filled().write(tmp_path)
    (tmp_path / "vectors.json").write_text(label)

    with pytest.raises(IndexDamagedError):
        VectorCache.read(tmp_path, 6)


def test_missing_files_and_other_dimensions_are_found(tmp_path):
    with pytest.raises(IndexDamagedError):
        VectorCache.read(tmp_path, 6)
    filled().write(tmp_path)
    with pytest.raises(IndexDamagedError, match="another kind"):
        VectorCache.read(tmp_path, 7)
    (tmp_path / "vectors.faiss").unlink()
    with pytest.raises(IndexDamagedError):
        VectorCache.read(tmp_path, 6)


def test_a_label_of_other_content_is_not_trusted(tmp_path):
    filled().write(tmp_path)
    label = json.loads((tmp_path / "vectors.json").read_text())
    filled(4).write(tmp_path)
    (tmp_path / "vectors.json").write_text(json.dumps(label))

    with pytest.raises(IndexDamagedError, match="not the file that was written"):
        VectorCache.read(tmp_path, 6)


def test_a_file_replaced_between_check_and_use_is_not_mixed_up(tmp_path, monkeypatch):
    filled().write(tmp_path)
    digest = vectors.hashlib.file_digest

    def replace_behind_the_back(file, name):
        result = digest(file, name)
        other = VectorCache(6)
        other.add(np.array([77]), unit(3, 1))
        other.commit = Commit(9, "cd", 1)
        monkeypatch.undo()
        other.write(tmp_path)
        return result

    monkeypatch.setattr(vectors.hashlib, "file_digest", replace_behind_the_back)

    cache = VectorCache.read(tmp_path, 6)

    assert cache.commit == Commit(3, "ab", 0)
    assert cache.numbers().tolist() == [1, 2, 3, 4, 5]


def test_a_failed_write_leaves_no_litter(tmp_path, monkeypatch):
    filled().write(tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("latechunk.vectors.json.dumps", lambda value: (_ for _ in ()).throw(OSError("full")))

    with pytest.raises(OSError, match="full"):
        filled(4).write(tmp_path)

    assert sorted(tmp_path.iterdir()) == before
    assert len(VectorCache.read(tmp_path, 6)) == 5
