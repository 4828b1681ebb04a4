"""Reading keys over https: whatever the other side does, it is bounded, and it leads nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509

from remit.app import key_fetching
from remit.app.key_fetching import discover, fetch, spiffe_context, web_context
from remit.core.clock import system_clock
from remit.core.errors import DocumentError, RemitError

from .publisher import LocalAuthority, Publisher, publishing

LOCALHOST = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
ENDPOINT = "spiffe://partner.example/bundle-endpoint"


def run(tmp_path: Path, work: Callable[[Publisher, Any], Awaitable[None]]) -> None:
    """A server whose certificate the reader's own authorities vouch for."""

    async def all_of_it() -> None:
        authority = LocalAuthority()
        context = web_context(authority.pem(tmp_path / "ca.pem"))
        async with publishing(authority.server(tmp_path, *LOCALHOST)) as publisher:
            await work(publisher, context)

    asyncio.run(all_of_it())


async def refused(work: Awaitable[Any]) -> str:
    with pytest.raises(RemitError) as caught:
        await work
    assert caught.value.code == "keys_unreachable"
    return caught.value.message


def test_a_document_and_how_long_it_holds(tmp_path: Path) -> None:
    async def work(publisher: Publisher, context: Any) -> None:
        for header, seconds in (
            ("max-age=600", 600),
            ("public, max-age=60, must-revalidate", 60),
            ("no-store, max-age=600", 0),
            ("no-cache", 0),
            ("s-maxage=7", None),
            ("max-age=x", None),
            ("", None),
        ):
            publisher.answers["/k"] = lambda _, header=header: web.Response(
                body=b"{}", headers={"Cache-Control": header}
            )
            found = await fetch(publisher.url + "/k", context, allow_http=False)
            assert (found.data, found.max_age) == (b"{}", seconds), header

    run(tmp_path, work)


def test_answers_that_are_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_fetching, "SECONDS", 0.5)

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    async def work(publisher: Publisher, context: Any) -> None:
        url = publisher.url + "/k"
        publisher.answers["/k"] = 500
        assert "answered 500" in await refused(fetch(url, context, allow_http=False))
        publisher.answers["/k"] = lambda _: web.Response(body=b"x" * (key_fetching.DOCUMENT_BYTES + 1))
        assert "larger" in await refused(fetch(url, context, allow_http=False))
        publisher.answers["/k"] = lambda _: web.Response(body=b"x", headers={"Content-Encoding": "gzip"})
        assert (await fetch(url, context, allow_http=False)).data == b"x"  # never unpacked
        publisher.answers["/k"] = slowly
        assert "within" in await refused(fetch(url, context, allow_http=False))
        assert "failed" in await refused(fetch("https://127.0.0.1:9/k", context, allow_http=False))

    run(tmp_path, work)


def test_redirects(tmp_path: Path) -> None:
    async def work(publisher: Publisher, context: Any) -> None:
        def to(location: str) -> Callable[[web.Request], web.StreamResponse]:
            return lambda _: web.Response(status=302, headers={"Location": location})

        publisher.answers |= {"/a": to("/b"), "/b": to(publisher.url + "/c"), "/c": b"{}", "/loop": to("/loop")}
        assert (await fetch(publisher.url + "/a", context, allow_http=False)).data == b"{}"
        assert "more than 3" in await refused(fetch(publisher.url + "/loop", context, allow_http=False))
        for target in (
            "https://evil.example/k",
            "//evil.example/k",
            publisher.url.replace("localhost", "127.0.0.1") + "/c",
            publisher.url.replace("https", "http") + "/c",
            publisher.url.replace("https://", "https://evil@") + "/c",
            "file:///etc/passwd",
            "https://localhost:1/c",
        ):
            publisher.answers["/x"] = to(target)
            assert "another host" in await refused(fetch(publisher.url + "/x", context, allow_http=False)), target

    run(tmp_path, work)


def test_a_server_that_nobody_vouches_for(tmp_path: Path) -> None:
    async def work(publisher: Publisher, _: Any) -> None:
        other = web_context(LocalAuthority().pem(tmp_path / "other.pem"))
        assert "certificate" in await refused(fetch(publisher.url + "/k", other, allow_http=False))
        system = web_context(None)
        assert "certificate" in await refused(fetch(publisher.url + "/k", system, allow_http=False))
        assert publisher.asked == []

    run(tmp_path, work)


def test_authorities_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(DocumentError):
            web_context(tmp_path / name)


def test_discovery(tmp_path: Path) -> None:
    async def work(publisher: Publisher, context: Any) -> None:
        issuer = publisher.url + "/realm"
        where = "/realm/.well-known/openid-configuration"

        def says(**document: Any) -> None:
            publisher.answers[where] = json.dumps(
                {"issuer": issuer, "jwks_uri": publisher.url + "/k", **document}
            ).encode()

        says()
        assert await discover(issuer, context, allow_http=False) == publisher.url + "/k"
        for other in (issuer + "/", issuer.upper(), publisher.url, "https://evil.example", None, [issuer]):
            says(issuer=other)
            assert "another issuer" in await refused(discover(issuer, context, allow_http=False))
        for keys in (
            "http://localhost/k",
            "file:///k",
            "ftp://localhost/k",
            None,
            7,
            "https://u@localhost/k",
            "",
            "https:///k",
        ):
            says(jwks_uri=keys)
            assert "no https URL" in await refused(discover(issuer, context, allow_http=False))
        says(jwks_uri="https://evil.example/k")
        assert "another host" in await refused(discover(issuer, context, allow_http=False))
        for data in (b"", b"[]", b'{"issuer":"a","issuer":"b"}', b"<html>", b"{" * 5000):
            publisher.answers[where] = data
            assert "can't be read" in await refused(discover(issuer, context, allow_http=False))
        publisher.answers[where] = b" " * 70_000
        assert "larger" in await refused(discover(issuer, context, allow_http=False))

    run(tmp_path, work)


def test_an_issuer_with_a_slash_at_its_end(tmp_path: Path) -> None:
    async def work(publisher: Publisher, context: Any) -> None:
        issuer = publisher.url + "/"
        publisher.answers["/.well-known/openid-configuration"] = json.dumps(
            {"issuer": issuer, "jwks_uri": publisher.url + "/k"}
        ).encode()
        assert await discover(issuer, context, allow_http=False) == publisher.url + "/k"
        assert "another issuer" in await refused(discover(publisher.url, context, allow_http=False))

    run(tmp_path, work)


# --- bundle endpoints that authenticate with an X.509-SVID (https_spiffe) ---------------------------------------


def spiffe(
    tmp_path: Path, authority: LocalAuthority, *names: x509.GeneralName, trusted: Any = None, **more: Any
) -> str:
    """What came of reading from an endpoint with these names; "" when it was read."""

    async def work() -> str:
        async with publishing(authority.server(tmp_path, *names, **more)) as publisher:
            publisher.answers["/b"] = b"{}"
            known = (authority.certificate,) if trusted is None else trusted
            context = spiffe_context(ENDPOINT, known, system_clock)
            try:
                await fetch(publisher.url + "/b", context, allow_http=False)
            except RemitError as error:
                assert publisher.asked == []
                return error.message
            return ""

    return asyncio.run(work())


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def test_an_endpoint_with_its_spiffe_id(tmp_path: Path) -> None:
    assert spiffe(tmp_path, LocalAuthority(), uri(ENDPOINT)) == ""


@pytest.mark.parametrize(
    "names",
    [
        (uri("spiffe://partner.example/workload"),),
        (uri(ENDPOINT + "/x"),),
        (uri("spiffe://other.example/bundle-endpoint"),),
        (uri(ENDPOINT), uri("spiffe://partner.example/workload")),
        LOCALHOST,
        (uri("https://partner.example/bundle-endpoint"),),
        (uri("spiffe://partner.example"),),
        (),
    ],
)
def test_an_endpoint_with_another_name(tmp_path: Path, names: tuple[x509.GeneralName, ...]) -> None:
    assert "certificate does not hold" in spiffe(tmp_path, LocalAuthority(), *names)


def test_an_endpoint_of_another_authority(tmp_path: Path) -> None:
    assert spiffe(tmp_path, LocalAuthority(), uri(ENDPOINT), trusted=(LocalAuthority().certificate,))
    assert spiffe(tmp_path, LocalAuthority(), uri(ENDPOINT), trusted=())


def test_an_endpoint_whose_certificate_has_expired(tmp_path: Path) -> None:
    assert "certificate does not hold" in spiffe(tmp_path, LocalAuthority(), uri(ENDPOINT), days=0)
