"""`remit test`: coverage, other tasks, watching and reports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from remit.app.watching import changes, marks
from remit.cli.main import cli
from tests.app.test_trial import project as project

GUARD = """
@id("no-notes-at-night")
forbid (principal, action == Remit::Action::"notes/add", resource)
when { context.system.windows.contains("night") };

@id("no-closing-of-forty-two")
forbid (principal, action == Remit::Action::"orders/close", resource)
when { context.input has order && context.input.order == "42" };
"""
CASES = """
- name: looked at
  task: {intent: work, params: {order: "42"}}
  when: {action: orders/get, input: {order: "42"}}
  expect: {effect: permit}
- name: not closed
  task: {intent: work, params: {order: "42"}}
  given:
    - {action: orders/get, input: {order: "42"}, output: {state: open}, took: 3s}
  when: {action: orders/close, input: {order: "42"}}
  expect: {effect: deny, policies: [no-closing-of-forty-two]}
"""
# What the schema `junit-10` of Jenkins' xunit plug-in lets each element have.
JUNIT = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id",
                  "package", "file", "log", "url"},
    "testcase": {"name", "time", "classname", "group"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
}  # fmt: skip


def invoke(project: Path, *args: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(project), "test", *args])


@pytest.fixture
def guarded(project: Path) -> Path:
    (project / "policies").mkdir(exist_ok=True)
    (project / "policies" / "guards.cedar").write_text(GUARD)
    (project / "tests" / "a.yaml").write_text(CASES)
    return project


def test_policies_that_no_case_matches_or_lets_decide_are_told(guarded: Path) -> None:
    said = json.loads(invoke(guarded, "--coverage", "--json").output)
    lacks = {each["id"]: each["lacks"] for each in said["coverage"]["policies"]}
    assert lacks["no-closing-of-forty-two"] == ""
    assert lacks["no-notes-at-night"] == "never asked"
    assert lacks["intent:work/limit/gets"] == "never matched"
    assert 0 < said["coverage"]["percent"] < 100
    shown = invoke(guarded, "--coverage").output
    assert re.search(r"never asked +no-notes-at-night  policies/guards.cedar:2", shown)


def test_coverage_below_what_is_wanted_fails(guarded: Path) -> None:
    assert invoke(guarded, "--fail-under", "5").exit_code == 0
    result = invoke(guarded, "--fail-under", "100")
    assert result.exit_code == 1
    assert "100.0 % is wanted" in result.output


def test_coverage_changes_no_answer(guarded: Path) -> None:
    plain, covered = (json.loads(invoke(guarded, "--json", *more).output) for more in ((), ("--coverage",)))
    assert [each["passed"] for each in plain["cases"]] == [each["passed"] for each in covered["cases"]] == [True, True]


def test_what_happened_in_another_task_of_the_case_does_not_count_in_this_one(guarded: Path) -> None:
    text = """
- name: looked at elsewhere
  task: {intent: work, params: {order: "41"}}
  tasks: {other: {intent: work, params: {order: "41"}}}
  given:
    - {in: other, action: orders/get, input: {order: "41"}, output: {state: open}}
  when: {action: orders/close, input: {order: "41"}}
  expect: {effect: deny, reason: out_of_order}
- name: and closed there
  task: {intent: work, params: {order: "41"}}
  tasks: {other: {intent: work, params: {order: "41"}}}
  given:
    - {in: other, action: orders/get, input: {order: "41"}, output: {state: open}}
  when: {in: other, action: orders/close, input: {order: "41"}}
  expect: {effect: permit}
"""
    (guarded / "tests" / "a.yaml").write_text(text)
    result = invoke(guarded)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("given:\n    - {in: nowhere, action: orders/get}", "there is no task `nowhere`"),
        ("tasks: {idle: {intent: work}}", "nothing happens in the task `idle`"),
        ("given:\n    - {action: orders/get, outcome: none, took: 3s}", "what is not reported takes no time"),
    ],
)
def test_mistakes_about_tasks_and_times_are_told(guarded: Path, broken: str, message: str) -> None:
    case = "- name: a\n  task: {intent: work}\n  when: {action: orders/get}\n  expect: {effect: permit}\n  " + broken
    (guarded / "tests" / "a.yaml").write_text(case + "\n")
    result = invoke(guarded)
    assert result.exit_code == 1
    assert message in result.output


def test_the_report_is_what_the_schema_of_junit_allows(guarded: Path, tmp_path: Path) -> None:
    text = CASES.replace("expect: {effect: permit}", 'expect: {effect: deny, message: "\\x07 <&"}')
    (guarded / "tests" / "a.yaml").write_text(text)
    report = tmp_path / "report.xml"
    assert invoke(guarded, "--junit", str(report)).exit_code == 1
    root = ElementTree.parse(report).getroot()
    for element in root.iter():
        assert set(element.keys()) <= JUNIT[element.tag], element.tag
        if element.tag in ("testsuite", "testsuites"):
            assert {"tests", "failures", "errors"} <= set(element.keys())
            assert re.fullmatch(r"[0-9]{0,3}\.[0-9]*", element.get("time", ""))
    (suite,) = root
    assert (suite.get("name"), suite.get("failures"), root.get("tests")) == ("a", "1", "2")
    assert "tests/a.yaml:2" in (suite[0][0].text or "")


def test_several_changes_shortly_after_each_other_are_one(guarded: Path) -> None:
    before = marks(guarded)
    ticks = iter(range(1000))
    file = guarded / "policies" / "guards.cedar"
    done: list[int] = []

    def sleep(_: float) -> None:
        tick = next(ticks)
        if tick in (2, 3):
            file.write_text(GUARD + "\n" * tick)
            (guarded / "policies" / f".guards.cedar.swp{tick}").write_text("")
        done.append(tick)

    changed, after = changes(guarded, before, sleep=sleep, clock=lambda: len(done) * 0.25)
    assert changed == {str(file)}
    assert after == marks(guarded)
    assert len(done) >= 5


def test_watching_runs_again_after_a_change_what_is_affected_first(guarded: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "remit", "--project", str(guarded), "test", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        try:
            assert "ok" in _until(process, "2 passed")
            _until(process, "watching /")
            time.sleep(0.3)
            (guarded / "policies" / "guards.cedar").write_text(GUARD.replace('"42"', '"43"'))
            again = _until(process, "1 failed")
            assert again.index("not closed") < again.index("looked at")
            assert "\x1b[" not in again
            _until(process, "watching /")
            (guarded / "policies" / "guards.cedar").write_text("forbid (")
            assert "guards.cedar:1" in _until(process, "watching /")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def _until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    found = ""
    for line in process.stdout:
        found += line
        if text in line:
            return found
    raise AssertionError(found)


def test_what_the_engines_once_disagreed_on_is_put_to_both_again(
    guarded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = guarded / ".remit" / "disagreements"
    kept.mkdir(parents=True)
    (kept / "aa11.json").write_text("{}")
    result = invoke(guarded)
    assert result.exit_code == 1
    assert "the policy engines agree on aa11" in result.output
    monkeypatch.setattr("remit.app.trial.disagreements.run", lambda _: ["`p` matches only for cedarpy"])
    report = json.loads(invoke(guarded, "-k", "engines", "--json").output)
    (case,) = report["cases"]
    assert case["differences"][0]["got"] == "`p` matches only for cedarpy"
    monkeypatch.setattr("remit.app.trial.disagreements.run", lambda _: [])
    assert invoke(guarded).exit_code == 0
