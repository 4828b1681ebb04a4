"""Slices, bundles and projection change nothing: compared with the engine on all policies and the whole context."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cedarpy
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.identities import Registration
from remit.policy import Policies, engine, entity_ref, typed_decimal, typed_time
from remit.policy.compiled.bundle import LOOKED_UP
from remit.policy.identities import entity_of
from remit.policy.slices import Shelf
from tests.policy.project import ANSWER, INTENTS, NOTE, PAY, PAY_INVOICE, READ, loaded, registration, write

TOOLS = 'action in Remit::Action::"tools"'
SCOPES = [
    TOOLS,
    'action in Remit::Action::"payments/*"',
    'action in [Remit::Action::"pay", Remit::Action::"read"]',
    f'action == Remit::Action::"{PAY}"',
    f'action in Remit::Action::"{NOTE}"',
    f'action in [Remit::Action::"{PAY}", Remit::Action::"{NOTE}"]',
]
PRINCIPALS = ["principal", "principal is Remit::Workload", 'principal in Remit::Group::"finance-agents"']
RESOURCES = ["resource", 'resource == Remit::Server::"payments"', "resource is Remit::Server"]
# Valid for every tool; some fail at run time: overflow, and an entity that is not there.
CONDITIONS = [
    "true",
    'context.task.intent == "pay-invoice"',
    '"answer-question" == context.task.intent && context.risk > 3',
    'context.risk > 3 && context.task.intent == "pay-invoice"',
    "context.risk + 9223372036854775800 > 0",
    'context.task.intent == "pay-invoice" && context.risk * 4611686018427387904 > 0',
    'context.session.labels.contains("pii")',
    'context.session.labels.containsAny(["pii", "secret"]) || context.session.untrusted',
    "context.session.labels.isEmpty()",
    "context has destination",
    'context has destination && context.destination.host like "*.example"',
    "context has destination && context.destination.port >= 1024",
    'context.task has onBehalfOf && context.task.onBehalfOf in Remit::Group::"staff"',
    'context.task has onBehalfOf && context.task.onBehalfOf.kind == "person"',
    'context.task.params has amount && context.task.params.amount.greaterThan(decimal("100.0"))',
    'context.task.params has amount && context.task.params.amount == decimal("120.5")',
    'context.task.params has amount && [decimal("1.0"), decimal("120.5")].contains(context.task.params.amount)',
    'context.task.usage has "pay-invoice/once"',
    'context.task.usage has "pay-invoice/once" && context.task.usage["pay-invoice/once"].calls < 1',
    'context.task.usage has "pay-invoice/once" && context.task.usage == context.task.usage',
    'context.task.done has "pay-invoice/invoice-read"',
    'context.system.now > datetime("2026-06-01") && context.system.windows.contains("freeze")',
    'context.system.now.toTime() < duration("9h")',
    'context.caller == {id: "p", isSubject: false, registered: true}',
    'action == Remit::Action::"payments/pay_invoice"',
    'action in [Remit::Action::"read"]',
    'principal.roles.contains("workload") && principal.kind != "bot"',
    "if context.session.untrusted then context.risk > 5 else context has destination",
    "!(context.session.calls >= 3) || -context.risk < 0",
]

REGISTRATIONS = [
    registration(groups=groups, kind=kind) for groups in ((), ("finance-agents",)) for kind in ("agent", "bot")
]
PERSON = registration("person/ada", "person", groups=("staff",))


@st.composite
def policy(draw: st.DrawFn) -> str:
    effect = draw(st.sampled_from(["permit", "forbid", "forbid"]))
    parts = (draw(st.sampled_from(PRINCIPALS)), draw(st.sampled_from(SCOPES)), draw(st.sampled_from(RESOURCES)))
    conditions = draw(st.lists(st.tuples(st.sampled_from(["when", "unless"]), st.sampled_from(CONDITIONS)), max_size=3))
    return f"{effect} ({', '.join(parts)}) " + " ".join(f"{kind} {{ {body} }}" for kind, body in conditions) + ";"


def sometimes(draw: st.DrawFn, record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if draw(st.booleans())}


@st.composite
def context(draw: st.DrawFn) -> dict[str, Any]:
    decimals = st.sampled_from(["0.0", "1.0", "120.5", "120.5000", "-3.25", "922337203685477.5807"])
    total = {"total": typed_decimal(draw(decimals))}
    task = {
        "id": "t",
        "root": "t",
        "intent": draw(st.sampled_from([*INTENTS, PAY_INVOICE.name])),
        "params": sometimes(
            draw, {"amount": typed_decimal(draw(decimals)), "invoice": "INV-1", "account": draw(st.sampled_from("ab"))}
        ),
        "ageSeconds": 1,
        "depth": 0,
        "starter": "s",
        "emergency": False,
        "usage": sometimes(
            draw,
            {
                "pay-invoice/once": {"calls": draw(st.integers(0, 1))},
                "pay-invoice/amount": {"calls": 0} | sometimes(draw, total),
            },
        ),
        "done": sometimes(
            draw, {"pay-invoice/invoice-read": sometimes(draw, {"amount": typed_decimal(draw(decimals))})}
        ),
    }
    optional = {"destination": {"host": draw(st.sampled_from(["a.example", "b.test"])), "port": 443, "internal": True}}
    return {
        "system": {
            "now": typed_time(draw(st.sampled_from([1_700_000_000_000, 1_790_000_000_000]))),
            "windows": draw(st.sampled_from([[], ["freeze"]])),
        },
        "task": task | sometimes(draw, {"onBehalfOf": entity_ref("Person", PERSON.id), "caseType": "invoice"}),
        "session": {
            "labels": draw(st.lists(st.sampled_from(["pii", "secret", "x"]), max_size=2)),
            "untrusted": draw(st.booleans()),
            "calls": draw(st.integers(0, 5)),
            "destinations": [],
        },
        "caller": {"id": "p", "isSubject": draw(st.booleans()), "registered": True},
        "risk": draw(st.sampled_from([0, 4, 100])),
    } | sometimes(draw, optional)


INPUTS: dict[str, list[dict[str, Any]]] = {
    READ: [{"invoice": "INV-1"}],
    PAY: [
        {"invoice": "INV-1", "account": account, "amount": typed_decimal(amount)}
        for account in "ab"
        for amount in ("0.0", "120.5", "-1.0")
    ],
    NOTE: [{}, {"text": "x", "count": 3}],
}


def whole(
    policies: Policies, who: Registration, action: str, facts: dict[str, Any], related: tuple[Registration, ...]
) -> tuple[bool, set[str], set[str]]:
    """Decision, reasons and failed policies of the engine on every policy as it was written."""
    ordered = policies.policies()
    known = policies.vocabulary.actions.values()
    entities = [entity_of(one) for one in (who, *related)]
    entities += [
        {
            "uid": {"type": "Remit::Action", "id": one.name},
            "attrs": {},
            "parents": [{"type": "Remit::Action", "id": group} for group in one.groups],
        }
        for one in known
    ]
    request = {
        "principal": entities[0]["uid"],
        "action": {"type": "Remit::Action", "id": action},
        "resource": {"type": "Remit::Server", "id": "payments"},
        "context": facts,
    }
    result = cedarpy.is_authorized(request, "\n".join(one.text for one in ordered), entities)
    places = [re.search(r"policy `policy(\d+)`", error) for error in result.diagnostics.errors]
    failed = {ordered[int(match[1])].id for match in places if match is not None}
    assert len(failed) == len(result.diagnostics.errors)
    return result.allowed, {ordered[int(name[6:])].id for name in result.diagnostics.reasons}, failed


POLICIES = st.lists(policy(), max_size=6)
ASKS = st.lists(st.tuples(context(), st.data()), min_size=1, max_size=4)
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(POLICIES, ASKS)
@settings(PATIENT, max_examples=100)
def test_the_slice_decides_as_the_whole(texts: list[str], asks: list[tuple[dict[str, Any], st.DataObject]]) -> None:
    compare(texts, asks)


@given(POLICIES, ASKS)
@settings(PATIENT, max_examples=100)
def test_what_is_looked_up_decides_as_the_whole(
    texts: list[str], asks: list[tuple[dict[str, Any], st.DataObject]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        look_up_everything(patch)
        compare(texts, asks)


@pytest.mark.long
@pytest.mark.timeout(1800)
@given(POLICIES, ASKS)
@settings(PATIENT, max_examples=2_000)
def test_the_slice_decides_as_the_whole_at_length(
    texts: list[str], asks: list[tuple[dict[str, Any], st.DataObject]]
) -> None:
    compare(texts, asks)


def look_up_everything(patch: pytest.MonkeyPatch) -> None:
    """Small sets of policies are looked up like large ones."""
    patch.setattr(engine, "Shelf", partial(Shelf, sizes=LOOKED_UP))


def compare(texts: list[str], asks: list[tuple[dict[str, Any], st.DataObject]]) -> None:
    with TemporaryDirectory() as folder:
        policies = loaded(write(Path(folder), rules="\n".join(texts)))
    for facts, data in asks:
        action = data.draw(st.sampled_from(list(INPUTS)))
        who = data.draw(st.sampled_from(REGISTRATIONS))
        related = data.draw(st.sampled_from([(), (PERSON,)]))
        facts = facts | {"input": data.draw(st.sampled_from(INPUTS[action]))}
        intent = facts["task"]["intent"]
        allowed, reasons, failed = whole(policies, who, action, facts, related)
        evaluation = policies.evaluate(who, action, ("Server", "payments"), facts, intent, related=related)
        assert {id_ for id_, _ in evaluation.errors} == failed
        assert evaluation.permitted is (allowed and not failed)
        if failed:
            assert evaluation.reason.code == "policy_error"
        else:
            assert {ref.id for ref in evaluation.policies} == reasons
        # What some call is permitted, no list of tools may hide.
        known = {name: facts[name] for name in data.draw(st.sets(st.sampled_from(sorted(set(facts) - {"input"}))))}
        if evaluation.permitted:
            assert policies.could_permit(who, action, ("Server", "payments"), known, intent, related=related)


def test_the_conditions_fail_and_match_often_enough() -> None:
    """Guards the test above: were its policies never to match or fail, it would compare nothing."""
    with TemporaryDirectory() as folder:
        texts = [f"forbid (principal, {TOOLS}, resource) when {{ {condition} }};" for condition in CONDITIONS]
        policies = loaded(write(Path(folder), rules="\n".join(texts)))
    facts: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(EXAMPLE))
    _, reasons, failed = whole(policies, REGISTRATIONS[1], PAY, facts, ())
    assert {"rules#4", "rules#13"} <= failed
    assert len(reasons) > 15
    assert ANSWER.name not in reasons


EXAMPLE: dict[str, Any] = {
    "input": INPUTS[PAY][0],
    "system": {"now": typed_time(1_790_000_000_000), "windows": ["freeze"]},
    "task": {
        "id": "t",
        "root": "t",
        "intent": "pay-invoice",
        "params": {"amount": typed_decimal("120.5")},
        "onBehalfOf": entity_ref("Person", PERSON.id),
        "ageSeconds": 1,
        "depth": 0,
        "starter": "s",
        "emergency": False,
        "usage": {"pay-invoice/once": {"calls": 0}},
        "done": {"pay-invoice/invoice-read": {}},
    },
    "session": {"labels": ["pii"], "untrusted": True, "calls": 1, "destinations": []},
    "destination": {"host": "a.example", "port": 8443, "internal": True},
    "caller": {"id": "p", "isSubject": False, "registered": True},
    "risk": 100,
}
