"""The index leaves out only what is false without failing: attacks on it, and many policies at random."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import cedarpy
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.policy.compiled.bundle import LOOKED_UP, SIZES, Bundle, Entry, Sizes
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.index import Answer, Index, compiled
from remit.policy.compiled.values import entity_of, value_of

ENTITIES: list[dict[str, Any]] = [
    {"uid": {"type": "Group", "id": "all"}, "attrs": {}, "parents": []},
    {"uid": {"type": "Group", "id": "staff"}, "attrs": {}, "parents": [{"type": "Group", "id": "all"}]},
    {
        "uid": {"type": "User", "id": "ada"},
        "attrs": {"environment": "production", "level": 3, "manager": {"__entity": {"type": "User", "id": "bob"}}},
        "parents": [{"type": "Group", "id": "staff"}],
        "tags": {"team": "a"},
    },
    {"uid": {"type": "User", "id": "bob"}, "attrs": {"environment": "test"}, "parents": []},
    {"uid": {"type": "Server", "id": "mail"}, "attrs": {}, "parents": []},
    {"uid": {"type": "Tool", "id": "send"}, "attrs": {"open": True}, "parents": [{"type": "Server", "id": "mail"}]},
    {"uid": {"type": "Action", "id": "write"}, "attrs": {}, "parents": []},
    {"uid": {"type": "Action", "id": "call"}, "attrs": {}, "parents": [{"type": "Action", "id": "write"}]},
]
REQUEST = {
    "principal": {"type": "User", "id": "ada"},
    "action": {"type": "Action", "id": "call"},
    "resource": {"type": "Tool", "id": "send"},
}
CONTEXT: dict[str, Any] = {
    "task": {"intent": "refund", "case": "open"},
    "risk": 40,
    "labels": ["pii", "internal"],
    "calm": True,
    "who": {"__entity": {"type": "User", "id": "bob"}},
    "destination": {"host": "a.example", "port": 443},
}
STORE = EntityStore(ENTITIES)


def reference(text: str, context: Mapping[str, Any], **parts: Any) -> Answer:
    said = cedarpy.is_authorized({**REQUEST, **parts, "context": context}, text, ENTITIES)
    errors = {error.split("`")[1] for error in said.diagnostics.errors}
    return Answer(said.allowed, frozenset(said.diagnostics.reasons), frozenset(errors))


def looked_up(text: str, context: Mapping[str, Any], sizes: Sizes = LOOKED_UP, **parts: Any) -> Answer:
    index = compiled(msgspec.json.decode(cedarpy.policies_to_json_str(text)), sizes)
    asked = {**REQUEST, **parts}
    named = (entity_of(asked[name]) for name in ("principal", "action", "resource"))
    return index.decide(*named, value_of(context), STORE)


def compare(text: str, context: Mapping[str, Any], **parts: Any) -> Answer:
    wanted = reference(text, context, **parts)
    for sizes in (LOOKED_UP, SIZES, Sizes(few=0, shared=2, own=0)):
        assert looked_up(text, context, sizes, **parts) == wanted, text
    return wanted


def policies(*conditions: str, head: str = "principal, action, resource") -> str:
    """A permit for everything, and a forbid for each condition (`policy1`, …)."""
    forbids = [f"forbid ({head}) {condition};" for condition in conditions]
    return "\n".join(["permit (principal, action, resource);", *forbids])


# --- attacks: no forbid is missed through the index ---------------------------------------------------------------


def test_leaving_a_fact_out_does_not_step_around_a_forbid_that_asks_for_it() -> None:
    text = policies('when { context.task.intent == "refund" }', 'when { context.task.case == "x" && context.risk > 1 }')
    without = {name: value for name, value in CONTEXT.items() if name != "task"}
    assert compare(text, CONTEXT).reasons == {"policy1"}
    assert compare(text, without).errors == {"policy1", "policy2"}


def test_a_fact_of_another_type_does_not_step_around_a_forbid() -> None:
    text = policies("when { context.risk > 30 }", 'when { context.labels.contains("pii") }', "when { context.calm }")
    assert compare(text, CONTEXT).reasons == {"policy1", "policy2", "policy3"}
    for wrong in ({"risk": "41"}, {"risk": True}, {"labels": "pii"}, {"labels": {"pii": True}}, {"calm": 1}):
        assert len(compare(text, CONTEXT | wrong).errors) == 1


def test_a_failure_before_the_false_condition_is_a_failure() -> None:
    text = policies(
        'when { context.gone == 1 && context.task.intent == "other" }',
        'when { context.task.intent == "other" && context.gone == 1 }',
        'when { context.gone.deeper == 1 } when { context.task.intent == "other" }',
        'unless { context.task.intent == "refund" } when { context.gone }',
        'when { context.gone } unless { context.task.intent == "refund" }',
        'unless { context.task.intent == "refund" || context.gone }',
        'unless { context.gone || context.task.intent == "refund" }',
    )
    assert compare(text, CONTEXT).errors == {"policy1", "policy3", "policy5", "policy7"}


def test_a_condition_that_no_family_takes_hides_nothing_behind_it() -> None:
    text = policies(
        'when { 9223372036854775807 + context.risk > 0 && context.task.intent == "other" }',
        'when { context.task.intent == "other" && 9223372036854775807 + context.risk > 0 }',
        'when { (if context.calm then context.gone else false) && context.task.intent == "other" }',
    )
    assert compare(text, CONTEXT).errors == {"policy1", "policy3"}


def test_true_is_not_one_and_a_text_is_no_entity() -> None:
    text = policies(
        "when { context.x == 1 }",
        "when { context.x == true }",
        'when { context.x == "1" }',
        'when { context.x == User::"1" }',
        'when { context.x != User::"1" }',
        "when { context.x == [1, true] }",
        'when { context.x == {"a": 1} }',
        'when { decimal("1.0") == context.x }',
    )
    for value in (
        1, True, "1", {"__entity": {"type": "User", "id": "1"}}, [True, 1, 1], {"a": 1}, {"a": True}, [],
        {"__extn": {"fn": "decimal", "arg": "1.00"}},
    ):  # fmt: skip
        compare(text, {"x": value})


def test_a_tested_fact_that_is_missing_is_false_and_one_below_it_fails() -> None:
    text = policies(
        'when { context has destination && context.destination.host == "a.example" }',
        'when { context has destination && context.destination.host like "*.example" }',
        'when { context has destination && context.destination has host && context.destination.host == "a.example" }',
        "unless { context has destination && context.destination.port < 1024 }",
        'when { context has destination } when { context.destination.host != "b" }',
        'unless { context has destination } when { context.destination.host == "x" }',
        'when { !(context has destination) && context.destination.host == "x" }',
        'when { context has destination.host && context.destination.host == "a.example" }',
    )
    for context in (
        CONTEXT,
        CONTEXT | {"destination": {}},
        CONTEXT | {"destination": {"host": 1}},
        CONTEXT | {"destination": "a.example"},
        {name: value for name, value in CONTEXT.items() if name != "destination"},
    ):
        compare(text, context)


def test_attributes_of_an_entity_that_nobody_gave_fail() -> None:
    text = policies(
        'when { principal.environment == "production" }',
        'when { context.who.environment == "test" }',
        'when { principal has manager && principal.manager.environment == "test" }',
        "when { principal.level >= 3 }",
        'when { context.who in Group::"staff" }',
        'when { principal in [Group::"all", Group::"x"] }',
        "when { resource.open }",
        "when { context.who is Server }",
    )
    compare(text, CONTEXT)
    stranger = {"type": "User", "id": "eve"}
    assert "policy1" in compare(text, CONTEXT, principal=stranger).errors
    compare(text, CONTEXT | {"who": {"__entity": stranger}})
    compare(text, CONTEXT | {"who": "bob"})
    compare(text, CONTEXT, resource={"type": "Tool", "id": "other"})


def test_scopes_are_exact_where_no_policy_is_evaluated() -> None:
    heads = [
        f"{principal}, {action}, {resource}"
        for principal in (
            "principal", 'principal == User::"ada"', 'principal == Group::"staff"', 'principal in Group::"all"',
            "principal is User", 'principal is Group in Group::"all"', 'principal is User in Group::"staff"',
        )
        for action in ("action", 'action == Action::"call"', 'action == Action::"write"', 'action in Action::"write"',
                       'action in [Action::"write", Action::"call"]')
        for resource in ("resource", 'resource == Tool::"send"', 'resource == Server::"mail"',
                         'resource in Server::"mail"', "resource is Tool", 'resource is Tool in Server::"mail"')
    ]  # fmt: skip
    text = "\n".join(f"permit ({head});" for head in heads)
    assert len(compare(text, CONTEXT).reasons) > 30
    compare(text, CONTEXT, principal={"type": "Group", "id": "staff"})
    compare(text, CONTEXT, resource={"type": "Server", "id": "mail"})
    compare(text, CONTEXT, action={"type": "Action", "id": "write"})


def test_bundles_for_any_resource_look_at_it() -> None:
    text = "\n".join(
        f"permit (principal, action, {resource});"
        for resource in ('resource == Tool::"send"', 'resource in Server::"mail"', 'resource is Tool in Server::"mail"')
    )
    parsed = msgspec.json.decode(cedarpy.policies_to_json_str(text))["staticPolicies"]
    entries = [Entry(id_, place, policy) for place, (id_, policy) in enumerate(parsed.items())]
    index = Index(entries, any_resource=True, sizes=LOOKED_UP)
    for resource in ({"type": "Tool", "id": "send"}, {"type": "Server", "id": "mail"}, {"type": "Tool", "id": "x"}):
        named = (entity_of(each) for each in ({"type": "User", "id": "ada"}, REQUEST["action"], resource))
        assert index.decide(*named, {}, STORE) == reference(text, {}, resource=resource)


def test_negations_and_either_order_mean_the_same() -> None:
    text = policies(
        *(
            f"{kind} {{ {not_}({condition}) }}"
            for kind in ("when", "unless")
            for not_ in ("", "!", "!!")
            for condition in (
                "context.risk < 40", "40 >= context.risk", "context.risk > 39", "41 > context.risk",
                'context.labels.contains("pii")', 'context.labels.contains("x")', "context.calm",
                'context.task.intent != "refund"', '"refund" == context.task.intent', "context has gone",
                'principal in Group::"all"', "principal is Group", 'context.who == User::"bob"',
                'context.risk < 50 && context.calm', "context.risk < 50 || context.gone",
            )
        )
    )  # fmt: skip
    for risk in (39, 40, 41, -(2**63), 2**63 - 1):
        compare(text, CONTEXT | {"risk": risk})


# --- many policies at random ---------------------------------------------------------------------------------------

ATOMS = [
    'context.task.intent == "refund"', 'context.task.intent == "other"', 'context.task.case != "open"',
    'context.risk < 40', "context.risk >= 40", "context.risk <= 39", "100 > context.risk", "context.calm",
    'context.labels.contains("pii")', '!context.labels.contains("secret")', "context has destination",
    'context.destination.host like "*.example"', "context.destination.port == 443", "context.gone == 1",
    'principal.environment == "production"', 'principal in Group::"all"', "principal is User", "resource.open",
    'context.who in Group::"staff"', 'context.who.environment == "test"', "context.risk + 1 > 40",
    'context.labels.containsAny(["x", "pii"])', "context has task.intent", 'principal.hasTag("team")',
    'resource in Server::"mail"', 'action in [Action::"write"]', "context.calm || context.gone",
    "9223372036854775807 + context.risk > 0", "context.task == context.task", "context.risk == 40",
]  # fmt: skip
_condition = st.builds(
    lambda kind, parts, joint: f"{kind} {{ {joint.join(parts)} }}",
    st.sampled_from(["when", "unless"]),
    st.lists(
        st.sampled_from(ATOMS).flatmap(lambda each: st.sampled_from([each, f"!({each})"])), min_size=1, max_size=4
    ),
    st.sampled_from([" && ", " && ", " || "]),
)
_policy = st.builds(
    lambda effect, head, conditions: f"{effect} ({head}) {' '.join(conditions)};",
    st.sampled_from(["permit", "forbid"]),
    st.sampled_from(["principal, action, resource", 'principal in Group::"staff", action, resource is Tool']),
    st.lists(_condition, max_size=3),
)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "risk": st.sampled_from([39, 40, "40", True]),
        "labels": st.sampled_from([[], ["secret", "x"], "pii", [1]]),
        "calm": st.sampled_from([False, 1]),
        "task": st.sampled_from([{"intent": "other"}, {}, "refund", {"intent": 1, "case": "open"}]),
        "who": st.sampled_from([{"__entity": {"type": "User", "id": "eve"}}, "bob"]),
        "destination": st.sampled_from([{}, {"host": "b"}, 1]),
    },
)


@given(st.lists(_policy, min_size=1, max_size=25), _changes, st.sets(st.sampled_from(sorted(CONTEXT)), max_size=2))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_looked_up_answers_as_the_reference_engine(
    texts: list[str], changes: dict[str, Any], gone: set[str]
) -> None:
    compare("\n".join(texts), {name: value for name, value in (CONTEXT | changes).items() if name not in gone})


@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_policies_without_scope_answer_as_the_reference_engine(seed: int) -> None:
    drawn = random.Random(seed)
    atoms = [*ATOMS, *(f'context.task.intent == "i{number}"' for number in range(200))]
    atoms += [f"context.risk < {number}" for number in range(0, 100, 3)]
    text = "\n".join(
        f"{drawn.choice(['permit', 'forbid'])} (principal, action, resource) "
        f"when {{ {' && '.join(drawn.choice(atoms) for _ in range(drawn.randint(1, 4)))} }};"
        for _ in range(1_000)
    )
    policy_set = cedarpy.PolicySet.from_str(text)
    index = compiled(json.loads(cedarpy.policies_to_json_str(text)))
    named = [entity_of(REQUEST[name]) for name in ("principal", "action", "resource")]
    for intent in ("refund", "i7", "none"):
        for risk in (0, 40, 99):
            for gone in ("", "destination", "risk"):
                context = CONTEXT | {"task": {"intent": intent, "case": "open"}, "risk": risk}
                context.pop(gone, None)
                said = cedarpy.is_authorized(
                    {**REQUEST, "context": context}, policy_set, cedarpy.Entities.from_json_str(json.dumps(ENTITIES))
                )
                errors = frozenset(error.split("`")[1] for error in said.diagnostics.errors)
                wanted = Answer(said.allowed, frozenset(said.diagnostics.reasons), errors)
                assert index.decide(*named, value_of(context), STORE) == wanted


def test_of_ten_thousand_policies_without_scope_few_are_evaluated() -> None:
    text = "\n".join(
        "forbid (principal, action, resource) "
        f'when {{ context.task.intent == "i{number}" && context.risk + {number} > 2 }};'
        for number in range(10_000)
    )
    parsed = msgspec.json.decode(cedarpy.policies_to_json_str(text))["staticPolicies"]
    entries = [Entry(id_, place, policy) for place, (id_, policy) in enumerate(parsed.items())]
    index = Index(entries)
    named = [entity_of(REQUEST[name]) for name in ("principal", "action", "resource")]
    index.decide(*named, value_of(CONTEXT | {"task": {"intent": "i77"}}), STORE)
    assert [entry.id for entry in entries if entry.matches is not None] == ["policy77"]


def test_a_bundle_is_prepared_once() -> None:
    entry = Entry(
        "a",
        0,
        json.loads(cedarpy.policies_to_json_str("permit (principal, action, resource);"))["staticPolicies"]["policy0"],
    )
    bundle = Bundle([entry], sizes=LOOKED_UP)
    assert bundle.prepare() is bundle.prepare()
