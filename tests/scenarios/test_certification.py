"""The AuthZEN certification scenario (`certification/authorization-api-1_0-scenario.md`), section by section."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .authzen import Scenario, scenario

EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SUBJECTS, RESOURCES, ACTIONS = (f"/access/v1/search/{what}" for what in ("subject", "resource", "action"))

ALICE, BOB = ({"type": "user", "id": name} for name in ("alice", "bob"))
ADMIN = {**BOB, "properties": {"role": "admin"}}
RECORD_1, RECORD_2 = ({"type": "record", "id": name} for name in ("record-1", "record-2"))
ACTIVE = {**RECORD_1, "properties": {"status": "active"}}
ARCHIVED = {**RECORD_2, "properties": {"status": "archived"}}
CONTEXT = {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    with scenario("certification", tmp_path_factory.mktemp("certification")) as running:
        yield running


def question(subject: Any, action: str, resource: Any, **more: Any) -> dict[str, Any]:
    return {"subject": subject, "action": {"name": action}, "resource": resource, **more}


def without(body: dict[str, Any], *path: str) -> dict[str, Any]:
    found = copy.deepcopy(body)
    part = found
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    return found


READ = question(ALICE, "read", RECORD_1)
DELETE = question(ALICE, "delete", RECORD_1)


@pytest.mark.parametrize(
    ("rule", "body", "decision"),
    [
        ("1", READ, True),
        ("2", question(ALICE, "write", RECORD_1), True),
        ("3", question(BOB, "read", RECORD_1), True),
        ("4", question(BOB, "write", RECORD_1), False),
        ("5", question(ALICE, "write", ARCHIVED), False),
        ("6", question(ADMIN, "write", ARCHIVED), True),
        ("7", DELETE | {"action": {"name": "delete", "properties": {"soft": True}}}, True),
        ("8", DELETE | {"action": {"name": "delete", "properties": {"soft": False}}}, False),
        ("2.2.3 context", READ | {"context": CONTEXT}, True),
        (
            "2.2.8 additional properties",
            {
                "subject": {**ALICE, "properties": {"department": "Sales", "role": "manager"}},
                "action": {"name": "read", "properties": {"method": "GET"}},
                "resource": {**RECORD_1, "properties": {"status": "active", "owner": "bob"}},
            },
            True,
        ),
        ("2.2.9 unknown fields", READ | {"foo": "bar", "futureField": {"nested": True}}, True),
    ],
)
def test_one_decision(service: Scenario, rule: str, body: Any, decision: bool) -> None:
    for _ in range(3):  # 2.6: the same answer each time
        assert service.post(EVALUATION, body) == (200, {"decision": decision}), rule


@pytest.mark.parametrize(
    "body",
    [
        *(without(READ, *path) for path in (("subject",), ("action",), ("resource",))),
        *(without(READ, *path) for path in (("subject", "type"), ("subject", "id"), ("action", "name"))),
        *(without(READ, *path) for path in (("resource", "type"), ("resource", "id"))),
        READ | {"subject": "alice"},
        READ | {"action": {"name": 123}},
    ],
)
def test_a_malformed_question(service: Scenario, body: Any) -> None:
    assert service.post(EVALUATION, body)[0] == 400
    assert service.post(EVALUATIONS, body)[0] == 400


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("text/plain", json.dumps(READ)),
        ("application/x-www-form-urlencoded", "a=b"),
        ("application/json", "{"),
        ("application/json", ""),
    ],
)
def test_a_body_that_is_no_json(service: Scenario, content_type: str, data: str) -> None:
    connection = service.connection
    headers = {"Authorization": service.key, "Content-Type": content_type}
    connection.request("POST", EVALUATION, data, headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 400


def test_request_ids_and_media_types(service: Scenario) -> None:
    connection = service.connection
    for sent in ("bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "urn:uuid:1 (first)", ""):
        headers = {"Authorization": service.key, "Content-Type": "application/json; charset=utf-8"}
        connection.request("POST", EVALUATION, json.dumps(READ), headers | ({"X-Request-ID": sent} if sent else {}))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"] == sent or not sent


def decisions(service: Scenario, body: Any) -> list[bool]:
    status, answer = service.post(EVALUATIONS, body)
    assert status == 200, answer
    assert list(answer) == ["evaluations"]
    assert len(answer["evaluations"]) == len(body["evaluations"])
    return [each["decision"] for each in answer["evaluations"]]


@pytest.mark.parametrize(
    ("section", "body", "wanted"),
    [
        (
            "3.2.1",
            {**without(READ, "resource"), "evaluations": [{"resource": RECORD_1}, {"resource": RECORD_2}]},
            [True, True],
        ),
        (
            "3.2.2",
            {
                "subject": BOB,
                "resource": RECORD_1,
                "evaluations": [{"action": {"name": "read"}}, {"action": {"name": "write"}}],
            },
            [True, False],
        ),
        (
            "3.2.3",
            {
                "subject": ALICE,
                "action": {"name": "write"},
                "evaluations": [{"resource": ACTIVE}, {"resource": ARCHIVED}],
            },
            [True, False],
        ),
        (
            "3.2.4",
            {
                "action": {"name": "write"},
                "resource": ARCHIVED,
                "evaluations": [{"subject": ALICE}, {"subject": ADMIN}],
            },
            [False, True],
        ),
        ("3.2.5", {"evaluations": [READ, question(BOB, "write", RECORD_1)]}, [True, False]),
        (
            "3.2.6",
            {
                "subject": ALICE,
                "action": {"name": "read"},
                "context": {"time": "2025-06-27T18:03-07:00"},
                "evaluations": [
                    {"resource": RECORD_1},
                    {"resource": RECORD_2, "context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}},
                ],
            },
            [True, True],
        ),
        ("3.2.7", question(ALICE, "write", ACTIVE, evaluations=[{}, {"resource": ARCHIVED}]), [True, False]),
        (
            "3.4.1",
            {
                **without(READ, "resource"),
                "options": {"evaluations_semantic": "execute_all"},
                "evaluations": [{"resource": RECORD_1}, {}],
            },
            [True, False],
        ),
    ],
)
def test_several_decisions(service: Scenario, section: str, body: Any, wanted: list[bool]) -> None:
    assert decisions(service, body) == wanted, section


@pytest.mark.parametrize("body", [READ, READ | {"evaluations": []}])
def test_no_evaluations_are_one(service: Scenario, body: Any) -> None:
    assert service.post(EVALUATIONS, body) == (200, {"decision": True})


def entities(*ids: str, type: str) -> dict[str, Any]:
    return {"results": [{"type": type, "id": id} for id in ids]}


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        (SUBJECTS, question({"type": "user"}, "read", RECORD_1), entities("alice", "bob", type="user")),
        (
            SUBJECTS,
            question({"type": "user"}, "read", RECORD_1, context=CONTEXT),
            entities("alice", "bob", type="user"),
        ),
        (SUBJECTS, question(ALICE, "read", RECORD_1), entities("alice", "bob", type="user")),
        (SUBJECTS, question({"type": "user"}, "write", ARCHIVED), entities("bob", type="user")),
        (RESOURCES, question(ALICE, "read", {"type": "record"}), entities("record-1", "record-2", type="record")),
        (RESOURCES, question(ALICE, "read", RECORD_1), entities("record-1", "record-2", type="record")),
        (RESOURCES, question(ADMIN, "write", {"type": "record"}), entities("record-2", type="record")),
        (ACTIONS, {"subject": ALICE, "resource": RECORD_1}, {"results": [{"name": "read"}, {"name": "write"}]}),
        (ACTIONS, {"subject": ADMIN, "resource": ARCHIVED}, {"results": [{"name": "read"}, {"name": "write"}]}),
        (ACTIONS, {"subject": {"type": "user", "id": "nonexistent-user"}, "resource": RECORD_1}, {"results": []}),
        (ACTIONS, {"subject": {"type": "spaceship", "id": "x"}, "resource": RECORD_1}, {"results": []}),
        (ACTIONS, {"subject": ALICE, "resource": {"type": "record", "id": "nonexistent"}}, {"results": []}),
        (SUBJECTS, question({"type": "spaceship"}, "read", RECORD_1), {"results": []}),
        (SUBJECTS, question({"type": "user"}, "read", {"type": "spaceship", "id": "x"}), {"results": []}),
        (SUBJECTS, question({"type": "user"}, "fly", RECORD_1), {"results": []}),
        (RESOURCES, question(ALICE, "read", {"type": "spaceship"}), {"results": []}),
        (RESOURCES, question({"type": "spaceship", "id": "x"}, "read", {"type": "record"}), {"results": []}),
        (RESOURCES, question({"type": "user", "id": "nonexistent-user"}, "read", {"type": "record"}), {"results": []}),
    ],
)
def test_searches(service: Scenario, path: str, body: Any, wanted: Any) -> None:
    assert service.post(path, body) == (200, wanted)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SUBJECTS, {"subject": {"type": "user"}, "resource": RECORD_1}),
        (RESOURCES, {"action": {"name": "read"}, "resource": {"type": "record"}}),
        (ACTIONS, {"subject": ALICE}),
        (SUBJECTS, question({"type": "user"}, "read", {"type": "record"})),
        (RESOURCES, question({"type": "user"}, "read", {"type": "record"})),
        (ACTIONS, {"subject": {"type": "user"}, "resource": RECORD_1}),
    ],
)
def test_a_malformed_search(service: Scenario, path: str, body: Any) -> None:
    assert service.post(path, body)[0] == 400


def test_pages(service: Scenario) -> None:
    body = question({"type": "user"}, "read", RECORD_1)
    status, first = service.post(SUBJECTS, body | {"page": {"limit": 1}})
    assert status == 200
    assert first["page"]["next_token"]
    status, last = service.post(SUBJECTS, body | {"page": {"token": first["page"]["next_token"]}})
    assert (status, last["page"]["next_token"]) == (200, "")
    assert first["results"] + last["results"] == service.post(SUBJECTS, body)[1]["results"]


def test_discovery_over_https(tmp_path: Path) -> None:
    with scenario("certification", tmp_path, tls=True) as service:
        status, found = service.get("/.well-known/authzen-configuration")
        assert (status, found["policy_decision_point"]) == (200, service.url)
        assert service.url.startswith("https://")
        for name in ("access_evaluation", "access_evaluations", "search_subject", "search_resource", "search_action"):
            url = found[f"{name}_endpoint"]
            assert url.startswith(service.url + "/access/v1/")
            assert service.post(url.removeprefix(service.url), {})[0] == 400
        assert all(isinstance(each, str) for each in found.get("capabilities", []))
        assert None not in found.values()
        assert [] not in found.values()
        assert service.post(EVALUATION, READ) == (200, {"decision": True})
