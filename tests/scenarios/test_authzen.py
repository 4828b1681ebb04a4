"""The AuthZEN interop scenarios: every vector of the working group, over HTTP, compared as its harness compares."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from .authzen import EXAMPLES, VECTORS, Scenario, scenario

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir() and "CI" not in os.environ, reason=f"the vectors are not here: {VECTORS}"
)

FILES = {
    # example: file, member, path, how many
    "todo": [
        ("todo/decisions-authorization-api-1_0-02.json", "evaluation", "/access/v1/evaluation", 40),
        ("todo/decisions-authorization-api-1_0-02.json", "evaluations", "/access/v1/evaluations", 3),
    ],
    "api-gateway": [("api-gateway/decisions.json", "evaluation", "/access/v1/evaluation", 25)],
    "search": [
        ("search/subject-results.json", "evaluation", "/access/v1/search/subject", 60),
        ("search/resource-results.json", "evaluation", "/access/v1/search/resource", 18),
        ("search/action-results.json", "evaluation", "/access/v1/search/action", 120),
    ],
    "idp": [("idp/results.json", "search", "/access/v1/search/resource", 6)],
}


@pytest.fixture(scope="module", params=FILES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Scenario]]:
    with scenario(request.param, tmp_path_factory.mktemp("authzen")) as service:
        yield request.param, service


def vectors(file: str, member: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / file).read_text())[member]
    return found


def by_name(results: list[dict[str, str]]) -> list[dict[str, str]]:
    """The harness sorts results by type and id, or by name."""
    return sorted(results, key=lambda each: (each.get("type", ""), each.get("id", ""), each.get("name", "")))


def exact(value: Any) -> str:
    """JSON as the harness has it: members in their order."""
    return json.dumps(value, separators=(",", ":"))


def test_every_vector(running: tuple[str, Scenario]) -> None:
    name, service = running
    for file, member, path, count in FILES[name]:
        cases = vectors(file, member)
        assert len(cases) == count
        for case in cases:
            status, answer = service.post(path, case["request"])
            assert status == 200, answer
            wanted = case["expected"]
            if path.endswith("/evaluation"):
                assert answer == {"decision": wanted}, case
            elif path.endswith("/evaluations"):
                assert exact(answer) == exact({"evaluations": wanted}), case
            else:
                assert list(answer) == ["results"], case
                assert exact(by_name(answer["results"])) == exact(by_name(wanted["results"])), case


def test_requests_and_answers_fit_the_schemas(running: tuple[str, Scenario]) -> None:
    name, service = running
    request, response = (
        jsonschema_rs.validator_for(json.loads((VECTORS / f"schemas/evaluation-{which}.schema.json").read_text()))
        for which in ("request", "response")
    )
    for file, member, path, _ in FILES[name]:
        if path == "/access/v1/evaluation":
            for case in vectors(file, member):
                asked = case["request"] | {"options": {"reasons": True}}
                request.validate(asked)
                answer = service.post(path, asked)[1]
                response.validate(answer)
                assert answer["decision"] is case["expected"]
                assert answer["context"]["reason"]["code"] in ("permitted", "no_policy_permits")


def test_all_272_are_there() -> None:
    assert sum(count for files in FILES.values() for *_, count in files) == 272
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} >= set(FILES)


def test_what_a_search_finds_is_what_an_evaluation_permits(running: tuple[str, Scenario]) -> None:
    name, service = running
    for file, member, path, _ in FILES[name]:
        what = path.rpartition("/")[2]
        if what not in ("subject", "resource"):
            continue
        for case in vectors(file, member)[:12]:
            request = case["request"]
            for found in service.post(path, request)[1]["results"]:
                assert service.post("/access/v1/evaluation", {**request, what: found})[1] == {"decision": True}


def test_page_by_page_is_all_at_once(running: tuple[str, Scenario]) -> None:
    name, service = running
    for file, member, path, _ in FILES[name]:
        if "/search/" not in path:
            continue
        for case in vectors(file, member)[:6]:
            whole = service.post(path, case["request"])[1]["results"]
            for limit in (1, 2, 7, 1000):
                pages: list[Any] = []
                page: dict[str, Any] = {"limit": limit}
                while True:
                    status, answer = service.post(path, case["request"] | {"page": page})
                    assert status == 200
                    assert len(answer["results"]) == answer["page"]["count"] <= limit
                    pages += answer["results"]
                    if not answer["page"]["next_token"]:
                        break
                    page = {"limit": limit, "token": answer["page"]["next_token"]}
                assert pages == whole


@pytest.mark.parametrize("credentials", ["", "Bearer", "Bearer x", "Basic eDp5"])
def test_without_the_key_there_is_no_answer(running: tuple[str, Scenario], credentials: str) -> None:
    name, service = running
    for file, member, path, _ in FILES[name]:
        status, problem = service.post(path, vectors(file, member)[0]["request"], Authorization=credentials)
        assert status == 401
        assert "decision" not in problem
        assert "results" not in problem


def test_the_key_asks_and_does_nothing_else(running: tuple[str, Scenario]) -> None:
    _, service = running
    for path in ("/v1/tasks", "/v1/identities", "/v1/listing", "/v1/svids"):
        status, problem = service.post(path, {})
        assert (status, problem["code"]) == (401, "bearer_refused")


def test_the_command_that_the_start_prints_is_answered(running: tuple[str, Scenario]) -> None:
    _, service = running
    command = shlex.split(re.sub(r"\\\n", "", service.log.read_text().partition("\ncurl ")[2].partition("\n\n")[0]))
    options = [word for word in command if word.startswith("-")]
    assert options == ["-s", "-H", "-H", "-d"]
    url, authorization, media, body = (word for word in command if not word.startswith("-"))
    file = re.fullmatch(r"Authorization: Bearer \$\(cat (\S+)\)", authorization)
    assert file is not None
    assert f"Bearer {Path(file[1]).read_text().strip()}" == service.key
    assert media == "Content-Type: application/json"
    assert service.post(url.removeprefix(service.url), json.loads(body)) == (200, {"decision": True})


def test_metadata_names_where_the_service_is_reached(running: tuple[str, Scenario]) -> None:
    _, service = running
    status, found = service.get("/.well-known/authzen-configuration")
    assert (status, found["policy_decision_point"]) == (200, service.url)
    assert found["access_evaluations_endpoint"] == f"{service.url}/access/v1/evaluations"
