"""The PostgreSQL database that `[storage]` names: can it be reached and trusted, and may this role do too much?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from remit.app.doctor.finding import Finding, Level, Situation, listed
from remit.core.errors import RemitError
from remit.core.storage import hosts_of, is_local
from remit.storage.address import Address, address_of
from remit.storage.postgres_link import FAILURES, Db, advice, describe
from remit.storage.postgres_schema import OLDEST
from remit.storage.presence import Process, connect, leave, present

APART_MS: Final = 1_000
FAR_APART_MS: Final = 5_000
CONNECTIONS: Final = 7  # that one process may need, with a command beside it
SECONDS: Final = 10.0

# What a role needs that only decides and appends; `docs/guides/operating.md` has the statements.
NEEDED: Final = {
    "records": "SELECT, INSERT",
    "openings": "SELECT, INSERT, DELETE",
    "subjects": "SELECT, INSERT, DELETE",
    "subject_streams": "SELECT, INSERT, DELETE",
    "texts": "SELECT, INSERT",
    "streams": "SELECT, INSERT, UPDATE",
    "processes": "SELECT, INSERT, UPDATE, DELETE",
    "proofs": "SELECT, INSERT, DELETE",
    "installation": "SELECT",
    "places": "SELECT, INSERT",
    "agreed": "SELECT, INSERT, UPDATE",
}
_TOO_MUCH: Final = "UPDATE, DELETE, TRUNCATE"

_ROLE: Final = """
SELECT current_user AS name, r.rolsuper AS superuser, r.rolcreaterole OR r.rolcreatedb OR r.rolreplication AS more,
    has_database_privilege(current_database(), 'CREATE') AS creates,
    to_regnamespace($1) IS NOT NULL AS has_schema
FROM pg_roles r WHERE r.rolname = current_user
"""
_SERVER: Final = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
    current_setting('fsync') = 'on' AS fsync, current_setting('full_page_writes') = 'on' AS pages,
    current_setting('data_checksums') = 'on' AS checksums,
    current_setting('synchronous_standby_names') AS standbys, (SELECT count(*) FROM pg_stat_replication) AS followers,
    current_setting('max_connections')::int AS most,
    (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
    coalesce((SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()), 0) AS failures
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What the server says."""

    server: dict[str, Any]
    role: dict[str, Any]
    major: int
    apart: int  # ms that the database's clock is ahead of this machine's
    missing: tuple[str, ...]  # rights that the role lacks
    excess: bool  # whether the role may change records
    records: int | None  # None: there are no tables yet
    processes: tuple[Process, ...]


def postgres(situation: Situation) -> Iterator[Finding]:
    """The database answers, keeps what it is given, and this role may do what it must and no more."""
    settings = situation.settings
    if settings is None or not settings.storage.url:
        return
    try:
        address = address_of(settings.storage, situation.folder.root)
        look = asyncio.run(_look(address))
    except RemitError as error:
        yield _finding("database", "fail", error.message, error.next_step)
        return
    except FAILURES as error:
        message = f"can't use the database at `{address.shown}`: {describe(error)}"
        yield _finding("database", "fail", message, advice(error))
        return
    yield from _server(look, address)
    yield from _durability(look)
    yield _encryption(look, settings.storage.url)
    yield _clock(look)
    yield from _role(look, address)
    yield from _processes(look, situation)


def _server(look: Look, address: Address) -> Iterator[Finding]:
    server = look.server
    version = str(server["version"]).split()[0]
    if look.major < OLDEST:
        yield _finding("database", "fail", f"PostgreSQL {version} is too old", f"use {OLDEST} or newer")
    elif server["standby"]:
        yield _finding(
            "database", "fail", "this is a standby: nothing can be recorded", "name the primary, or all hosts, in `url`"
        )
    elif server["failures"]:
        yield _finding(
            "database",
            "fail",
            f"{server['failures']} pages of the database are damaged",
            "look at PostgreSQL's log, restore the last backup; `remit verify` shows what holds",
        )
    else:
        count = "no records yet" if look.records is None else f"{look.records} records"
        yield _finding("database", "ok", f"PostgreSQL {version} at {address.shown}, {count}")
    free = server["most"] - server["connections"]
    if free < CONNECTIONS:
        yield _finding(
            "database", "warn", f"{free} of {server['most']} connections are free", "raise `max_connections`"
        )


def _durability(look: Look) -> Iterator[Finding]:
    server = look.server
    if not server["fsync"] or not server["pages"]:
        name = "fsync" if not server["fsync"] else "full_page_writes"
        yield _finding(
            "durability",
            "fail",
            f"`{name}` is off: what was permitted may not be in the records after a power cut",
            f"set `{name} = on` in postgresql.conf",
        )
    elif server["followers"] and not server["standbys"]:
        yield _finding(
            "durability",
            "warn",
            "its standbys are asynchronous: a failover forgets the last records, and what they had spent",
            "set `synchronous_standby_names`, or cancel open tasks after a failover",
        )
    elif not server["checksums"]:
        yield _finding(
            "durability",
            "warn",
            "the database keeps no checksums: a damaged page is noticed by `remit verify` alone",
            "`pg_checksums --enable`, with the server stopped",
        )
    else:
        yield _finding("durability", "ok", "what is committed is on the disk, with checksums")


def _encryption(look: Look, url: str) -> Finding:
    mode = dict(parse_qsl(urlsplit(url).query)).get("sslmode", "")
    if all(is_local(host) for host in hosts_of(url)):
        return _finding("database tls", "ok", "the database is on this machine")
    if not look.server["tls"]:
        return _finding(
            "database tls",
            "warn",
            "records go over the network without TLS",
            "add `?sslmode=verify-full` to the URL, and remove `unencrypted`",
        )
    if mode != "verify-full":
        return _finding(
            "database tls",
            "warn",
            f"`sslmode={mode}` does not check that it is this database that answers",
            "use `sslmode=verify-full` with `sslrootcert`",
        )
    return _finding("database tls", "ok", "the connection is encrypted, and the server's name is checked")


def _clock(look: Look) -> Finding:
    apart = abs(look.apart)
    if apart <= APART_MS:
        return _finding("database clock", "ok", "this machine's clock and the database's agree")
    way = "ahead of" if look.apart > 0 else "behind"
    return _finding(
        "database clock",
        "warn" if apart <= FAR_APART_MS else "fail",
        f"the database's clock is {apart / 1000:.1f} s {way} this machine's: tasks end by the one, proofs by the other",
        "keep both right with NTP",
    )


def _role(look: Look, address: Address) -> Iterator[Finding]:
    role, schema = look.role, address.schema
    name = role["name"]
    if look.records is None and not role["has_schema"] and not role["creates"]:
        yield _finding(
            "database role",
            "fail",
            f"there is no schema `{schema}`, and `{name}` may not make one",
            f'as an administrator: CREATE SCHEMA "{schema}" AUTHORIZATION "{name}"',
        )
    elif look.missing:
        yield _finding(
            "database role",
            "fail",
            f"`{name}` lacks {listed(look.missing)}",
            f"as the owner of the tables: {look.missing[0]}",
        )
    elif role["superuser"] or role["more"]:
        what = "a superuser" if role["superuser"] else "a role that may make roles, databases or replicas"
        yield _finding(
            "database role",
            "warn",
            f"`{name}` is {what}, which the service does not need",
            f'use a role of its own, without any of that: CREATE ROLE "{name}_service" LOGIN',
        )
    elif look.excess:
        yield _finding(
            "database role",
            "warn",
            f"`{name}` may change and delete records; `remit verify` would show it, and nothing would prevent it",
            "let another role own the tables: docs/guides/operating.md has the GRANTs",
        )
    else:
        yield _finding("database role", "ok", f"`{name}` may append records and not change them")


def _processes(look: Look, situation: Situation) -> Iterator[Finding]:
    if not look.processes:
        return
    configurations = {each.configuration for each in look.processes if each.configuration}
    mine = situation.configuration.digest[:12] if situation.configuration else ""
    if len({each.keys for each in look.processes if each.keys}) > 1:
        yield _finding(
            "processes",
            "fail",
            "processes know different signing keys: each refuses what the others issued",
            "let all of them use one folder: `[identity] trust`",
        )
    elif len(configurations) > 1:
        which = listed(sorted(f"{each.host} ({each.configuration})" for each in look.processes))
        yield _finding(
            "processes",
            "warn",
            f"processes decide with different configurations: {which}",
            "finish the upgrade: the same files everywhere, then restart them one after the other",
        )
    elif mine and configurations and mine not in configurations:
        yield _finding(
            "processes",
            "warn",
            f"{len(look.processes)} processes decide with another configuration than this folder's",
            "restart them with these files, or get theirs",
        )
    else:
        count = len(look.processes)
        message = f"{count} processes decide, with one configuration" if count > 1 else "one process decides"
        yield _finding("processes", "ok", message)


async def _look(address: Address) -> Look:
    db: Db | None = None
    try:
        db = await connect(address, seconds=SECONDS, any_server=True)
        server = dict(await db.fetchrow(_SERVER) or {})
        role = dict(await db.fetchrow(_ROLE, address.schema) or {})
        began = time.time()
        there = float(await db.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))
        apart = int((there - (began + time.time()) / 2) * 1000)
        missing: tuple[str, ...] = ()
        excess, records = False, None
        if role["has_schema"] and not await db.fetchval("SELECT has_schema_privilege($1, 'USAGE')", address.schema):
            missing = (f'GRANT USAGE ON SCHEMA "{address.schema}" TO "{role["name"]}"',)
        elif await db.fetchval("SELECT to_regclass('records')") is not None:
            missing = tuple([each async for each in _missing(db, address.schema, role["name"])])
            excess = await db.fetchval("SELECT has_table_privilege('records', $1)", _TOO_MUCH)
            records = None if missing else int(await db.fetchval("SELECT coalesce(sum(n), 0) FROM streams"))
        return Look(
            server=server,
            role=role,
            major=db.get_server_version().major,
            apart=apart,
            missing=missing,
            excess=bool(excess),
            records=records,
            processes=await present(db, address),
        )
    finally:
        await leave(db)


async def _missing(db: Db, schema: str, role: str) -> AsyncIterator[str]:
    """The GRANTs that the role lacks."""
    for table, needed in NEEDED.items():
        if await db.fetchval("SELECT to_regclass($1)", table) is None:
            continue  # an older version made the database; whoever needs the table says so
        lacks = [each for each in needed.split(", ") if not await _may(db, table, each)]
        if lacks:
            yield f'GRANT {", ".join(lacks)} ON "{schema}".{table} TO "{role}"'
    if not await db.fetchval("SELECT has_sequence_privilege(pg_get_serial_sequence('records', 'seq'), 'SELECT')"):
        yield f'GRANT SELECT ON SEQUENCE "{schema}".records_seq_seq TO "{role}"'


async def _may(db: Db, table: str, right: str) -> bool:
    return bool(await db.fetchval("SELECT has_table_privilege($1, $2)", table, right))


def _finding(check: str, level: Level, message: str, next_step: str = "") -> Finding:
    return Finding(check=check, level=level, message=message, next_step=next_step)
