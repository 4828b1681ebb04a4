"""The published log under `/log/`, for anybody who reaches the service (c2sp.org/tlog-tiles).

Only the log's own paths are served, each in its one spelling: `checkpoint`, tiles and entry bundles, `texts/<digest>`,
`archived`. All but the two notes (`checkpoint`, `archived`) never change. A partial tile whose full one stands there by
now is cut from that.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path
from typing import Final

from starlette.types import Send

from remit.core.errors import NotFound, Unavailable
from remit.ledger.tlog.archived import ARCHIVED
from remit.ledger.tlog.merkle import HASH_BYTES
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Tile, cut_bundle, tile_at

AT_ONCE: Final = 32  # files, so that readers of the log leave the service to those who ask it
SECONDS: Final = 60.0  # for one file, however slowly it is read

_CHUNK: Final = 256 * 1024
_NOTES: Final = (CHECKPOINT, ARCHIVED)  # the files that change
_TEXT: Final = re.compile(r"texts/[0-9a-f]{64}")
_NOTE_TYPE: Final = b"text/plain; charset=utf-8"
_BYTES_TYPE: Final = b"application/octet-stream"
_FRESH: Final = b"no-cache"
_FOREVER: Final = b"public, max-age=31536000, immutable"


class LogFiles:
    """The files of the log in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def send(self, path: str, request_id: str, send: Send) -> None:
        """Sends the file at a path below the log's prefix.

        `NotFound("log_file_missing")` for what is no path of a log, or is not there; `Unavailable("busy")` while too
        many are read at once.
        """
        tile = tile_at(path)
        # SECURITY: nothing but a log's own paths: no path of the file system can be put together here.
        if tile is None and path not in _NOTES and not _TEXT.fullmatch(path):
            raise _missing()
        if self._turns.locked():
            raise Unavailable("busy", f"the service is sending {AT_ONCE} files of the log already", "retry in a second")
        async with self._turns:
            part = b""
            try:
                handle = await asyncio.to_thread(_open, self._folder / path)
            except FileNotFoundError:
                if tile is None or tile.width == WIDTH:
                    raise _missing() from None
                part = await asyncio.to_thread(self._cut, tile)
                handle = -1
            headers = [
                (b"content-type", _BYTES_TYPE if tile else _NOTE_TYPE),
                (b"cache-control", _FRESH if path in _NOTES else _FOREVER),
                (b"x-content-type-options", b"nosniff"),
                (b"x-request-id", request_id.encode("ascii")),
            ]
            if handle < 0:
                await _begin(send, headers, len(part))
                await send({"type": "http.response.body", "body": part})
                return
            try:
                async with asyncio.timeout(SECONDS):
                    left = os.fstat(handle).st_size
                    await _begin(send, headers, left)
                    while left > 0:
                        data = await asyncio.to_thread(os.read, handle, min(_CHUNK, left))
                        left = left - len(data) if data else 0
                        await send({"type": "http.response.body", "body": data, "more_body": left > 0})
            except TimeoutError:
                return  # the answer is cut off, and the connection closed
            finally:
                os.close(handle)

    def _cut(self, tile: Tile) -> bytes:
        """A partial tile or bundle, from the full one that took its place."""
        full = Tile(tile.level, tile.index)
        try:
            data = (self._folder / full.path).read_bytes()
        except FileNotFoundError:
            raise _missing() from None
        return cut_bundle(data, tile.width) if tile.level == ENTRIES else data[: tile.width * HASH_BYTES]


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(path)
    return handle


async def _begin(send: Send, headers: list[tuple[bytes, bytes]], length: int) -> None:
    all_headers = [*headers, (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": all_headers})


def _missing() -> NotFound:
    return NotFound("log_file_missing", "the log has no such file", "begin with `checkpoint` (c2sp.org/tlog-tiles)")
