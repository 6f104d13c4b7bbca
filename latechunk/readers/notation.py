"""Numbers of lists as letters and Roman numerals, powers as raised signs, and cells of several rows and columns."""

from __future__ import annotations

from collections.abc import Collection
from string import ascii_lowercase

MOST_SPAN = 100
"""Columns or rows that a cell may take."""
MOST_REPEATED = 100
"""Characters of a cell of several rows that is repeated in each of them, as each may be found alone."""

_RAISED = str.maketrans("0123456789+-−()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁽⁾ⁿⁱ")
_ROMAN = [
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x")),
    *((9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
]
_MOST_ROMAN = 3999
_MOST_RAISED = 20  # characters


def raise_signs(text: str) -> str:
    """A text in raised signs, if there are such for all of it; else as it is.

    Examples:
        >>> "10" + raise_signs("−6"), raise_signs("[1]")
        ('10⁻⁶', '[1]')
    """
    raised = text.translate(_RAISED) if len(text) <= _MOST_RAISED else text
    return raised if all(one != other for one, other in zip(text, raised, strict=True)) else text


def in_brackets(text: str) -> str:
    """A part of a formula in brackets, unless it is one sign, word or number."""
    return text if len(text) <= 1 or text.isalnum() else f"({text})"


def raise_text(text: str) -> str:
    """A power: in raised signs, or else after ``^``."""
    raised = raise_signs(text)
    return raised if raised != text or not text else f"^{in_brackets(text)}"


def lower(text: str) -> str:
    """An index, after ``_``."""
    return f"_{in_brackets(text)}" if text else ""


def to_letters(number: int) -> str:
    """A number from 1 as letters: a to z, then aa.

    Examples:
        >>> to_letters(2), to_letters(28)
        ('b', 'ab')
    """
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, len(ascii_lowercase))
        letters = ascii_lowercase[rest] + letters
    return letters


def column_letters(number: int, names: Collection[str]) -> str:
    """The name of a column without one: its letters as in a spreadsheet, or its number if they name another.

    Examples:
        >>> column_letters(2, ["x"]), column_letters(1, ["A", "B"])
        ('B', '1')
    """
    letters = to_letters(number).upper()
    return str(number) if letters in names else letters


def to_roman(number: int) -> str:
    """A number from 1 to 3999 as a Roman numeral in small letters; any other as it is.

    Examples:
        >>> to_roman(1994), to_roman(0)
        ('mcmxciv', '0')
    """
    if not 0 < number <= _MOST_ROMAN:
        return str(number)
    letters = ""
    for value, sign in _ROMAN:
        n_signs, number = divmod(number, value)
        letters += n_signs * sign
    return letters
