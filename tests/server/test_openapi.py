"""The description is kept true: every route is in it, and real answers validate against it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from remit.core.clock import system_clock
from remit.core.decisions import Outcome, OutcomeReceipt
from remit.core.identities import Registration
from remit.core.tasks import RiskSignal
from remit.identity.keys import generate_key, thumbprint
from remit.sdk import wire
from remit.server.openapi import openapi
from remit.server.routes import OPERATIONS

from .stage import PEP, PERSON, STARTER, WORKLOAD, Answered, Stage, ask, run, running

TILE = "tile/0/000.p/1"


def validator(document: dict[str, Any], path: str, method: str, status: int, media: str) -> jsonschema_rs.Validator:
    content = document["paths"][path][method.lower()]["responses"][str(status)]["content"]
    schema = {**content[media]["schema"], "components": document["components"]}
    return jsonschema_rs.validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_route_is_described(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            document = (await ask(stage, "GET", "/openapi.json")).json
            described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
            served = {
                (method, route.path_format)  # type: ignore[attr-defined]
                for route in stage.app.routes
                for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
            }
            assert described == served
            assert document["openapi"] == "3.1.0"
            ids = [op["operationId"] for methods in document["paths"].values() for op in methods.values()]
            assert len(ids) == len(set(ids))

    run(main())


def test_every_reference_leads_somewhere() -> None:
    document = openapi(OPERATIONS, "1")
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_public_operations_say_so() -> None:
    document = openapi(OPERATIONS, "1")
    for operation in OPERATIONS:
        described = document["paths"][operation.path][operation.method.lower()]
        assert (described["security"] == []) is operation.public


def test_real_answers_validate(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            document = (await ask(stage, "GET", "/openapi.json")).json
            seen: set[tuple[str, str]] = set()

            def check(method: str, path: str, answer: Answered) -> None:
                media = answer.headers["content-type"].partition(";")[0]
                value = answer.json if "json" in media else answer.body.decode()
                validator(document, path, method, answer.status, media).validate(value)
                seen.add((method, path))

            for method, path, real, body, who in exchanges(stage):
                answer = await ask(stage, method, real, body, holder=stage.holder(who) if who else None)
                assert answer.status < 300, answer
                check(method, path, answer)
                if who:
                    check(method, path, await ask(stage, method, real, body))
                    if body is not None:
                        check(method, path, await ask(stage, method, real, b"{]", holder=stage.holder(who)))
            assert seen | {("GET", "/v1/attach")} == {(op.method, op.path) for op in OPERATIONS}

    run(main())


def exchanges(stage: Stage) -> list[tuple[str, str, str, Any, str]]:
    """One good request for each operation: method, path of the table, path, body, caller."""
    grant = stage.grant()
    proof = grant.holder().subject_proof(PEP, grant.token, system_clock())
    subject = {"type": "workload", "id": WORKLOAD, "properties": {"token": grant.svid, "proof": proof}}
    evaluation = {
        "subject": subject,
        "action": {"name": "payments/deny"},
        "resource": {"type": "server", "id": "payments"},
        "context": {"task": grant.token, "input": {}},
    }
    task = {"intent": "pay", "workload": WORKLOAD, "key": thumbprint(generate_key())}
    stage.service.tasks["t_1"] = wire.task_view(
        wire.TaskBody(
            id="t_1",
            root="t_1",
            parent="",
            intent="pay",
            workload=WORKLOAD,
            starter=STARTER,
            state="open",
            created=1,
            expires=2,
        )
    )
    general = {"subject": {"type": "user", "id": "kim"}, "resource": {"type": "record", "id": "1"}}
    doing = {"action": {"name": "obliged"}}
    several = general | {"evaluations": [doing, {"action": {"name": "misfit"}}, {}, evaluation], "page": {"limit": 2}}
    registration = stage.service.registrations[WORKLOAD]
    public = [("GET", op.path, op.path.replace("{file}", TILE), None, "") for op in OPERATIONS if op.public]
    (stage.log / TILE).parent.mkdir(parents=True)
    (stage.log / TILE).write_bytes(bytes(32))
    return [
        *public,
        ("POST", "/access/v1/evaluation", "/access/v1/evaluation", evaluation, PEP),
        ("POST", "/access/v1/evaluation", "/access/v1/evaluation", general | doing, PEP),
        ("POST", "/access/v1/evaluations", "/access/v1/evaluations", several, PEP),
        ("POST", "/access/v1/evaluations", "/access/v1/evaluations", general | doing, PEP),
        *(
            ("POST", f"/access/v1/search/{what}", f"/access/v1/search/{what}", general | doing | {"page": page}, PEP)
            for what in ("subject", "resource", "action")
            for page in ({}, {"limit": 1}, {"limit": 0})
        ),
        ("POST", "/v1/outcomes", "/v1/outcomes", {"decision": "d", "digest": "x", "result": "response"}, PEP),
        ("POST", "/v1/listing", "/v1/listing", listing(subject, grant.token), PEP),
        ("POST", "/v1/svids", "/v1/svids", {"id": PEP}, PEP),
        ("POST", "/v1/tasks", "/v1/tasks", task, STARTER),
        ("GET", "/v1/tasks/{task}", "/v1/tasks/t_1", None, STARTER),
        ("POST", "/v1/tasks/{task}/end", "/v1/tasks/t_1/end", {"state": "completed"}, STARTER),
        ("GET", "/v1/identities", "/v1/identities", None, PERSON),
        ("POST", "/v1/identities", "/v1/identities", registration, PERSON),
        ("POST", "/v1/identities/change", "/v1/identities/change", {"id": WORKLOAD, "state": "active"}, PERSON),
        ("POST", "/v1/habits/forget", "/v1/habits/forget", {"id": WORKLOAD, "everything": True}, PERSON),
        ("POST", "/v1/reload", "/v1/reload", None, PERSON),
        ("POST", "/v1/erasures", "/v1/erasures", {"what": "subject", "subject": "s", "reason": "r"}, PERSON),
        (
            "POST",
            "/v1/risk",
            "/v1/risk",
            {"id": WORKLOAD, "signal": "m", "value": 1, "source": "k", "expires": 1},
            PERSON,
        ),
        ("POST", "/v1/resolutions", "/v1/resolutions", {"decision": "d", "result": "error"}, PERSON),
    ]


def listing(subject: dict[str, Any], task: str) -> dict[str, Any]:
    return {"subject": subject, "server": "payments", "tools": {"pay": "", "deny": ""}, "task": task}


@pytest.mark.parametrize("struct", [Registration, Outcome, OutcomeReceipt, RiskSignal])
def test_core_values_on_the_wire_have_single_words(struct: type[msgspec.Struct]) -> None:
    assert all("_" not in field.name for field in msgspec.structs.fields(struct))


def test_answers_fit_the_authzen_schemas(tmp_path: Path) -> None:
    """The working group's JSON Schemas for request and response, reproduced in `authzen_schemas.json`."""
    schemas = json.loads((Path(__file__).parent / "authzen_schemas.json").read_text())

    async def main() -> None:
        async with running(tmp_path) as stage:
            bodies = [body for _, path, _, body, _ in exchanges(stage) if path == "/access/v1/evaluation"]
            assert len(bodies) == 2
            for body in bodies:
                jsonschema_rs.validator_for(schemas["request"]).validate(body)
                answer = await ask(stage, "POST", "/access/v1/evaluation", body, holder=stage.holder())
                jsonschema_rs.validator_for(schemas["response"]).validate(answer.json)

    run(main())
