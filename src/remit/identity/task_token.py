"""Task tokens: signed handles to tasks, bound to a key. They carry no authority (design, section 2.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from remit.core.decisions import TaskHandle
from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.bundle import VerificationKey
from remit.identity.compact import ISSUED_REGISTRY, claims_of, milliseconds, parse_compact, signature_holds
from remit.identity.keys import THUMBPRINT
from remit.identity.spiffe import parse_spiffe_id
from remit.identity.svid import LEEWAY_MS, Confirmation

TYPE: Final = "remit-task+jwt"
TASK_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,256}")

_HEADER: Final = frozenset({"alg", "kid", "typ"})
_NEXT_STEP: Final = "send the task token that the start of the task answered"


class TaskClaims(msgspec.Struct, frozen=True):
    """What a task token says: which task, which workload, until when, and the key that must be proved with it."""

    sub: str
    aud: str
    jti: str
    exp: int | float
    iat: int | float
    cnf: Confirmation


_decoder: Final = msgspec.json.Decoder(TaskClaims)


def task_audience(trust_domain: str) -> str:
    """The audience of task tokens, which is no audience of an SVID: neither can stand in for the other."""
    return f"spiffe://{trust_domain}/remit/task"


def verify_task_token(token: str, *, trust_domain: str, keys: Mapping[str, VerificationKey]) -> TaskHandle:
    """The handle in `token`, with everything checked but its expiry; `Unauthenticated` otherwise.

    `keys` are those of the own trust domain: no other one starts tasks here.
    """
    compact = parse_compact(token, _HEADER)
    # SECURITY: `typ` is required and differs from an SVID's (RFC 8725 section 3.11).
    if compact is None or compact.protected.get("typ") != TYPE:
        raise _invalid("this is not a task token")
    kid = compact.protected.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None or compact.protected.get("alg") != key.algorithm:
        raise _invalid("the task token is signed by a key that this trust domain does not publish")
    if not signature_holds(compact, key.key, ISSUED_REGISTRY):
        raise _invalid("the task token's signature does not hold")
    claims = claims_of(compact, _decoder)
    expires = None if claims is None else milliseconds(claims.exp)
    if claims is None or expires is None or claims.aud != task_audience(trust_domain):
        raise _invalid("the task token lacks a required claim or has a wrong one")
    if not TASK_ID.fullmatch(claims.jti) or not THUMBPRINT.fullmatch(claims.cnf.jkt):
        raise _invalid("the task token names no task or no key")
    try:
        parse_spiffe_id(claims.sub)
    except InvalidInput:
        raise _invalid("the task token's subject is not a SPIFFE ID") from None
    return TaskHandle(task=claims.jti, workload=claims.sub, key=claims.cnf.jkt, expires=expires)


def check_task_expiry(handle: TaskHandle, now: int) -> None:
    """Refuses a handle whose token has expired at `now`, with a leeway of `LEEWAY_MS`."""
    if now >= handle.expires + LEEWAY_MS:
        raise Unauthenticated("task_token_expired", "the task token has expired", "start a new task")


def _invalid(message: str) -> Unauthenticated:
    return Unauthenticated("task_token_invalid", message, _NEXT_STEP)
