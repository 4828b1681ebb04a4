"""The policies that come with Remit: who may ask, report, start and administer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from remit.core.identities import Registration
from remit.policy import Evaluation, entity_ref
from tests.policy.project import (
    ANSWER,
    INTENTS,
    PAY,
    PAY_INVOICE,
    READ,
    SERVER,
    TRUST_DOMAIN,
    WORKLOAD,
    context,
    loaded,
    registration,
)

POLICIES = loaded()
INSTALLATION = ("Installation", TRUST_DOMAIN)
ACCOUNTS = registration("starter/accounts", "service", roles=("starter",))
STAFF = registration("person/ada", "person", roles=("starter",), groups=("staff",))
ADMINISTRATOR = registration("person/root", "person", roles=("administrator",))
APPROVER = registration("person/boss", "person", roles=("approver",))
GATEWAY = registration("pep/gateway", "service", roles=("pep",))


def start(
    starter: Registration, intent: str = PAY_INVOICE.name, workload: Registration = WORKLOAD, **more: Any
) -> Evaluation:
    facts = {"workload": entity_ref("Workload", workload.id), "hasPrompt": False, "caseType": "invoice"} | more
    return POLICIES.evaluate(starter, "task.start", ("Remit::Intent", intent), facts, intent, related=(workload,))


def test_the_named_starter_starts() -> None:
    evaluation = start(ACCOUNTS)
    assert evaluation.permitted
    assert [ref.id for ref in evaluation.policies] == ["intent:pay-invoice/start"]
    assert start(STAFF, ANSWER.name).permitted


@pytest.mark.parametrize(
    ("starter", "intent", "wanted"),
    [
        (registration("starter/other", "service", roles=("starter",)), PAY_INVOICE.name, "starter_not_listed"),
        (STAFF, PAY_INVOICE.name, "starter_not_listed"),
        (msgspec.structs.replace(ACCOUNTS, roles=("pep",)), PAY_INVOICE.name, "not_a_starter"),
        (ADMINISTRATOR, PAY_INVOICE.name, "not_a_starter"),
    ],
)
def test_others_do_not_start(starter: Registration, intent: str, wanted: str) -> None:
    assert start(starter, intent).reason.code == wanted


def test_attack_self_started_payment() -> None:
    named = msgspec.structs.replace(PAY_INVOICE, starters=("workload/finance",), self_start=True)
    policies = loaded(None, {named.name: named})
    facts = {"workload": entity_ref("Workload", WORKLOAD.id), "hasPrompt": False, "caseType": "invoice"}
    evaluation = policies.evaluate(
        WORKLOAD, "task.start", ("Intent", named.name), facts, named.name, related=(WORKLOAD,)
    )
    assert evaluation.reason.code == "self_start"


def test_self_start_where_the_intent_says_so() -> None:
    named = msgspec.structs.replace(ANSWER, starters=("workload/finance",))
    facts = {"workload": entity_ref("Workload", WORKLOAD.id), "hasPrompt": False}
    asked = (WORKLOAD, "task.start", ("Intent", named.name), facts, named.name)
    assert loaded(None, {named.name: named}).evaluate(*asked, related=(WORKLOAD,)).permitted
    closed = msgspec.structs.replace(named, self_start=False)
    refused = loaded(None, {named.name: closed}).evaluate(*asked, related=(WORKLOAD,))
    assert refused.reason.code == "self_start"
    child = loaded(None, {named.name: closed}).evaluate(*asked[:3], facts | {"parent": "t_1"}, named.name)
    assert child.reason.code == "self_start"


def test_workloads_by_group_and_by_id() -> None:
    assert start(ACCOUNTS, workload=registration()).reason.code == "workload_not_listed"
    assert start(STAFF, ANSWER.name, registration()).permitted
    other = registration("workload/other", groups=("finance-agents",))
    assert start(ACCOUNTS, workload=other).permitted
    assert start(STAFF, ANSWER.name, other).reason.code == "workload_not_listed"


def test_case_types() -> None:
    assert start(ACCOUNTS, caseType="refund").reason.code == "case_type_not_allowed"
    facts = {"workload": entity_ref("Workload", WORKLOAD.id), "hasPrompt": False}
    asked = (ACCOUNTS, "task.start", ("Intent", PAY_INVOICE.name), facts, PAY_INVOICE.name)
    assert POLICIES.evaluate(*asked, related=(WORKLOAD,)).reason.code == "case_type_not_allowed"


def test_asking_needs_a_registered_enforcement_point() -> None:
    caller = {"id": "spiffe://example.org/pep/other", "isSubject": False, "registered": False}
    evaluation = POLICIES.evaluate(WORKLOAD, PAY, SERVER, context(caller=caller), PAY_INVOICE.name)
    assert evaluation.reason.code == "enforcement_point_not_registered"


def test_attack_workload_enforces_its_own_payment() -> None:
    caller = {"id": WORKLOAD.id, "isSubject": True, "registered": True}
    asked = context(caller=caller)
    assert POLICIES.evaluate(WORKLOAD, PAY, SERVER, asked, PAY_INVOICE.name).reason.code == "self_enforced"
    assert POLICIES.evaluate(WORKLOAD, READ, SERVER, asked, PAY_INVOICE.name).permitted


@pytest.mark.parametrize(
    ("who", "is_starter", "wanted"), [(ACCOUNTS, True, True), (ADMINISTRATOR, False, True), (WORKLOAD, False, False)]
)
def test_ending_a_task(who: Registration, is_starter: bool, wanted: bool) -> None:
    named = {"workload": entity_ref("Workload", WORKLOAD.id), "starter": ACCOUNTS.id, "isStarter": is_starter}
    facts = named | {"state": "completed", "isSuspender": False}
    assert POLICIES.evaluate(who, "task.end", INSTALLATION, facts).permitted is wanted


@pytest.mark.parametrize(
    ("who", "is_pep", "wanted"), [(GATEWAY, True, True), (GATEWAY, False, False), (WORKLOAD, False, True)]
)
def test_reporting_an_outcome(who: Registration, is_pep: bool, wanted: bool) -> None:
    facts = {"workload": entity_ref("Workload", WORKLOAD.id), "isPep": is_pep}
    evaluation = POLICIES.evaluate(who, "outcome.report", SERVER, facts)
    assert evaluation.permitted is wanted
    assert wanted or evaluation.reason.code == "not_its_permit"


@pytest.mark.parametrize(
    "name",
    [
        "identity.register",
        "identity.change",
        "record.read",
        "permit.resolve",
        "risk.set",
        "habits.forget",
        "record.erase",
        "configuration.reload",
    ],
)
def test_administration_is_for_administrators(name: str) -> None:
    facts: dict[str, Any] = {"target": WORKLOAD.id, "isSelf": False} if name.startswith("identity.") else {}
    assert POLICIES.evaluate(ADMINISTRATOR, name, INSTALLATION, facts).permitted
    for who in (WORKLOAD, GATEWAY, ACCOUNTS):
        assert POLICIES.evaluate(who, name, INSTALLATION, facts).reason.code == "no_policy_permits"
    reads = name in ("record.read", "permit.resolve")
    assert POLICIES.evaluate(APPROVER, name, INSTALLATION, facts).permitted is reads


@pytest.mark.parametrize("possession", ["dpop", "mtls", "none"])
@pytest.mark.parametrize("is_search", [False, True])
def test_general_questions_are_asked_by_who_proved_a_key(possession: str, is_search: bool) -> None:
    facts = {"possession": possession, "isSearch": is_search}
    for who, role in ((GATEWAY, True), (ACCOUNTS, True), (ADMINISTRATOR, True), (WORKLOAD, False), (APPROVER, False)):
        evaluation = POLICIES.evaluate(who, "question.ask", INSTALLATION, facts)
        # SECURITY: a bearer secret proves no key; only a policy of the project lets it ask.
        assert evaluation.permitted is (role and possession != "none"), who.id


def test_nothing_else_is_permitted() -> None:
    assert set(INTENTS) == POLICIES.vocabulary.intents
    asked: list[tuple[Any, ...]] = [
        (WORKLOAD, "payments/unknown", SERVER, context(), PAY_INVOICE.name),
        (WORKLOAD, PAY, ("Server", "other"), context(), PAY_INVOICE.name),
        (WORKLOAD, PAY, ("Intent", "payments"), context(), PAY_INVOICE.name),
        (WORKLOAD, PAY, SERVER, context(""), ""),
        (WORKLOAD, PAY, SERVER, context("other"), "other"),
        (STAFF, PAY, SERVER, context(), PAY_INVOICE.name),
        (ACCOUNTS, "task.start", ("Intent", "other"), {}, "other"),
        (ADMINISTRATOR, "record.read", ("Installation", "other.org"), {}),
        (ADMINISTRATOR, "tools", SERVER, context(), PAY_INVOICE.name),
    ]
    for one in asked:
        evaluation = POLICIES.evaluate(*one)
        assert not evaluation.permitted
        assert evaluation.reason.code == "no_policy_permits"
