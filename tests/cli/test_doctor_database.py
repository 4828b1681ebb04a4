"""`remit doctor` on PostgreSQL: what is wrong with the server, the way to it, its clock, the role and the processes."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from remit.app.doctor import Finding, database
from remit.app.doctor.database import Look
from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.core.errors import Unavailable
from remit.storage.address import Address
from remit.storage.presence import Presence, Process
from tests.cli import desk
from tests.cli.test_doctor import situation
from tests.postgres import PostgresServer
from tests.storage.places import PASSWORD, use_postgres

ROLE = "remit_service"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def folder(tmp_path: Path, url: str) -> Folder:
    """A project on PostgreSQL, where nothing has happened yet."""
    made = desk.write_project(tmp_path / "desk")
    use_postgres(made.root, url)
    return made


def findings(folder: Folder, check: str = "database") -> list[Finding]:
    result = desk.command_in(folder.root)("doctor", "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert (folder.root / PASSWORD).read_text() not in result.output
    return [found for each in json.loads(result.output) if (found := Finding(**each)).check.startswith(check)]


def one(folder: Folder, check: str) -> Finding:
    (found,) = findings(folder, check)
    return found


def look(**changes: Any) -> Look:
    """A server in order, but for the changes."""
    server = {"version": "15.4", "standby": False, "fsync": True, "pages": True, "checksums": True, "standbys": "",
              "followers": 0, "most": 100, "connections": 10, "tls": True, "failures": 0}  # fmt: skip
    role = {"name": "remit", "superuser": False, "more": False, "creates": False, "has_schema": True}
    fields: dict[str, Any] = {"major": 15, "apart": 20, "missing": (), "excess": False, "records": 7, "processes": ()}
    return Look(
        server=server | {name: value for name, value in changes.items() if name in server},
        role=role | {name: value for name, value in changes.items() if name in role},
        **fields | {name: value for name, value in changes.items() if name in fields},
    )


ADDRESS = Address("postgresql://remit:secret@db.example.org/remit", "postgresql://remit@db.example.org/remit")


@pytest.mark.parametrize(
    ("check", "level", "said", "changes"),
    [
        (lambda seen: database._server(seen, ADDRESS), "ok", "PostgreSQL 15.4", {}),
        (lambda seen: database._server(seen, ADDRESS), "ok", "no records yet", {"records": None}),
        (lambda seen: database._server(seen, ADDRESS), "fail", "too old", {"major": 13}),
        (lambda seen: database._server(seen, ADDRESS), "fail", "standby", {"standby": True}),
        (lambda seen: database._server(seen, ADDRESS), "fail", "3 pages", {"failures": 3}),
        (database._durability, "ok", "on the disk", {}),
        (database._durability, "fail", "`fsync` is off", {"fsync": False}),
        (database._durability, "fail", "`full_page_writes` is off", {"pages": False}),
        (database._durability, "warn", "asynchronous", {"followers": 1}),
        (database._durability, "ok", "on the disk", {"followers": 1, "standbys": "ANY 1 (a, b)"}),
        (database._durability, "warn", "no checksums", {"checksums": False}),
        (lambda seen: [database._clock(seen)], "ok", "agree", {"apart": -900}),
        (lambda seen: [database._clock(seen)], "warn", "3.0 s ahead of", {"apart": 3_000}),
        (lambda seen: [database._clock(seen)], "fail", "9.0 s behind", {"apart": -9_000}),
        (lambda seen: database._role(seen, ADDRESS), "ok", "append records and not change", {}),
        (lambda seen: database._role(seen, ADDRESS), "warn", "a superuser", {"superuser": True, "excess": True}),
        (lambda seen: database._role(seen, ADDRESS), "warn", "may make roles", {"more": True}),
        (lambda seen: database._role(seen, ADDRESS), "warn", "change and delete records", {"excess": True}),
        (lambda seen: database._role(seen, ADDRESS), "fail", "lacks `GRANT SELECT`",
         {"missing": ("GRANT SELECT",), "superuser": True}),
        (lambda seen: database._role(seen, ADDRESS), "fail", "no schema `remit`",
         {"records": None, "has_schema": False}),
        (lambda seen: database._role(seen, ADDRESS), "ok", "append", {"records": None, "has_schema": False,
                                                                      "creates": True}),
    ],
)  # fmt: skip
def test_what_the_server_says_is_judged(
    check: Callable[[Look], Iterator[Finding]], level: str, said: str, changes: dict[str, Any]
) -> None:
    (found,) = check(look(**changes))
    assert found.level == level
    assert said in found.message
    assert bool(found.next_step) == (level != "ok")


@pytest.mark.parametrize(
    ("url", "tls", "level"),
    [
        ("postgresql://db.example.org/remit?sslmode=verify-full", True, "ok"),
        ("postgresql://db.example.org/remit?sslmode=require", True, "warn"),
        ("postgresql://db.example.org/remit", False, "warn"),
        ("postgresql://127.0.0.1/remit", False, "ok"),
        ("postgresql:///remit", False, "ok"),
    ],
)
def test_the_way_there_is_judged(url: str, tls: bool, level: str) -> None:
    assert database._encryption(look(tls=tls), url).level == level


def test_few_connections_are_said() -> None:
    (_, found) = database._server(look(connections=96), ADDRESS)
    assert (found.level, found.message) == ("warn", "4 of 100 connections are free")


@pytest.mark.parametrize(
    ("processes", "level", "said"),
    [
        ([("a", "x", "k"), ("b", "x", "k")], "ok", "2 processes decide"),
        ([("a", "x", "k"), ("b", "y", "k")], "warn", "different configurations: `a (x)`, `b (y)`"),
        ([("a", "x", "k"), ("b", "x", "l")], "fail", "different signing keys"),
    ],
)
def test_processes_that_differ_are_said(
    folder: Folder, processes: list[tuple[str, str, str]], level: str, said: str
) -> None:
    seen = look(processes=tuple(Process(number, *each) for number, each in enumerate(processes)))
    (found,) = database._processes(seen, situation(folder))
    assert found.level == level
    assert said in found.message


# --- a real server ------------------------------------------------------------------------------------------


def test_a_database_before_the_first_start(folder: Folder) -> None:
    assert {found.check: found.level for found in findings(folder)} == {
        "database": "ok", "database tls": "ok", "database clock": "ok", "database role": "warn",
    }  # fmt: skip
    assert "no records yet" in one(folder, "database").message if len(findings(folder)) == 1 else True
    assert one(folder, "durability").level == "fail"  # tests write with fsync off


def test_a_running_installation(folder: Folder, url: str) -> None:
    desk.make_history(folder)
    found = {each.check: each for each in findings(folder)}
    with reader_of(folder) as reader:
        assert f"{reader.count()} records" in found["database"].message
    assert "a superuser" in found["database role"].message

    async def beside() -> list[Finding]:
        presence = Presence(Address(url, "postgresql://the.database"), lambda: ("c" * 64, "k"))
        await presence.open()
        try:
            return await asyncio.to_thread(findings, folder, "processes")
        finally:
            await presence.close()

    (other,) = asyncio.run(beside())
    assert other.level == "warn"
    assert "another configuration than this folder's" in other.message
    assert findings(folder, "processes") == []


def test_a_database_that_does_not_answer_or_lets_nobody_in(folder: Folder, own_postgres: PostgresServer) -> None:
    (folder.root / "remit.toml").write_text((folder.root / "remit.toml").read_text().partition("[storage]")[0])
    use_postgres(folder.root, own_postgres.database())
    (folder.root / PASSWORD).write_text("wrong-password")
    found = one(folder, "database")
    assert found.level == "fail"
    assert "password" in found.message
    assert "`[storage]`" in found.next_step
    own_postgres.stop()
    found = one(folder, "database")
    assert (found.level, "Connect call failed" in found.message) == ("fail", True)
    (folder.root / PASSWORD).chmod(0o644)
    assert "so others can read it" in one(folder, "database").message


# --- a role that may only append ----------------------------------------------------------------------------


def statements() -> list[str]:
    """The GRANTs of the guide."""
    page = (Path(__file__).parents[2] / "docs/guides/operating.md").read_text()
    block = page.partition("```sql\n-- rights")[2].partition("```")[0]
    return [line for line in block.splitlines() if line.startswith(("GRANT", "REVOKE"))]


def test_a_role_that_may_append_and_no_more_is_enough(folder: Folder, url: str, postgres: PostgresServer) -> None:
    desk.make_history(folder)  # its owner makes the tables
    name = url.rpartition("/")[2]
    postgres.sql(f"DROP ROLE IF EXISTS {ROLE}")
    postgres.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'role-password'")
    try:
        text = (folder.root / "remit.toml").read_text()
        (folder.root / "remit.toml").write_text(text.replace("postgresql://remit@", f"postgresql://{ROLE}@"))
        (folder.root / PASSWORD).write_text("role-password")
        lacking = one(folder, "database role")
        assert (lacking.level, lacking.next_step) == (
            "fail", f'as the owner of the tables: GRANT USAGE ON SCHEMA "remit" TO "{ROLE}"',
        )  # fmt: skip
        granted = statements()
        assert granted
        for statement in granted:
            postgres.sql(statement, name)
        found = one(folder, "database role")
        assert (found.level, found.message) == ("ok", f"`{ROLE}` may append records and not change them")
        before = sum(1 for _ in _records(folder))
        desk.make_history(folder)
        assert sum(1 for _ in _records(folder)) > before
        assert verify_folder(folder).findings == []
        with reader_of(folder) as reader:
            assert reader.tail(("decision",)).fresh() == []
        for attack in ("DELETE FROM", "TRUNCATE", "UPDATE"):
            rest = " SET bytes = ''" if attack == "UPDATE" else ""
            as_role = postgres.url(name).replace("//remit:", f"//{ROLE}:").replace(postgres._password, "role-password")
            with pytest.raises(RuntimeError, match="permission denied"):
                postgres.sql(f"{attack} remit.records{rest}", as_role)
    finally:
        postgres.sql(f"DROP OWNED BY {ROLE}", name)
        postgres.sql(f"DROP ROLE {ROLE}")


def _records(folder: Folder) -> list[Any]:
    with reader_of(folder) as reader:
        return list(reader.records())


# --- TLS ----------------------------------------------------------------------------------------------------


def with_tls(server: PostgresServer) -> Path:
    """Makes a certificate for 127.0.0.1, and has the server use it; where its authority stands."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = {
        "server.crt": certificate.public_bytes(serialization.Encoding.PEM),
        "server.key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for file, data in files.items():
        path = server.folder / file
        path.write_bytes(data)
        path.chmod(0o600)
        if server._user:
            os.chown(path, server._user.pw_uid, server._user.pw_gid)
    for setting in (f"ssl_cert_file = '{server.folder}/server.crt'", f"ssl_key_file = '{server.folder}/server.key'"):
        server.sql(f"ALTER SYSTEM SET {setting}")
    server.sql("ALTER SYSTEM SET ssl = on")
    server.restart()
    return server.folder / "server.crt"


def test_tls_is_used_and_another_server_is_refused(tmp_path: Path, own_postgres: PostgresServer) -> None:
    folder = desk.write_project(tmp_path / "desk")
    url = own_postgres.database()
    authority = with_tls(own_postgres)
    use_postgres(folder.root, url)
    shutil.copy(authority, folder.root / "ca.pem")
    text = (folder.root / "remit.toml").read_text()
    verified = text.replace('"\npassword_file', '?sslmode=verify-full&sslrootcert=ca.pem"\npassword_file')
    (folder.root / "remit.toml").write_text(verified)
    desk.make_history(folder)
    with reader_of(folder) as reader:
        assert reader._row("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (True, "TLSv1.3")  # type: ignore[attr-defined]
        assert reader.count()
    other = desk.write_project(tmp_path / "other")
    with_tls(own_postgres)  # another key and certificate
    assert other.root.exists()
    with pytest.raises(Unavailable, match="certificate"):
        reader_of(folder)
