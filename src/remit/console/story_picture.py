"""A story as a picture: a lane for each task over time, decisions as marks, children as branches, and below them the
labels and destinations from when the session had them.

Few events are marks with the numbers of the table; more are smaller marks; when even these would meet, they are columns
of how many there were. So nothing overlaps, however long the session is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Final, NamedTuple

from remit.console.html import Html, element, joined
from remit.console.rows import name_of, short
from remit.console.screen import printable
from remit.console.spans import clock, day, span
from remit.console.story import Event, Grown, Life, Told
from remit.console.story_text import came_as
from remit.console.time_scale import TimeScale

WIDTH: Final = 1120
LANES: Final = 20  # tasks that have a lane of their own
TRACKS: Final = 10  # labels, and destinations, that have a line
NUMBERED: Final = 19.0  # px between moments from which marks carry numbers
APART: Final = 9.0  # px between moments from which there are marks
COLUMN: Final = 7.0  # px of one column of counts
_LEFT: Final = 214.0
_RIGHT: Final = WIDTH - 22.0
_LANE: Final = 54.0
_BAR: Final = 22.0
_HIGH: Final = 36.0  # px of the highest column
_TRACK: Final = 21.0
_AXIS: Final = 42.0
_ORDER: Final = ("permit", "warn", "deny")  # from below


class Numbered(NamedTuple):
    """An event with its number, and the row of the table where it stands."""

    number: int
    row: int
    event: Event
    when: float  # ms; what happened in one millisecond, one after the other


class _Lane(NamedTuple):
    top: float
    life: Life | None  # None: all tasks that have no lane of their own
    name: str
    below: str


def picture(told: Told, rows: Mapping[int, int]) -> Html:
    """The picture; `rows` maps the number of an event to that of the table's row where it stands."""
    return _Picture(told, rows).drawn()


class _Picture:
    def __init__(self, told: Told, rows: Mapping[int, int]) -> None:
        self._told = told
        self._events = list(_numbered(told, rows))
        self._numbers = {each.event.id: each for each in self._events if each.event.is_decision}
        moments = [each.when for each in self._events]
        moments += [came.at for each in self._events for came in each.event.came if came.believed]
        moments += [life.opened for life in told.lives]
        alone = TimeScale([each.when for each in self._events], _LEFT, _RIGHT, 24)
        is_roomy = alone.room >= APART
        self._scale, self._style = alone, "columns"
        # Where there is room, the ends of calls have places of their own too; more of it where numbers need it.
        for room in (14, 22) if is_roomy else ():
            scale = TimeScale(moments, _LEFT + 12, _RIGHT - 12, room)
            style = self._style_of(scale)
            if self._style == "columns" or style == "numbers":
                self._scale, self._style = scale, style
            if style == "numbers":
                break
        self._lanes, self._of = self._lay_out()
        self._bottom = _AXIS + _LANE * len(self._lanes)

    def drawn(self) -> Html:
        tracks = list(self._tracks())
        height = self._bottom + (sum(_TRACK for _ in tracks) + 30 if tracks else 8)
        lines = [track for number, grown in enumerate(tracks) for track in self._track(number, grown)]
        head = element("text", "data and destinations of the session", x=14, y=self._bottom + 20, class_="small")
        return element(
            "svg",
            element("title", "What happened, over time"),
            *self._grid(height),
            *self._branches(),
            *(part for lane in self._lanes for part in self._lane(lane)),
            *self._marks(),
            head if tracks else None,
            *lines,
            viewBox=f"0 0 {WIDTH} {height:.0f}",
            role="group",
            aria_label="What happened, over time; the table below says the same in words",
        )

    def _style_of(self, scale: TimeScale) -> str:
        """`numbers` or `dots`, by the least distance of two marks in one lane."""
        last: dict[str, float] = {}
        least = NUMBERED
        for each in self._events:
            if each.event.kind in ("task", "denials"):
                continue
            x, lane = scale(each.when), each.event.task
            least = min(least, x - last.get(lane, -NUMBERED))
            last[lane] = x
        return "numbers" if least >= NUMBERED else "dots" if least >= APART else "columns"

    # --- lanes --------------------------------------------------------------------------------------------

    def _lay_out(self) -> tuple[list[_Lane], dict[str, _Lane]]:
        found: list[_Lane] = []
        of: dict[str, _Lane] = {}
        lives = sorted(
            self._told.lives, key=lambda life: [int(part) if part.isdigit() else 0 for part in life.id.split(".")[1:]]
        )
        around = [each for each in self._events if each.event.task not in {life.id for life in lives}]
        top = _AXIS
        if around:
            of[""] = _Lane(top, None, "around it", "workloads, policies, mode")
            found.append(of[""])
            top += _LANE
        room = LANES if len(lives) <= LANES else LANES - 1
        for life in lives[:room]:
            of[life.id] = _Lane(top, life, life.intent, f"{name_of(life.workload)} · {short(life.id)}")
            found.append(of[life.id])
            top += _LANE
        if len(lives) > room:
            rest = _Lane(top, None, f"{len(lives) - room} more tasks", "in the table below")
            found.append(rest)
            of |= {life.id: rest for life in lives[room:]}
        return found, of

    def _lane_of(self, task: str) -> _Lane | None:
        return self._of.get(task) or self._of.get("")

    def _lane(self, lane: _Lane) -> Iterator[Html]:
        depth = min(lane.life.depth, 5) if lane.life else 0
        left = 14 + 12 * depth
        whole = element("title", f"{lane.name}, {lane.below}")
        yield element("text", whole, _cut(lane.name, 26 - 2 * depth), x=left, y=lane.top + 24, class_="strong")
        yield element("text", _cut(lane.below, 30 - 2 * depth), x=left, y=lane.top + 39, class_="small")
        if lane.life is None:
            return
        life = lane.life
        middle = lane.top + _LANE / 2 + 2
        begin, end = self._x(life.opened) - 12, self._x(life.ended or self._told.end) + 12
        bar = element(
            "rect", x=begin, y=middle - _BAR / 2, width=max(8.0, end - begin), height=_BAR, rx=5,
            class_="bar" if life.ended else "bar open",
        )  # fmt: skip
        yield bar
        for begun, over in life.pauses:
            x = self._x(begun)
            width = max(3.0, self._x(over or self._told.end) - x)
            tip = element("title", f"suspended at {clock(begun)}{f', for {span(over - begun)}' if over else ''}")
            yield element("rect", tip, x=x, y=middle - _BAR / 2, width=width, height=_BAR, class_="pause")
        if life.ended:
            look = "cap" if life.state == "completed" else "cap warn"
            tip = element("title", f"{life.state} at {clock(life.ended)}")
            yield element("rect", tip, x=end - 3, y=middle - _BAR / 2 - 3, width=4, height=_BAR + 6, rx=1, class_=look)

    def _branches(self) -> Iterator[Html]:
        """A line from a task to each child at the moment when it was opened."""
        for lane in self._lanes:
            parent = self._of.get(lane.life.parent) if lane.life else None
            if lane.life is None or parent is None or parent.life is None:
                continue
            x, top = self._x(lane.life.opened) - 12, parent.top + _LANE / 2 + 2 + _BAR / 2
            down = lane.top + _LANE / 2 + 2
            yield element("path", d=f"M{x - 8:.1f} {top:.1f}V{down - 6:.1f}q0 6 6 6H{x:.1f}", class_="branch")

    def _x(self, ms: float) -> float:
        return self._scale(ms)

    # --- time ---------------------------------------------------------------------------------------------

    def _grid(self, height: float) -> Iterator[Html]:
        fine = self._told.end - self._told.begin < 10_000
        last = 0.0
        for pause in self._scale.pauses(34):
            left, width = pause.left + 10, pause.right - pause.left - 20
            yield element("rect", x=left, y=_AXIS - 8, width=width, height=self._bottom - _AXIS + 8, class_="rest")
            text = span(pause.ms)
            middle, half = left + width / 2, 3.2 * len(text)
            if middle - half > last:
                yield element("text", text, x=middle, y=_AXIS - 12, class_="tick mid")
                last = middle + half + 4
        before = ""
        days = self._told.end - self._told.begin > 20 * 3_600_000
        for x, at in self._scale.ticks(92 if fine or days else 78):
            text = f"{day(at)[5:]} {clock(at, fine=False)[:5]}" if days else clock(at, fine=fine)
            if text == before:
                continue
            before = text
            yield element("line", x1=x, x2=x, y1=_AXIS - 8, y2=height - 4, class_="grid")
            yield element("text", text, x=x, y=12, class_="tick mid")

    # --- marks --------------------------------------------------------------------------------------------

    def _marks(self) -> Iterator[Html]:
        by_lane: dict[float, list[Numbered]] = defaultdict(list)
        for each in self._events:
            lane = self._lane_of(each.event.task)
            if lane is not None and (lane.life is not None or each.event.is_decision or each.event.kind != "task"):
                by_lane[lane.top].append(each)
        for top, events in by_lane.items():
            middle = top + _LANE / 2 + 2
            if self._style == "columns" or any(
                lane.top == top and lane.name.endswith("more tasks") for lane in self._lanes
            ):
                yield from self._columns(middle, events)
            else:
                yield from (part for each in events for part in self._mark(middle, each))

    def _mark(self, y: float, each: Numbered) -> Iterator[Html]:
        event = each.event
        if event.kind in ("task", "denials"):
            return
        x, big = self._x(each.when), self._style == "numbers"
        size = 9.0 if big else 4.5
        outcome = event.outcome
        if event.is_decision and outcome is not None and (until := self._x(outcome.at)) - x > size + 3:
            look = {"error": "tail error", "unknown": "tail warn"}.get(outcome.result, "tail")
            yield element("path", d=f"M{x:.1f} {y:.1f}H{until:.1f}M{until:.1f} {y - 5:.1f}V{y + 5:.1f}", class_=look)
        look = look_of(event)
        parts: list[Html] = []
        if event.result == "deny" and event.is_decision:
            parts.append(
                element("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, rx=2, class_=f"mark {look}")
            )
        elif not event.is_decision:
            far = size + 3
            d = f"M{x:.1f} {y - far:.1f}L{x + far:.1f} {y:.1f}L{x:.1f} {y + far:.1f}L{x - far:.1f} {y:.1f}Z"
            parts.append(element("path", d=d, class_=f"mark {look}"))
        else:
            parts.append(element("circle", cx=x, cy=y, r=size, class_=f"mark {look}"))
        if big:
            parts.append(element("text", each.number, x=x, y=y + 3.5, class_="inmark"))
        badge = _badge(event)
        if badge and not big:
            parts.append(element("circle", cx=x, cy=y - 8.5, r=2.6, class_=badge[1]))
        elif badge:
            parts.append(element("circle", cx=x + 8, cy=y - 9, r=6, class_=badge[1]))
            parts.append(element("text", badge[0], x=x + 8, y=y - 6, class_="badge-in"))
        yield element("a", element("title", tip(each)), *parts, href=f"#e{each.row}", aria_label=tip(each))

    def _columns(self, y: float, events: Sequence[Numbered]) -> Iterator[Html]:
        """How much was permitted, refused and left unknown, in columns of a few pixels."""
        found: dict[int, Counter[str]] = defaultdict(Counter)
        first: dict[int, Numbered] = {}
        last: dict[int, int] = {}
        for each in events:
            if not each.event.is_decision:
                continue
            place = int((self._x(each.when) - _LEFT) // COLUMN)
            look = look_of(each.event)
            found[place]["permit" if look == "hollow" else "warn" if look == "observed" else look] += 1
            found[place]["deny"] += each.event.again
            outcome = each.event.outcome
            if outcome is not None and outcome.result == "unknown":
                found[place]["warn"] += 1
                found[place]["permit"] -= 1
            first.setdefault(place, each)
            last[place] = each.event.at
        most = max((sum(column.values()) for column in found.values()), default=1)
        for place, column in found.items():
            x, bottom = _LEFT + place * COLUMN, y + _BAR / 2 + 3
            parts = []
            for look, high in _heights(column, most):
                bottom -= high
                parts.append(element("rect", x=x, y=bottom, width=COLUMN - 1, height=high, class_=f"mark {look}"))
            names = {"permit": "permitted", "warn": "unknown or observed", "deny": "denied"}
            said = ", ".join(f"{column[look]} {names[look]}" for look in _ORDER if column[look] > 0)
            at = first[place]
            text = f"{clock(at.event.at)} to {clock(last[place])}: {said}"
            yield element("a", element("title", text), *parts, href=f"#e{at.row}", aria_label=text)

    # --- labels and destinations --------------------------------------------------------------------------

    def _tracks(self) -> Iterator[Grown]:
        for kind in ("label", "destination"):
            yield from [grown for grown in self._told.grown if grown.kind == kind][:TRACKS]
            if (more := sum(grown.kind == kind for grown in self._told.grown) - TRACKS) > 0:
                yield Grown(kind="", name=f"{more} more {kind}s", at=0, decision="", task="")

    def _track(self, number: int, grown: Grown) -> Iterator[Html]:
        y = self._bottom + 40 + number * _TRACK
        yield element("text", _cut(grown.name, 28), x=14, y=y + 4, class_="small" if not grown.kind else None)
        if not grown.kind:
            return
        look = "label" if grown.kind == "label" else "host"
        brought = self._numbers.get(grown.decision)
        x, right = self._x(brought.when if brought else grown.at), self._x(self._told.end) + 12
        said = f"{grown.name}, since {clock(grown.at)}"
        parts = joined(
            element("title", said + (f", by {brought.event.action} ({brought.number})" if brought else "")),
            element("line", x1=x, x2=max(x + 6, right), y1=y, y2=y, class_=f"{look}line"),
            element("circle", cx=x, cy=y, r=5, class_=f"mark {look}"),
        )
        yield element("a", parts, href=f"#e{brought.row}", aria_label=said) if brought else parts


def _heights(column: Mapping[str, int], most: int) -> list[tuple[str, float]]:
    """The parts of a column from below; what is rare is still seen, and the whole is never higher than a lane."""
    total = sum(count for count in column.values() if count > 0)
    whole = max(4.0, _HIGH * sqrt(total / most))
    found = {look: max(3.0, whole * column[look] / total) for look in _ORDER if column[look] > 0}
    over = sum(found.values()) - max(whole, 3.0 * len(found))
    if over > 0:
        largest = max(found, key=lambda look: found[look])
        found[largest] = max(3.0, found[largest] - over)
    return list(found.items())


def _numbered(told: Told, rows: Mapping[int, int]) -> Iterator[Numbered]:
    when = 0.0
    for number, event in enumerate(told.events, 1):
        when = max(float(event.at), when + 0.001)
        yield Numbered(number, rows.get(number, number), event, when)


def look_of(event: Event) -> str:
    """How a mark looks."""
    if not event.is_decision:
        urgent = (
            event.result in ("unknown", "quarantined", "retired", "risk", "suspended") or event.kind == "unreadable"
        )
        return "warn" if urgent else "event"
    if event.result != "permit":
        return event.result
    outcome = event.outcome
    return "hollow" if outcome is not None and outcome.result == "not_executed" else "permit"


def _badge(event: Event) -> tuple[str, str] | None:
    outcome = event.outcome
    if event.again:
        return "+", "deny"
    if not event.is_decision or event.result == "deny":
        return None
    if outcome is None or outcome.result == "unknown":
        return "?", "warn"
    return ("!", "error") if outcome.result == "error" or outcome.late else None


def tip(each: Numbered) -> str:
    """What a mark says when it is pointed at, or read aloud."""
    event = each.event
    if not event.is_decision:
        return f"{each.number}: {clock(event.at)} {event.kind} {event.result} {event.action} {event.note}".strip()
    said = f"{each.number}: {clock(event.at)} {event.result} {event.action}"
    if event.result == "deny":
        said += f", {event.code}"
    if event.again:
        said += f", and {event.again} more times"
    outcome = event.outcome
    return said + (f", {came_as(event, outcome)}" if outcome else ", no outcome" if event.result != "deny" else "")


def key() -> Html:
    """What the marks mean."""
    circle = element("circle", cx=8, cy=8, r=6, class_="permit")
    square = element("rect", x=2, y=2, width=12, height=12, rx=2, class_="deny")
    items = [
        (circle, "permitted"),
        (square, "denied"),
        (element("circle", cx=8, cy=8, r=6, class_="observed"), "observed: enforcing would have denied it"),
        (element("circle", cx=8, cy=8, r=5, class_="hollow"), "not executed"),
        (joined(element("circle", cx=8, cy=8, r=7, class_="warn"), element("text", "?", x=8, y=11, class_="badge-in")),
         "no outcome, or unknown"),
        (element("path", d="M8 0L16 8L8 16L0 8Z", class_="event"), "something else"),
        (element("path", d="M1 8H13M13 3V13", class_="tail"), "until its outcome"),
        (element("rect", x=0, y=2, width=16, height=12, class_="pause"), "suspended"),
    ]  # fmt: skip
    made = (element("li", element("svg", mark, viewBox="0 0 16 16", aria_hidden="true"), name) for mark, name in items)
    return element("ul", *made, class_="key")


def _cut(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
