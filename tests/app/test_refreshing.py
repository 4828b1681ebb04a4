"""Keys that stay fresh: when they are read again, what an outage changes, and that strangers can't make us ask."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from remit.app.folder import Folder
from remit.app.key_sources import KeySource, sources_of
from remit.app.refreshing import Pace, Refresher
from remit.core.errors import DocumentError, Unauthenticated
from remit.core.issuers import FederationRule, FederationSettings
from remit.identity.elsewhere import Elsewhere, read_federation, read_issuer
from tests.identity.issuers import PARTNER, LocalIssuer, github, partner, rsa, rule, settings
from tests.identity.parties import AUDIENCE, DOMAIN, NOW

from .publisher import LocalAuthority, Publisher, publishing, until

LOCALHOST = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
QUICK = Pace(usual=0.05, least=0.02, most=0.1, first_retry=0.02, file=0.01)
WAITING = Pace(usual=3600, least=0.05, most=3600, first_retry=3600, file=0.01)
CI = rule("starter/ci", {"repository_id": "74"})


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


class Reading:
    """One source under test, and what reads it."""

    def __init__(self, elsewhere: Elsewhere, folder: Folder, clock: Clock) -> None:
        self.elsewhere = elsewhere
        self.folder = folder
        self.clock = clock
        self.sources: tuple[KeySource, ...] = ()

    def kept(self) -> str:
        """What a restart would find."""
        return "".join(each.read_text() for each in self.folder.issuers.glob("[!.]*.json"))

    @property
    def state(self) -> Any:
        return self.sources[0].state

    @asynccontextmanager
    async def running(self, pace: Pace = QUICK) -> AsyncIterator[Refresher]:
        self.sources = sources_of(self.elsewhere, self.folder, self.clock)
        refresher = Refresher(self.sources, self.clock, pace)
        self.elsewhere.on_unknown_key = refresher.wake
        refresher.start()
        try:
            yield refresher
        finally:
            await refresher.stop()

    def code(self, token: str) -> str:
        try:
            self.elsewhere.arrival(token, self.clock())
        except Unauthenticated as error:
            return error.code
        return ""


def issuer(folder: Folder, url: str, **more: Any) -> Reading:
    wanted = settings("hub", url, CI, ca_file="ca.pem", **more)
    return Reading(Elsewhere(DOMAIN, [read_issuer(wanted)]), folder, Clock())


def run(tmp_path: Path, work: Callable[[Publisher, Folder], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        folder = Folder(tmp_path)
        folder.state.mkdir(mode=0o700)
        authority = LocalAuthority()
        authority.pem(tmp_path / "ca.pem")
        async with publishing(authority.server(tmp_path, *LOCALHOST)) as publisher:
            await work(publisher, folder)

    asyncio.run(all_of_it())


def discoverable(publisher: Publisher, local: LocalIssuer) -> None:
    publisher.answers["/.well-known/openid-configuration"] = json.dumps(
        {"issuer": publisher.url, "jwks_uri": publisher.url + "/jwks"}
    ).encode()
    publisher.answers["/jwks"] = local.jwks()


def test_keys_by_discovery_and_their_rotation(tmp_path: Path) -> None:
    async def work(publisher: Publisher, folder: Folder) -> None:
        first = LocalIssuer(publisher.url, rsa(0), kid="one")
        second = LocalIssuer(publisher.url, rsa(1), kid="two")
        discoverable(publisher, first)
        reading = issuer(folder, publisher.url)
        async with reading.running():
            await until(lambda: reading.code(first.token(github())) == "")
            publisher.answers["/jwks"] = second.jwks()
            await until(lambda: reading.code(second.token(github())) == "")
            assert reading.code(first.token(github())) == "token_key_unknown"  # withdrawn
            publisher.answers["/jwks"] = b'{"keys":[]}'
            await until(lambda: reading.code(second.token(github())) == "token_key_unknown")

    run(tmp_path, work)


def test_an_issuer_out_of_reach(tmp_path: Path) -> None:
    """The last good keys serve, then they don't; and when the issuer is back, so are they."""

    async def work(publisher: Publisher, folder: Folder) -> None:
        local = LocalIssuer(publisher.url)
        publisher.answers["/jwks"] = local.jwks()
        reading = issuer(
            folder, publisher.url, jwks_url=publisher.url + "/jwks", stale_seconds=600, token_seconds=86_400
        )
        token = local.token(github(exp=NOW // 1000 + 7200))
        async with reading.running():
            await until(lambda: reading.code(token) == "")
            publisher.answers["/jwks"] = 503
            await until(lambda: reading.state.failures >= 2)
            assert reading.state.error == "the server answered 503"
            reading.clock.now = NOW + 599_000
            assert reading.code(token) == ""
            reading.clock.now = NOW + 600_000
            assert reading.code(token) == "issuer_stale"
            publisher.answers["/jwks"] = local.jwks()
            await until(lambda: reading.code(token) == "")
            assert (reading.state.failures, reading.state.error) == (0, "")

    run(tmp_path, work)


def test_a_set_that_does_not_hold_leaves_the_one_before(tmp_path: Path) -> None:
    async def work(publisher: Publisher, folder: Folder) -> None:
        local = LocalIssuer(publisher.url)
        publisher.answers["/jwks"] = local.jwks()
        reading = issuer(folder, publisher.url, jwks_url=publisher.url + "/jwks")
        async with reading.running():
            await until(lambda: reading.code(local.token(github())) == "")
            for bad in (b"", b"<html>", json.dumps({"keys": [local.jwk(), local.jwk(d="AQ")]}).encode()):
                publisher.answers["/jwks"] = bad
                failures = reading.state.failures
                await until(lambda failures=failures: reading.state.failures > failures)
                assert reading.code(local.token(github())) == ""

    run(tmp_path, work)


def test_after_a_restart_during_an_outage(tmp_path: Path) -> None:
    async def work(publisher: Publisher, folder: Folder) -> None:
        local = LocalIssuer(publisher.url)
        publisher.answers["/jwks"] = local.jwks()
        more = {"jwks_url": publisher.url + "/jwks", "stale_seconds": 600}
        token = local.token(github())
        first = issuer(folder, publisher.url, **more)
        async with first.running():
            await until(lambda: first.kept() != "")
        kept = next(folder.issuers.glob("[!.]*"))
        assert kept.stat().st_mode & 0o777 == 0o600
        publisher.answers["/jwks"] = 503

        again = issuer(folder, publisher.url, **more)
        async with again.running(WAITING):
            await until(lambda: again.state.failures == 1)
            assert again.code(token) == ""
        late = issuer(folder, publisher.url, **more)
        late.clock.now = NOW + 600_000
        async with late.running(WAITING):
            assert late.code(token) == "issuer_stale"
        # what was kept of another place is not taken
        moved = issuer(folder, publisher.url, jwks_url=publisher.url + "/elsewhere")
        async with moved.running(WAITING):
            assert moved.code(token) == "issuer_stale"
        # and neither is a file that others could have written
        os.chmod(kept, 0o666)
        exposed = issuer(folder, publisher.url, **more)
        async with exposed.running(WAITING):
            assert exposed.code(token) == "issuer_stale"

    run(tmp_path, work)


def test_tokens_with_unknown_keys_ask_the_issuer_once(tmp_path: Path) -> None:
    """A stranger can make any number of tokens with any `kid`; the issuer is asked once in a while, not each time."""

    async def work(publisher: Publisher, folder: Folder) -> None:
        local = LocalIssuer(publisher.url, rsa(0), kid="one")
        other = LocalIssuer(publisher.url, rsa(1), kid="two")
        publisher.answers["/jwks"] = local.jwks()
        reading = issuer(folder, publisher.url, jwks_url=publisher.url + "/jwks")
        began = time.monotonic()
        async with reading.running(Pace(usual=3600, most=3600, least=0.3)):
            await until(lambda: reading.code(local.token(github())) == "")
            publisher.answers["/jwks"] = other.jwks()
            for number in range(300):
                strange = LocalIssuer(publisher.url, rsa(1), kid=f"strange-{number}")
                assert reading.code(strange.token(github())) == "token_key_unknown"
                if number % 30 == 0:
                    await asyncio.sleep(0.003)
            await until(lambda: reading.code(other.token(github())) == "")  # early: the usual pace is an hour
            assert 2 <= len(publisher.asked) <= 2 + (time.monotonic() - began) / 0.3

    run(tmp_path, work)


def test_what_the_publisher_says_of_its_pace_is_bounded(tmp_path: Path) -> None:
    async def work(publisher: Publisher, folder: Folder) -> None:
        local = LocalIssuer(publisher.url)
        publisher.answers["/jwks"] = lambda _: web.Response(body=local.jwks(), headers={"Cache-Control": "max-age=0"})
        eager = issuer(folder, publisher.url, jwks_url=publisher.url + "/jwks")
        async with eager.running(Pace(least=3600.0)):
            await until(lambda: eager.state.read == NOW)
            await asyncio.sleep(0.1)
            assert len(publisher.asked) == 1
        publisher.answers["/jwks"] = lambda _: web.Response(
            body=local.jwks(), headers={"Cache-Control": "max-age=999999999"}
        )
        async with eager.running(Pace(least=0.01, most=0.02)):
            await until(lambda: len(publisher.asked) >= 4)

    run(tmp_path, work)


def test_a_failing_issuer_is_asked_less_and_less(tmp_path: Path) -> None:
    async def work(publisher: Publisher, folder: Folder) -> None:
        reading = issuer(folder, publisher.url, jwks_url=publisher.url + "/jwks")
        async with reading.running(Pace(first_retry=0.05, most=10.0, least=0.01)):
            await asyncio.sleep(1.0)
        assert 3 <= len(publisher.asked) <= 7  # 0.05, 0.1, 0.2, 0.4 seconds, and half of that at least

    run(tmp_path, work)


# --- files ------------------------------------------------------------------------------------------------------


def test_a_file_that_changes_is_seen_without_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        folder = Folder(tmp_path)
        folder.state.mkdir(mode=0o700)
        first, second = LocalIssuer("https://x.example", rsa(0)), LocalIssuer("https://x.example", rsa(1), kid="two")
        file = tmp_path / "jwks.json"
        file.write_bytes(first.jwks())
        wanted = settings("hub", "https://x.example", CI, jwks_file="jwks.json", stale_seconds=600)
        reading = Reading(Elsewhere(DOMAIN, [read_issuer(wanted)]), folder, Clock())
        async with reading.running():
            assert reading.code(first.token(github())) == ""  # from the first moment on
            file.write_bytes(second.jwks())
            await until(lambda: reading.code(second.token(github())) == "")
            # an unchanged file does not grow old
            reading.clock.now = NOW + 3_600_000
            later = second.token(github(exp=NOW // 1000 + 7200))
            await until(lambda: reading.state.read == reading.clock.now)
            assert reading.code(later) == ""
            # a broken one does
            file.write_text("{")
            await until(lambda: reading.state.error != "")
            assert reading.code(later) == ""
            reading.clock.now += 600_000
            assert reading.code(later) == "issuer_stale"
            file.write_bytes(second.jwks())
            await until(lambda: reading.code(later) == "")
            file.unlink()
            await until(lambda: "can't read" in reading.state.error)
            assert reading.code(later) == ""

    asyncio.run(work())


@pytest.mark.parametrize("text", ["", "{", '{"keys":[{"d":"x"}]}', " " * 130_000])
def test_a_file_that_can_not_be_used_stops_the_start(tmp_path: Path, text: str) -> None:
    wanted = settings("hub", "https://x.example", CI, jwks_file="jwks.json")
    reading = Reading(Elsewhere(DOMAIN, [read_issuer(wanted)]), Folder(tmp_path), Clock())
    (tmp_path / "jwks.json").write_text(text)
    for _ in range(2):
        with pytest.raises(DocumentError):
            sources_of(reading.elsewhere, reading.folder, reading.clock)
        (tmp_path / "jwks.json").unlink(missing_ok=True)


# --- bundles ----------------------------------------------------------------------------------------------------

ENDPOINT = f"spiffe://{PARTNER}/bundle-endpoint"


def bundle(local: LocalIssuer, *authorities: LocalAuthority, sequence: int, hint: int = 0) -> bytes:
    from base64 import b64encode

    entries: list[dict[str, Any]] = [{**local.jwk(use="jwt-svid")}]
    for authority in authorities:
        der = authority.certificate.public_bytes(Encoding.DER)
        entries.append({"kty": "EC", "use": "x509-svid", "x5c": [b64encode(der).decode()]})
    return json.dumps({"keys": entries, "spiffe_sequence": sequence, "spiffe_refresh_hint": hint}).encode()


def domain(folder: Folder, **more: Any) -> Reading:
    wanted = FederationSettings(
        trust_domain=PARTNER,
        rules=(FederationRule(spiffe_id=f"spiffe://{PARTNER}/ns/prod/*", identity="workload/partner"),),
        **more,
    )
    return Reading(Elsewhere(DOMAIN, (), [read_federation(wanted, audience=AUDIENCE)]), folder, Clock())


def test_a_bundle_endpoint_on_the_web(tmp_path: Path) -> None:
    async def work(publisher: Publisher, folder: Folder) -> None:
        old, new = LocalIssuer("", rsa(0), kid="old"), LocalIssuer("", rsa(1), kid="new")
        publisher.answers["/bundle"] = bundle(old, LocalAuthority(), sequence=7)
        reading = domain(folder, bundle_url=publisher.url + "/bundle", ca_file="ca.pem")
        async with reading.running():
            await until(lambda: reading.code(old.token(partner())) == "")
            assert len(reading.elsewhere.bundles.x509_authorities(PARTNER, NOW)) == 1
            publisher.answers["/bundle"] = bundle(new, sequence=8)
            await until(lambda: reading.code(new.token(partner())) == "")
            # the old bundle again: revoked keys do not come back
            publisher.answers["/bundle"] = bundle(old, sequence=7)
            await until(lambda: reading.state.failures > 0)
            assert "sequence number 7" in reading.state.error
            assert reading.code(old.token(partner())) == "token_key_unknown"
        again = domain(folder, bundle_url=publisher.url + "/bundle", ca_file="ca.pem")
        async with again.running():  # nor after a restart
            await until(lambda: again.state.failures > 1)
            assert again.code(old.token(partner())) == "token_key_unknown"
            assert again.code(new.token(partner())) == ""

    run(tmp_path, work)


def test_a_self_serving_endpoint_authenticates_with_the_newest_bundle(tmp_path: Path) -> None:
    """The operator gives the first bundle; the endpoint then rotates its authority, and nobody has to do anything."""

    async def work() -> None:
        folder = Folder(tmp_path)
        folder.state.mkdir(mode=0o700)
        local = LocalIssuer("", kid="p1")
        first, second, thief = LocalAuthority("first"), LocalAuthority("second"), LocalAuthority("thief")
        (tmp_path / "first.json").write_bytes(bundle(local, first, sequence=1))
        name = x509.UniformResourceIdentifier(ENDPOINT)
        more = {"profile": "https_spiffe", "endpoint_id": ENDPOINT, "bundle_file": "first.json"}

        async with publishing(first.server(tmp_path, name)) as publisher:
            publisher.answers["/bundle"] = bundle(local, first, second, sequence=2)
            reading = domain(folder, bundle_url=publisher.url + "/bundle", **more)
            async with reading.running():
                assert reading.code(local.token(partner())) == ""  # the first bundle vouches at once
                await until(lambda: '"spiffe_sequence\\": 2' in reading.kept())
                assert len(reading.elsewhere.bundles.x509_authorities(PARTNER, NOW)) == 2
            port = publisher.url.rpartition(":")[2]
        for authority, reached in ((second, True), (thief, False)):
            async with publishing(authority.server(tmp_path, name), port=int(port)) as publisher:
                publisher.answers["/bundle"] = bundle(local, second, sequence=3)
                again = domain(folder, bundle_url=publisher.url + "/bundle", **more)
                # however old the kept bundle has grown: without it the endpoint could never be reached again
                again.clock.now = NOW + 7 * 86_400_000
                async with again.running():
                    await until(lambda again=again, publisher=publisher: again.state.failures > 0 or publisher.asked)
                    await until(lambda again=again, reached=reached: not reached or '": 3' in again.kept())
                    assert (again.state.error == "") is reached, again.state.error
                    assert (publisher.asked != []) is reached

    asyncio.run(work())


def test_an_endpoint_in_another_trust_domain(tmp_path: Path) -> None:
    """A host serves the bundle of another trust domain: its own domain's authorities prove it, and no others."""

    async def work() -> None:
        folder = Folder(tmp_path)
        folder.state.mkdir(mode=0o700)
        local, host, thief = LocalIssuer("", kid="p1"), LocalAuthority("host"), LocalAuthority("thief")
        (tmp_path / "host.json").write_bytes(bundle(LocalIssuer("", rsa(1), kid="h"), host, sequence=1))
        name = "spiffe://host.example/bundle-endpoint"
        for authority, reached in ((thief, False), (host, True)):
            async with publishing(authority.server(tmp_path, x509.UniformResourceIdentifier(name))) as publisher:
                # what is served names the thief as an authority too, which must not count for its own endpoint
                publisher.answers["/bundle"] = bundle(local, thief, sequence=1)
                wanted = FederationSettings(
                    trust_domain=PARTNER,
                    bundle_url=publisher.url + "/bundle",
                    profile="https_spiffe",
                    endpoint_id=name,
                    rules=(FederationRule(spiffe_id=f"spiffe://{PARTNER}/ns/prod/*", identity="workload/partner"),),
                )
                host_domain = FederationSettings(
                    trust_domain="host.example",
                    bundle_file="host.json",
                    rules=(FederationRule(spiffe_id="spiffe://host.example/a", identity="workload/a"),),
                )
                both = [read_federation(each, audience=AUDIENCE) for each in (wanted, host_domain)]
                reading = Reading(Elsewhere(DOMAIN, (), both), folder, Clock())
                async with reading.running():
                    await until(lambda reading=reading: reading.state.read > 0 or reading.state.failures > 0)
                    assert (reading.code(local.token(partner())) == "") is reached, reading.state.error

    asyncio.run(work())


def test_a_bundle_file_that_goes_back(tmp_path: Path) -> None:
    async def work() -> None:
        folder = Folder(tmp_path)
        folder.state.mkdir(mode=0o700)
        local = LocalIssuer("", kid="p1")
        (tmp_path / "b.json").write_bytes(bundle(local, sequence=5))
        reading = domain(folder, bundle_file="b.json")
        async with reading.running():
            (tmp_path / "b.json").write_bytes(bundle(LocalIssuer("", rsa(1), kid="p0"), sequence=4))
            await until(lambda: reading.state.error != "")
            assert reading.code(local.token(partner())) == ""

    asyncio.run(work())
