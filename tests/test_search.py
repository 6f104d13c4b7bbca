"""Search by filter, words and both; what becomes of candidates; several granularities of the same documents."""

import math
import re
import threading
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Chunk, Document, Hit, Index, SentenceChunker, Span, TokenChunker
from latechunk.errors import FilterError, IndexMismatchError, IndexReadOnlyError, InputError, QueryError
from latechunk.search.cache import StoreCache
from latechunk.search.corpus import Corpus
from latechunk.search.fusion import best_first, best_places, choose_diverse, fuse_by_rank, standardise
from latechunk.search.lexical import _affordable
from latechunk.search.options import SearchKeywords, SearchOptions
from latechunk.search.passages import join_adjacent
from latechunk.search.word_scores import WordScores
from latechunk.storage.pool import ConnectionPool
from latechunk.storage.rows import ChunkPlaces, Commit
from latechunk.storage.store import Store
from tests.conftest import SCRIPTS, FakeEncoder

SENTENCES = {"passages": TokenChunker(max_tokens=12), "sentences": SentenceChunker(max_sentences=1)}


def town(number):
    text = (
        f"Town {number} lies on river {number}. It is old and has many people. Ships sail there every day. "
        f"The mayor of town {number} likes cheese. Nobody knows why the bridge is closed. It will open again."
    )
    return Document(f"town-{number}", text, {"number": number, "even": number % 2 == 0, "tags": ["t", f"t{number}"]})


TOWNS = [town(number) for number in range(12)]


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    path = tmp_path_factory.mktemp("towns") / "index"
    with Index.create(path, encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1)) as index:
        index.add(TOWNS)
        yield index


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "index"
    with Index.create(path, encoder=FakeEncoder(), chunkers=SENTENCES) as index:
        index.add(TOWNS)
        yield index


def assert_same(hits, expected):
    """The same chunks with the same scores, in an order that may differ where scores differ by rounding alone."""
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    scores = {(hit.chunk.document_id, hit.chunk.number): hit.score for hit in expected}
    unlike = [hit for hit in hits if (hit.chunk.document_id, hit.chunk.number) not in scores]
    assert all(hit.score == pytest.approx(expected[-1].score, abs=1e-6) for hit in unlike)


def texts(hits):
    return [hit.chunk.text.strip() for hit in hits]


# Filters.


@given(numbers=st.lists(st.integers(-1, 12), max_size=6), k=st.integers(1, 100))
def test_a_filter_gives_as_many_as_match_and_the_best_of_them(towns, numbers, k):
    hits = towns.search("the mayor likes ships", k, filter={"number": {"$in": numbers}})

    everything = towns.search("the mayor likes ships", 1000)
    expected = [hit for hit in everything if hit.chunk.metadata["number"] in numbers]
    assert {hit.chunk.metadata["number"] for hit in hits} <= set(numbers)
    assert_same(hits, expected[:k])


@given(numbers=st.lists(st.integers(0, 14), max_size=6, unique=True), k=st.integers(1, 100))
def test_a_search_of_some_documents_passes_unknown_ids_over(towns, numbers, k):
    hits = towns.search("cheese", k, document_ids=[f"town-{number}" for number in numbers])

    expected = [hit for hit in towns.search("cheese", 1000) if hit.chunk.metadata["number"] in numbers]
    assert {hit.chunk.metadata["number"] for hit in hits} <= set(numbers)
    assert_same(hits, expected[:k])


def test_filter_and_ids_must_both_hold(towns):
    hits = towns.search("cheese", 100, filter={"even": True}, document_ids=["town-1", "town-2", "town-3"])

    assert {hit.chunk.document_id for hit in hits} == {"town-2"}
    assert len(hits) == 6


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_filter_holds_in_every_mode(towns, mode):
    hits = towns.search("cheese mayor", 100, mode=mode, filter={"tags": "t3"})

    assert {hit.chunk.document_id for hit in hits} == {"town-3"}
    assert towns.search("cheese", mode=mode, filter={"tags": "nothing"}) == []


def test_a_filter_sees_new_metadata_at_once(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document("a", "A text.", {"year": 1}), Document("b", "Another text.", {"year": 1})])
        assert len(index.search("text", filter={"year": 2})) == 0
        index.add([Document("b", "Another text.", {"year": 2})])
        assert [hit.chunk.document_id for hit in index.search("text", filter={"year": 2})] == ["b"]
        index.delete(["b"])
        assert index.search("text", filter={"year": 2}) == []


def test_a_wrong_filter_is_named(towns):
    with pytest.raises(FilterError, match=r"\$gtt"):
        towns.search("cheese", filter={"number": {"$gtt": 3}})


def test_ids_with_a_nul_are_found(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document("a\0b", "A text."), Document("a", "A text, too.")])

        assert [hit.chunk.document_id for hit in index.search("text", document_ids=["a\0b"])] == ["a\0b"]


# Words.


def test_lexical_search_finds_words_and_loads_no_model(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1)) as index:
        index.add([Document("a", "Zürich is nice. Bern is not."), Document("b", "Bern has bears. Bern has a river.")])
    with Index.open(tmp_path / "index", read_only=True) as index:  # an encoder of one's own, which is not passed
        assert texts(index.search("ZURICH", mode="lexical")) == ["Zürich is nice."]
        assert texts(index.search("bears lakes bern", mode="lexical"))[0] == "Bern has bears."
        with pytest.raises(IndexMismatchError):
            index.search("bears")


def test_bm25_is_the_textbooks(tmp_path):
    chunks = ["apple apple pie", "apple tart with cream", "plum pie", "nothing of that kind at all"]
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), text) for number, text in enumerate(chunks)])
        found = Counter()
        with index._store.snapshot():
            corpus = Corpus(index._store, StoreCache())
            for term in ("apple", "pie"):
                one = corpus.postings(term, 0)
                found.update(dict(zip((one.chunks + 1).tolist(), one.chunk_scores.tolist(), strict=True)))
    words = [text.split() for text in chunks]
    average = sum(map(len, words)) / len(words)

    def score(text):
        total = 0.0
        for term in ("apple", "pie"):
            n_with = sum(term in one for one in words)
            idf = max(math.log((len(words) - n_with + 0.5) / (n_with + 0.5)), 1e-6)
            frequency = text.count(term)
            total += idf * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * len(text) / average))
        return total

    assert found == {n: pytest.approx(score(one), abs=1e-9) for n, one in enumerate(words, 1) if score(one)}


@pytest.mark.parametrize(
    "question",
    ['"', 'cheese"', "NEAR(cheese mayor)", "cheese AND", "text:cheese", "* cheese", "^cheese", "cheese'--", "-cheese"],
)
def test_a_question_is_data_and_never_syntax(towns, question):
    if any(letter.isalpha() for letter in question):
        assert any("cheese" in hit.chunk.text for hit in towns.search(question, 12, mode="lexical"))
        assert len(towns.search(question, 5, mode="hybrid")) == 5
    else:
        with pytest.raises(QueryError, match="must hold a word"):
            towns.search(question, mode="lexical")
        assert len(towns.search(question, 5, mode="hybrid")) == 5


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_question_can_be_asked(towns, question):
    try:
        towns.search(question, 3, mode="lexical")
    except QueryError as error:
        assert "must hold a word" in str(error)


@pytest.mark.parametrize("script", ["Han", "Kana", "Thai"])
@pytest.mark.parametrize("length", [2, 4])
def test_words_are_found_in_scripts_without_spaces(tmp_path, script, length):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(name, text) for name, text in SCRIPTS.items()])
        part = SCRIPTS[script][3 : 3 + length]
        assert index.search(part, mode="lexical")[0].chunk.document_id == script


def test_an_index_without_words_says_so(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), words=False) as index:
        index.add(TOWNS[:2])
        with pytest.raises(InputError, match="without lexical search"):
            index.search("cheese", mode="hybrid")
        assert index.search("cheese")
    with pytest.raises(InputError, match=r"words must be.*porter"):
        Index.create(tmp_path / "other", encoder=FakeEncoder(), words="porter")  # type: ignore[arg-type]


def test_the_words_of_what_is_replaced_or_deleted_are_gone(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document("a", "Old cheese\0 here."), Document("b", "Old bread.")])
        index.add([Document("a", "New cheese.")])
        assert texts(index.search("old", mode="lexical")) == ["Old bread."]
        index.delete(["a"])
        assert index.search("cheese", mode="lexical") == []


# Fusion.


def test_reciprocal_ranks_are_added():
    fused = fuse_by_rank([[7, 3], [3, 5]], [1.0, 0.5])

    assert fused == {
        7: pytest.approx(1 / 61),
        3: pytest.approx(1 / 62 + 0.5 / 61),
        5: pytest.approx(0.5 / 62),
    }
    assert [one for one, _ in best_first(fused)] == [3, 7, 5]


def test_scores_are_counted_in_deviations_from_their_mean():
    assert standardise(np.array([1.0, 4.0, 7.0]), 4.0, 1.5).tolist() == [-2.0, 0.0, 2.0]
    assert standardise(np.array([3.0, 3.0]), 3.0, 1e-9).tolist() == [0.0, 0.0]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 40), st.data())
def test_the_best_places_are_those_of_a_sort(scores, n, data):
    allowed = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))

    places = [place for place, one in enumerate(allowed) if one]

    found = best_places(np.array(scores, dtype=np.float64), np.array(places, dtype=np.int64), n)

    assert found.tolist() == sorted(places, key=lambda place: (-scores[place], place))[:n]


@given(st.data())
def test_scores_by_words_are_those_of_an_array_of_all_chunks(data):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))
    score = st.integers(0, 3).map(float)
    of_documents = np.array([data.draw(score) for _ in sizes])
    document_of = np.repeat(np.arange(len(sizes)), sizes)
    is_held = np.array([data.draw(st.booleans()) for _ in document_of])
    held = np.array([data.draw(score) for _ in range(is_held.sum())])
    is_selected = data.draw(st.none() | st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)).map(np.array))
    n, only_holding = data.draw(st.integers(1, 20)), data.draw(st.booleans())
    numbers = 10 + np.arange(len(document_of))
    places = ChunkPlaces(Commit(1, "", 0), numbers, np.arange(len(sizes)), document_of, np.array(sizes))
    n_others = np.bincount(document_of[~is_held], minlength=len(sizes))
    words = WordScores(places, of_documents, n_others, np.flatnonzero(is_held), held)

    every = of_documents[document_of]
    every[is_held] = held
    allowed = is_held if only_holding else every > 0
    if is_selected is not None:
        allowed = allowed & is_selected[document_of]
    expected = sorted(np.flatnonzero(allowed).tolist(), key=lambda place: (-every[place], place))[:n]

    assert words.best(n, is_selected, only_holding=only_holding).tolist() == expected
    assert words.at(np.arange(len(every))).tolist() == every.tolist()
    assert words.mean_and_deviation() == pytest.approx((every.mean(), every.std()), abs=1e-9)


def test_equal_scores_come_by_number():
    assert best_first({5: 1.0, 2: 1.0, 9: 2.0}) == [(9, 2.0), (2, 1.0), (5, 1.0)]


def test_hybrid_search_fuses_both_rankings(towns):
    question = "mayor of town 7"
    dense = towns.search(question, 50, mode="dense")
    lexical = towns.search(question, 50, mode="hybrid", dense_weight=0.0)  # with what only documents hold
    places = {}
    for hits in (dense, lexical):
        for rank, hit in enumerate(hits, start=1):
            key = hit.chunk.document_id, hit.chunk.number
            places[key] = places.get(key, 0) + 0.5 / (60 + rank)

    hits = towns.search(question, 10, mode="hybrid", fusion="rrf", dense_weight=0.5)

    assert [hit.score for hit in hits] == pytest.approx(sorted(places.values(), reverse=True)[:10])
    assert hits[0].score == pytest.approx(places[hits[0].chunk.document_id, hits[0].chunk.number])


def test_a_calibrated_fusion_at_its_ends_is_one_of_both(towns):
    dense = towns.search("mayor of town 7", 5, mode="dense")
    only_dense = towns.search("mayor of town 7", 5, mode="hybrid", fusion="calibrated", dense_weight=1.0)
    only_words = towns.search("mayor of town 7", 5, mode="hybrid", fusion="calibrated", dense_weight=0.0)

    assert texts(only_dense) == texts(dense)
    assert only_words[0].chunk == towns.search("mayor of town 7", 1, mode="lexical")[0].chunk


@given(k=st.integers(1, 100), fusion=st.sampled_from(["rrf", "calibrated"]))
def test_hybrid_search_gives_as_many_as_there_are(towns, k, fusion):
    assert len(towns.search("cheese", k, mode="hybrid", fusion=fusion)) == min(k, 72)


# After search.


def test_marginal_relevance_by_hand():
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1]], dtype=np.float32)
    relevance = np.array([0.9, 0.88, 0.3], dtype=np.float32)

    assert choose_diverse(relevance, vectors, 3, 1.0) == [0, 1, 2]
    assert choose_diverse(relevance, vectors, 2, 0.5) == [0, 2]  # 0.44 - 0.48 < 0.15 - 0
    assert choose_diverse(relevance, vectors, 9, 0.0) == [0, 2, 1]


def test_diverse_hits_begin_with_the_best(towns):
    plain = towns.search("the mayor likes cheese", 12)
    diverse = towns.search("the mayor likes cheese", 12, mmr=0.3)

    assert diverse[0] == plain[0]
    assert len(diverse) == 12
    assert len({hit.chunk.text.split("town")[0] for hit in diverse}) > len(
        {h.chunk.text.split("town")[0] for h in plain}
    )
    assert towns.search("the mayor likes cheese", 12, mmr=1.0) == plain


def test_a_threshold_leaves_out_what_is_worse(towns):
    hits = towns.search("cheese", 100)
    limit = hits[7].score

    assert towns.search("cheese", 100, score_threshold=limit) == [hit for hit in hits if hit.score >= limit]
    assert towns.search("cheese", 100, score_threshold=1.1) == []


def test_the_best_chunk_of_each_document(towns):
    hits = towns.search("cheese", 12, per_document=True)

    assert len({hit.chunk.document_id for hit in hits}) == 12
    best = {}
    for hit in towns.search("cheese", 1000):
        best.setdefault(hit.chunk.document_id, hit)
    assert [(hit.score, hit.chunk) for hit in hits] == [(one.score, one.chunk) for one in best.values()]


@given(k=st.integers(1, 15))
def test_there_are_as_many_documents_as_asked_for(towns, k):
    assert len(towns.search("cheese", k, per_document=True)) == min(k, 12)


def test_a_reranker_orders_the_candidates(towns):
    asked = []

    def by_length(question, passages):
        asked.append((question, len(passages)))
        return [float(len(one)) for one in passages]

    hits = towns.search("cheese", 3, rerank=by_length, candidates=40)

    assert asked == [("cheese", 40)]
    assert [hit.score for hit in hits] == sorted((len(h.chunk.text) for h in towns.search("cheese", 40)), reverse=True)[
        :3
    ]


@pytest.mark.parametrize("scores", [[1.0], [float("nan")] * 50, "good", None, [["x"]] * 50])
def test_a_reranker_must_give_a_number_for_each_text(towns, scores):
    with pytest.raises(InputError, match="rerank must return"):
        towns.search("cheese", rerank=lambda question, passages: scores)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize(("options", "n"), [({"per_document": True}, 2), ({"within": "section"}, 4)])
def test_no_more_is_read_where_there_are_fewer_groups_than_hits(tmp_path, monkeypatch, options, n, mode):
    n_reranked, n_read = [], []

    def rerank(question, passages):
        n_reranked.append(len(passages))
        return range(len(passages))

    def count(store, rows):
        n_read.append(len(rows))
        return chunks(store, rows)

    text = "".join(f"\n# Part {part}\n" + "A boat is here. " * 100 for part in (1, 2))
    chunks = Store.chunks
    chunker = SentenceChunker(max_sentences=1)
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=chunker) as index:
        index.add([Document(name, text) for name in "ab"])
        monkeypatch.setattr(Store, "chunks", count)

        assert len(index.search("boat", 10, mode=mode, rerank=rerank, **options)) == n
        # The candidates, and the best of the documents that they are not of; or each section once.
        assert n_reranked == [n if options.get("within") else pytest.approx(50, abs=2)]
        assert sum(n_read) <= 60
        n_read.clear()
        assert len(index.search("boat", 10, mode=mode, **options)) == n
        assert sum(n_read) <= 60


def test_the_best_of_a_group_comes_back_however_far_down_it_is(tmp_path):
    near, far = "A boat. " * 300, "Rome. " * 3 + "Oslo is far. " * 3
    with Index.create(
        tmp_path / "index", encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1), mode="naive"
    ) as index:
        index.add([Document("near", near), Document("far", far)])
        everything = index.search("A boat.", 1000, mode="dense")
        best = [next(hit for hit in everything if hit.chunk.document_id == name) for name in ("near", "far")]

        assert index.search("A boat.", 5, mode="dense", per_document=True) == best


def test_a_search_within_a_rerank_is_no_deadlock(towns):
    def ask_again(question, passages):
        return [towns.search(passage, 1)[0].score for passage in passages]

    done = []
    thread = threading.Thread(target=lambda: done.append(towns.search("cheese", rerank=ask_again)), daemon=True)
    thread.start()
    thread.join(20)
    assert done


def test_neighbours_come_as_one_passage(towns):
    (hit,) = towns.search("likes cheese", 1, filter={"number": 4}, expand=1)
    (alone,) = towns.search("likes cheese", 1, filter={"number": 4})
    text = TOWNS[4].text

    assert hit.found == (alone.chunk,)
    assert hit.chunk.text == text[hit.chunk.start : hit.chunk.end]
    chunks = towns.chunks("town-4")
    place = alone.chunk.number
    assert (hit.chunk.start, hit.chunk.end) == (chunks[place - 1].start, chunks[place + 1].end)
    assert hit.chunk.number == place - 1


@given(k=st.integers(1, 20), n=st.integers(0, 8))
def test_passages_do_not_overlap_and_hold_what_was_found(towns, k, n):
    plain = towns.search("many people", k)
    hits = towns.search("many people", k, expand=n)

    for number, hit in enumerate(hits):
        text = next(one.text for one in TOWNS if one.id == hit.chunk.document_id)
        assert hit.chunk.text == text[hit.chunk.start : hit.chunk.end]
        for other in hits[:number]:
            if other.chunk.document_id == hit.chunk.document_id and n:
                assert other.chunk.end < hit.chunk.start or hit.chunk.end < other.chunk.start
    found = [chunk for hit in hits for chunk in (hit.found or [hit.chunk])]
    assert sorted((c.document_id, c.number) for c in found) == sorted(
        (h.chunk.document_id, h.chunk.number) for h in plain
    )


def test_one_passage_that_joins_two_others():
    def hit(score, start, end):
        return Hit(score, Chunk("a", start, start, end, "x" * (end - start), {}))

    (joined, other) = join_adjacent([hit(0.9, 0, 10), hit(0.8, 20, 30), hit(0.7, 40, 50), hit(0.6, 10, 20)])

    assert (joined.score, joined.chunk.start, joined.chunk.end, len(joined.chunk.text)) == (0.9, 0, 30, 30)
    assert [chunk.start for chunk in joined.found] == [0, 20, 10]
    assert other == hit(0.7, 40, 50)


@given(bounds=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 5)), max_size=25))
def test_joined_passages_do_not_touch_and_each_hit_is_in_the_place_of_its_best(bounds):
    def hit(rank, document, start, size):
        text = "".join(chr(97 + place % 26) for place in range(start, start + size))
        return Hit(-float(rank), Chunk(document, rank, start, start + size, text, {}))

    hits = [hit(rank, *one) for rank, one in enumerate(bounds)]
    joined = join_adjacent(hits)

    assert [one.score for one in joined] == sorted((one.score for one in joined), reverse=True)
    for number, one in enumerate(joined):
        found = one.found or (one.chunk,)
        assert one.score == max(-chunk.number for chunk in found)
        assert (one.chunk.start, one.chunk.end) == (min(c.start for c in found), max(c.end for c in found))
        assert one.chunk.text == "".join(chr(97 + place % 26) for place in range(one.chunk.start, one.chunk.end))
        for other in joined[:number]:
            apart = other.chunk.end < one.chunk.start or one.chunk.end < other.chunk.start
            assert apart or other.chunk.document_id != one.chunk.document_id
    assert sorted(chunk.number for one in joined for chunk in one.found or (one.chunk,)) == list(range(len(hits)))


def test_joining_many_hits_compares_each_with_few():
    hits = [Hit(0.0, Chunk("a", place, 2 * place + 1, 2 * place + 2, "x", {})) for place in range(15_000)]
    begin = time.process_time()

    assert join_adjacent([Hit(1.0, Chunk("a", -1, 0, 1, "x", {})), *hits])[1:] == hits[1:]
    assert time.process_time() - begin < 5  # a comparison of each with all took half a minute


def test_the_chunk_that_shares_most_is_given_back_the_first_on_a_tie(tmp_path):
    chunkers = {
        "small": Cut((0, 3), (4, 7), (8, 13), (14, 18), (19, 23)),
        "big": Cut((0, 6), (4, 13), (5, 9), (10, 18)),
    }
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunkers=chunkers) as index:
        index.add([Document("a", "one two three four five")])
        for word, number in (("one", 0), ("two", 1), ("three", 1), ("four", 3)):
            (hit,) = index.search(word, 1, within="big", mode="lexical")
            assert (hit.chunk.number, [chunk.text for chunk in hit.found]) == (number, [word])
        with pytest.raises(
            InputError, match="chunk 4 of document 'a', characters 19 to 23, lies in no chunk of within"
        ):
            index.search("five", 1, within="big", mode="lexical")


class Cut:
    """Cuts where it is told to."""

    settings = {"kind": "told"}

    def __init__(self, *bounds):
        self.bounds = bounds

    def split(self, text, offsets):
        return [Span(*one) for one in self.bounds]


def test_neighbours_by_hand(tmp_path):
    text = "one two three four five"
    with Index.create(
        tmp_path / "index", encoder=FakeEncoder(), chunker=Cut((0, 3), (4, 7), (8, 13), (8, 18))
    ) as index:
        index.add([Document("a", text)])
        one, two, three, four = index.chunks("a")
        passage = Chunk("a", 1, 4, 13, text[4:13], {})

        assert index.neighbours([one, four, two, three]) == [(None, two), (three, None), (one, three), (two, four)]
        assert index.neighbours([passage]) == [(one, four)]
        for stale in (Chunk("a", 1, 4, 7, "TWO", {}), Chunk("a", 9, 4, 7, "two", {}), Chunk("b", 0, 0, 3, "one", {})):
            assert index.neighbours([stale]) == [(None, None)]


def test_the_chunks_of_a_document_are_read_in_one_go_through_its_text(tmp_path, monkeypatch):
    opened, connection_of = [], ConnectionPool.connection.fget

    class Counted:
        def __init__(self, connection):
            self.connection = connection

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def blobopen(self, table, column, row, **options):
            opened.append(row)
            return self.connection.blobopen(table, column, row, **options)

    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=1)) as index:
        index.add([Document("a", "one two three four"), Document("b", "five six")])
        monkeypatch.setattr(ConnectionPool, "connection", property(lambda pool: Counted(connection_of(pool))))

        chunks = [*index.chunks("a"), *index.chunks("b")]
        assert len(opened) == 2  # each chunk by itself, with all pages before it, took 7.9 s for 3,000 chunks
        assert index.neighbours(chunks)[1] == (chunks[0], chunks[2])
        assert len(opened) == 4


# Several granularities.


def test_each_document_is_encoded_once_for_all_granularities(tmp_path):
    encoder = FakeEncoder()
    with Index.create(tmp_path / "index", encoder=encoder, chunkers=SENTENCES) as index:
        index.add(TOWNS)
        assert encoder.n_encoded == len(TOWNS)
        assert list(index.chunkers) == ["passages", "sentences"]
        assert index.chunker == SENTENCES["passages"]


@pytest.mark.parametrize("name", SENTENCES)
def test_a_granularity_is_searched_as_if_it_were_alone(tmp_path, two, name):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=SENTENCES[name]) as alone:
        alone.add(TOWNS)
        for mode in ("dense", "lexical", "hybrid"):
            own = alone.search("the mayor likes ships", 20, mode=mode)
            of_two = two.search("the mayor likes ships", 20, mode=mode, granularity=name)
            assert [(hit.score, hit.chunk.start, hit.chunk.end) for hit in of_two] == [
                (pytest.approx(hit.score), hit.chunk.start, hit.chunk.end) for hit in own
            ]
            assert {hit.chunk.granularity for hit in of_two} == {name}
        assert two.chunks("town-3", granularity=name) == [
            replace(chunk, granularity=name) for chunk in alone.chunks("town-3")
        ]


def test_small_to_big(two):
    hits = two.search("likes cheese", 7, granularity="sentences", within="passages")

    assert len(hits) == 7
    assert len({(hit.chunk.document_id, hit.chunk.number) for hit in hits}) == 7
    for hit in hits:
        assert hit.chunk.granularity == "passages"
        assert hit.chunk in two.chunks(hit.chunk.document_id)
        assert hit.found[0].granularity == "sentences"
        assert hit.found[0].start < hit.chunk.end
        assert hit.found[0].end > hit.chunk.start
    n_passages = sum(len(two.chunks(one.id)) for one in TOWNS)
    everything = two.search("likes cheese", 1000, granularity="sentences", within="passages")
    assert len(everything) <= n_passages


def test_granularities_live_through_reopening_deletion_and_replacement(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunkers=SENTENCES) as index:
        index.add(TOWNS)
        index.search("cheese")
    with Index.open(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.delete(["town-3"])
        index.add([Document("town-4", "Nothing but cheese.")])
        for name in SENTENCES:
            hits = index.search("cheese", 1000, granularity=name)
            expected = [c for one in index.ids() for c in index.chunks(one, granularity=name)]
            assert {(hit.chunk.document_id, hit.chunk.number) for hit in hits} == {
                (c.document_id, c.number) for c in expected
            }
            assert index.search("nothing", 1, mode="lexical", granularity=name)[0].chunk.document_id == "town-4"


class EveryWord:
    settings = {"kind": "every word"}

    def split(self, text, offsets):
        return [Span(int(start), int(end)) for start, end in offsets]


def test_a_chunker_of_ones_own_among_several(tmp_path):
    chunkers = {"sentences": SentenceChunker(max_sentences=1), "words": EveryWord()}
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunkers=chunkers) as index:
        index.add(TOWNS[:2])
    with Index.open(tmp_path / "index", encoder=FakeEncoder()) as index:
        assert index.search("cheese", granularity="words")
        with pytest.raises(IndexMismatchError, match="of your own.*'words'"):
            index.add(TOWNS[2:3])
    with Index.open(tmp_path / "index", encoder=FakeEncoder(), chunkers={"words": EveryWord()}) as index:
        index.add(TOWNS[2:3])
        assert texts(index.search("cheese.", 1, granularity="words")) == ["cheese."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunkers": {}}, "1 to 8 names"),
        ({"chunkers": {str(n): SentenceChunker() for n in range(9)}}, "1 to 8 names"),
        ({"chunkers": {" ": SentenceChunker()}}, "must not be blank"),
        ({"chunkers": {3: SentenceChunker()}}, "must be a string"),
        ({"chunkers": SENTENCES, "chunker": SentenceChunker()}, "both say how to cut"),
    ],
)
def test_wrong_granularities_are_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        Index.create(tmp_path / "index", encoder=FakeEncoder(), **arguments)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": True}, "k must be a whole number"),
        ({"mode": "sparse"}, "mode must be one of 'dense', 'lexical' or 'hybrid', got 'sparse'"),
        ({"fusion": "sum"}, "fusion must be one of"),
        ({"dense_weight": 1.5}, "dense_weight must be at most 1, got 1.5"),
        ({"score_threshold": "high"}, "score_threshold must be a number"),
        ({"score_threshold": float("nan")}, "score_threshold must be a finite number, got nan"),
        ({"mmr": 2}, "mmr must be at most 1, got 2"),
        ({"candidates": 3}, "candidates must be at least k, which is 10, got 3"),
        ({"expand": -1}, "expand must be at least 0, got -1"),
        ({"expand": 10**9}, "expand must be at most 1,000"),
        ({"granularity": "pages"}, "granularity must be one of the index's granularities, 'passages', 'sentences'"),
        ({"within": "pages"}, "within must be one of"),
        ({"within": "sections"}, "granularities, 'passages', 'sentences' or \"section\", got 'sections'"),
        ({"within": "passages"}, "within must name another granularity"),
        ({"within": "sentences", "per_document": True}, "choose one"),
        ({"per_document": "yes"}, "per_document must be True or False"),
        ({"mmr": float("nan")}, "mmr must be a finite number, got nan"),
        ({"mmr": True}, "mmr must be a number, got True"),
        ({"granularity": 1}, "granularity must be a string, got 1"),
        ({"rerank": "a model"}, "rerank must be a function"),
        ({"document_ids": "town-1"}, "document_ids must be a list of ids"),
        ({"document_ids": [1]}, "document_ids must be a list of ids"),
        ({"document_ids": ["\ud800"]}, "lone surrogate"),
    ],
)
def test_wrong_options_are_refused(two, arguments, message):
    with pytest.raises(InputError, match=message):
        two.search("cheese", **arguments)
    with pytest.raises(InputError, match=message):
        two.check_options(SearchOptions(**arguments))


def test_a_filter_can_be_checked_before_the_search():
    for options in (SearchOptions(), SearchOptions(filter={"a": 1})):
        assert options.require_filter() is options
    with pytest.raises(FilterError, match=r"\$gtt"):
        SearchOptions(filter={"a": {"$gtt": 1}}).require_filter()


def test_options_can_be_checked_before_the_search(two):
    for mode in (None, "dense", "lexical", "hybrid"):
        two.check_options(SearchOptions(mode=mode, within="section"))
    with pytest.raises(FilterError, match=r"\$gtt"):
        two.check_options(SearchOptions(filter={"a": {"$gtt": 1}}))


def test_an_id_that_is_no_text_is_called_a_document_id():
    with pytest.raises(InputError, match="^a document id has the lone surrogate"):
        SearchOptions(document_ids=["a", "\ud800"])


def test_the_keywords_are_the_options_less_k():
    keywords = set(SearchKeywords.__annotations__)

    assert keywords == set(SearchOptions.model_fields) - {"k"}
    assert not SearchKeywords.__required_keys__
    assert all(f"        {name}: " in SearchOptions.__doc__ for name in {*keywords, "k"})


def test_numbers_of_numpy_are_numbers():
    options = SearchOptions(
        k=np.int32(3), candidates=np.int64(5), expand=np.uint8(2), mmr=np.float32(0.5), score_threshold=np.float64(0.25)
    )

    assert options == SearchOptions(k=3, candidates=5, expand=2, mmr=0.5, score_threshold=0.25)
    assert [type(one) for one in (options.k, options.mmr)] == [int, float]


@pytest.mark.parametrize(
    ("options", "n"),
    [
        ({"k": 3}, 3),
        ({"k": 3, "mmr": 0.5}, 50),
        ({"k": 3, "mode": "dense"}, 3),
        ({"k": 3, "mode": "lexical"}, 50),
        ({"k": 13, "mode": "hybrid"}, 52),
        ({"k": 3, "rerank": lambda question, texts: texts}, 50),
        ({"k": 3, "mode": "hybrid", "candidates": 7}, 7),
    ],
)
def test_how_many_candidates_are_looked_at(options, n):
    assert SearchOptions(**options).n_candidates == n


# Vectors as questions.


def test_a_vector_finds_what_its_text_finds(towns):
    vector = FakeEncoder().encode_query("the mayor likes cheese")

    assert towns.search_by_vector(vector, 5) == towns.search("the mayor likes cheese", 5, mode="dense")
    filtered = towns.search_by_vector(3 * vector, 5, filter={"number": 2}, expand=1)
    assert {hit.chunk.document_id for hit in filtered} == {"town-2"}


@pytest.mark.parametrize("vector", [np.zeros(8), np.full(8, np.inf), np.ones(7), [0.1] * 8, None, np.array(["a"] * 8)])
def test_a_vector_that_is_none_is_refused(towns, vector):
    with pytest.raises(InputError, match="the vector must be"):
        towns.search_by_vector(vector)


def test_a_query_that_is_no_text_is_refused(towns):
    with pytest.raises(QueryError, match="search_by_vector takes a vector"):
        towns.search(np.ones(8))


# Training.


def many_towns(n):
    return [Document(f"town-{number}", TOWNS[number % 12].text, {"number": number}) for number in range(n)]


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "IVF16,RaBitQ", "flat"])
def test_optimizing_changes_the_kind_and_nothing_else(tmp_path, kind):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunkers=SENTENCES, vectors="flat") as index:
        index.add(many_towns(150))
        exact = index.search("the mayor likes cheese", 20, granularity="sentences")
        reports = index.optimize(vectors=kind)
        assert [one.n_vectors for one in reports] == [len(index.search("x", 10**6, granularity=g)) for g in SENTENCES]
        assert index.info().search["vectors"] == kind
        for condition in (None, {"number": {"$lt": 3}}):
            hits = index.search("the mayor likes cheese", 20, granularity="sentences", filter=condition)
            assert len(hits) == min(20, 18 if condition else 900)
        assert_same(
            index.search("the mayor likes cheese", 20, granularity="sentences"), exact
        ) if kind == "flat" else None
    with Index.open(tmp_path / "index", encoder=FakeEncoder(), read_only=True) as index:
        assert len(index.search("the mayor", 700, granularity="sentences")) == 700
        with pytest.raises(IndexReadOnlyError):
            index.optimize()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": "fast"}, "no kind of vector index 'fast'.*accepted are"),
        ({"vectors": "IVF999999999,SQ8"}, "no kind of vector index"),
        ({"first_pass_dims": 4}, "needs vectors"),
        ({"vectors": "ivf", "first_pass_dims": 9}, "first_pass_dims is 9"),
    ],
)
def test_a_kind_that_cannot_be_is_refused_and_changes_nothing(tmp_path, arguments, message):
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        with pytest.raises(InputError, match=message):
            index.optimize(**arguments)
        assert index.info().search["vectors"] == "auto"
    if "vectors" in arguments:
        with pytest.raises(InputError, match=message):
            Index.create(tmp_path / "other", encoder=FakeEncoder(), **arguments)
    assert not (tmp_path / "other").exists()


def test_a_first_pass_over_short_vectors_needs_a_model_made_for_it(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), vectors="ivf", first_pass_dims=4) as index:
        index.add(many_towns(100))
        index.optimize(vectors="ivf", first_pass_dims=6)
        assert index.info().search["first_pass_dims"] == 6
        assert len(index.search("the mayor", 90)) == 90
    with pytest.raises(InputError, match="needs a Matryoshka model.*all-MiniLM-L6-v2 is none"):
        Index.create(tmp_path / "other", encoder=FakeEncoder(name="all-MiniLM-L6-v2"), first_pass_dims=4)


def test_an_index_is_searched_and_changed_while_it_is_optimized(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), vectors="ivf") as index:
        index.add(many_towns(400))
        errors, stop = [], threading.Event()

        def keep(action):
            number = 0
            while not stop.is_set():
                try:
                    action(number)
                except Exception as error:
                    errors.append(error)
                    return
                number += 1

        def ask(number):
            hits = index.search("the mayor likes cheese", 5, filter={"number": number % 400})
            assert {hit.chunk.metadata["number"] for hit in hits} == {number % 400}

        def change(number):
            index.add([Document("extra", f"Extra text number {number}.", {"number": -1})])
            stop.wait(0.05)  # the lock is polled: who takes it again at once leaves optimize no turn

        threads = [threading.Thread(target=keep, args=(action,)) for action in (ask, ask, change)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            index.optimize()
        stop.set()
        for thread in threads:
            thread.join()

        assert errors == []
        assert len(index.search("text", 10**6)) == index.info().n_chunks


def test_scores_after_changes_are_those_of_a_fresh_index(tmp_path):
    def describe(hits):
        return {(hit.chunk.document_id, hit.chunk.number): (hit.score, hit.dense, hit.lexical) for hit in hits}

    final = [*TOWNS[:5], *(Document(one.id, f"{one.text} Rebuilt.") for one in TOWNS[5:8])]
    with create_towns(tmp_path / "changed", TOWNS[:12]) as changed, create_towns(tmp_path / "fresh", final) as fresh:
        changed.search("cheese")  # what is remembered of this state must not outlive it
        changed.add(final[5:])
        changed.search("cheese")
        changed.delete([one.id for one in TOWNS[8:12]])
        for question in ("cheese", "the mayor of town 3", "rebuilt"):
            expected = describe(fresh.search(question, 100))
            found = describe(changed.search(question, 100))
            assert found.keys() == expected.keys()
            for one, scores in found.items():
                assert scores == pytest.approx(expected[one], abs=1e-6)


def create_towns(path, documents):
    index = Index.create(path, encoder=FakeEncoder(), chunker=SentenceChunker(max_sentences=1))
    index.add(documents)
    return index


@pytest.mark.parametrize("mode", [None, "dense", "lexical"])
def test_many_questions_find_what_each_finds_alone(towns, mode):
    questions = ["the mayor of town 7", "ships", "the mayor of town 7"]

    many = towns.search_many(questions, 3, mode=mode)

    assert many == [towns.search(question, 3, mode=mode) for question in questions]
    assert towns.search_many([], mode=mode) == []


def test_many_questions_are_encoded_together(towns, monkeypatch):
    asked = []

    def encode_queries(texts):
        asked.append(list(texts))
        return np.stack([towns.encoder.encode_query(text) for text in texts])

    monkeypatch.setattr(FakeEncoder, "encode_queries", staticmethod(encode_queries), raising=False)
    hits = towns.search_many(["ships", "cheese"], 1)

    assert asked == [["ships", "cheese"]]
    assert hits == [towns.search("ships", 1), towns.search("cheese", 1)]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ("ships", "search_many takes a list of queries, got 'ships'; search takes one"),
        ([3], "a query must be a string, got int: 3"),
        ([""], "no token"),
    ],
)
def test_many_questions_that_are_none(towns, queries, message):
    with pytest.raises(QueryError, match=re.escape(message)):
        towns.search_many(queries)


def test_a_large_index_is_calibrated_by_every_so_many_vectors(towns, monkeypatch):
    monkeypatch.setattr("latechunk.search.corpus._SAMPLE", 10)
    with towns._vectors[0].snapshot() as vectors:
        corpus = Corpus(towns._store, StoreCache())
        sample = corpus.sample(0, vectors=vectors)
        everything = vectors.vectors_of(corpus.places(0).numbers.tolist())

    assert len(everything) == 72
    assert np.array_equal(sample, everything[::7])


def test_the_commonest_words_are_left_out_where_there_are_too_many_chunks(towns, monkeypatch):
    with towns._store.snapshot():
        corpus = Corpus(towns._store, StoreCache())
        everything = _affordable(corpus, ["cheese", "town", "7", "mayor", "the"], 0)
        monkeypatch.setattr("latechunk.search.lexical._MOST_ROWS", 40)
        # In 72 chunks of 12 towns: 7 in three chunks, town in 36 or more.
        few = _affordable(corpus, ["cheese", "town", "7", "mayor", "the"], 0)
        monkeypatch.setattr("latechunk.search.lexical._MOST_ROWS", 1)
        corpus = Corpus(towns._store, StoreCache())
        least = [_affordable(corpus, terms, 0) for terms in (["town", "cheese", "7"], ["town", "7 is", "7"])]
        monkeypatch.setattr("latechunk.search.lexical._MOST_SHARE", 1)
        most = _affordable(corpus, ["town", "7"], 0)

    assert sorted(everything) == ["7", "cheese", "mayor", "the", "town"]
    assert few[0] == "7"
    assert "town" not in few
    assert [one in (["7"], ["7 is"]) for one in least] == [True, True]  # not the first of many that are too common
    assert most == ["7", "town"]


def test_words_are_found_after_the_index_was_compacted_by_this_or_another(tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=4)) as index:
        for number, word in enumerate(["river", "bridge", "harbour"]):
            index.add([Document(f"d{number}", f"The {word} is old.")])
        with Index.open(tmp_path / "index", encoder=FakeEncoder(), read_only=True) as reader:
            for one in (index, reader):
                assert one.search("river", 1, mode="lexical")[0].chunk.document_id == "d0"
            index.optimize()
            for one in (index, reader):
                assert one.search("bridge", 1, mode="lexical")[0].chunk.document_id == "d1"
