"""Content lines and components of an iCalendar file (RFC 5545, section 3.1 and 3.4), with their line numbers.

The grammar of a line is the `ical` library's. Unfolding and nesting are done here, so that errors name a line and
nesting is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ical.exceptions import CalendarParseError
from ical.parsing.property import ParsedProperty

from remit.core.errors import DocumentError

CALENDAR_CHARACTERS: Final = 1024 * 1024
LINES: Final = 50_000
DEPTH: Final = 4  # VCALENDAR, VTIMEZONE or VEVENT, STANDARD or VALARM, and one to spare


@dataclass(frozen=True, slots=True)
class Property:
    """One content line: upper-case name, parameters by upper-case name, value as written."""

    name: str
    value: str
    params: Mapping[str, tuple[str, ...]]
    path: Path
    line: int

    def error(self, message: str, next_step: str = "") -> DocumentError:
        return DocumentError(message, path=self.path, line=self.line, next_step=next_step)

    def param(self, name: str) -> str:
        """The one value of a parameter, or nothing."""
        values = self.params.get(name, ())
        if len(values) > 1:
            raise self.error(f"`{name}` has more than one value", "keep one of them")
        return values[0] if values else ""


@dataclass(slots=True)
class Component:
    """`BEGIN:` to `END:`, upper-case name."""

    name: str
    path: Path
    line: int
    properties: list[Property] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)

    def error(self, message: str, next_step: str = "") -> DocumentError:
        return DocumentError(message, path=self.path, line=self.line, next_step=next_step)

    def all(self, name: str) -> list[Property]:
        return [item for item in self.properties if item.name == name]

    def one(self, name: str) -> Property | None:
        """The property of that name; a `DocumentError` when there are two."""
        found = self.all(name)
        if len(found) > 1:
            # SECURITY: of two values one program takes the first and another the last.
            raise found[1].error(f"`{name}` stands twice", "keep one of them")
        return found[0] if found else None

    def parts(self, name: str) -> list[Component]:
        return [item for item in self.components if item.name == name]


def parse_components(text: str, path: Path) -> list[Component]:
    """The top-level components of a file; a `DocumentError` for anything that is not one."""
    if len(text) > CALENDAR_CHARACTERS:
        raise DocumentError(f"the calendar is larger than {CALENDAR_CHARACTERS} characters", path=path)
    top = Component("", path, 1)
    stack = [top]
    for line, content in _unfolded(text.removeprefix("\ufeff"), path):
        item = _property(content, path, line)
        if item.name == "BEGIN":
            if len(stack) > DEPTH:
                raise item.error("the calendar is nested too deeply")
            inner = Component(item.value.upper(), path, line)
            stack[-1].components.append(inner)
            stack.append(inner)
        elif item.name == "END":
            if stack[-1].name != item.value.upper() or len(stack) == 1:
                raise item.error(f"`END:{_shown(item.value)}` ends nothing that is open here")
            stack.pop()
        elif len(stack) == 1:
            raise item.error("the line stands outside of a calendar", "begin the file with `BEGIN:VCALENDAR`")
        else:
            stack[-1].properties.append(item)
    if len(stack) > 1:
        raise stack[-1].error(f"`BEGIN:{_shown(stack[-1].name)}` has no end")
    return top.components


def _unfolded(text: str, path: Path) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of the physical line that each begins on; empty lines are skipped."""
    lines = text.split("\n")
    if len(lines) > LINES:
        raise DocumentError(f"the calendar has more than {LINES} lines", path=path)
    start, parts = 0, list[str]()
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix("\r")
        if line[:1] in (" ", "\t"):
            if not start:
                raise DocumentError("the line continues nothing", path=path, line=number)
            parts.append(line[1:])
            continue
        if start:
            yield start, "".join(parts)
        start, parts = (number, [line]) if line else (0, [])
    if start:
        yield start, "".join(parts)


def _property(content: str, path: Path, line: int) -> Property:
    try:
        parsed = ParsedProperty.from_ics(content)
    except (CalendarParseError, ValueError):
        raise DocumentError(
            "the line is not an iCalendar line", path=path, line=line, next_step="write `NAME;PARAMETER=value:value`"
        ) from None
    params: dict[str, tuple[str, ...]] = {}
    for param in parsed.params or ():
        name = param.name.upper()
        if name in params:
            raise DocumentError(f"`{_shown(name)}` stands twice", path=path, line=line, next_step="keep one of them")
        params[name] = tuple(str(value) for value in param.values)
    return Property(parsed.name.upper(), parsed.value, params, path, line)


def _shown(text: str) -> str:
    return text[:40]
