"""Threads and tasks ask one retriever while another thread adds documents."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.documents import Document
from langchain_latechunk import LateChunkRetriever, LateChunkVectorStore

import latechunk
from latechunk.errors import IndexBusyError

N_DOCUMENTS = 60
N_MORE = 120


@pytest.fixture
def fake(fake):
    return type(fake)(dims=128)  # so that random directions are far from each other


def document(number: int) -> Document:
    """Of two chunks."""
    text = f"Subject{number} opens page{number}. Then comes remark{number} and closes it all."
    return Document(id=f"d{number}", page_content=text, metadata={"n": number})


@pytest.fixture
def retriever(store):
    store.add_documents([document(number) for number in range(N_DOCUMENTS)])
    return LateChunkRetriever(index=store.index, k=3)


@pytest.fixture
def adding(store):
    """Adds and replaces documents in a thread until the test is done."""
    stop = threading.Event()

    def add():
        for number in range(N_DOCUMENTS, N_DOCUMENTS + N_MORE):
            store.add_documents([document(number)])
            store.add_documents([Document(id="changing", page_content=f"Version{number} of a text that changes.")])
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(add)
        yield
        stop.set()
        done.result()


def check(number: int, found: list[Document]) -> None:
    assert len(found) == 3
    best = found[0]
    assert best.metadata["latechunk_document_id"] == f"d{number}"
    assert best.metadata["n"] == number
    for one in found:
        if one.metadata["latechunk_document_id"] != "changing":
            whole = document(one.metadata["n"]).page_content
            assert whole[one.metadata["start_index"] : one.metadata["end_index"]] == one.page_content


@pytest.mark.usefixtures("adding")
def test_ten_threads(retriever):
    def ask(number):
        for _ in range(5):
            check(number, retriever.invoke(f"Subject{number} opens page{number}."))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, range(40)))


def test_tasks_wait_for_each_other_as_long_as_they_are_told(store):
    def add_while(timeout):
        with LateChunkVectorStore.open(store.index.path, embedding=store.embeddings, lock_timeout=timeout) as opened:
            return opened.add_documents([document(1)])

    def stream():
        yield latechunk.Document("a", "Text.")
        with pytest.raises(IndexBusyError, match=r"waited 0\.1 s"):
            pool.submit(add_while, 0.1).result()

    with ThreadPoolExecutor(1) as pool:
        store.index.add(stream())
    assert add_while(0.1) == ["d1"]


@pytest.mark.usefixtures("adding")
async def test_fifty_tasks(retriever):
    async def ask(number):
        for _ in range(3):
            check(number, await retriever.ainvoke(f"Subject{number} opens page{number}.", k=3))

    await asyncio.gather(*(ask(number) for number in range(50)))


@pytest.mark.usefixtures("adding")
async def test_tasks_on_a_store(store, retriever):
    async def ask(number):
        found = await store.asimilarity_search(f"Subject{number} opens page{number}.", k=1)
        assert found[0].metadata["n"] == number

    await asyncio.gather(*(ask(number) for number in range(50)))


def test_many_writers_wait_for_each_other(store):
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda number: store.add_documents([document(number)]), range(50)))
    assert sorted(store.index.ids()) == sorted(f"d{number}" for number in range(50))
    assert isinstance(store, LateChunkVectorStore)
