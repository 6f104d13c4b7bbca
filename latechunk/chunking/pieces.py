"""Cut a text into the pieces that chunks are packed from: sentences, and the units of its layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from latechunk.chunking.cuts import clause_places, cut_places, next_cut
from latechunk.chunking.layout import Unit, find_units
from latechunk.chunking.outline import find_outline
from latechunk.types import Block, IntArray

# Pieces that say nothing without the next: numbers and letters of clauses, a word with a number ("Section 5."), times,
# Q and A, run-in heads in bold type.
_LABEL = re.compile(
    r"(?:§+\s*)?[(\[]?(?:\d{1,3}(?:\.\d{1,3})*[．।။]?|[A-Za-zΑ-ωА-яა-ჰԱ-ֆא-ת]|[IVXLC]{1,6}|[ivx]{1,5})(?:(?<=[．।။])|[.)\]:]{1,2})"
    r"|§+\s*\d[\d.]*|[^\W\d_][^\s\d]{1,12}\s+\d{1,4}(?:\.\d{1,3})*[.:]|"
    r"[\[(<]?\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?[\])>]?(?:\s*-->\s*[\d:.,]+)?(?:\s+[\w .'-]{1,30}:)?|"
    r"(?:\d+[.)]\s+|[-*+•]\s+)?(\*\*|__)(?=\S)(?:(?!\1).){1,80}[.:]?(?:\1[.:]?)?"
)
_NO_SPACE = re.compile(r"\S")
_MOST_LABEL = 90  # characters
_MOST_NAME = 40  # characters of a speaker or the like, in capitals alone on a line
_MOST_BOUND = 4  # pieces in a row that are bound to the next


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text as pieces ``cuts[i]:cuts[i + 1]`` that chunks are packed from; a token begins in each.

    Attributes:
        cuts: From 0 to the length of the text, ``n_pieces + 1`` of them.
        first: The first token that ends after each cut.
        last: One past the last token that starts before each cut.
        units: The unit that begins with each piece; None where a sentence, or a part of one, begins.
        ends_sentence: Whether each piece ends where a sentence or a unit does.
    """

    cuts: list[int]
    first: list[int]
    last: list[int]
    units: list[Unit | None]
    ends_sentence: list[bool]


def find_pieces(
    text: str,
    outline: Sequence[Block] | None,
    ends: Iterable[int],
    offsets: IntArray,
    max_tokens: int,
    *,
    keep_lines: bool,
) -> Pieces:
    """Cut a text at its sentences and units, join what belongs together, and cut what is longer than a chunk.

    Args:
        text: The text.
        outline: Its headings, tables and code; None for those that the text shows.
        ends: Ends of its sentences, exclusive and ascending.
        offsets: Character range of each token, shape ``(n_tokens, 2)``.
        max_tokens: The most tokens of a piece; only a single character that takes more makes a larger one.
        keep_lines: Leave lines that are units, rows and code whole where they fit.
    """
    outline = find_outline(text) if outline is None else outline
    text = text.replace("\r\n", " \n").replace("\r", "\n")  # of the same length

    def count(start: int, end: int) -> int:
        first, last = _token_bounds(np.array([start, end]), offsets)
        return int(last[1] - first[0])

    units = find_units(text, outline, lambda start, end: count(start, end) <= max_tokens)
    unit_starts = np.array([unit.start for unit in units], dtype=np.int64)
    sentences = np.array(list(_skip_spaces(text, ends)), dtype=np.int64)
    is_open = np.array([not (unit.is_whole and (keep_lines or unit.is_bound)) for unit in units])
    open_sentences = sentences[is_open[np.searchsorted(unit_starts, sentences, side="right") - 1]]
    cuts = _with_tokens(unit_starts, open_sentences, len(text), offsets)
    owners = [units[number] for number in (np.searchsorted(unit_starts, cuts[:-1], side="right") - 1).tolist()]
    is_bound = np.array(_find_bound(text, cuts.tolist(), owners))
    groups = np.flatnonzero(np.concatenate(([True], ~is_bound[:-1], [True])))
    parts: list[tuple[int, bool]] = [(0, True)]
    first, last = _token_bounds(cuts, offsets)
    sizes = (last[groups[1:]] - first[groups[:-1]]).tolist()
    for begin, end, size in zip(groups[:-1].tolist(), groups[1:].tolist(), sizes, strict=True):
        if size > max_tokens:
            parts += _cut_group(text, cuts[begin : end + 1], owners[begin:end], sentences, offsets, max_tokens)
        parts.append((int(cuts[end]), True))
    first, last = _token_bounds(np.array([cut for cut, _ in parts]), offsets)
    starting = {unit.start: unit for unit in units}
    return Pieces(
        [cut for cut, _ in parts],
        first.tolist(),
        last.tolist(),
        [starting.get(cut) for cut, _ in parts[:-1]],
        [is_end for _, is_end in parts[1:]],
    )


def _token_bounds(cuts: IntArray, offsets: IntArray) -> tuple[IntArray, IntArray]:
    """The first token that ends after each cut, and one past the last token that starts before it."""
    first = np.searchsorted(offsets[:, 1], cuts, side="right")
    last = np.searchsorted(offsets[:, 0], cuts, side="left")
    return first.astype(np.int64), last.astype(np.int64)


def _skip_spaces(text: str, places: Iterable[int]) -> Iterator[int]:
    """Each of ascending places, or where the white space that begins there ends: it belongs to what stands before.

    White space is gone through once, however many of the places lie in it: each of 100,000 line breaks may be one.
    """
    end = 0
    for place in places:
        if place >= end:
            found = _NO_SPACE.search(text, place)
            end = found.start() if found else len(text)
        yield end


def _with_tokens(units: IntArray, sentences: IntArray, n_characters: int, offsets: IntArray) -> IntArray:
    """Cuts from 0 to the end of the text such that a token begins in every piece between two of them."""
    kept = []
    taken = np.array([0, len(offsets)])
    for places in (units, sentences[sentences < n_characters]):
        # Of cuts with the same tokens before them the last one is kept, so that what holds no token joins the piece
        # before; the start of a unit goes before the end of a sentence.
        n_before = np.searchsorted(offsets[:, 0], places, side="left")
        is_last = np.diff(n_before, append=-1) != 0
        kept.append(places[is_last & ~np.isin(n_before, taken)])
        taken = np.concatenate([taken, n_before])
    return np.concatenate(([0], np.sort(np.concatenate(kept)), [n_characters])).astype(np.int64)


def _find_bound(text: str, cuts: list[int], owners: Sequence[Unit]) -> list[bool]:
    """Say of each piece whether it is to stay with the next one."""
    is_bound: list[bool] = []
    n_in_row = 0
    for number, (begin, end) in enumerate(pairwise(cuts)):
        unit = owners[number]
        ends_unit = number + 1 == len(owners) or owners[number + 1] is not unit
        found = (ends_unit and unit.is_bound) or (
            (ends_unit or end - begin <= _MOST_LABEL) and _is_label(text[begin:end].strip(), ends_unit)
        )
        n_in_row = n_in_row + 1 if found and n_in_row < _MOST_BOUND else 0
        is_bound.append(n_in_row > 0)
    return is_bound


def _is_label(piece: str, ends_unit: bool) -> bool:
    if ends_unit and piece.endswith((":", "：")):
        return True
    if len(piece) > _MOST_LABEL:
        return False
    is_name = ends_unit and len(piece) <= _MOST_NAME and piece.isupper() and len(piece.split()) <= 4
    return is_name or _LABEL.fullmatch(piece) is not None


def _cut_group(
    text: str, cuts: IntArray, owners: Sequence[Unit], sentences: IntArray, offsets: IntArray, max_tokens: int
) -> Iterator[tuple[int, bool]]:
    """Cuts inside pieces that are bound together and too long for a chunk, each with whether a sentence ends there.

    What is whole and fits stays whole, and what is bound to it stands alone. Else cuts lie where sentences end, and
    inside of those that are too long.
    """
    first, last = (one.tolist() for one in _token_bounds(cuts, offsets))
    body_fits = owners[-1].is_whole and last[-1] - first[-2] <= max_tokens
    if len(owners) > 1 and (body_fits or (owners[-2].is_bound and owners[-2].kind in ("line", "row"))):
        if last[-2] - first[0] > max_tokens:
            yield from _cut_group(text, cuts[:-1], owners[:-1], sentences, offsets, max_tokens)
        yield int(cuts[-2]), True
        if not body_fits:
            yield from _cut_group(text, cuts[-2:], owners[-1:], sentences, offsets, max_tokens)
        return
    inside = sentences[np.searchsorted(sentences, cuts[-2], side="right") : np.searchsorted(sentences, cuts[-1])]
    n_before = np.searchsorted(offsets[:, 0], inside, side="left")
    is_last = np.diff(n_before, append=-1) != 0
    inner = inside[is_last & (n_before > last[-2]) & (n_before < last[-1])]
    places = [int(cuts[0]), *inner.tolist(), int(cuts[-1])]
    own_first, own_last = (one.tolist() for one in _token_bounds(np.array(places), offsets))
    for number, end in enumerate(places[1:]):
        own = offsets[own_first[number] : own_last[number + 1]]
        yield from ((cut, False) for cut in _cut_words(text, own, max_tokens))
        if end < cuts[-1]:
            yield end, True


def _cut_words(text: str, offsets: IntArray, max_tokens: int) -> Iterator[int]:
    """Cuts inside a piece that is longer than a chunk, where clauses begin, or words, or characters."""
    if len(offsets) <= max_tokens:
        return
    places = (*cut_places(text, offsets), *clause_places(text, offsets))
    begin = 0
    while (begin := next_cut(begin, begin, len(offsets), max_tokens, *places)) < len(offsets):
        yield int(offsets[begin, 0])
