"""A relay and its enforcement without processes: what arrives is given, what leaves is kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from remit.enforce.enforcement import Enforcement
from remit.enforce.relay import Relay
from remit.sdk.grant import TaskGrant

from .fake import GRANT, FakeDecider, Rules

TOOLS: list[dict[str, Any]] = [
    {"name": "pay", "inputSchema": {"type": "object", "properties": {"amount": {"type": "number"}}}},
    {"name": "read", "inputSchema": {"type": "object"}},
]


class Stage:
    """`client` and `server` send; `to_client` and `to_server` are the frames that left, parsed."""

    def __init__(
        self, rules: Rules | None = None, grant: TaskGrant | None = GRANT, hang: float = 5.0, tools: Any = None
    ) -> None:
        self.decider = FakeDecider(rules)
        self.raw_to_client: list[bytes] = []
        self.raw_to_server: list[bytes] = []
        self.log: list[str] = []
        self.tools = TOOLS if tools is None else tools
        self.relay = Relay(
            to_client=self.raw_to_client.append,
            to_server=self._to_server,
            log=self.log.append,
            hang_seconds=hang,
        )
        self.enforcement = Enforcement(self.relay, self.decider, grant, "s")

    def _to_server(self, frame: bytes) -> None:
        """Keeps it; the gateway's own tools/list is answered at once."""
        message = json.loads(frame)
        if message.get("method") == "tools/list" and str(message.get("id")).startswith("remit-"):
            self.own_list = message
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"tools": self.tools}}
            asyncio.get_running_loop().call_soon(self.server, answer)
            return
        self.raw_to_server.append(frame)

    @property
    def to_client(self) -> list[Any]:
        return [json.loads(frame) for frame in self.raw_to_client]

    @property
    def to_server(self) -> list[Any]:
        return [json.loads(frame) for frame in self.raw_to_server]

    def client(self, frame: Any) -> None:
        self.relay.receive(self.relay.client, _bytes(frame))

    def server(self, frame: Any) -> None:
        self.relay.receive(self.relay.server, _bytes(frame))

    def call(self, id_: Any, tool: str, arguments: dict[str, Any] | None = None, **params: Any) -> None:
        body = {"name": tool, "arguments": arguments or {}, **params}
        self.client({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": body})

    def answer(self, id_: Any, result: Any) -> None:
        self.server({"jsonrpc": "2.0", "id": id_, "result": result})

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def close(self) -> None:
        self.relay.end()
        await self.settle()
        tasks = [*self.relay.tasks, *self.relay.background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bytes(frame: Any) -> bytes:
    return frame if isinstance(frame, bytes) else json.dumps(frame).encode()


def text(data: str, **more: Any) -> dict[str, Any]:
    """A tool result of one text block."""
    return {"content": [{"type": "text", "text": data}], "isError": False, **more}
