"""`@requestable`: which denials a person could overcome, and who; a final forbid keeps all of it final."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core.decisions import Approval
from remit.core.errors import DocumentError
from remit.policy.engine import Policies
from remit.policy.evaluation import Evaluation
from tests.policy.project import PAY, PAY_INVOICE, SERVER, WORKLOAD, context, loaded, write

FORBID = 'forbid (principal, action == Remit::Action::"payments/pay_invoice", resource);'


def policies(folder: Path, *annotated: str) -> Policies:
    text = "\n".join(f'@id("p{number}") {annotation} {FORBID}' for number, annotation in enumerate(annotated))
    return loaded(write(folder, own=text))


def asked(found: Policies, **more: object) -> Evaluation:
    return found.evaluate(WORKLOAD, PAY, SERVER, context(**more), PAY_INVOICE.name)


@pytest.mark.parametrize(
    ("annotation", "by"),
    [
        ('@requestable("group:security")', ("group:security",)),
        ('@requestable("group:security, person/ada")', ("group:security", "person/ada")),
        ("@requestable", ()),
        ('@requestable("")', ()),
    ],
)
def test_who_may_approve(tmp_path: Path, annotation: str, by: tuple[str, ...]) -> None:
    evaluation = asked(policies(tmp_path, annotation))
    assert not evaluation.permitted
    assert evaluation.approvals == (Approval(policy="p0", by=by),)


def test_every_forbid_needs_its_approval(tmp_path: Path) -> None:
    evaluation = asked(policies(tmp_path, '@requestable("group:a")', '@requestable("group:b")'))
    assert {approval.by for approval in evaluation.approvals} == {("group:a",), ("group:b",)}


def test_one_final_forbid_and_nobody_can_approve(tmp_path: Path) -> None:
    assert asked(policies(tmp_path, '@requestable("group:a")', "")).approvals == ()


def test_what_the_intent_does_not_justify_or_bind_is_final(tmp_path: Path) -> None:
    found = policies(tmp_path, "@requestable")
    assert asked(found).approvals
    assert asked(found, risk=61).approvals == ()  # above the intent's own bound
    other = found.evaluate(WORKLOAD, PAY, SERVER, context("answer-question"), "answer-question")
    assert (other.reason.code, other.approvals) == ("not_justified", ())


def test_a_policy_that_fails_is_final(tmp_path: Path) -> None:
    text = f"@requestable {FORBID}\nforbid (principal, action, resource) when {{ context has input && "
    text += "9223372036854775807 + 1 > 0 };"
    evaluation = asked(loaded(write(tmp_path, own=text)))
    assert (evaluation.reason.code, evaluation.approvals) == ("policy_error", ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'@requestable("security") {FORBID}', "`security` is nobody who may approve"),
        (f'@requestable("group:a,") {FORBID}', "`` is nobody who may approve"),
        (f'@requestable("group:a, group:a") {FORBID}', "`group:a` stands twice"),
        (f'@requestable("group:Ä") {FORBID}', "is nobody who may approve"),
        (f'@requestable("{", ".join(f"group:g{n}" for n in range(17))}") {FORBID}', "more than 16 approvers"),
        (f"@requestable {FORBID.replace('forbid', 'permit')}", "only what a forbid refuses can be asked for"),
        (f"@requestible {FORBID}", "`@requestible` is not known"),
        (f"@Requestable {FORBID}", "`@Requestable` is not known"),
    ],
)
def test_a_mistake_is_found_when_it_is_loaded(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DocumentError) as raised:
        loaded(write(tmp_path, own=text))
    assert said in raised.value.message
    assert raised.value.path == "policies/own.cedar"
    assert raised.value.line == 1
