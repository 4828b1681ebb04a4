"""Cedar types as values: from a tool's JSON Schema, to Cedar's JSON schema format, and as examples.

A shape is what validation relies on: a context that does not have its shape must not reach the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Scalar = Literal["string", "long", "bool", "decimal", "datetime", "duration", "ipaddr"]

MAX_NODES: Final = 1_000  # properties of a tool's input that policies can see
MAX_DEPTH: Final = 8  # of a tool's input that policies can see
# SECURITY: Cedar reads these keys of a JSON object as an instruction, not as data.
RESERVED_PREFIX: Final = "__"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A Cedar type: a scalar, a set of one, a record, or a reference to an entity."""

    kind: Scalar | Literal["set", "record", "entity"]
    of: Shape | None = None  # set: its elements
    fields: Mapping[str, Attribute] = {}  # record
    entity: str = ""  # entity: its type, with the namespace


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute of a record: its shape, whether it is always there, and what it says."""

    shape: Shape
    required: bool = True
    note: str = ""


STRING: Final = Shape(kind="string")
LONG: Final = Shape(kind="long")
BOOL: Final = Shape(kind="bool")
DECIMAL: Final = Shape(kind="decimal")
DATETIME: Final = Shape(kind="datetime")
STRINGS: Final = Shape(kind="set", of=STRING)
EMPTY: Final = Shape(kind="record")

# Parameters of intents and selected fields of results.
DECLARED: Final[Mapping[str, Shape]] = {"string": STRING, "integer": LONG, "decimal": DECIMAL, "boolean": BOOL}
_JSON: Final[Mapping[str, Shape]] = {"string": STRING, "integer": LONG, "number": DECIMAL, "boolean": BOOL}
DURATION: Final = Shape(kind="duration")
IPADDR: Final = Shape(kind="ipaddr")
_NAMES: Final = {
    "string": "String",
    "long": "Long",
    "bool": "Bool",
    **{name: name for name in ("decimal", "datetime", "duration", "ipaddr")},
}
_EXAMPLES: Final[Mapping[str, Any]] = {
    "string": "text",
    "long": 1,
    "bool": False,
    "decimal": {"__extn": {"fn": "decimal", "arg": "1.0"}},
    "datetime": {"__extn": {"fn": "datetime", "arg": "2026-01-01T00:00:00Z"}},
    "duration": {"__extn": {"fn": "duration", "arg": "1h"}},
    "ipaddr": {"__extn": {"fn": "ip", "arg": "192.0.2.1"}},
}


def record(**fields: Attribute | Shape) -> Shape:
    """A record of required attributes (shapes) and attributes that say more."""
    named = {name: _attribute(field) for name, field in fields.items()}
    return Shape(kind="record", fields=named)


def entity_shape(type_: str) -> Shape:
    """A reference to an entity of one of Remit's own types."""
    return Shape(kind="entity", entity=f"Remit::{type_}")


def optional(shape: Shape, note: str = "") -> Attribute:
    """An attribute that may be absent: a policy must test with `has` before it reads it."""
    return Attribute(shape=shape, required=False, note=note)


def always(shape: Shape, note: str = "") -> Attribute:
    """An attribute that is always there."""
    return Attribute(shape=shape, required=True, note=note)


def from_json_schema(schema: Mapping[str, Any], hidden: frozenset[str] = frozenset()) -> Shape:
    """The record that policies see of a tool's input; what has no Cedar type is left out.

    integer is Long, number is decimal, string is String, boolean is Bool, an array of one of them is a Set, an
    object with properties is a record. An attribute is required when the schema requires it and null is not
    allowed. `hidden` names top-level properties that are left out where they are or hold numbers.
    """
    resolved = _resolve(schema, schema)
    return (_Reader(schema).object(resolved, 0, hidden) if resolved is not None else None) or EMPTY


def to_cedar_json(shape: Shape) -> dict[str, Any]:
    """The shape in Cedar's JSON schema format."""
    if shape.kind == "record":
        return {
            "type": "Record",
            "attributes": {
                name: {**to_cedar_json(field.shape), "required": field.required} for name, field in shape.fields.items()
            },
        }
    if shape.kind == "set" and shape.of is not None:
        return {"type": "Set", "element": to_cedar_json(shape.of)}
    if shape.kind == "entity":
        return {"type": "Entity", "name": shape.entity}
    plain = {"string": "String", "long": "Long", "bool": "Boolean"}.get(shape.kind)
    return {"type": plain} if plain else {"type": "Extension", "name": shape.kind}


def name_of(shape: Shape) -> str:
    """The type as Cedar writes it, for messages and pages."""
    if shape.kind == "set" and shape.of is not None:
        return f"Set<{name_of(shape.of)}>"
    if shape.kind == "entity":
        return shape.entity
    return _NAMES.get(shape.kind, "record")


def example(shape: Shape, *, optional_too: bool = True) -> Any:
    """A value of this shape in Cedar's JSON form."""
    if shape.kind == "record":
        return {
            name: example(field.shape, optional_too=optional_too)
            for name, field in shape.fields.items()
            if field.required or optional_too
        }
    if shape.kind == "set" and shape.of is not None:
        return [example(shape.of)]
    if shape.kind == "entity":
        return {"__entity": {"type": shape.entity, "id": "spiffe://example.org/workload/example"}}
    return _EXAMPLES[shape.kind]


def at(shape: Shape, path: tuple[str, ...]) -> Attribute | None:
    """The attribute at `path` of a record; it counts as required when every step is. None: there is none."""
    found: Attribute | None = None
    required = True
    for name in path:
        found = shape.fields.get(name)
        if found is None:
            return None
        required = required and found.required
        shape = found.shape
    return found if found is None or found.required == required else optional(found.shape, found.note)


def _attribute(field: Attribute | Shape) -> Attribute:
    return field if isinstance(field, Attribute) else Attribute(shape=field)


class _Reader:
    """Reads one tool's schema; what is over a bound is left out."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.left = MAX_NODES  # SECURITY: references that fan out would make a small schema expand without bound.

    def object(self, schema: Mapping[str, Any], depth: int, hidden: frozenset[str] = frozenset()) -> Shape | None:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or depth >= MAX_DEPTH:
            return None
        listed = schema.get("required")
        required = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        fields: dict[str, Attribute] = {}
        for name, part in properties.items():
            if not _is_visible(name):
                continue
            self.left -= 1
            found = self.property(part, depth + 1) if self.left > 0 else None
            if found is None or (name in hidden and _has_decimal(found[0])):
                continue
            shape, nullable = found
            fields[name] = Attribute(shape=shape, required=name in required and not nullable)
        return Shape(kind="record", fields=fields)

    def property(self, schema: Any, depth: int) -> tuple[Shape, bool] | None:
        """The shape of one property and whether it may be null; None when it has no Cedar type."""
        resolved = _resolve(schema, self.root)
        if resolved is None or depth > MAX_DEPTH:
            return None
        for key in ("anyOf", "oneOf"):
            choices = resolved.get(key)
            if isinstance(choices, list):
                some = [choice for choice in choices if not (isinstance(choice, dict) and choice.get("type") == "null")]
                found = self.property(some[0], depth + 1) if len(some) == 1 and "type" not in resolved else None
                return None if found is None else (found[0], found[1] or len(some) < len(choices))
        type_, nullable = _single_type(resolved)
        shape = _JSON.get(type_)
        if type_ == "array":
            inner = self.property(resolved.get("items"), depth + 1)
            is_plain = inner is not None and not inner[1] and inner[0].kind not in ("record", "set")
            shape = Shape(kind="set", of=inner[0]) if inner is not None and is_plain else None
        elif type_ == "object":
            shape = self.object(resolved, depth)
        return None if shape is None else (shape, nullable)


def _is_visible(name: Any) -> bool:
    # SECURITY: a property named `__entity` would turn the record that holds it into an entity.
    return isinstance(name, str) and name != "" and name.isprintable() and not name.startswith(RESERVED_PREFIX)


def _single_type(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """The one type that a value has besides null, and whether null is allowed; "" when there is no such type."""
    type_ = schema.get("type")
    if isinstance(type_, list):
        some = [name for name in type_ if name != "null"]
        return (some[0] if len(some) == 1 and isinstance(some[0], str) else ""), len(some) < len(type_)
    if type_ is None:
        return _implied(schema) or "", False
    return (type_ if isinstance(type_, str) else ""), False


def _resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Follows references into the same document, a few steps; None when that leads nowhere."""
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict):
            return None
        alone = schema.get("allOf")
        reference = schema.get("$ref")
        if reference is None and isinstance(alone, list) and len(alone) == 1 and "type" not in schema:
            schema = alone[0]
        elif reference is None:
            return schema
        elif not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        else:
            schema = root
            for step in reference[2:].split("/"):
                schema = schema.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
    return None


def _implied(schema: Mapping[str, Any]) -> str | None:
    """The type that `enum` or `const` implies, when all values are strings."""
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
        return "string"
    return None


def _has_decimal(shape: Shape) -> bool:
    if shape.kind == "decimal":
        return True
    if shape.of is not None:
        return _has_decimal(shape.of)
    return any(_has_decimal(field.shape) for field in shape.fields.values())
