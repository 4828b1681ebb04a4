"""Temporal conditions in plain English: one sentence of what a clause says, and what it keeps to know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from remit.policy.dogwood.ast import (
    TIMEPOINT,
    And,
    Argument,
    ArrayTerm,
    Binder,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Count,
    DecimalTerm,
    EntityTerm,
    Exists,
    Formerly,
    Leaf,
    Not,
    Path,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Wildcard,
    Window,
)
from remit.policy.dogwood.extent import conditions
from remit.policy.dogwood.monitor import Bounds, Kept

History = Literal["task", "workload"]

_WHOSE: Final[Mapping[History, str]] = {"task": "in this task", "workload": "in all tasks of this workload"}
_HAPPENED: Final = {"request": "was requested", "permitted": "was permitted", "response": "answered", "error": "failed"}
_DID_NOT: Final = {
    "request": "was not requested", "permitted": "was not permitted",
    "response": "did not answer", "error": "did not fail",
}  # fmt: skip
_COMPARED: Final = {
    "<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "", "!=": "not",
}  # fmt: skip
_UNITS: Final = {"s": "s", "m": "min", "h": "h", "d": "d"}
_IN_MS: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))
# What a history is kept by is the same at every event of it.
_OF_HISTORY: Final[Mapping[History, tuple[Path, Term]]] = {
    "task": (("task", "root"), ContextTerm(("task", "root"))),
    "workload": (("callerPrincipal",), ScopeTerm("principal")),
}


@dataclass(frozen=True, slots=True)
class Told:
    """A clause in words. `sentence` is both, as `remit check` prints it."""

    says: str
    keeps: str

    @property
    def sentence(self) -> str:
        """One line, without a full stop."""
        return f"{self.says}; {self.keeps}"


def told(leaf: Leaf, bounds: Bounds, history: History = "task") -> Told:
    """What a leaf says of a history and what a monitor keeps for it. Never fails."""
    words = _Words(history)
    is_past = any(isinstance(each, Formerly | Previous | Since) for each in conditions(leaf.condition))
    where = f"{_WHOSE[history]}" if is_past else "at this event"
    first = words.condition(leaf.condition, is_now=True)
    joint = " and " if first.startswith("within ") else ", "
    return Told(f"holds when, {where}{joint}{first}", _keeps(bounds, _OF_HISTORY[history][1]))


class _Words:
    def __init__(self, history: History) -> None:
        self._same = _OF_HISTORY[history]

    # --- conditions -----------------------------------------------------------------------------------------

    def condition(self, condition: Condition, *, is_now: bool = False) -> str:
        """`is_now`: at the decision itself, and not at an event that an operator looks back at."""
        match condition:
            case Predicate():
                return f"this is the event that {self.event(condition)}" if is_now else self.event(condition)
            case Tp(name):
                return f"`{name}` is the number of the event"
            case Comparison(op, left, right):
                return f"{self.term(left, is_now)} is {_spaced(_COMPARED[op])}{self.term(right, is_now)}"
            case And():
                return self.chain(condition, is_now=is_now)
            case Not(body):
                return self.negation(body, is_now=is_now)
            case Formerly(window, body):
                return f"{_within(window, is_now)} {self.inner(body)}"
            case Previous(window, body):
                return f"the event before, at most {_length(window)} ago, was one at which {self.inner(body)}"
            case Since(left, window, right):
                return f"{_within(window, is_now)} {self.inner(right)}, and {self.lasting(left)}"
            case Exists():
                return self.exists(condition, is_now=is_now)

    def chain(self, condition: Condition, *, is_now: bool) -> str:
        members = _conjuncts(condition)
        # A condition of one event reads as one: what it compares stands after what happened.
        told = [self.condition(each, is_now=is_now) for each in members]
        told = [f"({text})" if isinstance(each, Since) else text for each, text in zip(members, told, strict=True)]
        return ", and ".join(told)

    def negation(self, body: Condition, *, is_now: bool) -> str:
        match body:
            case Predicate():
                if is_now:
                    return f"this is not the event that {self.event(body)}"
                return self.event(body, _DID_NOT, "was no event of kind")
            case Formerly(window, inner):
                return f"not once {_within(window, is_now)} {self.inner(inner)}"
            case Previous(window, inner):
                return f"the event before was not, at most {_length(window)} ago, one at which {self.inner(inner)}"
            case Comparison(op, left, right):
                return f"{self.term(left, is_now)} is not {_spaced(_COMPARED[op])}{self.term(right, is_now)}"
        return f"it is not so that {self.inner(body, is_now=is_now)}"

    def inner(self, body: Condition, *, is_now: bool = False) -> str:
        text = self.condition(body, is_now=is_now)
        return f"({text})" if isinstance(body, And | Since) else text

    def lasting(self, left: Condition) -> str:
        if isinstance(left, Not) and isinstance(left.body, Predicate):
            return f"since then never {self.event(left.body)}"
        if isinstance(left, Not):
            return f"since then at no event {self.inner(left.body)}"
        return f"at every event since then {self.inner(left)}"

    def exists(self, condition: Exists, *, is_now: bool) -> str:
        number = self.number(condition, is_now)
        if number is not None:
            return number
        binders: list[Binder] = []
        body: Condition = condition
        while isinstance(body, Exists) and self.number(body, is_now) is None:
            binders.append(body.binder)
            body = body.body
        return f"for some {_listed(map(_variable, binders))}, {self.inner(body, is_now=is_now)}"

    def number(self, condition: Exists, is_now: bool) -> str | None:
        """`exists n. (count … == n && n < 3)`: the count with what is asked of it."""
        name, first, rest = condition.binder.name, *_first(condition.body)
        if not isinstance(first, Comparison) or first.op != "==" or not rest:
            return None
        sides = (first.left, first.right)
        tally = next((side for side in sides if isinstance(side, Count | Sum)), None)
        if tally is None or Var(name) not in sides or name in {each.name for each in tally.binders}:
            return None
        asked = [_asked(each, name) for each in rest]
        if None in asked:
            return None
        claims = [f"{_spaced(_COMPARED[op])}{self.term(term, is_now)}" for op, term in filter(None, asked)]
        return f"{self.term(tally, is_now)} is {' and '.join(claims)}"

    # --- events ---------------------------------------------------------------------------------------------

    def event(self, event: Predicate, verbs: Mapping[str, str] = _HAPPENED, other: str = "had an event of kind") -> str:
        verb = verbs.get(event.kind) or f"{other} `{event.kind}`"
        named = [self.argument(each) for each in event.arguments if (each.path, each.value) != self._same]
        return " ".join((f'"{event.action}" {verb}', _listed(named))).rstrip()

    def argument(self, argument: Argument) -> str:
        name = _name(argument.path)
        match argument.value:
            case ContextTerm(path) if _name(path) == name:
                return f"for the same {name}"
            case ScopeTerm(root, ()) if name == f"caller{root.capitalize()}":
                return f"for the same {root}"
            case Wildcard():
                return f"with any {name}"
        return f"with {name} {self.term(argument.value)}"

    # --- terms ----------------------------------------------------------------------------------------------

    def term(self, term: Term, is_now: bool = False) -> str:
        match term:
            case Constant(value):
                return f'"{value}"' if isinstance(value, str) else str(value).lower()
            case DecimalTerm(text):
                return text
            case EntityTerm(of, name):
                return f'{of.rpartition("::")[2]} "{name}"'
            case ContextTerm(path):
                return f"the request's {_name(path)}"
            case ScopeTerm(root, path):
                return f"the {root}'s {'.'.join(path)}" if path else f"the {root}"
            case Var(name):
                return f"`{name}`"
            case Wildcard():
                return "anything"
            case ArrayTerm(items):
                return f"[{', '.join(map(self.term, items))}]"
            case Count(binders, body):
                return self.count(binders, body, is_now)
            case Sum(summed, binders, body):
                others = [each for each in binders if each.name != summed]
                if others and all(each.type == TIMEPOINT for each in others):
                    return f"the sum of `{summed}`, each time {self.times(body, others, is_now)}"
                over = _listed(map(_variable, binders))
                return f"the sum of `{summed}` over all different {over} so that {self.inner(body, is_now=is_now)}"

    def count(self, binders: Sequence[Binder], body: Condition, is_now: bool) -> str:
        if all(each.type == TIMEPOINT for each in binders):
            return f"the number of times {self.times(body, binders, is_now)}"
        return f"the number of different {_listed(map(_variable, binders))} so that {self.inner(body, is_now=is_now)}"

    def times(self, body: Condition, binders: Sequence[Binder], is_now: bool) -> str:
        """What happens at timepoints that are counted: that they are is not said again."""
        body = _without_timepoints(body, binders)
        if isinstance(body, Formerly):
            return f"{_within(body.window, is_now)} that {self.inner(body.body)}"
        return f"that {self.inner(body, is_now=is_now)}"


# --- what is kept ---------------------------------------------------------------------------------------------


def _keeps(bounds: Bounds, same: Term) -> str:
    reach = _time(bounds.reach)
    if bounds.replayed:
        return (
            f"keeps every event of the last {reach}, at most {bounds.most:,}, and looks through them: {bounds.replayed}"
        )
    if not bounds.kept:
        return "keeps nothing"
    windows: dict[tuple[str, str], list[int]] = {}
    for each in bounds.kept:
        windows.setdefault(_kept(each, same), []).append(each.window.ms)
    parts = [_counted(what, per, found) for (what, per), found in windows.items()]
    return f"keeps {_listed(parts)}"


def _counted(what: str, per: str, windows: Sequence[int]) -> str:
    times = "one time" if len(windows) == 1 else f"{len(windows)} times"
    return f"{what or times}{per}, at most {_time(max(windows))}"


def _kept(kept: Kept, same: Term) -> tuple[str, str]:
    """What a row is, if it is not the time alone, and by what there is one."""
    per = _listed(dict.fromkeys(_value(each) for each in kept.values if each != same))
    if kept.kind == "last":
        return "whether the event before was one", f", with its {per}" if per else ""
    if kept.kind == "runs":
        return "since when every event was one", f", with its {per}" if per else ""
    if kept.is_each:
        return "each of its times", f" with {per}" if per else ""
    return "", f" per {per}" if per else ""


def _value(term: Term) -> str:
    match term:
        case ContextTerm(path):
            return _name(path)
        case ScopeTerm(root, path):
            return ".".join((root, *path))
        case Var(name):
            return f"`{name}`"
    return "set of values"


# --- words ----------------------------------------------------------------------------------------------------


def _name(path: Path) -> str:
    """`input.customer` is the customer."""
    return ".".join(path[1:] if path[0] in ("input", "output") and len(path) > 1 else path)


def _variable(binder: Binder) -> str:
    return f"`{binder.name}`"


def _within(window: Window, is_now: bool) -> str:
    return f"within {_length(window)}" if is_now else f"within {_length(window)} before that"


def _length(window: Window) -> str:
    return f"{window.amount:,} {_UNITS[window.unit]}"


def _time(ms: int) -> str:
    for unit, size in _IN_MS:
        if ms >= size and ms % size == 0:
            return f"{ms // size:,} {unit}"
    return f"{ms:,} ms"


def _listed(parts: Iterable[str]) -> str:
    *most, last = list(parts) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _spaced(word: str) -> str:
    return f"{word} " if word else ""


def _conjuncts(condition: Condition) -> list[Condition]:
    if isinstance(condition, And):
        return _conjuncts(condition.left) + _conjuncts(condition.right)
    return [condition]


def _first(body: Condition) -> tuple[Condition, list[Condition]]:
    first, *rest = _conjuncts(body)
    return first, rest


def _asked(condition: Condition, name: str) -> tuple[str, Term] | None:
    """What a comparison asks of a number of this name, with the number on the left."""
    if not isinstance(condition, Comparison):
        return None
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
    for op, one, other in (
        (condition.op, condition.left, condition.right),
        (turned[condition.op], condition.right, condition.left),
    ):
        if one == Var(name) and other != Var(name) and not isinstance(other, Count | Sum):
            return op, other
    return None


def _without_timepoints(body: Condition, binders: Sequence[Binder]) -> Condition:
    """The body without `tp(t)` of these, which only says that each time counts."""
    names = {binder.name for binder in binders if binder.type == TIMEPOINT}
    match body:
        case Formerly(window, inner):
            return Formerly(window, _without_timepoints(inner, binders))
        case And():
            left = [each for each in _conjuncts(body) if not (isinstance(each, Tp) and each.name in names)]
            if left:
                made = left[0]
                for each in left[1:]:
                    made = And(made, each)
                return made
    return body
