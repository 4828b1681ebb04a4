"""An answer: status, bytes and headers, sent as two ASGI messages."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from starlette.types import Send

Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final[Headers] = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What to send; `headers` are complete but for the length and the request id."""

    status: int
    body: bytes
    headers: Headers = JSON


def json_answer(value: Any, status: int = 200, headers: Headers = ()) -> Answer:
    """`value` (a wire struct) as JSON that no cache keeps."""
    return Answer(status, _encode(value), JSON + headers)


def text_answer(text: str, content_type: str = "text/plain; charset=utf-8", status: int = 200) -> Answer:
    """Plain text."""
    return Answer(status, text.encode(), ((b"content-type", content_type.encode()), (b"cache-control", b"no-store")))


async def send_answer(send: Send, answer: Answer, request_id: str) -> None:
    """Sends it whole. `request_id` must have passed `request_ids.request_id`."""
    headers = [
        *answer.headers,
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
