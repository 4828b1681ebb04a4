"""Load on a server: `wrk`, or, for connections with a client certificate, a small generator in a process of its own."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from bench.processes import cpu_of

SCRIPT: Final = Path(__file__).with_name("requests.lua")


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a client measured."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int  # answers other than 2xx, and connections that broke
    client_cpu_s: float
    server_cpu_s: float

    def row(self) -> dict[str, Any]:
        """The figures of a row: rate, latency, and processor time of both sides for one request."""
        return {
            "per_second": round(self.requests / self.seconds),
            "p50_ms": round(self.p50_ms, 3),
            "p99_ms": round(self.p99_ms, 3),
            "server_cpu_us": round(self.server_cpu_s / self.requests * 1e6),
            "client_cpu_us": round(self.client_cpu_s / self.requests * 1e6),
        }


def joined(loads: Sequence[Load]) -> Load:
    """Several runs as one: sums, and of the latencies the median run's."""
    return Load(
        requests=sum(load.requests for load in loads),
        seconds=sum(load.seconds for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        failed=sum(load.failed for load in loads),
        client_cpu_s=sum(load.client_cpu_s for load in loads),
        server_cpu_s=sum(load.server_cpu_s for load in loads),
    )


def request(path: str, body: Any, headers: dict[str, str], host: str) -> bytes:
    """One HTTP request, as bytes."""
    data = json.dumps(body, separators=(",", ":")).encode()
    lines = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("ascii") + b"\r\n" + data


def wrk(url: str, requests: Iterable[bytes], connections: int, seconds: int, *, again: bool, server: int) -> Load:
    """Runs `wrk` with these requests, one after the other; with `again` each as often as it likes.

    `server` is the process whose time is taken too. Ends the program where an answer is a refusal: nothing that was
    refused is measured.
    """
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("`wrk` is missing: run `make test` once, or install the Debian package")
    with tempfile.NamedTemporaryFile(prefix="remit-bench-") as file:
        count = 0
        for each in requests:
            file.write(b"%d\n%b" % (len(each), each))
            count += 1
        file.flush()
        command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_of(server)
        said = _said([*command, "--", file.name, "again" if again else "once"])
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_of(server)
    if not again and said["requests"] > count:
        raise SystemExit("the benchmark made too few requests for this machine")
    said["client_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said["server_cpu_s"] = ended - began
    return _load(said)


def certified(
    url: str, body: bytes, files: tuple[Path, Path, Path], connections: int, seconds: int, server: int
) -> Load:
    """Runs the generator for connections with a client certificate; `files` are certificate, key and authorities."""
    with tempfile.NamedTemporaryFile(prefix="remit-bench-") as file:
        file.write(body)
        file.flush()
        command = [sys.executable, "-m", "bench.certified_load", url, str(server), file.name, *map(str, files)]
        return _load(_said([*command, str(connections), str(seconds)]))


def _said(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"the client failed: {done.stderr or done.stdout}")
    said: dict[str, Any] = json.loads(lines[-1])
    return said


def _load(said: dict[str, Any]) -> Load:
    if said["failed"] or not said["requests"]:
        raise SystemExit(f"the benchmark's own requests were refused: {said}")
    return Load(**said)
