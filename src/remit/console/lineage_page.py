"""A value's lineage as one self-contained page: where it came from, what carried it, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from remit.console.html import Html, element, joined
from remit.console.lineage import Flow, Lines, Use, flows, node, said_results, who_of
from remit.console.page import counts, document
from remit.console.rows import name_of, short
from remit.console.screen import moment, printable
from remit.console.spans import clock, day

WIDTH: Final = 1120
NODES: Final = 14  # of each column
ROWS: Final = 1_500
_BOX: Final = 44.0
_STEP: Final = 56.0
_TOP: Final = 34.0
_WIDE: Final = 330.0
_LEFT: Final = (8.0, 405.0, 802.0)
_TO: Final = 310.0  # width of a destination


class _Node(NamedTuple):
    text: str
    below: str
    row: int  # of the table, 0 for none
    look: str = ""


def lineage_page(lines: Lines, now: int, *, name: str = "") -> str:
    """The page; `name` is what the value is called in it: it is not written there otherwise."""
    title = f"Where {name} came from and went to" if name else "Where a value came from and went to"
    denied = sum(use.result == "deny" for use in lines.uses if not use.is_source)
    permitted = sum(use.result in ("permit", "observed") for use in lines.uses if not use.is_source)
    figures = [
        (f"{len(lines.uses):,}", "places", ""),
        (f"{len({use.task for use in lines.uses if use.task}):,}", "tasks", ""),
        (f"{permitted:,}", "calls permitted", "permit" if permitted else ""),
        (f"{denied:,}", "calls denied", "deny" if denied else ""),
        (f"{len({use.to for use in lines.uses if use.to}):,}", "destinations", ""),
    ]
    span = (
        f"{moment(lines.uses[0].at)} to {moment(lines.uses[-1].at)}"
        if lines.uses
        else "no record that is kept holds it"
    )
    more = f"; {lines.total:,} places in all, of which these are the latest" if lines.total > len(lines.uses) else ""
    caption = (
        "From left to right: what held the value, the calls that carried it, and where they went. A line says that the "
        "value was there before (dashed: in another session only), not that it was taken from there."
    )
    way = (
        counts(figures),
        element("h2", "Its way"),
        element("figure", _picture(lines), element("figcaption", caption), tabindex="0"),
        element("h2", "Every place, in order"),
        _table(lines.uses[-ROWS:], len(lines.uses)),
    )
    return document(
        title,
        element("h1", title),
        element("p", f"{span}{more}", class_="soft"),
        *(way if lines.uses else ()),
        element("h2", "What can not be seen"),
        element("ul", *(element("li", each) for each in lines.not_seen), class_="plain"),
        element("footer", f"written {moment(now)} from the records; times are local."),
    )


def _picture(lines: Lines) -> Html:
    sources, calls, edges = flows(lines)
    first = max(1, len(lines.uses) - ROWS + 1)
    left = [_source(source, lines, first) for source in sources[:NODES]]
    if any(of == -1 for of, _ in edges):
        left.append(_Node("nothing that is recorded", "held it before these calls", 0, "warn"))
    middle = [_call(call, first) for call in calls[:NODES]]
    hosts = _hosts(calls)
    right = [_host(host, times, calls) for host, times in list(hosts.items())[:NODES]]
    for column, of in ((left, len(sources)), (middle, len(calls)), (right, len(hosts))):
        if of > NODES:
            column.append(_Node(f"and {of - NODES} more", "in the table below", 0))
    height = _TOP + _STEP * max(1, len(left), len(middle), len(right)) + 6
    ys = [_places(column, height) for column in (left, middle, right)]
    unknown = len(left) - 1 - (len(sources) > NODES)
    parts = []
    for (of, to), edge in edges.items():
        index = unknown if of == -1 else of
        if (of >= NODES) or to >= NODES:
            continue
        look = "flow deny" if set(calls[to].results) == {"deny"} else "flow"
        look += " across" if edge.across == edge.times else ""
        parts.append(_flow(_LEFT[0] + _WIDE, ys[0][index], _LEFT[1], ys[1][to], edge.times, look))
    names = list(hosts)[:NODES]
    for index, call in enumerate(calls[:NODES]):
        for host, count in call.hosts.items():
            if host in names:
                look = "flow deny" if call.is_refused(host) else "flow"
                parts.append(_flow(_LEFT[1] + _WIDE, ys[1][index], _LEFT[2], ys[2][names.index(host)], count, look))
    heads = [
        element("text", text, x=x, y=16, class_="small")
        for x, text in zip(_LEFT, ("came from", "was carried by", "to" if hosts else "to no known host"), strict=True)
    ]
    boxes = [
        _box(each, _LEFT[column], y, _WIDE if column < 2 else _TO)
        for column, of_column in enumerate((left, middle, right))
        for each, y in zip(of_column, ys[column], strict=True)
    ]
    return element(
        "svg", element("title", "Where the value came from and went to"), *heads, *parts, *boxes,
        viewBox=f"0 0 {WIDTH} {height:.0f}", role="group",
        aria_label="Where the value came from and went to; the table below says the same in words",
    )  # fmt: skip


def _source(flow: Flow, lines: Lines, first: int) -> _Node:
    use = lines.uses[flow.uses[0]]
    times = f", {len(flow.uses)} times" if len(flow.uses) > 1 else ""
    by = f", by {name_of(use.by)}" if use.role in ("parameter", "prompt") else ""
    return _Node(flow.text, f"{clock(use.at, fine=False)}{by}{times}", _row(flow, first))


def _call(flow: Flow, first: int) -> _Node:
    look = "deny" if set(flow.results) == {"deny"} else "permit" if "deny" not in flow.results else "warn"
    return _Node(flow.text, said_results(flow), _row(flow, first), look)


def _host(host: str, times: int, calls: Sequence[Flow]) -> _Node:
    refused = sum(call.refused.get(host, 0) for call in calls)
    said = f"{times} call{'' if times == 1 else 's'}"
    if refused:
        said += ", denied" if refused == times == 1 else ", all denied" if refused == times else f", {refused} denied"
    return _Node(host, said, 0, "deny" if refused == times else "warn" if refused else "")


def _row(flow: Flow, first: int) -> int:
    return next((number + 1 for number in flow.uses if number + 1 >= first), 0)


def _hosts(calls: Sequence[Flow]) -> dict[str, int]:
    found: dict[str, int] = {}
    for call in calls:
        for host, count in call.hosts.items():
            found[host] = found.get(host, 0) + count
    return found


def _places(column: Sequence[_Node], height: float) -> list[float]:
    """The middles of a column's boxes, as a whole in the middle of the picture."""
    begin = _TOP + (height - 6 - _TOP - _STEP * len(column)) / 2
    return [begin + _STEP * index + _BOX / 2 for index in range(len(column))]


def _flow(x1: float, y1: float, x2: float, y2: float, count: int, look: str) -> Html:
    bend = (x2 - x1) / 2
    d = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    tip = element("title", "once" if count == 1 else f"{count} times")
    return element("path", tip, d=d, stroke_width=min(7.0, 1.5 + count**0.5), class_=look)


def _box(each: _Node, x: float, y: float, width: float) -> Html:
    stripe = element("rect", x=x, y=y - _BOX / 2, width=4, height=_BOX, rx=1, class_=each.look) if each.look else None
    most = int(width / 6.9)
    made = joined(
        element("title", f"{each.text}: {each.below}"),
        element("rect", x=x, y=y - _BOX / 2, width=width, height=_BOX, rx=5, class_="box mark"),
        stripe,
        element("text", _cut(each.text, most), x=x + 12, y=y - 3, class_="strong"),
        element("text", _cut(each.below, most), x=x + 12, y=y + 13, class_="small"),
    )
    return element("a", made, href=f"#e{each.row}") if each.row else element("g", made)


def _table(uses: Sequence[Use], total: int) -> Html:
    names = ("", "time", "task", "where", "decided", "to")
    head = element("tr", *(element("th", name, scope="col") for name in names))
    rows, date = [], ""
    begin = total - len(uses)
    for number, use in enumerate(uses, begin + 1):
        new = day(use.at) != date
        date = day(use.at)
        when = joined(element("span", date), element("br")) if new else None
        task = joined(f"{use.intent} ", element("span", short(use.task), class_="mono"), f" {who_of(use)}")
        where = joined("from " if use.is_source else "in ", element("b", node(use)),
                       element("span", " personal", class_="soft") if use.is_personal else None)  # fmt: skip
        decided = "" if use.is_source else f"{use.result}{f' ({use.code})' if use.result != 'permit' else ''}"
        rows.append(
            element(
                "tr", element("td", number, class_="n"), element("td", when, clock(use.at), class_="t"),
                element("td", task, class_="task"), element("td", where),
                element("td", element("b", decided, class_=use.result) if decided else None),
                element("td", use.to, class_="to"), id=f"e{number}",
            )
        )  # fmt: skip
    left_out = [element("p", f"{begin} earlier places are left out.", class_="soft")] if begin else []
    table = element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")
    return joined(*left_out, table)


def _cut(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
