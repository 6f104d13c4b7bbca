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


@pytest.mark.parametrize("shape", ["<!-- {} -->", "<!--\n{}", "<pre>\n{}\n</pre>", "<script>\n'{}'\n</script>"])
def test_comments_and_code_within_other_html_have_no_headings(shape):
    text = f"Before.\n\n<div>\n<h2>Pumps</h2>\n{shape.format('<h2>Old</h2>')}\n</div>\n\nCheck them.\n"

    assert [text[one.start : one.end] for one in find_outline(text)] == ["<h2>Pumps</h2>"]


def test_headings_of_html_within_markdown():
    text = (
        '<h1 align="center">\n  <img src="logo.svg"/>\n  Pumps &amp; <b>Valves</b>\n</h1>\n\nCheck them.\n\n'
        '<div align="center"><h1><img src="a.svg"></h1>\n<H2><a id="x"></a>Weekly</H2></div>\n\n'
        "<!-- <h2>Draft</h2> -->\n\n```html\n<h2>Code</h2>\n```\n\n<pre>\n<h2>Code</h2>\n</pre>\n\n"
        "- <h3>Item</h3>\n- two\n\nText about `<h2>` and <h2>.\n\n<h2>Not closed\n\n### Monthly\n\nLook.\n"
    )

    headings = [block for block in find_outline(text) if block.kind == "heading"]

    assert [(block.level, heading_title(text, block)) for block in headings] == [
        (1, "Pumps & Valves"),
        (2, "Weekly"),
        (3, "Monthly"),
    ]


def test_a_mark_of_an_encoding_hides_no_heading():
    assert found("\ufeff# Pumps\n\nCheck them.\n") == [("heading", "# Pumps", 1)]
    assert found("\ufeffChapter 1\n\nCheck them.\n") == [("heading", "Chapter 1", 1)]


def test_marks_of_encodings_of_files_that_were_joined_hide_no_heading():
    text = "\ufeff# Pumps\n\nCheck them.\n\n\ufeff# Valves\n\nClose them."

    assert [heading_title(text, block) for block in find_outline(text)] == ["Pumps", "Valves"]


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
        ("heading", "3 Scope", 2),
        ("heading", "3.1 Persons", 3),
        ("heading", "§ 12 Fees", 2),
    ]


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        (
            "第一编 总则\n\n第二章 合同\n第一节 效力\n\n第三条\n\n合同有效。\n",
            "1第一编 总则|2第二章 合同|3第一节 效力|4第三条",
        ),
        (
            "目录\n第一章 总则\n第二章 附则\n\n第一章 总则\n第一条 本法。\n第二章 附则\n第二条 略。\n",
            "1第一章 总则|1第二章 附则",
        ),
        ("제1장 총칙\n제1조(목적) 이 법은 이렇다.\n\n제2조\n\n원칙.\n", "1제1장 총칙|2제2조"),
        ("LEAR\n\nACT I\n\nSCENE II. A room.\n\nEnter Kent.\n", "1ACT I|2SCENE II. A room."),
        (
            "CHAPTER I.\nThe Rabbit-Hole\n\nShe sat.\n\nCHAPTER II.\n\nShe fell.\n",
            "1CHAPTER I.\nThe Rabbit-Hole|1CHAPTER II.",
        ),
        ("PART ONE\n\nChapter Two\n\nIt was cold.\n", "1PART ONE|2Chapter Two"),
        ("Article 1\nAll are born free.\n\nArticle 2.\n\nAll have rights.\n", "1Article 1|1Article 2."),
        ("Глава 1. Право\n\nСтатья 2\n\nЗакон.\n\nГлава 2\n\nТекст.\n", "1Глава 1. Право|2Статья 2|1Глава 2"),
        ("Chương I\n\nĐiều 1. Phạm vi\n\nLuật này.\n", "1Chương I|2Điều 1. Phạm vi"),
        ("الفصل الأول\n\nالمادة 2: العقد\n\nهو اتفاق.\n", "1الفصل الأول|2المادة 2: العقد"),
        ("PART I\n\nChapter 1\n\nChapter 2\n\nPART II\n\nPART I\n\nChapter 1\n\nIt is.\n", "1PART I|2Chapter 1"),
        ("2. Fees\n\nPay.\n\nSchedule A\n\n1. Services\n\nHelp.\n", "22. Fees|1Schedule A|21. Services"),
    ],
)
def test_chapters_and_articles_of_plain_text_by_level(text, headings):
    assert [f"{level}{line}" for kind, line, level in found(text) if kind == "heading"] == headings.split("|")


@pytest.mark.parametrize(
    "text",
    [
        "他来了。\n第一章讲述了他的童年，很有意思。\n他走了。",
        "Read it.\n\nScene 3 was long.\n\nChapter one of the story\n\nBook two tickets\n\nGo.",
        "It holds.\n\nArticle 5\nof the law says so, and more.",
        "มาตรา\n\nมาตรา ๑ พระราชบัญญัตินี้เรียกว่า พระราชบัญญัติสัญญา\n\nจบ",
    ],
)
def test_what_only_begins_like_a_chapter_is_text(text):
    assert found(text) == []


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


@pytest.mark.parametrize(
    "lines",
    [
        "TITRE Ier|CHAPITRE Ier|Chapitre premier|Article premier|PREMIÈRE PARTIE",
        "TÍTULO PRIMERO|Capítulo segundo|Sección 1.ª|Artículo 3.º|Artículo 4º. Objeto|CLÁUSULA PRIMERA",
        "Seção I|Artigo 1.º|Art. 3º|Cláusula 1ª|CAPO I|Afdeling 1|Bijlage 1|Erster Abschnitt|Teil A|Part A",
        "DZIAŁ PIERWSZY|Część I|Załącznik nr 1|ČÁST PRVNÍ|Hlava první|Článek 2 Účel|Příloha č. 1",
        "Часть первая|Приложение № 1|Розділ І|Додаток 1|ΜΕΡΟΣ Α΄|ΚΕΦΑΛΑΙΟ 1|ΑΡΘΡΟ 1|Παράρτημα Ι|BİRİNCİ BÖLÜM|Bölüm 2",
        "القسم الأول|المادة (1)|المادة الأولى|مادة 2|فصل اول|بخش ۱|ماده (۳)|פרק א׳: הגדרות|חלק 1|धारा 5 परिभाषाएँ",
        "প্রথম অধ্যায়|ধারা ৫|அத்தியாயம் 1|பிரிவு 5|ส่วนที่ ๑|ข้อ ๑|ជំពូកទី ១|មាត្រា ១|အခန်း (၁)|ပုဒ်မ ၁|Mục 1|Phụ lục 1",
        "一、引言|（一）背景|1．引言|１．はじめに|1、引言|附件一|附录A|別表第一|附則|부칙|별표 1",
        "ምዕራፍ 1|አንቀጽ 1|თავი I|მუხლი 2. მიზანი|1. შესავალი|Գլուխ 1|Հոդված 2. Նպատակը",
        "I. Einleitung|II. Verfahren|IV. Kosten",
    ],
)
def test_headings_of_many_languages(lines):
    headings = lines.split("|")
    text = "Text.\n\n" + "\n\n".join(f"{heading}\n\nText." for heading in headings)

    assert [heading for _, heading, _ in found(text)] == headings


def test_letters_of_an_outline_are_no_roman_numbers():
    lines = ["I. INTRODUCTION", "A. Background", "B. Scope", "C. Method", "D. Results", "II. DISCUSSION", "L. Jones"]

    assert [heading for _, heading, _ in found("\n\nIt is so.\n\n".join(["", *lines, ""]))] == [lines[0], lines[5]]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "1. यह समझौता लागू होगा।",
            "2. هل ينتهي العقد؟",
            "3. ይህ ውል ነው።",
            "一、甲方应当按时付款；",
            "3.5万人参加了活动",
        ),
        *(
            "2008年北京奥运会",
            "I. Newton",
            "Cổ phần",
            "Dieser Teil gilt nicht für alle",
            "neuer Teil",
            "Hlava státu je doma",
        ),
    ],
)
def test_what_is_no_heading_in_any_language(line):
    assert found(f"Text.\n\n{line}\n\nText.") == []


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
        (r"## 1\. Of snake\_case\_names, \*p and **q\***", "1. Of snake_case_names, *p and q*"),
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
