"""Both scenarios as a user runs them: `remit run`, `gateway` and `exec` on the examples, with real third-party servers.

What each sentence of the scenarios decides stands in `examples/*/tests/*.yaml`; here it happens for real.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from examples.demo import repository, window
from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.storage.reader import Reader
from tests.e2e.service import REMIT, Service, kill_service, service, service_pid, told, wait_gone

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FILES = ROOT / "node_modules" / ".bin" / "mcp-server-filesystem"
ACCOUNT = "DE02100100100006820101"
REFUSED = 77

needs_files = pytest.mark.skipif(not FILES.exists(), reason="npm's @modelcontextprotocol/server-filesystem is missing")


@pytest.fixture
def finance(short_path: Path) -> Folder:
    return copied("finance", short_path)


@pytest.fixture
def pipeline(short_path: Path) -> Iterator[Folder]:
    folder = copied("pipeline", short_path)
    (folder.root / "web.tar").write_bytes(b"the artifact that CI built\n")
    (folder.root / "other.tar").write_bytes(b"something else\n")
    window(folder.root, opens=datetime.now(UTC) - timedelta(minutes=5))
    return folder


def copied(example: str, to: Path) -> Folder:
    ignored = shutil.ignore_patterns(".remit", "__pycache__")
    shutil.copytree(EXAMPLES / example, to / example, ignore=ignored)
    return Folder(to / example)


def run_remit(folder: Folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.run(
        [*REMIT, *arguments], cwd=folder.root, env=environment, capture_output=True, text=True, timeout=90
    )


def named(option: str, **values: str) -> list[str]:
    return [part for name, value in values.items() for part in (option, f"{name}={value}")]


def decisions(folder: Folder) -> list[tuple[str, str, str]]:
    """(action, effect, reason) of every recorded decision about a tool, in order."""
    with Reader(folder.database) as reader:
        bodies = [stored.record.body for stored in reader.records(kinds=("decision",))]
    return [(body["action"], body["effect"], body["reason"]["code"]) for body in bodies if "/" in body["action"]]


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


@needs_files
def test_the_finance_agent_reads_and_may_not_pay_then_pays_what_it_was_told_once(finance: Folder) -> None:
    invoices = finance.root / "invoices"
    agent = ["--", sys.executable, str(EXAMPLES / "finance" / "agent.py")]
    params = named(
        "--param", invoice="INV-2041", file=str(invoices / "INV-2041.json"), account=ACCOUNT, amount="1840.50"
    )
    with service(finance):
        asked = run_remit(finance, "run", "--intent", "answer-question", *agent, "question", str(invoices), "INV-2042")
        own = run_remit(
            finance, "run", "--starter", "workload/finance-agent", "--intent", "pay-invoice", *params, "--", "true"
        )
        paid = run_remit(
            finance, "run", "--starter", "starter/accounts", "--intent", "pay-invoice", *params,
            *agent, "payment", str(invoices), "INV-2041",
        )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert "pay_invoice refused" in asked.stdout
    assert own.returncode == 1
    assert "a workload can't start its own task" in own.stderr
    assert paid.returncode == 0, paid.stderr
    assert paid.stdout.count("pay_invoice refused") == 5
    assert paid.stdout.count("pay_invoice done") == 1
    assert "payment_status done: paid 1840.50" in paid.stdout
    pay, read = "payments/pay_invoice", "files/read_text_file"
    assert decisions(finance) == [
        ("files/list_directory", "permit", "permitted"),
        (read, "permit", "permitted"),
        (pay, "deny", "not_justified"),
        (pay, "deny", "out_of_order"),
        (read, "permit", "permitted"),
        (pay, "deny", "argument_not_bound"),  # another account
        (pay, "deny", "argument_not_bound"),  # ten times the amount
        (pay, "deny", "argument_not_bound"),  # another invoice
        (pay, "permit", "permitted"),
        (pay, "deny", "limit_reached"),  # a second time
        ("payments/payment_status", "permit", "permitted"),
    ]
    assert told(verify_folder(finance)) == []
    assert run_remit(finance, "verify").returncode == 0


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
    async def story() -> None:
        payments = (sys.executable, str(finance.root / "payments_server.py"))
        running = await asyncio.to_thread(Service, finance)
        async with gateway(finance, "payments", *payments, intent="answer-question") as client:
            assert (await call(client, "payment_status", invoice="INV-2041"))[0]
            for how in ("stop", "kill"):
                await asyncio.to_thread(getattr(running, how))
                carried_out, text = await call(client, "payment_status", invoice="INV-2041")
                assert not carried_out
                assert "no service answers" in text or "the connection to the service ended" in text
                assert "remit up" in text
                running = await asyncio.to_thread(Service, finance)
                assert (await call(client, "payment_status", invoice="INV-2041"))[0]
        await asyncio.to_thread(running.stop)

    asyncio.run(story())
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


def test_inside_the_window_only_the_artifact_of_the_task_is_deployed(pipeline: Folder) -> None:
    deployed = pipeline.root / "deployed"
    with service(pipeline):
        other = deploy(pipeline, "starter/ci", "release", "other.tar")
        assert other.returncode == REFUSED, other.stderr
        assert "argument_not_bound" in other.stderr
        assert not deployed.exists()
        right = deploy(pipeline, "starter/ci", "release", "web.tar")
        assert right.returncode == 0, right.stderr
        assert deployed.read_bytes() == (pipeline.root / "web.tar").read_bytes()
    action = "deploy/release"
    assert decisions(pipeline) == [(action, "deny", "argument_not_bound"), (action, "permit", "permitted")]
    assert told(verify_folder(pipeline)) == []


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
    with Reader(pipeline.database) as reader:
        last = [stored.record.body for stored in reader.records(kinds=("decision",))][-1]
    assert last["context"]["task"]["emergency"] is True
    assert last["context"]["task"]["params"]["incident"] == "INC-7"
    assert told(verify_folder(pipeline)) == []


def test_the_pipeline_reads_the_history_through_the_git_server_and_may_not_rewrite_it(pipeline: Folder) -> None:
    repository(pipeline.root / "repository")
    digest = hashlib.sha256(b"x").hexdigest()
    with service(pipeline):
        done = run_remit(
            pipeline, "run", "--starter", "starter/ci", "--intent", "release",
            *named("--param", service="web", artifact=digest),
            "--", sys.executable, str(EXAMPLES / "pipeline" / "agent.py"), str(pipeline.root / "repository"),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "git_log done" in done.stdout
    assert "git_reset refused" in done.stdout
    assert decisions(pipeline) == [("git/git_log", "permit", "permitted"), ("git/git_reset", "deny", "not_justified")]


def test_a_failed_deployment_is_reported_and_its_exit_code_comes_back(pipeline: Folder) -> None:
    digest = hashlib.sha256((pipeline.root / "web.tar").read_bytes()).hexdigest()
    done = run_remit(
        pipeline, "exec", "deploy/release", "--starter", "starter/ci", "--intent", "release",
        *named("--task-param", service="web", artifact=digest), *named("--param", service="web", environment="staging"),
        "--file-param", "artifact=web.tar", "--", sys.executable, "-c", "raise SystemExit(3)", "{artifact}",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    wait_gone(service_pid(pipeline))
    with Reader(pipeline.database) as reader:
        outcomes = [stored.record.body for stored in reader.records(kinds=("outcome",))]
        states = [stored.record.body["state"] for stored in reader.records(kinds=("task",))]
    assert [(body["result"], body["standing"]) for body in outcomes] == [("error", "believed")]
    assert states == ["open", "cancelled"]
    assert told(verify_folder(pipeline)) == []
