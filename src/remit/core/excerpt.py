"""A line of a file as an error shows it: with its number, and a mark below the place."""

from __future__ import annotations

import unicodedata
from typing import Final

SHOWN: Final = 120  # characters of a line
BEFORE: Final = 60  # of a longer one, before the place


def excerpt(text: str, line: int, column: int, width: int = 1) -> str:
    """Two lines: the text, cut around the place, and `^` below the `width` characters from `column` (1-based) on.

    Nothing in the text can move the cursor or hide a character: what can't be printed is shown by its number.
    """
    place = min(max(column - 1, 0), len(text))
    start = place - BEFORE if len(text) > SHOWN and place > BEFORE else 0
    end = start + SHOWN
    marked = min(max(place + width, place + 1), end)
    head, body, tail = (_printable(text[a:b]) for a, b in ((start, place), (place, marked), (marked, end)))
    indent = len(head) - len(head.lstrip(" "))
    head = head[indent:]
    if start:
        head = "… " + head
    more = " …" if end < len(text) else ""
    gutter = " " * len(str(line))
    mark = " " * _columns(head) + "^" * max(1, _columns(body.rstrip(" ")))
    return f"  {line} | {head}{body}{tail.rstrip(' ')}{more}\n  {gutter} | {mark}"


def _printable(text: str) -> str:
    # SECURITY: a file is somebody's input: escape sequences and characters that turn the direction are not passed on.
    return "".join(" " if char == "\t" else char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)


def _columns(text: str) -> int:
    """How many columns of a terminal it takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
