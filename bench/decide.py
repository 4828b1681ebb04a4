"""`decide`: probe and durable authorize in process, at 10, 100 and 1,000 policies, beside raw cedarpy.

What Remit adds is measured within the same decisions: the time of each step, less the policy evaluation. The commit
is measured alone, on the same database, with rows of the same size.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cedarpy
import uvloop

from bench.installation import ACTION, INPUT, grant, installation
from bench.result import Claim, Result, percentile
from remit.app.embedded import Embedded
from remit.app.installation import Installation
from remit.policy.engine import Policies

US = 1e6


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    return uvloop.run(_run(200 if quick else 3000))


async def _run(rounds: int) -> Result:
    result = Result()
    commit = commit_alone(rounds // 4)
    result.rows.append({"what": "one commit alone (1.6 KB)", **_row(commit)})
    overheads: list[float] = []
    for count in (10, 100, 1000):
        async with installation(count) as opened:
            held = await grant(opened)
            point = Embedded(opened, "pep/point", owns=False)
            evaluations = _timed_evaluations(opened)

            async def probe(point: Embedded = point, held: Any = held) -> None:
                await point.probe(held, ACTION, INPUT)

            async def authorize(point: Embedded = point, held: Any = held) -> None:
                decision = await point.authorize(held, ACTION, INPUT)
                if not decision.permitted:
                    raise SystemExit(f"the benchmark's own request was denied: {decision.reason}")

            probes = await _time(probe, rounds)
            evaluated = evaluations[-rounds:]
            authorized = await _time(authorize, rounds)
            raw = _raw_cedar(opened, rounds)
            overhead = (percentile(probes, 0.5) - percentile(evaluated, 0.5)) * US
            overheads.append(overhead)
            result.rows += [
                {"what": "probe", "policies": count, **_row(probes)},
                {"what": "  of it policy evaluation", "policies": count, **_row(evaluated)},
                {"what": "authorize, durable", "policies": count, **_row(authorized)},
                {"what": "raw cedarpy, whole set", "policies": count, **_row(raw)},
                {"what": "everything else", "policies": count, "p50_us": round(overhead, 1)},
            ]
    result.claims.append(
        Claim("all but policy evaluation and commit, p50, µs (largest of three)", round(max(overheads), 1), "<=", 150)
    )
    return result


def _timed_evaluations(opened: Installation) -> list[float]:
    """The times of the policy evaluations from now on."""
    times: list[float] = []
    policies = opened.configuration.policies
    evaluate = policies.evaluate

    def timed(*arguments: Any, **more: Any) -> Any:
        started = time.perf_counter()
        answer = evaluate(*arguments, **more)
        times.append(time.perf_counter() - started)
        return answer

    policies.evaluate = timed  # type: ignore[method-assign]  # measured in place
    return times


def _raw_cedar(opened: Installation, rounds: int) -> list[float]:
    """The engine on all policies with the whole context, as a caller would use it: parsed sets, a request per call."""
    seen: dict[str, Any] = {}
    policies: Policies = opened.configuration.policies
    principal = {
        "uid": {"type": "Remit::Workload", "id": "spiffe://bench.internal/workload/agent"},
        "attrs": {"kind": "agent", "owner": "operator", "environment": "production", "roles": ["workload"]},
        "parents": [{"type": "Remit::Group", "id": "agents"}],
    }
    action = {
        "uid": {"type": "Remit::Action", "id": ACTION},
        "attrs": {},
        "parents": [{"type": "Remit::Action", "id": name} for name in ("read", "tools", "orders/*")],
    }
    context = {
        "caller": {"id": "spiffe://bench.internal/pep/point", "isSubject": False, "registered": True},
        "input": INPUT,
        "risk": 0,
        "session": {"calls": 10, "destinations": [], "labels": ["financial"], "untrusted": False},
        "system": {"windows": []},
        "task": {
            "ageSeconds": 3, "depth": 0, "done": {}, "emergency": False, "id": "t_1", "intent": "answer",
            "params": {}, "root": "t_1", "starter": "spiffe://bench.internal/person/operator",
            "usage": {"answer/reads": {"calls": 10}},
        },
    }  # fmt: skip
    entities = cedarpy.Entities.from_json_str(json.dumps([principal, action]))
    parsed = cedarpy.PolicySet.from_str("\n".join(text for _, text in policies.sources()))
    request = {
        "principal": f'Remit::Workload::"{principal["uid"]["id"]}"',
        "action": f'Remit::Action::"{ACTION}"',
        "resource": 'Remit::Server::"orders"',
        "context": context,
    }
    times = []
    for _ in range(max(20, rounds // 10)):
        started = time.perf_counter()
        seen["answer"] = cedarpy.is_authorized(request, parsed, entities)
        times.append(time.perf_counter() - started)
    if not seen["answer"].allowed:
        raise SystemExit(f"the peer denied the same request: {seen['answer'].diagnostics.errors}")
    return times


def commit_alone(rounds: int) -> list[float]:
    """The times of `rounds` durable commits of one row, on plain SQLite."""
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
        db = sqlite3.connect(Path(folder) / "a.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE records (n INTEGER PRIMARY KEY, bytes BLOB)")
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO records(bytes) VALUES (?)", (b"x" * 1600,))
            db.execute("COMMIT")
            times.append(time.perf_counter() - started)
        db.close()
    return times


async def _time(call: Callable[[], Awaitable[None]], rounds: int) -> list[float]:
    for _ in range(min(200, rounds)):
        await call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
        if len(times) % 64 == 0:
            await asyncio.sleep(0)
    return times


def _row(times: list[float]) -> dict[str, float]:
    return {
        "p50_us": round(percentile(times, 0.5) * US, 1),
        "p99_us": round(percentile(times, 0.99) * US, 1),
        "n": len(times),
    }
