"""`/v1/tasks`: a starter starts a task for a workload, ends it, and sees how it stands."""

from __future__ import annotations

import msgspec

from remit.core import bounds
from remit.core.errors import Forbidden, InvalidInput, TooLarge, Unauthenticated
from remit.core.identities import Identity
from remit.identity.keys import THUMBPRINT
from remit.sdk.wire import StartedTaskBody, TaskEndRequest, TaskStart, task_body, task_request
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, decode
from remit.server.serving import Call, Serving

_start = msgspec.json.Decoder(TaskStart)
_end = msgspec.json.Decoder(TaskEndRequest)


async def start_task(serving: Serving, call: Call) -> Answer:
    """Starts it and answers 201 with its token, bound to the key that the body names."""
    body = decode(call.body, _start)
    check_names(body.intent, body.workload)
    check_names(body.case_type, body.parent, empty=True)
    if len(body.prompt.encode()) > bounds.PROMPT_BYTES:
        raise TooLarge("prompt_too_long", f"the prompt is longer than {bounds.PROMPT_BYTES} bytes", "shorten it")
    if not THUMBPRINT.fullmatch(body.key):
        raise InvalidInput("key_invalid", "`key` is not an RFC 7638 thumbprint", "send 43 base64url characters")
    person = _person(serving, call, body.on_behalf_of)
    view = await serving.service.start_task(call.caller, task_request(body), person)
    token = serving.authority.issue_task_token(view.id, view.workload, body.key, view.expires, call.now)
    location = ((b"location", f"/v1/tasks/{view.id}".encode("ascii")),)
    return json_answer(StartedTaskBody(task=task_body(view), token=token), 201, location)


async def end_task(serving: Serving, call: Call) -> Answer:
    """Moves it to the state that the body names."""
    body = decode(call.body, _end)
    view = await serving.service.end_task(call.caller, _task_id(call), body.state, body.reason)
    return json_answer(task_body(view))


async def show_task(serving: Serving, call: Call) -> Answer:
    """How it stands."""
    return json_answer(task_body(await serving.service.task(call.caller, _task_id(call))))


def _person(serving: Serving, call: Call, token: str) -> Identity | None:
    if not token:
        return None
    try:
        # SECURITY: on whose behalf comes from that person's verified token, never from a name.
        return serving.authenticator.person(token, call.now)
    except Unauthenticated as error:
        raise Forbidden(error.code, error.message, error.next_step) from None


def _task_id(call: Call) -> str:
    task = call.path["task"]
    check_names(task)
    return task
