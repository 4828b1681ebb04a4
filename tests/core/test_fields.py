"""Whether a result can have a field, as far as its schema tells."""

from __future__ import annotations

from typing import Any

import pytest

from remit.core.fields import has_field, has_list

ROWS = {
    "type": "object",
    "properties": {
        "rows": {"type": "array", "items": {"type": "object", "properties": {"email": {"type": "string"}}}},
        "owner": {"type": "object", "properties": {"name": {"type": "string"}}},
        "total": {"type": "integer"},
    },
}
WRAPPED = {"type": "object", "properties": {"result": {"type": "array", "items": ROWS}}, "required": ["result"]}


@pytest.mark.parametrize(
    ("schema", "path", "found"),
    [
        (None, "anything", True),
        (ROWS, "rows", True),
        (ROWS, "rows.email", True),
        (ROWS, "rows.emial", False),
        (ROWS, "row.email", False),
        (ROWS, "owner.name", True),
        (ROWS, "owner.name.first", False),
        (ROWS, "total.a", False),
        (WRAPPED, "owner.name", True),
        (WRAPPED, "result.owner.name", True),
        (WRAPPED, "owner.nmae", False),
        ({"type": "object"}, "a", True),
        ({"type": "object", "additionalProperties": False}, "a", False),
        ({**ROWS, "additionalProperties": True}, "a", True),
        ({**ROWS, "additionalProperties": {"type": "string"}}, "a", True),
        ({"anyOf": [ROWS]}, "a", True),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "a.b", True),
        ({"type": "object", "properties": {"a": True, "b": False}}, "a.b", True),
        ({"type": "object", "properties": {"a": True, "b": False}}, "b", False),
        ({"type": ["object", "null"], "properties": {"a": {"type": "string"}}}, "a", True),
        ({"type": ["array", "null"], "items": {"properties": {"a": {}}}}, "b", False),
        ({}, "a", True),
    ],
)
def test_fields(schema: Any, path: str, found: bool) -> None:
    assert has_field(schema, path) is found


@pytest.mark.parametrize(
    ("schema", "path", "found"),
    [
        (None, "", True),
        (ROWS, "rows", True),
        (ROWS, "", False),
        (ROWS, "owner", False),
        (ROWS, "total", False),
        (WRAPPED, "", True),
        (WRAPPED, "rows", True),
        ({"type": "array"}, "", True),
        ({"type": "object", "properties": {"a": {}}}, "a", True),
    ],
)
def test_lists(schema: Any, path: str, found: bool) -> None:
    assert has_list(schema, path) is found
