"""Formulas of HTML (MathML) as text in a line, ``(a+b)/2``, ``x²``, ``x_i``, with the signs that are only drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, repeat
from typing import TYPE_CHECKING

from latechunk.readers.html_tables import walk
from latechunk.readers.notation import in_brackets, lower, raise_signs, raise_text

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSEEN = str.maketrans({"\u2061": " ", "\u2062": None, "\u2063": None, "\u2064": None})  # function of, times, and
_WORDS = ("mtext", "ms")
_LEFT_OUT = ("annotation", "annotation-xml", "mphantom", "none", "mprescripts")
_FENCES = (("open", "("), ("separators", ","), ("close", ")"))
_MOST_LEVELS = 200  # below which the parts are joined as they come, since each level copies them
_SHAPES: Mapping[str, tuple[int, Callable[..., str]]] = {
    "mfrac": (2, lambda above, below: f"{in_brackets(above)}/{in_brackets(below)}"),
    "msup": (2, lambda base, power: base + raise_text(power)),
    "msub": (2, lambda base, index: base + lower(index)),
    "msubsup": (3, lambda base, index, power: base + lower(index) + raise_text(power)),
    "munder": (2, lambda base, under: base + lower(under)),
    "mover": (2, lambda base, over: base + (over if len(over) == 1 and not over.isalnum() else raise_text(over))),
    "munderover": (3, lambda base, under, over: base + lower(under) + raise_text(over)),
    "mroot": (2, lambda base, degree: f"{raise_signs(degree)}√{in_brackets(base)}"),
}
"""How many parts these have, and what becomes of them."""


def write_formula(root: LexborNode, tick: Callable[[], None]) -> str:
    """Write a formula; ``tick`` is called as ``render`` calls it."""
    open_parts: list[list[str]] = [[]]

    def enter(node: LexborNode) -> bool:
        if node.tag == "-text":
            text = (node.text_content or "").translate(_UNSEEN)
            is_word = node.parent is not None and node.parent.tag in _WORDS
            if is_word or (text := text.strip(" \t\r\n") or " " * ("\u2061" in (node.text_content or ""))):
                open_parts[-1].append(text)
        elif node.tag not in _LEFT_OUT:
            open_parts.append([] if len(open_parts) < _MOST_LEVELS else open_parts[-1])
            return True
        return False

    def leave(node: LexborNode) -> None:
        parts = open_parts.pop()
        if parts is not open_parts[-1]:
            open_parts[-1].append(_join(node, parts))

    walk(root, enter, leave, tick)
    return " ".join("".join(open_parts[0]).split())


def _join(node: LexborNode, parts: list[str]) -> str:
    n_parts, shape = _SHAPES.get(node.tag or "", (-1, "".join))
    if len(parts) == n_parts:
        return shape(*parts)
    if node.tag == "msqrt":
        return f"√{in_brackets(''.join(parts))}"
    if node.tag == "mfenced":
        begin, marks, end = (node.attributes.get(name, usual) or "" for name, usual in _FENCES)
        marks = "".join(marks.split())
        before = chain(("",), marks, repeat(marks[-1:]))  # the last one repeats
        return begin + "".join(mark + part for mark, part in zip(before, parts, strict=False)) + end
    if node.tag == "maction":  # of which the first part is seen, until a click or the like
        return "".join(parts[:1])
    return {"mtr": " ", "mtable": "; "}.get(node.tag or "", "").join(parts)
