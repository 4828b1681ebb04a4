"""What permits spend of the limits of their tasks, in exact scaled units (`bodies.scaled`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from remit.ledger import bodies
from remit.ledger.findings import Report

Find = Callable[[str, str], None]  # check, message


@dataclass(slots=True, frozen=True)
class Bound:
    """One limit of one task; `at_most` is None where the record only commits to it."""

    name: str
    task: str
    at_most: int | None
    counts: bool
    actions: frozenset[str]
    effects: frozenset[str]
    sum: str


def read_bounds(body: bodies.Task, find: Find) -> tuple[Bound, ...]:
    """The limits of a task that opens; what is wrong with them goes to `find`."""
    found: list[Bound] = []
    for limit in body.limits:
        if (limit.calls is None) == (limit.at_most is None):
            find("limits", f"the limit `{limit.name}` bounds neither calls nor a sum, or both")
            continue
        said: object = limit.calls if limit.at_most is None else limit.at_most
        if isinstance(said, str) and said.startswith("params."):
            said = body.params.get(said.removeprefix("params."))
        at_most = bodies.scaled(said)
        if at_most is None and not isinstance(said, dict):
            find("limits", f"the bound of the limit `{limit.name}` is not a decimal number")
            continue
        bound = Bound(
            name=limit.name,
            task=body.task,
            at_most=at_most,
            counts=limit.calls is not None,
            actions=frozenset(limit.actions),
            effects=frozenset(limit.effects),
            sum=limit.sum if limit.calls is None else "",
        )
        found.append(bound)
    return tuple(found)


@dataclass(slots=True)
class Spending:
    """What a session has spent, by the limit's name."""

    report: Report
    find: Find
    spent: dict[str, int] = field(default_factory=dict)

    def take(self, body: bodies.Decision, bounds: tuple[Bound, ...]) -> dict[str, int]:
        """Counts a permit against `bounds`, those of its task and of the tasks above it; returns what it spends."""
        usage: dict[str, int] = {}
        for name, amount in body.usage.items():
            value = bodies.scaled(amount)
            if value is None or value < 0:
                # SECURITY: a negative amount would make room under the limit.
                self.find("limits", f"the amount `{amount[:40]}` for `{name}` is not a decimal number of 0 or more")
                continue
            usage[name] = value
            self.spent[name] = self.spent.get(name, 0) + value
        for bound in bounds:
            self._check(body, bound, usage.get(bound.name))
        for name in sorted(usage.keys() - {bound.name for bound in bounds}):
            self.find("limits", f"the permit counts against `{name}`, which is no limit of its task or those above")
        return usage

    def move(self, usage: dict[str, int], back: bool) -> None:
        """Gives back what a permit spent, or spends it again."""
        for name, amount in usage.items():
            self.spent[name] += -amount if back else amount

    def _check(self, body: bodies.Decision, bound: Bound, amount: int | None) -> None:
        observed = body.would == "deny"
        if amount is None:
            if (body.action in bound.actions or body.server_effect in bound.effects) and not observed:
                self.find("limits", f"the permit does not count against the limit `{bound.name}`")
            return
        self.report.made("limits")
        if bound.counts and amount != bodies.UNIT:
            self.find("limits", f"the permit counts {bodies.shown(amount)} calls against the limit `{bound.name}`")
        if bound.sum:
            self._amount(body, bound, amount)
        if bound.at_most is None:
            self.report.skipped("limits whose bound is a concealed parameter")
        elif self.spent[bound.name] > bound.at_most and not observed:
            spent, most = bodies.shown(self.spent[bound.name]), bodies.shown(bound.at_most)
            self.find("limits", f"the limit `{bound.name}` of `{bound.task}` is {most}, and {spent} is spent with this")

    def _amount(self, body: bodies.Decision, bound: Bound, amount: int) -> None:
        """Compares what is counted with the recorded argument."""
        value: object = body.context
        for step in bound.sum.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, dict) and isinstance(value.get("__extn"), dict):
            value = value["__extn"].get("arg")
        if isinstance(value, dict) and value.keys() == {"commitment"}:
            self.report.skipped("amounts that are concealed arguments")
        elif bodies.scaled(value) != amount:
            counted = bodies.shown(amount)
            self.find("limits", f"the permit counts {counted} against `{bound.name}`, which is not `{bound.sum}`")
