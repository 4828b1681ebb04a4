"""`POST /v1/erasures`: an operator has personal values erased."""

from __future__ import annotations

import msgspec

from remit.core.erasing import Erasing
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(Erasing)


async def erase(serving: Serving, call: Call) -> Answer:
    """One step, and whether there is more."""
    wanted = decode(call.body, _decoder)
    check_names(wanted.id, empty=True)
    return json_answer(await serving.service.erase(call.caller, wanted))
