"""Recorded decisions of temporal policies, evaluated again from recorded texts and recorded values."""

from __future__ import annotations

from typing import Any

import pytest

from remit.core.errors import InvalidInput
from remit.core.evaluations import Asked, Said
from remit.policy.dogwood import rules
from remit.policy.recorded import RecordedPolicies

LIBRARY = (rules.SHIPPED, rules.shipped())
MACROS = ("policies/macros.dw", 'def temporal seen(?w) { formerly within ?w Remit::Action::"a/read"::response{} };')
EXPORT = (
    "policies/export.dw",
    "permit (action, principal);\n"
    '@id("order")\nforbid (principal, action == Remit::Action::"a/export", resource)\nunless temporal { seen(1h) }\n'
    'when temporal { count_within(1d, Remit::Action::"a/export"::permitted{}) < 3 };\n'
    '@id("risky")\nforbid (principal, action == Remit::Action::"a/export", resource)\n'
    "when { Content::Risk(context.input.text).score > 50 };",
)
WHO = {
    "kind": "agent",
    "id": "spiffe://example.org/workload/x",
    "owner": "o",
    "environment": "",
    "roles": [],
    "groups": [],
}


def policies(*texts: tuple[str, str]) -> RecordedPolicies:
    return RecordedPolicies(texts or (LIBRARY, MACROS, EXPORT), {"a/export": ["tools"], "a/read": ["tools"]}, {})


def said(seen: Any, few: Any, score: int = 3, **without: bool) -> Said:
    context = {
        "temporal": {"order/0": seen, "order/1": few},
        "providers": {"risky/0": {"score": score}},
        "input": {"text": "x"},
    }
    for name in without:
        del context[name]
    (answer,) = policies().evaluate([Asked(WHO, "a/export", ("Server", "a"), context)])
    return answer


def test_values_decide_as_they_were_recorded() -> None:
    assert said(True, True).permitted
    assert said(False, False).permitted
    assert not said(False, True).permitted
    assert said(False, True).matched == ("order",)
    assert said(True, True, score=51).matched == ("risky",)


@pytest.mark.parametrize("without", ["temporal", "providers"])
def test_values_that_are_missing_deny(without: str) -> None:
    answer = said(True, True, **{without: True})
    assert not answer.permitted
    assert answer.failed == ({"temporal": "order", "providers": "risky"}[without],)


def test_a_value_that_is_no_boolean_denies() -> None:
    assert not said("yes", True).permitted


def test_policies_are_told_of_as_they_were_written() -> None:
    told = policies().policy("order")
    assert told is not None
    assert (told.path, told.line, told.effect) == ("policies/export.dw", 2, "forbid")
    assert policies().policy("export#0") is not None


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((LIBRARY, EXPORT), "policies/export.dw:4: there is no macro `seen`"),
        ((MACROS, EXPORT), "there is no macro `count_within`"),
        ((LIBRARY, MACROS, ("policies/macros.dw", MACROS[1])), "is defined in `policies/macros.dw` too"),
        ((("policies/a.dw", "permit(" + "(" * 100_000),), "nested more than"),
        ((("policies/a.dw", "permit();permit"),), "not finished"),
    ],
)
def test_texts_that_can_t_be_read_are_refused(texts: tuple[tuple[str, str], ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        policies(*texts)
