"""What typed evaluation may leave out, and what it must not."""

from __future__ import annotations

from typing import Any

import pytest

from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.environment import of_declared
from remit.policy.compiled.fused import Functions
from remit.policy.compiled.requests import Checker, Misfit
from remit.policy.compiled.typed import Writer
from remit.policy.compiled.typed_index import answer
from remit.policy.compiled.values import Entity
from remit.policy.entities.interpretation import interpret
from remit.policy.entities.syntax import parse
from tests.policy.compiled.sets import entries_of, typed_index

SCHEMA = """
entity Group;
entity User in [Group] { level: Long, boss?: User };
entity Doc;
action read appliesTo { principal: [User], resource: [Doc], context: {
  n: Long, flag: Bool, text: String, labels: Set<String>, some?: { m: Long }, numbers: Set<Long> } };
"""
USER, READ, DOC = Entity(("User", "u")), Entity(("Action", "read")), Entity(("Doc", "d"))
CONTEXT: dict[str, Any] = {"n": 1, "flag": True, "text": "t", "labels": ["a"], "numbers": [1, 2]}
KNOWN = {"uid": {"type": "User", "id": "u"}, "attrs": {"level": 3}, "parents": []}


def written(condition: str) -> str:
    """What becomes of a condition."""
    (environment,) = of_declared(interpret(parse(SCHEMA), SCHEMA, "schema"))
    (entry,) = entries_of(f"permit (principal, action, resource) when {{ {condition} }};")
    return Writer({}, environment).tests(entry.json).source


def decided(condition: str, entities: list[dict[str, Any]] | None = None, **context: Any) -> str:
    index = typed_index(entries_of(f"permit (principal, action, resource) when {{ {condition} }};"), SCHEMA)
    outcome = index.decide(USER, READ, DOC, CONTEXT | context, EntityStore([KNOWN] if entities is None else entities))
    if outcome is None:
        return "misfit"
    found = answer(outcome)
    return "failed" if found.errors else str(found.permitted)


@pytest.mark.parametrize(
    ("condition", "source"),
    [
        ("context.n <= 100", "(context['n'] <= 100)"),
        ('context.text == "x"', "(context['text'] == 'x')"),
        ('context.labels.contains("x")', "('x' in context['labels'].keys)"),
        ('context.text like "*.example"', "context['text'].endswith('.example')"),
        ("context has some && context.some.m > 1", "(('some' in context) and (context['some']['m'] > 1))"),
        ("principal is User && context.flag", "context['flag']"),
        ("principal is Doc && context.nothing", "False"),
        ('action == Action::"read"', "(action == _0)"),
    ],
)
def test_what_types_settle_is_plain_python(condition: str, source: str) -> None:
    assert written(condition) == source


@pytest.mark.parametrize(
    ("condition", "operator"),
    [
        ("context.some.m > 1", "attribute("),  # it may be absent
        ("context has some || context.some.m > 1", "attribute("),
        ("context.text < 1", "less("),
        ("context.text && true", "boolean("),
        ("context.n + 1 > 2", "in_bounds("),
        ("(if context.flag then 1 else true) == 1", "equal("),  # in Python, True == 1
        ("principal.boss.level > 1", "attribute("),
    ],
)
def test_what_types_do_not_settle_is_checked(condition: str, operator: str) -> None:
    assert operator in written(condition)


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("[true].contains(1)", "False"),
        ("context.numbers.contains(1)", "True"),
        ("[context.flag] == [1]", "False"),
        ("{a: context.flag} == {a: 1}", "False"),
        ("(if context.flag then context.flag else 1) == 1", "False"),
        ("context.numbers == [2, 1, 1]", "True"),
        ("9223372036854775807 + context.n > 0", "failed"),
        ("-(-9223372036854775807 - context.n) > 0", "failed"),
        ("context.some.m > 1", "failed"),
        ("context has some.m && context.some.m > 1", "False"),
        ("principal.level == 3", "True"),
        ('User::"nobody".level == 3', "failed"),
        ('ip("nonsense").isIpv4() || true', "failed"),
    ],
)
def test_it_means_what_cedar_means(condition: str, wanted: str) -> None:
    assert decided(condition) == wanted


def test_an_entity_without_what_the_schema_requires_fails_its_policies() -> None:
    assert decided("principal.level == 3", [{**KNOWN, "attrs": {}}]) == "failed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": True},
        {"n": 2**63},
        {"n": 1.0},
        {"flag": 1},
        {"text": None},
        {"labels": ["a", 1]},
        {"labels": "a"},
        {"numbers": [True]},
        {"some": {}},
        {"some": {"m": 1, "more": 1}},
        {"undeclared": 1},
        {"labels": [["a"]]},
        {"labels": {"__entity": {"type": "User", "id": "u"}}},
        {"text": {"__extn": {"fn": "decimal", "arg": "1.0"}}},
    ],
)
def test_a_request_that_is_not_what_the_schema_says_has_no_typed_evaluation(wrong: dict[str, Any]) -> None:
    assert decided("true", **wrong) == "misfit"


def test_a_request_of_another_kind_is_refused() -> None:
    (environment,) = of_declared(interpret(parse(SCHEMA), SCHEMA, "schema"))
    check = Checker(environment)
    assert check(USER, READ, DOC, CONTEXT)["labels"].keys == {"a"}
    for principal, action, resource in ((DOC, READ, DOC), (USER, Entity(("Action", "x")), DOC), (USER, READ, USER)):
        with pytest.raises(Misfit):
            check(principal, action, resource, CONTEXT)
    for missing in CONTEXT:
        with pytest.raises(Misfit):
            check(USER, READ, DOC, {name: each for name, each in CONTEXT.items() if name != missing})
    with pytest.raises(Misfit):
        check(USER, READ, DOC, [CONTEXT])  # type: ignore[arg-type]  # whoever calls it so


def test_an_enumeration_takes_what_it_lists() -> None:
    schema = (
        'entity Colour enum ["red"]; entity Doc;\n'
        "action read appliesTo { principal: [Colour], resource: [Doc], context: { c: Colour } };"
    )
    (environment,) = of_declared(interpret(parse(schema), schema, "schema"))
    check = Checker(environment)

    def context(id_: str) -> dict[str, Any]:
        return {"c": {"__entity": {"type": "Colour", "id": id_}}}

    assert check(Entity(("Colour", "red")), READ, DOC, context("red")) == {"c": ("Colour", "red")}
    for principal, named in (("blue", "red"), ("red", "blue")):
        with pytest.raises(Misfit):
            check(Entity(("Colour", principal)), READ, DOC, context(named))


def test_no_name_or_literal_becomes_code() -> None:
    for text in ("');raise SystemExit#", '"\\"', "{0}", "\n", "context['n']"):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        assert decided(f'context.text == "{quoted}"', text=text) == "True"
        assert decided(f'context.text == "{quoted}" && context.text like "{quoted}"', text="t") == "False"
        schema = (
            "entity User; entity Doc;\n"
            f'action read appliesTo {{ principal: [User], resource: [Doc], context: {{ "{quoted}"?: Long }} }};'
        )
        policy = f'permit (principal, action, resource) when {{ context has "{quoted}" && context["{quoted}"] == 1 }};'
        outcome = typed_index(entries_of(policy), schema).decide(USER, READ, DOC, {text: 1}, EntityStore([]))
        assert outcome is not None
        assert answer(outcome).permitted


def test_policies_that_say_the_same_are_asked_once_and_named_each() -> None:
    text = "\n".join(["permit (principal, action, resource) when { context.n == 1 };"] * 3)
    found = typed_index(entries_of(text), SCHEMA).decide(USER, READ, DOC, CONTEXT, EntityStore([]))
    assert found is not None
    assert sorted(entry.id for entry in found.permits) == ["policy0", "policy1", "policy2"]


def test_what_is_nested_too_deeply_is_left_to_the_dynamic_evaluator() -> None:
    (environment,) = of_declared(interpret(parse(SCHEMA), SCHEMA, "schema"))
    form: dict[str, Any] = {"Value": True}
    for _ in range(500):
        form = {
            "if-then-else": {
                "if": {".": {"left": {"Var": "context"}, "attr": "flag"}},
                "then": form,
                "else": {"Value": True},
            }
        }
    (entry,) = entries_of("permit (principal, action, resource) when { true };")
    entry.json = {**entry.json, "conditions": [{"kind": "when", "body": form}]}
    assert Functions().fuse([entry], environment) is None
