import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Block, Document
from latechunk.chunking.outline import find_outline, heading_title


def found(text):
    return [(block.kind, text[block.start : block.end], block.level) for block in find_outline(text)]


def test_headings_of_both_kinds():
    text = "# Pumps #\n\nCheck them.\n\n  ### Weekly\nLook.\n\nMonthly\n---\nListen.\n\nYearly\n======\n"

    assert found(text) == [
        ("heading", "# Pumps #", 1),
        ("heading", "### Weekly", 3),
        ("heading", "Monthly\n---", 2),
        ("heading", "Yearly\n======", 1),
    ]


def test_code_tables_and_lists_with_what_is_in_them():
    text = (
        "- one\n\n  ```py\n  # no heading\n  ```\n- two\n\n"
        "| a | b |\n| - | - |\n| 1 | 2 |\n\n"
        "~~~\n| a | b |\n| - | - |\n~~~\n\n"
        "1. first\n2. second\n"
    )

    assert found(text) == [
        ("list", "- one\n\n  ```py\n  # no heading\n  ```\n- two", 0),
        ("code", "```py\n  # no heading\n  ```", 0),
        ("table", "| a | b |\n| - | - |\n| 1 | 2 |", 0),
        ("code", "~~~\n| a | b |\n| - | - |\n~~~", 0),
        ("list", "1. first\n2. second", 0),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Plain prose. It has two sentences.\n\nAnd a second paragraph.",
        "    An indented paragraph is no code.\n\n    Nor is this one.",
        "    # a comment in indented code\n",
        "# a comment\n# and another\nkey = value\n",
        "#hashtag\n\n#\n\ntext",
        "Thank you for calling.\n----------------------\nBye.",
        "A paragraph of several lines\nover a line of dashes\n---\n",
        "x" * 201 + "\n---\n",
        "---\ntitle: Pumps\ntags\n---\n\nText.",
        "```\nnever closed\n",
        "7.\n\nThe lessee pays.\n\n8.\n\nThe lessor receives.",
        "> # quoted\n\n- # in a list\n",
        "1.1 One\n\n1.2 Two\n\n1.3 Three\n\n",
        "Here 3 apples\n\nfell down.\n\n3 apples fell\n\nagain.",
        "",
    ],
)
def test_what_is_no_structure(text):
    assert find_outline(text) == ()


@pytest.mark.parametrize(
    "html",
    [
        "<!-- one line -->",
        "<!--\nThe licence\nof this file.\n-->",
        "<!--\nThe licence.\n\n# Commented out\n\nIts second paragraph.\n\nIts third.\n-->",
        "<pre>\nWhat is\n\nset\n\nby hand\n</pre>",
        "<STYLE>\np {}\n\nq {}\n\nb {}\n</STYLE>",
        "<?php\n\nplain\n\nplain\n?>",
    ],
)
def test_html_that_goes_on_over_blank_lines_ends_before_the_next_heading(html):
    text = f"Before.\n\n{html}\n\n# Pumps\n\nCheck them.\n"

    assert found(text) == [("heading", "# Pumps", 1)]
    assert found(text.removeprefix("Before.\n\n")) == [("heading", "# Pumps", 1)]


def test_plain_text_shows_headings_that_stand_alone():
    text = "Chapter IV\n\nHe came.\n\n3 Scope\n\nAll.\n\n3.1 Persons\n\nSome.\n\n § 12 Fees\n\nMany."

    assert found(text) == [
        ("heading", "Chapter IV", 1),
        ("heading", "3 Scope", 1),
        ("heading", "3.1 Persons", 2),
        ("heading", "§ 12 Fees", 1),
    ]


@pytest.mark.parametrize(
    "line", ["Schedule A: Services", "Exhibit 3", "APPENDIX B", "Anlage II", "Annex C - Fees", "Schedule 2 (Fees)"]
)
def test_what_is_attached_to_a_contract_has_a_heading(line):
    text = f"8. Governing law\n\nThe law of France.\n\n{line}\n\nStored at 4 degrees."

    assert found(text)[1:] == [("heading", line, 1)]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("ARTICLE III", 1),
        ("Article IV. Payment", 1),
        ("ARTICLE V - TERM", 1),
        ("Article 5", 1),
        ("§ 312g Widerrufsrecht", 1),
        ("§ 1004 Beseitigung", 1),
        ("§ 3a", 1),
        ("Art. 6 Rechtmäßigkeit", 1),
        ("Section 3.02", 2),
        ("Article 1er", 1),
        ("Article 16-1", 1),
        ("Article L. 121-3", 1),
        ("Art. 5 bis Rechte", 1),
    ],
)
def test_articles_and_paragraphs_of_laws_and_contracts(line, level):
    assert found(f"The law.\n\n{line}\n\nIt holds for all.") == [("heading", line, level)]


@pytest.mark.parametrize("line", ["Article I read yesterday", "Section 3 of the law", "Article Ivory"])
def test_what_only_begins_like_an_article_is_text(line):
    assert found(f"The law.\n\n{line}\n\nIt holds for all.") == []


def test_an_attachment_over_a_numbered_heading_is_no_list():
    first = "Foo.\n\nSchedule A\n\n1. Services\n\nThe supplier supplies.\n\n"
    text = first + "Appendix 2\n\n1 Proofs\n\nWe prove.\n\nChapter 3\n\nChapter 4\n\nEnd."

    assert [line for _, line, _ in found(text)] == ["Schedule A", "1. Services", "Appendix 2", "1 Proofs"]


@pytest.mark.parametrize(
    "line",
    [
        *("Schedule a meeting", "Exhibit of paintings", "Annexes", "Schedule A applies."),
        *(
            "Schedule 3 more interviews",
            "Attachment I sent you yesterday",
            "Schedule 10:30 to noon",
            "Exhibit A Gallery",
        ),
    ],
)
def test_what_only_begins_like_an_attachment_is_text(line):
    assert found(f"8. Governing law\n\nThe law of France.\n\n{line}\n\nMore.")[1:] == []


def test_headings_of_wikis():
    text = "== History ==\nLong ago.\n===Kings===\nMany.\n = = Plot = = \n He came, == so he said ==."

    assert found(text) == [
        ("heading", "== History ==", 2),
        ("heading", "===Kings===", 3),
        ("heading", "= = Plot = =", 2),
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_ends(line_end):
    text = "# A\n\nText\x00.\n\n```\ncode\n```\n\n## B\n".replace("\n", line_end)

    assert [one[1].replace(line_end, "\n") for one in found(text)] == ["# A", "```\ncode\n```", "## B"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Refunds", "Refunds"),
        ("##  Refunds,  **quickly** ##", "Refunds, quickly"),
        ("### [Refunds](https://example.org/a) of `pumps` {#refunds}", "Refunds of pumps"),
        ("Refunds\nand more\n===", "Refunds and more"),
        ("== Refunds ==", "Refunds"),
        ("3.1 C# and 2*3*4", "3.1 C# and 2*3*4"),
        ("# snake_case_name", "snake_case_name"),
    ],
)
def test_the_title_of_a_heading(text, title):
    assert heading_title(text, Block("heading", 0, len(text), 1)) == title


MARKS = [
    "# ",
    "## ",
    "- ",
    "1. ",
    "> ",
    "```\n",
    "~~~",
    "| ",
    "|-|",
    "---",
    "===",
    "== a ==",
    "    ",
    "\t",
    "\n",
    "\n\n",
]


@given(
    st.lists(st.sampled_from([*MARKS, "a", "b c.", "\r\n", "\r", "\x00", "\u2028", "é", "*", "Chapter 3"])).map("".join)
)
def test_any_text_gives_an_outline_that_a_document_accepts(text):
    blocks = find_outline(text)

    assert Document("a", text, outline=blocks).outline == blocks
    assert all(text[one.start : one.end].strip() == text[one.start : one.end] for one in blocks)
    titles = [heading_title(text, one) for one in blocks if one.kind == "heading"]
    assert all(not re.search(r"[\r\n]", title) for title in titles)


@pytest.mark.parametrize("run", [" ", "\t", "> ", "-", "=", "|", "- ", "#", "\n", "| -"])
def test_a_run_of_signs_is_gone_through_once(run):
    text = f"Title\n{run * 300_000}x"  # gone through from each of its characters it would take hours

    assert all(0 <= block.start < block.end <= len(text) for block in find_outline(text))
