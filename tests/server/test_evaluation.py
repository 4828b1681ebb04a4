from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.core.canonical import request_digest
from remit.core.clock import system_clock
from remit.identity.holder import Holder

from .stage import PEP, STARTER, WORKLOAD, Stage, ask, run, running

PATH = "/access/v1/evaluation"


def question(stage: Stage, **context: Any) -> dict[str, Any]:
    grant = stage.grant()
    proof = grant.holder().subject_proof(PEP, grant.token, system_clock())
    return {
        "subject": {"type": "workload", "id": WORKLOAD, "properties": {"token": grant.svid, "proof": proof}},
        "action": {"name": "payments/pay", "properties": {"definition": "ab"}},
        "resource": {"type": "server", "id": "payments"},
        "context": {"task": grant.token, "input": {"amount": "12.00"}, **context},
    }


def test_authorizes_for_the_enforcement_point_of_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "POST", PATH, question(stage), holder=stage.holder())
            assert answer.status == 200
            body = answer.json
            assert body["decision"] is True
            assert body["context"]["id"].startswith("d_")
            assert body["context"]["digest"] == request_digest("payments/pay", {"amount": "12.00"})
            [(kind, asked)] = stage.service.asks
            assert kind == "authorize"
            assert asked.proof is not None
            assert (asked.caller.id, asked.subject, asked.proof.id) == (PEP, WORKLOAD, WORKLOAD)
            assert asked.task is not None
            assert asked.task.task == "t_1"
            assert asked.definition == "ab"

    run(main())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "authorize"),
        ({"task": ""}, "probe"),
        ({"probe": True}, "probe"),
        ({"probe": False}, "authorize"),
    ],
)
def test_asks_or_acts_as_the_body_says(tmp_path: Path, change: dict[str, Any], kind: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = question(stage)
            if "task" in change:
                grant = stage.grant()
                proof = grant.holder().subject_proof(PEP, "", system_clock())
                body["subject"]["properties"] = {"token": grant.svid, "proof": proof}
            body["context"] |= change
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert answer.status == 200, answer.body
            assert stage.service.asks[0][0] == kind
            assert ("id" in answer.json["context"]) is (kind == "authorize")

    run(main())


def test_an_evaluation_by_anyone_else_is_a_probe_that_records_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            workload = stage.grant().holder()
            body = question(stage)
            body["subject"]["properties"] = {}
            answer = await ask(stage, "POST", PATH, body, holder=workload)
            assert answer.status == 200
            assert answer.json["context"]["probe"] is True
            assert "id" not in answer.json["context"]
            assert stage.service.records == []

    run(main())


def test_an_enforcement_point_of_another_server_only_probes(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = question(stage)
            body["action"]["name"] = "mail/send"
            body["resource"]["id"] = "mail"
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert answer.json["context"]["probe"] is True
            assert stage.service.records == []

    run(main())


def test_a_denial_explains_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = question(stage)
            body["action"]["name"] = "payments/deny"
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert answer.status == 200
            assert answer.json["decision"] is False
            assert answer.json["context"]["reason"] == {
                "code": "not_justified",
                "message": "the task does not justify it",
                "nextStep": "ask for another task",
                "policies": [{"id": "intent:x/ceiling", "path": "intents/x.yaml", "line": 3}],
            }

    run(main())


def test_unknown_members_are_ignored_as_authzen_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = question(stage)
            body["future"] = {"x": 1}
            body["subject"]["future"] = 1
            assert (await ask(stage, "POST", PATH, body, holder=stage.holder())).status == 200

    run(main())


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (("resource", "id"), "mail", "resource_mismatch"),
        (("resource", "type"), "account", "resource_mismatch"),
        (("action", "name"), "pay", "action_malformed"),
        (("action", "name"), "payments/", "action_malformed"),
        (("action", "name"), "", "name_invalid"),
        (("action", "name"), "payments/" + "x" * 300, "name_invalid"),
        (("subject", "type"), "", "name_invalid"),
        (("subject", "id"), "", "name_invalid"),
        (("context", "input"), [], "body_invalid"),
        (("context", "probe"), "yes", "body_invalid"),
        (("context", "idempotencyKey"), "x" * 300, "name_invalid"),
    ],
)
def test_malformed_questions_are_refused(tmp_path: Path, at: tuple[str, str], value: Any, code: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = question(stage)
            body[at[0]][at[1]] = value
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (400, code)
            assert answer.headers["content-type"] == "application/problem+json"
            assert stage.service.asks == []

    run(main())


def test_a_subject_proof_made_for_another_enforcement_point(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            grant = stage.grant()
            proof = grant.holder().subject_proof("spiffe://example.org/pep/other", grant.token, system_clock())
            body = question(stage)
            body["subject"]["properties"] = {"token": grant.svid, "proof": proof}
            body["context"]["task"] = grant.token
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (403, "proof_mismatch")
            assert stage.service.asks == []

    run(main())


def test_a_stolen_task_handle_without_its_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            stolen, own = stage.grant(), stage.grant(STARTER)
            body = question(stage, task=stolen.token)
            proof = own.holder().subject_proof(PEP, stolen.token, system_clock())
            body["subject"] = {"type": "workload", "id": STARTER, "properties": {"token": own.svid, "proof": proof}}
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert answer.status == 403
            assert stage.service.asks == []

    run(main())


def test_a_subject_named_other_than_proved(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = question(stage)
            body["subject"]["id"] = "spiffe://example.org/workload/other"
            answer = await ask(stage, "POST", PATH, body, holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (403, "subject_mismatch")

    run(main())


def test_a_fault_below_is_a_plain_500_without_its_cause(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            stage.service.fault = RuntimeError("secret /path")
            answer = await ask(stage, "POST", PATH, question(stage), holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (500, "internal_error")
            assert b"secret" not in answer.body

    run(main())


def test_the_request_id_reaches_the_question_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            holder: Holder = stage.holder()
            answer = await ask(stage, "POST", PATH, question(stage), holder=holder, headers={"X-Request-ID": "abc-1"})
            assert answer.headers["x-request-id"] == "abc-1"
            assert stage.service.asks[0][1].request_id == "abc-1"

    run(main())
