"""The gateway as a process: environment, ends, exit codes, broken frames; with small servers and mcp-server-git."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}

ECHO = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        if message["method"] == "tools/list":
            result = {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in ("echo", "die", "hang")]}
        elif message["method"] == "tools/call" and message["params"]["name"] == "die":
            sys.exit(7)
        elif message["method"] == "tools/call" and message["params"]["name"] == "hang":
            continue
        else:
            result = {"content": [{"type": "text", "text": json.dumps(message["params"])}]}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


class Run:
    """A gateway under test: `send` and `receive` speak JSON-RPC."""

    def __init__(self, command: list[str], rules: dict[str, Any] | None = None, hang: float = 30, **more: Any) -> None:
        main = [sys.executable, "-m", "tests.enforce.gateway_main", json.dumps(rules or {}), str(hang), "--", *command]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(main, cwd=ROOT, **{"env": ENVIRONMENT, **pipes, **more})

    def send(self, frame: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(frame if isinstance(frame, bytes) else json.dumps(frame).encode() + b"\n")
        self.process.stdin.flush()

    def call(self, id_: Any, tool: str, **arguments: Any) -> None:
        params = {"name": tool, "arguments": arguments}
        self.send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self, timeout: float = 20) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


@contextlib.contextmanager
def running(command: list[str], **more: Any) -> Iterator[Run]:
    run = Run(command, **more)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_attack_server_reads_the_task_grant_from_its_environment() -> None:
    code = """import json, os
print(json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": dict(os.environ)}))"""
    environment = {**ENVIRONMENT, "REMIT_TASK": "/grant", "REMIT_HOME": "/x", "Remit_Lower": "y", "API_KEY": "theirs"}
    with running(python(code), env=environment) as run:
        seen = run.receive()["params"]
        assert not [name for name in seen if name.upper().startswith("REMIT")]
        assert seen["API_KEY"] == "theirs"
        assert seen["PATH"] == environment["PATH"]


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_the_servers(code: int) -> None:
    with running(python(f"import sys; sys.stdin.read(); sys.stderr.write('bye'); sys.exit({code})")) as run:
        returned, _, err = run.end()
        assert returned == code
        assert b"bye" in err


def test_a_server_ended_by_a_signal() -> None:
    with running(python("import os; os.kill(os.getpid(), 9)")) as run:
        assert run.end()[0] == 128 + 9


def test_a_server_that_can_not_be_started(tmp_path: Path) -> None:
    with running(["/nonexistent/server"]) as run:
        code, _, err = run.end()
        assert code == 127
        assert b"can't start `/nonexistent/server`" in err
    (tmp_path / "file").write_text("")
    with running([str(tmp_path / "file")]) as run:
        assert run.end()[0] == 126


def test_the_end_of_the_client_ends_the_server_after_it_answered() -> None:
    with running(python(ECHO)) as run:
        run.call(1, "echo", a=1)
        code, out, _ = run.end()
        assert code == 0
        assert json.loads(out)["id"] == 1


def test_a_report_under_way_is_finished_when_the_client_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(python(ECHO), rules={"slow_reports": 0.8, "log": str(log)}) as run:
        run.call(1, "echo")
        assert run.receive()["id"] == 1
        assert run.end()[0] == 0
    assert [entry["told"] for entry in map(json.loads, log.read_text().splitlines()) if "told" in entry] == ["response"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_server(number: int) -> None:
    with running(python("import time; print('{}', flush=True); time.sleep(60)")) as run:
        deadline = time.monotonic() + 10
        while not children(run.process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        (server,) = children(run.process.pid)
        run.process.send_signal(number)
        assert run.process.wait(10) in (128 + number, 1, 130)
        assert not Path(f"/proc/{server}").exists()


def test_a_server_that_ignores_signals_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"
    with running(python(code)) as run:
        time.sleep(4.0)  # until it ignores them, also on a busy machine
        started = time.monotonic()
        run.process.terminate()
        assert run.process.wait(10) == 128 + 9
        assert time.monotonic() - started < 6


def test_a_server_that_dies_during_a_call() -> None:
    with running(python(ECHO)) as run:
        run.call(1, "die")
        answer = run.receive()
        assert answer["id"] == 1
        assert "server_ended" in answer["result"]["content"][0]["text"]
        assert run.end()[0] == 7


def test_a_server_that_hangs() -> None:
    with running(python(ECHO), hang=0.3) as run:
        run.call(1, "hang")
        assert "server_hung" in str(run.receive())
        run.call(2, "echo")
        assert run.receive()["id"] == 2


def test_frames_that_are_no_messages_are_answered_and_the_next_one_works() -> None:
    with running(python(ECHO)) as run:
        run.send(b"not json\n")
        assert run.receive()["error"]["code"] == -32700
        run.send(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n')
        assert run.receive()["error"]["code"] == -32600
        run.send(b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":"' + b"x" * (17 << 20) + b'"}\n')
        answer = run.receive()
        assert answer["id"] == 5
        assert "larger" in answer["error"]["message"]
        run.call(6, "echo")
        assert run.receive()["id"] == 6


def test_an_oversized_answer_of_the_server_is_an_error() -> None:
    code = ECHO.replace('json.dumps(message["params"])', '"x" * (17 << 20)')
    with running(python(code)) as run:
        run.call(1, "echo")
        answer = run.receive()
        assert answer["id"] == 1
        assert "larger" in str(answer)
        run.send({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        assert run.receive()["id"] == 2


def test_a_large_answer_passes_whole() -> None:
    with running(python(ECHO.replace('json.dumps(message["params"])', '"x" * (8 << 20)'))) as run:
        run.call(1, "echo")
        assert len(run.receive()["result"]["content"][0]["text"]) == 8 << 20


def test_input_and_output_may_be_files(tmp_path: Path) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {}}}
    (tmp_path / "in").write_bytes(json.dumps(request).encode() + b"\n")
    with (
        (tmp_path / "in").open("rb") as source,
        (tmp_path / "out").open("wb") as sink,
        running(python(ECHO), stdin=source, stdout=sink) as run,
    ):
        assert run.process.wait(20) == 0
    assert json.loads((tmp_path / "out").read_bytes())["id"] == 1


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_mcp_server_git_behind_the_gateway(mode: str, tmp_path: Path) -> None:
    server = shutil.which("mcp-server-git", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert server is not None, "the test needs mcp-server-git"
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    (repository / "file.txt").write_text("one\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    rules = {"deny": ["s/git_commit"], "unlisted": ["git_reset"], "log": str(tmp_path / "log")}
    arguments = ["-m", "tests.enforce.gateway_main", json.dumps(rules), "30", "--", server]
    environment = {"PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}
    parameters = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT, env=environment)

    async def use() -> None:
        async with Client(stdio_client(parameters), mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "git_status" in names
            assert "git_reset" not in names
            log = await client.call_tool("git_log", {"repo_path": str(repository)})
            assert "first" in str(log.content)
            refused = await client.call_tool("git_commit", {"repo_path": str(repository), "message": "second"})
            assert refused.is_error
            assert "policy_forbids" in str(refused.content)

    anyio.run(use)
    count = subprocess.run([*git, "rev-list", "--count", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert count.strip() == "1"
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if "told" in line]
    assert [entry["told"] for entry in told] == ["response"]
