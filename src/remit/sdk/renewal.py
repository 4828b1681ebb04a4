"""SVIDs that stay fresh: fetched with the registered key, renewed at half of their life."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from remit.core.clock import Clock
from remit.core.errors import RemitError, Unauthenticated, Unavailable
from remit.identity.holder import Holder, expiry_of
from remit.sdk.tokens import TokenSource
from remit.sdk.transport import INVALID, Transport, error_of
from remit.sdk.wire import Svid, SvidRequest

PATH: Final = "/v1/svids"
RETRY_MS: Final = 10_000
KEY_UNKNOWN_SECONDS: Final = 3.0  # then the service has looked at the issuer's keys again

_log = logging.getLogger("remit.sdk")
_svid = msgspec.json.Decoder(Svid)
_encode = msgspec.json.Encoder().encode


class HeldSvid:
    """A holder and when its SVID must be renewed. One renewal at a time."""

    def __init__(
        self, holder: Holder, now: int, until: int = 0, task: str = "", tokens: TokenSource | None = None
    ) -> None:
        """`until` is when it is needed no longer (ms); 0: as long as the client lives. `task` is the token of the task
        that the key is bound to, if it is. With `tokens` it is exchanged for one of them, each time."""
        self.holder = holder
        self.until = until
        self.task = task
        self.tokens = tokens
        self.expires = expiry_of(holder.svid) if holder.svid else 0
        self.renew_at = now + max(0, self.expires - now) // 2
        self._lock = asyncio.Lock()

    async def fresh(self, transport: Transport, clock: Clock) -> None:
        """Renews it now when it has expired or is missing; raises the service's refusal."""
        if clock() < self.expires:
            return
        async with self._lock:
            if clock() >= self.expires:
                await self._renew(transport, clock)

    async def renew(self, transport: Transport, clock: Clock) -> None:
        """Renews it; when that fails, the old one stays until it expires, and the next try is 10 seconds later."""
        async with self._lock:
            try:
                await self._renew(transport, clock)
            except RemitError as error:
                self.renew_at = clock() + RETRY_MS
                _log.warning("the SVID of %s was not renewed: %s", self.holder.id, error.message)

    async def replace(self, transport: Transport, clock: Clock, refused: str) -> None:
        """Gets another one than `refused`, which the service did not accept."""
        async with self._lock:
            if self.holder.svid == refused:
                await self._renew(transport, clock)

    async def _renew(self, transport: Transport, clock: Clock) -> None:
        try:
            if self.tokens is not None:
                answer = await exchange_token(transport, self.holder, self.tokens, clock)
            else:
                answer = await request_svid(transport, self.holder, clock(), task=self.task)
        except Unauthenticated:
            if not self.holder.svid or self.tokens is not None:
                raise
            answer = await request_svid(transport, self.holder, clock(), by_key=True)
        now = clock()
        self.holder.svid = answer.svid
        self.expires = answer.expires
        self.renew_at = now + max(0, answer.expires - now) // 2


async def exchange_token(
    transport: Transport, holder: Holder, tokens: TokenSource, clock: Clock, *, bind: str = ""
) -> Svid:
    """An SVID for the holder's key, or the one with thumbprint `bind`, in exchange for a token of an outside issuer.

    Where the service does not know the issuer's key yet, it asks once more after a few seconds.
    """
    for wait in (KEY_UNKNOWN_SECONDS, 0.0):
        token = await tokens.token()
        try:
            return await request_svid(transport, holder, clock(), by_key=True, token=token, bind=bind)
        except Unauthenticated as error:
            if error.code != "token_key_unknown" or not wait:
                raise
        await asyncio.sleep(wait)
    raise Unavailable("answer_invalid", "the service's answer is not an SVID")


async def request_svid(
    transport: Transport,
    holder: Holder,
    now: int,
    *,
    bind: str = "",
    by_key: bool = False,
    task: str = "",
    token: str = "",
) -> Svid:
    """A fresh SVID for the holder, bound to the key that it holds or to the one with thumbprint `bind`.

    With its live SVID, or with its registered key alone: when it has none, or `by_key`. With an outside `token`, for
    the key that it holds, whichever that is.
    """
    kept = holder.svid
    if by_key:
        holder.svid = ""
    try:
        headers = holder.headers("POST", transport.origin + PATH, now)
    finally:
        holder.svid = kept
    reply = await transport.send(
        "POST", PATH, _encode(SvidRequest(id=holder.id, bind=bind, task=task, token=token)), headers
    )
    if reply.status != 201:
        raise error_of(reply)
    try:
        return _svid.decode(reply.body)
    except INVALID:
        raise Unavailable("answer_invalid", "the service's answer is not an SVID") from None
