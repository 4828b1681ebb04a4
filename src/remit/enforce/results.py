"""What a permitted call brought back: how it ended, the fields to remember, and what of it must not leave.

Paths are dotted ("invoice.account"). A path is looked up at the root of the structured content, and, where a server
wraps its value as `{"result": …}` (MCP SDKs do this for values that are not objects), under `result` too. Lists on
the way are walked for redaction, and end the walk for selection: a selected field has one value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from remit.core.errors import InvalidInput
from remit.sdk.obligations import Shaping

URL_ELICITATION_REQUIRED: Final = -32042  # MCP 2025-11-25, client/elicitation
REDACTED: Final = "[redacted]"
REDACTED_META: Final = "remit/redacted"
LIMITED_META: Final = "remit/limited"

_KNOWN: Final = frozenset({"content", "structuredContent", "isError", "resultType", "_meta"})
_PROTOCOL: Final = "io.modelcontextprotocol/"
_WRAPPER: Final = "result"

Ending = Literal["response", "error", "input_required", "unknown_type"]

_decode = msgspec.json.decode


class CallResult(msgspec.Struct, frozen=True):
    """What the gateway reads of a result (CallToolResult, InputRequiredResult); the rest passes as it came."""

    isError: bool = False  # noqa: N815 - the wire's name
    resultType: str = "complete"  # noqa: N815 - the wire's name
    structuredContent: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 - the wire's name
    content: msgspec.Raw = msgspec.Raw(b"")
    inputRequests: msgspec.Raw = msgspec.Raw(b"")  # noqa: N815 - the wire's name
    requestState: str = ""  # noqa: N815 - the wire's name


class _Error(msgspec.Struct, frozen=True):
    code: int
    data: Any = None


class Unreadable(InvalidInput):
    """A result whose shape the gateway doesn't know where it would have to change it, or read how it ended."""


def read_result(raw: bytes) -> CallResult:
    """The parts of a result that decide how it is handled; `Unreadable` when it isn't an object of the known shape."""
    try:
        return msgspec.json.decode(raw, type=CallResult)
    except (msgspec.MsgspecError, RecursionError):
        raise Unreadable("result_malformed", "the server's result has an unknown shape") from None


def url_elicitations(error: bytes) -> bytes | None:
    """The requests to the client inside an error (`URLElicitationRequiredError`, MCP 2025-11-25), None in any other.

    They are given as the requests that they stand for: `{"0": {"method": "elicitation/create", "params": {…}}}`.
    """
    try:
        read = msgspec.json.decode(error, type=_Error)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if read.code != URL_ELICITATION_REQUIRED:
        return None
    given = read.data.get("elicitations") if isinstance(read.data, dict) else None
    params = given if isinstance(given, list) else [None]
    return msgspec.json.encode({str(n): {"method": "elicitation/create", "params": p} for n, p in enumerate(params)})


def ending(result: CallResult) -> Ending:
    """How the call ended, by the server's own word."""
    if result.resultType == "input_required":
        return "input_required"
    if result.resultType != "complete":
        return "unknown_type"
    return "error" if result.isError else "response"


def select(result: CallResult, paths: Iterable[str]) -> dict[str, Any]:
    """The values of the selected fields that are there, from structured content or from JSON text content."""
    sources = [root for root in _documents(result) if isinstance(root, dict)]
    selected: dict[str, Any] = {}
    for path in paths:
        for root in sources:
            found, value = _lookup(root, path.split("."))
            if found:
                selected[path] = value
                break
    return selected


def shape(raw: bytes, shaping: Shaping) -> dict[str, Any] | None:
    """The result as it may leave: without fields, with lists cut, not too large. None where it may leave as it came.

    Raises `Unreadable` where that can't be made: a value could hide, or the result is larger than it may be.
    """
    if not shaping.changes:
        check_size(len(raw), shaping)
        return None
    result, blocks = _parts(raw)
    steps = [path.split(".") for path in shaping.fields]
    limits = [(path.split(".") if path else [], most) for path, most in shaping.items.items()]
    structured = result.get("structuredContent")
    if "" in shaping.items:
        blocks = _few(blocks, shaping.items[""], structured)
    if structured is not None:
        result["structuredContent"] = _limited(_without(structured, steps), limits)
    named = [(path, most) for path, most in limits if path]
    if steps or named:
        blocks = [_shape_block(block, steps, named) for block in blocks]
    result["content"] = blocks
    meta = result.get("_meta")
    kept = {k: v for k, v in meta.items() if k.startswith(_PROTOCOL)} if isinstance(meta, dict) else {}
    if shaping.fields:
        kept[REDACTED_META] = list(shaping.fields)
    if shaping.items:
        kept[LIMITED_META] = dict(shaping.items)
    result["_meta"] = kept
    if shaping.bytes:
        check_size(len(msgspec.json.encode(result)), shaping)
    return result


def check_size(size: int, shaping: Shaping) -> None:
    """`Unreadable` where a result of this size may not leave."""
    if shaping.bytes and size > shaping.bytes:
        raise Unreadable(
            "result_too_large",
            f"the result has {size} bytes, and at most {shaping.bytes} may leave",
            "ask for less of it",
        )


def _parts(raw: bytes) -> tuple[dict[str, Any], list[Any]]:
    """A result that can be changed, and its content blocks."""
    try:
        result = _decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        result = None
    if not isinstance(result, dict):
        raise Unreadable("result_malformed", "the server's result has an unknown shape")
    if not result.keys() <= _KNOWN:
        # SECURITY: a value could leave in a member that the gateway does not know.
        raise Unreadable("result_unknown_member", "the result has members of unknown shape where it must be changed")
    blocks = result.get("content", [])
    if not isinstance(blocks, list):
        raise Unreadable("result_malformed", "the server's result has an unknown shape")
    return result, blocks


def _few(blocks: list[Any], most: int, structured: Any) -> list[Any]:
    """The blocks of a result that is a list itself, at most `most` of its elements.

    Servers send such a list as JSON in one block, or each element in a block of its own.
    """
    elements = structured.get(_WRAPPER) if isinstance(structured, dict) else structured
    lists = [block for block in blocks if _is_list(block)]
    if len(blocks) == 1 and lists:
        return [_shape_block(blocks[0], [], [([], most)])]
    # SECURITY: a block that is not one element may hold them all.
    told_apart = len(blocks) == len(elements) if isinstance(elements, list) else len(blocks) > 1
    if lists or not (told_apart or not blocks):
        raise Unreadable("result_not_json", "the elements of the result can't be told apart, and are limited")
    if not isinstance(elements, list):
        for block in blocks:
            _json_of(block)
    return blocks[:most]


def _is_list(block: Any) -> bool:
    try:
        value = _json_of(block)
    except Unreadable:
        return False
    return isinstance(value, list) or (isinstance(value, dict) and isinstance(value.get(_WRAPPER), list))


def _json_of(block: Any) -> Any:
    text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
    if not isinstance(text, str):
        raise Unreadable("result_not_json", "a part of the result is not JSON, where it must be changed")
    try:
        return _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable("result_not_json", "a text of the result is not JSON, where it must be changed") from None


def _shape_block(block: Any, steps: list[list[str]], limits: list[tuple[list[str], int]]) -> dict[str, Any]:
    value = _json_of(block)
    if not (isinstance(value, dict) and _WRAPPER in value):
        # SECURITY: a text may hold the elements of what the structured content wraps, with fields of that name in them.
        for path, most in limits:
            value = _cut_found(value, path, most)
        steps = steps + [_unwrapped(path) for path in steps if path[:1] == [_WRAPPER]]
        limits = [(_unwrapped(path), most) for path, most in limits]
    # SECURITY: written anew even when no field was there: of two equal keys the text could keep the hidden one.
    return {**block, "text": msgspec.json.encode(_limited(_without(value, steps), limits)).decode()}


def _unwrapped(path: list[str]) -> list[str]:
    return path[1:] if path[:1] == [_WRAPPER] else path


def _without(value: Any, steps: list[list[str]]) -> Any:
    if not steps:
        return value
    if not isinstance(value, dict | list):
        # SECURITY: a bare scalar may be the very value; it has no path that says so.
        raise Unreadable("result_not_json", "a part of the result is a bare value, where fields must be redacted")
    for path in steps:
        if not path:
            raise Unreadable("result_not_json", "a part of the result is the value that must be redacted")
        _remove(value, path)
        if isinstance(value, dict) and _WRAPPER in value:
            _remove(value[_WRAPPER], path)
    return value


def _limited(value: Any, limits: list[tuple[list[str], int]]) -> Any:
    """`value` with at most so many elements in the lists at these paths; the path without steps is `value` itself."""
    for path, most in limits:
        wrapped = isinstance(value, dict) and isinstance(value.get(_WRAPPER), dict | list)
        if path and not isinstance(value, dict | list):
            raise Unreadable("result_not_json", "a part of the result is a bare value, where lists are limited")
        if wrapped and path[:1] != [_WRAPPER]:
            value[_WRAPPER] = _cut(value[_WRAPPER], path, most)
        if path or not wrapped:
            value = _cut(value, path, most)
    return value


def _cut(value: Any, path: list[str], most: int) -> Any:
    if value is None:
        return None
    if not path:
        if not isinstance(value, list):
            raise Unreadable("result_not_json", "no list stands where the result's elements are limited")
        return value[:most]
    if isinstance(value, list):
        return [_cut(item, path, most) for item in value]
    if not isinstance(value, dict):
        raise Unreadable("result_not_json", "a value stands where an object with a limited list was expected")
    if path[0] in value:
        value[path[0]] = _cut(value[path[0]], path[1:], most)
    return value


def _cut_found(value: Any, path: list[str], most: int) -> Any:
    """`value` with at most so many elements in the lists that stand at the path, whatever else stands there."""
    if isinstance(value, list):
        return [_cut_found(item, path, most) for item in value] if path else value[:most]
    if path and isinstance(value, dict) and path[0] in value:
        value[path[0]] = _cut_found(value[path[0]], path[1:], most)
    return value


def _remove(value: Any, path: list[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _remove(item, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) > 1:
            _remove(_container(value[path[0]]), path[1:])
        elif isinstance(value[path[0]], str):
            value[path[0]] = REDACTED
        else:
            del value[path[0]]


def _container(value: Any) -> Any:
    if value is None or isinstance(value, dict | list):
        return value
    # SECURITY: where an object was named there is text or a number, and the value may be in it.
    raise Unreadable("result_not_json", "a value stands where an object with a redacted field was expected")


def _documents(result: CallResult) -> Iterable[Any]:
    structured = bytes(result.structuredContent)
    if structured:
        yield from _parsed(structured)
    try:
        blocks = _decode(result.content) if bytes(result.content) else []
    except (msgspec.MsgspecError, RecursionError):
        return
    for block in blocks if isinstance(blocks, list) else []:
        text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
        if isinstance(text, str) and text.lstrip()[:1] == "{":
            yield from _parsed(text)


def _parsed(data: bytes | str) -> Iterable[Any]:
    try:
        yield _decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return


def _lookup(root: Mapping[str, Any], steps: list[str]) -> tuple[bool, Any]:
    found, value = _walk(root, steps)
    if not found and isinstance(root.get("result"), dict):
        return _walk(root["result"], steps)
    return found, value


def _walk(value: Any, steps: list[str]) -> tuple[bool, Any]:
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return False, None
        value = value[step]
    return True, value
