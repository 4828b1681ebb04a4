"""Telling: real receivers on this machine, files, and everything that keeps a message from being delivered."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook, WebhookVerificationError

from remit.core.decisions import Decision, Obligation, PolicyRef, Reason
from remit.core.errors import DocumentError
from remit.core.notifiers import NotifierSettings
from remit.sdk import notifiers as room
from remit.sdk.notifiers import Notifiers
from remit.sdk.permit import Refused
from remit.sdk.webhook import message_id, read_secrets

WORKLOAD, POINT = "spiffe://example.org/workload/a", "spiffe://example.org/pep/gateway"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def decision(*to: str, effect: Any = "permit", id_: str = "d_1", probe: bool = False) -> Decision:
    return Decision(
        id=id_,
        effect=effect,
        reason=Reason(code="permitted", message="payments are told", policies=(PolicyRef(id="told"),)),
        action="payments/pay",
        digest="d" * 64,
        task="t_1",
        at=1_795_000_000_123,
        obligations=tuple(Obligation(id="notify", to=name) for name in to),
        probe=probe,
    )


@dataclass
class Receiver:
    """What reached it, and how it answers: statuses in turn, the last one again and again."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    hang: float = 0.0
    location: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append((dict(request.headers), await request.read()))
        if self.hang:
            await asyncio.sleep(self.hang)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=status, headers=headers, text="x" * 100_000)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def secret_file(folder: Path, *lines: str) -> str:
    file = folder / "hook.secret"
    file.touch(0o600)
    file.write_text("\n".join(lines or (SECRET,)) + "\n")
    return file.name


def webhook(folder: Path, url: str, name: str = "security", **more: Any) -> NotifierSettings:
    return NotifierSettings(name=name, url=url, secret_file=secret_file(folder), **more)


async def tell(notifiers: Notifiers, told: Decision) -> None:
    try:
        await notifiers.tell(told, workload=WORKLOAD, point=POINT)
    finally:
        await notifiers.close()


def run(work: Callable[[Receiver], Awaitable[None]]) -> None:
    async def main() -> None:
        async with receiving() as receiver:
            await work(receiver)

    asyncio.run(main())


async def fails(notifiers: Notifiers, told: Decision) -> float:
    """How long it took to fail."""
    began = time.monotonic()
    with pytest.raises(Refused) as caught:
        await tell(notifiers, told)
    assert caught.value.code == "obligation_failed"
    assert caught.value.answer is told
    return time.monotonic() - began


# --- what is delivered --------------------------------------------------------------------------------------


def test_a_webhook_is_signed_as_the_specification_says(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        await tell(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
        [(headers, body)] = receiver.got
        assert Webhook(SECRET).verify(body, headers) == {
            "type": "remit.action.permitted",
            "timestamp": "2026-11-18T11:06:40.123+00:00",
            "data": {
                "decision": "d_1",
                "effect": "permit",
                "action": "payments/pay",
                "workload": WORKLOAD,
                "task": "t_1",
                "enforcementPoint": POINT,
                "mode": "enforce",
                "reason": {"code": "permitted", "message": "payments are told", "policies": ["told"]},
            },
        }
        lower = {name.lower(): value for name, value in headers.items()}
        assert lower["webhook-id"] == "d_1_security"
        assert lower["content-type"] == "application/json"
        assert "d" * 64 not in body.decode()  # arguments could be tried against their digest

    run(work)


def test_the_guide_shows_such_a_message(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "obligations.md").read_text("utf-8")
    [shown] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", guide, re.DOTALL)]
    asyncio.run(tell(Notifiers([NotifierSettings(name="audit", file="audit.jsonl")], tmp_path), decision("audit")))
    sent = json.loads((tmp_path / "audit.jsonl").read_text())
    assert (sent.keys() - {"id"}, sent["data"].keys()) == (shown.keys(), shown["data"].keys())
    assert (sent["type"], sent["timestamp"]) == (shown["type"], shown["timestamp"])
    assert sent["data"]["reason"].keys() == shown["data"]["reason"].keys()


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "body"])
def test_attack_a_webhook_is_forged(tmp_path: Path, header: str) -> None:
    async def work(receiver: Receiver) -> None:
        await tell(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
        [(headers, body)] = receiver.got
        lower = {name.lower(): value for name, value in headers.items()}
        if header == "body":
            body = body.replace(b"permit", b"denied")
        elif header == "webhook-id":
            lower[header] = "d_2_security"
        else:
            lower[header] = str(int(lower[header]) + 1)
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, lower)

    run(work)


def test_attack_a_replayed_webhook_is_recognisable(tmp_path: Path) -> None:
    """One that is sent again has the same id; one that was kept for later has an old time."""

    async def work(receiver: Receiver) -> None:
        notifiers = Notifiers([webhook(tmp_path, receiver.url)], tmp_path, clock=lambda: 1_000_000_000_000)
        await notifiers.tell(decision("security"), workload=WORKLOAD, point=POINT)
        await tell(notifiers, decision("security"))
        ids = [{name.lower(): value for name, value in headers.items()}["webhook-id"] for headers, _ in receiver.got]
        assert ids == ["d_1_security", "d_1_security"]
        headers, body = receiver.got[0]
        with pytest.raises(WebhookVerificationError, match="too old"):
            Webhook(SECRET).verify(body, headers)

    run(work)


def test_a_secret_is_replaced_while_it_runs(tmp_path: Path) -> None:
    new = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()

    async def work(receiver: Receiver) -> None:
        notifiers = Notifiers([webhook(tmp_path, receiver.url)], tmp_path)
        for lines in ((SECRET,), (new, SECRET), (new,)):
            secret_file(tmp_path, *lines)
            await notifiers.tell(decision("security"), workload=WORKLOAD, point=POINT)
        await notifiers.close()
        for (headers, body), known in zip(receiver.got, (SECRET, SECRET, new), strict=True):
            Webhook(known).verify(body, headers)

    run(work)


def test_a_file_gets_one_line_for_each_message(tmp_path: Path) -> None:
    notifiers = Notifiers([NotifierSettings(name="audit", file="audit.jsonl")], tmp_path)

    async def main() -> None:
        for number in range(3):
            told = decision("audit", id_=f"d_{number}", effect="deny" if number else "permit")
            await notifiers.tell(told, workload=WORKLOAD, point=POINT)

    asyncio.run(main())
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["d_0_audit", "d_1_audit", "d_2_audit"]
    assert [line["type"].rpartition(".")[2] for line in lines] == ["permitted", "denied", "denied"]
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_all_notifiers_of_a_decision_are_told(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        both = [webhook(tmp_path, receiver.url), NotifierSettings(name="audit", file="audit.jsonl")]
        await tell(Notifiers(both, tmp_path), decision("security", "audit"))
        assert len(receiver.got) == 1
        assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 1

    run(work)


def test_a_probe_tells_nobody(tmp_path: Path) -> None:
    notifiers = Notifiers([NotifierSettings(name="audit", file="audit.jsonl")], tmp_path)
    asyncio.run(tell(notifiers, decision("audit", probe=True)))
    asyncio.run(tell(notifiers, decision("audit", id_="")))
    assert not (tmp_path / "audit.jsonl").exists()


def test_a_notifier_is_tried_out(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        notifiers = Notifiers([webhook(tmp_path, receiver.url)], tmp_path)
        assert await notifiers.try_out("security") == ""
        receiver.statuses = [404]
        assert "404" in await notifiers.try_out("security")
        assert "no notifier" in await notifiers.try_out("other")
        await notifiers.close()
        messages = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.got]
        assert [each["type"] for each in messages] == ["remit.test", "remit.test"]
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2

    run(work)


# --- what is not --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_attack_a_redirecting_webhook_is_not_followed(tmp_path: Path, status: int) -> None:
    async def work(receiver: Receiver) -> None:
        async with receiving() as elsewhere:
            receiver.statuses, receiver.location = [status], elsewhere.url
            await fails(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
            assert elsewhere.got == []
        assert len(receiver.got) == 1

    run(work)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_receiver_that_refuses_is_not_asked_again(tmp_path: Path, status: int) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.statuses = [status]
        await fails(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
        assert len(receiver.got) == 1

    run(work)


def test_a_receiver_that_is_busy_is_asked_again_with_the_same_id(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.statuses = [503, 429, 204]
        await tell(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
        assert len(receiver.got) == 3
        for headers, body in receiver.got:
            Webhook(SECRET).verify(body, headers)
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1

    run(work)


def test_a_receiver_that_stays_busy_fails(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.statuses = [503]
        await fails(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
        assert len(receiver.got) == len(room.PAUSES)

    run(work)


def test_attack_a_hanging_receiver_does_not_hold_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TELL_SECONDS", 0.6)

    async def work(receiver: Receiver) -> None:
        receiver.hang = 30
        several = [webhook(tmp_path, receiver.url, name) for name in ("security", "audit", "third")]
        took = await fails(Notifiers(several, tmp_path), decision("security", "audit", "third"))
        assert took < 1.5

    run(work)


def test_attack_an_answer_without_an_end_does_not_hold_the_agent(tmp_path: Path) -> None:
    """Only the status is read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        began = time.monotonic()
        await tell(Notifiers([webhook(tmp_path, url)], tmp_path), decision("security"))
        assert time.monotonic() - began < 1
        server.close()

    asyncio.run(main())


def test_nobody_listens(tmp_path: Path) -> None:
    notifiers = Notifiers([webhook(tmp_path, "http://127.0.0.1:9/")], tmp_path)
    assert asyncio.run(fails(notifiers, decision("security"))) < room.TELL_SECONDS


def test_attack_a_receiver_whose_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with receiving(self_signed(tmp_path)) as receiver:
            assert receiver.url.startswith("https://")
            await fails(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
            assert receiver.got == []

    asyncio.run(main())


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_attack_a_decision_names_a_notifier_that_is_not_declared(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        notifiers = Notifiers([webhook(tmp_path, receiver.url)], tmp_path)
        for name in ("other", receiver.url, ""):
            await fails(notifiers, decision(name))
        assert receiver.got == []

    run(work)


def test_a_proxy_of_the_environment_sees_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(receiver: Receiver) -> None:
        async with receiving() as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            await tell(Notifiers([webhook(tmp_path, receiver.url)], tmp_path), decision("security"))
            assert proxy.got == []

    run(work)


def test_one_that_can_t_be_told_fails_the_permit_and_the_others_are_told(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        both = [webhook(tmp_path, receiver.url), NotifierSettings(name="audit", file="nowhere/audit.jsonl")]
        await fails(Notifiers(both, tmp_path), decision("security", "audit"))
        assert len(receiver.got) == 1

    run(work)


def test_a_denial_stays_one_when_nobody_could_be_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifiers = Notifiers([webhook(tmp_path, "http://127.0.0.1:9/")], tmp_path)
    with caplog.at_level(logging.WARNING):
        asyncio.run(tell(notifiers, decision("security", effect="deny")))
    assert "security was not told of decision d_1" in caplog.text


def test_what_the_agent_is_told_names_no_url_and_no_path(tmp_path: Path) -> None:
    notifiers = Notifiers([webhook(tmp_path, "http://127.0.0.1:9/token-in-the-path")], tmp_path)
    (tmp_path / "hook.secret").chmod(0o644)
    with pytest.raises(Refused) as caught:
        asyncio.run(tell(notifiers, decision("security")))
    said = f"{caught.value.message} {caught.value.next_step}"
    assert "127.0.0.1" not in said
    assert "hook.secret" not in said


@pytest.mark.parametrize(("seconds", "burst"), [(60, 2)])
def test_attack_a_flood_of_denials_floods_the_receiver(tmp_path: Path, seconds: int, burst: int) -> None:
    async def work(receiver: Receiver) -> None:
        notifiers = Notifiers([webhook(tmp_path, receiver.url, per_minute=burst)], tmp_path)
        for number in range(9):
            told = decision("security", effect="deny", id_=f"d_{number}")
            await notifiers.tell(told, workload=WORKLOAD, point=POINT)
        assert len(receiver.got) == burst
        await fails(notifiers, decision("security"))  # what must be told before it happens does not happen
        notifiers._rates["security"]._buckets.clear()  # a minute later
        await notifiers.tell(decision("security", id_="d_99"), workload=WORKLOAD, point=POINT)
        await notifiers.close()
        assert json.loads(receiver.got[-1][1])["data"]["leftOut"] == 8

    run(work)


# --- files and secrets --------------------------------------------------------------------------------------


def test_attack_a_link_or_a_pipe_in_the_file_s_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        took = asyncio.run(fails(Notifiers([NotifierSettings(name="audit", file=name)], tmp_path), decision("audit")))
        assert took < 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_no_delivery(tmp_path: Path) -> None:
    if Path("/dev/full").exists():  # it is no plain file either: both refuse
        asyncio.run(fails(Notifiers([NotifierSettings(name="audit", file="/dev/full")], tmp_path), decision("audit")))


def test_attack_a_secret_that_others_can_read(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        notifiers = Notifiers([webhook(tmp_path, receiver.url)], tmp_path)
        (tmp_path / "hook.secret").chmod(0o640)
        await fails(notifiers, decision("security"))
        assert receiver.got == []

    run(work)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("",),
        ("secret",),
        ("whsec_",),
        ("whsec_!!!!",),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(),),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(),),
        ("whsec_ké",),
        (SECRET,) * 5,
        (SECRET, "second"),
    ],
)
def test_a_file_that_holds_no_secret(tmp_path: Path, lines: tuple[str, ...]) -> None:
    file = tmp_path / "s"
    file.touch(0o600)
    file.write_text("\n".join(lines))
    with pytest.raises(DocumentError) as caught:
        read_secrets(file)
    assert "kkkk" not in str(caught.value)
    assert "a2tr" not in f"{caught.value.message} {caught.value.next_step}"


def test_ids_of_messages_have_no_full_stop() -> None:
    assert message_id("d_1", "security") == "d_1_security"
    for strange in ("d.1", "d_1\n", "x" * 300, "é"):
        made = message_id(strange, "security")
        assert made.isalnum()
        assert made != message_id(strange + "1", "security")
