"""Starts a task and makes the grant that its workload's enforcement points prove it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from remit.app.credentials import holder_of, workload_svid
from remit.app.folder import Folder
from remit.core.tasks import StartedTask, TaskRequest
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant, save_grant

__all__ = ["Starter", "holder_of", "keep_grant", "start_task"]


class Starter(Protocol):
    """Who starts tasks: `remit.sdk.api.Remit`, of which nothing else is needed here."""

    async def start_task(self, request: TaskRequest) -> StartedTask:
        """Starts a task; the caller is its starter."""


async def start_task(
    folder: Folder,
    starter: Starter,
    *,
    workload: str,
    intent: str,
    params: dict[str, Any],
    prompt: str = "",
    case_type: str = "",
    on_behalf_of: str = "",
    parent: str = "",
) -> TaskGrant:
    """A new task of `workload` (SPIFFE ID), and its grant: a fresh key, the task's token, the workload's document.

    The workload's registered key, in this folder, vouches for the fresh one; it never leaves `.remit/keys`. Where it
    has none, a token from elsewhere does.
    """
    key = generate_key()
    started = await starter.start_task(
        TaskRequest(
            intent=intent,
            workload=workload,
            key=thumbprint(key),
            params=params,
            prompt=prompt,
            case_type=case_type,
            on_behalf_of=on_behalf_of,
            parent=parent,
        )
    )
    document = await workload_svid(folder, workload, key)
    return TaskGrant(
        task=started.task.id,
        token=started.token,
        svid=document,
        key=private_jwk(key),
        workload=workload,
        intent=intent,
        expires=started.task.expires,
    )


def keep_grant(folder: Folder, grant: TaskGrant) -> Path:
    """Writes the grant to `.remit/run/<task>.json`, mode 0600, for the gateways of this task."""
    path = folder.run / f"{grant.task}.json"
    save_grant(path, grant)
    return path
