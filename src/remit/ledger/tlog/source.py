"""Where a published log is read from: a folder, or a URL that serves it. Bounded, and nothing is believed yet."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from remit.core.errors import InvalidInput, NotFound, Unavailable
from remit.ledger.tlog.merkle import HASH_BYTES
from remit.ledger.tlog.tiles import ENTRY_BYTES, WIDTH, Tile, decode_bundle, decode_tile

SECONDS: Final = 30.0
_HEADERS: Final = {"User-Agent": "remit-verify", "Accept-Encoding": "gzip, identity"}
_BUNDLES: Final = "tile/entries/"
BUNDLE_BYTES: Final = WIDTH * (ENTRY_BYTES + 2)


class Source(Protocol):
    """The files of one log."""

    def read(self, path: str, most: int) -> bytes:
        """The file at `path` below the log's prefix, of at most `most` bytes.

        `NotFound("log_file_missing")` when it is not there, `InvalidInput("log_file_too_large")` when it is longer,
        `Unavailable("log_unreadable")` when it can't be read.
        """
        ...


class FolderSource:
    """A log in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, most: int) -> bytes:
        """As `Source.read`."""
        file = self._folder / path
        try:
            # SECURITY: a pipe or a device in a folder from outside would hold up its reader for ever.
            if file.exists() and not file.is_file():
                raise _missing(path)
            with file.open("rb") as opened:
                return _bounded(opened.read(most + 1), path, most)
        except FileNotFoundError:
            raise _missing(path) from None
        except OSError as error:
            raise _unreadable(path, error.strerror or "unknown") from None


class WithArchives:
    """A log of which old entries stand elsewhere: bundles that it lacks are read from folders of archives."""

    def __init__(self, log: Source, archives: Sequence[Source]) -> None:
        self._log = log
        self._archives = archives

    def read(self, path: str, most: int) -> bytes:
        """As `Source.read`."""
        try:
            return self._log.read(path, most)
        except NotFound:
            # SECURITY: of an archive nothing is taken but entries, which the log's own tiles verify.
            if path.startswith(_BUNDLES):
                for archive in self._archives:
                    with suppress(NotFound):
                        return archive.read(path, most)
            raise


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """SECURITY: what was asked of one host is not fetched from another."""

    def redirect_request(self, *_: Any) -> None:
        """Refuses every redirect; the response is then an error."""
        return


class HttpSource:
    """A log that is served over HTTP, below a prefix."""

    def __init__(self, prefix: str) -> None:
        parts = urlsplit(prefix)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidInput("log_url_invalid", f"`{prefix[:200]}` is no URL of a log", "write `https://host/path`")
        self._prefix = prefix.rstrip("/")
        self._opener = urllib.request.build_opener(_NoRedirect)

    def read(self, path: str, most: int) -> bytes:
        """As `Source.read`."""
        request = urllib.request.Request(f"{self._prefix}/{path}", headers=_HEADERS)  # noqa: S310 - http and https only
        try:
            with self._opener.open(request, timeout=SECONDS) as response:
                data = _bounded(response.read(most + 1), path, most)
                coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            return data if coding in ("", "identity") else _bounded(_unzipped(data, coding, path, most), path, most)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise _missing(path) from None
            raise _unreadable(path, f"the server answers {error.code}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _unreadable(path, str(getattr(error, "reason", error))[:200] or type(error).__name__) from None


def read_hashes(source: Source, tile: Tile) -> list[bytes]:
    """The hashes of a tile. A partial one that is gone is read from the full one that took its place.

    The log may grow while it is read: c2sp.org/tlog-tiles, partial tiles. Raises as `Source.read`, and
    `InvalidInput("tile_invalid")`.
    """
    data, width = _read(source, tile, WIDTH * HASH_BYTES)
    return decode_tile(data, width)[: tile.width]


def read_entries(source: Source, tile: Tile) -> list[bytes]:
    """The entries of a bundle, likewise; `InvalidInput("bundle_invalid")`."""
    data, width = _read(source, tile, BUNDLE_BYTES)
    return decode_bundle(data, width)[: tile.width]


def _read(source: Source, tile: Tile, most: int) -> tuple[bytes, int]:
    try:
        return source.read(tile.path, most), tile.width
    except NotFound as missing:
        if tile.width == WIDTH:
            raise
        try:
            return source.read(Tile(tile.level, tile.index).path, most), WIDTH
        except NotFound:
            raise missing from None


def source_of(where: str) -> Source:
    """A URL's source, or a folder's."""
    return HttpSource(where) if where.startswith(("http://", "https://")) else FolderSource(Path(where))


def _unzipped(data: bytes, coding: str, path: str, most: int) -> bytes:
    """What was compressed by gzip, at most one byte more than `most` of it."""
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        if coding not in ("gzip", "x-gzip"):
            raise zlib.error
        # SECURITY: a few bytes may say to be gigabytes.
        found = unzip.decompress(data, most + 1)
        if len(found) <= most and (not unzip.eof or unzip.unused_data):
            raise zlib.error
    except zlib.error:
        raise _unreadable(path, f"it is not what `{coding[:20]}` says") from None
    return found


def _bounded(data: bytes, path: str, most: int) -> bytes:
    if len(data) > most:
        raise InvalidInput("log_file_too_large", f"`{path}` is over {most} bytes")
    return data


def _missing(path: str) -> NotFound:
    return NotFound("log_file_missing", f"`{path}` is not there", "fetch the whole log, or ask who publishes it")


def _unreadable(path: str, why: str) -> Unavailable:
    return Unavailable("log_unreadable", f"`{path}` can't be read: {why.lower()}", "try again, or fetch it otherwise")
