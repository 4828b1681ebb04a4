"""A workload's account as people read it: may, did, is used to, never used, risks, and its life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit.console.layout import labelled
from remit.console.screen import moment, plain_table, printable

_COLUMN: Final = 10
_SHOWN: Final = 12  # names in one line; --json has all


def show_account(console: Console, found: Mapping[str, Any]) -> None:
    """Prints what `remit.app.workload.account` found."""
    if found["problem"]:
        console.print()
        _part(console, "project", Text("it does not load, so what it may do is not told:", style="yellow"))
        _part(console, "", Text(printable(found["problem"]), style="dim"))
    _show_risks(console, found)
    _show_grants(console, found)
    _show_deeds(console, found["deeds"], found["newFrom"])
    _show_habits(console, found["habits"])
    _show_unused(console, found)


def _show_risks(console: Console, found: Mapping[str, Any]) -> None:
    console.print()
    live = [each for each in found["risks"] if each["lives"]]
    style = "bold red" if found["risk"] >= 80 else "yellow" if found["risk"] else "green"
    _part(console, "risk", Text.assemble((str(found["risk"]), style), "" if live else "  no signal lives"))
    for each in live:
        ignored = "" if each["counts"] else "  (not named in `[risk] signals`: counts for nothing)"
        _part(
            console, "", Text(printable(f"{each['signal']} {each['value']} until {moment(each['expires'])}{ignored}"))
        )
        _part(console, "", Text(printable(each["source"]), style="dim"))
        if each["items"]:
            _part(console, "", Text(printable(f"it counts: {', '.join(each['items'])}"), style="dim"))
        if each["decision"]:
            _part(console, "", Text(printable(f"the last one: remit log show {each['decision']}"), style="dim"))


def _show_grants(console: Console, found: Mapping[str, Any]) -> None:
    console.print()
    if not found["grants"] and not found["problem"]:
        _part(console, "may", Text("nothing: no intent names it", style="yellow"))
    for number, grant in enumerate(found["grants"]):
        last = f"  {_count(grant['tasks'], 'task')}, the last one started {_date(grant['lastStarted'])}"
        run = (last, "dim") if grant["tasks"] else ("  never started", "yellow")
        _part(console, "" if number else "may", Text.assemble((printable(grant["intent"]), "bold"), run))
        _part(console, "", Text(_names(grant["actions"]) or "no action of the catalogue"))
        if grant["unreviewed"]:
            refused = "refused until somebody reviews them: "
            _part(console, "", Text.assemble((refused, "dim"), (_names(grant["unreviewed"]), "dim")))


def _show_deeds(console: Console, deeds: Mapping[str, Any], new_from: int) -> None:
    console.print()
    some = "" if deeds["isWhole"] else f" (of more: the latest {deeds['tasks']})"
    said = f"{_count(deeds['tasks'], 'task')}{some} in the last {deeds['days']} days, since {_date(deeds['since'])}"
    _part(console, "did", Text(said))
    if deeds["unreadable"]:
        _part(console, "", Text(f"{deeds['unreadable']} records can't be read: see `remit verify`", style="yellow"))
    if deeds["actions"]:
        console.print(_table(deeds["actions"], new_from))


def _table(actions: Sequence[Mapping[str, Any]], new_from: int) -> Table:
    table = plain_table("", "action", "completed", "refused", "first", "last", "new to it", wrap=("action",))
    for name in ("completed", "refused", "new to it"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for each in actions:
        times = (_date(each["first"]), _date(each["last"])) if each["completed"] else ("never", "")
        refused = Text(str(each["refused"] or ""), style="yellow")
        table.add_row(
            " " * (_COLUMN - 2), Text(printable(each["action"]), style="bold"), str(each["completed"]), refused, *times,
            _novelty(each["novelty"], new_from),
        )  # fmt: skip
        for host in each["destinations"][:_SHOWN]:
            table.add_row(
                "", Text(f"→ {printable(host['host'])}", style="dim"), Text(str(host["completed"]), style="dim"), "",
                Text(_date(host["first"]), style="dim"), Text(_date(host["last"]), style="dim"),
                _novelty(host["novelty"], new_from),
            )  # fmt: skip
        if len(each["destinations"]) > _SHOWN:
            more = f"→ and {len(each['destinations']) - _SHOWN} more"
            table.add_row("", Text(more, style="dim"), "", "", "", "", "")
    return table


def _novelty(value: int, new_from: int) -> Text:
    return Text(str(value), style="bold yellow" if value >= new_from else "dim")


def _show_habits(console: Console, habits: Mapping[str, Any]) -> None:
    console.print()
    known = ", ".join(_count(len(habits[name]), name[:-1]) for name in ("tools", "steps", "destinations"))
    _part(console, "used to", Text(f"learned on {_count(habits['days'], 'day')}: {known}"))
    if habits["isLearning"]:
        left = f"it is learning, until it has learned on {_count(habits['learningDays'], 'day')}"
        _part(console, "", Text(left, style="yellow"))
    if habits["stoppedSince"]:
        _part(
            console, "", Text(f"nothing is learned or forgotten since {_date(habits['stoppedSince'])}", style="yellow")
        )
    for each in habits["new"]:
        ago = "today" if each["daysAgo"] == 0 else f"{_count(each['daysAgo'], 'day')} ago"
        _part(console, "", Text(printable(f"new: {each['what']} {each['name']}, first {ago}"), style="yellow"))


def _show_unused(console: Console, found: Mapping[str, Any]) -> None:
    rows: list[tuple[str, str]] = []
    if found["unusedServers"]:
        rows.append(("servers", _names(found["unusedServers"])))
    for grant in found["grants"]:
        if not grant["tasks"]:
            rows.append((grant["intent"], "never started"))
            continue
        if grant["unusedActions"]:
            rows.append((grant["intent"], _names(grant["unusedActions"])))
        if grant["unusedCaseTypes"]:
            rows.append((grant["intent"], f"case types {_names(grant['unusedCaseTypes'])}"))
    if not rows:
        return
    console.print()
    for number, (name, said) in enumerate(rows):
        _part(console, "" if number else "unused", Text.assemble((printable(name), "bold"), f"  {said}"))


def _part(console: Console, label: str, text: Text) -> None:
    labelled(console, Text(label, style="dim"), [text], column=_COLUMN, indent=2)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _names(names: Sequence[str]) -> str:
    shown = printable(", ".join(names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _date(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
