"""The interpreter of temporal conditions: what is in a window, what equals what, and what is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Set, call
from remit.policy.dogwood.ast import (
    And,
    Argument,
    Binder,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Count,
    DecimalTerm,
    EntityTerm,
    Exists,
    Formerly,
    Leaf,
    Not,
    Operator,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Wildcard,
    Window,
)
from remit.policy.dogwood.history import Event, Exceeded, Request
from remit.policy.dogwood.interpreter import Interpreter

HOUR = Window(1, "h")
ANN = Entity(("R::User", "ann"))
LEAF = frozenset({"p/0"})


def event(action: str = "A", at: int = 0, kind: str = "request", **inputs: Any) -> Event:
    return Event("R::Action", action, kind, at * 1000, {("input", name): value for name, value in inputs.items()})


def is_(action: str = "A", kind: str = "request", **inputs: Term) -> Predicate:
    return Predicate(
        "R::Action", action, kind, tuple(Argument(("input", name), value) for name, value in inputs.items())
    )


def asking(context: Mapping[str, Any] | None = None, attributes: Mapping[str, Any] | None = None) -> Request:
    def attribute(_: Entity, path: tuple[str, ...]) -> Any:
        return (attributes or {}).get(path[0])

    return Request(ANN, Entity(("R::Server", "s")), {"input": context or {}}, attribute)


def holds(condition: Condition, *events: Event, request: Request | None = None) -> bool:
    """At the last of the events."""
    monitor = Interpreter([Leaf("p/0", condition)])
    for each in events[:-1]:
        monitor.observe(each)
    return monitor.evaluate(request or asking(), events[-1], LEAF)["p/0"]


# --- windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "wanted"), [(3600, True), (3601, False)])
def test_windows_have_both_ends(at: int, wanted: bool) -> None:
    assert holds(Formerly(HOUR, is_("B")), event("B"), event(at=at)) is wanted
    assert holds(Previous(HOUR, is_("B")), event("B"), event(at=at)) is wanted
    assert holds(Since(Not(is_("C")), HOUR, is_("B")), event("B"), event(at=at)) is wanted


def test_windows_are_measured_in_milliseconds() -> None:
    late = Event("R::Action", "A", "request", 3_600_001, {})
    assert not holds(Formerly(HOUR, is_("B")), event("B"), late)


def test_windows_within_windows_add_up() -> None:
    nested = Formerly(HOUR, And(is_("B"), Formerly(HOUR, is_("C"))))
    assert holds(nested, event("C"), event("B", 3600), event("D", 7200), event(at=7200))
    assert not holds(nested, event("C"), event("B", 3601), event("D", 7201), event(at=7201))


def test_formerly_looks_at_the_decision_too_and_previous_does_not() -> None:
    assert holds(Formerly(HOUR, is_()), event())
    assert not holds(Previous(HOUR, is_()), event())


def test_previous_is_the_event_before_and_no_other() -> None:
    assert not holds(Previous(HOUR, is_("B")), event("B"), event("C"), event())
    assert holds(Previous(HOUR, Previous(HOUR, is_("B"))), event("B"), event("C"), event())


def test_events_of_one_time_are_timepoints_of_their_own() -> None:
    times = Count((Binder("t", "Timepoint"),), Formerly(HOUR, And(is_("B"), Tp("t"))))
    assert holds(Comparison("==", times, Constant(3)), *[event("B")] * 3, event())


def test_since_needs_its_left_side_at_every_later_timepoint() -> None:
    seen = Since(is_("C"), HOUR, is_("B"))
    assert holds(seen, event("B"))
    assert holds(seen, event("B"), event("C"), event("C"))
    assert not holds(seen, event("B"), event("C"), event("D"), event("C"))
    assert holds(seen, event("B"), event("D"), event("B"), event("C"))


def test_since_is_broken_for_those_whom_it_concerns() -> None:
    granted = Since(Not(is_("Revoke", user=Var("u"))), HOUR, is_("Grant", user=Var("u")))
    someone = Exists(Binder("u", "String"), granted)
    ann, ben = {"user": "ann"}, {"user": "ben"}
    history = [event("Grant", **ann), event("Grant", **ben), event("Revoke", **ann)]
    assert holds(someone, *history, event())
    assert not holds(someone, *history, event("Revoke", **ben), event())


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "term", "wanted"),
    [
        (1, Constant(1), True),
        ("1", Constant(1), False),
        (True, Constant(1), False),
        (1, Constant(True), False),
        (True, Constant("true"), False),
        (call("decimal", "1.50"), DecimalTerm("1.5"), True),
        (call("decimal", "1.0"), Constant(1), False),
        ("1.5", DecimalTerm("1.5"), False),
        (ANN, EntityTerm("R::User", "ann"), True),
        (ANN, EntityTerm("R::Group", "ann"), False),
        ("ann", EntityTerm("R::User", "ann"), False),
        (ANN, ScopeTerm("principal"), True),
        ("ann", ScopeTerm("principal", ("id",)), True),
        ("R::User", ScopeTerm("principal", ("type",)), True),
        ("x", ScopeTerm("principal", ("dept",)), True),
        (Set(["a", "b"]), ContextTerm(("input", "tags")), True),
        ({"x": 1}, ContextTerm(("input", "record")), True),
        ("a", ContextTerm(("input", "missing")), False),
        ("a", ContextTerm(("input", "tags", "deeper")), False),
        ("anything", Wildcard(), True),
        (1, DecimalTerm("no number"), False),
    ],
)
def test_values_are_compared_as_cedar_compares_them(value: Any, term: Term, wanted: bool) -> None:
    request = asking({"tags": Set(["b", "a", "a"]), "record": {"x": 1}}, {"dept": "x"})
    assert holds(is_(x=term), event(x=value), request=request) is wanted


def test_an_attribute_goes_before_the_id_of_an_entity() -> None:
    assert holds(is_(x=ScopeTerm("principal", ("id",))), event(x="other"), request=asking(attributes={"id": "other"}))


def test_a_field_that_is_not_there_matches_nothing() -> None:
    assert not holds(is_(x=Wildcard()), event())
    assert not holds(Exists(Binder("x", "Long"), is_(x=Var("x"))), event())
    assert holds(is_(), event())


def test_fields_are_read_in_records_and_records_from_fields() -> None:
    nested = Event("R::Action", "A", "request", 0, {("input",): {"r": {"x": 1}}})
    leaves = Event("R::Action", "A", "request", 0, {("input", "r", "x"): 1, ("input", "r", "y"): "b"})
    inner = Predicate("R::Action", "A", "request", (Argument(("input", "r", "x"), Constant(1)),))
    whole = Predicate("R::Action", "A", "request", (Argument(("input", "r"), ContextTerm(("input", "r"))),))
    request = asking({"r": {"x": 1, "y": "b"}})
    assert [holds(inner, nested), holds(inner, leaves)] == [True, True]
    assert [holds(whole, nested, request=request), holds(whole, leaves, request=request)] == [False, True]


@pytest.mark.parametrize("op", ["<", "<=", ">", ">=", "==", "!="])
def test_a_comparison_with_what_is_not_there_is_false(op: Operator) -> None:
    compared = Comparison(op, ContextTerm(("input", "missing")), Constant(1))
    assert not holds(And(is_(), compared), event())
    assert holds(And(is_(), Not(compared)), event())


@pytest.mark.parametrize("value", ["1", True, call("decimal", "1.0"), ANN])
def test_only_integers_have_an_order(value: Any) -> None:
    for op in ("<", "<=", ">", ">="):
        compared: Operator = op  # type: ignore[assignment]
        assert not holds(
            Comparison(compared, ContextTerm(("input", "v")), Constant(1)), event(), request=asking({"v": value})
        )


# --- bindings -------------------------------------------------------------------------------------------------


def test_one_variable_twice_must_be_the_same_value() -> None:
    pair = Exists(Binder("x", "Long"), is_(x=Var("x"), y=Var("x")))
    assert holds(pair, event(x=1, y=1))
    assert not holds(pair, event(x=1, y="1"))


def test_a_variable_correlates_events() -> None:
    both = And(Formerly(HOUR, is_("B", u=Var("u"))), Formerly(HOUR, is_("C", u=Var("u"))))
    someone = Exists(Binder("u", "String"), both)
    assert holds(someone, event("B", u="a"), event("B", u="b"), event("C", u="b"), event())
    assert not holds(someone, event("B", u="a"), event("C", u="b"), event())


def test_a_variable_of_the_same_name_further_in_is_another_one() -> None:
    inner = Exists(
        Binder("x", "Long"), And(Formerly(HOUR, is_("B", x=Var("x"))), Comparison("==", Var("x"), Constant(2)))
    )
    outer = Exists(Binder("x", "Long"), And(is_(x=Var("x")), And(inner, Comparison("==", Var("x"), Constant(1)))))
    assert holds(outer, event("B", x=2), event(x=1))


def test_rows_that_differ_in_what_is_not_counted_are_one() -> None:
    body = Formerly(HOUR, And(is_("B", u=Var("u")), Tp("t")))
    people = Count((Binder("u", "String"),), Exists(Binder("t", "Timepoint"), body))
    assert holds(Comparison("==", people, Constant(1)), event("B", u="a"), event("B", u="a"), event())


def test_an_aggregate_is_of_what_is_bound_outside() -> None:
    own = Count((Binder("t", "Timepoint"),), Formerly(HOUR, And(is_("B", u=Var("u")), Tp("t"))))
    busy = Exists(Binder("u", "String"), And(Formerly(HOUR, is_("B", u=Var("u"))), Comparison(">=", own, Constant(2))))
    assert holds(busy, event("B", u="a"), event("B", u="b"), event("B", u="a"), event())
    assert not holds(busy, event("B", u="a"), event("B", u="b"), event())


def test_a_sum_skips_what_is_no_integer_and_a_count_does_not() -> None:
    binders = (Binder("x", "Long"), Binder("t", "Timepoint"))
    body = Formerly(HOUR, And(is_("B", x=Var("x")), Tp("t")))
    history = [event("B", x=1), event("B", x="5"), event("B", x=True), event("B", x=2), event()]
    assert holds(Comparison("==", Sum("x", binders, body), Constant(3)), *history)
    assert holds(Comparison("==", Count(binders, body), Constant(4)), *history)


@pytest.mark.parametrize(("extreme", "more"), [(LONG_MAX, 1), (LONG_MIN, -1)])
def test_a_sum_is_exact_and_stays_within_a_long(extreme: int, more: int) -> None:
    total = Sum(
        "x", (Binder("x", "Long"), Binder("t", "Timepoint")), Formerly(HOUR, And(is_("B", x=Var("x")), Tp("t")))
    )
    over = [event("B", x=extreme), event("B", x=more)]
    assert holds(Comparison("==", total, Constant(extreme)), *over, event())
    assert holds(
        Comparison("==", total, Constant(extreme - more)), *over, event("B", x=-more), event("B", x=-more), event()
    )


# --- bounds and states ----------------------------------------------------------------------------------------


def test_a_history_over_its_bound_is_refused_and_unchanged() -> None:
    monitor = Interpreter([Leaf("p/0", Formerly(HOUR, is_("B")))], events_bound=2)
    monitor.observe(event("B"))
    monitor.observe(event("B", 10))
    state = monitor.dump()
    with pytest.raises(Exceeded, match="more than 2 events"):
        monitor.observe(event("B", 20))
    assert monitor.dump() == state
    monitor.observe(event("B", 3601))


def test_a_condition_over_its_bound_is_refused_and_changes_nothing() -> None:
    # SECURITY: what can't be evaluated denies; a condition must not hold up decisions.
    pairs = Count(
        (Binder("t", "Timepoint"), Binder("u", "Timepoint")),
        And(Formerly(HOUR, And(is_("B"), Tp("t"))), Formerly(HOUR, And(is_("B"), Tp("u")))),
    )
    monitor = Interpreter([Leaf("p/0", Comparison(">", pairs, Constant(1)))], work_bound=1_000)
    for _ in range(100):
        monitor.observe(event("B"))
    state = monitor.dump()
    with pytest.raises(Exceeded, match="more than 1000 steps"):
        monitor.evaluate(asking(), event(), LEAF)
    assert monitor.dump() == state


def test_time_never_goes_back() -> None:
    monitor = Interpreter([Leaf("p/0", Formerly(HOUR, is_("B")))])
    monitor.observe(event("B", 10))
    with pytest.raises(ValueError, match="earlier"):
        monitor.observe(event("B", 9))
    with pytest.raises(ValueError, match="earlier"):
        monitor.evaluate(asking(), event("B", 9), LEAF)


def test_old_events_are_forgotten_and_counted_on() -> None:
    times = Count((Binder("t", "Timepoint"),), Formerly(Window(1, "m"), And(is_("B"), Tp("t"))))
    leaf = Leaf("p/0", Comparison("==", times, Constant(7)))
    monitor = Interpreter([leaf], events_bound=10)
    for number in range(1_000):
        assert monitor.evaluate(asking(), event("B", number * 10), LEAF)["p/0"] is (number >= 6)
        monitor.observe(event("B", number * 10))
    assert len(monitor.dump()) < 1_000


def test_of_events_only_what_conditions_name_is_kept() -> None:
    monitor = Interpreter([Leaf("p/0", Formerly(HOUR, is_("B", u=Constant("a"))))])
    monitor.observe(event("B", u="a", secret="s3cret"))
    monitor.observe(event("C", other="s3cret"))
    assert b"s3cret" not in monitor.dump()


def test_a_state_comes_back_equal_and_only_to_its_conditions() -> None:
    leaves = [Leaf("p/0", Formerly(HOUR, is_("B", u=ContextTerm(("input", "u")))))]
    values = [1, "1", True, call("decimal", "1.0"), call("ip", "10.0.0.1"), call("datetime", "2024-01-01"), ANN]
    values += [call("duration", "1h"), Set([2, "b", Set([])]), {"r": {"x": 1}}, "é\ud800"]
    monitor = Interpreter(leaves)
    for value in values:
        monitor.observe(event("B", u=value))
    restored = Interpreter.restore(leaves, monitor.dump())
    assert restored.dump() == monitor.dump()
    for value in values:
        assert restored.evaluate(asking({"u": value}), event(), LEAF) == {"p/0": True}
    assert restored.evaluate(asking({"u": False}), event(), LEAF) == {"p/0": False}
    with pytest.raises(ValueError, match="other conditions"):
        Interpreter.restore([Leaf("p/0", Formerly(Window(2, "h"), leaves[0].condition))], monitor.dump())


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'[1,"D",[0]]',
        b'[1,"D",[0,[["x",0,"a",null]]]]',
        b'[1,"D",[0,[[0,7,"a",null]]]]',
        b'[1,"D",[0,[[0,-2]]]]',
        b'[1,"D",[0,[[0,0]]]]',
        b'[1,"D",[0,[[0,0,["no","value"],null]]]]',
        b'[1,"D",[0,[[0,0,1.5,null]]]]',
        b'[1,"D",[0,[[5,0,"a",null],[4,0,"a",null]]]]',
        b'[1,"D",["a",[]]]',
        b'[1,"D",[-1,[]]]',
        b'[1,"D",[true,[]]]',
    ],
)
def test_what_is_no_state_is_refused(form: bytes) -> None:
    leaves = [Leaf("p/0", Formerly(HOUR, is_("B", u=Constant("a"))))]
    with pytest.raises(ValueError, match="stored"):
        Interpreter.restore(leaves, form.replace(b"D", Interpreter(leaves).digest.encode()))
