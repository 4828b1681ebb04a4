"""A file that a decision names by its digest, and that nobody can change between the decision and the use.

The file is read once. What was read is kept in a sealed memory file (memfd_create(2), F_ADD_SEALS in fcntl(2)): from
then on neither this user's other processes nor the command itself can write to it, shrink it or replace it. The
digest is taken over those bytes and the command is given a path to those bytes. The path on disk plays no part any
more, so that exchanging the file after the check (time of check, time of use) changes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from remit.core import bounds
from remit.core.errors import DocumentError, InvalidInput, Unavailable

_CHUNK: Final = 1024 * 1024


class Artifact:
    """The sealed copy of one file; `digest` is its SHA-256, 64 hex digits. Close it when the command has ended."""

    def __init__(self, fd: int, digest: str, source: Path) -> None:
        self.fd = fd
        self.digest = digest
        self.source = source

    @property
    def path(self) -> str:
        """Where this process and its descendants open the sealed copy, at its beginning, for as long as it is held."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def close(self) -> None:
        os.close(self.fd)


def seal(source: Path) -> Artifact:
    """Reads `source` once into a sealed copy.

    Raises `DocumentError` when it can't be read or is no plain file, `InvalidInput` when it is larger than 2 GiB,
    `Unavailable` when the system can't seal.
    """
    try:
        # Not blocking: a named pipe in the file's place must not hang this.
        into = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise DocumentError(f"can't read the file: {error.strerror}", path=source) from None
    try:
        if not stat.S_ISREG(os.fstat(into).st_mode):
            raise DocumentError("not a plain file", path=source)
        return _copy(into, source)
    finally:
        os.close(into)


def place(command: Sequence[str], artifacts: Mapping[str, Artifact]) -> list[str]:
    """The command with `{name}` replaced by the path of the sealed copy of that name.

    Raises `InvalidInput` when the command does not use a copy, or names the file itself: it would act on bytes that
    nobody checked.
    """
    placed = list(command)
    for name, artifact in artifacts.items():
        mark = f"{{{name}}}"
        if not any(mark in word for word in placed):
            message = f"the command does not use `{mark}`, so it would act on a file that was not checked"
            raise InvalidInput("artifact_unused", message, f"write `{mark}` where the command takes the file")
        source = str(artifact.source)
        if any(source in (word, word.partition("=")[2], word[2:]) for word in command):
            # SECURITY: the path can lead to other bytes by the time the command opens it.
            message = f"the command names `{source}` itself beside `{mark}`"
            raise InvalidInput("artifact_unchecked", message, f"write `{mark}` in its place")
        placed = [word.replace(mark, artifact.path) for word in placed]
    return placed


def _copy(into: int, source: Path) -> Artifact:
    if not hasattr(os, "memfd_create"):
        raise Unavailable("artifact_unsupported", "this system can't seal files", "use Linux for `--file-param`")
    copy = os.memfd_create(source.name[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        digest, size = hashlib.sha256(), 0
        while chunk := os.read(into, _CHUNK):
            size += len(chunk)
            if size > bounds.ARTIFACT_BYTES:
                raise InvalidInput("artifact_too_large", f"`{source}` is larger than 2 GiB", "name its digest instead")
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(copy, view) :]
        # SECURITY: sealed before the digest is used; from here on the bytes are what was hashed.
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        os.close(copy)
        raise DocumentError(f"can't copy the file: {error.strerror}", path=source) from None
    except InvalidInput:
        os.close(copy)
        raise
    return Artifact(copy, digest.hexdigest(), source)
