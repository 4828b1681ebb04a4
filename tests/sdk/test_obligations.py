from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import Decision, Obligation, Reason
from remit.sdk.obligations import check_known, redact, select
from remit.sdk.permit import Refused


@pytest.mark.parametrize(
    ("value", "fields", "left"),
    [
        ({"a": 1, "b": 2}, ["a"], {"b": 2}),
        ({"a": {"x": 1, "y": 2}, "b": 2}, ["a.x"], {"a": {"y": 2}, "b": 2}),
        ({"a": [{"x": 1, "y": 2}, {"x": 3}]}, ["a.x"], {"a": [{"y": 2}, {}]}),
        ([{"a": 1}, {"a": 2, "b": 3}], ["a"], [{}, {"b": 3}]),
        ({"a": [[{"x": 1}]]}, ["a.x"], {"a": [[{}]]}),
        ({"a": "opaque x=1"}, ["a.x"], {"a": None}),
        ({"a": ["opaque", {"x": 1}]}, ["a.x"], {"a": [None, {}]}),
        ({"a": 1}, ["b", "c.d"], {"a": 1}),
        ({"a": 1}, [], {"a": 1}),
        ("text", [], "text"),
        ({"a": {"x": 1}, "b": 1}, ["a", "a.x"], {"b": 1}),
    ],
)
def test_redacts(value: Any, fields: list[str], left: Any) -> None:
    assert redact(value, fields) == left


@pytest.mark.parametrize("value", ["text", 1, None, b"x", object(), ["text"], ({"a": 1},)])
def test_a_result_of_unknown_shape_is_withheld(value: Any) -> None:
    with pytest.raises(Refused) as caught:
        redact(value, ["a"])
    assert caught.value.code == "result_withheld"


def test_redaction_leaves_the_original() -> None:
    value = {"a": {"x": 1}}
    redact(value, ["a.x"])
    assert value == {"a": {"x": 1}}


values = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("abc"), values), st.lists(st.sampled_from(["a", "a.b", "b.c", "a.b.c"])))
def test_nothing_redacted_can_be_selected(value: dict[str, Any], fields: list[str]) -> None:
    assert select(redact(value, fields), fields) == {}


def test_selects() -> None:
    value = {"a": {"x": 1, "y": [1]}, "b": "t", "c": None}
    assert select(value, ["a.x", "a.y", "a", "b", "c", "d.e"]) == {"a.x": 1, "b": "t"}
    assert select("text", ["a"]) == {}


def test_an_unknown_obligation_refuses() -> None:
    decision = Decision(
        id="d_1",
        effect="permit",
        reason=Reason(code="permitted", message="m"),
        action="a/b",
        digest="",
        obligations=(Obligation(id="redact"), Obligation(id="notify")),
    )
    with pytest.raises(Refused) as caught:
        check_known(decision)
    assert caught.value.code == "obligation_unknown"
    assert "`notify`" in caught.value.message
