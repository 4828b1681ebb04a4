"""`POST /v1/risk`: a live risk signal of a workload."""

from __future__ import annotations

import msgspec

from remit.core.errors import InvalidInput
from remit.core.tasks import RiskSignal
from remit.sdk.wire import Done
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(RiskSignal)


async def set_risk(serving: Serving, call: Call) -> Answer:
    """Sets it until it expires."""
    signal = decode(call.body, _decoder)
    check_names(signal.id, signal.signal, signal.source)
    if not 0 <= signal.value <= 100:
        raise InvalidInput("risk_out_of_range", "the value is not between 0 and 100")
    await serving.service.set_risk(call.caller, signal)
    return json_answer(Done())
