"""Where a PostgreSQL database is and how to get in: the settings' URL, with the password that stands elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from remit.core.errors import DocumentError
from remit.core.storage import FILES, StorageSettings
from remit.identity.private_file import read_private

_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """One database. `url` may hold the password and is never printed or logged; `shown` never holds it."""

    url: str = field(repr=False)
    shown: str
    schema: str = "remit"


def address_of(storage: StorageSettings, root: Path) -> Address:
    """The address that checked settings name; files are looked for from the project folder on.

    `DocumentError` where the password can't be read (`key_file_missing`), others can read it (`key_file_exposed`), or
    it is none (`password_file_invalid`).
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
    """The file's text without the end of its line."""
    # SECURITY: a password that others can read is not one.
    data = read_private(path, mounted=True)
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > _LONGEST or "\n" in text or "\0" in text:
        raise DocumentError(
            "the password file must have one line of text",
            path=path,
            next_step="write the password into it, and nothing else",
            code="password_file_invalid",
        )
    return text
