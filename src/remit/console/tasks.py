"""Tasks as the records tell them: who started which for whom, and how they stand."""

from __future__ import annotations

from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from remit.console.detail import checked
from remit.console.rows import name_of, short
from remit.console.screen import moment, plain_table, printable
from remit.storage.reader import Reader


class TaskLine(NamedTuple):
    """One task. `state` is that of the records; an open one whose time is over is `expired`."""

    id: str
    state: str
    intent: str
    workload: str
    starter: str
    opened: int  # ms
    expires: int  # ms
    emergency: bool
    on_behalf_of: str


def tasks_of(reader: Reader, now: int) -> list[TaskLine]:
    """All tasks, in the order in which they were started."""
    found: dict[str, dict[str, Any]] = {}
    for stored in reader.records(kinds=("task",)):
        record = checked(stored)
        body = record.body
        if "intent" in body:
            found[body["task"]] = {**body, "opened": record.t}
        elif body["task"] in found:
            found[body["task"]]["state"] = body["state"]
    return [_line(task, now) for task in found.values()]


def _line(task: dict[str, Any], now: int) -> TaskLine:
    over = task["state"] in ("open", "suspended") and task["expires"] <= now
    return TaskLine(
        id=task["task"],
        state="expired" if over else task["state"],
        intent=task["intent"],
        workload=task["workload"],
        starter=task["starter"],
        opened=task["opened"],
        expires=task["expires"],
        emergency=bool(task.get("emergency")),
        on_behalf_of=task.get("onBehalfOf", ""),
    )


def task_table(tasks: list[TaskLine]) -> Table:
    """Tasks for people; the end of an id is enough for every command."""
    styles = {"open": "green", "suspended": "bold yellow", "completed": "blue"}
    table = plain_table("task", "state", "opened", "intent", "workload", "started by", wrap=("intent", "workload"))
    for column, width in zip(table.columns, (6, 9, 16), strict=False):
        column.min_width = width
    for task in tasks:
        intent = Text(printable(task.intent), style="bold")
        if task.emergency:
            intent.append(" EMERGENCY", style="bold red")
        table.add_row(
            short(task.id),
            Text(task.state, style=styles.get(task.state, "yellow")),
            Text(moment(task.opened)[:16], style="dim"),
            intent,
            printable(name_of(task.workload)),
            printable(name_of(task.starter)),
        )
    return table
