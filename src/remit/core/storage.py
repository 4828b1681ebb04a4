"""`[storage]`: where the records stand. In `.remit/remit.db` unless a PostgreSQL database is named."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from msgspec import Meta

from remit.core.documents import Document

SCHEMES: Final = ("postgresql", "postgres")
SECURE: Final = ("require", "verify-ca", "verify-full")
FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")  # parameters that name a file
_MODES: Final = ("disable", "allow", "prefer", *SECURE)
_PARAMETERS: Final = frozenset(
    {*FILES, "host", "port", "sslmode", "sslnegotiation", "ssl_min_protocol_version", "target_session_attrs",
     "krbsrvname"}
)  # fmt: skip
_LIKE: Final = "postgresql://remit@db.example.org/remit?sslmode=verify-full"


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[storage]`: where the records stand; several processes share them in one PostgreSQL database."""

    url: Annotated[
        str,
        Meta(
            max_length=2048,
            description=f"a PostgreSQL database, such as `{_LIKE}`, never with a password; "
            "empty: SQLite, in `.remit/remit.db`",
        ),
    ] = ""
    password_file: Annotated[
        str,
        Meta(
            max_length=1024,
            description="the file of the role's password, mode 0600; empty: `PGPASSFILE`, `~/.pgpass` or `PGPASSWORD`",
        ),
    ] = ""
    schema: Annotated[
        str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="the schema of the database that has the tables")
    ] = "remit"
    unencrypted: Annotated[bool, Meta(description="permit a connection to another machine without TLS")] = False


class Mistake(NamedTuple):
    """What is wrong with a setting, and how it is put right."""

    key: str
    message: str
    next_step: str


def check_storage(document: Document, storage: StorageSettings) -> None:
    """The URL is one of PostgreSQL, holds no password, and leaves this machine only under TLS; a `DocumentError`."""
    if mistake := mistake_in(storage):
        raise document.error(mistake.message, ("storage", mistake.key), mistake.next_step)


def mistake_in(storage: StorageSettings) -> Mistake | None:
    """The first mistake, or None."""
    if not storage.url:
        if storage.password_file:
            return Mistake("password_file", "SQLite has no password", "remove it, or set `url`")
        return None
    url = storage.url
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        return Mistake("url", "the URL can't be read", f"write it as `{_LIKE}`")
    if parts.scheme not in SCHEMES or parts.fragment or not url.isascii() or not url.isprintable():
        return Mistake("url", "this is not the URL of a PostgreSQL database", f"write it as `{_LIKE}`")
    if ":" in parts.netloc.rpartition("@")[0] or "password" in given:
        # SECURITY: the file stands in version control, and its text is kept with the records.
        return Mistake(
            "url", "the URL has a password in it", "put it into a file of mode 0600, and name that as `password_file`"
        )
    unknown = sorted(given.keys() - _PARAMETERS)
    if unknown:
        known = ", ".join(sorted(_PARAMETERS))
        return Mistake("url", f"`{unknown[0][:64]}` is not a parameter of the URL", f"known: {known}")
    mode = given.get("sslmode", "")
    if mode and mode not in _MODES:
        return Mistake("url", f"`{mode[:32]}` is no mode of TLS", "write `sslmode=verify-full`")
    away = [host for host in hosts_of(url) if not is_local(host)]
    # SECURITY: records, and perhaps the password, would be readable on the way; asyncpg falls back when it may.
    if away and mode not in SECURE and not storage.unencrypted:
        return Mistake(
            "url",
            f"the connection to `{away[0][:128]}` may go without TLS",
            "add `?sslmode=verify-full` to the URL (or, in a network that nobody else reads, `unencrypted = true`)",
        )
    return None


def hosts_of(url: str) -> Sequence[str]:
    """The hosts that a checked URL names: names, addresses, or folders of a socket; none: a socket of this machine."""
    parts = urlsplit(url)
    named = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "")
    return [_host(unquote(each)) for each in (named or os.environ.get("PGHOST", "")).split(",") if each]


def is_local(host: str) -> bool:
    """Whether the host is this machine: a socket, or a loopback address."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(named: str) -> str:
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return named if named.startswith("/") else named.partition(":")[0]
