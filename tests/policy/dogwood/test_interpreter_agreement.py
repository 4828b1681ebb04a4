"""The interpreter and the reference engine give the same verdicts: also with pins, of a whole trace with several keys.

`REMIT_FUZZ=N` makes it N times as many cases. A case that fails is named by its seed: `smaller` shortens it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.interpreter import Interpretation
from remit.policy.dogwood.temporal import Plan
from remit.policy.dogwood.traces import Point, read
from tests.policy.dogwood.generating import Agreement, assert_agrees, fuzz, generated, leaves_of, seeds
from tests.policy.dogwood.printed import printed
from tests.policy.dogwood.reference import Reference

_PARTS = 4


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    with Reference(patience_s=2) as made:
        yield made


def interpreted(leaves: Sequence[Leaf]) -> Plan:
    return Interpretation(leaves, work_bound=10_000_000)


@pytest.mark.timeout(120 * fuzz())
@pytest.mark.parametrize("part", range(_PARTS))
def test_the_reference_gives_the_same_verdicts(part: int, reference: Reference) -> None:
    agreement = Agreement()
    for seed in seeds(60)[part::_PARTS]:
        agreement += assert_agrees(interpreted, generated(seed, conditions=4), reference)
    # What compares little proves little.
    assert agreement.compared > 0.8 * (agreement.compared + agreement.refused_by_reference + agreement.lost)
    assert 0.1 < agreement.true / agreement.verdicts < 0.6


def test_what_conditions_say_as_text_is_what_they_are() -> None:
    for seed in seeds(150):
        for condition in generated(seed).conditions:
            assert parse(printed(condition)) == condition


def test_traces_that_were_read_give_the_verdicts_of_those_that_were_written() -> None:
    for seed in range(20):
        case = generated(seed)
        again = tuple(read(case.trace()))
        for leaf in leaves_of(case):
            found = [_verdicts(leaf, points) for points in (case.points, again)]
            assert found[0] == found[1]


def _verdicts(leaf: Leaf, points: Sequence[Point]) -> list[bool]:
    monitor = Interpretation([leaf]).start()
    found = []
    for point in points:
        assert point.request is not None
        found.append(monitor.evaluate(point.request, point.event, frozenset({leaf.name}))[leaf.name])
        monitor.observe(point.event)
    return found
