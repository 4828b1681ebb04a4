"""`http`: AuthZEN evaluations over loopback, beside Cerbos with the same rules, in the same run.

Every server is a process of its own, and so is the client: `wrk`, with one thread. All servers of a number of policies
run at the same time, and are asked in turn, a second each, several times over, so that a change of the machine's speed
meets all of them. Each figure stands beside what the client alone can do against a server that answers a constant, and
beside the processor time of both sides for one request: servers of several threads share the cores with the client.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import cerbos, served
from bench.processes import Process, free_port, wait_for
from bench.result import Claim, Result
from bench.rules import QUESTION
from bench.traffic import Load, certified, joined, request, wrk
from remit.sdk.client import EVALUATION

SECONDS = 1  # of one turn
REQUESTS = 6000  # made for one turn, where each is good for once

Turn = Callable[[int], Load]  # of so many connections


class Plan(NamedTuple):
    """How much is measured."""

    turns: int
    connections: tuple[int, ...]
    policies: tuple[int, ...]


FULL = Plan(4, (1, 32), (10, 1000))
QUICK = Plan(1, (2,), (10,))

# At the most policies and connections. A question records nothing; nor does a probe, which has beside that the
# workload's proof and its task in it.
CLAIMS = {
    "questions per second against Cerbos's with its audit log": "Remit, question, bearer key",
    "probes under a task per second against Cerbos's with its audit log": "Remit, probe under a task",
}


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows, and how Remit's one process stands beside Cerbos with its audit log."""
    plan = QUICK if quick else FULL
    result = Result()
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as name:
        root = Path(name)
        with ExitStack() as stack:
            _measure(result, plan, 0, _clients(root / "clients", stack))
        for count in plan.policies:
            with ExitStack() as stack:
                turns = _peers(root / f"cerbos-{count}", count, stack) | _remit(root / f"remit-{count}", count, stack)
                _measure(result, plan, count, turns)
    _compare(result)
    most = (plan.policies[-1], plan.connections[-1])
    rates = {row["what"]: row["per_second"] for row in result.rows if (row["policies"], row["connections"]) == most}
    for name, what in CLAIMS.items():
        result.claims.append(Claim(name, round(rates[what] / rates["Cerbos, audit log on"], 2), ">=", 1))
    return result


def _measure(result: Result, plan: Plan, policies: int, turns: dict[str, Turn]) -> None:
    """One row for everything that takes turns, and for each number of connections."""
    for connections in plan.connections:
        loads: dict[str, list[Load]] = {what: [] for what in turns}
        for _ in range(plan.turns):
            for what, turn in turns.items():
                loads[what].append(turn(connections))
        for what, taken in loads.items():
            row = {"what": what, "policies": policies, "connections": connections, **joined(taken).row()}
            result.rows.append(row)


def _clients(root: Path, stack: ExitStack) -> dict[str, Turn]:
    """Both clients against a server that answers a constant."""
    root.mkdir()
    served.make_certificates(root)
    files = served.client_files(root)
    plain, secure = (stack.enter_context(_bare(root / name, tls)) for name, tls in (("plain", None), ("tls", root)))
    return {
        "a constant, wrk": lambda connections: _again(plain, _asked(plain), connections),
        "a constant, mTLS, own client": lambda connections: certified(
            secure.url, _asked(secure), files, connections, SECONDS, secure.pid
        ),
    }


def _peers(root: Path, count: int, stack: ExitStack) -> dict[str, Turn]:
    off, on = (stack.enter_context(cerbos.served(root / f"{audit}", count, audit=audit)) for audit in (False, True))
    for server in (off, on):
        _check(server, _asked(server))
    return {
        "Cerbos, audit log off": lambda connections: _again(off, _asked(off), connections),
        "Cerbos, audit log on": lambda connections: _again(on, _asked(on), connections),
    }


def _remit(root: Path, count: int, stack: ExitStack) -> dict[str, Turn]:
    """Remit twice: without TLS, and with."""
    folder, other = served.write(root / "plain", count), served.write(root / "tls", count)
    plain = stack.enter_context(served.served(folder))
    secure = stack.enter_context(served.served(other, tls=True))
    point, grants = asyncio.run(served.tasks(folder))
    asker = asyncio.run(served.asker(folder))
    bearer = served.question(plain.url, served.bearer(folder))
    _check(plain, bearer)

    def once(requests: Iterator[bytes], connections: int) -> Load:
        _check(plain, next(requests))
        return wrk(plain.url, requests, connections, SECONDS, again=False, server=plain.pid)

    def by_proof(connections: int) -> Load:
        return once(served.questions(plain.url, asker, REQUESTS), connections)

    def under_a_task(connections: int, *, probe: bool) -> Load:
        return once(served.asks(plain.url, point, grants, REQUESTS, probe=probe), connections)

    def by_certificate(connections: int) -> Load:
        sent = served.question(secure.url, {})
        return certified(secure.url, sent, served.client_files(other.root), connections, SECONDS, secure.pid)

    return {
        "Remit, question, bearer key": lambda connections: _again(plain, bearer, connections),
        "Remit, question, DPoP": by_proof,
        "Remit, question, mTLS, own client": by_certificate,
        "Remit, probe under a task": lambda connections: under_a_task(connections, probe=True),
        "Remit, authorize, durable": lambda connections: under_a_task(connections, probe=False),
    }


def _compare(result: Result) -> None:
    """Puts into each row its rate as a share of the peer's, with the same policies and connections."""
    peers = {
        (row["policies"], row["connections"]): row["per_second"]
        for row in result.rows
        if row["what"] == "Cerbos, audit log off"
    }
    for row in result.rows:
        peer = peers.get((row["policies"], row["connections"]))
        if peer:
            row["of_cerbos"] = round(row["per_second"] / peer, 2)


def _asked(server: Process) -> bytes:
    """The question, from nobody in particular."""
    return request(EVALUATION, QUESTION, {}, server.url.partition("://")[2])


def _again(server: Process, sent: bytes, connections: int) -> Load:
    return wrk(server.url, [sent], connections, SECONDS, again=True, server=server.pid)


def _check(server: Process, sent: bytes) -> None:
    """Sends one request by itself: what is measured must be a permit."""
    host, _, port = server.url.partition("://")[2].rpartition(":")
    answer = asyncio.run(_once(host, int(port), sent))
    if b" 200 " not in answer.partition(b"\r\n")[0] or b'"decision":true' not in answer.replace(b" ", b""):
        raise SystemExit(f"the benchmark's own request was refused: {answer.decode('utf-8', 'replace')[-500:]}")


async def _once(host: str, port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
        return head + await reader.readexactly(length)
    finally:
        writer.close()


@contextmanager
def _bare(folder: Path, certificates: Path | None) -> Iterator[Process]:
    """A server that answers a constant, with the certificates below a folder, or without TLS."""
    folder.mkdir(exist_ok=True)
    port, log = free_port(), folder / "out.log"
    names = ("service.pem", "service.key", "root.pem")
    files = [str(certificates / "tls" / name) for name in names] if certificates else []
    with log.open("wb") as output:
        command = [sys.executable, "-m", "bench.bare_server", str(port), *files]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(port, process, log)
        yield Process(f"{'https' if certificates else 'http'}://127.0.0.1:{port}", process.pid)
    finally:
        process.kill()
        process.wait(10)
