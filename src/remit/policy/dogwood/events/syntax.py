"""Reads the text of an event schema (Dogwood guide, chapter 08, section 2.6)."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, NoReturn, cast, get_args

from remit.core.errors import DocumentError
from remit.policy.dogwood.ast import UNITS, ContextTerm, Path, ScopeTerm, Window
from remit.policy.dogwood.events.schema import GROUPS, Declaration, EventSchema, Field, Pin, Selector, Spread
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.entities.declared import error_at

MAX_BYTES: Final = 64 * 1024  # of one schema
MAX_KINDS: Final = 32
MAX_FIELDS: Final = 256  # of one kind, those in groups included
MAX_DEPTH: Final = 8  # of groups
MAX_WINDOW_DAYS: Final = 366

_SELECTORS: Final = frozenset(get_args(Selector))
_TOKEN: Final = re.compile(
    r"(?P<space>[ \t\r\n]+)|(?P<comment>//[^\n\r]*)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>[0-9]+)"
    r"|(?P<sign>\.\.\.|::|[<>{}(),:=.])|(?P<other>.)",
    re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str, path: str = "") -> EventSchema:
    """The schema that the text is. A `DocumentError` names file, line and column where it can't be read."""
    try:
        return _Reader(text, path).schema()
    except Mistake as mistake:
        raise error_at(text, path, mistake.at, mistake.message, mistake.next_step) from None


def mistaken(schema: EventSchema, at: int, message: str, next_step: str = "") -> DocumentError:
    """The error of what a schema that can be read says at an offset."""
    return error_at(schema.text, schema.path, at, message, next_step)


class _Reader:
    def __init__(self, text: str, path: str) -> None:
        if len(text.encode()) > MAX_BYTES:
            raise Mistake(0, f"an event schema has at most {MAX_BYTES} bytes")
        self.text, self.path = text, path
        start = 1 if text.startswith("\ufeff") else 0
        self.tokens = [
            _Token(match.lastgroup or "", match.group(), match.start())
            for match in _TOKEN.finditer(text, start)
            if match.lastgroup not in ("space", "comment")
        ]
        self.tokens.append(_Token("end", "the end of the file", len(text)))
        self.next = 0
        self.fields_left = 0

    # --- tokens ---------------------------------------------------------------------------------------------

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def ahead(self, by: int) -> str:
        return self.tokens[min(self.next + by, len(self.tokens) - 1)].text

    def take(self) -> _Token:
        token = self.token
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def took(self, text: str) -> bool:
        if self.token.text == text and self.token.kind != "end":
            self.next += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.took(text):
            self.unexpected(f"`{text}`")

    def word(self, what: str) -> _Token:
        if self.token.kind != "word":
            self.unexpected(what)
        return self.take()

    def unexpected(self, wanted: str, next_step: str = "") -> NoReturn:
        found = self.token.text if self.token.kind == "end" else f"`{self.token.text}`"
        raise Mistake(self.token.at, f"expected {wanted}, found {found}", next_step)

    # --- declarations ---------------------------------------------------------------------------------------

    def schema(self) -> EventSchema:
        window = self.window() if self.token.text == "max_window" else None
        declarations: list[Declaration] = []
        while self.token.kind != "end":
            if self.token.text == "max_window":
                raise Mistake(
                    self.token.at, "`max_window` stands once, before all events", "move it to the top of the file"
                )
            declaration = self.declaration()
            if any(declaration.kind == other.kind for other in declarations):
                raise Mistake(declaration.at, f"the kind `{declaration.kind}` is declared twice", "leave one out")
            declarations.append(declaration)
            if len(declarations) > MAX_KINDS:
                raise Mistake(declaration.at, f"an event schema has at most {MAX_KINDS} kinds")
        if not declarations:
            raise Mistake(0, "the event schema declares no events", "leave the file out to use Remit's own schema")
        return EventSchema(tuple(declarations), window, self.text, self.path)

    def window(self) -> Window:
        self.take()
        self.expect("=")
        number = self.token
        if number.kind != "number":
            self.unexpected("a number", "write it as in `max_window = 30d`")
        self.take()
        unit = self.token
        if unit.text not in UNITS:
            self.unexpected("a unit", "the units are `s`, `m`, `h` and `d`")
        self.take()
        if len(number.text) > 12 or int(number.text) * UNITS[unit.text] > MAX_WINDOW_DAYS * UNITS["d"]:
            raise Mistake(number.at, f"`max_window` is at most {MAX_WINDOW_DAYS}d")
        if int(number.text) == 0:
            raise Mistake(
                number.at, "`max_window` is more than zero", "leave it out for 24h, or write one such as `30d`"
            )
        return Window(int(number.text), unit.text)

    def declaration(self) -> Declaration:
        at = self.token.at
        decision = self.took("decision")
        if not self.took("event"):
            self.unexpected("`event` or `decision event`")
        self.expect("<")
        binder = self.word("the name for the action, as in `<A>`").text
        self.expect(">")
        self.expect("::")
        kind = self.word("the kind of the event").text
        self.fields_left = MAX_FIELDS
        return Declaration(kind, self.fields(binder, 0), decision, at)

    def fields(self, binder: str, depth: int) -> tuple[Spread | Field, ...]:
        if depth >= MAX_DEPTH:
            raise Mistake(self.token.at, f"groups of fields nest at most {MAX_DEPTH} deep")
        self.expect("{")
        found: list[Spread | Field] = []
        names: set[str] = set()
        while not self.took("}"):
            if found:
                self.expect(",")
                if self.took("}"):
                    break
            self.fields_left -= 1
            if self.fields_left < 0:
                raise Mistake(self.token.at, f"an event has at most {MAX_FIELDS} fields")
            field = self.spread(binder) if self.token.text == "..." else self.field(binder, depth)
            name = field.name if isinstance(field, Field) else GROUPS[field.selector]
            if name in names:
                spread = "`...inputs(…)` makes the group `input`, `...outputs(…)` the group `output`"
                step = spread if name in GROUPS.values() else "give one of them another name"
                raise Mistake(field.at, f"there are two fields `{name}` here", step)
            names.add(name)
            found.append(field)
        return tuple(found)

    def spread(self, binder: str) -> Spread:
        at = self.take().at
        selector = self.token
        if selector.text not in _SELECTORS:
            self.unexpected("`inputs` or `outputs`")
        if selector.text not in ("inputs", "outputs"):
            raise Mistake(
                selector.at,
                f"`{selector.text}` is a type, not a group of fields",
                f"name a field: `caller: {selector.text}({binder})`",
            )
        self.take()
        self.applied(binder)
        return Spread(cast(Selector, selector.text), at)

    def applied(self, binder: str) -> None:
        self.expect("(")
        named = self.word("the name for the action")
        if named.text != binder:
            raise Mistake(named.at, f"`{named.text}` is not this event's action", f"write `{binder}`")
        self.expect(")")

    def field(self, binder: str, depth: int) -> Field:
        at = self.token.at
        # `pin` is a word like others, unless a field follows.
        pinned = self.token.text == "pin" and self.ahead(1) != ":" and self.ahead(2) == ":"
        if pinned:
            self.take()
        name = self.word("a field, `...inputs(…)` or `...outputs(…)`").text
        self.expect(":")
        members = self.fields(binder, depth + 1) if self.token.text == "{" else None
        type_: Selector | Path = self.type(binder) if members is None else ()
        pin: Pin | None = None
        if self.token.text == "=":
            if not pinned:
                raise Mistake(at, f"the field `{name}` has a value and is not pinned", f"write `pin {name}: …`")
            if members is not None:
                raise Mistake(at, f"`{name}` is a group of fields and can't be pinned", "pin a field within it")
            pin = self.pin()
        elif pinned:
            raise Mistake(
                at, f"the pinned field `{name}` has no value", f"write `pin {name}: … = context.…`, or `= principal`"
            )
        return Field(name, type_, members, pin, at)

    def type(self, binder: str) -> Selector | Path:
        first = self.word("a type")
        if first.text in _SELECTORS and self.token.text == "(":
            if first.text in ("inputs", "outputs"):
                raise Mistake(
                    first.at,
                    f"`{first.text}` is a group of fields, not a type",
                    f"write `...{first.text}({binder})` instead of a field",
                )
            self.applied(binder)
            return cast(Selector, first.text)
        path = [first.text]
        while self.took("::"):
            path.append(self.word("the rest of the type's name").text)
        return tuple(path)

    def pin(self) -> Pin:
        self.expect("=")
        root = self.word("`principal`, `resource` or `context.…`")
        path: list[str] = []
        while self.took("."):
            path.append(self.word("a name").text)
        if root.text in ("principal", "resource"):
            return Pin(ScopeTerm(cast(Literal["principal", "resource"], root.text), tuple(path), root.at), root.at)
        if root.text != "context" or not path:
            raise Mistake(
                root.at, "a pin is `principal`, `resource`, or a path of `context`", "write `= context.task.root`"
            )
        return Pin(ContextTerm(tuple(path), root.at), root.at)
