"""The examples as a user runs them: `remit gateway` and `exec` on real processes, and what goes wrong around them.

What each sentence of the scenarios decides stands in `examples/*/tests/*.yaml`; test_first_minute.py plays both whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from examples.demo import window
from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.storage.sqlite_reader import SqliteReader
from tests.e2e.service import REMIT, Service, decisions, kill_service, service, service_pid, told, wait_gone

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ACCOUNT = "DE02100100100006820101"
REFUSED = 77


@pytest.fixture
def finance(short_path: Path) -> Folder:
    return copied("finance", short_path)


@pytest.fixture
def pipeline(short_path: Path) -> Folder:
    folder = copied("pipeline", short_path)
    (folder.root / "web.tar").write_bytes(b"the artifact that CI built\n")
    (folder.root / "other.tar").write_bytes(b"something else\n")
    window(folder.root, opens=datetime.now(UTC) - timedelta(minutes=5))
    return folder


def copied(example: str, to: Path) -> Folder:
    ignored = shutil.ignore_patterns(".remit", "__pycache__")
    shutil.copytree(EXAMPLES / example, to / example, ignore=ignored)
    return Folder(to / example)


def run_remit(folder: Folder, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **more}
    return subprocess.run(
        [*REMIT, *arguments], cwd=folder.root, env=environment, capture_output=True, text=True, timeout=90
    )


def named(option: str, **values: str) -> list[str]:
    return [part for name, value in values.items() for part in (option, f"{name}={value}")]


@asynccontextmanager
async def gateway(folder: Folder, server: str, *command: str, intent: str, **options: str) -> AsyncIterator[Client]:
    """An MCP client, of the official SDK, with the gateway in its configuration in place of `command`."""
    more = [part for name, value in options.items() for part in (f"--{name}", value)]
    remit = [*REMIT, "gateway", "--project", str(folder.root), "--server", server, "--intent", intent, *more, "--"]
    parameters = StdioServerParameters(command=remit[0], args=[*remit[1:], *command], env=dict(os.environ))
    with open(os.devnull, "w") as nowhere:
        async with Client(stdio_client(parameters, errlog=nowhere)) as client:
            yield client


async def call(client: Client, tool: str, **arguments: Any) -> tuple[bool, str]:
    """Whether the call was carried out, and its text or the refusal's."""
    result = await client.call_tool(tool, arguments)
    return not result.is_error, "".join(getattr(block, "text", "") for block in result.content)


# --- the finance agent --------------------------------------------------------------------------------------


def test_a_gateway_lists_only_what_the_task_could_be_permitted(finance: Folder) -> None:
    async def story() -> None:
        payments = (sys.executable, str(finance.root / "payments_server.py"))
        async with gateway(finance, "payments", *payments, intent="answer-question") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["payment_status"]
            carried_out, text = await call(client, "pay_invoice", invoice="INV-2042", account=ACCOUNT, amount=1)
            assert not carried_out
            assert "Reason: not_justified. Action: payments/pay_invoice. Decision: d_" in text

    asyncio.run(story())
    assert decisions(finance) == [("payments/pay_invoice", "deny", "not_justified")]


def test_quarantine_in_the_middle_of_a_task_refuses_the_next_call(finance: Folder) -> None:
    async def story() -> None:
        payments = (sys.executable, str(finance.root / "payments_server.py"))
        async with gateway(finance, "payments", *payments, intent="answer-question") as client:
            assert (await call(client, "payment_status", invoice="INV-2041"))[0]
            done = await asyncio.to_thread(
                run_remit, finance, "workload", "quarantine", "finance-agent", "--reason", "it reads what it should not"
            )
            assert done.returncode == 0, done.stderr
            carried_out, text = await call(client, "payment_status", invoice="INV-2041")
            assert not carried_out
            assert "Reason: identity_quarantined" in text
            done = await asyncio.to_thread(run_remit, finance, "workload", "reactivate", "finance-agent")
            assert done.returncode == 0, done.stderr
            assert (await call(client, "payment_status", invoice="INV-2041"))[0]

    with service(finance):
        asyncio.run(story())
    effects = [effect for _, effect, _ in decisions(finance)]
    assert effects == ["permit", "deny", "permit"]
    assert told(verify_folder(finance)) == []


def test_a_gateway_refuses_while_the_service_is_away_and_goes_on_when_it_is_back(finance: Folder) -> None:
    services = [Service(finance)]

    async def story() -> None:
        payments = (sys.executable, str(finance.root / "payments_server.py"))
        async with gateway(finance, "payments", *payments, intent="answer-question") as client:
            assert (await call(client, "payment_status", invoice="INV-2041"))[0]
            for how in ("stop", "kill"):
                await asyncio.to_thread(getattr(services[-1], how))
                carried_out, text = await call(client, "payment_status", invoice="INV-2041")
                assert not carried_out
                assert "no service answers" in text or "the connection to the service ended" in text
                assert "remit up" in text
                services.append(await asyncio.to_thread(Service, finance))
                assert (await call(client, "payment_status", invoice="INV-2041"))[0]

    try:
        asyncio.run(story())
        assert services[-1].stop() == 0
    finally:
        services[-1].kill()
    assert [effect for _, effect, _ in decisions(finance)] == ["permit"] * 3
    assert told(verify_folder(finance)) == []


def test_a_service_that_a_gateway_started_and_that_crashes_comes_back_by_itself(finance: Folder) -> None:
    async def story() -> None:
        payments = (sys.executable, str(finance.root / "payments_server.py"))
        async with gateway(finance, "payments", *payments, intent="answer-question") as client:
            assert (await call(client, "payment_status", invoice="INV-2041"))[0]
            first = service_pid(finance)
            kill_service(finance)
            for _ in range(200):
                if (await call(client, "payment_status", invoice="INV-2041"))[0]:
                    break
                await asyncio.sleep(0.05)
            assert service_pid(finance) != first
            assert (await call(client, "payment_status", invoice="INV-2041"))[0]

    asyncio.run(story())
    wait_gone(service_pid(finance))
    assert told(verify_folder(finance)) == []


# --- the build pipeline -------------------------------------------------------------------------------------


def deploy(folder: Folder, starter: str, intent: str, file: str, **more: str) -> subprocess.CompletedProcess[str]:
    digest = hashlib.sha256((folder.root / "web.tar").read_bytes()).hexdigest()
    return run_remit(
        folder, "exec", "deploy/release", "--starter", starter, "--intent", intent,
        *named("--task-param", service="web", artifact=digest, **more),
        *named("--param", service="web", environment="production"), "--file-param", f"artifact={file}",
        "--", "install", "-D", "{artifact}", str(folder.root / "deployed"),
    )  # fmt: skip


def test_out_of_band_it_is_refused_and_an_emergency_is_for_whoever_is_on_call(pipeline: Folder) -> None:
    deployed = pipeline.root / "deployed"
    window(pipeline.root, opens=datetime.now(UTC) + timedelta(days=1))
    with service(pipeline):
        closed = deploy(pipeline, "starter/ci", "release", "web.tar")
        assert closed.returncode == REFUSED
        assert "the change window `production` is closed" in closed.stderr
        declared = deploy(pipeline, "starter/ci", "emergency", "web.tar", incident="INC-7")
        assert declared.returncode == 1
        assert "this starter may not start tasks under `emergency`" in declared.stderr
        assert not deployed.exists()
        emergency = deploy(pipeline, "person/on-call", "emergency", "web.tar", incident="INC-7")
        assert emergency.returncode == 0, emergency.stderr
        assert deployed.exists()
    assert decisions(pipeline) == [
        ("deploy/release", "deny", "outside_window"),
        ("deploy/release", "permit", "permitted"),
    ]
    with SqliteReader(pipeline.database) as reader:
        last = [stored.record.body for stored in reader.records(kinds=("decision",))][-1]
    assert last["context"]["task"]["emergency"] is True
    assert last["context"]["task"]["params"]["incident"] == "INC-7"
    assert told(verify_folder(pipeline)) == []


def test_a_failed_deployment_is_reported_and_its_exit_code_comes_back(pipeline: Folder) -> None:
    digest = hashlib.sha256((pipeline.root / "web.tar").read_bytes()).hexdigest()
    done = run_remit(
        pipeline, "exec", "deploy/release", "--starter", "starter/ci", "--intent", "release",
        *named("--task-param", service="web", artifact=digest), *named("--param", service="web", environment="staging"),
        "--file-param", "artifact=web.tar", "--", sys.executable, "-c", "raise SystemExit(3)", "{artifact}",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    wait_gone(service_pid(pipeline))
    with SqliteReader(pipeline.database) as reader:
        outcomes = [stored.record.body for stored in reader.records(kinds=("outcome",))]
        states = [stored.record.body["state"] for stored in reader.records(kinds=("task",))]
    assert [(body["result"], body["standing"]) for body in outcomes] == [("error", "believed")]
    assert states == ["open", "cancelled"]
    assert told(verify_folder(pipeline)) == []


def test_a_deployment_whose_runner_was_killed_is_unknown_and_spent_until_an_operator_says_what_became_of_it(
    pipeline: Folder,
) -> None:
    settings = pipeline.root / "remit.toml"
    settings.write_text(settings.read_text().replace("[service]", "[limits]\noutcome_seconds = 2\n\n[service]", 1))
    digest = hashlib.sha256((pipeline.root / "web.tar").read_bytes()).hexdigest()
    task = ("--intent", "release", "--starter", "starter/ci", *named("--param", service="web", artifact=digest))
    action = ["exec", "deploy/release", *named("--param", service="web", environment="staging")]
    artifact = ["--file-param", "artifact=web.tar", "--"]
    with service(pipeline):
        started = run_remit(pipeline, "task", "start", "--json", *task)
        assert started.returncode == 0, started.stderr
        environment = {**os.environ, "REMIT_TASK": json.loads(started.stdout)["grant"]}
        began = pipeline.root / "began"
        script = f"import pathlib, time; pathlib.Path({str(began)!r}).touch(); time.sleep(60)"
        command = [*REMIT, *action, *artifact, sys.executable, "-c", script, "{artifact}"]
        runner = subprocess.Popen(command, cwd=pipeline.root, env=environment, start_new_session=True)
        wait_until(began.exists)
        os.killpg(runner.pid, signal.SIGKILL)
        runner.wait(10)
        wait_until(lambda: outcomes(pipeline) == ["unknown"])

        def again() -> subprocess.CompletedProcess[str]:
            return run_remit(pipeline, *action, *artifact, "true", "{artifact}", REMIT_TASK=environment["REMIT_TASK"])

        refused = again()
        assert (refused.returncode, "limit_reached" in refused.stderr) == (REFUSED, True), refused.stderr
        with SqliteReader(pipeline.database) as reader:
            (permit,) = (body["id"] for body in decision_bodies(reader) if body["effect"] == "permit")
        said = run_remit(
            pipeline, "log", "resolve", permit, "--as", "not_executed", "--reason", "nothing was installed"
        )
        assert said.returncode == 0, said.stderr
        permitted = again()
        assert permitted.returncode == 0, permitted.stderr
    assert outcomes(pipeline) == ["unknown", "response"]
    assert told(verify_folder(pipeline)) == []


def decision_bodies(reader: SqliteReader) -> list[dict[str, Any]]:
    bodies = [stored.record.body for stored in reader.records(kinds=("decision",))]
    return [body for body in bodies if "/" in body["action"]]


def outcomes(folder: Folder) -> list[str]:
    with SqliteReader(folder.database) as reader:
        return [stored.record.body["result"] for stored in reader.records(kinds=("outcome",))]


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)
