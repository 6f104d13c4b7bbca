"""Parts of messages (MIME): their bytes, and the encoding that they declare."""

from __future__ import annotations

import contextlib
import re
from binascii import a2b_base64
from email.errors import InvalidBase64LengthDefect
from email.message import Message

_NO_LETTER = re.compile(rb"[^A-Za-z0-9+/]")  # of base64
_CUT_OFF = "a text is read up to where its base64 breaks off"


def part_bytes(part: Message) -> tuple[bytes, str | None]:
    """What a part holds, nothing if that is parts, and a note where it is not whole."""
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return b"", None
    if any(isinstance(one, InvalidBase64LengthDefect) for one in part.defects):  # then it is not decoded
        letters = _NO_LETTER.sub(b"", data)
        return a2b_base64(letters[: len(letters) // 4 * 4]), _CUT_OFF
    return data, None


def part_charset(part: Message) -> str:
    """The encoding that a part declares, or nothing."""
    with contextlib.suppress(ValueError):  # an encoding of its own that has the byte 0
        return part.get_content_charset() or ""
    return ""
