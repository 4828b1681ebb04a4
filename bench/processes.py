"""Servers as processes of their own: where they listen, and until when to wait for them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

START_SECONDS = 60.0

_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A running server."""

    url: str
    pid: int


def cpu_of(process: int) -> float:
    """The processor time of a process, all threads, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when something answers at the port; ends the program, with the log, when the process has ended."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"a server did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
