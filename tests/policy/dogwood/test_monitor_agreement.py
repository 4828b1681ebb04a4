"""Monitors give the verdicts of the interpreter and of the reference engine, whatever is stored, restored or rebuilt.

`REMIT_FUZZ=N` makes it N times as many cases. A case that fails is named by its seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.interpreter import Interpreter
from remit.policy.dogwood.monitor import Plan, plan
from tests.policy.dogwood import histories
from tests.policy.dogwood.generating import Agreement, assert_agrees, fuzz, generated, seeds
from tests.policy.dogwood.reference import Reference

_ENOUGH = 100_000


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    with Reference(patience_s=5) as made:
        yield made


def planned(leaves: Sequence[Leaf]) -> Plan:
    return plan(leaves, _ENOUGH)


@pytest.mark.timeout(120 * fuzz())
def test_the_reference_gives_the_same_verdicts(reference: Reference) -> None:
    agreement = Agreement()
    for seed in seeds(25, first=500_000):
        agreement += assert_agrees(planned, generated(seed, conditions=4), reference)
    assert agreement.refused_by_plan == 0
    assert agreement.compared > 0.8 * (agreement.compared + agreement.refused_by_reference + agreement.lost)


@pytest.mark.timeout(120 * fuzz())
def test_the_interpreter_gives_the_same_verdicts_to_every_request() -> None:
    incremental = asked = true = 0
    for seed in seeds(180):
        chance = random.Random(seed)
        making = histories.Conditions(chance)
        make = making.leaf if seed % 3 == 0 else making.likely
        leaves = [make(f"p/{number}") for number in range(chance.choice((1, 2, 4)))]
        names = frozenset(leaf.name for leaf in leaves)
        found = planned(leaves)
        incremental += sum(not found.bounds(name).replayed for name in names)
        asked += len(names)
        monitor, oracle = found.start(), Interpreter(leaves, _ENOUGH, 10**9)
        for event in histories.trace(chance, chance.choice((10, 30))):
            for _ in range(2):
                request = histories.request(chance)
                answers = monitor.evaluate(request, event, names)
                assert answers == oracle.evaluate(request, event, names), f"seed {seed}"
                true += any(answers.values())
            monitor.observe(event)
            oracle.observe(event)
            if chance.random() < 0.1:
                monitor = planned(leaves).restore(monitor.dump())
    # What is looked through in both proves nothing about state.
    assert incremental > 0.5 * asked
    assert true > asked


def test_a_state_rebuilt_from_all_events_is_the_same_bytes() -> None:
    for seed in seeds(60):
        chance = random.Random(seed)
        making = histories.Conditions(chance)
        leaf = making.leaf() if seed % 2 else making.likely()
        events = histories.trace(chance, 40)
        before, after = planned([leaf]).start(), planned([leaf]).start()
        for number, event in enumerate(events):
            before.observe(event)
            if number == 20:
                before = planned([leaf]).restore(before.dump())
        for event in events:
            after.observe(event)
        assert before.dump() == after.dump(), f"seed {seed}"


def test_a_state_rebuilt_from_the_events_that_it_reaches_back_to_gives_the_same_verdicts() -> None:
    for seed in seeds(60):
        chance = random.Random(seed)
        making = histories.Conditions(chance)
        leaf = making.leaf() if seed % 2 else making.likely()
        found = planned([leaf])
        reach = found.bounds(leaf.name).reach
        events = histories.trace(chance, 40)
        whole = found.start()
        for number, event in enumerate(events):
            rebuilt = found.start()
            for each in events[:number]:
                if each.at >= event.at - reach:
                    rebuilt.observe(each)
            request, names = histories.request(chance), frozenset({leaf.name})
            assert whole.evaluate(request, event, names) == rebuilt.evaluate(request, event, names), f"seed {seed}"
            whole.observe(event)
