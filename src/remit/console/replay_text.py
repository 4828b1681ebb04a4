"""A replay on a terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from remit.console.replay import (
    CATEGORIES,
    Category,
    Replayed,
    calls,
    cells,
    difference,
    headline,
    name_in,
    question,
    tables,
)
from remit.console.rows import name_of
from remit.console.screen import moment, plain_table, printable

ROWS: Final = 12
LOOKS: Final[dict[Category, str]] = {
    "newly denied": "bold red",
    "newly permitted": "bold yellow",
    "changed": "cyan",
    "not comparable": "magenta",
}


def show_replay(console: Console, found: Replayed, *, everything: bool = False) -> None:
    """Prints the sentence, the figures, the breakdowns and the changes themselves."""
    console.print(Text(printable(headline(found)), style="bold"), soft_wrap=True)
    if not found.decisions:
        return
    console.print(Text(question(found), style="dim"), soft_wrap=True)
    console.print()
    for category in CATEGORIES:
        number = found.counts[category]
        if number:
            console.print(Text.assemble((f"  {category:<16}", LOOKS[category]), calls(number)))
    same = f", {found.elsewhere:,} of them denied before policies were asked" if found.elsewhere else ""
    console.print(Text.assemble((f"  {'unchanged':<16}", "green"), calls(found.unchanged), (same, "dim")))
    for why, number in list(found.why.items())[:ROWS]:
        console.print(Text.assemble("    ", (f"{number:,}× not comparable: {printable(why)}", "dim")), soft_wrap=True)
    if not found.changes:
        return
    for title, rows in tables(found):
        shown = rows if everything else rows[:ROWS]
        console.print()
        table = plain_table(f"by {title}", *CATEGORIES)
        for row in shown:
            table.add_row(Text(printable(name_in(title, row.name))), *cells(row))
        console.print(table)
        if len(rows) > len(shown):
            console.print(Text(f"and {len(rows) - len(shown)} more; --all shows them", style="dim"))
    _show_changes(console, found, everything=everything)


def _show_changes(console: Console, found: Replayed, *, everything: bool) -> None:
    ordered = sorted(found.changes, key=lambda change: (CATEGORIES.index(change.category), change.at))
    shown = ordered if everything else ordered[: 2 * ROWS]
    console.print()
    for change in shown:
        times = f"  {change.times}×" if change.times > 1 else ""
        head = Text.assemble(
            (f"{change.category:<16}", LOOKS[change.category]),
            (printable(change.action), "bold"),
            f"  {moment(change.at)}  {printable(name_of(change.workload))}{times}",
            (f"  {change.id}", "dim"),
        )
        console.print(head, soft_wrap=True)
        console.print(Text(f"  {printable(difference(change))}"), soft_wrap=True)
        if change.after is not None and change.after.effect == "deny" and change.after.message:
            console.print(Text(f"  {printable(change.after.message)}", style="dim"), soft_wrap=True)
    left = len(ordered) - len(shown) + found.omitted
    if left:
        console.print(Text(f"and {left:,} more; --all, --html and --json tell them", style="dim"))
