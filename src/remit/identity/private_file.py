"""Files that only their owner may read: written whole or not at all, refused when others can read them."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from remit.core.errors import Conflict, DocumentError, Unavailable

MAX_BYTES: Final = 256 * 1024


def read_private(path: Path, *, mounted: bool = False) -> bytes:
    """The file's bytes, at most 256 KiB.

    `mounted`: it may be a link, and root, whose file it then is, may let this process's group read it. So orchestrators
    mount secrets, and so libpq takes keys.

    Raises `DocumentError`: `key_file_missing`, `key_file_exposed` when group or others have any access or when it
    belongs to another user, `key_file_invalid` when it is a link, not a regular file, or too large.
    """
    try:
        follow = 0 if mounted else os.O_NOFOLLOW
        descriptor = os.open(path, os.O_RDONLY | follow | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise DocumentError("there is no such file", path=path, code="key_file_missing") from None
    except OSError as error:
        message = f"can't read the file: {error.strerror}"
        raise DocumentError(message, path=path, code="key_file_invalid") from None
    with os.fdopen(descriptor, "rb") as file:
        _check_owner_only(os.fstat(descriptor), path, mounted)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DocumentError(f"the file is larger than {MAX_BYTES} bytes", path=path, code="key_file_invalid")
    return data


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Writes `data` to `path` with mode 0600; readers see the old file or the whole new one, also after a crash.

    A missing parent folder is made with mode 0700. Without `replace`, an existing file is a
    `Conflict("key_file_exists")` and stays as it was. A full or read-only disk is
    `Unavailable("key_file_unwritable")`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(temporary, data)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise Conflict(
            "key_file_exists", f"the file `{path.name}` exists already", "move it away first, if it is to be replaced"
        ) from None
    except OSError as error:
        raise Unavailable("key_file_unwritable", f"can't write the file `{path.name}`: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_new(path: Path, data: bytes) -> None:
    # SECURITY: O_EXCL with mode 0600 from the first byte on: no moment at which others can open the file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_owner_only(status: os.stat_result, path: Path, mounted: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DocumentError("it is not a regular file", path=path, code="key_file_invalid")
    # SECURITY: a key that another user can read or put in place is not this user's key.
    if status.st_uid not in (os.geteuid(), 0):
        raise DocumentError(
            "the key file belongs to another user", path=path, code="key_file_exposed", next_step="make a new key"
        )
    if status.st_mode & (0o037 if mounted and status.st_uid == 0 else 0o077):
        raise DocumentError(
            f"the key file has mode {stat.S_IMODE(status.st_mode):04o}, so others can read it",
            path=path,
            code="key_file_exposed",
            next_step=f"make a new key, or, if nobody can have read it: chmod 600 {path}",
        )
