"""Files in blocks with digests: all is read, in order, and nothing of a block that differs."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latechunk.ann import checked_file
from latechunk.ann.checked_file import CheckedReader, hash_blocks
from latechunk.errors import IndexDamagedError


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(checked_file, "BLOCK", 10)


def opened(path):
    return path.open("rb")


def drain(reader, into):
    while part := reader.read(3):
        into += part


@pytest.mark.parametrize(
    ("content", "blocks"),
    [(b"", []), (b"0123456789", [b"0123456789"]), (b"0123456789ab", [b"0123456789", b"ab"])],
)
def test_each_block_has_a_digest(tmp_path, content, blocks):
    (tmp_path / "file").write_bytes(content)

    with opened(tmp_path / "file") as file:
        assert hash_blocks(file) == tuple(hashlib.sha256(block).hexdigest() for block in blocks)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.lists(st.integers(1, 30), max_size=40))
def test_what_was_written_is_read_in_order_whatever_is_asked_for(tmp_path, content, sizes):
    path = tmp_path / "file"
    path.write_bytes(content)
    with opened(path) as file:
        reader = CheckedReader(file, hash_blocks(file))
        parts = [reader.read(size) for size in [*sizes, *[10] * 21]]

    assert all(len(part) <= size for part, size in zip(parts, sizes, strict=False))
    assert b"".join(parts).startswith(content[: sum(sizes)])
    assert b"".join(parts) == content


@pytest.mark.parametrize("place", range(35))
def test_nothing_of_a_block_that_differs_is_given_out(tmp_path, place):
    path = tmp_path / "file"
    good = bytes(range(35))
    path.write_bytes(good)
    with opened(path) as file:
        digests = hash_blocks(file)
    path.write_bytes(good[:place] + b"x" + good[place + 1 :])

    with opened(path) as file:
        reader, read = CheckedReader(file, digests), bytearray()
        with pytest.raises(IndexDamagedError, match="not the file that was written"):
            drain(reader, read)
    assert read == good[: place // 10 * 10]


@pytest.mark.parametrize("length", [0, 20, 41, 100])
def test_a_file_of_more_or_fewer_blocks_is_refused_at_once(tmp_path, length):
    path = tmp_path / "file"
    path.write_bytes(bytes(35))
    with opened(path) as file:
        digests = hash_blocks(file)
    path.write_bytes(bytes(length))

    with opened(path) as file, pytest.raises(IndexDamagedError, match="not the file that was written"):
        CheckedReader(file, digests)
