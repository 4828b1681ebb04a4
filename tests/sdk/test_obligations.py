from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import Decision, Obligation, Reason
from remit.sdk.obligations import Shaping, check_known, limit, redact, select, shape, shaping_of
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
        obligations=(Obligation(id="redact"), Obligation(id="watermark")),
    )
    with pytest.raises(Refused) as caught:
        check_known(decision)
    assert caught.value.code == "obligation_unknown"
    assert "`watermark`" in caught.value.message


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "items", "left"),
    [
        ([1, 2, 3], {"": 2}, [1, 2]),
        ({"rows": [1, 2, 3], "n": 3}, {"rows": 2}, {"rows": [1, 2], "n": 3}),
        ({"rows": [1]}, {"rows": 2}, {"rows": [1]}),
        ({"rows": None}, {"rows": 2}, {"rows": None}),
        ({"n": 1}, {"rows": 2}, {"n": 1}),
        ([{"rows": [1, 2]}, {"rows": [3]}], {"rows": 1}, [{"rows": [1]}, {"rows": [3]}]),
        ({"a": [{"b": {"c": [1, 2]}}]}, {"a.b.c": 1}, {"a": [{"b": {"c": [1]}}]}),
        ([[1, 2], [3]], {"": 1}, [[1, 2]]),
        ("text", {}, "text"),
    ],
)
def test_limits(value: Any, items: dict[str, int], left: Any) -> None:
    assert limit(value, items) == left


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("1,2,3", {"": 2}),
        ({"rows": [1]}, {"": 2}),
        ({"rows": "1,2,3"}, {"rows": 2}),
        ({"rows": {"0": 1}}, {"rows": 2}),
        ("rows: 1,2,3", {"rows": 2}),
        (5, {"rows": 2}),
        ({"a": "b"}, {"a.b": 2}),
        (["text"], {"rows": 2}),
        ((1, 2, 3), {"": 2}),
        (object(), {"rows": 2}),
    ],
)
def test_attack_a_limited_list_in_another_shape(value: Any, items: dict[str, int]) -> None:
    with pytest.raises(Refused) as caught:
        limit(value, items)
    assert caught.value.code == "result_withheld"


def test_limiting_leaves_the_original() -> None:
    value = {"rows": [1, 2]}
    limit(value, {"rows": 1})
    assert value == {"rows": [1, 2]}


def test_a_result_is_too_large_or_has_no_size() -> None:
    assert shape({"a": "x" * 10}, Shaping(bytes=18)) == {"a": "x" * 10}
    for value in ({"a": "x" * 11}, {"a": object()}, float("nan"), {1j: 2}):
        with pytest.raises(Refused) as caught:
            shape(value, Shaping(bytes=2))
        assert caught.value.code == "result_withheld"


def test_a_result_is_measured_after_it_was_cut() -> None:
    shaping = Shaping(fields=("secret",), items={"rows": 1}, bytes=12)
    assert shape({"secret": "x" * 99, "rows": [1, 2, 3, 4, 5, 6]}, shaping) == {"rows": [1]}


def test_what_a_decision_obliges_to_do_to_the_result() -> None:
    decision = Decision(
        id="d_1",
        effect="permit",
        reason=Reason(code="permitted", message="m"),
        action="a/b",
        digest="",
        obligations=(
            Obligation(id="redact", fields=("a",)),
            Obligation(id="limit", items={"rows": 5}, bytes=100),
            Obligation(id="limit", items={"rows": 9, "": 3}),
            Obligation(id="notify", to="security"),
        ),
    )
    assert shaping_of(decision) == Shaping(fields=("a",), items={"rows": 5, "": 3}, bytes=100)
    assert Shaping(bytes=5).changes is False
