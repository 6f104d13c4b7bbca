import datetime
import enum
import math
import random
import sqlite3
import string
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from latechunk import Document, Index
from latechunk.errors import FilterError, InputError
from latechunk.maintenance.repair import repair
from latechunk.maintenance.verify import verify
from latechunk.search.filters import MAX_CONDITIONS, MAX_KEYS, MAX_LEVELS, compile_filter, select_documents
from latechunk.storage.fields import TABLE, add_fields, count_wrong_fields
from latechunk.storage.filter_sql import fold_case
from latechunk.types import encode_metadata
from tests.conftest import FakeEncoder


def connect_in_memory():
    connection = sqlite3.connect(":memory:")
    connection.create_function("latechunk_fold", 1, fold_case, deterministic=True)
    return connection


def find(metadata, filter):  # noqa: A002
    """Places of those metadata, of a list, that the filter chooses when SQLite evaluates it, in both its forms."""
    condition, selection = compile_filter(filter), select_documents(filter)
    connection = connect_in_memory()
    try:
        connection.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, metadata TEXT NOT NULL)")
        rows = [(number, encode_metadata(one, str(number))) for number, one in enumerate(metadata)]
        connection.execute(TABLE)
        connection.executemany("INSERT INTO documents VALUES (?, ?)", rows)
        for number, _ in rows:
            add_fields(connection, number)
        query = f"SELECT d.number FROM documents d WHERE {condition.sql} ORDER BY d.number"
        found = [number for (number,) in connection.execute(query, condition.values)]
        parts = [(f"SELECT document FROM fields f WHERE {one.sql}", one.values) for one in selection.rows]
        if selection.rest is not None:
            parts.append((f"SELECT d.number FROM documents d WHERE {selection.rest.sql}", selection.rest.values))
        selected = set(range(len(rows)))
        for part in parts:
            selected &= {number for (number,) in connection.execute(*part)}
        assert sorted(selected) == found
        assert count_wrong_fields(connection) == 0
        return found
    finally:
        connection.close()


def holds(metadata, filter):  # noqa: A002
    return find([metadata], filter) == [0]


# What a filter means, once more and in Python.


def expected(metadata, filter):  # noqa: A002
    return all(expected_entry(metadata, name, operand) for name, operand in filter.items())


def expected_entry(metadata, name, operand):
    if name == "$and":
        return all(expected(metadata, one) for one in operand)
    if name == "$or":
        return any(expected(metadata, one) for one in operand)
    if name == "$not":
        return not expected(metadata, operand)
    return expected_field(metadata, name, operand)


def expected_field(metadata, path, operand):
    if not isinstance(operand, Mapping):
        return expected_operator(metadata, path, "$eq", operand)
    if next(iter(operand)).startswith("$"):
        return all(expected_operator(metadata, path, name, one) for name, one in operand.items())
    return all(expected_field(metadata, f"{path}.{name}", one) for name, one in operand.items())


def expected_operator(metadata, path, operator, operand):
    match operator:
        case "$ne":
            return not expected_operator(metadata, path, "$eq", operand)
        case "$nin":
            return not expected_operator(metadata, path, "$in", operand)
        case "$not":
            return not expected_field(metadata, path, operand)
        case "$exists":
            return bool(values_at(metadata, path)) == operand
        case "$in":
            return any(expected_operator(metadata, path, "$eq", one) for one in operand)
    return any(compare(operator, candidate, operand) for candidate in candidates_at(metadata, path))


def values_at(metadata, path):
    values = [metadata]
    for key in path.split("."):
        values = [one[key] for one in values if isinstance(one, dict) and key in one]
    return values + ([metadata[path]] if path in metadata and "." in path else [])


def candidates_at(metadata, path):
    for value in values_at(metadata, path):
        yield from value if isinstance(value, list) else [value]


def compare(operator, left, right):
    if kind(left) != kind(right) or kind(left) is None:
        return False
    if kind(left) == "number":
        left, right = (float(one) if abs(one) >= 2**63 and one != -(2**63) else one for one in (left, right))
    match operator:
        case "$eq":
            return left == right
        case "$gt":
            return left > right
        case "$gte":
            return left >= right
        case "$lt":
            return left < right
        case "$lte":
            return left <= right
    raise ValueError(operator)


def kind(value):
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else None


STRINGS = [
    "", "1", "x", "X", "x\0", "x\0y", "x\x01", "x\x01a", "\0", "\x01", "\x01b", "\x02", "a'b", 'q"', "\\", "\\u0000",
    "\\\0", "\\\\u0001", "\n", "é", "e\u0301", "\ue000", "\uffff", "😀", "true", "null", "[1]", '{"a":1}', "%", "$",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 1.0, -0.0, 0.1, 0.1 + 0.2, 1.5, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2**63, 2.0**63,
    -(2**63) - 1, 2**70, 10**30, 1e30, 1e308, -1e308, 5e-324, 1e-7,
]  # fmt: skip
KEYS = [
    "a", "b", "c", "a.b", "b.a", "a.b.c", "", ".", "a.", ".a", "0", "A", "é", "😀", "a b", "a'b", 'a"b', '"a"', "a\\b",
    "\\", "[0]", "#-1", "a[0]", "a\0", "a\0b", "a\x01", "a\x01a", "\\u0000", "a\n", "%", "?", "?1", ":a", "key",
    "value", "--", "*", "a$", "x$.b", "a.b\0", "a\x01.b", 'a".b', "a\\.b",
]  # fmt: skip

scalars = st.one_of(
    st.sampled_from(STRINGS),
    st.sampled_from(NUMBERS),
    st.sampled_from([None, True, False]),
    st.text(max_size=3),
    st.integers(-3, 3),
    st.integers(-(2**64), 2**64),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
)
keys = st.sampled_from(KEYS[:6]) | st.sampled_from(KEYS) | st.text(max_size=3)
OPERATORS = ["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists", "$not"]


@st.composite
def metadata_and_filters(draw):
    """Metadata of several documents and a filter, of few keys and values, so that much matches and much nearly does."""
    key = st.sampled_from(draw(st.lists(keys, min_size=2, max_size=4, unique=True)))
    scalar = st.sampled_from(draw(st.lists(scalars, min_size=2, max_size=6)))
    value = st.recursive(
        scalar, lambda one: st.lists(one, max_size=3) | st.dictionaries(key, one, min_size=1, max_size=3), max_leaves=5
    )
    metadata = draw(st.lists(st.dictionaries(key, value, min_size=1, max_size=4), min_size=3, max_size=6))
    known = sorted({path for one in metadata for path in paths_in(one)})
    path = st.sampled_from(known) | st.lists(key, min_size=1, max_size=3).map(".".join)
    field = fields(path.filter(lambda one: not one.startswith("$")), scalar)
    return metadata, draw(st.recursive(field, combinations, max_leaves=4))


def paths_in(value, prefix=""):
    for key, one in value.items():
        yield f"{prefix}{key}"
        if isinstance(one, dict):
            yield from paths_in(one, f"{prefix}{key}.")


def fields(path, scalar):
    ordered = scalar.filter(lambda one: kind(one) in ("number", "string")) | st.sampled_from(["x", 0])
    several = st.lists(scalar, max_size=4)
    operands = dict.fromkeys(OPERATORS[4:8], ordered) | {
        "$eq": scalar,
        "$ne": scalar,
        "$in": several,
        "$nin": several,
    }
    simple = st.sampled_from(OPERATORS[:8]).flatmap(lambda name: st.fixed_dictionaries({name: operands[name]}))
    simple |= st.booleans().map(lambda there: {"$exists": there})
    both = st.builds(lambda left, right: left | right, simple, simple)
    operators = simple | both | both.map(lambda one: {"$not": one})
    return st.builds(write_field, path, scalar | operators, st.booleans())


def write_field(path, operand, nested):
    head, dot, tail = path.partition(".")
    return {head: {tail: operand}} if nested and dot and not tail.startswith("$") else {path: operand}


def combinations(inner):
    several = st.lists(inner, min_size=1, max_size=3)
    return (
        st.builds(lambda left, right: left | right, inner, inner)
        | several.map(lambda some: {"$and": some})
        | several.map(lambda some: {"$or": some})
        | inner.map(lambda one: {"$not": one})
    )


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(metadata_and_filters())
def test_sql_says_what_python_says(both):
    metadata, one = both

    assert find(metadata, one) == [number for number, each in enumerate(metadata) if expected(each, one)]


def test_every_value_compares_with_every_other_as_in_python():
    everything = [*STRINGS, *NUMBERS, None, True, False]
    metadata = [{"a": one} for one in everything] + [{"a": [one]} for one in everything]

    for operator in ("$eq", "$gt", "$gte", "$lt", "$lte", "$ne"):
        for value in everything:
            if operator in ("$eq", "$ne") or kind(value) in ("string", "number"):
                one = {"a": {operator: value}}
                assert find(metadata, one) == [n for n, each in enumerate(metadata) if expected(each, one)], one


@pytest.mark.parametrize("size", [1, 2, 5, 60])
def test_in_keeps_types_apart(size):
    everything = [*STRINGS, *NUMBERS, None, True, False, 0.5, "0", 3, "false"]
    metadata = [{"a": one} for one in everything] + [{"a": []}, {"a": {}}, {}]

    for seed in range(20):
        one = {"a": {"$in": random.Random(seed).sample(everything[:-4], min(size, len(everything) - 4))}}
        assert find(metadata, one) == [n for n, each in enumerate(metadata) if expected(each, one)], one


def test_every_odd_key_finds_itself_alone():
    whole = [{key: 1} for key in KEYS]
    nested = [{"top": {key: 1}} for key in KEYS]

    for number, key in enumerate(KEYS):
        assert number in find(whole, {key: 1})
        assert find(whole, {key: 1}) == [n for n, one in enumerate(whole) if expected(one, {key: 1})]
        if "." not in key:
            assert find(nested, {f"top.{key}": 1}) == find(nested, {"top": {key: 1}}) == [number]


# By hand, one for each thing the filters' text says.


class Colour(enum.StrEnum):
    RED = "red"


BOOKS = [
    {"year": 1999, "lang": "de", "tags": ["war", "sea"], "author": {"name": "Ada", "born": 1960}},
    {"year": 2005, "lang": "en", "tags": [], "author": {"name": "Bo"}},
    {"year": "2005", "lang": None, "author.name": "Ada"},
    {"year": [1990, 2010], "lang": ["de", "fr"], "draft": True},
    {},
]


@pytest.mark.parametrize(
    ("one", "found"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"lang": "de"}, [0, 3]),
        ({"lang": {"$eq": "de"}}, [0, 3]),
        ({"lang": None}, [2]),
        ({"year": 2005}, [1]),
        ({"year": 2005.0}, [1]),
        ({"year": "2005"}, [2]),
        ({"draft": True}, [3]),
        ({"draft": 1}, []),
        ({"draft": {"$ne": 1}}, [0, 1, 2, 3, 4]),
        ({"tags": "sea"}, [0]),
        ({"tags": {"$ne": "sea"}}, [1, 2, 3, 4]),
        ({"tags": {"$in": ["sea", "air"]}}, [0]),
        ({"tags": {"$nin": ["sea", "air"]}}, [1, 2, 3, 4]),
        ({"lang": {"$in": [None, "en"]}}, [1, 2]),
        ({"lang": {"$in": []}}, []),
        ({"lang": {"$nin": []}}, [0, 1, 2, 3, 4]),
        ({"lang": {"$in": ("de",)}}, [0, 3]),
        ({"year": {"$gt": 1999}}, [1, 3]),
        ({"year": {"$gte": 1999}}, [0, 1, 3]),
        ({"year": {"$lt": 1999}}, [3]),
        ({"year": {"$lte": 1999}}, [0, 3]),
        ({"year": {"$gt": "1999"}}, [2]),
        ({"year": {"$gt": 2000, "$lt": 2001}}, [3]),  # one element for each operator
        ({"lang": {"$gte": "e"}}, [1, 3]),
        ({"lang": {"$exists": True}}, [0, 1, 2, 3]),
        ({"lang": {"$exists": False}}, [4]),
        ({"tags": {"$exists": True}}, [0, 1]),
        ({"year": {"$not": {"$gt": 1999}}}, [0, 2, 4]),
        ({"year": {"$not": {"$gt": 1990, "$lt": 2000}}}, [1, 2, 4]),
        ({"year": {"$not": {"$not": {"$gt": 1999}}}}, [1, 3]),
        ({"author.name": "Ada"}, [0, 2]),
        ({"author": {"name": "Ada"}}, [0, 2]),
        ({"author": {"name": "Ada", "born": {"$lt": 1970}}}, [0]),
        ({"author.name": {"$ne": "Ada"}}, [1, 3, 4]),
        ({"author.name": {"$exists": True}}, [0, 1, 2]),
        ({"author.born": {"$exists": False}}, [1, 2, 3, 4]),
        ({"author": "Ada"}, []),
        ({"author": {"$exists": True}}, [0, 1]),
        ({"tags.0": "war"}, []),
        ({"lang": "de", "year": 1999}, [0]),
        ({"$and": [{"lang": "de"}, {"draft": True}]}, [3]),
        ({"$and": [{}]}, [0, 1, 2, 3, 4]),
        ({"$or": [{"lang": "en"}, {"draft": True}]}, [1, 3]),
        ({"$or": [{"lang": "en"}, {"draft": True}], "year": 2005}, [1]),
        ({"$or": [{"lang": "xx"}]}, []),
        ({"$not": {"lang": "de"}}, [1, 2, 4]),
        ({"$not": {"lang": "de", "year": 1999}}, [1, 2, 3, 4]),
        ({"$not": {}}, []),
        ({"$not": {"$or": [{"lang": "de"}, {"$not": {"year": {"$exists": True}}}]}}, [1, 2]),
        (MappingProxyType({"lang": MappingProxyType({"$eq": "en"})}), [1]),
    ],
)
def test_operators(one, found):
    assert find(BOOKS, one) == found
    assert [n for n, book in enumerate(BOOKS) if expected(book, one)] == found


FILES = [
    {"title": "Anna 2020", "path": "manual/a.md", "tags": ["big boat", "sea"], "day": datetime.date(2024, 2, 1)},
    {"title": "ANNA*[2021]", "path": "manual", "tags": [], "day": datetime.datetime(2024, 2, 1, 10, 30)},
    {"title": "Stra\u00dfe 100%", "path": Path("manuals/b.md"), "size": np.int64(7), "tags": None, "day": "2023-12-31"},
    {"title": "", "path": ["x", "manual/c"], "kind": Colour.RED, "score": np.float32(0.5), "vector": np.arange(3)},
]


@pytest.mark.parametrize(
    ("one", "found"),
    [
        ({"title": {"$like": "Anna%"}}, [0]),
        ({"title": {"$ilike": "anna_202%"}}, [0]),
        ({"title": {"$ilike": "anna%"}}, [0, 1]),
        ({"title": {"$ilike": "%STRASSE%"}}, [2]),
        ({"title": {"$like": "%*[%]"}}, [1]),
        ({"title": {"$like": r"%0\%"}}, [2]),
        ({"title": {"$like": "%"}}, [0, 1, 2, 3]),
        ({"title": {"$not": {"$like": "A%"}}}, [2, 3]),
        ({"path": {"$startswith": "manual/"}}, [0, 3]),
        ({"path": {"$startswith": "MANUAL"}}, []),
        ({"title": {"$startswith": "ANNA*["}}, [1]),
        ({"title": {"$contains": "nna"}}, [0]),
        ({"tags": {"$contains": "sea"}}, [0]),
        ({"tags": {"$contains": "boat"}}, []),
        ({"size": {"$contains": 7}}, []),
        ({"vector": {"$contains": 2}}, [3]),
        ({"vector": {"$between": [2, 9]}}, [3]),
        ({"vector": {"$between": [3, 9]}}, []),
        ({"tags": {"$is_empty": True}}, [1, 2, 3]),
        ({"title": {"$is_empty": True}}, [3]),
        ({"title": {"$is_empty": False}}, [0, 1, 2]),
        ({"day": {"$gte": datetime.date(2024, 1, 1)}}, [0, 1]),
        ({"day": {"$between": [datetime.date(2023, 1, 1), datetime.date(2024, 2, 1)]}}, [0, 2]),
        ({"path": Path("manuals/b.md")}, [2]),
        ({"kind": Colour.RED}, [3]),
        ({"size": {"$in": [np.float64(7)]}}, [2]),
        ({"score": np.float64(0.5)}, [3]),
    ],
)
def test_operators_of_texts_and_what_has_a_form_in_json(one, found):
    assert find(FILES, one) == found


@pytest.mark.parametrize("other", [5, 1.5, True, None, ["x", 5]])
@pytest.mark.parametrize("operator", [{"$like": "Ann%"}, {"$ilike": "ann%"}, {"$startswith": "A"}, {"$contains": "n"}])
def test_operators_of_texts_pass_over_other_values(other, operator):
    for key, metadata in (("a", [{"a": other}, {"a": "Ann"}]), ("a.b", [{"a": {"b": other}}, {"a": {"b": "Ann"}}])):
        assert find(metadata, {key: operator}) == [1]
        assert find(metadata, {"$not": {key: operator}}) == [0]
        assert find(metadata, {"$or": [{key: operator}, {"n": 1}]}) == [1]


def test_a_path_does_not_lead_into_arrays_or_strings_of_json():
    assert not holds({"a": [{"b": 1}]}, {"a.b": 1})
    assert not holds({"a": '{"b":1}'}, {"a.b": 1})
    assert not holds({"a": "[1]"}, {"a": 1})
    assert not holds({"a": [[1]]}, {"a": 1})


def test_a_key_that_has_dots_counts_whole_and_at_the_top_only():
    assert holds({"a.b.c": 1}, {"a.b.c": 1})
    assert holds({"a.b.c": 1}, {"a": {"b.c": 1}})
    assert not holds({"a": {"b.c": 1}}, {"a.b.c": 1})
    assert not holds({"a.b": {"c": 1}}, {"a.b.c": 1})


def test_an_operator_holds_at_either_place_of_a_dotted_key():
    both = {"a.b": 1, "a": {"b": 5}}

    assert holds(both, {"a.b": 1})
    assert holds(both, {"a.b": 5})
    assert not holds(both, {"a.b": {"$ne": 1}})
    assert holds(both, {"a.b": {"$lt": 2, "$gt": 4}})


def test_strings_are_ordered_by_code_point():
    ordered = ["", "\0", "\0\0", "\x01", "A", "a", "a\0", "a\x01", "ab", "é", "\ue000", "\uffff", "😀"]
    metadata = [{"a": one} for one in ordered]

    for number, one in enumerate(ordered):
        assert find(metadata, {"a": {"$lt": one}}) == list(range(number))
        assert find(metadata, {"a": {"$gte": one}}) == list(range(number, len(ordered)))


def test_whole_numbers_are_exact_within_64_bits_and_floats_beyond():
    assert not holds({"a": 2**53 + 1}, {"a": 2**53})
    assert not holds({"a": 2**53 + 1}, {"a": 2.0**53})
    assert not holds({"a": 2**63 - 1}, {"a": 2**63 - 2})
    assert holds({"a": 2**63}, {"a": 2**63 + 1})
    assert holds({"a": 2**70}, {"a": {"$gt": 2**63}})
    assert holds({"a": 2**63}, {"a": {"$in": [2**63]}})
    assert not holds({"a": 2**63 - 1}, {"a": {"$in": [2**63 - 2]}})


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
@example(0.1 + 0.2)
@example(63.00637734879842)  # CAST and json_each differ on these in some builds of SQLite
@example(0.94951932)
@example(531498.83139983)
def test_every_float_equals_itself(number):
    metadata = [{"a": number}]

    for one in ({"a": number}, {"a": {"$in": [number, "x"]}}, {"a": {"$gte": number}}, {"a": {"$lte": number}}):
        assert find(metadata, one) == [0]


def test_filters_that_are_written_alike_are_equal_keys_of_a_cache():
    def one():
        return compile_filter({"a": {"$in": [1, "x", None]}, "b.c": {"$gt": 1.5}})

    assert one() == one()
    assert len({one(), one(), compile_filter({"a": 1}), compile_filter({"a": 1.0}), compile_filter({"a": True})}) == 4


# What is no filter.


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (None, "the filter must be a filter, like .* got None"),
        ([], "the filter must be a filter, like .* got list"),
        ("x", "the filter must be a filter, like .* got the string 'x'"),
        ({1: 2}, "the filter must have plain strings as keys, got 1"),
        ({None: 2}, "the filter must have plain strings as keys, got None"),
        ({Colour.RED: 2}, "the filter must have plain strings as keys, got .*Colour"),
        ({"a": {1: 2}}, "a in the filter must have plain strings as keys, got 1"),
        ({"a\ud800": 1}, r"'a\\ud800' in the filter has the lone surrogate '\\ud800' at character 1"),
        ({"a": "\udfff"}, r"a in the filter has the lone surrogate '\\udfff' at character 0"),
        ({"a": {"$in": ["x", "\udfff"]}}, r"a\.\$in\[1\] in the filter has the lone surrogate"),
        ({"$gt": 1}, r'\$gt in the filter must stand under a field, like {"year": {"\$gt": ...}}'),
        ({"$nor": []}, r"\$nor in the filter must be one of \$and, \$or, \$not; did you mean \$not with \$or\?"),
        ({"$zzz": []}, r"\$zzz in the filter must be one of \$and, \$or, \$not; a field's name cannot begin with \$"),
        ({"a": {"$gte ": 1}}, r"a\.\$gte  in the filter must be one of .* did you mean \$gte\?"),
        ({"a": {"$exist": True}}, r"a\.\$exist in the filter must be one of .* did you mean \$exists\?"),
        ({"a": {"$or": [1]}}, r"a\.\$or in the filter must stand above fields, like"),
        ({"$and": []}, r"\$and in the filter must be a list of at least one filter, got an empty list"),
        ({"$or": {"a": 1}}, r"\$or in the filter must be a list of filters, got dict"),
        ({"$or": [{"a": 1}, 7]}, r"\$or\[1\] in the filter must be a filter, .* got 7"),
        (
            {"$or": [{}, {"year": {"$gt": None}}]},
            r"\$or\[1\]\.year\.\$gt in the filter must be a number or a string, got",
        ),
        ({"$not": [{"a": 1}]}, r"\$not in the filter must be a filter, .* got list"),
        ({"a": {}}, "a in the filter must be a value, .* got an empty mapping"),
        ({"a": {"$gt": 1, "b": 2}}, r"a in the filter must be a value, .* got one with the keys '\$gt', 'b'"),
        ({"a": {"b": {"c": {}}}}, r"a\.b\.c in the filter must be a value, .* got an empty mapping"),
        ({"a": {"$not": 1}}, r"a\.\$not in the filter must be a mapping of operators, .* got 1"),
        ({"a": {"$not": {}}}, r"a\.\$not in the filter must be a mapping of operators, .* got an empty mapping"),
        ({"a": {"$not": {"b": 1}}}, r"a\.\$not .* a mapping of operators, .* got one with the keys 'b'"),
        ({"a": {"$exists": 1}}, r"a\.\$exists in the filter must be true or false, got 1"),
        ({"a": {"$gt": True}}, r"a\.\$gt in the filter must be a number or a string, got True, which has no order"),
        ({"a": {"$in": "xy"}}, r"a\.\$in in the filter must be a list of values, got the string 'xy'"),
        ({"a": {"$nin": {1, 2}}}, r"a\.\$nin in the filter must be a list of values, got set"),
        ({"a": {"$in": np.arange(3)}}, r"a\.\$in in the filter must be a list of values, got numpy.ndarray"),
        ({"a": {"$in": [1, [2]]}}, r"a\.\$in\[1\] in the filter must be a string, .* got list"),
        ({"a": [1, 2]}, r'a in the filter must be .* got list; for any of several values .* {"\$in": \[1, 2\]}'),
        ({"a": {"$eq": {"b": 1}}}, r"a\.\$eq in the filter .* got dict; to look into a mapping name the keys"),
        ({"a": math.nan}, "a in the filter must be finite, .* got nan"),
        ({"a": {"$lt": math.inf}}, r"a\.\$lt in the filter must be finite, .* got inf"),
        ({"a": 10**400}, "a in the filter must be a number that a float can hold, got a whole number of 1329 bits"),
        ({"a": {"$in": [-(10**5000)]}}, r"a\.\$in\[0\] .* got a whole number of 16610 bits"),
        ({"a": b"x"}, "a in the filter must be a string, .* got bytes"),
        ({"a": object()}, "a in the filter must be a string, .* got object; turn it into one of these"),
        ({"a": {"$regex": "x.*"}}, r"did you mean \$like\?"),
        ({"a": {"$all": ["x"]}}, r"did you mean \$and with an \$eq for each value\?"),
        ({"a": {"$ILIKE": "x"}}, r"did you mean \$ilike\?"),
        ({"a": {"$startsWith": "x"}}, r"did you mean \$startswith\?"),
        ({"a": {"$like": 5}}, r"a\.\$like in the filter must be a string of at most 1,000 characters, got 5"),
        ({"a": {"$ilike": "%" * 1001}}, "a string of at most 1,000 characters"),
        ({"a": {"$between": [1]}}, r"a\.\$between in the filter must be a list of two values, .* got 1"),
        ({"a": {"$between": [None, 1]}}, "got None, which has no order"),
        ({"a": {"$is_empty": 1}}, r"a\.\$is_empty in the filter must be true or false"),
        ({"a": {"b\n": {"$gt": None}}}, r"a\.'b\\n'\.\$gt in the filter"),
    ],
)
def test_what_is_no_filter_is_refused_by_its_place(one, message):
    with pytest.raises(FilterError, match=message):
        compile_filter(one)


LONG = "x" * 40
OPERATORS_OF_FIELDS = (
    "$eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $between, $like, $ilike, $startswith, $contains, $is_empty, $exists, "
    "$not"
)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (3, 'the filter must be a filter, like {"year": {"$gt": 1999}}, got 3'),
        (
            {"a": [1]},
            "a in the filter must be a string, a number, a boolean or None, got list; for any of several values give a "
            'list under an operator, as in {"$in": [1, 2]}',
        ),
        (
            {"a": {"$eq": {"b": 1}}},
            "a.$eq in the filter must be a string, a number, a boolean or None, got dict; to look into a mapping name "
            'the keys, as in {"author.name": "x"}',
        ),
        (
            {"a": b"x"},
            "a in the filter must be a string, a number, a boolean or None, got bytes; turn it into one of these",
        ),
        ({LONG: {"$gt": None}}, f"{LONG}.$gt in the filter must be a number or a string, got None, which has no order"),
        (
            {LONG + "y": {"$gt": None}},
            f"{LONG}….$gt in the filter must be a number or a string, got None, which has no order",
        ),
        ({"": {"$gt": None}}, "''.$gt in the filter must be a number or a string, got None, which has no order"),
        ({"a": {"$in": LONG}}, f"a.$in in the filter must be a list of values, got the string '{LONG}'"),
        ({"a": {"$in": LONG + "y"}}, f"a.$in in the filter must be a list of values, got the string '{LONG}'…"),
        ({"a": {"$in": 2**64 - 1}}, "a.$in in the filter must be a list of values, got 18446744073709551615"),
        ({"a": {"$in": 2**64}}, "a.$in in the filter must be a list of values, got a whole number of 65 bits"),
        (
            {"a": {**dict.fromkeys("1234567", 1), "$gt": 1}},
            "a in the filter must be a value, a mapping of operators or a mapping of fields, got one with the keys "
            "'1', '2', '3', '4', '5', '6'",
        ),
        (
            {"a": {"$not": {LONG + "y": 1}}},
            'a.$not in the filter must be a mapping of operators, like {"$gt": 1999}, got one with the keys '
            f"'{LONG}'",
        ),
        ({"$or": {}}, "$or in the filter must be a list of filters, got dict"),
        ({"$or": []}, "$or in the filter must be a list of at least one filter, got an empty list; leave $or out"),
        ({"$or": [{}, {"a": {"$exists": 1.5}}]}, "$or[1].a.$exists in the filter must be true or false, got 1.5"),
        ({"$gtt": 1}, "$gtt in the filter must be one of $and, $or, $not; a field's name cannot begin with $ here"),
        ({"a": {"$exist": 1}}, f"a.$exist in the filter must be one of {OPERATORS_OF_FIELDS}; did you mean $exists?"),
        ({"$in": []}, '$in in the filter must stand under a field, like {"year": {"$in": ...}}'),
        ({"a": {"$or": []}}, 'a.$or in the filter must stand above fields, like {"$or": [{"year": 1999}, ...]}'),
        (
            {"a": {"$in": [1, True, {1}]}},
            "a.$in[2] in the filter must be a string, a number, a boolean or None, got set; for any of several values "
            'give a list under an operator, as in {"$in": [1, 2]}',
        ),
        ({"a": {1: 2}}, "a in the filter must have plain strings as keys, got 1"),
        ({"a": {"\ud800": 1}}, "a.'\\ud800' in the filter has the lone surrogate '\\ud800' at character 0"),
    ],
)
def test_a_message_says_what_is_needed_what_came_and_what_to_do(one, message):
    with pytest.raises(FilterError) as caught:
        compile_filter(one)

    assert str(caught.value).startswith(message)
    assert str(caught.value) == message or "surrogate" in message


@pytest.mark.parametrize(
    "wrap", [lambda inner: {"$not": inner}, lambda inner: {"$or": [{"b": 1}, inner]}, lambda inner: {"a": inner}]
)
def test_ten_mappings_deep_and_no_more(wrap):
    deep = {"a": 1}
    for _ in range(MAX_LEVELS - 1):
        deep = wrap(deep)
    compile_filter(deep)

    with pytest.raises(FilterError, match="a filter may be 10 mappings deep and no more, and .* in the filter is deep"):
        compile_filter(wrap(deep))


def test_a_filter_error_is_an_input_error():
    assert issubclass(FilterError, InputError)


# What someone who means ill would send.


def at_most_so_deep(leaf, step):
    """The deepest filter of its kind that is allowed."""
    deep = leaf
    while True:
        try:
            compile_filter(step(deep))
        except FilterError:
            return deep
        deep = step(deep)


LEAF = {"x": 1, "a.b": {"$exists": True, "$not": {"$eq": 1.5, "$nin": [1, "a", True, None, 1.5]}}}


@pytest.mark.parametrize(
    "step",
    [
        lambda inner: {"x": 1, "$or": [{"y": 1}, inner]},
        lambda inner: {"x": 1, "$not": inner},
        lambda inner: {"x": 1, "y": 1, "$or": [{"q": 1}, {"a.b": 1, "z": 1}, inner]},
        lambda inner: {"x": 1, "$and": [{"y": 1}, {"$or": [{"y": 2}, {"x": 2}]}, inner], "y": 2},
        lambda inner: {"$not": {"y": 1, "$or": [{"y": 2}, inner]}},
    ],
)
@pytest.mark.parametrize("leaf", [LEAF, {"x": 1}, {"x": 1, "$or": [{"x": 1}, {"x": 2, "y": 3}]}])
def test_the_deepest_filter_works_within_a_nested_query(step, leaf):
    deep = at_most_so_deep(leaf, step)
    condition = compile_filter(deep)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, metadata TEXT NOT NULL)")
    metadata = [{"x": 1}, {"x": 1, "y": 1}, {"x": 1, "q": 1}, {"y": 2}, {"a": {"b": [1.5]}, "x": 1, "y": 2}]
    rows = [(number, encode_metadata(one, "x")) for number, one in enumerate(metadata)]
    connection.executemany("INSERT INTO documents VALUES (?, ?)", rows)

    query = (
        "SELECT x.number FROM documents x WHERE x.number >= 0 AND (x.number < 0 OR x.number IN (SELECT d.number FROM "
        f"documents d WHERE d.number >= 0 AND ({condition.sql})))"
    )
    found = [number for (number,) in connection.execute(query, condition.values)]

    connection.close()
    assert found == [number for number, one in enumerate(metadata) if expected(one, deep)]


@pytest.mark.parametrize("name", ["$and", "$or"])
@pytest.mark.parametrize("path", ["a", ".".join(string.ascii_lowercase[:MAX_KEYS])])
def test_the_longest_filter_works(name, path):
    longest = {name: [{path: {"$ne": number}} for number in range(MAX_CONDITIONS - 1)]}

    assert find([{"a": 1}, {"b": 1}], longest) == ([0, 1] if name == "$or" or path != "a" else [1])
    with pytest.raises(FilterError, match=rf"may hold {MAX_CONDITIONS} operators .* \{name}\[199\]\.a.* one too many"):
        compile_filter({name: [{path: {"$ne": number}} for number in range(MAX_CONDITIONS)]})


@pytest.mark.parametrize("name", ["$and", "$or"])
def test_empty_filters_count_too(name):
    assert find([{"a": 1}], {name: [{}] * (MAX_CONDITIONS - 1)}) == [0]
    with pytest.raises(FilterError, match="one too many"):
        compile_filter({name: [{}] * MAX_CONDITIONS})


def test_a_filter_that_grows_as_it_is_read_is_refused_soon():
    grown = {}
    for _ in range(MAX_LEVELS - 2):
        grown = {"$or": [grown] * 1000}

    with pytest.raises(FilterError, match="one too many"):
        compile_filter(grown)


@pytest.mark.parametrize(
    "wrap",
    [lambda f: {"$not": f}, lambda f: {"$and": [f]}, lambda f: {"a": f}, lambda f: {"a": {"$not": f}}],
)
def test_deep_nesting_is_refused(wrap):
    deep = {"a": 1}
    for _ in range(10_000):
        deep = wrap(deep)

    with pytest.raises(FilterError, match=r"10 mappings deep|a mapping of operators"):
        compile_filter(deep)
    while deep:  # so that nothing recurses when it is thrown away
        deep = deep.pop(next(iter(deep)), None)
        deep = deep[0] if isinstance(deep, list) else deep if isinstance(deep, dict) else None


def test_a_filter_that_holds_itself_is_refused():
    loop = {}
    loop["$not"] = loop

    with pytest.raises(FilterError, match="mappings deep"):
        compile_filter(loop)


def test_values_that_are_deep_or_long_are_refused_in_a_short_message():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    for value in (deep, ["x"] * 1_000_000, {"$in": "x" * 1_000_000}, {"x" * 1_000_000: {}}, {"$" + "x" * 1_000_000: 1}):
        with pytest.raises(FilterError) as caught:
            compile_filter({"a": value})
        assert len(str(caught.value)) < 500
    while deep:
        deep = deep.pop()


def test_the_deepest_metadata_that_can_be_stored_can_be_filtered():
    deepest = {"a": 1}
    while True:
        try:
            encode_metadata({"a": 1, "b": [deepest]}, "x")
        except InputError:
            break
        deepest = {"a": 1, "b": [deepest]}
    for _ in range(20):  # how deep it can be depends on how deep the stack is where it is encoded
        deepest = deepest["b"][0]

    assert find([deepest, {"a": 2}], {"a": 1}) == [0]


def test_a_path_of_many_keys():
    path = ".".join("a" * MAX_KEYS)
    metadata = 1
    for _ in range(MAX_KEYS):
        metadata = {"a": metadata}

    assert find([metadata, {path: 1}, {}], {path: 1}) == [0, 1]
    with pytest.raises(FilterError, match=f"at most {MAX_KEYS} keys in its path, got {MAX_KEYS + 1}"):
        compile_filter({f"{path}.a": 1})
    with pytest.raises(FilterError, match=f"at most {MAX_KEYS} keys in its path, got 1000001"):
        compile_filter({"." * 1_000_000: 1})


def test_in_takes_a_hundred_thousand_values_in_few_variables():
    many = [*range(50_000), *map(str, range(50_000, 100_000)), None]
    metadata = [{"a": one} for one in (7, "7", 50_001, "50001", 7.0, 7.5, None, True, [1, 2], [-1, -2], "x")]

    assert find(metadata, {"a": {"$in": many}}) == [0, 3, 4, 6, 8]
    assert len(compile_filter({"a": {"$in": many}}).values) <= 5


def shapes(text):
    return [{text: text}, {"b": {text: {"$in": [text, 1]}}}, {"$not": {text: {"$gt": text}}}, {"b": {"$nin": [text]}}]


@pytest.mark.parametrize(
    "attack",
    ["' OR 1=1 --", "'; DROP TABLE documents; --", '" OR ""="', "?", "?1", ":a", "a') OR 1=1 --", "' UNION SELECT 1--",
     "{}", "{0}", "%s", "k", "1 OR 1", "m", "x\0' OR 1"],
)  # fmt: skip
def test_nothing_of_the_users_gets_into_the_sql(attack):
    metadata = [{"a": "x", "b": {"c": 1}}, {attack: attack}, {"a": {attack: [attack]}}]

    assert find(metadata, {attack: attack}) == find(metadata, {attack: {"$in": [attack]}}) == [1]
    assert find(metadata, {f"a.{attack}": attack}) == find(metadata, {f"a.{attack}": {"$in": [attack]}}) == [2]
    assert [compile_filter(one).sql for one in shapes(attack)] == [compile_filter(one).sql for one in shapes("plain")]


def names(*some):
    return st.sampled_from([*some, *OPERATORS])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4)
    | st.sampled_from(["\ud800", 10**400, Colour.RED, np.float32(1), datetime.date(2020, 1, 1), object(), 1j, b"x"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.tuples(inner)
    | st.dictionaries(
        names("$and", "$or", "a", "a.b", "$nor", "", "$", ".")
        | st.text(st.characters(), max_size=3) | st.integers() | st.none(),
        inner,
        max_size=3,
    ),
    max_leaves=12,
)  # fmt: skip
almost_filters = st.recursive(
    st.dictionaries(names("a", "a.b"), anything, max_size=2),
    lambda inner: st.fixed_dictionaries({}, optional={
        "$and": st.lists(inner, max_size=3), "$or": st.lists(inner, max_size=3), "$not": inner,
        "a": st.dictionaries(names(), anything, max_size=2),
    }),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(anything | almost_filters)
def test_anything_else_is_refused_by_a_filter_error(one):
    try:
        compile_filter(one)
    except FilterError as error:
        str(error).encode("utf-8")
    else:
        find([{"a": 1}, {"a": {"b": ["x", None]}}], one)


def test_what_is_about_one_key_at_the_top_is_found_by_rows():
    by_rows = {"a": 1, "b": {"$gte": 1, "$in": [2, 3]}, "$and": [{"c": {"$like": "x%"}}]}
    by_reading = {"a.b": 1, "c": {"$contains": "x"}, "d": {"$ne": 1}, "$or": [{"a": 1}, {"a": 2}]}

    assert (len(select_documents(by_rows).rows), select_documents(by_rows).rest) == (4, None)
    assert len(select_documents(by_reading).rows) == 0
    assert len(select_documents({**by_rows, "e": {"$exists": True}}).rows) == 4


def test_rows_follow_every_change_of_a_document(tmp_path):
    def found():
        by_filter = [index.search("x", 10, filter=one) for one in ({"n": 1}, {"n": 2}, {"tags": "a"}, {"tags": "b"})]
        return [sorted(hit.chunk.document_id for hit in hits) for hits in by_filter]

    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document("x", "One.", {"n": 1, "tags": ["a", "b", "a"]}), Document("y", "Two.", {"n": 1})])
        assert found() == [["x", "y"], [], ["x"], ["x"]]
        index.add([Document("x", "One.", {"n": 2.0, "tags": ["b"]})])
        assert found() == [["y"], ["x"], [], ["x"]]
        index.add([Document("x", "Another text.", {"n": 2, "tags": "a"})])
        assert found() == [["y"], ["x"], ["x"], []]
        index.delete(filter={"n": 2})
        assert found() == [["y"], [], [], []]
        assert verify(index.path) == []


def test_rows_that_differ_from_the_metadata_are_found_and_made_again(tmp_path):
    path = tmp_path / "index"
    with Index.create(path, encoder=FakeEncoder()) as index:
        index.add([Document("x", "One.", {"n": 1}), Document("y", "Two.", {"n": 2})])
    with closing(sqlite3.connect(path / "store.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM fields WHERE document = 1")
        connection.execute("INSERT INTO fields VALUES ('n', 3, 'integer', 2)")

    assert [str(one) for one in verify(path)] == [
        "fields: rows that differ from the metadata: 2. `latechunk repair` makes the rows by which filters find "
        "documents again from the metadata"
    ]
    repair(path)
    assert verify(path) == []
    with Index.open(path, encoder=FakeEncoder()) as index:
        assert [hit.chunk.document_id for hit in index.search("x", 5, filter={"n": 1})] == ["x"]
