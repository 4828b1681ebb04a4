"""Which entities a search has to look at: those that some permit could match, by looking values up.

Only the permits of a slice are read, and only what is certain leaves a candidate out: an expression that is not
understood could hold for everybody. What is left is decided by the engine, one by one, so a candidate too many costs
time and a candidate too few would be an answer too few; property tests compare with trying everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from remit.policy.entities.files import Entities
from remit.policy.general.index import Index, key_of
from remit.policy.general.known import UNKNOWN, Known, uid_in
from remit.policy.reads import Uid
from remit.policy.sources import Policy

Ids = frozenset[str] | None  # None: everybody

_NOBODY: Final[frozenset[str]] = frozenset()
_DEPTH: Final = 64


class Narrowing:
    """One search: who is sought, and all that is known besides."""

    def __init__(
        self,
        entities: Entities,
        index: Index,
        sought: tuple[str, str],
        known: Mapping[str, Uid],
        context: Mapping[str, Any],
        said: Mapping[Uid, Mapping[str, Any]],
        supplied: Mapping[str, Any],
        *,
        strangers: bool = False,
    ) -> None:
        """`sought` is a variable and its type; `known` has the other variables.

        `said` is what the caller says of known entities, `supplied` what he says of each that is sought. With
        `strangers`, the question is only whether some that is in no file could match: then its attributes may be
        anything, and it is in nothing.
        """
        self._entities = entities
        self._index = index
        self._variable, self._type = sought
        self._known = Known(entities, known, context, said, self._type, None if strangers else frozenset(supplied))
        self._supplied = supplied
        self._strangers = strangers
        self._closed = entities.declared.types[self._type].closed

    def candidates(self, policies: Iterable[Policy]) -> Ids:
        """Everybody whom one of the permits among `policies` could match."""
        found: Ids = _NOBODY
        for policy in policies:
            if policy.effect == "permit":
                found = _either(found, self._policy(policy))
                if found is None:
                    break
        return found

    def _policy(self, policy: Policy) -> Ids:
        found: Ids = None
        for variable in ("principal", "resource"):
            found = _both(found, self._scope(variable, policy.json[variable]))
        for condition in policy.json.get("conditions", ()):
            if found == _NOBODY:
                break
            found = _both(found, self._holds(condition["body"], condition["kind"] == "when", 0))
        return found

    def _scope(self, variable: str, constraint: Mapping[str, Any]) -> Ids:
        inner = constraint.get("in") if constraint["op"] == "is" else constraint
        if inner is None or "entity" not in inner:
            return None  # the slice has only policies for these types
        op = "==" if constraint["op"] == "==" else "in"
        right = {"Value": {"__entity": inner["entity"]}}
        return self._holds({op: {"left": {"Var": variable}, "right": right}}, True, 0)

    def _holds(self, node: Any, wanted: bool, depth: int) -> Ids:
        """For whom the expression could be `wanted`."""
        if depth > _DEPTH or not isinstance(node, dict) or len(node) != 1:
            return None
        ((op, args),) = node.items()
        depth += 1
        if op == "!":
            return self._holds(args["arg"], not wanted, depth)
        if op in ("&&", "||"):
            join = _both if (op == "&&") is wanted else _either
            left = self._holds(args["left"], wanted, depth)
            if left == _NOBODY and join is _both:
                return left
            return join(left, self._holds(args["right"], wanted, depth))
        if op == "if-then-else":
            branches = [
                _both(self._holds(args["if"], taken, depth), self._holds(args[branch], wanted, depth))
                for branch, taken in (("then", True), ("else", False))
            ]
            return _either(branches[0], branches[1])
        value = self._known.value(node)
        if value is not UNKNOWN:
            return None if value is wanted else _NOBODY
        if op == "!=":
            return self._equals(args["left"], args["right"]) if not wanted else None
        if not wanted:
            return None
        test = _TESTS.get(op)
        return test(self, args) if test is not None else None

    def _equals(self, left: Any, right: Any) -> Ids:
        for one, other in ((left, right), (right, left)):
            value = self._known.value(other)
            if value is UNKNOWN:
                continue
            if one == {"Var": self._variable}:
                return self._just(value)
            attribute = self._attribute(one)
            if attribute is not None:
                return self._with_value(attribute, value)
        return None

    def _is_in(self, left: Any, right: Any) -> Ids:
        """`left in right`."""
        above = self._known.value(right)
        if above is not UNKNOWN:
            places = [uid_in(each) for each in (above if type(above) is list else [above])]
            if any(place is None for place in places):
                return None
            return _any_of(self._below(left, place) for place in places if place is not None)
        below = uid_in(self._known.value(left))
        if below is None:
            return None
        within = [below, *self._entities.ancestors.get(below, ())]
        if right == {"Var": self._variable}:
            return _any_of(self._just({"__entity": {"type": type_, "id": id_}}) for type_, id_ in within)
        attribute = self._attribute(right)
        if attribute is None:
            return None
        values = [{"__entity": {"type": type_, "id": id_}} for type_, id_ in within]
        return _any_of(
            ids for value in values for ids in (self._with_value(attribute, value), self._holding(attribute, value))
        )

    def _below(self, left: Any, place: Uid) -> Ids:
        """For whom `left` is in one place."""
        if left == {"Var": self._variable}:
            if self._strangers:
                return frozenset([place[1]]) if place[0] == self._type else _NOBODY
            return self._index.below(self._type, place)
        return None

    def _contains(self, args: Mapping[str, Any]) -> Ids:
        """`left.contains(right)`."""
        values = self._known.value(args["left"])
        if type(values) is list:
            if args["right"] == {"Var": self._variable}:
                return _any_of(self._just(value) for value in values)
            attribute = self._attribute(args["right"])
            return None if attribute is None else _any_of(self._with_value(attribute, value) for value in values)
        attribute, value = self._attribute(args["left"]), self._known.value(args["right"])
        return None if attribute is None or value is UNKNOWN else self._holding(attribute, value)

    def _contains_any(self, args: Mapping[str, Any]) -> Ids:
        """`left.containsAny(right)`."""
        for one, other in ((args["left"], args["right"]), (args["right"], args["left"])):
            attribute, values = self._attribute(one), self._known.value(other)
            if attribute is not None and type(values) is list:
                return _any_of(self._holding(attribute, value) for value in values)
        return None

    def _contains_all(self, args: Mapping[str, Any]) -> Ids:
        """`left.containsAll(right)`."""
        attribute, values = self._attribute(args["left"]), self._known.value(args["right"])
        if attribute is None or type(values) is not list:
            return None
        found: Ids = None
        for value in values:
            found = _both(found, self._holding(attribute, value))
        return found

    def _has(self, args: Mapping[str, Any]) -> Ids:
        """`left has attr`."""
        if args["left"] != {"Var": self._variable} or args["attr"] in self._supplied:
            return None
        return self._given(args["attr"]) if self._strangers else self._index.having(self._type, args["attr"])

    def _is(self, args: Mapping[str, Any]) -> Ids:
        """`left is type in right`."""
        if args["left"] == {"Var": self._variable} and args["entity_type"] != self._type:
            return _NOBODY
        return self._is_in(args["left"], args["in"]) if "in" in args else None

    def _just(self, value: Any) -> Ids:
        """The one that the value names."""
        uid = uid_in(value)
        if uid is None:
            return None
        return frozenset([uid[1]]) if uid[0] == self._type else _NOBODY

    def _with_value(self, attribute: str, value: Any) -> Ids:
        key = key_of(value)
        if key is None or self._strangers:
            return self._given(attribute)
        supplied = self._supplied.get(attribute)
        if supplied is not None and key_of(supplied) in (key, None):
            return None  # whoever has no value of his own has this one
        return self._index.equal(self._type, attribute).get(key, _NOBODY)

    def _holding(self, attribute: str, value: Any) -> Ids:
        key = key_of(value)
        if key is None or self._strangers or attribute in self._supplied:
            return self._given(attribute)
        return self._index.holding(self._type, attribute).get(key, _NOBODY)

    def _given(self, attribute: str) -> Ids:
        """Who may have an attribute of any value: of strangers nobody, where only files give it."""
        return _NOBODY if self._strangers and attribute in self._closed else None

    def _attribute(self, node: Any) -> str | None:
        """The attribute of the one who is sought; None for any other expression."""
        if isinstance(node, dict) and "." in node and node["."]["left"] == {"Var": self._variable}:
            name: str = node["."]["attr"]
            return name
        return None


_TESTS: Final[Mapping[str, Callable[[Narrowing, Mapping[str, Any]], Ids]]] = {
    "==": lambda narrowing, args: narrowing._equals(args["left"], args["right"]),
    "in": lambda narrowing, args: narrowing._is_in(args["left"], args["right"]),
    "contains": Narrowing._contains,
    "containsAny": Narrowing._contains_any,
    "containsAll": Narrowing._contains_all,
    "has": Narrowing._has,
    "is": Narrowing._is,
}


def _both(one: Ids, other: Ids) -> Ids:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _either(one: Ids, other: Ids) -> Ids:
    return None if one is None or other is None else one | other


def _any_of(found: Iterable[Ids]) -> Ids:
    union: Ids = _NOBODY
    for ids in found:
        union = _either(union, ids)
    return union
