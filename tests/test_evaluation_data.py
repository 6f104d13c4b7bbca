"""Readers of evaluation sets."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Block, Document, Span
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.evaluation.loaders import find_quote, read_questions, read_sets
from tests.conftest import SCRIPTS


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def write_own(folder, **changes):
    write_lines(folder / "docs.jsonl", [{"id": "a", "title": "T", "text": "One two. Three.", "lang": "en"}])
    query = {"id": "q", "text": "what?", "doc_id": "a", "spans": [[0, 3], [9, 14]], "mode": "any", **changes}
    write_lines(folder / "queries.jsonl", [query])
    return folder


def test_our_own_layout(tmp_path):
    (one,) = read_sets(write_own(tmp_path / "mine"))

    assert one.name == "mine"
    assert one.documents == (Document("a", "One two. Three.", {"title": "T", "lang": "en"}),)
    assert one.questions == (Question("q", "what?", (Gold("a", (Span(0, 3), Span(9, 14))),)),)
    assert one.questions[0].has_spans


def test_all_sets_of_a_folder_in_order(tmp_path):
    for name in ("b", "a"):
        write_own(tmp_path / name)
    (tmp_path / "notes").mkdir()

    assert [one.name for one in read_sets(tmp_path)] == ["a", "b"]


def test_a_question_without_spans_asks_for_its_document(tmp_path):
    (one,) = read_sets(write_own(tmp_path / "x", spans=[], mode="doc"))

    assert not one.questions[0].has_spans


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spans": [[0, 99]]}, r"answered by \[0, 99\), beyond the 15 characters"),
        ({"spans": [[3, 3]]}, r"a span must be \[start, end\], got \[3, 3\]"),
        ({"spans": [3]}, "a span must be"),
        ({"spans": "x"}, "needed is a field 'spans'"),
        ({"doc_id": "b"}, "names the document 'b', which is missing"),
        ({"text": ""}, "needed is a field 'text'"),
    ],
)
def test_questions_that_cannot_be_asked_are_errors(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_sets(write_own(tmp_path / "x", **changes))


def test_beir(tmp_path):
    folder = tmp_path / "scifact"
    write_lines(
        folder / "corpus.jsonl", [{"_id": "1", "title": "On mice", "text": "Mice."}, {"_id": "2", "text": "Men."}]
    )
    write_lines(folder / "queries.jsonl", [{"_id": "7", "text": "mice?"}, {"_id": "8", "text": "never judged"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t2\n7\t2\t0\n")

    (one,) = read_sets(folder)

    assert one.documents == (Document("1", "On mice\n\nMice."), Document("2", "Men."))
    assert one.questions == (Question("7", "mice?", (Gold("1", (), 2),)),)


def test_beir_with_a_judgement_of_nothing_is_an_error(tmp_path):
    folder = tmp_path / "x"
    write_lines(folder / "corpus.jsonl", [{"_id": "1", "text": "Mice."}])
    write_lines(folder / "queries.jsonl", [{"_id": "7", "text": "mice?"}])
    (folder / "qrels").mkdir()
    for table, message in (
        ("query-id\tcorpus-id\tscore\n9\t1\t1\n", "no query '9'"),
        ("a\tb\n1\t2\n", "needed are query-id"),
        ("query-id\tcorpus-id\tscore\n7\t1\tinf\n", "a whole score"),
        ("query-id\tcorpus-id\tscore\n7\t1\t0.7\n", "a whole score"),
        ("query-id\tcorpus-id\tscore\n7\t1\t1001\n", "a grade of 1001; it must be from 1 to 1,000"),
        ("query-id\tcorpus-id\tscore\n7\t1\t1\tx\n", r"test.tsv:2: .* more fields than the first line"),
    ):
        (folder / "qrels" / "test.tsv").write_text(table)
        with pytest.raises(InputError, match=message):
            read_sets(folder)


def test_judgements_of_beir_under_another_name_are_told(tmp_path):
    write_lines(tmp_path / "corpus.jsonl", [{"_id": "1", "text": "Mice."}])
    write_lines(tmp_path / "queries.jsonl", [{"_id": "7", "text": "mice?"}])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t1\n")

    with pytest.raises(InputError, match=r"has no qrels/test\.tsv.* there are dev\.tsv"):
        read_sets(tmp_path)


def test_documents_with_the_text_of_an_answer_that_no_question_names(tmp_path):
    documents = (*(Document(name, "Mice.") for name in "abc"), Document("d", "Men."), Document("e", "Men."))
    both = Question("q", "mice?", (Gold("a"), Gold("b")))

    assert EvaluationSet("x", documents, (both,)).unnamed_twins == ["c"]
    assert EvaluationSet("x", documents, (both, Question("r", "mice!", (Gold("a"),)))).unnamed_twins == ["b", "c"]
    assert EvaluationSet("x", documents[2:4], (Question("q", "?", (Gold("c"),)),)).unnamed_twins == []


def test_a_cell_of_any_length_is_read(tmp_path):
    text = "Mice " * 40_000
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "questions.csv").write_text(f'question,quote\nmice?,"{text.strip()}"\n')

    (one,) = read_sets(tmp_path)

    assert one.questions[0].gold[0].spans == (Span(0, 199_999),)


def test_blank_documents_of_beir_are_left_out_with_what_was_judged_of_them(tmp_path, caplog):
    folder = tmp_path / "fiqa"
    rows = [{"_id": "1", "text": "Mice."}, {"_id": "2", "title": "", "text": " \n"}, {"_id": "3"}]
    write_lines(folder / "corpus.jsonl", rows)
    write_lines(folder / "queries.jsonl", [{"_id": "7", "text": "mice?"}, {"_id": "8", "text": "men?"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t1\n7\t2\t1\n8\t3\t1\n")

    (one,) = read_sets(folder)

    assert one.documents == (Document("1", "Mice."),)
    assert one.questions == (Question("7", "mice?", (Gold("1", (), 1),)),)
    assert [record.getMessage() for record in caplog.records] == [f"{folder}: blank documents are left out: 2"]


def test_squad_articles_are_whole_documents(tmp_path):
    asked = [
        {"id": "1", "question": "Where?", "answers": [{"text": "here", "answer_start": 3}] * 2},
        {"id": "2", "question": "Never?", "answers": [], "is_impossible": True},
    ]
    paragraphs = [{"context": "First.", "qas": []}, {"context": "It here.", "qas": asked}]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"version": "v2", "data": [{"title": "A", "paragraphs": paragraphs}]}))

    (one,) = read_sets(path)

    assert one.documents == (Document("A", "First.\n\nIt here."),)
    (question,) = one.questions
    (gold,) = question.gold
    (span,) = gold.spans
    assert one.documents[0].text[span.start : span.end] == "here"


@pytest.mark.parametrize("content", ['{"data": [{"paragraphs": [{"qas": 3}]}]}', '{"data": 3}', '"data" {'])
def test_a_broken_squad_file_is_an_error(tmp_path, content):
    (tmp_path / "dev.json").write_text(content)
    with pytest.raises(InputError, match=r"dev.json is not of SQuAD's form"):
        read_sets(tmp_path / "dev.json")


def write_quotes(folder, table, name="questions.csv"):
    folder.mkdir()
    (folder / "a.txt").write_text("The sky is\n  blue. Grass is green.")
    (folder / "b.md").write_text("Grass is green. Roses are red.")
    (folder / name).write_text(table, encoding="utf-8-sig")
    return folder


def test_a_users_questions_with_quotes(tmp_path):
    folder = write_quotes(
        tmp_path / "x", 'question,quote,document\n"What, now?",sky is blue,\nGreen?,Grass is green.,a.txt\n'
    )

    (one,) = read_sets(folder)

    found = []
    texts = {document.id: document.text for document in one.documents}
    for question in one.questions:
        (span,) = question.gold[0].spans
        found.append((question.text, texts[question.gold[0].document_id][span.start : span.end]))
    assert found == [("What, now?", "sky is\n  blue"), ("Green?", "Grass is green.")]
    assert one.questions[1].gold[0].document_id.endswith("a.txt")


def test_quotes_in_json_lines(tmp_path):
    folder = write_quotes(tmp_path / "x", '{"question": "Red?", "quote": "Roses are red"}\n', "questions.jsonl")
    (folder / "questions.jsonl").write_text('{"question": "Red?", "quote": "Roses are red"}\n')

    (one,) = read_sets(folder)

    assert [question.text for question in one.questions] == ["Red?"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Q?,no such words,", r"questions.csv:2: the quote 'no such words' is in none of the documents"),
        ("Q?,Grass is green.,", r"is in 2 places \(.*a.txt at 19, .*b.md at 0\); make it longer, or name the document"),
        ("Q?,,", "needed is a field 'quote'"),
        (",sky is blue,", "needed is a field 'question'"),
        ("Q?,sky is blue,c.txt", r"there is no document 'c.txt'; there are a\.txt, b\.md$"),
        ("Q?,sky is blue,b.md", "the quote 'sky is blue' is not in 'b.md'; it must be copied from the text"),
        ("Q?,re,b.md", r"is in 3 places \(b.md at 10, b.md at 23, b.md at 26\); make it longer$"),
    ],
)
def test_a_quote_that_cannot_be_placed_is_an_error(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_sets(write_quotes(tmp_path / "x", f"question,quote,document\n{row}\n"))


@given(st.sampled_from(list(SCRIPTS.values())), st.data())
def test_a_quote_is_found_where_it_was_copied_from(text, data):
    words = [place for place in range(len(text)) if not text[place].isspace()]
    start = data.draw(st.sampled_from(words))
    end = data.draw(st.sampled_from([place + 1 for place in words if place >= start]))
    quote = text[start:end]

    if text.count(quote) == 1:
        assert find_quote("here", quote, [Document("a", text)]) == Gold("a", (Span(start, end),))


def test_a_file_of_questions_is_not_the_folder_that_holds_it(tmp_path):
    folder = write_quotes(tmp_path / "x", "question,quote\nBlue?,sky is blue\n")

    with pytest.raises(InputError, match=r"questions.csv holds questions; name its folder, .*x, which holds"):
        read_sets(folder / "questions.csv")


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_folder_without_a_set_says_what_is_needed(tmp_path, name):
    with pytest.raises(InputError, match=r"there is nothing at|holds no evaluation set: needed are docs\.jsonl"):
        read_sets(tmp_path / name)


def test_ids_must_differ():
    document, question = Document("a", "One."), Question("q", "?", (Gold("a"),))
    with pytest.raises(InputError, match="document id 'a' comes twice"):
        EvaluationSet("x", (document, document), (question,))
    with pytest.raises(InputError, match="question id 'q' comes twice"):
        EvaluationSet("x", (document,), (question, question))
    with pytest.raises(InputError, match="there are no questions"):
        EvaluationSet("x", (document,), ())


def test_the_fingerprint_tells_what_decides_a_measure():
    def build(text="One.", asked="?", start=0, lang="en", outline=None):
        gold = Gold("a", (Span(start, 3),))
        document = Document("a", text, {"lang": lang}, outline=outline)
        return EvaluationSet("x", (document,), (Question("q", asked, (gold,)),)).fingerprint

    same = build()
    assert build() == same
    others = [build(text="Two."), build(asked="!"), build(start=1), build(lang="de")]
    others += [build(outline=outline) for outline in ((), (Block("heading", 0, 3, 1),), (Block("heading", 0, 3, 2),))]
    assert len({same, *others}) == 8


# What a hostile tester found.


@pytest.mark.parametrize(
    "table",
    ["question;quote\nQ?;sky is blue\n", "Question\tQuote\nQ?\tsky is blue\n", "question, quote\nQ?,sky is blue\n"],
)
def test_tables_as_spreadsheets_write_them(tmp_path, table):
    (one,) = read_sets(write_quotes(tmp_path / "x", table))

    assert [question.text for question in one.questions] == ["Q?"]


TABLE_WITH_QUOTES = 'question,quote\nQ?,"sky is\nR?,sky is blue\nS?,"blue"\n'


@pytest.mark.parametrize(
    "table", [TABLE_WITH_QUOTES, 'question,quote\nQ?,"sky" is blue\n', 'question,quote\nQ?,"sky\n']
)
def test_a_double_quote_that_is_not_closed_swallows_no_row(tmp_path, table):
    with pytest.raises(InputError, match=r"questions.csv:[24]: the row .* double those in them"):
        read_sets(write_quotes(tmp_path / "x", table))


def test_all_rows_that_are_no_questions_are_told_at_once(tmp_path):
    rows = "".join(f"Q?,gone {number}\n" for number in range(30))

    with pytest.raises(InputError, match="rows that are no questions: 30\n") as raised:
        read_sets(write_quotes(tmp_path / "x", f"question,quote\nQ?,sky is blue\n{rows}"))

    assert str(raised.value).count("is in none of the documents") == 20
    assert "questions.csv:3: the quote 'gone 0'" in str(raised.value)
    assert str(raised.value).endswith("\n  ...")


@pytest.mark.parametrize("table", ["q,a\nQ?,sky is blue\n", "Q?,sky is blue\n", ""])
def test_a_table_without_its_columns_says_what_was_found(tmp_path, table):
    with pytest.raises(InputError, match="the first line must name the columns question and quote"):
        read_sets(write_quotes(tmp_path / "x", table))


def test_a_table_in_another_encoding_says_so(tmp_path):
    folder = write_quotes(tmp_path / "x", "question,quote\n")
    (folder / "questions.csv").write_bytes("question,quote\nWö?,sky is blue\n".encode("utf-16"))
    with pytest.raises(InputError, match="save it as UTF-8"):
        read_sets(folder)


def test_a_row_with_more_fields_than_columns_is_an_error(tmp_path):
    table = "question,quote\nWhat colour, then?,sky is blue\n"
    with pytest.raises(InputError, match=r"questions.csv:2: .* more fields .*'sky is blue'.* double quotes"):
        read_sets(write_quotes(tmp_path / "x", table))
    (one,) = read_sets(write_quotes(tmp_path / "y", "question,quote,,\nQ?,sky is blue,,,\n"))
    assert [question.text for question in one.questions] == ["Q?"]


@pytest.mark.parametrize("name", ["questions.csv", "questions.jsonl", ""])
def test_a_file_of_questions_that_is_not_there_is_not_said_to_be_in_another_encoding(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot be read: (No such file|Is a directory)"):
        read_questions(tmp_path / name, [Document("a", "The sky is blue.")])


def test_two_files_of_questions_are_an_error(tmp_path):
    folder = write_quotes(tmp_path / "x", "question,quote\nQ?,sky is blue\n")
    (folder / "questions.jsonl").write_text('{"question": "Q?", "quote": "sky is blue"}')
    with pytest.raises(InputError, match="both questions.csv and questions.jsonl"):
        read_sets(folder)


def test_errors_name_the_line_that_a_row_ends_on(tmp_path):
    with pytest.raises(InputError, match=r"questions.csv:5: the quote 'nowhere'"):
        read_sets(write_quotes(tmp_path / "x", 'question,quote\n\n"a\nb",sky is blue\nQ?,nowhere\n'))


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "{", '{"question": "A", "quote": "sky is blue", "document": ["x"]}', "3"]
)
def test_broken_lines_are_errors_with_their_number(tmp_path, line):
    folder = write_quotes(tmp_path / "x", "", "questions.jsonl")
    good = '{"question": "Q?", "quote": "sky is blue"}'
    (folder / "questions.jsonl").write_text(f"{good}\n{line}\n", encoding="utf-8-sig")
    with pytest.raises(InputError, match=r"questions.jsonl:2"):
        read_sets(folder)


def test_beir_as_it_comes(tmp_path):
    folder = tmp_path / "trec"
    write_lines(
        folder / "corpus.jsonl", [{"_id": 1, "title": "Only a title", "text": ""}, {"_id": "2", "text": 'A " b'}]
    )
    write_lines(folder / "queries.jsonl", [{"_id": 7, "text": "mice?"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t1.0\n7\t2\t2\n")

    (one,) = read_sets(folder)

    assert one.documents[0] == Document("1", "Only a title")
    assert one.questions == (Question("7", "mice?", (Gold("1", (), 1), Gold("2", (), 2))),)


def test_squad_answers_must_stand_where_they_say(tmp_path):
    asked = [{"id": "1", "question": "Where?", "answers": [{"text": "NOT THERE", "answer_start": 1}]}]
    data = {"data": [{"title": "A", "paragraphs": [{"context": "It is here.", "qas": asked}]}]}
    (tmp_path / "dev.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="the answer 'NOT THERE' of question '1' is not at 1"):
        read_sets(tmp_path / "dev.json")


@pytest.mark.parametrize("text", ["   ", "\u200b", "\n"])
def test_blank_questions_and_documents_are_found_before_anything_is_encoded(tmp_path, text):
    with pytest.raises(InputError, match="question 'q' is blank"):
        read_sets(write_own(tmp_path / "x", text=text))
    with pytest.raises(InputError, match="document 'a' is blank"):
        EvaluationSet("x", (Document("a", " \n"),), (Question("q", "?", (Gold("a"),)),))


def test_sets_of_one_name_are_refused(tmp_path):
    write_own(tmp_path / "a")
    asked = [{"id": "1", "question": "Where?", "answers": [{"text": "is", "answer_start": 3}]}]
    data = {"data": [{"title": "A", "paragraphs": [{"context": "It is here.", "qas": asked}]}]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="two sets that are both called 'a'"):
        read_sets(tmp_path)
