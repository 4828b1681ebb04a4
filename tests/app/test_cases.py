"""Case files: what they may say, and mistakes told with line and fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.app.cases import NOON, Call, Case, Change, Move, Risk, chosen, load_cases, read_cases
from remit.core.documents import parse_yaml
from remit.core.errors import DocumentError, RemitError

CASE = """
- name: first
  task: {intent: i}
  when: {action: s/t}
  expect: {effect: deny}
"""


def cases_of(text: str) -> list[Case]:
    return read_cases(parse_yaml(text, Path("tests/a.yaml")))


def test_a_case_has_its_line_and_defaults() -> None:
    (case,) = cases_of(CASE)
    assert (case.name, case.line, case.at, case.given, case.when.as_) == ("first", 2, NOON, (), "pep")


def test_every_kind_of_step_is_read() -> None:
    steps = """
  given:
    - {action: s/t, input: {a: 1}, outcome: response, output: {b: 2}, by: workload}
    - {task: suspended, after: 5m}
    - {identity: workload/a, state: quarantined}
    - {risk: 80, identity: workload/a, lasts: 2h}
"""
    (case,) = cases_of(CASE.rstrip() + steps)
    assert [type(step) for step in case.given] == [Call, Move, Change, Risk]


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-11-03T10:00:00+01:00", 1_793_696_400_000),
        ("2026-11-03T09:00:00Z", 1_793_696_400_000),
        ("'2026-11-03 09:00:00.250Z'", 1_793_696_400_250),
    ],
)
def test_a_time_has_a_zone(said: str, at: int) -> None:
    assert cases_of(CASE + f"  at: {said}\n")[0].at == at


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name: no list", 1, "list of cases"),
        (CASE + "  at: 2026-11-03T10:00:00", 6, "not a time with a zone"),
        (CASE + "  at: tomorrow", 6, "not a time with a zone"),
        (CASE + "  at: 9999-12-31T23:59:59-12:00", 6, "not a time with a zone"),
        (CASE + "  wen: {}", 6, "unknown field `wen`"),
        (CASE + CASE, 7, "stands in line 2"),
        (CASE.replace("first", "' '"), 2, "needs a name"),
        (CASE.replace("s/t}", "s/t, start: true}"), 4, "not clear what is asked"),
        (CASE.replace("action: s/t", "input: {}"), 4, "not clear what is asked"),
        (CASE.replace("action: s/t", "start: true"), 5, "can't be what"),
        (CASE.replace("effect: deny", "started: true"), 5, ""),
        (CASE.replace("effect: deny", ""), 5, ""),
        (CASE.replace("effect: deny", "effect: maybe"), 5, "invalid enum value"),
        (CASE.replace("s/t}", "s/t, after: soon}"), 4, "not a length of time"),
        (CASE + "  given:\n    - {input: {}}", 7, "not clear what happened"),
        (CASE + "  given:\n    - {action: s/t, task: open}", 7, "not clear what happened"),
        (CASE + "  given:\n    - {risk: 101}", 7, "between 0 and 100"),
        (CASE + "  given:\n    - {action: s/t, outcome: error, output: {a: 1}}", 7, "only a response"),
        (CASE + "  given:\n    - {action: s/t, by: pep, because: x}", 7, "unknown field `because`"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        cases_of(text)
    assert caught.value.line == line
    assert message in caught.value.message or message == "can't be what"


def test_cases_and_steps_are_bounded() -> None:
    with pytest.raises(DocumentError, match="more than 1000 cases"):
        cases_of("\n".join("- {}" for _ in range(1001)))
    with pytest.raises(DocumentError, match="more than 200 steps"):
        cases_of(CASE + "  given: [" + ", ".join(["{task: open}"] * 201) + "]")


def test_cases_are_chosen_by_name_or_file(tmp_path: Path) -> None:
    (tmp_path / "payments.yaml").write_text(CASE)
    (tmp_path / "reads.yaml").write_text(CASE.replace("first", "second PAYMENT") + CASE.replace("first", "third"))
    found = load_cases(tmp_path)
    assert [case.name for case in chosen(found, "Payment")] == ["first", "second PAYMENT"]
    assert len(chosen(found, "")) == 3


def test_no_folder_means_no_cases(tmp_path: Path) -> None:
    assert load_cases(tmp_path / "tests") == []


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_cases_or_a_mistake(data: bytes) -> None:
    try:
        cases_of(data.decode("utf-8", "replace"))
    except RemitError:
        return


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["name", "at", "task", "given", "when", "expect", "intent", "action", "input", "start", "effect", "risk", "after"]
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(_KEYS, _VALUES | st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=6), max_size=3))
def test_any_values_are_cases_or_a_mistake(data: list[object]) -> None:
    import msgspec

    try:
        cases_of(msgspec.json.encode(data).decode())
    except RemitError:
        return
