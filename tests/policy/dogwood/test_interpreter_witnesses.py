"""Explanations of temporal conditions: which event witnessed what, and which part is why a condition does not hold."""

from __future__ import annotations

import pytest

from remit.policy.dogwood.ast import Condition, ContextTerm, Leaf
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.history import Event, Exceeded, Request
from remit.policy.dogwood.interpreter import Interpretation, Interpreter
from remit.policy.dogwood.witnesses import WITNESSES, Part
from tests.policy.dogwood.generating import generated, leaves_of, seeds
from tests.policy.dogwood.test_interpreter import ANN, asking

A = 'R::Action::"A"::request'
B = 'R::Action::"B"::request'
C = 'R::Action::"C"::request'


def event(action: str, at: int, request: str, **inputs: object) -> Event:
    fields = {("input", name): value for name, value in inputs.items()} | {("requestId",): request}
    return Event("R::Action", action, "request", at * 1000, fields)


def why(condition: str, *events: Event, request: Request | None = None) -> Part:
    monitor = Interpreter([Leaf("p/0", parse(condition))])
    for each in events[:-1]:
        monitor.observe(each)
    state = monitor.dump()
    found = monitor.explain(request or asking(), events[-1], "p/0")
    assert monitor.dump() == state
    assert found.where.is_decision
    return found


def ids(part: Part) -> list[str | None]:
    return [witness.request for witness in part.witnesses]


def test_formerly_names_its_events_and_where_it_held_last() -> None:
    found = why(
        f"formerly within 1h {B}{{}}", event("B", 0, "1"), event("B", 60, "2"), event("C", 61, "3"), event("A", 99, "4")
    )
    assert (found.holds, ids(found), found.looked_at) == (True, ["2", "1"], 2)
    (inner,) = found.parts
    assert (inner.where.at, inner.where.number, inner.where.signature) == (60_000, 1, ("R::Action", "B", "request"))


def test_formerly_that_does_not_hold_shows_the_latest_that_could_have() -> None:
    found = why(
        f'formerly within 1h {B}{{input.u: "a"}}',
        event("B", 0, "1", u="a"),
        event("B", 9999, "2", u="b"),
        event("A", 9999, "3"),
    )
    assert (found.holds, ids(found), found.looked_at) == (False, [], 1)
    assert [(part.holds, part.where.request) for part in found.parts] == [(False, "2")]


def test_a_conjunction_shows_the_part_that_does_not_hold_and_what_was_bound() -> None:
    condition = f"exists (x: Long). (formerly within 1h {B}{{input.x: x}} && x > 5)"
    found = why(condition, event("B", 0, "1", x=3), event("A", 1, "2"))
    (both,) = found.parts
    left, right = both.parts
    assert (found.holds, left.holds, right.holds) == (False, True, False)
    assert right.bindings == (("x", 3),)
    assert [operand.value for operand in right.operands] == [3, 5]


def test_a_conjunction_that_holds_shows_the_row_for_which_it_does() -> None:
    condition = f"exists (x: Long). (formerly within 1h {B}{{input.x: x}} && x > 5)"
    found = why(
        condition, event("B", 0, "1", x=3), event("B", 0, "2", x=7), event("B", 0, "3", x=4), event("A", 1, "4")
    )
    assert found.parts[0].parts[1].bindings == (("x", 7),)
    assert ids(found) == ["2"]


def test_an_aggregate_shows_its_value_and_what_it_counted() -> None:
    condition = f"(count for (t: Timepoint). where (formerly within 1h ({B}{{}} && tp(t)))) < 2"
    found = why(condition, event("B", 0, "1"), event("B", 1, "2"), event("A", 2, "3"))
    count, limit = found.operands
    assert (found.holds, count.value, limit.value) == (False, 2, 2)
    assert [witness.request for witness in count.witnesses] == ["2", "1"]


def test_since_shows_its_anchor_and_what_broke_it() -> None:
    condition = f"!{C}{{}} since within 1h {B}{{}}"
    held = why(condition, event("B", 0, "1"), event("A", 1, "2"))
    assert (held.holds, ids(held), held.parts[0].where.request) == (True, ["1"], "1")
    broken = why(condition, event("B", 0, "1"), event("C", 1, "2"), event("A", 2, "3"))
    anchor, left = broken.parts
    assert (broken.holds, anchor.where.request, left.holds, left.where.request) == (False, "1", False, "2")
    assert why(condition, event("C", 1, "1"), event("A", 2, "2")).parts == ()


def test_what_a_negation_matched_is_no_witness_but_is_shown() -> None:
    found = why(f"!(formerly within 1h {B}{{}})", event("B", 0, "1"), event("A", 1, "2"))
    assert (found.holds, ids(found), ids(found.parts[0])) == (False, [], ["1"])


def test_previous_shows_the_event_before() -> None:
    found = why(f"previous within 1h {B}{{}}", event("C", 0, "1"), event("A", 1, "2"))
    assert (found.holds, found.parts[0].where.number, found.parts[0].where.signature) == (False, 0, None)
    assert why(f"previous within 1h {B}{{}}", event("B", 0, "1")).parts == ()


def test_an_operand_without_a_value_is_shown_as_none() -> None:
    found = why(f"formerly within 1h ({A}{{}} && context.input.missing == 1)", event("A", 0, "1"))
    compared = found.parts[0].parts[1]
    assert compared.operands[0].value is None
    assert compared.operands[0].term == ContextTerm(("input", "missing"))


def test_explanations_are_bounded() -> None:
    events = [event("B", number, str(number)) for number in range(300)]
    assert len(why(f"formerly within 1h {B}{{}}", *events, event("A", 300, "x")).witnesses) == WITNESSES
    monitor = Interpreter([Leaf("p/0", parse(f"formerly within 1h {B}{{input.u: 1}}"))], work_bound=100)
    for each in events:
        monitor.observe(each)
    with pytest.raises(Exceeded):
        monitor.explain(Request(ANN, ANN, {}), event("A", 300, "x"), "p/0")


def test_explanations_say_what_was_decided() -> None:
    """Of any condition: the same value, and of each part the parts that it has."""
    for seed in seeds(40):
        case = generated(seed)
        for leaf in leaves_of(case):
            monitor = Interpretation([leaf], work_bound=10_000_000).start()
            for point in case.points:
                if case.decides(point):
                    assert point.request is not None
                    found = monitor.explain(point.request, point.event, leaf.name)
                    assert (
                        found.holds is monitor.evaluate(point.request, point.event, frozenset({leaf.name}))[leaf.name]
                    )
                    check(found, leaf.condition)
                monitor.observe(point.event)


def check(part: Part, condition: Condition) -> None:
    assert part.condition == condition
    assert part.holds or not part.witnesses
    assert list(part.witnesses) == sorted(part.witnesses, key=lambda witness: -witness.number)
    bodies = [getattr(condition, name) for name in ("left", "right", "body") if hasattr(condition, name)]
    for inner in part.parts:
        assert inner.where.at <= part.where.at
        check(inner, next(body for body in bodies if body == inner.condition))
