"""A service that decides, reports and publishes, and writes down what it has acknowledged: `python -m … ROOT ROUNDS`.

It runs with `recorder.c` preloaded, which journals or breaks what it writes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import remit.app.publishing
from bench.installation import ACTION, INPUT, write_project
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.app.publishing import open_publisher
from remit.core.decisions import Outcome
from remit.core.errors import Unavailable
from remit.core.tasks import TaskRequest
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant

ACKNOWLEDGED = "acknowledged"  # ids of decisions, a line each
_LEDGER = '[ledger]\nfolder = ".remit/log"\n'
_CALLERS = 3
_SECONDS = 4.0  # after which callers give up


def make_project(root: Path) -> None:
    """The project of a victim."""
    root.mkdir(exist_ok=True)
    write_project(root, 1, _LEDGER)


async def start(opened: Installation) -> TaskGrant:
    """A task whose prompt is a personal value."""
    operator = Embedded(opened, "person/operator", owns=False)
    agent = Embedded(opened, "workload/agent", owns=False)
    key = generate_key()
    started = await operator.start_task(
        TaskRequest(intent="answer", workload=agent.id, key=thumbprint(key), prompt="What became of my order?")
    )
    return TaskGrant(
        task=started.task.id,
        token=started.token,
        svid=await agent.svid(thumbprint(key)),
        key=private_jwk(key),
        workload=agent.id,
        intent="answer",
        expires=started.task.expires,
    )


async def serve(root: Path, rounds: int) -> None:
    """Opens the folder, publishes, and lets some callers decide and report."""
    remit.app.publishing.EVERY_SECONDS = 0.02  # type: ignore[misc]  # more to break in less time
    acknowledged = os.open(root / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    folder = Folder(root)
    opened = await open_installation(folder)
    publisher = await asyncio.to_thread(open_publisher, folder, opened.settings)
    if publisher is None:
        raise SystemExit("it does not publish")
    publisher.start()
    point = Embedded(opened, "pep/point", owns=False)

    async def call(number: int) -> None:
        grant: TaskGrant | None = None
        turn, until = 0, time.monotonic() + _SECONDS
        while turn < rounds and time.monotonic() < until:
            try:
                grant = grant if grant and turn % 8 else await start(opened)
                decision = await point.authorize(grant, ACTION, INPUT | {"limit": turn})
                if not decision.permitted:
                    raise Unavailable(decision.reason.code, decision.reason.message)  # nothing could be recorded
                turn += 1
                os.write(acknowledged, f"{decision.id}\n".encode())
                await point.report(Outcome(decision=decision.id, digest=decision.digest, result="response"))
            except Unavailable:
                grant = None  # a full disk, say: refused, and nothing is promised
                await asyncio.sleep(0.02)

    await asyncio.gather(*(call(number) for number in range(_CALLERS)))
    await opened.close()
    await asyncio.to_thread(publisher.stop)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
