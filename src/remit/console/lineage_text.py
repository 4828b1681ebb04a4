"""A value's lineage in the terminal: a small graph, and below it its places in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from remit.console.layout import labelled
from remit.console.lineage import Edge, Flow, Lines, Use, flows, node, said_results, who_of
from remit.console.rows import STYLES, name_of, short
from remit.console.screen import moment, printable
from remit.console.spans import clock, day

NODES: Final = 12
HOSTS: Final = 4
PLACES: Final = 60
FOLDED: Final = 2  # more of one sort in a row are one line
_STYLES: Final = {**STYLES, "response": "cyan", "error": "magenta", "unknown": "bold yellow"}


def show_lineage(console: Console, lines: Lines, *, everything: bool = False) -> None:
    """Prints it; `everything`: each place, however many there are."""
    if not lines.uses:
        console.print("no record that is kept holds this value")
        _not_seen(console, lines)
        return
    tasks = {use.task for use in lines.uses if use.task}
    first, last = lines.uses[0], lines.uses[-1]
    times = "once" if len(lines.uses) == 1 else f"{len(lines.uses)} times"
    console.print(Text.assemble((f"seen {times}", "bold"), f" in {len(tasks)} task{'' if len(tasks) == 1 else 's'}"))
    console.print(Text(f"first {moment(first.at)}, last {moment(last.at)}", style="dim"))
    if lines.total > len(lines.uses):
        console.print(Text(f"of {lines.total} places in all; these are the latest that fit", style="dim"))
    console.print()
    _graph(console, lines)
    _places(console, lines, everything=everything)
    _not_seen(console, lines)


def _graph(console: Console, lines: Lines) -> None:
    sources, calls, edges = flows(lines)
    for index, source in enumerate(sources[:NODES]):
        console.print(Text.assemble(("● ", "cyan"), (printable(source.text), "bold"), _times(source, lines)))
        _calls(console, [(calls[to], edge) for (of, to), edge in edges.items() if of == index])
    if len(sources) > NODES:
        console.print(Text(f"and {len(sources) - NODES} more sources", style="dim"))
    unknown = [(calls[to], edge) for (of, to), edge in edges.items() if of == -1]
    if unknown:
        console.print(Text("○ nothing that is recorded held it before", style="bold yellow"))
        _calls(console, unknown)
    console.print()


def _calls(console: Console, calls: Sequence[tuple[Flow, Edge]]) -> None:
    shown = calls[:NODES]
    if not shown:
        console.print(Text("   carried to no call", style="dim"))
    for number, (call, edge) in enumerate(shown):
        is_last = number == len(calls) - 1
        results = Text()
        for result, many in call.results.items():
            word = {"permit": "permitted", "deny": "denied"}.get(result, result)
            results.append(f"{', ' if results.plain else ''}{many} {word}", style=_STYLES.get(result, ""))
        named = [f"{host} (denied)" if call.is_refused(host) else host for host in call.hosts]
        more = f" and {len(named) - HOSTS} more" if len(named) > HOSTS else ""
        hosts = f" to {', '.join(named[:HOSTS])}{more}" if named and call.role != "destination" else ""
        part = f" ({edge.times} of them)" if edge.times != len(call.uses) else ""
        if edge.across:
            part += f"  {edge.across} in another session"
        label = Text(f"{'└' if is_last else '├'}─▶", style="dim")
        text = Text.assemble(printable(call.text), printable(hosts), "  ", results, (part, "dim"))
        labelled(console, label, [text], column=4)
    if len(calls) > NODES:
        console.print(Text(f"└─▶ and {len(calls) - NODES} more calls", style="dim"))


def _times(flow: Flow, lines: Lines) -> tuple[str, str]:
    first = lines.uses[flow.uses[0]]
    many = f", {len(flow.uses)} times" if len(flow.uses) > 1 else ""
    by = f", by {name_of(first.by)}" if first.role in ("parameter", "prompt") else ""
    return (printable(f"  {clock(first.at, fine=False)}{many}{by}"), "dim")


def _places(console: Console, lines: Lines, *, everything: bool) -> None:
    shown = lines.uses if everything or len(lines.uses) <= PLACES else lines.uses[-PLACES:]
    if len(shown) < len(lines.uses):
        left_out = len(lines.uses) - len(shown)
        console.print(Text(f"  {left_out} earlier places are left out; --all shows each", style="dim"))
    task, date = "", ""
    for (_, of), same in groupby(shown, key=lambda use: ((*use.key, use.result, use.code, use.to), use.task)):
        uses = list(same)
        if (of, day(uses[0].at)) != (task, date):
            use, task, date = uses[0], of, day(uses[0].at)
            head = f"{date}  {use.intent} · {short(task)} · {who_of(use)}" if task else f"{date}  outside a task"
            console.print(Text(printable(head), style="dim"))
        if len(uses) > FOLDED and not everything:
            _place(console, uses[0], len(uses), uses[-1].at)
        else:
            for use in uses:
                _place(console, use)
    console.print()


def _place(console: Console, use: Use, times: int = 1, until: int = 0) -> None:
    label = Text.assemble((f"  {clock(use.at)} ", "dim"), ("←" if use.is_source else "→", ""))
    text = Text(printable(f"{times} × {node(use)}" if times > 1 else node(use)))
    if use.result and not use.is_source:
        text.append(f"  {use.result}", style=_STYLES.get(use.result, ""))
        text.append(printable(f" {use.code}" if use.result != "permit" else ""), style="yellow")
    if use.to and use.role == "argument":
        text.append(printable(f"  to {use.to}"), style="magenta")
    if times > 1:
        text.append(f"  until {clock(until)}", style="dim")
    elif use.decision:
        text.append(f"  {short(use.decision)}", style="dim")
    if use.is_personal:
        text.append("  personal", style="dim")
    labelled(console, label, [text], column=17)


def _not_seen(console: Console, lines: Lines) -> None:
    if lines.unreadable:
        console.print(
            Text(f"{lines.unreadable} places can't be read: `remit verify` says what is wrong", style="yellow")
        )
    labelled(console, Text("not seen:", style="dim"), [Text("; ".join(lines.not_seen), style="dim")], column=10)


def summary(lines: Lines) -> str:
    """The lineage in one sentence."""
    sources, calls, _ = flows(lines)
    results = "; ".join(f"{call.text}: {said_results(call)}" for call in calls[:3])
    return f"{len(sources)} sources, {len(calls)} sorts of calls{f': {results}' if results else ''}"
