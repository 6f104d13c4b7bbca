import copy
import datetime
import pickle
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core import Document
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageDocument, IndexNode, MediaResource, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from llama_index.retrievers.latechunk import LateChunkNode, LateChunkRetriever, join_pages, to_documents, to_filter
from llama_index.retrievers.latechunk.nodes import make_id

import latechunk
from latechunk import PagesWarning
from latechunk.errors import DocumentError, FilterError, InputError


def test_documents_keep_id_text_and_metadata():
    text = " \r\nCrème brûlée 👩‍👩‍👧‍👦\n"
    node = Document(id_="a", text=text, metadata={"n": 1, "tags": ["x"]})

    assert list(to_documents([node])) == [latechunk.Document("a", text, {"n": 1, "tags": ["x"]})]


def test_a_plain_text_node_is_a_whole_document():
    assert list(to_documents([TextNode(id_="a", text="b")])) == [latechunk.Document("a", "b")]


@pytest.mark.parametrize(
    "node",
    [
        TextNode(id_="a", text="b", start_char_idx=0, end_char_idx=1),
        TextNode(id_="a", text="b", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="c")}),
        Document(id_="a", text="b", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="c")}),
        *SentenceSplitter().get_nodes_from_documents([Document(text="It is cut. Already.")]),
    ],
)
def test_pieces_are_refused(node):
    with pytest.raises(InputError, match="is a piece of a document already.*SentenceSplitter.*chunker="):
        list(to_documents([node]))


def test_other_nodes_are_refused():
    with pytest.raises(InputError, match="got IndexNode"):
        list(to_documents([IndexNode(text="a", index_id="b")]))
    with pytest.raises(DocumentError, match="document 'a.png' holds more than text, image, .*on_error"):
        list(to_documents([ImageDocument(text="a", image=b"x", metadata={"file_path": "a.png"})]))
    with pytest.raises(DocumentError, match="holds more than text, audio"):
        list(to_documents([Document(text="a", audio_resource=MediaResource(data=b"x", mimetype="audio/wav"))]))


def test_metadata_take_dates_and_numbers_and_name_what_they_cannot():
    metadata = {"at": datetime.date(2024, 1, 1), "n": np.int64(1)}
    assert next(to_documents([Document(text="a", metadata=metadata)])).metadata == {"at": "2024-01-01", "n": 1}
    with pytest.raises(DocumentError, match="'model' is of type object"):
        next(to_documents([Document(text="a", metadata={"fine": 1, "model": object()})]))


def test_nodes_keep_their_vectors():
    node = LateChunkNode(text="a", embedding=[0.6, 0.8])

    node.embedding = [0.6, 0.8]
    with pytest.raises(InputError, match="another embed model was about to overwrite.*LateChunkEmbedding"):
        node.embedding = [1.0, 0.0]
    assert node.embedding == [0.6, 0.8]

    node.embedding = None
    node.embedding = [1.0, 0.0]
    assert node.embedding == [1.0, 0.0]


def test_nodes_are_text_nodes_to_everybody_else():
    node = LateChunkNode(text="a", embedding=[0.6, 0.8])

    assert isinstance(node, TextNode)
    assert node.to_dict() == TextNode(id_=node.id_, text="a", embedding=[0.6, 0.8]).to_dict()
    assert pickle.loads(pickle.dumps(node)) == node == copy.deepcopy(node) == node.model_copy()


def test_ids_are_uuids_that_never_change():
    assert make_id(latechunk.Chunk("berlin", 0, 0, 34, "", {})) == "ec1c6753-298c-5a4c-88fe-6075122d4175"


@given(
    st.lists(st.tuples(st.text(max_size=3), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)), unique=True)
)
def test_ids_of_different_places_differ(places):
    assert len({make_id(latechunk.Chunk(*place, "", {})) for place in places}) == len(places)


METADATA = {
    "berlin": {"year": 1237, "tags": ["river", "wall"]},
    "paris": {"year": 250, "tags": ["river"]},
    "stub": {},
}


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("year", "==", 250, {"paris"}),
        ("year", "!=", 250, {"berlin", "stub"}),
        ("year", ">", 250, {"berlin"}),
        ("year", ">=", 250, {"berlin", "paris"}),
        ("year", "<", 1237, {"paris"}),
        ("year", "<=", 1237, {"berlin", "paris"}),
        ("year", "in", [250, 1], {"paris"}),
        ("year", "nin", [250, 1], {"berlin", "stub"}),
        ("tags", "any", ["wall", "x"], {"berlin"}),
        ("tags", "all", ["wall", "river"], {"berlin"}),
        ("tags", "contains", "river", {"berlin", "paris"}),
        ("tags", "is_empty", None, {"stub"}),
    ],
)
def test_operators_mean_what_they_mean_in_llama_index(index, key, operator, value, expected):
    filters = MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])
    theirs = {name for name in METADATA if build_metadata_filter_fn(METADATA.get, filters)(name)}

    nodes = LateChunkRetriever(index, similarity_top_k=50, filters=filters).retrieve("capital river")

    assert {found.node.ref_doc_id for found in nodes} == expected == theirs


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("text_match", "Café 100%", {"a"}),
        ("text_match", "café", set()),
        ("text_match_insensitive", "café 100%", {"a", "b"}),
        ("text_match_insensitive", "_", {"b"}),
        ("contains", "100", {"a", "b"}),
    ],
)
def test_texts_match_as_they_do_in_llama_index(encoder, tmp_path, operator, value, expected):
    titles = {"a": "The Café 100% rule", "b": "the CAFÉ 100%_rule", "c": "Cafeteria"}
    filters = MetadataFilters(filters=[MetadataFilter(key="title", operator=operator, value=value)])
    theirs = {name for name in titles if build_metadata_filter_fn(lambda one: {"title": titles[one]}, filters)(name)}

    with latechunk.Index.create(tmp_path / "titles", encoder=encoder) as index:
        index.add([latechunk.Document(name, "Some text.", {"title": title}) for name, title in titles.items()])
        nodes = LateChunkRetriever(index, filters=filters).retrieve("text")

    assert {found.node.ref_doc_id for found in nodes} == expected == theirs


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("and", set()), ("or", {"berlin", "paris"}), ("not", {"stub"}), (None, set())],
)
def test_conditions_mean_what_they_mean_in_llama_index(index, condition, expected):
    parts = [MetadataFilter(key="year", value=250), MetadataFilter(key="tags", operator="contains", value="wall")]
    filters = MetadataFilters(filters=parts, condition=condition)
    theirs = {name for name in METADATA if build_metadata_filter_fn(METADATA.get, filters)(name)}

    nodes = LateChunkRetriever(index, similarity_top_k=50, filters=filters).retrieve("capital")

    assert {found.node.ref_doc_id for found in nodes} == expected == theirs


def test_filters_may_be_nested_and_empty():
    inner = MetadataFilters(filters=[MetadataFilter(key="a", value=1)], condition=FilterCondition.OR)
    outer = MetadataFilters(filters=[inner, MetadataFilter(key="b", value=["x"], operator=FilterOperator.IN)])

    assert to_filter(outer) == {"$and": [{"$or": [{"a": {"$eq": 1}}]}, {"b": {"$in": ["x"]}}]}
    for condition in FilterCondition:
        assert to_filter(MetadataFilters(filters=[], condition=condition)) == {}
    assert to_filter(MetadataFilters(filters=[MetadataFilter(key="a", operator="all", value=[])])) == {"$and": [{}]}


@pytest.mark.parametrize(
    ("operator", "value", "message"),
    [
        ("all", "x", "needs a list"),
        ("in", "x", "must be a list"),
        ("==", ["x"], r"\$in"),
    ],
)
def test_filters_without_counterpart_are_refused(operator, value, message):
    with pytest.raises(FilterError, match=message):
        to_filter(MetadataFilters(filters=[MetadataFilter(key="a", operator=operator, value=value)]))


def test_only_filters_are_translated():
    with pytest.raises(FilterError, match="got dict.*filter="):
        to_filter({"a": 1})


@pytest.mark.parametrize("take", [lambda given: list(to_documents(given)), join_pages])
def test_pieces_of_one_file_are_told(take):
    def document(file, **metadata):
        return Document(text="A cell.", metadata={"file_path": file, **metadata})

    with pytest.warns(PagesWarning, match=r"several documents are from '/a\.ipynb'.*page_label") as told:
        assert len(take([document("/a.ipynb"), document("/a.ipynb"), document("/a.ipynb")])) == 3
    assert len(told) == 1
    with pytest.warns(PagesWarning, match="several documents are from 'a.pdf'"):
        take([Document(text=f"Page {n}.", metadata={"file_name": "a.pdf", "page_number": n}) for n in (1, 2)])
    take([document("/a.ipynb"), document("/b.md"), Document(text="A."), Document(text="B.")])
    assert len(take([document("/a.pdf", page_label="1"), document("/a.pdf", page_label="2")])) == 1


def test_documents_without_an_id_are_named_by_file_or_text(index):
    given = [
        Document(text="A file.", metadata={"file_path": "/docs/a.md", "file_name": "a.md"}),
        Document(text="A text."),
        Document(id_="own", text="Its own.", metadata={"file_path": "/docs/b.md"}),
    ]
    names = [one.id for one in to_documents(given)]

    assert names[0] == "/docs/a.md"
    assert names[2] == "own"
    assert index.add(to_documents(given)).n_added == 3
    again = [Document(text=one.text, metadata=one.metadata) for one in given[:2]]  # with new random ids
    assert index.add(to_documents(again)).n_unchanged == 2


@pytest.mark.parametrize("kind", [Document, TextNode])
def test_a_random_id_that_was_chosen_is_kept(index, kind):
    name = str(uuid.uuid4())
    index.add(to_documents([kind(id_=name, text="Berlin is big.")]))
    index.add(to_documents([kind(id_=name, text="Berlin is bigger.")]))

    assert index.get(name).text == "Berlin is bigger."
    (pickled,) = to_documents([pickle.loads(pickle.dumps(kind(text="Nobody named it.")))])  # as workers of readers do
    assert pickled.id == next(to_documents([kind(text="Nobody named it.")])).id
    assert index.delete([name]) == 1


@pytest.mark.parametrize("kind", [type("Note", (Document,), {}), TextNode])
def test_whole_texts_of_other_classes_are_named_and_joined_as_documents_are(index, kind):
    pages = [{"file_path": "/a.pdf", "page_label": str(number)} for number in (1, 2)]
    for n_unchanged in (0, 2):
        given = [kind(text="A text."), *(kind(text=f"Page {one['page_label']}.", metadata=one) for one in pages)]
        assert index.add(to_documents(given)).n_unchanged == n_unchanged
    assert index.get("/a.pdf").text == "Page 1.\nPage 2."
