"""`remit doctor` and the certificates of a service: each thing wrong by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from remit.app.doctor import certificates, state
from remit.app.doctor.finding import Finding, Situation, User
from remit.app.folder import Folder
from remit.core.clock import system_clock
from remit.core.service import Service
from remit.core.settings import IdentitySettings, Settings
from tests.identity.certificates import Party, authority, make, now

ROOT = authority("root")
URL = "https://remit.example.org"
SERVICE = Service(
    listen="127.0.0.1:8443", tls_certificate="server.pem", tls_key="server.key", origins=(URL, "https://[::1]:8443")
)


@pytest.fixture
def there(tmp_path: Path) -> Situation:
    named = [ip_address("127.0.0.1"), ip_address("::1")]
    make("service", by=ROOT, dns=["*.example.org"], ips=named).write(tmp_path, "server")
    ROOT.write(tmp_path, "root")
    settings = Settings(trust_domain="example.org", service=SERVICE, identity=IdentitySettings(x509_bundle="root.pem"))
    agent = User("agent", 4711, frozenset({4711}))
    return Situation(folder=Folder(tmp_path), agent=agent, now=system_clock(), settings=settings)


def levels(found: Iterator[Finding]) -> list[str]:
    listed = list(found)
    assert all(each.next_step for each in listed if each.level != "ok")
    return [each.level for each in listed]


def with_certificate(there: Situation, party: Party) -> list[str]:
    party.write(there.folder.root, "server")
    return levels(certificates.own(there))


def test_in_order(there: Situation) -> None:
    assert levels(certificates.own(there)) == ["ok"]
    assert levels(certificates.authorities(there)) == ["ok"]
    assert levels(state.listener(there)) == ["ok"]


def test_a_certificate_that_expires_soon_or_has(there: Situation) -> None:
    long_ago, name = now() - timedelta(days=30), {"dns": ["*.example.org"], "ips": [ip_address("127.0.0.1")]}
    there = Situation(folder=there.folder, agent=there.agent, now=there.now, settings=without_v6(there))
    soon = make(by=ROOT, start=long_ago, end=now() + timedelta(days=1), **name)  # type: ignore[arg-type]
    assert with_certificate(there, soon) == ["warn"]
    assert with_certificate(there, make(by=ROOT, start=long_ago, end=long_ago + timedelta(days=1), **name)) == ["fail"]  # type: ignore[arg-type]


def without_v6(there: Situation) -> Settings:
    assert there.settings is not None
    service = msgspec.structs.replace(SERVICE, origins=(URL,))
    return msgspec.structs.replace(there.settings, service=service)


def test_a_certificate_that_names_something_else(there: Situation) -> None:
    assert with_certificate(there, make(by=ROOT, dns=["example.org", "*.remit.example.org"])) == ["warn", "ok"]
    assert with_certificate(there, make(by=ROOT)) == ["warn", "ok"]


def test_files_that_can_not_be_used(there: Situation) -> None:
    (there.folder.root / "root.pem").write_text("nothing")
    assert levels(certificates.authorities(there)) == ["fail"]
    (there.folder.root / "server.key").unlink()
    assert levels(certificates.own(there)) == ["fail"]


def test_a_key_that_others_can_read(there: Situation) -> None:
    (there.folder.root / "server.key").chmod(0o644)
    assert levels(certificates.own(there)) == ["fail"]


def test_a_bundle_of_leaves_is_none(there: Situation) -> None:
    make("leaf", by=ROOT, uris=["spiffe://example.org/a"]).write(there.folder.root, "root")
    assert levels(certificates.authorities(there)) == ["fail"]


def test_a_bundle_without_tls_is_for_nothing(there: Situation) -> None:
    assert there.settings is not None
    settings = msgspec.structs.replace(there.settings, service=Service())
    there = Situation(folder=there.folder, agent=there.agent, now=there.now, settings=settings)
    assert levels(certificates.authorities(there)) == ["warn", "ok"]
    assert levels(certificates.own(there)) == []
