"""What the handlers are given: the rooms below, the installation's words, and one request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from remit.core.clock import Clock
from remit.core.identities import Identity
from remit.identity.bearer import BearerKeys
from remit.server.attachments import Attachments
from remit.server.latency import Histogram
from remit.server.log_folder import LogFiles
from remit.server.port import AuthenticatorPort, AuthorityPort, CertificatesPort, ClaimsPort, ElsewherePort, ServicePort
from remit.server.tls import ServerTls


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The parts behind the listener; composition makes it once."""

    service: ServicePort
    authenticator: AuthenticatorPort
    authority: AuthorityPort
    bearer_keys: BearerKeys
    bundle: Callable[[], Mapping[str, Any]]  # the trust domain's public keys (JWKS, SPIFFE bundle format)
    not_ready: Callable[[], str]  # "" when ready, else why not
    audience: str  # `spiffe://<trust domain>/remit`
    base_url: str  # the origin that metadata names
    svid_seconds: int
    clock: Clock
    certificates: CertificatesPort | None = None  # None: client certificates are not taken
    tls: ServerTls | None = None  # of the TCP listener
    elsewhere: ElsewherePort | None = None  # None: outside tokens are not taken
    key_sources: Callable[[], Mapping[str, Mapping[str, float]]] = dict  # how those that it has keys from stand
    claims: ClaimsPort | None = None  # None: no other process accepts the same proofs
    log_files: LogFiles | None = None  # None: the log is not served
    log_gauges: Callable[[], Mapping[str, float]] = dict  # how the published log stands
    attachments: Attachments = field(default_factory=Attachments)
    latency: Histogram = field(default_factory=Histogram)
    searching: Histogram = field(default_factory=Histogram)
    exchanges: Counter[str] = field(default_factory=Counter)  # of outside tokens, by what they came to


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyProof:
    """A proof without a token, not checked yet, and the URL that it must name."""

    proof: str
    url: str
    certified: str = ""  # whose the connection's client certificate is; "" without one


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request: who sent it, its bytes and what else a handler may use of it."""

    caller: Identity
    body: bytes
    request_id: str
    now: int
    path: Mapping[str, str]
    prefer: bytes = b""
    trace: str = ""  # `traceparent`, when it is well-formed
    key_proof: KeyProof | None = None  # with an empty `caller`: a proof by a key alone, to be checked
