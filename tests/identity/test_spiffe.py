"""SPIFFE-ID, sections 2.1 to 2.4."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.identity.spiffe import SpiffeId, parse_spiffe_id, parse_trust_domain, spiffe_id

from .parties import attempt

DOMAIN_CHARACTERS = set(string.ascii_lowercase + string.digits + ".-_")
PATH_CHARACTERS = set(string.ascii_letters + string.digits + ".-_")


def refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spiffe_id(text)
    assert caught.value.code == "spiffe_id_invalid"


def test_trust_domain_and_path_are_taken_apart() -> None:
    parsed = parse_spiffe_id("spiffe://example.org/workload/invoices")
    assert parsed == SpiffeId("example.org", "/workload/invoices")
    assert parsed.segments == ("workload", "invoices")
    assert str(parsed) == "spiffe://example.org/workload/invoices"


def test_the_path_is_optional() -> None:
    assert parse_spiffe_id("spiffe://example.org") == SpiffeId("example.org", "")
    assert parse_spiffe_id("spiffe://example.org").segments == ()


@pytest.mark.parametrize("octet", [octet for octet in range(256) if chr(octet) != "/"])
def test_every_character_of_the_trust_domain(octet: int) -> None:
    text = f"spiffe://domain{chr(octet)}/path"
    if chr(octet) in DOMAIN_CHARACTERS:
        assert parse_spiffe_id(text).trust_domain == f"domain{chr(octet)}"
    else:
        refused(text)


@pytest.mark.parametrize("octet", [octet for octet in range(256) if chr(octet) != "/"])
def test_every_character_of_a_segment(octet: int) -> None:
    text = f"spiffe://domain/path{chr(octet)}"
    if chr(octet) in PATH_CHARACTERS:
        assert parse_spiffe_id(text).path == f"/path{chr(octet)}"
    else:
        refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "spiffe:/",
        "spiffe:/domain/path",
        "SPIFFE://domain/path",
        "Spiffe://domain/path",
        "http://domain/path",
        " spiffe://domain/path",
        "spiffe://domain/path\n",
        "spiffe://",
        "spiffe:///",
        "spiffe:///path",
        "spiffe://Domain/path",
        "spiffe://user@domain/path",
        "spiffe://domain:80/path",
        "spiffe://domain:/path",
        "spiffe://[::1]/path",
        "spiffe://domain/",
        "spiffe://domain//",
        "spiffe://domain//path",
        "spiffe://domain/path/",
        "spiffe://domain/.",
        "spiffe://domain/..",
        "spiffe://domain/./path",
        "spiffe://domain/path/../other",
        "spiffe://domain/path?query",
        "spiffe://domain/path?",
        "spiffe://domain?query",
        "spiffe://domain/path#fragment",
        "spiffe://domain/path#",
        "spiffe://%64omain/path",
        "spiffe://domain/%70ath",
        "spiffe://domain/p%2Fath",
        "spiffe://domain/päth",
        "spiffe://domain\\path",
    ],
)
def test_malformed_ids_are_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("path", ["/.path", "/..path", "/...", "/a/b/c/d", "/A.B_C-D"])
def test_dots_within_a_segment_are_allowed(path: str) -> None:
    assert parse_spiffe_id(f"spiffe://domain{path}").path == path


def test_2048_bytes_are_the_bound() -> None:
    head = "spiffe://domain/"
    assert parse_spiffe_id(head + "a" * (2048 - len(head)))
    refused(head + "a" * (2049 - len(head)))


def test_255_bytes_are_the_bound_of_a_trust_domain() -> None:
    assert parse_trust_domain("a" * 255)
    with pytest.raises(InvalidInput) as caught:
        parse_trust_domain("a" * 256)
    assert caught.value.code == "trust_domain_invalid"


def test_an_id_is_composed_and_checked() -> None:
    assert spiffe_id("example.org", "workload/invoices") == "spiffe://example.org/workload/invoices"
    with pytest.raises(InvalidInput):
        spiffe_id("example.org", "workload/../administrator")


@given(st.text(max_size=100) | st.text(alphabet="spiffe:/.-_aZ09%?#@", max_size=60).map(lambda t: "spiffe://" + t))
def test_any_text_gives_an_id_or_an_error(text: str) -> None:
    parsed, error = attempt(lambda: parse_spiffe_id(text))
    assert (str(parsed) == text) if error is None else (error.code == "spiffe_id_invalid")
