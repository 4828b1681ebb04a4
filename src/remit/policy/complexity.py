"""How much work a tool's JSON Schema can make of one value, so that a server's schema can't hold up decisions.

A validator visits a value once for each branch of `anyOf` and its like. References that fan out double the work with
each step, and references back double it with each level of the value; a small schema can ask for hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from remit.core import bounds

MAX_VISITS: Final = 20_000  # of subschemas, all references followed once
_WORK: Final = 1_000_000  # visits for one value; tens of milliseconds
_BRANCHING: Final = frozenset({"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas"})
_NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_APART: Final = frozenset({"enum", "const", "default", "examples", "required", "$defs", "definitions"})
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


def depth_allowed(schema: Mapping[str, Any]) -> int:
    """How deep a value may be for validation by `schema` to stay within bounds; 0: no value is safe."""
    visits = returns = 0
    stack: list[tuple[Any, frozenset[str], bool]] = [(schema, frozenset(["#"]), False)]
    while stack:
        node, within, branching = stack.pop()
        visits += 1
        if visits > MAX_VISITS:
            return 0
        if isinstance(node, list):
            stack.extend((item, within, branching) for item in node)
        if not isinstance(node, dict):
            continue
        for name in _references(node):
            target = _target(schema, name)
            if target is None or name in within:
                returns += branching
            else:
                stack.append((target, within | {name}, branching))
        for key, part in node.items():
            if key in _NAMED and isinstance(part, dict):  # names of properties are no keywords
                stack.extend((item, within, branching or key in _BRANCHING) for item in part.values())
            elif key not in _APART:
                stack.append((part, within, branching or key in _BRANCHING))
    if returns < 2:
        return bounds.JSON_DEPTH
    return min(bounds.JSON_DEPTH, int(math.log(_WORK / visits, returns)))


def _references(node: Mapping[str, Any]) -> Iterator[str]:
    for key in _REFERENCES:
        name = node.get(key)
        if isinstance(name, str):
            yield name


def _target(schema: Mapping[str, Any], name: str) -> Any:
    """What a reference into the same document names; None when it is not a path."""
    if name == "#":
        return schema
    if not name.startswith("#/"):
        return None
    target: Any = schema
    for step in name[2:].split("/"):
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return target
