"""A scripted agent behind the real gateway: the official SDK client; prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, MCPError, StdioServerParameters, stdio_client


async def main(command: list[str], mode: str) -> None:
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    seen: dict[str, Any] = {}
    async with Client(stdio_client(parameters), mode=mode) as client:
        try:
            seen["tools"] = sorted(tool.name for tool in (await client.list_tools()).tools)
        except MCPError as error:
            seen["tools"] = error.error.message
        for name, tool, arguments in (
            ("echo", "echo", {"text": "hello"}),
            ("again", "echo", {"text": "hello"}),
            ("third", "echo", {"text": "hello"}),
            ("environment", "environment", {}),
            ("drop", "drop", {"table": "invoices"}),
        ):
            result = await client.call_tool(tool, arguments)
            seen[name] = [result.is_error, getattr(result.content[0], "text", "")]
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2:], sys.argv[1]))
