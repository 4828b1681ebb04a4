"""A small MCP server over stdio that behaves as its first argument says; no SDK, so that it can misbehave."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

TOOLS = [{"name": f"tool_{i}", "inputSchema": {"type": "object"}} for i in range(5)]
MODERN = "2026-07-28"


def write(message: Any) -> None:
    sys.stdout.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    sys.stdout.flush()


def result(request: dict[str, Any], value: Any) -> None:
    write({"jsonrpc": "2.0", "id": request["id"], "result": value})


def error(request: dict[str, Any], code: int, data: Any = None) -> None:
    write({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": "no\x1b[31m", "data": data}})


def page(request: dict[str, Any], mode: str) -> Any:
    cursor = request.get("params", {}).get("cursor")
    if mode == "pages":
        at = int(cursor or 0)
        following = {"nextCursor": str(at + 2)} if at + 2 < len(TOOLS) else {}
        return {"tools": TOOLS[at : at + 2], **following}
    if mode == "loop":
        return {"tools": TOOLS[:1], "nextCursor": "again"}
    if mode == "endless":
        return {"tools": [], "nextCursor": str(int(cursor or 0) + 1)}
    if mode == "crowd":
        return {"tools": TOOLS * 100, "nextCursor": str(int(cursor or 0) + 1)}
    if mode == "nonsense":
        return {"tools": {"a": 1}}
    if mode == "environment":
        return {"tools": [{"name": name} for name in os.environ]}
    return {"tools": TOOLS}


def serve(mode: str) -> None:
    shaken = False
    for line in sys.stdin:
        request = json.loads(line)
        method = request.get("method", "")
        modern = "io.modelcontextprotocol/protocolVersion" in request.get("params", {}).get("_meta", {})
        if method == "server/discover":
            if mode in ("modern", "pages"):
                result(request, {"resultType": "complete", "supportedVersions": [MODERN], "capabilities": {}})
            elif mode == "newer":
                error(request, -32022, {"supported": ["2031-01-01"], "requested": MODERN})
            elif mode == "names both":
                error(request, -32022, {"supported": ["2031-01-01", "2025-11-25"], "requested": MODERN})
            elif mode == "advertises":
                result(request, {"supportedVersions": ["2025-11-25"], "capabilities": {}})
            elif mode == "dies":
                sys.exit(3)
            elif mode not in ("silent", "late"):
                error(request, -32601)
        elif method == "initialize":
            if mode == "late":
                error(request, -32022, {"supported": [MODERN]})
                continue
            version = {"old": "2024-11-05", "alien": "1999-01-01"}.get(mode, request["params"]["protocolVersion"])
            result(request, {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "s"}})
        elif method == "notifications/initialized":
            shaken = True
        elif method == "tools/list":
            if not shaken and not modern:
                error(request, -32600)
                continue
            if mode == "chatty":
                write("Listening on stdio, but this is no JSON")
                write('{"jsonrpc": "2.0", "id": 1, "id": 2, "result": {"tools": []}}')
                write([{"jsonrpc": "2.0"}])
                write({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
                write({"jsonrpc": "2.0", "id": "mine", "method": "roots/list"})
                write({"jsonrpc": "2.0", "id": request["id"] + 7, "result": {"tools": []}})
                if json.loads(sys.stdin.readline())["error"]["code"] != -32601:
                    sys.exit(4)
            if mode == "flood":
                write('"' + "x" * (17 * 1024 * 1024) + '"')
            if mode == "hang":
                time.sleep(60)
            if mode == "crash":
                sys.stderr.write("no credentials\x1b[2J\n")
                sys.exit(5)
            if mode == "refuse":
                error(request, -32000)
                continue
            result(request, page(request, mode))


if __name__ == "__main__":
    serve(sys.argv[1])
