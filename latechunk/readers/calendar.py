"""The event of an invitation (iCalendar, RFC 5545): what, when and where, as lines of text."""

from __future__ import annotations

import re

_FOLD = re.compile(r"\r?\n[ \t]")
_BEGIN = re.compile(r"^BEGIN:VEVENT[ \t\r]*$", re.M)
_END = re.compile(r"^END:(?:VEVENT|VCALENDAR)", re.M)
_PROPERTY = re.compile(r"^([\w-]+)((?:;[\w-]+=(?:\"[^\"\n]*\"|[^\":;\n])*)*):(.*)$", re.M)
_ZONE = re.compile(r";TZID=(?:\"([^\"]+)|([^\";:]+))", re.I)
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
    said: dict[str, str] = {}
    for found in _PROPERTY.finditer(_find_event(_FOLD.sub("", text))):
        name, parameters, value = found.groups()
        zone = "".join("".join(one) for one in _ZONE.findall(parameters)[:1])
        plain = _ESCAPE.sub(lambda escaped: "\n" if escaped[1] in "nN" else escaped[1], value).strip()
        said.setdefault(name.upper(), _show_time(plain, zone) if name.startswith("DT") else plain)
    if not with_description:
        said.pop("DESCRIPTION", None)
    return "\n".join(
        f"{label}: {said[name]}" if label else f"\n{said[name]}" for name, label in _NAMES.items() if said.get(name)
    ).strip()


def _find_event(text: str) -> str:
    """The first event without its alarms, which have descriptions of their own."""
    begin = _BEGIN.search(text)
    end = _END.search(text, begin.end()) if begin else None
    own, *alarms = text[begin.end() : end.start()].split("\nBEGIN:VALARM") if begin and end else [""]
    return own + "".join(alarm.partition("\nEND:VALARM")[2] for alarm in alarms)


def _show_time(value: str, zone: str) -> str:
    found = _TIME.fullmatch(value)
    if not found:
        return value
    year, month, day, hour, minute, is_utc = found.groups()
    time = f" {hour}:{minute} {'UTC' if is_utc else zone}" if hour else ""
    return f"{year}-{month}-{day}{time}".rstrip()
