"""A token bucket for each name: a burst at once, then the sustained rate; bounded in number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.decide import rates
from remit.decide.rates import Rates


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_sustained_rate() -> None:
    time = Time()
    admitted = Rates(10.0, 3, time)
    assert [admitted.admit("a") for _ in range(4)] == [True, True, True, False]
    assert admitted.admit("b")
    time.now = 0.1
    assert [admitted.admit("a") for _ in range(2)] == [True, False]
    time.now = 100.0
    assert [admitted.admit("a") for _ in range(4)] == [True, True, True, False]


def test_what_costs_more_takes_more_and_never_more_than_a_burst() -> None:
    time = Time()
    admitted = Rates(1.0, 10, time)
    assert admitted.admit("a", 7.5)
    assert not admitted.admit("a", 3.0)
    assert admitted.admit("a", 2.5)
    time.now = 10.0
    assert admitted.admit("a", 1000.0)
    assert not admitted.admit("a")


def test_refusals_use_up_nothing() -> None:
    time = Time()
    admitted = Rates(1.0, 1, time)
    assert admitted.admit("a")
    for _ in range(100):
        time.now += 0.009
        assert not admitted.admit("a")
    time.now = 1.0
    assert admitted.admit("a")


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    time = Time()
    admitted = Rates(1.0, 1, time)
    assert admitted.admit("a")
    time.now = -1000.0
    assert not admitted.admit("a")


def test_names_are_bounded_and_the_one_in_use_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BUCKETS", 10)
    admitted = Rates(1.0, 1, Time())
    admitted.admit("busy")
    for n in range(100):
        admitted.admit(str(n))
        assert not admitted.admit("busy")
    assert len(admitted._buckets) <= 11


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 20), st.floats(0.5, 50))
def test_never_more_than_burst_and_rate(gaps: list[float], burst: int, rate: float) -> None:
    time = Time()
    admitted = Rates(rate, burst, time)
    passed = 0
    for gap in gaps:
        time.now += gap
        passed += admitted.admit("a")
    assert passed <= burst + rate * time.now + 1e-6
