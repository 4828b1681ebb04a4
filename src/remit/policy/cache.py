"""What was found out about policies that have not changed: in memory, and in a file that only this installation makes.

Two things are remembered: how a policy's text reads (its JSON form, scope, what it mentions, its obligations), and
that it is valid under one vocabulary. Both are found by digests of all that they depend on: the text, the vocabulary,
the engine's version and Remit's own code. Nothing is remembered of policies that are wrong.

SECURITY: whoever can write the file could make an invalid policy valid, or have another one decide than the one that
is shown. So it carries a MAC by a key that stands beside the signing keys, it must belong to this user, and be
writable by nobody else. A file that fails any of it is ignored, and made anew.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import logging
import os
import secrets
import stat
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from remit.core.decisions import Obligation
from remit.policy.reads import Reads, Scope

log = logging.getLogger("remit.policy")

MOST_BYTES: Final = 256 * 1024 * 1024  # of the file
MOST_ENTRIES: Final = 40_000  # of each kind, in memory and in the file
_MAGIC: Final = b"remit policies 1\n"
_MAC: Final = 32
_KEY: Final = 32  # bytes of a digest
_COUNT: Final = struct.Struct("<I")
_HEAD: Final = struct.Struct(f"<{_KEY}sI")  # an entry: its key and length
_CHUNK: Final = 1024 * 1024


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """How the text of one policy reads, wherever it stands."""

    effect: Literal["permit", "forbid"]
    begins: int  # where the text without annotations begins
    annotations: dict[str, str]
    json: dict[str, Any]
    scope: Scope
    reads: Reads
    obligations: tuple[Obligation, ...] = ()
    approvers: tuple[str, ...] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parsed).decode


class Cache:
    """What is known of policies; one load at a time uses it, in whatever thread. Frozen values alone leave it.

    `file` and `key` are where it is kept and what vouches for it; without them it lives in memory alone.
    """

    def __init__(self, file: Path | None = None, key: bytes = b"") -> None:
        self._file = file if key else None
        self._key = key
        self._parsed: dict[str, Parsed] = {}
        self._valid: set[bytes] = set()
        self._kept: _Kept | None = None
        self._used: dict[str, Parsed] = {}
        self._raw: dict[str, tuple[bytes, memoryview]] = {}  # of these, as they stand in the file
        self._used_valid: set[bytes] = set()
        self._is_new = False  # something is known that the file does not say
        self._known: tuple[int, ...] | None = None  # the file that was read or written last
        self._loading = threading.Lock()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While policies are loaded: looks at the file first, if it changed, and writes down in the end what was used.

        What was found out before a mistake is remembered, and not written down. A file that can't be used costs time.
        """
        with self._loading:
            self._begin()
            written = False
            try:
                yield
                written = True
            finally:
                self._end(write=written)

    def parsed(self, text: str) -> Parsed | None:
        """How a policy's text reads, where that is known."""
        found = self._parsed.get(text) or self._read(text)
        if found is not None:
            self._used[text] = found
        return found

    def keep(self, text: str, parsed: Parsed) -> None:
        """Remembers how it reads."""
        self._used[text] = self._parsed[text] = parsed
        self._is_new = True

    def is_valid(self, mark: bytes) -> bool:
        """Whether this text was found valid under this vocabulary; `mark` is the digest of both."""
        if mark not in self._valid and (self._kept is None or mark not in self._kept.valid):
            return False
        self._used_valid.add(mark)
        return True

    def keep_valid(self, marks: Iterable[bytes]) -> None:
        """Remembers that these are valid."""
        for mark in marks:
            self._used_valid.add(mark)
            self._valid.add(mark)
            self._is_new = True

    def _begin(self) -> None:
        self._used, self._used_valid, self._raw = {}, set(), {}
        if self._file is not None and (status := _status(self._file)) not in (None, self._known):
            self._known = status
            self._kept = _open(self._file, self._key)

    def _end(self, *, write: bool) -> None:
        self._parsed.update(self._used)
        self._valid |= self._used_valid
        if len(self._parsed) > MOST_ENTRIES or len(self._valid) > MOST_ENTRIES:
            self._parsed, self._valid = dict(self._used), set(self._used_valid)
        self._kept = None
        if write and self._file is not None and self._is_new:
            self._is_new = not _write(self._file, self._key, self._used, self._raw, self._used_valid)
            self._known = _status(self._file)
        self._used, self._used_valid, self._raw = {}, set(), {}

    def _read(self, text: str) -> Parsed | None:
        if self._kept is None:
            return None
        digest = hashlib.sha256(text.encode()).digest()
        data = self._kept.entries.get(digest)
        if data is None:
            return None
        try:
            found = _decode(data)
            self._raw[text] = digest, data
            return found
        except (msgspec.DecodeError, RecursionError):
            return None


def _status(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class _Kept(msgspec.Struct, frozen=True):
    """A file that was found to be ours."""

    entries: Mapping[bytes, memoryview]
    valid: frozenset[bytes]


@functools.cache
def stamp() -> bytes:
    """The digest of what reads and judges policies: versions, and this room's code, which changes without one."""
    digest = hashlib.sha256()
    for package in ("remit", "cedarpy", "msgspec"):
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    folder = resources.files("remit.policy")
    files = [folder, *(folder / name for name in ("entities", "general", "dogwood"))]
    for each in files:
        for file in sorted(each.iterdir(), key=lambda file: file.name) if each.is_dir() else ():
            if file.name.endswith(".py"):
                digest.update(file.name.encode() + b"\n" + file.read_bytes())
    return digest.digest()


def _mac(key: bytes, data: memoryview) -> bytes:
    # In pieces: others get their turn in between.
    mac = hmac.new(key, _MAGIC + stamp(), hashlib.sha256)
    for start in range(0, len(data), _CHUNK):
        mac.update(data[start : start + _CHUNK])
    return mac.digest()


def _open(file: Path, key: bytes) -> _Kept | None:
    """What the file says; None where it is missing, damaged, of other versions, or not ours."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            # SECURITY: what another user owns, or can write, is nobody's word.
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                log.warning("the cache of policies is not this user's alone, and is not read: %s", file)
                return None
            if status.st_size > MOST_BYTES:
                return None
            data = opened.read(MOST_BYTES + 1)
    except OSError:
        return None
    head = len(_MAGIC) + _MAC
    if len(data) < head or len(data) > MOST_BYTES or not data.startswith(_MAGIC):
        return None
    rest = memoryview(data)[head:]
    # SECURITY: nothing of the file is looked at before its MAC was found right.
    if not hmac.compare_digest(data[len(_MAGIC) : head], _mac(key, rest)):
        log.info("the cache of policies is damaged or of another version, and is made anew")
        return None
    try:
        return _contents(rest)
    except (struct.error, ValueError):
        return None


def _contents(rest: memoryview) -> _Kept:
    (count,) = _COUNT.unpack_from(rest, 0)
    at = _COUNT.size
    entries: dict[bytes, memoryview] = {}
    for _ in range(count):
        key, length = _HEAD.unpack_from(rest, at)
        at += _HEAD.size
        entries[key] = rest[at : at + length]
        at += length
    valid = frozenset(bytes(rest[place : place + _KEY]) for place in range(at, len(rest), _KEY))
    return _Kept(entries, valid)


def _write(
    file: Path,
    key: bytes,
    used: Mapping[str, Parsed],
    raw: Mapping[str, tuple[bytes, memoryview]],
    valid: Iterable[bytes],
) -> bool:
    """Writes the file whole or not at all; False where that could not be done, which costs time and nothing else."""
    parts: list[bytes | memoryview] = [b""]
    size = len(_MAGIC) + _MAC + _COUNT.size
    count = 0
    for text, parsed in used.items():
        digest, data = raw.get(text) or (hashlib.sha256(text.encode()).digest(), _encode(parsed))
        size += _HEAD.size + len(data)
        if size > MOST_BYTES // 2 or count >= MOST_ENTRIES:
            break
        parts += (_HEAD.pack(digest, len(data)), data)
        count += 1
    parts[0] = _COUNT.pack(count)
    parts += sorted(valid)[:MOST_ENTRIES]
    body = b"".join(parts)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as opened:
            opened.write(_MAGIC + _mac(key, memoryview(body)))
            opened.write(body)
        temporary.replace(file)
    except OSError as error:
        log.info("the cache of policies could not be written: %s", error.strerror)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return False
    return True
