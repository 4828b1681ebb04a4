"""`replicas`: durable decisions per second with 1, 2 and 3 processes on one PostgreSQL, over many tasks and over one.

PostgreSQL is started for the run, with `fsync` on, on this machine; so are all `remit up` processes, which stay up
throughout. They are asked in turn, a second each, several times over: one of them, two at once, three at once; each by
a `wrk` of its own. In the same turns `pgbench` inserts rows of a record's size, one a commit, with as many clients.

Everything shares the cores of one machine, the database and the clients too: `*_cpu_us` say what each side used for one
decision. Where a batch's time goes is what the processes say of themselves (`GET /metrics`), as milliseconds a batch.
"""

from __future__ import annotations

import asyncio
import re
import resource
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench import served
from bench.processes import Process, cpu_of
from bench.result import Result
from bench.traffic import Load, wrk
from remit.app.folder import Folder
from remit.identity.holder import Holder
from remit.sdk.grant import TaskGrant
from remit.storage.spent import STEPS
from tests.postgres import PostgresServer
from tests.storage.places import use_postgres

SECONDS: Final = 1  # of one turn
REQUESTS: Final = 4000  # made for each process and turn: a proof is good once
RECORD: Final = 1800  # bytes of a permit's record
INSERTS: Final = 2000  # of all clients, in one turn


class Plan(NamedTuple):
    """How much is measured."""

    turns: int
    processes: tuple[int, ...]
    connections: int  # to each process


FULL = Plan(4, (1, 2, 3), 16)
QUICK = Plan(1, (1, 2), 2)


class Turn(NamedTuple):
    """What one turn measured."""

    loads: list[Load]
    spent: dict[str, float]  # of the batches of all processes
    services_s: float  # processor time
    database_s: float
    clients_s: float


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows; there are no claims: the figures say where the time goes."""
    plan = QUICK if quick else FULL
    result = Result()
    with ExitStack() as stack:
        server = PostgresServer(durable=True)
        stack.callback(server.close)
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remit-bench-")))
        url = server.database()
        folders = _folders(root, url, max(plan.processes))
        services = [stack.enter_context(_served(folders, number)) for number in range(len(folders))]
        cluster = Cluster(server, services, folders, plan.connections)
        turns: dict[tuple[str, int], list[Turn]] = {}
        plain: dict[int, list[dict[str, float]]] = {}
        for _ in range(plan.turns):
            for count in plan.processes:
                plain.setdefault(count, []).append(_inserts(server, root, count * plan.connections))
                for what in ("many tasks", "one task"):
                    turns.setdefault((what, count), []).append(cluster.turn(what, count))
    for count, taken in plain.items():
        row: dict[str, Any] = {"what": "plain inserts, a row a commit", "connections": count * plan.connections}
        row |= {"per_second": round(median(each["tps"] for each in taken)),
                "mean_ms": round(median(each["ms"] for each in taken), 2)}  # fmt: skip
        result.rows.append(row)
    for (what, count), each in turns.items():
        result.rows.append({"what": what, "processes": count, "connections": count * plan.connections} | _row(each))
    return result


class Cluster:
    """The processes, the tasks that they are asked about, and the database."""

    def __init__(
        self, server: PostgresServer, services: list[Process], folders: list[Folder], connections: int
    ) -> None:
        self._server = server
        self._services = services
        self._folder = folders[0]
        self._connections = connections
        self._point, _ = self._tasks()
        self._many = [self._tasks()[1] for _ in services]  # each process its own

    def turn(self, what: str, count: int) -> Turn:
        """Asks the first `count` processes at the same time."""
        hot = self._tasks()[1][:1]  # a task has a session, which is bounded
        asked = self._services[:count]
        requests = [
            list(served.asks(each.url, self._point, hot if what == "one task" else grants, REQUESTS, probe=False))
            for each, grants in zip(asked, self._many, strict=False)
        ]
        database = _database_processes(self._server)
        before = [_metrics(each) for each in asked]
        cpu = sum(cpu_of(each.pid) for each in asked), sum(map(cpu_of, database)), _children()
        with ThreadPoolExecutor() as pool:
            loads = list(pool.map(self._ask, asked, requests))
        used = sum(cpu_of(each.pid) for each in asked), sum(map(cpu_of, database)), _children()
        after = [_metrics(each) for each in asked]
        spent: dict[str, float] = {}
        for one, other in zip(before, after, strict=True):
            for name in other:
                spent[name] = spent.get(name, 0.0) + other[name] - one.get(name, 0.0)
        if spent.get("refused"):
            raise SystemExit(f"{spent['refused']:.0f} of the benchmark's own requests were denied")
        services_s, database_s, clients_s = (end - begin for end, begin in zip(used, cpu, strict=True))
        return Turn(loads, spent, services_s, database_s, clients_s)

    def _ask(self, service: Process, requests: list[bytes]) -> Load:
        return wrk(service.url, requests, self._connections, SECONDS, again=False, server=service.pid)

    def _tasks(self) -> tuple[Holder, list[TaskGrant]]:
        point, grants = asyncio.run(served.tasks(self._folder))
        return point, list(grants)


def _row(turns: list[Turn]) -> dict[str, Any]:
    decisions = sum(load.requests for turn in turns for load in turn.loads)
    rate = median(sum(load.requests / load.seconds for load in turn.loads) for turn in turns)
    batches = sum(turn.spent["batches"] for turn in turns) or 1.0
    row: dict[str, Any] = {
        "per_second": round(rate),
        "p50_ms": round(median(load.p50_ms for turn in turns for load in turn.loads), 1),
        "p99_ms": round(median(load.p99_ms for turn in turns for load in turn.loads), 1),
        "per_batch": round(sum(turn.spent["batch_works"] for turn in turns) / batches, 1),
    }
    for step in STEPS:
        row[f"{step}_ms"] = round(sum(turn.spent[f"batch_{step}_seconds"] for turn in turns) / batches * 1000, 2)
    for side in ("services", "database", "clients"):
        row[f"{side}_cpu_us"] = round(sum(getattr(turn, f"{side}_s") for turn in turns) / decisions * 1e6)
    return row


def _folders(root: Path, url: str, count: int) -> list[Folder]:
    first = served.write(root / "0", 10)
    file = first.root / "remit.toml"
    file.write_text(file.read_text("utf-8") + '\n[identity]\ntrust = "../trust"\n', "utf-8")
    use_postgres(first.root, url)
    return [first, *(_copy(first, root / str(number)) for number in range(1, count))]


def _copy(first: Folder, root: Path) -> Folder:
    shutil.copytree(first.root, root)
    return Folder(root)


@contextmanager
def _served(folders: list[Folder], number: int) -> Iterator[Process]:
    """One process; those after the first have the keys of the identities that the first one made."""
    folder = folders[number]
    if number:
        shutil.copytree(folders[0].keys, folder.keys, dirs_exist_ok=True)
        folder.state.chmod(0o700)
    with served.served(folder) as process:
        yield process


def _metrics(service: Process) -> dict[str, float]:
    """The batches of a process, the time of their steps, and how many decisions were denied."""
    with urllib.request.urlopen(f"{service.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = {"refused": 0.0}
    for line in lines:
        name, _, value = line.rpartition(" ")
        if name.startswith("remit_batch"):
            found[name.removeprefix("remit_")] = float(value)
        elif name.startswith("remit_decisions_total") and 'effect="deny"' in name:
            found["refused"] += float(value)
    return found


def _inserts(server: PostgresServer, root: Path, clients: int) -> dict[str, float]:
    """Rows of the size of a record, one a commit, with as many clients: commits a second, and how long one takes."""
    script = root / "insert.sql"
    script.write_text(f"INSERT INTO plain (bytes) VALUES (decode(repeat('ab', {RECORD}), 'hex'));\n")
    if not server.sql("SELECT to_regclass('plain')")[0]:
        server.sql("CREATE TABLE plain (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bytes bytea)")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    program = str(programs[-1]) if programs else shutil.which("pgbench")
    if program is None:
        raise SystemExit("`pgbench` is missing: install the Debian package postgresql")
    command = [
        program,
        "-n",
        "-M",
        "prepared",
        "-c",
        str(clients),
        "-j",
        "1",
        "-t",
        str(INSERTS // clients),
        "-f",
        str(script),
    ]
    done = subprocess.run([*command, server.url()], capture_output=True, text=True, check=True)
    rate = re.search(r"tps = ([\d.]+) \(without", done.stdout)
    mean = re.search(r"latency average = ([\d.]+) ms", done.stdout)
    if rate is None or mean is None:
        raise SystemExit(f"pgbench said nothing: {done.stdout}")
    return {"tps": float(rate[1]), "ms": float(mean[1])}


def _database_processes(server: PostgresServer) -> list[int]:
    """The server's processes, one for each connection too."""
    first = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


def _children() -> float:
    """The processor time of this process's children that have ended: the clients."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
