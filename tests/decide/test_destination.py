"""Destinations: what is understood, and the attacks that make two programs read two hosts."""

from __future__ import annotations

import ipaddress
import re
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.core.actions import Action
from remit.core.errors import InvalidInput
from remit.decide.destination import Destination, InternalHosts, destination_of, host_of, parse_destination

NOTHING = InternalHosts()


def fetch(destination: str = "input.url") -> Action:
    return Action(name="web/fetch", server="web", tool="fetch", effect="send", pin="", destination=destination)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://example.com/a/b?c=d#e", "example.com", 443),
        ("HTTPS://EXAMPLE.com", "example.com", 443),
        ("http://example.com:8080/", "example.com", 8080),
        ("http://example.com./", "example.com", 80),
        ("ws://example.com", "example.com", 80),
        ("wss://example.com", "example.com", 443),
        ("https://example.com/@user", "example.com", 443),
        ("https://example.com/path?mail=a@b", "example.com", 443),
        ("ssh://git@example.com/repo", "example.com", 22),
        ("git+ssh://git@example.com:2222/repo", "example.com", 2222),
        ("git@example.com:org/repo.git", "example.com", 22),
        ("git://example.com/repo", "example.com", 9418),
        ("mailto:someone@example.com?subject=x", "example.com", 25),
        ("someone+tag@example.com", "example.com", 25),
        ("example.com", "example.com", 0),
        ("example.com:443", "example.com", 443),
        ("localhost", "localhost", 0),
        ("db_1:5432", "db_1", 5432),
        ("192.0.2.7", "192.0.2.7", 0),
        ("http://192.0.2.7:81/", "192.0.2.7", 81),
        ("http://[2001:DB8:0::1]/", "2001:db8::1", 80),
        ("http://[2001:db8::1]:8080", "2001:db8::1", 8080),
        ("[::1]", "::1", 0),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.1", 80),
        ("http://[::ffff:7f00:1]/", "127.0.0.1", 80),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
        ("https://BÜCHER.example/", "xn--bcher-kva.example", 443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://ｅｘａｍｐｌｅ。com/", "example.com", 443),
        ("https://пример.рф", "xn--e1afmkfd.xn--p1ai", 443),
        ("https://r3---sn-abc.example/", "r3---sn-abc.example", 443),
        ("http://①.1.1.1/", "1.1.1.1", 80),
    ],
)
def test_a_clear_destination(text: str, host: str, port: int) -> None:
    assert parse_destination(text) == (host, port)


ATTACKS = {
    "user information that looks like a host": "http://good.example@evil.example",
    "user information with a password": "https://good.example:443@evil.example/",
    "backslash before at": "http://a\\@b",
    "backslash for slash": "http:\\\\evil.example",
    "backslash ends the host": "http://evil.example\\.good.example/",
    "two ats": "http://a@b@c/",
    "at after a query": "http://good.example?@evil.example/",
    "at after a fragment": "http://good.example#@evil.example/",
    "percent-encoded dot": "http://evil%2eexample/",
    "percent-encoded at": "http://good.example%40evil.example/",
    "percent-encoded host": "http://%65vil.example/",
    "percent-encoded null": "http://good.example%00.evil.example/",
    "no slashes": "http:evil.example",
    "one slash": "http:/evil.example",
    "three slashes": "http:///evil.example",
    "no scheme": "//evil.example/",
    "path without scheme": "good.example/path",
    "scheme read as host": "http:80",
    "script": "javascript:alert(1)",
    "data": "data:text/html,x",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:25/",
    "nested scheme": "view-source://good.example",
    "leading space": " http://good.example",
    "trailing newline": "http://good.example\n",
    "tab in the scheme": "ht\ttp://evil.example",
    "newline in the host": "http://good.exam\nple",
    "null in the host": "http://good.example\x00.evil.example",
    "space in the host": "http://good.example evil.example",
    "non-breaking space": "http://good.example\u00a0.evil.example",
    "line separator": "http://good.example\u2028.evil.example",
    "soft hyphen": "http://go\u00adod.example",
    "zero width joiner": "http://go\u200dod.example",
    "right-to-left override": "http://good.example/\u202egpj.exe",
    "lone surrogate": "http://\ud800.example",
    "mixed directions": "http://אab.example",
    "hexadecimal address": "http://0x7f.1/",
    "hexadecimal number": "http://0x7f000001/",
    "bare hexadecimal prefix": "http://0x/",
    "decimal number": "http://2130706433/",
    "octal address": "http://0177.0.0.1/",
    "octal that looks decimal": "http://010.0.0.1/",
    "short address": "http://127.1/",
    "three parts": "http://192.168.257/",
    "five parts": "http://1.2.3.4.5/",
    "part too large": "http://256.1.1.1/",
    "last part is a number": "http://good.example.1/",
    "circled digits in short form": "http://①②⑦.①/",
    "fullwidth hexadecimal": "http://０ｘ７ｆ.1/",
    "this network": "http://0.0.0.0/",
    "this network, short": "http://0/",
    "mapped this network": "http://[::ffff:0.0.0.0]/",
    "unspecified": "http://[::]/",
    "zone": "http://[fe80::1%eth0]/",
    "encoded zone": "http://[fe80::1%25eth0]/",
    "compatible address": "http://[::127.0.0.1]/",
    "translated address": "http://[64:ff9b::7f00:1]/",
    "tunnelled address": "http://[2002:7f00:1::]/",
    "unclosed bracket": "http://[::1/",
    "text after the bracket": "http://[::1].evil.example/",
    "brackets around a name": "http://[good.example]/",
    "future address": "http://[v1.fe80::a]/",
    "bare IPv6 with something": "::1",
    "bare IPv6 that reads as a port": "fe80::1:80",
    "invalid A-label": "http://xn--0.example/",
    "A-label of nothing": "http://xn--/",
    "A-label of ASCII": "http://xn--example-.com/",
    "mixed A-label and Unicode": "http://xn--bücher.example/",
    "A-label of an upper-case letter": "http://xn--bcher-2pa.example/",
    "IDNA 2003 and 2008 differ": "http://faß.example/",
    "final sigma": "http://βόλος.example/",
    "fraction slash in the host": "http://good.example⁄evil.example/",
    "account of": "http://good.example℀evil.example/",
    "fullwidth slash": "http://good.example／evil.example/",
    "fullwidth at": "http://good.example＠evil.example/",
    "fullwidth percent": "http://good.example％2eevil.example/",
    "fullwidth colon": "http://good.example：80/",
    "empty label": "http://good..example/",
    "two trailing dots": "http://good.example../",
    "leading dot": "http://.good.example/",
    "only a dot": "http://./",
    "hyphen at the start": "http://-good.example/",
    "label too long": f"http://{'a' * 64}.example/",
    "name too long": f"http://{'a.' * 130}example/",
    "semicolon": "http://good.example;evil.example/",
    "comma": "http://good.example,evil.example/",
    "wildcard": "http://*.example/",
    "empty port": "http://good.example:/",
    "port zero": "http://good.example:0/",
    "port too large": "http://good.example:65536/",
    "port that wraps": "http://good.example:4294967376/",
    "signed port": "http://good.example:+80/",
    "port in other digits": "http://good.example:８０/",
    "port with a leading zero": "http://good.example:080/",
    "two ports": "http://good.example:80:81/",
    "two recipients": "a@good.example,b@evil.example",
    "two recipients by semicolon": "a@good.example;b@evil.example",
    "recipient in a comment": "a@good.example (b@evil.example)",
    "display name": "Good <a@evil.example>",
    "quoted local part": '"a@good.example"@evil.example',
    "percent route": "a%evil.example@good.example",
    "bang route": "evil.example!a@good.example",
    "source route": "@evil.example:a@good.example",
    "copy in mailto": "mailto:a@good.example?cc=b@evil.example",
    "blind copy in mailto": "mailto:a@good.example?subject=x&BCC=b@evil.example",
    "encoded copy in mailto": "mailto:a@good.example?%62cc=b@evil.example",
    "two recipients in mailto": "mailto:a@good.example,b@evil.example",
    "mail to an address literal": "a@[127.0.0.1]",
    "mail to an address": "a@127.0.0.1",
    "mail with a port": "a@good.example:25",
    "scp with a password": "git:x@good.example:repo",
    "scp to a bracketed address that is none": "git@[good.example]:repo",
    "empty": "",
    "only a scheme": "http://",
    "too long": "http://good.example/" + "a" * 9_000,
}  # fmt: skip


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS.keys())
def test_attack(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_destination(text)
    assert caught.value.code == "destination_unclear"
    assert caught.value.next_step
    if len(text) > 6:
        assert text not in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, True, 1.5, {}, {"host": "good.example"}, b"good.example"])
def test_what_is_no_text_is_unclear(value: Any) -> None:
    with pytest.raises(InvalidInput, match="missing or not a text"):
        destination_of(fetch(), {"url": value}, NOTHING)


def test_an_action_without_destination_has_none() -> None:
    assert destination_of(fetch(""), {"url": "https://example.com"}, NOTHING) is None


def test_a_fixed_host() -> None:
    assert destination_of(fetch("api.example.com"), {}, NOTHING) == Destination(
        host="api.example.com", port=0, internal=False
    )
    found = destination_of(fetch("https://api.example.com/v1"), {}, InternalHosts(["example.com"]))
    assert found == Destination(host="api.example.com", port=443, internal=True)


def test_an_argument_inside_an_object() -> None:
    action = fetch("input.request.url")
    found = destination_of(action, {"request": {"url": "http://example.com"}}, NOTHING)
    assert found is not None
    assert found.host == "example.com"
    unclear: list[dict[str, Any]] = [{}, {"request": "http://example.com"}, {"request": {}}, {"request": None}]
    for arguments in unclear:
        with pytest.raises(InvalidInput):
            destination_of(action, arguments, NOTHING)


def test_several_destinations_are_unclear_unless_they_are_one() -> None:
    action = fetch("input.to")
    found = destination_of(action, {"to": ["a@example.com", "b@EXAMPLE.com"]}, NOTHING)
    assert found is not None
    assert found.host == "example.com"
    for to in (["a@example.com", "b@evil.example"], [], [["a@example.com"]], ["a@example.com", None]):
        with pytest.raises(InvalidInput):
            destination_of(action, {"to": to}, NOTHING)


def test_nothing_is_internal_unless_listed() -> None:
    for host in ("localhost", "127.0.0.1", "10.0.0.1", "::1", "192.168.1.1", "db"):
        assert not NOTHING.holds(host)


def test_internal_hosts_are_whole_labels_and_networks() -> None:
    internal = InternalHosts(
        ["corp.example", "Bücher.example", "localhost", "10.0.0.0/8", "127.0.0.1", "fd00::/8", "::1"]
    )
    for host in ("corp.example", "a.b.corp.example", "xn--bcher-kva.example", "localhost", "10.255.0.1", "127.0.0.1"):
        assert internal.holds(host)
    assert internal.holds("fd12::1")
    assert internal.holds("::1")
    for host in ("evilcorp.example", "corp.example.evil.example", "example", "11.0.0.1", "127.0.0.2", "fe80::1"):
        assert not internal.holds(host)
    # A name that starts like a listed address is a name.
    assert not internal.holds("10.0.0.1.evil.example")


@pytest.mark.parametrize(
    "entry", ["*", "*.corp.example", "", "10.0.0.1/8", "10.0.0.0/33", "http://corp.example", "a b"]
)
def test_a_bad_internal_host_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        InternalHosts([entry])
    assert caught.value.code == "internal_host_invalid"


def test_internal_by_another_spelling_is_still_internal() -> None:
    """A rule against internal hosts is not passed by writing one differently."""
    internal = InternalHosts(["127.0.0.0/8", "corp.example"])
    for url in (
        "http://[::ffff:127.0.0.1]/",
        "http://127.0.0.1./",
        "http://CORP.example.:80/",
        "http://ｃｏｒｐ.example",
    ):
        found = destination_of(fetch(), {"url": url}, internal)
        assert found is not None
        assert found.internal


PIECES = st.lists(
    st.sampled_from(
        ["http", "https", "mailto", "git", ":", "//", "/", "\\", "@", "?", "#", "[", "]", "%2e", ".", "..", "-", "xn--",
         "a", "b.example", "127.0.0.1", "0x7f", "::1", "::ffff:", "①", "ß", "。", "א", "\u200d", "\t", " ", ":80", "é"]
    ),
    max_size=10,
).map("".join)  # fmt: skip
PLAIN = re.compile(r"[a-z0-9._:-]+")


@given(st.one_of(st.text(), PIECES))
@example("http://[")
@example("http://[::ffff:1.2.3.4]:1")
def test_any_text_gives_a_canonical_host_or_is_unclear(text: str) -> None:
    try:
        host, port = parse_destination(text)
    except InvalidInput as error:
        assert error.code == "destination_unclear"  # noqa: PT017
        return
    assert PLAIN.fullmatch(host)
    assert 0 <= port < 65536
    assert not host.endswith(".")
    # Canonical: it reads as itself.
    assert host_of(f"[{host}]" if ":" in host else host) == host
    if ":" in host:
        assert str(ipaddress.IPv6Address(host)) == host


@given(PIECES.map(lambda rest: "http://" + rest))
def test_what_is_clear_is_what_the_standard_library_reads(text: str) -> None:
    """Whatever passes, `urllib` goes to the same host (before international names are mapped)."""
    try:
        host, _ = parse_destination(text)
    except InvalidInput:
        return
    other = urlsplit(text).hostname
    assert other is not None
    assert host_of(f"[{other}]" if ":" in other else other) == host


def test_it_is_fast_enough_for_every_call() -> None:
    started = time.perf_counter()
    for _ in range(1000):
        parse_destination("https://api.example.com:8443/v1/things?q=1")
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    "text", ["a" * 8192, "é" * 8192, "xn--" * 2000, "." * 8192, "a." * 4000, "http://" + "é." * 120]
)
def test_long_texts_take_bounded_time(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(InvalidInput):
        parse_destination(text)
    assert time.perf_counter() - started < 0.5
