"""Subtitles: what is said, with its times and speakers, and nothing of how it is shown."""

import pytest

SRT = """\ufeff1\r
00:00:58,500 --> 00:01:01,000\r
<i>Hello</i> and welcome\r
to {\\an8}the show.\r
\r
2\r
00:01:02,000 --> 00:01:04,000\r
In 1999 we sold\r
\r
5\r
3\r
00:01:14,000 --> 00:01:16,000\r
pumps & valves. Then\r
\r
4\r
00:01:17,000 --> 00:01:20,000\r
NOTE this: all\r
is well.\r
\r
5\r
01:00:00,000 --> 01:00:09,000\r
The end\r
"""


def test_subtitles_are_paragraphs_with_their_times(read):
    ((document,), problems) = read("a.srt", SRT.encode())

    assert document.text == (
        "[00:00:58] Hello and welcome to the show. In 1999 we sold 5 pumps & valves. Then NOTE this: all is well.\n\n"
        "[01:00:00] The end"
    )
    assert (document.outline, problems, read.notes) == ((), [], [])


def test_a_paragraph_ends_with_a_sentence_or_after_half_a_minute(read):
    cues = [f"00:{second // 60:02}:{second % 60:02}.000 --> 00:59:59.000\nword{second}" for second in range(0, 62, 4)]
    cues[5] += "."

    text = read("a.vtt", "WEBVTT\n\n" + "\n\n".join(cues))[0][0].text

    assert [(one.split()[0], one.split()[-1]) for one in text.split("\n\n")] == [
        ("[00:00:00]", "word20."),
        ("[00:00:24]", "word52"),
        ("[00:00:56]", "word60"),
    ]


@pytest.mark.parametrize("second", [14, 15, 29, 30])
def test_the_first_words_may_come_at_any_time(read, second):
    assert read("a.srt", f"00:00:{second},000 --> 00:00:31,000\nHello.\n")[0][0].text == f"[00:00:{second}] Hello."


def test_speakers_languages_and_notes_of_a_transcript(read):
    transcript = """WEBVTT - A talk
Kind: captions
Language: de-DE

NOTE
by hand

STYLE
::cue { color: red }

0a1b-22/7-0
00:03.000 --> 00:05.000 align:start
<v.loud Ann &amp; Co>Guten Morgen. Wollen</v>
<v Ann &amp; Co>wir?</v>

00:05.500 --> 00:07.000
<v Bob>Ja.</v>

00:08.000 --> 00:09.000
- Wer?
"""

    ((document,), _) = read("a.vtt", transcript)

    assert document.text == "[00:00:03] Ann & Co: Guten Morgen. Wollen wir?\n\n[00:00:05] Bob: Ja.\n\n[00:00:08] - Wer?"
    assert document.metadata["lang"] == "de-DE"


def test_captions_that_roll_upwards_are_read_once(read):
    captions = """WEBVTT

00:00:00.160 --> 00:00:02.389
~
so<00:00:00.320><c> today</c><00:00:00.480><c> we</c>

00:00:02.389 --> 00:00:02.399
so today we
~

00:00:02.399 --> 00:00:04.389
so today we
are<00:00:02.560><c> going</c>

00:00:04.389 --> 00:00:04.399
are going
~

00:00:04.399 --> 00:00:06.389
are going
so today we
"""

    assert read("a.vtt", captions.replace("~", " "))[0][0].text == "[00:00:00] so today we are going so today we"


@pytest.mark.parametrize("mark", ["<b ", "{\\", "<v" + 9 * " "])
def test_marks_that_do_not_end_take_no_time_that_grows_with_their_square(read, mark):
    said = 100_000 * mark + "end"

    assert read("a.srt", f"00:00:01,000 --> 00:00:02,000\n{said}\n")[0][0].text.endswith("end")


def test_cues_of_many_lines_take_no_time_that_grows_with_their_square(read):
    said = 60_000 * "a\n"
    cues = [f"00:00:0{second},000 --> 00:00:09,000\n{said}{end}\n" for second, end in ((1, "b"), (2, "c"))]

    assert read("a.srt", "\n".join(cues))[0][0].text.endswith("a b " + 60_000 * "a " + "c")


@pytest.mark.parametrize("content", ["WEBVTT\n\nNo times.\n", "Hello.\n\nA text of another kind."])
def test_what_has_no_times_is_text(read, content):
    assert read("a.srt", content)[0][0].text == content


def test_what_another_speaker_says_again_is_said(read):
    said = [("Ann", "Do we agree? Yes."), ("Ann", "Yes."), ("Bob", "Yes."), ("Bob", "Yes.")]
    cues = [f"00:0{n}.000 --> 00:0{n + 1}.000\n<v {who}>{what}</v>" for n, (who, what) in enumerate(said, start=1)]

    ((document,), _) = read("a.vtt", "WEBVTT\n\n" + "\n\n".join(cues))

    assert document.text == "[00:00:01] Ann: Do we agree? Yes. Yes.\n\n[00:00:03] Bob: Yes."


def test_times_without_parts_of_a_second_are_times(read):
    content = "1\n00:00:58 --> 00:01:01\nHello.\n\n2\n00:01:02 --> 00:01:04\nWelcome.\n"

    assert [one.text for one in read("a.srt", content.encode())[0]] == ["[00:00:58] Hello. Welcome."]


def test_times_without_leading_zeros_are_times(read):
    content = (
        "WEBVTT\n\n6e2b1f0c-0d3a/12-0\n0:0:0.0 --> 0:0:3.5\n<v Ann>Hello.</v>\n\n0:1:5.2 --> 1:2:7.9\n<v Bo>Hi.</v>\n"
    )

    assert read("a.vtt", content)[0][0].text == "[00:00:00] Ann: Hello.\n\n[00:01:05] Bo: Hi."


def test_names_with_which_most_cues_begin_are_their_speakers(read):
    said = ["Ann O'Neil: I think that", "Ann O'Neil: we sell pumps.", "Room 2: Note: at 10:30.", "Yes."]
    cues = [f"{n}\n00:0{n}.000 --> 00:0{n + 1}.000\n{what}" for n, what in enumerate(said, start=1)]

    ((document,), _) = read("a.vtt", "WEBVTT\n\n" + "\n\n".join(cues))
    ((few,), _) = read("b.vtt", "WEBVTT\n\n" + "\n\n".join(cues[2:]))

    assert document.text == (
        "[00:00:01] Ann O'Neil: I think that we sell pumps.\n\n[00:00:03] Room 2: Note: at 10:30.\n\n[00:00:04] Yes."
    )
    assert few.text == "[00:00:03] Room 2: Note: at 10:30. Yes."
