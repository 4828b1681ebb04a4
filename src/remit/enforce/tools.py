"""The server's tools as this gateway has seen them, fetched when a call names one that was not seen."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from remit.core import bounds
from remit.core.decisions import Reason
from remit.core.errors import InvalidInput
from remit.enforce.calls import Call, Gone, Hung
from remit.enforce.definitions import UNLISTED, Page, Tool, read_page
from remit.enforce.frames import read_message, request_frame
from remit.enforce.refusals import Refusal
from remit.enforce.relay import Relay

LIST_SECONDS: Final = 30.0
PROTOCOL_META: Final = "io.modelcontextprotocol/"  # what MCP 2026-07-28 wants on every request


class Tools:
    """What is known of the server's list: filled by what the client lists, or by a list of the gateway's own."""

    def __init__(self, relay: Relay, server: str) -> None:
        self._relay = relay
        self._server = server
        self._seen: dict[str, Tool] = {}
        self._complete = False  # whether the whole list was seen, and no change announced since
        self._fetching = asyncio.Lock()
        self._id = f"remit-{secrets.token_hex(8)}"
        self._fetched = 0
        self.changes = 0
        relay.tools_changed = self._changed

    def see(self, page: Page, changes: int, *, whole: bool) -> None:
        """Takes a page that was asked for when `changes` was current; `whole`: it is the only one."""
        if changes != self.changes:
            return
        if whole:
            self._seen = {}
            self._complete = True
        self._seen.update(page.seen)
        while len(self._seen) > bounds.TOOLS_PER_SERVER:
            del self._seen[next(iter(self._seen))]
            self._complete = False

    async def tool(self, name: str, meta: Any) -> Tool:
        """The tool as the server lists it; a `Refusal` when the list can't be had. `meta` is the call's `_meta`."""
        if name not in self._seen and not self._complete:
            async with self._fetching:
                if name not in self._seen and not self._complete:
                    await self._fetch(name, meta)
        # SECURITY: a tool that the server does not list quotes a digest that no definition has.
        return self._seen.get(name, Tool(UNLISTED))

    def _changed(self) -> None:
        """The server says that its list has changed: nothing seen before is quoted again."""
        # SECURITY: a call after the announcement is decided on the new definition.
        self._seen = {}
        self._complete = False
        self.changes += 1

    async def _fetch(self, name: str, meta: Any) -> None:
        own = {k: v for k, v in meta.items() if k.startswith(PROTOCOL_META)} if isinstance(meta, dict) else {}
        changes, cursor = self.changes, ""
        pages: list[Page] = []
        try:
            async with asyncio.timeout(LIST_SECONDS):
                for _ in range(bounds.TOOL_PAGES):
                    page = await self._fetch_page(own, cursor)
                    pages.append(page)
                    cursor = page.cursor
                    if not cursor:
                        break
        except (TimeoutError, Gone, Hung, InvalidInput) as error:
            message = "the server's list of tools can't be read"
            self._relay.log(f"{message}: {error!r}")
            reason = Reason(code="definition_unavailable", message=message, next_step="see the server's messages")
            raise Refusal(reason, f"{self._server}/{name}") from None
        if changes == self.changes:
            self._seen = {}
            for page in pages:
                self.see(page, changes, whole=False)
            self._complete = not cursor

    async def _fetch_page(self, meta: dict[str, Any], cursor: str) -> Page:
        self._fetched += 1
        params: dict[str, Any] = {"_meta": meta} if meta else {}
        if cursor:
            params["cursor"] = cursor
        id_ = f"{self._id}-{self._fetched}"
        frame = request_frame(id_, "tools/list", params)
        call = Call(id_, "tools/list", read_message(frame.strip()))
        call.answer = asyncio.get_running_loop().create_future()
        client = self._relay.client
        client.open[id_] = call
        try:
            self._relay.send(client, call)
            answer = await call.answer
        finally:
            client.close(call)
        if "result" not in answer.members:
            raise InvalidInput("list_refused", "the server refused to list its tools")
        return read_page(answer)
