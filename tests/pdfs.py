"""Small PDF files, written by hand, so that each part of them can be wrong."""

from __future__ import annotations

from collections.abc import Sequence

IMAGE = b"q 200 0 0 200 72 400 cm /I1 Do Q"
"""The content of a page that is an image."""

_HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
_VERTICAL = (
    b"<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-V /ToUnicode 6 0 R /DescendantFonts [<< /Type"
    b" /Font /Subtype /CIDFontType2 /BaseFont /F /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0"
    b" >> /CIDToGIDMap /Identity /FontDescriptor << /Type /FontDescriptor /FontName /F /Flags 4 /FontFile2 8 0 R >> >>]"
    b" >>"
)
_BLACK = (
    b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /Length 1 >>"
)


def write_lines(lines: Sequence[str], *, x: int = 72, y: int = 720, size: int = 11, lead: int = 14) -> bytes:
    """The content of a page: lines under each other from this place on."""
    shown = b" T* ".join(b"(%s) Tj" % _escape(line.encode("cp1252")) for line in lines)
    return b"BT /F1 %d Tf %d %d Td %d TL %s ET\n" % (size, x, y, lead, shown)


def make_pdf(
    pages: Sequence[bytes | None],
    *,
    labels: str = "",
    bookmarks: Sequence[tuple[str, int]] = (),
    info: str = "",
    to_unicode: Sequence[tuple[str, str]] = (),
    vertical: bytes = b"",
    page_entries: str = "",
    appearance: bytes = b"",
) -> bytes:
    """A file of pages with these contents.

    Args:
        pages: The content of each; None for a page that is not there. The font is /F1, which is Latin.
        labels: What stands in the number tree of page labels, such as ``"0 << /S /r >>"``.
        bookmarks: Title and page of each.
        info: What stands in the information dictionary.
        to_unicode: Letters of /F1, or glyphs of /F2, and what they stand for.
        vertical: A TrueType font, for vertical text as /F2, whose letters are the numbers of its glyphs, in two bytes.
        page_entries: More entries of each page, such as ``"/Rotate 90"``.
        appearance: The content of object 9, for annotations to show.
    """
    objects: dict[int, bytes] = {3: _HELVETICA, 5: _stream(b"\0", _BLACK)}
    first = 10
    kids = " ".join(f"{first + 2 * number} 0 R" for number in range(len(pages))).encode()
    objects[2] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages))
    for number, content in enumerate(pages):
        if content is not None:
            objects[first + 2 * number] = (
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources << /Font"
                b" << /F1 3 0 R /F2 4 0 R >> /XObject << /I1 5 0 R >> >> %s >>"
                % (first + 2 * number + 1, page_entries.encode("cp1252"))
            )
            objects[first + 2 * number + 1] = _stream(content)
    catalog = "/Type /Catalog /Pages 2 0 R" + (f" /PageLabels << /Nums [{labels}] >>" if labels else "")
    after = first + 2 * len(pages)
    if bookmarks:
        catalog += f" /Outlines {after} 0 R"
        ids = [after + 1 + number for number in range(len(bookmarks))]
        objects[after] = f"<< /First {ids[0]} 0 R /Last {ids[-1]} 0 R >>".encode()
        for own, following, (title, page) in zip(ids, [*ids[1:], 0], bookmarks, strict=True):
            link = f"/Next {following} 0 R" if following else ""
            target = f"/Dest [{first + 2 * page} 0 R /Fit]"
            objects[own] = f"<< /Title ({title}) /Parent {after} 0 R {link} {target} >>".encode("cp1252")
    if to_unicode:
        pairs = "\n".join(
            f"<{ord(one):0{4 if vertical else 2}x}> <{text.encode('utf-16-be').hex()}>" for one, text in to_unicode
        )
        space = "<0000> <ffff>" if vertical else "<00> <ff>"
        objects[6] = _stream(
            f"begincmap /CMapType 2 def 1 begincodespacerange {space} endcodespacerange "
            f"{len(to_unicode)} beginbfchar\n{pairs}\nendbfchar endcmap".encode()
        )
        objects[3] = objects[3].replace(b"/Encoding", b"/ToUnicode 6 0 R /Encoding")
    if appearance:
        look = (
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 300 30] /Resources << /Font << /F1 3 0 R >> >> /Length %d >>"
        )
        objects[9] = _stream(appearance, look % len(appearance))
    if vertical:
        objects[4] = _VERTICAL
        objects[8] = _stream(vertical)
    objects[1] = f"<< {catalog} >>".encode()
    objects[7] = f"<< {info} >>".encode("cp1252")
    return _assemble(objects)


def _stream(data: bytes, dictionary: bytes | None = None) -> bytes:
    return b"%s\nstream\n%s\nendstream" % (dictionary or b"<< /Length %d >>" % len(data), data)


def _escape(text: bytes) -> bytes:
    return text.replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")


def _assemble(objects: dict[int, bytes]) -> bytes:
    parts, places, length = [b"%PDF-1.7\n"], {}, 9
    for number in sorted(objects):
        places[number] = length
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, objects[number]))
        length += len(parts[-1])
    size = max(objects) + 1
    rows = [
        b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n" for number in range(size)
    ]
    table = b"xref\n0 %d\n%s" % (size, b"".join(rows))
    end = b"trailer\n<< /Size %d /Root 1 0 R /Info 7 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, length)
    return b"".join([*parts, table, end])
