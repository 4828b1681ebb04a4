"""Intents as policies: what each part of an intent permits and refuses, and with which reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from remit.core.errors import DocumentError
from remit.core.intents import Binding, Intent, Limit, Parameter, Prerequisite
from remit.policy import Policies, typed_decimal
from tests.policy.project import ANSWER, INTENTS, NOTE, PAY, PAY_INVOICE, READ, SERVER, WORKLOAD, context, loaded, pay

POLICIES = loaded()


def changed(**more: Any) -> dict[str, Intent]:
    return {PAY_INVOICE.name: msgspec.structs.replace(PAY_INVOICE, **more)}


def refusal(intents: dict[str, Intent]) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        loaded(None, intents)
    assert (caught.value.path, caught.value.line) == ("intents/pay-invoice.yaml", 3)
    return caught.value


def code(policies: Policies = POLICIES, **more: Any) -> str:
    return pay(policies, **more).reason.code


def input_(**more: Any) -> dict[str, Any]:
    return {"invoice": "INV-1", "account": "DE89", "amount": typed_decimal("120.50")} | more


def usage(calls: int, total: str) -> dict[str, Any]:
    return {
        "usage": {
            "pay-invoice/once": {"calls": calls},
            "pay-invoice/amount": {"calls": calls, "total": typed_decimal(total)},
        }
    }


def test_what_the_intent_justifies_is_permitted() -> None:
    evaluation = pay(POLICIES)
    assert evaluation.permitted
    assert evaluation.reason.code == "permitted"
    assert [ref.id for ref in evaluation.policies] == ["intent:pay-invoice/justifies"]
    assert (evaluation.policies[0].path, evaluation.policies[0].line) == ("intents/pay-invoice.yaml", 3)


def test_effects_justify_too() -> None:
    answer = context(ANSWER.name)
    assert POLICIES.evaluate(WORKLOAD, READ, SERVER, answer, ANSWER.name).permitted
    evaluation = POLICIES.evaluate(WORKLOAD, PAY, SERVER, answer, ANSWER.name)
    assert evaluation.reason.code == "not_justified"
    assert evaluation.reason.next_step == "it is justified by: `pay-invoice`; ask for a task under one of them"
    assert evaluation.facts == ("task.intent",)


def test_the_ceiling_holds_against_a_users_permit() -> None:
    assert POLICIES.evaluate(WORKLOAD, NOTE, SERVER, context(), PAY_INVOICE.name).reason.code == "not_justified"


def test_order() -> None:
    evaluation = pay(POLICIES, task={"done": {}})
    assert evaluation.reason.code == "out_of_order"
    assert READ in evaluation.reason.message
    assert evaluation.reason.policies[0].id == "intent:pay-invoice/order/invoice-read"


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, "permitted"),
        ({"input": input_(account="DE00")}, "argument_not_bound"),
        ({"input": input_(invoice="INV-2")}, "argument_not_bound"),
        ({"input": input_(amount=typed_decimal("120.51"))}, "argument_not_bound"),
        ({"input": input_(amount=typed_decimal("-1"))}, "limit_reached"),
        ({"task": usage(1, "120.50")}, "limit_reached"),
        ({"task": usage(0, "120.51")}, "limit_reached"),
        ({"task": {"usage": {}}}, "limit_reached"),
        ({"task": {"params": {}}}, "argument_not_bound"),
        ({"risk": 61}, "risk_too_high"),
        ({"risk": 60}, "permitted"),
    ],
)
def test_each_guard_refuses_what_it_is_for(more: dict[str, Any], wanted: str) -> None:
    assert code(**more) == wanted


def test_a_missing_fact_refuses() -> None:
    whole = context()
    for name in ("done", "usage", "params"):
        assert not pay(POLICIES, task={name: {}}).permitted
    for name in list(whole["task"]["params"]):
        params = {key: value for key, value in whole["task"]["params"].items() if key != name}
        assert not pay(POLICIES, task={"params": params}).permitted


def test_what_cannot_be_helped_is_said_before_what_can() -> None:
    evaluation = pay(POLICIES, task=usage(1, "241.00"), input=input_(account="DE00"), risk=100)
    codes = [ref.id.split("/", 1)[1] for ref in evaluation.policies]
    assert evaluation.reason.code == "limit_reached"
    assert codes == ["limit/once", "binding/payments/pay_invoice.account", "limit/amount", "risk"]


def test_the_text_is_readable() -> None:
    text = dict(POLICIES.sources())["generated/pay-invoice.cedar"]
    assert text.startswith(
        """@id("intent:pay-invoice/justifies")
@message("the task's intent `pay-invoice` justifies this action")
permit (
  principal is Remit::Workload,
  action in [Remit::Action::"payments/read_invoice", Remit::Action::"payments/pay_invoice"],
  resource
)
when { context.task.intent == "pay-invoice" };
"""
    )
    assert 'unless { context.task.done has "pay-invoice/invoice-read" };' in text


def test_a_limit_over_effects_and_integers() -> None:
    limits = (
        Limit(name="writes", effects=("write",), calls=2),
        Limit(name="count", effects=("write",), sum="input.count", at_most="10"),
    )
    intent = Intent(
        name="note",
        description="d",
        effects=("write",),
        starters=("a",),
        workloads=("b",),
        limits=limits,
        path="n.yaml",
    )
    policies = loaded(None, {"note": intent})

    def ask(calls: int, total: str, count: int) -> str:
        entry = {"note/writes": {"calls": calls}, "note/count": {"calls": calls, "total": typed_decimal(total)}}
        whole = context("note", task={"usage": entry, "params": {}, "done": {}}, input={"count": count})
        return policies.evaluate(WORKLOAD, NOTE, SERVER, whole, "note").reason.code

    assert ask(1, "10.0", 5) == "permitted"
    assert ask(2, "10.0", 5) == "limit_reached"
    assert ask(1, "10.0001", 5) == "limit_reached"
    assert ask(1, "1.0", -1) == "limit_reached"


def test_bindings_to_literals_numbers_and_truth() -> None:
    bindings = (
        Binding(action=NOTE, argument="input.text", equals="'it''s \"so\"\\'"),
        Binding(action=NOTE, argument="input.urgent", equals="false"),
        Binding(action=NOTE, argument="input.count", at_most="3"),
        Binding(action=NOTE, argument="input.price", at_most="9.99"),
        Binding(action=NOTE, argument="input.where.page", equals="7"),
    )
    intent = Intent(
        name="note",
        description="d",
        actions=(NOTE,),
        starters=("a",),
        workloads=("b",),
        bindings=bindings,
        path="n.yaml",
    )
    policies = loaded(None, {"note": intent})
    good = {"text": "it''s \"so\"\\", "urgent": False, "count": 3, "price": typed_decimal("9.99"), "where": {"page": 7}}

    def ask(**more: Any) -> bool:
        whole = context("note", task={"usage": {}, "params": {}, "done": {}}, input=good | more)
        return policies.evaluate(WORKLOAD, NOTE, SERVER, whole, "note").permitted

    assert ask()
    wrong = {"text": "x", "urgent": True, "count": 4, "price": typed_decimal("10"), "where": {"page": 8}}
    for name, value in wrong.items():
        assert not ask(**{name: value})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"actions": ("payments/unknown",)}, "not in the catalogue"),
        ({"order": (Prerequisite(name="x", before=(PAY,), done="a/b"),)}, "not in the catalogue"),
        ({"bindings": (Binding(action=PAY, argument="input.acount", equals="'x'"),)}, "no argument `input.acount`"),
        ({"bindings": (Binding(action=PAY, argument="input.account", equals="params.acount"),)}, "no parameter"),
        ({"bindings": (Binding(action=PAY, argument="input.account", equals="params.amount"),)}, "is String, but"),
        ({"bindings": (Binding(action=PAY, argument="input.account", at_most="'x'"),)}, "needs a number"),
        ({"bindings": (Binding(action=PAY, argument="input.account"),)}, "exactly one"),
        ({"bindings": (Binding(action=PAY, argument="input.account", equals="done.nope.x"),)}, "no step"),
        ({"bindings": (Binding(action=PAY, argument="input.account", equals="done.invoice-read.x"),)}, "keeps no"),
        ({"bindings": (Binding(action=PAY, argument="input.amount", at_most="1.00001"),)}, "not a number of the right"),
        ({"bindings": (Binding(action=PAY, argument="input.account", equals="account"),)}, "can't read"),
        ({"limits": (Limit(name="x", actions=(PAY,), sum="input.account", at_most="1.0"),)}, "which is String"),
        (
            {"limits": (Limit(name="x", actions=(PAY,), sum="input.amount", at_most="params.account"),)},
            "must be a decimal",
        ),
        ({"limits": (Limit(name="x", calls=1),)}, "names no actions"),
    ],
)
def test_an_intent_that_names_what_is_not_there_is_refused_at_its_line(more: dict[str, Any], words: str) -> None:
    assert words in refusal(changed(**more)).message


def test_parameters_of_one_name_have_one_type() -> None:
    other = msgspec.structs.replace(ANSWER, params={"amount": Parameter(type="integer")})
    with pytest.raises(DocumentError, match="`amount` is decimal here and another type in intent `answer-question`"):
        loaded(None, {other.name: other, PAY_INVOICE.name: PAY_INVOICE})


@pytest.mark.parametrize(
    "poison", ['x"; permit (principal, action, resource);//', "a\npermit(principal,action,resource);", "`\\"]
)
def test_attack_text_of_an_intent_cannot_become_policy(poison: str) -> None:
    limit = Limit(name=poison, actions=(PAY,), calls=1)
    order = (Prerequisite(name=poison, before=(PAY,), done=READ, where={poison: f"'{poison}'"}),)
    binding = Binding(action=PAY, argument="input.account", equals=f"'{poison}'")
    intent = msgspec.structs.replace(
        PAY_INVOICE,
        name=poison,
        starters=(f"group:{poison}", poison),
        limits=(limit,),
        order=order,
        bindings=(binding,),
        case_types=(poison,),
    )
    try:
        policies = loaded(None, {poison: intent})
    except DocumentError:
        return
    generated = [policy for policy in policies.policies() if policy.origin == "generated"]
    assert len(generated) == 10
    assert all(policy.id.startswith(f"intent:{poison}/") for policy in generated)


def test_start_is_for_those_whom_the_intent_names() -> None:
    assert set(INTENTS) == {"answer-question", "pay-invoice"}
    ids = {policy.id for policy in POLICIES.policies()}
    assert {"intent:pay-invoice/start", "intent:pay-invoice/starters", "intent:pay-invoice/workloads"} <= ids
