"""Monitors: which conditions have state of their own, what they answer, and that bounds and mistakes change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from remit.policy.compiled.values import Entity
from remit.policy.dogwood.ast import Formerly, Leaf, Window
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.history import Event, Exceeded, Request
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.monitor import plan
from remit.policy.dogwood.monitor.watching import Watch

NAMES = frozenset({"p/0"})
H = 3_600_000


def leaf(text: str, name: str = "p/0") -> Leaf:
    """A leaf; `read{…}` stands for `A::"read"::request{…}`."""
    for action in ("read", "pay", "open", "close"):
        text = text.replace(f"{action}{{", f'A::"{action}"::request{{')
    return Leaf(name, parse(text))


def watch(text: str, bound: int = 1_000) -> Watch:
    made = plan([leaf(text)], bound).start()
    assert isinstance(made, Watch)
    return made


def event(at: int, action: str = "read", kind: str = "request", **inputs: Any) -> Event:
    return Event("A", action, kind, at, {("input", name): value for name, value in inputs.items()})


def request(**inputs: Any) -> Request:
    return Request(Entity(("U", "u")), Entity(("S", "s")), {"input": inputs})


def ask(monitor: Watch, at: int, action: str = "other", given: Mapping[str, Any] | None = None, **inputs: Any) -> bool:
    return monitor.evaluate(request(**inputs), event(at, action, **(given or {})), NAMES)["p/0"]


INCREMENTAL = (
    "formerly within 1h read{input.u: context.input.u}",
    "formerly within 1h read{input.u: context.input.u} && !formerly within 1h pay{input.u: context.input.u}",
    "previous within 1h read{input.u: context.input.u}",
    "!close{input.u: context.input.u} since within 1h open{input.u: context.input.u}",
    "!close{input.u: context.input.u} since within 1h open{}",
    "!(close{input.u: context.input.u} && formerly within 5m pay{input.u: context.input.u}) since within 1h open{}",
    "read{input.u: context.input.u} since within 1h open{}",
    "(!close{} && !pay{input.n: 3}) since within 1h open{}",
    "(count for (t: Timepoint). where formerly within 1h (pay{input.u: context.input.u} && tp(t))) < 3",
    "(count for (t: Timepoint). where (pay{input.u: context.input.u} && tp(t))) < 3",
    "exists (n: Long). ((sum a for (a: Long), (t: Timepoint). where formerly within 1h "
    "(pay{input.n: a} && a > 0 && tp(t))) == n && n > 5)",
    "exists (a: Long). formerly within 1h (pay{input.n: a} && a > context.input.limit)",
    "!formerly within 1h (exists (a: Long). (pay{input.n: a} && a > context.input.limit))",
    "exists (a: Long). (!(close{input.n: a} && a > context.input.limit) since within 1h open{})",
    "exists (u: String). (formerly within 1h read{input.u: u} && formerly within 1h pay{input.u: u})",
    "formerly within 1h (read{input.u: context.input.u} && formerly within 2h open{input.u: context.input.u})",
    "formerly within 1h (formerly within 1h read{input.u: context.input.u})",
    "formerly within 1h (read{} && !pay{input.u: context.input.u})",
    "exists (u: String). (formerly within 1h read{input.u: u} && (count for (t: Timepoint). where "
    "formerly within 1h (pay{input.u: u} && tp(t))) > 1)",
    'formerly within 1h read{input.s: [context.input.u, "b"]}',
)

REPLAYED = (
    ("formerly within 1h (!read{input.u: context.input.u})", "no field of an event tells"),
    ("formerly within 1h (read{} && !formerly within 1h pay{input.u: context.input.u})", "no field of an event tells"),
    (
        "formerly within 1h ((count for (t: Timepoint). where formerly within 1h (pay{input.u: context.input.u} "
        "&& tp(t))) > 2)",
        "no field of an event tells",
    ),
    (
        "exists (a: String). exists (b: String). (formerly within 1h (read{input.u: a} && formerly within 1h "
        "pay{input.u: b}) && previous within 1h open{input.u: a, input.w: b})",
        "pairs",
    ),
    ("(exists (b: Long). (pay{input.n: b} && b > context.input.n)) since within 1h read{}", "compares it"),
)  # fmt: skip


@pytest.mark.parametrize("text", INCREMENTAL)
def test_conditions_of_every_day_have_state_of_their_own(text: str) -> None:
    assert plan([leaf(text)]).bounds("p/0").replayed == ""


@pytest.mark.parametrize(("text", "why"), REPLAYED)
def test_a_condition_without_linear_state_is_looked_up_in_its_events_and_says_why(text: str, why: str) -> None:
    assert why in plan([leaf(text)]).bounds("p/0").replayed


def test_formerly_holds_for_the_same_user_until_its_window_ends() -> None:
    monitor = watch("formerly within 1h read{input.u: context.input.u}")
    assert not ask(monitor, 0, u="ada")
    monitor.observe(event(1_000, u="ada"))
    assert ask(monitor, 1_000 + H, u="ada")
    assert not ask(monitor, 1_001 + H, u="ada")
    assert not ask(monitor, 1_000, u="bob")


def test_the_decisions_own_event_counts_and_is_not_kept() -> None:
    monitor = watch("formerly within 1h read{input.u: context.input.u}")
    assert ask(monitor, 0, "read", {"u": "ada"}, u="ada")
    assert not ask(monitor, 0, u="ada")


def test_since_is_broken_for_one_user_alone_and_begins_again() -> None:
    monitor = watch("!close{input.u: context.input.u} since within 1h open{input.u: context.input.u}")
    for at, action, user in ((1, "open", "ada"), (1, "open", "bob"), (2, "close", "ada")):
        monitor.observe(event(at, action, u=user))
    assert (ask(monitor, 3, u="ada"), ask(monitor, 3, u="bob")) == (False, True)
    assert not ask(monitor, 3, "close", {"u": "bob"}, u="bob")
    monitor.observe(event(4, "open", u="ada"))
    assert ask(monitor, 5, u="ada")


def test_a_positive_left_side_has_to_hold_at_every_event() -> None:
    monitor = watch("read{} since within 1h open{}")
    monitor.observe(event(1, "open"))
    monitor.observe(event(2, "read"))
    assert ask(monitor, 3, "read")
    assert not ask(monitor, 3, "other")
    monitor.observe(event(3, "other"))
    assert not ask(monitor, 4, "read")


def test_previous_is_the_last_event_whatever_it_was() -> None:
    monitor = watch("previous within 1h read{}")
    monitor.observe(event(1))
    assert ask(monitor, 2)
    monitor.observe(event(2, "other"))
    assert not ask(monitor, 3)


def test_counts_tell_occurrences_from_values_by_what_they_are_for() -> None:
    times = watch("(count for (t: Timepoint). where formerly within 1h (pay{input.u: context.input.u} && tp(t))) == 3")
    values = watch("(count for (n: Long). where formerly within 1h pay{input.u: context.input.u, input.n: n}) == 2")
    for at, amount in ((1, 5), (2, 5), (3, 7)):
        for monitor in (times, values):
            monitor.observe(event(at, "pay", u="ada", n=amount))
    assert ask(times, 4, u="ada")
    assert ask(values, 4, u="ada")
    # The first leaves the window of the one; the other has its value again from the second.
    assert not ask(times, 2 + H, u="ada")
    assert ask(values, 2 + H, u="ada")
    assert not ask(values, 3 + H, u="ada")


def test_a_sum_skips_what_is_no_integer_and_is_exact_beyond_64_bits() -> None:
    monitor = watch(
        "(sum a for (a: Long), (t: Timepoint). where formerly within 1h (pay{input.n: a} && tp(t))) == "
        "9223372036854775807"
    )
    for at, amount in ((1, 2**63 - 1), (2, 2**63 - 1), (3, "5"), (4, True)):
        monitor.observe(event(at, "pay", n=amount))
    assert ask(monitor, 5)


def test_what_the_request_lacks_matches_nothing_and_breaks_nothing() -> None:
    assert not ask(watch("formerly within 1h read{input.u: context.input.u}"), 1, "read", {"u": "ada"})
    monitor = watch("!close{input.u: context.input.u} since within 1h open{}")
    monitor.observe(event(1, "open"))
    monitor.observe(event(2, "close", u="ada"))
    assert ask(monitor, 3)


@pytest.mark.parametrize(
    "text",
    [
        "formerly within 1h read{} && context.input.no == context.input.no",
        "formerly within 1h read{} && context.input.no != context.input.u",
        "formerly within 1h read{} && context.input.no < 5",
        "exists (x: Long). (x == context.input.no && !formerly within 1h pay{input.n: x} && formerly within 1h read{})",
    ],
)
def test_a_comparison_with_what_the_request_lacks_is_false(text: str) -> None:
    monitor = watch(text)
    monitor.observe(event(1))
    assert not ask(monitor, 2, u="ada")


def test_many_questions_on_an_idle_history_look_at_each_row_that_left_the_window_once() -> None:
    monitor = watch("(count for (t: Timepoint). where formerly within 1h (read{} && tp(t))) > 5")
    for at in range(100):
        monitor.observe(event(at * 1_000))
    answers = [ask(monitor, H + at * 1_000) for at in range(100)]
    assert answers == [99 - at >= 5 for at in range(100)]
    assert ask(monitor, H)  # and earlier again: questions have no order


def test_the_same_body_is_one_store_whatever_its_variables_are_called() -> None:
    found = plan(
        [
            leaf("formerly within 1h read{input.u: context.input.u}", "a/0"),
            leaf("!formerly within 1h read{input.u: context.input.other}", "b/0"),
            leaf("exists (x: String). (formerly within 1h read{input.u: x} && pay{input.u: x})", "c/0"),
        ]
    )
    monitor = found.start()
    assert isinstance(monitor, Watch)
    monitor.observe(event(1, u="ada"))
    assert monitor.size == 1


def test_at_its_bound_a_history_takes_nothing_more_and_stays_as_it_was() -> None:
    monitor = watch("formerly within 1h read{input.u: context.input.u}", bound=3)
    for number in range(3):
        monitor.observe(event(number, u=f"u{number}"))
    before = monitor.dump()
    with pytest.raises(Exceeded, match="more than 3 rows"):
        monitor.observe(event(10, u="u3"))
    assert monitor.dump() == before
    monitor.observe(event(11, u="u1"))  # it is held already
    monitor.observe(event(H + 1, u="u3"))  # the first has left the window
    assert monitor.size == 3


def test_at_its_bound_the_part_that_is_looked_through_holds_the_rest_back_too() -> None:
    text = "formerly within 1h (!read{input.u: context.input.u}) && formerly within 1h pay{}"
    found = plan([leaf(text), leaf("formerly within 1h read{input.u: context.input.u}", "q/0")], bound=2)
    monitor = found.start()
    for at in (1, 2):
        monitor.observe(event(at, u=f"u{at}"))
    before = monitor.dump()
    with pytest.raises(Exceeded):
        monitor.observe(event(3, u="u1"))
    assert monitor.dump() == before


def test_time_does_not_go_back() -> None:
    monitor = watch("formerly within 1h read{}")
    monitor.observe(event(10))
    for call in (lambda: monitor.observe(event(9)), lambda: ask(monitor, 9)):
        with pytest.raises(ValueError, match="earlier"):
            call()


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(Mistake, match="holds no time") as caught:
        plan([Leaf("p/0", Formerly(Window(0, "h"), parse('A::"read"::request{}')))])
    assert caught.value.next_step


def test_windows_within_one_another_are_refused_where_they_reach_back_too_far() -> None:
    inner = "formerly within 300d read{}"
    assert plan([leaf(inner)]).bounds("p/0").reach == Window(300, "d").ms
    with pytest.raises(Mistake, match="looks back 600 days") as caught:
        plan([leaf(f"formerly within 300d (pay{{}} && {inner})")])
    assert caught.value.at >= 0


def test_deep_nesting_is_planned_in_no_time() -> None:
    text = "formerly within 1m (" * 7 + "!(" * 6 + "read{input.u: context.input.u}" + ")" * 13
    assert plan([leaf(text)]).bounds("p/0").reach == 7 * 60_000


def test_an_unknown_name_is_no_answer() -> None:
    with pytest.raises(KeyError):
        watch("formerly within 1h read{}").evaluate(request(), event(1), frozenset({"q/0"}))
