"""`POST /v1/reload`: an operator has the folder read again."""

from __future__ import annotations

from remit.server.answer import Answer, json_answer
from remit.server.serving import Call, Serving


async def reload(serving: Serving, call: Call) -> Answer:
    """Answers once the new configuration decides; a mistake in it is 400, with its place, and changes nothing."""
    return json_answer(await serving.service.reload(call.caller))
