"""What happens on a terminal only, in a pipe, and as another user."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.catalogue.document import load_server
from remit.catalogue.review import unreviewed
from tests.cli.desk import Command

LOADED = ("main", "log", "doctor", "verify", "identity", "task")


def on_terminal(root: Path, *arguments: str, keys: str = "", **variables: str) -> str:
    """What `remit` shows on a terminal of 80 columns, when these keys are pressed, one line at a time."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "REMIT_PROJECT": str(root), "COLUMNS": "80", "TERM": "xterm-256color", **variables}
    environment.pop("NO_COLOR", None) if "NO_COLOR" not in variables else None
    command = [sys.executable, "-m", "remit", *arguments]
    shown = b""
    with subprocess.Popen(command, env=environment, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        waiting = keys.splitlines(keepends=True)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            ready, _, _ = select.select([leader], [], [], 0.2)
            try:
                shown += os.read(leader, 65536) if ready else b""
            except OSError:
                break
            if waiting and shown.rstrip().endswith(b":"):
                os.write(leader, waiting.pop(0).encode())
                shown += b"\n"
        process.kill() if process.poll() is None else None
    os.close(leader)
    return shown.decode("utf-8", "replace")


def test_colours_on_a_terminal_and_not_under_no_color(folder: Folder) -> None:
    assert "\x1b[" in on_terminal(folder.root, "log")
    assert "\x1b[3" not in on_terminal(folder.root, "log", NO_COLOR="1")


@pytest.mark.parametrize(("keys", "left"), [("y\n", ()), ("n\n", ("purge",)), ("q\n", ("purge",)), ("x\ny\n", ())])
def test_a_review_shows_the_whole_entry_and_asks(folder: Folder, keys: str, left: tuple[str, ...]) -> None:
    shown = on_terminal(folder.root, "catalogue", "review", "orders", keys=keys)
    assert "effect: delete" in shown
    assert "is this what it does?" in shown
    assert unreviewed(load_server(folder.root / "catalogue/orders.yaml")) == left


def test_retiring_asks(folder: Folder, remit: Command) -> None:
    assert remit("workload", "add", "newcomer").exit_code == 0
    on_terminal(folder.root, "workload", "retire", "newcomer", keys="n\n")
    assert "active" in remit("workload", "show", "newcomer").output
    on_terminal(folder.root, "workload", "retire", "newcomer", keys="y\n")
    assert "retired" in remit("workload", "show", "newcomer").output


def test_a_progress_bar_leaves_the_output_clean(folder: Folder) -> None:
    assert "in order: " in on_terminal(folder.root, "verify")


def test_a_reader_that_goes_away(folder: Folder) -> None:
    command = f"{sys.executable} -m remit log --json --last 100 | head -n 1"
    environment = {**os.environ, "REMIT_PROJECT": str(folder.root)}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("{")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("arguments", [("log",), ("verify",), ("workload", "list"), ("task", "list"), ("doctor",)])
def test_another_user_gets_an_error_line(folder: Folder, arguments: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as open_to_all:
        os.chmod(open_to_all, 0o755)
        root = Path(open_to_all) / "desk"
        shutil.copytree(folder.root, root)
        os.chmod(root, 0o755)
        done = as_nobody(root, *arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert "error: " in done.stderr or "fail" in done.stdout


def as_nobody(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `remit` as a user without any rights; the program is loaded before they are given up."""
    modules = "importlib.readers, os, sys, " + ", ".join(f"remit.cli.{name}" for name in LOADED)
    drop = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    program = f"import {modules}; {drop}; sys.argv[1:] = {list(arguments)!r}; remit.cli.main.main()"
    environment = {**os.environ, "REMIT_PROJECT": str(root)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
