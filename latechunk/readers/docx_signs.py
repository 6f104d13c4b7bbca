"""Signs of Word files: a place in a font of signs, such as Symbol, to the letter that it shows."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SYMBOL = (
    " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
    + " " * 33
    + "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑"
)
_FONTS: Mapping[str, Mapping[int, str]] = {
    "Symbol": dict(enumerate(_SYMBOL, 0x20)),
    "Wingdings": {0x6F: "☐", 0x78: "☒", 0xA8: "☐", 0xE0: "→", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑"},
}


def to_sign(font: str, code: str) -> str:
    """The sign that a hexadecimal number stands for in a font, most often with 0xf000 added; none if nobody knows."""
    number = int(code, 16) if re.fullmatch("[0-9a-fA-F]{1,6}", code) else 0
    if font in _FONTS:
        return _FONTS[font].get(number & 0xFFF, "")
    is_sign = 0x20 < number < 0xD800 or 0xF900 <= number < 0xFFFE  # what lies between has no meaning, or is half a sign
    return chr(number) if is_sign else ""
