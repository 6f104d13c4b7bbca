"""The lexical index against SQLite's FTS5, which has the same terms, and its arrays by hand."""

import sqlite3
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latechunk.errors import IndexDamagedError
from latechunk.maintenance.words import check_segments, check_words
from latechunk.search.cache import StoreCache
from latechunk.search.corpus import Corpus
from latechunk.storage import fulltext, postings
from latechunk.storage.fulltext import DOCUMENTS
from latechunk.storage.postings import Postings, find_in_block, merge, pack_numbers, unpack_numbers
from latechunk.storage.rows import StoredDocument
from latechunk.storage.store import Store
from latechunk.storage.terms import cut_at_signs, to_terms
from latechunk.storage.vocabulary import Vocabulary
from latechunk.types import Document, Span
from tests.stores import clustered

WORDS = ["a", "b", "c", "é", "東京", "zz"]
TERMS = ["a", "b", "c", "e", "東", "東京", "zz", "none", "a b", "a a", "b a c", "zz none", "a e a", "東 東京 京"]


class Fts:
    """The terms of some rows in a table of FTS5."""

    def __init__(self, rows):
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='ascii')")
        texts = [(number, " ".join(to_terms(text))) for number, text in rows]
        self.connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", texts)

    def scores(self, term):
        query = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?"
        return dict(self.connection.execute(query, (f'"{term}"',)))


def stored(name, words):
    """A document whose chunks are its words two by two, and its whole text."""
    text = " ".join(words)
    ends = [0, *(end for end, letter in enumerate(text) if letter == " "), len(text)]
    spans = [Span(begin, end) for begin, end in pairwise(ends[::2] if len(ends) % 2 else [*ends[::2], ends[-1]])]
    return StoredDocument(Document(name, text), 1, [spans, [Span(0, len(text))]], clustered(len(spans) + 1))


def check(store):
    """What is found of each term is what FTS5 finds, and verify finds nothing."""
    with store.snapshot() as connection:
        query = "SELECT c.number, substr(d.text, byte_start + 1, byte_end - byte_start) FROM chunks c JOIN documents d "
        rows = {
            one: connection.execute(f"{query} ON d.number = c.document WHERE granularity = {one}").fetchall()
            for one in (0, 1)
        }
        rows[DOCUMENTS] = connection.execute("SELECT number, text FROM documents").fetchall()
        assert not [*check_segments(connection, 2)]
        for granularity, texts in rows.items():
            assert not [*check_words(connection, granularity)]
            texts = sorted((number, text.decode()) for number, text in texts)
            numbers = np.array([number for number, _ in texts], dtype=np.int64)
            for prefix in ("a", "zz", "東", "none"):
                held = {term for _, text in texts for term in to_terms(text) if term.startswith(prefix)}
                assert held <= store.terms_with(prefix, granularity) <= {one for one in TERMS if one.startswith(prefix)}
            known, fts = store.word_rows(granularity, numbers), Fts(texts)
            for term in TERMS:
                places, scores = store.score_term(term, granularity, known)
                assert (np.diff(places) > 0).all()
                found = dict(zip(numbers[places].tolist(), scores.tolist(), strict=True))
                assert found == pytest.approx(fts.scores(term), rel=1e-12)
                if granularity != DOCUMENTS:
                    assert min(3, Corpus(store, StoreCache()).count(term, granularity, 3)) == min(3, len(found))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_terms_and_phrases_score_as_in_fts5(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("words") / "store.sqlite3"
    made = {"chunkers": {"a": {}, "b": {}}, "search": {"words": True}, "encoder": {"dims": 16}}
    Store.create(path, made)
    names, words = st.sampled_from("pqrst"), st.lists(st.sampled_from(WORDS), min_size=1, max_size=9)
    step = st.one_of(
        st.dictionaries(names, words, min_size=1, max_size=4), st.sets(names, min_size=1), st.just("compact")
    )
    store = Store.open(path, read_only=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "_BLOCK", 3)
        for name, value in {"_MOST_TERMS": 20, "_TIER": 2, "_LEAST_TIER": 16, "_TOP_TIER": 2, "_AT_ONCE": 2}.items():
            patch.setattr(fulltext, name, value)
        for one in data.draw(st.lists(step, min_size=1, max_size=8)):
            if one == "compact":
                store.compact()
            elif isinstance(one, dict):
                store.put([stored(name, words) for name, words in one.items()])
            else:
                store.delete(sorted(one))
            check(store)
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE postings SET first = CAST(x'02ff00' || substr(first, 2) AS BLOB)",
        "UPDATE postings SET counts = 'text'",
        "UPDATE postings SET frequencies = x'01'",
        "UPDATE postings SET positions = x'01'",
        "UPDATE segments SET numbers = x'01'",
        "UPDATE segments SET lengths = 3",
    ],
)
def test_a_damaged_lexical_index_is_said_and_not_joined(tmp_path, monkeypatch, damage):
    made = {"chunkers": {"a": {}, "b": {}}, "search": {"words": True}, "encoder": {"dims": 16}}
    Store.create(tmp_path / "store.sqlite3", made)
    store = Store.open(tmp_path / "store.sqlite3", read_only=False)
    store.put([stored("p", ["a", "b", "a"]), stored("q", ["b", "c"])])
    with store.change() as connection:
        connection.execute(damage)

    with store.snapshot(), pytest.raises(IndexDamagedError, match=r"lexical index.*latechunk repair"):
        store.score_term("a b", DOCUMENTS, store.word_rows(DOCUMENTS, np.array([1, 2])))
    monkeypatch.setattr(fulltext, "_TIER", 2)
    for change in (lambda: store.put([stored("r", ["c"])]), store.compact):
        with pytest.raises(IndexDamagedError, match=r"lexical index.*latechunk repair"):
            change()
    assert store.document_ids() == ["p", "q"]
    store.close()


def test_so_many_segments_of_a_size_are_joined():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE segments (number INTEGER PRIMARY KEY, granularity INTEGER, n_terms INTEGER)")
    sizes = [2**17 - 1] * 7 + [2**17, 2**20 - 1] + [2**20] * 7 + [2**26] * 40 + [2**31] * 23
    connection.executemany("INSERT INTO segments VALUES (NULL, 0, ?)", [(size,) for size in sizes])
    connection.execute("INSERT INTO segments VALUES (NULL, 1, 5)")

    assert fulltext._full_tier(connection, 0) is None
    for size, wanted in ((2**26, [*range(17, 80), 81]), (2**22, [*range(10, 17), 82]), (0, [*range(1, 8), 83])):
        connection.execute("INSERT INTO segments VALUES (NULL, 0, ?)", (size,))
        assert fulltext._full_tier(connection, 0) == wanted


def test_a_join_looks_up_no_more_than_the_range_of_its_rows(tmp_path):
    # Adding takes a time that grows with the square of the index if it looks up all that came before.
    made = {"chunkers": {"a": {}, "b": {}}, "search": {"words": True}, "encoder": {"dims": 16}}
    Store.create(tmp_path / "store.sqlite3", made)
    store = Store.open(tmp_path / "store.sqlite3", read_only=False)
    store.put([stored(f"d{number}", ["a", "b", "c"]) for number in range(20)])
    with store.change() as connection:
        rows = connection.execute("SELECT number FROM chunks WHERE granularity = 1 ORDER BY number").fetchall()
        numbers = np.array([number for (number,) in rows])

        assert fulltext._live(connection, fulltext.DOCUMENTS, np.array([7, 9, 12])).tolist() == [7, 8, 9, 10, 11, 12]
        assert fulltext._live(connection, 1, numbers[[10, 13]]).tolist() == numbers[10:14].tolist()
        assert fulltext._live(connection, 1, numbers[:0]).tolist() == []
    store.close()


@given(
    st.text(st.sampled_from("aé'1 .,。、東กx²९ن\u200c\u0338\u0308\u00ad\u200d<=>ﬁ½Σς\u1100\u1161\n\0๏"), max_size=60),
    st.data(),
)
def test_the_terms_of_spans_are_those_of_their_texts(text, data):
    place = st.integers(0, len(text))
    ends = [sorted(one) for one in data.draw(st.lists(st.tuples(place, place), max_size=6))]
    spans = [Span(begin, end) for begin, end in ends if begin < end]

    vocabulary = Vocabulary()
    parts, ranges = cut_at_signs(text, spans)
    numbers, lengths = vocabulary.read(parts)
    terms, places = vocabulary.resolve(numbers)

    assert terms == sorted(set(terms))
    read = iter([terms[place] for place in places])
    of_part = [[next(read) for _ in range(length)] for length in lengths]
    assert list(read) == []
    found = [[term for begin, end in some for part in of_part[begin:end] for term in part] for some in ranges.tolist()]
    assert found == [to_terms(text[one.start : one.end]) for one in spans]


def test_a_text_is_read_once_however_many_spans_share_it():
    text = "One two three. Four five six. Seven eight nine."
    spans = [Span(0, 47), Span(0, 14), Span(15, 29), Span(4, 25), Span(30, 47)]

    parts, ranges = cut_at_signs(text, spans)

    assert "".join(parts) == text
    assert ["".join(part for begin, end in some for part in parts[begin:end]) for some in ranges.tolist()] == [
        text[span.start : span.end] for span in spans
    ]


@given(st.lists(st.integers(0, 2**62), max_size=9), st.sampled_from([1, 255, 256, 65_535, 2**32]))
def test_numbers_are_packed_in_as_few_bytes_as_the_largest_takes(values, most):
    numbers = np.array([value % most for value in values], dtype=np.int64)
    packed = pack_numbers(numbers)

    assert unpack_numbers(packed).tolist() == numbers.tolist()
    assert unpack_numbers(packed, 0, len(values) // 2).tolist() == numbers[: len(values) // 2].tolist()
    assert packed[0] == next(size for size in (1, 2, 4, 8) if numbers.max(initial=0) < 256**size)


@pytest.mark.parametrize("packed", [b"", b"\x03aaa", b"\x02a", "text", None, b"\x08" + b"\xff" * 8])
def test_what_is_no_packed_numbers_is_refused(packed):
    with pytest.raises(ValueError, match="packed number"):
        unpack_numbers(packed)


def test_postings_by_hand():
    # Two texts: "b a b" and "a c".
    found = Postings.of_texts(["a", "b", "c"], np.array([1, 0, 1, 0, 2]), np.array([3, 2]))

    assert (found.terms, found.counts.tolist()) == (["a", "b", "c"], [2, 1, 1])
    assert (found.rows.tolist(), found.frequencies.tolist()) == ([0, 1, 0, 1], [1, 1, 2, 1])
    assert found.positions.tolist() == [1, 0, 0, 2, 1]
    terms, counts, *_ = found.pack()
    assert [find_in_block(one, terms, counts) for one in "abcd"] == [(0, 0, 2), (1, 2, 3), (2, 3, 4), None]
    later = Postings.of_texts(["b", "d"], np.array([0, 1]), np.array([2])).renumbered(np.array([2]))
    joined = list(merge([iter([found.renumbered(np.array([-1, 1]))]), iter([later])]))
    assert [one.terms for one in joined] == [["a", "b", "c"], ["d"]]
