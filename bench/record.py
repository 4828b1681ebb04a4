"""`record`: durable decisions per second with 1, 32 and 256 callers in process, beside plain SQLite commits."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench.decide import commit_alone
from bench.installation import ACTION, INPUT, grant, installation
from bench.result import Claim, Result, percentile
from remit.app.embedded import Embedded

TASKS = 32  # in turn, so that none reaches the bound of a session's calls


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    return uvloop.run(_run(0.5 if quick else 4.0))


async def _run(seconds: float) -> Result:
    result = Result()
    alone = commit_alone(300)
    result.rows.append({"what": "plain SQLite, one row a commit", "per_second": round(len(alone) / sum(alone))})
    for callers in (1, 32, 256):
        async with installation(10) as opened:
            point = Embedded(opened, "pep/point", owns=False)
            grants = [await grant(opened) for _ in range(TASKS)]
            until = time.perf_counter() + seconds
            times: list[float] = []

            async def caller(number: int, point=point, grants=grants, until=until, times=times) -> None:  # type: ignore[no-untyped-def]  # bound in the loop
                turn = number
                while (started := time.perf_counter()) < until:
                    decision = await point.authorize(grants[turn % TASKS], ACTION, INPUT)
                    turn += 1
                    if not decision.permitted:
                        raise SystemExit(f"the benchmark's own request was denied: {decision.reason}")
                    times.append(time.perf_counter() - started)

            began = time.perf_counter()
            await asyncio.gather(*(caller(number) for number in range(callers)))
            rate = len(times) / (time.perf_counter() - began)
            commits = opened.store.gauges()["commits"]
            result.rows.append(
                {
                    "what": "durable decisions",
                    "callers": callers,
                    "per_second": round(rate),
                    "p50_ms": round(percentile(times, 0.5) * 1000, 2),
                    "p99_ms": round(percentile(times, 0.99) * 1000, 2),
                    "per_commit": round(len(times) / max(1, commits), 1),
                }
            )
    rate = result.rows[-1]["per_second"]
    result.claims.append(Claim("durable decisions per second, 256 callers", rate, ">=", 8000))
    return result
