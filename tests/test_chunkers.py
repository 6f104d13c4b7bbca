import re
import subprocess
import sys
import textwrap
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Block, Document, SentenceChunker, Span, StructureChunker, TokenChunker
from latechunk.chunking.languages import choose_language, identifier
from latechunk.chunking.layout import find_units
from latechunk.chunking.registry import CHUNKERS, chunker_from_settings
from latechunk.cli.options import ChunkerName
from latechunk.embedding.chunks import token_ranges
from latechunk.errors import InputError, MissingDependencyError, StoreError
from tests.conftest import SCRIPTS

TEXT = "Berlin is big. It grows. Its mayor is here! Who knows?\n\nA new paragraph begins. Done."


def word_offsets(text):
    return np.array([match.span() for match in re.finditer(r"\w+|[^\w\s]", text)], dtype=np.int64).reshape(-1, 2)


def texts_of(text, spans):
    return [text[span.start : span.end] for span in spans]


def tokens_of(offsets, spans):
    return [end - start for start, end in token_ranges(offsets, spans)]


LAYOUT = [
    *("# ", "## H\n\n", "- ", "1. ", "7.\n\n", "```\n", "| a | b |\n| - | - |\n| c | d |\n", "\n", "\n\n", "  ", "Q. "),
    *(
        "[00:01] Joel: ",
        "a b c. ",
        "Abc def ghi jkl. ",
        "=====\n",
        "text\n",
        "A:\n",
        "**b.** ",
        "\r\n",
        "x,y,z\n",
        "😀",
    ),
]


@st.composite
def tokenised(draw):
    """Any text with any tokenisation that obeys the contract: ordered, non-empty ranges, shared characters."""
    alphabet = st.sampled_from([*"abcAB.!?。। \n\r\t\x00“”'\"", "😀", "\u0301", "\u2028", "\u00a0", "ก"])
    laid_out = st.lists(st.sampled_from(LAYOUT), max_size=30).map("".join)
    text = draw(st.one_of(st.text(alphabet=alphabet, min_size=1, max_size=80), laid_out))
    text += draw(st.sampled_from(list(SCRIPTS.values())))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=60)) | {0, len(text)})
    offsets = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        kind = draw(st.sampled_from(["token", "token", "gap", "shared"]))
        offsets += [(start, end)] * {"token": 1, "gap": 0, "shared": 3}[kind]
    return text, np.array(offsets or [(0, len(text))], dtype=np.int64)


chunkers = st.one_of(
    st.builds(SentenceChunker, max_tokens=st.integers(1, 20), overlap=st.integers(0, 3)),
    st.builds(SentenceChunker, max_tokens=st.integers(1, 20), max_sentences=st.integers(1, 3)),
    st.builds(StructureChunker, max_tokens=st.integers(1, 20)),
    st.integers(1, 20).flatmap(
        lambda size: st.builds(TokenChunker, max_tokens=st.just(size), overlap=st.integers(0, size - 1))
    ),
)


@given(tokenised(), chunkers)
def test_chunks_cover_the_text_without_gaps_and_each_holds_a_token(case, chunker):
    text, offsets = case

    spans = chunker.split(text, offsets)

    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    for before, after in zip(spans, spans[1:], strict=False):
        assert before.start < after.start <= before.end < after.end
    token_ranges(offsets, spans)
    if not getattr(chunker, "overlap", 0):
        assert "".join(texts_of(text, spans)) == text


@given(tokenised(), chunkers)
def test_no_chunk_has_more_tokens_than_allowed_unless_one_character_has(case, chunker):
    text, offsets = case

    spans = chunker.split(text, offsets)

    for start, end in token_ranges(offsets, spans):
        own_starts = {int(place) for place in offsets[start:end, 0]}
        assert end - start <= chunker.max_tokens or len(own_starts) == 1


@given(tokenised(), st.integers(1, 20))
def test_trimmed_spans_lose_nothing_but_white_space(case, size):
    text, offsets = case

    for chunker in (SentenceChunker(max_tokens=size), TokenChunker(max_tokens=size)):
        whole = chunker.split(text, offsets)
        trimmed = type(chunker)(max_tokens=size, trim=True).split(text, offsets)
        token_ranges(offsets, trimmed)
        for before, after in zip(whole, trimmed, strict=True):
            chunk = text[before.start : before.end]
            start = before.start + len(chunk) - len(chunk.lstrip())
            end = start + len(chunk.strip())
            holds_token = ((offsets[:, 0] < end) & (offsets[:, 1] > start)).any()
            assert after == (Span(start, end) if holds_token and start < end else before)


def test_sentences_are_packed_whole():
    offsets = word_offsets(TEXT)

    spans = SentenceChunker(max_tokens=8).split(TEXT, offsets)

    assert texts_of(TEXT, spans) == [
        "Berlin is big. It grows. ",
        "Its mayor is here! Who knows?\n\n",
        "A new paragraph begins. Done.",
    ]
    assert tokens_of(offsets, spans) == [7, 8, 7]


def test_one_sentence_a_chunk():
    spans = SentenceChunker(max_sentences=1).split(TEXT, word_offsets(TEXT))

    assert [text.strip() for text in texts_of(TEXT, spans)] == [
        "Berlin is big.",
        "It grows.",
        "Its mayor is here!",
        "Who knows?",
        "A new paragraph begins.",
        "Done.",
    ]


def test_a_chunk_repeats_the_sentences_before_it():
    spans = SentenceChunker(max_tokens=9, overlap=1).split(TEXT, word_offsets(TEXT))

    assert [text.strip() for text in texts_of(TEXT, spans)] == [
        "Berlin is big. It grows.",
        "It grows. Its mayor is here!",
        "Its mayor is here! Who knows?",
        "Who knows?\n\nA new paragraph begins.",
        "A new paragraph begins. Done.",
    ]


def test_a_long_sentence_is_split_at_words_not_inside_them():
    text = "An extraordinarily long sentence without any stop in it"
    offsets = np.array([(0, 2), (3, 8), (8, 18), (19, 23), (24, 32), (33, 40), (41, 44), (45, 49), (50, 52), (53, 55)])

    spans = SentenceChunker(max_tokens=2).split(text, offsets)

    assert texts_of(text, spans)[:3] == ["An ", "extraordinarily ", "long sentence "]
    assert max(tokens_of(offsets, spans)) == 2


def test_an_abbreviation_ends_no_sentence():
    text = "Dr. Smith came at 3.5 p.m. to see us. He left."

    spans = SentenceChunker(max_sentences=1).split(text, word_offsets(text))

    assert texts_of(text, spans) == ["Dr. Smith came at 3.5 p.m. to see us. ", "He left."]


BODY = "The pump must be checked each week by a trained person. " * 3


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("fr", "Le président, M. Macron, est venu.|Il a vu M. Le Pen.|Le Pr. Durand parle."),
        ("hi", "डॉ. शर्मा दिल्ली में रहते हैं।|क्या आप जानते हैं?|यह अंत है।"),
        ("ar", "قال د. أحمد إنه سيعود.|هل زرت القاهرة؟|نعم."),
        ("vi", "TS. Nguyễn Văn A sống ở đó.|TP. Hồ Chí Minh lớn hơn."),
        ("tr", "19. yüzyılda küçüktü.|Sn. Kaya geldi."),
        ("ru", "Население около 13 млн. человек.|См. рис. 3 и гл. 2 ниже."),
        ("nb", "Den 3. mai kom han.|Han gikk."),
        ("pl", "Pan dr. Kowalski mieszka tu.|Zob. art. 5 ust. 2 pkt. 3 ustawy."),
        ("en", "See vol. 3 and Eq. 5 of it.|Version 2.0. is out.|It was at com.acme.Pump.run here."),
        ("en", "i went home.|then i slept.|it rained."),  # no sentence begins with a capital
        ("ja", "「行きますか？」と彼は聞いた。|雨が降っていた。|『何!』そう。"),
        ("km", "ភ្នំពេញជារាជធានី។|មានប្រជាជនច្រើន។|ទីក្រុងនេះស្អាតណាស់៕"),
        ("my", "ရန်ကုန်မြို့သည် မြန်မာနိုင်ငံ၏ အကြီးဆုံးမြို့ဖြစ်သည်။|ဟုတ်ကဲ့၊ ရောက်ဖူးပါသည်။"),
        ("bo", "ལྷ་ས་ནི་བོད་ཀྱི་རྒྱལ་ས་ཡིན།|ང་ལྷ་ས་ལ་འགྲོ་མྱོང་། །|ཆུ་ཚོད་གསུམ་པ་རེད།"),
        ("am", "ከተማዋ በጣም ትልቅ ናት፡፡|ጥሩ ነው።"),
        ("th", "ในปี ค.ศ. 1606 และ พ.ศ. 2500 ดร. สมชาย มา."),
        ("en", "Written by M.\n\n|Macron came."),
        (
            "de",
            "Im 19. Jahrhundert war es so.|Die 3. Auflage kam.|Ende 20. Jh. kam er.|Das war 1999.|Er ging um 5.|So.",
        ),
        ("fr", "Il cite l'article L. 121-3 et R. 5 du code.|Il prend la vitamine D.|5 personnes vont."),
        ("ar", "يزن ٣.٥ كيلو.|هذا هو."),
        ("hi", "यह ३.५ किलो है।|हाँ।"),
        ("id", "Harganya Rp. 5.000, lihat hlm. 3.|Ya."),
        ("zh", "它价格３.５元，贵。|是。"),
        ("sv", "Kl. 15 kom han.|Se där."),
        ("en", "He left, as in vol. IV of it.|It is Tom's.|5 came."),
        ("en", "He lives on Main St.|The house is big.|She is in St. Louis."),
        ("en", "She has a BS.|The college gave a cap.|3 came by TS.|They left."),
        ("es", "El cap. 3 lo dice.|Sí."),
        ("tr", "Kanunun md. 5 uyarınca.|Evet."),
        ("vi", "Ở TP. Hồ Chí Minh có ThS. Nam.|Đúng."),
        ("he", 'ד"ר כהן וגב\' לוי חתמו.|לפי סעיף 5 זה אסור.|המחיר הוא 5 ש"ח לחודש.|עו"ד י. לוי הגיע.'),
        ("ru", "— Придёшь? — спросил он.|«Нет!» — сказала она.|В ок. 5 км от него."),
        ("el", "«Θα έρθεις;» ρώτησε.|Βλ. άρθ. 5 παρ. 2 του ν. 4412/2016."),
        ("pl", "Sp. z o.o. odpowiada.|Pan mgr inż. Kowalski z dn. 3 maja.|Por. s. 12 i nast. tekstu."),
        ("uk", "П. І. Іваненко та інші.|Їх бл. 5."),
        ("fr", "J.-P. Sartre naquit à St. Cloud.|Voir l’art. L. 123-4 du 5 févr. 2010."),
        ("pt", "Nos termos do art. 5, n.º 2, da Lei n.º 7/2009.|No séc. XIX era assim."),
        ("cs", "Jan Novák, Ph.D. podepsal.|Tak."),
        ("tr", "5. maddenin 2. fıkrası uyarınca.|Örn. İstanbul."),
        ("ko", "2010. 3. 5. 시행되었다.|“네.”라고 말했다."),
        ("ka", "ე.ი. თბილისში.|ე. წ. კანონი.|იხ. გვ. 12."),
        ("ta", "மு. கருணாநிதி வந்தார்.|விலை ரூ. 5 ஆகும்."),
        ("hi", "सी. वी. रमन आए।|वह ई.पू. 300 में हुआ।"),
        ("fa", "در سال ۱۳۵۷ ه.ش. انقلاب شد.|تمام."),
        ("th", "ในปีค.ศ.1625 เขามาถึง พ.ร.บ. คอมพิวเตอร์ เวลา 17:20 น. ตามเวลา"),
        ("ja", "値は３．５である．|次に示す．"),
        ("sv", "Han kom hem.|”Jag är trött.”|Hon gick, dvs. Anna och Jfr. Svensson, t.ex. Stockholm."),
        ("fi", "Hän tuli.\n|”Tuletko?” hän kysyi.|Ks. Virtanen, mm. Helsinki, ns. Kalevala."),
        ("en", "We met Ms. Smith and approx. Ten men at Ft. Worth.|’Twas late.|Then they left."),
        ("ru", "Это, напр., собака, т. е. Полкан, т.е. Шарик.|Он умер 1 янв. 2024 г. в Москве у пл. Ленина."),
        ("uk", "Це було 1 січ. 2024 року.|Так."),
        ("nl", "Op 1 jan. 2024 kwam ds. Jansen, o.a. Gent.|’t Is laat."),
        ("ro", "La 1 ian. 2024 a venit dl. Popescu pe Str. Mihai, alin. 2.|Da."),
        ("pl", "Zob. str. 12, rys. 3, tzn. Polska, tj. Unia, m.in. Łódź i ks. Nowak.|Tak."),
        ("el", "Βλ. Παπάς, εικ. 3, δηλ. Αθήνα, οδ. Ερμού.|Ναι."),
        ("tr", "Sultan II. Mehmed, bkz. Yılmaz.|Sonra gitti."),
        ("hu", "A 12. § szerint I. István és II. József, ún. Unió, kb. 300.|Igen."),
        ("no", "Det er f.eks. Oslo, dvs. Norge.|Ja."),
        ("da", "Det er bl.a. København.|Ja."),
        ("hr", "To je npr. Zagreb, tj. Hrvatska, crkva sv. Marka, v. str. 12.|Da."),
        ("id", "PT. Maju ada di Jl. Sudirman, lihat gbr. 3.|Ya."),
        ("de", "Es kam Dr. Ing. Müller, geb. Meier, insb. Berlin.|Ja."),
        ("es", "Vino D. Juan, cf. López.|La obra de J. Borges.|Sí."),
        ("fr", "Un roman de J. Verne et J.-P. Sartre.|Il mourut en 44 av. J.-C.|Rome tomba."),
        ("pl", "To książka J. Kowalskiego.|Tak."),
        ("da", "Det er en bog af J. Hansen.|Ja."),
        ("bg", "Това е А. П. Иванов, с Г.П. Петров и Георги П. Иванов.|Да."),
        ("sr", "То је књига П. Петровића.|Да."),
        ("uk", "Вчора А. П. Іваненко прийшов.|Так."),
        ("en", 'So do I. |Then we left at 5 o\'clock.|\'Tis late.|"Yes" he said.|"No."'),
        ("en", "He took vitamin C.|Then J. Smith saw George W. Bush at J. R. R. Tolkien's.|It was Plan B.|They left."),
        ("en", "It ends as in Section 2.2.|2.2 Either party may end it under No. 3 of it.|7 of them did."),
    ],
)
def test_sentences_end_where_they_end_in_each_language(language, text):
    whole = text.replace("|", "" if language == "ja" or "\n" in text else " ")

    spans = SentenceChunker(max_sentences=1, language=language).split(whole, word_offsets(whole))

    assert [one.strip() for one in texts_of(whole, spans)] == [one.strip() for one in text.split("|")]


@pytest.mark.parametrize("kind", [SentenceChunker, StructureChunker])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_heading_stays_with_what_follows_it(kind, size):
    text = "# Manual\n\n" + BODY + "\n\n## Refunds\n\n" + BODY + "\n\n## Shipping\n\n" + BODY

    chunks = texts_of(text, kind(max_tokens=size).split(text, word_offsets(text)))

    assert not any(re.search(r"#+ \w+\s*\Z", chunk) for chunk in chunks)
    assert kind is SentenceChunker or sum(chunk.startswith("#") for chunk in chunks) == 3


@pytest.mark.parametrize("kind", [SentenceChunker, StructureChunker])
@pytest.mark.parametrize(
    "label",
    [
        "7.\n\n",
        "(a)\n\n",
        "§ 12\n\n",
        "Q. ",
        "Section 5. ",
        "Статья 5. ",
        "Art. 7.2. ",
        "১। ",
        "１．",
        "א. ",
        "Refunds\n\n",
        "कार्य विधि\n\n",
        "**Refunds.** ",
        "JOEL\n\n",
        "00:01:05\n",
        "Do this:\n\n",
    ],
)
def test_a_label_stays_with_what_follows_it(kind, label):
    text = (label + "You may send it back within thirty days.\n\n") * 20

    spans = kind(max_tokens=24).split(text, word_offsets(text))

    assert all(chunk.startswith(label.strip()) for chunk in texts_of(text, spans))
    assert len(spans) > 5


def test_a_section_of_less_than_a_quarter_shares_its_chunk():
    text = "# One\n\nIt is.\n\n# Two\n\n" + "So it was said. " * 6 + "\n\n# Three\n\nEnd it here now please."

    spans = StructureChunker(max_tokens=44).split(text, word_offsets(text))

    assert [chunk.split("\n")[0] for chunk in texts_of(text, spans)] == ["# One", "# Three"]


@pytest.mark.parametrize("kind", [SentenceChunker, StructureChunker])
def test_lines_are_cut_where_they_end(kind):
    lines = [f"[00:{n // 60:02}:{n % 60:02}] Joel: {'word ' * (n % 20 + 5)}".rstrip() + "\n" for n in range(300)]
    text = "".join(lines)

    spans = kind(max_tokens=64).split(text, word_offsets(text))

    assert all(text[span.start - 1] == "\n" for span in spans[1:])


def test_paragraphs_of_one_line_are_cut_where_they_end_though_no_spaces_part_words():
    lines = ["他来到这个城市，" * (2 + n % 5) + "后来走了。" * (1 + n % 3) for n in range(40)]
    wrapped = "".join(lines)
    offsets = np.array([(n, n + 1) for n in range(9_000)], dtype=np.int64)

    text = "\n".join(lines)
    spans = StructureChunker(max_tokens=64).split(text, offsets[: len(text)])
    units = find_units("\n".join(wrapped[n : n + 40] for n in range(0, len(wrapped), 40)), (), lambda *_: True)

    assert all(text[span.start - 1] == "\n" for span in spans[1:])
    assert len(units) == 1


def test_georgian_letters_that_are_small_to_unicode_begin_lines_and_names():
    lines = [f"{name}: დიახ, ასე არის. კარგი." for name in ("ნინო", "გიორგი", "ნანა")]

    assert len(find_units("\n".join(lines), (), lambda *_: True)) == 3


@pytest.mark.parametrize("rows", [["a,b,{n}", "c d,e,{n}"], ["2026-01-{n} INFO started"], ["key{n} = value of it"]])
def test_rows_and_entries_are_cut_where_they_end(rows):
    text = "".join(rows[n % len(rows)].format(n=n) + "\n" for n in range(10, 90))

    spans = StructureChunker(max_tokens=32).split(text, word_offsets(text))

    assert all(text[span.start - 1] == "\n" for span in spans[1:])


def test_wrapped_prose_is_cut_between_sentences_not_lines():
    text = "\n\n".join(textwrap.fill(BODY * 4, 50) for _ in range(5))

    spans = StructureChunker(max_tokens=40).split(text, word_offsets(text))

    assert all(chunk.startswith("The pump") for chunk in texts_of(text, spans))


def test_code_and_rows_that_fit_are_whole_and_a_header_stays_with_a_row():
    code = "```sh\n" + "run --fast. Then wait.\n" * 4 + "```\n\n"
    table = "| day | fee |\n| --- | --- |\n" + "| 1 | So much. Or more. |\n" * 9 + "\n"
    text = "# Use\n\n" + (BODY[:57] + "\n\n" + code + table) * 5

    chunks = texts_of(text, StructureChunker(max_tokens=48).split(text, word_offsets(text)))

    assert all(chunk.count("```") in (0, 2) for chunk in chunks)
    assert not any(re.search(r"--- \|\s*\Z", chunk) for chunk in chunks)
    assert all(chunk.rstrip()[-1] in ".|`" and chunk[0] in "#T|`" for chunk in chunks)


def test_code_too_long_for_a_chunk_is_cut_between_lines():
    text = "```py\n" + "".join(f"value_{n} = compute(here, {n})\n" for n in range(60)) + "```\n"

    spans = StructureChunker(max_tokens=40).split(text, word_offsets(text))

    assert all(text[span.start :].startswith("value_") for span in spans[1:])


FUNCTION = "def pump_{n}(water, valve):\n    flow = water\n\n    if flow:\n        return valve\n    return flow\n\n\n"
METHOD = "/* Pump {n}. */\nint pump_{n}(int w)\n{{\n    int flow = w;\n\n    return flow + {n};\n}}\n"
SETTING = "[tool.pump_{n}]\nname = 'a b'\nlist = [\n  'a', 'b', 'c',\n  'd', 'e',\n]\nlast = {n}\n"
YAML = "# Pump {n}\npump_{n}:\n  image: a/b\n  ports:\n    - 80:80\n    - 90:90\n  mode: fast\n  last: {n}\n"
ENTRY = (
    "2026-01-01 10:{n}:12 ERROR it failed {n}\ncom.acme.PumpError: x\n\tat com.Pump.a(A.java:1)\n\tat com.Pump.b(A:2)\n"
)


@pytest.mark.parametrize(
    ("part", "first"),
    [(FUNCTION, "def "), (METHOD, "/* "), (SETTING, "[tool"), (YAML, "# "), (ENTRY, "2026")],
    ids=["py", "c", "toml", "yaml", "log"],
)
@pytest.mark.parametrize("size", [56, 64, 100])
def test_code_is_cut_between_functions_and_the_like_that_fit(part, first, size):
    text = "".join(part.format(n=n) for n in range(10, 90))
    code = Document("a", text, outline=(Block("code", 0, len(text)),))

    spans = StructureChunker(max_tokens=size).split_document(code, word_offsets(text))

    assert len(spans) > 10
    assert all(text[span.start :].startswith(first) for span in spans)


def test_entries_of_a_log_in_plain_text_keep_their_traces():
    text = "".join(ENTRY.format(n=n) for n in range(10, 90))

    spans = StructureChunker(max_tokens=64).split(text, word_offsets(text))

    assert len(spans) > 10
    assert all(text[span.start :].startswith("2026") for span in spans)


@pytest.mark.parametrize(
    "caption",
    ["Table 1: Fees by day.", "Tabela 1. Ceny.", "Таблица 1. Цены.", "表1 价格。", "ตารางที่ 1 ราคา", "جدول 1. الأسعار."],
)
def test_a_caption_stays_with_its_table(caption):
    table = "| a | b |\n| - | - |\n" + "| 1 | 2 |\n" * 3
    text = ("It is so. " * 5 + f"\n\n{caption} All in francs.\n\n" + table + "\n") * 4

    chunks = texts_of(text, StructureChunker(max_tokens=60).split(text, word_offsets(text)))

    assert all(caption in chunk for chunk in chunks if "| a | b |" in chunk)


def test_the_outline_of_a_document_is_used():
    text = "Refunds and other things that we do gladly\n" + BODY + "\nShipping and other things as well\n" + BODY
    second = text.index("Shipping")
    blocks = (Block("heading", 0, text.index("\n"), 1), Block("heading", second, text.index("\n", second), 1))

    spans = StructureChunker(max_tokens=48).split_document(Document("a", text, outline=blocks), word_offsets(text))

    assert [span.start for span in spans] == [0, second]


GERMAN = "Am 19. August kam der Bürgermeister in die Stadt und sprach zu den Leuten über das Wetter. " * 12


@pytest.mark.parametrize("said", ["deu", "ger", "de-AT", "gr", "xx", "xxx", "und", "mul", "zxx"])
def test_a_language_is_known_by_its_code_of_three_letters_and_not_by_one_that_is_none(said):
    assert choose_language(None, GERMAN, {"lang": said}) == "de"


def test_each_language_that_is_found_in_a_text_can_be_said():
    codes = [code for code in identifier().nb_classes if code != "zxx"]  # which is none
    assert [StructureChunker(language=code).language for code in codes] == codes
    assert choose_language("tgl", "", {}) == "tl"
    assert [StructureChunker(language=code).language for code in ("chr", "yue-Hant", "ber")] == [
        "chr",
        "yue-Hant",
        "ber",
    ]
    for none in ("xxx", "und", "deux"):
        with pytest.raises(InputError, match="must be an ISO 639 code"):
            StructureChunker(language=none)


@pytest.mark.parametrize("kind", [SentenceChunker, StructureChunker])
@pytest.mark.parametrize(
    "metadata",
    [{}, {"lang": "de"}, {"language": "de-AT"}, {"lang": "German"}, {"lang": "ger"}, {"lang": "deu"}, {"lang": "gr"}],
)
def test_sentences_are_those_of_the_documents_language(kind, metadata):
    spans = kind(max_tokens=20).split_document(Document("a", GERMAN, metadata), word_offsets(GERMAN))

    assert all(chunk.startswith("Am 19. August") for chunk in texts_of(GERMAN, spans))


@pytest.mark.parametrize(
    "text", ['ד"ר כהן חתם. |לפי חוק זה אסור. |המחיר 5 ש"ח.', "甲方簽訂了契約。|他說：「好。」|『好！』"]
)
def test_sentences_of_a_short_text_are_those_of_its_script(text):
    whole = text.replace("|", "")  # of fewer than 50 letters

    assert texts_of(whole, SentenceChunker(max_sentences=1).split(whole, word_offsets(whole))) == text.split("|")


def test_a_full_disk_says_what_the_identifier_of_languages_needs(monkeypatch):
    from py3langid.langid import LanguageIdentifier

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LanguageIdentifier, "from_model_file", fail)
    identifier.cache_clear()
    with pytest.raises(StoreError, match="needs some space for temporary files, in /.*: .*No space left"):
        identifier()


def test_english_loads_no_identifier_of_languages():
    text = "The pump is what the owner and the others need. " * 50
    code = (
        "import sys, numpy as np; from latechunk import StructureChunker as S;"
        f"S(max_tokens=20).split({text!r}, np.array([(n, n + 1) for n in range({len(text)})]))"
        ";print('py3langid' in sys.modules)"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize("kind", [SentenceChunker, StructureChunker])
def test_rows_on_one_line_are_cut_between_them(kind):
    text = "INSERT INTO users VALUES " + ",".join(f"({n}, 'User {n}', 'It is so. Yes.')" for n in range(200)) + ";"
    code = Document("a.sql", text, outline=(Block("code", 0, len(text)),))

    spans = kind(max_tokens=100, language="en").split_document(code, word_offsets(text))

    assert len(spans) > 10
    assert all(re.match(r"\(\d", text[span.start :]) for span in spans[1:])


@pytest.mark.parametrize("clause", ["他到达这里的城市看见市长，", "ကျွန်တော် ရောက်သည်၊", "ወደ ከተማው መጣ፣", "Նա քաղաք եկավ՝ "])
def test_a_sentence_that_is_too_long_is_cut_after_a_clause(clause):
    text = clause * 40 + "走了。"
    offsets = np.array([(n, n + 1) for n in range(len(text))])

    spans = StructureChunker(max_tokens=60).split(text, offsets)

    assert all(text[: span.start].endswith(clause) for span in spans[1:])


def test_a_long_text_without_sentences_is_cut_between_words():
    # Its parts of 20,000 characters were taken for sentences, wherever they ended.
    text = ", ".join(f"word{n:05d}" for n in range(6_000))

    for chunker in (SentenceChunker(max_tokens=100), StructureChunker(max_tokens=100)):
        spans = chunker.split(text, word_offsets(text))
        assert all(re.match(r"word\d{5}", text[span.start :]) for span in spans)


def test_tokens_are_cut_where_a_line_begins_if_one_is_near():
    text = "a b c d\ne f g\nh i j k\n"

    spans = TokenChunker(max_tokens=5).split(text, word_offsets(text))

    assert texts_of(text, spans) == ["a b c d\n", "e f g\n", "h i j k\n"]


def test_tokens_by_hand():
    text = "one two three four five"
    offsets = word_offsets(text)

    assert texts_of(text, TokenChunker(max_tokens=2).split(text, offsets)) == ["one two ", "three four ", "five"]
    assert texts_of(text, TokenChunker(max_tokens=3, overlap=1).split(text, offsets)) == [
        "one two three ",
        "three four five",
    ]


def test_white_space_before_the_first_token_belongs_to_the_first_chunk():
    text = "\n\n  one two"

    assert TokenChunker(max_tokens=1).split(text, word_offsets(text)) == [Span(0, 8), Span(8, 11)]


def test_a_character_of_several_tokens_is_never_cut():
    offsets = np.array([(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)])

    assert TokenChunker(max_tokens=2).split("a😀b", offsets) == [Span(0, 1), Span(1, 2), Span(2, 3)]


@pytest.mark.parametrize(
    "whole",
    [
        "👩\u200d👩\u200d👧",
        "👍🏽",
        "🇩🇪",
        "❤️",
        "1️⃣",
        "e\u0301\u0323",
        "ที่",
        "น้ำ",
        "ភ្នំ",
        "မြို့",
        "क्षि",
        "གྱི",
        "하",
        "ｶﾞ",
        "שָׁ",
    ],
)
@pytest.mark.parametrize("chunker", [TokenChunker, SentenceChunker, StructureChunker])
def test_what_is_read_as_one_character_is_cut_only_where_it_does_not_fit(whole, chunker):
    # As a tokenizer of bytes has it: each code point is a token.
    text = whole * 30
    offsets = np.array([(place, place + 1) for place in range(len(text))])

    for size in range(len(whole), 3 * len(whole)):
        spans = chunker(max_tokens=size).split(text, offsets)
        assert all(span.start % len(whole) == 0 and span.end - span.start <= size for span in spans)
    assert len(chunker(max_tokens=1).split(text, offsets)) == len(text)


def test_what_is_repeated_begins_with_a_whole_character():
    text = "👍🏽" * 4
    offsets = np.array([(place, place + 1) for place in range(len(text))])

    spans = TokenChunker(max_tokens=6, overlap=3).split(text, offsets)

    assert spans == [Span(0, 6), Span(4, 8)]


@pytest.mark.parametrize("sign", ["\u200b", "\ufeff", "\u200e"])
def test_a_sign_that_nobody_sees_alone_between_blank_lines_is_trimmed_to_what_holds_a_token(sign):
    # The default model's tokenizer has a token of the white space after it, and none of the sign.
    text = f"One.\n\n{sign}\n\nTwo."
    offsets = np.array([(0, 4), (7, 8), (9, 13)])

    spans = SentenceChunker(max_sentences=1, trim=True).split(text, offsets)

    assert texts_of(text, spans) == ["One.", f"{sign}\n\n", "Two."]
    token_ranges(offsets, spans)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("text", ["\u2028", "\u00a0", "\u3000", "\x85"])
def test_exotic_white_space_behind_an_abbreviation_does_no_harm(name, text):
    # sentencex 1.0.32 panics on these as they are.
    whole = f"A{text}B.{text}C. e.g.{text}A.{SCRIPTS[name]}{text}Z{text}."
    for language in ("en", "el", "hr", "ml", "pa", "pt", "tr"):
        spans = SentenceChunker(max_tokens=5, language=language).split(whole, word_offsets(whole))
        assert "".join(texts_of(whole, spans)) == whole


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "The quick brown fox jumps over the lazy dog and then does it all over again. "),
        ("zh", "他到达这里的城市以后看见了市长，然后就走了。"),
    ],
)
def test_a_long_text_has_the_sentences_that_its_parts_have(language, sentence):
    # Texts beyond 20,000 characters (5,000 in Chinese) are segmented in parts, none of which may cut a sentence.
    text = sentence * 1_000

    spans = SentenceChunker(max_sentences=1, language=language).split(text, word_offsets(text))

    assert texts_of(text, spans) == [sentence] * 1_000


@pytest.mark.parametrize(
    "wrong",
    [
        dict(max_tokens=0),
        dict(max_tokens=1.5),
        dict(max_tokens=True),
        dict(overlap=-1),
        dict(max_sentences=0),
        dict(max_sentences=2, overlap=2),
        dict(language=""),
        dict(language="english!"),
        dict(language="jp"),
        dict(language="xx-XX"),
        dict(segmenter="other"),
    ],
)
def test_sentence_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        SentenceChunker(**wrong)


@pytest.mark.parametrize("wrong", [dict(max_tokens=0), dict(overlap=256), dict(overlap=-1), dict(max_tokens="9")])
def test_token_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        TokenChunker(**wrong)


@pytest.mark.parametrize(
    "chunker",
    [StructureChunker(max_tokens=7), SentenceChunker(max_tokens=7, overlap=1, language="ja"), TokenChunker(trim=True)],
)
def test_a_chunker_is_rebuilt_from_its_settings(chunker):
    assert chunker_from_settings(chunker.settings) == chunker


def test_the_command_line_offers_every_chunker():
    assert list(get_args(ChunkerName)) == list(CHUNKERS)
    assert all(made().settings["kind"] == kind for kind, made in CHUNKERS.items())


def test_a_chunker_of_the_users_own_is_not_rebuilt():
    assert chunker_from_settings({"kind": "mine", "max_tokens": 3}) is None
    assert chunker_from_settings({}) is None


def test_punkt_says_how_to_get_its_data(monkeypatch):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])

    with pytest.raises(MissingDependencyError, match=r"python -m nltk\.downloader punkt_tab"):
        SentenceChunker(segmenter="nltk", language="fi")


def test_punkt_lists_its_languages():
    with pytest.raises(InputError, match="no model for language 'ja'; it has cs, da, de"):
        SentenceChunker(segmenter="nltk", language="ja")


def test_punkt_cuts_sentences(monkeypatch, tmp_path):
    nltk = pytest.importorskip("nltk")
    from nltk.tokenize import punkt

    trainer = punkt.PunktTrainer()
    prose = (
        "Mr. Low came and sat there. Then he left. He came again with Mr. High and they sat. They left and came back. "
    )
    trainer.train(prose * 50, finalize=True)
    folder = tmp_path / "tokenizers" / "punkt_tab" / "italian"
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    punkt.save_punkt_params(trainer.get_params(), dir=str(folder))
    text = " Mr. Low came. He sat.\n\nThen he left. "

    spans = SentenceChunker(max_sentences=1, segmenter="nltk", language="it").split(text, word_offsets(text))

    assert texts_of(text, spans) == [" Mr. Low came. ", "He sat.\n\n", "Then he left. "]


@pytest.mark.parametrize("kind", CHUNKERS)
@pytest.mark.parametrize("run", [" ", "\t", "\n", "\n ", "\u3000", "x", "-"])
def test_a_run_of_one_sign_ends(kind, run):
    text = f"Title\n{run * 300_000}x end words."  # gone through from each of its characters it would take hours
    offsets = np.array([match.span() for match in re.finditer(r"\S{1,9}", text)])

    spans = CHUNKERS[kind](max_tokens=64).split(text, offsets)

    assert (spans[0].start, spans[-1].end) == (0, len(text))


def test_a_run_of_blanks_among_words_is_no_end_of_a_sentence():
    words = "word " * 3_999  # up to the last of the first 20,000 characters, in which sentences are looked for first
    for n in (1, 3, 30_000):
        text = f"{words}{' ' * n}end of it. And more."
        offsets = np.array([match.span() for match in re.finditer(r"\S+", text)])
        spans = SentenceChunker(max_tokens=5_000, max_sentences=1).split(text, offsets)
        assert [span.start for span in spans] == [0, text.index("And")]


@pytest.mark.parametrize(
    "question",
    [
        *(
            "How do I reset my password number {}?",
            "{}. Was kostet es?",
            "Q: 何日かかりますか？",
            "Στις {} πότε λήγει;",
        ),
        *("መቼ ያበቃል፧", "Ե՞րբ է ավարտվում։"),
    ],
)
@pytest.mark.parametrize("size", [24, 40, 64])
def test_a_question_alone_on_its_line_stays_with_its_answer(question, size):
    answers = [" ".join(["word"] * (5 + n % 9)) + "." for n in range(40)]
    text = "\n\n".join(f"{question.format(n)}\n\n{answer}" for n, answer in enumerate(answers))

    spans = StructureChunker(max_tokens=size).split(text, word_offsets(text))

    assert [one for one in (text[span.start : span.end] for span in spans) if one.rstrip()[-1] != "."] == []


@pytest.mark.parametrize("kind", [SentenceChunker, StructureChunker])
@pytest.mark.parametrize("question", ["How do I reset it?\n", "Q: How do I reset it?\nA: ", "3. 何日かかりますか？\n"])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_question_stays_with_its_answer_on_the_next_line(kind, question, between):
    text = between.join(
        f"{question}You {'press it ' * (3 + n % 5)}now. Then wait {'long ' * (n % 4)}." for n in range(40)
    )

    spans = kind(max_tokens=34).split(text, word_offsets(text))

    assert [one for one in (text[span.start : span.end] for span in spans) if one.rstrip()[-1] != "."] == []


def test_questions_without_answers_and_questions_of_a_story_are_cut_as_before():
    paragraphs = [
        "Contact",
        "Who are you?",
        "Where are you?",
        "I was late. Why?",
        "Ann: Who is it?",
        "1. Is it he?",
        "No",
    ]

    units = find_units("\n\n".join(paragraphs), (), lambda start, end: True)

    assert [unit.is_bound for unit in units] == [True, False, True, False, False, True, True]
