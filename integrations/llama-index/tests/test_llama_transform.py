import asyncio
import copy
import logging
import pickle
import threading

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode, NodeRelationship, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.retrievers.latechunk import LateChunkEmbedding, LateChunkTransform, join_pages, to_documents
from pydantic import ValidationError

from latechunk import Document as OurDocument
from latechunk import Encoder, Index, SentenceChunker, TokenChunker
from latechunk.errors import DocumentError, InputError, ModelError


class LineChunker:
    """A chunker of one's own: lines."""

    settings = {"kind": "lines"}

    def split(self, text, offsets):
        from latechunk import Span

        ends = [place + 1 for place, one in enumerate(text) if one == "\n"] + [len(text)]
        return [Span(start, end) for start, end in zip([0, *ends], ends, strict=False) if text[start:end].strip()]


def test_nodes_are_the_chunks_that_an_index_makes(transform, documents, index):
    nodes = transform(documents)

    expected = [chunk for document in documents for chunk in index.chunks(document.id_)]
    assert [(n.ref_doc_id, n.start_char_idx, n.end_char_idx, n.text) for n in nodes] == [
        (chunk.document_id, chunk.start, chunk.end, chunk.text) for chunk in expected
    ]
    for node in nodes:
        original = next(one for one in documents if one.id_ == node.ref_doc_id)
        assert original.text[node.start_char_idx : node.end_char_idx] == node.text
        assert node.relationships[NodeRelationship.SOURCE] == original.as_related_node_info()
        assert node.metadata == original.metadata
        assert np.linalg.norm(node.embedding) == pytest.approx(1, abs=1e-6)


def test_vectors_are_those_of_the_index(transform, documents, index):
    for node in transform(documents):
        (hit,) = index.search_by_vector(np.array(node.embedding, dtype=np.float32), 1)
        assert (hit.chunk.document_id, hit.chunk.start) == (node.ref_doc_id, node.start_char_idx)
        assert hit.score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("mode", "late_weight"), [("late", None), ("naive", None), ("blend", 0.3), (None, None)])
def test_modes_are_those_of_the_index(tmp_path, encoder, chunker, documents, mode, late_weight):
    transform = LateChunkTransform(encoder=encoder, chunker=chunker, mode=mode, late_weight=late_weight)
    with Index.create(
        tmp_path / "i.latechunk", encoder=encoder, chunker=chunker, mode=mode, late_weight=late_weight
    ) as index:
        index.add(to_documents(documents))
        for node in transform(documents):
            (hit,) = index.search_by_vector(np.array(node.embedding, dtype=np.float32), 1)
            assert (hit.chunk.text, hit.score) == (node.text, pytest.approx(1, abs=1e-6))


def test_previous_and_next_lead_through_the_document(transform, documents):
    nodes = transform(documents)

    for document in documents:
        own = [node for node in nodes if node.ref_doc_id == document.id_]
        ids = [node.node_id for node in own]
        assert [node.prev_node and node.prev_node.node_id for node in own] == [None, *ids[:-1]]
        assert [node.next_node and node.next_node.node_id for node in own] == [*ids[1:], None]


def test_ids_are_stable_and_never_a_documents_own(transform, documents):
    once, again = transform(documents), transform(copy.deepcopy(documents)[::-1])

    assert {node.node_id for node in once} == {node.node_id for node in again}
    assert not {node.node_id for node in once} & {one.id_ for one in documents}


def test_what_an_llm_is_shown_is_passed_on(encoder):
    document = Document(
        id_="a",
        text="Hello there.",
        metadata={"path": "/a", "title": "A"},
        excluded_llm_metadata_keys=["path"],
        excluded_embed_metadata_keys=["title"],
        metadata_template="<{key}|{value}>",
        metadata_separator="+",
        text_template="{metadata_str} :: {content}",
    )

    (node,) = LateChunkTransform(encoder=encoder, citation_key="source")([document])

    assert node.get_content(MetadataMode.LLM) == "<title|A>+<source|a:0-12> :: Hello there."
    assert node.get_content(MetadataMode.EMBED) == "<path|/a>+<source|a:0-12> :: Hello there."
    assert document.metadata == {"path": "/a", "title": "A"}


def test_nothing_in_is_nothing_out_and_loads_no_model():
    assert LateChunkTransform(model="no such model anywhere")([]) == []


def test_a_citation_does_not_hide_metadata(encoder):
    with pytest.raises(DocumentError, match="has the metadata key 'source' already; choose another citation_key"):
        LateChunkTransform(encoder=encoder, citation_key="source")([Document(text="a", metadata={"source": 1})])


def test_pieces_and_repeated_ids_are_refused(transform):
    with pytest.raises(InputError, match="is a piece of a document already"):
        IngestionPipeline(transformations=[SentenceSplitter(), transform]).run(documents=[Document(text="A. B.")])
    with pytest.raises(InputError, match=r"the document id 'a' comes twice.*Document\(id_=...\)"):
        transform([Document(id_="a", text="b"), Document(id_="a", text="c")])


def test_documents_that_cannot_be_indexed(encoder, caplog):
    documents = [
        Document(id_="blank", text=" \n"),
        Document(id_="good", text="Hello there."),
        Document(id_="empty", text=""),
        Document(id_="object", text="Hello.", metadata={"it": object()}),
    ]

    with pytest.raises(DocumentError, match="document 'object' must be what JSON can hold.*'it' is of type object"):
        LateChunkTransform(encoder=encoder)(documents)
    with pytest.raises(DocumentError, match="document 'blank' holds no token"):
        LateChunkTransform(encoder=encoder)(documents[:3])
    with caplog.at_level(logging.WARNING, "latechunk"):
        nodes = LateChunkTransform(encoder=encoder, on_error="skip")(documents)

    assert [node.ref_doc_id for node in nodes] == ["good"]
    assert [name for name in ("blank", "empty", "object") if f"'{name}'" in caplog.text] == ["blank", "empty", "object"]


def test_an_embed_model_behind_it_is_refused(transform, documents):
    behind = MockEmbedding(embed_dim=transform.encoder.dims)

    with pytest.raises(InputError, match="another embed model was about to overwrite"):
        IngestionPipeline(transformations=[transform, behind]).run(documents=documents)
    with pytest.raises(InputError, match="another embed model was about to overwrite"):
        VectorStoreIndex.from_documents(documents, transformations=[transform, behind], embed_model=behind)
    query_side = LateChunkEmbedding(encoder=transform.encoder)
    with pytest.raises(InputError, match="encodes queries only.*leave this one out"):
        IngestionPipeline(transformations=[transform, query_side]).run(documents=documents)


def test_a_model_and_a_chunker_are_taken_by_their_names():
    transform = LateChunkTransform(encoder="all-MiniLM-L6-v2", chunker="token")

    assert transform.model == "all-MiniLM-L6-v2"
    assert transform.chunker == TokenChunker()


def test_settings_are_checked_at_once(encoder, chunker):
    for bad, message in [
        ({"modle": "x"}, "modle"),
        ({"mode": "magic"}, "mode"),
        ({"mode": "naive", "late_weight": 0.3}, 'say mode="blend", or leave late_weight out'),
        ({"dims": 0}, "dims"),
        ({"late_weight": 1.5}, "late_weight must be a float strictly between 0 and 1"),
        ({"special_tokens": "some"}, "special_tokens"),
        ({"chunker": SentenceSplitter()}, "chunker must be a latechunk.StructureChunker"),
        ({"encoder": 3}, "To choose a model by name pass model="),
        ({"encoder": "all-MiniLM-L6-v2", "model": "all-MiniLM-L6-v2"}, "encoder and model both say"),
        ({"encoder": encoder, "dims": 4}, "encoder and dims both say"),
        ({"on_error": "ignore"}, "on_error"),
    ]:
        with pytest.raises(ValidationError, match=message):
            LateChunkTransform(**bad)
    assert LateChunkTransform(chunker=chunker).chunker is chunker


def test_it_comes_back_from_its_serialised_form(encoder, chunker):
    own = LateChunkTransform(encoder=encoder, chunker=chunker, mode="blend", late_weight=0.25, citation_key="source")

    back = LateChunkTransform.from_dict(own.to_dict(), encoder=encoder)

    assert back == own
    assert back.to_dict() == own.to_dict()
    with pytest.raises(InputError, match=r"an encoder of your own, .*'words'.*pass it, from_dict\(data, encoder=...\)"):
        LateChunkTransform.from_dict(own.to_dict())
    by_name = LateChunkTransform(dims=384, chunker=TokenChunker(max_tokens=64), dtype="float32")
    assert LateChunkTransform.from_dict(by_name.to_dict()) == by_name.model_copy(update={"dtype": "auto"})


def test_a_chunker_of_ones_own_is_passed_again(encoder):
    own = LateChunkTransform(encoder=encoder, chunker=LineChunker())
    assert [node.text for node in own([Document(id_="a", text="One.\nTwo.")])] == ["One.\n", "Two."]

    with pytest.raises(ValidationError, match=r"chunker of your own: pass it, from_dict\(data, chunker=...\)"):
        LateChunkTransform.from_dict(own.to_dict(), encoder=encoder)
    assert (
        LateChunkTransform.from_dict(own.to_dict(), encoder=encoder, chunker=LineChunker()).to_dict() == own.to_dict()
    )


DIFFERENT = [
    {"chunker": SentenceChunker(max_tokens=5)},
    {"chunker": TokenChunker(max_tokens=8)},
    {"mode": "naive"},
    {"mode": "blend", "late_weight": 0.3},
    {"citation_key": "source"},
    {"on_error": "skip"},
]


@pytest.mark.parametrize("change", DIFFERENT, ids=str)
def test_a_change_of_settings_does_not_bring_old_nodes_back(encoder, chunker, documents, change):
    cache = IngestionCache()
    before = LateChunkTransform(encoder=encoder, chunker=chunker)
    after = LateChunkTransform(**{"encoder": encoder, "chunker": chunker} | change)

    IngestionPipeline(transformations=[before], cache=cache).run(documents=documents)
    n_read = len(encoder.texts)
    nodes = IngestionPipeline(transformations=[after], cache=cache).run(documents=documents)

    assert len(encoder.texts) > n_read
    assert [node.embedding for node in nodes] == [node.embedding for node in after(documents)]


def test_a_change_of_model_does_not_bring_old_vectors_back(encoder, other_encoder, chunker, documents):
    cache = IngestionCache()
    first, second = (LateChunkTransform(encoder=one, chunker=chunker) for one in (encoder, other_encoder))
    old = IngestionPipeline(transformations=[first], cache=cache).run(documents=documents)
    new = IngestionPipeline(transformations=[second], cache=cache).run(documents=documents)
    same = IngestionPipeline(transformations=[LateChunkTransform(encoder=encoder, chunker=chunker)], cache=cache).run(
        documents=documents
    )

    assert len(other_encoder.texts) == len(encoder.texts) == 3  # once each: the last run came from the cache
    assert [node.embedding for node in same] == [node.embedding for node in old]
    assert all(one.embedding != other.embedding for one, other in zip(old, new, strict=True))
    assert [(n.node_id, n.text, n.start_char_idx, n.relationships) for n in same] == [
        (n.node_id, n.text, n.start_char_idx, n.relationships) for n in old
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"},
        {"revision": "abc"},
        {"context": "windows"},
        {"window_tokens": 64},
        {"overlap_tokens": 3},
        {"dims": 128},
        {"document_prompt": "passage: "},
        {"document_task": "x"},
        {"special_tokens": "include"},
        {"pooling": "mean"},
    ],
    ids=str,
)
def test_every_decisive_setting_is_in_the_key(monkeypatch, change):
    monkeypatch.setattr(LateChunkTransform, "fingerprint", lambda self: {})

    assert LateChunkTransform(**change).to_dict() != LateChunkTransform().to_dict()


def test_how_it_runs_is_not_in_the_key(monkeypatch):
    monkeypatch.setattr(LateChunkTransform, "fingerprint", lambda self: {})
    running = {"device": "cpu", "dtype": "float32", "attention": "sdpa", "batch_tokens": 8, "download": False}

    assert LateChunkTransform(**running, query_prompt="q: ").to_dict() == LateChunkTransform().to_dict()


def test_the_key_knows_the_weights_before_and_after_they_are_loaded():
    transform = LateChunkTransform(dtype="float32")
    before = transform.to_dict()

    transform.load_encoder()

    assert transform.to_dict() == before
    assert before["made_by"]["weights_sha256"].startswith("1571fc982750")
    with pytest.raises(ModelError, match="'./no/such/folder'"):
        LateChunkTransform(model="./no/such/folder", download=False).to_dict()


def store_texts(store, nodes):
    return {nodes[node_id].text for node_id in store.data.embedding_dict}


@pytest.mark.parametrize("run", ["run", "arun"])
def test_upserts_read_only_what_was_edited_and_drop_what_is_stale(transform, encoder, documents, run):
    store = SimpleVectorStore()
    pipeline = IngestionPipeline(transformations=[transform], vector_store=store, docstore=SimpleDocumentStore())

    def ingest(documents):
        done = getattr(pipeline, run)(documents=documents)
        return asyncio.run(done) if run == "arun" else done

    nodes = {node.node_id: node for node in ingest(documents)}
    assert set(store.data.embedding_dict) == set(nodes)
    encoder.texts.clear()

    assert ingest(documents) == []
    assert encoder.texts == []

    edited = Document(id_="berlin", text="Berlin is a state too. It has lakes.", metadata=documents[0].metadata)
    new = ingest([edited, *documents[1:]])

    assert len(encoder.texts) == 1
    nodes |= {node.node_id: node for node in new}
    kept = {node.text for node in transform(documents[1:])}
    assert store_texts(store, nodes) == {node.text for node in new} | kept
    assert {node.ref_doc_id for node in new} == {"berlin"}


def test_a_vector_store_index_refreshes_only_what_was_edited(transform, encoder, documents):
    index = VectorStoreIndex.from_documents(
        documents, transformations=[transform], embed_model=LateChunkEmbedding(encoder=encoder)
    )
    encoder.texts.clear()

    edited = Document(id_="stub", text="Something else is here.")
    assert index.refresh_ref_docs([*documents[:2], edited]) == [False, False, True]
    assert len(encoder.texts) == 1
    assert index.refresh_ref_docs([*documents[:2], edited]) == [False, False, False]
    assert len(encoder.texts) == 1

    texts = {found.text for found in index.as_retriever(similarity_top_k=50).retrieve("Hello there.")}
    assert "Something else is here." in texts
    assert "Hello there." not in texts


def test_a_vector_store_index_that_was_stored_goes_on(transform, encoder, documents, tmp_path):
    both = {"transformations": [transform], "embed_model": LateChunkEmbedding(encoder=encoder)}
    VectorStoreIndex.from_documents(documents[:2], **both).storage_context.persist(tmp_path)

    index = load_index_from_storage(StorageContext.from_defaults(persist_dir=tmp_path), **both)
    index.insert(documents[2])
    index.delete_ref_doc("paris", delete_from_docstore=True)

    nodes = [found.node for found in index.as_retriever(similarity_top_k=50).retrieve("Hello there.")]
    assert {node.ref_doc_id for node in nodes} == {"berlin", "stub"}
    assert {node.node_id for node in nodes} == {node.node_id for node in transform([documents[0], documents[2]])}


def test_running_it_does_not_block_the_loop(transform, encoder, documents, monkeypatch):
    encode = encoder.encode_spans

    async def run():
        begun, go_on = asyncio.Event(), threading.Event()
        loop, own = asyncio.get_running_loop(), threading.get_ident()

        def wait(tasks, on_progress=None):
            assert threading.get_ident() != own  # or nobody could set go_on
            loop.call_soon_threadsafe(begun.set)
            go_on.wait()
            return encode(tasks, on_progress)

        monkeypatch.setattr(encoder, "encode_spans", wait)
        task = asyncio.create_task(IngestionPipeline(transformations=[transform]).arun(documents=documents))
        await asyncio.wait({task, asyncio.ensure_future(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        return await task

    assert {node.ref_doc_id for node in asyncio.run(run())} == {"berlin", "paris", "stub"}


def test_pickles_keep_encoder_and_chunker(transform, documents):
    back = pickle.loads(pickle.dumps(transform))

    assert back.to_dict() == transform.to_dict()
    assert [node.embedding for node in back(documents)] == [node.embedding for node in transform(documents)]


def test_what_cannot_be_pickled_is_an_error_and_not_left_out(encoder, documents):
    encoder.lock = threading.Lock()
    chunker = LineChunker()
    chunker.lock = threading.Lock()

    with pytest.raises(InputError, match="the encoder of this LateChunkTransform cannot be pickled.*num_workers"):
        pickle.dumps(LateChunkTransform(encoder=encoder))
    with pytest.raises(InputError, match="the chunker of this LateChunkTransform cannot be pickled"):
        pickle.dumps(LateChunkTransform(chunker=chunker))


def test_copies_share_the_model_and_a_changed_copy_does_not():
    transform = LateChunkTransform(dtype="float32")
    encoder = transform.load_encoder()

    assert copy.deepcopy(transform).load_encoder() is encoder
    assert LateChunkEmbedding(dtype="float32").load_encoder() is encoder
    assert transform.model_copy(update={"special_tokens": "include"}).load_encoder() is not encoder
    assert transform.load_encoder() is encoder


def test_an_encoder_of_latechunk_becomes_settings(chunker, documents):
    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32", context="windows", window_tokens=64, overlap_tokens=16)
    transform = LateChunkTransform(encoder=encoder, chunker=chunker)

    assert (transform.model, transform.context, transform.window_tokens) == ("all-MiniLM-L6-v2", "windows", 64)
    assert transform.encoder is None
    assert transform.load_encoder() is encoder
    assert len(pickle.dumps(transform)) < 10_000
    again = pickle.loads(pickle.dumps(transform))
    assert again.to_dict() == transform.to_dict()
    assert again.load_encoder() is encoder  # of this process
    assert LateChunkTransform.from_dict(transform.to_dict()).fingerprint() == transform.fingerprint()


def test_two_workers_make_the_same_nodes(documents, chunker):
    transform = LateChunkTransform(chunker=chunker, dtype="float32")
    expected = {node.node_id: node.embedding for node in transform(documents)}

    nodes = IngestionPipeline(transformations=[transform]).run(documents=documents, num_workers=2)

    assert {node.node_id for node in nodes} == set(expected)
    for node in nodes:
        np.testing.assert_allclose(node.embedding, expected[node.node_id], atol=1e-5)
        assert isinstance(node, TextNode)


def test_real_vectors_are_those_of_the_index(tmp_path, chunker, documents):
    transform = LateChunkTransform(chunker=chunker, dtype="float32")
    encoder = transform.load_encoder()
    with Index.create(tmp_path / "real.latechunk", encoder=encoder, chunker=chunker) as index:
        index.add(to_documents(documents))
        for node in transform(documents):
            (hit,) = index.search_by_vector(np.array(node.embedding, dtype=np.float32), 1)
            assert (hit.chunk.text, hit.score) == (node.text, pytest.approx(1, abs=1e-5))


def test_an_id_in_the_metadata_tells_equal_texts_apart_in_a_cache(transform):
    """The pipeline makes its cache's key of texts and metadata, and so gives one document's nodes for another."""
    cache = IngestionCache()

    def ids_after(name, metadata):
        pipeline = IngestionPipeline(transformations=[transform], cache=cache)
        nodes = pipeline.run(documents=[Document(id_=name, text="Hello there.", metadata=metadata)])
        return [node.ref_doc_id for node in nodes]

    assert ids_after("a", {"id": "a"}) == ["a"]
    assert ids_after("b", {"id": "b"}) == ["b"]


def test_the_bytes_of_a_pdf_are_refused(transform, documents):
    raw = Document(id_="raw.pdf", text="%PDF-1.7\n%\ufffd\ufffd\n1 0 obj")
    message = "'raw.pdf' begins with '%PDF-'.*install llama-index-readers-file and pypdf"
    with pytest.raises(DocumentError, match=message):
        transform([*documents, raw])
    with pytest.raises(DocumentError, match=message):
        list(to_documents([raw]))
    assert [one.id for one in to_documents([raw, *documents], on_error="skip")] == ["berlin", "paris", "stub"]
    with pytest.raises(DocumentError, match="'a.docx' has a NUL near its beginning.*install llama-index-readers-file"):
        list(to_documents([Document(id_="a.docx", text="PK\3\4\x14\0\x06\0")]))


@pytest.mark.parametrize("wrong", ["abc", None, Document(text="a"), OurDocument("a", "b"), {"a": "b"}, 7])
def test_what_is_no_list_is_refused(transform, wrong):
    for take in (transform, to_documents, join_pages):
        with pytest.raises(InputError, match=r"late chunking takes a list of LlamaIndex's Document objects.*, got "):
            take(wrong)


@pytest.mark.parametrize("wrong", ["abc", None, OurDocument("a", "b"), {"a": "b"}])
def test_what_is_no_document_is_refused(transform, documents, wrong):
    for take in (transform, lambda given: list(to_documents(given)), join_pages):
        with pytest.raises(InputError, match=rf"late chunking takes LlamaIndex's .*, got .*{type(wrong).__name__}"):
            take([*documents, wrong])
    with pytest.raises(InputError, match=r"latechunk\.types.*\.Document, which Index\.add takes as it is"):
        list(to_documents([OurDocument("a", "b")]))


def test_a_citation_key_that_a_document_has_is_as_on_error_says(encoder, chunker, documents):
    documents[0].metadata["place"] = "here"
    headings = Document(id_="guide", text="# Pumps\n\nCheck them.\n")
    told = []
    settings = {"encoder": encoder, "chunker": chunker, "on_error": lambda node, _: told.append(node.node_id)}

    nodes = LateChunkTransform(citation_key="place", **settings)(documents)
    assert (told, {node.ref_doc_id for node in nodes}) == (["berlin"], {"paris", "stub"})
    assert {node.metadata["place"].partition(":")[0] for node in nodes} == {"paris", "stub"}

    nodes = LateChunkTransform(citation_key="header_path", **settings)([headings, *documents])
    assert (told[1:], {node.ref_doc_id for node in nodes}) == (["guide"], {"berlin", "paris", "stub"})

    encoder.texts.clear()
    with pytest.raises(DocumentError, match="'berlin' has the metadata key 'place' already; choose another"):
        LateChunkTransform(encoder=encoder, chunker=chunker, citation_key="place")(documents[::-1])
    assert encoder.texts == []
