"""A bearer key asks general questions, and nothing else: what else it is tried for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.core.clock import system_clock
from remit.server.routes import OPERATIONS
from tests.identity.certificates import make

from .stage import BEARER, PEP, SECRET, WORKLOAD, Stage, ask, run, running
from .tls_stage import ROOT, serving

EVALUATION = "/access/v1/evaluation"
QUESTION = {
    "subject": {"type": "user", "id": "kim"},
    "action": {"name": "view"},
    "resource": {"type": "record", "id": "101"},
}
GENERAL = [
    EVALUATION,
    "/access/v1/evaluations",
    "/access/v1/search/subject",
    "/access/v1/search/resource",
    "/access/v1/search/action",
]
ELSEWHERE = [
    *((op.method, op.path.replace("{task}", "t_1")) for op in OPERATIONS if not op.public and op.path not in GENERAL),
    ("GET", EVALUATION),
    ("POST", EVALUATION + "/"),
    ("POST", EVALUATION + "/../evaluation"),
    ("POST", "/access/v1/Evaluation"),
    ("POST", "/access/v1/"),
    ("POST", "/healthz"),
    ("GET", "/no/such/path"),
]


def untouched(stage: Stage) -> bool:
    return not (stage.service.asks or stage.service.records or stage.service.reports or stage.service.questions)


@pytest.mark.parametrize("path", GENERAL)
@pytest.mark.parametrize("tcp", [False, True])
def test_general_questions(tmp_path: Path, path: str, tcp: bool) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "POST", path, QUESTION, credentials=BEARER, tcp=tcp)
            assert answer.status == 200, answer.body
            [(caller, _)] = stage.service.questions
            assert (caller.id, caller.possession, caller.key) == (PEP, "none", "")
            assert stage.service.records == []

    run(main())


def test_which_operations_take_one() -> None:
    assert [op.path for op in OPERATIONS if op.bearer] == GENERAL


def test_every_other_operation(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for method, path in ELSEWHERE:
                if (method, path) == ("GET", EVALUATION):
                    continue  # 405, below
                answer = await ask(stage, method, path, {} if method == "POST" else None, credentials=BEARER)
                assert (answer.status, answer.json["code"]) == (401, "bearer_refused"), (method, path)
                assert SECRET not in answer.body.decode()
            wrong = await ask(stage, "GET", EVALUATION, credentials=BEARER)
            assert (wrong.status, wrong.json["code"]) == (405, "method_not_allowed")
            assert untouched(stage)

    run(main())


def governed(stage: Stage, **context: Any) -> dict[str, Any]:
    grant = stage.grant()
    proof = grant.holder().subject_proof(PEP, grant.token, system_clock())
    return {
        "subject": {"type": "workload", "id": WORKLOAD, "properties": {"token": grant.svid, "proof": proof}},
        "action": {"name": "payments/pay"},
        "resource": {"type": "server", "id": "payments"},
        "context": {"task": grant.token, "input": {}, **context},
    }


@pytest.mark.parametrize("context", [{}, {"probe": True}, {"probe": False}])
def test_a_governed_question(tmp_path: Path, context: dict[str, Any]) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = governed(stage, **context)
            answer = await ask(stage, "POST", EVALUATION, body, credentials=BEARER)
            assert (answer.status, answer.json["code"]) == (403, "bearer_refused")
            several = {"evaluations": [QUESTION, body]}
            mixed = (await ask(stage, "POST", "/access/v1/evaluations", several, credentials=BEARER)).json
            assert [each["decision"] for each in mixed["evaluations"]] == [True, False]
            assert mixed["evaluations"][1]["context"]["error"]["code"] == "bearer_refused"
            assert stage.service.asks == []
            assert stage.service.records == []

    run(main())


@pytest.mark.parametrize("what", ["subject", "resource", "action"])
def test_a_search_for_workloads(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = QUESTION | {"subject": {"type": "workload", "id": WORKLOAD}}
            answer = await ask(stage, "POST", f"/access/v1/search/{what}", body, credentials=BEARER)
            assert (answer.status, answer.json["code"]) == (400, "subject_governed")
            assert untouched(stage)

    run(main())


def test_an_entity_that_is_called_a_workload_is_a_resource_like_any_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = QUESTION | {"resource": {"type": "workload", "id": "1"}}
            assert (await ask(stage, "POST", EVALUATION, body, credentials=BEARER)).json == {"decision": True}

    run(main())


def test_without_a_policy_that_lets_it_ask(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            stage.service.bearer_may_ask = False
            for path in GENERAL:
                answer = await ask(stage, "POST", path, QUESTION, credentials=BEARER)
                assert (answer.status, answer.json["code"]) == (403, "no_policy_permits")
            assert stage.service.questions == []

    run(main())


@pytest.mark.parametrize("token", ["expired", "unknown", SECRET + "x", "", "a b", "é"])
def test_a_wrong_key(tmp_path: Path, token: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "POST", EVALUATION, QUESTION, credentials={"Authorization": f"Bearer {token}"})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == 'DPoP algs="ES256", Bearer realm="remit"'
            assert untouched(stage)

    run(main())


def test_tokens_of_another_kind_sent_as_bearer(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            grant = stage.grant()
            for token in (stage.holder().svid, grant.svid, grant.token):
                answer = await ask(
                    stage, "POST", EVALUATION, QUESTION, credentials={"Authorization": f"Bearer {token}"}
                )
                assert (answer.status, answer.json["code"]) == (401, "bearer_unknown")
            secret_as_svid = stage.holder().headers("POST", "http://remit.local" + EVALUATION, system_clock())
            answer = await ask(
                stage, "POST", EVALUATION, QUESTION, credentials=secret_as_svid | {"Authorization": f"DPoP {SECRET}"}
            )
            assert answer.status == 401
            assert untouched(stage)

    run(main())


def test_two_credentials(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            svid = stage.holder().headers("POST", "http://remit.local" + EVALUATION, system_clock())
            for credentials in (
                BEARER | {"authorization": BEARER["Authorization"]},
                BEARER | {"authorization": svid["Authorization"]},
                {"authorization": svid["Authorization"]} | BEARER,
                BEARER | {"DPoP": svid["DPoP"]},
            ):
                answer = await ask(stage, "POST", EVALUATION, QUESTION, credentials=credentials)
                assert (answer.status, answer.json["code"]) == (401, "credentials_invalid"), credentials
            assert untouched(stage)

    run(main())


def test_the_key_in_the_url_or_the_body(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            url = f"{EVALUATION}?access_token={SECRET}"
            answer = await ask(stage, "POST", url, QUESTION | {"access_token": SECRET})
            assert (answer.status, answer.json["code"]) == (401, "credentials_missing")

    run(main())


def test_no_credentials_say_what_would_do(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for path in GENERAL:
                answer = await ask(stage, "POST", path, QUESTION)
                assert (answer.status, answer.json["code"]) == (401, "credentials_missing")
                assert "Bearer" in answer.headers["www-authenticate"]
            elsewhere = await ask(stage, "POST", "/v1/tasks", {})
            assert elsewhere.headers["www-authenticate"] == 'DPoP algs="ES256"'
            assert untouched(stage)

    run(main())


def test_over_tls_with_and_without_a_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            asked: dict[str, Any] = {"method": "POST", "path": EVALUATION, "body": QUESTION}
            own, other = (make(by=ROOT, uris=[id]) for id in (PEP, WORKLOAD))
            for party, headers, wanted in (
                (None, BEARER, "none"),
                (own, BEARER, "none"),
                (own, {}, "mtls"),
            ):
                assert (await stage.who(party, headers=headers, **asked)).json == {"decision": True}
                assert stage.service.questions[-1][0].possession == wanted
            # SECURITY: one request has one caller.
            refused = await stage.who(other, headers=BEARER, **asked)
            assert (refused.status, refused.json["code"]) == (401, "certificate_mismatch")
            assert len(stage.service.questions) == 3

    run(main())
