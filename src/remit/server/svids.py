"""`POST /v1/svids`: a JWT-SVID for the holder of a registered key, or a fresh one for the holder of a live SVID."""

from __future__ import annotations

import msgspec

from remit.core.errors import Forbidden, InvalidInput, Unauthenticated
from remit.core.identities import Registration
from remit.identity.keys import THUMBPRINT
from remit.sdk.wire import Svid, SvidRequest
from remit.server.answer import Answer, json_answer
from remit.server.authentication import claim, registered_key
from remit.server.bodies import decode
from remit.server.exchange import exchange
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(SvidRequest)


async def issue_svid(serving: Serving, call: Call) -> Answer:
    """Issues an SVID.

    1. Without `Authorization`: the key that was proved must be the registered key of the identity that the body
       names; the SVID is bound to it, or to the key that `bind` names.
    2. With a live SVID: for the same identity and the same key; another key may be bound only by the registered one.
    3. A key that was bound, and is not the registered one, renews only for the open task that its token names, and not
       beyond it.
    4. With a client certificate (X.509-SVID): for its identity, bound to its key or to the key that `bind` names, and
       not beyond the certificate: its authority vouches for the identity again and again, as a registered key would.
    5. With an outside token in the body, and a proof by any key: see `remit.server.exchange`.
    6. A quarantined or retired identity gets none.
    """
    body = decode(call.body, _decoder)
    if body.bind and not THUMBPRINT.fullmatch(body.bind):
        raise InvalidInput("bind_malformed", "`bind` is not an RFC 7638 thumbprint", "send 43 base64url characters")
    if body.token:
        return await exchange(serving, call, body)
    registration, key = _proved(serving, call, body)
    if call.key_proof is not None:
        await claim(serving, call.key_proof.proof, call.now)
    # SECURITY: without this an ephemeral key could pass its identity on to another for ever.
    certified = call.key_proof is None and call.caller.possession == "mtls"
    if body.bind not in ("", key) and key != registration.key and not certified:
        raise Forbidden("bind_refused", "only the registered key may bind another key")
    if registration.state != "active":
        raise Forbidden(f"identity_{registration.state}", f"the identity is {registration.state}", "ask its owner")
    seconds = serving.svid_seconds
    if certified:
        # SECURITY: what a certificate bought ends with it; the next one comes from its authority, or does not.
        seconds = min(seconds, _left_of_certificate(call))
    elif key != registration.key:
        seconds = min(seconds, await _left_of_task(serving, call, body.task, key))
    svid = serving.authority.issue_svid(registration.id, body.bind or key, serving.audience, call.now, seconds)
    return json_answer(Svid(svid=svid, expires=call.now + seconds * 1000, id=registration.id), 201)


def _left_of_certificate(call: Call) -> int:
    left = (call.caller.expires - call.now) // 1000
    if left < 1:
        raise Unauthenticated("certificate_expired", "the client certificate has expired", "reconnect with a new one")
    return left


async def _left_of_task(serving: Serving, call: Call, token: str, key: str) -> int:
    """The seconds that are left of the open task to which the caller's key is bound."""
    # SECURITY: without this a key that was bound once could renew itself for ever, after its task and without its
    # registered key.
    if not token:
        raise Forbidden("renewal_refused", "a bound key renews for its task only", "send the task's token as `task`")
    handle = serving.authenticator.task_handle(token, call.now)
    if handle.key != key or handle.workload != call.caller.id:
        raise Forbidden("renewal_refused", "the task is bound to another key", "use the registered key")
    view = await serving.service.task(call.caller, handle.task)
    left = (view.expires - call.now) // 1000
    if view.state != "open" or left < 1:
        raise Forbidden("renewal_refused", f"the task is {view.state}", "start another task")
    return left


def _proved(serving: Serving, call: Call, body: SvidRequest) -> tuple[Registration, str]:
    """The registration and the thumbprint of the key that was proved."""
    if call.key_proof is not None:
        if not body.id:
            raise InvalidInput("identity_missing", "the body names no identity", "send its SPIFFE ID as `id`")
        registration = registered_key(serving, call, body.id)
        return registration, registration.key
    if body.id not in ("", call.caller.id):
        raise Forbidden("identity_mismatch", "the SVID asked for is of another identity")
    known = serving.service.registration(call.caller.id)
    if known is None:
        raise Forbidden("identity_unknown", "the identity is not registered")
    return known, call.caller.key
