"""Where a PostgreSQL database is and how to get in: the settings' URL, with the password that stands elsewhere."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from remit.core.errors import DocumentError
from remit.core.storage import FILES, StorageSettings

_PASSWORD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """One database. `url` may hold the password and is never printed or logged; `shown` never holds it."""

    url: str = field(repr=False)
    shown: str
    schema: str = "remit"


def address_of(storage: StorageSettings, root: Path) -> Address:
    """The address that checked settings name; files are looked for from the project folder on.

    `DocumentError` (`password_file_invalid`) where the password can't be read, or others can read it.
    """
    parts = urlsplit(storage.url)
    given = [(name, str(root / value) if name in FILES and value else value) for name, value in parse_qsl(parts.query)]
    netloc = parts.netloc
    if storage.password_file:
        user, at, host = netloc.rpartition("@")
        netloc = f"{user}:{quote(_password(root / storage.password_file), safe='')}{at or '@'}{host}"
    url = urlunsplit((parts.scheme, netloc, parts.path, urlencode(given), ""))
    return Address(url, urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), storage.schema)


def _password(path: Path) -> str:
    """The file's text without the end of its line; it may be a link, as mounted secrets are."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _invalid(path, f"can't read the password: {error.strerror}", "check `password_file`") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise _invalid(path, "the password file is not a regular file", "check `password_file`")
        # SECURITY: a password that others can read is not one; root may let this process's group read it, as libpq
        # permits for keys, because secrets are mounted so.
        others = mode & (0o037 if status.st_uid == 0 else 0o077)
        if others or status.st_uid not in (os.geteuid(), 0):
            raise _invalid(
                path, f"others than this user can read or change the password (mode {mode:04o})", f"chmod 600 {path}"
            )
        data = file.read(_PASSWORD_BYTES + 1)
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > _PASSWORD_BYTES or "\n" in text or "\0" in text:
        raise _invalid(path, "the password file must have one line of text", "write the password into it, and no more")
    return text


def _invalid(path: Path, message: str, next_step: str) -> DocumentError:
    return DocumentError(message, path=path, code="password_file_invalid", next_step=next_step)
