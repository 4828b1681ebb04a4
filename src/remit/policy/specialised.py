"""Policies rewritten for one kind of request: what is known of it is taken out, and decimals become integers.

A Cedar decimal is a 64-bit integer of ten-thousandths, so comparing those integers is comparing the decimals
(https://docs.cedarpolicy.com/policies/syntax-datatypes.html), and the engine reads them an order of magnitude
faster. Sound for policies that passed strict validation, on contexts of the schema's shape. Whatever is not
known here stays as it was written: then the whole slice does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from remit.policy.reads import INTENT, Uid, action_test, chain

_DEPTH: Final = 48  # the engine reads policies as JSON only to a depth of 128
_DECIMAL = re.compile(r"(-?)([0-9]{1,15})\.([0-9]{1,4})")
_COMPARISONS: Final = {
    "lessThan": "<",
    "lessThanOrEqual": "<=",
    "greaterThan": ">",
    "greaterThanOrEqual": ">=",
}
_BINARY = ("&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "in", "contains", "containsAll", "containsAny")
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_BINARY, ("left", "right")),
    **dict.fromkeys(("!", "neg", "isEmpty"), ("arg",)),
    **dict.fromkeys((".", "has", "like"), ("left",)),
    "is": ("left", "in"),
    "if-then-else": ("if", "then", "else"),
}
_CALLS: Final = frozenset({"datetime", "duration", "offset", "durationSince", "toDate", "toTime", "ip"}) | frozenset(
    {"toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays", "isIpv4", "isIpv6", "isLoopback", "isMulticast"}
)


class Unknown(Exception):
    """The policy has something that is not rewritten here."""


def specialise(policy: Mapping[str, Any], groups: frozenset[Uid], principals: tuple[str, ...], intent: str) -> Any:
    """The policy for requests of one action (`groups`: it and all that it is a member of), resource and intent.

    It must be one that `reads.applies` to them. `principals` are the types that the action allows; `intent` is ""
    where the request has none. Raises `Unknown`.
    """
    is_only = {"op": "is", "entity_type": f"Remit::{principals[0]}"} if len(principals) == 1 else None
    resource = policy["resource"]
    return {
        "effect": policy["effect"],
        "principal": {"op": "All"} if policy["principal"] == is_only else policy["principal"],
        "action": {"op": "All"},
        "resource": {"op": "All"} if resource["op"] in ("==", "is") and "in" not in resource else resource,
        "conditions": [
            {"kind": condition["kind"], "body": _rewrite(condition["body"], 0)}
            for condition in _unsettled(policy.get("conditions", ()), groups, intent)
        ],
    }


def as_integers(value: Any) -> Any:
    """A context value with each decimal as its ten-thousandths; `ValueError` when one is malformed."""
    if type(value) is dict:
        extension = value.get("__extn")
        if extension is None:
            return {name: as_integers(item) for name, item in value.items()}
        return _ten_thousandths(extension["arg"]) if extension["fn"] == "decimal" else value
    if type(value) is list:
        return [as_integers(item) for item in value]
    return value


def _ten_thousandths(text: str) -> int:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError("malformed decimal")
    number = int(match[2] + match[3].ljust(4, "0"))
    return -number if match[1] else number


def _unsettled(conditions: Any, groups: frozenset[Uid], intent: str) -> list[Any]:
    """The conditions without the leading ones that hold for every such request."""
    rest = list(conditions)
    while rest:
        condition = rest[0]
        actions = action_test(condition["body"])
        holds = actions is not None and (condition["kind"] == "when") is not actions.isdisjoint(groups)
        if not holds and not (intent and condition["kind"] == "when" and _is_guard(condition["body"], intent)):
            break
        rest.pop(0)
    return rest


def _is_guard(body: Mapping[str, Any], intent: str) -> bool:
    """Whether the condition is `context.task.intent == "…"` for this intent, and nothing else."""
    test = body.get("==")
    return isinstance(test, dict) and chain(test["left"]) == ("context", INTENT) and test["right"] == {"Value": intent}


def _rewrite(node: Any, depth: int) -> Any:
    if depth > _DEPTH or not isinstance(node, dict) or len(node) != 1:
        raise Unknown
    ((op, args),) = node.items()
    depth += 1
    if op in ("Value", "Var"):
        return node
    if op == "decimal":
        return {"Value": _ten_thousandths(args[0]["Value"])}
    if op in _COMPARISONS:
        return {_COMPARISONS[op]: {"left": _rewrite(args[0], depth), "right": _rewrite(args[1], depth)}}
    if op == "Set" or op in _CALLS:
        return {op: [_rewrite(item, depth) for item in args]}
    if op == "Record":
        return {op: {name: _rewrite(item, depth) for name, item in args.items()}}
    if op in _PARTS:
        return {op: {**args, **{part: _rewrite(args[part], depth) for part in _PARTS[op] if part in args}}}
    raise Unknown
