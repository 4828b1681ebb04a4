"""`GET /v1/attach`: a stream that stays open as long as its caller needs the service."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Send

from remit.core.errors import Forbidden, Unavailable
from remit.server.attachments import ATTACHED
from remit.server.serving import Call, Serving

BEAT_SECONDS: Final = 15


async def attach(serving: Serving, call: Call, receive: Receive, send: Send) -> None:
    """Holds the stream open: one JSON line at the start, one every 15 seconds, one when the service stops."""
    registration = serving.service.registration(call.caller.id)
    # SECURITY: who is not registered, or no longer active, can't keep the service up.
    if registration is None:
        raise Forbidden("identity_unknown", "the identity is not registered")
    if registration.state != "active":
        raise Forbidden(f"identity_{registration.state}", f"the identity is {registration.state}", "ask its owner")
    attachments = serving.attachments
    if attachments.stopping.is_set():
        raise Unavailable("service_stopping", "the service is stopping", "try again when it runs")
    if attachments.count >= ATTACHED:
        raise Unavailable("attachments_full", f"{ATTACHED} callers are attached already")
    await attachments.enter()
    try:
        await _hold(serving, call, receive, send)
    finally:
        await attachments.leave()


async def _hold(serving: Serving, call: Call, receive: Receive, send: Send) -> None:
    headers = [
        (b"content-type", b"application/x-ndjson"),
        (b"cache-control", b"no-store"),
        (b"x-request-id", call.request_id.encode("ascii")),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"attached":true}\n', "more_body": True})
    gone = asyncio.create_task(_until_gone(receive))
    stopping = asyncio.create_task(serving.attachments.stopping.wait())
    try:
        while True:
            done, _ = await asyncio.wait((gone, stopping), timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if gone in done:
                return
            if stopping in done:
                await send({"type": "http.response.body", "body": b'{"stopping":true}\n'})
                return
            await send({"type": "http.response.body", "body": b'{"beat":true}\n', "more_body": True})
    finally:
        gone.cancel()
        stopping.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
