"""`POST /v1/risk` and `/v1/habits/forget`: a live risk signal of a workload, and habits that it is to lose."""

from __future__ import annotations

import msgspec

from remit.core.errors import InvalidInput
from remit.core.tasks import Forgetting, RiskSignal
from remit.sdk.wire import Done, Forgotten
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(RiskSignal)
_forgetting = msgspec.json.Decoder(Forgetting)


async def set_risk(serving: Serving, call: Call) -> Answer:
    """Sets it until it expires."""
    signal = decode(call.body, _decoder)
    check_names(signal.id, signal.signal, signal.source)
    if not 0 <= signal.value <= 100:
        raise InvalidInput("risk_out_of_range", "the value is not between 0 and 100")
    await serving.service.set_risk(call.caller, signal)
    return json_answer(Done())


async def forget(serving: Serving, call: Call) -> Answer:
    """Has habits forgotten, and answers which there were."""
    wanted = decode(call.body, _forgetting)
    check_names(wanted.id)
    return json_answer(Forgotten(habits=tuple(await serving.service.forget(call.caller, wanted))))
