"""Identities as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit.console.layout import pairs
from remit.console.rows import name_of
from remit.console.screen import moment, plain_table, printable
from remit.core.identities import Registration

_STATES: Final = {"active": "green", "quarantined": "bold red", "retired": "dim"}


def identity_table(found: Sequence[Registration], *, with_servers: bool) -> Table:
    """Identities for people; `with_servers` shows the servers in place of the groups."""
    last = "servers" if with_servers else "groups"
    table = plain_table("name", "state", "kind", "owner", "environment", last, wrap=(last,))
    for each in found:
        table.add_row(
            Text(printable(name_of(each.id)), style="bold"),
            Text(each.state, style=_STATES[each.state]),
            each.kind,
            Text(printable(each.owner)),
            Text(printable(each.environment)),
            Text(", ".join(each.servers if with_servers else each.groups)),
        )
    return table


def show_identity(console: Console, found: dict[str, Any]) -> None:
    """Prints a registration with its life: keys, risks (but of a workload, whose account tells them), changes."""
    is_workload = "grants" in found
    console.print(Text.assemble((found["id"], "bold"), "  ", (found["state"], _STATES[found["state"]])))
    said = {
        "kind": found["kind"],
        "roles": ", ".join(found["roles"]),
        "owner": found["owner"],
        "groups": ", ".join(found["groups"]),
        "environment": found["environment"],
        "servers": ", ".join(found["servers"]),
        "mode": found["mode"] or "",
        "description": found["description"],
        "key": found["key"] or "none: tokens from elsewhere speak for it",
        "key file": found["keyFile"] or "not in this folder",
        "declared": "in remit.toml" if found["declared"] else "by a command",
        "risk": "" if is_workload else str(found["risk"]),
        "refused": f"{found['refused']} times outside of tasks" if found["refused"] else "",
    }
    rows = [(Text(name, style="dim"), Text(printable(value))) for name, value in said.items() if value]
    for signal in () if is_workload else found["risks"]:
        until = f"{signal['value']} until {moment(signal['expires'])} ({signal['source']})"
        rows.append((Text(printable(signal["signal"]), style="yellow"), Text(printable(until))))
    for came in found["arrivals"][-3:]:
        whom = came["subject"] if isinstance(came["subject"], str) else "a person"
        rows.append(
            (
                Text(moment(came["at"]), style="dim"),
                Text(printable(f"came by {came['source']} rule {came['rule']}: {whom}")),
            )
        )
    for change in found["changes"][-10:]:
        why = f": {change['reason']}" if change["reason"] else ""
        text = f"{change['state']} by {change['by']}{why}"
        rows.append((Text(moment(change["at"]), style="dim"), Text(printable(text))))
    pairs(console, rows, indent=2)
