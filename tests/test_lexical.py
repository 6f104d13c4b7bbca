"""Scores by words, compared with the formula of their documentation written out word by word."""

import math
import tempfile
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk.search.cache import StoreCache
from latechunk.search.corpus import Corpus
from latechunk.search.lexical import _find_names, as_held, leave_out_names, match_titles, score_words
from latechunk.storage.store import Store, StoredDocument
from latechunk.storage.terms import question_terms
from latechunk.types import Document, Span

FUNCTION_WORDS = {"how", "is", "the"}
VOCABULARY = ["pump", "valve", "gauge", "fog", "how", "is", "the"]
CHUNK = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=5)
CORPUS = st.lists(st.lists(CHUNK, min_size=1, max_size=12), min_size=1, max_size=5)


def idf(n_with, n, n_more):
    return max(math.log((n - n_with + n_more / 2 + 0.5) / (n_with + n_more / 2 + 0.5)), 1e-6) if n_with else 0.0


def weigh(term, text, texts):
    """BM25 without its IDF."""
    frequency, mean = text.count(term), sum(map(len, texts)) / len(texts)
    return frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * len(text) / mean))


def name(term, of_document, chunks):
    """What the first chunk of a document has of a term that hardly any other holds, without its IDF."""
    n_held = sum(term in chunk for chunk in of_document)
    return weigh(term, of_document[0], chunks) if n_held <= min(3, max(1, len(of_document) // 5)) else 0.0


def score(chunk, of_document, corpus, terms):
    chunks, documents = list(chain(*corpus)), [list(chain(*one)) for one in corpus]
    own, lacking, n_held = 0.0, 0.0, 0
    for term in terms:
        n_more = 200 if term in FUNCTION_WORDS else 0
        in_chunks = idf(sum(term in one for one in chunks), len(chunks), n_more)
        in_documents = idf(sum(term in one for one in documents), len(documents), n_more)
        has = max(weigh(term, chunk, chunks), name(term, of_document, chunks)) * in_chunks
        could = weigh(term, list(chain(*of_document)), documents) * 1.4 * (in_documents + in_chunks) / 2
        own += has
        lacking += max(0.0, could - has) ** 1.5
        n_held += term in chunk and term not in FUNCTION_WORDS
    n_asked = max(1, len(set(terms) - FUNCTION_WORDS))
    share = n_held / n_asked
    return own * (1 + share**6 + share / 100) + lacking ** (2 / 3)


def make_store(folder, corpus):
    settings = {"search": {"words": True}, "chunkers": {"chunks": {}}}
    Store.create(folder / "store.sqlite3", settings)
    store = Store.open(folder / "store.sqlite3", read_only=False)
    documents = []
    for number, chunks in enumerate(corpus):
        lines = [" ".join(words) + "\n" for words in chunks]
        ends = np.cumsum([0, *map(len, lines)]).tolist()
        spans = [Span(start, end) for start, end in zip(ends, ends[1:], strict=False)]
        vectors = np.tile(np.float32([1, 0]), (len(spans), 1))
        documents.append(StoredDocument(Document(str(number), "".join(lines), outline=()), 1, [spans], vectors))
    store.put(documents)
    return store


@given(CORPUS, st.lists(st.sampled_from([*VOCABULARY, "zebra"]), min_size=1, max_size=4, unique=True))
def test_chunks_score_as_the_formula_says(corpus, terms):
    texts = list(chain(*corpus))
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(make_store(Path(folder), corpus)) as store,
        store.snapshot(),
    ):
        found = score_words(Corpus(store, StoreCache()), terms, 0)

    expected = [score(chunk, of_document, corpus, terms) for of_document in corpus for chunk in of_document]
    assert found.at(np.arange(len(texts))).tolist() == pytest.approx(expected, abs=1e-6)
    assert found.holding.tolist() == [number for number, chunk in enumerate(texts) if set(terms) & set(chunk)]


CLAUSES = ["this agreement is between us and", "invoices are due within thirty days", "either party gives notice of"]


@pytest.mark.parametrize("signed", ["", "for {} in ink"])
@pytest.mark.parametrize("n_more", [7, 20])
def test_of_a_named_contract_the_clause_comes_before_what_names_it(tmp_path, signed, n_more):
    def contract(name):
        clauses = [f"{CLAUSES[0]} {name}", *CLAUSES[1:], *[f"clause {n}" for n in range(n_more)], signed.format(name)]
        return [clause.split() for clause in clauses if clause]

    contracts = [contract(name) for name in ("harrow dental", "ostrava freight")]
    with closing(make_store(tmp_path, contracts)) as store, store.snapshot():
        corpus = Corpus(store, StoreCache())
        for number, terms in enumerate((["notice", "harrow", "dental"], ["notice", "ostrava", "freight"])):
            scores = score_words(corpus, terms, 0).at(np.arange(sum(map(len, contracts))))
            clause = number * len(contracts[0]) + 2
            assert np.flatnonzero(scores == scores.max()).tolist() == [clause]
            assert scores[clause - 2] > scores[(clause + len(contracts[0])) % len(scores)]


def test_the_chunk_that_holds_one_of_many_words_comes_before_those_that_hold_none(tmp_path):
    report = ["annual report of nordwind", "the fleet grew", "profit fell to fourteen million", "more in the annex"]
    corpus = [[chunk.split() for chunk in report], [["profit", "and", "loss"], ["valves"]]]
    with closing(make_store(tmp_path, corpus)) as store, store.snapshot():
        terms = ["how", "much", "profit", "did", "nordwind", "make", "in", "2024"]
        scores = score_words(Corpus(store, StoreCache()), terms, 0).at(np.arange(6))

    assert scores[2] > max(scores[1], scores[3])


CONTRACTS = [
    ["service agreement between harrow dental ltd and us", "invoices are due", "either party gives notice", "end"],
    ["service agreement between ostrava freight and us", "invoices are due", "either party gives notice", "end"],
    ["notes on freight rates", "a tariff", "a table", "end"],
    ["横浜 契約", "請求", "通知", "end"],
]


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("What notice does Harrow Dental  give?", "What notice does give?"),
        ("Which notice does the Harrow-Dental (Ltd.) agreement ask for?", "Which notice does the ask for?"),
        ("What notice does Ostrava Freight's contract ask for?", "What notice does contract ask for?"),
        ("When are invoices due?", ""),  # names no document
        ("Harrow Dental?", ""),  # and asks for nothing
        ("Who is Harrow Dental?", ""),
        ("", ""),
        ("東京の notice of Harrow", "東京の notice of"),
        ("Harrow の東京 notice", "の東京 notice"),
        ("東京のHarrow Dentalの通知は?", "東京の の通知は?"),
        ("Ｈａｒｒｏｗ-Dentalー通知", "ー通知"),
        ("横浜では何 notice", ""),  # holds a name, and more that cannot be told from it
    ],
)
def test_names_are_left_out_of_a_question(tmp_path, question, left):
    corpus = [[chunk.split() for chunk in chunks] for chunks in CONTRACTS]
    with closing(make_store(tmp_path, corpus)) as store, store.snapshot():
        found = leave_out_names(Corpus(store, StoreCache()), question, question_terms(question), 0)

    assert found == left


def test_names_of_the_document_that_has_most_of_them_are_left_out(tmp_path):
    corpus = [[["north", "pump"], ["fog"], ["valve"]], [["south", "pump", "station"], ["fog"], ["valve"]]]
    with closing(make_store(tmp_path, corpus)) as store, store.snapshot():
        known = Corpus(store, StoreCache())
        found = [
            leave_out_names(known, one, question_terms(one), 0) for one in ("fog north south station", "north fog")
        ]

    assert found == ["fog north", "fog"]


def test_a_name_that_is_misspelt_in_two_ways_is_one_name(tmp_path):
    corpus = [[["nordvik", "pump"], ["fog"], ["valve"]], [["south", "station"], ["fog"], ["valve"]]]
    question = "nordviik nordvikk south station fog"
    with closing(make_store(tmp_path, corpus)) as store, store.snapshot():
        found = leave_out_names(Corpus(store, StoreCache()), question, question_terms(question), 0)

    assert found == "nordviik nordvikk fog"


def test_words_are_looked_for_as_they_are_where_many_are_held_by_none(tmp_path):
    held = ["pump", "valve", "gauge", "station", "harbour", "lantern", "compass", "meridian", "thistle"]
    asked = [f"{word[:-1]}x{word[-1]}" for word in held]
    with closing(make_store(tmp_path, [[held]])) as store, store.snapshot():
        corpus = Corpus(store, StoreCache())
        few, many = (as_held(corpus, asked[:n], 0) for n in (8, 9))

    assert [*few.values()] == held[:8]
    assert [*many.values()] == asked


def test_an_index_without_chunks_has_no_names(tmp_path):
    with closing(make_store(tmp_path, [])) as store, store.snapshot():
        assert leave_out_names(Corpus(store, StoreCache()), "pump fog", ["pump", "fog"], 0) == ""


def test_a_word_of_many_chunks_names_no_document(tmp_path):
    corpus = [[["pump", "fog"], ["pump", "valve"], *[["fog"]] * 7], [["gauge"]] * 9]
    with closing(make_store(tmp_path, corpus)) as store, store.snapshot():
        scores = score_words(Corpus(store, StoreCache()), ["pump", "valve"], 0).at(np.arange(18))

    assert scores[1] > scores[0] > scores[2] > scores[9] == 0


@pytest.mark.parametrize(
    ("size", "n_holding", "is_name"),
    [(4, 1, True), (9, 2, False), (10, 2, True), (14, 3, False), (15, 3, True), (40, 3, True), (40, 4, False)],
)
def test_a_word_of_a_fifth_of_the_chunks_and_of_three_at_most_is_a_name(tmp_path, size, n_holding, is_name):
    document = [["pump"]] * n_holding + [["fog"]] * (size - n_holding)
    with closing(make_store(tmp_path, [[["gauge"]], document])) as store, store.snapshot():
        corpus = Corpus(store, StoreCache())
        postings = corpus.postings("pump", 0)
        documents, n_chunks, named = _find_names(postings, corpus.places(0))

    assert (documents.tolist(), n_chunks.tolist()) == ([1], [n_holding])
    assert named.tolist() == [postings.chunk_scores[0] if is_name else 0]


def test_a_chunk_that_ends_within_a_word_is_found_by_what_it_holds(tmp_path):
    with closing(make_store(tmp_path, [[["fog"]], [["valve"]]])) as store:
        spans, vectors = [Span(0, 4), Span(4, 12)], np.tile(np.float32([1, 0]), (2, 1))
        store.put([StoredDocument(Document("cut", "pumping fast", outline=()), 1, [spans], vectors)])
        with store.snapshot():
            scores = score_words(Corpus(store, StoreCache()), ["pump"], 0).at(np.arange(4))

    # Of 4 chunks of 5 words in all one holds it, no document does; it opens its document, so that the other has it too.
    own = weigh("pump", ["pump"], [["fog"], ["valve"], ["pump"], ["ing", "fast"]]) * idf(1, 4, 0)
    assert scores.tolist() == pytest.approx([0.0, 0.0, 2.01 * own, own], abs=1e-6)


@pytest.mark.parametrize(("most", "kept"), [(6, ["gauge", "pump", "valve"]), (3, ["pump", "valve"]), (2, ["valve"])])
def test_the_rarest_terms_are_looked_for_in_so_many_chunks(tmp_path, monkeypatch, most, kept):
    monkeypatch.setattr("latechunk.search.lexical._MOST_ROWS", most)
    corpus = [[["gauge", "pump"], ["gauge"]], [["gauge"], ["pump"], ["valve"]]]  # in 3, 2 and 1 chunks
    with closing(make_store(tmp_path, corpus)) as store, store.snapshot():
        asked = score_words(Corpus(store, StoreCache()), ["gauge", "pump", "valve"], 0)
        scores, few = (one.at(np.arange(5)) for one in (asked, score_words(Corpus(store, StoreCache()), kept, 0)))

    assert scores.tolist() == few.tolist()
    assert sum(scores > 0) == 5 - (most < 3) * 2


@pytest.mark.parametrize(
    ("terms", "titles", "match"),
    [
        (["gauges"], ["Gauges"], 2.0),
        (["rain", "gauges"], ["Gauges"], 2 * (2 / 3) ** 4),  # two of three words are shared: 2 * 1 / (2 + 1)
        (["gauges"], ["Fog", "Gauges", "Rain"], 2.0),
        (["gauges"], ["The gauges"], 2 * (2 / 3) ** 4),  # the question has no function word, by which to know them
        (["the", "gauges"], ["The gauges"], 2.0),
        (["the", "gauges"], ["The fog"], 0.0),
        (["1", "12", "1 12"], ["1.12"], 2.0),  # a phrase is no further word of the question
        (["gauges"], [], 0.0),
    ],
)
def test_titles_match_by_their_words(terms, titles, match):
    assert match_titles(terms, [titles]).tolist() == pytest.approx([match])
