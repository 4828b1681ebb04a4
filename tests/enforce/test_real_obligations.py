"""Obligations from policy to effect: a project, its service, the real gateway and exec, the SDK, a real receiver."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

import remit
from remit.app.folder import Folder
from remit.core.decisions import Obligation
from remit.sdk.grant import load_grant
from remit.sdk.permit import Refused
from tests.e2e.service import wait_served

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REMIT = [sys.executable, "-c", "from remit.cli.main import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
SERVER = [sys.executable, str(HERE / "customers_server.py")]
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()

INTENT = """
description: Look after customers.
effects: [read]
starters: [group:staff]
workloads: [group:assistants]
time_to_live: 10m
"""
POLICIES = """
@id("reads-are-told")
@notify("security, audit")
permit (principal, action in Remit::Action::"read", resource);

@id("customers-are-cut")
@redact("output.customers.email")
@limit("output.customers=2, bytes=20000")
permit (principal, action == Remit::Action::"customers/list_customers", resource);

@id("few-names")
@limit("output=3")
permit (principal, action == Remit::Action::"customers/names", resource);

@id("not-the-south")
@reason("region_closed")
@message("the south is closed")
@notify("security")
forbid (principal, action in Remit::Action::"read", resource)
when { context.input has region && context.input.region == "south" };
"""


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; `status` is what it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/remit"

    def taken(self) -> list[dict[str, Any]]:
        """The messages so far, verified; none is left."""
        got, self.got = self.got, []
        return [Webhook(SECRET).verify(body, headers) for headers, body in got]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*REMIT, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=90, check=False
    )


def must(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# The tests share one service and its records, in this order.
pytestmark = pytest.mark.xdist_group("real-obligations")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield receiver
    receiver.shutdown()
    receiver.server_close()
    thread.join()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("p")
    must(run(folder, "init", "."))
    settings = folder / "remit.toml"
    text = re.sub(r'listen = "[^"]*"', 'listen = ""', settings.read_text())
    settings.write_text(
        text
        + f'\n[[notifiers]]\nname = "security"\nurl = "{receiver.url}"\nsecret_file = "security.secret"\n'
        + '\n[[notifiers]]\nname = "audit"\nfile = "audit.jsonl"\n'
    )
    (folder / "security.secret").touch(0o600)
    (folder / "security.secret").write_text(SECRET + "\n")
    must(run(folder, "catalogue", "import", "customers", "--register", "gateway", "--", *SERVER))
    catalogue = folder / "catalogue" / "customers.yaml"
    catalogue.write_text(re.sub(r"effect: \w+", "effect: read", catalogue.read_text()))
    must(run(folder, "catalogue", "review", "customers", "--yes"))
    (folder / "intents" / "look.yaml").write_text(INTENT)
    (folder / "policies" / "told.cedar").write_text(POLICIES)
    must(run(folder, "check"))
    service = subprocess.Popen([*REMIT, "up", "--plain"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        wait_served(Folder(folder), lambda: service.poll() is None)
        yield folder
    finally:
        service.terminate()
        service.wait(20)


@pytest.fixture(autouse=True)
def quiet(receiver: Receiver) -> None:
    receiver.status = 200
    receiver.got.clear()


def audited(folder: Path) -> list[dict[str, Any]]:
    file = folder / "audit.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


class Agent:
    """A client that speaks to the gateway as it stands, under a task of its own."""

    def __init__(self, folder: Path) -> None:
        command = [*REMIT, "gateway", "--server", "customers", "--intent", "look", "--", *SERVER]
        self.process = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        self.ask("initialize", hello)
        self._send({"method": "notifications/initialized"})

    def _send(self, frame: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: Any) -> Any:
        self._send({"id": 1, "method": method, "params": params})
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]


@contextlib.contextmanager
def agent(folder: Path) -> Iterator[Agent]:
    made = Agent(folder)
    try:
        yield made
    finally:
        made.process.communicate(timeout=20)


def test_the_gateway_tells_cuts_and_redacts(project: Path, receiver: Receiver) -> None:
    audited(project)
    with agent(project) as client:
        result = client.call("list_customers", region="north")
        names = client.call("names", region="north")
    assert result["structuredContent"] == {
        "customers": [{"name": "north-0", "email": "[redacted]"}, {"name": "north-1", "email": "[redacted]"}],
        "total": 9,
    }
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert names["structuredContent"] == {"result": ["north-0", "north-1", "north-2"]}
    assert [block["text"] for block in names["content"]] == ["north-0", "north-1", "north-2"]
    told = receiver.taken()
    assert [each["data"]["action"] for each in told] == ["customers/list_customers", "customers/names"]
    assert told[0]["data"]["reason"]["policies"] != []
    assert "north" not in json.dumps(told)
    assert [line["data"]["decision"] for line in audited(project)] == [each["data"]["decision"] for each in told]


def test_the_gateway_tells_of_a_denial(project: Path, receiver: Receiver) -> None:
    with agent(project) as client:
        refused = client.call("list_customers", region="south")
        again = client.call("list_customers", region="south")
    assert refused["isError"]
    assert again["isError"]
    [told] = receiver.taken()  # what repeats it is counted, not told
    assert (told["type"], told["data"]["reason"]["code"]) == ("remit.action.denied", "region_closed")


def test_attack_nobody_can_be_told_and_the_agent_reads_all_the_same(project: Path, receiver: Receiver) -> None:
    receiver.status = 500
    with agent(project) as client:
        refused = client.call("list_customers", region="north")
    assert refused["isError"]
    assert "obligation_failed" in refused["content"][0]["text"]
    assert "127.0.0.1" not in refused["content"][0]["text"]
    lines = [json.loads(line) for line in must(run(project, "log", "--json", "--last", "3")).splitlines()]
    assert any(line.get("result") == "not_executed" for line in lines)


def test_exec_is_denied_what_it_can_t_hold_a_command_to(project: Path, receiver: Receiver) -> None:
    words = ("exec", "--intent", "look", "--param", "region=north", "customers/list_customers", "--", "echo", "ran")
    done = run(project, *words)
    assert (done.returncode, done.stdout) == (77, "")
    assert "obligation_unsupported" in done.stderr
    assert "`limit`, `redact`" in done.stderr
    assert receiver.taken() == []


def test_the_sdk_tells_cuts_and_redacts(project: Path, receiver: Receiver) -> None:
    must(run(project, "task", "start", "--intent", "look"))
    [file] = (project / ".remit" / "run").glob("*.json")
    grant = load_grant(file)

    async def main() -> None:
        async with await remit.connect(project, identity="pep/gateway") as client:

            @remit.governed(action="customers/list_customers", client=client, grant=grant)
            async def list_customers(region: str) -> dict[str, Any]:
                return {"customers": [{"name": region, "email": "x"}] * 5}

            assert await list_customers("west") == {"customers": [{"name": "west"}] * 2}
            with pytest.raises(Refused) as caught:
                await list_customers("south")
            assert caught.value.code == "region_closed"
            assert [each["type"] for each in receiver.taken()] == ["remit.action.permitted", "remit.action.denied"]
            probe = await client.probe(grant, "customers/names", {"region": "west"})
            assert Obligation(id="notify", to="security") in probe.obligations
            receiver.status = 302
            with pytest.raises(Refused) as caught:
                await list_customers("east")
            assert caught.value.code == "obligation_failed"
            assert len(receiver.got) == 1

    asyncio.run(main())


def test_accounts_say_what_must_be_done(project: Path) -> None:
    words = ("decide", "customers/list_customers", "--param", "region=north", "--intent", "look")
    audited(project)
    text = must(run(project, *words))
    for said in ("redact customers.email", "limit output.customers=2, bytes=20000", "notify audit", "notify security"):
        assert said in text
    assert audited(project) == []  # asking tells nobody
    found = json.loads(must(run(project, *words, "--json")))
    assert {"fields": [], "id": "notify", "to": "audit"} in found["obligations"]
    run(project, "exec", "customers/list_customers", "--intent", "look", "--param", "region=south", "--", "true")
    shown = must(run(project, "log", "--json", "--last", "500"))
    assert "region_closed" in shown


def test_the_records_hold_together(project: Path) -> None:
    must(run(project, "verify"))


def test_check_names_the_line_of_a_notifier_that_is_not_there(project: Path) -> None:
    policy = project / "policies" / "wrong.cedar"
    policy.write_text('@id("w")\n@notify("secruity")\npermit (principal, action in Remit::Action::"read", resource);\n')
    try:
        done = run(project, "check")
    finally:
        policy.unlink()
    assert done.returncode != 0
    assert "policies/wrong.cedar:2:1" in done.stdout + done.stderr
    assert "did you mean `security`?" in done.stdout + done.stderr
