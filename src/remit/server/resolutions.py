"""`POST /v1/resolutions`: an operator resolves a permit that never got an outcome."""

from __future__ import annotations

import msgspec

from remit.sdk.wire import Done, ResolutionRequest
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(ResolutionRequest)


async def resolve(serving: Serving, call: Call) -> Answer:
    """Records what was found out."""
    body = decode(call.body, _decoder)
    check_names(body.decision)
    await serving.service.resolve(call.caller, body.decision, body.result, body.reason)
    return json_answer(Done())
