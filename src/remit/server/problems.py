"""RFC 9457 problem details from errors, as `application/problem+json`."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from remit.core.errors import DocumentError, RemitError
from remit.sdk.wire import Problem
from remit.server.answer import Answer

_PROBLEM = (b"content-type", b"application/problem+json")
_CHALLENGE = (b"www-authenticate", b'DPoP algs="ES256"')
_BEARER_CHALLENGE = (b"www-authenticate", b'DPoP algs="ES256", Bearer realm="remit"')
_CLOSE = (b"connection", b"close")
_RETRY = (b"retry-after", b"1")
_encode = msgspec.json.Encoder().encode


def problem(error: RemitError, request_id: str = "", *, close: bool = False, bearer: bool = False) -> Answer:
    """The error as problem details: its code, message and next step, nothing internal.

    `close` also closes the connection: for requests whose body was not read to its end. `bearer` says to a caller
    that is not known that a bearer key would be accepted too.
    """
    headers = [_PROBLEM]
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append(_BEARER_CHALLENGE if bearer else _CHALLENGE)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(_RETRY)
    if close or error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers.append(_CLOSE)
    body = Problem(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.message,
        code=error.code,
        next_step=error.next_step,
        decision=error.decision,
        request_id=request_id,
        path=error.path if isinstance(error, DocumentError) else "",
        line=error.line if isinstance(error, DocumentError) else 0,
        column=error.column if isinstance(error, DocumentError) else 0,
        shown=error.shown if isinstance(error, DocumentError) else "",
        width=error.width if isinstance(error, DocumentError) else 0,
    )
    return Answer(error.status, _encode(body), tuple(headers))


def internal_error() -> RemitError:
    """What a caller sees of a fault: nothing of its cause, which is in the log under the request id."""
    return RemitError("internal_error", "the service failed to answer", "see the service's log under this request id")
