"""Limits and what gives them back: what a service that lies would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ledger.story import (
    AGENT,
    NOON,
    SESSION,
    STARTER,
    Story,
    begin,
    found,
    only,
)

# --- limits ----------------------------------------------------------------------------------------------------------

ONCE = {"name": "pay-invoice/once", "calls": 1, "atMost": None}
TOTAL = {"name": "pay-invoice/total#sum", "calls": None, "atMost": "25.50"}


def spending(*limits: dict[str, Any], **more: Any) -> Story:
    story = begin()
    story.task("t_1.1", limits=list(limits), **more)
    return story


def pay(story: Story, amount: str = "1", limit: str = "pay-invoice/once", **more: Any) -> str:
    return story.decision(**{"task": "t_1.1", "usage": {limit: amount}, **more})


def test_call_over_the_limit(tmp_path: Path) -> None:
    story = spending(ONCE)
    pay(story)
    pay(story)
    only(tmp_path, story, "limits", "the limit `pay-invoice/once` of `t_1.1` is 1, and 2 is spent with this")


def test_amount_over_the_limit(tmp_path: Path) -> None:
    story = spending(TOTAL)
    pay(story, "25.5", "pay-invoice/total#sum")
    pay(story, "0.000000001", "pay-invoice/total#sum")
    said = "the limit `pay-invoice/total#sum` of `t_1.1` is 25.5, and 25.500000001 is spent with this"
    only(tmp_path, story, "limits", said)


def test_sums_are_exact(tmp_path: Path) -> None:
    story = spending({**TOTAL, "atMost": "1000000000000000000000000.3"})
    for amount in ("1000000000000000000000000", "0.1", "0.1", "0.1"):
        pay(story, amount, "pay-invoice/total#sum")
    assert found(tmp_path, story) == []


def test_limit_of_a_parameter(tmp_path: Path) -> None:
    story = spending({**TOTAL, "atMost": "params.most"}, params={"most": "10"})
    pay(story, "10.00", "pay-invoice/total#sum")
    pay(story, "0.01", "pay-invoice/total#sum")
    [(check, said)] = found(tmp_path, story)
    assert (check, "is 10, and 10.01 is spent" in said) == ("limits", True)


def test_limit_of_a_concealed_parameter_is_said_to_be_unchecked(tmp_path: Path) -> None:
    story = spending({**TOTAL, "atMost": "params.most"}, params={"most": {"commitment": "0" * 64}})
    pay(story, "10.00", "pay-invoice/total#sum")
    report = story.verify(tmp_path)
    assert report.findings == []
    assert report.unchecked["limits whose bound is a concealed parameter"] == 1


@pytest.mark.parametrize("bound", ["params.none", "many", "1e9", "NaN", ""])
def test_limit_that_is_no_number(tmp_path: Path, bound: str) -> None:
    story = spending({**TOTAL, "atMost": bound})
    said = "the bound of the limit `pay-invoice/total#sum` is not a decimal number"
    only(tmp_path, story, "limits", said)


@pytest.mark.parametrize("limit", [{"name": "a/b"}, {"name": "a/b", "calls": 1, "atMost": "1"}])
def test_limit_that_bounds_nothing(tmp_path: Path, limit: dict[str, Any]) -> None:
    only(tmp_path, spending(limit), "limits", "the limit `a/b` bounds neither calls nor a sum, or both")


@pytest.mark.parametrize("amount", ["-10", "ten", "1e3", "", "1.0000000001", "٣"])
def test_negative_amount(tmp_path: Path, amount: str) -> None:
    story = spending(TOTAL)
    pay(story, amount, "pay-invoice/total#sum")
    said = f"the amount `{amount}` for `pay-invoice/total#sum` is not a decimal number of 0 or more"
    only(tmp_path, story, "limits", said)


def test_call_that_counts_as_nothing(tmp_path: Path) -> None:
    story = spending(ONCE)
    pay(story, "0")
    only(tmp_path, story, "limits", "the permit counts 0 calls against the limit `pay-invoice/once`")


@pytest.mark.parametrize("covers", [{"actions": ["payments/pay"]}, {"effects": ["pay"]}])
def test_permit_that_does_not_count(tmp_path: Path, covers: dict[str, Any]) -> None:
    story = spending({**ONCE, **covers})
    story.decision(task="t_1.1")
    only(tmp_path, story, "limits", "the permit does not count against the limit `pay-invoice/once`")


def test_permit_that_counts_less_than_its_argument(tmp_path: Path) -> None:
    story = spending({**TOTAL, "sum": "input.amount"})
    pay(story, "1.00", "pay-invoice/total#sum")
    said = "the permit counts 1 against `pay-invoice/total#sum`, which is not `input.amount`"
    only(tmp_path, story, "limits", said)


def test_concealed_amount_is_said_to_be_unchecked(tmp_path: Path) -> None:
    story = spending({**TOTAL, "sum": "input.amount"})
    pay(story, "1", "pay-invoice/total#sum", context={"input": {"amount": {"commitment": "0" * 64}}})
    assert story.verify(tmp_path).unchecked["amounts that are concealed arguments"] == 1


def test_permit_against_a_limit_of_its_own(tmp_path: Path) -> None:
    story = spending(ONCE)
    pay(story, "1", "pay-invoice/other")
    said = "the permit counts against `pay-invoice/other`, which is no limit of its task or those above"
    only(tmp_path, story, "limits", said)


def test_children_share_the_limit_of_their_parent(tmp_path: Path) -> None:
    story = spending(ONCE)
    for child in ("t_1.1.1", "t_1.1.2"):
        story.task(child)
        pay(story, task=child)
    [(check, _)] = found(tmp_path, story)
    assert check == "limits"


@pytest.mark.parametrize(
    ("effect", "result", "released"),
    [
        ("pay", "not_executed", True),
        ("pay", "error", False),
        ("pay", "unknown", False),
        ("pay", "response", False),
        ("read", "not_executed", True),
        ("read", "error", True),
        ("read", "unknown", True),
        ("read", "response", False),
    ],
)
def test_what_gives_a_limit_back(tmp_path: Path, effect: str, result: str, released: bool) -> None:
    story = spending(ONCE)
    first = pay(story, serverEffect=effect)
    story.now += 120_000 if result == "unknown" else 0
    story.outcome(first, result)
    pay(story, serverEffect=effect)
    assert [check for check, _ in found(tmp_path, story)] == ([] if released else ["limits"])


def test_claimed_outcome_gives_nothing_back(tmp_path: Path) -> None:
    story = spending(ONCE)
    first = pay(story)
    story.outcome(first, "not_executed", standing="claimed", by=AGENT)
    pay(story)
    assert [check for check, _ in found(tmp_path, story)] == ["limits"]


def test_resolution_gives_a_limit_back(tmp_path: Path) -> None:
    story = spending(ONCE)
    first = pay(story)
    story.now += 120_000
    story.outcome(first, "unknown")
    story.append(SESSION, "resolution", {"decision": first, "result": "not_executed", "by": STARTER, "reason": ""})
    pay(story)
    assert found(tmp_path, story) == []


def test_late_response_of_a_read_is_spent_again(tmp_path: Path) -> None:
    story = spending({**ONCE, "calls": 2})
    first = pay(story, serverEffect="read")
    story.now += 120_000
    story.outcome(first, "unknown")
    pay(story, serverEffect="read")
    story.outcome(first, "response", started=NOON)
    pay(story, serverEffect="read")
    [(check, said)] = found(tmp_path, story)
    assert (check, "is 2, and 3 is spent" in said) == ("limits", True)


@pytest.mark.parametrize("enforced", [False, True])
def test_observed_permit_may_exceed_and_still_counts(tmp_path: Path, enforced: bool) -> None:
    story = spending(ONCE)
    pay(story, mode="observe", would="deny")
    pay(story, mode="observe", would="deny")
    if enforced:
        pay(story)
    assert [check for check, _ in found(tmp_path, story)] == (["limits"] if enforced else [])


# --- idempotency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["1" * 64, "2" * 64])
def test_one_key_for_two_permits(tmp_path: Path, digest: str) -> None:
    story = begin()
    story.decision("deny", idempotencyKey="k" * 64, digest="3" * 64)
    story.decision(idempotencyKey="k" * 64, digest="1" * 64)
    story.decision(idempotencyKey="k" * 64, digest=digest)
    only(tmp_path, story, "idempotency", f"the key `{'k' * 16}…` was permitted before, as `d_2`")
