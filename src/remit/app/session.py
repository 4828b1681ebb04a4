"""What `run`, `gateway` and `exec` share: the service, who they are, and the task they work for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.app.local import connect_as, ensure_service, is_served
from remit.app.tasks import keep_grant, start_task
from remit.catalogue.document import load_catalogue
from remit.core.errors import Conflict, InvalidInput, NotFound, RemitError, Unavailable
from remit.core.settings import Settings, read_settings
from remit.sdk.client import Client, Ended
from remit.sdk.grant import TaskGrant

ATTEMPTS: Final = 8  # to attach, while services come and go
RETURN_SECONDS: Final = 0.5  # how often it is looked whether a service is back


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoice:
    """What a person said of the task to start."""

    intent: str
    workload: str = ""
    starter: str = ""
    params: dict[str, Any]
    prompt: str = ""
    case_type: str = ""
    parent: str = ""


@asynccontextmanager
async def attached(folder: Folder, path: str) -> AsyncIterator[Client]:
    """A client of the folder's service as one of its identities; starts it when none runs, and holds it open.

    A service that was started here and crashes is started again; to any other one the client attaches when it is
    back. In between, every request is `Unavailable`.
    """
    async with AsyncExitStack() as stack:
        client, ended, started = await _attach(folder, path, stack)
        staying = asyncio.create_task(_stay(folder, client, ended, revives=started))
        try:
            yield client
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)


async def _attach(folder: Folder, path: str, stack: AsyncExitStack) -> tuple[Client, Ended, bool]:
    """Attaches to the folder's service, and to the next one when this one is about to end; whether it was started."""
    for attempt in range(1, ATTEMPTS + 1):
        started = await ensure_service(folder)
        async with AsyncExitStack() as tried:
            try:
                client = await tried.enter_async_context(await connect_as(folder, path))
                ended = await tried.enter_async_context(client.attached())
            except Unavailable:
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(0.1 * attempt)
                continue
            stack.push_async_callback(tried.pop_all().aclose)
            return client, ended, started
    raise Unavailable("service_unreachable", "no service answers", "start it with `remit up`")


async def _stay(folder: Folder, client: Client, ended: Ended, *, revives: bool) -> None:
    """Attaches again whenever the service is back."""
    while True:
        await ended.wait()
        try:
            if revives and not ended.announced:
                await ensure_service(folder)
            while not is_served(folder):  # noqa: ASYNC110 - another process comes, and tells nobody
                await asyncio.sleep(RETURN_SECONDS)
            async with client.attached() as ended:
                await ended.wait()
        except RemitError:
            await asyncio.sleep(RETURN_SECONDS)


async def begin_task(folder: Folder, choice: TaskChoice) -> TaskGrant:
    """Starts the task that a person chose, as the starter that they are, and keeps its grant in `.remit/run`."""
    settings = read_settings(folder.root)
    workload = choice.workload or settings.workload
    if not workload:
        raise InvalidInput("workload_missing", "it is not said which workload will act", "give `--workload NAME`")
    async with await connect_as(folder, choice.starter or operator_path(settings)) as starter:
        grant = await start_task(
            folder,
            starter,
            workload=spiffe_id(settings.trust_domain, workload if "/" in workload else f"workload/{workload}"),
            intent=choice.intent,
            params=choice.params,
            prompt=choice.prompt,
            case_type=choice.case_type,
            parent=choice.parent,
        )
    keep_grant(folder, grant)
    return grant


async def finish_task(folder: Folder, starter: str, task: str, *, completed: bool) -> None:
    """Ends a task that this process started; one that has ended already stays as it is.

    A service that went away in the meantime is started again: the end of a task belongs in the record.
    """
    settings = read_settings(folder.root)
    (folder.run / f"{task}.json").unlink(missing_ok=True)
    async with attached(folder, starter or operator_path(settings)) as client:
        try:
            await client.end_task(task, "completed" if completed else "cancelled", "")
        except Conflict:
            return


def operator_path(settings: Settings) -> str:
    """The identity of the person at this keyboard."""
    if not settings.operator:
        raise InvalidInput("operator_missing", "`remit.toml` does not say who is at this keyboard", "set `operator`")
    return f"person/{settings.operator}"


def point_for(settings: Settings, server: str, given: str = "") -> str:
    """The enforcement point that stands before `server`: the one that is given, or the one that `remit.toml` names."""
    if given:
        return given if "/" in given else f"pep/{given}"
    points = [point.name for point in settings.enforcement_points if server in point.servers]
    if len(points) == 1:
        return f"pep/{points[0]}"
    if not points:
        raise NotFound(
            "enforcement_point_missing",
            f"no enforcement point in `remit.toml` stands before the server `{server}`",
            f'add "{server}" to its `servers`, or run `remit catalogue import {server} --register NAME -- COMMAND`',
        )
    raise InvalidInput(
        "enforcement_point_unclear", f"{len(points)} enforcement points stand before `{server}`", "give `--as`"
    )


def server_for(folder: Folder, command: tuple[str, ...]) -> str:
    """The server in the catalogue that was imported with this command."""
    servers = load_catalogue(folder.root / "catalogue").servers.values()
    found = [server.name for server in servers if server.command == command]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(server.name for server in servers)) or "none"
    raise NotFound(
        "server_unknown",
        "no server in the catalogue was imported with this command",
        f"give `--server NAME` (known: {known}), or import it with `remit catalogue import`",
    )
