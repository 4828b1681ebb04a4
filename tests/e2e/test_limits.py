"""Concurrent calls against a limit, over the real service: never one more than the limit."""

from __future__ import annotations

import asyncio

import pytest

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.core.decisions import Decision
from remit.sdk.grant import TaskGrant
from tests.e2e.service import grants, point, service, told

TASKS = 1_000
AT_ONCE = 25


@pytest.mark.timeout(600)
def test_two_concurrent_calls_against_a_limit_of_one_exactly_one_passes_1000_of_1000(folder: Folder) -> None:
    async def race() -> list[list[Decision]]:
        """Two enforcement points' connections ask at the same time, for each task."""
        held = await grants(folder, "once", TASKS)
        async with await point(folder) as one, await point(folder) as other:

            async def pair(number: int, grant: TaskGrant) -> list[Decision]:
                input = {"order": f"O-{number}"}
                first, second = (one, other) if number % 2 else (other, one)
                asked = (client.authorize(grant, "orders/close", input) for client in (first, second))
                return list(await asyncio.gather(*asked))

            found: list[list[Decision]] = []
            for begin in range(0, TASKS, AT_ONCE):
                batch = (pair(number, held[number]) for number in range(begin, begin + AT_ONCE))
                found.extend(await asyncio.gather(*batch))
            return found

    with service(folder):
        pairs = asyncio.run(race())
    assert len(pairs) == TASKS
    passed = [sum(decision.permitted for decision in pair) for pair in pairs]
    assert passed == [1] * TASKS
    refused = {decision.reason.code for pair in pairs for decision in pair if not decision.permitted}
    assert refused == {"limit_reached"}
    report = verify_folder(folder)
    assert told(report) == []
    assert report.permits >= TASKS


def test_many_concurrent_calls_never_spend_more_than_a_sum_allows(folder: Folder) -> None:
    async def race() -> list[Decision]:
        (held,) = await grants(folder, "sum", 1)
        async with await point(folder) as one, await point(folder) as other:
            asked = [
                (one, other)[number % 2].authorize(held, "orders/refund", {"order": f"O-{number}", "amount": 7.5})
                for number in range(64)
            ]
            return list(await asyncio.gather(*asked))

    with service(folder):
        decisions = asyncio.run(race())
    assert sum(decision.permitted for decision in decisions) == 13  # 13 x 7.5 = 97.5
    assert told(verify_folder(folder)) == []
