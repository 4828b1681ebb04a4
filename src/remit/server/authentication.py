"""Who asks, proved before anything is routed: the one place where the service authenticates.

1. A request for a public path (health, metadata, keys, the published log) passes without an identity.
2. `POST /v1/svids` without `Authorization` carries a proof by a registered key; which one, its small body says, so
   that `registered_key` finishes the proof in its handler.
3. A request with neither `Authorization` nor `DPoP`, on a TLS connection whose client gave a certificate: the caller
   is its X.509-SVID, verified for each request.
4. A request with a bearer key (RFC 6750) is accepted where general questions are asked, and nowhere else.
5. Any other request proves an SVID and the possession of its key (RFC 9449), for this method and this URL.
6. A certificate that was given must hold, and be of the same identity as what else the request proves (2, 4, 5).
7. Behind a name that other processes have too, a proof is good at one of them (2, 5).

Refused requests are answered here, their bodies unread: nothing below learns of them and no record is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError, Unauthenticated, Unavailable
from remit.core.identities import Identity, Registration
from remit.identity.bearer import is_bearer
from remit.identity.certificates import ClientCertificates
from remit.identity.target import parse_target
from remit.server.answer import send_answer
from remit.server.problems import internal_error, problem
from remit.server.protocol import CERTIFICATES
from remit.server.request_ids import request_id
from remit.server.serving import Call, KeyProof, Serving

SVIDS: Final = "/v1/svids"
IN_FLIGHT: Final = 512  # requests at once, streams not counted

_log = logging.getLogger("remit.server")


UNIX_ORIGIN: Final = "http://remit.local"
ORIGINS: Final = "remit_origins"  # in the scope's state: the URLs at which clients reach this listener
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Authentication:
    """ASGI middleware; sets `remit.caller` (an `Identity`, or None for public paths) and `remit.request_id`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        serving: Serving,
        public: frozenset[str],
        public_below: tuple[str, ...],
        bearer: frozenset[str],
        streams: frozenset[str],
        direct: Mapping[tuple[str, str], ASGIApp],
    ) -> None:
        """`public_below` are prefixes of public paths; `bearer` are the paths that take a bearer key.

        `direct` has the endpoints of exact paths, which need no router; `app` answers everything else.
        """
        self.app = app
        self.direct = direct
        self.serving = serving
        self.public = public
        self.public_below = public_below
        self.bearer = bearer
        self.streams = streams
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rid = scope["remit.request_id"] = request_id(scope["headers"])
        try:
            self._admit(scope)
            if scope["remit.proof"]:
                await claim(self.serving, scope["remit.proof"], scope["remit.now"])
        except RemitError as error:
            takes_bearer = scope["path"] in self.bearer and bool(self.serving.bearer_keys)
            await send_answer(send, problem(error, rid, close=_has_body(scope), bearer=takes_bearer), rid)
            return
        except Exception:  # noqa: BLE001 - fail closed
            # SECURITY: a fault while proving who asks is a refusal.
            _log.exception("authentication failed, request %s", rid)
            await send_answer(send, problem(internal_error(), rid, close=True), rid)
            return
        if scope["path"] in self.streams:
            await self.app(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self.direct.get((scope["method"], scope["path"]), self.app)(scope, receive, send)
        finally:
            self.in_flight -= 1

    def _admit(self, scope: Scope) -> None:
        if self.in_flight >= IN_FLIGHT:
            raise Unavailable("busy", f"the service is answering {IN_FLIGHT} requests already", "retry in a second")
        now = scope["remit.now"] = self.serving.clock()
        scope["remit.key_proof"] = None
        scope["remit.proof"] = ""
        path: str = scope["path"]
        if (path in self.public or path.startswith(self.public_below)) and scope["method"] in ("GET", "HEAD"):
            _check_host(scope)
            scope["remit.caller"] = None
            return
        certified = self._certified(scope, now)
        authorization, proof = _credentials(scope)
        if certified is not None and not authorization and not proof:
            scope["remit.caller"] = certified
            return
        if is_bearer(authorization):
            caller = self._bearer(scope, authorization, proof, now)
            _check_certified(certified.id if certified else "", caller.id)
            scope["remit.caller"] = caller
            return
        method = scope["method"]
        url = _url(scope)
        if not authorization and proof and scope["path"] == SVIDS and method == "POST":
            scope["remit.caller"] = None
            scope["remit.key_proof"] = KeyProof(proof=proof, url=url, certified=certified.id if certified else "")
            return
        if not authorization:
            raise Unauthenticated(
                "credentials_missing",
                "the request has no `Authorization` header",
                "send `Authorization: DPoP <JWT-SVID>` and a proof in `DPoP`; `POST /v1/svids` issues the SVID",
            )
        if not proof:
            raise Unauthenticated(
                "proof_missing", "the request has no `DPoP` header", "prove the possession of the SVID's key (RFC 9449)"
            )
        caller = self.serving.authenticator.authenticate(authorization, proof, method=method, url=url, now=now)
        _check_certified(certified.id if certified else "", caller.id)
        scope["remit.caller"] = caller
        scope["remit.proof"] = proof

    def _certified(self, scope: Scope, now: int) -> Identity | None:
        """Who the connection's client certificate says it is; None without one, `Unauthenticated` if it can't be."""
        # SECURITY: from the handshake of this connection, never from a header that somebody before us may have set.
        given: ClientCertificates | None = scope.get("state", {}).get(CERTIFICATES)
        if given is None:
            return None
        if self.serving.certificates is None:
            raise Unauthenticated("certificate_untrusted", "this service takes no client certificates", "leave it out")
        return self.serving.certificates.identify(given, now)

    def _bearer(self, scope: Scope, authorization: str, proof: str, now: int) -> Identity:
        if scope["path"] not in self.bearer:
            # SECURITY: not even looked at, so that nothing else ever depends on a secret that whoever sees it can use.
            raise Unauthenticated(
                "bearer_refused",
                "a bearer key is accepted for general questions only, under `/access/v1/`",
                "prove a registered key: `Authorization: DPoP <JWT-SVID>` and a proof in `DPoP`",
            )
        if proof:
            raise Unauthenticated("credentials_invalid", "a bearer key and a `DPoP` proof do not go together")
        return self.serving.bearer_keys.caller(authorization, now)


def _check_certified(certified: str, id: str) -> None:
    """Refuses a request that the certificate says is somebody else's than its proof."""
    # SECURITY: one request has one caller; whose connection it came over must not depend on what one looks at.
    if certified not in ("", id):
        raise Unauthenticated(
            "certificate_mismatch",
            "the client certificate and the proof are of two identities",
            "connect as the identity that asks, or without a certificate",
        )


async def claim(serving: Serving, proof: str, now: int) -> None:
    """Uses up a proof that holds for the other processes too, where there are some behind the same name."""
    if serving.claims is not None:
        # SECURITY: what was signed and not the signature, which can be changed so that it still holds.
        signed = proof.rpartition(".")[0]
        await serving.claims.use(sha256(signed.encode("ascii")).digest(), now)


def registered_key(serving: Serving, call: Call, id: str) -> Registration:
    """The registration of `id`, whose registered key made the proof of this request; `Unauthenticated` otherwise."""
    proof = call.key_proof
    if proof is None:
        raise Unauthenticated("proof_missing", "the request has no proof by a key")
    _check_certified(proof.certified, id)
    registration = serving.service.registration(id)
    key = registration.key if registration is not None else ""
    # SECURITY: an unknown identity and a wrong key get one answer, so that names can't be tried out.
    serving.authenticator.prove_key(
        proof.proof, method="POST", url=proof.url, now=call.now, registered=lambda made: bool(key) and made == key
    )
    if registration is None:
        raise Unauthenticated("key_unknown", "no identity is registered with this key", "register the key first")
    return registration


def proved_key(serving: Serving, call: Call, id: str, *, allowed: Callable[[str], bool]) -> str:
    """The thumbprint of the key that made the proof of this request, for the identity `id`, where it is `allowed`."""
    proof = call.key_proof
    if proof is None:
        raise Unauthenticated("proof_missing", "the request has no proof by a key")
    _check_certified(proof.certified, id)
    return serving.authenticator.prove_key(proof.proof, method="POST", url=proof.url, now=call.now, registered=allowed)


def _credentials(scope: Scope) -> tuple[str, str]:
    """`Authorization` and `DPoP`, each at most once; "" for what is not there."""
    authorization = proof = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization:
                raise Unauthenticated("credentials_invalid", "`Authorization` stands twice")
            authorization = value
        elif name == b"dpop":
            # SECURITY: RFC 9449 section 4.3, check 1: not more than one proof.
            if proof:
                raise Unauthenticated("proof_invalid", "`DPoP` stands twice")
            proof = value
    if len(authorization) > bounds.TOKEN_BYTES or len(proof) > bounds.TOKEN_BYTES:
        raise Unauthenticated("credentials_invalid", f"a credential is larger than {bounds.TOKEN_BYTES} bytes")
    try:
        return authorization.decode("ascii"), proof.decode("ascii")
    except UnicodeDecodeError:
        raise Unauthenticated("credentials_invalid", "a credential is not ASCII") from None


def _url(scope: Scope) -> str:
    """The URL that a proof names: the listener's own origin and the path as sent."""
    origins = _origins(scope)
    if not origins:
        raise Unauthenticated("origin_unknown", "the listener has no origin, so that no proof can be checked")
    # SECURITY: the Host header chooses among the listener's own names; a proof for another site is no proof here.
    origin = origins[0] if len(origins) == 1 else _named(origins, _host(scope))
    path: str = scope["raw_path"].decode("ascii")
    return f"{origin}{path}"


def _named(origins: tuple[str, ...], host: str) -> str:
    """The one of these origins that a `Host` header names; the first one where it names none."""
    for origin in origins:
        named = parse_target(f"{urlsplit(origin).scheme}://{host}")
        if named is not None and named.origin == origin:
            return origin
    return origins[0]


def _check_host(scope: Scope) -> None:
    """Refuses a question without credentials that was meant for another host."""
    origins = _origins(scope)
    if origins in ((), (UNIX_ORIGIN,)):
        return
    host = _host(scope)
    named = urlsplit(f"//{host}").hostname if "/" not in host and "@" not in host else None
    # SECURITY: a page in a browser can bind its own name to a loopback address and read what needs no credentials.
    if named not in (*LOOPBACK, *(urlsplit(origin).hostname for origin in origins)):
        raise InvalidInput(
            "host_unknown", "the `Host` header names another host", "use the address that the service prints"
        )


def _origins(scope: Scope) -> tuple[str, ...]:
    origins: tuple[str, ...] = scope.get("state", {}).get(ORIGINS, ())
    return origins


def _host(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
        for name, value in scope["headers"]
    )
