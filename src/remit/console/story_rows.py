"""A story's events as rows that a person can read: repetition folded, and never more rows than are asked for.

Nothing that stands out is folded into something else: a denial only with the same denial, an error with the same error,
and what brings a new label or destination stands alone. Only where that still is too much are different permits put
together, and then the middle is left out; a row says what it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

from remit.console.story import Event

LEAST: Final = 3  # events in a row that are folded


class Row(NamedTuple):
    """One event, several of one sort, or (`is_gap`) what is left out between two rows."""

    number: int  # of its first event, from 1
    events: Sequence[Event]
    is_gap: bool = False

    @property
    def first(self) -> Event:
        """The event that stands for all."""
        return self.events[0]

    @property
    def is_folded(self) -> bool:
        """Whether it stands for several."""
        return len(self.events) > 1

    def actions(self) -> list[tuple[str, int]]:
        """The actions with how often each, most frequent first."""
        return Counter(event.action for event in self.events if event.action).most_common()

    def results(self) -> list[tuple[str, int]]:
        """The results of its decisions with how often each."""
        found: Counter[str] = Counter()
        for event in self.events:
            if event.is_decision:
                found[event.result] += 1
                if event.again:
                    found[event.result] += event.again
        return found.most_common()


def rows_of(events: Sequence[Event], most: int) -> list[Row]:
    """At most `most` rows (and at least 3) for these events; 0: one for each event."""
    single = [Row(number, (event,)) for number, event in enumerate(events, 1)]
    if not most:
        return single
    rows = single
    for key in (_alike, _permitted, _anywhere):
        rows = _fold(rows, key)
        if len(rows) <= most:
            return rows
    half = max(1, (most - 1) // 2)
    left_out = rows[half:-half]
    gap = Row(left_out[0].number, [event for row in left_out for event in row.events], is_gap=True)
    return [*rows[:half], gap, *rows[-half:]]


def _fold(rows: Sequence[Row], key: Callable[[Event], Hashable | None]) -> list[Row]:
    found: list[Row] = []
    run: list[Row] = []
    of: Hashable | None = None

    def close() -> None:
        if sum(len(row.events) for row in run) >= LEAST:
            found.append(Row(run[0].number, [event for row in run for event in row.events]))
        else:
            found.extend(run)
        run.clear()

    for row in rows:
        now = key(row.first)
        if run and (now is None or now != of):
            close()
        of = now
        if now is None:
            found.append(row)
        else:
            run.append(row)
    if run:
        close()
    return found


def _alike(event: Event) -> Hashable | None:
    """What two events have in common that may be one row; reads that were answered are all alike."""
    if event.kind == "task" and event.result == "open":
        return (event.task.rpartition(".")[0], event.note, event.by)
    if not event.is_decision or event.labels or event.destination or event.again:
        return None
    outcome = event.outcome
    if outcome is not None and (outcome.late or outcome.kind == "resolution"):
        return None
    came = outcome.result if outcome else "claimed" if event.came else ""
    if event.result == "permit" and event.effect == "read" and came == "response":
        return (event.task, event.result, came)
    policies = tuple(policy.id for policy in event.policies)
    return (event.task, event.result, event.action, event.code, event.to, policies, came)


def _permitted(event: Event) -> Hashable | None:
    """Denials as before; permits whose end is nothing to look at, whatever they were for."""
    alike = _alike(event)
    if not event.is_decision:
        return alike
    outcome = event.outcome
    if alike is None or event.result != "permit" or outcome is None or outcome.result != "response":
        return alike
    return (event.task, event.result)


def _anywhere(event: Event) -> Hashable | None:
    """The same, in whatever task of the tree."""
    key = _permitted(event)
    return key[1:] if isinstance(key, tuple) and len(key) == 2 else key
