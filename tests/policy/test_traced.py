"""A trace shows what was decided: the same policies match and fail as in Cedar's corpus, and unknown stays unknown."""

from __future__ import annotations

import os
import tarfile
from typing import Any

import cedarpy
import msgspec
import pytest

from remit.policy.compiled.values import entity_of, value_of
from remit.policy.traced import UNKNOWN, Request, Trace, known_value, request_of, trace, verdict
from remit.policy.written import written
from tests.policy.compiled.test_corpus import CORPUS, entities_of

EVERY = 1 if os.environ.get("REMIT_FUZZ") else 60  # of the corpus's cases


def policy(text: str) -> dict[str, Any]:
    found = msgspec.json.decode(cedarpy.policies_to_json_str(text))
    (one,) = found["staticPolicies"].values()
    return dict(one)


def traced(text: str, **context: Any) -> Trace:
    request = request_of(
        ("Remit::Workload", "w"),
        ("Remit::Action", "files/read"),
        ("Remit::Server", "files"),
        context,
        [{"uid": {"type": "Remit::Workload", "id": "w"}, "attrs": {"kind": "agent"}, "parents": []}],
    )
    return trace("p", policy(text), request)


def test_the_same_policies_match_and_fail_as_in_the_corpus() -> None:
    if not CORPUS.exists():
        pytest.skip("the outside vectors are not here")
    with tarfile.open(CORPUS) as archive:
        files = {m.name: file.read() for m in archive if (file := archive.extractfile(m)) is not None}
    names = sorted(name for name in files if name.endswith(".json") and not name.endswith("entities.json"))
    for name in names[::EVERY]:
        case = msgspec.json.decode(files[name])
        policies = msgspec.json.decode(cedarpy.policies_to_json_str(files[case["policies"]].decode()))
        if policies["templateLinks"]:
            continue
        entities = entities_of(files, case)
        for asked in case["requests"]:
            request = Request(
                principal=entity_of(asked["principal"]),
                action=entity_of(asked["action"]),
                resource=entity_of(asked["resource"]),
                context=value_of(asked["context"]),
                entities=entities,
            )
            found = [trace(id_, each, request) for id_, each in policies["staticPolicies"].items()]
            assert {each.id for each in found if each.status == "failed"} == set(asked["errors"])
            matched = {effect: {e.id for e in found if e.status == "matched" and e.effect == effect}
                       for effect in ("permit", "forbid")}  # fmt: skip
            permitted = bool(matched["permit"]) and not matched["forbid"]
            assert permitted == (asked["decision"] == "allow")
            assert (matched["forbid"] or matched["permit"]) == set(asked["reason"])
            assert verdict(found) == (permitted and not asked["errors"])


def test_each_clause_has_its_value_and_what_is_skipped_says_so() -> None:
    found = traced(
        """permit (principal, action, resource)
        when { context.n > 3 && (context.name like "a*" || context.missing) && context.n < 5 };""",
        n=7,
        name="abc",
    )
    assert found.status == "not matched"
    (when,) = found.conditions
    assert when.text.startswith("when context.n > 3 && (context.name like")
    first, second, third = when.parts
    assert (first.value, first.parts[0].reads, first.parts[0].value) == (True, "context.n", 7)
    assert [part.state for part in second.parts] == ["value", "skipped"]
    assert third.value is False


def test_an_attribute_that_is_not_there_fails_the_policy_and_says_which() -> None:
    found = traced("forbid (principal, action, resource) unless { context.gone == 1 };", n=1)
    assert found.status == "failed"
    assert found.conditions[0].parts[0].reads == "context.gone"
    assert verdict([found]) is False


def test_what_was_erased_is_unknown_and_so_is_what_depends_on_it() -> None:
    erased = {"erased": "ab" * 32}
    text = 'forbid (principal, action, resource) when { context.name == "alice" };'
    found = traced(text, name=erased)
    assert found.status == "unknown"
    assert verdict([found]) is None
    assert traced(text, name={"personal": "alice"}).status == "matched"
    assert known_value(erased) is UNKNOWN
    # What comes before settles it.
    assert traced(
        'forbid (principal, action, resource) when { false && context.name == "a" };', name=erased
    ).status == ("not matched")


@pytest.mark.parametrize(
    "text",
    [
        "(context.a || context.b) && !context.c",
        "context.a - (context.b - context.c) < -(context.d)",
        'if context has a.b then principal.groups.contains("x") else context["odd name"] == {"k": [1, 2]}',
        'resource in [Remit::Server::"a", Remit::Server::"b"] && principal is Remit::Workload',
        'ip("10.0.0.1").isInRange(ip("10.0.0.0/8")) && context.amount.lessThan(decimal("1.50"))',
    ],
)
def test_written_text_says_the_same_as_what_was_written(text: str) -> None:
    form = policy(f"permit (principal, action, resource) when {{ {text} }};")["conditions"][0]["body"]
    again = policy(f"permit (principal, action, resource) when {{ {written(form)} }};")["conditions"][0]["body"]
    assert again == form


def test_scope_that_does_not_fit_is_shown_and_conditions_are_not_looked_at() -> None:
    found = traced('permit (principal, action == Remit::Action::"files/write", resource) when { context.x };')
    assert (found.status, found.conditions) == ("not matched", ())
    assert [clause.value for clause in found.scope] == [True, False, True]
