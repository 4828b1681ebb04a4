"""General questions, several at once, and searches: what AuthZEN 1.0 says of requests and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.core import bounds
from remit.core.clock import system_clock
from remit.core.decisions import Obligation
from remit.core.errors import Conflict, Unavailable

from .stage import BEARER, PEP, WORKLOAD, Answered, Stage, ask, run, running

SUBJECT = {"type": "user", "id": "kim"}
RESOURCE = {"type": "record", "id": "101"}


def question(action: str = "view", **more: Any) -> dict[str, Any]:
    return {"subject": SUBJECT, "action": {"name": action}, "resource": RESOURCE, **more}


async def one(stage: Stage, body: Any) -> Answered:
    return await ask(stage, "POST", "/access/v1/evaluation", body, credentials=BEARER)


async def several(stage: Stage, body: Any, **who: Any) -> Answered:
    return await ask(stage, "POST", "/access/v1/evaluations", body, **(who or {"credentials": BEARER}))


# --- one question ---------------------------------------------------------------------------------------------


def test_an_answer_is_bare_unless_there_is_something_to_say(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            assert (await one(stage, question())).body == b'{"decision":true}'
            assert (await one(stage, question("deny"))).body == b'{"decision":false}'
            failed = (await one(stage, question("fail"))).json
            assert failed["decision"] is False
            assert failed["context"]["error"]["code"] == "policy_error"
            obliged = (await one(stage, question("obliged", context={"supported_obligations": ["custom"]}))).json
            assert obliged["decision"] is True
            assert list(obliged["context"]) == ["obligations"]
            [obligation] = obliged["context"]["obligations"]
            assert obligation == {
                "id": "redact",
                "type": "custom",
                "properties": {"vendor": "remit", "action": "redact", "fields": ["email"]},
            }

    run(main())


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"supported_obligations": []},
        {"supported_obligations": ["notification", "step-up", "redact"]},
        {"supported_obligations": ["custom"], "remit_obligations": ["limit"]},
    ],
)
def test_attack_a_permit_with_an_obligation_that_the_caller_overlooks(tmp_path: Path, context: Any) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = (await one(stage, question("obliged", context=context))).json
            assert answer["decision"] is False
            assert answer["context"]["reason"]["code"] == "obligation_unsupported"
            assert "obligations" not in answer["context"]
            body = question("obliged", context=context) | {
                "evaluations": [{}, {"action": {"name": "read"}}],
                "options": {"evaluations_semantic": "deny_on_first_deny"},
            }
            assert [each["decision"] for each in (await several(stage, body)).json["evaluations"]] == [False]
            body["options"] = {"evaluations_semantic": "permit_on_first_permit"}
            assert [each["decision"] for each in (await several(stage, body)).json["evaluations"]] == [False, True]

    run(main())


def test_obligations_that_are_no_list_of_names_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            wrong = question(context={"supported_obligations": "custom"})
            answer = await one(stage, wrong)
            assert (answer.status, answer.json["code"]) == (400, "supported_obligations_invalid")
            [first, second] = (await several(stage, wrong | {"evaluations": [{}, {"context": {}}]})).json["evaluations"]
            assert first["context"]["error"]["code"] == "supported_obligations_invalid"
            assert second == {"decision": True}

    run(main())


def test_reasons_for_whoever_asks_for_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = (await one(stage, question(options={"reasons": True}))).json
            assert answer["context"]["reason"] == {
                "code": "permitted",
                "message": "permitted by policy",
                "nextStep": "",
                "policies": [{"id": "readers", "path": "policies/x.cedar", "line": 3}],
            }
            both = {"evaluations": [{}, {"action": {"name": "deny"}}], "options": {"reasons": True}}
            answers = (await several(stage, question() | both)).json["evaluations"]
            assert [each["context"]["reason"]["code"] for each in answers] == ["permitted", "no_policy_permits"]

    run(main())


def test_the_whole_question_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = {
                "subject": {**SUBJECT, "properties": {"department": "Sales"}},
                "action": {"name": "view", "properties": {"method": "GET"}},
                "resource": {**RESOURCE, "properties": {"owner": "kim", "tags": ["a", {"b": None}]}},
                "context": {"time": "2024-10-26T01:22-07:00"},
                "foo": "bar",
                "futureField": {"nested": True},
            }
            for path in ("/access/v1/evaluation", "/access/v1/evaluations"):
                assert (await ask(stage, "POST", path, body, credentials=BEARER)).json == {"decision": True}
            for _, asked in stage.service.questions:
                assert asked.subject.properties == {"department": "Sales"}
                assert (asked.action, asked.action_properties) == ("view", {"method": "GET"})
                assert asked.resource.properties == {"owner": "kim", "tags": ["a", {"b": None}]}
                assert asked.context == {"time": "2024-10-26T01:22-07:00"}

    run(main())


def without(member: str, of: str = "") -> dict[str, Any]:
    body = question()
    if of:
        body[of] = {name: value for name, value in body[of].items() if name != member}
        return body
    return {name: value for name, value in body.items() if name != member}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (without("subject"), "body_invalid"),
        (without("action"), "body_invalid"),
        (without("resource"), "body_invalid"),
        (without("type", "subject"), "body_invalid"),
        (without("id", "subject"), "body_invalid"),
        (without("name", "action"), "body_invalid"),
        (without("type", "resource"), "body_invalid"),
        (without("id", "resource"), "body_invalid"),
        (question() | {"subject": "kim"}, "body_invalid"),
        (question() | {"subject": None}, "body_invalid"),
        (question() | {"action": {"name": 123}}, "body_invalid"),
        (question() | {"context": []}, "body_invalid"),
        (question() | {"subject": {**SUBJECT, "properties": 1}}, "body_invalid"),
        (question() | {"options": {"reasons": "yes"}}, "body_invalid"),
        (question() | {"subject": {"type": "user", "id": ""}}, "name_invalid"),
        (question() | {"subject": {"type": "user", "id": "x" * 1025}}, "name_invalid"),
        (question() | {"resource": {"type": "é" * 129, "id": "1"}}, "name_invalid"),
        (question("x" * 257), "name_invalid"),
        (question("misfit"), "property_invalid"),
        ([], "body_invalid"),
        (b"", "body_malformed"),
        (b"{", "body_malformed"),
        (b'{"subject": 1, "subject": 2}', "body_invalid"),
        (b'{"subject":{"type":"workload","type":"user","id":"x"},"action":{"name":"a"},"resource":{"type":"r","id":"1"}}',
         "body_duplicate_key"),
    ],
)  # fmt: skip
def test_what_is_no_question(tmp_path: Path, body: Any, code: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for path in ("/access/v1/evaluation", "/access/v1/evaluations"):
                answer = await ask(stage, "POST", path, body, credentials=BEARER)
                assert (answer.status, answer.json["code"]) == (400, code), answer.body

    run(main())


def test_a_body_that_is_not_said_to_be_json(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(
                stage,
                "POST",
                "/access/v1/evaluation",
                question(),
                credentials=BEARER,
                headers={"Content-Type": "text/plain"},
            )
            assert (answer.status, answer.json["code"]) == (400, "body_media_type")

    run(main())


# --- several --------------------------------------------------------------------------------------------------


def actions(*names: str, semantic: str = "") -> dict[str, Any]:
    options = {"options": {"evaluations_semantic": semantic, "another_option": "value"}} if semantic else {}
    named = [{"action": {"name": name}} for name in names]
    return {"subject": SUBJECT, "resource": RESOURCE, "evaluations": named, **options}


@pytest.mark.parametrize(
    ("semantic", "names", "wanted"),
    [
        ("", ["view", "deny", "view"], [True, False, True]),
        ("execute_all", ["deny", "view", "fail"], [False, True, False]),
        ("deny_on_first_deny", ["view", "deny", "view"], [True, False]),
        ("deny_on_first_deny", ["view", "misfit", "view"], [True, False]),
        ("deny_on_first_deny", ["view", "view"], [True, True]),
        ("permit_on_first_permit", ["deny", "fail", "view", "deny"], [False, False, True]),
        ("permit_on_first_permit", ["view", "deny"], [True]),
        ("permit_on_first_permit", ["deny", "deny"], [False, False]),
    ],
)
def test_semantics(tmp_path: Path, semantic: str, names: list[str], wanted: list[bool]) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = (await several(stage, actions(*names, semantic=semantic))).json
            assert [each["decision"] for each in answer["evaluations"]] == wanted
            assert "decision" not in answer
            assert len(stage.service.questions) == len(wanted)

    run(main())


def test_an_empty_or_missing_list_is_one_question(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for body in (question(), question() | {"evaluations": []}):
                assert (await several(stage, body)).body == b'{"decision":true}'
            assert (await several(stage, {"evaluations": []})).status == 400

    run(main())


def test_defaults_are_replaced_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = {
                "subject": {**SUBJECT, "properties": {"a": 1}},
                "resource": {},
                "context": {"x": 1, "y": 2},
                "evaluations": [
                    {"action": {"name": "view"}, "resource": RESOURCE},
                    {"action": {"name": "edit"}, "resource": {"type": "record", "id": "2"}, "context": {"y": 3}},
                    {"action": {"name": "view"}, "resource": RESOURCE, "subject": {"type": "user", "id": "alex"}},
                ],
            }
            assert (await several(stage, body)).body == (
                b'{"evaluations":[{"decision":true},{"decision":true},{"decision":true}]}'
            )
            asked = [each for _, each in stage.service.questions]
            assert [(each.subject.id, each.action, each.resource.id) for each in asked] == [
                ("kim", "view", "101"),
                ("kim", "edit", "2"),
                ("alex", "view", "101"),
            ]
            assert [each.subject.properties for each in asked] == [{"a": 1}, {"a": 1}, {}]
            assert [each.context for each in asked] == [{"x": 1, "y": 2}, {"y": 3}, {"x": 1, "y": 2}]

    run(main())


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({}, "body_invalid"),
        ({"action": {"name": 1}}, "body_invalid"),
        ({"action": {"name": ""}}, "name_invalid"),
        ({"action": {"name": "misfit"}}, "property_invalid"),
        ({"action": {"name": "a"}, "subject": {"type": "workload", "id": WORKLOAD}}, "action_malformed"),
        ({"action": {"name": "a"}, "subject": {"type": "workload", "id": 7}}, "body_invalid"),
        ({"action": {"name": "a"}, "resource": None}, "body_invalid"),
    ],
)
def test_an_item_that_is_no_question_fails_alone(tmp_path: Path, item: dict[str, Any], code: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = actions("view", "view") | {}
            body["evaluations"].insert(1, item)
            for who in ({"credentials": BEARER}, {"holder": stage.holder()}):
                answer = await several(stage, body, **who)
                assert answer.status == 200, answer.body
                first, bad, last = answer.json["evaluations"]
                assert first == last == {"decision": True}
                assert bad["decision"] is False
                assert bad["context"]["error"]["code"] in (code, "bearer_refused")
                assert bad["context"]["error"]["status"] in (400, 403)

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        actions("view") | {"subject": "kim"},
        actions("view") | {"context": 1},
        actions("view") | {"evaluations": {}},
        actions("view") | {"evaluations": None},
        actions("view") | {"evaluations": [1]},
        actions("view") | {"options": []},
        actions("view", semantic="first_come"),
        actions("view") | {"options": {"evaluations_semantic": None}},
        [],
        b"",
        b"{]",
    ],
)
def test_a_whole_that_is_none(tmp_path: Path, body: Any) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await several(stage, body)
            assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
            assert stage.service.questions == []

    run(main())


def test_more_than_are_answered_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            most = bounds.EVALUATIONS
            assert len((await several(stage, actions(*["view"] * most))).json["evaluations"]) == most
            over = await several(stage, actions(*["view"] * (most + 1)))
            assert (over.status, over.json["code"]) == (400, "too_many_evaluations")

    run(main())


def test_who_may_not_ask_is_refused_as_a_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            stage.service.bearer_may_ask = False
            answer = await several(stage, actions("view", "deny"))
            assert (answer.status, answer.json["code"]) == (403, "no_policy_permits")

    run(main())


def governed(stage: Stage, action: str = "payments/pay", **context: Any) -> dict[str, Any]:
    grant = stage.grant()
    proof = grant.holder().subject_proof(PEP, grant.token, system_clock())
    return {
        "subject": {"type": "workload", "id": WORKLOAD, "properties": {"token": grant.svid, "proof": proof}},
        "action": {"name": action},
        "resource": {"type": "server", "id": "payments"},
        "context": {"task": grant.token, **context},
    }


def test_governed_questions_are_decided_in_their_order_by_the_rule_of_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            first, second, third = (governed(stage, input={"n": number}) for number in range(3))
            second["context"]["probe"] = True
            third["action"]["name"] = "payments/deny"
            body = {"evaluations": [question(), first, second, question("deny"), third, question()]}
            answers = (await several(stage, body, holder=stage.holder())).json["evaluations"]
            assert [each["decision"] for each in answers] == [True, True, True, False, False, True]
            assert answers[1]["context"]["id"].startswith("d_")
            assert "id" not in answers[2]["context"]
            assert answers[3] == {"decision": False}
            kinds = [(kind, asked.input) for kind, asked in stage.service.asks]
            assert kinds == [("authorize", {"n": 0}), ("probe", {"n": 1}), ("authorize", {"n": 2})]

    run(main())


def test_a_proof_and_a_task_may_stand_above_all(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            whole = governed(stage)
            items = [{"action": {"name": name}} for name in ("payments/pay", "payments/deny", "payments/pay")]
            body = {**whole, "evaluations": items, "options": {"evaluations_semantic": "deny_on_first_deny"}}
            answers = (await several(stage, body, holder=stage.holder())).json["evaluations"]
            assert [each["decision"] for each in answers] == [True, False]
            # SECURITY: nothing is decided, and so nothing spent, behind the one that ended it.
            assert [kind for kind, _ in stage.service.asks] == ["authorize", "authorize"]

    run(main())


def test_the_task_token_of_another_in_one_item(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            good, bad = governed(stage), governed(stage)
            bad["context"]["task"] = good["context"]["task"]
            answers = (await several(stage, {"evaluations": [good, bad, good]}, holder=stage.holder())).json
            assert [each["decision"] for each in answers["evaluations"]] == [True, False, True]
            assert answers["evaluations"][1]["context"]["error"]["status"] == 403

    run(main())


@pytest.mark.parametrize("fault", [Conflict("idempotency_conflict", "other arguments"), Unavailable("x", "y")])
def test_what_fails_behind_a_recorded_decision_takes_it_not_away(tmp_path: Path, fault: Exception) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:

            async def fail(*_: Any) -> Any:
                raise fault

            stage.service.question = fail  # type: ignore[method-assign]
            body = {"evaluations": [governed(stage), question(), question()]}
            answer = await several(stage, body, holder=stage.holder())
            assert answer.status == 200
            permitted, *failed = answer.json["evaluations"]
            assert permitted["decision"] is True
            assert [each["context"]["error"]["code"] for each in failed] == [fault.code] * 2  # type: ignore[attr-defined]

    run(main())


# --- search ---------------------------------------------------------------------------------------------------


def search_body(what: str, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"subject": dict(SUBJECT), "resource": dict(RESOURCE), **more}
    if what == "action":
        return body
    body[what].pop("id")
    return {**body, "action": {"name": "view"}}


async def find(stage: Stage, what: str, body: Any) -> Answered:
    return await ask(stage, "POST", f"/access/v1/search/{what}", body, credentials=BEARER)


@pytest.mark.parametrize(
    ("what", "results"),
    [
        ("subject", [{"type": "user", "id": name} for name in "abc"]),
        ("resource", [{"type": "record", "id": name} for name in "abc"]),
        ("action", [{"name": name} for name in "abc"]),
    ],
)
def test_searches(tmp_path: Path, what: str, results: list[Any]) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = search_body(what)
            assert (await find(stage, what, body)).json == {"results": results}
            if what != "action":
                named = {**body, what: {**body[what], "id": "ignored"}}
                assert (await find(stage, what, named)).json == {"results": results}
                assert getattr(stage.service.questions[1][1], what).id == ""
            stage.service.why = "more than can be looked at"
            inexact = (await find(stage, what, body)).json
            assert inexact["context"] == {"exact": False, "why": "more than can be looked at"}
            stage.service.why, stage.service.named = "", ()
            assert (await find(stage, what, body)).body == b'{"results":[]}'

    run(main())


@pytest.mark.parametrize("what", ["subject", "resource", "action"])
def test_page_by_page(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            whole = (await find(stage, what, search_body(what))).json["results"]
            for sends_limit in (True, False):
                page: dict[str, Any] = {"limit": 2}
                first = (await find(stage, what, search_body(what, page=page))).json
                assert list(first) == ["page", "results"]
                assert first["page"]["count"] == 2
                page = {"token": first["page"]["next_token"]} | ({"limit": 2} if sends_limit else {})
                last = (await find(stage, what, search_body(what, page=page))).json
                assert last["page"] == {"next_token": "", "count": 1}
                assert first["results"] + last["results"] == whole
            everything = (await find(stage, what, search_body(what, page={}))).json
            assert everything == {"page": {"next_token": "", "count": 3}, "results": whole}

    run(main())


def test_a_page_of_none_says_whether_there_are_any(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            none = (await find(stage, "subject", search_body("subject", page={"limit": 0}))).json
            assert none["results"] == []
            token = none["page"]["next_token"]
            assert token
            again = (await find(stage, "subject", search_body("subject", page={"limit": 0, "token": token}))).json
            assert again == none
            stage.service.named = ()
            empty = (await find(stage, "subject", search_body("subject", page={"limit": 0}))).json
            assert empty == {"page": {"next_token": "", "count": 0}, "results": []}

    run(main())


@pytest.mark.parametrize("what", ["subject", "resource", "action"])
def test_what_is_found_carries_obligations_and_whoever_can_t_fulfil_them_does_not_find_it(
    tmp_path: Path, what: str
) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            stage.service.found_with = {"b": (Obligation(id="notify", to="audit"),)}
            key = "name" if what == "action" else "id"
            overlooks = (await find(stage, what, search_body(what))).json["results"]
            assert [each[key] for each in overlooks] == ["a", "c"]
            able = search_body(what, context={"supported_obligations": ["notification"]})
            found = (await find(stage, what, able)).json["results"]
            assert [each[key] for each in found] == ["a", "b", "c"]
            [told] = found[1]["obligations"]
            assert (told["type"], told["properties"]["to"]) == ("notification", "audit")
            assert all("obligations" not in each for each in (found[0], found[2]))

    run(main())


def test_a_page_token_of_another_search(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = search_body("resource", page={"limit": 1})
            token = (await find(stage, "resource", body)).json["page"]["next_token"]
            page = {"token": token, "limit": 1}
            assert (await find(stage, "resource", body | {"page": page})).status == 200
            for change in (
                {"subject": {"type": "user", "id": "alex"}},
                {"subject": {**SUBJECT, "properties": {"role": "admin"}}},
                {"action": {"name": "edit"}},
                {"action": {"name": "view", "properties": {"x": 1}}},
                {"resource": {"type": "todo"}},
                {"context": {"time": "now"}},
                {"page": {"token": token, "limit": 2}},
            ):
                answer = await find(stage, "resource", body | {"page": page} | change)
                assert (answer.status, answer.json["code"]) == (400, "page_token_mismatch"), change
            subjects = await find(stage, "subject", search_body("subject", page=page))
            assert (subjects.status, subjects.json["code"]) == (400, "page_token_mismatch")

    run(main())


@pytest.mark.parametrize("token", ["x", "e30", "W10", "WyJhIiwxXQ", "é", "a" * 10_000, "W251bGwsMSwiYSJd", "=", "."])
def test_a_page_token_that_is_made_up(tmp_path: Path, token: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await find(stage, "subject", search_body("subject", page={"token": token}))
            assert (answer.status, answer.json["code"]) == (400, "page_token_invalid")
            assert stage.service.questions == []

    run(main())


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("subject", {"subject": {"type": "user"}, "resource": RESOURCE}),
        ("resource", {"action": {"name": "view"}, "resource": {"type": "record"}}),
        ("action", {"subject": SUBJECT}),
        ("subject", {"subject": {"type": "user"}, "action": {"name": "view"}, "resource": {"type": "record"}}),
        ("resource", {"subject": {"type": "user"}, "action": {"name": "view"}, "resource": {"type": "record"}}),
        ("action", {"subject": {"type": "user"}, "resource": RESOURCE}),
        ("subject", search_body("subject") | {"subject": {}}),
        ("subject", search_body("subject") | {"subject": {"type": ""}}),
        ("subject", search_body("subject", page={"limit": -1})),
        ("subject", search_body("subject", page={"limit": 1.5})),
        ("subject", search_body("subject", page={"limit": "1"})),
        ("subject", search_body("subject", page={"token": None})),
        ("subject", search_body("subject", page=[])),
    ],
)
def test_what_is_no_search(tmp_path: Path, what: str, body: Any) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await find(stage, what, body)
            assert (answer.status, answer.json["code"]) in ((400, "body_invalid"), (400, "name_invalid"))
            assert stage.service.questions == []

    run(main())


def test_a_limit_beyond_what_one_page_holds(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            most = bounds.SEARCH_RESULTS
            stage.service.named = tuple(f"{number:05}" for number in range(most + 1))
            for page in ({"limit": 1 << 80}, {"limit": most + 1}, {}):
                first = (await find(stage, "subject", search_body("subject", page=page))).json
                assert len(first["results"]) == most
                token = first["page"]["next_token"]
                last = (await find(stage, "subject", search_body("subject", page=page | {"token": token}))).json
                assert last["page"] == {"next_token": "", "count": 1}
            unasked = (await find(stage, "subject", search_body("subject"))).json
            assert unasked["page"]["next_token"]

    run(main())


# --- metadata -------------------------------------------------------------------------------------------------


def test_metadata_names_every_endpoint(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            found = (await ask(stage, "GET", "/.well-known/authzen-configuration", tcp=True)).json
            assert found["policy_decision_point"] == stage.url
            endpoints = {name: url for name, url in found.items() if name.endswith("_endpoint")}
            assert endpoints == {
                "access_evaluation_endpoint": f"{stage.url}/access/v1/evaluation",
                "access_evaluations_endpoint": f"{stage.url}/access/v1/evaluations",
                "search_subject_endpoint": f"{stage.url}/access/v1/search/subject",
                "search_resource_endpoint": f"{stage.url}/access/v1/search/resource",
                "search_action_endpoint": f"{stage.url}/access/v1/search/action",
            }
            for url in endpoints.values():
                assert (await ask(stage, "POST", url.removeprefix(stage.url), {}, credentials=BEARER)).status == 400

    run(main())
