"""The terminal, or what stands in for it, and how values are written for people."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table

PIPE_WIDTH: Final = 160  # columns where the output is no terminal and COLUMNS says nothing


def screen(*, err: bool = False) -> Console:
    """A console on standard output: colours on a terminal only, and not under NO_COLOR."""
    stream = sys.stderr if err else sys.stdout
    # What goes into a file or a pipe is not cut to the width of a terminal that isn't there.
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(stderr=err, highlight=False, markup=False, emoji=False, width=width, soft_wrap=False)


def plain_table(*columns: str, wrap: tuple[str, ...] = ()) -> Table:
    """An empty table without lines; columns named in `wrap` break, the others are cut with an ellipsis."""
    made = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        if name in wrap:
            made.add_column(name, overflow="fold")
        else:
            made.add_column(name, no_wrap=True, overflow="ellipsis")
    return made


def moment(ms: int) -> str:
    """Local date and time with seconds and zone: `2026-11-22 08:33:47 UTC`; the number where no calendar has it."""
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def printable(text: str) -> str:
    """The text with everything that drives a terminal as escapes; line ends stay."""
    # SECURITY: records quote what an agent and its tools wrote; it must not write on the operator's screen.
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def readable(value: Any) -> Any:
    """A recorded fact as a person reads it: entities as their ids, decimals and times as their text."""
    if isinstance(value, dict):
        if value.keys() == {"__entity"} and isinstance(value["__entity"], dict):
            return value["__entity"].get("id", "")
        if value.keys() == {"__extn"} and isinstance(value["__extn"], dict):
            return value["__extn"].get("arg", "")
        if value.keys() == {"literal"}:
            return readable(value["literal"])
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    return value
