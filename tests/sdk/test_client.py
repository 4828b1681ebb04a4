from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.clock import system_clock
from remit.core.decisions import Obligation, Outcome
from remit.core.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RemitError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from remit.core.identities import Registration
from remit.core.tasks import Forgetting, RiskSignal, TaskRequest
from remit.identity.holder import Holder, expiry_of
from remit.identity.keys import generate_key, thumbprint
from remit.sdk.client import Client
from remit.sdk.permit import Refused
from remit.sdk.transport import Reply
from server.stage import PEP, PERSON, STARTER, WORKLOAD, Stage, run, running

INPUT = {"amount": "12.00", "note": "für Zoë", "n": 3, "x": 1.5, "deep": {"list": [1, None, True]}}


@pytest.mark.parametrize("tcp", [False, True])
def test_authorizes_and_reports(tmp_path: Path, tcp: bool) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client(tcp=tcp) as client:
            permit = await client.permit(stage.grant(), "payments/pay", INPUT, definition="ab")
            permit.use("payments/pay", INPUT)
            decision = permit.decision
            assert decision.permitted
            outcome = Outcome(decision=decision.id, digest=decision.digest, result="response", output={"id": "p1"})
            receipt = await client.report(outcome)
            assert receipt.standing == "believed"
            later = await client.report(outcome, wait=False)
            assert later.decision == decision.id
            assert [durable for _, _, durable in stage.service.reports] == [True, False]
            [(kind, asked)] = stage.service.asks
            assert (kind, asked.input, asked.definition, asked.subject) == ("authorize", INPUT, "ab", WORKLOAD)

    run(main())


def test_the_service_says_why_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            decision = await client.authorize(stage.grant(), "payments/deny", {})
            assert not decision.permitted
            assert decision.reason.policies[0].line == 3
            with pytest.raises(Refused) as caught:
                await client.permit(stage.grant(), "payments/deny", {})
            assert caught.value.code == "not_justified"
            assert caught.value.next_step == "ask for another task"
            assert caught.value.decision.startswith("d_")

    run(main())


def test_a_probe_gives_no_permit(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            decision = await client.probe(stage.grant(), "payments/pay", INPUT)
            assert (decision.permitted, decision.probe, decision.id) == (True, True, "")
            assert stage.service.records == []

    run(main())


def test_says_plainly_who_enforces(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            async with await stage.client(PEP) as client:
                assert client.enforcement == "pep"
            grant = stage.grant()
            async with await Client.connect(stage.path, grant.holder()) as inside:
                assert inside.enforcement == "self"
                await inside.authorize(grant, "payments/pay", INPUT)
                assert stage.service.asks[-1][1].proof is None
                receipt = await inside.report(Outcome(decision="d", digest="x", result="response"))
                assert receipt.standing == "claimed"

    run(main())


def test_an_svid_is_fetched_with_the_registered_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            holder = stage.holder(with_svid=False)
            async with await Client.connect(stage.path, holder):
                assert expiry_of(holder.svid) > system_clock()
            stranger = Holder(generate_key(), "", PEP)
            with pytest.raises(Unauthenticated):
                await Client.connect(stage.path, stranger)

    run(main())


def test_an_svid_is_renewed_at_half_of_its_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.sdk.client._LOOK_SECONDS", 0.05)

    async def main() -> None:
        async with running(tmp_path, svid_seconds=2) as stage:
            holder = stage.holder(with_svid=False)
            async with await Client.connect(stage.path, holder) as client:
                first = holder.svid
                await asyncio.sleep(0.3)
                assert holder.svid == first
                await asyncio.sleep(1.5)
                assert holder.svid != first
                await client.identities()

    run(main())


def test_an_ephemeral_subjects_svid_is_renewed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.sdk.client._LOOK_SECONDS", 0.05)

    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            grant = stage.grant()
            await client.authorize(grant, "payments/pay", INPUT)
            held = client._subjects[grant.token]
            held.renew_at = 0
            await asyncio.sleep(0.3)
            assert held.renew_at > system_clock()
            assert (await client.authorize(grant, "payments/pay", INPUT)).permitted

    run(main())


def test_a_refused_svid_is_replaced_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            other = stage.authority.issue_svid(PEP, thumbprint(stage.keys[PEP]), "spiffe://other", system_clock(), 600)
            client._holder.svid = other
            client._proofs.clear()
            assert await client.identities()
            assert client._holder.svid != other

    run(main())


def test_a_lost_connection_is_retried_with_the_same_idempotency_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            await client.identities()
            for connection in list(stage.listener.server_state.connections):
                connection.transport.abort()  # type: ignore[union-attr]
            assert (await client.authorize(stage.grant(), "payments/pay", INPUT)).permitted
            assert stage.service.asks[-1][1].idempotency_key

    run(main())


def test_a_client_outlives_its_service(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as first:
            client = await first.client()
            grant = first.grant()
            await client.authorize(grant, "payments/pay", INPUT)
            await client.authorize(grant, "payments/pay", INPUT)
        with pytest.raises(Unavailable):
            await client.authorize(grant, "payments/pay", INPUT)
        async with running(tmp_path, after=first) as second:
            # A proof that was made ahead for the first service is refused by the second; the client makes another.
            svid = client._holder.svid
            assert (await client.authorize(grant, "payments/pay", INPUT)).permitted
            assert (await client.authorize(grant, "payments/pay", INPUT)).permitted
            assert len(second.service.asks) == 2
            assert client._holder.svid == svid
            await client.close()

    run(main())


def test_one_idempotency_key_gives_one_permit(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            grant = stage.grant()
            await client.permit(grant, "payments/pay", INPUT, idempotency_key="once")
            with pytest.raises(Conflict) as caught:
                await client.permit(grant, "payments/pay", INPUT, idempotency_key="once")
            assert caught.value.code == "permit_spent"

    run(main())


def test_no_service(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        stage.unix.close()
        stage.tcp.close()
        with pytest.raises(Unavailable) as caught:
            await Client.connect(stage.path, stage.holder(with_svid=False))
        assert caught.value.code == "service_unreachable"
        assert caught.value.next_step == "start it with `remit up`"
        with pytest.raises(Unavailable):
            await Client.connect(tmp_path / "none.sock", stage.holder(with_svid=False))
        with pytest.raises(Unavailable):
            await Client.connect(stage.url, stage.holder(with_svid=False))

    run(main())


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            client = await stage.client()
            await client.close()
            with pytest.raises(Unavailable) as caught:
                await client.identities()
            assert caught.value.code == "client_closed"

    run(main())


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\njunk",
        b"HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\njunk",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"junk\r\n\r\n",
        b"",
        _ok(b'{"decision":true,"context":{"id":"d_1","digest":"00","expires":99,"reason":{"code":"p","message":"m"}}}'),
        _ok(b'{"decision":"true","context":{"id":"d_1","digest":"00","reason":{"code":"p","message":"m"}}}'),
    ],
)
def test_whatever_an_impostor_answers_permits_nothing(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main() -> None:
        stage = Stage(tmp_path)
        server = await asyncio.start_unix_server(serve, str(tmp_path / "x.sock"))
        async with server, await Client.connect(tmp_path / "x.sock", stage.holder()) as client:
            with pytest.raises(Unavailable):
                await client.authorize(stage.grant(), "payments/pay", INPUT)
        stage.unix.close()
        stage.tcp.close()

    run(main())


def test_a_service_that_hangs_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.sdk.transport.SECONDS", 0.3)

    async def main() -> None:
        stage = Stage(tmp_path)
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(str(tmp_path / "x.sock"))
            deaf.listen(1)
            async with await Client.connect(tmp_path / "x.sock", stage.holder()) as client:
                with pytest.raises(Unavailable) as caught:
                    await client.authorize(stage.grant(), "payments/pay", INPUT)
                assert caught.value.code == "service_timeout"
        stage.unix.close()
        stage.tcp.close()

    run(main())


class Impostor:
    """A transport that answers anything."""

    origin = "http://remit.local"

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def send(self, *_: Any) -> Reply:
        return self.reply

    async def close(self) -> None:
        return None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(200, 599),
    st.binary(max_size=200)
    | st.sampled_from([b"[" * 5000, b'{"x":' * 5000, b'{"code":"' + b"x" * 9000])
    | st.fixed_dictionaries(
        {"decision": st.booleans() | st.none() | st.integers(), "context": st.dictionaries(st.text(), st.text())}
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_answer_is_a_decision_or_an_error(stage: Stage, status: int, body: bytes) -> None:
    async def main() -> None:
        transport: Any = Impostor(Reply(status, body))
        async with Client(transport, stage.holder()) as client:
            with pytest.raises(RemitError):
                await client.authorize(stage.grant(registered_key=True), "payments/pay", INPUT)

    run(main())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.unix.close()
    stage.tcp.close()


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1:80", "http://evil.example", "ftp://127.0.0.1", "http://127.0.0.1/path", "127.0.0.1:80", ""],
)
def test_tokens_leave_this_machine_only_encrypted(tmp_path: Path, url: str) -> None:
    async def main() -> None:
        with pytest.raises(InvalidInput):
            await Client.connect(url, Holder(generate_key(), "", PEP))

    run(main())


def test_a_proxy_in_the_environment_sees_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client(tcp=True) as client:
            assert await client.identities()

    run(main())


def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            with pytest.raises(NotFound) as unknown:
                await client.task("t_none")
            assert (unknown.value.code, unknown.value.next_step) == ("task_unknown", "look at `remit task list`")
            with pytest.raises(Forbidden) as refused:
                await client.register(_registration())
            assert (refused.value.code, refused.value.decision) == ("no_policy_permits", "d_refused")
            with pytest.raises(TooLarge):
                await client.authorize(stage.grant(), "payments/pay", {"x": "y" * 300_000})
            stage.service.fault = Conflict("key_conflict", "another digest", "use another key")
            with pytest.raises(Conflict):
                await client.authorize(stage.grant(), "payments/pay", {})
            with pytest.raises(NotFound):
                await client.task("../../v1/identities?x=#")

    run(main())


def test_administers(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client(PERSON) as client:
            new = await client.register(_registration())
            assert new in await client.identities()
            changed = await client.change(new.id, "quarantined", "odd calls")
            assert changed.state == "quarantined"
            await client.set_risk(
                RiskSignal(id=WORKLOAD, signal="manual", value=50, source="kim", expires=system_clock() + 1000)
            )
            wanted = Forgetting(id=WORKLOAD, tools=("a/b",), destinations=("h.example",), reason="not ours")
            assert await client.forget(wanted) == ("a/b", "h.example")
            await client.resolve("d_1", "not_executed", "looked")
            kinds = [kind for kind, _ in stage.service.records]
            assert kinds == ["identity", "identity", "risk", "forgotten", "resolution"]
            with pytest.raises(InvalidInput):
                await client.set_risk(RiskSignal(id=WORKLOAD, signal="m", value=101, source="kim", expires=1))

    run(main())


def test_starts_and_ends_a_task_for_a_person(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client(STARTER) as client:
            key = generate_key()
            person = stage.holder(PERSON).svid
            request = TaskRequest(
                intent="pay-invoice",
                workload=WORKLOAD,
                key=thumbprint(key),
                params={"invoice": "INV-1"},
                prompt="pay it",
                case_type="invoice",
                on_behalf_of=person,
            )
            started = await client.start_task(request)
            assert started.task.on_behalf_of == PERSON
            assert started.task.case_type == "invoice"
            assert started.task.starter == STARTER
            handle = stage.authenticator.task_handle(started.token, system_clock())
            assert (handle.task, handle.key, handle.workload) == (started.task.id, thumbprint(key), WORKLOAD)
            assert (await client.task(started.task.id)).intent == "pay-invoice"
            assert (await client.end_task(started.task.id, "completed", "done")).id == started.task.id
            with pytest.raises(Forbidden) as named:
                await client.start_task(TaskRequest(intent="x", workload=WORKLOAD, key="k" * 43, on_behalf_of=PERSON))
            assert named.value.code.startswith("token_")
            workloads = stage.holder(WORKLOAD).svid
            with pytest.raises(Forbidden):
                await client.start_task(
                    TaskRequest(intent="x", workload=WORKLOAD, key="k" * 43, on_behalf_of=workloads)
                )
            with pytest.raises(InvalidInput):
                await client.start_task(TaskRequest(intent="x", workload=WORKLOAD, key="short"))

    run(main())


def test_binds_an_ephemeral_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client(WORKLOAD) as client:
            key = generate_key()
            issued = await client.svid(bind=thumbprint(key))
            async with await Client.connect(stage.path, Holder(key, issued.svid, WORKLOAD)) as inside:
                assert await inside.identities()

    run(main())


def test_lists_what_could_be_permitted(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            tools = await client.listing(stage.grant(), "payments", {"pay": "ab", "deny": "cd"})
            assert tools["pay"] is None
            assert tools["deny"] is not None
            assert tools["deny"].next_step == "ask for another task"
            assert stage.service.records == []

    run(main())


def test_obligations_come_with_the_permit(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            stage.service.obligations = (Obligation(id="redact", fields=("a.b",)),)
            decision = await client.authorize(stage.grant(), "payments/pay", {})
            assert decision.obligations == stage.service.obligations

    run(main())


def test_attached_callers_hold_the_service_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            attachments = stage.listener.attachments
            unattended = asyncio.create_task(attachments.wait_unattended(grace_s=0.1, first_s=5))
            async with client.attached() as ended:
                await asyncio.sleep(0.2)
                assert attachments.count == 1
                assert not unattended.done()
                assert not ended.is_set()
            await asyncio.wait_for(unattended, 2)
            assert attachments.count == 0

    run(main())


def test_a_stopping_service_ends_attached_streams(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client, client.attached() as ended:
            stopping = asyncio.create_task(stage.listener.stop())
            await asyncio.wait_for(ended.wait(), 2)
            await asyncio.wait_for(stopping, 4)

    run(main())


def test_nobody_comes(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            await asyncio.wait_for(stage.listener.attachments.wait_unattended(grace_s=0.05, first_s=0.1), 1)

    run(main())


def test_many_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            grant = stage.grant()
            calls: list[Any] = [client.authorize(grant, "payments/pay", {"n": n}) for n in range(200)]
            decisions = await asyncio.gather(*calls)
            assert len({decision.id for decision in decisions}) == 200

    run(main())


def _registration() -> Registration:
    return Registration(
        id="spiffe://example.org/workload/new", kind="agent", roles=("workload",), owner="kim", key="k" * 43
    )
