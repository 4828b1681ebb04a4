"""Tokens from elsewhere against a running service: exchanged once, for one key, and good for nothing else."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.app.service import run_service
from remit.core import bounds
from remit.core.clock import system_clock
from remit.core.errors import RemitError
from remit.identity.authenticator import Authenticator
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, thumbprint
from remit.sdk.client import Client
from remit.sdk.renewal import request_svid
from remit.sdk.tokens import TokenFile
from remit.sdk.transport import open_transport
from remit.sdk.wire import Svid
from remit.storage.sqlite_reader import SqliteReader
from tests.identity.issuers import COMPANY, GITHUB, OURS, LocalIssuer, github, rsa, staff
from tests.server.real import FINANCE

DOMAIN = "finance.example"
CI = f"spiffe://{DOMAIN}/starter/ci"

ISSUERS = f"""
[[starters]]
name = "ci"
owner = "kim"
kind = "pipeline"
key = "none"

[[issuers]]
name = "github"
issuer = "{GITHUB}"
audience = "{OURS}"
jwks_file = "github.json"

[[issuers.rules]]
identity = "starter/ci"
claims = {{ repository_id = "74", ref = "refs/heads/main" }}

[[issuers.rules]]
identity = "workload/{{environment}}"
audience = "{OURS}/new"
claims = {{ repository_id = "74" }}
register = {{ owner = "kim", groups = ["pipelines"] }}
group_claim = "teams"
groups = {{ platform = "platform" }}

[[issuers]]
name = "staff"
issuer = "{COMPANY}"
audience = "{OURS}"
jwks_file = "staff.json"

[[issuers.rules]]
identity = "person/{{preferred_username}}"
claims = {{ groups = "staff" }}
"""

HUB = LocalIssuer(GITHUB, rsa(0))
STAFF = LocalIssuer(COMPANY, rsa(1))


def token(**more: Any) -> str:
    now = system_clock() // 1000
    return HUB.token(github(iat=now, nbf=now, exp=now + 300, **more))


class Place:
    """A running service of the finance example, with two outside issuers whose keys are local ones."""

    def __init__(self, folder: Folder, authenticator: Authenticator) -> None:
        self.folder = folder
        self.authenticator = authenticator

    async def exchange(self, token: str, holder: Holder | None = None, **more: Any) -> tuple[Svid, Holder]:
        holder = holder or Holder(generate_key(), "", CI)
        transport = open_transport(self.folder.socket)
        try:
            now = system_clock()
            answer = await request_svid(transport, holder, now, by_key=True, token=token, **more)
        finally:
            await transport.close()
        return answer, Holder(holder._key, answer.svid, answer.id)

    async def operator(self) -> Client:
        return await connect_as(self.folder, "person/controller")

    def records(self, kind: str = "exchange") -> list[dict[str, Any]]:
        with SqliteReader(self.folder.database) as reader:
            return [each.record.body for each in reader.records() if each.record.kind == kind]


async def code_of(work: Awaitable[Any]) -> str:
    with pytest.raises(RemitError) as caught:
        await work
    return caught.value.code


@asynccontextmanager
async def serving(root: Path, more: str = ISSUERS) -> AsyncIterator[Place]:
    folder = Folder(root / "p")
    if not folder.root.exists():
        shutil.copytree(FINANCE, folder.root, ignore=shutil.ignore_patterns(".remit"))
        with (folder.root / "remit.toml").open("a") as file:
            file.write(more)
        (folder.root / "github.json").write_bytes(HUB.jwks())
        (folder.root / "staff.json").write_bytes(STAFF.jwks())
    ready = asyncio.Event()
    listeners: list[Any] = []
    authenticators: list[Authenticator] = []

    def on_ready(installation: Any, listener: Any) -> None:
        authenticators.append(installation.authenticator)
        listeners.append(listener)
        ready.set()

    service = asyncio.create_task(run_service(folder, on_ready=on_ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((service, waiting), return_when=asyncio.FIRST_COMPLETED)
    if service.done():
        waiting.cancel()
        service.result()
    try:
        yield Place(folder, authenticators[0])
    finally:
        listeners[0].should_exit = True
        await service


def run(root: Path, work: Callable[[Place], Awaitable[None]], more: str = ISSUERS) -> None:
    async def all_of_it() -> None:
        async with serving(root, more) as place:
            await work(place)

    asyncio.run(all_of_it())


def test_a_token_becomes_an_svid_that_works(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        answer, holder = await place.exchange(token())
        assert answer.id == CI
        assert answer.expires <= system_clock() + 300_000
        async with await Client.connect(place.folder.socket, holder) as client:
            assert (
                await code_of(client.identities()) != "key_unknown"
            )  # it asked as itself, and may not read the record
        body = place.records()[0]
        assert (body["issuer"], body["source"], body["rule"]) == (GITHUB, "issuers/github", 1)
        assert body["subject"] == "repo:octo-org/octo-repo:environment:production"
        assert body["key"] == holder.key

    run(tmp_path, work)


def test_the_token_itself_is_nowhere_in_the_records(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        text = token()
        await place.exchange(text)
        everything = place.folder.database.read_bytes()
        wal = place.folder.database.with_name("remit.db-wal")
        everything += wal.read_bytes() if wal.exists() else b""
        for part in text.split("."):
            assert part.encode() not in everything

    run(tmp_path, work)


def test_no_other_endpoint_takes_the_token(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        holder = Holder(generate_key(), token(), CI)  # the token where an SVID belongs
        transport = open_transport(place.folder.socket)
        try:
            for method, path in (
                ("POST", "/v1/tasks"),
                ("POST", "/access/v1/evaluation"),
                ("GET", "/v1/identities"),
                ("POST", "/v1/svids"),
                ("POST", "/v1/outcomes"),
            ):
                headers = holder.headers(method, transport.origin + path, system_clock())
                reply = await transport.send(method, path, b"{}", headers)
                assert reply.status == 401, path
                bearer = {**headers, "Authorization": f"Bearer {holder.svid}"}
                assert (await transport.send(method, path, b"{}", bearer)).status == 401
        finally:
            await transport.close()

    run(tmp_path, work)


def test_a_token_is_bound_to_the_first_key_that_used_it(tmp_path: Path) -> None:
    text = token()
    keys: list[Holder] = []

    async def first(place: Place) -> None:
        _, holder = await place.exchange(text)
        keys.append(holder)
        await place.exchange(text, Holder(holder._key, "", CI))  # the same key again
        assert len(place.records()) == 1  # and no second record
        assert await code_of(place.exchange(text)) == "token_replayed"
        await place.exchange(token(jti="another"))

    async def after_a_restart(place: Place) -> None:
        assert await code_of(place.exchange(text)) == "token_replayed"
        await place.exchange(text, Holder(keys[0]._key, "", CI))

    run(tmp_path, first)
    run(tmp_path, after_a_restart)


def test_a_race_for_one_token_has_one_winner(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        text = token()
        tried = await asyncio.gather(*(place.exchange(text) for _ in range(12)), return_exceptions=True)
        assert sum(not isinstance(each, BaseException) for each in tried) == 1
        assert {each.code for each in tried if isinstance(each, RemitError)} == {"token_replayed"}

    run(tmp_path, work)


def test_quarantine_refuses_and_reactivation_lets_in_again(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        _, held = await place.exchange(token())
        async with await place.operator() as operator:
            await operator.change(CI, "quarantined", "looks stolen")
            assert await code_of(place.exchange(token(jti="b"))) == "identity_quarantined"
            async with await Client.connect(place.folder.socket, held) as client:
                assert await code_of(client.identities()) == "identity_quarantined"
            await operator.change(CI, "active", "looked into")
            await place.exchange(token(jti="c"))

    run(tmp_path, work)


def test_an_svid_from_a_token_does_not_outlive_it_by_renewing(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        _, holder = await place.exchange(token())
        transport = open_transport(place.folder.socket)
        try:
            assert await code_of(request_svid(transport, holder, system_clock())) == "renewal_refused"
            other = Holder(generate_key(), "", CI).key
            assert await code_of(request_svid(transport, holder, system_clock(), bind=other)) == "bind_refused"
            assert await code_of(request_svid(transport, holder, system_clock(), token=token())) == "token_unexpected"
        finally:
            await transport.close()

    run(tmp_path, work)


def test_the_key_of_a_token_binds_the_key_of_a_task_while_the_token_holds(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        text, mine, tasks = token(), Holder(generate_key(), "", CI), generate_key()
        answer, _ = await place.exchange(text, mine, bind=thumbprint(tasks))
        assert answer.expires <= system_clock() + 300_000
        async with await Client.connect(place.folder.socket, Holder(tasks, answer.svid, CI)) as client:
            assert await code_of(client.identities()) != "key_mismatch"
        await place.exchange(text, mine, bind=thumbprint(generate_key()))
        # the other key has no part in the token
        assert await code_of(place.exchange(text, Holder(tasks, "", CI))) == "token_replayed"
        assert await code_of(place.exchange(text, mine, bind="no thumbprint")) == "bind_malformed"
        assert [body["key"] for body in place.records()] == [mine.key]

    run(tmp_path, work)


def test_a_token_that_is_bound_to_a_key_needs_that_key(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        mine = Holder(generate_key(), "", CI)
        bound = token(cnf={"jkt": mine.key})
        assert await code_of(place.exchange(bound)) == "key_mismatch"
        assert (await place.exchange(bound, mine))[0].id == CI

    run(tmp_path, work)


def test_another_identity_than_the_tokens_own(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        for path in ("starter/accounts", "person/controller", "pep/gateway"):
            holder = Holder(generate_key(), "", f"spiffe://{DOMAIN}/{path}")
            assert await code_of(place.exchange(token(), holder)) == "identity_mismatch"
        assert place.records() == []

    run(tmp_path, work)


def test_a_key_that_is_registered_for_somebody_else(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        from remit.app.tasks import holder_of

        theirs = holder_of(place.folder, f"spiffe://{DOMAIN}/pep/gateway")
        assert await code_of(place.exchange(token(), Holder(theirs._key, "", CI))) == "key_taken"

    run(tmp_path, work)


def test_an_identity_at_first_sight(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        def made(**more: Any) -> str:
            return token(aud=f"{OURS}/new", environment="web-prod", **more)

        nobody = Holder(generate_key(), "", "")
        answer, _ = await place.exchange(made(teams=["platform", "administrators"]), nobody)
        assert answer.id == f"spiffe://{DOMAIN}/workload/web-prod"
        async with await place.operator() as operator:
            known = {each.id: each for each in await operator.identities()}[answer.id]
            assert (known.roles, known.owner, known.key) == (("workload",), "kim", "")
            assert known.groups == ("pipelines", "platform")
            # what the issuer takes away is taken away here
            await place.exchange(made(jti="b", teams=[]), Holder(generate_key(), "", ""))
            assert {each.id: each for each in await operator.identities()}[answer.id].groups == ("pipelines",)
            # and what an operator has said is left alone
            await operator.change(answer.id, "quarantined", "odd")
            assert (
                await code_of(place.exchange(made(jti="c"), Holder(generate_key(), "", ""))) == "identity_quarantined"
            )
        assert [body["by"] for body in place.records("identity")][-3:-1] == ["issuers/github rule 2"] * 2

    run(tmp_path, work)


def test_a_claim_does_not_make_an_administrator(tmp_path: Path) -> None:
    """The controller of the example administers; an account of that name at the issuer does not."""

    async def work(place: Place) -> None:
        now = system_clock() // 1000
        text = STAFF.token(staff(preferred_username="controller", iat=now, nbf=now, exp=now + 300))
        assert await code_of(place.exchange(text, Holder(generate_key(), "", ""))) == "identity_chosen"

    run(tmp_path, work)


def test_a_person_who_is_not_registered(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        now = system_clock() // 1000
        text = STAFF.token(staff(preferred_username="grace", iat=now, nbf=now, exp=now + 300))
        assert await code_of(place.exchange(text, Holder(generate_key(), "", ""))) == "identity_unknown"

    run(tmp_path, work)


def test_too_many_exchanges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EXCHANGES_AT_ONCE", 5)
    monkeypatch.setattr(bounds, "TOKENS_PER_IDENTITY", 3)

    async def work(place: Place) -> None:
        codes = []
        for number in range(6):
            try:
                await place.exchange(token(jti=f"j{number}"))
            except RemitError as error:
                codes.append(error.code)
        assert codes == ["token_memory_full", "token_memory_full", "rate_limited"]
        assert len(place.records()) == 3
        transport = open_transport(place.folder.socket)
        try:
            metrics = (await transport.send("GET", "/metrics", None, {})).body.decode()
        finally:
            await transport.close()
        for result, count in (("exchanged", 3), ("rate_limited", 1), ("token_memory_full", 2)):
            assert f'remit_exchanges_total{{result="{result}"}} {count}\n' in metrics
        assert 'remit_issuer_keys{source="issuers/github"} 1\n' in metrics
        assert 'remit_issuer_stale{source="issuers/github"} 0\n' in metrics

    run(tmp_path, work)


def test_strangers_leave_nothing_behind(tmp_path: Path) -> None:
    """Whoever has no token that a rule maps can't fill what is remembered of proofs, nor the records."""

    async def work(place: Place) -> None:
        before = len(place.records("identity"))
        for text in (
            "x.y.z",
            token(aud="https://other.example.org"),
            token(repository_id="75"),
            LocalIssuer(GITHUB, rsa(1)).token(github()),
        ):
            for _ in range(3):
                assert await code_of(place.exchange(text, Holder(generate_key(), "", "")))
        assert len(place.authenticator._used_alone) == 0
        assert (len(place.records()), len(place.records("identity"))) == (0, before)

    run(tmp_path, work)


def test_an_expired_token_at_the_very_end(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        now = system_clock() // 1000
        # within the leeway for clocks it still holds, and there is nothing left that it could buy
        late = HUB.token(github(iat=now - 300, nbf=now - 300, exp=now - 2))
        assert await code_of(place.exchange(late)) == "token_expired"

    run(tmp_path, work)


def test_a_client_stays_connected_with_a_token_file(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        import remit

        file = tmp_path / "token"
        file.write_text(token() + "\n")
        client = await remit.connect(place.folder.root, identity="starter/ci", token_file=file)
        async with client:
            assert client.id == CI
            first = client._holder.svid
            file.write_text(token(jti="second"))
            await client._own.renew(client._transport, client._clock)
            assert client._holder.svid != first
        assert len(place.records()) == 2
        assert await code_of(connect_as(place.folder, "starter/ci")) == "key_missing"
        file.write_text("two tokens")
        assert await code_of(TokenFile(file).token()) == "token_malformed"

    run(tmp_path, work)


def test_on_whose_behalf_a_token_of_the_company_may_say(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        from remit.app.tasks import start_task

        now = system_clock() // 1000
        times = {"iat": now, "nbf": now, "exp": now + 300}

        async def behalf(text: str) -> str:
            async with await connect_as(place.folder, "starter/accounts") as starter:
                await start_task(
                    place.folder,
                    starter,
                    workload=f"spiffe://{DOMAIN}/workload/finance-agent",
                    intent="answer-question",
                    params={},
                    on_behalf_of=text,
                )
            return next(body["onBehalfOf"] for body in reversed(place.records("task")) if "intent" in body)

        ada = staff(preferred_username="controller", **times)
        assert await behalf(STAFF.token(ada)) == f"spiffe://{DOMAIN}/person/controller"
        assert await code_of(behalf(STAFF.token(ada, {"aud": "https://other.example.org"}))) == "token_audience"
        assert await code_of(behalf(STAFF.token(ada, {"preferred_username": "grace"}))) == "identity_unknown"
        assert await code_of(behalf(token())) == "person_invalid"  # a pipeline's token
        # a client's own token, whatever name it carries
        assert await code_of(behalf(STAFF.token(ada, {"sub": "desk"}))) == "person_invalid"
        assert await code_of(behalf(STAFF.token(ada, {"sub": "x", "client_id": "x"}))) == "person_invalid"
        assert await code_of(behalf(LocalIssuer(COMPANY, rsa(0)).token(ada))) == "token_invalid"

    run(tmp_path, work)


def test_the_records_of_all_this_verify(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        await place.exchange(token())
        await place.exchange(token(aud=f"{OURS}/new", environment="web"), Holder(generate_key(), "", ""))

    run(tmp_path, work)
    from click.testing import CliRunner

    from remit.cli.main import cli

    done = CliRunner().invoke(cli, ["--project", str(tmp_path / "p"), "verify", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["findings"] == []
