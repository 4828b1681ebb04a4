"""JSON of project files, read strictly and with positions: no equal keys, no NaN, nothing too deep.

A text that two parsers would read differently is refused (RFC 8259, section 4, on names that stand twice).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

MAX_DEPTH: Final = 32

_SPACE = re.compile(r"[ \t\n\r]*")


class StrictJsonError(ValueError):
    """The text is not such JSON; `offset` is where, as far as that is known."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def value(text: str, start: int) -> tuple[Any, int]:
    """The one value from `start` to the end of the text, and where it begins."""
    begin = skip(text, start)
    found, end = _decode(text, begin)
    if skip(text, end) != len(text):
        raise StrictJsonError("there is more after the end", skip(text, end))
    return found, begin


def elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of the array that the text is, each with where it begins."""
    at = skip(text, 0)
    if text[at : at + 1] != "[":
        raise StrictJsonError("expected an array: `[`", at)
    at = skip(text, at + 1)
    if text[at : at + 1] != "]":
        while True:
            found, end = _decode(text, at)
            yield at, found
            end = skip(text, end)
            if text[end : end + 1] == "]":
                at = end
                break
            if text[end : end + 1] != ",":
                raise StrictJsonError("expected `,` or `]`", end)
            at = skip(text, end + 1)
    if skip(text, at + 1) != len(text):
        raise StrictJsonError("there is more after the end", skip(text, at + 1))


def skip(text: str, at: int) -> int:
    """The first place from `at` on that is no white space."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        found, end = _decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise StrictJsonError(error.msg[:1].lower() + error.msg[1:], error.pos) from None
    except RecursionError:
        raise StrictJsonError("it is nested too deeply", at) from None
    except ValueError as error:  # of the hooks, and numbers of thousands of digits
        raise StrictJsonError(str(error).partition(";")[0][:200].lower(), at) from None
    _check(found, at)
    return found, end


def _check(found: Any, at: int) -> None:
    level = [found]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if type(item) is dict:
                deeper.extend(item)
                deeper.extend(item.values())
            elif type(item) is list:
                deeper.extend(item)
            elif type(item) is str and not item.isascii():
                _check_unicode(item, at)
        level = deeper
        if not level:
            return
    raise StrictJsonError("it is nested too deeply", at)


def _check_unicode(text: str, at: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StrictJsonError("a text is not valid Unicode", at) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        # SECURITY: of two equal keys a reader sees one and a parser takes the other.
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)[:64]}` stands twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not JSON")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
