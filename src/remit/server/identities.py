"""`/v1/identities`: who is registered, and the changes of their lives."""

from __future__ import annotations

import msgspec

from remit.core.identities import Registration
from remit.sdk.wire import IdentityChange, IdentityList
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_registration = msgspec.json.Decoder(Registration)
_change = msgspec.json.Decoder(IdentityChange)


async def register(serving: Serving, call: Call) -> Answer:
    """Registers an identity, or changes its registration."""
    body = decode(call.body, _registration)
    return json_answer(await serving.service.register(call.caller, body), 201)


async def change(serving: Serving, call: Call) -> Answer:
    """Quarantines, retires or reactivates one."""
    body = decode(call.body, _change)
    check_names(body.id)
    return json_answer(await serving.service.change(call.caller, body.id, body.state, body.reason))


async def identities(serving: Serving, call: Call) -> Answer:
    """All registrations that the caller may see."""
    return json_answer(IdentityList(identities=tuple(await serving.service.identities(call.caller))))
