"""What cannot go well is an error that names the remedy, and changes nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_latechunk import (
    LateChunkEmbeddings,
    LateChunkRetriever,
    LateChunkVectorStore,
    PreSplitError,
    PreSplitWarning,
    add_late_chunks,
    join_pages,
)
from langchain_latechunk.presplit import require_whole

import latechunk
from latechunk import Index, PagesWarning
from latechunk.errors import (
    DocumentError,
    IndexBusyError,
    IndexMismatchError,
    IndexReadOnlyError,
    InputError,
    LateChunkError,
)

TEXT = (
    "The first sentence of a longer text is here. The second sentence follows it at once. The third sentence ends it."
)
RULE = "_" * 32


def pieces(**metadata):
    """What a splitter with an overlap makes."""
    return [Document(TEXT[begin : begin + 60], metadata=dict(metadata)) for begin in (0, 35, 70)]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([Document("It has people.", id="x", metadata={"start_index": 0})], "document 'x' is a piece .* start_index 0"),
        ([Document("a"), Document("b", metadata={"start_index": 9})], "document number 1 of the list is a piece"),
        ([Document("b", metadata={"latechunk_document_id": "x"})], "a chunk that was found in 'x'"),
        (pieces(source="a.txt"), "document number 1 of the list begins with the end of the one before it"),
        (pieces(), "begins with the end of the one before it"),
    ],
)
def test_pieces_are_refused(store, embedding, documents, message):
    for add in (
        lambda: store.add_documents(documents),
        lambda: LateChunkVectorStore.from_documents(documents, embedding),
        lambda: LateChunkRetriever.from_documents(documents, embedding=embedding),
    ):
        with pytest.raises(PreSplitError, match=f"{message}.*add the document as it was before the splitter"):
            add()
    assert len(store.index) == 0


@given(st.text(min_size=21, max_size=60), st.text(min_size=20, max_size=40), st.text(min_size=21, max_size=60))
def test_any_overlap_is_seen(before, shared, after):
    assume(shared.strip())
    left, right = Document("L" + before + shared), Document(shared + after + "R")
    assume(not left.page_content.startswith(shared))
    with pytest.raises(PreSplitError, match="begins with the end"):
        require_whole([left, right], [None, None])


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_different_metadata_make_whole_documents(texts):
    documents = [Document(text, metadata={"n": number}) for number, text in enumerate(texts)]
    require_whole(documents, [None] * len(documents))


def test_a_refusal_leaves_no_index(tmp_path, embedding):
    path = tmp_path / "x"
    with pytest.raises(PreSplitError):
        LateChunkVectorStore.from_documents(pieces(), embedding, path=path)
    with pytest.raises(PreSplitError):
        LateChunkRetriever.from_documents(pieces(), embedding=embedding, path=path)
    assert not path.exists()


def test_what_a_search_gave_is_not_taken_back(store, documents):
    store.add_documents(documents)
    with pytest.raises(LateChunkError):
        store.add_documents(store.similarity_search("people", k=5))
    with pytest.raises(PreSplitError):
        store.add_documents(LateChunkRetriever(index=store.index).invoke("people"))
    assert len(store.index) == 3


@pytest.mark.parametrize(
    "metadata", [{"end_index": 7}, {"start_index": "first"}, {"latechunk_chunk": 1}, {"latechunk_score": 0.5}]
)
def test_a_metadata_key_that_passages_have_is_refused(store, embedding, metadata):
    (key,) = metadata
    documents = [Document(TEXT, metadata=metadata)]
    other = InMemoryVectorStore(embedding)

    for add in (
        store.add_documents,
        lambda them: LateChunkRetriever.from_documents(them, embedding=embedding),
        lambda them: add_late_chunks(other, them),
    ):
        with pytest.raises(DocumentError, match=f"has '{key}' in its metadata, .* give it another name"):
            add(documents)

    assert not store.index.ids()
    assert not other.store


def test_likely_pieces_are_warned_about(store):
    with pytest.warns(
        PreSplitWarning, match=r"several documents have the source 'docs/a\.txt' and the same metadata"
    ) as warned:
        store.add_documents([Document(text, metadata={"source": "docs/a.txt"}) for text in ("One.", "Two.")])
    assert Path(warned[0].filename).name == "test_bad_input.py"


@pytest.mark.parametrize(
    "metadatas",
    [
        [{"source": "manual.md"}] * 2,
        [{"Header 1": "Manual"}, {"Header 1": "Manual", "Header 2": "Refunds"}],
        [{"source": "https://a.org", "h2": "A"}, {"source": "https://a.org", "h2": "B"}],
        [{"source": "a.docx", "element_id": number} for number in "12"],  # UnstructuredLoader's
        [{"source": "a.pdf", "dl_meta": {"origin": number}} for number in "12"],  # DoclingLoader's
    ],
)
def test_pieces_of_a_file_or_of_its_headings_are_warned_about(store, metadatas):
    with pytest.warns(PreSplitWarning, match="if they are pieces of one document"):
        store.add_documents([Document(f"Text {n}.", metadata=one) for n, one in enumerate(metadatas)])


@pytest.mark.parametrize(
    "documents",
    [
        [Document(text, metadata={"source": "tweet"}) for text in ("One.", "Two.", "Three.")],
        [Document("The same text twice, which may happen.") for _ in range(2)],
        [Document("name: Ann", metadata={"source": "a.csv", "row": row}) for row in (0, 1)],
        [Document("word " * number) for number in (9, 19, 29)],
        [Document(TEXT[begin : begin + 60], metadata={"page": begin}) for begin in (0, 35)],  # headers repeat footers
        [Document("One ends in words. "), Document("words. Two.")],
        [Document(f"{RULE}\nMessage {number}.\n{RULE}") for number in range(3)],  # a head that is the foot, too
    ],
)
def test_whole_documents_are_not_suspected(store, documents):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.add_documents(documents)
    assert len(store.index) == len(documents)


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), b"bytes", {1: "a"}])
def test_metadata_that_json_cannot_hold(store, value):
    with pytest.raises(DocumentError, match="the metadata of document 'x' must.*'key'"):
        store.add_documents([Document("fine", id="ok"), Document("a", id="x", metadata={"key": value})])
    assert len(store.index) == 0


def test_an_id_that_comes_twice(store):
    with pytest.raises(DocumentError, match="the id '1' comes twice in one call.*an id of its own"):
        store.add_documents([Document("a", id="1"), Document("b", id="2"), Document("c", id="1")])
    with pytest.raises(DocumentError, match="comes twice"):
        store.add_texts(["a", "b"], ids=["1", "1"])
    assert len(store.index) == 0


@pytest.mark.parametrize("name", ["berlin#0", "berlin#2", "berlin#3", "berlin#0:5", "berlin#900:901", "stub#1"])
def test_a_document_whose_id_a_passage_may_have_is_refused_after_the_larger_one(store, documents, name):
    store.add_documents(documents)
    with pytest.raises(DocumentError, match=f"'{name}' is the form of the ids that passages of document '.*' have"):
        store.add_documents([Document("a", id=name)])
    assert len(store.index) == 3


@pytest.mark.parametrize("name", ["repo#0", "repo#7", "repo#0:5"])
def test_a_document_whose_id_a_passage_may_have_is_refused_before_and_with_the_larger_one(store, embedding, name):
    both = [Document("One sentence. Two sentences.", id="repo"), Document("An issue, not a chunk.", id=name)]
    for add in (
        lambda: store.add_documents(both),
        lambda: store.add_documents(both[::-1]),
        lambda: LateChunkRetriever.from_documents(both, embedding=embedding),
    ):
        with pytest.raises(DocumentError, match=f"'{name}' is the form .* passages of document 'repo' have"):
            add()
    assert store.add_documents(both, on_error="skip") == ["repo"]
    store.delete(["repo"])
    store.add_documents(both[1:])
    with pytest.raises(DocumentError, match=f"'{name}' is the form .* passages of document 'repo' have"):
        store.add_documents(both[:1])
    assert store.add_documents([Document("Edited.", id=name)]) == [name]


def test_ids_with_a_number_sign_that_no_passage_has(store, documents):
    names = ["berlin#", "berlin#x", "berlin#-1", "berlin#1:", "#1", "Berlin#1", "berlin2#1", "berlin#0#x"]
    assert store.add_documents([*documents, *(Document("a", id=name) for name in names)])[3:] == names
    assert store.add_documents(documents) == ["berlin", "paris", "stub"]
    assert [one.page_content for one in store.get_by_ids(names)] == ["a"] * len(names)


def test_no_chunk_is_read_but_those_that_are_named(store, documents, monkeypatch):
    store.add_documents(documents)
    whole = store.index.chunks("berlin")
    read, chunks = [], type(store.index._store).chunks
    monkeypatch.setattr(type(store.index._store), "chunks", lambda self, rows: read.extend(rows) or chunks(self, rows))

    assert len(whole) > 1
    assert [one.page_content for one in store.get_by_ids(["berlin#1", "berlin#99", "rome#0"])] == [whole[1].text]
    with pytest.raises(InputError, match="'berlin#1' is one of the chunks of document 'berlin'"):
        store.delete(["berlin#1"])
    assert len(read) == 2


def test_ids_in_an_index_that_was_filled_without_langchain(store, documents):
    store.index.add([latechunk.Document("berlin", documents[0].page_content), latechunk.Document("berlin#1", "Other.")])
    (found,) = store.similarity_search("It has many people.", k=1, mode="lexical")
    assert found.id == "berlin#34:54"
    assert store.get_by_ids([found.id])[0].page_content == found.page_content == "It has many people. "


@pytest.mark.parametrize("name", ["", 7, "lone \ud800"])
def test_ids_that_cannot_be(store, name):
    with pytest.raises(DocumentError, match="the id of a document (must|has)"):
        store.add_texts(["a"], ids=[name])


def test_deleting_a_chunk_of_a_larger_document(store, documents):
    store.add_documents(documents)
    with pytest.raises(ValueError, match="'berlin#1' is one of the chunks of document 'berlin'.*delete 'berlin'") as e:
        store.delete(["stub", "berlin#1"])
    assert isinstance(e.value, InputError)
    assert len(store.index) == 3
    assert store.delete(["berlin#9", "nobody#1"]) is True


@pytest.mark.parametrize("keyword", ["where", "namespace"])
async def test_deleting_by_an_unknown_keyword_deletes_nothing(store, documents, keyword):
    store.add_documents(documents)
    with pytest.raises(
        InputError, match=f"delete takes ids, filter and document_ids and no further keywords; got {keyword}"
    ):
        store.delete(**{keyword: {"n": 2}})
    with pytest.raises(InputError, match=f"got {keyword}"):
        await store.adelete(**{keyword: {"n": 2}})
    with pytest.raises(InputError, match=f"got {keyword}"):
        store.delete(["berlin"], **{keyword: {"n": 2}})
    assert len(store.index) == 3


@pytest.mark.parametrize(
    ("ids", "document_ids", "name"),
    [
        (["b"], "abc", "document_ids"),
        ("ab", ["a", "b"], "ids"),
        ({"c"}, ["c"], "ids"),
        (["c"], {"c"}, "document_ids"),
        (None, "c", "document_ids"),
        ("c", None, "ids"),
        ((one for one in "c"), None, "ids"),
        (["a"], [["c"]], "an id"),
        ([1], ["c"], "an id"),
    ],
)
async def test_deleting_what_is_no_list_of_ids_deletes_nothing(store, ids, document_ids, name):
    store.add_texts(["A.", "B.", "C."], ids=["a", "b", "c"])
    with pytest.raises(InputError, match=f"^{name} must be a (list of ids|string), got"):
        store.delete(ids, document_ids=document_ids)
    with pytest.raises(InputError, match=f"^{name} must be"):
        await store.adelete(ids, document_ids=document_ids)
    assert store.index.ids() == ["a", "b", "c"]


@pytest.mark.parametrize("ids", ["abc", {"a"}, None, 7])
def test_documents_are_read_by_a_list_of_ids(store, ids):
    store.add_texts(["A."], ids=["a"])
    with pytest.raises(InputError, match="^ids must be a list of ids, got"):
        store.get_by_ids(ids)


def test_the_bytes_of_a_pdf_are_refused(store, embedding, documents):
    raw = Document("%PDF-1.7\n%\ufffd\ufffd\n1 0 obj", id="raw.pdf")
    message = "'raw.pdf' begins with '%PDF-'.*PyPDFLoader, for which install langchain-community and pypdf"
    for add in (
        lambda: store.add_documents([raw]),
        lambda: LateChunkRetriever.from_documents([raw], embedding=embedding),
        lambda: add_late_chunks(InMemoryVectorStore(embedding), [raw]),
    ):
        with pytest.raises(DocumentError, match=message):
            add()
    assert store.add_documents([*documents, raw], on_error="skip") == ["berlin", "paris", "stub"]


def test_blank_documents(store):
    with pytest.raises(DocumentError, match="holds no token"):
        store.add_documents([Document(" \n", id="x")])


@pytest.mark.parametrize("documents", ["text", ["text"], Document("text"), [None]])
def test_what_is_no_list_of_documents(store, documents):
    with pytest.raises(InputError, match="documents must be a list of langchain_core"):
        store.add_documents(documents)


@pytest.mark.parametrize("documents", ["text", ["text"], Document("text"), [None], None])
async def test_pages_and_chunks_of_what_is_no_list_of_documents(embedding, documents):
    with pytest.raises(InputError, match="documents must be a list of langchain_core"):
        join_pages(documents)
    with pytest.raises(InputError, match="documents must be a list of langchain_core"):
        LateChunkVectorStore.from_documents(documents, embedding)
    with pytest.raises(InputError, match="documents must be a list of langchain_core"):
        await LateChunkVectorStore.afrom_documents(documents, embedding)
    with pytest.raises(InputError, match="documents must be a list of langchain_core"):
        add_late_chunks(InMemoryVectorStore(embedding), documents)


@pytest.mark.parametrize(
    ("texts", "given", "message"),
    [
        ("hello", {}, "texts must be a list of strings, got str: 'hello'"),
        (None, {}, "texts must be a list of strings, got NoneType"),
        ({"a": "b"}, {}, "texts must be a list of strings, got dict"),
        (["a", 1], {}, "text number 1 must be a string, got int: 1"),
        (["a", "b"], {"ids": "xy"}, "ids must be a list of ids, got str: 'xy'"),
        (["a"], {"ids": (one for one in "x")}, "ids must be a list of ids, got generator"),
        (["a"], {"ids": {"x"}}, "ids must be a list of ids, got set"),
        (["a", "b"], {"metadatas": [{}, None]}, "metadata number 1 must be a mapping, got NoneType: None; for none"),
        (["a"], {"metadatas": {"n": 1}}, "metadatas must be a list of mappings, got dict"),
        (["a"], {"metadatas": ({} for _ in "a")}, "metadatas must be a list of mappings, got generator"),
    ],
)
def test_what_are_no_lists_of_texts(store, embedding, texts, given, message):
    for add in (store.add_texts, lambda texts, **given: LateChunkVectorStore.from_texts(texts, embedding, **given)):
        with pytest.raises(InputError, match=message):
            add(texts, **given)
    assert len(store.index) == 0


@pytest.mark.parametrize("ids", ["xy", {"x", "y"}, (one for one in "xy"), 7])
def test_what_is_no_list_of_ids(store, embedding, ids):
    documents = [Document("a"), Document("b")]
    for add in (
        lambda: store.add_documents(documents, ids=ids),
        lambda: LateChunkRetriever.from_documents(documents, embedding=embedding, ids=ids),
    ):
        with pytest.raises(InputError, match="ids must be a list of ids, got"):
            add()
    assert len(store.index) == 0


def test_a_generator_of_texts_is_taken(store):
    assert store.add_texts((text for text in ("a", "b")), ids=["1", "2"]) == ["1", "2"]


def test_a_metadata_key_that_is_no_string_is_as_on_error_says(store, documents):
    bad = [Document("a", id="bad", metadata={1: "x"}), Document("b", id="bad2", metadata={"source": "a.b", 2: "x"})]
    with pytest.raises(DocumentError, match="the metadata of document 'bad' must be what JSON can hold.*1 must be a"):
        store.add_documents([*documents, *bad])
    assert store.add_documents([*documents, *bad], on_error="skip") == ["berlin", "paris", "stub"]
    pages = [Document("a", metadata={"source": "a.pdf", "page": n, "n": n, n: n}) for n in range(2)]
    with pytest.warns(PagesWarning, match="their metadata differ in 'n', 0, 1"), pytest.raises(DocumentError):
        store.add_documents(pages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 7}, "max_marginal_relevance_search has fetch_k for candidates; pass fetch_k=7"),
        ({"mmr": 0.2}, "max_marginal_relevance_search has lambda_mult for mmr; pass lambda_mult=0.2"),
        ({"fetch_k": "5"}, "fetch_k must be a whole number of at least 1, got '5'"),
        ({"fetch_k": 0}, "fetch_k must be a whole number of at least 1, got 0"),
        ({"fetch_k": None}, "fetch_k must be a whole number of at least 1, got None"),
        ({"lambda_mult": 7}, "lambda_mult must be a number from 0 to 1, got 7"),
        ({"lambda_mult": float("nan")}, "lambda_mult must be a number from 0 to 1"),
        ({"lambda_mult": None}, "lambda_mult must be a number"),
        ({"k": "2"}, "k must be a whole number, got '2'"),
        ({"colour": "red"}, "there is no 'colour'"),
    ],
)
async def test_bad_options_of_diversity(store, documents, options, message):
    store.add_documents(documents)
    vector = store.embeddings.embed_query("it")
    for search in (
        lambda: store.max_marginal_relevance_search("it", **options),
        lambda: store.max_marginal_relevance_search_by_vector(vector, **options),
        lambda: store.as_retriever(search_type="mmr", search_kwargs=options).invoke("it"),
    ):
        with pytest.raises(InputError, match=message):
            search()
    with pytest.raises(InputError, match=message):
        await store.amax_marginal_relevance_search("it", **options)


@pytest.mark.parametrize("vector", ["abc", None, [[1], [1, 2]], ["1"] * 16, [True] * 16, [None] * 16, {"a": 1}])
def test_what_is_no_vector(store, documents, vector):
    store.add_documents(documents)
    for search in (store.similarity_search_by_vector, store.max_marginal_relevance_search_by_vector):
        with pytest.raises(InputError, match="embedding must be a list of numbers, got"):
            search(vector)


def test_a_store_takes_an_index(tmp_path):
    with pytest.raises(InputError, match=r"LateChunkVectorStore\.open\(path\)"):
        LateChunkVectorStore(tmp_path)


def test_an_index_of_another_model(tmp_path, embedding, other, documents):
    path = tmp_path / "x"
    LateChunkVectorStore.from_documents(documents, embedding, path=path).close()

    for kind in (LateChunkVectorStore, LateChunkRetriever):
        with pytest.raises(IndexMismatchError, match="fake.*other|other.*fake"):
            kind.open(path, embedding=LateChunkEmbeddings(other))
        with pytest.raises(IndexMismatchError, match="default|multilingual-e5|encoder"):
            kind.open(path, embedding=LateChunkEmbeddings())


def test_an_index_that_another_process_is_writing(tmp_path, fake, documents):
    path = tmp_path / "x"
    with Index.create(path, encoder=fake, lock_timeout=0.2) as index:
        store = LateChunkVectorStore(index)
        store.add_documents(documents)
        program = (
            "import sys; from pathlib import Path; from latechunk.storage.directory import hold_write_lock\n"
            f"with hold_write_lock(Path({str(path)!r}), 5): print('held', flush=True); sys.stdin.readline()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout.readline() == "held\n"
            with pytest.raises(IndexBusyError, match="is being written by another process.*try the change again"):
                store.add_documents([Document("new", id="new")])
            with pytest.raises(IndexBusyError):
                store.delete(["stub"])
            assert store.similarity_search("Hello there.", k=1)[0].id == "stub"
            assert len(LateChunkRetriever(index=index).invoke("Hello there.")) == 3
            writer.communicate("\n")
        assert store.add_documents([Document("new", id="new")]) == ["new"]


def test_an_index_open_elsewhere_shows_what_was_added_there(tmp_path, embedding, documents):
    path = tmp_path / "x"
    with (
        LateChunkVectorStore.from_documents(documents[:2], embedding, path=path) as one,
        LateChunkVectorStore.open(path, embedding=embedding, read_only=True) as two,
    ):
        one.add_documents(documents[2:])
        assert two.similarity_search("Hello there.", k=1)[0].id == "stub"
        with pytest.raises(IndexReadOnlyError, match="read_only=False"):
            two.add_documents(documents)
