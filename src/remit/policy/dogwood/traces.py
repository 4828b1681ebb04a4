"""Trace files: what happened, one timepoint a line, as Dogwood's tools write and read it.

    @3 scope(principal: R::User::"u", resource: R::Server::"s") R::Action::"Read"::request(input: { path: "/a" })

1. `@` and the time in seconds; in Remit's files with up to three digits behind the point, which other tools don't read.
2. In any order, each at most once: `scope(…)`, `entities(<entity>: { … } in [ … ], …)`, `request_context(…)`: the
   request, where the event is a decision's.
3. The event: its action, its kind, its fields.

Values: strings, integers, `true`, `false`, decimals (`1.50`), entities, `[ … ]`, `{ … }`, and in Remit's files
`datetime("…")`, `duration("…")`, `ip("…")`. A field that is `null` is not there. Empty lines are skipped. What is
nothing of this is refused; other tools read a bare word as a string.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from remit.core.bounds import JSON_DEPTH
from remit.policy.compiled.extensions import Datetime, Decimal, Duration, Ip, made
from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Set, Unsupported
from remit.policy.dogwood.ast import Path
from remit.policy.dogwood.history import Event, Request
from remit.policy.dogwood.lexer import string
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.timepoints import record_of, within
from remit.policy.text import Token, quote

MAX_TEXT: Final = 64 * 1024 * 1024  # characters of one file
MAX_LINE: Final = 1024 * 1024  # characters
MAX_POINTS: Final = 1_000_000

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
      | (?P<mark>::|[:,(){}\[\]@])
      | (?P<end>$)
      | (?P<other>.))""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENVELOPES: Final = ("scope", "entities", "request_context")
_EXTENSIONS: Final = ("decimal", "datetime", "duration", "ip")


@dataclass(frozen=True, slots=True)
class Known:
    """What a trace says of an entity: its attributes, and the groups that it is in directly."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[Entity, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One line: an event, and the request where the event is a decision's."""

    event: Event
    principal: Entity | None = None
    resource: Entity | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    entities: Mapping[Entity, Known] = field(default_factory=dict)
    at: int = field(default=0, compare=False)  # its offset in the file

    @property
    def request(self) -> Request | None:
        """The request, if the line names who asks and for what."""
        if self.principal is None or self.resource is None:
            return None
        return Request(self.principal, self.resource, self.context, self._attribute)

    def _attribute(self, entity: Entity, path: Path) -> Any:
        known = self.entities.get(entity)
        return None if known is None else within(known.attributes, path)


# --- reading --------------------------------------------------------------------------------------------------


def read(text: str) -> Iterator[Point]:
    """The points of a trace, in their order. Raises `Mistake`, also when time goes back."""
    if len(text) > MAX_TEXT:
        raise Mistake(0, f"the trace has more than {MAX_TEXT} characters", "split it by session")
    start = count = 0
    last: int | None = None
    for line in text.split("\n"):
        if line.strip():
            count += 1
            point = _point(line, start)
            _check(point, count, last)
            last = point.event.at
            yield point
        start += len(line) + 1


def _check(point: Point, count: int, last: int | None) -> None:
    if count > MAX_POINTS:
        raise Mistake(point.at, f"the trace has more than {MAX_POINTS} lines", "split it by session")
    if last is not None and point.event.at < last:
        raise Mistake(point.at, "the time is before that of the line above", "sort the lines by time")


def _point(line: str, start: int) -> Point:
    if len(line) > MAX_LINE:
        raise Mistake(start, f"the line has more than {MAX_LINE} characters", "leave out what no policy reads")
    return _Line(line, start).point()


class _Line:
    """One line, read token by token."""

    def __init__(self, line: str, start: int) -> None:
        self._line = line
        self._start = start
        self._place = 0
        self._next = self._token()

    def point(self) -> Point:
        at = self._next.start
        self._mark("@", "begin the line with `@` and the time in seconds")
        time = self._time()
        parts: dict[str, Any] = {}
        while self._next.text in _ENVELOPES and self._upcoming() == "(":
            name = self._take()
            if name.text in parts:
                raise Mistake(name.start, f"`{name.text}(…)` stands twice", "keep one")
            parts[name.text] = self._entities() if name.text == "entities" else self._fields("(", ")", 0)
        scope = parts.get("scope", {})
        event = self._event(time)
        if self._next.kind != "end":
            raise Mistake(self._next.start, "something follows the event", "write one event a line")
        return Point(
            event,
            self._of_scope(scope, "principal", at),
            self._of_scope(scope, "resource", at),
            parts.get("request_context", {}),
            parts.get("entities", {}),
            at,
        )

    @staticmethod
    def _of_scope(scope: Mapping[str, Any], name: str, at: int) -> Entity | None:
        value = scope.get(name)
        if value is not None and type(value) is not Entity:
            raise Mistake(at, f"the {name} of the scope is no entity", 'write it as `Ns::Type::"id"`')
        return value

    def _time(self) -> int:
        token = self._take("number", "write the time in seconds")
        whole, _, digits = token.text.partition(".")
        if len(digits) > 3 or abs(int(whole)) > LONG_MAX // 1000:
            raise Mistake(token.start, "this is no time", "write seconds, with at most three digits behind the point")
        ms = int(digits.ljust(3, "0")) if digits else 0
        return int(whole) * 1000 + (-ms if whole.startswith("-") else ms)

    def _event(self, at: int) -> Event:
        of, action = self._entity('name the event: `Ns::Action::"name"::kind(…)`')
        self._mark("::", "add the kind: `::request`")
        kind = self._take("word", "write the kind of the event").text
        fields: dict[Path, Any] = {}
        _flatten(self._fields("(", ")", 0), (), fields)
        return Event(of, action, kind, at, fields)

    def _entity(self, next_step: str) -> Entity:
        names = [self._take("word", next_step).text]
        while True:
            self._mark("::", next_step)
            if self._next.kind == "string":
                return Entity(("::".join(names), string(self._take())))
            names.append(self._take("word", next_step).text)

    def _entities(self) -> dict[Entity, Known]:
        found: dict[Entity, Known] = {}
        self._mark("(", "open the list")
        while self._next.text != ")":
            at = self._next.start
            entity = self._entity('write an entity: `Ns::Type::"id": { … }`')
            self._mark(":", "add its attributes: `{ … }`")
            attributes = self._fields("{", "}", 1)
            if entity in found:
                raise Mistake(at, f'`{entity[0]}::"{entity[1]}"` stands twice', "keep one")
            found[entity] = Known(attributes, self._parents())
            self._separator(")")
        self._take()
        return found

    def _parents(self) -> tuple[Entity, ...]:
        if self._next.text != "in" or self._next.kind != "word":
            return ()
        self._take()
        self._mark("[", "list the groups: `in [ … ]`")
        parents = []
        while self._next.text != "]":
            parents.append(self._entity('write an entity: `Ns::Type::"id"`'))
            self._separator("]")
        self._take()
        return tuple(parents)

    def _fields(self, opening: str, end: str, depth: int) -> dict[str, Any]:
        self._mark(opening, f"open it with `{opening}`")
        fields: dict[str, Any] = {}
        seen = set()
        while self._next.text != end:
            token = self._take()
            if token.kind not in ("word", "string"):
                raise Mistake(token.start, "here should be the name of a field", "write `name: value`")
            name = string(token) if token.kind == "string" else token.text
            if name in seen:
                raise Mistake(token.start, f"the field `{name}` stands twice", "keep one")
            seen.add(name)
            self._mark(":", "write `name: value`")
            value = self._value(depth + 1)
            if value is not None:
                fields[name] = value
            self._separator(end)
        self._take()
        return fields

    def _value(self, depth: int) -> Any:
        token = self._next
        # SECURITY: deeper ones would end the process.
        if depth > JSON_DEPTH:
            raise Mistake(token.start, f"this is nested more than {JSON_DEPTH} deep", "flatten it")
        if token.text == "{":
            return self._fields("{", "}", depth)
        if token.text == "[":
            return self._set(depth)
        if token.kind == "string":
            return string(self._take())
        if token.kind == "number":
            return self._number()
        if token.kind == "word":
            return self._word()
        raise Mistake(token.start, "here should be a value", "write a string, a number, `true`, an entity, `[` or `{`")

    def _set(self, depth: int) -> Set:
        self._take()
        items = []
        while self._next.text != "]":
            item = self._value(depth + 1)
            if item is not None:
                items.append(item)
            self._separator("]")
        self._take()
        return Set(items)

    def _number(self) -> Any:
        token = self._take()
        if "." in token.text:
            return self._extension("decimal", token.text, token.start)
        value = int(token.text) if len(token.text) <= 20 else LONG_MAX + 1
        if not LONG_MIN <= value <= LONG_MAX:
            raise Mistake(token.start, "an integer has at most 64 bits", "write it as a string, if policies allow it")
        return value

    def _word(self) -> Any:
        if self._upcoming() == "::":
            return self._entity('write an entity: `Ns::Type::"id"`')
        token = self._take()
        if token.text in _EXTENSIONS and self._next.text == "(":
            self._take()
            argument = self._take("string", "write it in quotes")
            self._mark(")", "close it with `)`")
            return self._extension(token.text, string(argument), token.start)
        if token.text not in ("true", "false", "null"):
            raise Mistake(token.start, f"`{token.text}` is no value", "write a string in quotes")
        return {"true": True, "false": False, "null": None}[token.text]

    @staticmethod
    def _extension(name: str, text: str, at: int) -> Any:
        value = made(name, (text,))
        if value is None:
            raise Mistake(at, f"`{text}` is no {name}", "see Cedar's extension types")
        return value

    def _separator(self, end: str) -> None:
        if self._next.text == ",":
            self._take()
        elif self._next.text != end:
            raise Mistake(self._next.start, f"here should be `,` or `{end}`", "look for a quote that is not closed")

    def _mark(self, mark: str, next_step: str) -> None:
        if self._next.kind != "mark" or self._next.text != mark:
            raise Mistake(self._next.start, f"here should be `{mark}`", next_step)
        self._take()

    def _take(self, kind: str | None = None, next_step: str = "") -> Token:
        token = self._next
        if kind is not None and token.kind != kind:
            raise Mistake(token.start, f"here should be a {kind}", next_step)
        if token.kind == "end":
            raise Mistake(token.start, "the line ends too early", "each line holds a whole event")
        self._next = self._token()
        return token

    def _upcoming(self) -> str:
        match = _TOKEN.match(self._line, self._place)
        return match[match.lastgroup] if match is not None and match.lastgroup is not None else ""

    def _token(self) -> Token:
        match = _TOKEN.match(self._line, self._place)
        if match is None or match.lastgroup is None:
            return Token("end", "", self._start + len(self._line))
        self._place = match.end()
        return Token(match.lastgroup, match[match.lastgroup], self._start + match.start(match.lastgroup))


def _flatten(record: Mapping[str, Any], path: Path, into: dict[Path, Any]) -> None:
    for name, value in record.items():
        if type(value) is dict and value:
            _flatten(value, (*path, name), into)
        else:
            into[*path, name] = value


# --- writing --------------------------------------------------------------------------------------------------


def write(points: Iterable[Point]) -> str:
    """The trace of these points, which `read` reads back."""
    return "".join(_line(point) + "\n" for point in points)


def _line(point: Point) -> str:
    event = point.event
    parts = [f"@{_seconds(event.at)}"]
    scope = {"principal": point.principal, "resource": point.resource}
    if any(scope.values()):
        parts.append(f"scope({_members({name: entity for name, entity in scope.items() if entity is not None})})")
    if point.entities:
        parts.append(f"entities({', '.join(_known(entity, known) for entity, known in point.entities.items())})")
    if point.context:
        parts.append(f"request_context({_members(point.context)})")
    fields = _members(record_of(event.fields))
    return " ".join([*parts, f"{event.type}::{quote(event.action)}::{event.kind}({fields})"])


def _seconds(ms: int) -> str:
    sign, (whole, rest) = "-" if ms < 0 else "", divmod(abs(ms), 1000)
    return f"{sign}{whole}.{rest:03}" if rest else f"{sign}{whole}"


def _known(entity: Entity, known: Known) -> str:
    groups = f" in [{', '.join(map(_text, known.parents))}]" if known.parents else ""
    return f"{_text(entity)}: {_text(dict(known.attributes))}{groups}"


def _members(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{_name(name)}: {_text(value)}" for name, value in fields.items())


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else quote(name)


def _text(value: Any) -> str:
    kind = type(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is str:
        return quote(value)
    if kind is Entity:
        return f"{value[0]}::{quote(value[1])}"
    if kind is Set:
        return f"[{', '.join(sorted(set(map(_text, value.items))))}]"
    if kind is dict:
        return f"{{ {_members(value)} }}" if value else "{}"
    return _extension_text(value)


def _extension_text(value: Any) -> str:
    kind = type(value)
    if kind is Decimal:
        whole, rest = divmod(abs(value.value), 10_000)
        return f"{'-' if value.value < 0 else ''}{whole}.{f'{rest:04}'.rstrip('0') or '0'}"
    if kind is Duration:
        return f'duration("{value.value}ms")'
    if kind is Datetime:
        return f'datetime("{_datetime_text(value.value)}")'
    if kind is Ip:
        address = ipaddress.IPv4Address(value.address) if value.version == 4 else ipaddress.IPv6Address(value.address)
        return f'ip("{address}/{value.prefix}")'
    raise Unsupported(kind.__name__)


def _datetime_text(ms: int) -> str:
    try:
        at = datetime(1970, 1, 1) + timedelta(milliseconds=ms)
    except OverflowError as error:
        raise Unsupported("a time that has no text") from error
    return f"{at.isoformat(timespec='milliseconds')}Z"
