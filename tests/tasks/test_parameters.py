"""Values of parameters: one spelling each, or an error that names the parameter and never repeats the value."""

from __future__ import annotations

import contextlib
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import Forbidden, InvalidInput
from remit.core.intents import Intent, Parameter
from remit.tasks.amounts import canonical_decimal, canonical_integer
from remit.tasks.durations import seconds_of
from remit.tasks.parameters import check_narrows, check_params


def intent(name: str = "pay-invoice", children: tuple[str, ...] = (), **params: Parameter) -> Intent:
    return Intent(
        name=name,
        description="test",
        actions=("a/b",),
        starters=("group:x",),
        workloads=("group:y",),
        params=params,
        children=children,
    )


STRING = Parameter(type="string", pattern=r"INV-\d{4}")
AMOUNT = Parameter(type="decimal", minimum="0.01", maximum="10000")
COUNT = Parameter(type="integer", required=False)
FLAG = Parameter(type="boolean", required=False)
PAY = intent(invoice=STRING, amount=AMOUNT, count=COUNT, dry=FLAG)


def test_values_take_one_spelling() -> None:
    given_values = {"invoice": "INV-1001", "amount": "0042.5", "count": "7", "dry": "true"}
    assert check_params(PAY, given_values) == {"invoice": "INV-1001", "amount": "42.50", "count": 7, "dry": True}
    assert check_params(PAY, {"invoice": "INV-1001", "amount": 42.5}) == {"invoice": "INV-1001", "amount": "42.50"}
    assert check_params(PAY, {"invoice": "INV-1001", "amount": 42})["amount"] == "42.00"


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({}, "parameter_missing", "needs the parameter `invoice`"),
        ({"invoice": "INV-1001"}, "parameter_missing", "needs the parameter `amount`"),
        ({"bill": 1}, "parameter_unknown", "has no parameter `bill`"),
        ({"invoice": "INV-1\n", "amount": 1}, "parameter_invalid", "`invoice` is not a text"),
        ({"invoice": "xINV-1001", "amount": 1}, "parameter_invalid", "`invoice` is not a text"),
        ({"invoice": "INV-1001x", "amount": 1}, "parameter_invalid", "`invoice` is not a text"),
        ({"invoice": "INV-１００１", "amount": 1}, "parameter_invalid", "`invoice` is not a text"),
        ({"invoice": 1001, "amount": 1}, "parameter_invalid", "`invoice` is not a text"),
        ({"invoice": "INV-1001", "amount": 0}, "parameter_invalid", "from 0.01 to 10000"),
        ({"invoice": "INV-1001", "amount": "10000.0001"}, "parameter_invalid", "from 0.01 to 10000"),
        ({"invoice": "INV-1001", "amount": "1e3"}, "parameter_invalid", "`amount` is not a number"),
        ({"invoice": "INV-1001", "amount": "NaN"}, "parameter_invalid", "`amount` is not a number"),
        ({"invoice": "INV-1001", "amount": float("nan")}, "parameter_invalid", "`amount` is not a number"),
        ({"invoice": "INV-1001", "amount": float("inf")}, "parameter_invalid", "`amount` is not a number"),
        ({"invoice": "INV-1001", "amount": "１"}, "parameter_invalid", "`amount` is not a number"),
        ({"invoice": "INV-1001", "amount": True}, "parameter_invalid", "`amount` is not a number"),
        ({"invoice": "INV-1001", "amount": "1", "count": 2**63}, "parameter_invalid", "`count` is not a whole number"),
        ({"invoice": "INV-1001", "amount": "1", "count": 1.0}, "parameter_invalid", "`count` is not a whole number"),
        ({"invoice": "INV-1001", "amount": "1", "dry": 1}, "parameter_invalid", "`dry` is not `true` or `false`"),
        ({"invoice": "INV-1001", "amount": "1", "dry": "yes"}, "parameter_invalid", "`dry` is not `true` or `false`"),
        ({"invoice": None, "amount": "1"}, "parameter_invalid", "`invoice` is not a text"),
    ],
)
def test_a_wrong_value_is_refused_by_name(params: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_params(PAY, params)
    assert caught.value.code == code
    assert message in caught.value.message


def test_control_characters_and_surrogates_are_refused() -> None:
    free = intent(note=Parameter(type="string"))
    for value in ("a\x00b", "a\x1b[2J", "a\u0085", "\ud800"):
        with pytest.raises(InvalidInput):
            check_params(free, {"note": value})
    assert check_params(free, {"note": "Grüße 你好"}) == {"note": "Grüße 你好"}


def test_a_pattern_that_backtracks_elsewhere_takes_linear_time() -> None:
    evil = intent(text=Parameter(type="string", pattern="(a+)+(b|a)*c", max_length=4096))
    start = time.perf_counter()
    with pytest.raises(InvalidInput):
        check_params(evil, {"text": "a" * 4096})
    assert time.perf_counter() - start < 1


def test_values_are_compared_exactly() -> None:
    choice = intent(stage=Parameter(type="string", values=("prod", "test")))
    assert check_params(choice, {"stage": "prod"}) == {"stage": "prod"}
    with pytest.raises(InvalidInput, match="one of `prod`, `test`"):
        check_params(choice, {"stage": "Prod"})


def test_the_value_is_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_params(PAY, {"invoice": "secret-value", "amount": 1})
    assert "secret-value" not in str(caught.value)


def test_child_wider_than_its_parent() -> None:
    parent = intent(children=("read-invoice",), invoice=STRING)
    child = intent("read-invoice", invoice=Parameter(type="string", required=False))
    check_narrows(parent, {"invoice": "INV-1001"}, child, {"invoice": "INV-1001"})
    with pytest.raises(Forbidden) as caught:
        check_narrows(parent, {"invoice": "INV-1001"}, child, {"invoice": "INV-1002"})
    assert caught.value.code == "child_wider"
    with pytest.raises(Forbidden, match="must be its parent's"):
        check_narrows(parent, {"invoice": "INV-1001"}, child, {})
    with pytest.raises(Forbidden, match="can't have a child under `pay`"):
        check_narrows(parent, {}, intent("pay"), {})


def test_true_is_not_one_across_parent_and_child() -> None:
    parent = intent(children=("child",), x=Parameter(type="boolean"))
    child = intent("child", x=Parameter(type="integer"))
    with pytest.raises(Forbidden):
        check_narrows(parent, {"x": True}, child, {"x": 1})


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_a_decimal_keeps_its_value(number: Decimal) -> None:
    spelled = canonical_decimal(f"{number:f}")
    if abs(number) < Decimal("922337203685477"):
        assert spelled is not None
        assert Decimal(spelled) == number
        assert canonical_decimal(spelled) == spelled
        assert 2 <= len(spelled.partition(".")[2]) <= 4


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary()))
def test_any_value_gives_a_number_in_range_or_none(value: object) -> None:
    spelled = canonical_decimal(value)
    if spelled is not None:
        assert Decimal("-922337203685477.5808") <= Decimal(spelled) <= Decimal("922337203685477.5807")
    number = canonical_integer(value)
    assert number is None or -(2**63) <= number < 2**63


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), (90, 90), ("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("2d", 172800), (0, 0),
     ("", None), ("m", None), ("1m1h", None), ("-1h", None), (-1, None), (1.5, None), ("1 h", None), ("١h", None)],
)  # fmt: skip
def test_durations(text: object, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none())))
def test_any_params_give_values_or_invalid_input(params: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidInput):
        check_params(PAY, params)
