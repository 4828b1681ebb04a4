"""Whether a result can have a field, as far as the tool's output schema tells."""

from __future__ import annotations

from typing import Any, Final

# Keywords that say more than is looked at here.
_OPEN: Final = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "prefixItems"}
)
_WRAPPED: Final = "result"  # MCP SDKs wrap a value that is no object: {"result": …}


def has_field(schema: Any, path: str) -> bool:
    """Whether a result of this output schema can have the field; true where no schema is declared, or it is open.

    A path goes through the elements of lists, and through the `result` that a server wraps its value in.
    """
    return schema is None or _reaches(schema, tuple(path.split(".")))


def has_list(schema: Any, path: str) -> bool:
    """Whether there can be a list at `path`; an empty one means the result itself."""
    return schema is None or _reaches(schema, tuple(path.split(".")) if path else (), "array")


def _reaches(schema: Any, steps: tuple[str, ...], wanted: str = "") -> bool:
    if not isinstance(schema, dict):
        return schema is not False
    if schema.keys() & _OPEN:
        return True
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    is_wrapped = properties.keys() == {_WRAPPED} and (not steps or steps[0] != _WRAPPED)
    if is_wrapped and _reaches(properties[_WRAPPED], steps, wanted):
        return True
    if not steps and (not wanted or not types or wanted in types):
        return True
    if "array" in types or (not types and "items" in schema):
        return _reaches(schema.get("items", True), steps, wanted)
    if not steps or (types and "object" not in types):
        return False
    if steps[0] in properties:
        return _reaches(properties[steps[0]], steps[1:], wanted)
    # What an object may have beside what it declares counts only where the schema says so, or declares nothing.
    more = schema.get("additionalProperties", None if properties else True)
    return more is True or isinstance(more, dict)
