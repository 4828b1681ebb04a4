"""Redaction and selection as plain functions."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.enforce.results import Unreadable, ending, read_result, select, shape, url_elicitations
from remit.sdk.obligations import Shaping

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


def redact(raw: bytes, paths: tuple[str, ...]) -> dict[str, Any]:
    return shape(raw, Shaping(fields=paths)) or {}


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


# --- limits ---------------------------------------------------------------------------------------------------


def text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": value if isinstance(value, str) else json.dumps(value)}


def limited(result: dict[str, Any], **items: int) -> dict[str, Any]:
    shaping = Shaping(items={path.replace("__", "."): most for path, most in items.items()})
    return shape(json.dumps(result).encode(), shaping) or {}


ROWS = {"rows": [1, 2, 3], "total": 3}


def test_a_list_is_cut_wherever_it_stands() -> None:
    left = limited({"content": [text(ROWS)], "structuredContent": ROWS}, rows=2)
    assert left["structuredContent"] == {"rows": [1, 2], "total": 3}
    assert json.loads(left["content"][0]["text"]) == left["structuredContent"]
    assert left["_meta"] == {"remit/limited": {"rows": 2}}


def test_a_limit_goes_through_lists_and_wrapped_values() -> None:
    document = {"result": [{"lines": [1, 2]}, {"lines": [3]}, {"lines": None}, {}]}
    left = limited({"content": [text(document)], "structuredContent": document}, lines=1)
    assert left["structuredContent"] == {"result": [{"lines": [1]}, {"lines": [3]}, {"lines": None}, {}]}
    assert json.loads(left["content"][0]["text"]) == left["structuredContent"]
    assert limited({"structuredContent": document}, result__lines=1)["structuredContent"] == left["structuredContent"]


@pytest.mark.parametrize(
    ("result", "structured", "blocks"),
    [
        # As MCP SDKs send a list: wrapped, and each element in a block of its own.
        ({"structuredContent": {"result": [1, 2, 3]}, "content": [text(1), text(2), text(3)]}, [1, 2], ["1", "2"]),
        (
            {"structuredContent": {"result": ["a", "b", "c"]}, "content": [text("a"), text("b"), text("c")]},
            ["a", "b"],
            ["a", "b"],
        ),
        ({"structuredContent": {"result": ["only"]}, "content": [text("only")]}, ["only"], ["only"]),
        ({"structuredContent": {"result": []}, "content": []}, [], []),
        # As others do: all of it in one block.
        ({"structuredContent": {"result": [1, 2, 3]}, "content": [text([1, 2, 3])]}, [1, 2], ["[1,2]"]),
        ({"content": [text([1, 2, 3])]}, None, ["[1,2]"]),
        ({"content": [text({"result": [1, 2, 3]})]}, None, ['{"result":[1,2]}']),
        ({"content": [text({"n": 1}), text({"n": 2}), text({"n": 3})]}, None, ['{"n": 1}', '{"n": 2}']),
    ],
)
def test_a_result_that_is_a_list_is_cut(result: dict[str, Any], structured: Any, blocks: list[str]) -> None:
    left = shape(json.dumps(result).encode(), Shaping(items={"": 2}))
    assert left is not None
    assert left.get("structuredContent", {}).get("result") == structured
    assert [block["text"] for block in left["content"]] == blocks


@pytest.mark.parametrize(
    "result",
    [
        {"content": [text("1, 2, 3")]},
        {"content": [text("1, 2"), text("3, 4")]},
        {"content": [text({"rows": [1, 2, 3]})]},
        {"content": [text([1, 2]), text([3, 4])]},
        {"content": [{"type": "image", "data": "", "mimeType": "image/png"}]},
        {"structuredContent": {"result": [1, 2, 3]}, "content": [text("1, 2, 3")]},
        {"structuredContent": {"result": [1, 2, 3]}, "content": [text("1"), text("2, 3")]},
        {"structuredContent": {"rows": [1, 2, 3]}, "content": []},
        {"content": "no blocks"},
        {"content": [text([1])], "rows": [1, 2, 3]},
    ],
)
def test_attack_more_elements_than_the_limit_in_another_shape(result: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        shape(json.dumps(result).encode(), Shaping(items={"": 2}))


@pytest.mark.parametrize("document", ["rows 1 2 3", {"rows": "1, 2, 3"}, {"rows": {"0": 1, "1": 2}}, 5])
def test_attack_a_limited_list_in_another_shape(document: Any) -> None:
    with pytest.raises(Unreadable):
        limited({"content": [text(document)]}, rows=2)


def test_a_result_that_is_too_large_is_withheld() -> None:
    raw = json.dumps({"content": [text("x" * 50)]}).encode()
    assert shape(raw, Shaping(bytes=len(raw))) is None
    with pytest.raises(Unreadable) as caught:
        shape(raw, Shaping(bytes=len(raw) - 1))
    assert caught.value.code == "result_too_large"


def test_bytes_are_counted_after_the_result_was_shaped() -> None:
    raw = json.dumps({"structuredContent": {"rows": ["x" * 50] * 9}}).encode()
    assert shape(raw, Shaping(items={"rows": 1}, bytes=200)) is not None
    with pytest.raises(Unreadable):
        shape(raw, Shaping(items={"rows": 5}, bytes=200))


def test_attack_a_redacted_element_of_a_wrapped_list_stands_in_a_text() -> None:
    document = {"result": [{"email": SECRET}, {"email": SECRET}]}
    result = {"structuredContent": document, "content": [text({"email": SECRET}), text({"email": SECRET})]}
    assert SECRET not in json.dumps(redact(json.dumps(result).encode(), ("result.email",)))
    with pytest.raises(Unreadable):
        redact(json.dumps(result).encode(), ("result",))


def test_attack_elements_of_a_text_have_a_field_of_the_wrapper_s_name() -> None:
    value = [{"result": {"email": SECRET}}, {"result": [{"email": SECRET}, {"email": SECRET}]}]
    result = json.dumps({"content": [text(value)], "structuredContent": {"result": []}}).encode()
    assert SECRET not in json.dumps(redact(result, ("result.email",)))
    left = shape(result, Shaping(items={"result": 1}))
    assert left is not None
    assert json.loads(left["content"][0]["text"]) == [{"result": {"email": SECRET}}]
    other = json.dumps({"content": [text([{"result": [1, 2]}])], "structuredContent": {"result": []}}).encode()
    left = shape(other, Shaping(items={"result": 1}))
    assert left is not None
    assert json.loads(left["content"][0]["text"]) == [{"result": [1]}]


@example([{"a": None, "b": None, "result": [None, None]}], "result", 1)
@given(_json, st.sampled_from(["a", "a.b", "", "result"]), st.integers(1, 2))
def test_no_list_is_longer_than_its_limit(value: Any, path: str, most: int) -> None:
    result = {"content": [text(value)], "structuredContent": value}
    try:
        left = shape(json.dumps(result).encode(), Shaping(items={path: most}))
    except Unreadable:
        return
    assert left is not None
    documents = [left.get("structuredContent"), *(json.loads(block["text"]) for block in left["content"])]
    for document in documents:
        for root in (document, document.get("result") if isinstance(document, dict) else None):
            for found in at(root, path.split(".") if path else []):
                assert not isinstance(found, list) or len(found) <= most


def at(value: Any, path: list[str]) -> list[Any]:
    """What stands at the path, through the lists on its way, but not through the one at its end."""
    if not path:
        return [value]
    if isinstance(value, list):
        return [found for item in value for found in at(item, path)]
    return at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []
