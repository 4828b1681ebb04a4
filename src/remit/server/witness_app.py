"""A witness over HTTP (c2sp.org/tlog-witness): `POST /add-checkpoint` and `GET /<origin hash>/checkpoint`.

It stands behind the service's own listener, whose bounds on connections, heads and framing hold here too. Nobody
authenticates: what counts is the log's signature on what was sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from remit.core.errors import RemitError
from remit.ledger.tlog.witness import REQUEST_BYTES, Reply
from remit.server.attachments import Attachments
from remit.server.bodies import read_body

AT_ONCE: Final = 64  # requests
SAY_SECONDS: Final = 10.0  # between two lines of the log about refusals of one kind

_log = logging.getLogger("remit.witness")


class WitnessPort(Protocol):
    """The rules behind it: `remit.ledger.tlog.witness.Witness`."""

    def add_checkpoint(self, body: bytes, now: int) -> Reply:
        """Answers a checkpoint; `now` is the time in seconds."""

    def latest(self, origin_hash: str) -> Reply:
        """What was cosigned last of a log."""


def build_witness_app(witness: WitnessPort, now: Callable[[], int]) -> Starlette:
    """The application, for `remit.server.listener`; `now` is the time in seconds."""
    refusals = _Refusals()
    turns = asyncio.Semaphore(AT_ONCE)

    async def add_checkpoint(request: Request) -> Response:
        if turns.locked():
            # SECURITY: what waits is bounded too; a log asks again.
            return PlainTextResponse("busy\n", 503, {"Retry-After": "1"})
        async with turns:
            try:
                body = await read_body(request.receive, REQUEST_BYTES)
            except RemitError as error:
                refusals.say(error.status, error.message)
                return PlainTextResponse(f"{error.message}\n", error.status, {"Connection": "close"})
            # Flushing to the disk takes its time; other requests go on.
            reply = await asyncio.to_thread(witness.add_checkpoint, body, now())
        if reply.status not in (200, 409):
            refusals.say(reply.status, reply.body.decode().strip())
        return _response(reply, "no-store")

    async def latest(request: Request) -> Response:
        return _response(witness.latest(request.path_params["origin"]), "no-cache")

    app = Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{origin:str}/checkpoint", latest, methods=["GET"]),
        ]
    )
    app.router.redirect_slashes = False
    app.state.attachments = Attachments()
    return app


class _Refusals:
    """Says what was refused, not more often than every few seconds for one status: anybody may send anything."""

    def __init__(self) -> None:
        self._said: dict[int, float] = {}
        self._since: dict[int, int] = {}

    def say(self, status: int, why: str) -> None:
        """One more refusal."""
        now = monotonic()
        self._since[status] = self._since.get(status, 0) + 1
        if now - self._said.get(status, -SAY_SECONDS) < SAY_SECONDS:
            return
        count, self._since[status], self._said[status] = self._since[status], 0, now
        more = f" (and {count - 1} more since the last of these lines)" if count > 1 else ""
        _log.warning("refused with %d: %s%s", status, why, more)


def _response(reply: Reply, caching: str) -> Response:
    return Response(reply.body, reply.status, {"Content-Type": reply.media, "Cache-Control": caching})
