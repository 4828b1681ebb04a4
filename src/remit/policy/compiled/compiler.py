"""One policy in Cedar's JSON form (docs.cedarpolicy.com, JSON format) as one Python function, checked at each step.

1. The scope becomes tests that can't fail: equality, type, membership among ancestors.
2. Each condition becomes one Python expression over the operators of `operators`; `&&`, `||` and `if` are Python's own
   and skip what Cedar skips.
3. What has no translation raises `Unsupported`: then nothing of the policy is compiled.

SECURITY: of a policy, only its structure becomes source; names and literals are `repr` of strings and integers, or
stand in a table of constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from remit.policy.compiled import operators
from remit.policy.compiled.extensions import EXTENSIONS
from remit.policy.compiled.operators import Entities
from remit.policy.compiled.values import Entity, Failed, Set, Unsupported, call, entity_of, equal, key, value_of

# principal, action, resource, context, entities, and the ancestors of the first three.
Matches = Callable[
    [Entity, Entity, Entity, Mapping[str, Any], Entities, frozenset[Entity], frozenset[Entity], frozenset[Entity]], bool
]

ARGUMENTS: Final = "principal, action, resource, context, entities, above_principal, above_action, above_resource"
ABOVE: Final = {"principal": "above_principal", "action": "above_action", "resource": "above_resource"}
VARIABLES: Final = frozenset({"principal", "action", "resource", "context"})
_IS_BOOLEAN: Final = frozenset(
    {"==", "!=", "!", "&&", "||", "<", "<=", ">", ">=", "in", "has", "like", "is", "contains", "containsAll"}
    | {"containsAny", "isEmpty", "hasTag"}
)
_CALLS: Final = {"contains": "contains", "containsAll": "contains_all", "containsAny": "contains_any"}
NAMES: Final[dict[str, Any]] = {
    "boolean": operators.boolean, "long": operators.long, "in_bounds": operators.in_bounds, "less": operators.less,
    "less_or_equal": operators.less_or_equal, "attribute": operators.attribute, "has": operators.has,
    "has_path": operators.has_path, "is_in": operators.is_in, "is_type": operators.is_type, "like": operators.like,
    "contains": operators.contains, "contains_all": operators.contains_all, "contains_any": operators.contains_any,
    "is_empty": operators.is_empty, "tag": operators.tag, "has_tag": operators.has_tag, "equal": equal, "call": call,
    "Set": Set, "key": key, "ABSENT": operators.ABSENT, "__builtins__": {},
    # Called where the types of their arguments are certain.
    **{name: function for name, (_, function) in EXTENSIONS.items()},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compiled:
    """One policy: what it says where it matches, where it can match, and whether it does."""

    id: str
    forbids: bool
    matches: Matches
    principals: frozenset[Entity] | None  # one of them is the principal or above it; None: any principal
    actions: frozenset[Entity] | None


def compile_policy(id_: str, policy: Mapping[str, Any], slots: Mapping[str, Entity] | None = None) -> Compiled:
    """The policy, or the template with `slots` (`?principal`, `?resource`) filled; `Unsupported` where it can't be."""
    writer = _Writer(slots or {})
    try:
        code = compile(f"lambda {ARGUMENTS}: {writer.tests(policy)}", "<policy>", "eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise Unsupported("it is nested too deeply") from error
    function = eval(code, {**NAMES, **writer.constants})  # noqa: S307 - see SECURITY
    principals, actions = writer.anchors(policy["principal"]), writer.anchors(policy["action"])
    return Compiled(id_, policy["effect"] == "forbid", function, principals, actions)


class Scope:
    """Writes the tests of scopes; constants are collected in a table."""

    def __init__(self, slots: Mapping[str, Entity]) -> None:
        self.constants: dict[str, Any] = {}
        self.slots = slots

    def scopes(self, policy: Mapping[str, Any]) -> list[str]:
        """The tests of the parts of the scope that are not open."""
        return [test for name in ABOVE if (test := self.scope(policy[name], name))]

    def scope(self, form: Mapping[str, Any], name: str) -> str:
        """The test of one part of the scope; "" for none."""
        op = form["op"]
        if op == "All":
            return ""
        if op == "==":
            return f"{name} == {self.constant(self._entity(form))}"
        if op == "in":
            return self._below(form, name)
        if op == "is":
            test = f"{name}[0] == {form['entity_type']!r}"
            return f"{test} and {self._below(form['in'], name)}" if "in" in form else test
        raise Unsupported(f"the scope `{op}`")

    def anchors(self, form: Mapping[str, Any]) -> frozenset[Entity] | None:
        """The entities of which one must be this part of the request, or above it."""
        if form["op"] == "is":
            return self.anchors({"op": "in", **form["in"]}) if "in" in form else None
        if form["op"] == "All":
            return None
        return frozenset(map(entity_of, form["entities"])) if "entities" in form else frozenset({self._entity(form)})

    def _below(self, form: Mapping[str, Any], name: str) -> str:
        if "entities" in form:
            several = self.constant(frozenset(map(entity_of, form["entities"])))
            return f"not {ABOVE[name]}.isdisjoint({several})"
        return f"{self.constant(self._entity(form))} in {ABOVE[name]}"

    def _entity(self, form: Mapping[str, Any]) -> Entity:
        return self.slot(form["slot"]) if "slot" in form else entity_of(form["entity"])

    def slot(self, name: Any) -> Entity:
        """The entity that fills a slot."""
        if name not in self.slots:
            raise Unsupported("a template that is not linked")
        return self.slots[name]

    def constant(self, value: Any) -> str:
        """The name of a value in the table."""
        name = f"_{len(self.constants)}"
        self.constants[name] = value
        return name


class _Writer(Scope):
    """Writes expressions."""

    def tests(self, policy: Mapping[str, Any]) -> str:
        """All that must hold for the policy to match, in Cedar's order."""
        found = self.scopes(policy)
        for condition in policy.get("conditions", ()):
            body = self.boolean(condition["body"])
            found.append(body if condition["kind"] == "when" else f"(not {body})")
        return " and ".join(found) or "True"

    def boolean(self, form: Mapping[str, Any]) -> str:
        """An expression that is a boolean, or fails."""
        ((op, of),) = form.items()
        written = self.expression(form)
        return written if op in _IS_BOOLEAN or (op == "Value" and type(of) is bool) else f"boolean({written})"

    def expression(self, form: Mapping[str, Any]) -> str:
        """An expression."""
        ((op, of),) = form.items()
        if op == "Value":
            return self._literal(of)
        if op == "Var":
            if of not in VARIABLES:
                raise Unsupported(f"the variable `{of}`")
            return str(of)
        if op == "Slot":
            return self.constant(self.slot(of))
        written = getattr(self, _METHODS[op])(op, of) if op in _METHODS else self._call(op, of)
        return str(written)

    def _logic(self, op: str, of: Mapping[str, Any]) -> str:
        # A chain is written flat, so that its length is no depth.
        parts: list[str] = []
        left: Mapping[str, Any] = {op: of}
        while op in left:
            parts.append(self.boolean(left[op]["right"]))
            left = left[op]["left"]
        parts.append(self.boolean(left))
        return f"({(' and ' if op == '&&' else ' or ').join(reversed(parts))})"

    def _not(self, _: str, of: Mapping[str, Any]) -> str:
        return f"(not {self.boolean(of['arg'])})"

    def _if(self, _: str, of: Mapping[str, Any]) -> str:
        then, other = self.expression(of["then"]), self.expression(of["else"])
        return f"({then} if {self.boolean(of['if'])} else {other})"

    def _equal(self, op: str, of: Mapping[str, Any]) -> str:
        written = f"equal({self.expression(of['left'])}, {self.expression(of['right'])})"
        return written if op == "==" else f"(not {written})"

    def _compare(self, op: str, of: Mapping[str, Any]) -> str:
        left, right = self.expression(of["left"]), self.expression(of["right"])
        written = f"{'less_or_equal' if op in ('<=', '>') else 'less'}({left}, {right})"
        return written if op in ("<", "<=") else f"(not {written})"

    def _arithmetic(self, op: str, of: Mapping[str, Any]) -> str:
        return f"in_bounds(long({self.expression(of['left'])}) {op} long({self.expression(of['right'])}))"

    def _negated(self, _: str, of: Mapping[str, Any]) -> str:
        return f"in_bounds(-long({self.expression(of['arg'])}))"

    def _attribute(self, _: str, of: Mapping[str, Any]) -> str:
        return f"attribute({self.expression(of['left'])}, {of['attr']!r}, entities)"

    def _has(self, _: str, of: Mapping[str, Any]) -> str:
        names = of["attr"]
        if isinstance(names, str):
            return f"has({self.expression(of['left'])}, {names!r}, entities)"
        return f"has_path({self.expression(of['left'])}, {tuple(names)!r}, entities)"

    def _in(self, _: str, of: Mapping[str, Any]) -> str:
        return f"is_in({self.expression(of['left'])}, {self.expression(of['right'])}, entities)"

    def _is(self, _: str, of: Mapping[str, Any]) -> str:
        left = self.expression(of["left"])
        written = f"is_type({left}, {of['entity_type']!r})"
        return f"({written} and is_in({left}, {self.expression(of['in'])}, entities))" if "in" in of else written

    def _like(self, _: str, of: Mapping[str, Any]) -> str:
        fits = self.constant(operators.pattern(of["pattern"]))
        return f"like({self.expression(of['left'])}, {fits})"

    def _contains(self, op: str, of: Mapping[str, Any]) -> str:
        return f"{_CALLS[op]}({self.expression(of['left'])}, {self.expression(of['right'])})"

    def _is_empty(self, _: str, of: Mapping[str, Any]) -> str:
        return f"is_empty({self.expression(of['arg'])})"

    def _tag(self, op: str, of: Mapping[str, Any]) -> str:
        name = "tag" if op == "getTag" else "has_tag"
        return f"{name}({self.expression(of['left'])}, {self.expression(of['right'])}, entities)"

    def _set(self, _: str, of: Sequence[Mapping[str, Any]]) -> str:
        return f"Set(({''.join(self.expression(each) + ', ' for each in of)}))"

    def _record(self, _: str, of: Mapping[str, Mapping[str, Any]]) -> str:
        return "{" + ", ".join(f"{name!r}: {self.expression(each)}" for name, each in of.items()) + "}"

    def _call(self, op: str, of: Any) -> str:
        if op not in EXTENSIONS or not isinstance(of, list):
            raise Unsupported(f"`{op}`")
        if len(of) == 1 and type(text := of[0].get("Value")) is str:
            with suppress(Failed):  # one that can't be made fails when it is evaluated
                return self.constant(call(op, text))
        written = [self.expression(each) for each in of]
        return f"call({op!r}, {', '.join(written)})"

    def _literal(self, form: Any) -> str:
        if type(form) in (str, bool, int):
            return repr(value_of(form))
        try:
            return self.constant(value_of(form))
        except Failed as error:
            raise Unsupported("a literal that can't be made") from error


_METHODS: Final = {
    "&&": "_logic", "||": "_logic", "!": "_not", "if-then-else": "_if", "==": "_equal", "!=": "_equal",
    "<": "_compare", "<=": "_compare", ">": "_compare", ">=": "_compare", "+": "_arithmetic", "-": "_arithmetic",
    "*": "_arithmetic", "neg": "_negated", ".": "_attribute", "has": "_has", "in": "_in", "is": "_is", "like": "_like",
    "contains": "_contains", "containsAll": "_contains", "containsAny": "_contains", "isEmpty": "_is_empty",
    "getTag": "_tag", "hasTag": "_tag", "Set": "_set", "Record": "_record",
}  # fmt: skip
