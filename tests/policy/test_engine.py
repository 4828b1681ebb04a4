"""Evaluation: errors that deny, previews, projections, entities, threads, digests."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.core.identities import Registration
from remit.core.intents import Intent
from remit.policy import Policies, context_example, entity_ref
from remit.policy.reads import reads_of, scope_of
from remit.policy.reference import projection
from remit.policy.slices import Slice
from tests.policy.project import (
    ANSWER,
    INTENTS,
    NOTE,
    PAY,
    PAY_INVOICE,
    READ,
    SERVER,
    WORKLOAD,
    context,
    loaded,
    pay,
    registration,
    write,
)

POLICIES = loaded()
TOOLS = 'principal, action in Remit::Action::"tools", resource'


def with_rules(folder: Path, *rules: str) -> Policies:
    return loaded(write(folder, rules="\n".join(rules)))


def test_attack_forbid_that_fails_does_not_let_the_action_through(tmp_path: Path) -> None:
    rule = f'@id("overflow") forbid ({TOOLS}) when {{ context.risk + 9223372036854775807 > 0 }};'
    policies = with_rules(tmp_path, rule)
    assert pay(policies).reason.code == "policy_forbids"
    evaluation = pay(policies, risk=1)
    assert not evaluation.permitted
    assert evaluation.reason.code == "policy_error"
    assert evaluation.policies[0].id == "overflow"
    assert evaluation.errors == (("overflow", evaluation.errors[0][1]),)
    assert "overflow" in evaluation.errors[0][1]


def test_a_permit_that_fails_denies_too(tmp_path: Path) -> None:
    policies = with_rules(tmp_path, f"permit ({TOOLS}) when {{ context.risk + 9223372036854775807 > 0 }};")
    assert pay(policies, risk=1).reason.code == "policy_error"


@pytest.mark.parametrize(
    "more",
    [
        {"input": {"invoice": None, "account": "a", "amount": None}},
        {"input": {"invoice": "x", "account": 1.5, "amount": {"__extn": {"fn": "decimal", "arg": "1.00001"}}}},
        {"input": {"invoice": "x", "account": "a", "amount": {"__extn": {"fn": "decimal", "arg": "abc"}}}},
        {
            "input": {
                "invoice": "x",
                "account": "a",
                "amount": {"__extn": {"fn": "decimal", "arg": "99999999999999999.0"}},
            }
        },
        {"input": {}, "risk": 2**70},
        {"caller": {}},
        {"task": {"usage": None}},
    ],
)
def test_a_context_of_another_shape_denies(more: dict[str, Any]) -> None:
    evaluation = pay(POLICIES, **more)
    assert not evaluation.permitted


def test_attack_context_of_another_intent_than_asked() -> None:
    evaluation = POLICIES.evaluate(WORKLOAD, PAY, SERVER, context(PAY_INVOICE.name), ANSWER.name)
    assert evaluation.reason.code == "policy_error"
    assert not POLICIES.could_permit(WORKLOAD, PAY, SERVER, context(PAY_INVOICE.name), ANSWER.name)


def test_a_users_forbid_speaks_for_itself(tmp_path: Path) -> None:
    policies = with_rules(
        tmp_path,
        f'@id("plain") forbid ({TOOLS}) when {{ context.session.untrusted }};',
        f'@id("told") @reason("tainted") @message("read something odd") @next("start again") forbid ({TOOLS})',
        'when { context.session.labels.contains("odd") };',
    )
    session = {"labels": [], "untrusted": True, "calls": 1, "destinations": []}
    plain = pay(policies, session=session)
    assert (plain.reason.code, plain.reason.message) == ("policy_forbids", "policy `plain` forbids this action")
    assert plain.facts == ("session.untrusted",)
    told = pay(policies, session=session | {"untrusted": False, "labels": ["odd"]})
    assert (told.reason.code, told.reason.message) == ("tainted", "read something odd")
    assert told.reason.next_step == "start again"


def test_attack_borrowed_reason_names_its_own_policy(tmp_path: Path) -> None:
    policies = with_rules(tmp_path, f'@id("mine") @reason("not_justified") forbid ({TOOLS});')
    evaluation = pay(policies)
    assert evaluation.reason.code == "not_justified"
    assert [ref.id for ref in evaluation.policies] == ["mine"]


def test_order_of_reasons(tmp_path: Path) -> None:
    policies = with_rules(
        tmp_path,
        '@id("open") forbid (principal, action, resource) when { principal.kind == "agent" };',
        f'@id("group") forbid ({TOOLS});',
        f'@id("two") forbid (principal, action in [Remit::Action::"{PAY}", Remit::Action::"{READ}"], resource);',
        f'@id("one") forbid (principal, action == Remit::Action::"{PAY}", resource);',
    )
    found = [ref.id for ref in pay(policies, risk=100).policies]
    assert found == ["intent:pay-invoice/risk", "one", "two", "group", "open"]


def test_groups_and_attributes_of_those_whom_the_context_names(tmp_path: Path) -> None:
    policies = with_rules(
        tmp_path,
        f'@id("g") forbid ({TOOLS}) when {{ context.task has onBehalfOf }}',
        'unless { context.task.onBehalfOf in Remit::Group::"staff" };',
    )
    ada = registration("person/ada", "person", groups=("staff",))
    facts = context(task={"onBehalfOf": entity_ref("Person", ada.id)})
    asked = (WORKLOAD, PAY, SERVER, facts, PAY_INVOICE.name)
    assert policies.evaluate(*asked, related=(ada,)).permitted
    assert policies.evaluate(*asked).reason.code == "policy_forbids"


def test_a_changed_registration_is_seen(tmp_path: Path) -> None:
    policies = with_rules(tmp_path, f'forbid ({TOOLS}) when {{ principal in Remit::Group::"banned" }};')

    def ask(who: Registration) -> bool:
        return policies.evaluate(who, PAY, SERVER, context(), PAY_INVOICE.name).permitted

    assert ask(WORKLOAD)
    assert not ask(registration(groups=("banned",)))
    assert ask(WORKLOAD)


def test_preview_with_nothing_but_the_intent() -> None:
    for known in ({}, {name: value for name, value in context().items() if name not in ("input", "destination")}):
        assert POLICIES.could_permit(WORKLOAD, PAY, SERVER, known, PAY_INVOICE.name)
        assert not POLICIES.could_permit(WORKLOAD, NOTE, SERVER, known, PAY_INVOICE.name)
    assert not POLICIES.could_permit(WORKLOAD, PAY, SERVER, {}, ANSWER.name)
    assert not POLICIES.could_permit(WORKLOAD, PAY, SERVER, {}, "")


def test_preview_uses_what_is_known() -> None:
    known = {name: value for name, value in context().items() if name != "input"}
    spent = {**known["task"], "usage": {"pay-invoice/once": {"calls": 1}}}
    evaluation = POLICIES.preview(WORKLOAD, PAY, SERVER, known | {"task": spent}, PAY_INVOICE.name)
    assert evaluation.reason.code == "limit_reached"
    undone = {**known["task"], "done": {}}
    assert not POLICIES.could_permit(WORKLOAD, PAY, SERVER, known | {"task": undone}, PAY_INVOICE.name)
    assert not POLICIES.could_permit(WORKLOAD, PAY, SERVER, known | {"risk": 100}, PAY_INVOICE.name)


def test_projection_keeps_what_is_read() -> None:
    entity = entity_ref("Person", "ada")
    project = projection({("a", "b"), ("a", "c", "d"), ("e",), ("p", "kind")}, {("f",), ("a", "c"), ("g", "h"), ("i",)})
    whole = {
        "a": {"b": 1, "c": {"d": 2, "x": 3}, "x": 4},
        "e": {"y": 5},
        "f": {"long": "record"},
        "g": {"h": {"z": 1}, "k": 2},
        "p": entity,
        "z": 6,
    }
    assert project(whole) == {
        "a": {"b": 1, "c": {"d": 2}},
        "e": {"y": 5},
        "f": True,
        "g": {"h": True},
        "p": entity,
    }
    assert projection({()}, set())(whole) == whole


def test_long_conditions_are_evaluated(tmp_path: Path) -> None:
    deep = " && ".join(f"context.risk != {number}" for number in range(120))
    policies = with_rules(tmp_path, f'@id("deep") forbid ({TOOLS}) when {{ {deep} }};')
    assert pay(policies, risk=5).permitted
    assert pay(policies, risk=121).reason.policies[-1].id == "deep"
    assert "deep" in [ref.id for ref in pay(policies, risk=1000).policies]


def test_a_slice_holds_only_what_can_apply() -> None:
    chosen: Slice = POLICIES._slice(POLICIES.vocabulary.actions[READ], "payments", ANSWER.name)
    assert [policy.id for policy in chosen.policies] == [
        "remit:enforcement-point",
        "intent:answer-question/justifies",
    ]


def test_a_context_that_is_not_what_the_schema_says_is_evaluated_with_every_check(tmp_path: Path) -> None:
    policies = with_rules(tmp_path, f'@id("late") forbid ({TOOLS}) when {{ context.risk > 50 }};')
    chosen: Slice = policies._slice(policies.vocabulary.actions[PAY], "payments", PAY_INVOICE.name)
    assert pay(policies).permitted
    assert chosen._typed[("Remit::Workload", "Remit::Server")] is not None
    assert "late" in [ref.id for ref in pay(policies, risk=51).reason.policies]
    for wrong in ("51", True, [51], {"x": 51}):
        assert [id_ for id_, _ in pay(policies, risk=wrong).errors] == ["intent:pay-invoice/risk", "late"]
    missing = context()
    del missing["risk"]
    evaluation = policies.evaluate(WORKLOAD, PAY, SERVER, missing, PAY_INVOICE.name)
    assert [id_ for id_, _ in evaluation.errors] == ["intent:pay-invoice/risk", "late"]


def test_texts_and_digest() -> None:
    assert {path.split("/")[0] for path, _ in POLICIES.sources()} == {"shipped", "generated"}
    assert set(POLICIES.texts.values()) == {text for _, text in POLICIES.sources()}
    assert POLICIES.digest == loaded().digest
    assert POLICIES.digest != loaded(None, {ANSWER.name: ANSWER}).digest
    assert POLICIES.refs["intent:pay-invoice/risk"].path == "intents/pay-invoice.yaml"
    assert POLICIES.refs["remit:self-start"].path == "shipped/tasks.cedar"


@pytest.mark.parametrize("optional_too", [True, False])
@pytest.mark.parametrize("name", sorted(POLICIES.vocabulary.actions))
def test_the_example_context_is_evaluated_without_errors(name: str, optional_too: bool) -> None:
    known = POLICIES.vocabulary.actions[name]
    example = context_example(POLICIES.vocabulary, name, optional_too=optional_too)
    resource = {"Server": "payments", "Intent": PAY_INVOICE.name, "Installation": "example.org"}[known.resource]
    intent = PAY_INVOICE.name if known.is_tool else ""
    if known.is_tool:
        example["task"]["intent"] = intent
    evaluation = POLICIES.evaluate(WORKLOAD, name, (known.resource, resource), example, intent)
    assert evaluation.errors == ()
    assert evaluation.reason.code != "policy_error"


def test_threads_share_the_policies(tmp_path: Path) -> None:
    policies = with_rules(tmp_path, f"forbid ({TOOLS}) when {{ context.risk > 50 }};")
    wrong: list[str] = []

    def ask(number: int) -> None:
        who = registration(f"workload/w{number}", groups=("finance-agents",))
        for turn in range(150):
            risk = 55 * ((turn + number) % 2)
            evaluation = policies.evaluate(who, PAY, SERVER, context(risk=risk), PAY_INVOICE.name)
            if evaluation.permitted is not (risk == 0):
                wrong.append(evaluation.reason.code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


ON_INPUT = [
    'context.input has text && context.input.text like "*secret*"',
    "context.input has urgent && context.input.urgent",
    "context.input has count && context.input.count > 3",
    'context.input has price && context.input.price.greaterThan(decimal("9.99"))',
    'context.input has tags && context.input.tags.containsAny(["a", "b"])',
    "context.input has where && context.input.where has page && context.input.where.page == 7",
    'context.input == context.input && context.input has "text"',
]
NOTING = {"note": Intent(name="note", description="d", actions=(NOTE,), starters=("a",), workloads=("b",))}
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["page", "__entity", "x"]), inner),
    max_leaves=6,
)
_FIELDS = {
    "text": st.text(max_size=12),
    "urgent": st.booleans(),
    "count": st.integers(-(2**63), 2**63 - 1),
    "price": st.decimals(-1000, 1000, places=2).map(float),
    "tags": st.lists(st.sampled_from("abc"), max_size=3),
    "where": st.fixed_dictionaries({}, optional={"page": st.integers(0, 9)}),
}


@pytest.fixture(scope="module")
def noting(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    scope = f'principal, action == Remit::Action::"{NOTE}", resource'
    rules = "\n".join(f"forbid ({scope}) when {{ {body} }};" for body in ON_INPUT)
    return loaded(write(tmp_path_factory.mktemp("noting"), rules=rules), NOTING)


@given(
    arguments=st.fixed_dictionaries(
        {}, optional={name: good | _ANY for name, good in _FIELDS.items()} | {"other": _ANY}
    )
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_evaluation_of_typed_arguments_never_fails(noting: Policies, arguments: dict[str, Any]) -> None:
    try:
        typed = noting.typed_input(NOTE, arguments)
    except InvalidInput:
        return
    facts = context("note", input=typed, task={"usage": {}, "done": {}, "params": {}})
    evaluation = noting.evaluate(WORKLOAD, NOTE, SERVER, facts, "note")
    assert evaluation.errors == ()
    assert evaluation.permitted is (not any_matches(arguments))


def any_matches(arguments: dict[str, Any]) -> bool:
    """What the policies of `ON_INPUT` say, in Python."""
    where = arguments.get("where")
    return (
        arguments.get("text") is not None
        or arguments.get("urgent") is True
        or (arguments.get("count") or 0) > 3
        or (arguments.get("price") or 0) > 9.99
        or bool({"a", "b"} & set(arguments.get("tags") or ()))
        or (isinstance(where, dict) and where.get("page") == 7)
    )


def test_scope_and_reads_of_odd_policies() -> None:
    assert set(INTENTS) == {"answer-question", "pay-invoice"}
    whole = {"op": "All"}
    body = {
        ".": {
            "left": {"if-then-else": {"if": {"Value": True}, "then": {"Var": "context"}, "else": {"Var": "context"}}},
            "attr": "a",
        }
    }
    policy = {"principal": whole, "action": whole, "resource": whole, "conditions": [{"kind": "when", "body": body}]}
    assert reads_of(policy).values == {()}
    assert scope_of(policy).actions is None
