"""The same certificates before another reader of X.509-SVIDs: the `spiffe` package, which shares no code with ours.

It looks at the form of leaf and intermediates and at no authority, so that it is compared where the form is at stake.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe.errors import PySpiffeError
from spiffe.svid.x509_svid import X509Svid

from remit.core.errors import Unauthenticated
from remit.identity.x509_svid import verify_x509_svid

from .certificates import SERVER, Party, authority, make, now

ID = "spiffe://example.org/workload/invoices"
ROOT = authority("root")
BETWEEN = make("between", by=ROOT, ca=True)


def ours(party: Party) -> str:
    """The SPIFFE ID that we read, "" when we refuse."""
    at = int(now().timestamp() * 1000)
    try:
        return str(verify_x509_svid(party.chain, lambda _domain, _now: (ROOT.certificate,), at).subject)
    except Unauthenticated:
        return ""


def theirs(party: Party) -> str:
    """The SPIFFE ID that the other reader reads, "" when it refuses."""
    key = party.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    try:
        return str(X509Svid.parse_raw(b"".join(party.chain), key).spiffe_id)
    except PySpiffeError:
        return ""


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"extended": None},
        {"name": "invoices", "dns": ["invoices.example.org"]},
        {"by": BETWEEN},
        {"by": make("second", by=BETWEEN, ca=True)},
        {"uris": ["spiffe://example.org/a.b-c_D/E"]},
    ],
)
def test_both_take_it(more: dict[str, Any]) -> None:
    party = make(**({"by": ROOT, "uris": [ID]} | more))
    assert ours(party) == theirs(party) != ""


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"uris": []}, id="no SAN"),
        pytest.param({"uris": [], "dns": ["a.example.org"]}, id="no URI SAN"),
        pytest.param({"uris": [ID, ID + "2"]}, id="two URI SANs"),
        pytest.param({"uris": ["https://example.org/a"]}, id="not a SPIFFE ID"),
        pytest.param({"uris": ["spiffe://example.org"]}, id="no path"),
        pytest.param({"uris": ["spiffe://example.org/a/"]}, id="trailing slash"),
        pytest.param({"uris": ["spiffe://example.org/a/../b"]}, id="dot segment"),
        pytest.param({"uris": ["spiffe://example.org/a%20b"]}, id="percent-encoding"),
        pytest.param({"uris": ["spiffe://example.org/a?b"]}, id="query"),
        pytest.param({"uris": ["spiffe://example.org:8443/a"]}, id="port"),
        pytest.param({"uris": ["spiffe://example.org/a\x00b"]}, id="NUL"),
        pytest.param({"ca": True, "usage": ("digital_signature", "key_cert_sign")}, id="a CA"),
        pytest.param({"usage": ("digital_signature", "key_cert_sign")}, id="keyCertSign"),
        pytest.param({"usage": ("digital_signature", "crl_sign")}, id="cRLSign"),
        pytest.param({"usage": ("key_agreement",)}, id="no digitalSignature"),
        pytest.param({"usage": ()}, id="no key usage"),
        pytest.param({"by": make("no CA", by=ROOT, usage=("key_cert_sign",))}, id="intermediate without CA"),
        pytest.param({"by": make("no use", by=ROOT, ca=True, usage=("crl_sign",))}, id="no keyCertSign between"),
    ],
)  # fmt: skip
def test_both_refuse_it(more: dict[str, Any]) -> None:
    party = make(**({"by": ROOT, "uris": [ID]} | more))
    assert ours(party) == theirs(party) == ""


def test_where_they_differ() -> None:
    """It asks for basic constraints on a leaf, which RFC 5280 does not; it folds upper case, where one identity has one
    spelling here; and it leaves uses and trust to others."""
    bare = make(by=ROOT, uris=[ID], ca=None)
    assert (ours(bare), theirs(bare)) == (ID, "")
    loud = make(by=ROOT, uris=["spiffe://EXAMPLE.org/workload/invoices"])
    assert (ours(loud), theirs(loud)) == ("", ID)
    for more in ({"extended": (SERVER,)}, {"usage_critical": False}, {"by": authority("stranger")}):
        party = make(**({"by": ROOT, "uris": [ID]} | more))  # type: ignore[arg-type]
        assert (ours(party), theirs(party)) == ("", ID)
