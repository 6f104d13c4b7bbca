"""Messages (.eml): subject, sender, receivers and date, then the text, and messages within them.

The text is the plain one, else that of HTML, and time and place of an invitation. Attachments are named and not read.
"""

from __future__ import annotations

import contextlib
import quopri
import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path

from latechunk.errors import DocumentError, MissingDependencyError
from latechunk.readers.calendar import read_event
from latechunk.readers.decoding import decode_declared, decode_word, explain_decoding, marked_encoding
from latechunk.readers.html import parse_html
from latechunk.readers.limits import read_whole
from latechunk.readers.mime import part_bytes, part_charset
from latechunk.readers.parsed import Parsed, ParserOptions
from latechunk.readers.reader import parsed_reader
from latechunk.readers.structured import StructuredText

_HEADERS = ("from", "to", "cc", "date", "subject")
_LISTS = ("to", "cc")  # which some programs write a line for each receiver of
_METADATA = {"subject": "title", "from": "author", "to": "to", "date": "created"}
_CALENDAR = "text/calendar"
_ORDER = {"text/plain": 0, _CALENDAR: 2}  # of the forms of a text; others are 1
_MOST_LEVELS = 20  # of parts within each other
_BLANK_LINES = re.compile(r"\n{3,}")
_UNENCODED = re.compile(
    rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n)"
)  # what no text in quoted-printable has, such as "charset=utf-8"
_MARK = b"\xef\xbb\xbf"  # of UTF-8, which counts more than what a page declares
_NO_TEXT = "a message without a text that is read: it is encrypted, or its attachments are all that it holds"


def parse(path: Path, options: ParserOptions) -> Parsed:
    """Read a message; see ``ParserProcess.parse``."""
    message = _parse(_without_mark(read_whole(path)).lstrip(b"\r\n"))
    headers = _read_headers(message)
    if not headers:
        raise DocumentError(f"it is no message: it has no header of {', '.join(_HEADERS)}")
    read = _Message(options)
    read.add(message, 1)
    metadata = {_METADATA[name]: said for name, said in headers.items() if name in _METADATA}
    notes = [*dict.fromkeys(read.notes), *([] if read.n_texts else [_NO_TEXT])]
    return Parsed(str(read.out), (), read.out.outline, metadata, tuple(notes), tuple(read.problems))


def _without_mark(data: bytes) -> bytes:
    """A file without the mark of its encoding, which editors write before it; what is UTF-16 as UTF-8."""
    if data.startswith(_MARK):
        return data.removeprefix(_MARK)
    wide = marked_encoding(data)
    return data.decode(wide, "replace").encode() if wide else data


def _parse(data: bytes) -> Message:
    try:
        return message_from_bytes(data)
    except RecursionError as error:
        raise DocumentError(f"its parts nest more than {_MOST_LEVELS} levels deep") from error


@dataclass(slots=True)
class _Message:
    """Takes a message and those within it, and writes the text."""

    options: ParserOptions
    out: StructuredText = field(default_factory=StructuredText)
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    n_texts: int = 0
    has_event: bool = False

    def add(self, message: Message, level: int) -> None:
        """Add a message of this level, from 1."""
        if level > _MOST_LEVELS:
            raise DocumentError(f"its messages nest more than {_MOST_LEVELS} levels deep")
        self.has_event = False
        headers = _read_headers(message)
        attached = [name for part in message.walk() if (name := _attachment(part))] if level == 1 else []
        if subject := headers.pop("subject", ""):
            self.out.heading(subject, level)
        if attached:
            headers["attachments"] = ", ".join(attached)
        if headers:
            self.out.paragraph("\n".join(f"{name.capitalize()}: {said}" for name, said in headers.items()))
        self._add_part(message, level, 1)

    def _add_part(self, part: Message, level: int, depth: int, with_texts: bool = True) -> None:
        """Add the texts of a part, of several forms of one text the first that is read, and all messages in it."""
        self.options.tick()
        if depth > _MOST_LEVELS:
            raise DocumentError(f"its parts nest more than {_MOST_LEVELS} levels deep")
        payload = part.get_payload() if part.is_multipart() else []
        kind = part.get_content_type()
        parts = [one for one in payload if isinstance(one, Message)]
        is_text = kind in ("text/plain", "text/html") or kind.startswith("multipart/")  # whose parts are lost
        if kind == "message/rfc822":
            for one in parts:
                self.add(_unpack(one, str(part.get("content-transfer-encoding", "")).strip().lower()), level + 1)
        elif kind == "multipart/alternative":
            n_texts = self.n_texts
            for one in sorted(parts, key=lambda one: _ORDER.get(one.get_content_type(), 1)):
                self._add_part(one, level, depth + 1, with_texts and self.n_texts == n_texts)
        elif parts:
            for one in parts:
                self._add_part(one, level, depth + 1, with_texts)
        elif (is_text and with_texts and not _attachment(part)) or (kind == _CALENDAR and not self.has_event):
            self._add_text(part, kind)

    def _add_text(self, part: Message, kind: str) -> None:
        data, note = part_bytes(part)
        if not data.strip():
            return
        self.notes += [note] if note else []
        try:
            text, guess = decode_declared(data, part_charset(part), self.options.encoding)
            if kind == "text/html":
                page, _, _ = parse_html(_MARK + text.encode("utf-8", "replace"), self.options, whole=True)
                written = self.out.append(page)
                self.n_texts += written[1] > written[0]
            elif kind == _CALENDAR:
                self._add_event(text)
            elif plain := _tidy(text):
                self.out.paragraph(plain)
                self.n_texts += 1
        except MissingDependencyError:
            raise
        except UnicodeDecodeError as error:
            self.problems.append((f"its part of {kind}", explain_decoding(error)))
        else:
            self.notes += [f"read as {guess}, which was guessed (--encoding says it)"] if guess else []

    def _add_event(self, calendar: str) -> None:
        """Add time and place of an invitation, of which a message may have a copy, and what it says if no text does."""
        if said := read_event(_tidy(calendar), with_description=not self.n_texts):
            self.out.paragraph(said)
            self.n_texts += 1
            self.has_event = True


def _unpack(message: Message, encoding: str) -> Message:
    """A message that a program encoded as a whole, which its standard forbids: parsed as it stands, all is letters."""
    if encoding == "base64" and not message.keys() and not message.is_multipart():
        message["Content-Transfer-Encoding"] = encoding
        data = message.get_payload(decode=True)
        return _parse(data) if isinstance(data, bytes) else message
    with contextlib.suppress(UnicodeError):  # what is not ASCII is not encoded either
        if encoding == "quoted-printable" and not _UNENCODED.search(letters := message.as_bytes()):
            return _parse(quopri.decodestring(letters))
    return message


def _tidy(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.replace("\0", "").splitlines())
    return _BLANK_LINES.sub("\n\n", lines).strip("\n")


def _read_headers(message: Message) -> dict[str, str]:
    """What is read of the headers, by small names, in an order of our own."""
    found: dict[str, str] = {}
    for key, value in message.raw_items():
        name = key.lower()
        said = _decode_header(value) if name in _HEADERS else ""
        if said and name in found and name in _LISTS:
            found[name] += f", {said}"
        elif said and name not in found:
            found[name] = _to_iso(said) if name == "date" else said
    return {name: found[name] for name in _HEADERS if name in found}


def _decode_header(raw: object) -> str:
    """A header in one line: encoded words decoded, and bytes as UTF-8 or else Windows-1252."""
    data = str(raw).encode("utf-8", "surrogateescape")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    with contextlib.suppress(MessageError, LookupError, ValueError):  # a UnicodeDecodeError is a ValueError
        text = "".join(_decode_word(*one) for one in decode_header(text))
    return " ".join(text.encode("utf-8", "replace").decode().replace("\0", "").split())


def _decode_word(word: str | bytes, charset: str | None) -> str:
    """A part of a header; ``decode_header`` gives what is not encoded as text, or as bytes where another part is."""
    if isinstance(word, str):
        return word
    return decode_word(word, charset.partition("*")[0]) if charset else word.decode("raw-unicode-escape")


def _to_iso(date: str) -> str:
    try:
        return parsedate_to_datetime(date).isoformat(" ", "minutes")
    except (ValueError, TypeError, OverflowError):
        return date


def _file_name(part: Message) -> str:
    with contextlib.suppress(ValueError):
        return _decode_header(part.get_filename() or "")
    return ""


def _attachment(part: Message) -> str:
    """The name of a part if it is an attachment; nothing if it is text or a picture within it."""
    if part.is_multipart():
        return ""
    is_attached = part.get_content_disposition() == "attachment"
    name = _file_name(part)
    is_message = part.get_content_type() in ("text/plain", "text/html") and bool(_read_headers(part))
    is_shown = part.get_content_maintype() == "image" or is_message or not name
    return (name or part.get_content_type()) if is_attached or not is_shown else ""


EML = parsed_reader(__name__, ".eml")
