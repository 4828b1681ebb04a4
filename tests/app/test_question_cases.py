"""Decision cases for general questions: read beside other cases, answered by policies and entities."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from remit.app.cases import chosen, load_cases, read_cases
from remit.app.folder import Folder
from remit.app.question_cases import QuestionCase
from remit.app.trial import Result, run_cases
from remit.core.documents import parse_yaml
from remit.core.errors import DocumentError
from tests.policy import own

SETTINGS = """
trust_domain = "test.example"
operator = "alice"
[service]
listen = ""
[[people]]
name = "alice"
roles = ["administrator"]
"""
SCHEMA = """
namespace Records {
  entity User = { team?: String };
  entity Record = { owner?: User };
  action view, edit appliesTo {
    principal: User, resource: Record, context: { night?: Bool, action: { how?: String } }
  };
}
"""
POLICIES = """
@id("owners") permit(principal, action, resource is Records::Record)
when { resource has owner && resource.owner == principal };
@id("red-views") @redact("output.pay") permit(principal, action == Records::Action::"view", resource)
when { principal has team && principal.team == "red" };
@id("nights") @reason("closed_at_night") @message("records are closed at night")
forbid(principal, action, resource is Records::Record) when { context has night && context.night };
"""
USERS = [
    own.entity("Records::User", "ann", team="red"),
    own.entity("Records::User", "bob"),
    own.entity("Records::Record", "1", owner="bob"),
    own.entity("Records::Record", "2", owner="ann"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    own.write(tmp_path, SCHEMA, USERS, POLICIES)
    (tmp_path / "remit.toml").write_text(SETTINGS)
    (tmp_path / "tests").mkdir()
    return tmp_path


def ran(project: Path, text: str) -> list[Result]:
    (project / "tests" / "a.yaml").write_text(text)
    return asyncio.run(run_cases(Folder(project), load_cases(project / "tests")))


CASES = """
- name: an owner edits
  when: {subject: {type: user, id: bob}, action: edit, resource: {type: record, id: "1"}}
  expect: {effect: permit, reason: permitted, policies: [owners], obligations: {redact: []}}
- name: a property of the caller counts where no file says otherwise
  when:
    subject: {type: user, id: zoe, properties: {team: red}}
    action: view
    action_properties: {how: quickly}
    resource: {type: record, id: new, properties: {owner: bob}}
    context: {night: false}
  expect: {effect: permit, policies: [red-views], obligations: {redact: [pay]}}
- name: nothing is shown at night
  when: {subject: {type: user, id: ann}, action: view, resource: {type: record, id: "2"}, context: {night: true}}
  expect: {effect: deny, reason: closed_at_night, message: closed at night}
- name: who may view
  when: {search: subject, subject: {type: user}, action: view, resource: {type: record, id: "1"}}
  expect: {results: [ann, bob], exact: true}
- name: which may be edited
  when: {search: resource, subject: {type: user, id: ann}, action: edit, resource: {type: record}}
  expect: {results: ["2"]}
- name: what may be done
  when: {search: action, subject: {type: user, id: ann}, resource: {type: record, id: "2"}}
  expect: {results: [view, edit]}
"""


def test_cases_that_hold_pass(project: Path) -> None:
    results = ran(project, CASES)
    assert [(result.name, result.differences, result.error) for result in results if not result.passed] == []
    assert [result.line for result in results] == [2, 5, 13, 16, 19, 22]


def test_what_differs_is_told_with_the_policies_that_decided(project: Path) -> None:
    (result,) = ran(
        project,
        """
- name: one
  when: {subject: {type: user, id: bob}, action: edit, resource: {type: record, id: "1"}}
  expect: {effect: deny, reason: r, message: never, policies: [owners, others], obligations: {notify: [security]}}
""",
    )
    assert {each.what: (each.expected, each.got) for each in result.differences} == {
        "effect": ("deny", "permit"),
        "reason": ("r", "permitted"),
        "message": ("never", "policy `owners` permits this action"),
        "policies": (["others"], ["owners"]),
        "obligations": ({"notify": ["security"]}, {"notify": []}),
    }
    assert result.policies == ("owners (policies/own.cedar:2)",)


def test_what_a_search_found_otherwise_is_told(project: Path) -> None:
    (result,) = ran(
        project,
        """
- name: one
  when: {search: subject, subject: {type: user}, action: view, resource: {type: record, id: "2"}}
  expect: {results: [bob], exact: false}
""",
    )
    assert {each.what: (each.expected, each.got) for each in result.differences} == {
        "results": (["bob"], ["ann"]),
        "exact": (False, True),
    }


def test_a_question_that_can_t_be_put_is_the_case_s_mistake(project: Path) -> None:
    (result,) = ran(
        project,
        """
- name: one
  when: {subject: {type: user, id: zoe, properties: {team: 1}}, action: edit, resource: {type: record, id: "1"}}
  expect: {effect: deny}
""",
    )
    assert not result.passed
    assert result.error == "`subject.properties.team` is not a string"


def test_they_stand_beside_other_cases() -> None:
    other = "- {name: other, task: {intent: i}, when: {action: s/t}, expect: {effect: deny}}\n"
    cases = read_cases(parse_yaml(CASES + other, Path("tests/a.yaml")))
    assert [isinstance(case, QuestionCase) for case in cases] == [True] * 6 + [False]
    assert [case.name for case in chosen(cases, "who may")] == ["who may view"]


QUESTION = "subject: {type: user, id: a}, action: view, resource: {type: record, id: b}"


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("when: {subject: {type: user}, action: v, resource: {type: r, id: b}}", "`subject`: it has no `id`"),
        ("when: {subject: {type: user, id: a}, resource: {type: r, id: b}}", "`action`: it is not said"),
        ("when: {subject: {type: user, id: a}, action: v}", "missing required field `resource`"),
        ("when: {search: subject, " + QUESTION + "}", "`subject`: what is sought has no id"),
        ("when: {search: action, " + QUESTION + "}", "`action`: what is sought is not named"),
        ("when: {search: everything, " + QUESTION + "}", "invalid enum value 'everything'"),
        ("when: {" + QUESTION + ", input: {}}", "unknown field `input`"),
        ("task: {intent: i}\n  when: {" + QUESTION + "}", "unknown field `task`"),
        ("when: {" + QUESTION + "}\n  given: []", "unknown field `given`"),
    ],
)
def test_a_mistake_in_the_question_is_told(rest: str, message: str) -> None:
    text = f"- name: one\n  {rest}\n  expect: {{effect: deny}}\n"
    with pytest.raises(DocumentError) as caught:
        read_cases(parse_yaml(text, Path("tests/a.yaml")))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("when", "expect"),
    [
        (QUESTION, "{}"),
        (QUESTION, "{results: [a]}"),
        (QUESTION, "{exact: true}"),
        ("search: action, subject: {type: u, id: a}, resource: {type: r, id: b}", "{effect: deny}"),
        ("search: action, subject: {type: u, id: a}, resource: {type: r, id: b}", "{results: [], reason: x}"),
    ],
)
def test_what_a_case_can_t_be_answered_with_is_told(when: str, expect: str) -> None:
    text = f"- name: one\n  when: {{{when}}}\n  expect: {expect}\n"
    with pytest.raises(DocumentError, match="this is not what the case can be answered with"):
        read_cases(parse_yaml(text, Path("tests/a.yaml")))
