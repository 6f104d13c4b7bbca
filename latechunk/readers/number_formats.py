"""Numbers of spreadsheets as their format codes show them: decimals, signs of currency, percent, dates and times.

What differs by language is left out or told in one way: digits are not grouped, the point is a full stop, a negative
number has a minus, and dates are as ISO 8601 has them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

_NUMBERS = {
    "0": (1, 3, 5, 6, 37, 38, 41, 42),
    "0.00": (2, 4, 7, 8, 39, 40, 43, 44),
    "0%": (9,),
    "0.00%": (10,),
    "yyyy-mm-dd": (14, 15, 16),
    "yyyy-mm": (17,),
    "yyyy-mm-dd hh:mm": (22, *range(27, 37), *range(50, 59)),  # from 27 on dates or times, by the language of Excel
    "hh:mm": (18, 20),
    "hh:mm:ss": (19, 21, 45, 47),
    "[h]:mm:ss": (46,),
}
BUILT_IN = {number: code for code, numbers in _NUMBERS.items() for number in numbers}
"""Format codes by their numbers, of those that files need not define; the others show a number as it is."""

_MOST_CODE = 255  # characters, as Excel allows
_MOST_DECIMALS = 15
_MOST_SCALE = 12  # powers of ten
_PLAIN = (1e-9, 1e21)  # what is smaller or greater is shown with an exponent
_LAST_DAY = 2_958_466  # 31 December 9999, and one
_FALSE_LEAP_DAY = 60  # 29 February 1900, which Excel believes in
_SECTION = re.compile(r'((?:"[^"]*"?|\\.|\[[^\]]*\]?|[^;])*);?', re.S)
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|[_*].?|\[(?P<bracket>[^\]]*)\]?'
    r"|(?P<digits>general|[0#?][0#?.,/E+-]*|\.[0#?]+)|(?P<literal>.)",
    re.I | re.S,
)
_ELAPSED = re.compile(r"h+|m+|s+", re.I)
_DIGITS = re.compile(r"([0#?,]*?)(,*)(?:\.([0#?]*)(,*))?")
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_UP)
_NO_MINUS = str.maketrans("", "", "-+()")


@dataclass(frozen=True, slots=True)
class _Section:
    """How one section of a format code shows numbers."""

    prefix: str = ""
    suffix: str = ""
    scale: int = 0
    n_digits: int = 1  # before the point, at least
    decimals: tuple[int, int] | None = None  # after it, at least and at most; None for as many as there are
    letters: str = ""  # of a date or time; [h], [m] and [s], which count on, as a bracket


@lru_cache(maxsize=4096)
def _parse(code: str) -> tuple[_Section, ...]:
    """The sections of a format code that are for numbers: the first for all, or for what is not negative."""
    code = code[:_MOST_CODE]
    if re.search(r"\[[<>=]", code):  # a section that holds for some numbers alone
        return (_Section(),)
    sections = [_parse_section(found[1]) for found in _SECTION.finditer(code) if found[0]]
    return tuple(sections[:2]) or (_Section(),)


def _parse_section(code: str) -> _Section:
    affixes, runs, letters = ["", ""], list[str](), ""
    for token in _TOKEN.finditer(code):
        kind, text = token.lastgroup, token[token.lastgroup] if token.lastgroup else ""
        if kind == "digits":
            runs.append(text.lower())
        elif kind == "bracket":
            letters += f"[{text}" if _ELAPSED.fullmatch(text) else ""
            affixes[bool(runs)] += text[1:].partition("-")[0] if text.startswith("$") else ""
        else:
            letters += text.lower() if kind == "literal" and text.lower() in "ymdhse" else ""
            affixes[bool(runs)] += text
    if letters and (not runs or "s" in letters):  # as in ss.00
        return _Section(letters=letters)
    scale = 2 * sum(affix.count("%") for affix in affixes)
    if runs == ["general"]:
        return _Section(affixes[0], affixes[1], scale)
    found = _DIGITS.fullmatch(runs[0]) if len(runs) == 1 else None
    if not found:  # digits in groups, a fraction, an exponent
        return _Section()
    whole, thousands, decimals, further = (part or "" for part in found.groups())
    scale -= 3 * (len(thousands) + len(further))
    least, most = (min(len(one), _MOST_DECIMALS) for one in (decimals.rstrip("#?"), decimals))
    return _Section(affixes[0], affixes[1], scale, max(1, whole.count("0")), (least, most))


def show_number(text: str, code: str, *, from_1904: bool = False) -> tuple[str, float | None]:
    """Show a number by a format code, or as it is where that is empty; the number is None for a date, time or code.

    Args:
        text: As the file has it.
        code: Such as ``#,##0.00 "kg"``.
        from_1904: Whether dates count from 1904, as those of old Macs do.

    Examples:
        >>> show_number("0.30000000000000004", ""), show_number("0.075", "0.0%")
        (('0.3', 0.3), ('7.5%', 0.075))
        >>> show_number("45382", "m/d/yy"), show_number("42", "00000")
        (('2024-03-31', None), ('00042', None))
    """
    try:
        value = float(text)
    except ValueError:
        return text, None
    if not math.isfinite(value):
        return text, None
    sections = _parse(code)
    if sections[0].letters and (shown := _show_time(value, sections[0].letters, from_1904)):
        return shown, None
    if len(text) > _MOST_DECIMALS and text.lstrip("-").isdecimal():  # more digits than a number of Excel has: a code
        return text, None
    value = float(f"{value:.15g}")
    negative = value < 0 and len(sections) > 1 and sections[1].decimals is not None
    section = sections[1] if negative else sections[0]
    return _show_decimal(value, section), value if section.n_digits == 1 else None


def _show_decimal(value: float, section: _Section) -> str:
    if (value and not _PLAIN[0] <= abs(value) < _PLAIN[1]) or abs(section.scale) > _MOST_SCALE:
        return f"{value:.15G}"
    number = Decimal(f"{value:.15g}").scaleb(section.scale, _CONTEXT)
    if section.decimals:
        number = number.quantize(Decimal(1).scaleb(-section.decimals[1]), context=_CONTEXT)
    whole, _, decimals = f"{abs(number):f}".partition(".")
    least = section.decimals[0] if section.decimals else 0
    decimals = decimals[:least] + decimals[least:].rstrip("0")
    prefix, suffix = section.prefix, section.suffix
    if number < 0:
        prefix, suffix = f"-{prefix.translate(_NO_MINUS).lstrip()}", suffix.translate(_NO_MINUS)
    return f"{prefix}{whole.zfill(section.n_digits)}{'.' if decimals else ''}{decimals}{suffix}".strip()


def _show_time(value: float, letters: str, from_1904: bool) -> str:
    """A date or time as ISO 8601 has it, as exact as its code; nothing if there is no such day."""
    if not 0 <= value < _LAST_DAY:
        return ""
    has_clock = "h" in letters or "s" in letters
    day = re.search("[yde]|mmm", letters) or not has_clock
    seconds = round(value * 86_400)
    hours, minutes, rest = seconds // 3_600, seconds // 60 % 60, seconds % 60
    if "[" in letters or (has_clock and (not day or value < 1)):
        clock = f"{hours if '[' in letters else hours % 24:02}:{minutes:02}"
        return f"{clock}:{rest:02}" if "s" in letters else clock
    if value < 1 and not from_1904:
        return ""
    first = datetime(1904, 1, 1) if from_1904 else datetime(1899, 12, 30 + (value < _FALSE_LEAP_DAY))
    try:
        moment = first + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    shown = moment.isoformat(" ", "seconds" if rest else "minutes")
    if not has_clock or seconds % 86_400 == 0:
        shown = shown[:10] if "d" in letters else shown[:7] if "m" in letters else shown[:4]
    return shown
