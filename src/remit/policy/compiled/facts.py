"""What of a policy an index can settle: the leading conditions whose outcome is a lookup, for many policies at once.

A policy matches when all its conditions do, evaluated in their order. Of these, the first ones are often a comparison
of one fact with a literal: `context.task.intent == "refund"`, `context.risk < 40`, `principal in Group::"a"`,
`context.labels.contains("pii")`, `context has destination`. Policies that compare the same fact in the same way are a
`Family`: one lookup says of which of them this condition holds. Sets of policies are bits of an integer.

SECURITY: a policy may be left out only where it is false *without failing*, because a policy that fails denies.
A family that can't say so, since the fact is missing or of another type, is uncertain of all its members: these are
evaluated as they stand, whatever other families say of them. So every condition before the one by which a policy is
left out is known not to fail.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from remit.policy.compiled.compiler import Matches, compile_policy
from remit.policy.compiled.operators import Entities
from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Failed, Set, Unsupported, entity_of, key, value_of

Names = tuple[str, ...]
Found = tuple[str, tuple[str, Names], tuple[Any, ...]]  # kind, path, literals
Tested = dict[tuple[str, Names], Mapping[str, Any]]  # paths that a condition before asked about, with that condition
UNCERTAIN: Final = -1  # instead of a set of policies: the condition may fail, or can't be told

_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_VARIABLES: Final = frozenset({"principal", "action", "resource", "context"})
_ABOVE: Final = {"principal": 0, "action": 1, "resource": 2}
_DEPTH: Final = 16  # of attributes in a fact
_OPEN: Final = {"op": "All"}
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Request(NamedTuple):
    """One request as compiled policies take it."""

    principal: Entity
    action: Entity
    resource: Entity
    context: Mapping[str, Any]
    entities: Entities
    above_principal: frozenset[Entity]
    above_action: frozenset[Entity]
    above_resource: frozenset[Entity]


class Fact(NamedTuple):
    """What a condition compares, and how: policies with the same are one family."""

    kind: str  # `equal`, `within`, `type`, `contains`, `has`, `flag`, `<`, `<=`, `>`, `>=`, or `other`
    variable: str
    names: Names
    tested: frozenset[int]  # the attributes of `names` that `has` was asked about before, by their place
    wanted: bool
    form: bytes = b""  # of `other`: the whole condition, and the tests before it on which it relies


class Condition(NamedTuple):
    """One leading condition: its fact, and the literals that it is compared with; any of them will do."""

    fact: Fact
    literals: tuple[Any, ...]


def conditions_of(policy: Mapping[str, Any], *, any_resource: bool = False) -> Iterator[Condition]:
    """All that must hold for a policy in Cedar's JSON form, in Cedar's order, without what its scope names.

    Of the scope, only types are among them, since entities are looked up by their names; with `any_resource`, also
    which resources it names.
    """
    if any_resource:
        yield from _resources(policy["resource"])
    for name in ("principal", "resource"):
        if policy[name]["op"] == "is":
            fact = Fact("type", name, (), frozenset(), True)
            yield Condition(fact, (policy[name]["entity_type"],))
    tested: Tested = {}
    for condition in policy.get("conditions", ()):
        for form, wanted in _flat(condition["body"], condition["kind"] == "when"):
            found = _condition(form, wanted, tested)
            yield found
            if found.fact.kind == "has" and wanted:
                names = found.fact.names
                for length in range(len(names) - found.literals[0], len(names)):
                    tested.setdefault((found.fact.variable, names[: length + 1]), form)


def _resources(form: Mapping[str, Any]) -> Iterator[Condition]:
    if form["op"] == "==":
        yield Condition(Fact("equal", "resource", (), frozenset(), True), (key(entity_of(form["entity"])),))
    inner = form if form["op"] == "in" else form.get("in")
    if inner is not None:
        yield Condition(Fact("within", "resource", (), frozenset(), True), (entity_of(inner["entity"]),))


def _flat(form: Mapping[str, Any], wanted: bool) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """The parts of `a && b`, where it must hold, and of `a || b`, where it must not: each is evaluated in turn."""
    stack = [(form, wanted)]
    while stack:
        form, wanted = stack.pop()
        ((op, of),) = form.items()
        if op == "!":
            stack.append((of["arg"], not wanted))
        elif op == ("&&" if wanted else "||"):
            stack += [(of["right"], wanted), (of["left"], wanted)]
        else:
            yield form, wanted


def _condition(form: Mapping[str, Any], wanted: bool, tested: Tested) -> Condition:
    found = _compared_fact(form, wanted)
    if found is None:
        guards = [tested[path] for path in sorted(_paths_in(form) & tested.keys())] if tested else []
        return Condition(Fact("other", "", (), frozenset(), wanted, _encode([form, *guards])), ())
    kind, (variable, names), literals = found
    places = frozenset(place for place in range(len(names)) if (variable, names[: place + 1]) in tested)
    if kind == "has":
        # What it asks about is what it may lack.
        places |= frozenset(range(len(names) - literals[0], len(names)))
    wanted = wanted is not ("!=" in form) or kind in _FLIPPED
    return Condition(Fact(kind, variable, names, places, wanted), literals)


def _compared_fact(form: Mapping[str, Any], wanted: bool) -> Found | None:
    """What a condition compares with which literals; None for all that is not one of the kinds of `Fact`."""
    ((op, of),) = form.items()
    if op in ("==", "!="):
        return _with_literal("equal", of["left"], of["right"]) or _with_literal("equal", of["right"], of["left"])
    if op in _FLIPPED:
        return _compared(op if wanted else _NEGATED[op], of)
    if op == "contains":
        return _with_literal("contains", of["left"], of["right"])
    if op == "in":
        return _within(of)
    if op == "has":
        return _has(of)
    if op == "is" and "in" not in of:
        path = path_of(of["left"])
        return None if path is None else ("type", path, (of["entity_type"],))
    path = path_of(form) if op == "." else None
    return None if path is None else ("flag", path, ())


def _paths_in(form: Any) -> set[tuple[str, Names]]:
    """The paths that an expression reads, with all on the way to them."""
    found: set[tuple[str, Names]] = set()
    stack = [form]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            path = path_of(node) if "." in node else None
            if path is not None:
                found.update((path[0], path[1][: length + 1]) for length in range(len(path[1])))
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return found


def path_of(form: Any) -> tuple[str, Names] | None:
    """The variable and the attributes of `variable.a.b`; None for any other expression."""
    names: list[str] = []
    while "." in form:
        names.append(form["."]["attr"])
        form = form["."]["left"]
    variable = form.get("Var")
    if variable not in _VARIABLES or len(names) > _DEPTH:
        return None
    return variable, tuple(reversed(names))


def _with_literal(kind: str, one: Any, other: Any) -> Found | None:
    path = path_of(one)
    if path is None or "Value" not in other:
        return None
    try:
        return kind, path, (key(value_of(other["Value"])),)
    except (Failed, Unsupported):
        return None


def _compared(op: str, of: Mapping[str, Any]) -> Found | None:
    for one, other, way in ((of["left"], of["right"], op), (of["right"], of["left"], _FLIPPED[op])):
        path, value = path_of(one), other.get("Value")
        if path is not None and type(value) is int and LONG_MIN <= value <= LONG_MAX:
            return way, path, (value,)
    return None


def _within(of: Mapping[str, Any]) -> Found | None:
    path, right = path_of(of["left"]), of["right"]
    several = [each.get("Value") for each in right["Set"]] if "Set" in right else [right.get("Value")]
    if path is None or not all(type(each) is dict and "__entity" in each for each in several):
        return None
    return "within", path, tuple(entity_of(each) for each in several)


def _has(of: Mapping[str, Any]) -> Found | None:
    path = path_of(of["left"])
    names = (of["attr"],) if isinstance(of["attr"], str) else tuple(of["attr"])
    return None if path is None else ("has", (path[0], path[1] + names), (len(names),))


# --- families ---------------------------------------------------------------------------------------------------

_ABSENT: Final = object()  # the condition before it, `has`, is false
_UNKNOWN: Final = object()  # reading it fails


class Family:
    """The policies, as bits, that compare one fact in one way; each has one such condition here."""

    def __init__(self, fact: Fact, members: Sequence[tuple[int, Condition]], everything: int) -> None:
        """`members` have their place with their condition."""
        self.fact = fact
        self.members = sum(1 << place for place, _ in members)
        self.others = everything & ~self.members
        self._everything = everything
        self._table: dict[Any, int] = {}
        for place, condition in members:
            for literal in set(condition.literals):
                self._table[literal] = self._table.get(literal, 0) | 1 << place
        self._read = _reader(fact)
        self.possible = self._chooser()
        """The policies, of all, that this condition leaves for a request; `UNCERTAIN` where it may fail."""

    def _chooser(self) -> Callable[[Request], int]:
        kind = self.fact.kind
        if kind == "other":
            return self._other()
        if kind in _FLIPPED:
            return self._compare()
        if kind == "has":
            return self._has
        if kind == "flag":
            return self._flag
        return {"equal": self._equal, "within": self._within, "type": self._type, "contains": self._contains}[kind]

    def _left(self, found: int) -> int:
        return self.others | found if self.fact.wanted else self._everything & ~found

    def _equal(self, request: Request) -> int:
        value = self._read(request)
        if type(value) is not str:
            if value is _UNKNOWN:
                return UNCERTAIN
            if value is _ABSENT:
                return self.others
            value = key(value)
        return self._left(self._table.get(value, 0))

    def _type(self, request: Request) -> int:
        value = self._read(request)
        if value is _ABSENT:
            return self.others
        return self._left(self._table.get(value[0], 0)) if type(value) is Entity else UNCERTAIN

    def _within(self, request: Request) -> int:
        fact = self.fact
        if not fact.names and fact.variable != "context":
            above: frozenset[Entity] = request[5 + _ABOVE[fact.variable]]  # type: ignore[assignment]  # by its place
        else:
            value = self._read(request)
            if value is _ABSENT:
                return self.others
            if type(value) is not Entity:
                return UNCERTAIN
            above = request.entities.above(value)
        found, table = 0, self._table
        for each in above:
            found |= table.get(each, 0)
        return self._left(found)

    def _contains(self, request: Request) -> int:
        value = self._read(request)
        if value is _ABSENT:
            return self.others
        if type(value) is not Set:
            return UNCERTAIN
        found, table = 0, self._table
        for each in value.keys if len(value.keys) <= len(table) else table.keys() & value.keys:
            found |= table.get(each, 0)
        return self._left(found)

    def _has(self, request: Request) -> int:
        value = self._read(request)
        if value is _UNKNOWN:
            return UNCERTAIN
        return self._everything if (value is not _ABSENT) is self.fact.wanted else self.others

    def _flag(self, request: Request) -> int:
        value = self._read(request)
        if value is _ABSENT:
            return self.others
        if type(value) is not bool:
            return UNCERTAIN
        return self._everything if value is self.fact.wanted else self.others

    def _compare(self) -> Callable[[Request], int]:
        op, read, others = self.fact.kind, self._read, self.others
        limits = sorted(self._table)
        is_below = op in ("<", "<=")  # the value is below the limit: all limits behind it
        sums = [others]
        for limit in reversed(limits) if is_below else limits:
            sums.append(sums[-1] | self._table[limit])
        if is_below:
            sums.reverse()
        place = bisect_right if op in ("<", ">=") else bisect_left

        def choose(request: Request) -> int:
            value = read(request)
            if type(value) is int:
                return sums[place(limits, value)]
            return others if value is _ABSENT else UNCERTAIN

        return choose

    def _other(self) -> Callable[[Request], int]:
        holds, *guards = map(function_of, msgspec.json.decode(self.fact.form))
        everything, others, wanted = self._everything, self.others, self.fact.wanted

        def choose(request: Request) -> int:
            try:
                return everything if holds(*request) is wanted else others
            except Failed:
                return UNCERTAIN

        def guarded(request: Request) -> int:
            try:
                return choose(request) if all(guard(*request) for guard in guards) else others
            except Failed:
                return UNCERTAIN

        return guarded if guards else choose


def function_of(form: Mapping[str, Any]) -> Matches:
    """A condition alone as a function; `Unsupported` where it can't be."""
    policy = {
        "effect": "permit",
        "principal": _OPEN,
        "action": _OPEN,
        "resource": _OPEN,
        "conditions": [{"kind": "when", "body": form}],
    }
    return compile_policy("", policy).matches


def _reader(fact: Fact) -> Callable[[Request], Any]:
    """A function that reads the fact."""
    place = ("principal", "action", "resource", "context").index(fact.variable) if fact.variable else 0
    names, tested = fact.names, fact.tested
    if fact.variable == "context" and len(names) == 1 and not tested:
        return _of_context(names[0])

    def read(request: Request) -> Any:
        value: Any = request[place]
        for at, name in enumerate(names):
            kind = type(value)
            if kind is dict:
                value = value.get(name, _ABSENT)
            elif kind is Entity:
                known = request.entities.attributes.get(value)
                value = _ABSENT if known is None else known.get(name, _ABSENT)
            else:
                return _UNKNOWN
            if value is _ABSENT:
                return _ABSENT if at in tested else _UNKNOWN
        return value

    return read


def _of_context(name: str) -> Callable[[Request], Any]:
    return lambda request: request.context.get(name, _UNKNOWN)
