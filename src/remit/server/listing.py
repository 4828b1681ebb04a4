"""`POST /v1/listing`: which tools of a server could be permitted under a task. A probe: it changes nothing."""

from __future__ import annotations

import msgspec

from remit.core.decisions import Ask
from remit.sdk.wire import ListingRequest, listing_body
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.evaluation import subject_proof, task_handle
from remit.server.serving import Call, Serving

_decoder = msgspec.json.Decoder(ListingRequest)


async def listing(serving: Serving, call: Call) -> Answer:
    """Null for each tool that could be permitted with some arguments, else the reason why not."""
    body = decode(call.body, _decoder)
    check_names(body.server, *body.tools)
    check_names(*body.tools.values(), empty=True)
    ask = Ask(
        caller=call.caller,
        subject=body.subject.id,
        proof=subject_proof(serving, call, body.subject, body.task),
        task=task_handle(serving, call, body.task),
        action="",
        input={},
        request_id=call.request_id,
    )
    return json_answer(listing_body(await serving.service.listing(ask, body.server, body.tools)))
