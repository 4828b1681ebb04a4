"""A transport that sends the head and the body of an answer in one write: each write wakes the client."""

from __future__ import annotations

import asyncio
from typing import Any


class Corked:
    """Wraps a transport; what is written leaves with `flush`, on `close`, or when the loop comes round."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._flushing: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Keeps `data` until the next flush."""
        self._parts.append(data)
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Sends what was kept."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._transport.write(data)

    def close(self) -> None:
        """Sends what was kept, then closes."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._parts.clear()
        self.flush()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
