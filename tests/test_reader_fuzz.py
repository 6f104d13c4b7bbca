"""Mutations of sound files of every format: each gives a document or a problem, and no other error."""

import json
import random
import zipfile
from collections import Counter
from io import BytesIO

import pytest
from hypothesis import settings

from latechunk.readers import READERS, find_files, read_documents
from tests.documents import (
    PAGE,
    PEOPLE,
    STYLES,
    cell,
    make_docx,
    make_epub,
    make_pptx,
    make_xlsx,
    paragraph,
    shape,
    sheet_row,
)
from tests.pdfs import IMAGE, make_pdf, write_lines
from tests.test_reader_odt import make_odt

pytest.importorskip("pypdfium2")
pytest.importorskip("selectolax")

N_FILES = 10_000 if settings().max_examples > 100 else 300
BATCH = 100

NOTEBOOK = {"cells": [{"cell_type": "markdown", "source": ["# A\n"]}, {"cell_type": "code", "source": "x = 1"}]}
ITEM = '<w:pStyle w:val="Own"/><w:numPr><w:numId w:val="1"/></w:numPr>'
MESSAGE = b"""From: =?utf-8?q?=C3=84nn?= <ann@example.com>
Date: Sun, 31 Mar 2024 14:30:00 +0200
Subject: Offer
Content-Type: multipart/mixed; boundary="a"

--a
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--b
Content-Type: text/html; charset=utf-8

<p>Hi</p>
--b--
--a
Content-Type: application/pdf; name="=?utf-8?b?w6QucGRm?="
Content-Transfer-Encoding: base64

JVBERg==
--a
Content-Type: message/rfc822

Subject: Inner

Text.
--a--
"""
SEEDS = {
    "plain.pdf": make_pdf([write_lines(["Guide", "to pumps."], size=20), b"", IMAGE], labels="0 << /S /r >>"),
    "marked.pdf": make_pdf(
        [write_lines(["Care of pumps", "and well-", "known parts-"])] * 3,
        bookmarks=[("Care", 0), ("More", 2)],
        info="/Title (A)",
    ),
    "a.docx": make_docx(paragraph("Care", ITEM) * 3 + paragraph("Text."), styles=STYLES),
    "a.pptx": make_pptx(shape("Care", kind="title") + shape("Check.", "Clean.", kind=""), shape("End")),
    "a.xlsx": make_xlsx(
        {
            "Sales": sheet_row(1, "region", "units", "day")
            + sheet_row(2, cell(0, kind="s"), 7, cell(45382.5, style=1)),
            "Notes": sheet_row(3, "Text.") + sheet_row(4, cell("#N/A", kind="e"), "<c><f>A1</f><v>1</v></c>"),
        },
        codes=["d/m/yy h:mm"],
        texts=["<r><t>North</t></r>"],
        merged=["A1:A2"],
    ),
    "a.eml": MESSAGE,
    "a.mbox": b"From - Mon Jan 1 10:00:00 2024\n" + MESSAGE + b"\nFrom a Mon Jan 1 10:00:00 2024\nSubject: B\n\nB.\n",
    "a.odt": make_odt(),
    "a.vtt": b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Hello</v> &amp; <i>you\n\n00:02.000 --> 00:31.000\nall.\n",
    "a.epub": make_epub(),
    "a.html": PAGE.encode(),
    "a.ipynb": json.dumps(NOTEBOOK).encode(),
    "a.csv": PEOPLE.encode(),
    "a.json": json.dumps([{"id": 1, "text": "One."}, {"name": "Ann"}, "Two."]).encode(),
    "a.md": b"---\ntitle: Pumps\ntags: [a, b]\n---\n# Pumps\n\n| a | b |\n| - | - |\n",
    "a.rst": b"=====\nGuide\n=====\n\nText::\n\n    code\n\n+---+\n| a |\n+---+\n",
    "a.adoc": b"= Guide\n\n== Part\n\n----\ncode\n----\n\n|===\n|a |b\n|===\n",
}


def mutate(data, draw):
    """Change bytes in a few places: flip, remove, repeat, insert, or put in what means something to a parser."""
    words = [
        b"<",
        b">",
        b"&",
        b"\0",
        b"\xff",
        b"endobj",
        b"stream",
        b"obj",
        b"<<",
        b"[",
        b"99999999999",
        b"-1",
        b"<table>",
    ]
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        place, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        end = min(end, place + draw.choice([1, 4, 50, 10**6]))
        data = draw.choice(
            [
                data[:place]
                + bytes(draw.randrange(256) for _ in data[place : min(end, place + 8)])
                + data[min(end, place + 8) :],
                data[:place] + data[end:],
                data[:end] + data[place:end] * draw.choice([1, 2, 100 if end - place < 100 else 1]) + data[end:],
                data[:place] + draw.choice(words) * draw.choice([1, 3, 1000]) + data[place:],
                data[:place] if draw.random() < 0.2 else data,
            ]
        )
    return data


def mutate_member(data, draw):
    """Change a member of an archive, and pack it again."""
    members = {
        one.filename: zipfile.ZipFile(BytesIO(data)).read(one) for one in zipfile.ZipFile(BytesIO(data)).infolist()
    }
    name = draw.choice(sorted(members))
    members[name] = mutate(members[name], draw)
    if draw.random() < 0.1:
        del members[name]
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for one, content in members.items():
            made.writestr(one, content)
    return file.getvalue()


def read_mutated(folder, seeds, numbers):
    """Read a mutation of a seed for each number; Counter of what came of them, and the reasons of problems."""
    paths = []
    for number in numbers:
        draw = random.Random(number)
        name = draw.choice(sorted(seeds))
        is_archive = seeds[name].startswith(b"PK") and draw.random() < 0.7
        path = folder / f"{number}-{name}"
        path.write_bytes((mutate_member if is_archive else mutate)(seeds[name], draw))
        paths.append(path)
    problems, documents, counts = [], Counter(), Counter()
    for rows in (False, True):
        for document in read_documents(find_files(paths, problems.append), problems.append, rows=rows):
            documents[document.metadata["source"]] += 1
            for block in document.outline or ():
                assert document.text[block.start : block.end].strip()
    for path in paths:
        told = [one for one in problems if one.place.startswith(str(path))]
        counts[f"{path.suffix} {'read' if documents[path.as_posix()] else 'named'}"] += 1
        assert documents[path.as_posix()] or told, path
        assert all(len(one.reason) > 10 for one in told), told
        path.unlink()
    return counts, [one.reason for one in problems]


def test_mutated_files_are_read_or_named(tmp_path):
    counts = Counter()
    for start in range(0, N_FILES, BATCH):
        found, reasons = read_mutated(tmp_path, SEEDS, range(start, min(N_FILES, start + BATCH)))
        counts += found
        assert not [one for one in reasons if one.startswith(("its parser failed", "its reader failed"))]
    assert {name.partition(".")[2] for name in SEEDS} == {name.split()[0][1:] for name in counts}
    assert {
        suffix
        for suffix in (".pdf", ".docx", ".pptx", ".xlsx", ".epub")
        if counts[f"{suffix} named"] and counts[f"{suffix} read"]
    } == {
        ".pdf",
        ".docx",
        ".pptx",
        ".xlsx",
        ".epub",
    }
    assert all(suffix in READERS for suffix in {name.split()[0] for name in counts})
