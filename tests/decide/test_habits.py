"""Habits: learned by the day, in integers, bounded, and never more than was taught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import bounds
from remit.decide.habits import TASKS_A_DAY, Habit, Habits, Terms, practice_body, told
from remit.decide.world import Life
from tests.decide.stage import spiffe

TERMS = Terms()
DAY_MS = 86_400_000
lessons = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 5)), max_size=40)


def learned(*days: tuple[int, int]) -> Habit:
    habit = Habit(days[0][0], days[0][0])
    for day, tasks in days:
        habit.learn(day, tasks)
    return habit


def daily(count: int, tasks: int = TASKS_A_DAY, every: int = 1) -> Habit:
    return learned(*((day * every, tasks) for day in range(count)))


# --- how novelty falls and rises ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("tasks", "novelty"), [(1, 90), (2, 85), (3, 80), (4, 80), (1000, 80)])
def test_one_day_is_one_day_however_much_is_done_on_it(tasks: int, novelty: int) -> None:
    assert learned((0, tasks)).novelty(0, TERMS) == novelty
    assert learned(*[(0, 1)] * tasks).novelty(0, TERMS) == novelty


def test_a_tool_of_every_day_is_habitual_after_a_week() -> None:
    assert [daily(days).novelty(days - 1, TERMS) for days in range(1, 8)] == [80, 61, 42, 23, 4, 0, 0]
    assert daily(10, 1).novelty(9, TERMS) < 10  # with one task a day it takes twice as long


def test_what_is_used_each_week_stays_familiar_and_what_is_used_each_month_stays_rare() -> None:
    assert daily(52, 2, 7).novelty(51 * 7, TERMS) == 0
    assert daily(52, 1, 7).novelty(51 * 7 + 6, TERMS) in range(25, 50)
    assert daily(12, 3, 30).novelty(11 * 30 + 29, TERMS) >= 75


def test_the_table_of_the_design_is_what_is_computed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "design" / "drift.md").read_text("utf-8")
    month = daily(30)
    for what, novelties in (
        ("a thousand times yesterday", [daily(1).novelty(1, TERMS)]),
        ("each day, three tasks: on the 2nd, 3rd, … 7th day", [daily(n).novelty(n, TERMS) for n in range(1, 7)]),
        ("each day, one task: on the 6th, 11th day", [daily(n, 1).novelty(n, TERMS) for n in (5, 10)]),
        ("each week, one task, for a year", [daily(52, 1, 7).novelty(364, TERMS)]),
        ("each month, three tasks, for a year", [daily(12, 3, 30).novelty(360, TERMS)]),
        (
            "each day for a month, then not for one, two, three, four, six months",
            [month.novelty(29 + days, TERMS) for days in (30, 60, 90, 120, 180)],
        ),
    ):
        assert f"| {what} | {', '.join(map(str, novelties))} |" in page


def test_a_habit_is_forgotten_over_months() -> None:
    habit = daily(30)
    seen = [habit.novelty(29 + 30 * months, TERMS) for months in range(9)]
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert seen[-1] > 85
    assert habit.novelty(10**6, TERMS) == 99  # yet it was once known


@given(lessons, st.integers(0, 800))
def test_novelty_is_a_number_from_0_to_99_and_never_falls_without_a_lesson(
    days: list[tuple[int, int]], today: int
) -> None:
    habit = learned((0, 1), *days)
    now, later = habit.novelty(today, TERMS), habit.novelty(today + 1, TERMS)
    assert 0 <= now <= later <= 99 or today < habit.last


@given(lessons, st.permutations(range(6)))
def test_the_order_in_which_processes_record_makes_no_difference_within_a_day(
    days: list[tuple[int, int]], order: list[int]
) -> None:
    few = [*days[:6], *[(0, 1)] * (6 - len(days[:6]))]
    assert learned((0, 1), *few) == learned((0, 1), *(few[place] for place in order))


@given(lessons)
def test_days_and_tasks_are_kept_as_they_were_learned(days: list[tuple[int, int]]) -> None:
    habit = learned((0, 1), *days)
    expected: dict[int, int] = {0: 1}
    for day, tasks in days:
        expected[day] = min(TASKS_A_DAY, expected.get(day, 0) + tasks)
    last = max(expected)
    kept = sorted((day, tasks) for day, tasks in expected.items() if last - day < bounds.HABIT_DAYS)
    assert habit.by_day() == kept
    assert habit.days == len(kept)
    assert all(habit.on(day) == tasks for day, tasks in kept)


def test_novelty_is_computed_anew_after_a_lesson_a_day_and_other_terms() -> None:
    habit = learned((0, 3))
    assert habit.novelty(0, TERMS) == 80
    assert habit.novelty(0, Terms(habit_days=1)) == 0
    habit.learn(1, 3)
    assert habit.novelty(1, TERMS) == 61
    assert habit.novelty(31, TERMS) > 61


# --- bounds --------------------------------------------------------------------------------------------------------


def body(day: int, **items: Any) -> dict[str, Any]:
    tools, steps, destinations = (items.get(name, {}) for name in ("tools", "steps", "destinations"))
    return practice_body(spiffe("workload/finance"), day, tools, steps, destinations)


def test_at_the_bound_what_is_known_stays_and_what_is_new_stays_novel() -> None:
    habits = Habits()
    habits.practise(body(0, destinations={f"h{n}.example": 1 for n in range(bounds.HABITS)}), 0)
    habits.practise(body(1, destinations={"new.example": 3, "h0.example": 1}), 1)
    assert "new.example" not in habits.destinations
    assert habits.destinations["h0.example"].days == 2
    assert len(habits.destinations) == bounds.HABITS


def test_what_was_forgotten_long_ago_makes_room() -> None:
    habits = Habits()
    habits.practise(body(0, tools={f"s/t{n}": 1 for n in range(bounds.HABITS)}), 0)
    habits.practise(body(bounds.HABIT_DAYS, tools={"s/new": 1}), bounds.HABIT_DAYS)
    assert list(habits.tools) == ["s/new"]


# --- forgetting and copying ----------------------------------------------------------------------------------------


def test_a_forgotten_tool_takes_its_steps_with_it() -> None:
    habits = Habits()
    steps = {("", "a/x"): 1, ("a/x", "a/y"): 1, ("a/y", "a/z"): 1}
    habits.practise(body(0, tools={"a/x": 1, "a/y": 1}, steps=steps, destinations={"h": 1}), 0)
    habits.forget({"everything": False, "tools": ["a/x"], "destinations": ["h"]})
    assert (list(habits.tools), list(habits.steps), habits.destinations) == (["a/y"], [("a/y", "a/z")], {})
    habits.forget({"everything": True, "tools": [], "destinations": []})
    assert habits == Habits()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300), st.integers(1, 4)), max_size=30))
def test_a_copy_learns_the_same(taught: list[tuple[str, int, int]]) -> None:
    habits, copy = Habits(), Habits()
    for name, day, tasks in taught:
        habits.practise(body(day, tools={name: tasks}, steps={("", name): tasks}, destinations={name: tasks}), day)
    for each in told(habits, spiffe("workload/finance"), 1000):
        copy.practise(each, each["day"])
    assert copy.days == habits.days
    for kind in ("tools", "steps", "destinations"):
        for name, habit in getattr(habits, kind).items():
            again = getattr(copy, kind)[name]
            assert again.novelty(1400, TERMS) == habit.novelty(400, TERMS)


# --- days in quarantine --------------------------------------------------------------------------------------------


def life(*changes: tuple[int, str]) -> Life:
    found = Life()
    for day, state in changes:
        registration = {"id": "x", "kind": "agent", "roles": ["workload"], "owner": "o", "key": "k", "state": state}
        found.apply("identity", {"registration": registration}, day * DAY_MS + 5)
    return found


def test_days_stand_still_in_quarantine() -> None:
    found = life((10, "active"), (20, "quarantined"))
    assert [found.today(day * DAY_MS) for day in (20, 21, 90)] == [20, 20, 20]
    found.apply("practice", body(21, tools={"a/x": 1}), 21 * DAY_MS)
    assert found.habits == Habits()
    found = life((10, "active"), (20, "quarantined"), (50, "active"), (52, "quarantined"), (53, "active"))
    assert [found.today(day * DAY_MS) for day in (53, 60)] == [22, 29]
    found.apply("practice", body(60, tools={"a/x": 1}), 60 * DAY_MS)
    assert found.habits.tools["a/x"].last == 29


def test_novelty_after_a_quarantine_is_what_it_was_before() -> None:
    found = life((0, "active"))
    for day in range(4):
        found.apply("practice", body(day, tools={"a/x": 3}), day * DAY_MS)
    before = found.habits.tools["a/x"].novelty(found.today(4 * DAY_MS), TERMS)
    for day, state in ((4, "quarantined"), (200, "active")):
        registration = {"id": "x", "kind": "agent", "roles": ["workload"], "owner": "o", "key": "k", "state": state}
        found.apply("identity", {"registration": registration}, day * DAY_MS)
    assert found.habits.tools["a/x"].novelty(found.today(200 * DAY_MS), TERMS) == before


def test_who_only_stops_an_identity_has_not_registered_it() -> None:
    found = Life()
    registration = {"id": "x", "kind": "agent", "roles": ["workload"], "owner": "o", "key": "k"}
    for by, changed in (
        ("issuer rule 1", {"state": "active"}),
        ("spiffe://example.org/remit", {"state": "quarantined"}),
        ("spiffe://example.org/person/ada", {"state": "active"}),
    ):
        found.apply("identity", {"registration": registration | changed, "by": by}, 0)
        assert found.registered_by == "issuer rule 1"
    found.apply("identity", {"registration": registration | {"groups": ["g"]}, "by": "ada"}, 0)
    assert found.registered_by == "ada"


def test_a_change_of_groups_in_quarantine_stops_no_day_twice() -> None:
    found = life((10, "active"), (20, "quarantined"), (25, "quarantined"), (30, "active"))
    assert found.today(30 * DAY_MS) == 20
