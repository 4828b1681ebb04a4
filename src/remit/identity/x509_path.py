"""Certification paths (RFC 5280 section 6), by the verifier of `cryptography` with a profile for SPIFFE."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from remit.core.errors import Unauthenticated

INTERMEDIATES: Final = 3  # between a leaf and an authority

_log = logging.getLogger("remit.identity")

# The library's profile for authorities (keyCertSign, critical basic constraints with `cA`, path length, name
# constraints), but for one demand of browsers that RFC 5280 does not make: the form of key identifiers.
_AUTHORITIES: Final = ExtensionPolicy.webpki_defaults_ca().may_be_present(
    x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None
)
# The leaf's own extensions are checked before, by the standard's sections. What is unknown and critical is refused.
_LEAF: Final = ExtensionPolicy.permit_all().require_not_present(x509.NameConstraints)


def build_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    authorities: tuple[x509.Certificate, ...],
    now: int,
) -> list[x509.Certificate]:
    """A path from `leaf` to one of `authorities`, leaf first, all of it valid at `now` (ms).

    Every signature, `cA`, `keyCertSign`, path lengths and validity are checked; at most three certificates stand
    between; keys are EC P-256, P-384, P-521 or RSA from 2048 bits, signatures SHA-256 or better. A name constraint on
    URIs refuses the path, because the library does not know it. Raises `Unauthenticated("certificate_untrusted")`.
    """
    try:
        verifier = (
            PolicyBuilder()
            .store(_store(authorities))
            .time(datetime.fromtimestamp(now / 1000, UTC))
            .max_chain_depth(INTERMEDIATES)
            .extension_policies(ca_policy=_AUTHORITIES, ee_policy=_LEAF)
            .build_client_verifier()
        )
        path = list(verifier.verify(leaf, list(intermediates)).chain)
        # SECURITY: an authority is no identity, also where a bundle lists a certificate that signs nothing.
        if len(path) > 1:
            return path
        _log.info("a client certificate is itself in its trust domain's bundle")
    except (VerificationError, x509.UnsupportedGeneralNameType, ValueError) as error:
        # The library's words help the operator; for the caller they are too long and too changeable.
        _log.info("a client certificate is not trusted: %s", str(error)[:256])
    raise Unauthenticated(
        "certificate_untrusted",
        "no valid path leads from the client certificate to an authority of its trust domain",
        "send the intermediate certificates too; look at the service's log for what the path lacks",
    )


@lru_cache(maxsize=64)
def _store(authorities: tuple[x509.Certificate, ...]) -> Store:
    return Store(list(authorities))
