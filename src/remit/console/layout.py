"""Labels at the left, text at the right, wrapped to the terminal, without trailing spaces."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_LEAST = 24  # columns that text gets, however narrow the terminal


def labelled(console: Console, label: Text, bodies: Iterable[Text], *, column: int, indent: int = 0) -> None:
    """A label, and its texts from `column` on, one below the other."""
    width = max(_LEAST, console.width - indent - column)
    head = Text(" " * indent).append_text(label)
    for body in bodies:
        for line in body.wrap(console, width, overflow="fold"):
            line.rstrip()
            room = indent + column - cell_len(head.plain)
            if room <= 0:
                console.print(head, soft_wrap=True)
                head, room = Text(), indent + column
            console.print(Text.assemble(head, " " * room, line) if line.plain else head, soft_wrap=True)
            head = Text()
    if head.plain.strip():
        console.print(head, soft_wrap=True)


def pairs(console: Console, values: Iterable[tuple[Text, Text]], *, indent: int = 0, widest: int = 40) -> None:
    """Names and values in two columns; a name wider than `widest` stands on a line of its own."""
    rows = list(values)
    column = min(widest, max((cell_len(name.plain) for name, _ in rows), default=0)) + 2
    for name, value in rows:
        labelled(console, name, [value], column=column, indent=indent)


def verbatim(console: Console, text: str, *, style: str = "", indent: int = 0) -> None:
    """Text as it is, line by line; a terminal breaks what is too long."""
    for line in text.splitlines():
        console.print(Text(" " * indent + line, style=style), soft_wrap=True)
