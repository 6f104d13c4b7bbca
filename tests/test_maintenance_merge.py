"""What becomes of documents that come from several sources, in several runs: as a model by hand says it."""

import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk.errors import TransferError
from latechunk.maintenance import merge
from latechunk.maintenance.merge import Joined
from latechunk.storage.store import StoredDocument
from latechunk.types import Document, Span
from tests.stores import make_store


def stored(name, version):
    """A document whose outline nobody has given, so that the store finds one."""
    text = f"# Title\n\nText {version}"
    vector = np.eye(4, dtype=np.float32)[[version]]
    return StoredDocument(Document(name, text), 3, [[Span(0, len(text))]], vector)


def versions_in(store):
    return {name: int(store.document(name).text[-1]) for name in store.document_ids()}


def take(joined, one):
    joined.add(one)
    joined.flush()


ADDED = st.tuples(st.sampled_from("abc"), st.integers(0, 2))
EVENTS = st.lists(st.one_of(ADDED, ADDED, ADDED, st.sampled_from(["source", "run"])), max_size=14)


@given(EVENTS, st.integers(1, 3))
def test_documents_are_joined_as_a_model_joins_them(events, batch):
    source, run = 0, 0
    known = {}  # of each id its version, and the source and the run that gave it
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "BATCH", batch)
        with closing(make_store(Path(folder))) as store:
            joined = Joined(store)
            joined.begin_source("first")
            for event in events:
                if event == "source":
                    source, run = source + 1, run + 1
                    joined.begin_source(f"source {source}")
                elif event == "run":
                    run += 1
                    joined.begin_run()
                else:
                    name, version = event
                    before = known.get(name)
                    if before is not None and before[0] != version and (before[1] != source or before[2] == run):
                        where = "comes twice" if before[2] == run else "earlier one"
                        with pytest.raises(TransferError, match=where):
                            take(joined, stored(name, version))
                        return
                    joined.add(stored(name, version))
                    if before is None or before[0] != version:
                        known[name] = (version, source, run)
            joined.flush()
            assert versions_in(store) == {name: version for name, (version, _, _) in known.items()}


def test_large_documents_are_not_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "BATCH_BYTES", 100)  # one has 15 characters, 2 of metadata and 16 bytes of vectors
    with closing(make_store(tmp_path)) as store:
        joined = Joined(store)
        joined.begin_source("one")
        n_stored = []
        for number in range(8):
            joined.add(stored(f"d{number}", 0))
            n_stored.append(store.counts().n_documents)

    assert n_stored == [0, 0, 0, 4, 4, 4, 4, 8]
