"""`load`: 10,000 policies from text to what decides, and what a reload costs those who ask meanwhile.

Cold: a process that knows nothing reads, parses, strictly validates, indexes and compiles all policies. Then the same
in a process that finds the cache of the one before, and after ten policies in ten files have changed; and in a process
that has loaded them before. The time of the processor stands beside the time: on a busy machine they differ.

Reload: `remit up` decides and records at a steady rate, and reads its folder again and again, with ten other policies
each time. A request's time runs from when it was due, so that one delay counts for all who wait behind it. What a
reload adds is the slowest request during reloads, less the slowest of the same traffic without them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from bench import served
from bench.installation import write_project
from bench.processes import Process
from bench.result import Claim, Result, percentile
from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.app.project import load_project
from remit.identity.holder import Holder
from remit.sdk.grant import TaskGrant

T = TypeVar("T")

POLICIES: Final = 10_000
IN_A_FILE: Final = 500
CHANGED: Final = 10
PER_SECOND: Final = 100
MOST_SECONDS: Final = 30  # of traffic without a pause: for so long its proofs hold
CONNECTIONS: Final = 4
QUIET_SECONDS: Final = 4.0
ROUNDS: Final = 5
QUICK: Final = 400  # policies


def run(*, quick: bool = False) -> Result:
    """Measures loading in fresh processes and in a running service."""
    count = QUICK if quick else POLICIES
    result = Result()
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as name:
        folder = write(Path(name) / "p", count)
        cold = _alone(folder, 1)[0]
        result.rows.append({"what": "cold", **cold})
        result.rows.append({"what": "unchanged, by the cache", **_alone(folder, 1)[0]})
        change(folder, 1)
        changed = _alone(folder, 1)[0]
        result.rows.append({"what": f"{CHANGED} changed, by the cache", **changed})
        again = _alone(folder, 2)[1]
        result.rows.append({"what": f"{CHANGED} changed, loaded before", **again})
        result.rows += asyncio.run(_reloads(folder, 1 if quick else ROUNDS, 0.5 if quick else QUIET_SECONDS))
    if not quick:
        quiet, reloading = result.rows[-2:]
        result.claims += [
            Claim("10,000 policies from cold, seconds", cold["seconds"], "<=", 8.0),
            Claim("10,000 policies with 10 changed, seconds", changed["seconds"], "<=", 2.0),
            Claim(
                "delay of the slowest request by a reload, ms",
                round(max(0.0, reloading["max_ms"] - quiet["max_ms"]), 1),
                "<=",
                20.0,
            ),
        ]
    return result


def write(root: Path, count: int) -> Folder:
    """A project with `count` policies in files of 500."""
    root.mkdir()
    write_project(root, count)
    whole = root / "policies" / "guards.cedar"
    policies = whole.read_text("utf-8").split("\n@id")
    whole.unlink()
    texts = [policies[0], *("@id" + policy for policy in policies[1:])]
    for start in range(0, count, max(1, min(IN_A_FILE, count // CHANGED))):
        part = texts[start : start + max(1, min(IN_A_FILE, count // CHANGED))]
        (root / "policies" / f"guards-{start}.cedar").write_text("\n".join(part) + "\n", "utf-8")
    return Folder(root)


def change(folder: Folder, number: int) -> None:
    """Changes the condition of one policy in each of ten files."""
    for file in sorted((folder.root / "policies").iterdir())[:CHANGED]:
        policies = file.read_text("utf-8").split("\n@id")
        place = number % len(policies)
        policies[place] = policies[place].rstrip().removesuffix(";") + f"\nunless {{ context.risk == {number} }};"
        file.write_text("\n@id".join(policies), "utf-8")


def _alone(folder: Folder, times: int) -> list[dict[str, Any]]:
    """What a process of its own says that loading took, as often; ten policies change before each but the first."""
    command = [sys.executable, "-m", "bench.load", str(folder.root), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _load(folder: Folder) -> dict[str, Any]:
    began, used = time.perf_counter(), time.process_time()
    _, configuration = load_project(folder)
    if configuration.policies.compile():
        raise SystemExit("some policies can't be compiled")
    return {
        "policies": len(configuration.policies.refs),
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_s": round(time.process_time() - used, 2),
    }


# --- reloads ----------------------------------------------------------------------------------------------------


async def _reloads(folder: Folder, rounds: int, quiet_seconds: float) -> list[dict[str, Any]]:
    """The same traffic without reloads and with them, in turns."""
    quiet: list[float] = []
    busy: list[float] = []
    seconds: list[float] = []
    with served.served(folder) as process:
        point, grants = await served.tasks(folder)
        async with await connect_as(folder, "person/operator") as operator:
            for number in range(rounds + 1):
                times, _ = await _traffic(process, point, grants, lambda: asyncio.sleep(quiet_seconds))
                if number == 0:
                    continue  # the first requests make ready what all later ones use
                quiet += times
                change(folder, number + 1)
                times, reloaded = await _traffic(process, point, grants, operator.reload)
                busy += times
                seconds.append(reloaded.seconds)
                if reloaded.changed != ("policies",):
                    raise SystemExit("the reload changed something else than policies")
    return [
        {"what": "requests without reloads", **_figures(quiet)},
        {"what": "requests during reloads", "seconds": round(percentile(seconds, 0.5), 2), **_figures(busy)},
    ]


def _figures(times: Sequence[float]) -> dict[str, Any]:
    return {
        "requests": len(times),
        "p50_ms": round(percentile(times, 0.5), 2),
        "p99_ms": round(percentile(times, 0.99), 2),
        "max_ms": round(max(times), 1),
    }


async def _traffic(
    process: Process, point: Holder, grants: Sequence[TaskGrant], until: Callable[[], Awaitable[T]]
) -> tuple[list[float], T]:
    """Decisions that are recorded, at a steady rate, until a task is done: the ms of each, from when it was due."""
    host, _, port = process.url.partition("://")[2].partition(":")
    times: list[float] = []
    requests = list(served.asks(process.url, point, grants, PER_SECOND * MOST_SECONDS, probe=False))
    done = asyncio.ensure_future(until())
    began = time.perf_counter() + 0.05

    async def connection(place: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        number = place
        try:
            while not done.done() and number < len(requests):
                due = began + number / PER_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                writer.write(requests[number])
                await _answer(reader)
                times.append((time.perf_counter() - due) * 1000)
                number += CONNECTIONS
        finally:
            writer.close()

    await asyncio.gather(*(connection(place) for place in range(CONNECTIONS)))
    return times, await done


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"a request of the benchmark was refused: {head!r}")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(int(length.partition(b":")[2]))
    if b'"decision":true' not in body:
        raise SystemExit(f"a request of the benchmark was denied: {body!r}")


def _main() -> None:
    folder, rows = Folder(Path(sys.argv[1])), []
    for number in range(int(sys.argv[2])):
        if number:
            change(folder, 100 + number)
        rows.append(_load(folder))
    print(json.dumps(rows))


if __name__ == "__main__":
    _main()
