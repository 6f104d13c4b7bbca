"""LangChain's index() with a record manager encodes what changed and nothing else."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index


@pytest.fixture
def records():
    manager = InMemoryRecordManager("test")
    manager.create_schema()
    return manager


@pytest.fixture
def many():
    return [
        Document(f"This is text number {number}. It has a second sentence.", metadata={"source": f"{number}.txt"})
        for number in range(250)
    ]


@pytest.mark.parametrize("cleanup", ["full", "incremental", "scoped_full"])
def test_only_what_changed_is_encoded(store, fake, records, many, cleanup):
    options = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256"}
    first = index(many, records, store, **options)
    assert (first["num_added"], fake.n_encoded) == (250, 250)

    fake.n_encoded = 0
    second = index(many, records, store, **options)
    assert (second["num_added"], second["num_skipped"], fake.n_encoded) == (0, 250, 0)

    edited = [*many[:-1], Document("Now it says something else.", metadata=many[-1].metadata)]
    third = index(edited, records, store, **options)
    assert (third["num_added"], third["num_deleted"], fake.n_encoded) == (1, 1, 1)
    assert len(store.index) == 250
    assert store.similarity_search("Now it says something else.", k=1)[0].metadata["source"] == "249.txt"


async def test_async(store, fake, records, many):
    for expected in (250, 0):
        fake.n_encoded = 0
        await aindex(many, records, store, cleanup="full", key_encoder="sha256")
        assert fake.n_encoded == expected


def test_an_emptied_source_empties_the_store(store, records, many):
    index(many, records, store, cleanup="full", key_encoder="sha256")
    assert index([], records, store, cleanup="full", key_encoder="sha256")["num_deleted"] == 250
    assert len(store.index) == 0
