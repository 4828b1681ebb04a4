"""`gateway`: an echo tool over stdio, direct and through `remit gateway`, and one durable commit alone.

The client is the official SDK. The service runs as its own process, as in use. Calls go one after the other, in blocks
that alternate between both ways, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.decide import commit_alone
from bench.result import Claim, Result, percentile
from remit.app.folder import Folder
from remit.app.session import TaskChoice, attached, begin_task
from remit.catalogue.document import load_server
from remit.catalogue.importer import import_server
from remit.catalogue.merge import import_tools
from remit.catalogue.review import mark_reviewed
from remit.core.clock import system_clock
from remit.sdk.grant import VARIABLE

ECHO = [sys.executable, "-P", str(Path(__file__).with_name("echo_server.py"))]
BLOCK = 50
_SETTINGS = """
trust_domain = "bench.internal"
operator = "operator"
workload = "agent"
[service]
listen = ""
[limits]
rate_per_second = 100000
rate_burst = 1000000
[[workloads]]
name = "agent"
kind = "agent"
owner = "operator"
groups = ["agents"]
[[enforcement_points]]
name = "gateway"
owner = "operator"
servers = ["echo"]
[[people]]
name = "operator"
roles = ["starter", "administrator"]
groups = ["staff"]
"""
_INTENT = "description: Echo.\nactions: [echo/echo]\nstarters: [group:staff]\nworkloads: [group:agents]\n"


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    return uvloop.run(_run(100 if quick else 1000))


async def _run(calls: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as name:
        folder = Folder(Path(name))
        await _make(folder)
        async with attached(folder, "pep/gateway"):
            grant = await begin_task(folder, TaskChoice(intent="echo", params={}))
            environment = {**os.environ, VARIABLE: str(folder.run / f"{grant.task}.json")}
            through = [sys.executable, "-m", "remit", "gateway", "--project", name, "--server", "echo", "--", *ECHO]
            async with _client(ECHO, dict(os.environ)) as direct, _client(through, environment) as governed:
                return await _measure(direct, governed, calls)


async def _measure(direct: Client, governed: Client, calls: int) -> Result:
    times: dict[str, list[float]] = {"direct": [], "through remit gateway": []}
    for _ in range(calls // BLOCK):
        for way, client in zip(times, (direct, governed), strict=True):
            for number in range(BLOCK + 10):
                started = time.perf_counter()
                answer = await client.call_tool("echo", {"text": "x" * 64})
                elapsed = time.perf_counter() - started
                if answer.is_error:
                    raise SystemExit(f"the benchmark's own call was refused: {answer.content}")
                if number >= 10:
                    times[way].append(elapsed)
    commits = commit_alone(max(50, calls // 4))
    rows = [
        {
            "what": what,
            "p50_ms": round(percentile(values, 0.5) * 1000, 3),
            "p99_ms": round(percentile(values, 0.99) * 1000, 3),
            "n": len(values),
        }
        for what, values in [*times.items(), ("one commit alone (1.6 KB)", commits)]
    ]
    added = rows[1]["p50_ms"] - rows[0]["p50_ms"]
    rows.append({"what": "added", "p50_ms": round(added, 3)})
    claim = Claim("added at p50 beyond one commit, ms", round(added - rows[2]["p50_ms"], 3), "<=", 2.0)
    return Result(rows, [claim])


async def _make(folder: Folder) -> None:
    for name in ("intents", "catalogue"):
        (folder.root / name).mkdir()
    (folder.root / "remit.toml").write_text(_SETTINGS, "utf-8")
    (folder.root / "intents" / "echo.yaml").write_text(_INTENT, "utf-8")
    path = folder.root / "catalogue" / "echo.yaml"
    path.write_text(import_tools("echo", await import_server(ECHO, "echo"), ()).text, "utf-8")
    mark_reviewed(path, list(load_server(path).entries), "operator", system_clock())


def _client(command: list[str], environment: dict[str, str]) -> Client:
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=environment)
    return Client(stdio_client(parameters, errlog=subprocess.DEVNULL))  # type: ignore[arg-type]  # a descriptor will do


if __name__ == "__main__":
    asyncio.run(_run(50))
