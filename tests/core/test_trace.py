"""The trace of an ask: what is no `traceparent` counts as none, and never drives anything."""

from __future__ import annotations

import pytest
from opentelemetry import trace

from remit.core.trace import current, traceparent, within

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "value",
    [
        "",
        None,
        7,
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        GOOD.upper(),
        GOOD + "\n",
        GOOD + "-x",
        GOOD.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        GOOD[:-1] + "\u0661",
    ],
)
def test_what_is_no_traceparent_counts_as_none(value: object) -> None:
    assert traceparent(value) == ""
    with within(value):
        assert current() == ""


def test_the_innermost_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert traceparent(GOOD) == GOOD
    monkeypatch.setenv("TRACEPARENT", GOOD)
    other = GOOD.replace("4bf9", "aaaa")
    with within(other), within("nonsense"):
        assert current() == other
    assert current() == GOOD


def test_the_active_span_of_opentelemetry_counts() -> None:
    context = trace.SpanContext(int(GOOD[3:35], 16), int(GOOD[36:52], 16), False, trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert current() == GOOD
    assert current() == ""
