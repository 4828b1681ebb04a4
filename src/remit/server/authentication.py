"""Who asks, proved before anything is routed: the one place where the service authenticates.

1. A request for a public path (health, metadata, keys) passes without an identity.
2. `POST /v1/svids` without `Authorization` carries a proof by a registered key; which one, its small body says, so
   that `registered_key` finishes the proof in its handler.
3. A request with a bearer key (RFC 6750) is accepted where general questions are asked, and nowhere else.
4. Any other request proves an SVID and the possession of its key (RFC 9449), for this method and this URL.

Refused requests are answered here, their bodies unread: nothing below learns of them and no record is written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError, Unauthenticated, Unavailable
from remit.core.identities import Identity, Registration
from remit.identity.bearer import is_bearer
from remit.server.answer import send_answer
from remit.server.problems import internal_error, problem
from remit.server.request_ids import request_id
from remit.server.serving import Call, KeyProof, Serving

SVIDS: Final = "/v1/svids"
IN_FLIGHT: Final = 512  # requests at once, streams not counted

_log = logging.getLogger("remit.server")


UNIX_ORIGIN: Final = "http://remit.local"
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Authentication:
    """ASGI middleware; sets `remit.caller` (an `Identity`, or None for public paths) and `remit.request_id`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        serving: Serving,
        public: frozenset[str],
        bearer: frozenset[str],
        streams: frozenset[str],
        direct: Mapping[tuple[str, str], ASGIApp],
    ) -> None:
        """`bearer` are the paths that take a bearer key.

        `direct` has the endpoints of exact paths, which need no router; `app` answers everything else.
        """
        self.app = app
        self.direct = direct
        self.serving = serving
        self.public = public
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
        if scope["path"] in self.public and scope["method"] in ("GET", "HEAD"):
            _check_host(scope)
            scope["remit.caller"] = None
            return
        authorization, proof = _credentials(scope)
        if is_bearer(authorization):
            scope["remit.caller"] = self._bearer(scope, authorization, proof, now)
            return
        method = scope["method"]
        url = _url(scope)
        if not authorization and proof and scope["path"] == SVIDS and method == "POST":
            scope["remit.caller"] = None
            scope["remit.key_proof"] = KeyProof(proof=proof, url=url)
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
        scope["remit.caller"] = self.serving.authenticator.authenticate(
            authorization, proof, method=method, url=url, now=now
        )

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


def registered_key(serving: Serving, call: Call, id: str) -> Registration:
    """The registration of `id`, whose registered key made the proof of this request; `Unauthenticated` otherwise."""
    proof = call.key_proof
    if proof is None:
        raise Unauthenticated("proof_missing", "the request has no proof by a key")
    registration = serving.service.registration(id)
    key = registration.key if registration is not None else ""
    # SECURITY: an unknown identity and a wrong key get one answer, so that names can't be tried out.
    serving.authenticator.prove_key(
        proof.proof, method="POST", url=proof.url, now=call.now, registered=lambda made: bool(key) and made == key
    )
    if registration is None:
        raise Unauthenticated("key_unknown", "no identity is registered with this key", "register the key first")
    return registration


def _credentials(scope: Scope) -> tuple[str, str]:
    """`Authorization` and `DPoP`, each at most once, "" where there is none."""
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
    # SECURITY: the origin is the listener's, never the Host header: a proof for another site is no proof here.
    origin = scope.get("state", {}).get("remit_origin", "")
    if not origin:
        raise Unauthenticated("origin_unknown", "the listener has no origin, so that no proof can be checked")
    path: str = scope["raw_path"].decode("ascii")
    return f"{origin}{path}"


def _check_host(scope: Scope) -> None:
    """Refuses a question without credentials that was meant for another host."""
    origin = scope.get("state", {}).get("remit_origin", "")
    if origin in ("", UNIX_ORIGIN):
        return
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    named = urlsplit(f"//{host}").hostname if "/" not in host and "@" not in host else None
    # SECURITY: a page in a browser can bind its own name to a loopback address and read what needs no credentials.
    if named not in (*LOOPBACK, urlsplit(origin).hostname):
        raise InvalidInput(
            "host_unknown", "the `Host` header names another host", "use the address that the service prints"
        )


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
        for name, value in scope["headers"]
    )
