"""`remit up` with TLS: software that is not ours connects with X.509-SVIDs, and what the governor makes of them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from base64 import b64encode, urlsafe_b64decode
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import remit
from remit.app import service as service_module
from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.app.service import run_service
from remit.core.errors import Forbidden, Unauthenticated, Unavailable
from remit.core.tasks import TaskRequest
from remit.sdk.client import Client
from remit.sdk.grant import save_grant
from tests.e2e.service import REMIT, decisions, grants, service, write_project
from tests.identity.certificates import Party, authority, make

WEB, ROOT = authority("web"), authority("root of e2e.example")
AGENT = "spiffe://e2e.example/workload/agent"
POINT = "spiffe://e2e.example/pep/gateway"
ALICE = "spiffe://e2e.example/person/alice"


@dataclass
class Site:
    """A project whose service has TLS on a free port, and the files of its clients."""

    folder: Folder
    url: str

    @property
    def tls(self) -> Path:
        return self.folder.root / "tls"

    def client(self, id: str, party: Party | None = None) -> list[str]:
        """The options of `remit` and the SDK for one identity's certificate."""
        certificate, key = (party or make(by=ROOT, uris=[id])).write(self.tls, id.rpartition("/")[2])
        return [str(certificate), str(key), str(self.tls / "web.pem")]

    async def connect(self, id: str, party: Party | None = None) -> Client:
        certificate, key, ca = self.client(id, party)
        return await remit.connect(self.url, certificate=certificate, key=key, ca=ca)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = write_project(tmp_path / "p")
    (folder.root / "tls").mkdir(mode=0o700)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Site(folder, f"https://localhost:{port}")
    make("service", by=WEB, dns=["localhost"], ips=[ip_address("127.0.0.1")]).write(made.tls, "server")
    WEB.write(made.tls, "web")
    ROOT.write(made.tls, "root")
    file = folder.root / "remit.toml"
    settings = file.read_text().replace(
        'listen = ""',
        f'listen = "127.0.0.1:{port}"\norigins = ["{made.url}"]\n'
        'tls_certificate = "tls/server.pem"\ntls_key = "tls/server.key"\n[identity]\nx509_bundle = "tls/root.pem"',
    )
    file.write_text(settings)
    return made


def curl(site: Site, path: str, *options: str) -> tuple[int, str]:
    command = ["curl", "-sS", "--cacert", str(site.tls / "web.pem"), "-w", "\n%{http_code}", *options, site.url + path]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if ended.returncode:
        return 0, ended.stderr
    body, _, status = ended.stdout.rpartition("\n")
    return int(status), body


def certified(site: Site, id: str, party: Party | None = None) -> list[str]:
    certificate, key, _ = site.client(id, party)
    return ["--cert", certificate, "--key", key]


def test_curl_and_openssl_connect_with_an_svid(site: Site) -> None:
    with service(site.folder):
        status, body = curl(site, "/v1/identities", *certified(site, ALICE))
        assert status == 200
        assert {each["id"] for each in json.loads(body)["identities"]} == {AGENT, POINT, ALICE}
        # Without a certificate; with one that only looks like one; with one that nobody here trusts; with plain HTTP.
        assert curl(site, "/healthz")[0] == 200
        assert curl(site, "/v1/identities")[0] == 401
        status, body = curl(site, "/v1/identities", *certified(site, ALICE, make(by=ROOT, uris=[ALICE, POINT])))
        assert (status, json.loads(body)["code"]) == (401, "certificate_invalid")
        status, why = curl(site, "/healthz", *certified(site, ALICE, make(by=authority("stranger"), uris=[ALICE])))
        assert status == 0
        assert "unknown ca" in why
        said = shake_hands(site, "-tls1_3")
        assert "Verify return code: 0 (ok)" in said
        assert "TLSv1.3" in said
        assert "TLSv1.2" in shake_hands(site, "-tls1_2")
        assert "no peer certificate available" in shake_hands(site, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


def shake_hands(site: Site, *options: str) -> str:
    """What `openssl s_client` says of a handshake."""
    host = site.url.removeprefix("https://")
    command = ["openssl", "s_client", "-connect", host, "-CAfile", str(site.tls / "web.pem"), *options]
    command += ["-servername", "localhost", "-verify_hostname", "localhost"]
    ended = subprocess.run(command, input="", capture_output=True, text=True, timeout=20)
    return ended.stdout + ended.stderr


def test_an_enforcement_point_elsewhere_needs_its_certificate_alone(site: Site, tmp_path: Path) -> None:
    """`remit exec` in a checkout without keys: the service is reached over TLS, the task's grant is handed over."""
    with service(site.folder):
        grant = asyncio.run(grants(site.folder, "work", 1))[0]
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "catalogue").mkdir(parents=True)
        for name in ("remit.toml", "catalogue/orders.yaml"):
            (elsewhere / name).write_text((site.folder.root / name).read_text())
        save_grant(elsewhere / "grant.json", grant)
        certificate, key, ca = site.client(POINT)
        options = ["--url", site.url, "--certificate", certificate, "--key", key, "--ca", ca]
        command = [*REMIT, *options, "exec", "--project", str(elsewhere), "orders/get", "--param", "order=7"]
        environment = {**os.environ, "REMIT_TASK": str(elsewhere / "grant.json")}
        ended = subprocess.run([*command, "--", "true"], env=environment, capture_output=True, text=True, timeout=30)
        assert ended.returncode == 0, ended.stderr
        assert not (elsewhere / ".remit").exists()
        named = {
            **environment,
            "REMIT_URL": site.url,
            "REMIT_CERTIFICATE": certificate,
            "REMIT_KEY": key,
            "REMIT_CA": ca,
        }
        again = [*REMIT, "exec", "--project", str(elsewhere), "orders/get", "--param", "order=8", "--", "true"]
        assert subprocess.run(again, env=named, capture_output=True, timeout=30).returncode == 0
    assert decisions(site.folder) == [("orders/get", "permit", "permitted")] * 2


@pytest.fixture
def served(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, whose service looks at its files all the time once it runs (in this process)."""
    monkeypatch.setattr(service_module, "KEYS_SECONDS", 0.05)
    return site


class Running:
    """The service of a site in this process."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __aenter__(self) -> None:
        ready = asyncio.Event()
        self._listeners: list[object] = []

        def on_ready(_: object, listener: object) -> None:
            self._listeners.append(listener)
            ready.set()

        self._service = asyncio.create_task(run_service(self._site.folder, on_ready=on_ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._service, waiting), return_when=asyncio.FIRST_COMPLETED)
        if self._service.done():
            waiting.cancel()
            self._service.result()

    async def __aexit__(self, *_: object) -> None:
        self._listeners[0].should_exit = True  # type: ignore[attr-defined]
        await self._service


def test_what_a_task_bound_to_a_certificates_key_is_worth(served: Site) -> None:
    """The workload asks for itself over its own connection. With the next certificate comes another key: the task
    token that was bound to the first one is worth nothing with it."""

    async def main() -> None:
        async with Running(served):
            first = make(by=ROOT, uris=[AGENT])
            async with await served.connect(AGENT, first) as agent, await served.connect(ALICE) as alice:
                key = (await agent.svid()).svid  # bound to the certificate's own key
                bound = json.loads(_payload(key))["cnf"]["jkt"]
                started = await alice.start_task(TaskRequest(intent="work", workload=AGENT, key=bound))
                grant = (await grants(served.folder, "work", 1))[0]
                grant = msgspec.structs.replace(grant, task=started.task.id, token=started.token)
                known = await agent.probe(grant, "orders/get", {"order": "7"})
                assert known.permitted, known.reason
            async with await served.connect(AGENT, make(by=ROOT, uris=[AGENT])) as agent:
                refused = await agent.probe(grant, "orders/get", {"order": "7"})
                assert refused.reason.code == "task_key_mismatch"

    asyncio.run(main())


def test_a_quarantined_workloads_certificate(served: Site) -> None:
    async def main() -> None:
        async with Running(served), await served.connect(AGENT) as agent, await served.connect(ALICE) as alice:
            assert (await agent.svid()).id == AGENT
            await alice.change(AGENT, "quarantined", "test")
            refused = await agent.probe(None, "orders/get", {"order": "7"})
            assert refused.reason.code == "identity_quarantined"
            with pytest.raises(Forbidden) as caught:
                await agent.svid()
            assert caught.value.code == "identity_quarantined"

    asyncio.run(main())


def test_a_certificate_of_nobody_who_is_registered(served: Site) -> None:
    async def main() -> None:
        stranger = "spiffe://e2e.example/workload/stranger"
        async with Running(served), await served.connect(stranger) as client:
            refused = await client.probe(None, "orders/get", {"order": "7"})
            assert refused.reason.code == "identity_unknown"

    asyncio.run(main())


def test_a_partner_of_another_trust_domain(served: Site) -> None:
    """A federated domain's authority vouches for its own identities, which are whom the rules say, and for no other."""

    partner = authority("root of partner.example")
    der = b64encode(partner.certificate.public_bytes(Encoding.DER)).decode()
    bundle = {"keys": [{"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43, "use": "x509-svid", "x5c": [der]}]}
    (served.tls / "partner.json").write_text(json.dumps(bundle))
    with (served.folder.root / "remit.toml").open("a") as file:
        file.write(
            '[[federation]]\ntrust_domain = "partner.example"\nbundle_file = "tls/partner.json"\n'
            '[[federation.rules]]\nspiffe_id = "spiffe://partner.example/ns/prod/agent"\nidentity = "workload/agent"\n'
        )

    async def main() -> None:
        async with Running(served):
            certificate, key, ca = served.client("spiffe://partner.example/ns/prod/agent", partner_agent)
            async with await until_trusted(certificate, key, ca) as client:
                asked = await client.probe(None, "orders/get", {"order": "7"}, subject=AGENT)
                assert asked.reason.code == "no_task"
            for other in (
                make(by=partner, uris=["spiffe://partner.example/ns/prod/other"]),
                make(by=partner, uris=[AGENT]),
                make(by=partner, uris=[ALICE]),
            ):
                async with await served.connect(ALICE, other) as client:
                    with pytest.raises(Unauthenticated):
                        await client.identities()

    async def until_trusted(certificate: str, key: str, ca: str) -> Client:
        for _ in range(200):
            try:
                return await remit.connect(served.url, identity=AGENT, certificate=certificate, key=key, ca=ca)
            except Unavailable:
                await asyncio.sleep(0.02)
        raise AssertionError("the partner's authority was not taken within four seconds")

    partner_agent = make(by=partner, uris=["spiffe://partner.example/ns/prod/agent"])
    asyncio.run(main())


def test_files_that_are_replaced_are_taken_without_a_restart(served: Site) -> None:
    async def main() -> None:
        async with Running(served), await connect_as(served.folder, "person/alice"):
            alice = await served.connect(ALICE)
            assert len(await alice.identities()) == 3
            following = authority("next root")
            following.write(served.tls, "root")
            make("service", by=WEB, dns=["localhost"]).write(served.tls, "server")
            # The old authority is gone: the open connection is refused, and so is the next one with the old document.
            await until_refused(alice)
            await alice.close()
            async with await served.connect(ALICE, make(by=following, uris=[ALICE])) as renewed:
                assert len(await renewed.identities()) == 3
            with pytest.raises(Unavailable) as caught:
                await served.connect(ALICE, make(by=ROOT, uris=[ALICE]))
            assert caught.value.code == "tls_refused"

    async def until_refused(client: Client) -> None:
        for _ in range(200):
            try:
                await client.identities()
            except Unauthenticated as error:
                if error.code == "certificate_untrusted":
                    return
                raise
            await asyncio.sleep(0.02)
        raise AssertionError("the old authority was believed for four seconds")

    asyncio.run(main())


def _payload(token: str) -> bytes:
    part = token.split(".")[1]
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
