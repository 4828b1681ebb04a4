"""A story as one self-contained page: a picture, and a table for those who read.

Personal values are left out unless they are asked for: the file is a copy that erasing does not reach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from remit.console.html import Html, element, joined
from remit.console.page import counts, document, facts
from remit.console.rows import name_of, short
from remit.console.screen import moment
from remit.console.spans import clock, day, span
from remit.console.story import Event, Life, Told, arguments_of
from remit.console.story_picture import key, picture
from remit.console.story_rows import Row, rows_of
from remit.console.story_text import came_as, given, headline, said, summary, who
from remit.storage.reader import Reader

ROWS: Final = 1_500
NOTABLE: Final = 12
ARGUMENTS: Final = 600  # rows for which arguments are looked up


def story_page(reader: Reader, told: Told, *, personal: bool = False) -> str:
    """The page."""
    rows = rows_of(told.events, 0 if len(told.events) <= ROWS else ROWS)
    places = {row.number + index: row.number for row in rows for index in range(len(row.events))}
    life = told.lives[0]
    badges = [element("span", life.standing, class_=f"badge {life.standing}")]
    badges += [element("span", "emergency", class_="badge emergency")] if life.emergency else []
    body = [
        element("h1", life.intent, *badges),
        element("p", element("code", life.id), class_="soft"),
        facts([*who(life), *given(life, personal=personal)]),
        counts(_figures(told)),
        *_notable(told, places),
        element("h2", "What happened"),
        key(),
        element(
            "figure",
            picture(told, places),
            element(
                "figcaption",
                "Time runs from left to right; where nothing happened it is drawn short, with how long that was. Each "
                "mark leads to its row in the table, and says more when it is pointed at.",
            ),
            tabindex="0",
        ),
        *_bounds(told),
        element("h2", "Everything in order"),
        _table(reader, told, rows, personal=personal),
        element("footer", *(element("div", f"{name}: {value}" if name else value) for name, value in summary(told)),
                element("div", f"written {moment(told.now)} from the records; times are local. "
                               "Nothing here is evidence by itself: `remit verify` is.")),
    ]  # fmt: skip
    return document(f"{life.intent} {short(life.id)}: what happened", *body)


# --- at a glance ----------------------------------------------------------------------------------------------


def _figures(told: Told) -> list[tuple[str, str, str]]:
    permits, denials = sum(life.permits for life in told.lives), sum(life.denials for life in told.lives)
    decided = [event for event in told.events if event.is_decision and event.result != "deny"]
    unknown = sum(event.outcome is None or event.outcome.result == "unknown" for event in decided)
    found = [
        (f"{permits:,}", "permitted", "permit" if permits else ""),
        (f"{denials:,}", "denied", "deny" if denials else ""),
    ]
    found.append((f"{unknown:,}", "without a known outcome", "warn" if unknown else ""))
    if len(told.lives) > 1:
        found.append((f"{len(told.lives) - 1:,}", "children", ""))
    hosts = sum(grown.kind == "destination" for grown in told.grown)
    found.append((f"{hosts:,}", "destinations", ""))
    found.append((span(told.end - told.begin), "from first to last", ""))
    if told.pending is not None:
        found.append((f"{told.pending:,}", "records pending", "warn" if told.pending else ""))
    return found


def _notable(told: Told, places: dict[int, int]) -> Iterator[Html]:
    """What stands out, each sort once, with a link to the first of it."""
    seen: Counter[str] = Counter()
    first: dict[str, int] = {}
    for number, event in enumerate(told.events, 1):
        text = _outstanding(event)
        if text:
            seen[text] += 1 + event.again
            first.setdefault(text, places.get(number, number))
    if not seen:
        return
    items = [
        element("li", element("a", f"{text}{f', {times} times' if times > 1 else ''}", href=f"#e{first[text]}"))
        for text, times in list(seen.items())[:NOTABLE]
    ]
    if len(seen) > NOTABLE:
        items.append(element("li", f"and {len(seen) - NOTABLE} more sorts of what stands out", class_="soft"))
    yield element("h2", "What stands out")
    yield element("ul", *items, class_="plain")


def _outstanding(event: Event) -> str:
    if event.is_decision and event.result == "deny":
        by = f", by {event.policies[0].id}" if event.policies else ""
        return f"denied: {event.action} ({event.code}{by})"
    outcome = event.outcome
    if event.is_decision and outcome is not None and (outcome.result in ("error", "unknown") or outcome.late):
        return f"{'begun after its permit had run out' if outcome.late else outcome.result}: {event.action}"
    if event.is_decision and event.result == "observed":
        return f"permitted in observe mode only: {event.action} ({', '.join(policy.id for policy in event.policies)})"
    if event.kind == "task" and event.result in ("suspended", "cancelled", "expired"):
        return f"task {event.result}{f': {event.note}' if event.note else ''}"
    if event.kind not in ("task", "decision", "outcome", "resolution", "denials"):
        return headline(Row(0, (event,)))
    return ""


def _bounds(told: Told) -> Iterator[Html]:
    if not told.limits:
        return
    yield element("h2", "Limits")
    rows = [
        element("tr", element("td", limit.name), element("td", limit.spent),
                element("td", (limit.most or "erased") + (" calls" if limit.counts else "")))
        for limit in told.limits
    ]  # fmt: skip
    head = element("tr", *(element("th", name, scope="col") for name in ("limit", "spent", "of")))
    yield element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


# --- the table ------------------------------------------------------------------------------------------------


def _table(reader: Reader, told: Told, rows: list[Row], *, personal: bool) -> Html:
    lives = {life.id: life for life in told.lives}
    several = len(lives) > 1
    names = ["", "time", *(["task"] if several else []), "what", "why, and what came of it"]
    head = element("tr", *(element("th", name, scope="col", class_=name if name == "what" else None) for name in names))
    looked = 0
    made, shown_day = [], ""
    for row in rows:
        with_arguments = not row.is_folded and looked < ARGUMENTS
        looked += with_arguments
        date, shown_day = (day(row.first.at), day(row.first.at)) if day(row.first.at) != shown_day else ("", shown_day)
        made.append(_row(reader, row, lives, date, several=several, personal=personal, with_arguments=with_arguments))
    return element("div", element("table", element("thead", head), element("tbody", *made)), class_="scroll")


def _row(
    reader: Reader, row: Row, lives: dict[str, Life], date: str, *, several: bool, personal: bool, with_arguments: bool
) -> Html:
    event = row.first
    last = row.number + len(row.events) - 1
    number = f"{row.number}–{last}" if row.is_folded else str(row.number)
    when = joined(element("span", date), element("br")) if date else None
    time = element("td", when, clock(event.at), class_="t")
    task = [element("td", _task_name(lives.get(event.task)), class_="task")] if several else []
    if row.is_gap:
        text = ", ".join(f"{count} {name}" for name, count in row.results())
        cells = [element("td", f"{len(row.events)} events are left out here", class_="what"), element("td", text)]
        return element("tr", element("td", number, class_="n"), time, *task, *cells, id=f"e{row.number}", class_="gap")
    look = event.result if event.is_decision else ""
    what = element("b", headline(row), class_=look) if event.is_decision else element("span", headline(row))
    shown = list(_details(reader, row, personal=personal, with_arguments=with_arguments))
    opened = element("details", element("summary", what), facts(shown)) if shown else what
    why = joined(*_why(row))
    return element(
        "tr", element("td", number, class_="n"), time, *task, element("td", opened, class_="what"), element("td", why),
        id=f"e{row.number}", class_=look or None,
    )  # fmt: skip


def _task_name(life: Life | None) -> Html:
    return joined(f"{life.intent} ", element("span", short(life.id), class_="mono")) if life else joined("")


def _why(row: Row) -> Iterator[Html]:
    event = row.first
    if row.is_folded:
        listed = row.actions()
        more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
        yield element("span", ", ".join(f"{name} {count}" for name, count in listed[:8]) + more, class_="why")
        yield element("span", f"until {clock(row.events[-1].at)}", class_="why")
        return
    if not event.is_decision:
        if event.note and event.kind not in ("denials", "risk") and event.result != "open":
            yield element("span", event.note, class_="why")
        return
    for came in event.came:
        yield element("div", f"→ {came_as(event, came)}")
    if event.result in ("permit", "observed") and not event.came:
        yield element("div", "→ no outcome", class_="observed")
    if event.result != "permit":
        yield element("span", event.note or event.code, class_="why")
    for policy in event.policies if event.result != "permit" else ():
        yield element("div", "by ", element("code", policy.where))
    if event.again:
        yield element("div", f"asked and refused {event.again} more times, until {clock(event.again_until)}")
    grown = [*event.labels, *([f"destination {event.destination}"] if event.destination else [])]
    if grown:
        yield element("div", f"the session now has {', '.join(grown)}", class_="grew")
    if event.is_pending:
        yield element("div", "pending: not in the published log yet", class_="observed")


def _details(reader: Reader, row: Row, *, personal: bool, with_arguments: bool) -> Iterator[tuple[str, str]]:
    event = row.first
    if row.is_folded:
        return
    arguments = arguments_of(reader, event) if with_arguments and event.is_decision else None
    if isinstance(arguments, dict):
        for name, value in sorted(arguments.items()):
            yield name, said(value, personal=personal)
    elif event.is_decision and event.effect and not with_arguments:
        yield "arguments", f"`remit log show {short(event.id)}` shows them"
    if event.obligations:
        yield "must", "; ".join(event.obligations)
    if event.to:
        yield "to", event.to
    if event.requestable:
        yield "could be approved by", ", ".join(event.requestable)
    if event.next_step:
        yield "next step", event.next_step
    if event.is_decision:
        yield "asked by", name_of(event.by)
        yield "decision", event.id
    yield "record", f"{event.stream} {event.n}"
