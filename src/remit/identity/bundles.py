"""The bundles of trust domains, in memory: which keys and authorities vouch for whose identities, and until when."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final

import msgspec
from cryptography import x509

from remit.core.bounds import DOCUMENT_BYTES
from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.bundle import VerificationKey, entries_of, jwt_keys_of
from remit.identity.json_text import json_object
from remit.identity.spiffe import parse_trust_domain

FOREVER: Final = 2**62  # ms; of bundles that do not grow old

_CERTIFICATE: Final = 16 * 1024  # characters of base64


class TrustBundle(msgspec.Struct, frozen=True, kw_only=True):
    """What one trust domain publishes (SPIFFE Trust Domain and Bundle, section 4), read and checked."""

    jwt_keys: Mapping[str, VerificationKey]  # by `kid`
    x509_authorities: tuple[x509.Certificate, ...]  # not yet judged: validity and key usage belong to path validation
    sequence: int | None = None
    refresh_hint: int | None = None  # seconds


class Bundles:
    """Bundles by trust domain. Safe to share between threads; a reader sees one bundle or the next, never a mixture.

    A bundle that could not be read anew for too long grows old: its trust domain is then refused, with that reason.
    """

    def __init__(self) -> None:
        self._bundles: dict[str, tuple[TrustBundle, int]] = {}
        self._lock = Lock()

    def put(self, trust_domain: str, bundle: TrustBundle, *, until: int = FOREVER) -> None:
        """Takes `bundle` as that of `trust_domain` from now on, to be used until the time `until` (ms).

        Raises `InvalidInput("bundle_rolled_back")` for a lower `spiffe_sequence` than the one before, or for none
        where there was one.
        """
        parse_trust_domain(trust_domain)
        with self._lock:
            known = self._bundles.get(trust_domain)
            if known is not None:
                check_sequence(known[0], bundle)
            self._bundles[trust_domain] = (bundle, until)

    def drop(self, trust_domain: str) -> None:
        """Forgets a trust domain: its identities are refused from now on."""
        with self._lock:
            self._bundles.pop(trust_domain, None)

    def trust_domains(self) -> tuple[str, ...]:
        """The trust domains that have a bundle, whether or not it has grown old."""
        return tuple(self._bundles)

    def latest(self, trust_domain: str) -> TrustBundle | None:
        """The bundle of `trust_domain`, however old: to authenticate the endpoint that has a newer one."""
        found = self._bundles.get(trust_domain)
        return found[0] if found is not None else None

    def bundle(self, trust_domain: str, now: int) -> TrustBundle:
        """The bundle of `trust_domain` at `now` (ms).

        Raises `Unauthenticated`: `trust_domain_unknown`, or `bundle_stale` when it has grown old.
        """
        found = self._bundles.get(trust_domain)
        if found is None:
            raise Unauthenticated(
                "trust_domain_unknown",
                "the identity is from a trust domain that is not trusted here",
                "federate with that trust domain, or use an identity of this one",
            )
        # SECURITY: keys that could not be confirmed for too long may have been revoked in the meantime.
        if now >= found[1]:
            raise Unauthenticated(
                "bundle_stale",
                "the trust bundle of that trust domain could not be read anew for too long",
                "see `remit issuers` for why",
            )
        return found[0]

    def jwt_keys(self, trust_domain: str, now: int) -> Mapping[str, VerificationKey]:
        """The keys for JWT-SVIDs of `trust_domain` by `kid`; raises as `bundle` does."""
        return self.bundle(trust_domain, now).jwt_keys

    def x509_authorities(self, trust_domain: str, now: int) -> tuple[x509.Certificate, ...]:
        """The X.509 authorities of `trust_domain`, and of no other; raises as `bundle` does."""
        return self.bundle(trust_domain, now).x509_authorities


def read_bundle(data: bytes) -> TrustBundle:
    """A SPIFFE bundle from the bytes of a file or an endpoint; `InvalidInput("bundle_invalid")` otherwise.

    Entries with another `use`, or with none, are passed over (section 4.2.2). No entry at all is a bundle: its trust
    domain has revoked everything (section 4.1.3). A private key anywhere, one `kid` twice, or a certificate that can't
    be read refuses the whole of it.
    """
    try:
        document = json_object(data, most=DOCUMENT_BYTES)
    except InvalidInput as error:
        raise _invalid(f"this is not a trust bundle: {error.message}") from None
    entries = entries_of(document)
    return TrustBundle(
        jwt_keys=jwt_keys_of(entries),
        x509_authorities=tuple(_certificate(entry) for entry in entries if _is_authority(entry)),
        sequence=_counter(document, "spiffe_sequence"),
        refresh_hint=_counter(document, "spiffe_refresh_hint"),
    )


def check_sequence(before: TrustBundle, after: TrustBundle) -> None:
    """Refuses a bundle that is older than the one that is known: `InvalidInput("bundle_rolled_back")`."""
    # SECURITY: an old bundle would bring back keys that were revoked since.
    if before.sequence is not None and (after.sequence is None or after.sequence < before.sequence):
        raise InvalidInput(
            "bundle_rolled_back",
            f"the trust bundle has the sequence number {after.sequence}, and {before.sequence} was seen before",
            "ask the trust domain for its newest bundle",
        )


def _is_authority(entry: object) -> bool:
    """Whether this is an X.509 authority: `use` is `x509-svid` and `x5c` is not empty (X509-SVID, section 6.2)."""
    return isinstance(entry, dict) and entry.get("use") == "x509-svid" and bool(entry.get("x5c"))


def _certificate(entry: Mapping[str, Any]) -> x509.Certificate:
    """The first certificate of `x5c`; any further one is ignored, as section 6.2 asks."""
    chain = entry["x5c"]
    first = chain[0] if isinstance(chain, list) else None
    if not isinstance(first, str) or len(first) > _CERTIFICATE:
        raise _invalid("an X.509 authority of the trust bundle has no certificate")
    try:
        return x509.load_der_x509_certificate(b64decode(first, validate=True))
    except ValueError:
        raise _invalid("a certificate of the trust bundle can't be read") from None


def _counter(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise _invalid(f"`{name}` of the trust bundle is not a whole number")
    return value


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("bundle_invalid", message, "fetch the bundle again from its trust domain")
