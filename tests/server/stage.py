"""A whole service on real sockets, in front of a fake governor, with real keys, SVIDs and proofs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from remit.core.clock import system_clock
from remit.core.identities import Kind, Registration, Role
from remit.identity.authenticator import Authenticator
from remit.identity.authority import Authority
from remit.identity.bearer import BearerKey, BearerKeys, digest_of
from remit.identity.holder import Holder
from remit.identity.keyring import KeyRing
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant
from remit.server.app import build_app
from remit.server.listener import Listener
from remit.server.sockets import bind_loopback, bind_unix, origin_of

from .fake_service import FakeService

DOMAIN = "example.org"
AUDIENCE = f"spiffe://{DOMAIN}/remit"
WORKLOAD = f"spiffe://{DOMAIN}/workload/invoices"
PEP = f"spiffe://{DOMAIN}/pep/gateway"
STARTER = f"spiffe://{DOMAIN}/starter/accounts"
PERSON = f"spiffe://{DOMAIN}/person/kim"
SECRET = "yq3Jx0o7cFqGZbC0T9s4bJ8m2u7pXlQmVvX1E3rFh0A"  # the bearer key of the enforcement point
BEARER = {"Authorization": f"Bearer {SECRET}"}
ROLES: dict[str, tuple[Kind, tuple[Role, ...]]] = {
    WORKLOAD: ("agent", ("workload",)),
    PEP: ("service", ("pep",)),
    STARTER: ("service", ("starter",)),
    PERSON: ("person", ("administrator",)),
}


class Stage:
    """The service under test: where it listens, what reached it, and holders of every registered key."""

    def __init__(self, folder: Path, *, svid_seconds: int = 3600, after: Stage | None = None) -> None:
        """`after` is the stage that served the same folder before: trust and registered keys stay."""
        now = system_clock()
        started = now - 1000 if after is None else now
        ring = KeyRing.create(folder / "trust", started) if after is None else KeyRing.load(folder / "trust")
        self.authority = Authority(DOMAIN, ring)
        self.service = FakeService(system_clock)
        self.path = folder / "r.sock"
        self.log = folder / "log"  # what is served below `/log/`; a test puts files there
        self.unix = bind_unix(self.path)
        self.tcp = bind_loopback("127.0.0.1", 0)
        self.url = origin_of(self.tcp)
        self.authenticator = Authenticator(
            DOMAIN, {DOMAIN: ring.bundle()}, AUDIENCE, ["http://remit.local", self.url], started=started
        )
        self.bearer_keys = BearerKeys(
            [
                BearerKey(sha256=digest_of(SECRET), id=PEP),
                BearerKey(sha256=digest_of("expired"), id=PEP, expires=now - 1),
            ]
        )
        self.app = build_app(
            self.service,
            self.authenticator,
            self.authority,
            bearer_keys=self.bearer_keys,
            bundle=ring.bundle,
            audience=AUDIENCE,
            base_url=self.url,
            svid_seconds=svid_seconds,
            log_folder=self.log,
        )
        self.listener = Listener(self.app, unix=self.unix, tcp=self.tcp)
        self.keys = {id: generate_key() for id in ROLES} if after is None else after.keys
        for id, (kind, roles) in ROLES.items():
            self.service.registrations[id] = Registration(
                id=id,
                kind=kind,
                roles=roles,
                owner="kim",
                key=thumbprint(self.keys[id]),
                servers=("payments",) if "pep" in roles else (),
            )

    def holder(self, id: str = PEP, *, with_svid: bool = True) -> Holder:
        """The holder of a registered key, with an SVID or before it has one."""
        key = self.keys[id]
        svid = self.authority.issue_svid(id, thumbprint(key), AUDIENCE, system_clock(), 600) if with_svid else ""
        return Holder(key, svid, id)

    def grant(self, workload: str = WORKLOAD, task: str = "t_1", *, registered_key: bool = False) -> TaskGrant:
        """A grant with an ephemeral key, as `remit run` makes one."""
        key = self.keys[workload] if registered_key else generate_key()
        now = system_clock()
        jkt = thumbprint(key)
        return TaskGrant(
            task=task,
            token=self.authority.issue_task_token(task, workload, jkt, now + 600_000, now),
            svid=self.authority.issue_svid(workload, jkt, AUDIENCE, now, 600),
            key=private_jwk(key),
            workload=workload,
            intent="pay-invoice",
            expires=now + 600_000,
        )

    async def client(self, id: str = PEP, *, tcp: bool = False, with_svid: bool = False) -> Client:
        """A connected client of this identity."""
        return await Client.connect(self.url if tcp else self.path, self.holder(id, with_svid=with_svid))


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    """A stage whose listener serves until the block ends."""
    stage = Stage(folder, **settings)
    await stage.listener.start()
    try:
        yield stage
    finally:
        await stage.listener.stop()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine on a fresh loop."""
    asyncio.run(main)


class Answered(msgspec.Struct):
    """A raw HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def raw(stage: Stage, data: bytes, *, tcp: bool = False, seconds: float = 5.0) -> bytes:
    """Everything that the service answers to these bytes until it closes, or until it waits for more."""
    if tcp:
        reader, writer = await asyncio.open_connection(sock=_connect(stage))
    else:
        reader, writer = await asyncio.open_unix_connection(str(stage.path))
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(_read_answer(reader), seconds)
    finally:
        writer.close()


async def ask(
    stage: Stage,
    method: str,
    path: str,
    body: Any = None,
    *,
    holder: Holder | None = None,
    headers: dict[str, str] | None = None,
    tcp: bool = False,
    origin: str = "",
    credentials: dict[str, str] | None = None,
) -> Answered:
    """One request by hand: with the holder's fresh proof, or with these credentials, or with none."""
    url = (origin or (stage.url if tcp else "http://remit.local")) + path
    sent = {
        "Host": "127.0.0.1" if tcp else "remit.local",
        **(holder.headers(method, url, system_clock()) if holder else credentials or {}),
    }
    data = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    if body is not None:
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
    sent |= headers or {}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return parse(await raw(stage, head.encode("latin-1") + b"\r\n" + data, tcp=tcp))


def parse(answer: bytes) -> Answered:
    """An answer with a `Content-Length`."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answered(int(lines[0].split()[1]), headers, rest)


def _connect(stage: Stage) -> socket.socket:
    sock = socket.create_connection(stage.tcp.getsockname())
    sock.setblocking(False)
    return sock


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head + await reader.read()
