"""`POST /v1/outcomes`: what happened after a permit."""

from __future__ import annotations

import re

import msgspec

from remit.core.decisions import Outcome
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(Outcome)
_ASYNC = re.compile(rb"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)


async def report(serving: Serving, call: Call) -> Answer:
    """Takes it; answered when durable, or with `Prefer: respond-async` (RFC 7240) as soon as it is sequenced."""
    outcome = decode(call.body, _decoder)
    check_names(outcome.decision, outcome.digest)
    durable = _ASYNC.search(call.prefer) is None
    receipt = await serving.service.report(call.caller, outcome, durable=durable)
    if durable:
        return json_answer(receipt)
    return json_answer(receipt, 202, ((b"preference-applied", b"respond-async"),))
