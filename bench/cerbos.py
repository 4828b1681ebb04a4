"""The peer: Cerbos, its AuthZEN endpoint, with the same rules, as a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.processes import Process, free_port, wait_for
from bench.rules import cerbos

BINARY: Final = Path(__file__).parents[1] / "node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64"


@contextmanager
def served(folder: Path, count: int, *, audit: bool) -> Iterator[Process]:
    """Cerbos with `count` guardrails, with its log of accesses and decisions in a file, or without."""
    if not BINARY.is_file():
        raise SystemExit("Cerbos is missing: run `make test` once, or `npm install`")
    policies = folder / "policies"
    policies.mkdir(parents=True)
    for name, text in cerbos(count).items():
        (policies / name).write_text(text)
    http, grpc = free_port(), free_port()
    log = {"enabled": False} if not audit else {
        "enabled": True,
        "accessLogsEnabled": True,
        "decisionLogsEnabled": True,
        "backend": "file",
        "file": {"path": str(folder / "audit.log")},
    }  # fmt: skip
    settings = {
        "server": {"httpListenAddr": f"127.0.0.1:{http}", "grpcListenAddr": f"127.0.0.1:{grpc}"},
        "storage": {"driver": "disk", "disk": {"directory": str(policies), "watchForChanges": False}},
        "telemetry": {"disabled": True},
        "audit": log,
    }
    (folder / "cerbos.json").write_text(json.dumps(settings))
    command = [str(BINARY), "server", "--log-level=error", f"--config={folder / 'cerbos.json'}"]
    with (folder / "out.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{http}"
        wait_for(http, process, folder / "out.log")
        yield Process(url, process.pid)
    finally:
        process.terminate()
        process.wait(20)
