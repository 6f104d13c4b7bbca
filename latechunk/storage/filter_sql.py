"""What must hold of a document's metadata, as SQL over its JSON with all keys and values bound.

Written for SQLite 3.38 and all later: its ``json_each``, and none of its JSON paths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_ELEMENT = "c"  # the alias of an array's elements
_IS_TEXT = "type = 'text'"
_IS_NUMBER = "type IN ('integer', 'real')"

# Before 3.45, SQLite ends strings of JSON at a NUL. So NUL is written as the two characters U+0001 "a", and U+0001 as
# U+0001 "b", here and in what is bound, which keeps equality and order. To find the escapes of these characters,
# escaped backslashes are first replaced by a raw U+0001, which JSON cannot hold. A subquery without FROM is
# never flattened, so this runs once for each document.
READABLE = (
    r"CASE WHEN instr(d.metadata, '\u000') THEN replace(replace(replace(replace(d.metadata, '\\', char(1)), "
    r"'\u0001', '\u0001b'), '\u0000', '\u0001a'), char(1), '\\') ELSE d.metadata END"
)
_METADATA = f"SELECT {READABLE} AS metadata"


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression of SQL over a table ``d`` with a column ``metadata``, of JSON from ``encode_metadata``.

    Nothing of the user's is in ``sql``; ``values`` are bound to its question marks, in order. Equal conditions choose
    equal documents, so a condition can be a key of a cache.
    """

    sql: str
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents are meant.

    Attributes:
        rows: Conditions over a row ``f`` of the table ``fields``; a document needs one for each.
        rest: What else must hold; None for nothing else.
    """

    rows: tuple[Condition, ...]
    rest: Condition | None

    @property
    def is_every_document(self) -> bool:
        """Whether all documents are meant, whatever their metadata are."""
        return not self.rows and self.rest in (None, Condition("1", ()))


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions on the column ``m.metadata``, and an expression of SQL with ``{}`` for each of them, in order.

    Attributes:
        row: The same as a condition over a row ``f`` of the table ``fields``, if it can be said so.
        all_of: Parts that must all hold, where it is nothing else.
    """

    pattern: str
    conditions: tuple[Condition, ...]
    row: Condition | None = None
    all_of: tuple[Logic, ...] = ()


NEVER = Logic("0", ())
"""What holds of no metadata."""

Scalar: TypeAlias = str | bool | int | float | None
Test: TypeAlias = Callable[[str], Condition]
"""Whether the row of ``json_each`` that has the given alias is what is looked for."""


def over_documents(logic: Logic) -> Condition:
    """Put it all into one condition over documents."""
    if not logic.conditions:
        return Condition(logic.pattern, ())
    # The conditions stand apart from what joins them, as the parser before 3.46 has a stack of 100 places, of which a
    # condition takes about 40. SQLite moves them back, so none is computed that is not needed.
    where = logic.pattern.format(*(f"k.c{n}" for n in range(len(logic.conditions))))
    columns = ", ".join(f"{one.sql} AS c{n}" for n, one in enumerate(logic.conditions))
    return Condition(
        f"EXISTS (SELECT 1 FROM (SELECT {columns} FROM ({_METADATA}) m) k WHERE {where})",
        tuple(value for one in logic.conditions for value in one.values),
    )


def select(logic: Logic) -> Selection:
    """Find by rows of ``fields`` what can be found so: what of all that must hold is about one top-level key each."""
    rows, rest, waiting = [], [], [logic]
    while waiting:
        one = waiting.pop()
        if one.row is not None:
            rows.append(one.row)
        elif one.all_of:
            waiting += reversed(one.all_of)
        else:
            rest.append(one)
    return Selection(tuple(rows), over_documents(join("AND", rest)) if rest else None)


def has_path(path: str, test: Test | None = None, *, in_rows: bool = False) -> Logic:
    """Whether the metadata has keys within keys that joined by dots are ``path``, or a top-level key that is it.

    The value, or an element of it if it is an array, must satisfy ``test``, too. ``in_rows`` says that it is a test of
    each element by itself, and of nothing but strings, numbers, booleans and null.
    """
    keys = path.split(".")
    nested = _has_keys(keys, test)
    if len(keys) == 1:
        row = None
        if in_rows and test is not None:
            row = _chain("AND", [Condition("f.path = ?", (escape_text(path),)), test("f")])
        return Logic("{}", (nested,), row)
    # Few documents have such a key; to look for its text spares the others a second reading of their JSON. In CASE,
    # as SQLite may compute both sides of an AND.
    whole = _has_keys([path], test)
    values = (f"{_encode(escape_text(path))}:", *whole.values)
    rare = Condition(f"CASE WHEN instr(m.metadata, ?) THEN {whole.sql} ELSE 0 END", values)
    return join("OR", [Logic("{}", (nested,)), Logic("{}", (rare,))])


def _has_keys(keys: Sequence[str], test: Test | None) -> Condition:
    # Joins rather than paths like $."a""b", as SQLite's versions differ in how those quote odd keys.
    within = [
        f"json_each(CASE p{n}.type WHEN 'object' THEN p{n}.value ELSE '{{}}' END) p{n + 1}" for n in range(1, len(keys))
    ]
    tables = ", ".join(["json_each(m.metadata) p1", *within])
    parts = [Condition(f"p{n}.key = ?", (escape_text(key),)) for n, key in enumerate(keys, start=1)]
    if test is not None:
        parts.append(_any_candidate(f"p{len(keys)}", test))
    where = _chain("AND", parts)
    return Condition(f"EXISTS (SELECT 1 FROM {tables} WHERE {where.sql})", where.values)


def _any_candidate(row: str, test: Test) -> Condition:
    element, itself = test(_ELEMENT), test(row)
    elements = f"SELECT 1 FROM json_each({row}.value) {_ELEMENT} WHERE {element.sql}"
    return Condition(
        f"CASE {row}.type WHEN 'array' THEN EXISTS ({elements}) ELSE {itself.sql} END", element.values + itself.values
    )


def compares(sign: str, value: Scalar) -> Test:
    """Test for a value of the same JSON type that stands in this order to ``value``.

    Null and booleans take ``=`` alone; text must be without lone surrogates, numbers finite and in the range of floats.
    """
    if value is None or isinstance(value, bool):
        return lambda row: Condition(f"{row}.type = '{json.dumps(value)}'", ())
    if isinstance(value, str):
        return lambda row: Condition(f"({row}.{_IS_TEXT} AND {row}.atom {sign} ?)", (escape_text(value),))
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return lambda row: Condition(f"({row}.{_IS_NUMBER} AND {row}.atom {sign} ?)", (value,))
    # As JSON, for SQLite to round it as it rounds the metadata: some builds round unlike Python, some unlike CAST.
    read = "(SELECT o.atom FROM json_each(?) o)"
    return lambda row: Condition(f"({row}.{_IS_NUMBER} AND {row}.atom {sign} {read})", (json.dumps(value),))


def equals_any(values: Sequence[Scalar]) -> Test:
    """Test for equality with any of many values: at most two variables, of which SQLite makes an index each."""
    constants = [compares("=", one) for one in (None, False, True) if any(one is other for other in values)]
    texts = [escape_text(one) for one in values if isinstance(one, str)]
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    kinds = [(kind, _encode(some)) for kind, some in ((_IS_TEXT, texts), (_IS_NUMBER, numbers)) if some]

    def test(row: str) -> Condition:
        listed = [
            Condition(f"({row}.{kind} AND {row}.atom IN (SELECT o.atom FROM json_each(?) o))", (encoded,))
            for kind, encoded in kinds
        ]
        return _chain("OR", [constant(row) for constant in constants] + listed)

    return test


def both(one: Test, other: Test) -> Test:
    """Test for a value that passes two tests."""
    return lambda row: _chain("AND", [one(row), other(row)])


def starts_with(text: str) -> Test:
    """Test for a string that begins with ``text``."""
    # GLOB, as its LIKE looks at no case of ASCII letters.
    return _matches("{}", f"{_quote_glob(escape_text(text))}*")


def contains(value: Scalar) -> Test:
    """Test for a string that holds a string, or for an element of an array that equals ``value``."""
    equal = compares("=", value)

    def test(row: str) -> Condition:
        if row == _ELEMENT or not isinstance(value, str):
            return equal(row) if row == _ELEMENT else Condition("0", ())
        return Condition(f"({row}.{_IS_TEXT} AND instr({row}.atom, ?))", (escape_text(value),))

    return test


def is_like(pattern: str, *, fold: bool) -> Test:
    """Test for a string of a pattern of LIKE's; ``fold`` for one of any case, in any script."""
    found = re.findall(r"\\.|.", pattern.casefold() if fold else pattern, re.DOTALL)
    glob = "".join({"%": "*", "_": "?"}.get(part) or _quote_glob(escape_text(part[-1])) for part in found)
    return _matches("latechunk_fold({})" if fold else "{}", glob)


def is_filled(row: str) -> Condition:
    """Test for anything but null and an empty string; an empty array has no element to be it."""
    return Condition(f"NOT ({row}.type = 'null' OR ({row}.{_IS_TEXT} AND {row}.atom = ''))", ())


def _matches(read: str, glob: str) -> Test:
    return lambda row: Condition(f"({row}.{_IS_TEXT} AND {read.format(f'{row}.atom')} GLOB ?)", (glob,))


def _quote_glob(text: str) -> str:
    return re.sub(r"[*?\[]", r"[\g<0>]", text)


def join(word: str, parts: Sequence[Logic]) -> Logic:
    """Join by ``AND`` (true of no parts) or ``OR`` (false of no parts); what is always true or false goes."""
    neutral, deciding = ("1", "0") if word == "AND" else ("0", "1")
    if any(part.pattern == deciding for part in parts):
        return Logic(deciding, ())
    parts = [part for part in parts if part.pattern != neutral]
    return Logic(
        _write_chain(word, [part.pattern for part in parts]),
        tuple(one for part in parts for one in part.conditions),
        all_of=tuple(parts) if word == "AND" else (),
    )


def negate(logic: Logic) -> Logic:
    """What holds where this does not; nothing is ever unknown (NULL)."""
    if not logic.conditions:
        return Logic("0" if logic.pattern == "1" else "1", ())
    return Logic(f"NOT {logic.pattern}", logic.conditions)


def _chain(word: str, parts: Sequence[Condition]) -> Condition:
    return Condition(
        _write_chain(word, [part.sql for part in parts]), tuple(value for part in parts for value in part.values)
    )


def _write_chain(word: str, parts: Sequence[str]) -> str:
    if not parts:
        return "1" if word == "AND" else "0"
    return parts[0] if len(parts) == 1 else f"({f' {word} '.join(parts)})"


def fold_case(value: str | float | None) -> str | None:
    """What ``latechunk_fold`` is in SQL: a text without regard to case, as Unicode has it, and NULL for all else.

    SQLite may ask for what is no text, too, since it may compute both sides of an AND.
    """
    return value.casefold() if isinstance(value, str) else None


def escape_text(text: str) -> str:
    """Text without NUL, which stands as two other characters; keeps equality and order."""
    return text.replace("\x01", "\x01b").replace("\x00", "\x01a")


def unescape_text(text: str) -> str:
    """What ``escape_text`` made this of."""
    return text.replace("\x01a", "\x00").replace("\x01b", "\x01")


def _encode(value: str | Sequence[str] | Sequence[int | float]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
