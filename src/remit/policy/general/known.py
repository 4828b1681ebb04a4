"""What is known of a search besides who is sought: the values of expressions that do not depend on that.

Exact or `UNKNOWN`: only texts, numbers, truth values, entities, and sets and records of such are worked out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from remit.policy.entities import Entities
from remit.policy.general.index import key_of
from remit.policy.reads import Uid

_DEPTH: Final = 64


class _Unknown:
    """A value that depends on who is sought, or that is not worked out here."""


UNKNOWN: Final = _Unknown()


class Known:
    """The variables of a question but one, its context, and what its caller says of entities."""

    def __init__(
        self,
        entities: Entities,
        variables: Mapping[str, Uid],
        context: Mapping[str, Any],
        said: Mapping[Uid, Mapping[str, Any]],
        sought: str,
        open_: frozenset[str] | None,
    ) -> None:
        """`sought` is a type; those of it may have the attributes `open_` besides their own (None: any)."""
        self._entities = entities
        self._variables = variables
        self._context = context
        self._said = said
        self._sought = sought
        self._open = open_

    def value(self, node: Any, depth: int = 0) -> Any:
        """The value of an expression, in Cedar's JSON form; `UNKNOWN` where it is not certain."""
        if depth > _DEPTH or not isinstance(node, dict) or len(node) != 1:
            return UNKNOWN
        ((op, args),) = node.items()
        depth += 1
        if op == "Value":
            return args
        if op == "Var":
            return self._context if args == "context" else _reference(self._variables.get(args))
        if op == "Set":
            values = [self.value(item, depth) for item in args]
            return UNKNOWN if any(value is UNKNOWN for value in values) else values
        if op == ".":
            return self._attributes(self.value(args["left"], depth)).get(args["attr"], UNKNOWN)
        if op == "has":
            return self._has(self.value(args["left"], depth), args["attr"])
        if op in ("==", "!="):
            left, right = (key_of(self.value(args[side], depth)) for side in ("left", "right"))
            return UNKNOWN if left is None or right is None else (left == right) is (op == "==")
        if op == "in":
            return self._is_in(self.value(args["left"], depth), self.value(args["right"], depth))
        if op == "contains":
            left, key = self.value(args["left"], depth), key_of(self.value(args["right"], depth))
            keys = [key_of(item) for item in left] if type(left) is list else [None]
            return UNKNOWN if key is None or None in keys else key in keys
        if op == "is" and "in" not in args:
            uid = uid_in(self.value(args["left"], depth))
            return UNKNOWN if uid is None else uid[0] == args["entity_type"]
        return UNKNOWN

    def _is_in(self, left: Any, right: Any) -> Any:
        uid = uid_in(left)
        places = [uid_in(each) for each in (right if type(right) is list else [right])]
        if uid is None or any(place is None for place in places):
            return UNKNOWN
        return not {uid, *self._entities.ancestors.get(uid, ())}.isdisjoint(places)

    def _has(self, value: Any, attribute: str) -> Any:
        uid = uid_in(value)
        if value is UNKNOWN or (uid is None and not isinstance(value, Mapping)):
            return UNKNOWN
        if attribute in self._attributes(value):
            return True
        if uid is not None and uid[0] == self._sought and (self._open is None or attribute in self._open):
            return UNKNOWN  # it may be the very one who is sought
        return False

    def _attributes(self, value: Any) -> Mapping[str, Any]:
        """The members of a record, or what policies see of an entity; none for anything else."""
        uid = uid_in(value)
        if uid is None:
            is_record = isinstance(value, Mapping) and "__extn" not in value
            return value if is_record else {}
        known = self._entities.by_uid.get(uid)
        said = self._said.get(uid, {})
        return {**said, **known.attrs} if known is not None else said


def uid_in(value: Any) -> Uid | None:
    """The entity that a value is."""
    named = value.get("__entity") if type(value) is dict else None
    return (named["type"], named["id"]) if named is not None else None


def _reference(uid: Uid | None) -> Any:
    return UNKNOWN if uid is None else {"__entity": {"type": uid[0], "id": uid[1]}}
