"""Requests under way, by the side that sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from remit.enforce.frames import Id, Message
from remit.enforce.methods import Rule

Send = Callable[[bytes], None]


class Gone(Exception):
    """The other side ended before it answered."""


class Hung(Exception):
    """The other side did not answer in time."""


@dataclass(slots=True, eq=False)
class Call:
    """One request under way. `answer` is None where the answer is passed on as it comes."""

    id: Id
    method: str
    message: Message
    answer: asyncio.Future[Message] | None = None
    sent: bool = False  # whether the other side has it
    cancelled: bool = False  # whether its sender no longer waits
    modern: bool = False  # whether it carries its protocol version (MCP 2026-07-28)
    progress: Any = None  # its progress token
    trace: Any = None  # the `traceparent` that its sender gave, if any
    timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(slots=True, eq=False)
class Side:
    """One peer: the requests that it sent and that are not answered, what it may send, and the ways out."""

    name: str
    reply: Send  # to this peer
    forward: Send  # to the other
    requests: Mapping[str, Rule]
    notifications: frozenset[str]
    open: dict[Id, Call] = field(default_factory=dict)

    def close(self, call: Call) -> None:
        """The request is answered, or nobody waits for it."""
        call.stop_timer()
        if self.open.get(call.id) is call:
            del self.open[call.id]
