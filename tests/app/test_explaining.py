"""Traces agree with what was decided, in every decision case of the examples: modes, children, histories and all."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit.app import explaining, trial
from remit.app.cases import load_cases
from remit.app.explaining import explain_recorded
from remit.app.folder import Folder
from remit.app.project import load_project
from remit.app.trial import Difference, Play, run_cases
from remit.console.detail import find
from remit.storage.sqlite_reader import SqliteReader
from tests.app.test_trial import project as project

EXAMPLES = Path(__file__).parents[2] / "examples"
CHILD = """
- name: a child is judged for its parent too
  task: {intent: part, params: {order: O-1}, starter: workload/agent, parent: {intent: work, params: {order: O-1}}}
  given:
    - {action: orders/get, input: {order: O-1}, output: {state: open}}
  when: {action: orders/get, input: {order: O-1}}
  expect: {effect: permit}
- name: and refused by it
  task: {intent: part, params: {order: O-1}, starter: workload/agent, parent: {intent: work, params: {order: O-1}}}
  given:
    - {action: orders/get, input: {order: O-1}, output: {state: open}}
    - {action: orders/get, input: {order: O-1}, output: {state: open}}
  when: {action: orders/get, input: {order: O-1}}
  expect: {effect: deny, reason: limit_reached}
"""


def explained(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Runs the cases, and explains each decision that they ask for; how many were traced, noted, and disagree."""
    found: Counter[str] = Counter()
    recorded = Play._recorded

    def also(play: Any, key: str) -> Iterator[Difference]:
        if key:
            with SqliteReader(play._installation.folder.database) as reader:
                explanation = explain_recorded(folder, reader, find(reader, key))
            found["noted" if explanation.note else "traced"] += 1
            found["levels"] += len(explanation.levels)
            found["temporal"] += sum(len(each.temporal) for level in explanation.levels for each in level.policies)
            assert explanation.disagrees == "", (play._case.name, explanation)
        yield from recorded(play, key)

    monkeypatch.setattr(trial.Play, "_recorded", also)
    monkeypatch.setattr(explaining, "load_project", functools.cache(load_project))
    cases = [case for case in load_cases(folder.root / "tests") if not getattr(case.when, "start", True)]
    results = asyncio.run(run_cases(folder, cases))
    assert [result for result in results if not result.passed] == []
    return found


@pytest.mark.parametrize(("example", "least"), [("finance", 25), ("pipeline", 20), ("drift", 3), ("support", 30)])
def test_the_trace_of_every_case_is_what_was_decided(example: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = explained(Folder(EXAMPLES / example), monkeypatch)
    assert found["traced"] >= least
    if example == "support":
        assert found["temporal"] >= 60


def test_a_child_is_explained_for_each_task_above_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "tests" / "a.yaml").write_text(CHILD)
    found = explained(Folder(project), monkeypatch)
    assert (found["traced"], found["levels"]) == (2, 4)
