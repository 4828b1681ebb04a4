"""A server's tools as people read them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit.catalogue.document import ServerDocument
from remit.catalogue.entries import Review
from remit.catalogue.merge import Change
from remit.console.screen import plain_table, printable


def show_changes(console: Console, changes: tuple[Change, ...], document: ServerDocument) -> None:
    """What an import did to each tool: its guess and the reason, and what changed of those known before."""
    table = plain_table("tool", "", "effect", "why", wrap=("why",))
    styles = {"added": "green", "changed": "yellow", "removed": "red", "refused": "red"}
    for change in changes:
        entry = document.entries.get(change.tool)
        lost = ", review lost" if change.was_reviewed and change.kind == "changed" else ""
        why = "; ".join(change.details[:1]) if entry is None else entry.why.get("effect", "")
        table.add_row(
            printable(change.tool),
            Text(change.kind + lost, style=styles.get(change.kind, "dim")),
            Text(entry.effect if entry else "", style="bold"),
            Text(printable(why), style="dim"),
        )
    console.print(table)
    for change in changes:
        if change.kind == "changed" and change.details:
            console.print(Text(f"\n{printable(change.tool)}", style="bold"))
            for line in change.details:
                console.print(Text(f"  {printable(line)}"), soft_wrap=True)


def tool_table(document: ServerDocument) -> Table:
    """The tools of a server: what each does, who reviewed it, and why it was taken for that."""
    table = plain_table("tool", "effect", "reviewed", "why", wrap=("why",))
    for name, entry in document.entries.items():
        by = entry.reviewed.by if isinstance(entry.reviewed, Review) else "yes" if entry.reviewed else "no"
        table.add_row(
            Text(name, style="bold"),
            entry.effect,
            Text(printable(by), style="" if entry.reviewed else "yellow"),
            Text(printable(entry.why.get("effect", "")), style="dim"),
        )
    return table
