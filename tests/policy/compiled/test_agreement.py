"""Generated projects: both evaluators against the reference engine; and disagreements that were once found, by name."""

from __future__ import annotations

import json
import os
from random import Random
from typing import Any

import cedarpy
import msgspec
import pytest
from cedarpy import _internal as cedar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.policy.compiled.bundle import LOOKED_UP, SIZES
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.index import Answer, Index
from remit.policy.compiled.typed_index import answer as answer_of
from remit.policy.compiled.values import entity_of, value_of
from tests.policy.compiled.generating import Generator, links_of
from tests.policy.compiled.sets import entries_in, typed_index

TIMES = int(os.environ.get("REMIT_FUZZ", "1"))
REQUESTS = 4


class Counted:
    """How much of what was generated meant something."""

    requests = typed = refused = decided = failed = 0


@pytest.mark.timeout(120 * TIMES)
def test_generated_projects_are_decided_alike() -> None:
    decided_alike()
    # Engines could agree on nothing: most of it fitted the schema, some did not, some matched, some failed.
    assert Counted.typed > Counted.requests * 0.6
    assert Counted.refused > Counted.requests * 0.05
    assert Counted.decided > Counted.requests * 0.15
    assert Counted.failed > Counted.requests * 0.03


@settings(max_examples=500 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**40), st.integers(1, 4), st.integers(1, 6))
def decided_alike(seed: int, depth: int, count: int) -> None:
    generator = Generator(seed, depth)
    schema = generator.schema()
    text = "\n".join(generator.policy() for _ in range(count))
    compare(schema, text, generator.entities(), [generator.request() for _ in range(REQUESTS)], generator.random)


def compare(
    schema: str, text: str, entities: list[dict[str, Any]], requests: list[dict[str, Any]], random: Random
) -> None:
    """Compares decision, reasons and failures of every request, and whether it fits the schema."""
    policy_set = json.loads(cedarpy.policies_to_json_str(text))
    policy_set["templateLinks"] = links_of(policy_set, random)
    policies = cedar.PolicySet.from_json_str(json.dumps(policy_set))
    parsed = cedar.Schema.from_str(schema)
    known = cedar.Entities.from_json_str(json.dumps(entities), parsed)
    store = EntityStore(msgspec.json.decode(str(known)))
    entries = entries_in(policy_set)
    indices = [Index(entries, sizes=sizes) for sizes in (SIZES, LOOKED_UP)]
    typed = typed_index(entries, schema)
    for request in requests:
        shown = "\n".join((schema, text, json.dumps(policy_set["templateLinks"]), json.dumps(request), str(known)))
        wanted = reference(request, policies, known, None)
        assert wanted is not None, shown
        principal, action, resource = (entity_of(request[name]) for name in ("principal", "action", "resource"))
        for index in indices:
            mine = index.decide(principal, action, resource, value_of(request["context"]), store)
            assert mine == wanted, f"{mine} {wanted}\n{shown}"
        Counted.requests += 1
        Counted.decided += bool(wanted.reasons)
        Counted.failed += bool(wanted.errors)
        fits = reference(request, policies, known, parsed)
        outcome = typed.decide(principal, action, resource, request["context"], store)
        # SECURITY: what the reference refuses as a request of this schema has no typed evaluation.
        assert (outcome is None) is (fits is None), f"{outcome} {fits}\n{shown}"
        if outcome is None:
            Counted.refused += 1
            continue
        Counted.typed += 1
        mine = answer_of(outcome)
        assert mine == wanted, f"typed: {mine} {wanted}\n{shown}"
        kind = typed.kind(principal, action, resource)
        assert kind is not None
        assert not kind.untyped, shown


def reference(request: dict[str, Any], policies: Any, entities: Any, schema: Any) -> Answer | None:
    """What the reference engine answers; None where the request does not fit the schema."""
    asked = {**request, "context": json.dumps(request["context"])}
    answer = json.loads(cedar.is_authorized_batch([asked], policies, entities, schema, False)[0])
    if answer["decision"] not in ("Allow", "Deny"):
        return None
    errors = {each.partition("`")[2].partition("`")[0] for each in answer["diagnostics"]["errors"]}
    return Answer(answer["decision"] == "Allow", frozenset(answer["diagnostics"]["reason"]), frozenset(errors))


# --- disagreements that were found -----------------------------------------------------------------------------------


def test_an_optional_attribute_is_not_read_before_its_test() -> None:
    """Found by generating: of several policies behind `has`, the read was moved before all of them."""
    schema = (
        "entity User; entity Doc;\n"
        "action read appliesTo { principal: [User], resource: [Doc], context: { a?: { b: Long }, c: Bool } };"
    )
    text = "\n".join(
        f"{effect} (principal, action, resource) when {{ context has a && context.a.b > {limit} }};"
        for effect, limit in (("permit", 1), ("permit", 2), ("forbid", 3))
    )
    asked = {
        "principal": {"type": "User", "id": "u"},
        "action": {"type": "Action", "id": "read"},
        "resource": {"type": "Doc", "id": "d"},
    }
    contexts = [{"c": True}, {"a": {"b": 2}, "c": True}, {"a": {"b": 4}, "c": True}, {"a": {}, "c": True}]
    compare(schema, text, [], [{**asked, "context": context} for context in contexts], Random(0))
