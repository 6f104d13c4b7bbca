r"""Find the headings of plain text: ``== Wiki ==``, or else chapters, articles and numbered sections on their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from latechunk.chunking.cuts import is_caseless, is_small
from latechunk.types import Block

# "== Wiki ==", or " = = Wiki = = ".
WIKI = re.compile(r"\n {0,3}((=(?: ?=){0,5}) *([^=\s][^\n]{0,199}?) *\2)[ \t]*(?=\n|\Z)")
SENTENCE_END = re.compile(r"[.!?;,:。！？；，：、…؟؛،۔।॥။៕។፧።፣։][\"'”’)\]]*\Z")
_FIRST = re.compile(r"\n[ \t]*\n[ \u3000]{0,3}(\S[^\n]{0,99}?)[ \t]*(?=\n)")  # the first line of a paragraph
_LAST = re.compile(r"\n[ \u3000]{0,3}(\S[^\n]{0,59}?)[ \t]*(?=\n[ \t]*\n)")
_ALONE = re.compile(r"\n[ \t]*\n")
_MOST_WORDS, _MOST_BARE = 12, 40  # words of a heading, and characters of one without a title

# Roman numerals are typed with Cyrillic and Greek letters, too; Greek and Hebrew count with letters of their own.
_NUMBER = (
    r"\s+(?:№ ?|nr\.? |č\. )?(?:\(?[\dIVXLCІХΙ]+(?:ère|er|re|\.?[ºª°])?(?!\w)|[Α-Ω]{1,3}['’´΄ʹ]|[א-ת]{1,3}['’׳]"
    r"|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?=\s*(?:\Z|[-–—:.])))"
)
_COUNT = "[0-9０-９〇○零一二三四五六七八九十百千]{1,9}"


_ATTACHED = (
    "appendix|annexe?|schedule|exhibit|attachment|anhang|anlage|anexo|allegato|bijlage|załącznik|příloha|приложение|додаток"
    "|παρ[άα]ρτημα|ملحق|الملحق|پیوست|נספח|תוספת|परिशिष्ट|अनुसूची|তফসিল|இணைப்பு|phụ lục|დანართი|հավելված"
)
_PARTS = (
    "teil|partie|parte|deel|część|část|часть|частина|раздел|розділ|μ[έε]ρος|kısım|بخش|חלק|भाग|ভাগ|பகுதி|ภาค|ផ្នែក(?:ទី)?"
    "|အပိုင်း|ክፍል|კარი|մաս"
)
_CHAPTERS = (
    "chapitre|kapitel|capítulo|capitolo|hoofdstuk|rozdział|dział|kapitola|hlava|глава|κεφ[άα]λαιο|bölüm|अध्याय"
    "|অধ্যা(?:য়|য়)|அத்தியாயம்|فصل|باب|פרק|ምዕራፍ|თავი|գլուխ"
)
_SECTIONS = "abschnitt|sección|seção|secção|sezione|afdeling|oddíl|εν[όο]τητα|ส่วนที่|բաժին"
# What stands above what, the outermost first. Articles and numbered sections stand below all of them.
_TIERS = [
    re.compile(words, re.I)
    for words in (
        rf"(?:book|buch|livre|libro|livro|księga|kniha|книга|act|(?:appendix|annex)(?=\s+[\dIVXLC])){_NUMBER}"
        rf"|(?:{_ATTACHED})\s+(?:№ ?|nr\.? |č\. )?(?:(?-i:[A-Z])|[\dIVXLCΙ]+|[א-ת]['’׳])(?=\s*(?:\Z|[-–—:(]\s*(?!\d)))"
        rf"|(?:附[件录錄]|付録|別表第?|별표|부록)\s?(?:{_COUNT}|[A-Z])(?=\Z|[\s：:（(])|(?:附則|附则|부칙)\Z"
        rf"|第{_COUNT}[编編]|제\s?\d+\s?편",
        rf"(?:part|phần|{_PARTS}){_NUMBER}|part\s+(?-i:[A-Z])(?=\s*(?:\Z|[-–—:]))|phần\s+thứ\s|(?:القسم|الجزء)\s+ال\w+|第{_COUNT}(?:[部篇]|部分)",
        r"(?:title|titel|titre|título|titolo|tytuł|τ[ίι]τλος)\s+(?-i:[IVXLC]+(?:er|ER)?)(?!\w)|ลักษณะ\s+\d+",
        rf"(?:chapter|capo|chương|scene|บทที่|หมวด|الفصل|الباب|ជំពូក(?:ទី)?|အခန်း|{_CHAPTERS}){_NUMBER}"
        rf"|(?:الفصل|الباب)\s+ال\w+|第{_COUNT}章|제\s?\d+\s?장",
        rf"(?:mục|{_SECTIONS}){_NUMBER}|第{_COUNT}[节節]|제\s?\d+\s?절",
        r"(?-i:[IVX][IVXLC]{0,5}\.)(?=\s+[^\W\d_])",  # C. and L. are the third and the twelfth letter
        r"[一二三四五六七八九十]{1,3}、(?=[^\n]{1,30}\Z)",
        r"[（(][一二三四五六七八九十]{1,3}[）)](?=[^\n]{1,30}\Z)",
    )
]
# One of these and a word before or after it, and nothing else: "Capítulo primero", "Erster Teil".
_PAIRS = [
    re.compile(rf"(?-i:(?![a-zà-ÿа-я]))(?:(?:{nouns})\s+[^\s\d.,;:]+|[^\s\d.,;:]+\s+(?:{nouns}))\.?\Z", re.I)
    for nouns in ("(?!)", _PARTS, "título|τίτλος", _CHAPTERS, _SECTIONS)
]
_ROMAN = 5  # the tier of "I. Scope", which is one where "II." follows: else it may be a name
# Chinese and Japanese put no space after the number.
_NUMBERED = re.compile(r"(\d{1,3}(?:[.．]\d{1,3})*)(?:\.?\s+|[.．、]\s*(?=[\u3040-\u30ff\u4e00-\u9fff]))([^\W\d_])")
# "§ 312g Widerrufsrecht", and "Article 5", "Article L. 121-3" and "Art. 5 bis" though nothing follows them.
_ARTICLE = re.compile(
    r"(?:§ ?|(?:section|clause|article|artikel|artículo|cláusula|articolo|artigo|artykuł|článek|статья|стаття|[άα]ρθρο"
    r"|madde|điều|المادة|مادة|ماده|סעיף|धारा|अनुच्छेद|খণ্ড|ধারা|অনুচ্ছেদ|பிரிவு|มาตรา|ข้อ|មាត្រា|ပုဒ်မ|አንቀጽ|მუხლი|հոդված"
    r"|art\.|čl\.) )(?:[LRDA]\.? ?)?\(?(\d{1,4}(?:\.\d{1,3})*)(?:-\d{1,3})*\)?"
    r"(?:[a-z]|er|\.?[ºª°]| ?(?:bis|ter|quater|quinquies))?(\.)?(?:\s+([^\W\d_])|\s*[-–—:]\s+\w|\Z)",
    re.I,
)
_ARTICLE_ALONE = re.compile(
    r"(?i:article)\s+[IVXLC]+\.?(?=\s*(?:\Z|[-–—:]|[A-Z]))|(?i:article)\s+(?:premier|unique)\Z"
    r"|(?i:artículo|artigo|cláusula|clausola)\s+[^\W\d_]+\Z|المادة\s+ال\w+\Z"
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
    if not {"I.", "II."} <= {text[start:end].split()[0] for start, end, (tier, _) in ranked if tier == _ROMAN}:
        ranked = [one for one in ranked if one[2][0] != _ROMAN]
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
        elif _is_bare(text[start:end]) and not is_small(text[first.end() + 1 : first.end() + 5].lstrip()[:1]):
            under = _LAST.match(text, first.end())
            is_title = under and not SENTENCE_END.search(under[1]) and not is_small(under[1][0]) and not _rank(under[1])
            yield start, under.end(1) if under and is_title and len(under[1].split()) <= _MOST_WORDS else end


def _is_bare(line: str) -> bool:
    """Whether a line is the word and the number of a chapter or an article, without a title."""
    return len(line) <= _MOST_BARE and any(
        words.fullmatch(line.removesuffix(".")) for words in (*_TIERS, *_PAIRS, _ARTICLE_ALONE, _ARTICLE)
    )


def _rank(line: str) -> tuple[int, int] | None:
    """The tier of a heading, and how deep its number is below all tiers; None of a line that is none."""
    if len(line.split()) > _MOST_WORDS:
        return None
    is_sentence = SENTENCE_END.search(line) and not _is_bare(line)
    for tier, words in enumerate(_PAIRS if line.count(" ") == 1 else ()):
        if words.match(line):
            return tier, 0
    for tier, words in enumerate(_TIERS):
        if found := words.match(line):
            return None if is_sentence and not _TITLE.match(line, found.end()) else (tier, 0)
    if is_sentence:
        return None
    if _ARTICLE_ALONE.match(line):
        return len(_TIERS), 1
    if found := _NUMBERED.match(line):
        is_heading = not is_small(found[2])
    else:
        found = _ARTICLE.match(line)
        is_heading = found is not None and (found[3] is None or _begins_title(found[3], found[2] is not None))
    return (len(_TIERS), len(re.findall("[.．]", found[1])) + 1) if found and is_heading else None


def _begins_title(letter: str, is_apart: bool) -> bool:
    """Whether a title begins with this letter after the number of an article, and not the article itself.

    No mark ends a sentence of Thai, so there a stop must stand between both.
    """
    return letter.isupper() or (is_caseless(letter) and (is_apart or not "\u0e00" <= letter <= "\u0eff"))


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
