"""The tokens of a `.dw` file, with their offsets.

One lexer for all of it: what is plain Cedar is only cut into tokens here, and judged by Cedar's own parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from remit.policy.dogwood.mistakes import Mistake
from remit.policy.text import Token

MAX_TEXT: Final = 1_048_576  # characters of one file

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>//[^\n\r]*)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>-?[0-9]+)
      | (?P<sigil>[?$][A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>::|&&|\|\||==|!=|<=|>=)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# They make text read as what it is not (https://www.unicode.org/reports/tr9/, sections 2.1 to 2.6).
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[nrt0'\"\\])|x(?P<hex>[0-7][0-9A-Fa-f])|u\{(?P<code>[0-9A-Fa-f_]{1,12})\}|(?P<bad>.|$))", re.DOTALL
)
_PLAIN: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "'": "'", '"': '"', "\\": "\\"}
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}
_CLOSING: Final = frozenset(_OPENING.values())


def tokens(text: str) -> list[Token]:
    """All tokens, without white space and comments. Raises `Mistake`."""
    if len(text) > MAX_TEXT:
        raise Mistake(0, f"the file has more than {MAX_TEXT} characters", "split it into several files")
    turning = _TURNING.search(text)
    if turning is not None:
        # SECURITY: with these, a reader sees another policy than the one that decides.
        code = ord(turning[0])
        raise Mistake(
            turning.start(),
            f"the character U+{code:04X} changes the direction of the text around it",
            f"remove it, or write it as `\\u{{{code:x}}}` in a string",
        )
    found = list(_scan(text))
    for token in found:
        if token.text == '"':
            raise Mistake(token.start, "the string is not closed", 'end it with `"`')
    return found


def _scan(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind is not None and kind not in ("space", "comment"):
            yield Token(kind, match.group(), match.start())


def closing(found: Sequence[Token], start: int) -> int:
    """The place of the bracket that closes the one at `start`. Raises `Mistake`."""
    waiting: list[tuple[str, int]] = []
    for place in range(start, len(found)):
        token = found[place]
        if token.kind == "other":
            if token.text in _OPENING:
                waiting.append((_OPENING[token.text], token.start))
            elif token.text in _CLOSING:
                wanted, at = waiting.pop()
                if wanted != token.text:
                    raise Mistake(
                        token.start, f"`{token.text}` closes nothing here", f"`{wanted}` is missing before it"
                    )
                if not waiting:
                    return place
    wanted, at = waiting[-1] if waiting else (")", found[start].start)
    raise Mistake(at, "this bracket is not closed", f"add the `{wanted}`")


def string(token: Token) -> str:
    """What a string token says, with Cedar's escapes. Raises `Mistake`."""

    def read(match: re.Match[str]) -> str:
        if match["plain"] is not None:
            return _PLAIN[match["plain"]]
        digits = match["hex"] or (match["code"] or "").replace("_", "")
        code = int(digits, 16) if digits else -1
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise Mistake(
                token.start + 1 + match.start(),
                "this escape is not one of Cedar's",
                r"use one of `\n`, `\r`, `\t`, `\0`, `\'`, `\"`, `\\`, `\x41` and `\u{20ac}`",
            )
        return chr(code)

    return _ESCAPE.sub(read, token.text[1:-1])
