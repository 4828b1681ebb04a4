"""The reference's corpus: what it refuses is refused, and its traces give its verdicts, in both ways of evaluating."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from dogwood import native

from remit.policy.dogwood import acceptance, conditions
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.interpreter import Interpretation
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.monitor import plan
from remit.policy.dogwood.temporal import Plan
from tests.policy.dogwood.cases import Case, Loaded, cases

CASES = cases()
ACCEPTED = [case for case in CASES if not case.refused]
REFUSED = [case for case in CASES if case.refused]
REPLAYED = [case for case in ACCEPTED if case.log]


BATTERY = tomllib.loads((Path(__file__).with_name("corpus") / "acceptance.toml").read_text("utf-8"))


def interpreted(leaves: Iterable[Leaf]) -> Plan:
    return Interpretation(leaves)


def monitored(leaves: Iterable[Leaf]) -> Plan:
    return plan(leaves)


def test_the_cases_are_all_there() -> None:
    assert len(BATTERY["condition"]) == 60
    assert (len(CASES), len(REFUSED), len(REPLAYED)) == (169, 27, 136)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_a_policy_of_the_corpus_is_accepted(case: Case) -> None:
    Loaded(case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_policy_that_the_corpus_refuses_is_refused(case: Case) -> None:
    with pytest.raises(Mistake):
        Loaded(case)


@pytest.mark.parametrize("each", BATTERY["condition"], ids=lambda each: each["name"])
def test_a_condition_is_accepted_as_the_tests_of_the_reference_say(each: dict[str, Any]) -> None:
    action = "Login" if "context" in each["text"] else "Transfer"
    policy = f'permit(principal, action == Drupe::Action::"{action}", resource) when temporal {{ {each["text"]} }};'
    try:
        acceptance.check(conditions.parse(each["text"]))
        accepted = True
    except Mistake:
        accepted = False
    try:
        theirs = native.validate_policy(policy, BATTERY["schema"], None)["passed"]
    except RuntimeError:
        theirs = False
    assert accepted == theirs == each["accepted"]


@pytest.mark.parametrize("make_plan", [interpreted, monitored])
@pytest.mark.parametrize("case", REPLAYED, ids=lambda case: case.name)
def test_a_trace_of_the_corpus_gives_its_verdicts(case: Case, make_plan: type[Plan]) -> None:
    assert Loaded(case).verdicts(case, make_plan) == case.verdicts


@pytest.mark.parametrize("case", [case for case in CASES if not case.lags], ids=lambda case: case.name)
def test_the_installed_reference_says_the_same(case: Case) -> None:
    try:
        found = native.validate_policy(case.policy, case.schema, case.events)
    except RuntimeError:
        assert case.refused
        return
    assert found["passed"] == (not case.refused), found["errors"]
    if case.log and not case.refused:
        lines = native.replay(case.policy, case.schema, case.log, case.events).splitlines()
        assert tuple(line.endswith("true") for line in lines if line.strip()) == case.verdicts


@pytest.mark.parametrize("case", [case for case in CASES if case.lags], ids=lambda case: case.name)
def test_where_the_installed_reference_lags_behind_its_corpus(case: Case) -> None:
    # When this fails, `dogwood-py` has caught up: take `lags` out, and the case out of docs/design/dogwood.md.
    try:
        passed = native.validate_policy(case.policy, case.schema, case.events)["passed"]
    except RuntimeError:
        passed = False
    if case.refused or not passed:
        assert passed == bool(case.refused)
        return
    lines = native.replay(case.policy, case.schema, case.log, case.events).splitlines()
    assert tuple(line.endswith("true") for line in lines if line.strip()) != case.verdicts
