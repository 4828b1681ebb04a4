"""The gateway and exec with the real service: a project folder, a task, an agent, and the records at the end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REMIT = [sys.executable, "-c", "from remit.cli.main import main; main()"]
SERVER = [sys.executable, str(HERE / "small_server.py")]

INTENT = """
description: Read what the small server has.
effects: [read]
starters: [group:staff]
workloads: [group:assistants]
time_to_live: 10m
limits:
  - {name: echoes, actions: [small/echo], calls: 2}
"""


def remit(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **more}
    run = [*REMIT, *words]
    return subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, timeout=90)


def must(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("p")
    must(remit(folder, "init", "."))
    settings = folder / "remit.toml"
    settings.write_text(re.sub(r'listen = "[^"]*"', 'listen = ""', settings.read_text()))
    must(remit(folder, "catalogue", "import", "small", "--register", "gateway", "--", *SERVER))
    catalogue = folder / "catalogue" / "small.yaml"
    catalogue.write_text(catalogue.read_text().replace("effect: execute", "effect: read"))
    must(remit(folder, "catalogue", "review", "small", "--yes"))
    (folder / "intents" / "look.yaml").write_text(INTENT)
    must(remit(folder, "check"))
    return folder


def gateway() -> list[str]:
    return [*REMIT, "gateway", "--server", "small", "--", *SERVER]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_an_agent_behind_the_gateway(project: Path, mode: str) -> None:
    agent = [sys.executable, str(HERE / "real_agent.py"), mode, *gateway()]
    run = remit(project, "run", "--intent", "look", "--", *agent)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout.splitlines()[-1])
    assert seen["tools"] == ["echo", "environment"]
    assert seen["echo"] == seen["again"] == [False, "hello"]
    refused, text = seen["third"]
    assert refused
    assert "limit_reached" in text
    refused, text = seen["drop"]
    assert refused
    assert "not_justified" in text
    assert "Decision: d_" in text
    refused, names = seen["environment"]
    assert not refused
    assert "PATH" in names
    assert "REMIT_" not in names
    # What it did stands in the record, and the record holds together.
    must(remit(project, "verify"))
    lines = [json.loads(line) for line in must(remit(project, "log", "--json", "--last", "1000")).splitlines()]
    task = run.stderr.split()[1]
    mine = [line for line in lines if line.get("task") == task]
    assert sum(line.get("result") == "response" for line in mine) == 3


def test_an_agent_without_a_task(project: Path) -> None:
    held = subprocess.Popen([*REMIT, "up"], cwd=project, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    try:
        agent = [sys.executable, str(HERE / "real_agent.py"), "auto", *gateway()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        run = subprocess.run(agent, cwd=project, env=environment, capture_output=True, text=True, timeout=60)
        seen = json.loads(run.stdout.splitlines()[-1])
        assert "task_required" in seen["tools"]
        assert all(seen[name][0] for name in ("echo", "environment", "drop"))
    finally:
        held.terminate()
        held.wait(20)
