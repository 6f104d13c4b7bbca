"""Formulas of Word and slides as text in a line, ``(a+b)/2``, ``x²``, ``x_i``, with the signs that are only drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from latechunk.readers.notation import in_brackets, lower, raise_signs, raise_text

_SIGNS = ("chr", "begChr", "sepChr", "endChr", "type")
_SHAPES: Mapping[str, Callable[[str], str]] = {
    "num": in_brackets,
    "den": lambda text: f"/{in_brackets(text)}",
    "deg": lambda text: f"{raise_signs(text)}√",
    "sup": raise_text,
    "sub": lower,
    "lim": lower,
    "fName": lambda text: f"{text} ",
    "mr": lambda text: f"{text.rstrip()}; ",
    "m": lambda text: text.removesuffix("; "),
    "eqArr": lambda text: text.removesuffix("; "),
}
_WITHIN: Mapping[str, Callable[[str], str]] = {
    "rad": in_brackets,
    "mr": lambda text: f"{text} ",
    "eqArr": lambda text: f"{text}; ",
}
"""What becomes of the arguments (``e``) of these."""
_GROUPS = frozenset({*_SHAPES, "e", "d", "f", "nary", "rad", "acc", "bar", "groupChr"})


@dataclass(slots=True)
class _Group:
    tag: str
    start: int  # among the parts of the paragraph
    signs: dict[str, str] = field(default_factory=dict)


class Formulas:
    """Takes the events within formulas (``oMath`` of ISO/IEC 29500-1), and joins the parts of a paragraph there."""

    def __init__(self) -> None:
        self._groups: list[_Group] = []

    def start(self, tag: str, attributes: Mapping[str, str], parts: list[str]) -> bool:
        """Take the start of an element; whether it is one of a formula."""
        if tag == "oMath":
            self._groups = [_Group(tag, len(parts))]
        elif self._groups and tag in _GROUPS:
            self._groups.append(_Group(tag, len(parts)))
        elif self._groups and tag in _SIGNS:
            self._groups[-1].signs[tag] = attributes.get("val", "")
        else:
            return False
        return True

    def end(self, tag: str, parts: list[str]) -> None:
        """Take the end of an element."""
        if self._groups and tag == self._groups[-1].tag:
            group = self._groups.pop()
            outer = self._groups[-1] if self._groups else _Group("", group.start)
            parts[group.start :] = [_write(group, "".join(parts[group.start :]), outer)]


def _write(group: _Group, text: str, outer: _Group) -> str:
    """A part of a formula within another part."""
    if group.tag == "d":
        return group.signs.get("begChr", "(") + text + group.signs.get("endChr", ")")
    if group.tag == "nary":
        return group.signs.get("chr", "∫") + text
    if outer.tag == "d" and group.start > outer.start:
        return outer.signs.get("sepChr", "|") + text
    if outer.tag == "f" and outer.signs.get("type") == "noBar":  # one above the other, as of binomials
        return f"; {text}" if group.tag == "den" else text
    shape = _WITHIN.get(outer.tag) if group.tag == "e" else _SHAPES.get(group.tag)
    return shape(text) if shape else text
