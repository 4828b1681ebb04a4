"""Outside tokens at `POST /v1/svids`: an OIDC token or a foreign JWT-SVID for a JWT-SVID of this trust domain.

1. The token is verified and mapped to one identity here, which is the one that the body names, if it names one.
2. The request's proof is by the caller's own key: the one that the token is bound to, if it is bound to one.
3. The exchange is recorded; the token is bound to that key until it has expired.
4. The SVID is bound to that key, or to the one that `bind` names, and ends with the token, or sooner.
"""

from __future__ import annotations

from remit.core.errors import Forbidden, InvalidInput, RemitError, Unauthenticated
from remit.identity.arrival import Arrival
from remit.sdk.wire import Svid, SvidRequest
from remit.server.answer import Answer, json_answer
from remit.server.authentication import claim, proved_key
from remit.server.serving import Call, Serving


async def exchange(serving: Serving, call: Call, body: SvidRequest) -> Answer:
    """Answers 201 with the SVID; each is counted by what it came to."""
    result = "internal_error"
    try:
        answer = await _exchanged(serving, call, body)
        result = "exchanged"
    except RemitError as error:
        result = error.code
        raise
    finally:
        serving.exchanges[result] += 1
    return answer


async def _exchanged(serving: Serving, call: Call, body: SvidRequest) -> Answer:
    if call.key_proof is None:
        raise InvalidInput(
            "token_unexpected",
            "the request has an SVID and an outside token",
            "send the token with a proof by your key, and without `Authorization`",
        )
    if serving.elsewhere is None:
        raise Unauthenticated("issuer_unknown", "no outside issuer is known here", "add it to `remit.toml`")
    arrival = serving.elsewhere.arrival(body.token, call.now)
    if body.id not in ("", arrival.id):
        raise Forbidden(
            "identity_mismatch", "the token is another identity's than the one that was asked for", "ask for its own"
        )
    seconds = min(serving.svid_seconds, _left(arrival, call.now))

    def prove() -> str:
        # SECURITY: nothing is remembered of a proof before the token held and the identity's rate admitted it: neither
        # strangers nor whoever has one token can fill the memory of used proofs.
        return proved_key(serving, call, arrival.id, allowed=lambda made: _is_bound_to(arrival, made))

    registration, key = await serving.service.exchange(arrival, prove)
    await claim(serving, call.key_proof.proof, call.now)
    svid = serving.authority.issue_svid(registration.id, body.bind or key, serving.audience, call.now, seconds)
    return json_answer(Svid(svid=svid, expires=call.now + seconds * 1000, id=registration.id), 201)


def _is_bound_to(arrival: Arrival, key: str) -> bool:
    # SECURITY: a token that is bound to a key is worth nothing to whoever has not that key.
    if arrival.key not in ("", key):
        raise Unauthenticated("key_mismatch", "the token is bound to another key than the proof's", "use its own key")
    return True


def _left(arrival: Arrival, now: int) -> int:
    left = (arrival.expires - now) // 1000
    if left < 1:
        # SECURITY: what the token bought ends with it.
        raise Unauthenticated("token_expired", "the token has expired", "get a fresh one from its issuer")
    return left
