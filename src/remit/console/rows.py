"""Decisions as rows of a table: time, workload, task and intent, action, decision, reason, latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from rich.table import Table
from rich.text import Text

from remit.ledger.record import Record

STYLES: Final[Mapping[str, str]] = {"permit": "green", "deny": "red", "observed": "yellow"}


class Row(NamedTuple):
    """One decision, as a person reads it."""

    id: str
    time: str
    workload: str
    task: str
    intent: str
    action: str
    decision: str  # permit, deny or observed
    reason: str
    latency: str  # from the question to the decision, in ms


def name_of(spiffe_id: str) -> str:
    """The last part of a SPIFFE ID's path; the id itself when it has none."""
    return spiffe_id.rsplit("/", 1)[-1] or spiffe_id


def row_of(record: Record, intents: Mapping[str, str]) -> Row:
    """The row of a `decision` record; `intents` maps tasks to intents where the record does not say it."""
    body: Mapping[str, Any] = record.body
    task = body.get("task", "")
    facts = body.get("context", {}).get("task", {})
    intent = facts.get("intent", "") if isinstance(facts, dict) else ""
    decided = "observed" if body["reason"]["code"] == "observed" else body["effect"]
    return Row(
        id=body["id"],
        time=clock_time(record.t),
        workload=name_of(body["subject"]),
        task=short(task),
        intent=intent or intents.get(task, "") or body.get("context", {}).get("intent", ""),
        action=body["action"],
        decision=decided,
        reason=body["reason"]["code"],
        latency=f"{body['micros'] / 1000:.1f}" if body.get("micros") else "",
    )


def clock_time(ms: int) -> str:
    """Local time of day with milliseconds."""
    return datetime.fromtimestamp(ms / 1000).strftime("%H:%M:%S.") + f"{ms % 1000:03d}"


def short(task: str) -> str:
    """Enough of a task's id to tell it from the others on a screen."""
    root, dot, rest = task.partition(".")
    return f"{root[-6:]}{dot}{rest}" if root else ""


def table(title: str = "") -> Table:
    """An empty table of decisions."""
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in ("time", "workload", "task", "intent", "action", "decision", "reason", "ms"):
        made.add_column(name, no_wrap=True, overflow="ellipsis", justify="right" if name == "ms" else "left")
    return made


def cells(row: Row) -> list[Text]:
    """The row's cells; colour is the terminal's affair."""
    return styled(row[1:])


def styled(texts: Sequence[str]) -> list[Text]:
    """The texts of one row, from the time to the latency, each in its column's style."""
    decision = texts[5]
    styles = ("dim", "", "dim", "", "bold", STYLES.get(decision, ""), "" if decision == "permit" else "yellow", "dim")
    return [Text(text, style=style) for text, style in zip(texts, styles, strict=True)]
