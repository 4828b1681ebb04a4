"""Obligations on the wire, and who says which they can fulfil."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import Obligation, Reason
from remit.core.obligations import KNOWN
from remit.sdk.negotiation import (
    ACTIONS,
    TYPES,
    ObligationBody,
    bodies_of,
    declared,
    obligations_of,
    supported,
)

EVERY = (
    Obligation(id="redact", fields=("a", "b.c")),
    Obligation(id="limit", items={"": 5, "rows": 20}, bytes=4096),
    Obligation(id="select", fields=("state",)),
    Obligation(id="notify", to="audit"),
    Obligation(id="notify", to="security"),
    Obligation(id="report_first"),
)
REASON = Reason(code="permitted", message="large payments are told.")


def bodies(*obligations: Obligation) -> tuple[ObligationBody, ...]:
    return bodies_of(obligations, action="payments/pay", permitted=True, reason=REASON, decision="d_1")


def test_the_profile_s_form() -> None:
    assert msgspec.to_builtins(bodies(EVERY[0], EVERY[1], EVERY[4])) == (
        {
            "id": "redact",
            "type": "custom",
            "properties": {"vendor": "remit", "action": "redact", "fields": ["a", "b.c"]},
        },
        {
            "id": "limit",
            "type": "custom",
            "properties": {"vendor": "remit", "action": "limit", "items": {"": 5, "rows": 20}, "bytes": 4096},
        },
        {
            "id": "notify:security",
            "type": "notification",
            "properties": {
                "to": "security",
                "topic": "remit.action.permitted",
                "body": "payments/pay was permitted: large payments are told (decision d_1).",
            },
        },
    )


def test_what_goes_out_comes_back() -> None:
    sent = bodies(*EVERY)
    assert len({body.id for body in sent}) == len(sent)
    back = msgspec.json.decode(msgspec.json.encode(sent), type=tuple[ObligationBody, ...])
    assert obligations_of(back) == EVERY


@pytest.mark.parametrize(
    ("type_", "properties"),
    [
        ("step-up", {"acr_value": "urn:example:loa:3"}),
        ("session_termination", {"subject": "x"}),
        ("redact", {"vendor": "remit", "action": "redact", "fields": ["a"]}),
        ("limit", {}),
        ("notify", {"to": "security"}),
        ("report_first", {}),
        ("", {}),
        ("custom", {}),
        ("custom", {"vendor": "remit"}),
        ("custom", {"vendor": "other", "action": "redact", "fields": ["a"]}),
        ("custom", {"action": "redact", "fields": ["a"]}),
        ("custom", {"vendor": "remit", "action": "watermark"}),
        ("custom", {"vendor": "remit", "action": "notify", "to": "security"}),
        ("custom", {"vendor": "remit", "action": ["redact"]}),
        ("custom", {"vendor": "remit", "action": "redact"}),
        ("custom", {"vendor": "remit", "action": "redact", "fields": []}),
        ("custom", {"vendor": "remit", "action": "redact", "fields": "a"}),
        ("custom", {"vendor": "remit", "action": "redact", "fields": ["a"], "mask": True}),
        ("custom", {"vendor": "remit", "action": "limit", "items": {"a": 0}}),
        ("custom", {"vendor": "remit", "action": "limit", "items": {"a": "5"}}),
        ("custom", {"vendor": "remit", "action": "limit", "bytes": -1}),
        ("custom", {"vendor": "remit", "action": "report_first", "within": 5}),
        ("notification", {}),
        ("notification", {"to": "security"}),
        ("notification", {"to": 5, "body": "x"}),
    ],
)
def test_attack_an_obligation_that_is_not_understood_passes_for_one_that_is(
    type_: str, properties: dict[str, Any]
) -> None:
    [found] = obligations_of([ObligationBody(id="x", type=type_, properties=properties)])
    assert found.id not in KNOWN


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["remit", "redact", "limit", "custom", ""]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_properties = st.fixed_dictionaries(
    {},
    optional={
        "vendor": st.sampled_from(["remit", "other"]) | _json,
        "action": st.sampled_from(sorted(KNOWN)) | _json,
        "fields": _json,
        "items": _json,
        "bytes": _json,
        "to": _json,
        "body": _json,
    },
)


@given(st.sampled_from([*TYPES, "step-up", "redact"]) | st.text(max_size=9), _properties)
def test_any_obligation_is_understood_or_unknown(type_: str, properties: dict[str, Any]) -> None:
    [found] = obligations_of([ObligationBody(id="x", type=type_, properties=properties)])
    if found.id in KNOWN:
        assert type_ in TYPES
        assert found.fields or found.id not in ("redact", "select")


# --- negotiation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "actions", "found"),
    [
        (None, None, set()),
        (None, ["redact"], set()),
        ([], ["redact"], set()),
        (["notification"], None, {"notify"}),
        (["custom"], None, set(ACTIONS)),
        (["custom"], ["redact", "limit"], {"redact", "limit"}),
        (["custom"], [], set()),
        (["custom", "notification"], ["notify", "watermark", "redact"], {"notify", "redact"}),
        (["step-up", "redact", "notify", "Notification"], None, set()),
    ],
)
def test_what_a_caller_said(types: list[str] | None, actions: list[str] | None, found: set[str]) -> None:
    assert supported(types, actions) == found


@given(st.frozensets(st.sampled_from(sorted(KNOWN))))
def test_what_is_declared_is_understood(ids: frozenset[str]) -> None:
    types, actions = declared(ids)
    assert supported(types, actions) == ids
    assert set(types) <= set(TYPES)
