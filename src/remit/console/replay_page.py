"""A replay as one self-contained page: no script, no network."""

from __future__ import annotations

from typing import Final

from remit.console.html import Html, element
from remit.console.page import counts, document, facts
from remit.console.replay import (
    CATEGORIES,
    Category,
    Change,
    Counts,
    Replayed,
    cells,
    difference,
    headline,
    name_in,
    period_of,
    question,
    tables,
)
from remit.console.rows import name_of
from remit.console.screen import moment

ROWS: Final = 2_000
_LOOKS: Final[dict[Category, str]] = {
    "newly denied": "deny",
    "newly permitted": "warn",
    "changed": "",
    "not comparable": "warn",
}


def replay_page(found: Replayed, now: int, against: str) -> str:
    """The page; `against` says which configuration judged."""
    figures: list[tuple[str, str, str]] = [
        (f"{found.counts[each]:,}", each, _LOOKS[each] if found.counts[each] else "") for each in CATEGORIES
    ]
    figures.append((f"{found.unchanged:,}", "unchanged", "permit" if found.unchanged else ""))
    body: list[Html] = [
        element("h1", "What this change would have changed"),
        element("p", element("b", headline(found))),
        element("p", question(found), class_="soft"),
        facts(
            [
                ("Judged by", against),
                ("Configuration", element("code", found.config)),
                ("Decisions", period_of(found) if found.decisions else "none"),
            ]
        ),
        counts(figures),
    ]
    if found.why:
        body += [element("h2", "Not comparable"), _list([f"{number:,}×: {why}" for why, number in found.why.items()])]
    for title, rows in tables(found):
        if rows:
            body += [element("h2", f"By {title}"), _table(title, rows)]
    if found.changes:
        body += [element("h2", "Each of them"), _changes(found)]
    body.append(
        element(
            "footer",
            f"Written {moment(now)} from the records; times are local. Records are not verified here: "
            "`remit verify` does that.",
        )
    )
    return document("Replay: what a change would have changed", *body)


def _list(items: list[str]) -> Html:
    return element("ul", *(element("li", item) for item in items), class_="plain")


def _table(title: str, rows: tuple[Counts, ...]) -> Html:
    head = element("tr", *(element("th", name) for name in (title, *CATEGORIES)))
    lines = []
    for row in rows[:ROWS]:
        name = name_in(title, row.name)
        lines.append(element("tr", element("td", name), *(element("td", cell, class_="n") for cell in cells(row))))
    return element("div", element("table", element("thead", head), element("tbody", *lines)), class_="scroll")


def _changes(found: Replayed) -> Html:
    names = ("", "action", "when", "workload", "task", "decision", "what")
    head = element("tr", *(element("th", name) for name in names))
    ordered = sorted(found.changes, key=lambda change: (CATEGORIES.index(change.category), change.at))
    rows = [_change(change) for change in ordered[:ROWS]]
    left = len(ordered) - len(rows) + found.omitted
    if left:
        rows.append(element("tr", element("td", f"and {left:,} more: --json tells them", colspan=7), class_="gap"))
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _change(change: Change) -> Html:
    message = change.after.message if change.after is not None and change.after.effect == "deny" else ""
    return element(
        "tr",
        element("td", element("b", change.category, class_=_LOOKS[change.category] or None)),
        element("td", change.action, f" ×{change.times}" if change.times > 1 else None),
        element("td", moment(change.at), class_="t"),
        element("td", name_of(change.workload)),
        element("td", change.intent, " ", element("code", change.task), class_="task"),
        element("td", element("code", change.id)),
        element("td", difference(change), element("div", message, class_="soft") if message else None),
    )
