"""Generated cases: schemas, event schemas with and without pins, temporal conditions, traces; and that monitors agree.

A case comes from a seed, so a failing one is named by its number. What to use, in a test of another kind of monitor:

    with Reference() as reference:
        for seed in seeds(200):                        # 200 times `REMIT_FUZZ`
            case = generated(seed)
            agreement = assert_agrees(make_plan, case, reference)

- `make_plan(leaves) -> Plan` (`remit.policy.dogwood.temporal.Plan`) may raise `Mistake` for leaves that it refuses.
- `assert_agrees` puts each condition of the case that the reference accepts through four monitors for each key: one
  that runs through, one that is dumped and restored before every event, one that is rebuilt from the events in the
  middle of the trace, with other leaves before, and one that is only given what `Scope` says that it watches. All
  verdicts must be those of the reference, the dumps equal.
- The `Agreement` says how many conditions were compared, refused by the reference, by the plan, or lost by the
  reference. A plan that refuses everything compares nothing: assert on it.
- `case.text()` prints a case as the reference reads it. `smaller(make_plan, case, reference)` shortens a failing one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from remit.policy.compiled.values import Entity, Set, call
from remit.policy.dogwood.ast import (
    And,
    Argument,
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
from remit.policy.dogwood.history import Event, Monitor
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.temporal import Plan, Scope
from remit.policy.dogwood.terms import free
from remit.policy.dogwood.timepoints import field_of
from remit.policy.dogwood.traces import Known, Point, write
from tests.policy.dogwood.printed import printed
from tests.policy.dogwood.reference import Answer, Reference

MakePlan = Callable[[Sequence[Leaf]], Plan]
Types = Mapping[Path, str]

LONGS = (0, 1, 2, 3, -1, 5)
HUGE = (2**63 - 1, -(2**63), 2**62)
STRINGS = ("a", "b", "1", "true", "", "w", 'q"\\')
DECIMALS = ("1.0", "1.00", "0.5", "-0.5", "2.25")
IDS = ("w", "v")
WINDOWS = ((1, "s"), (2, "s"), (5, "s"), (1, "m"), (90, "s"), (1, "h"), (1, "d"))
STEPS = (0, 0, 1, 1, 2, 3, 5, 30, 60, 61, 3600)
WORKLOAD = "R::Workload"
BINDER_TYPES = ("Long", "Long", "String", "String", "Bool", "decimal", WORKLOAD, "Timepoint")

INPUTS: Types = {
    ("s",): "String",
    ("n",): "Long",
    ("o",): "Long",
    ("b",): "Bool",
    ("d",): "decimal",
    ("e",): WORKLOAD,
    ("tags",): "Set<String>",
    ("r", "x"): "Long",
    ("r", "y"): "String",
}
OUTPUTS: Types = {("ok",): "Bool", ("m",): "Long"}
OPTIONAL = (("o",), ("tags",))
SCOPE_TYPES: Types = {
    ("principal",): WORKLOAD,
    ("principal", "dept"): "String",
    ("principal", "rank"): "Long",
    ("principal", "id"): "String",
    ("resource", "owner"): WORKLOAD,
}


# --- event schemas --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kinds:
    """An event schema: its kinds, those that decide, those with outputs, and the pins of each kind."""

    decisions: tuple[str, ...]
    kinds: tuple[str, ...]
    with_outputs: frozenset[str]
    pins: Mapping[str, tuple[Argument, ...]]

    @property
    def key(self) -> tuple[Path, ...]:
        """The fields that every kind pins."""
        first = self.pins.get(self.kinds[0], ())
        return tuple(pin.path for pin in first if all(pin in self.pins.get(kind, ()) for kind in self.kinds))

    def text(self) -> str:
        return "max_window = 30d\n" + "".join(map(self._declaration, self.kinds))

    def _declaration(self, kind: str) -> str:
        pinned = {pin.path for pin in self.pins.get(kind, ())}

        def field(path: Path, of: str, to: str) -> str:
            return f"pin {path[-1]}: {of} = {to}" if path in pinned else f"{path[-1]}: {of}"

        lines = [
            "...inputs(A)",
            *(["...outputs(A)"] if kind in self.with_outputs else []),
            field(("callerPrincipal",), "principalType(A)", "principal"),
            "callerResource: resourceType(A)",
            "requestId: String",
            f"task: {{ {field(('task', 'root'), 'String', 'context.task.root')}, id: String }}",
            f"meta: {{ session: {{ {field(('meta', 'session', 'no'), 'Long', 'context.meta.session.no')} }} }}",
        ]
        decision = "decision " if kind in self.decisions else ""
        return f"{decision}event <A>::{kind} {{ {', '.join(lines)} }}\n"


_ROOT = Argument(("task", "root"), ContextTerm(("task", "root")))
_SESSION = Argument(("meta", "session", "no"), ContextTerm(("meta", "session", "no")))
_CALLER = Argument(("callerPrincipal",), ScopeTerm("principal"))
_REFERENCE_KINDS = ("request", "response")
_REMIT_KINDS = ("request", "permitted", "response", "error")
_CUSTOM_KINDS = ("attempt", "retry", "outcome", "audit")


def _kinds(rng: random.Random) -> Kinds:
    kinds = rng.choice((_REFERENCE_KINDS, _REMIT_KINDS, _REMIT_KINDS, _CUSTOM_KINDS))
    decisions = {_REFERENCE_KINDS: ("request",), _REMIT_KINDS: ("request",), _CUSTOM_KINDS: ("attempt", "retry")}[kinds]
    outputs = frozenset({"response", "outcome"})
    everywhere = rng.choice(((), (_ROOT,), (_ROOT,), (_SESSION,), (_CALLER,), (_CALLER, _ROOT)))
    pins = dict.fromkeys(kinds, everywhere)
    if rng.random() < 0.2:
        # A pin of one kind alone filters, and divides nothing.
        kind = rng.choice(kinds)
        pins[kind] = (*pins[kind], *[pin for pin in (_ROOT, _SESSION) if pin not in pins[kind]][:1])
    return Kinds(decisions, kinds, outputs, pins)


# --- cases ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A trace, and conditions to be asked at each decision on the action `A`."""

    seed: int
    kinds: Kinds
    actions: Mapping[str, Types]  # the inputs of each
    points: tuple[Point, ...]
    conditions: tuple[Condition, ...]

    def schema(self) -> str:
        return _schema(self.actions)

    def trace(self) -> str:
        return write(self.points)

    def policy(self, condition: Condition) -> str:
        return f'permit(principal, action == R::Action::"A", resource) when temporal {{ {printed(condition)} }};'

    def text(self) -> str:
        conditions = "\n".join(map(self.policy, self.conditions))
        return f"# seed {self.seed}\n{conditions}\n\n{self.kinds.text()}\n{self.schema()}\n{self.trace()}"

    def decides(self, point: Point) -> bool:
        """Whether the policies are asked at this point."""
        return point.event.action == "A" and point.event.kind in self.kinds.decisions

    def pinned(self, condition: Condition) -> Condition:
        """The condition with the pins of the event schema."""
        return _with_pins(condition, self.kinds.pins)

    def key_of(self, event: Event) -> Any:
        """What events of one history share; None if the event is in no history."""
        values = [field_of(event.fields, path) for path in self.kinds.key]
        return None if any(value is None for value in values) else tuple(map(repr, values))


def generated(seed: int, conditions: int = 6) -> Case:
    """The case of a seed."""
    rng = random.Random(seed)
    kinds = _kinds(rng)
    actions = {name: _inputs(rng) for name in ("A", "B")}
    values = _Values(rng)
    # What policies are about happens often, or hardly a condition would hold.
    usual = [(name, kind) for name in actions for kind in kinds.kinds]
    usual = rng.sample(usual, rng.choice((1, 2, 2, 3)))
    maker = _Maker(rng, kinds, actions, values, usual)
    points = tuple(_points(rng, kinds, actions, values, usual, rng.choice((3, 8, 14, 24))))
    return Case(seed, kinds, actions, points, tuple(maker.leaf() for _ in range(conditions)))


def fuzz() -> int:
    """How many times as many cases as usual (`REMIT_FUZZ`)."""
    return int(os.environ.get("REMIT_FUZZ", "1"))


def seeds(count: int, first: int = 0) -> range:
    """So many seeds, times `fuzz()`."""
    return range(first, first + count * fuzz())


def _inputs(rng: random.Random) -> Types:
    left_out = {path for path in INPUTS if path[0] not in ("s", "n") and rng.random() < 0.3}
    return {path: of for path, of in INPUTS.items() if path not in left_out}


def _schema(actions: Mapping[str, Types]) -> str:
    declared = "".join(
        f'  action "{name}" appliesTo {{ principal: [Workload], resource: [Server], context: {{ '
        f"input: {{ {_declared(inputs)} }}, output?: {{ ok?: Bool, m?: Long }}, task: {{ root: String, id: String }}, "
        f"meta: {{ session: {{ no: Long }} }} }} }};\n"
        for name, inputs in actions.items()
    )
    entities = "  entity Workload { dept: String, rank: Long };\n  entity Server { owner: Workload };\n"
    return f"namespace R {{\n{entities}{declared}}}\n"


def _declared(inputs: Types) -> str:
    plain = [f"{path[0]}{'?' if path in OPTIONAL else ''}: {of}" for path, of in inputs.items() if len(path) == 1]
    nested = [f"{path[1]}: {of}" for path, of in inputs.items() if len(path) == 2]
    return ", ".join([*plain, *([f"r: {{ {', '.join(nested)} }}"] if nested else [])])


def _with_pins(condition: Condition, pins: Mapping[str, tuple[Argument, ...]]) -> Condition:
    def term(of: Term) -> Term:
        return replace(of, body=_with_pins(of.body, pins)) if isinstance(of, Count | Sum) else of

    match condition:
        case Predicate():
            return replace(condition, arguments=(*condition.arguments, *pins.get(condition.kind, ())))
        case And(left, right) | Since(left, _, right):
            return replace(condition, left=_with_pins(left, pins), right=_with_pins(right, pins))
        case Not(body) | Formerly(_, body) | Previous(_, body) | Exists(_, body):
            return replace(condition, body=_with_pins(body, pins))
        case Comparison(_, first, second):
            return replace(condition, left=term(first), right=term(second))
    return condition


# --- traces ---------------------------------------------------------------------------------------------------


class _Values:
    """Few values of each type, so that they meet."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        size = rng.choice((2, 3, 3, 9))
        # Sums of some go beyond a Long.
        self._longs = [*HUGE, 1, -1] if rng.random() < 0.12 else rng.sample(LONGS, min(size, len(LONGS)))
        self._strings = rng.sample(STRINGS, min(size, len(STRINGS)))
        self._decimals = rng.sample(DECIMALS, min(size, len(DECIMALS)))

    def one(self, of: str) -> Any:
        rng = self._rng
        if of == "Long":
            return rng.choice(HUGE) if rng.random() < 0.03 else rng.choice(self._longs)
        if of == "String":
            return rng.choice(self._strings)
        if of == "Bool":
            return rng.random() < 0.5
        if of == "decimal":
            return call("decimal", rng.choice(self._decimals))
        if of == WORKLOAD:
            return Entity((WORKLOAD, rng.choice(IDS)))
        return Set(sorted(rng.sample(self._strings, rng.randrange(3))))

    def literal(self, of: str) -> Term:
        rng = self._rng
        if of == "decimal":
            return DecimalTerm(rng.choice(self._decimals))
        if of == WORKLOAD:
            return EntityTerm(WORKLOAD, rng.choice(IDS))
        value = self.one(of)
        # The reference does not read escapes in literals (test_interpreter_differences.py).
        return Constant("a" if isinstance(value, str) and "\\" in value else value)


def _points(
    rng: random.Random,
    kinds: Kinds,
    actions: Mapping[str, Types],
    values: _Values,
    usual: Sequence[tuple[str, str]],
    count: int,
) -> Iterator[Point]:
    at = rng.choice((0, 0, 1_700_000_000))
    for number in range(count):
        at += rng.choice(STEPS)
        # Decisions are what is compared.
        name, kind = "A", rng.choice(kinds.decisions)
        chance = rng.random()
        if chance < 0.55:
            name, kind = rng.choice(usual)
        elif chance < 0.65:
            name, kind = rng.choice(sorted(actions)), rng.choice(kinds.kinds)
        yield _point(rng, kinds, actions[name], values, Event("R::Action", name, kind, at * 1000, {}), number)


def _point(rng: random.Random, kinds: Kinds, inputs: Types, values: _Values, event: Event, number: int) -> Point:
    principal = Entity((WORKLOAD, rng.choice(IDS)))
    resource = Entity(("R::Server", "s"))
    root, session = rng.choice(("r1", "r2")), rng.choice((1, 2))
    given = {path: values.one(of) for path, of in inputs.items() if path not in OPTIONAL or rng.random() < 0.6}
    context = {
        "input": _record(given),
        "task": {"root": root, "id": root + ".1"},
        "meta": {"session": {"no": session}},
    }
    fields: dict[Path, Any] = {("input", *path): value for path, value in given.items()}
    if event.kind in kinds.with_outputs:
        fields |= {("output", *path): values.one(of) for path, of in OUTPUTS.items() if rng.random() < 0.8}
    fields |= {("callerPrincipal",): principal, ("callerResource",): resource, ("requestId",): str(number // 2)}
    fields |= {("task", "root"): root, ("task", "id"): root + ".1", ("meta", "session", "no"): session}
    for path in [*fields]:
        if path in kinds.key and event.kind in kinds.decisions:
            continue  # it is what the request says, or key-local semantics mean nothing
        if rng.random() < 0.04:
            del fields[path]
        elif rng.random() < 0.04:
            fields[path] = values.one(rng.choice(("Long", "String", "Bool", "decimal", WORKLOAD)))
    known = {
        principal: Known({"dept": rng.choice(STRINGS), "rank": rng.choice(LONGS)}),
        resource: Known({"owner": Entity((WORKLOAD, rng.choice(IDS)))}),
    }
    return Point(replace(event, fields=fields), principal, resource, context, known)


def _record(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, value in leaves.items():
        if len(path) == 1:
            made[path[0]] = value
        else:
            made.setdefault(path[0], {})[path[1]] = value
    return made


# --- conditions -----------------------------------------------------------------------------------------------

Bound = Mapping[str, str]  # variables that are bound, and their types


class _Maker:
    """Makes conditions that are accepted, mostly."""

    def __init__(
        self,
        rng: random.Random,
        kinds: Kinds,
        actions: Mapping[str, Types],
        values: _Values,
        usual: Sequence[tuple[str, str]],
    ) -> None:
        self._rng = rng
        self._values = values
        self._usual = usual
        self._signatures = {
            (action, kind): self._fields(inputs, kind, kinds)
            for action, inputs in actions.items()
            for kind in kinds.kinds
        }
        self._context = {("input", *path): of for path, of in actions["A"].items()}
        self._context |= {("task", "root"): "String", ("meta", "session", "no"): "Long"}

    @staticmethod
    def _fields(inputs: Types, kind: str, kinds: Kinds) -> Types:
        fields = {("input", *path): of for path, of in inputs.items()}
        if kind in kinds.with_outputs:
            fields |= {("output", *path): of for path, of in OUTPUTS.items()}
        fields |= {("callerPrincipal",): WORKLOAD, ("requestId",): "String", ("task", "root"): "String"}
        return fields | {("meta", "session", "no"): "Long"}

    def leaf(self) -> Condition:
        """A closed condition."""
        if self._rng.random() < 0.3:
            return self._usual_shape()
        return self._condition(self._rng.choice((1, 2, 2, 3, 3, 4)), {})

    def _usual_shape(self) -> Condition:
        """What policies ask: of two events that share a value, which was there, since when, and how often."""
        rng = self._rng
        of = rng.choice(("Long", "String", "Bool", WORKLOAD))
        shared = Binder("x", of)
        first, second = self._mention(shared), self._mention(shared)
        window = Window(*rng.choice(((5, "s"), (1, "m"), (1, "h"), (1, "d"))))
        # The last two look further back than the window.
        further = Formerly(Window(1, "d"), first)
        left = rng.choice((first, Not(first), Not(first), Not(Previous(window, first)), further, Not(further)))
        since = Since(left, window, second)
        timed = Formerly(window, And(first, Tp("t")))
        matched = Count((Binder("t", "Timepoint"),), timed)
        op = rng.choice(("<", ">=", "==", "!="))
        few = Constant(rng.choice((0, 1, 2, 3)))
        body: Condition
        match rng.choice(("since", "since", "without", "counted", "previous", "kept", "summed", "within", "shadow")):
            case "since":
                body = since
            case "without":
                body = And(Formerly(window, first), Not(Formerly(self._window(), second)))
            case "counted":
                body = And(Formerly(self._window(), second), Comparison(op, matched, few))
            case "previous":
                body = And(first, Previous(self._window(), second if rng.random() < 0.5 else Not(second)))
            case "kept":
                return Comparison(op, Count((shared,), since), few)
            case "summed":
                total = Sum("x", (Binder("x", "Long"), Binder("t", "Timepoint")), self._over(window, "Long"))
                return Comparison(
                    op, total, rng.choice((few, self._values.literal("Long"), Constant(rng.choice(HUGE))))
                )
            case "shadow":
                # One name for two variables.
                again = Binder("x", rng.choice((of, "Long", "String")))
                inside = Formerly(window, self._mention(again))
                other = Exists(again, inside) if rng.random() < 0.5 else Comparison(op, Count((again,), inside), few)
                body = And(Formerly(window, first), And(other, Formerly(self._window(), second)))
            case _:
                # Windows within each other add up.
                inner = window if rng.random() < 0.6 else self._window()
                body = Formerly(window, And(first, Formerly(inner, second)))
        return Exists(shared, body)

    def _over(self, window: Window, of: str) -> Condition:
        return Formerly(window, And(self._mention(Binder("x", of)), Tp("t")))

    def _mention(self, binder: Binder) -> Condition:
        """An event that has the variable's value, with hardly anything else asked of it."""
        signature = self._rng.choice(self._usual)
        having = [path for path, of in self._signatures[signature].items() if of == binder.type]
        if not having:
            return self._binding(binder, {})
        return Predicate("R::Action", *signature, (Argument(self._rng.choice(having), Var(binder.name)),))

    def _condition(self, depth: int, scope: Bound) -> Condition:
        """One that varies with the timepoint, and binds nothing that is not bound."""
        rng = self._rng
        if depth <= 0:
            return self._correlated(scope) if scope and rng.random() < 0.6 else self._predicate(scope)
        match rng.choice(
            ("formerly", "formerly", "previous", "since", "since", "exists", "exists", "not", "and", "and", "aggregate")
        ):
            case "formerly":
                return Formerly(self._window(), self._condition(depth - 1, scope))
            case "previous":
                return Previous(self._window(), self._condition(depth - 1, scope))
            case "since":
                return self._since(depth, scope, self._condition(depth - 1, scope), scope)
            case "exists":
                return self._exists(depth, scope)
            case "not":
                return Not(self._condition(depth - 1, scope))
            case "and":
                left = self._condition(depth - 1, scope)
                if rng.random() < 0.3:
                    return And(left, self._filter(scope))
                return And(left, self._condition(depth - 1, scope))
        return self._about_aggregate(depth, scope)

    def _correlated(self, scope: Bound) -> Condition:
        """About a variable that is bound."""
        name = self._rng.choice(sorted(scope))
        return self._binding(Binder(name, scope[name]), scope)

    def _since(self, depth: int, scope: Bound, right: Condition, bound: Bound) -> Condition:
        left = self._condition(depth - 2, bound)
        if len(bound) > len(scope) and self._rng.random() < 0.6:
            left = self._correlated({name: of for name, of in bound.items() if name not in scope})
        if self._rng.random() < 0.5:
            left = Not(left)
        return Since(left, self._window(), right)

    def _exists(self, depth: int, scope: Bound) -> Condition:
        binder = self._binder()
        inner = {**{name: of for name, of in scope.items() if name != binder.name}, binder.name: binder.type}
        body = self._restrict(binder, depth - 1, {name: of for name, of in inner.items() if name != binder.name})
        while self._rng.random() < 0.55:
            more = self._filter(inner) if self._rng.random() < 0.4 else self._condition(depth - 1, inner)
            body = And(body, more)
        return Exists(binder, body)

    def _restrict(self, binder: Binder, depth: int, scope: Bound) -> Condition:
        """Binds the variable; varies with the timepoint."""
        rng = self._rng
        bound = {**scope, binder.name: binder.type}
        if depth <= 0:
            return self._binding(binder, scope)
        match rng.choice(("formerly", "formerly", "previous", "since", "exists", "and", "here", "equal")):
            case "formerly":
                return Formerly(self._window(), self._restrict(binder, depth - 1, scope))
            case "previous":
                return Previous(self._window(), self._restrict(binder, depth - 1, scope))
            case "since":
                return self._since(depth, scope, self._restrict(binder, depth - 1, scope), bound)
            case "exists":
                other = self._binder()
                if other.name == binder.name:
                    return self._binding(binder, scope)
                rest = {name: of for name, of in scope.items() if name != other.name}
                first = self._restrict(binder, depth - 1, rest)
                second = self._restrict(other, depth - 2, {**rest, binder.name: binder.type})
                return Exists(other, And(first, second) if rng.random() < 0.5 else And(second, first))
            case "and":
                return And(self._restrict(binder, depth - 1, scope), self._filter(bound))
            case "equal" if binder.type == "Long":
                aggregate = self._aggregate(depth, scope)
                sides = (Var(binder.name), aggregate) if rng.random() < 0.3 else (aggregate, Var(binder.name))
                return Comparison("==", *sides)
            case "equal" if binder.type != "Timepoint":
                value = self._term(binder.type, {**scope})
                return And(self._predicate(scope), Comparison("==", Var(binder.name), value))
        return self._binding(binder, scope)

    def _binding(self, binder: Binder, scope: Bound) -> Condition:
        if binder.type == "Timepoint":
            at = Tp(binder.name)
            if self._rng.random() < 0.1:
                return at
            predicate = self._predicate(scope)
            return And(predicate, at) if self._rng.random() < 0.8 else And(at, predicate)
        having = [
            (signature, path)
            for signature, fields in self._signatures.items()
            for path, of in fields.items()
            if of == binder.type
        ]
        if not having:
            return And(self._predicate(scope), Comparison("==", Var(binder.name), self._term(binder.type, scope)))
        often = [each for each in having if each[0] in self._usual]
        signature, path = self._rng.choice(often if often and self._rng.random() < 0.85 else having)
        made = self._predicate(scope, signature)
        arguments = [each for each in made.arguments if each.path != path]
        arguments.insert(self._rng.randint(0, len(arguments)), Argument(path, Var(binder.name)))
        return replace(made, arguments=tuple(arguments))

    def _predicate(self, scope: Bound, signature: tuple[str, str] | None = None) -> Predicate:
        rng = self._rng
        action, kind = signature or rng.choice([*self._usual] if rng.random() < 0.85 else [*self._signatures])
        fields = self._signatures[action, kind]
        arguments = []
        for path in rng.sample(sorted(fields), min(len(fields), rng.choice((0, 0, 0, 1, 1, 2)))):
            term = Wildcard() if rng.random() < 0.2 else self._term(fields[path], scope)
            arguments.append(Argument(path, term))
        return Predicate("R::Action", action, kind, tuple(arguments))

    def _term(self, of: str, scope: Bound) -> Term:
        rng = self._rng
        variables = [Var(name) for name, type_of in scope.items() if type_of == of]
        if variables and rng.random() < 0.6:
            return rng.choice(variables)
        outside: list[Term] = [ContextTerm(path) for path, type_of in self._context.items() if type_of == of]
        outside += [ScopeTerm(path[0], path[1:]) for path, type_of in SCOPE_TYPES.items() if type_of == of]  # type: ignore[arg-type]
        if of.startswith("Set") or (outside and rng.random() < 0.45):
            return rng.choice(outside) if outside else Wildcard()
        return self._values.literal(of)

    def _filter(self, scope: Bound) -> Condition:
        """One that binds nothing, about variables if there are some."""
        rng = self._rng
        variables = [name for name, of in scope.items() if of != "Timepoint"]
        if not variables or rng.random() < 0.25:
            return Not(self._condition(1, scope)) if rng.random() < 0.6 else self._condition(1, scope)
        name = rng.choice(variables)
        of = scope[name]
        op = rng.choice(("<", "<=", ">", ">=", "==", "!=")) if of == "Long" else rng.choice(("==", "!="))
        sides = [Var(name), self._term(of, scope)]
        rng.shuffle(sides)
        made: Condition = Comparison(op, *sides)  # type: ignore[arg-type]
        return Not(made) if rng.random() < 0.2 else made

    def _about_aggregate(self, depth: int, scope: Bound) -> Condition:
        rng = self._rng
        aggregate = self._aggregate(depth, scope)
        other: Term = self._aggregate(depth - 1, scope) if rng.random() < 0.2 else self._term("Long", scope)
        op = rng.choice(("<", "<=", ">", ">=", "==", "!="))
        sides = (aggregate, other) if rng.random() < 0.7 else (other, aggregate)
        return Comparison(op, *sides)  # type: ignore[arg-type]

    def _aggregate(self, depth: int, scope: Bound) -> Count | Sum:
        rng = self._rng
        binders = [self._binder("Long")] if rng.random() < 0.4 else [self._binder()]
        if rng.random() < 0.5:
            binders.append(Binder("q", rng.choice(BINDER_TYPES)))
        inner = {name: of for name, of in scope.items() if name not in {binder.name for binder in binders}}
        body = self._restrict(binders[0], depth - 1, inner)
        inner = {**inner, binders[0].name: binders[0].type}
        for binder in binders[1:]:
            body = And(body, self._restrict(binder, rng.choice((0, 0, depth - 2)), inner))
            inner = {**inner, binder.name: binder.type}
        if rng.random() < 0.35:
            body = And(body, self._filter(inner))
        if rng.random() < 0.7:
            body = Formerly(self._window(), body)
        rng.shuffle(binders)
        longs = [binder.name for binder in binders if binder.type == "Long"]
        if longs and rng.random() < 0.7:
            return Sum(rng.choice(longs), tuple(binders), body)
        return Count(tuple(binders), body)

    def _binder(self, of: str | None = None) -> Binder:
        return Binder(self._rng.choice(("x", "y", "z", "input")), of or self._rng.choice(BINDER_TYPES))

    def _window(self) -> Window:
        return Window(*self._rng.choice(WINDOWS))


# --- agreement ------------------------------------------------------------------------------------------------


@dataclass
class Agreement:
    """How many conditions were compared, how many not and why, and how many verdicts were, of them true."""

    compared: int = 0
    refused_by_reference: int = 0
    refused_by_plan: int = 0
    lost: int = 0
    verdicts: int = 0
    true: int = 0

    def __iadd__(self, other: Agreement) -> Agreement:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


def assert_agrees(make_plan: MakePlan, case: Case, reference: Reference) -> Agreement:
    """Each condition of the case that the reference accepts has its verdicts; see the top of this file."""
    agreement = Agreement()
    wanted: dict[str, tuple[tuple[int, bool], ...]] = {}
    leaves = []
    for leaf, answer in zip(leaves_of(case), asked(case, reference), strict=True):
        if answer.refused or answer.lost:
            agreement.refused_by_reference += bool(answer.refused)
            agreement.lost += answer.lost
            continue
        try:
            make_plan([leaf])
        except Mistake:
            agreement.refused_by_plan += 1
            continue
        leaves.append(leaf)
        wanted[leaf.name] = answer.verdicts
        agreement.compared += 1
    if not leaves:
        return agreement
    for how in (_straight, _stored, _rebuilt, _watched):
        found = how(make_plan, leaves, case)
        for name, verdicts in wanted.items():
            expected = {number: verdict for number, verdict in verdicts if case.decides(case.points[number])}
            if found[name] != expected:
                wrong = {n: (v, expected.get(n)) for n, v in found[name].items() if expected.get(n) != v}
                raise AssertionError(
                    f"{name} {how.__name__}: {wrong} (number of the line: ours, the reference's)\n"
                    f"{replace(case, conditions=(case.conditions[int(name.rsplit('/')[-1])],)).text()}"
                )
            if how is _straight:
                agreement.verdicts += len(expected)
                agreement.true += sum(expected.values())
    return agreement


def leaves_of(case: Case) -> list[Leaf]:
    """The conditions of the case, with pins."""
    return [Leaf(f"p/{number}", case.pinned(condition)) for number, condition in enumerate(case.conditions)]


def asked(case: Case, reference: Reference) -> list[Answer]:
    """What the reference says of each condition."""
    policies = [case.policy(condition) for condition in case.conditions]
    return reference.ask(policies, case.schema(), case.trace(), case.kinds.text())


Found = dict[str, dict[int, bool]]


def _straight(make_plan: MakePlan, leaves: Sequence[Leaf], case: Case) -> Found:
    plan = make_plan(leaves)
    return _run(case, leaves, plan.start, lambda monitor, _key, _number: monitor)


def _stored(make_plan: MakePlan, leaves: Sequence[Leaf], case: Case) -> Found:
    """As if the process ended before every event."""

    def again(monitor: Monitor, _key: Any, _number: int) -> Monitor:
        state = monitor.dump()
        restored = make_plan(leaves).restore(state)
        assert restored.dump() == state
        return restored

    return _run(case, leaves, make_plan(leaves).start, again)


def _rebuilt(make_plan: MakePlan, leaves: Sequence[Leaf], case: Case) -> Found:
    """As if policies were changed in the middle of the trace: other leaves before, rebuilt from the events."""
    middle = len(case.points) // 2
    rebuilt = set()

    def change(monitor: Monitor, key: Any, number: int) -> Monitor:
        if number < middle or key in rebuilt:
            return monitor
        rebuilt.add(key)
        return _fed(
            make_plan(leaves).start(),
            [point.event for point in case.points[:number] if case.key_of(point.event) == key],
        )

    before = make_plan(leaves[::2])
    first = _run(replace(case, points=case.points[:middle]), leaves[::2], before.start, lambda monitor, _k, _n: monitor)
    found = _run(case, leaves, make_plan(leaves).start, change)
    for name, verdicts in first.items():
        assert {number: found[name][number] for number in verdicts} == verdicts
    return found


def _watched(make_plan: MakePlan, leaves: Sequence[Leaf], case: Case) -> Found:
    """As histories are kept: without events and fields that the conditions can't tell apart."""
    scope = Scope(leaves, make_plan(leaves), case.kinds.kinds)

    def seen(point: Point) -> Point:
        event = point.event
        fields = {path: field_of(event.fields, path) for path in scope.paths(event.action, event.kind)}
        found = {path: value for path, value in fields.items() if value is not None}
        return replace(point, event=replace(event, fields=found))

    return _run(case, leaves, scope.plan.start, lambda monitor, _key, _number: monitor, seen, scope.watches)


def _fed(monitor: Monitor, events: Sequence[Event]) -> Monitor:
    for event in events:
        monitor.observe(event)
    return monitor


def _run(
    case: Case,
    leaves: Sequence[Leaf],
    start: Callable[[], Monitor],
    before: Callable[[Monitor, Any, int], Monitor],
    seen: Callable[[Point], Point] = lambda point: point,
    watches: Callable[[str, str], bool] = lambda _action, _kind: True,
) -> Found:
    names = frozenset(leaf.name for leaf in leaves)
    monitors: dict[Any, Monitor] = {}
    found: Found = {name: {} for name in names}
    for number, point in enumerate(case.points):
        key = case.key_of(point.event)
        if key is None:
            continue
        point = seen(point)
        monitor = monitors[key] = before(monitors.get(key) or start(), key, number)
        if case.decides(point):
            assert point.request is not None
            state = monitor.dump()
            for name, value in monitor.evaluate(point.request, point.event, names).items():
                found[name][number] = value
            assert monitor.dump() == state, "evaluating changed the state"
        if watches(point.event.action, point.event.kind):
            monitor.observe(point.event)
    return found


# --- smaller cases --------------------------------------------------------------------------------------------


def smaller(make_plan: MakePlan, case: Case, reference: Reference) -> Case:
    """A case that fails as this one does, from which nothing more can be taken."""
    for condition in case.conditions:
        one = replace(case, conditions=(condition,))
        if _fails(make_plan, one, reference):
            case = one
            break
    while True:
        for less in _less(case):
            if _fails(make_plan, less, reference):
                case = less
                break
        else:
            return case


def _fails(make_plan: MakePlan, case: Case, reference: Reference) -> bool:
    try:
        assert_agrees(make_plan, case, reference)
    except AssertionError:
        return True
    return False


def _less(case: Case) -> Iterator[Case]:
    for number in range(len(case.points)):
        yield replace(case, points=(*case.points[:number], *case.points[number + 1 :]))
    for condition in _simpler(case.conditions[0]):
        if not free(condition):
            yield replace(case, conditions=(condition,))


def _simpler(condition: Condition) -> Iterator[Condition]:
    match condition:
        case Predicate():
            for number in range(len(condition.arguments)):
                rest = (*condition.arguments[:number], *condition.arguments[number + 1 :])
                yield replace(condition, arguments=rest)
        case And(left, right) | Since(left, _, right):
            yield from (left, right)
            yield from (replace(condition, left=each) for each in _simpler(left))
            yield from (replace(condition, right=each) for each in _simpler(right))
        case Not(body) | Formerly(_, body) | Previous(_, body) | Exists(_, body):
            yield body
            yield from (replace(condition, body=each) for each in _simpler(body))
        case Comparison(_, first, second):
            for side, term in (("left", first), ("right", second)):
                if isinstance(term, Count | Sum):
                    yield replace(condition, **{side: Constant(1)})
                    for body in _simpler(term.body):
                        yield replace(condition, **{side: replace(term, body=body)})
