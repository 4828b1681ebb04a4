"""MCP frames on stdio: newline-delimited JSON-RPC 2.0 messages, read once and passed on without loss.

A message's members are kept as the bytes that arrived. What is sent on is built from the members that were read, so
that the receiver sees what was decided and nothing beside it: a member that stands twice, or one that another JSON
reader would take for a known one (`Method`), can't carry a second meaning past the decision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.core.errors import InvalidInput

PARSE_ERROR: Final = -32700  # JSON-RPC 2.0, section 5.1
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
REFUSED: Final = 403  # outside JSON-RPC's reserved range, as MCP 2026-07-28 (basic, error codes) asks

Id = int | str

_MEMBERS: Final = ("jsonrpc", "id", "method", "params", "result", "error")
_PARAMS: Final = ("name", "arguments", "_meta", "task", "inputResponses", "requestState", "uri", "ref", "argument")
_KEYS: Final = {name: f'"{name}":'.encode() for name in _MEMBERS}
_HEAD: Final = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(-?\d{1,18}|"[^"\\]{0,256}")\s*[,}]')
_INT_MAX: Final = 2**63

_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_read_id: msgspec.json.Decoder[Id] = msgspec.json.Decoder(int | str)
_read_text = msgspec.json.Decoder(str)


class FrameError(InvalidInput):
    """A frame that can't be a message of this protocol: `rpc_code` is its JSON-RPC error code."""

    def __init__(self, code: str, message: str, next_step: str = "", rpc_code: int = INVALID_REQUEST) -> None:
        super().__init__(code, message, next_step)
        self.rpc_code = rpc_code


class Oversized(msgspec.Struct, frozen=True):
    """A frame over the bound; `head` is its first 4 KiB, the rest is discarded as it arrives."""

    head: bytes


class Message(msgspec.Struct, frozen=True):
    """One JSON-RPC message: its members as they arrived, its id and its method."""

    members: dict[str, msgspec.Raw]
    id: Id | None = None
    method: str = ""

    @property
    def is_request(self) -> bool:
        return self.id is not None and bool(self.method)

    @property
    def is_notification(self) -> bool:
        return self.id is None and bool(self.method)

    def part(self, name: str) -> bytes:
        """The bytes of one member, or b"" when it is absent."""
        raw = self.members.get(name)
        return b"" if raw is None else bytes(raw)

    def frame(self) -> bytes:
        """The frame to send on: every member as it arrived, each once, in the order of arrival."""
        # SECURITY: built from what was read; a second member of the same name does not survive.
        return assemble(self.members)


class FrameReader:
    """Splits a byte stream into frames of at most `limit` bytes; blank lines are skipped."""

    def __init__(self, limit: int = bounds.FRAME_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | Oversized]:
        """The frames that `data` completes. An oversized frame is named once, when it passes the bound."""
        frames: list[bytes | Oversized] = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._take(data[start:end], frames)
            start = end + 1
            if not self._skipping and self._parts:
                frame = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                if frame := frame.strip(b" \t\r"):
                    frames.append(frame)
            self._parts, self._size, self._skipping = [], 0, False
        self._take(data[start:], frames)
        return frames

    @property
    def partial(self) -> bool:
        """Whether bytes wait for the end of their line."""
        return self._size > 0 or self._skipping

    def _take(self, piece: bytes, frames: list[bytes | Oversized]) -> None:
        if self._skipping or not piece:
            return
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            frames.append(Oversized(b"".join(self._parts)[:4096]))
            self._parts, self._skipping = [], True


def read_message(frame: bytes) -> Message:
    """The message in `frame`; a `FrameError` when it is not one JSON-RPC 2.0 request, notification or response."""
    if frame[:1] == b"[":
        raise FrameError("batch_refused", "batches are not part of this protocol", "send one message a line")
    # SECURITY: a reader that takes a carriage return for the end of a line would see another message inside this one.
    if b"\r" in frame:
        raise FrameError("frame_malformed", "a carriage return stands inside the frame", "end lines with \\n only")
    try:
        if not frame.isascii():
            frame.decode()
        members = _read_members.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FrameError("frame_malformed", "the frame is not a JSON object in UTF-8", rpc_code=PARSE_ERROR) from None
    _refuse_lookalikes(members, _MEMBERS)
    return Message(members, _id_of(members), _method_of(members))


def read_params(raw: bytes) -> dict[str, Any]:
    """The params of a request that is to be decided; a `FrameError` when two readers could take them differently.

    Refused: a key that stands twice or that differs from another, or from one that the protocol knows, only in case;
    numbers that a double can't hold as written or beyond 64 bits; more than `bounds.JSON_DEPTH` levels.
    """
    if not raw:
        return {}
    params = strict_json(raw)
    if not isinstance(params, dict):
        raise FrameError("params_invalid", "`params` must be an object", rpc_code=INVALID_PARAMS)
    _refuse_lookalikes(params, _PARAMS)
    return params


def strict_json(raw: bytes) -> Any:
    """The JSON value in `raw`, under the rules of `read_params`."""
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_unique,
            parse_float=_exact_float,
            parse_int=_bounded_int,
            parse_constant=_no_constant,
        )
        _check_depth(value, bounds.JSON_DEPTH)
        if b"\\u" in raw:
            msgspec.json.encode(value)  # half of a surrogate pair is not text
    except (ValueError, ArithmeticError, RecursionError):
        raise FrameError("params_malformed", "the params are not JSON", rpc_code=INVALID_PARAMS) from None
    return value


def id_in_head(head: bytes) -> Id | None:
    """The id at the head of a frame that can't be read, if it stands there plainly; a guess for error answers only."""
    match = _HEAD.match(head[:4096])
    if match is None:
        return None
    try:
        return _read_id.decode(match[1])
    except msgspec.MsgspecError:
        return None


def assemble(members: Mapping[str, msgspec.Raw | bytes]) -> bytes:
    """One frame with its newline from members whose values are JSON bytes."""
    parts = [_KEYS.get(key) or msgspec.json.encode(key) + b":" for key in members]
    body = b",".join(key + bytes(raw) for key, raw in zip(parts, members.values(), strict=True))
    return b"{" + body + b"}\n"


def result_frame(id_: Id, result: Any) -> bytes:
    """A response that carries `result`."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id_, "result": result}) + b"\n"


def error_frame(id_: Id | None, code: int, message: str, data: Any = None) -> bytes:
    """A response that carries an error; `id_` is None where the request's id could not be read."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id_, "error": error}) + b"\n"


def request_frame(id_: Id, method: str, params: Mapping[str, Any]) -> bytes:
    """A request of the gateway's own."""
    frame: dict[str, Any] = {"jsonrpc": "2.0", "id": id_, "method": method}
    if params:
        frame["params"] = params
    return msgspec.json.encode(frame) + b"\n"


def notification_frame(method: str, params: Mapping[str, Any]) -> bytes:
    """A notification of the gateway's own."""
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"


def _id_of(members: Mapping[str, msgspec.Raw]) -> Id | None:
    raw = members.get("id")
    if raw is None or ("error" in members and bytes(raw) == b"null"):
        return None
    if len(bytes(raw)) > bounds.NAME_BYTES:
        raise FrameError("id_invalid", "the id is too long")
    try:
        return _read_id.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        raise FrameError("id_invalid", "the id must be a string or an integer") from None


def _method_of(members: Mapping[str, msgspec.Raw]) -> str:
    try:
        if "jsonrpc" not in members or _read_text.decode(members["jsonrpc"]) != "2.0":
            raise FrameError("frame_malformed", "`jsonrpc` must be `2.0`")
        answers = ("result" in members) + ("error" in members)
        if "method" in members:
            method = _read_text.decode(members["method"])
            if answers or not method or len(method) > bounds.NAME_BYTES:
                raise FrameError("frame_malformed", "a message is a request, a notification or a response, not two")
            return method
    except msgspec.MsgspecError:
        raise FrameError("frame_malformed", "`jsonrpc` and `method` must be strings") from None
    if answers != 1 or ("result" in members and "id" not in members):
        raise FrameError("frame_malformed", "the message is no request, notification or response")
    return ""


def _refuse_lookalikes(names: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known and (folded := name.casefold()) and any(folded == word.casefold() for word in known):
            # SECURITY: readers that ignore case (Go's encoding/json) would take it for the known member.
            raise FrameError("frame_ambiguous", f"`{name[:64]}` differs from a known member only in case")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    # SECURITY: of two equal keys a decision sees one and the upstream may take the other.
    if len(result) != len(pairs):
        raise FrameError("params_ambiguous", "a key stands twice in one object", rpc_code=INVALID_PARAMS)
    if len(result) > 1 and len({key.casefold() for key in result}) != len(result):
        raise FrameError("params_ambiguous", "two keys of one object differ only in case", rpc_code=INVALID_PARAMS)
    return result


def _exact_float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise FrameError("number_out_of_range", f"`{text[:40]}` is out of range", rpc_code=INVALID_PARAMS)
    # SECURITY: an upstream that reads decimals exactly would act on another number than the one decided.
    if (len(text) > 15 or "e" in text or "E" in text) and Decimal(text) != Decimal(repr(value)):
        raise FrameError("number_inexact", f"`{text[:40]}` is more precise than a double", rpc_code=INVALID_PARAMS)
    return value


def _bounded_int(text: str) -> int:
    if len(text) > 20 or not -_INT_MAX <= (value := int(text)) < _INT_MAX:
        raise FrameError("number_out_of_range", f"`{text[:40]}` is beyond 64 bits", rpc_code=INVALID_PARAMS)
    return value


def _no_constant(text: str) -> Any:
    raise FrameError("params_malformed", f"`{text}` is not JSON", rpc_code=INVALID_PARAMS)


def _check_depth(value: Any, levels: int) -> None:
    if isinstance(value, dict):
        items: Any = value.values()
    elif isinstance(value, list):
        items = value
    else:
        return
    if levels <= 0:
        raise FrameError("params_too_deep", f"more than {bounds.JSON_DEPTH} levels of values", rpc_code=INVALID_PARAMS)
    for item in items:
        if item.__class__ is dict or item.__class__ is list:
            _check_depth(item, levels - 1)
