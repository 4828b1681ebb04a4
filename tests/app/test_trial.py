"""Running cases: what differs is told, faults of a case are its own, and the records are looked into."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from remit.app.cases import load_cases
from remit.app.folder import Folder
from remit.app.trial import ABSENT, run_cases, value_at
from remit.app.trial import Result as CaseResult
from remit.cli.main import cli

SETTINGS = """
trust_domain = "test.example"
operator = "alice"
workload = "agent"
[service]
listen = ""
[[workloads]]
name = "agent"
kind = "agent"
owner = "alice"
groups = ["agents"]
[[starters]]
name = "application"
owner = "alice"
groups = ["applications"]
[[enforcement_points]]
name = "gateway"
owner = "alice"
servers = ["orders"]
[[people]]
name = "alice"
roles = ["starter", "administrator"]
groups = ["staff"]
"""
INTENT = """
description: Look at orders and close them.
actions: [orders/get, orders/close, notes/add]
starters: [group:staff, group:applications]
workloads: [group:agents]
params:
  order: {type: string, required: false}
children: [part]
risk_at_most: 50
order:
  - {name: looked, done: orders/get, where: {input.order: params.order, output.state: "'open'"}, before: [orders/close]}
limits:
  - {name: gets, actions: [orders/get], calls: 2}
"""
PART = """
description: Look at one order.
actions: [orders/get]
starters: [workload/agent]
workloads: [group:agents]
self_start: true
risk_at_most: 50
params:
  order: {type: string, required: false}
"""
TOOL = """
  {name}:
    effect: {effect}
    selectors: [order]
    trusted: true
    labels: [internal]
    select: {{state: string}}
    redact: [secret]
    reviewed: {{by: alice, at: "2026-11-01T09:00:00Z"}}
    pin: ""
    input_schema: |-
      {{"type": "object", "required": ["order"], "properties": {{"order": {{"type": "string"}}}}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("intents", "catalogue", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "remit.toml").write_text(SETTINGS)
    (tmp_path / "intents" / "work.yaml").write_text(INTENT)
    (tmp_path / "intents" / "part.yaml").write_text(PART)
    tools = TOOL.format(name="get", effect="read") + TOOL.format(name="close", effect="write")
    (tmp_path / "catalogue" / "orders.yaml").write_text("server: orders\ntools:" + tools)
    own = "server: notes\nself_enforced: true\ntools:" + TOOL.format(name="add", effect="write")
    (tmp_path / "catalogue" / "notes.yaml").write_text(own)
    return tmp_path


def ran(project: Path, text: str) -> list[CaseResult]:
    (project / "tests" / "a.yaml").write_text(text)
    return asyncio.run(run_cases(Folder(project), load_cases(project / "tests")))


def one(project: Path, rest: str, task: str = "{intent: work, params: {order: O-1}}") -> CaseResult:
    (result,) = ran(project, f"- name: one\n  task: {task}\n{rest}")
    return result


GET = "action: orders/get, input: {order: O-1}"
CLOSE = "  when: {action: orders/close, input: {order: O-1}}\n"


def test_a_case_that_holds_passes(project: Path) -> None:
    result = one(
        project, f"  when: {{{GET}}}\n  expect: {{effect: permit, obligations: {{select: [state], redact: [secret]}}}}"
    )
    assert result.passed, result


def test_a_case_expects_what_policies_oblige_to_and_tells_nobody(project: Path) -> None:
    with (project / "remit.toml").open("a") as settings:
        settings.write('[[notifiers]]\nname = "audit"\nfile = "audit.jsonl"\n')
    (project / "policies").mkdir(exist_ok=True)
    (project / "policies" / "told.cedar").write_text(
        '@notify("audit")\n@limit("output.lines=5, bytes=900")\n'
        'permit (principal, action == Remit::Action::"orders/get", resource);\n'
    )
    wanted = "{notify: [audit], limit: [output.lines=5, bytes=900], select: [state], report_first: []}"
    result = one(project, f"  when: {{{GET}}}\n  expect: {{obligations: {wanted}}}")
    assert result.passed, result
    result = one(project, f"  when: {{{GET}}}\n  expect: {{obligations: {{notify: [], limit: [output.lines=6]}}}}")
    assert [each.got for each in result.differences] == [
        {"limit": ["bytes=900", "output.lines=5"], "notify": ["audit"]}
    ]
    assert not (project / "audit.jsonl").exists()


def test_what_differs_is_told(project: Path) -> None:
    expect = """  expect:
    effect: deny
    reason: out_of_order
    message: never said
    policies: [nobody]
    obligations: {redact: [], select: [state]}
    record: {context.task.intent: other, nothing.here: 1, enforcement: pep}
"""
    result = one(project, f"  when: {{{GET}}}\n{expect}")
    told = {each.what: (each.expected, each.got) for each in result.differences}
    assert not result.passed
    assert told["effect"] == ("deny", "permit")
    assert told["reason"] == ("out_of_order", "permitted")
    assert told["policies"] == (["nobody"], ["intent:work/justifies"])
    assert told["obligations"] == ({"redact": [], "select": ["state"]}, {"redact": ["secret"], "select": ["state"]})
    assert told["record context.task.intent"] == ("other", "work")
    assert told["record nothing.here"] == (1, ABSENT)
    assert "message" in told
    assert "record enforcement" not in told


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("", "out_of_order"),
        (f"{{{GET}, output: {{state: open}}}}", "permitted"),
        (f"{{{GET}, output: {{state: closed}}}}", "out_of_order"),
        (f"{{{GET}, output: {{state: open}}, by: workload}}", "out_of_order"),
        (f"{{{GET}, outcome: error}}", "out_of_order"),
        (f"{{{GET}, outcome: none}}", "out_of_order"),
        ("{task: completed}", "task_completed"),
        ("{task: suspended, by: person/alice}", "task_suspended"),
        ("{identity: workload/agent, state: quarantined}", "identity_quarantined"),
        (f"{{{GET}, output: {{state: open}}}}, {{risk: 51}}", "risk_too_high"),
        ("{risk: 51, lasts: 5m}, {risk: 0, after: 6m, identity: pep/gateway}", "out_of_order"),
    ],
)
def test_history_decides(project: Path, step: str, reason: str) -> None:
    result = one(project, f"  given: [{step}]\n{CLOSE}  expect: {{reason: {reason}}}")
    assert result.passed, result


def test_what_is_due_is_recorded_when_time_goes_by(project: Path) -> None:
    gets = ", ".join([f"{{{GET}, outcome: none}}"] * 2)
    asked = f"  given: [{gets}]\n  when: {{{GET}%s}}\n  expect: {{reason: %s}}"
    assert one(project, asked % ("", "limit_reached")).passed
    assert one(project, asked % (", after: 3m", "permitted")).passed  # a read whose outcome is unknown is given back


def test_a_workload_asks_for_itself_where_its_server_is_self_enforced(project: Path) -> None:
    when = "  when: {action: notes/add, input: {order: O-1}}\n"
    assert one(project, when + "  expect: {effect: permit, record: {enforcement: self}}").passed


def test_a_child_is_started_under_its_parent(project: Path) -> None:
    task = "{intent: part, params: {order: O-1}, starter: workload/agent, parent: {intent: work, params: {order: O-1}}}"
    result = one(project, f"  when: {{{GET}}}\n  expect: {{effect: permit, record: {{context.task.depth: 1}}}}", task)
    assert result.passed, result


def test_a_task_on_behalf_of_a_person_proves_them(project: Path) -> None:
    task = "{intent: work, params: {order: O-1}, starter: starter/application, on_behalf_of: alice}"
    record = "{context.task.onBehalfOf: 'spiffe://test.example/person/alice'}"
    result = one(project, f"  when: {{{GET}}}\n  expect: {{effect: permit, record: {record}}}", task)
    assert result.passed, result


def test_who_may_start_is_asked(project: Path) -> None:
    start = "  when: {start: true}\n  expect: %s"
    assert one(project, start % "{started: true, record: {intent: work}}").passed
    own = "{intent: work, starter: workload/agent}"
    assert one(project, start % "{refused: self_start, record: {action: task.start}}", own).passed
    wrong = one(project, start % "{started: true}", own)
    assert [(each.expected, each.got) for each in wrong.differences] == [("started", "self_start")]


@pytest.mark.parametrize(
    ("rest", "task", "message"),
    [
        (CLOSE, "{intent: nothing}", "there is no intent `nothing` (intent_unknown)"),
        (CLOSE, "{intent: work, starter: starter/nobody}", "`starter/nobody` is not declared in `remit.toml`"),
        (CLOSE, "{intent: work, starter: workload/agent}", "could not be started"),
        (
            CLOSE + "  given: [{action: orders/close, input: {order: O-1}}]\n",
            "",
            "step 1, `orders/close`, was not permitted",
        ),
        (CLOSE + f"  given: [{{{GET}, outcome: refused}}]\n", "", "was permitted, and is said to have been refused"),
        (CLOSE + "  given: [{task: completed}, {task: open}]\n", "", "step 2 was refused: the task is completed"),
        (
            CLOSE + f"  given: [{{{GET}, by: starter/application}}]\n",
            "",
            "could not be reported by starter/application",
        ),
        (
            CLOSE + "  given: [{identity: workload/agent, state: retired, by: starter/application}]\n",
            "",
            "step 1 was refused",
        ),
    ],
)
def test_a_case_that_can_not_be_carried_through_says_why(project: Path, rest: str, task: str, message: str) -> None:
    result = one(project, rest + "  expect: {effect: deny}", task or "{intent: work, params: {order: O-1}}")
    assert not result.passed
    assert message in result.error
    assert result.line == 1


def test_cases_do_not_disturb_each_other(project: Path) -> None:
    case = f"""
- name: case %d
  task: {{intent: work}}
  given: [{{{GET}}}, {{identity: workload/agent, state: quarantined}}]
  when: {{{GET}}}
  expect: {{reason: identity_quarantined, record: {{n.0: 1}}}}
"""
    results = ran(project, "".join(case % number for number in range(3)))
    assert {each.differences[0].what for each in results} == {"record n.0"}
    assert {len(each.differences) for each in results} == {1}


def test_a_value_is_found_at_keys_with_dots_and_in_lists() -> None:
    body = {"a": {"b.c/d": {"e": 1}, "list": [{"x": 2}]}}
    assert value_at(body, "a.b.c/d.e") == 1
    assert value_at(body, "a.list.0.x") == 2
    assert value_at(body, "a.list.7.x") == ABSENT
    assert value_at(body, "a.list.x") == ABSENT


def invoke(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["test", "--project", str(project), *arguments])


TWO = f"""
- name: good
  task: {{intent: work}}
  when: {{{GET}}}
  expect: {{effect: permit}}
- name: bad
  task: {{intent: work}}
  when: {{{GET}}}
  expect: {{effect: deny}}
"""


def test_the_command_shows_what_failed_and_exits_with_1(project: Path) -> None:
    (project / "tests" / "a.yaml").write_text(TWO)
    result = invoke(project)
    assert result.exit_code == 1
    assert "wrong tests/a.yaml:6" in result.output
    assert "expected  deny" in result.output
    assert "got       permit" in result.output
    assert "1 passed, 1 failed" in result.output
    assert invoke(project, "-k", "good").exit_code == 0


def test_the_command_speaks_json_and_junit(project: Path, tmp_path: Path) -> None:
    (project / "tests" / "a.yaml").write_text(TWO)
    report = tmp_path / "report.xml"
    result = invoke(project, "--json", "--junit", str(report))
    said = json.loads(result.output)
    assert (said["passed"], said["failed"]) == (1, 1)
    assert said["cases"][1]["differences"] == [{"what": "effect", "expected": "deny", "got": "permit"}]
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert suite[1][0].get("message") == "effect: expected deny, got permit"


def test_the_command_names_file_line_and_fix(project: Path) -> None:
    (project / "tests" / "a.yaml").write_text(TWO.replace("{effect: permit}", "{affect: permit}"))
    result = invoke(project)
    assert result.exit_code == 1
    assert "tests/a.yaml:5:" in result.output
    assert "unknown field `affect`" in result.output


def test_no_cases_is_said(project: Path) -> None:
    assert "there are no cases" in invoke(project).output
    (project / "tests" / "a.yaml").write_text(TWO)
    assert "no case has `zzz`" in invoke(project, "-k", "zzz").output
