"""Arguments from a command line: typed by the schema, never guessed from the value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.enforce.arguments import read_arguments

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "amount": {"type": "number"},
        "dry": {"type": "boolean"},
        "name": {"type": "string"},
        "version": {},
        "tags": {"type": "array"},
        "extra": {"type": "object"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["string", "integer"]},
    },
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("count=3", 3),
        ("amount=12.50", 12.5),
        ("amount=7", 7),
        ("dry=true", True),
        ("name=3", "3"),
        ("name=", ""),
        ("name=a=b", "a=b"),
        ("version=1.10", "1.10"),
        ('tags=["a","b"]', ["a", "b"]),
        ('extra={"a":1}', {"a": 1}),
        ("maybe=null", None),
        ("maybe=4", 4),
        ("either=4", 4),
        ("either=four", "four"),
    ],
)
def test_a_value_has_the_type_of_the_schema(pair: str, value: Any) -> None:
    read = read_arguments([pair], SCHEMA)
    assert read == {pair.partition("=")[0]: value}
    assert type(next(iter(read.values()))) is type(value)


@pytest.mark.parametrize(
    "pairs",
    [
        ["count=3.0"],
        ["count=three"],
        ["count=99999999999999999999"],
        ["amount=1e9"],
        ["amount=0.12345678901234567"],
        ["amount=NaN"],
        ["dry=yes"],
        ["tags={}"],
        ["extra={"],
        ['extra={"a":1,"a":2}'],
        ["unknown=1"],
        ["count"],
        ["=1"],
        ["count=1", "count=2"],
    ],
)
def test_what_does_not_fit_is_refused(pairs: list[str]) -> None:
    with pytest.raises(InvalidInput):
        read_arguments(pairs, SCHEMA)


@given(st.lists(st.text(max_size=30)), st.sampled_from([{}, SCHEMA, {"properties": 5}, {"properties": {"a": 1}}]))
def test_any_text_is_arguments_or_an_error(pairs: list[str], schema: dict[str, Any]) -> None:
    try:
        read_arguments(pairs, schema)
    except InvalidInput:
        return


@given(st.sampled_from(sorted(SCHEMA["properties"])), st.text())
def test_any_value_is_an_argument_or_an_error(name: str, text: str) -> None:
    try:
        read_arguments([f"{name}={text}"], SCHEMA)
    except InvalidInput:
        return
