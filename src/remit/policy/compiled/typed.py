"""Policies for one kind of request as Python expressions, without the checks that the types make needless.

Sound for requests that keep what their environment promises (`requests`), over entities that fit the schema.

1. Types come from the schema and from literals, and flow upwards. An attribute is there if the schema requires it, or
   where `has` was seen to hold: on the right of `&&`, and behind `then`.
2. Where types settle it, an operator is Python's own: `==` of two strings, `<` of two longs, `in` of two sets of keys.
3. SECURITY: where they do not, it is the operator of the dynamic evaluator, checked at each step. Nothing is guessed,
   and nothing depends on what a validator said of the policy: an ill-typed one fails as Cedar fails.
4. What can fail for well-typed values stays checked: arithmetic, entities that nobody has given, tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from remit.policy import shapes
from remit.policy.compiled import operators
from remit.policy.compiled.compiler import ABOVE, Scope
from remit.policy.compiled.environment import Environment
from remit.policy.compiled.values import (
    LONG_MAX,
    LONG_MIN,
    Entity,
    Failed,
    Set,
    Unsupported,
    call,
    entity_of,
    key,
    value_of,
)
from remit.policy.shapes import BOOL, DATETIME, DECIMAL, DURATION, IPADDR, LONG, STRING, Attribute, Shape

Path = tuple[str | None, ...]  # of a context: names of attributes, and None for the keys of a set
Proof = tuple[str, str]  # of what source, which attribute is there
_NOTHING: Final[frozenset[Proof]] = frozenset()


class Table(NamedTuple):
    """Constants by their names, and the names by what the constants are: equal ones share one."""

    constants: dict[str, Any]
    names: dict[Hashable, str]


class Written(NamedTuple):
    """An expression: its source, its type if that is certain, whether it can fail, and what it proves if it holds."""

    source: str
    shape: Shape | None = None
    fails: bool = True
    proves: frozenset[Proof] = _NOTHING

    @property
    def kind(self) -> str:
        return self.shape.kind if self.shape is not None else ""


TRUE: Final = Written("True", BOOL, False)
FALSE: Final = Written("False", BOOL, False)
_EXACT: Final = frozenset({"string", "entity", "decimal", "datetime", "duration", "ipaddr"})
_PLAIN: Final = _EXACT | {"long", "bool"}
_ORDERED: Final = frozenset({"long", "datetime", "duration"})
_ANY_ENTITY: Final = Shape(kind="entity")

# Of a function: the types that it takes, its result, and what it is in Python if it can't fail for them.
_FUNCTIONS: Final[Mapping[str, tuple[tuple[str, ...], Shape, str]]] = {
    "decimal": (("string",), DECIMAL, ""),
    "ip": (("string",), IPADDR, ""),
    "datetime": (("string",), DATETIME, ""),
    "duration": (("string",), DURATION, ""),
    "lessThan": (("decimal", "decimal"), BOOL, "({} < {})"),
    "lessThanOrEqual": (("decimal", "decimal"), BOOL, "({} <= {})"),
    "greaterThan": (("decimal", "decimal"), BOOL, "({} > {})"),
    "greaterThanOrEqual": (("decimal", "decimal"), BOOL, "({} >= {})"),
    "isIpv4": (("ipaddr",), BOOL, "({}.version == 4)"),
    "isIpv6": (("ipaddr",), BOOL, "({}.version == 6)"),
    "isLoopback": (("ipaddr",), BOOL, "isLoopback({})"),
    "isMulticast": (("ipaddr",), BOOL, "isMulticast({})"),
    "isInRange": (("ipaddr", "ipaddr"), BOOL, "isInRange({}, {})"),
    "offset": (("datetime", "duration"), DATETIME, ""),
    "durationSince": (("datetime", "datetime"), DURATION, ""),
    "toDate": (("datetime",), DATETIME, ""),
    "toTime": (("datetime",), DURATION, "toTime({})"),
    "toMilliseconds": (("duration",), LONG, "({}.value)"),
    "toSeconds": (("duration",), LONG, "toSeconds({})"),
    "toMinutes": (("duration",), LONG, "toMinutes({})"),
    "toHours": (("duration",), LONG, "toHours({})"),
    "toDays": (("duration",), LONG, "toDays({})"),
}


class Writer(Scope):
    """Writes expressions for one environment; `known` are the attributes that are proved to be there.

    What of a context is always there may be `hoisted`: read once, before all policies, into a variable.
    """

    def __init__(
        self,
        slots: Mapping[str, Entity],
        environment: Environment,
        hoisted: Mapping[Path, str] | None = None,
        table: Table | None = None,
    ) -> None:
        super().__init__(slots)
        table = table or Table({}, {})
        self.constants, self._contents = table
        self.environment = environment
        self.reads: Counter[Path] = Counter()  # what could be hoisted, and how often it is read
        self.hoisted = hoisted or {}
        self._types = environment.types
        self._variables = {
            "principal": Shape(kind="entity", entity=environment.principal),
            "action": Shape(kind="entity", entity=environment.action[0]),
            "resource": Shape(kind="entity", entity=environment.resource),
            "context": environment.context,
        }
        self._paths: dict[str, Path] = {"context": ()}  # what is always there, by its source
        self._results = 0

    def tests(self, policy: Mapping[str, Any]) -> Written:
        """All that must hold for the policy to match, in Cedar's order."""
        parts: list[str] = []
        fails = False
        for name in ABOVE:
            test = self._scope(policy[name], name)
            if test == "False":
                return FALSE
            parts += [] if test == "True" else [test]
        for condition in policy.get("conditions", ()):
            body = self._truth(self.write(condition["body"], _NOTHING))
            body = body if condition["kind"] == "when" else _negated(body)
            if body.source == "False" and not fails:
                return FALSE
            fails = fails or body.fails
            parts += [] if body.source == "True" else [body.source]
        return Written(" and ".join(parts) or "True", BOOL, fails)

    def _scope(self, form: Mapping[str, Any], name: str) -> str:
        """The test of one part of the scope, as far as the environment does not settle it."""
        op, groups = form["op"], self.environment.groups
        if op == "is":
            if form["entity_type"] != self._variables[name].entity:
                return "False"
            return self._scope({"op": "in", **form["in"]}, name) if "in" in form else "True"
        if name == "action" and op in ("==", "in"):
            named = frozenset(map(entity_of, form["entities"])) if "entities" in form else {self._entity(form)}
            if op == "==":
                return str(self.environment.action in named)
            if groups is not None:
                return str(not groups.isdisjoint(named))
        return self.scope(form, name) or "True"

    def constant(self, value: Any) -> str:
        """The name of a value in the table: of equal values the same."""
        return self._kept_as((type(value), value if isinstance(value, frozenset) else key(value)), value)

    def _pattern(self, parts: Sequence[Any]) -> str:
        return self._kept_as((operators.pattern, tuple(operators.between(parts))), operators.pattern(parts))

    def _kept_as(self, content: Hashable, value: Any) -> str:
        name = self._contents.get(content)
        if name is None:
            name = self._contents[content] = super().constant(value)
        return name

    def write(self, form: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        """An expression."""
        ((op, of),) = form.items()
        if op == "Value":
            return self._literal(value_of(of) if type(of) is not str else of)
        if op == "Var":
            if of not in self._variables:
                raise Unsupported(f"the variable `{of}`")
            return Written(of, self._variables[of], False)
        if op == "Slot":
            return self._literal(self.slot(of))
        if op in _METHODS:
            written: Written = getattr(self, _METHODS[op])(op, of, known)
            return written
        return self._function(op, of, known)

    def _truth(self, written: Written) -> Written:
        return written if written.kind == "bool" else Written(f"boolean({written.source})", BOOL)

    def _literal(self, value: Any) -> Written:
        shape = _shape_of(value)
        if type(value) in (str, bool, int):
            return Written(repr(value), shape, False)
        return Written(self.constant(value), shape, False)

    # --- logic ------------------------------------------------------------------------------------------------

    def _and(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        parts: list[str] = []
        proves, fails = _NOTHING, False
        for part in _chain(op, of):
            written = self._truth(self.write(part, known | proves))
            if written.source == "True":
                continue
            if written.source == "False" and not fails:
                return FALSE
            parts.append(written.source)
            proves, fails = proves | written.proves, fails or written.fails
            if written.source == "False":
                break
        if not parts:
            return TRUE
        return Written(parts[0] if len(parts) == 1 else f"({' and '.join(parts)})", BOOL, fails, proves)

    def _or(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        parts: list[Written] = []
        for part in _chain(op, of):
            written = self._truth(self.write(part, known))
            if written.source == "False":
                continue
            if written.source == "True" and not any(each.fails for each in parts):
                return TRUE
            parts.append(written)
            if written.source == "True":
                break
        if len(parts) <= 1:
            return parts[0] if parts else FALSE
        proves = frozenset.intersection(*(each.proves for each in parts))
        joined = " or ".join(each.source for each in parts)
        return Written(f"({joined})", BOOL, any(each.fails for each in parts), proves)

    def _not(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        return _negated(self._truth(self.write(of["arg"], known)))

    def _if(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        test = self._truth(self.write(of["if"], known))
        if test.source == "False":
            return self.write(of["else"], known)
        then = self.write(of["then"], known | test.proves)
        if test.source == "True":
            return then
        other = self.write(of["else"], known)
        return Written(
            f"({then.source} if {test.source} else {other.source})",
            _common(then.shape, other.shape),
            test.fails or then.fails or other.fails,
            (then.proves | test.proves) & other.proves,
        )

    # --- comparing --------------------------------------------------------------------------------------------

    def _equal(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left, right = self.write(of["left"], known), self.write(of["right"], known)
        written = Written(self._equality(left, right), BOOL, left.fails or right.fails)
        return written if op == "==" else _negated(written)

    def _equality(self, left: Written, right: Written) -> str:
        """SECURITY: Python's `==` only where it is Cedar's: never between a boolean and a long."""
        kinds = {left.kind, right.kind}
        if len(kinds) == 1 and left.kind in _PLAIN:
            return f"({left.source} == {right.source})"
        if kinds == {"set"}:
            return f"({self._keys(left)} == {self._keys(right)})"
        if "" not in kinds and len(kinds) == 2 and not left.fails and not right.fails:
            return "False"
        if not kinds.isdisjoint(_EXACT):  # equal to nothing of another type in Python either
            return f"({left.source} == {right.source})"
        return f"equal({left.source}, {right.source})"

    def _compare(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left, right = self.write(of["left"], known), self.write(of["right"], known)
        if left.kind == right.kind and left.kind in _ORDERED:
            return Written(f"({left.source} {op} {right.source})", BOOL, left.fails or right.fails)
        written = Written(f"{'less_or_equal' if op in ('<=', '>') else 'less'}({left.source}, {right.source})", BOOL)
        return written if op in ("<", "<=") else _negated(written)

    def _arithmetic(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left, right = _long(self.write(of["left"], known)), _long(self.write(of["right"], known))
        return self._bounded(f"{left} {op} {right}")

    def _minus(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        return self._bounded(f"-{_long(self.write(of['arg'], known))}")

    def _bounded(self, source: str) -> Written:
        name = f"r{self._results}"
        self._results += 1
        bounded = f"({name} if {LONG_MIN} <= ({name} := {source}) <= {LONG_MAX} else in_bounds({name}))"
        return Written(bounded, LONG)

    def _like(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left = self.write(of["left"], known)
        if left.kind != "string":
            return Written(f"like({left.source}, {self._pattern(of['pattern'])})", BOOL)
        return Written(self._fits(left, of["pattern"]), BOOL, left.fails)

    def _fits(self, text: Written, parts: Sequence[Any]) -> str:
        pieces = operators.between(parts)
        if len(pieces) == 1:
            return f"({text.source} == {pieces[0]!r})"
        if not any(pieces) and not text.fails:
            return "True"
        if not any(pieces[:-1]):
            return f"{text.source}.endswith({pieces[-1]!r})"
        if not any(pieces[1:]):
            return f"{text.source}.startswith({pieces[0]!r})"
        return f"{self._pattern(parts)}({text.source})"

    # --- attributes and tags ----------------------------------------------------------------------------------

    def _attribute(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        return self._read(self.write(of["left"], known), of["attr"], known)

    def _read(self, left: Written, name: str, known: frozenset[Proof]) -> Written:
        declared = self._declared(left, name)
        shape = declared.shape if declared is not None else None
        is_there = declared is not None and (declared.required or (left.source, name) in known)
        if is_there and left.kind == "record":
            source = f"{left.source}[{name!r}]"
            if declared is not None and declared.required:
                source = self._always(left.source, name, source)
            return Written(source, shape, left.fails)
        if is_there:
            return Written(f"entities.attributes.get({left.source}, ABSENT)[{name!r}]", shape)
        return Written(f"attribute({left.source}, {name!r}, entities)", shape)

    def _always(self, of: str, name: str | None, source: str) -> str:
        """`source`, which reads `name` of `of` (None: a set's keys); or the variable that holds it already."""
        if of not in self._paths:
            return source
        path = (*self._paths[of], name)
        self.reads[path] += 1
        source = self.hoisted.get(path, source)
        self._paths[source] = path
        return source

    def _declared(self, of: Written, name: str) -> Attribute | None:
        if of.shape is None:
            return None
        if of.kind == "record":
            return of.shape.fields.get(name)
        type_ = self._types.get(of.shape.entity) if of.kind == "entity" else None
        return type_.attributes.get(name) if type_ is not None else None

    def _has(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left = self.write(of["left"], known)
        names = [of["attr"]] if isinstance(of["attr"], str) else of["attr"]
        found = TRUE
        for place, name in enumerate(names):
            if place:
                left = self._read(left, names[place - 1], known | found.proves)
            test = self._has_one(left, name)
            joined = test.source if found.source == "True" else f"({found.source} and {test.source})"
            found = Written(joined, BOOL, found.fails or test.fails, found.proves | test.proves)
        return found

    def _has_one(self, left: Written, name: str) -> Written:
        proves = frozenset([(left.source, name)])
        if left.kind == "record":
            declared = self._declared(left, name)
            if declared is not None and declared.required and not left.fails:
                return TRUE
            return Written(f"({name!r} in {left.source})", BOOL, left.fails, proves)
        if left.kind == "entity":
            return Written(f"({name!r} in entities.attributes.get({left.source}, ()))", BOOL, left.fails, proves)
        return Written(f"has({left.source}, {name!r}, entities)", BOOL, True, proves)

    def _tag(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left, name = self.write(of["left"], known), self.write(of["right"], known)
        if op == "hasTag":
            if left.kind == "entity" and name.kind == "string":
                source = f"({name.source} in entities.tags.get({left.source}, ()))"
                return Written(source, BOOL, left.fails or name.fails)
            return Written(f"has_tag({left.source}, {name.source}, entities)", BOOL)
        type_ = self._types.get(left.shape.entity) if left.shape is not None and left.kind == "entity" else None
        return Written(f"tag({left.source}, {name.source}, entities)", type_.tags if type_ is not None else None)

    # --- hierarchy and types ----------------------------------------------------------------------------------

    def _in(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        return self._within(self.write(of["left"], known), self.write(of["right"], known))

    def _within(self, left: Written, right: Written) -> Written:
        above = ABOVE.get(left.source, f"entities.above({left.source})")
        if left.kind == "entity" and right.kind == "entity":
            return Written(f"({right.source} in {above})", BOOL, left.fails or right.fails)
        if left.kind == "entity" and _elements(right.shape) == "entity":
            return Written(f"(not {above}.isdisjoint({self._keys(right)}))", BOOL, left.fails or right.fails)
        return Written(f"is_in({left.source}, {right.source}, entities)", BOOL)

    def _is(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        left = self.write(of["left"], known)
        name = of["entity_type"]
        if left.shape is None or left.kind != "entity":
            test = Written(f"is_type({left.source}, {name!r})", BOOL)
        elif left.shape.entity and not left.fails:
            test = TRUE if left.shape.entity == name else FALSE
        else:
            test = Written(f"({left.source}[0] == {name!r})", BOOL, left.fails)
        if "in" not in of or test.source == "False":
            return test
        below = self._within(left, self.write(of["in"], known))
        if test.source == "True":
            return below
        return Written(f"({test.source} and {below.source})", BOOL, test.fails or below.fails)

    # --- sets and records -------------------------------------------------------------------------------------

    def _contains(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        whole, part = self.write(of["left"], known), self.write(of["right"], known)
        if whole.kind != "set":
            return Written(f"contains({whole.source}, {part.source})", BOOL)
        sought = part.source if part.kind in _PLAIN - {"bool"} else f"key({part.source})"
        return Written(f"({sought} in {self._keys(whole)})", BOOL, whole.fails or part.fails)

    def _contains_some(self, op: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        whole, part = self.write(of["left"], known), self.write(of["right"], known)
        if whole.kind != "set" or part.kind != "set":
            name = "contains_all" if op == "containsAll" else "contains_any"
            return Written(f"{name}({whole.source}, {part.source})", BOOL)
        fails = whole.fails or part.fails
        if op == "containsAll":
            return Written(f"({self._keys(part)} <= {self._keys(whole)})", BOOL, fails)
        return Written(f"(not {self._keys(whole)}.isdisjoint({self._keys(part)}))", BOOL, fails)

    def _is_empty(self, _: str, of: Mapping[str, Any], known: frozenset[Proof]) -> Written:
        whole = self.write(of["arg"], known)
        if whole.kind != "set":
            return Written(f"is_empty({whole.source})", BOOL)
        return Written(f"(not {self._keys(whole)})", BOOL, whole.fails)

    def _set(self, _: str, of: Sequence[Mapping[str, Any]], known: frozenset[Proof]) -> Written:
        if all("Value" in each for each in of):
            return self._literal(Set(value_of(each["Value"]) for each in of))
        items = [self.write(each, known) for each in of]
        shape = Shape(kind="set", of=_common(*(each.shape for each in items)))
        source = f"Set(({''.join(each.source + ', ' for each in items)}))"
        return Written(source, shape, any(each.fails for each in items))

    def _record(self, _: str, of: Mapping[str, Mapping[str, Any]], known: frozenset[Proof]) -> Written:
        fields = {name: self.write(each, known) for name, each in of.items()}
        source = "{" + ", ".join(f"{name!r}: {each.source}" for name, each in fields.items()) + "}"
        shapes_ = {name: each.shape for name, each in fields.items()}
        # A record is known with all of its fields, or not at all.
        attributes = {name: Attribute(shape=each) for name, each in shapes_.items() if each is not None}
        shape = Shape(kind="record", fields=attributes) if len(attributes) == len(fields) else None
        return Written(source, shape, any(each.fails for each in fields.values()))

    def _keys(self, written: Written) -> str:
        return self._always(written.source, None, f"{written.source}.keys")

    # --- extensions -------------------------------------------------------------------------------------------

    def _function(self, op: str, of: Any, known: frozenset[Proof]) -> Written:
        if op not in _FUNCTIONS or not isinstance(of, list):
            raise Unsupported(f"`{op}`")
        kinds, shape, source = _FUNCTIONS[op]
        parts = [self.write(each, known) for each in of]
        if all("Value" in each for each in of):
            try:
                return self._literal(call(op, *(value_of(each["Value"]) for each in of)))
            except Failed:
                pass  # it fails whenever it is evaluated, and only then
        if source and [part.kind for part in parts] == list(kinds):
            return Written(source.format(*(part.source for part in parts)), shape, any(part.fails for part in parts))
        return Written(f"call({op!r}, {', '.join(part.source for part in parts)})", shape)


def _chain(op: str, of: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a chain of one operator, flat, so that its length is no depth."""
    parts: list[Mapping[str, Any]] = []
    left: Mapping[str, Any] = {op: of}
    while op in left:
        parts.append(left[op]["right"])
        left = left[op]["left"]
    return [left, *reversed(parts)]


def _negated(written: Written) -> Written:
    if written.source in ("True", "False"):
        return FALSE if written.source == "True" else TRUE
    return Written(f"(not {written.source})", BOOL, written.fails)


def _long(written: Written) -> str:
    return f"({written.source})" if written.kind == "long" else f"long({written.source})"


def _elements(shape: Shape | None) -> str:
    """The kind of a set's elements; "" if that is not certain."""
    return shape.of.kind if shape is not None and shape.kind == "set" and shape.of is not None else ""


def _common(*several: Shape | None) -> Shape | None:
    """The type that values of all of these have; None where there is none."""
    first = several[0] if several else None
    for shape in several[1:]:
        if first is None or shape is None:
            return None
        if first == shape:
            continue
        if first.kind == shape.kind == "entity":
            first = _ANY_ENTITY
        elif first.kind == shape.kind == "set":
            first = Shape(kind="set", of=_common(first.of, shape.of))
        else:
            return None
    return first


def _shape_of(value: Any) -> Shape | None:
    """The type of a literal."""
    kind = type(value)
    if kind is Entity:
        return Shape(kind="entity", entity=value[0])
    if kind is Set:
        return Shape(kind="set", of=_common(*map(_shape_of, value.items)))
    return _LITERALS.get(kind)


_LITERALS: Final[Mapping[type, Shape]] = {str: STRING, bool: BOOL, int: LONG} | {
    type(call(name, text)): shape
    for name, text, shape in (
        ("decimal", "1.0", DECIMAL),
        ("datetime", "2026-01-01", DATETIME),
        ("duration", "1h", shapes.DURATION),
        ("ip", "::1", IPADDR),
    )
}
_METHODS: Final = {
    "&&": "_and", "||": "_or", "!": "_not", "if-then-else": "_if", "==": "_equal", "!=": "_equal",
    "<": "_compare", "<=": "_compare", ">": "_compare", ">=": "_compare", "+": "_arithmetic", "-": "_arithmetic",
    "*": "_arithmetic", "neg": "_minus", ".": "_attribute", "has": "_has", "in": "_in", "is": "_is", "like": "_like",
    "contains": "_contains", "containsAll": "_contains_some", "containsAny": "_contains_some",
    "isEmpty": "_is_empty", "getTag": "_tag", "hasTag": "_tag", "Set": "_set", "Record": "_record",
}  # fmt: skip
