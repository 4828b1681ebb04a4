"""Redaction and selection as plain functions."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.enforce.results import Unreadable, ending, read_result, redact, select, url_elicitations

SECRET = "hunter2"

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "result", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.binary(), st.sampled_from([(), ("a",), ("a.b",)]))
def test_any_bytes_are_a_result_or_unreadable(data: bytes, paths: tuple[str, ...]) -> None:
    for read in (lambda: select(read_result(data), paths), lambda: redact(data, paths), lambda: url_elicitations(data)):
        try:
            read()
        except Unreadable:
            continue


@given(_json, st.booleans())
def test_a_redacted_value_is_nowhere(value: Any, wrapped: bool) -> None:
    """The secret stands at `a.b` wherever that path leads, through lists as well; nothing of it leaves."""
    document = {"result": plant(value)} if wrapped else {"a": plant(value), "x": value}
    paths = ("b",) if wrapped else ("a.b", "a.b.b")
    if wrapped and not isinstance(value, dict):
        return
    result = {"content": [{"type": "text", "text": json.dumps(document)}], "structuredContent": document}
    try:
        left = msgspec.json.encode(redact(msgspec.json.encode(result), paths))
    except Unreadable:
        return
    for path in paths:
        assert SECRET not in json.dumps(values(json.loads(left)["structuredContent"], path.split(".")))


def plant(value: Any) -> Any:
    if isinstance(value, list):
        return [plant(item) for item in value]
    return {**value, "b": SECRET} if isinstance(value, dict) else value


def values(value: Any, path: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in values(item, path)]
    if not path:
        return [value]
    return values(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def test_a_path_goes_through_lists_and_wrapped_values() -> None:
    document = {"result": [{"email": SECRET, "n": 1}, {"email": 5, "n": 2}]}
    result = {"content": [{"type": "text", "text": json.dumps(document)}], "structuredContent": document}
    left = redact(json.dumps(result).encode(), ("email",))
    assert left["structuredContent"] == {"result": [{"email": "[redacted]", "n": 1}, {"n": 2}]}
    assert json.loads(left["content"][0]["text"]) == left["structuredContent"]


def test_the_rest_of_a_redacted_result_stays() -> None:
    meta = {"io.modelcontextprotocol/serverInfo": {"name": "s"}, "com.example/debug": SECRET}
    block = {"type": "text", "text": '{"email":"x","n":1}', "annotations": {"audience": ["user"]}}
    left = redact(json.dumps({"content": [block], "isError": False, "_meta": meta}).encode(), ("email",))
    assert left["content"] == [{**block, "text": '{"email":"[redacted]","n":1}'}]
    assert left["isError"] is False
    assert set(left["_meta"]) == {"io.modelcontextprotocol/serverInfo", "remit/redacted"}


@pytest.mark.parametrize(
    ("result", "selected"),
    [
        ({"structuredContent": {"invoice": {"account": "A", "total": 5}}}, {"invoice.account": "A"}),
        ({"structuredContent": {"result": {"invoice": {"account": "A"}}}}, {"invoice.account": "A"}),
        ({"content": [{"type": "text", "text": '{"invoice":{"account":"A"}}'}]}, {"invoice.account": "A"}),
        ({"content": [{"type": "text", "text": "invoice account A"}]}, {}),
        ({"content": [{"type": "text", "text": "{broken"}]}, {}),
        ({"structuredContent": {"invoice": [{"account": "A"}]}}, {}),
        ({"content": "no list"}, {}),
        ({}, {}),
    ],
)
def test_selected_fields(result: dict[str, Any], selected: dict[str, Any]) -> None:
    assert select(read_result(json.dumps(result).encode()), ("invoice.account", "missing")) == selected


def test_how_a_result_ended() -> None:
    for result, end in (
        ({}, "response"),
        ({"isError": True}, "error"),
        ({"resultType": "complete", "isError": False}, "response"),
        ({"resultType": "input_required"}, "input_required"),
        ({"resultType": "task"}, "unknown_type"),
    ):
        assert ending(read_result(json.dumps(result).encode())) == end
    with pytest.raises(Unreadable):
        read_result(b'{"isError":"no"}')
