"""Any bytes from either side: the gateway never fails, and no tools/call passes that was not permitted as it passes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from remit.enforce.frames import FrameReader
from remit.enforce.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS, SERVER_REQUESTS

from .fake import Rules
from .stage import Stage

RULES = Rules(deny=("s/pay", "s/mcp:resources/read"), redact={"s/read": ("email",)}, select={"s/read": ("a.b",)})

_ids: st.SearchStrategy[Any] = st.sampled_from([1, 2, "1", "a", 1.0, None, True, -1, {}, "remit-1"])
_scalars = st.none() | st.booleans() | st.integers(-3, 2**65) | st.floats() | st.text(max_size=5)
_keys = st.sampled_from(
    [
        "name",
        "Name",
        "arguments",
        "Arguments",
        "_meta",
        "task",
        "requestState",
        "inputResponses",
        "amount",
        "Amount",
        "requestId",
        "progressToken",
        "content",
        "structuredContent",
        "isError",
        "resultType",
        "tools",
        "nextCursor",
        "inputRequests",
        "uri",
        "notifications",
        "resourceSubscriptions",
        "email",
        "text",
        "type",
    ]
)
_values = st.recursive(
    _scalars | st.sampled_from(["pay", "read", "hidden", "text", "input_required", "complete", '{"email":"x"}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=8,
)
_calls = st.builds(
    lambda name, arguments, more: {"name": name, "arguments": arguments, **more},
    st.sampled_from(["pay", "read", "hidden", "mcp:resources/read"]),
    st.dictionaries(_keys, _scalars, max_size=2),
    st.dictionaries(_keys, _values, max_size=1),
)
_methods = st.sampled_from([*CLIENT_REQUESTS, *SERVER_REQUESTS, *CLIENT_NOTIFICATIONS, "tasks/get", "x", "", 5])


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """One message whose members may stand twice, be missing, or differ in case."""
    members: list[tuple[str, Any]] = [("jsonrpc", "2.0")]
    names = draw(st.lists(st.sampled_from(["id", "method", "params", "result", "error", "Method", "x"]), max_size=5))
    for name in draw(st.permutations(["id", "method", "params"])) if draw(st.booleans()) else names:
        if name in ("id", "ID"):
            members.append((name, draw(_ids)))
        elif name in ("method", "Method"):
            members.append((name, draw(st.just("tools/call") | _methods)))
        elif name == "params":
            members.append((name, draw(_calls | _values)))
        else:
            members.append((name, draw(_values)))
    body = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members)
    space = draw(st.sampled_from(["", " ", "\r", "\t"]))
    return ("{" + space + body + "}").encode()


_frames = _messages() | st.binary(max_size=60) | st.builds(lambda m: b"[" + m + b"]", _messages())
_script = st.lists(st.tuples(st.booleans(), _frames), max_size=12)


@settings(max_examples=200, deadline=None)
@given(_script)
def test_attack_any_frames_from_both_sides(script: list[tuple[bool, bytes]]) -> None:
    stage = asyncio.run(_play(script))
    permitted = [(action, _fold(arguments)) for action, arguments, _ in stage.decider.asked]
    for frame in stage.raw_to_server:
        for message in _readings(frame):
            if message.get("method") == "tools/call":
                params = message.get("params") or {}
                action = f"s/{params['name']}"
                assert action == "s/read", frame
                assert (action, _fold(params.get("arguments") or {})) in permitted, frame
            assert message.get("method") != "resources/read", frame
    for frame in (*stage.raw_to_client, *stage.raw_to_server):
        assert frame.endswith(b"\n")
        assert frame.count(b"\n") == 1
        json.loads(frame)
    assert not any("fault" in line for line in stage.log), stage.log


async def _play(script: list[tuple[bool, bytes]]) -> Stage:
    stage = Stage(RULES, hang=0.5)
    readers = {True: FrameReader(), False: FrameReader()}
    for from_client, data in script:
        side = stage.relay.client if from_client else stage.relay.server
        for frame in readers[from_client].feed(data + b"\n"):
            stage.relay.receive(side, frame)
        await asyncio.sleep(0)
    await stage.settle()
    await stage.close()
    return stage


def _readings(frame: bytes) -> list[dict[str, Any]]:
    """The frame as different readers take it: the last or first of equal keys, keys without case, lines at CR."""

    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(reversed(pairs))

    def folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key.casefold() if key.casefold() in _FOLDED else key: value for key, value in pairs}

    readings = [json.loads(frame), json.loads(frame, object_pairs_hook=first)]
    readings.append(json.loads(frame, object_pairs_hook=folded))
    for line in frame.split(b"\r"):
        try:
            readings.append(json.loads(line))
        except ValueError:
            continue
    return [reading for reading in readings if isinstance(reading, dict)]


def _fold(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.casefold(): _fold(item) for key, item in value.items()}
    return [_fold(item) for item in value] if isinstance(value, list) else value


_FOLDED = {"method", "params", "name", "arguments", "amount", "id"}
