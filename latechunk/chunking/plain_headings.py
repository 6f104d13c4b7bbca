r"""Find the headings of plain text: ``== Wiki ==``, or else chapters, articles and numbered sections on their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from latechunk.types import Block

# "== Wiki ==", or " = = Wiki = = ".
WIKI = re.compile(r"\n {0,3}((=(?: ?=){0,5}) *([^=\s][^\n]{0,199}?) *\2)[ \t]*(?=\n|\Z)")
SENTENCE_END = re.compile(r"[.!?;,:。！？…][\"'”’)\]]*\Z")
_FIRST = re.compile(r"\n[ \t]*\n[ \u3000]{0,3}(\S[^\n]{0,99}?)[ \t]*(?=\n)")  # the first line of a paragraph
_LAST = re.compile(r"\n[ \u3000]{0,3}(\S[^\n]{0,59}?)[ \t]*(?=\n[ \t]*\n)")
_ALONE = re.compile(r"\n[ \t]*\n")
_MOST_WORDS = 12

_NUMBER = r"\s+(?:[\dIVXLC]+\b|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?=\s*(?:\Z|[-–—:.])))"
_COUNT = "[0-9０-９〇○零一二三四五六七八九十百千]{1,9}"
# What stands above what, the outermost first. Articles and numbered sections stand below all of them.
_TIERS = [
    re.compile(words, re.I)
    for words in (
        rf"(?:book|buch|livre|libro|книга|act|(?:appendix|annex)(?=\s+[\dIVXLC])){_NUMBER}"
        r"|(?:appendix|annexe?|schedule|exhibit|attachment|anhang|anlage|anexo|allegato)\s+(?:(?-i:[A-Z])|[\dIVXLC]+)"
        rf"(?=\s*(?:\Z|[-–—:(]\s*(?!\d)))|第{_COUNT}[编編]|제\s?\d+\s?편",
        rf"(?:part|teil|partie|parte|часть|раздел|розділ|phần){_NUMBER}|第{_COUNT}[部篇]",
        r"(?:title|titel|titre|título|titolo)\s+(?-i:[IVXLC]+)\b",
        rf"(?:chapter|chapitre|kapitel|capítulo|capitolo|hoofdstuk|rozdział|глава|κεφάλαιο|chương|scene|अध्याय|บทที่|หมวด"
        rf"|الفصل|الباب|فصل|פרק){_NUMBER}|(?:الفصل|الباب)\s+ال\w+|第{_COUNT}章|제\s?\d+\s?장",
        rf"abschnitt{_NUMBER}|第{_COUNT}[节節]|제\s?\d+\s?절",
    )
]
_NUMBERED = re.compile(r"(\d{1,3}(?:\.\d{1,3})*)\.?\s+([^\W\d_])")
# "§ 312g Widerrufsrecht", and "Article 5", "Article L. 121-3" and "Art. 5 bis" though nothing follows them.
_ARTICLE = re.compile(
    r"(?:§ ?|(?:section|article|artikel|artículo|articolo|artigo|artykuł|статья|стаття|άρθρο|madde|điều|المادة|ماده"
    r"|סעיף|धारा|अनुच्छेद|มาตรา|art\.) )(?:[LRDA]\.? ?)?(\d{1,4}(?:\.\d{1,3})*)(?:-\d{1,3})*"
    r"(?:[a-z]|er| ?(?:bis|ter|quater|quinquies))?\.?(?:\s+([^\W\d_])|\s*[-–—:]\s+\w|\Z)",
    re.I,
)
_ARTICLE_ALONE = re.compile(
    r"(?i:article)\s+[IVXLC]+\.?(?=\s*(?:\Z|[-–—:]|[A-Z]))"
    rf"|第{_COUNT}[条條](?:之{_COUNT})?(?=\Z|[\s【（(])|제\s?\d+\s?조(?:의\s?\d+)?(?=\Z|[\s(])"
)
_TITLE = re.compile(r"\.?\s*[.:–—-]\s")  # what may follow a number, and a sentence's end after it
# Lines of this form are headings in Chinese, Japanese and Korean though no blank lines stand around them.
_UNSPACED = re.compile(
    rf"\n[ \t\u3000]*((?:第{_COUNT}[编編章节節篇]|제 ?\d+ ?[편장절])[^\n。，；：！？,.;:!?]{{0,30}})(?=\n)"
)


def find_plain_headings(text: str) -> list[Block]:
    r"""Find the headings of a text that has none of Markdown.

    Args:
        text: With ``\n`` at the ends of its lines.
    """
    text = f"\n\n{text}"
    wiki = [one for one in WIKI.finditer(text) if len(one.group(2)) > 1 or text[: one.start()].isspace()]
    if wiki:
        return [Block("heading", one.start(1) - 2, one.end(1) - 2, one.group(2).count("=")) for one in wiki]
    lines = sorted({*_first_lines(text), *((one.start(1), one.end(1)) for one in _UNSPACED.finditer(text))})
    ranked = [(start, end, rank) for start, end in lines if (rank := _rank(text[start:end].replace("\n", " ")))]
    tiers = sorted({tier for _, _, (tier, _) in ranked if tier < len(_TIERS)})
    blocks = [
        Block("heading", start - 2, end - 2, tiers.index(tier) + 1 if tier in tiers else len(tiers) + depth)
        for start, end, (tier, depth) in ranked
    ]
    return list(_without_lists(text[2:], blocks))


def _first_lines(text: str) -> Iterator[tuple[int, int]]:
    """Lines alone between blank lines, and first lines that hold a number and no title, with a title under them."""
    for first in _FIRST.finditer(text):
        start, end = first.span(1)
        if _ALONE.match(text, first.end()):
            yield start, end
        elif _is_bare(text[start:end]) and not text[first.end() + 1 : first.end() + 5].lstrip()[:1].islower():
            under = _LAST.match(text, first.end())
            is_title = under and not SENTENCE_END.search(under[1]) and not under[1][0].islower() and not _rank(under[1])
            yield start, under.end(1) if under and is_title and len(under[1].split()) <= _MOST_WORDS else end


def _is_bare(line: str) -> bool:
    """Whether a line is the word and the number of a chapter or an article, without a title."""
    return any(words.fullmatch(line.removesuffix(".")) for words in (*_TIERS, _ARTICLE_ALONE, _ARTICLE))


def _rank(line: str) -> tuple[int, int] | None:
    """The tier of a heading, and how deep its number is below all tiers; None of a line that is none."""
    if len(line.split()) > _MOST_WORDS:
        return None
    is_sentence = SENTENCE_END.search(line) and not _is_bare(line)
    for tier, words in enumerate(_TIERS):
        if found := words.match(line):
            return None if is_sentence and not _TITLE.match(line, found.end()) else (tier, 0)
    if is_sentence:
        return None
    if _ARTICLE_ALONE.match(line):
        return len(_TIERS), 1
    if found := _NUMBERED.match(line):
        is_heading = not found[2].islower()
    else:
        found = _ARTICLE.match(line)
        is_heading = found is not None and (found[2] or "A").isupper()
    return (len(_TIERS), found[1].count(".") + 1) if found and is_heading else None


def _without_lists(text: str, blocks: list[Block]) -> Iterator[Block]:
    """Headings without those of a table of contents: of several with nothing between them, each deeper than the last.

    One whose title the table has named before begins the text.
    """
    above: list[tuple[Block, bool]] = []
    titles: set[str] = set()
    end = 0
    for block in blocks:
        if text[end : block.start].strip():
            yield from (one for one, is_item in above if not is_item)
            above, titles = [], set()
        title, end = text[block.start : block.end], block.end
        while above and above[-1][0].level > block.level:
            above.pop()
        is_item = bool(above) and above[-1][0].level == block.level
        if is_item:
            above.pop()
        above.append((block, is_item and title not in titles))
        titles.add(title)
    yield from (one for one, is_item in above if not is_item)
