"""One operation of the HTTP service: its route, its bodies for the documentation, and the function behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Send

from remit.core import bounds
from remit.server.answer import Answer
from remit.server.serving import Call, Serving

Handler = Callable[[Serving, Call], Awaitable[Answer]]
StreamHandler = Callable[[Serving, Call, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A row of the route table; routing and `/openapi.json` both come from it."""

    method: str
    path: str
    id: str  # operationId
    summary: str
    handler: Handler | None = None
    stream: StreamHandler | None = None
    takes: type[Any] | None = None  # the request body
    gives: type[Any] | None = None  # the body of the answer; None: not described by a struct
    or_takes: type[Any] | None = None  # another body that it takes
    or_gives: type[Any] | None = None  # and what it answers to that
    status: int = 200
    also: tuple[int, ...] = ()  # other successful statuses with the same body
    limit: int = bounds.REQUEST_BYTES  # of the body
    media: str = "application/json"
    public: bool = False
    deep: bool = False  # the name that its path ends with stands for all that follows, with slashes
    bearer: bool = False  # whether it may be asked with a bearer key; its handler says what
    refusals: tuple[int, ...] = ()  # besides those that every operation may answer

    @property
    def route(self) -> str:
        """Its path, as the router takes it."""
        return f"{self.path.removesuffix('}')}:path}}" if self.deep else self.path
