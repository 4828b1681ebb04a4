"""What a policy reads and where it can apply, from its JSON form (Cedar's EST).

Sound by construction: where this is unsure, a policy applies everywhere and reads everything. Slices, projections
and previews rest on it (https://docs.cedarpolicy.com/policies/json-format.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

Uid = tuple[str, str]  # (type with namespace, id)
Path = tuple[str, ...]  # below `context`

INTENT: Final[Path] = ("task", "intent")
# Facts that depend on the arguments: unknown while only the tool's name is known.
_INPUT: Final = ("input", "destination")
_USAGE: Final = ("task", "usage")


class Scope(msgspec.Struct, frozen=True):
    """Where a policy can apply. None stands for everywhere."""

    action: Uid | None  # exactly this one; a group's name matches no action
    actions: frozenset[Uid] | None  # one of these, or a member of one of them
    resource: Uid | None  # exactly this one
    resource_type: str | None
    intent: str | None  # only while the task has this intent
    tests: tuple[tuple[bool, frozenset[Uid]], ...]  # (wanted, actions): the action must, or must not, be among them


class Reads(msgspec.Struct, frozen=True):
    """What the conditions of a policy mention."""

    values: frozenset[Path]  # of the context; `()` is the whole of it
    tests: frozenset[Path]  # paths that are only tested with `has`
    entities: frozenset[Uid]
    intents: frozenset[str]  # literals compared with the task's intent

    @property
    def paths(self) -> frozenset[Path]:
        """All that must be in the context for the policy to see what it would see in the whole."""
        return self.values | self.tests

    @property
    def needs_input(self) -> bool:
        """Whether the outcome can depend on the arguments of the call."""
        return any(_depends_on_input(path) for path in self.values) or any(
            _depends_on_input(path) and not (path[:2] == _USAGE and len(path) <= 3) for path in self.tests
        )

    def is_known(self, facts: frozenset[str]) -> bool:
        """Whether the outcome is settled by these attributes of the context, as wholes, and the task's intent."""
        if self.needs_input:
            return False
        return all(path == INTENT or (path[:1] and path[0] in facts) for path in self.paths)


def scope_of(policy: Mapping[str, Any]) -> Scope:
    """Where the policy can apply."""
    action, resource = policy["action"], policy["resource"]
    guard, tests = _leading(policy.get("conditions", ()))
    return Scope(
        action=_uid(action["entity"]) if action["op"] == "==" else None,
        actions=frozenset(_named(action)) if action["op"] == "in" else None,
        resource=_uid(resource["entity"]) if resource["op"] == "==" else None,
        resource_type=resource["entity_type"] if resource["op"] == "is" else None,
        intent=guard,
        tests=tests,
    )


def reads_of(policy: Mapping[str, Any]) -> Reads:
    """What the policy's conditions mention."""
    values: set[Path] = set()
    tests: set[Path] = set()
    entities: set[Uid] = set()
    intents: set[str] = set()
    for name in ("principal", "action", "resource"):
        entities.update(_named(policy[name]))
    stack: list[Any] = [condition["body"] for condition in policy.get("conditions", ())]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, dict):
            continue
        for op, args in node.items():
            if op == "Value":
                entities.update(_entities_in(args))
            elif op == "Var":
                values.update([()] if args == "context" else [])
            elif op in (".", "has"):
                variable, path = chain(args["left"])
                path += (args["attr"],)
                if variable is None:
                    stack.append(args["left"])
                elif variable == "context":
                    (values if op == "." else tests).add(path)
            else:
                if op in ("==", "!="):
                    intents.update(_compared_intent(args))
                stack.extend(args.values() if isinstance(args, dict) else [args])
    return Reads(frozenset(values), frozenset(tests), frozenset(entities), frozenset(intents))


def chain(node: Any) -> tuple[str | None, Path]:
    """The variable and the attributes of `variable.a.b`; the variable is None for any other expression."""
    names: list[str] = []
    while isinstance(node, dict) and "." in node:
        names.append(node["."]["attr"])
        node = node["."]["left"]
    variable = node.get("Var") if isinstance(node, dict) else None
    return variable, tuple(reversed(names))


def applies(scope: Scope, action: Uid, groups: frozenset[Uid], resource: Uid | None, intent: str | None) -> bool:
    """Whether the policy could match: `groups` are the action and all that it is a member of.

    `resource` and `intent` may be None: unknown. A policy for which this is False neither matches nor errors.
    """
    if scope.action not in (None, action):
        return False
    if scope.actions is not None and scope.actions.isdisjoint(groups):
        return False
    if resource is not None and scope.resource not in (None, resource):
        return False
    if resource is not None and scope.resource_type not in (None, resource[0]):
        return False
    if intent is not None and scope.intent not in (None, intent):
        return False
    return all(wanted is not actions.isdisjoint(groups) for wanted, actions in scope.tests)


def _leading(conditions: Iterable[Mapping[str, Any]]) -> tuple[str | None, tuple[tuple[bool, frozenset[Uid]], ...]]:
    """The intent and the action tests that stand before anything that could error."""
    guard: str | None = None
    tests: list[tuple[bool, frozenset[Uid]]] = []
    for condition in conditions:
        body, wanted = condition["body"], condition["kind"] == "when"
        actions = action_test(body)
        if actions is not None:
            tests.append((wanted, actions))
            continue
        if not wanted:
            break
        first = body
        while "&&" in first:
            first = first["&&"]["left"]
        intent = next(_compared_intent(first["=="]), None) if "==" in first else None
        if intent is None:
            break
        if guard is not None and guard != intent:
            break
        guard = intent
        if first is not body:
            break
    return guard, tuple(tests)


def action_test(body: Mapping[str, Any]) -> frozenset[Uid] | None:
    """The actions of a bare `action in […]`, or None."""
    test = body.get("in")
    if not isinstance(test, dict) or test.get("left") != {"Var": "action"}:
        return None
    right = test["right"]
    items = right.get("Set", [right])
    found = [list(_entities_in(item.get("Value"))) for item in items]
    return frozenset(uids[0] for uids in found) if all(len(uids) == 1 for uids in found) else None


def _compared_intent(args: Mapping[str, Any]) -> Iterator[str]:
    for one, other in ((args["left"], args["right"]), (args["right"], args["left"])):
        value = other.get("Value") if isinstance(other, dict) else None
        if isinstance(value, str) and chain(one) == ("context", INTENT):
            yield value


def _named(constraint: Mapping[str, Any]) -> Iterator[Uid]:
    if "entity" in constraint:
        yield _uid(constraint["entity"])
    for entity in constraint.get("entities", ()):
        yield _uid(entity)
    inner = constraint.get("in")
    if isinstance(inner, dict) and "entity" in inner:
        yield _uid(inner["entity"])


def _entities_in(value: Any) -> Iterator[Uid]:
    if isinstance(value, dict) and "__entity" in value:
        yield _uid(value["__entity"])
    elif isinstance(value, dict):
        for item in value.values():
            yield from _entities_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _entities_in(item)


def _uid(entity: Mapping[str, Any]) -> Uid:
    inner = entity.get("__entity", entity)
    return inner["type"], inner["id"]


def _depends_on_input(path: Path) -> bool:
    if not path or path[0] in _INPUT:
        return True
    if path == ("task",) or path == _USAGE:
        return True
    return path[:2] == _USAGE and (len(path) == 3 or path[3] != "calls")
