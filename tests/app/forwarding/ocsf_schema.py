"""Checks events against OCSF 1.7.0: facts drawn from the schema's own files (github.com/ocsf/ocsf-schema, v1.7.0)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMA = json.loads((Path(__file__).parent / "ocsf-1.7.0.json").read_text())
_CLASS = (".class_uid", ".category_uid", ".type_uid")  # made from the class's own number; checked by `mistakes`
_TYPES: dict[str, type | tuple[type, ...]] = {
    "integer_t": int, "long_t": int, "timestamp_t": int, "boolean_t": bool, "string_t": str, "json_t": object,
}  # fmt: skip


def mistakes(event: dict[str, Any]) -> list[str]:
    """What does not fit the schema of the event's class."""
    name = next(name for name, found in SCHEMA["classes"].items() if found["uid"] == event["class_uid"] % 1000)
    found = _object(event, SCHEMA["classes"][name], name)
    if SCHEMA["categories"].get({6: "application", 3: "iam"}[event["category_uid"]]) != event["category_uid"]:
        found.append("the category")
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        found.append("the type")
    return found


def _object(given: dict[str, Any], schema: dict[str, Any], at: str) -> list[str]:
    attributes = schema["attributes"]
    found = [
        f"{at}.{name} is missing" for name, (need, *_) in attributes.items() if need == "required" and name not in given
    ]
    constraints = schema.get("constraints") or {}
    if wanted := constraints.get("at_least_one"):
        found += [] if set(wanted) & set(given) else [f"{at} has none of {wanted}"]
    for name, value in given.items():
        if name not in attributes:
            found.append(f"{at}.{name} is not known")
            continue
        _, kind, is_array, enum = attributes[name]
        if is_array != isinstance(value, list):
            found.append(f"{at}.{name} is a list, or is none")
            continue
        for each in value if is_array else [value]:
            found += _value(each, kind, enum, f"{at}.{name}")
    return found


def _value(value: Any, kind: str, enum: list[str], at: str) -> list[str]:
    if enum and str(value) not in enum and not at.endswith(_CLASS):
        return [f"{at} can't be {value}"]
    if not kind.endswith("_t"):
        known = SCHEMA["objects"].get(kind)
        if kind == "object":
            return [] if isinstance(value, dict) else [f"{at} is no object"]
        return _object(value, known, at) if known else [f"{at}: the object {kind} is not in the extract"]
    wanted = _TYPES.get(kind, str)
    is_right = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    return [] if is_right else [f"{at} is no {kind}"]
