"""Vectors that are stored in less space: rounded as they should be, read back the same everywhere, and nothing else."""

import contextlib
import json
import math
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latechunk import Index
from latechunk.errors import IndexDamagedError, InputError
from latechunk.maintenance.audit import audit
from latechunk.maintenance.export import export_index, import_index
from latechunk.maintenance.merge import merge_indexes
from latechunk.maintenance.repair import repair
from latechunk.maintenance.verify import verify
from latechunk.storage.directory import STORE
from latechunk.storage.vectors import n_bytes, pack, unpack
from tests.conftest import FakeEncoder
from tests.damages import DOCUMENTS, by_sql

PRECISIONS = ("float32", "float16", "int8")


def unit_vectors(draw, dims):
    rows = draw(arrays(np.float32, (draw(st.integers(0, 4)), dims), elements=st.floats(-1, 1, width=32)))
    rows[:, 0] = np.where(np.abs(rows).max(axis=1, initial=0) < 1e-3, 1, rows[:, 0])
    return (rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)


vectors = st.composite(lambda draw: unit_vectors(draw, draw(st.integers(1, 9))))()


def roundtrip(given, precision):
    return unpack(b"".join(pack(given, precision)), given.shape[1], precision)


def test_the_bytes_are_those_computed_by_hand():
    row = np.array([[0.6, -0.8, 0.0]], dtype=np.float32)
    assert pack(row, "float32") == [np.array([0.6, -0.8, 0.0], "<f4").tobytes()]
    assert pack(row, "float16") == [np.array([0.6, -0.8, 0.0], "<f2").tobytes()]
    assert pack(row, "int8") == [bytes([93, 256 - 124, 0])]  # 3 and 4 steps, 31 times over: no larger number is whole
    assert roundtrip(row, "int8") == pytest.approx(row, abs=1e-7)
    other = np.array([[0.5, -0.7, math.sqrt(0.26)]], dtype=np.float32)
    assert pack(other, "int8") == [bytes([91, 256 - 127, 93])]  # 0.5 * 127 / 0.7 = 90.71, 0.5099 * 127 / 0.7 = 92.51
    length = math.sqrt(91**2 + 127**2 + 93**2)
    assert roundtrip(other, "int8") == pytest.approx(np.array([[91, -127, 93]]) / length, abs=1e-7)
    assert [n_bytes(384, one) for one in PRECISIONS] == [1536, 768, 384]


@given(vectors)
def test_what_was_read_is_stored_as_the_same_bytes(rows):
    for precision in PRECISIONS:
        packed = pack(rows, precision)
        assert len(packed) == len(rows)
        assert {len(one) for one in packed} <= {n_bytes(rows.shape[1], precision)}
        assert pack(roundtrip(rows, precision), precision) == packed


@given(vectors)
def test_a_vector_keeps_its_length_and_its_direction(rows):
    assert np.array_equal(roundtrip(rows, "float32"), rows)
    for precision, step in (("float16", 2**-11), ("int8", 1 / 254)):
        again = roundtrip(rows, precision)
        assert again.dtype == np.float32
        assert np.linalg.norm(again, axis=1) == pytest.approx(1, abs=1e-3)
        # Each number is off by half a step at most, and a unit vector then by no more than that of all of them.
        assert (np.linalg.norm(again - rows, axis=1) <= 2.1 * step * math.sqrt(rows.shape[1])).all()


@given(arrays(np.int8, (3, 40), elements=st.integers(-127, 127)), st.integers(1, 127))
def test_a_vector_of_whole_numbers_loses_nothing_in_int8(numbers, largest):
    numbers[:, 0] = 1
    rows = np.clip(numbers, -largest, largest).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert roundtrip(rows.astype(np.float32), "int8") == pytest.approx(rows, abs=2e-7)


@pytest.fixture(params=PRECISIONS)
def made(request, tmp_path):
    """An index in this precision, with its path."""
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), precision=request.param) as index:
        index.add(DOCUMENTS)
    return tmp_path / "index", request.param


def stored(path):
    with Index.open(path, encoder=FakeEncoder(), read_only=True) as index:
        return {one: index.stored(one).vectors for one in index.ids()}


def read(path, query):
    with contextlib.closing(sqlite3.connect(path / STORE)) as connection:
        return [one for (one,) in connection.execute(query)]


def sizes(path):
    return set(read(path, "SELECT length(vector) FROM vectors"))


def test_an_index_stores_and_searches_in_its_precision(made, tmp_path):
    path, precision = made
    dims = FakeEncoder().settings["dims"]
    assert sizes(path) == {n_bytes(dims, precision)}
    with Index.create(tmp_path / "whole", encoder=FakeEncoder()) as whole:
        whole.add(DOCUMENTS)
    for document_id, vectors in stored(tmp_path / "whole").items():
        assert np.array_equal(stored(path)[document_id], roundtrip(vectors, precision))
    with Index.open(path, encoder=FakeEncoder()) as index:
        assert index.info().search["precision"] == precision
        hit = index.search(DOCUMENTS[0].text, k=1, mode="dense")[0]
        (vector,) = [stored(path)[hit.chunk.document_id][hit.chunk.number]]
        assert hit.score == pytest.approx(float(vector @ FakeEncoder().encode_query(DOCUMENTS[0].text)), abs=1e-6)
        assert index.add(DOCUMENTS).n_unchanged == len(DOCUMENTS)
        index.optimize(vectors="flat")
        assert index.info().search["precision"] == precision
        assert index.search(DOCUMENTS[0].text, k=1, mode="dense")[0].chunk == hit.chunk
        assert audit(index).is_proven
    assert verify(path) == []


def test_it_survives_export_import_merge_and_repair(made, tmp_path):
    path, precision = made
    export_index(path, tmp_path / "index.jsonl")
    import_index(tmp_path / "index.jsonl", tmp_path / "imported")
    merge_indexes([path], tmp_path / "merged")
    by_sql(path, "DELETE FROM vectors WHERE chunk = 1")
    repair(path, encoder=FakeEncoder())
    for other in (path, tmp_path / "imported", tmp_path / "merged"):
        assert sizes(other) == {n_bytes(FakeEncoder().settings["dims"], precision)}
        assert verify(other) == []
    again, expected = stored(tmp_path / "imported"), stored(tmp_path / "merged")
    assert all(np.array_equal(again[one], expected[one]) for one in expected)


def test_a_copy_may_have_another_precision(made, tmp_path):
    path, _ = made
    export_index(path, tmp_path / "index.jsonl")
    import_index(tmp_path / "index.jsonl", tmp_path / "imported", precision="int8")
    merge_indexes([path], tmp_path / "merged", precision="int8")
    for other in (tmp_path / "imported", tmp_path / "merged"):
        assert sizes(other) == {n_bytes(FakeEncoder().settings["dims"], "int8")}
        assert verify(other) == []
    with pytest.raises(InputError, match="precision must be one of float32, float16, int8, got 'int4'"):
        merge_indexes([path], tmp_path / "no", precision="int4")
    assert not (tmp_path / "no").exists()


def test_what_no_index_can_have_is_refused(tmp_path):
    with pytest.raises(InputError, match="precision must be one of float32, float16, int8, got 8"):
        Index.create(tmp_path / "index", encoder=FakeEncoder(), precision=8)
    assert not (tmp_path / "index").exists()


def test_a_vector_of_another_length_and_an_unknown_precision_are_damage(made):
    path, precision = made
    by_sql(path, "UPDATE vectors SET vector = zeroblob(length(vector) + 1) WHERE chunk = 1")
    with (
        Index.open(path, encoder=FakeEncoder(), read_only=True) as index,
        pytest.raises(IndexDamagedError, match="the vector of chunk 1 is not of"),
    ):
        index.search("anything", mode="dense")
    (value,) = read(path, "SELECT value FROM settings WHERE name = 'search'")
    changed = json.dumps(json.loads(value) | {"precision": "int2"})
    by_sql(path, f"UPDATE settings SET value = '{changed}' WHERE name = 'search'")
    with pytest.raises(IndexDamagedError, match="precision"):
        Index.open(path, encoder=FakeEncoder())
    assert (path / STORE).exists()
    assert precision in PRECISIONS
