"""TLS at the listener, over real sockets on loopback: certificates as callers, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from remit.core.errors import DocumentError, InvalidInput
from remit.identity.keys import generate_key, thumbprint
from remit.server import handshake
from remit.server.sockets import bind_tcp
from remit.server.tls import ServerTls
from tests.identity.certificates import SERVER as FOR_SERVERS
from tests.identity.certificates import Party, authority, make, now

from .stage import DOMAIN, PEP, PERSON, WORKLOAD, ask, run
from .tls_stage import FOREIGN, PARTNER, ROOT, SERVER, WEB, TlsStage, serving

Test = Callable[[TlsStage], Coroutine[Any, Any, None]]


def on_stage(folder: Path, test: Test, **settings: Any) -> None:
    async def main() -> None:
        async with serving(folder, **settings) as stage:
            await test(stage)

    run(main())


def svid(id: str = PEP, **more: Any) -> Party:
    return make(**({"by": ROOT, "uris": [id]} | more))


# --- who is let in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_a_certificate_is_a_caller(tmp_path: Path, loop: Any, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            connection = await stage.connect(svid(), version)
            for _ in range(3):
                assert (await connection.ask()).status == 200
            connection.close()
            assert {caller.id for caller in stage.callers} == {PEP}
            assert {caller.possession for caller in stage.callers} == {"mtls"}

    loop(main())


def test_intermediates_that_the_client_sends_are_used(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        between = make("between", by=ROOT, ca=True, path_length=0)
        assert (await stage.who(make(by=between, uris=[PEP]))).status == 200

    on_stage(tmp_path, test)


def test_without_a_certificate_a_proof_is_needed_and_is_enough(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        refused = await stage.who()
        assert (refused.status, refused.json["code"]) == (401, "credentials_missing")
        assert (await stage.who(holder=stage.holder())).status == 200
        assert stage.callers[-1].possession == "dpop"
        assert (await stage.who(path="/healthz")).status == 200

    on_stage(tmp_path, test)


def test_a_foreign_certificate_is_the_identity_that_it_is_mapped_to(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        assert (await stage.who(make(by=FOREIGN, uris=[PARTNER]))).status == 200
        assert stage.callers[-1].id == PEP
        other = await stage.who(make(by=FOREIGN, uris=["spiffe://partner.example/ns/prod/other"]))
        assert (other.status, other.json["code"]) == (401, "trust_domain_unknown")

    on_stage(tmp_path, test)


def test_the_unix_socket_stays_without_tls(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        assert (await ask(stage, "GET", "/v1/identities", holder=stage.holder())).status == 200

    on_stage(tmp_path, test)


# --- certificate and proof together ----------------------------------------------------------------------------


def test_certificate_and_proof_of_one_identity(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        assert (await stage.who(svid(), holder=stage.holder(PEP))).status == 200
        assert stage.callers[-1].possession == "dpop"

    on_stage(tmp_path, test)


def test_certificate_and_proof_of_two_identities(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        for given, proved in ((PEP, PERSON), (WORKLOAD, PEP)):
            refused = await stage.who(svid(given), holder=stage.holder(proved))
            assert (refused.status, refused.json["code"]) == (401, "certificate_mismatch")
        first = {"id": PERSON}
        refused = await stage.who(
            svid(), method="POST", path="/v1/svids", body=first, holder=stage.holder(PERSON, with_svid=False)
        )
        assert refused.json["code"] == "certificate_mismatch"
        assert stage.callers == []

    on_stage(tmp_path, test)


def test_half_a_proof_does_not_fall_back_to_the_certificate(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        headers = stage.holder().headers("GET", stage.url + "/v1/identities", stage.service.clock())
        for name in headers:
            refused = await stage.who(svid(), headers={name: headers[name]})
            assert refused.status == 401
        refused = await stage.who(svid(), headers={"Authorization": "Bearer x"})
        assert refused.status == 401
        assert stage.callers == []

    on_stage(tmp_path, test)


def test_a_certificate_that_does_not_hold_refuses_the_proof_too(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        refused = await stage.who(svid(usage=("digital_signature", "crl_sign")), holder=stage.holder())
        assert (refused.status, refused.json["code"]) == (401, "certificate_invalid")

    on_stage(tmp_path, test)


@pytest.mark.parametrize(
    "name",
    ["X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "X-Client-Cert", "Client-Cert", "Client-Cert-Chain"],
)
def test_headers_about_certificates_are_ignored(tmp_path: Path, name: str) -> None:
    """Somebody else may have ended mTLS before us; who the client is, is not for a header to say (RFC 9440)."""

    async def test(stage: TlsStage) -> None:
        pem = svid().certificate.public_bytes(Encoding.PEM).decode().replace("\n", "")
        for value in (pem, f"By=spiffe://{DOMAIN}/proxy;URI={PEP}", f"URI={PEP}"):
            refused = await stage.who(headers={name: value})
            assert (refused.status, refused.json["code"]) == (401, "credentials_missing")
        assert (await stage.who(svid(WORKLOAD), headers={name: f"URI={PERSON}"})).status == 200
        assert stage.callers[-1].id == WORKLOAD

    on_stage(tmp_path, test)


# --- refused with a reason, after the handshake ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param({"uris": [PEP, PERSON]}, "certificate_invalid", id="two URI SANs"),
        pytest.param({"uris": [], "dns": ["example.org"]}, "certificate_invalid", id="no URI SAN"),
        pytest.param({"uris": ["https://example.org/pep/gateway"]}, "certificate_invalid", id="not a SPIFFE ID"),
        pytest.param({"uris": [PEP + "?a=b"]}, "certificate_invalid", id="query"),
        pytest.param({"uris": ["spiffe://example.org:443/pep/gateway"]}, "certificate_invalid", id="port"),
        pytest.param({"uris": ["spiffe://example.org/pep/%67ateway"]}, "certificate_invalid", id="percent"),
        pytest.param({"uris": ["spiffe://EXAMPLE.org/pep/gateway"]}, "certificate_invalid", id="upper case"),
        pytest.param({"uris": ["spiffe://example.org"]}, "certificate_invalid", id="no path"),
        pytest.param({"uris": [PEP + "\x00.evil.example"]}, "certificate_invalid", id="embedded NUL"),
        pytest.param({"ca": True, "usage": ("digital_signature", "key_cert_sign")}, "certificate_invalid", id="a CA"),
        pytest.param({"usage": ("digital_signature", "key_cert_sign")}, "certificate_invalid", id="keyCertSign"),
        pytest.param({"by": FOREIGN}, "certificate_untrusted", id="another trust domain's authority"),
        pytest.param({"uris": ["spiffe://stranger.example/a"]}, "trust_domain_unknown", id="not federated"),
    ],
)
def test_what_a_handshake_lets_pass_is_refused_with_its_reason(tmp_path: Path, given: Any, code: str) -> None:
    async def test(stage: TlsStage) -> None:
        refused = await stage.who(svid(**given))
        assert (refused.status, refused.json["code"]) == (401, code)
        assert stage.callers == []

    on_stage(tmp_path, test)


# --- refused in the handshake ----------------------------------------------------------------------------------


def too_long() -> Party:
    link = make("only leaves", by=ROOT, ca=True, path_length=0)
    return make(by=make("one too many", by=link, ca=True), uris=[PEP])


def past() -> Party:
    return svid(start=now() - timedelta(hours=2), end=now() - timedelta(hours=1))


def future() -> Party:
    return svid(start=now() + timedelta(hours=1), end=now() + timedelta(hours=2))


REFUSED = {
    "self-signed": (lambda: make(uris=[PEP]), "UNKNOWN_CA"),
    "unknown authority": (lambda: make(by=authority("stranger"), uris=[PEP]), "UNKNOWN_CA"),
    "impostor of an authority": (lambda: make(by=authority("authority of example.org"), uris=[PEP]), "UNKNOWN_CA"),
    "expired": (past, "CERTIFICATE_EXPIRED"),
    "not yet valid": (future, "BAD_CERTIFICATE"),
    "for servers only": (lambda: svid(extended=(FOR_SERVERS,)), "UNSUPPORTED_CERTIFICATE"),
    "no digitalSignature": (lambda: svid(usage=("key_encipherment",)), "UNSUPPORTED_CERTIFICATE"),
    "intermediate without CA": (
        lambda: make(by=make("no CA", by=ROOT, usage=("key_cert_sign",)), uris=[PEP]),
        "UNKNOWN_CA",
    ),
    "path length exceeded": (too_long, "UNKNOWN_CA"),
    "RSA-1024": (lambda: svid(key=rsa.generate_private_key(65537, 1024)), "BAD_CERTIFICATE"),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("what", REFUSED)
def test_what_openssl_refuses_gets_an_alert(tmp_path: Path, what: str, version: ssl.TLSVersion) -> None:
    given, alert = REFUSED[what]

    async def test(stage: TlsStage) -> None:
        with pytest.raises(ssl.SSLError) as caught:
            await once(stage, given(), version)
        assert alert in (caught.value.reason or "")
        assert stage.callers == []
        # Others are served all the same.
        assert (await stage.who(svid())).status == 200

    async def once(stage: TlsStage, party: Party, version: ssl.TLSVersion) -> None:
        await (await stage.connect(party, version)).ask()

    on_stage(tmp_path, test)


def test_without_any_authority_no_certificate_is_asked_for(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        stage.bundles = {}
        assert stage.tls.refresh()
        refused = await stage.who(svid())
        assert (refused.status, refused.json["code"]) == (401, "credentials_missing")
        assert (await stage.who(svid(), holder=stage.holder())).status == 200

    on_stage(tmp_path, test)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async def test(stage: TlsStage) -> None:
        context = stage.context()
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*stage.tcp.getsockname()[:2], ssl=context, server_hostname="localhost")

    on_stage(tmp_path, test)


def test_a_session_is_never_resumed(tmp_path: Path) -> None:
    def twice(stage: TlsStage, version: ssl.TLSVersion) -> list[bool]:
        context, reused, session = stage.context(svid(), version), [], None
        for _ in range(2):
            with (
                socket.create_connection(stage.tcp.getsockname()) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
            ):
                secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                secure.recv(4096)
                session = secure.session
                reused.append(bool(secure.session_reused))
        return reused

    async def test(stage: TlsStage) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert await asyncio.to_thread(twice, stage, version) == [False, False]

    on_stage(tmp_path, test)


# --- what changes while a connection is open -------------------------------------------------------------------


def test_a_certificate_that_expires_while_the_connection_stays_open(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        connection = await stage.connect(svid(end=now() + timedelta(minutes=10)))
        assert (await connection.ask()).status == 200
        stage.clock_ahead = 601_000
        refused = await connection.ask()
        assert (refused.status, refused.json["code"]) == (401, "certificate_expired")
        connection.close()

    on_stage(tmp_path, test)


def test_a_certificate_that_expires_by_the_real_clock(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        connection = await stage.connect(svid(end=now() + timedelta(seconds=2)))
        assert (await connection.ask()).status == 200
        await asyncio.sleep(2.1)
        assert (await connection.ask()).json["code"] == "certificate_expired"
        connection.close()

    on_stage(tmp_path, test)


def test_an_authority_revoked_while_connected(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        connection = await stage.connect(svid())
        assert (await connection.ask()).status == 200
        stage.bundles[DOMAIN] = (authority("next").certificate,)
        refused = await connection.ask()
        assert (refused.status, refused.json["code"]) == (401, "certificate_untrusted")
        connection.close()

    on_stage(tmp_path, test)


def test_an_authority_added_and_an_old_one_taken_away(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        following = authority("next")
        stage.bundles[DOMAIN] = (ROOT.certificate, following.certificate)
        assert stage.tls.refresh()
        connection = await stage.connect(make(by=following, uris=[PEP]))
        assert (await connection.ask()).status == 200
        stage.bundles[DOMAIN] = (following.certificate,)
        assert stage.tls.refresh()
        assert not stage.tls.refresh()
        assert (await connection.ask()).status == 200
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await stage.who(svid())
        connection.close()

    on_stage(tmp_path, test)


def test_a_federation_that_ends_while_connected(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        connection = await stage.connect(make(by=FOREIGN, uris=[PARTNER]))
        assert (await connection.ask()).status == 200
        del stage.bundles["partner.example"]
        assert (await connection.ask()).json["code"] == "trust_domain_unknown"
        connection.close()

    on_stage(tmp_path, test)


# --- documents for the holder of a certificate ------------------------------------------------------------------


def test_a_certificate_gets_a_document_for_another_key_and_not_beyond_itself(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        end = now() + timedelta(minutes=5)
        key = thumbprint(generate_key())
        answer = await stage.who(svid(end=end), method="POST", path="/v1/svids", body={"bind": key})
        assert answer.status == 201
        assert answer.json["id"] == PEP
        assert answer.json["expires"] <= end.timestamp() * 1000
        refused = await stage.who(svid(), method="POST", path="/v1/svids", body={"id": PERSON})
        assert (refused.status, refused.json["code"]) == (403, "identity_mismatch")

    on_stage(tmp_path, test)


def test_a_quarantined_workloads_certificate_gets_none(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        known = stage.service.registrations[WORKLOAD]
        for state in ("quarantined", "retired"):
            stage.service.registrations[WORKLOAD] = msgspec.structs.replace(known, state=state)
            refused = await stage.who(svid(WORKLOAD), method="POST", path="/v1/svids", body={})
            assert (refused.status, refused.json["code"]) == (403, f"identity_{state}")
        del stage.service.registrations[WORKLOAD]
        refused = await stage.who(svid(WORKLOAD), method="POST", path="/v1/svids", body={})
        assert (refused.status, refused.json["code"]) == (403, "identity_unknown")

    on_stage(tmp_path, test)


# --- names ------------------------------------------------------------------------------------------------------


def test_a_proof_names_one_of_the_listeners_own_names(tmp_path: Path) -> None:
    names = ("https://remit.example.org", "https://localhost:8443")

    async def test(stage: TlsStage) -> None:
        for origin in names:
            named = await stage.who(holder=stage.holder(), origin=origin, host=origin.removeprefix("https://"))
            assert named.status == 200, origin
        for origin, host in (
            ("https://remit.example.org", "localhost:8443"),
            ("https://evil.example", "evil.example"),
            ("https://evil.example", "remit.example.org"),
            ("http://remit.example.org", "remit.example.org"),
            ("http://remit.local", "remit.local"),
        ):
            refused = await stage.who(holder=stage.holder(), origin=origin, host=host)
            assert (refused.status, refused.json["code"]) == (401, "proof_mismatch"), (origin, host)
        for host, status in (("remit.example.org", 200), ("localhost", 200), ("evil.example", 400)):
            assert (await stage.who(path="/healthz", host=host)).status == status

    on_stage(tmp_path, test, origins=names)


# --- bounds -----------------------------------------------------------------------------------------------------


def test_strangers_in_handshakes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKES", 3)
    monkeypatch.setattr(handshake, "HANDSHAKE_SECONDS", 0.5)

    async def test(stage: TlsStage) -> None:
        idle = [socket.create_connection(stage.tcp.getsockname()) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await stage.connect()
        await asyncio.sleep(0.6)
        for each in idle:
            each.settimeout(1)
            assert each.recv(1) == b""
            each.close()
        assert (await stage.who(path="/healthz")).status == 200

    on_stage(tmp_path, test)


def test_plain_http_at_a_tls_listener(tmp_path: Path) -> None:
    async def test(stage: TlsStage) -> None:
        reader, writer = await asyncio.open_connection(*stage.tcp.getsockname()[:2])
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            answer = b""
        assert not answer.startswith(b"HTTP")
        writer.close()

    on_stage(tmp_path, test)


def test_it_stops_with_handshakes_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            idle = socket.create_connection(stage.tcp.getsockname())
            await asyncio.sleep(0.05)
        idle.settimeout(1)
        assert idle.recv(1) == b""
        idle.close()

    asyncio.run(asyncio.wait_for(main(), 5))


# --- the files ----------------------------------------------------------------------------------------------------


def test_a_replaced_certificate_serves_the_next_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(stage: TlsStage) -> None:
        async def served() -> int:
            connection = await stage.connect()
            connection.close()
            return int(connection.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16)

        first = await stage.connect()
        assert await served() == SERVER.certificate.serial_number
        following = make("service", by=WEB, dns=["localhost"])
        certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
        # Half of a rotation: the pair does not fit, and the old one goes on.
        kept = key.read_bytes()
        following.write(tmp_path, "server")
        following_key = key.read_bytes()
        key.write_bytes(kept)
        assert not stage.tls.refresh()
        assert "ALARM" in caplog.text
        assert await served() == SERVER.certificate.serial_number
        key.write_bytes(following_key)
        assert stage.tls.refresh()
        assert await served() == following.certificate.serial_number
        assert (await first.ask("GET", "/healthz")).status == 200
        first.close()
        certificate.unlink()
        assert not stage.tls.refresh()
        assert await served() == following.certificate.serial_number

    on_stage(tmp_path, test)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660])
def test_a_key_that_others_can_read(tmp_path: Path, mode: int) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    key.chmod(mode)
    with pytest.raises(DocumentError) as caught:
        ServerTls(certificate, key)
    assert caught.value.code == "key_file_exposed"
    assert caught.value.next_step


def test_a_key_of_root_may_be_read_by_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    if key.stat().st_uid == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        key.chmod(0o640)
        assert ServerTls(certificate, key)
        key.chmod(0o644)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DocumentError):
        ServerTls(certificate, key)


def test_a_link_to_the_key_is_followed(tmp_path: Path) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    (tmp_path / "link").symlink_to(key)
    assert ServerTls(certificate, tmp_path / "link").expires > 0


@pytest.mark.parametrize("what", ["missing", "empty", "text", "other key", "certificate missing", "password"])
def test_files_that_can_not_be_used(tmp_path: Path, what: str) -> None:
    certificate, key = SERVER.write(tmp_path, "server")
    if what == "missing":
        key.unlink()
    elif what == "certificate missing":
        certificate.unlink()
    elif what == "other key":
        _, key = WEB.write(tmp_path, "other")
    elif what == "password":
        data = SERVER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        key.write_bytes(data)
    else:
        key.write_text("" if what == "empty" else "no key")
    with pytest.raises(DocumentError) as caught:
        ServerTls(certificate, key)
    assert caught.value.code in ("key_file_missing", "tls_certificate_invalid")
    assert caught.value.message[0].islower()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_with_tls_other_addresses_can_be_listened_on(host: str) -> None:
    with bind_tcp(host, 0, tls=True) as sock:
        assert sock.getsockname()[1]
    with pytest.raises(InvalidInput):
        bind_tcp(host, 0, tls=False)
