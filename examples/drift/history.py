"""Makes the past of the research agent: three weeks of real tasks, decided, carried out and recorded like any other.

Habits are learned by the day, and nobody wants to wait three weeks for an example. So the installation is opened here
in this process with a clock that is moved by hand; all else is real: the pipeline, the keys, the records, and the MCP
servers, which answer every call. Nothing is planted: what the agent is used to follows from these records.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.core.clock import system_clock
from remit.core.decisions import Outcome
from remit.core.tasks import TaskRequest
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant

HERE = Path(__file__).resolve().parent
FILES = HERE.parents[1] / "node_modules" / ".bin" / "mcp-server-filesystem"
DAY = 86_400_000
WEEKS = 3
TASKS_A_DAY = 3


class Clock:
    """Time in ms that stands still until it is moved."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        """The time."""
        return self.now


@asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[dict[str, Client]]:
    """Clients of both servers: the third-party file server, and the fake web client."""
    commands = {"notes": [str(FILES), str(folder / "notes")], "web": [sys.executable, str(HERE / "web_server.py")]}
    quiet = Path(os.devnull).open("w")  # noqa: ASYNC230, SIM115 - it opens nothing that could block, and is closed below
    async with AsyncExitStack() as stack:
        stack.callback(quiet.close)
        found = {}
        for name, (command, *args) in commands.items():
            parameters = StdioServerParameters(command=command, args=args)
            client = Client(stdio_client(parameters, errlog=quiet))
            found[name] = await stack.enter_async_context(client)
        yield found


async def make(folder: Path) -> None:
    """Three weeks up to yesterday: notes and the wiki every day, and once, long ago, the tree of all notes."""
    clock = Clock(system_clock() - (7 * WEEKS + 1) * DAY)
    installation = await open_installation(Folder(folder), clock)
    try:
        async with servers(folder) as clients:
            for day in range(7 * WEEKS):
                for number in range(TASKS_A_DAY):
                    await task(installation, clock, clients, folder, once=(day, number) == (1, 0))
                clock.now += DAY - TASKS_A_DAY * 60_000
    finally:
        await installation.close()


async def task(
    installation: Installation, clock: Clock, clients: dict[str, Client], folder: Path, *, once: bool
) -> None:
    """One task as the desk starts it: a note and a page; with `once`, also what the agent hardly ever does."""
    desk = Embedded(installation, "starter/desk", owns=False)
    agent = Embedded(installation, "workload/research-agent", owns=False)
    gateway = Embedded(installation, "pep/gateway", owns=False)
    key = generate_key()
    request = TaskRequest(intent="answer-question", workload=agent.id, key=thumbprint(key), prompt="When do we close?")
    started = await desk.start_task(request)
    grant = TaskGrant(
        task=started.task.id,
        token=started.token,
        svid=await agent.svid(thumbprint(key)),
        key=private_jwk(key),
        workload=agent.id,
        intent="answer-question",
        expires=started.task.expires,
    )
    notes = folder / "notes"
    await call(gateway, clients, grant, "notes/read_text_file", path=str(notes / "holidays.md"))
    await call(gateway, clients, grant, "web/fetch_page", url="https://wiki.example/holidays")
    if once:
        await call(gateway, clients, grant, "notes/directory_tree", path=str(notes))
    clock.now += 60_000
    await desk.end_task(started.task.id)


async def call(gateway: Embedded, clients: dict[str, Client], grant: TaskGrant, action: str, **arguments: Any) -> None:
    """One call as an enforcement point makes it: ask, carry out, report."""
    decision = await gateway.authorize(grant, action, arguments)
    if not decision.permitted:
        raise SystemExit(f"the history can't be made: {action} was refused: {decision.reason.message}")
    server, _, tool = action.partition("/")
    result = await clients[server].call_tool(tool, arguments)
    done = Outcome(decision=decision.id, digest=decision.digest, result="error" if result.is_error else "response")
    await gateway.report(done)
