"""A second key: conditions that are taken beside one mean the same over a history that is not divided by it."""

from __future__ import annotations

import contextlib

import pytest

from remit.policy.dogwood import keys
from remit.policy.dogwood.ast import ContextTerm
from remit.policy.dogwood.events import Pinned
from remit.policy.dogwood.history import Exceeded
from remit.policy.dogwood.interpreter import Interpreter
from remit.policy.dogwood.mistakes import Mistake
from tests.policy.dogwood.generating import Case, asked, generated, leaves_of, seeds
from tests.policy.dogwood.reference import Reference

SECOND = (Pinned(("callerPrincipal",), ContextTerm(("any",))),)


def is_taken(case: Case, number: int) -> bool:
    try:
        keys.check(case.conditions[number], SECOND)
    except Mistake:
        return False
    return True


def test_what_is_taken_holds_just_where_it_does_in_a_history_of_its_own() -> None:
    # The reference, which divides by every pin, against one history of everything.
    compared = held = refused = 0
    with Reference() as reference:
        for seed in seeds(12, first=50_000):
            case = generated(seed)
            if not case.kinds.key:
                continue
            answers = asked(case, reference)
            for number, (leaf, answer) in enumerate(zip(leaves_of(case), answers, strict=True)):
                if answer.refused or answer.lost:
                    continue
                if not is_taken(case, number):
                    refused += 1
                    continue
                verdicts = dict(answer.verdicts)
                monitor = Interpreter([leaf])
                for place, point in enumerate(case.points):
                    if case.decides(point) and case.key_of(point.event) is not None:
                        assert point.request is not None
                        with contextlib.suppress(Exceeded):
                            found = monitor.evaluate(point.request, point.event, frozenset([leaf.name]))[leaf.name]
                            assert found == verdicts[place], case.policy(case.conditions[number])
                            compared += 1
                            held += found
                    monitor.observe(point.event)
    assert compared > 40
    assert held > compared // 20
    assert refused > 3


@pytest.mark.parametrize("second", [(), SECOND])
def test_without_a_second_key_nothing_is_refused(second: tuple[Pinned, ...]) -> None:
    case = next(case for case in map(generated, range(1000)) if not is_taken(case, 0))
    if second:
        with pytest.raises(Mistake):
            keys.check(case.conditions[0], second)
    else:
        keys.check(case.conditions[0], second)
