"""Readers of text formats: Markdown, markup, notebooks, tables and JSON, and what is wrong with such files."""

import csv
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latechunk import Index, Span, StructureChunker, TokenChunker
from latechunk.chunking.outline import find_outline, heading_title
from latechunk.chunking.places import make_chunks, with_outline
from latechunk.readers import READERS, Reader, count_documents, find_files, read_documents
from latechunk.readers.limits import read_whole
from latechunk.readers.markup import outline_asciidoc, outline_latex, outline_rst
from latechunk.readers.named_rows import row_lines
from latechunk.types import Block
from tests.conftest import FakeEncoder
from tests.documents import PEOPLE


def parts(document, kind):
    """What the blocks of this kind hold, with the levels of headings."""
    return [(document.text[one.start : one.end], one.level) for one in document.outline if one.kind == kind]


def test_front_matter_is_metadata_and_no_text(read, tmp_path):
    text = "---\ntitle: Pumps\ntags: [a, b]\nyear: 2024\ndate: 2024-05-01\nsource: elsewhere\n---\n# Pumps\n"

    ((document,), problems) = read("a.md", text)

    assert document.text == "# Pumps\n"
    assert document.metadata == {
        "title": "Pumps",
        "tags": ["a", "b"],
        "year": 2024,
        "date": "2024-05-01",
        "first_line": 8,
        "source": (tmp_path / "a.md").as_posix(),
    }
    assert document.outline is None
    assert problems == read.notes == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "---\ntitle: Pumps\n---\n\nOne\n\nTwo\n"),
        ("a.md", "\ufeff---\r\ntitle: Pumps\r\nyear: 7\r\n...\r\nOne\r\n\r\nTwo\r\n"),
        ("a.md", "---\n---\nOne\nTwo"),
        ("a.md", "---\na: [1\n---\nOne\nTwo"),
        ("a.txt", "\ufeff\r\n\r\nOne\r\nTwo\r\n"),
        ("a.csv", '\n,\n"x\ny",b\n\nOne,c\n"d\n\n",e\nTwo,f\n'),
        ("a.tsv", "x\tb\r\n\r\nOne\tc\r\nTwo\td"),
    ],
)
def test_passages_are_cited_by_their_lines_of_the_file(read, name, content):
    ((document,), _) = read(name, content)
    words = [document.text.index(word) for word in ("One", "Two")]
    lines = [content[: content.index(word)].count("\n") + 1 for word in ("One", "Two")]

    chunks = make_chunks(with_outline(document), [Span(place, place + 3) for place in words])

    assert [one.citation for one in chunks] == [f"{name}:{line}" for line in lines]


def test_a_longer_front_matter_moves_the_lines_of_stored_passages(read, tmp_path):
    with Index.create(tmp_path / "index", encoder=FakeEncoder(), chunker=TokenChunker(max_tokens=2)) as index:
        for front, line in (("a: 1", 4), ("a: 1\nb: 2", 5)):
            index.add(read("a.md", f"---\n{front}\n---\nOne two.\nThree four.\n")[0])

            assert index.chunks("a.md")[0].citation == f"a.md:{line}"


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("a: [1", "not YAML"),
        ("a: b: c", "not YAML"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("when: 2024-99-99", "not YAML"),
        ("a: " + "[" * 60_000, "levels deep"),
        ("- " * 30_000 + "a", "levels deep"),
        ("? " * 30_000 + "a", "levels deep"),
        ("a: " + "{a: " * 60 + "}" * 60, "levels deep"),
        ("a" * 60_000 + ": " + "[a, " * 10, "not YAML"),
        ("1: one", "must be a string to be a key"),
        ("a: .nan", "'a' is nan"),
        ("a: !!binary aGk=", "of type bytes"),
    ],
)
def test_front_matter_that_is_none_stays_in_the_text(read, front, reason):
    text = f"---\n{front}\n---\nText.\n"

    ((document,), problems) = read("a.md", text)

    assert (document.text, list(document.metadata), problems) == (text, ["source"], [])
    ((_, note),) = read.notes
    assert note.startswith("front matter that is left in the text: ")
    assert reason in note


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nA paragraph.\n\n---\nMore.",
        "---\nno end",
        "text\n---\na: b\n---\n",
        "---\na: " + "x" * 70_000 + "\n---\n",
    ],
)
def test_what_is_no_front_matter_is_text(read, text):
    ((document,), problems) = read("a.md", text)

    assert (document.text, problems, read.notes) == (text, [], [])


def test_each_row_of_a_table_longer_than_a_chunk_has_the_names_of_its_columns(read):
    rows = [f"Part {number},,{number}.50" for number in range(60)]

    ((short,), _) = read("a.csv", "\n".join(["part,note,price", *rows[:3]]))
    ((long,), _) = read("b.csv", "\n".join(["part,note,price", *rows]))

    assert short.text.splitlines()[:2] == ["part | note | price", "Part 0 |  | 0.50"]
    assert long.text.splitlines()[:2] == ["part | note | price", "part: Part 0 | price: 0.50"]
    assert long.text.count("part: ") == len(long.text.splitlines()) - 1 == 60
    assert [(one.kind, one.end) for one in long.outline] == [("table", len(long.text))]


def test_rows_of_a_long_table_of_markdown_have_the_names_of_their_columns(read):
    head = "Text.\r\n\r\n> | **Part** | a \\| b | |\r\n> |:-|--:|-|"
    rows = [f"> | Part {n} | | x{n} |" for n in range(60)]
    long = "\r\n".join([head, *rows, "", "# End"])
    in_code = f"```\n{long}\n```\n"
    pairs = "A | B\n---|---\n" + "x | y\n" * 200

    ((document,), _) = read("a.md", f"{in_code}{long}")
    ((short,), _) = read("b.md", "\r\n".join([head, *rows[:5]]))

    lines = document.text.removeprefix(in_code).split("\r\n")
    assert lines[2:6] == [*head.split("\r\n")[2:], "> | Part: Part 0 | x0 |", "> | Part: Part 1 | x1 |"]
    assert lines[-3:] == ["> | Part: Part 59 | x59 |", "", "# End"]
    assert document.text.startswith(in_code)
    assert short.text == "\r\n".join([head, *rows[:5]])
    assert read("c.md", pairs)[0][0].text.splitlines()[1:3] == ["---|---", "| A: x | B: y |"]
    outline = [(one.kind, document.text[one.start : one.end]) for one in find_outline(document.text)]
    assert [kind for kind, _ in outline] == ["code", "table", "heading"]
    assert outline[1][1].endswith("| x59 |")


@pytest.mark.parametrize("head", ["- | City | Area |\n  |---|---|", "So | it | is\n| --- | --- |"])
def test_what_has_another_number_of_cells_than_the_dashes_below_it_names_no_columns(read, head):
    text = head + "\n  | Rome | 1285 |" * 60

    ((document,), _) = read("a.md", text)

    assert document.text == text


NAMED = [f"Part: Pump {n} | Price: {n}.50" for n in range(40)]
GRID = "+---------+-------+\n| Part    | Price |\n+=========+=======+\n" + "".join(
    f"| Pump    | {n:2}.50 |\n| {n:2}      |       |\n+---------+-------+\n" for n in range(40)
)
SIMPLE = (
    "=======  =====\nPart     Price\n=======  =====\n"
    + "".join(f"Pump {n:2}  {n:2}.50\n" for n in range(40))
    + "=======  ====="
)
CELLS = "|===\n|Part |Price\n\n" + "".join(f"|Pump {n}\n|{n}.50\n\n" for n in range(40)) + "|==="


@pytest.mark.parametrize(("name", "table"), [("a.rst", GRID), ("a.rst", SIMPLE), ("a.adoc", CELLS)])
def test_rows_of_long_tables_of_markup_have_the_names_of_their_columns(read, name, table):
    text = f"Before.\n\n{table.strip()}\n\n"
    heading = "Title\n=====\n" if name == "a.rst" else "== Title\n"

    ((document,), _) = read(name, text + heading)

    assert [" ".join(line.split()) for line in document.text.split("\n") if line.startswith("Part: ")] == NAMED
    assert document.text.count("\n") == (text + heading).count("\n")
    assert [(kind.kind, document.text[kind.start : kind.end].split("\n")[0]) for kind in document.outline] == [
        ("table", "Part | Price"),
        ("heading", heading.partition("\n")[0]),
    ]
    assert document.text[document.outline[0].end - len(NAMED[-1]) : document.outline[0].end] == NAMED[-1]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("a.rst", GRID.replace("| Pump    |  7.50 |", "| Pump       7.50 |")),
        ("a.rst", GRID.replace("| Pump    |  7.50 |", "| ポンプ  |  7.50 |")),
        ("a.rst", SIMPLE.replace("Pump  7   7.50", "Pump 7 of them ")),
        ("a.rst", SIMPLE.replace("Pump  7  ", "--------------\nPump  7  ")),
        ("a.rst", SIMPLE.replace("=======  =====\nPump  0", "Pump  0")),  # no names
        ("a.adoc", CELLS.replace("|Pump 7\n", "2+|Pump 7\n")),
        ("a.adoc", CELLS.replace("|Pump 7\n", "|Pump 7\n\nMore.\n")),
        ("a.adoc", CELLS.replace("|7.50\n", "|7.50 .2+|x\n")),
    ],
)
def test_tables_of_markup_whose_cells_are_no_plain_rows_are_as_they_are(read, name, table):
    assert read(name, table)[0][0].text == table


LONG = [f"item {name} of many" for name in "abcdefghijklmnopqrstuvwxyz" * 2]


@pytest.mark.parametrize(
    ("rows", "n_head", "line"),
    [
        (
            [["Item", "2023", "2024"], *([one, "5", "6"] for one in LONG)],
            None,
            "Item: item z of many | 2023: 5 | 2024: 6",
        ),
        (
            [["Prices"], ["Item:", "", "EUR"], *([one, "x", "6"] for one in LONG)],
            None,
            "Item: item z of many | x | EUR: 6",
        ),
        ([["Item", "Pieces"], *([one, "6"] for one in LONG)], None, "Item: item z of many | Pieces: 6"),
        (
            [["Item", "Use", "EUR"], *([one, "x", "6", "y"] for one in LONG)],
            None,
            "Item: item z of many | Use: x | EUR: 6 | y",
        ),
        ([["Item", "Use", "EUR"], *([one, "x", "6"] for one in LONG), ["Total", ""]], None, "Total | "),
        (
            [["Item", "Use", "EUR"], *([one, "x", "6"] for one in LONG), ["Item", "Use", "EUR"]],
            None,
            "Item | Use | EUR",
        ),
        ([["All"], ["Item", "12"], *([one, "6"] for one in LONG)], 2, "Item: item z of many | 12: 6"),
    ],
)
def test_the_names_of_columns(rows, n_head, line):
    assert list(row_lines(rows, n_head))[-1] == line


@pytest.mark.parametrize(
    ("rows", "n_head"),
    [
        ([[one, "Kiel", "6"] for one in LONG], None),  # no names
        ([["Sponsor", "Ann"], *([one, "Bob"] for one in LONG)], None),  # of what, and what is said of it
        ([["Item", "Item", "EUR"], *([one, "x", "6"] for one in LONG)], None),
        ([["Item", "Kiel", "EUR"], *([one, "Kiel", "6"] for one in LONG)], None),
        (
            [
                ["Item", "A sentence that says what stands in this column, and more of it", "EUR"],
                *([one, "x", "6"] for one in LONG),
            ],
            None,
        ),
        ([["Item", "Use", "EUR"], *([one, "x", "6"] for one in LONG)], 0),
        ([["Item", "Use", "EUR"], *([one, "x", "6"] for one in LONG[:9])], None),  # short
        ([["Item", "Use", "EUR"], *([one * 40, "x", "6"] for one in LONG[:2])], None),  # of few rows
        ([["Item", "Use", "EUR"] for _ in range(80)], 80),
    ],
)
def test_rows_without_names_are_as_they_are(rows, n_head):
    assert list(row_lines(rows, n_head)) == [" | ".join(row) for row in rows]


def test_a_long_table_as_one_document_says_that_its_rows_may_be_documents(read):
    rows = [f"{number},{number * number}" for number in range(60)]

    read("a.csv", "\n".join(["n,square", *rows]))
    ((_, note),) = read.notes

    assert note == "one document of many rows (--rows makes one of each)"
    read.notes.clear()
    read("a.csv", "\n".join(["n,square", *rows[:40]]))
    read("a.csv", "\n".join(["n,square", *rows]), rows=True)
    assert read.notes == []


def test_titles_of_restructuredtext(read):
    text = (
        "=====\nGuide\n=====\n\nIntro\n=====\nText::\n\n    code = 1\n\n    more\n\nNext\n----\n"
        "+---+---+\n| a | b |\n+---+---+\n\n.. code-block:: python\n\n   x\n\nLast\n====\n...\n"
    )

    ((document,), _) = read("a.rst", text)

    assert document.text == text
    assert parts(document, "heading") == [
        ("=====\nGuide\n=====", 1),
        ("Intro\n=====", 2),
        ("Next\n----", 3),
        ("Last\n====", 2),
    ]
    titles = [heading_title(text, one) for one in document.outline if one.kind == "heading"]
    assert titles == ["Guide", "Intro", "Next", "Last"]
    assert parts(document, "code") == [("    code = 1\n\n    more", 0), ("   x", 0)]
    assert parts(document, "table") == [("+---+---+\n| a | b |\n+---+---+", 0)]


def test_simple_tables_of_restructuredtext(read):
    border = "=====  ==="
    table = f"{border}\nName   Age\n{border}\nAnn    31\n\nBob    5\n{border}"
    text = f"{table}\n\nText.\n\n{border}\nCid    7\n{border}\n\nTitle\n=====\n\n=  ="

    ((document,), _) = read("a.rst", text)

    assert parts(document, "table") == [(table, 0), (f"{border}\nCid    7\n{border}", 0), ("=  =", 0)]
    assert parts(document, "heading") == [("Title\n=====", 1)]


def test_a_title_of_restructuredtext_begins_a_chunk_and_stays_with_what_follows_it(read):
    line = "*" * 9
    text = "\n\n".join(f"{line}\nPart {number}\n{line}\n\n{' '.join(['word'] * (7 + number))}." for number in range(30))
    ((document,), _) = read("a.rst", text)
    offsets = np.array([one.span() for one in re.finditer(r"\w+|\*", text)])

    for size in range(25, 60):
        chunks = make_chunks(document, StructureChunker(max_tokens=size).split_document(document, offsets))

        assert not [one.text for one in chunks if not re.search(r"word\.?\s*\Z", one.text)]
        assert all(one.headings == (re.search(r"Part \d+", one.text)[0],) for one in chunks if line in one.text)


@pytest.mark.parametrize(
    ("outline", "line"),
    [
        (outline_asciidoc, "```{}"),
        (outline_rst, "= {:b}"),
        (outline_latex, "\\begin{{verbatim}}"),
        (outline_latex, "\\section{{a{{b}}"),
    ],
)
def test_what_is_never_closed_is_not_looked_for_again_and_again(outline, line):
    lines = [line.format(number).replace("0", "= ").replace("1", "==").rstrip() for number in range(1, 40_000)]

    start = time.process_time()
    outline("\n".join(lines))

    assert time.process_time() - start < 5


def test_titles_and_code_of_latex(read):
    formula = "\\begin{equation}\r\n  E\r\n\\end{equation}"
    title = "\\section[S]{On \\emph{pumps}}"
    text = f"{title} \\label{{s}}\r\nIt is.\r\n{formula}\r\n\\subsection*{{Oil}}\r\n\\begin{{align}} x\r\n"

    ((document,), _) = read("a.tex", text)

    assert parts(document, "heading") == [(title, 3), ("\\subsection*{Oil}", 4)]
    assert parts(document, "code") == [(formula, 0)]
    titles = [heading_title(document.text, one) for one in document.outline if one.kind == "heading"]
    assert titles == ["On pumps", "Oil"]


def test_titles_of_asciidoc(read):
    lines = (
        "= Guide",
        "",
        "== Intro",
        "----",
        "== no title",
        "----",
        "",
        "|===",
        "|a |b",
        "|===",
        "=== Deep",
        "---- open",
    )
    text = "\r\n".join(lines)

    ((document,), _) = read("a.adoc", text)

    assert parts(document, "heading") == [("= Guide", 1), ("== Intro", 2), ("=== Deep", 3)]
    titles = [heading_title(document.text, one) for one in document.outline if one.kind == "heading"]
    assert titles == ["Guide", "Intro", "Deep"]
    assert parts(document, "code") == [("----\r\n== no title\r\n----", 0)]
    assert parts(document, "table") == [("|===\r\n|a |b\r\n|===", 0)]


def test_rich_text_is_named(read):
    for name in ("a.rtf", "a.txt", "a"):
        documents, ((_, reason),) = read(name, r"{\rtf1\ansi gr\'fcn}")
        assert documents == []
        assert "it is Rich Text (RTF)" in reason


def test_code_has_no_headings(read):
    ((document,), problems) = read("a.py", "# not a heading\nx = 1\n")

    assert document.outline == (Block("code", 0, len(document.text)),)
    assert read("LICENSE", "Text.\n")[0][0].outline is None
    assert problems == []


def test_a_notebook_is_markdown_with_fenced_code(read):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {"cell_type": "code", "source": "s = '''```'''\n", "outputs": [{"text": "secret"}]},
        {"cell_type": "code", "source": " \n"},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "markdown", "source": None},
        "no cell",
    ]
    notebook = {"cells": cells, "metadata": {"kernelspec": {"language": "python"}, "title": "A notebook"}}

    ((document,), _) = read("a.ipynb", json.dumps(notebook))

    assert document.text == "# Title\nText.\n\n````python\ns = '''```'''\n````\n\nraw\n"
    assert document.metadata["title"] == "A notebook"
    assert document.outline is None
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x"]}]}]}
    assert read("old.ipynb", json.dumps(old))[0][0].text == "```\nx\n```\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "a notebook must be JSON"),
        ("[" * 100_000, "a notebook must be JSON"),
        ("[]", 'must be an object with "cells", got list'),
        ("{}", "no cell with text"),
        ('{"cells": []}', "no cell with text"),
        ('{"cells": {"a": 1}, "worksheets": [1, {"cells": 2}]}', "no cell with text"),
    ],
)
def test_a_notebook_that_is_none_is_named(read, content, reason):
    (documents, ((place, why),)) = read("a.ipynb", content)

    assert (documents, place) == ([], "")
    assert reason in why


def test_a_table_is_one_document_of_rows(read):
    ((document,), problems) = read("a.csv", PEOPLE)

    assert document.text == "name | age | note\nAnn | 31 | two lines\n\n\nBob |  | \nCid | 5 | x | y\nDan"
    assert document.outline == (Block("table", 0, len(document.text)),)
    assert problems == []
    assert read("a.tsv", "a,b\tc\n")[0][0].text == "a,b | c"


def test_each_row_of_a_table_is_a_document_and_ragged_ones_are_named(read, tmp_path):
    documents, problems = read("a.csv", PEOPLE, rows=True)

    source = (tmp_path / "a.csv").as_posix()
    assert [(one.id, one.text) for one in documents] == [
        ("a.csv#1", "name: Ann\nage: 31\nnote: two\nlines"),
        ("a.csv#2", "name: Bob"),
        ("a.csv#4", "name: Dan"),
    ]
    assert documents[0].metadata == {"name": "Ann", "age": 31, "note": "two\nlines", "table_row": 1, "source": source}
    assert problems == [(":6", "a row of 4 cells under a header of 3")]
    seats, _ = read("seats.json", '[{"row": 40}, {"row": 41}]', rows=True)
    assert [(one.metadata["row"], make_chunks(one, [Span(0, 7)])[0].citation) for one in seats] == [
        (40, "seats.json, row 1"),
        (41, "seats.json, row 2"),
    ]
    chosen, _ = read("b.csv", "id,text,lang\n7,Hello.,en\n,Bye.,en\n", rows=True)
    assert [(one.id, one.text, one.metadata["lang"]) for one in chosen] == [
        ("7", "Hello.", "en"),
        ("b.csv#2", "Bye.", "en"),
    ]


def test_columns_of_numbers_hold_numbers(read, tmp_path):
    rows = [
        "id,price,code,size,open,none,big",
        "7,49.90,007,1,2024-01-01,,1234567890123456",
        "8,-129,12,XL,5,,1",
        "9,,13,2,6,,2",
    ]
    content = "\n".join(rows)

    documents, _ = read("a.csv", content, rows=True)

    assert documents[0].text == (
        "id: 7\nprice: 49.90\ncode: 007\nsize: 1\nopen: 2024-01-01\nbig: 1234567890123456"  # as it is written
    )
    assert [one.id for one in documents] == ["7", "8", "9"]
    values = [
        [one.metadata.get(name) for name in ("price", "code", "size", "open", "none", "big")] for one in documents
    ]
    assert values == [
        [49.9, "007", "1", "2024-01-01", "", "1234567890123456"],
        [-129, "12", "XL", "5", "", "1"],
        [None, "13", "2", "6", "", "2"],
    ]
    assert type(values[1][0]) is int
    assert "price" not in documents[2].metadata
    with Index.create(tmp_path / "i", encoder=FakeEncoder()) as index:
        index.add(documents)
        assert index.ids(filter={"price": {"$gt": 0}}) == ["7"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.10", "1.1", "2.0"], ["1.10", "1.1", "2.0"]),  # versions, of which two would be one number
        (["1.10", "1.20"], [1.1, 1.2]),
        (["1.15", "3", "2.5"], [1.15, 3, 2.5]),
        (["1e5"], ["1e5"]),
        (["-0", "+5"], ["-0", "+5"]),
        (["inf"], ["inf"]),
        (["\u0661"], ["\u0661"]),
        (["123456789012345.5"], ["123456789012345.5"]),
    ],
)
def test_what_a_column_holds(read, cells, values):
    documents, _ = read("a.csv", "n,x\n" + "".join(f"{cell},y\n" for cell in cells), rows=True)
    assert [one.metadata["n"] for one in documents] == values


def test_columns_by_which_rows_are_cited_stay_as_they_are(read):
    documents, _ = read("p.csv", "name,table_row,first_line,source,y\nann,500,90,5,1\n", rows=True)
    assert [documents[0].metadata[key] for key in ("table_row", "first_line", "source", "y")] == ["500", "90", "5", 1]


def test_a_column_may_be_named_metadata(read):
    rows, problems = read("a.csv", 'name,metadata\nAnn,"{""x"": 1}"\nBob,\n', rows=True)
    lines, others = read("a.jsonl", '{"text": "x", "metadata": null}\n{"text": "y", "metadata": "z"}')

    assert [one.text for one in rows] == ['name: Ann\nmetadata: {"x": 1}', "name: Bob"]
    assert [one.metadata.get("metadata") for one in (*rows, *lines)] == ['{"x": 1}', "", None, "z"]
    assert problems == others == []


def test_a_bad_row_costs_no_other_row_and_no_type(read):
    documents, problems = read("a.csv", "name,y\na,1\nb,n/a,x\nc,2\n", rows=True)
    assert [one.metadata["y"] for one in documents] == [1, 2]
    assert len(problems) == 1
    documents, problems = read("a.csv", f'name,y\na,1\nb,2\nc,"{"x" * 200_000}\n', rows=True)
    assert [one.metadata["y"] for one in documents] == [1, 2]
    assert len(problems) == 1


def test_cells_may_be_as_long_as_documents(read):
    limit = csv.field_size_limit()
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        content = f'id{delimiter}text\n7{delimiter}"{"word " * 50_000}"\n8{delimiter}Short.\n'

        documents, problems = read(name, content, rows=True)

        assert [(one.id, len(one.text)) for one in documents] == [("7", 249_999), ("8", 6)]
        assert problems == []
    assert csv.field_size_limit() == limit


def test_cells_may_be_as_long_as_documents_in_several_threads(tmp_path):
    (tmp_path / "a.csv").write_text("n,text\n" + f"7,{'word ' * 30_000}\n" * 20)
    limit = csv.field_size_limit()
    problems = []

    def read(_):
        for _ in range(10):
            list(read_documents(find_files([tmp_path], print), problems.append, rows=True))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(4)))
    finally:
        sys.setswitchinterval(interval)

    assert (problems, csv.field_size_limit()) == ([], limit)


def test_columns_without_a_name_have_their_letters_and_empty_ones_are_none(read):
    documents, problems = read("a.csv", ",Name,Price,,\n0,Pump,5,,\n1,Valve,7,spare,,\n2,Ring,9\n", rows=True)

    assert problems == []
    assert [one.text for one in documents] == [
        "A: 0\nName: Pump\nPrice: 5",
        "A: 1\nName: Valve\nPrice: 7\nD: spare",
        "A: 2\nName: Ring\nPrice: 9",
    ]
    assert [one.metadata["A"] for one in documents] == [0, 1, 2]
    assert ["D" in one.metadata for one in documents] == [False, True, False]
    assert read("b.csv", ",A,B\n0,x,y\n", rows=True)[0][0].text == "1: 0\nA: x\nB: y"  # as pandas writes it


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Price (EUR, net);Count\n1,50;3\n", "Price (EUR, net) | Count\n1,50 | 3"),
        ('"Name, first";Age\n"Doe, J";3\n', "Name, first | Age\nDoe, J | 3"),
        ("Prices of May\nname;price\nBolt;1,50\n", "Prices of May\nname | price\nBolt | 1,50"),
        ("name,tags\na,x;y\nb,z\n", "name | tags\na | x;y\nb | z"),
        ("sep=;\nname;age\nAnn, B;3\n", "\nname | age\nAnn, B | 3"),
        ('"sep=|"\r\na|b\r\n', "\na | b"),
        ("a,b\r1,2\r", "a | b\n1 | 2"),
        ('a,b\n"x\ry",2\n3,4', "a | b\nx y | 2\n\n3 | 4"),
        ("one\ntwo, and more\n", "one\ntwo | and more"),
    ],
)
def test_the_delimiter_is_the_one_that_cuts_rows_alike(read, content, text):
    ((document,), problems) = read("a.csv", content)

    assert (document.text, problems) == (text, [])


def test_quotation_marks_of_a_table_of_tabs_are_text_unless_all_are_closed(read):
    assert read("a.tsv", 'a\tb\n"x\ty"\t1\n')[0][0].text == "a | b\nx y | 1"
    for name in ("a.tsv", "a.csv"):
        content = 'a\tb\n"Open\t1\n"All" of it\t2\n'

        ((document,), problems) = read(name, content)

        assert (document.text, problems) == ('a | b\n"Open | 1\n"All" of it | 2', [])
        assert [one.metadata["b"] for one in read(name, content, rows=True)[0]] == [1, 2]


@pytest.mark.parametrize(
    ("content", "rows", "place", "reason"),
    [
        ('name,note\nAnn,"hello\nBob,x\nCid,y\n', False, "", "line 2: a quotation mark is left open"),
        ("a,a\n1,2\n", True, "", "'a' repeats"),
        ('a,b\n"' + "x" * 200_000, False, "", "line 2: a quotation mark is left open"),
    ],
)
def test_a_table_that_is_none_is_named(read, content, rows, place, reason):
    documents, ((where, why),) = read("a.csv", content, rows=rows)

    assert (documents, where) == ([], place)
    assert reason in why


def test_json_is_one_document_or_one_for_each_element(read):
    content = json.dumps(["Text.", {"id": 5, "text": "More."}, {"name": "Ann", "tags": ["x"]}, 3, {"text": 1}])

    ((whole,), _) = read("a.json", content)
    documents, problems = read("a.json", content, rows=True)

    assert (whole.text, whole.outline) == (content, (Block("code", 0, len(content)),))
    assert [(one.id, one.text) for one in documents] == [
        ("a.json#1", "Text."),
        ("5", "More."),
        ("a.json#3", 'name: Ann\ntags: ["x"]'),
    ]
    assert documents[2].metadata["table_row"] == 3
    assert [place for place, _ in problems] == [", element 4", ", element 5"]
    for wrong in ("{}", "[1", "[" * 100_000):
        assert [place for place, _ in read("a.json", wrong, rows=True)[1]] == [""]


def test_a_file_beyond_the_limit_is_refused(read, monkeypatch):
    monkeypatch.setattr("latechunk.readers.limits.MAX_BYTES", 10)

    documents, ((_, reason),) = read("a.txt", "x" * 11)

    assert documents == []
    assert "at most 0 MB are read as one document" in reason
    assert read("a.txt", "x" * 10)[0]


def test_a_table_whose_text_with_names_is_beyond_the_limit_is_refused(read, monkeypatch):
    content = "a long name of a column,another long name\n" + "1,2\n" * 90
    monkeypatch.setattr("latechunk.readers.limits.MAX_BYTES", 3_000)

    documents, ((_, reason),) = read("a.csv", content)

    assert (documents, reason) == ([], "it holds more than 3,000 characters; split it into several files")
    assert len(read("a.csv", content, rows=True)[0]) == 90


def test_a_line_beyond_the_limit_is_refused_and_takes_little_memory(read, monkeypatch):
    monkeypatch.setattr("latechunk.readers.limits.MAX_BYTES", 40)
    monkeypatch.setattr("latechunk.readers.limits._BLOCK", 8)
    for encoding in ("utf-8", "utf-16"):
        content = '{"id": "a", "text": "short"}\n\n{"text": "' + "x" * 99 + '"}\n{"text": "more"}'

        documents, problems = read("a.jsonl", content.encode(encoding))

        assert [one.id for one in documents] == ["a"]
        assert problems == [("", "line 3 holds more than 0 MB; are its line ends lost?")]


def test_a_file_that_changes_while_it_is_read_is_named(read, monkeypatch):
    def read_and_change(path):
        data = read_whole(path)
        path.write_text("longer than it was")
        return data

    monkeypatch.setattr("latechunk.readers.reader.read_whole", read_and_change)

    documents, ((_, reason),) = read("a.txt", "short")

    assert documents == []
    assert reason == "it changed while it was read; run this again"


def test_names_with_newlines_and_bytes_are_ids_or_named(read, tmp_path):
    assert read("two\nlines.txt", "text")[0][0].id == "two\nlines.txt"
    path = os.fsencode(tmp_path) + b"/\xff.txt"
    with open(path, "w") as file:
        file.write("text")
    problems = []
    assert [one.id for one in read_documents(find_files([tmp_path], problems.append), problems.append)] == [
        "two\nlines.txt"
    ]
    assert "is not UTF-8" in problems[0].reason


def test_a_file_whose_reader_fails_costs_itself(tmp_path, monkeypatch):
    (tmp_path / "b.txt").write_text("good")
    monkeypatch.setitem(READERS, ".csv", Reader((".csv",), lambda *_: [{}["x"]]))
    (tmp_path / "a.csv").write_text("a,b")
    problems = []

    documents = list(read_documents(find_files([tmp_path], pytest.fail), problems.append))

    assert [one.id for one in documents] == ["b.txt"]
    assert [(one.place, one.reason) for one in problems] == [
        (str(tmp_path / "a.csv"), "its reader failed: KeyError: 'x'")
    ]


def test_a_file_that_cannot_be_opened_costs_itself(tmp_path):
    (tmp_path / "b.txt").write_text("good")
    (tmp_path / "a.unknown").write_text("text")
    files = find_files([tmp_path], pytest.fail)
    (tmp_path / "a.unknown").unlink()
    problems = []

    assert count_documents(files) == 1
    assert [one.id for one in read_documents(files, problems.append)] == ["b.txt"]
    assert "No such file" in problems[0].reason


def test_front_matter_in_toml_is_metadata_and_no_text(read):
    ((document,), problems) = read(
        "a.md", '+++\r\ntitle = "Pumps"\ndate = 2024-05-01\n[params]\nn = 7\n+++\r\n# Pumps\n'
    )

    said = {key: document.metadata[key] for key in ("title", "date", "params", "first_line")}
    assert (document.text, problems, read.notes) == ("# Pumps\n", [], [])
    assert said == {"title": "Pumps", "date": "2024-05-01", "params": {"n": 7}, "first_line": 7}
    for wrong, reason in (("title: Pumps", "not TOML"), ("a = inf", "'a' is inf")):
        text = f"+++\n{wrong}\n+++\nText.\n"
        assert read("b.md", text)[0][0].text == text
        assert reason in read.notes.pop()[1]


def test_a_title_of_latex_may_go_on_in_the_next_line_but_not_after_a_blank_one():
    text = "\\section[a]{A long\n  \\emph{title}\\label{a}}\nText.\r\n\\section{No\r\n\r\nend}\n\\part{B}\n"

    assert [heading_title(text, one) for one in outline_latex(text)] == ["A long title", "B"]
    assert len(outline_latex("\\section{a\n" * 50_000)) == 0


def test_comments_of_asciidoc_have_no_titles():
    text = "= A\n\n////\n== Not shown\n////\n\n++++\n== raw\n++++\n\n== B\n"

    blocks = outline_asciidoc(text)

    assert [text[one.start : one.end] for one in blocks] == ["= A", "++++\n== raw\n++++", "== B"]


def test_letters_of_json_that_are_escaped_are_letters(read):
    said = {"city": 'Z\u00fcrich "\u4f60\u597d\u3000\U0001f600" \\u00fc \x01\u2028', "lone": "\ud800x"}

    ((document,), _) = read("a.json", json.dumps(said, indent=1))

    assert 'Z\u00fcrich \\"\u4f60\u597d\u3000\U0001f600\\" \\\\u00fc \\u0001\\u2028' in document.text
    assert json.loads(document.text) == said
    assert document.outline == (Block("code", 0, len(document.text)),)
