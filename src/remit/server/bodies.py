"""Request bodies: bounded before they are decoded, decoded strictly, without duplicate keys."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Receive

from remit.core import bounds
from remit.core.errors import InvalidInput, TooLarge

BODY_SECONDS: Final = 10  # for the whole body

T = TypeVar("T")

# An unterminated string matches to the end, so that no text makes the search start over (it would be quadratic).
_STRING = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)')
_BRACKET = re.compile(rb"[\[{]|[\]}]")


async def read_body(receive: Receive, limit: int = bounds.REQUEST_BYTES) -> bytes:
    """The whole body; `TooLarge` over `limit` bytes, `InvalidInput` when it is not complete in time."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(receive, limit)
    except TimeoutError:
        # SECURITY: a body that trickles in holds a connection, never longer than this.
        raise InvalidInput("body_timeout", f"the body did not arrive within {BODY_SECONDS} seconds") from None


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit and message["type"] == "http.request":
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False) and size <= limit:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
    if size > limit:
        raise TooLarge("body_too_large", f"the body is larger than {limit} bytes")
    if message["type"] != "http.request":
        raise InvalidInput("body_incomplete", "the caller went away before the body was complete")
    return b"".join(parts)


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type; `InvalidInput` with the offending path otherwise.

    Depth and number of values are bounded before decoding, and of two equal keys neither is taken.
    """
    check_shape(body)
    try:
        value = decoder.decode(body)
        # SECURITY: of two equal keys one parser takes the first and another the last; json sees every pair.
        _pairs.decode(body.decode())
    except msgspec.ValidationError as error:
        raise InvalidInput("body_invalid", _sentence(str(error)), "see /openapi.json") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise InvalidInput("body_malformed", "the body is not JSON", "send one JSON object, UTF-8") from None
    return value


def convert(value: Any, type_: type[T]) -> T:
    """A part of a decoded body as `type_`; `InvalidInput` with the offending path otherwise."""
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise InvalidInput("body_invalid", _sentence(str(error)), "see /openapi.json") from None


def check_shape(body: bytes) -> None:
    """Refuses more than `JSON_DEPTH` levels or `JSON_NODES` values.

    Counting brackets and commas gives upper bounds; only when these are over is the text read exactly.
    """
    opened = body.count(b"{") + body.count(b"[")
    if opened <= bounds.JSON_DEPTH and opened + body.count(b",") < bounds.JSON_NODES:
        return
    bare = _STRING.sub(b"", body)
    if 1 + bare.count(b"{") + bare.count(b"[") + bare.count(b",") > bounds.JSON_NODES:
        raise InvalidInput("body_too_complex", f"the body has more than {bounds.JSON_NODES} values")
    depth = 0
    for match in _BRACKET.finditer(bare):
        depth += 1 if match[0] in b"[{" else -1
        if depth > bounds.JSON_DEPTH:
            raise InvalidInput("body_too_deep", f"the body is nested deeper than {bounds.JSON_DEPTH} levels")


def check_names(*names: str, empty: bool = False) -> None:
    """`InvalidInput("name_invalid")` for a name over `NAME_BYTES`, and for an empty one unless `empty`."""
    for name in names:
        if not (name or empty) or len(name) > bounds.NAME_BYTES or len(name.encode()) > bounds.NAME_BYTES:
            raise InvalidInput("name_invalid", f"a name is empty or longer than {bounds.NAME_BYTES} bytes")


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                name = key[: bounds.NAME_BYTES].encode("ascii", "backslashreplace").decode()
                raise InvalidInput("body_duplicate_key", f"`{name}` stands twice", "keep one of them")
            seen.add(key)


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


_pairs: Final = json.JSONDecoder(object_pairs_hook=_unique)
