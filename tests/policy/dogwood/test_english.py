"""Clauses in plain English: every operator, readable; and no condition fails or leaves out an event or a window."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.policy.dogwood.ast import Formerly, Leaf, Predicate, Previous, Since
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.english import History, told
from remit.policy.dogwood.extent import conditions
from remit.policy.dogwood.monitor import plan
from tests.policy.dogwood import histories
from tests.policy.dogwood.generating import generated, leaves_of

_UNITS = {"s": "s", "m": "min", "h": "h", "d": "d"}


def sentence(text: str, history: History = "task") -> str:
    leaf = Leaf("p/0", parse(text.replace("@", "Remit::Action::")))
    return told(leaf, plan([leaf]).bounds("p/0"), history).sentence


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            'formerly within 1h @"crm/consent"::response{output.ok: true, input.customer: context.input.customer, '
            "task.root: context.task.root}",
            'holds when, in this task and within 1 h "crm/consent" answered with ok true and for the same customer; '
            "keeps one time per customer, at most 1 h",
        ),
        (
            '!formerly within 5m @"crm/close"::error{input.why: context.input.reason}',
            'holds when, in this task, not once within 5 min "crm/close" failed with why the request\'s reason; '
            "keeps one time per reason, at most 5 min",
        ),
        (
            'exists (n: Long). ((count for (t: Timepoint). where (formerly within 1h (@"crm/export"::permitted{} && '
            "tp(t)))) == n && n < 3)",
            'holds when, in this task, the number of times within 1 h that "crm/export" was permitted is below 3; '
            "keeps each of its times, at most 1 h",
        ),
        (
            'exists (n: Long). ((sum a for (a: Long), (t: Timepoint). where (formerly within 1d (@"pay/send"::permitted'
            "{input.amount: a, callerPrincipal: principal} && tp(t)))) == n && 10 < n && n <= context.input.limit)",
            'holds when, in this task, the sum of `a`, each time within 1 d that "pay/send" was permitted with amount '
            "`a` and for the same principal is above 10 and at most the request's limit; "
            "keeps each of its times with principal and `a`, at most 1 d",
        ),
        (
            '(count for (u: String). where formerly within 1h @"a/b"::request{input.user: u}) > 3',
            'holds when, in this task, the number of different `u` so that within 1 h "a/b" was requested with user '
            "`u` is above 3; keeps one time per `u`, at most 1 h",
        ),
        (
            '(sum a for (a: Long). where formerly within 1h @"a/b"::request{input.n: a}) >= 3',
            'holds when, in this task, the sum of `a` over all different `a` so that within 1 h "a/b" was requested '
            "with n `a` is at least 3; keeps one time per `a`, at most 1 h",
        ),
        (
            '!@"acl/revoke"::response{input.user: context.input.user} since within 1d '
            '@"acl/grant"::response{input.user: context.input.user}',
            'holds when, in this task and within 1 d "acl/grant" answered for the same user, and since then never '
            '"acl/revoke" answered for the same user; keeps 2 times per user, at most 1 d',
        ),
        (
            '@"a/b"::request{input.user: context.input.user} since within 30s @"a/c"::request{}',
            'holds when, in this task and within 30 s "a/c" was requested, and at every event since then "a/b" was '
            "requested for the same user; keeps one time, at most 30 s and since when every event was one, with its "
            "user, at most 30 s",
        ),
        (
            'previous within 10m @"crm/open"::response{output.ok: true}',
            'holds when, in this task, the event before, at most 10 min ago, was one at which "crm/open" answered with '
            "ok true; keeps whether the event before was one, at most 10 min",
        ),
        (
            'exists (u: String). (formerly within 1h @"a/b"::request{input.user: u} && '
            'formerly within 2h (@"a/c"::error{input.user: u} && formerly within 1d @"a/d"::audit{input.user: *}))',
            'holds when, in this task, for some `u`, (within 1 h "a/b" was requested with user `u`, and within 2 h '
            '("a/c" failed with user `u`, and within 1 d before that "a/d" had an event of kind `audit` with any user'
            ")); keeps 2 times per `u`, at most 2 h and one time, at most 1 d",
        ),
        (
            'exists (a: Long). formerly within 1h (@"a/b"::request{input.n: a} && a > context.input.n && a != 4)',
            'holds when, in this task, for some `a`, within 1 h ("a/b" was requested with n `a`, and `a` is above the '
            "request's n, and `a` is not 4); keeps one time per `a`, at most 1 h",
        ),
        (
            'formerly within 1h (!@"a/b"::request{input.user: context.input.user})',
            'holds when, in this task and within 1 h "a/b" was not requested for the same user; keeps every event of '
            "the last 1 h, at most 10,000, and looks through them: it asks at each event for something of the request "
            "that no field of an event tells",
        ),
        (
            '@"a/b"::request{callerPrincipal: Remit::Workload::"bot", input.tags: ["x", context.input.y], '
            'input.rate: decimal("1.50"), input.owner: principal.team}',
            'holds when, at this event, this is the event that "a/b" was requested with callerPrincipal Workload "bot",'
            " with tags [\"x\", the request's y], with rate 1.50 and with owner the principal's team; keeps nothing",
        ),
    ],
)
def test_each_operator_reads_as_a_sentence(text: str, wanted: str) -> None:
    assert sentence(text) == wanted


def test_a_workloads_history_is_about_all_its_tasks() -> None:
    text = 'formerly within 1h @"a/b"::permitted{callerPrincipal: principal}'
    assert sentence(text, "workload") == (
        'holds when, in all tasks of this workload and within 1 h "a/b" was permitted; keeps one time, at most 1 h'
    )


def _assert_told(leaf: Leaf) -> None:
    found = told(leaf, plan([leaf]).bounds(leaf.name))
    assert "\n" not in found.sentence
    assert found.says.count("(") == found.says.count(")")
    for each in conditions(leaf.condition):
        if isinstance(each, Predicate):
            assert f'"{each.action}"' in found.says
        elif isinstance(each, Formerly | Previous | Since):
            assert f"{each.window.amount:,} {_UNITS[each.window.unit]}" in found.says
    assert found.keeps.startswith("keeps ")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_no_condition_fails_or_leaves_out_an_event_or_a_window(seed: int) -> None:
    _assert_told(histories.Conditions(random.Random(seed)).leaf())


def test_neither_do_those_that_the_reference_accepts() -> None:
    for seed in range(60):
        for leaf in leaves_of(generated(seed)):
            _assert_told(leaf)
