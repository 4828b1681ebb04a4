"""The log's lines in columns that fit the terminal, from 80 columns up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from remit.console.history import Line
from remit.console.rows import STYLES, name_of, short

WIDE: Final = 112  # from this width on, intent and latency have their columns
_STYLES: Final[Mapping[str, str]] = {
    **STYLES,
    "response": "cyan",
    "error": "magenta",
    "not_executed": "dim",
    "unknown": "bold yellow",
    "open": "blue",
    "completed": "blue",
    "suspended": "bold yellow",
    "cancelled": "yellow",
    "expired": "yellow",
}
# name, least width, share of what is left
_NARROW: Final = (("time", 8, 0), ("id", 6, 0), ("workload", 9, 2), ("task", 6, 0), ("action", 17, 4),
                  ("result", 9, 0), ("why", 15, 4))  # fmt: skip
_WIDE: Final = (("time", 12, 0), ("id", 6, 0), ("workload", 13, 2), ("task", 6, 1), ("intent", 14, 2),
                ("action", 22, 4), ("result", 12, 0), ("why", 14, 4), ("ms", 5, 0))  # fmt: skip


class Columns:
    """Fixed columns for one width, so that lines that come later stand under the same heads."""

    def __init__(self, width: int) -> None:
        chosen = _WIDE if width >= WIDE else _NARROW
        spare = max(0, width - 1 - sum(least + 1 for _, least, _ in chosen))
        shares = sum(share for _, _, share in chosen)
        self._columns = [(name, least + spare * share // shares) for name, least, share in chosen]

    def head(self) -> Text:
        """The names of the columns."""
        return self._join({name: Text(name, style="bold") for name, _ in self._columns})

    def line(self, line: Line) -> Text:
        """One line of the log."""
        time = _local(line.at)
        shown = time.strftime("%H:%M:%S") + (f".{line.at % 1000:03d}" if self._columns[0][1] >= 12 else "")
        return self._join(
            {
                "time": Text(shown, style="dim"),
                "id": Text(short_id(line.id)),
                "workload": Text(name_of(line.workload)),
                "task": Text(short(line.task), style="dim"),
                "intent": Text(line.intent),
                "action": Text(f"task {line.intent}" if line.kind == "task" else line.action, style="bold"),
                "result": Text(line.result, style=_STYLES.get(line.result, "")),
                "why": _why(line),
                "ms": Text(line.latency.rjust(5), style="dim"),
            }
        )

    def _join(self, cells: Mapping[str, Text]) -> Text:
        joined = Text()
        for name, width in self._columns:
            cell = cells[name].copy()
            cell.truncate(width, overflow="ellipsis", pad=name != self._columns[-1][0])
            joined.append_text(cell)
            joined.append(" ")
        joined.rstrip()
        return joined


def _why(line: Line) -> Text:
    """The note; behind it, of a record that nobody outside can check yet, that it is pending."""
    why = Text(line.note, style="yellow" if line.denied else "dim")
    if line.pending:
        why.append(" pending" if line.note else "pending", style="italic")
    return why


def show_day(console: Console, at: int, before: int) -> None:
    """A line with the date, where a line of the log is not of the same day as the one before (0: today)."""
    day = _local(at).date()
    last = _local(before).date() if before else datetime.now(UTC).astimezone().date()
    if day != last:
        console.print(Text(f"── {day:%A, %Y-%m-%d}", style="dim"))


def _local(ms: int) -> datetime:
    """Local time; the last one that there is for what lies beyond the calendar."""
    try:
        return datetime.fromtimestamp(ms / 1000)
    except (ValueError, OverflowError, OSError):
        return datetime.max


def short_id(id_: str) -> str:
    """The end of an id: enough for a screen, and for `remit log show`."""
    root, dot, rest = id_.partition(".")
    return f"{root[-6:]}{dot}{rest}"


def as_json(line: Line) -> dict[str, Any]:
    """One line for machines: nothing shortened, the time in RFC 3339 (UTC) and in milliseconds."""
    try:
        time = datetime.fromtimestamp(line.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        time = ""
    return {"time": time, **line._asdict(), "denied": line.denied}
