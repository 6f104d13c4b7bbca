"""How chunkers treat headings, code, tables and lines, and whether a section is found by its heading.

Writes 30 handbooks of 12 sections with code, tables and lists, and a transcript, a log and a CSV table. For each
chunker and size it counts, there and in ``--docs`` (Markdown files; the project's own by default):

- ``headings_last``: headings with which a chunk ends that began in another section;
- ``fences_cut`` and ``rows_cut``: code fences and table rows that would fit a chunk and are cut;
- ``lines_cut``: cuts inside lines of the transcript, the log and the CSV table that would fit a chunk.

``found`` is how many of 150 questions, each a heading, have a passage with the beginning of that section's text first,
by the default search over all handbooks. ``packed`` packs sentences up to the size and knows of nothing else.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import parser, report

from latechunk import Document, Encoder, Index, SentenceChunker, Span, StructureChunker
from latechunk.chunking.boundaries import sentence_ends
from latechunk.chunking.cuts import cut_places, next_cut
from latechunk.models.catalogue import LIGHT_MODEL
from latechunk.protocols import Chunker
from latechunk.types import IntArray, Settings

KINDS = ("structure", "sentence", "packed")
_QUESTIONS = 5  # of each handbook
_SUBJECTS = Path(__file__).parent / "handbooks.txt"  # of each handbook its subject and sections
_PERSONS = (
    "A trained person",
    "The owner",
    "Our partner in the region",
    "The office in Bern",
    "Whoever signed for it",
)
_VERBS = ("writes to us", "keeps the papers", "looks at the date", "asks for a form", "waits for an answer", "calls")
_TAILS = ("within %d days", "at least %d times a year", "before the month of the %dth visit", "for %d weeks", "")


class PackedSentences:
    """Sentences as they come, as many as fit: what a chunker does that knows of no structure."""

    def __init__(self, max_tokens: int, language: str) -> None:
        self._max_tokens, self._language = max_tokens, language

    @property
    def settings(self) -> Settings:
        """What this chunker is."""
        return {"kind": "packed", "max_tokens": self._max_tokens}

    def split(self, text: str, offsets: IntArray) -> list[Span]:
        """Cut ``text`` into chunks."""
        starts, stops = offsets[:, 0], offsets[:, 1]
        ends = list(sentence_ends("sentencex", self._language)(text))[:-1]
        before = np.searchsorted(starts, ends).tolist()
        # Of ends with the same tokens before them the last one; so a token begins in every sentence.
        places = {count: end for count, end in zip(before, ends, strict=True) if 0 < count < len(offsets)}
        sentences = [0, *places.values(), len(text)]
        cuts = [0]
        for start, end in pairwise(sentences):
            first, last = int(np.searchsorted(stops, start, side="right")), int(np.searchsorted(starts, end))
            own = offsets[first:last]
            if len(own) > self._max_tokens:
                begins_character, begins_word = cut_places(text, own)
                begin = 0
                while (begin := self._next(begin, len(own), begins_character, begins_word)) < len(own):
                    cuts.append(int(own[begin, 0]))
            cuts.append(end)
        firsts, lasts = np.searchsorted(stops, cuts, side="right"), np.searchsorted(starts, cuts)
        spans, begin = [], 0
        for end in range(1, len(cuts)):
            if end + 1 == len(cuts) or lasts[end + 1] - firsts[begin] > self._max_tokens:
                spans.append(Span(cuts[begin], cuts[end]))
                begin = end
        return spans

    def _next(self, begin: int, stop: int, begins_character: list[bool], begins_word: list[bool]) -> int:
        return next_cut(begin, begin, stop, self._max_tokens, begins_character, begins_word)


@dataclass(frozen=True)
class Section:
    """A section of a handbook: its title, and where its text begins."""

    title: str
    start: int


def write_handbook(name: str, titles: Sequence[str], dice: random.Random) -> tuple[Document, list[Section]]:
    text, sections = f"# {name}: handbook\n\nThis is what you need to know of it. {_prose(dice)}\n\n", []
    for title in titles:
        text += f"## {title.capitalize()}\n\n"
        sections.append(Section(title, len(text)))
        text += "".join(f"{_part(dice)}\n\n" for _ in range(dice.randint(1, 3)))
    return Document(f"{name}.md", text), sections


def _part(dice: random.Random) -> str:
    rows = range(dice.randint(2, 5))
    return dice.choice(
        [
            *[_prose(dice)] * 4,
            "\n".join(f"- {_sentence(dice)}" for _ in rows),
            "| day | fee |\n| --- | --- |\n"
            + "\n".join(f"| {dice.randint(1, 99)} | {_sentence(dice)} |" for _ in rows),
            "Run this:\n\n```sh\n" + "\n".join(f"device --set {dice.randint(1, 99)} --wait" for _ in rows) + "\n```",
        ]
    )


def _prose(dice: random.Random) -> str:
    return " ".join(_sentence(dice) for _ in range(dice.randint(1, 4)))


def _sentence(dice: random.Random) -> str:
    tail = dice.choice(_TAILS)
    end = " " + (tail % dice.randint(2, 90) if "%" in tail else tail) if tail else ""
    return f"{dice.choice(_PERSONS)} {dice.choice(_VERBS)} and {dice.choice(_VERBS)}{end}."


def write_lines(dice: random.Random) -> list[Document]:
    words = ["so", "and then", "it was", "the valve", "we know", "maybe", "I think", "on Monday", "two of them", "okay"]
    said = [" ".join(dice.choices(words, k=dice.randint(1, 9))) for _ in range(900)]
    spoken = [
        f"[00:{n // 60:02}:{n % 60:02}] {dice.choice(('Joel', 'Ann'))}: {one}" for n, one in enumerate(said[:300])
    ]
    logged = [f"2026-11-{n % 28 + 1:02} 10:{n % 60:02} INFO {one}" for n, one in enumerate(said[300:600])]
    table = [f"{n},{dice.randint(1, 9999)},{one.replace(' ', ';')}" for n, one in enumerate(said[600:])]
    return [
        Document(name, "\n".join(lines) + "\n")
        for name, lines in (("spoken.txt", spoken), ("log.txt", logged), ("table.csv", table))
    ]


def count_faults(text: str, spans: Sequence[Span], offsets: IntArray, max_tokens: int) -> dict[str, int]:
    """Faults in Markdown; fences and rows that do not fit are not counted."""
    fences = [one.span() for one in re.finditer(r"(?m)^( *)```.*\n(?:.*\n)*?\1``` *$", text)]
    outside = lambda one: not any(start <= one.start() < end for start, end in fences)  # noqa: E731
    headings = [one for one in re.finditer(r"(?m)^#{1,6} .*\S", text) if outside(one)]
    rows = [one.span() for one in re.finditer(r"(?m)^\|.*\|$", text) if outside(one)]
    inner = np.array([span.start for span in spans[1:]])
    begins = {len(text[: span.end].rstrip()): span.start for span in spans}  # by where a chunk's text ends

    def n_cut(ranges: list[tuple[int, int]]) -> int:
        fitting = [(start, end) for start, end in ranges if _n_tokens(offsets, start, end) <= max_tokens]
        return sum(bool(((inner > start) & (inner < end)).any()) for start, end in fitting)

    return {
        "n_headings": len(headings),
        "headings_last": sum(begins.get(one.end(), one.start()) < one.start() for one in headings),
        "n_fences": len(fences),
        "fences_cut": n_cut(fences),
        "n_rows": len(rows),
        "rows_cut": n_cut(rows),
    }


def count_lines_cut(text: str, spans: Sequence[Span], offsets: IntArray, max_tokens: int) -> int:
    """Cuts inside lines that would fit a chunk."""
    n_cut = 0
    for span in spans[1:]:
        start, end = text.rfind("\n", 0, span.start) + 1, text.find("\n", span.start)
        n_cut += start < span.start and _n_tokens(offsets, start, end) <= max_tokens
    return n_cut


def _n_tokens(offsets: IntArray, start: int, end: int) -> int:
    return int(np.searchsorted(offsets[:, 0], end) - np.searchsorted(offsets[:, 1], start, side="right"))


def make_chunker(kind: str, max_tokens: int, language: str = "en") -> Chunker:
    kinds = {"structure": StructureChunker, "sentence": SentenceChunker}
    return kinds[kind](max_tokens=max_tokens) if kind in kinds else PackedSentences(max_tokens, language)


def ask(encoder: Encoder, chunker: Chunker, books: Sequence[tuple[Document, list[Section]]]) -> tuple[int, list[str]]:
    """How many questions find their section's beginning first, and the others."""
    missed = []
    with Index.temporary(encoder=encoder, chunker=chunker) as index:
        index.add([book for book, _ in books])
        for book, sections in books:
            for section in sections[:: len(sections) // _QUESTIONS][:_QUESTIONS]:
                chunk = index.search(section.title, 1)[0].chunk
                if chunk.document_id != book.id or not chunk.start <= section.start < chunk.end:
                    missed.append(section.title)
    return len(books) * _QUESTIONS - len(missed), missed


def total(counts: Iterator[dict[str, int]]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for one in counts:
        summed = {name: summed.get(name, 0) + number for name, number in one.items()}
    return summed


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--docs", type=Path, default=Path(__file__).parent.parent, help="a folder of Markdown files")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128])
    arguments.add_argument("--chunkers", nargs="+", default=KINDS, choices=KINDS)
    arguments.add_argument("--no-search", action="store_true", help="count faults only")
    options = arguments.parse_args()

    dice = random.Random(0)
    subjects = (line.split(": ") for line in _SUBJECTS.read_text(encoding="utf-8").splitlines())
    books = [write_handbook(name, titles.split(", "), dice) for name, titles in subjects]
    lines = write_lines(dice)
    paths = sorted(one for one in options.docs.rglob("*.md") if not {".venv", "build"} & set(one.parts))
    docs = [Document(str(path), path.read_text(encoding="utf-8")) for path in paths]
    encoder = Encoder.load(LIGHT_MODEL)
    figures: dict[str, object] = {}
    tokens = {one.id: encoder.tokenize([one.text])[0] for one in [*docs, *lines, *(book for book, _ in books)]}
    for size in options.sizes:
        for kind in options.chunkers:
            chunker = make_chunker(kind, size)
            spans = {
                one.id: chunker.split(one.text, tokens[one.id].offsets)
                for one in [*docs, *lines, *(book for book, _ in books)]
            }
            faults = {
                name: total(count_faults(one.text, spans[one.id], tokens[one.id].offsets, size) for one in documents)
                for name, documents in (("docs", docs), ("handbooks", [book for book, _ in books]))
            }
            n_cut = sum(count_lines_cut(one.text, spans[one.id], tokens[one.id].offsets, size) for one in lines)
            own: dict[str, object] = {**faults, "lines_cut": n_cut, "n_chunks": sum(map(len, spans.values()))}
            if not options.no_search:
                own["found"], missed = ask(encoder, chunker, books)
                print(size, kind, "missed:", "; ".join(missed), flush=True)
            figures[f"{kind}_{size}"] = own
            print(size, kind, own, flush=True)
    report("structure", figures, save=options.save)


if __name__ == "__main__":
    main()
