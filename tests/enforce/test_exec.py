"""exec: the command runs only when permitted, on the bytes that were decided, and its end is reported."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import InvalidInput
from remit.enforce import exec as exec_module
from remit.enforce.exec import REFUSED, execute

from .fake import GRANT, FakeDecider, Rules

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def start(
    rules: dict[str, Any], arguments: Any, files: Any, command: list[str], **more: Any
) -> subprocess.Popen[bytes]:
    words = [json.dumps(rules), "pipeline/deploy", json.dumps(arguments), json.dumps(files), "--", *command]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    main = [sys.executable, "-m", "tests.enforce.exec_main", *words]
    return subprocess.Popen(main, cwd=ROOT, **{"env": ENVIRONMENT, **pipes, **more})


def run(command: list[str], rules: dict[str, Any] | None = None, **more: Any) -> tuple[int, bytes, bytes]:
    process = start(rules or {}, more.pop("arguments", {}), more.pop("files", {}), command, **more)
    out, err = process.communicate(b"input", timeout=30)
    return process.returncode, out, err


def entries(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("code", [0, 1, 42])
def test_a_permitted_command_runs_and_its_exit_code_is_reported(code: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"import sys; print(sys.stdin.read()); print('e', file=sys.stderr); sys.exit({code})"
    rules = {"log": str(log)}
    returned, out, err = run([sys.executable, "-c", script], rules, arguments={"environment": "production"})
    assert (returned, out, err) == (code, b"input\n", b"e\n")
    ask, told = entries(log)
    assert ask["ask"] == "pipeline/deploy"
    assert ask["input"] == {"environment": "production"}
    result = "response" if code == 0 else "error"
    assert told == {"told": result, "decision": "d_1", "output": {"exit_code": code}, "wait": True}


def test_a_refused_command_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code, _, err = run(["touch", str(witness)], {"deny": ["pipeline/deploy"]})
    assert code == REFUSED == 77
    assert not witness.exists()
    assert b"policy_forbids" in err
    assert b"d_1" in err


def test_a_command_that_can_not_be_started_was_not_executed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code, _, err = run(["/nonexistent/tool"], {"log": str(log)})
    assert code == 127
    assert b"can't start" in err
    assert entries(log)[-1]["told"] == "not_executed"


def test_the_command_is_no_shell_text() -> None:
    code, out, _ = run(["echo", "$HOME; exit 3", "`id`"])
    assert code == 0
    assert out == b"$HOME; exit 3 `id`\n"


def test_attack_command_reads_the_task_grant_from_its_environment() -> None:
    environment = {**ENVIRONMENT, "REMIT_TASK": "/grant", "KEPT": "1"}
    code, out, _ = run(["env"], env=environment)
    assert code == 0
    assert b"REMIT_" not in out
    assert b"KEPT=1" in out


def test_a_signal_reaches_the_command_and_its_end_is_reported(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start({"log": str(log)}, {}, {}, ["sh", "-c", "echo up; exec sleep 30"])
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + 15
    process.communicate()
    assert entries(log)[-1]["output"] == {"exit_code": 143}


def test_a_permit_that_demands_redaction_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code, out, err = run(["echo", "secret"], {"redact": {"pipeline/deploy": ["x"]}, "log": str(log)})
    assert code == REFUSED
    assert out == b""
    assert b"obligation_unknown" in err
    assert entries(log)[-1]["told"] == "not_executed"


@pytest.mark.parametrize(
    "rules",
    [
        {"oblige": {"pipeline/deploy": "watermark"}},
        {"limit": {"pipeline/deploy": {"rows": 1}}},
        {"most_bytes": {"pipeline/deploy": 5}},
    ],
)
def test_attack_an_obligation_that_a_command_can_t_be_held_to(tmp_path: Path, rules: dict[str, Any]) -> None:
    log = tmp_path / "log"
    code, out, err = run(["echo", "secret"], {**rules, "log": str(log)})
    assert (code, out) == (REFUSED, b"")
    assert b"obligation_unknown" in err
    assert entries(log)[-1]["told"] == "not_executed"


def test_who_must_be_told_is_told_before_the_command_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    rules = {"notify": {"pipeline/deploy": "security"}, "log": str(log)}
    assert run(["cat", str(log)], rules)[:2] == (0, log.read_bytes()[: log.read_bytes().index(b'{"told')])
    assert b'"notified": ["security"]' in log.read_bytes()


def test_attack_nobody_could_be_told_and_the_command_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code, out, err = run(["echo", "ran"], {"notify": {"pipeline/deploy": "away"}, "log": str(log)})
    assert (code, out) == (REFUSED, b"")
    assert b"obligation_failed" in err
    assert entries(log)[-1]["told"] == "not_executed"


def test_the_decision_names_the_digest_of_the_bytes_that_the_command_reads(tmp_path: Path) -> None:
    artifact, log = tmp_path / "app.tar", tmp_path / "log"
    artifact.write_bytes(os.urandom(3_000_000))
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    files = {"artifact": str(artifact)}
    code, out, _ = run(["sha256sum", "{artifact}"], {"log": str(log)}, files=files)
    assert code == 0
    assert out.split()[0].decode() == digest
    assert entries(log)[0]["input"] == {"artifact": digest}


def test_attack_artifact_exchanged_after_the_check(tmp_path: Path) -> None:
    """While the decision is made the file is overwritten and replaced: the command reads what was decided."""
    artifact, log = tmp_path / "app.tar", tmp_path / "log"
    artifact.write_bytes(b"reviewed")
    rules = {"delay": 1.0, "log": str(log)}
    process = start(rules, {}, {"artifact": str(artifact)}, ["cat", "{artifact}"])
    deadline = time.monotonic() + 10
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    artifact.write_bytes(b"malicious")
    artifact.unlink()
    artifact.write_bytes(b"malicious")
    out, _ = process.communicate(timeout=20)
    assert out == b"reviewed"


def test_attack_command_rewrites_its_artifact(tmp_path: Path) -> None:
    artifact = tmp_path / "app.tar"
    artifact.write_bytes(b"reviewed")
    script = 'printf malicious > "$1"; truncate -s 0 "$1"; cat "$1"'
    _, out, _ = run(["sh", "-c", script, "sh", "{artifact}"], files={"artifact": str(artifact)})
    assert out == b"reviewed"


def test_the_artifact_can_be_read_by_what_the_command_starts(tmp_path: Path) -> None:
    artifact = tmp_path / "app.tar"
    artifact.write_bytes(b"reviewed")
    script = "import subprocess, sys; subprocess.run(['cat', sys.argv[1]], check=True)"
    code, out, _ = run([sys.executable, "-c", script, "{artifact}"], files={"artifact": str(artifact)})
    assert (code, out) == (0, b"reviewed")


@pytest.mark.parametrize(
    "command", [["cat", "PATH"], ["cat", "{artifact}", "PATH"], ["x", "--file=PATH", "{artifact}"]]
)
def test_attack_command_names_the_unchecked_file(command: list[str], tmp_path: Path) -> None:
    artifact = tmp_path / "app.tar"
    artifact.write_bytes(b"reviewed")
    decider = FakeDecider()
    words = [word.replace("PATH", str(artifact)) for word in command]
    with pytest.raises(InvalidInput):
        asyncio.run(execute("a/b", {}, words, decider=decider, grant=GRANT, files={"artifact": artifact}))
    assert decider.asked == []


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe"])
def test_what_is_no_plain_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InvalidInput):
        asyncio.run(execute("a/b", {}, ["cat", "{f}"], decider=FakeDecider(), grant=GRANT, files={"f": path}))


def test_an_outcome_that_can_not_be_reported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_module, "REPORT_PAUSES", (0.0, 0.01))
    said: list[str] = []
    decider = FakeDecider(Rules(no_reports=True))
    code = asyncio.run(execute("a/b", {}, ["true"], decider=decider, grant=GRANT, log=said.append))
    assert code == 0
    assert "unknown" in said[0]


def test_without_a_task_the_command_does_not_run() -> None:
    said: list[str] = []
    code = asyncio.run(execute("a/b", {}, ["true"], decider=FakeDecider(), grant=None, log=said.append))
    assert code == REFUSED
    assert "task_required" in said[0]
