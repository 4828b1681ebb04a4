"""Cedar text: its tokens with positions, one policy at a time, and literals written so that they can't be misread.

The engine's own parser judges the text; this one only finds where each policy begins and ends, and refuses
what would exhaust the engine's stack (Cedar grammar, https://docs.cedarpolicy.com/policies/syntax-grammar.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

MAX_POLICIES: Final = 20_000  # in one project
MAX_POLICY_TOKENS: Final = 32_768
MAX_NESTING: Final = 32  # brackets, and `if` within `if`
MAX_CHAIN: Final = 32  # `.a.b.c`: `has` grows with its square
MAX_OPERATORS: Final = 256  # each makes the tree one deeper when chained

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>//[^\n\r]*)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<word>[^\W\d]\w*)
      | (?P<number>\d+)
      | (?P<operator>::|&&|\|\||==|!=|<=|>=)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# What can hide a `;`, and the `;` itself: the same places as above, found faster.
_END = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n\r]*|;', re.DOTALL)
_BLANK = re.compile(r"(?:\s++|//[^\n\r]*+)*+")
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_OPERATORS = frozenset({"&&", "||", "+", "-", "*", "if"})
_LINKS = frozenset({".", "::", "["})
_BREAKS = frozenset({"&&", "||", "==", "!=", "<=", ">=", *",;{}<>+-*!", "then", "else", "in", "has", "like", "is"})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words of the grammar: as attribute names they are written in quotes.
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has"})


class Token(msgspec.Struct, frozen=True, gc=False):
    """One token of Cedar text: its kind (the names of the pattern's groups), its text and where it starts."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text` without white space and comments; any text has tokens."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind is not None and kind not in ("space", "comment"):
            yield Token(kind, match.group(), match.start())


def pieces(text: str) -> Iterator[list[Token]]:
    """The tokens of each policy, up to and with its `;`; the last piece may lack it."""
    piece: list[Token] = []
    for token in tokens(text):
        piece.append(token)
        if token.text == ";":
            yield piece
            piece = []
    if piece:
        yield piece


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each policy begins and ends, as in `pieces`."""
    start = _BLANK.match(text).end()  # type: ignore[union-attr]  # it matches anywhere
    for match in _END.finditer(text, start):
        if match.group() == ";":
            yield start, match.end()
            start = _BLANK.match(text, match.end()).end()  # type: ignore[union-attr]
    if start < len(text):
        last = 0
        for token in tokens(text[start:]):
            last = token.end
        yield start, start + last


def position(text: str, offset: int) -> tuple[int, int]:
    """The line and the column (1-based) of `offset` in `text`."""
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - start + 1


def line_at(text: str, number: int) -> str:
    """The text of line `number` (1-based)."""
    lines = text.split("\n")
    return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


def turning(text: str) -> int | None:
    """Where a character stands that turns the direction of what is shown after it; None where there is none."""
    found = None if text.isascii() else _TURNING.search(text)
    return found.start() if found else None


def excess(piece: list[Token]) -> tuple[Token, str] | None:
    """The token at which a policy goes over a bound, and what it goes over; None when it is within all of them.

    The engine recurses on nested text without a bound of its own: text over these must never reach it.
    """
    depth = chain = operators = branches = 0
    for index, token in enumerate(piece):
        text = token.text
        if text in _OPENING:
            depth += 1
        elif text in _CLOSING:
            depth -= 1
        if text in _LINKS:
            chain += 1
        elif text in _BREAKS:
            chain = 0
        operators += text in _OPERATORS
        branches += text == "if"
        if index >= MAX_POLICY_TOKENS:
            return token, f"the policy has more than {MAX_POLICY_TOKENS} tokens"
        if depth > MAX_NESTING or branches > MAX_NESTING:
            return token, f"the policy is nested more than {MAX_NESTING} deep"
        if chain > MAX_CHAIN:
            return token, f"the policy has a chain of more than {MAX_CHAIN} attributes"
        if operators > MAX_OPERATORS:
            return token, f"the policy has more than {MAX_OPERATORS} operators"
    return None


def quote(value: str) -> str:
    """`value` as a Cedar string literal: nothing in it can end the literal or span lines."""
    return '"' + "".join(_escape(char) for char in value) + '"'


def entity(type_: str, id_: str) -> str:
    """An entity of Remit's own types as Cedar text, such as `Remit::Group::"finance"`."""
    return f"Remit::{type_}::{quote(id_)}"


def action(name: str) -> str:
    """An action, or a group of them, as Cedar text."""
    return entity("Action", name)


def select(base: str, *names: str) -> str:
    """`base.name…`, with names that are no plain word in brackets."""
    for name in names:
        base += f".{name}" if _is_plain(name) else f"[{quote(name)}]"
    return base


def presence(base: str, *names: str) -> list[str]:
    """Tests that `base.name…` is there, one for each step, to be joined with `&&`."""
    return [
        f"{select(base, *names[:index])} has {name if _is_plain(name) else quote(name)}"
        for index, name in enumerate(names)
    ]


def _is_plain(name: str) -> bool:
    return _PLAIN.fullmatch(name) is not None and name not in _RESERVED and not name.startswith("__")


def _escape(char: str) -> str:
    if char in ('"', "\\"):
        return "\\" + char
    # SECURITY: line ends and invisible or direction-changing characters would make text read as what it is not.
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"
