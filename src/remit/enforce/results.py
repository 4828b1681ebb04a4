"""What a permitted call brought back: how it ended, the fields to remember, the fields that must not leave.

Paths are dotted ("invoice.account"). A path is looked up at the root of the structured content, and, where a server
wraps its value as `{"result": …}` (MCP SDKs do this for values that are not objects), under `result` too. Lists on
the way are walked for redaction, and end the walk for selection: a selected field has one value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from remit.core.errors import InvalidInput

URL_ELICITATION_REQUIRED: Final = -32042  # MCP 2025-11-25, client/elicitation
REDACTED: Final = "[redacted]"
REDACTED_META: Final = "remit/redacted"

_KNOWN: Final = frozenset({"content", "structuredContent", "isError", "resultType", "_meta"})
_PROTOCOL: Final = "io.modelcontextprotocol/"

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


def redact(raw: bytes, paths: tuple[str, ...]) -> dict[str, Any]:
    """The result without the values at `paths`, in structured content and in every text block.

    A string becomes `[redacted]`, so that it still fits the tool's output schema; any other value is removed. Raises
    `Unreadable` where a value could hide: a content block that is not JSON text, or JSON that is a bare scalar.
    """
    try:
        result = _decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        result = None
    if not isinstance(result, dict):
        raise Unreadable("result_malformed", "the server's result has an unknown shape")
    if not result.keys() <= _KNOWN:
        # SECURITY: a value could leave in a member that the gateway does not know.
        raise Unreadable("result_unknown_member", "the result has members of unknown shape where fields are redacted")
    steps = [path.split(".") for path in paths]
    if result.get("structuredContent") is not None:
        result["structuredContent"] = _without(result["structuredContent"], steps)
    blocks = result.get("content", [])
    if not isinstance(blocks, list):
        raise Unreadable("result_malformed", "the server's result has an unknown shape")
    result["content"] = [_redact_block(block, steps) for block in blocks]
    meta = result.get("_meta")
    kept = {k: v for k, v in meta.items() if k.startswith(_PROTOCOL)} if isinstance(meta, dict) else {}
    result["_meta"] = {**kept, REDACTED_META: list(paths)}
    return result


def _redact_block(block: Any, steps: list[list[str]]) -> dict[str, Any]:
    text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
    if not isinstance(text, str):
        raise Unreadable("result_not_json", "a part of the result is not JSON, where fields must be redacted")
    try:
        value = _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable("result_not_json", "a text of the result is not JSON, where fields must be redacted") from None
    # SECURITY: written anew even when no field was there: of two equal keys the text could keep the hidden one.
    return {**block, "text": msgspec.json.encode(_without(value, steps)).decode()}


def _without(value: Any, steps: list[list[str]]) -> Any:
    if not isinstance(value, dict | list):
        # SECURITY: a bare scalar may be the very value; it has no path that says so.
        raise Unreadable("result_not_json", "a part of the result is a bare value, where fields must be redacted")
    for path in steps:
        _remove(value, path)
        if isinstance(value, dict) and "result" in value:
            _remove(value["result"], path)
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
