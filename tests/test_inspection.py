import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Block, Document, Encoder, Index, Page, SentenceChunker, Span, TokenChunker
from latechunk.embedding import context_shifts
from latechunk.encoding.windows import plan_windows
from latechunk.errors import DocumentError, InputError, QueryError, SpanError
from latechunk.inspection.page import cut_pieces, embed_json, make_page, map_of, windows_of, write_page
from latechunk.inspection.view import Arm, View, inspect, make_arm, seams_in_text
from tests.checkpoints import write_bert
from tests.conftest import SCRIPTS, FakeEncoder

QUESTION = "Which river runs through it?"


class WindowedEncoder(FakeEncoder):
    """Says that it reads six words at a time, of which neighbours share two."""

    def windows(self, tokens):
        return plan_windows(len(tokens), 6, 2)


class Halves:
    """A chunker of one's own, whose chunks overlap and leave the end out."""

    settings = {"kind": "halves"}

    def split(self, text, offsets):
        half = int(offsets[len(offsets) // 2, 0])
        return [Span(0, half + 1), Span(half, len(text) - 1)]


def make_index(path, *documents, encoder=None, mode="late", chunker=None):
    index = Index.create(path / f"{mode}.latechunk", encoder=encoder or FakeEncoder(), chunker=chunker, mode=mode)
    index.add(documents)
    return index


def make_view(text="One two. Three four.", spans=None, late=None, naive=None, **others):
    spans = spans or [Span(0, 9), Span(9, 20)]
    n = len(spans)
    arms = [make_arm("late", np.array(late or np.linspace(0.1, 0.9, n), dtype=np.float32))]
    arms.append(make_arm("naive", np.array(naive or np.linspace(0.8, 0.3, n), dtype=np.float32)))
    values = {
        "question": QUESTION,
        "document_id": "one",
        "text": text,
        "spans": tuple(spans),
        "n_tokens": (2,) * n,
        "shifts": tuple(0.25 * number for number in range(n)),
        "arms": tuple(arms),
        "mode": "late",
        "late_weight": None,
        "seams": (),
        "gold": None,
        "model": "fake",
    }
    return View(**values | others)


# The view


def test_ranks_count_from_the_best_and_the_earlier_comes_first_on_a_tie():
    arm = make_arm("naive", np.array([0.25, 0.75, 0.25, 0.5], dtype=np.float32))

    assert arm == Arm("naive", (0.25, 0.75, 0.25, 0.5), (3, 1, 4, 2))


def test_context_shift_is_one_less_the_cosine():
    late = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    naive = np.array([[1, 0], [0.6, 0.8], [-1, 0]], dtype=np.float32)

    np.testing.assert_allclose(context_shifts(late, naive), [0, 0.2, 2], atol=1e-6)


def test_rounding_makes_no_negative_shift():
    long = np.array([[1 + 1e-6, 0]], dtype=np.float32)

    assert context_shifts(long, long).tolist() == [0]


def test_seams_are_where_ownership_passes():
    # Ten tokens in windows [0, 6) and [4, 10): the middles are 2.5 and 6.5, so the second owns tokens 5 and up.
    offsets = np.array([[2 * token, 2 * token + 1] for token in range(10)])

    assert seams_in_text(plan_windows(10, 6, 2), offsets) == (10,)
    assert seams_in_text(plan_windows(6, 6, 2), offsets[:6]) == ()


@given(st.integers(1, 200), st.integers(1, 30), st.data())
def test_windows_between_seams_cover_the_document(n_tokens, size, data):
    windows = plan_windows(n_tokens, size, data.draw(st.integers(0, size - 1)))
    offsets = np.array([[3 * token, 3 * token + 2] for token in range(n_tokens)])

    places = [0, *seams_in_text(windows, offsets), 3 * n_tokens]

    assert places == sorted(set(places))
    assert [end // 3 - begin // 3 for begin, end in pairwise(places)] == np.diff(windows.seams).tolist()


@pytest.mark.parametrize("mode", ["late", "naive", "blend"])
@pytest.mark.parametrize("compare", [False, True])
def test_the_arm_of_the_index_scores_as_search_does(compare, mode, tmp_path, documents):
    with make_index(tmp_path, *documents, mode=mode, chunker=SentenceChunker(max_tokens=8)) as index:
        view = inspect(index, QUESTION, document_id="berlin", compare=compare)
        found = [hit for hit in index.search(QUESTION, k=100, mode="dense") if hit.chunk.document_id == "berlin"]

    arm = next(one for one in view.arms if one.name == view.mode)
    assert view.mode == mode
    compared = ["late", "naive"] + ["blend"] * (mode == "blend")
    assert [one.name for one in view.arms] == (compared if compare else [mode])
    assert (view.shifts is not None) == compare
    assert (view.late_weight is not None) == (mode == "blend")
    assert len(found) == len(view.spans) == 3
    for rank, hit in enumerate(found, start=1):
        number = hit.chunk.number
        assert view.spans[number] == Span(hit.chunk.start, hit.chunk.end)
        assert arm.ranks[number] == rank
        assert arm.scores[number] == pytest.approx(hit.score, abs=1e-5)


def test_late_and_naive_vectors_of_a_document_that_is_one_chunk_are_the_same(tmp_path):
    with make_index(tmp_path, Document("stub", "Hello there.")) as index:
        view = inspect(index, "Hello?", compare=True)

    assert view.shifts == pytest.approx((0,), abs=1e-6)
    assert view.arms[0].scores == pytest.approx(view.arms[1].scores)
    assert view.n_tokens == (2,)


def test_the_document_is_that_of_the_best_hit_unless_given(index, documents):
    index.add(documents)

    best = index.search(QUESTION, k=1)[0].chunk.document_id
    other = next(one.id for one in documents if one.id != best)

    assert inspect(index, QUESTION).document_id == best
    assert inspect(index, QUESTION, document_id=other).document_id == other


def test_chunks_are_the_stored_ones_whatever_cut_them(tmp_path):
    text = "One two three 🦆🦆 four five six. "
    make_index(tmp_path, Document("one", text), chunker=Halves()).close()

    with Index.open(tmp_path / "late.latechunk", encoder=FakeEncoder(), read_only=True) as index:
        view = inspect(index, QUESTION)

    assert view.spans == (Span(0, 15), Span(14, len(text) - 1))
    assert view.text == text


def test_seams_of_the_view(tmp_path):
    # Ten words of five characters each with their blank: as above, the second window owns the sixth and on.
    text = "aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii jjjj"

    with make_index(tmp_path / "1", Document("one", text), encoder=WindowedEncoder()) as index:
        assert inspect(index, "bbbb").seams == (25,)
    with make_index(tmp_path / "2", Document("one", text)) as index:
        assert inspect(index, "bbbb").seams is None


def test_seams_of_a_real_encoder(tmp_path):
    write_bert(tmp_path / "model")
    encoder = Encoder.load(str(tmp_path / "model"), dtype="float32", window_tokens=34, overlap_tokens=8)
    document = Document("one", " ".join(SCRIPTS.values()))
    (tokens,) = encoder.tokenize([document.text])
    windows = plan_windows(len(tokens), 32, 8)  # one special token before, one behind

    with make_index(tmp_path, document, encoder=encoder, chunker=TokenChunker(max_tokens=24)) as index:
        view = inspect(index, "the capital")

    assert len(windows) > 3
    assert view.seams == seams_in_text(windows, tokens.offsets)
    assert view.model == str(tmp_path / "model")


def test_what_cannot_be_inspected(index, documents):
    with pytest.raises(InputError, match="holds none: add some first"):
        inspect(index, QUESTION)
    index.add(documents)

    with pytest.raises(InputError, match=r"no document 'rome': pass one of its 3 ids"):
        inspect(index, QUESTION, document_id="rome")
    with pytest.raises(SpanError, match=r"\[3, 13\) must lie in document 'stub', which has 12 characters"):
        inspect(index, QUESTION, document_id="stub", gold=Span(3, 13))
    assert inspect(index, QUESTION, document_id="stub", gold=Span(3, 12)).gold == Span(3, 12)
    for question in ("", " \n", "\ud800"):
        with pytest.raises(QueryError, match="the question"):
            inspect(index, question)


def test_a_chunk_that_cannot_be_read_alone_is_named(tmp_path):
    class OnlyInContext(FakeEncoder):
        def tokenize(self, texts):
            return [self._tokenize("" if text == "b " else text) for text in texts]

    class Words:
        settings = {"kind": "words"}

        def split(self, text, offsets):
            return [Span(0, 2), Span(2, 4), Span(4, 5)]

    with make_index(tmp_path, Document("one", "a b c"), encoder=OnlyInContext(), chunker=Words()) as index:
        view = inspect(index, "a")
        with pytest.raises(DocumentError, match="'b '") as caught:
            inspect(index, "a", compare=True)

    assert view.n_tokens == (1, 1, 1)
    assert "each chunk is read alone, too" in caught.value.__notes__[0]


@pytest.mark.parametrize(("mode", "n_compared"), [("late", 3), ("naive", 1), ("blend", 4)])
def test_what_is_stored_is_not_encoded_again(mode, n_compared, tmp_path, documents):
    """The document has three chunks: read alone they are three texts, in context one."""
    encoder = FakeEncoder()
    with make_index(tmp_path, *documents, encoder=encoder, mode=mode, chunker=SentenceChunker(max_tokens=8)) as index:
        before = encoder.n_encoded
        inspect(index, QUESTION, document_id="berlin")
        assert encoder.n_encoded == before + 1  # the question

        inspect(index, QUESTION, document_id="berlin", compare=True)
        assert encoder.n_encoded == before + 2 + n_compared


def test_of_several_granularities_the_first_is_shown(tmp_path, documents):
    chunkers = {"small": SentenceChunker(max_tokens=8), "large": SentenceChunker(max_tokens=100)}
    with Index.create(tmp_path / "x", encoder=FakeEncoder(), chunkers=chunkers) as index:
        index.add(documents)
        view = inspect(index, QUESTION, document_id="berlin")
        (best,) = index.search(QUESTION, k=1, document_ids=["berlin"], mode="dense")

    assert len(view.spans) == 3
    assert max(view.arms[0].scores) == pytest.approx(best.score, abs=1e-6)


def test_a_view_knows_pages_headings_and_citations(tmp_path):
    text = "Guide\nPumps need oil.\nSeals\nThey need none."
    pages = (Page(0, 0, "i"), Page(0, 21, "ii"), Page(22, 43))
    outline = (Block("heading", 0, 5, 1), Block("heading", 22, 27, 2), Block("list", 28, 43))
    document = Document("guide.pdf", text, pages=pages, outline=outline)
    with make_index(tmp_path, document, chunker=SentenceChunker(max_tokens=4)) as index:
        view = inspect(index, "oil")

    assert view.pages == ((0, "p. ii"), (22, "p. 3"))
    assert view.headings == ((0, 1, "Guide"), (22, 2, "Seals"))
    assert view.citations[0] == "guide.pdf, p. ii, Guide"
    assert view.citations[-1] == "guide.pdf, p. 3, Guide > Seals"


# The page


def pieces_of(text, spans, seams=(), gold=None):
    return [
        (text[one.start : one.end], one.chunk, one.is_gold, one.window)
        for one in cut_pieces(len(text), spans, seams, gold)
    ]


def test_pieces_by_hand():
    text = "aaaabbbbcccc"

    assert pieces_of(text, [Span(0, 4), Span(4, 12)]) == [("aaaa", 0, False, None), ("bbbbcccc", 1, False, None)]
    assert pieces_of(text, [Span(0, 4), Span(6, 10)], seams=(7,), gold=Span(3, 5)) == [
        ("aaa", 0, False, None),
        ("a", 0, True, None),
        ("b", None, True, None),
        ("b", None, False, None),
        ("b", 1, False, None),
        ("bcc", 1, False, 2),
        ("cc", None, False, None),
    ]


def test_pages_and_headings_begin_pieces():
    pieces = cut_pieces(12, [Span(0, 12)], (6,), None, {0: "p. i", 6: "p. ii"}, [2, 6])

    assert [(one.start, one.end, one.page, one.heading, one.window) for one in pieces] == [
        (0, 2, "p. i", None, None),
        (2, 6, None, 0, None),
        (6, 12, "p. ii", 1, 2),
    ]


def test_shared_text_is_shown_once_in_the_later_chunk():
    text = "aaaabbbbcccc"

    overlapping = pieces_of(text, [Span(0, 6), Span(4, 12)])
    within = pieces_of(text, [Span(0, 12), Span(4, 8)])
    hidden = pieces_of(text, [Span(0, 4), Span(0, 12)])

    assert [(one[0], one[1]) for one in overlapping] == [("aaaa", 0), ("bb", 1), ("bbcccc", 1)]
    assert [(one[0], one[1]) for one in within] == [("aaaa", 0), ("bbbb", 1), ("cccc", 0)]
    assert [(one[0], one[1]) for one in hidden] == [("", 0), ("aaaa", 1), ("bbbbcccc", 1)]


@st.composite
def texts_with_marks(draw):
    n = draw(st.integers(1, 60))
    ranges = st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(
        lambda pair: Span(min(pair[0], pair[1] - 1), max(pair[0] + 1, pair[1]))
    )
    spans = sorted(draw(st.lists(ranges, max_size=8)))
    seams = draw(st.lists(st.integers(1, max(1, n - 1)), max_size=4, unique=True).map(sorted)) if n > 1 else []
    return n, spans, seams, draw(st.none() | ranges)


@given(texts_with_marks())
def test_pieces_are_the_whole_text_in_order(marks):
    n, spans, seams, gold = marks

    pieces = cut_pieces(n, spans, seams, gold)

    assert [number for one in pieces for number in range(one.start, one.end)] == list(range(n))
    assert {one.chunk for one in pieces} - {None} == set(range(len(spans)))
    assert [one.start for one in pieces if one.window] == seams
    for one in pieces:
        characters = set(range(one.start, one.end))
        holders = [number for number, span in enumerate(spans) if characters <= set(range(span.start, span.end))]
        if characters:
            assert one.chunk == (holders[-1] if holders else None)
            assert one.is_gold == (gold is not None and characters <= set(range(gold.start, gold.end)))


def test_windows_of_a_span():
    seams = (10, 20)

    assert windows_of(Span(0, 10), seams) == (1, 1)
    assert windows_of(Span(9, 11), seams) == (1, 2)
    assert windows_of(Span(10, 20), seams) == (2, 2)
    assert windows_of(Span(5, 21), seams) == (1, 3)
    assert windows_of(Span(5, 21), ()) == (1, 1)


def test_map_takes_the_best_score_of_each_part():
    assert map_of([Span(0, 2), Span(1, 4)], [0.5, 0.25], 5) == [0.5, 0.5, 0.25, 0.25, None]
    assert len(map_of([Span(0, 10_000)], [0.5], 10_000)) == 240
    # 480 characters in 240 parts: the first span takes parts 0 and 1, half of the second.
    assert map_of([Span(0, 3), Span(3, 480)], [0.5, 0.25], 480)[:3] == [0.5, 0.5, 0.25]


HOSTILE = (
    '<script>alert(1)</script> </style> </script> <!-- <img src=x onerror="window.ran = 1"> ]]> &lt;b&gt; \u2028\u2029 '
    "${alert(1)} `x` \\u003c $policy $$ javascript:alert(1) \x00 \x07 \r\n\r 🦆👩‍👩‍👧‍👦 𝔘𝔫𝔦 e\u0301 שלום \u202e abc. "
)


def test_json_holds_nothing_that_html_reads():
    embedded = embed_json({"text": HOSTILE})

    assert not set("<>&\u2028\u2029\x00") & set(embedded)
    assert json.loads(embedded) == {"text": HOSTILE}


class Elements(HTMLParser):
    """Collects elements, with what is in each script and style."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.is_open = False

    def handle_starttag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])
        self.is_open = True

    def handle_endtag(self, tag):
        self.is_open = False

    def handle_data(self, data):
        if self.is_open:
            self.found[-1][2] += data


def parse(page):
    parser = Elements()
    parser.feed(page)
    return parser.found


def test_the_policy_allows_this_style_and_this_script_alone():
    found = parse(make_page(make_view(HOSTILE, [Span(0, len(HOSTILE))])))

    policy = next(one[1]["content"] for one in found if one[1].get("http-equiv") == "Content-Security-Policy")
    (style,) = [one[2] for one in found if one[0] == "style"]
    data, script = [one for one in found if one[0] == "script"]

    def digest(source):
        return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()

    assert f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script[2])}';" in policy
    assert "unsafe" not in policy
    assert data[1] == {"id": "data", "type": "application/json"}
    assert json.loads(data[2])["pieces"][0]["text"] == HOSTILE
    assert script[1] == {}


def test_the_page_names_nothing_outside_of_itself():
    page = make_page(make_view())

    assert "$" not in re.sub(r"\$\{", "", page)  # all is filled in; what stays is JavaScript's
    for _, attributes, _ in parse(page):
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|@font-face|innerHTML|insertAdjacent|document\.write|eval\(", page)


def test_write_page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("what was there")

    write_page(path, make_view())

    assert path.read_bytes() == make_page(make_view()).encode()


def test_a_page_that_cannot_be_written(tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "page.html"):
        with pytest.raises(InputError, match="needs a file that can be written"):
            write_page(path, make_view())


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_wcag_aa():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    (style,) = [one[2] for one in parse(make_page(make_view())) if one[0] == "style"]
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in style.split("@media")[:2]]

    for colours in schemes:
        for text in ("ink", "quiet", "accent", "gold"):
            for ground in ("paper", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["ink"], colours["shade"]) >= 4.5
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        for line in ("accent", "gold"):  # outlines, badges and underlines on the strongest shade
            assert contrast(colours[line], colours["shade"]) >= 3, line


# In a browser, where there is one


@pytest.fixture
def open_page(chromium, tmp_path):
    """Opens the page of a view from disk, offline; afterwards nothing may have run, failed or been asked for."""
    contexts, troubles, requests = [], [], []

    def open_page(view, width=1280, **options):
        path = tmp_path / "page.html"
        write_page(path, view)
        context = chromium.new_context(viewport={"width": width, "height": 800}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert set(requests) == {(tmp_path / "page.html").as_uri()}


def text_of(page, selector="#text"):
    return page.evaluate(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent).join('')")


def ranks_of(page):
    return page.evaluate("[...document.querySelectorAll('#text [tabindex]')].map((one) => Number(one.dataset.rank))")


def shades_of(page):
    script = "[...document.querySelectorAll('#text [tabindex]')].map((one) => getComputedStyle(one).backgroundColor)"
    return page.evaluate(script)


def split(text, size):
    return [Span(begin, min(begin + size, len(text))) for begin in range(0, len(text), size)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_chunks_are_the_whole_text_to_the_character(script, open_page):
    text = f"{SCRIPTS[script]}\n\n🦆 {SCRIPTS['Emoji']}"

    page = open_page(make_view(text, split(text, 7), seams=(9, 30), gold=Span(5, 12)))

    assert text_of(page) == text
    assert text_of(page, "#text .chunk") == text
    assert page.evaluate("document.querySelectorAll('#text .chunk[tabindex]').length") == len(split(text, 7))
    assert text_of(page, "#text .piece.gold") == text[5:12]


def test_gaps_and_overlaps_are_shown_once(open_page):
    text = "aaaa🦆bbbbccccdddd"
    spans = [Span(0, 7), Span(5, 11), Span(5, 9), Span(5, 11), Span(13, 15)]

    page = open_page(make_view(text, spans))

    assert text_of(page) == text
    assert text_of(page, "#text .chunk") == text[:11] + text[13:15]
    assert page.evaluate("document.querySelectorAll('#text .chunk[tabindex]').length") == 5
    page.locator("#text .chunk[tabindex]").first.focus()
    assert text_of(page, "#text .shared") == text[5:7]


def test_a_document_is_data(open_page):
    view = make_view(
        HOSTILE,
        split(HOSTILE, 20),
        question=HOSTILE,
        document_id=HOSTILE,
        model=HOSTILE,
        gold=Span(3, 90),
        citations=(HOSTILE,) * len(split(HOSTILE, 20)),
        pages=((5, HOSTILE),),
        headings=((8, 1, HOSTILE),),
    )

    page = open_page(view)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")  # what is due has run

    assert text_of(page) == HOSTILE
    assert text_of(page, "#question") == HOSTILE
    assert HOSTILE in text_of(page, "#facts")
    assert page.evaluate("window.ran") is None
    assert page.evaluate("document.querySelectorAll('img, b, script').length") == 2
    assert page.evaluate("document.querySelectorAll('style').length") == 1


def test_pages_are_marked_and_the_outline_jumps_to_headings(open_page):
    text = "".join(f"Heading {n}\n{'Text of it. ' * 40}\n" for n in range(9))
    starts = [text.index(f"Heading {n}\n") for n in range(9)]
    spans = split(text, 300)
    page = open_page(
        make_view(
            text,
            spans,
            citations=tuple(f"guide.pdf, p. {n}" for n in range(len(spans))),
            pages=((0, "p. i"), (starts[4], "p. ii")),
            headings=tuple((start, 1 + n % 2, f"Heading {n}") for n, start in enumerate(starts)),
        )
    )

    assert text_of(page) == text  # the marks are no part of it
    assert page.locator("#text .mark.page").evaluate_all("marks => marks.map(one => one.dataset.text)") == [
        "p. i",
        "p. ii",
    ]
    page.locator("#outline-box summary").click()
    assert page.locator("#outline button").all_text_contents() == [f"Heading {n}" for n in range(9)]
    page.locator("#outline button", has_text="Heading 5").click()
    current = next(number for number, span in enumerate(spans) if starts[5] < span.end)
    assert page.locator("#detail .citation").text_content() == f"guide.pdf, p. {current}"
    top = page.evaluate(
        "[...document.querySelectorAll('#text .piece')].find(one => one.textContent.startsWith('Heading 5'))"
        ".getBoundingClientRect().top"
    )
    assert 0 <= top < 100


def test_a_document_without_headings_has_no_outline(open_page):
    assert not open_page(make_view()).locator("#outline-box").is_visible()


def test_the_policy_stops_what_would_get_in(chromium, tmp_path):
    write_page(tmp_path / "page.html", make_view())
    page = chromium.new_context(offline=True).new_page()
    page.goto((tmp_path / "page.html").as_uri())

    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<img src=x onerror=\"window.ran = 1\">'")
    with pytest.raises(Exception, match="TrustedScript"):
        page.evaluate("document.body.setAttribute('onclick', 'window.ran = 2')")
    fetched = page.evaluate("fetch('https://example.org/').then(() => 'let out', () => 'stopped')")

    assert page.evaluate("window.ran") is None
    assert fetched == "stopped"
    page.context.close()


def test_switching_arms_changes_shading_ranks_and_figures(open_page):
    text = "One. Two. Three."
    page = open_page(
        make_view(text, [Span(0, 5), Span(5, 10), Span(10, 16)], late=[0.5, 0.1, 0.3], naive=[0, 0.9, 0.3])
    )
    before = shades_of(page)

    assert ranks_of(page) == [1, 3, 2]
    assert page.locator("#least").text_content() == "0.100"
    assert page.locator("#best-title").text_content() == "Best chunks by late"
    page.get_by_role("radio", name="naive").check()

    assert ranks_of(page) == [3, 1, 2]
    assert shades_of(page) != before
    assert page.locator("#most").text_content() == "0.900"
    assert page.locator("#best button").first.text_content().startswith("10.900Two.")
    assert "Shaded by naive. Best is chunk 2 with 0.900." in page.locator("#status").text_content()
    labels = page.evaluate("[...document.querySelectorAll('#text [role=group]')].map((one) => one.ariaLabel)")
    assert labels[0] == ("Chunk 1 of 3; rank 3 by naive, score 0.000; characters 0 to 5; context shift 0.000")


def test_the_arm_of_the_index_comes_first(open_page):
    page = open_page(make_view(mode="naive"))

    assert page.get_by_role("radio", name="naive").is_checked()


def test_a_page_of_stored_vectors_has_one_arm_and_no_shift(open_page):
    view = make_view()
    page = open_page(replace(view, arms=view.arms[:1], shifts=None))

    assert not page.locator("#arms input").first.is_visible()
    assert "context shift" not in page.content().split("<script")[0]
    assert page.locator("#best button").first.text_content() == "10.900Three four.chunk 2"


@pytest.mark.parametrize(("width", "best"), [(1280, 0), (1280, 40), (390, 30)])
def test_the_page_opens_at_the_best_chunk(width, best, open_page):
    text = "Some words of a chunk. " * 200
    spans = split(text, 76)
    scores = [0.0] * len(spans)
    scores[best] = 1.0

    page = open_page(make_view(text, spans, late=scores, naive=scores), width)

    chunk = page.locator("#text .chunk").nth(best).bounding_box()
    assert 0 < chunk["y"] < 400
    assert (page.evaluate("scrollY") == 0) == (best == 0)
    assert page.locator("#question").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_bar_stands_where_a_chunk_begins(scheme, open_page):
    page = open_page(make_view(late=[0.5, 0.5]), color_scheme=scheme)

    style = "(one) => [getComputedStyle(one).borderInlineStartWidth, getComputedStyle(one).borderInlineStartStyle]"
    bars = page.evaluate(f"[...document.querySelectorAll('#text .chunk')].map({style})")

    assert bars == [["3px", "solid"], ["3px", "solid"]]


def test_hover_and_focus_show_a_chunks_figures(open_page):
    text = "One. Two. Three."
    view = make_view(
        text, [Span(0, 5), Span(5, 10), Span(10, 16)], late=[0.5, 0.125, 0.25], gold=Span(6, 8), seams=(7,)
    )
    page = open_page(view)
    detail = page.locator("#detail")

    assert "Chunk 1 of 3" in detail.text_content()  # the best one, as long as nothing is pointed at
    page.locator("#text").get_by_text("wo").hover()
    assert "Chunk 2 of 3 · gold" in detail.text_content()
    assert "characters 5–10" in detail.text_content()
    assert "windows 1–2" in detail.text_content()
    assert "context shift 0.250" in detail.text_content()
    assert page.locator("#detail tbody tr").nth(0).locator("td").all_text_contents() == ["0.125", "0.550"]
    assert page.locator("#detail tbody tr").nth(1).locator("td").all_text_contents() == ["3", "2"]
    page.locator("#text .chunk").nth(2).focus()
    assert "Chunk 3 of 3" in detail.text_content()
    assert "rank of a chunk that holds it: late 3, naive 2" in page.locator("#gold").text_content()
    page.get_by_role("button", name="Go to it").click()
    assert page.evaluate("document.activeElement.dataset.chunk") == "1"


def test_the_keyboard_reaches_everything(open_page):
    text = "One. Two. Three."
    page = open_page(make_view(text, [Span(0, 5), Span(5, 10), Span(10, 16)]))
    reached = []

    for _ in range(20):
        page.keyboard.press("Tab")
        element = page.evaluate(
            "(({tagName, value, dataset}) => dataset.chunk ?? value ?? tagName)(document.activeElement)"
        )
        reached.append(element)
        if element == "2":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("ArrowLeft")
    back = page.evaluate("document.activeElement.dataset.chunk")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # there is none behind the last

    assert reached[0] == "A"  # past the figures at once
    assert "late" in reached
    assert reached[-3:] == ["0", "1", "2"]
    assert outline == "solid"
    assert back == "1"
    assert page.evaluate("document.activeElement.dataset.chunk") == "2"
    page.get_by_role("radio", name="late").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="naive").is_checked()


def test_ranks_are_shown_in_figures_for_the_first_ten(open_page):
    text = "word " * 12
    page = open_page(make_view(text, split(text, 5)))

    content = "(one) => getComputedStyle(one, '::before').content"
    badges = page.evaluate(f"[...document.querySelectorAll('#text .chunk[data-top]')].map({content})")

    assert len(badges) == 10
    assert badges[0].startswith('"10"')
    assert badges[-1].startswith('"1"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_is_wider_than_the_screen(width, scheme, open_page):
    text = f"{'long' * 200} {' '.join(SCRIPTS.values())}"
    page = open_page(
        make_view(
            text, split(text, 100), document_id="x" * 300, question="why" * 100, gold=Span(10, 700), seams=(50, 500)
        ),
        width,
        color_scheme=scheme,
    )

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#text .chunk").last.focus()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#detail").is_visible()


def test_the_figures_of_a_phone_do_not_hide_the_current_chunk(open_page):
    text = "Some words of a chunk. " * 60
    page = open_page(make_view(text, split(text, 23), gold=Span(700, 710)), 390)
    page.locator("#text .chunk").nth(4).focus()

    for _ in range(30):
        page.keyboard.press("Tab")
        chunk, figures = (page.locator(one).bounding_box() for one in (":focus", ".controls"))
        assert chunk["y"] >= 0
        assert chunk["y"] + chunk["height"] <= figures["y"]
