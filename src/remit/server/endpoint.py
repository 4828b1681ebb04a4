"""From ASGI to a handler and back: reads the bounded body, turns errors into problems."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive, Scope, Send

from remit.core.errors import InvalidInput, RemitError
from remit.core.identities import Identity
from remit.core.trace import traceparent
from remit.server.answer import Answer, send_answer
from remit.server.bodies import read_body
from remit.server.operation import Operation
from remit.server.problems import internal_error, problem
from remit.server.serving import Call, Serving

NO_PATH: Final[Mapping[str, str]] = {}
NOBODY: Final = Identity(id="", key="", expires=0)

_UNREAD: Final = frozenset({"body_incomplete", "body_timeout", "body_media_type"})

_log = logging.getLogger("remit.server")


class Endpoint:
    """One operation as an ASGI application."""

    def __init__(self, operation: Operation, serving: Serving) -> None:
        self.operation = operation
        self.serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rid = scope["remit.request_id"]
        try:
            answer = await self._answer(scope, receive, send, rid)
        except RemitError as error:
            # SECURITY: what is left of an unread body is never taken for a request.
            answer = problem(error, rid, close=error.code in _UNREAD)
        except Exception:  # noqa: BLE001 - fail closed
            # SECURITY: the cause goes to the log; the caller sees that nothing was permitted.
            _log.exception("request %s failed", rid)
            answer = problem(internal_error(), rid)
        if answer is not None:
            await send_answer(send, answer, rid)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, rid: str) -> Answer | None:
        operation = self.operation
        body = b""
        if operation.takes is not None:
            _check_media(scope)
            body = await read_body(receive, operation.limit)
        call = Call(
            caller=scope["remit.caller"] or NOBODY,
            body=body,
            request_id=rid,
            now=scope["remit.now"],
            path=scope.get("path_params", NO_PATH),
            prefer=_header(scope, b"prefer"),
            trace=traceparent(_header(scope, b"traceparent").decode("latin-1")),
            key_proof=scope["remit.key_proof"],
        )
        if operation.stream is not None:
            await operation.stream(self.serving, call, receive, send)
            return None
        if operation.handler is None:
            raise internal_error()
        return await operation.handler(self.serving, call)


def _check_media(scope: Scope) -> None:
    media = _header(scope, b"content-type").partition(b";")[0].strip().lower()
    if media != b"application/json":
        raise InvalidInput(
            "body_media_type", "the body's `Content-Type` is not `application/json`", "send JSON and say so"
        )


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
