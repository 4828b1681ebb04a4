"""A user's first minute: the demo, and a folder of their own from `remit init` to `remit verify`."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import repository
from remit.app.folder import Folder
from remit.storage.sqlite_reader import SqliteReader
from tests.e2e.service import REMIT, decisions, service_pid, wait_gone

ROOT = Path(__file__).parents[2]
SCRIPT = """
import asyncio, sys
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

async def main(repository):
    server = [sys.executable, "-m", "mcp_server_git", "--repository", repository]
    command = [sys.executable, "-m", "remit", "gateway", "--", *server]
    async with Client(stdio_client(StdioServerParameters(command=command[0], args=command[1:], env=None))) as git:
        print("listed", *sorted(tool.name for tool in (await git.list_tools()).tools))
        for tool in ("git_log", "git_status", "git_reset"):
            result = await git.call_tool(tool, {"repo_path": repository})
            print(tool, "refused" if result.is_error else "done", result.content[0].text.splitlines()[0])

asyncio.run(main(sys.argv[1]))
"""


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), *sys.path])
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        stdin=subprocess.DEVNULL,
    )


def set_listen(project: Path, listen: str) -> None:
    """Another address in `remit.toml`: other tests take ports at the same time."""
    settings = (project / "remit.toml").read_text()
    changed = re.sub(r'^listen = "[^"]*"', f'listen = "{listen}"', settings, flags=re.MULTILINE)
    assert changed != settings
    (project / "remit.toml").write_text(changed)


@pytest.mark.timeout(300)
def test_the_demo_plays_both_scenarios_with_real_servers(short_path: Path) -> None:
    done = run(sys.executable, "-m", "examples.demo", cwd=ROOT, TMPDIR=str(short_path), COLUMNS="200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("in order:") == 2
    assert "remit log show d_" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    (finance,) = short_path.glob("remit-demo-*/finance")
    (pipeline,) = short_path.glob("remit-demo-*/pipeline")
    pay, read, deploy = "payments/pay_invoice", "files/read_text_file", "deploy/release"
    assert decisions(Folder(finance)) == [
        ("files/list_directory", "permit", "permitted"),
        (read, "permit", "permitted"),
        (pay, "deny", "not_justified"),  # under answer-question
        (pay, "deny", "out_of_order"),
        (read, "permit", "permitted"),
        (pay, "deny", "argument_not_bound"),  # another account
        (pay, "deny", "argument_not_bound"),  # ten times the amount
        (pay, "deny", "argument_not_bound"),  # another invoice
        (pay, "permit", "permitted"),
        (pay, "deny", "limit_reached"),  # a second time
        ("payments/payment_status", "permit", "permitted"),
    ]
    assert "payment_status done: paid 1840.50" in done.stdout
    assert decisions(Folder(pipeline)) == [
        (deploy, "deny", "outside_window"),
        (deploy, "permit", "permitted"),  # the emergency of whoever is on call
        (deploy, "deny", "argument_not_bound"),  # another artifact
        (deploy, "permit", "permitted"),
        ("git/git_log", "permit", "permitted"),
        ("git/git_reset", "deny", "not_justified"),
    ]
    assert (pipeline / "deployed").read_bytes() == (pipeline / "web.tar").read_bytes()
    # Who may not start a task is refused, on the record: the agent itself, and CI in an emergency.
    assert refused_starts(Folder(finance)) == ["self_start"]
    assert refused_starts(Folder(pipeline)) == ["starter_not_listed"]


def refused_starts(folder: Folder) -> list[str]:
    with SqliteReader(folder.database) as reader:
        bodies = [stored.record.body for stored in reader.records(kinds=("decision",))]
    return [body["reason"]["code"] for body in bodies if body["action"] == "task.start"]


def test_a_folder_of_ones_own_works_from_init_to_verify(short_path: Path) -> None:
    project = short_path / "mine"
    repository(short_path / "repository")
    (short_path / "agent.py").write_text(SCRIPT)

    def remit(*arguments: str, code: int = 0) -> str:
        done = run(*REMIT, *arguments, cwd=project if project.exists() else short_path)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    remit("init", str(project))
    set_listen(project, "")
    assert "in order" in remit("check")
    assert "4 passed, 0 failed" in remit("test")
    server = (sys.executable, "-m", "mcp_server_git", "--repository", str(short_path / "repository"))
    imported = remit("catalogue", "import", "git", "--register", "gateway", "--", *server)
    assert "guesses bind nothing until reviewed" in imported
    remit("catalogue", "review", "git", "git_log", "git_reset", "--yes")
    agent = (sys.executable, str(short_path / "agent.py"), str(short_path / "repository"))
    ran = remit("run", "--intent", "answer-question", "--prompt", "What was released last?", "--", *agent)
    assert "listed git_log\n" in ran
    assert "git_log done" in ran
    assert "git_status refused" in ran  # nobody has reviewed it
    assert "git_reset refused" in ran  # the task does not justify it
    wait_gone(service_pid(Folder(project)))
    told = [json.loads(line) for line in remit("log", "--json").splitlines()]
    decided = {line["action"]: line for line in told if line["kind"] == "decision" and "/" in line["action"]}
    assert {action: line["note"] for action, line in decided.items()} == {
        "git/git_log": "",
        "git/git_status": "action_unreviewed",
        "git/git_reset": "not_justified",
    }
    assert "not_justified" in remit("log", "show", decided["git/git_reset"]["id"])
    assert "in order" in remit("verify")


def test_a_taken_port_is_told_with_what_to_do(short_path: Path) -> None:
    project = short_path / "mine"
    run(*REMIT, "init", str(project), cwd=short_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        set_listen(project, f"127.0.0.1:{port}")
        up = run(*REMIT, "up", "--plain", cwd=project)
        ran = run(*REMIT, "run", "--intent", "answer-question", "--", "true", cwd=project)
    for refused in (up, ran):
        assert refused.returncode == 1
        assert f"can't listen on `127.0.0.1:{port}`: Address already in use" in refused.stderr
        assert "choose another port in `remit.toml`" in refused.stderr
    assert not Folder(project).socket.exists()
