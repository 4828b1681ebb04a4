"""The client over TLS, against the real listener: its certificate, files that rotate, and what goes wrong."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import remit
from remit.core.errors import DocumentError, InvalidInput, Unauthenticated, Unavailable
from remit.identity.keys import generate_key, save_key, thumbprint
from remit.sdk.certified import CertifiedHolder
from remit.sdk.client import Client
from remit.sdk.endpoint import ClientTls, Endpoint
from tests.identity.certificates import Party, authority, make, now
from tests.server.stage import PEP, PERSON, WORKLOAD
from tests.server.tls_stage import FOREIGN, PARTNER, ROOT, WEB, TlsStage, serving


def svid(id: str = PEP, **more: Any) -> Party:
    return make(**({"by": ROOT, "uris": [id]} | more))


class Files:
    """The files of one client, which its SPIFFE agent replaces."""

    def __init__(self, folder: Path, party: Party) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(WEB.certificate.public_bytes(Encoding.PEM))
        self.certificate, self.key = party.write(folder, "svid")

    def endpoint(self, stage: TlsStage) -> Endpoint:
        return Endpoint(url=stage.url, ca=self.ca, certificate=self.certificate, key=self.key)

    def rotate(self, party: Party) -> None:
        party.write(self.folder, "svid")


def run(main: Any) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


def test_a_certificate_is_all_that_a_client_needs(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, svid())
            async with await remit.connect(
                stage.url, certificate=files.certificate, key=files.key, ca=files.ca
            ) as client:
                assert client.id == PEP
                assert (await client.probe(None, "payments/list", {}, subject=PEP)).permitted
                await client.identities()
            assert {caller.possession for caller in stage.callers} == {"mtls"}

    run(main())


def test_a_mapped_client_says_who_it_is_here(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, make(by=FOREIGN, uris=[PARTNER]))
            async with await remit.connect(
                stage.url, identity=PEP, certificate=files.certificate, key=files.key, ca=files.ca
            ) as client:
                await client.identities()
            assert stage.callers[-1].id == client.id == PEP

    run(main())


def test_without_a_certificate_it_proves_its_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files, key = Files(tmp_path, svid()), tmp_path / "pep.jwk"
            save_key(key, stage.keys[PEP])
            async with await remit.connect(stage.url, identity=PEP, key=key, ca=files.ca) as client:
                await client.identities()
            assert stage.callers[-1].possession == "dpop"

    run(main())


def test_a_rotated_certificate_is_used_for_the_next_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, svid(end=now() + timedelta(minutes=5)))
            async with await Client.connect(files.endpoint(stage), CertifiedHolder(PEP)) as client:
                await client.identities()
                files.rotate(svid())
                # The first one expires: the service says so, and the client looks at its files again.
                stage.clock_ahead = 360_000
                await client.identities()
                assert len({caller.key for caller in stage.callers}) == 2

    run(main())


def test_a_certificate_that_nobody_renews(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, svid(end=now() + timedelta(minutes=5)))
            async with await Client.connect(files.endpoint(stage), CertifiedHolder(PEP)) as client:
                await client.identities()
                stage.clock_ahead = 360_000
                with pytest.raises(Unauthenticated) as caught:
                    await client.identities()
                assert caught.value.code == "certificate_expired"

    run(main())


def test_half_of_a_rotation_keeps_the_old_certificate(tmp_path: Path) -> None:
    files = Files(tmp_path, svid())
    tls = ClientTls(
        Endpoint(url="https://remit.example.org", ca=files.ca, certificate=files.certificate, key=files.key)
    )
    before, kept = tls.context_for({}), files.key.read_bytes()
    files.rotate(svid(PERSON))
    files.key.write_bytes(kept)
    with pytest.raises(DocumentError):
        tls.refresh()
    assert tls.context_for({}) is before
    assert tls.id == PEP
    files.rotate(svid(PERSON))
    assert tls.refresh()
    assert not tls.refresh()
    assert tls.id == PERSON


def test_proofs_of_others_go_without_the_certificate(tmp_path: Path) -> None:
    """An enforcement point renews the documents of workloads whose grants it holds, with their keys."""

    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, svid())
            async with await Client.connect(files.endpoint(stage), CertifiedHolder(PEP)) as client:
                grant = stage.grant(registered_key=True)
                grant = msgspec.structs.replace(grant, svid="")
                assert (await client.authorize(grant, "payments/list", {})).permitted
            asked = stage.service.asks[-1][1]
            assert (asked.caller.id, asked.caller.possession) == (PEP, "mtls")
            assert asked.proof is not None
            assert (asked.proof.id, asked.proof.possession) == (WORKLOAD, "dpop")

    run(main())


def test_a_workload_gets_a_document_for_another_key_by_its_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, svid(WORKLOAD))
            key = thumbprint(generate_key())
            async with await Client.connect(files.endpoint(stage), CertifiedHolder(WORKLOAD)) as client:
                document = await client.svid(bind=key)
            assert document.id == WORKLOAD
            verified = stage.authenticator._svid(document.svid, "digest", stage.service.clock())
            assert verified.identity.key == key

    run(main())


def test_a_certificate_that_the_service_does_not_trust(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, make(by=authority("stranger"), uris=[PEP]))
            with pytest.raises(Unavailable) as caught:
                await Client.connect(files.endpoint(stage), CertifiedHolder(PEP))
            assert caught.value.code == "tls_refused"
            assert "unknown ca" in caught.value.message

    run(main())


def test_a_service_that_the_client_does_not_trust(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as stage:
            files = Files(tmp_path, svid())
            files.ca.write_bytes(authority("another web").certificate.public_bytes(Encoding.PEM))
            with pytest.raises(Unavailable) as caught:
                await Client.connect(files.endpoint(stage), CertifiedHolder(PEP))
            assert caught.value.code == "tls_refused"

    run(main())


def test_a_service_of_another_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, server=make("service", by=WEB, dns=["other.example"])) as stage:
            with pytest.raises(Unavailable) as caught:
                await Client.connect(Files(tmp_path, svid()).endpoint(stage), CertifiedHolder(PEP))
            assert caught.value.code == "tls_refused"
            assert "mismatch" in caught.value.message

    run(main())


def test_what_does_not_make_an_endpoint(tmp_path: Path) -> None:
    files = Files(tmp_path, svid())
    with pytest.raises(InvalidInput):
        Endpoint(url="http://remit.example.org")
    with pytest.raises(InvalidInput):
        Endpoint(url="https://remit.example.org", certificate=files.certificate)
    with pytest.raises(DocumentError) as caught:
        ClientTls(Endpoint(url="https://remit.example.org", ca=tmp_path / "none.pem"))
    assert caught.value.code == "ca_file_invalid"
    no_svid = Files(tmp_path, make("web server", by=WEB, dns=["a.example"]))
    with pytest.raises(DocumentError) as caught:
        ClientTls(Endpoint(url="https://a.example", certificate=no_svid.certificate, key=no_svid.key))
    assert caught.value.code == "tls_certificate_invalid"
    files.key.chmod(0o644)
    with pytest.raises(DocumentError) as caught:
        ClientTls(Endpoint(url="https://a.example", certificate=files.certificate, key=files.key))
    assert caught.value.code == "key_file_exposed"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"identity": PEP},
        {"identity": "pep/gateway", "key": "k"},
        {"certificate": "a", "key": "b", "token_file": "c"},
        {"certificate": "a"},
    ],
)
def test_what_is_not_enough_to_connect(given: dict[str, str]) -> None:
    with pytest.raises((InvalidInput, DocumentError)):
        asyncio.run(remit.connect("https://remit.example.org", **given))


def test_a_certificate_without_a_url_is_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(remit.connect(tmp_path, certificate="a", key="b"))
    assert caught.value.code == "url_missing"
