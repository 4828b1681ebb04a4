"""A story in the terminal: a timeline with children indented under the task that started them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from remit.console.layout import labelled
from remit.console.rows import name_of, short
from remit.console.screen import moment, printable, readable
from remit.console.spans import clock, day, span
from remit.console.story import Came, Event, Life, Told, arguments_of
from remit.console.story_rows import Row, rows_of
from remit.storage.reader import Reader

MOST: Final = 160  # rows
VALUE: Final = 300  # characters of one value
_TIME: Final = 13
_LABEL: Final = 12
_GLYPHS: Final[Mapping[str, tuple[str, str]]] = {
    "permit": ("●", "green"),
    "deny": ("✗", "bold red"),
    "observed": ("◐", "yellow"),
    "open": ("▶", "blue"),
    "resumed": ("▶", "blue"),
    "suspended": ("‖", "bold yellow"),
    "completed": ("■", "blue"),
    "cancelled": ("■", "yellow"),
    "expired": ("■", "yellow"),
    "unknown": ("?", "bold yellow"),
    "quarantined": ("!", "bold red"),
    "retired": ("!", "bold red"),
    "risk": ("!", "yellow"),
}
_OUTCOMES: Final = {"response": "cyan", "error": "magenta", "not_executed": "dim", "unknown": "bold yellow"}


def show_story(console: Console, reader: Reader, told: Told, *, everything: bool = False) -> None:
    """Prints the story; `everything`: each event in a row of its own, however many there are."""
    _head(console, told)
    _timeline(console, reader, told, 0 if everything else MOST)
    _end(console, told)


# --- who and what for -----------------------------------------------------------------------------------------


def _head(console: Console, told: Told) -> None:
    life = told.lives[0]
    style = {"open": "green", "suspended": "bold yellow", "completed": "blue"}.get(life.standing, "yellow")
    emergency = ("  EMERGENCY", "bold red") if life.emergency else ""
    console.print(Text.assemble((printable(life.intent), "bold"), "  ", (printable(life.standing), style), emergency))
    console.print(Text(printable(f"  {life.id}"), style="dim"), soft_wrap=True)
    if told.root != told.task:
        _part(console, "part of", f"`remit task story {short(told.root)}` tells the whole session")
    for name, value in who(life):
        _part(console, name, value)
    for name, value in given(life):
        _part(console, name, value)
    console.print()


def who(life: Life) -> Iterator[tuple[str, str]]:
    """Who acts, for whom, and since when."""
    yield "workload", life.workload
    yield "started by", life.starter
    if life.on_behalf_of:
        yield "on behalf of", life.on_behalf_of
    if life.case_type:
        yield "case", life.case_type
    ended = f"{life.state} {moment(life.ended)}, after {span(life.ended - life.opened)}" if life.ended else ""
    yield "opened", moment(life.opened)
    yield "ended" if ended else "expired" if life.is_over else "expires", ended or moment(life.expires)


def given(life: Life, *, personal: bool = True) -> Iterator[tuple[str, str]]:
    """The parameters and the user's own words, as far as they are kept."""
    for number, (name, value) in enumerate(sorted(life.params.items())):
        yield "" if number else "given", f"{name} = {said(value, personal=personal)}"
    if life.prompt:
        yield "prompt", said(life.prompt, personal=personal)


def said(value: Any, *, personal: bool = True) -> str:
    """A recorded value in words: a personal one is marked, and an erased one is said to be erased."""
    if isinstance(value, dict):
        if value.keys() == {"personal"}:
            return f"{said(value['personal'])} (personal)" if personal else "(personal, kept beside the record)"
        if value.keys() == {"erased"}:
            return "erased"
        if value.keys() == {"forged"}:
            return "FORGED: what is kept does not open what was recorded"
        if value.keys() == {"bytes", "sha256"}:
            return f"{value['bytes']} bytes, SHA-256 {str(value['sha256'])[:12]}…"
        plain = readable(value)
        if not isinstance(plain, dict):
            return said(plain)
        return "{" + ", ".join(f"{key}: {said(item, personal=personal)}" for key, item in plain.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(said(item, personal=personal) for item in value) + "]"
    text = value if isinstance(value, str) else "true" if value is True else "false" if value is False else str(value)
    return text if len(text) <= VALUE else f"{text[:VALUE]}… ({len(text)} characters)"


# --- what happened --------------------------------------------------------------------------------------------


def _timeline(console: Console, reader: Reader, told: Told, most: int) -> None:
    lives = {life.id: life for life in told.lives}
    shown_day, task = day(told.begin), told.task
    before = told.begin
    for row in rows_of(told.events, most):
        event = row.first
        if day(event.at) != shown_day:
            shown_day = day(event.at)
            console.print(Text(f"── {shown_day}", style="dim"))
        if event.at - before >= 60_000:
            console.print(Text(f"{'':{_TIME}}⋮ {span(event.at - before)}", style="dim"))
        before = max(event.at, row.events[-1].at, *(came.at for came in row.events[-1].came))
        depth = lives[event.task].depth if event.task in lives else 0
        is_one = len({each.task for each in row.events}) == 1
        if (
            event.task != task
            and is_one
            and event.task in lives
            and not (event.kind == "task" and event.result == "open")
        ):
            _switch(console, lives[event.task])
        task = event.task or task
        _row(console, reader, row, depth)
    console.print()


def _switch(console: Console, life: Life) -> None:
    text = f"{'':{_TIME}}{_gutter(life.depth)}{life.intent} · {short(life.id)} · {name_of(life.workload)}"
    console.print(Text(printable(text), style="dim"), soft_wrap=True)


def _gutter(depth: int) -> str:
    return "│ " * min(depth, 8)


def _row(console: Console, reader: Reader, row: Row, depth: int) -> None:
    event = row.first
    gutter = _gutter(depth)
    if row.is_gap:
        counts = ", ".join(f"{count} {name}" for name, count in row.results())
        label = Text(f"{'':{_TIME}}{gutter}⋯", style="dim")
        text = f"{len(row.events)} events are left out here: {counts}; --all shows each, --html and --json too"
        labelled(console, label, [Text(text, style="dim")], column=_TIME + len(gutter) + 2)
        return
    glyph, style = _GLYPHS.get(event.result, ("·", ""))
    if event.kind == "task" and event.result == "open" and depth:
        gutter = "│ " * (min(depth, 8) - 1) + "├─"
    label = Text.assemble((f"{clock(event.at):<{_TIME}}", "dim"), (gutter, "dim"), (glyph, style))
    bodies = [Text(printable(text), style=look) for text, look in _lines(reader, row)]
    bodies[0] = _headline(row, style)
    labelled(console, label, bodies, column=_TIME + len(gutter) + 2)


def _headline(row: Row, style: str) -> Text:
    event = row.first
    if not event.is_decision:
        return Text.assemble((printable(headline(row)), style or ""), _flag(event))
    times = f"{len(row.events)} × " if row.is_folded else ""
    text = Text.assemble(
        times, (event.result, style), " ", (printable(event.action if not _mixed(row) else ""), "bold")
    )
    if _mixed(row):
        text.append(f"{event.effect}s" if len({e.effect for e in row.events}) == 1 else "calls", style="bold")
    text.append(" ")
    outcome = event.outcome or (event.came[-1] if event.came else None)
    if row.is_folded:
        text.append(f" until {clock(row.events[-1].at)}", style="dim")
    elif outcome is not None:
        said_ = came_as(event, outcome)
        text.append(f"→ {printable(said_)}", style=_OUTCOMES.get(outcome.result, ""))
    elif event.result in ("permit", "observed"):
        text.append("→ no outcome yet", style="yellow")
    else:
        text.append(printable(event.code), style="yellow")
    return text.append_text(Text.assemble(_flag(event)))


def _mixed(row: Row) -> bool:
    return len({event.action for event in row.events}) > 1


def _flag(event: Event) -> tuple[str, str]:
    return (" · pending" if event.is_pending else "", "dim yellow")


def came_as(event: Event, came: Came) -> str:
    """An outcome in words, with the time that it took: `response after 85 ms`."""
    words = came.result.replace("_", " ")
    if came.kind == "resolution":
        return f"{words}, as {name_of(came.by)} resolved"
    took = f"{words} after {span(came.at - event.at)}"
    claimed = "" if came.believed else ", claimed by itself"
    return f"{took}{', LATE: begun after the permit had run out' if came.late else ''}{claimed}"


def headline(row: Row) -> str:
    """One row in words, without its time; for what is no decision, and for pages."""
    event = row.first
    if event.is_decision:
        what = event.action if not _mixed(row) else f"{event.effect}s"
        return f"{len(row.events)} × {event.result} {what}" if row.is_folded else f"{event.result} {what}"
    by = f" by {name_of(event.by)}" if event.by else ""
    if event.kind == "task" and event.result == "open":
        which = f"{len(row.events)} × {event.note}" if row.is_folded else f"{event.note} {short(event.task)}"
        return f"{which} opened{by}"
    if event.kind == "task":
        return f"{event.result}{by}"
    if event.kind in ("outcome", "resolution"):
        what = f" of {event.action}" if event.action else ""
        words = event.result.replace("_", " ")
        if event.kind == "resolution":
            return f"resolved as {words}{by}{what}"
        return f"outcome {words}{what}" + (", no report by the deadline" if event.result == "unknown" else by)
    if event.kind == "identity":
        return f"workload {event.action} is {event.result}{by}"
    if event.kind == "risk":
        return f"risk of {event.action}: {event.note}{by}"
    if event.kind == "mode":
        return f"mode {event.result}{by}"
    if event.kind == "configuration":
        return "policies, intents, catalogue or settings changed"
    if event.kind == "denials":
        return event.note
    return f"record of kind `{event.kind}`{by}"


def _lines(reader: Reader, row: Row) -> Iterator[tuple[str, str]]:
    """The row in lines; the first one is its headline."""
    event = row.first
    yield headline(row), ""
    if row.is_folded:
        if not event.is_decision:
            return
        if len(tasks := {each.task for each in row.events}) > 1:
            yield f"in {len(tasks)} tasks", "dim"
        if _mixed(row):
            shown = row.actions()
            more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
            yield ", ".join(f"{action} {count}" for action, count in shown[:6]) + more, "dim"
        elif event.result == "deny":
            yield from _why(event)
        return
    if event.is_decision:
        arguments = arguments_of(reader, event)
        if isinstance(arguments, dict) and arguments:
            yield "  ".join(f"{name}={said(value)}" for name, value in arguments.items()), "dim"
        yield from _why(event)
        yield from _what_more(event)
    elif event.note and event.kind not in ("denials", "risk") and not (event.kind == "task" and event.result == "open"):
        yield event.note, "dim"


def _why(event: Event) -> Iterator[tuple[str, str]]:
    if event.result == "permit":
        return
    yield event.note or event.code, "yellow"
    for policy in event.policies:
        yield f"by {policy.where}", "dim"
    if event.requestable:
        yield f"a person could approve this: {', '.join(event.requestable)}", "dim"
    if event.again:
        yield f"asked and refused {event.again} more times, until {clock(event.again_until)}", "yellow"


def _what_more(event: Event) -> Iterator[tuple[str, str]]:
    if event.obligations:
        yield f"must {'; '.join(event.obligations)}", "dim"
    for came in event.came:
        if came is not (event.outcome or event.came[-1]):
            yield f"{'first ' if came.believed else 'also '}{came_as(event, came)} ({name_of(came.by)})", "dim"
    if event.labels:
        yield f"the session now has {', '.join(event.labels)}", "magenta"
    if event.destination:
        yield f"new destination {event.destination}", "magenta"
    elif event.to:
        yield f"to {event.to}", "dim"


# --- what is left ---------------------------------------------------------------------------------------------


def _end(console: Console, told: Told) -> None:
    for number, limit in enumerate(told.limits):
        most = limit.most or "a bound that was erased"
        of = f"{limit.spent} of {most}{' calls' if limit.counts else ''}"
        _part(console, "" if number else "limits", f"{limit.name}: {of}")
    for kind in ("label", "destination"):
        names = [grown for grown in told.grown if grown.kind == kind]
        for number, grown in enumerate(names[:20]):
            _part(console, "" if number else f"{kind}s", f"{grown.name}, since {clock(grown.at)}")
        if len(names) > 20:
            _part(console, "", f"and {len(names) - 20} more")
    for name, value in summary(told):
        _part(console, name, value)


def summary(told: Told) -> Iterator[tuple[str, str]]:
    """What the story rests on: how much was decided, and how many records say so."""
    permits, denials = sum(life.permits for life in told.lives), sum(life.denials for life in told.lives)
    children = len(told.lives) - 1
    below = f", in {children + 1} tasks" if children else ""
    yield "decided", f"{permits} permitted, {denials} denied{below}"
    published = {None: "", 0: ", all published"}.get(told.pending, f", {told.pending} of these events pending")
    yield "records", f"{told.records} in session/{short(told.root)}{published}"
    if told.unreadable:
        yield "", f"{told.unreadable} of them can't be read: `remit verify` says what is wrong"
    if not told.is_whole:
        yield "", "more happened around this task than is told here: `remit log` shows it"


def _part(console: Console, name: str, value: str) -> None:
    labelled(console, Text(f"  {name}", style="dim"), [Text(printable(value))], column=_LABEL + 4)
