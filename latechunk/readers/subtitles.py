"""Subtitles and transcripts (.srt, .vtt): what is said, as paragraphs that begin with their time and who speaks.

As they stand, numbers and times would be most of each chunk, and sentences would be cut where lines of a screen end.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from latechunk.readers.reader import Reader, Reading, SourceFile, read_text
from latechunk.types import Document

_SECONDS = 15  # after which a paragraph ends where a sentence does
_MOST_SECONDS = 30
_MOST_LINES = 20  # that are shown at once
_TIME = re.compile(r"[ \t]*(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[.,]\d{1,3})?[ \t]*-->")
_NO_CUE = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)\b")
_LANGUAGE = re.compile(r"WEBVTT[^\n]*(?:\n[^\n]+)*?\nLanguage: *([\w-]+)")
_SPEAKER = re.compile(r"\s*<v(?:\.[\w.-]*)?[ \t]+([^\s<>][^<>]*)>")
_NAME = re.compile(r"\s*([^\W\d_][\w.,'’() -]{0,49}):\s+(?=\S)")  # as transcripts of Zoom begin each cue
_MARK = re.compile(r"</?(?:[biucv]|font|ruby|rt|lang)\b[^<>]*>|<[\d:.]+>|\{\\[^{}]*\}", re.I)
_SENTENCE_END = re.compile(r"[.!?…。！？؟।]['\"”’»)\]]*\Z")


class _Line(NamedTuple):
    second: int
    speaker: str
    text: str


def _read(file: SourceFile, reading: Reading) -> Iterator[Document]:
    text = read_text(file, reading)
    plain = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    paragraphs = list(_paragraphs(_lines(plain)))
    language = _LANGUAGE.match(plain)
    metadata = {**({"lang": language[1]} if language else {}), **file.metadata}
    if paragraphs:
        yield Document(file.name, "\n\n".join(paragraphs), metadata, outline=())
    else:
        yield Document(file.name, text, metadata)


def _lines(text: str) -> Iterator[_Line]:
    """The lines that are said, without those with which a cue repeats the end of the one before, as captions roll."""
    before: list[tuple[str, str]] = []
    cues = list(_cues(text))
    has_names = 2 * sum(1 for _, shown in cues if shown and _NAME.match(shown[0])) > len(cues)
    for second, shown in cues:
        speaker, lines = "", list[tuple[str, str]]()
        for number, line in enumerate(shown):
            if named := _SPEAKER.match(line):
                speaker = html.unescape(named[1]).strip()
            elif has_names and not number and (named := _NAME.match(line)):
                speaker, line = html.unescape(named[1]), line[named.end() :]  # noqa: PLW2901
            lines.append((speaker, " ".join(html.unescape(_MARK.sub("", line)).split())))
        most = min(len(before), len(lines), _MOST_LINES)
        n_known = next(n for n in range(most, -1, -1) if before[len(before) - n :] == lines[:n])
        yield from (_Line(second, *line) for line in lines[n_known:] if line[1])
        before = lines


def _cues(text: str) -> Iterator[tuple[int, list[str]]]:
    """The second at which each cue begins, and its lines that are not blank."""
    cue: tuple[int, list[str]] | None = None
    is_note = False
    lines = ["", *text.split("\n")]
    for before, line, after in zip(lines, lines[1:], [*lines[2:], ""], strict=False):
        if time := _TIME.match(line):
            if cue:
                yield cue
            hours, minutes, seconds = (int(one or 0) for one in time.groups())
            cue = 3600 * hours + 60 * minutes + seconds, []
        elif _TIME.match(after) and (line.strip().isdecimal() or not before.strip()):
            continue  # the number or the name of a cue
        else:
            is_note = bool(line.strip()) and (is_note or (not before.strip() and _NO_CUE.match(line) is not None))
            if cue and not is_note and line.strip():
                cue[1].append(line)
    if cue:
        yield cue


def _paragraphs(lines: Iterator[_Line]) -> Iterator[str]:
    start, parts = _Line(0, "", ""), list[str]()
    for line in lines:
        length = line.second - start.second
        is_long = length >= _MOST_SECONDS or (length >= _SECONDS and parts and _SENTENCE_END.search(parts[-1]))
        if parts and (is_long or line.speaker != start.speaker):
            yield _write(start, parts)
            parts = []
        if not parts:
            start = line
        parts.append(line.text)
    if parts:
        yield _write(start, parts)


def _write(start: _Line, parts: list[str]) -> str:
    time = f"[{start.second // 3600:02}:{start.second // 60 % 60:02}:{start.second % 60:02}]"
    return " ".join([time, *([f"{start.speaker}:"] if start.speaker else []), *parts])


SUBTITLES = Reader(suffixes=(".srt", ".vtt"), read=_read)
