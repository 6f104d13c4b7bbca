"""The event of an invitation (iCalendar, RFC 5545): what, when and where, as lines of text."""

from __future__ import annotations

import re

_FOLD = re.compile(r"\r?\n[ \t]")
_EVENT = re.compile(r"^BEGIN:VEVENT\s*$(.*?)^END:(?:VEVENT|VCALENDAR)", re.M | re.S)
_PROPERTY = re.compile(r"^([\w-]+)((?:;[\w-]+=(?:\"[^\"\n]*\"|[^\":;\n])*)*):(.*)$", re.M)
_ZONE = re.compile(r";TZID=\"?([^\";:]+)", re.I)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")
_ESCAPE = re.compile(r"\\(.)")
_NAMES = {"SUMMARY": "Event", "DTSTART": "Start", "DTEND": "End", "LOCATION": "Location", "DESCRIPTION": ""}


def read_event(text: str, *, with_description: bool) -> str:
    r"""The first event of a calendar as lines; nothing if there is none.

    Examples:
        >>> lines = ["BEGIN:VEVENT", "DTSTART;TZID=Europe/Berlin:20240305T100000", "LOCATION:Room 5", "END:VEVENT"]
        >>> read_event("\n".join(lines), with_description=True)
        'Start: 2024-03-05 10:00 Europe/Berlin\nLocation: Room 5'
    """
    event = _EVENT.search(_FOLD.sub("", text))
    said: dict[str, str] = {}
    for found in _PROPERTY.finditer(event[1]) if event else ():
        name, parameters, value = found.groups()
        zone = _ZONE.search(parameters)
        plain = _ESCAPE.sub(lambda escaped: "\n" if escaped[1] in "nN" else escaped[1], value).strip()
        said.setdefault(name.upper(), _show_time(plain, zone[1] if zone else "") if name.startswith("DT") else plain)
    if not with_description:
        said.pop("DESCRIPTION", None)
    return "\n".join(
        f"{label}: {said[name]}" if label else f"\n{said[name]}" for name, label in _NAMES.items() if said.get(name)
    ).strip()


def _show_time(value: str, zone: str) -> str:
    found = _TIME.fullmatch(value)
    if not found:
        return value
    year, month, day, hour, minute, is_utc = found.groups()
    time = f" {hour}:{minute} {'UTC' if is_utc else zone}" if hour else ""
    return f"{year}-{month}-{day}{time}".rstrip()
