"""Searches whose scores, order and passages are worked out by hand, through the index, over vectors given by hand."""

import re

import numpy as np
import pytest

from latechunk import Block, Chunk, Document, Hit, Index, Span
from latechunk.errors import InputError, QueryError
from latechunk.search.cache import StoreCache
from latechunk.search.passages import join_adjacent
from latechunk.search.ranking import add_deviations
from latechunk.search.word_scores import WordScores
from latechunk.storage.filter_sql import Condition, Selection
from latechunk.storage.rows import ChunkPlaces, Commit
from latechunk.storage.store import Store
from latechunk.types import Tokens

VECTORS = {
    "apple": (0.8, 0.6),
    "quince": (0.8, 0.6),
    "pear": (0.6, -0.8),
    "plum": (0.0, 1.0),
    "fruit": (1.0, 0.0),
    "?!": (1.0, 0.0),
    "fig": (0.96, 0.28),
}


class ByHand:
    """A span's vector is that of its first word."""

    settings = {"kind": "by hand", "model": "by hand", "dims": 2}

    def tokenize(self, texts):
        return [self._tokenize(text) for text in texts]

    def encode_spans(self, tasks, on_progress=None):
        return [
            np.array([list(VECTORS.values())[task.tokens.ids[start]] for start, _ in task.ranges], dtype=np.float32)
            for task in tasks
        ]

    def encode_query(self, text):
        return np.array(VECTORS[text.split()[0]], dtype=np.float32)

    def _tokenize(self, text):
        words = list(re.finditer(r"\w+", text))
        ids = [list(VECTORS).index(word.group()) for word in words]
        offsets = np.array([word.span() for word in words], dtype=np.int64).reshape(-1, 2)
        return Tokens(prompt_ids=(), ids=np.array(ids, dtype=np.int64), offsets=offsets)


class Cut:
    """Cuts every text where it is told to; by default at each word."""

    def __init__(self, name, *bounds):
        self.settings = {"kind": f"told {name}"}
        self.bounds = bounds

    def split(self, text, offsets):
        bounds = self.bounds or [(int(start), int(end)) for start, end in offsets]
        return [Span(*one) for one in bounds]


WORDS = Cut("words")


def make(path, texts, **options):
    chunkers = {} if "chunkers" in options else {"chunker": WORDS}
    index = Index.create(path, encoder=ByHand(), vectors="flat", **chunkers, **options)
    index.add([Document(str(number), text, {"even": number % 2 == 0}) for number, text in enumerate(texts)])
    return index


def found(hits):
    return [hit.chunk.text for hit in hits]


def test_a_vector_of_any_length_gives_cosines(tmp_path):
    with make(tmp_path / "index", ["apple pear plum"]) as index:
        hits = index.search_by_vector(np.array([3.0, 0.0]), 3)

    assert found(hits) == ["apple", "pear", "plum"]
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.6, 0.0], abs=1e-6)


# Cosines with "fruit": apple and quince 0.8, pear 0.6, plum 0. Of apple and pear with each other: 0.


def test_marginal_relevance_weighs_cosines_as_they_are(tmp_path):
    with make(tmp_path / "index", ["apple quince pear"]) as index:
        hits = index.search("fruit", 3, mode="dense", mmr=0.5)

    # Second: quince 0.5 * 0.8 - 0.5 * 1 = -0.1, pear 0.5 * 0.6 - 0.5 * 0 = 0.3. Stretched to 1, 1 and 0, both get 0.
    assert found(hits) == ["apple", "pear", "quince"]
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.6, 0.8], abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"fusion": "rrf"}])
def test_copies_do_not_fill_a_diverse_hybrid_search(tmp_path, options):
    with make(tmp_path / "index", [*["apple"] * 5, "pear", "plum"]) as index:
        plain = index.search("fruit apple", 5, mode="hybrid", **options)
        diverse = index.search("fruit apple", 5, mode="hybrid", mmr=0.5, **options)
        assert index.search("fruit apple", 5, mode="hybrid", mmr=1, **options) == plain

    assert found(plain) == ["apple"] * 5
    assert found(diverse) == ["apple", "pear", "apple", "apple", "apple"]


def test_marginal_relevance_of_words_takes_shares_of_the_best_score(tmp_path):
    with make(tmp_path / "index", ["apple", "apple", "apple fig", "plum"], chunkers={"all": Whole()}) as index:
        plain = index.search("apple", 3, mode="lexical")
        relevance = [hit.score / plain[0].score for hit in plain]
        diverse = index.search("apple", 3, mode="lexical", mmr=0.9)

    assert found(plain) == ["apple", "apple", "apple fig"]
    assert relevance[2] < 0.9
    assert found(diverse) == found(plain)  # all three have the vector of apple, so relevance alone decides


class Whole:
    settings = {"kind": "whole"}

    def split(self, text, offsets):
        return [Span(0, len(text))]


def test_a_reranker_decides_the_order_that_diversity_starts_from(tmp_path):
    def prefer(question, texts):
        return [{"apple": 1.0, "quince": 2.0, "pear": 300.0}[text] for text in texts]

    with make(tmp_path / "index", ["apple quince pear"]) as index:
        assert found(index.search("fruit", 3, mode="dense", rerank=prefer, mmr=1)) == ["pear", "quince", "apple"]
        # The ranking gets the cosines 0.8, 0.8, 0.6 by its order. Second: quince 0.4 - 0, apple 0.3 - 0.
        assert found(index.search("fruit", 2, mode="dense", rerank=prefer, mmr=0.5)) == ["pear", "quince"]


def test_a_reranker_reads_the_passage_and_not_the_small_chunk(tmp_path):
    asked = []

    def remember(question, texts):
        asked.append(list(texts))
        return [0.0] * len(texts)

    chunkers = {"words": WORDS, "halves": Cut("halves", (0, 10), (11, 21))}
    with make(tmp_path / "index", ["apple pear plum quince"], chunkers=chunkers) as index:
        index.search("fruit", 1, mode="dense", rerank=remember, candidates=1, expand=1)
        index.search("fruit", 1, mode="dense", rerank=remember, candidates=1, within="halves")

    assert asked == [["apple pear"], ["apple pear"]]


def test_what_stands_next_to_a_passage_was_not_found_in_it(tmp_path):
    halves = Cut("touching", (0, 4), (4, 9), (9, 14), (14, 19))
    with make(tmp_path / "index", ["fig apple pear plum"], chunkers={"halves": halves}) as index:
        (hit,) = index.search("fig", 5, mode="dense", per_document=True, expand=1, candidates=5)

    assert hit.chunk.text == "fig apple"
    assert found(Hit(0.0, one) for one in hit.found) == ["fig ", "apple"]  # pear was found as well, right after it


def test_a_fused_score_counts_deviations_over_all_chunks(tmp_path):
    with make(tmp_path / "index", ["fig apple pear"]) as index:
        hits = index.search("fruit pear", 3, mode="hybrid", candidates=3)
        few = index.search("fruit pear", 2, mode="hybrid", candidates=2)

    # Cosines 0.96, 0.8 and 0.6: mean 0.78667, deviation 0.14727. Words: pear log(2.5 / 1.5) = 0.51083, in one of
    # three, which counts 1 + 1 / 2**6 + 0.5 / 100 times in the chunk that holds it, one of two: 0.52137. The others are
    # given 1.4 * 0.51083 / 2 = 0.35758 by their document. Mean 0.41218; the deviation is far below 2, so taken for 2.
    assert found(hits) == ["fig", "apple", "pear"]
    assert [hit.dense for hit in hits] == pytest.approx([0.96, 0.8, 0.6], abs=1e-6)
    assert [hit.lexical for hit in hits] == pytest.approx([0.35758, 0.35758, 0.52137], abs=1e-5)
    deviations = [(1.17699, -0.02730), (0.09054, -0.02730), (-1.26753, 0.05460)]
    assert [hit.score for hit in hits] == pytest.approx([0.65 * a + 0.35 * b for a, b in deviations], abs=1e-4)
    assert few == hits[:2]  # pear is not among the two nearest, and has its cosine


def test_of_a_question_that_names_a_document_the_names_are_compared_with_its_opening_too(tmp_path):
    with make(tmp_path / "index", ["apple pear plum", "fig fig fig"]) as index:
        named, unnamed = index.search_many(["apple fruit", "fruit apple"], 6)
        dense = index.search("apple fruit", 6, mode="dense")

    # q is "apple", (0.8, 0.6), and r "fruit", (1, 0); half of q - r is (-0.1, 0.3), which the openings, apple and fig,
    # have 0.1 and -0.012 of. The mean of q and r is (0.9, 0.3).
    assert {hit.chunk.text: hit.dense for hit in named} == pytest.approx(
        {"apple": 0.9 + 0.1, "pear": 0.3 + 0.1, "plum": 0.3 + 0.1, "fig": 0.948 - 0.012}, abs=1e-6
    )
    assert {hit.chunk.text: hit.dense for hit in unnamed} == pytest.approx(  # q and r are both (1, 0)
        {"apple": 0.8, "pear": 0.6, "plum": 0.0, "fig": 0.96}, abs=1e-6
    )
    assert {hit.chunk.text: hit.dense for hit in dense} == pytest.approx(
        {"apple": 1.0, "pear": 0.0, "plum": 0.6, "fig": 0.936}, abs=1e-6
    )


@pytest.mark.parametrize("question", ["fig", "fig apple", "fruit pear"])
def test_a_lone_chunk_is_the_mean_and_scores_exactly_nothing(tmp_path, question):
    with Index.create(tmp_path / "index", encoder=ByHand(), chunker=Cut("whole", (0, 14))) as index:
        index.add([Document("fruit", "fig apple pear")])
        assert [hit.score for hit in index.search(question)] == [0.0]


def test_words_that_deviate_by_more_than_two_count_by_their_deviation():
    # Words: mean 4, deviation 4. Cosines: mean 0.5, deviation 0.5.
    cosines = np.array([0.0, 1.0])
    places = ChunkPlaces(Commit(1, "", 0), np.arange(1, 5), np.array([1]), np.zeros(4, dtype=np.int64), np.array([4]))
    words = WordScores(places, np.zeros(1), np.array([2]), np.array([1, 3]), np.array([8.0, 8.0]))
    fused = add_deviations(0.6, {1: 0.75, 2: 1.0}, {1: 0.0, 2: 8.0}, cosines, words)

    assert fused == {1: pytest.approx(0.6 * 0.5 - 0.4 * 1), 2: pytest.approx(0.6 * 1 + 0.4 * 1)}


def test_a_chunk_counts_more_by_words_the_better_its_heading_says_what_is_asked(tmp_path):
    documents = [
        Document("plain", "pear plum\nfig", outline=()),
        Document("other", "pear plum\nfig", outline=(Block("heading", 0, 9, 1), Block("heading", 10, 13, 1))),
        Document("same", "pear\nplum fig", outline=(Block("heading", 0, 4, 1), Block("heading", 10, 13, 1))),
        *(Document(str(number), "fig plum apple") for number in range(5)),
    ]
    with Index.create(tmp_path / "index", encoder=ByHand(), chunker=Cut("whole", (0, 13))) as index:
        index.add(documents)
        hits = index.search("pear", 8, mode="lexical")
        fused = index.search("pear", 3)
        ranks = index.search("pear", 3, fusion="rrf", dense_weight=0.0)

    # The words of all three are the same; a heading of one word more has 2 * 1 / (1 + 2) of both in common.
    names = ["same", "other", "plain"]
    assert [hit.chunk.document_id for hit in hits] == names
    plain = hits[2].lexical
    assert [hit.lexical for hit in hits] == pytest.approx([3 * plain, (1 + 2 * (2 / 3) ** 4) * plain, plain])
    assert [hit.chunk.document_id for hit in fused] == [hit.chunk.document_id for hit in ranks] == names


def test_a_heading_that_says_what_is_asked_comes_first_of_one_hit_too(tmp_path):
    documents = [
        *(Document(f"twice {number}", "pear pear fig", outline=()) for number in range(3)),
        Document("heading", "pear\nplum fig", outline=(Block("heading", 0, 4, 1), Block("heading", 10, 13, 1))),
        *(Document(str(number), "fig plum apple") for number in range(5)),
    ]
    with Index.create(tmp_path / "index", encoder=ByHand(), chunker=Cut("whole", (0, 13))) as index:
        index.add(documents)
        all_of_them = index.search("pear", 9, mode="lexical")

        assert [hit.chunk.document_id for hit in all_of_them] == ["heading", "twice 0", "twice 1", "twice 2"]
        assert all_of_them[0].lexical / 3 < all_of_them[1].lexical  # by its words alone it would be the last
        for k in (1, 2, 3):
            assert index.search("pear", k, mode="lexical") == all_of_them[:k]
            assert index.search("pear", k, mode="lexical", per_document=True) == all_of_them[:k]


def test_a_question_without_a_word_has_scores_of_the_same_kind(tmp_path):
    with make(tmp_path / "index", ["fig apple pear"]) as index:
        unknown, none = index.search("fruit", 3), index.search("?!", 3)

    assert [hit.score for hit in none] == [hit.score for hit in unknown]
    assert [hit.score for hit in none] == pytest.approx([0.65 * 1.17699, 0.65 * 0.09054, 0.65 * -1.26753], abs=1e-4)
    assert [hit.lexical for hit in none] == [0.0, 0.0, 0.0]


def test_a_chunk_is_given_the_words_that_it_lacks_by_its_document(tmp_path):
    with make(tmp_path / "index", ["apple pear", "plum pear", "fig fig fig"]) as index:
        hits = index.search("apple pear", 10, mode="hybrid", dense_weight=0.0, candidates=10)
        words = index.search("apple pear", 10, mode="lexical")

    # Of 7 chunks of one word apple is in 1 and pear in 2: log(6.5 / 1.5) = 1.46634 and log(5.5 / 2.5) = 0.78846. Of 3
    # documents, 7 / 3 words long on average, they are in 1 and 2: log(2.5 / 1.5) = 0.51083 and nothing, since 2 are
    # more than half. A document of 2 words weighs a word by 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / (7 / 3))) = 1.06207. In
    # a document a term weighs by the mean of both, 0.98859 and 0.39423, times 1.4: apple 1.46995 and pear 0.58617.
    # A chunk that holds one of two words counts what it has 1 + 1 / 2**6 + 0.5 / 100 = 1.02063 times.
    in_full = [
        (0.78846 + 1.46634) * 1.02063 + 0.00361,  # pear, which is given apple, since the first chunk alone holds it
        1.46634 * 1.02063 + (0.58617**1.5 + 0.00361**1.5) ** (2 / 3),  # apple, which lacks pear and a little of itself
        0.78846 * 1.02063,  # pear, in whose document is no apple
        0.58617,  # plum, which lacks pear
        0.0,
    ]
    assert [(hit.chunk.text, hit.chunk.document_id) for hit in hits[:4]] == [
        ("pear", "0"),
        ("apple", "0"),
        ("pear", "1"),
        ("plum", "1"),
    ]
    assert [hit.lexical for hit in hits[:5]] == pytest.approx(in_full, abs=1e-4)
    assert found(words) == ["pear", "apple", "pear"]  # not plum, which holds no word of the question
    assert [hit.score for hit in words] == [hit.lexical for hit in words]
    assert {hit.dense for hit in words} == {None}


def test_of_a_document_the_chunk_that_holds_all_words_comes_first(tmp_path):
    with make(tmp_path / "index", ["fig plum apple quince", "pear pear pear"]) as index:
        asked = index.search("apple where is it", 3, mode="hybrid", dense_weight=0.0)
        first, *others = asked

    assert first.chunk.text == "apple"  # function words do not count, held or not
    assert [hit.chunk.document_id for hit in asked] == ["0"] * 3
    # In one of 7 chunks, log(6.5 / 1.5) = 1.46634, 2.01 times; and in one of 2 documents, which says nothing, so that a
    # document weighs it by half, times 1.4 and 2.2 / (1 + 1.2 * (0.25 + 0.75 * 4 / 3.5)), of 4 words where 3.5 are the
    # mean.
    assert first.lexical == pytest.approx(1.46634 * 2.01, abs=1e-4)
    assert [hit.lexical for hit in others] == pytest.approx([1.4 * 1.46634 / 2 * 0.94479] * 2, abs=1e-4)


def test_a_larger_chunk_comes_once_with_all_that_was_found_in_it(tmp_path):
    chunkers = {"words": WORDS, "halves": Cut("halves", (0, 10), (11, 21))}
    with make(tmp_path / "index", ["apple pear plum quince"], chunkers=chunkers) as index:
        first, second = index.search("fruit", 2, mode="dense", within="halves", candidates=4)

    assert (first.chunk.text, second.chunk.text) == ("apple pear", "plum quinc")
    assert [chunk.text for chunk in first.found] == ["apple", "pear"]
    assert [chunk.text for chunk in second.found] == ["quince", "plum"]
    assert (first.score, second.score) == (pytest.approx(0.8), pytest.approx(0.8))


def test_of_two_larger_chunks_that_share_as_much_the_first_is_given_back(tmp_path):
    chunkers = {"small": Cut("small", (2, 8)), "big": Cut("big", (0, 5), (5, 10))}
    with make(tmp_path / "index", ["apple pear"], chunkers=chunkers) as index:
        (hit,) = index.search("fruit", 1, mode="dense", within="big")

    assert hit.chunk.text == "apple"  # three characters of each


def test_of_two_sections_that_share_as_much_the_first_is_given_back(tmp_path):
    outline = (Block("heading", 0, 5, 1), Block("heading", 10, 14, 1))
    with Index.create(tmp_path / "index", encoder=ByHand(), chunker=Cut("pairs", (6, 14), (15, 19))) as index:
        index.add([Document("a", "apple fig pear plum", outline=outline)])
        hits = index.search("fig", 2, mode="dense", within="section")

    # "fig pear" has four characters in either section, of which the second also has "plum".
    assert [(hit.chunk.text, hit.chunk.number) for hit in hits] == [("apple fig ", 0), ("pear plum", 1)]


def test_a_chunk_in_no_larger_one_is_named(tmp_path):
    chunkers = {"words": WORDS, "some": Cut("some", (0, 5))}
    with make(tmp_path / "index", ["apple pear"], chunkers=chunkers) as index:
        assert found(index.search("fruit", 1, mode="dense", within="some", candidates=1)) == ["apple"]
        with pytest.raises(InputError, match="chunk 1 of document '0', characters 6 to 10, lies in no chunk of within"):
            index.search("fruit", 2, mode="dense", within="some")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filter": {"even": True}},
        {"mode": "lexical"},
        {"mode": "hybrid", "candidates": 600},
        {"mode": "hybrid", "candidates": 600, "fusion": "rrf"},
    ],
    ids=str,
)
def test_pages_hold_each_hit_once_whatever_ties(tmp_path, options):
    with make(tmp_path / "index", [*["apple fig"] * 300, *["fig fig"] * 300], chunkers={"all": Whole()}) as index:
        everything = index.search("fruit fig", 600, **options)
        pages = [index.search("fruit fig", k, **options)[k - 10 :] for k in range(10, len(everything) + 1, 10)]

    key = [(-hit.score, int(hit.chunk.document_id)) for hit in everything]
    assert key == sorted(key)
    assert len(everything) == (300 if "filter" in options else 600)
    assert [hit for page in pages for hit in page] == everything


def test_a_threshold_and_a_reranker_by_hand(tmp_path):
    with make(tmp_path / "index", ["apple pear plum", "fig"]) as index:
        assert found(index.search("fruit", 9, mode="dense", score_threshold=0.7)) == ["fig", "apple"]
        hits = index.search(
            "fruit", 9, mode="dense", rerank=lambda question, texts: [len(text) for text in texts], score_threshold=4
        )

    assert [(hit.chunk.text, hit.score) for hit in hits] == [("apple", 5.0), ("pear", 4.0), ("plum", 4.0)]


def test_as_many_documents_as_asked_for_though_their_chunks_fill_the_first_candidates(tmp_path):
    with make(tmp_path / "index", ["apple apple apple apple apple", "pear", "plum"]) as index:
        assert found(index.search("fruit", 3, mode="dense", per_document=True)) == ["apple", "pear", "plum"]
        assert found(index.search("fruit", 2, mode="dense", per_document=True, candidates=2)) == ["apple", "pear"]


def test_neighbours_join_where_they_touch(tmp_path):
    with make(tmp_path / "index", ["plum apple plum plum plum pear plum", "fig"]) as index:
        first, second, third = index.search("fruit", 3, mode="dense", expand=1)

    assert (first.chunk.text, first.found, first.score) == ("fig", (), pytest.approx(0.96))
    assert (second.chunk.text, [one.text for one in second.found]) == ("plum apple plum", ["apple"])
    assert (third.chunk.text, [one.text for one in third.found]) == ("plum pear plum", ["pear"])


def chunk(start, end, document_id="a"):
    return Chunk(document_id, start, start, end, "0123456789"[start:end], {})


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (chunk(2, 5), chunk(5, 8), chunk(2, 8)),
        (chunk(5, 8), chunk(2, 5), chunk(2, 8)),
        (chunk(2, 6), chunk(4, 8), chunk(2, 8)),
        (chunk(2, 8), chunk(4, 6), chunk(2, 8)),
        (chunk(4, 6), chunk(2, 8), chunk(2, 8)),
        (chunk(2, 4), chunk(2, 8), chunk(2, 8)),
        (chunk(2, 4), chunk(5, 8), None),
        (chunk(5, 8), chunk(2, 4), None),
        (chunk(2, 5), chunk(5, 8, "b"), None),
    ],
)
def test_two_passages_by_hand(one, other, joined):
    hits = [Hit(0.9, one), Hit(0.8, other)]

    assert join_adjacent(hits) == ([Hit(0.9, joined, (one, other))] if joined else hits)


def test_which_documents_meet_a_filter_is_remembered_until_the_store_changes(tmp_path, monkeypatch):
    asked = []
    read = Store.document_numbers
    monkeypatch.setattr(Store, "document_numbers", lambda *given: (asked.append(given), read(*given))[1])
    with make(tmp_path / "index", ["apple", "pear"]) as index:

        def n_read(number):
            asked.clear()
            index.search("fruit", 1, filter={"number": number})
            return len(asked)

        assert (n_read(0), n_read(0), n_read(2)) == (1, 0, 1)
        index.add([Document("2", "plum", {"number": 2})])
        assert n_read(2) == 1
        assert found(index.search("fruit", 9, mode="dense", filter={"number": 2})) == ["plum"]


def test_what_was_not_used_for_longest_is_forgotten_first():
    remembered = StoreCache(most_bytes=3 * 1_400)
    read = []

    def ask(key, token="now"):
        return remembered.get(token, key, lambda: (read.append(key), np.zeros(125))[1])

    for key in ("a", "b", "c", "a", "d", "a", "c", "b"):
        ask(key)
    remembered.get("now", "large", lambda: np.zeros(1_000))  # alone above the limit
    ask("b")
    ask("b")
    ask("b", "later")

    assert read == ["a", "b", "c", "d", "b", "b", "b"]


def test_what_every_search_needs_is_renewed_and_never_forgotten():
    remembered = StoreCache(most_bytes=10)
    read = []

    def ask(token, key="places"):
        return remembered.renew(token, key, lambda known: (read.append((token, known)), np.full(99, len(read)))[1])[0]

    assert [ask("now"), ask("now"), ask("now", "rows"), ask("now")] == [1, 1, 2, 1]
    remembered.get("later", "large", lambda: np.zeros(99))
    assert [ask("now"), ask("later"), ask("later")] == [1, 3, 3]
    assert [(token, None if known is None else known[0]) for token, known in read] == [
        ("now", None),
        ("now", None),
        ("later", 1),
    ]


def test_a_filter_of_many_ids_counts_as_what_is_remembered(tmp_path):
    remembered = StoreCache(most_bytes=100_000)
    for user in range(20):
        ids = tuple(f"{user}-{number}" for number in range(1_000))
        where = Selection((Condition("f.value IN ?", ids),), None)
        remembered.get("now", ("documents", where), lambda: np.zeros(1))

    assert len(remembered._values) <= 2  # each holds 1,000 strings of some 55 bytes


def test_a_filter_and_ids_by_hand(tmp_path):
    with make(tmp_path / "index", ["apple", "pear", "plum", "fig"]) as index:
        for mode in ("dense", "lexical", "hybrid"):
            hits = index.search("fig apple", 9, mode=mode, filter={"even": True}, document_ids=["0", "3", "none"])
            assert found(hits) == ["apple"]
            assert found(index.search("fig apple", 9, mode=mode, document_ids=["3"])) == ["fig"]
            assert index.search("fig apple", 9, mode=mode, document_ids=[]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "a"}, "granularity must be one of the index's granularities, 'words', 'all', got 'a'"),
        ({"within": "words"}, "within must name another granularity than the one that is searched, 'words'"),
        ({"rerank": lambda *_: "x"}, "rerank must return numbers, got 'x': could not convert string to float: 'x'"),
        (
            {"rerank": lambda *_: [1.0]},
            "rerank must return one finite number for each of the 2 texts, got shape (1,): [1.0]",
        ),
        ({"document_ids": "x"}, "document_ids must be a list of ids, got 'x'"),
        ({"candidates": 1, "k": 2}, "candidates must be at least k, which is 2, got 1"),
        (
            {"within": "all", "per_document": True},
            "per_document and within both say what to group by; choose one",
        ),
    ],
)
def test_what_is_wrong_is_said_in_full(tmp_path, options, message):
    chunkers = {"words": WORDS, "all": Whole()}
    with make(tmp_path / "index", ["apple pear"], chunkers=chunkers) as index, pytest.raises(InputError) as caught:
        index.search("fruit", **{"k": 2, **options})

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            False,
            InputError,
            'this index was made without lexical search (words=False): search with mode="dense", or make a new one',
        ),
        (True, QueryError, "the question must hold a word to be searched for by its words, got '?'"),
    ],
)
def test_a_question_without_words_is_said_in_full(tmp_path, words, error, message):
    with make(tmp_path / "index", ["apple"], words=words) as index, pytest.raises(error) as caught:
        index.search("?", mode="lexical")

    assert str(caught.value) == message
