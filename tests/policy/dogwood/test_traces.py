"""Trace files: what was written is read back, by the reference too, and every mistake is said at its place."""

from __future__ import annotations

import contextlib
import random

import pytest

from remit.policy.compiled.extensions import Decimal
from remit.policy.compiled.values import Entity, Set, key
from remit.policy.dogwood import traces
from remit.policy.dogwood.history import Event
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.traces import Known, Point, read, write
from remit.policy.text import position
from tests.policy.dogwood.generating import generated

ANN = Entity(("R::User", 'a"n\\n'))
LINE = (
    '@3 scope(principal: R::User::"u", resource: R::Server::"s") '
    'entities(R::User::"u": { dept: "x", "full name": "U" } in [R::Group::"g"], R::Group::"g": {}) '
    'request_context(input: { tags: ["b", "a", "b"], amount: -1.50 }) '
    'R::Action::"Re)ad"::request(input: { path: "/a", none: null, empty: {} }, '
    'at: datetime("2024-01-01T00:00:00.123Z"), from: ip("10.0.0.0/8"), took: duration("1h"))'
)


def only(text: str) -> Point:
    (point,) = read(text)
    return point


def test_a_line_says_the_event_and_the_request() -> None:
    point = only(LINE)
    assert (point.event.type, point.event.action, point.event.kind, point.event.at) == (
        "R::Action",
        "Re)ad",
        "request",
        3000,
    )
    assert point.event.fields["input", "path"] == "/a"
    assert ("input", "none") not in point.event.fields
    assert point.event.fields["input", "empty"] == {}
    assert point.context["input"]["amount"] == Decimal("decimal", -15_000)
    assert key(point.context["input"]["tags"]) == key(Set(["a", "b"]))
    assert point.entities[Entity(("R::User", "u"))].parents == (Entity(("R::Group", "g")),)


def test_a_request_reads_the_attributes_of_its_entities() -> None:
    request = only(LINE).request
    assert request is not None
    assert request.attribute(request.principal, ("dept",)) == "x"
    assert request.attribute(request.principal, ("full name",)) == "U"
    assert request.attribute(request.principal, ("rank",)) is None
    assert request.attribute(request.resource, ("owner",)) is None


def test_an_event_without_scope_is_no_request() -> None:
    assert only('@0 R::Action::"a"::response()').request is None


@pytest.mark.parametrize("ms", [0, 1, 999, 1000, -1, -1500, 1_700_000_000_123])
def test_times_keep_their_milliseconds(ms: int) -> None:
    event = Event("R::Action", "a", "request", ms, {})
    assert only(write([Point(event)])).event.at == ms


@pytest.mark.parametrize("value", ['a"b', "a\\", "\n\r\t\0", "\u2028\u202e", "é", ")]}", "//", ""])
def test_no_string_breaks_out_of_its_line(value: str) -> None:
    event = Event("R::Action", value, "request", 0, {("input", "x"): value, (value or "y",): Entity(("T", value))})
    text = write([Point(event, ANN, ANN, {"input": {value: value}}, {ANN: Known({"a": value}, (ANN,))})])
    assert text.count("\n") == 1
    assert only(text) == Point(event, ANN, ANN, {"input": {value: value}}, {ANN: Known({"a": value}, (ANN,))})


def test_what_was_written_is_read_back() -> None:
    for seed in range(30):
        text = write(generated(seed).points)
        assert write(read(text)) == text
        again = tuple(point.event for point in read(text))
        assert [(e.type, e.action, e.kind, e.at) for e in again] == [
            (p.event.type, p.event.action, p.event.kind, p.event.at) for p in generated(seed).points
        ]


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("R", (1, 1), "here should be `@`"),
        ("@", (1, 2), "here should be a number"),
        ('@1.2345 A::"x"::y()', (1, 2), "this is no time"),
        ('@99999999999999999999 A::"x"::y()', (1, 2), "this is no time"),
        ("@1\n@0", (1, 3), "here should be a word"),
        ('@1 A::"x"', (1, 10), "here should be `::`"),
        ('@1 A::"x"::y(', (1, 14), "the line ends too early"),
        ('@1 A::"x"::y(a)', (1, 15), "here should be `:`"),
        ('@1 A::"x"::y(a: b)', (1, 17), "`b` is no value"),
        ('@1 A::"x"::y(a: "b)', (1, 17), "here should be a value"),
        ('@1 A::"x"::y(a: 9223372036854775808)', (1, 17), "an integer has at most 64 bits"),
        ('@1 A::"x"::y(a: 1.23456)', (1, 17), "`1.23456` is no decimal"),
        ('@1 A::"x"::y(a: ip("x"))', (1, 17), "`x` is no ip"),
        ('@1 A::"x"::y(a: 1, a: 2)', (1, 20), "the field `a` stands twice"),
        ('@1 A::"x"::y(a: 1 b: 2)', (1, 19), "here should be `,` or `)`"),
        ('@1 A::"x"::y(a: "\\q")', (1, 18), "this escape is not one of Cedar's"),
        ('@1 A::"x"::y() z', (1, 16), "something follows the event"),
        ('@1 scope(principal: 1) A::"x"::y()', (1, 1), "the principal of the scope is no entity"),
        ('@1 scope() scope() A::"x"::y()', (1, 12), "`scope(…)` stands twice"),
        ('@1 entities(T::"a": {}, T::"a": {}) A::"x"::y()', (1, 25), '`T::"a"` stands twice'),
        ('@2 A::"x"::y()\n\n@1 A::"x"::y()', (3, 1), "the time is before that of the line above"),
        ('@1 A::"x"::y(a: ' + "[" * 5_000, (1, 49), "this is nested more than 32 deep"),
        ('@1 A::"x"::y(a: ' + "{a:" * 5_000, (1, 113), "this is nested more than 32 deep"),
    ],
)
def test_a_mistake_is_said_at_its_place(text: str, at: tuple[int, int], message: str) -> None:
    with pytest.raises(Mistake) as caught:
        list(read(text))
    assert (position(text, caught.value.at), caught.value.message) == (at, message)
    assert caught.value.next_step


@pytest.mark.parametrize(("name", "bound"), [("MAX_TEXT", 20), ("MAX_LINE", 10), ("MAX_POINTS", 1)])
def test_traces_are_bounded(name: str, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, name, bound)
    with pytest.raises(Mistake, match=r"the (trace|line) has more than"):
        list(read('@1 A::"x"::y()\n@1 A::"x"::y()'))


def test_any_text_is_read_or_refused() -> None:
    rng = random.Random(5)
    for _ in range(3_000):
        letters = list(LINE)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(letters))
            letters[place : place + rng.randrange(3)] = rng.choice(
                ['"', "\\", "(", ")", "{", "]", ":", ",", "1", "x", "@", " "]
            )
        with contextlib.suppress(Mistake):
            list(read("".join(letters)))
