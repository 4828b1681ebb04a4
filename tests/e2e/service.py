"""A project folder and its service as a process of its own, started, stopped and killed by tests."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import uvloop

from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.app.local import connect_as, is_served
from remit.app.records import reader_of
from remit.app.service import run_service
from remit.core.settings import read_settings
from remit.core.tasks import TaskRequest
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.ledger.findings import Report
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant

START_SECONDS = 30.0
REMIT = (sys.executable, "-m", "remit")

SETTINGS = """
trust_domain = "e2e.example"
operator = "alice"
workload = "agent"
[service]
listen = ""
[limits]
rate_per_second = 100000
rate_burst = 1000000
outcome_seconds = 3
[[workloads]]
name = "agent"
kind = "agent"
owner = "alice"
groups = ["agents"]
[[enforcement_points]]
name = "gateway"
owner = "alice"
servers = ["orders", "echo"]
[[people]]
name = "alice"
roles = ["starter", "administrator"]
groups = ["staff"]
"""
INTENT = """\
description: Work on orders.
effects: [read, write]
starters: [group:staff]
workloads: [group:agents]
"""
INTENTS = {
    "work": "limits:\n  - {name: many, effects: [read, write], calls: 1000000}\n",
    "once": "limits:\n  - {name: one-close, actions: [orders/close], calls: 1}\n",
    "sum": "limits:\n  - {name: hundred, actions: [orders/refund], sum: input.amount, at_most: '100'}\n",
}
TOOL = """
  {name}:
    effect: {effect}
    selectors: [order]
    trusted: true
    labels: [internal]
    select: {{state: string}}
    reviewed: true
    input_schema: |-
      {{"type": "object", "required": ["order"],
       "properties": {{"order": {{"type": "string"}}, "amount": {{"type": "number"}}}}}}
"""


def write_project(root: Path) -> Folder:
    """A small project: one agent, one enforcement point, orders to get, close and refund."""
    for name in ("intents", "catalogue"):
        (root / name).mkdir(parents=True)
    (root / "remit.toml").write_text(SETTINGS)
    for name, limits in INTENTS.items():
        head = (
            "description: Work on orders.\neffects: [read, write]\nstarters: [group:staff]\nworkloads: [group:agents]\n"
        )
        (root / "intents" / f"{name}.yaml").write_text(head + limits)
    tools = [("get", "read"), ("close", "write"), ("refund", "write")]
    text = "server: orders\ntools:" + "".join(TOOL.format(name=name, effect=effect) for name, effect in tools)
    (root / "catalogue" / "orders.yaml").write_text(text)
    return Folder(root)


class Service:
    """`remit up --plain` in a process of its own; its output is kept in `service.log`."""

    def __init__(self, folder: Folder, *options: str) -> None:
        self.folder = folder
        self.log = folder.root / "service.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*REMIT, "up", "--plain", "--project", str(folder.root), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # without the terminal of whoever runs the tests
            )
        try:
            wait_served(folder, lambda: self.process.poll() is None)
        except TimeoutError:
            self.kill()
            raise AssertionError(self.log.read_text()) from None

    def stop(self) -> int:
        """Stops it as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(20)


@contextmanager
def service(folder: Folder, *options: str) -> Iterator[Service]:
    """A service for a block; it is stopped at the end, and must have stopped well."""
    running = Service(folder, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            assert running.stop() == 0, running.log.read_text()


def wait_served(folder: Folder, alive: object = None) -> None:
    """Returns when a service answers; TimeoutError when the process ended first, or took too long."""
    until = time.monotonic() + START_SECONDS
    while not is_served(folder):
        if time.monotonic() > until or (callable(alive) and not alive()):
            raise TimeoutError("no service came up")
        time.sleep(0.01)


def service_pid(folder: Folder) -> int:
    """The process that has the folder, as its lock file names it."""
    return int(folder.database.with_suffix(".lock").read_text())


def kill_service(folder: Folder) -> None:
    """kill -9 of the service that somebody else started."""
    os.kill(service_pid(folder), signal.SIGKILL)


def wait_gone(pid: int, seconds: float = 15.0) -> float:
    """How long it took until the process was gone; AssertionError when it did not go."""
    began = time.monotonic()
    while is_running(pid):
        assert time.monotonic() < began + seconds, f"process {pid} still runs"
        time.sleep(0.02)
    return time.monotonic() - began


def is_running(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


# --- services that start fast: forked from a process that has imported everything ---------------------------


def fork_context() -> ForkServerContext:
    """Where `Forked` services come from; made once for a test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["remit.app.service", "uvloop", "tests.e2e.service"])
    return context


class Forked:
    """The same service as `remit up`, forked from a warm process: it starts in a fraction of the time."""

    def __init__(self, context: ForkServerContext, folder: Folder) -> None:
        self.process: ForkServerProcess = context.Process(target=_serve, args=(str(folder.root),), daemon=True)
        self.process.start()
        wait_served(folder, self.process.is_alive)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join(20)

    def stop(self) -> int | None:
        """Stops it as Ctrl-C does; its exit code."""
        os.kill(self.process.pid or 0, signal.SIGINT)
        self.process.join(20)
        return self.process.exitcode


def _serve(root: str) -> None:
    uvloop.run(run_service(Folder(Path(root))))


# --- callers ------------------------------------------------------------------------------------------------


async def grants(folder: Folder, intent: str, count: int) -> list[TaskGrant]:
    """Tasks of the agent, started by the operator, all bound to one key."""
    settings = read_settings(folder.root)
    workload = spiffe_id(settings.trust_domain, f"workload/{settings.workload}")
    key = generate_key()
    async with await connect_as(folder, f"workload/{settings.workload}") as agent:
        document = await agent.svid(bind=thumbprint(key))
    async with await connect_as(folder, f"person/{settings.operator}") as operator:
        request = TaskRequest(intent=intent, workload=workload, key=thumbprint(key))
        started = []
        for first in range(0, count, 50):
            batch = (operator.start_task(request) for _ in range(min(50, count - first)))
            started.extend(await asyncio.gather(*batch))
    return [
        TaskGrant(
            task=each.task.id,
            token=each.token,
            svid=document.svid,
            key=private_jwk(key),
            workload=workload,
            intent=intent,
            expires=each.task.expires,
        )
        for each in started
    ]


async def point(folder: Folder) -> Client:
    """A client of the running service, as the enforcement point."""
    return await connect_as(folder, "pep/gateway")


def decisions(folder: Folder) -> list[tuple[str, str, str]]:
    """(action, effect, reason) of every recorded decision about a tool, in order."""
    with reader_of(folder) as reader:
        bodies = [stored.record.body for stored in reader.records(kinds=("decision",))]
    return [(body["action"], body["effect"], body["reason"]["code"]) for body in bodies if "/" in body["action"]]


def told(report: Report) -> Sequence[str]:
    """The findings of a verification, as lines."""
    return [f"{finding.check} {finding.stream} {finding.n}: {finding.message}" for finding in report.findings]
