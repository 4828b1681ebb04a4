"""`GET /log/<file>`: the published log, where `[ledger] serve` says so."""

from __future__ import annotations

from starlette.types import Receive, Send

from remit.core.errors import NotFound
from remit.server.serving import Call, Serving


async def log_file(serving: Serving, call: Call, _: Receive, send: Send) -> None:
    """Sends one file of the log, to anybody."""
    if serving.log_files is None:
        raise NotFound("log_not_served", "this service does not serve its log", "set `[ledger] serve = true`")
    await serving.log_files.send(call.path["file"], call.request_id, send)
