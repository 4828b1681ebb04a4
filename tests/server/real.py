"""A running service with the real governor: a copy of the finance example."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.app.service import run_service
from remit.app.tasks import start_task
from remit.catalogue.document import load_catalogue
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant

FINANCE = Path(__file__).parents[2] / "examples/finance"
AGENT = "spiffe://finance.example/workload/finance-agent"
READ = {"path": "invoices/INV-2041.json"}
PAYMENT = {"invoice": "INV-2041", "account": "DE89370400440532013000", "amount": 120.5}


class Finance:
    """The running service of a copy of the example."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.pins = {name: action.pin for name, action in load_catalogue(folder.root / "catalogue").actions.items()}

    async def client(self, path: str = "pep/gateway") -> Client:
        return await connect_as(self.folder, path)

    async def grant(
        self, intent: str = "answer-question", starter: str = "starter/accounts", **params: Any
    ) -> TaskGrant:
        async with await self.client(starter) as client:
            return await start_task(self.folder, client, workload=AGENT, intent=intent, params=params)


@asynccontextmanager
async def finance(root: Path) -> AsyncIterator[Finance]:
    shutil.copytree(FINANCE, root / "p", ignore=shutil.ignore_patterns(".remit"))
    folder = Folder(root / "p")
    ready = asyncio.Event()
    listeners: list[Any] = []

    def on_ready(_: Any, listener: Any) -> None:
        listeners.append(listener)
        ready.set()

    service = asyncio.create_task(run_service(folder, on_ready=on_ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((service, waiting), return_when=asyncio.FIRST_COMPLETED)
    if service.done():
        waiting.cancel()
        service.result()
    try:
        yield Finance(folder)
    finally:
        listeners[0].should_exit = True
        await service
