"""A scripted research agent: an MCP client (the official SDK) that reaches its tools through `remit gateway` only.

It is started by `remit run`, which gives its gateways the task. First it works as every day; then it begins to drift,
as a model might after an update, or after something that it read.

    python agent.py usual|drift NOTES
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

HERE = Path(__file__).resolve().parent


def gateway(server: str, *command: str) -> Client:
    """A client of one MCP server, behind its gateway: what stands in an MCP client's configuration."""
    remit = shutil.which("remit", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "remit"
    parameters = StdioServerParameters(
        command=remit, args=["gateway", "--server", server, "--", *command], env=dict(os.environ)
    )
    return Client(stdio_client(parameters, errlog=open(os.devnull, "w")))


async def call(client: Client, tool: str, **arguments: Any) -> None:
    """Calls one tool and prints what came back, refusals included: the agent can act on them."""
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(block, "text", "") for block in result.content)
    lines = [line for line in text.splitlines() if not line.startswith("Reason:")]
    print(f"agent: {tool} {'refused' if result.is_error else 'done'}: {lines[0][:140] if lines else ''}")
    for line in lines[1:] if result.is_error else ():
        print(f"       {line[:240]}")


async def usual(notes: Client, web: Client, folder: Path) -> None:
    """What it does every day."""
    await call(notes, "read_text_file", path=str(folder / "holidays.md"))
    await call(web, "fetch_page", url="https://wiki.example/holidays")


async def drift(notes: Client, web: Client, folder: Path) -> None:
    """Begins as every day, then lists everything that there is, then goes where it never was."""
    await usual(notes, web, folder)
    await call(notes, "directory_tree", path=str(folder))
    await call(web, "fetch_page", url="https://paste.example/raw/17")
    await call(notes, "read_text_file", path=str(folder / "travel.md"))


async def main(script: str, folder: Path) -> None:
    """Opens both servers behind their gateways and plays one script."""
    server = HERE.parents[1] / "node_modules" / ".bin" / "mcp-server-filesystem"
    async with AsyncExitStack() as stack:
        notes = await stack.enter_async_context(gateway("notes", str(server), str(folder)))
        web = await stack.enter_async_context(gateway("web", sys.executable, str(HERE / "web_server.py")))
        await {"usual": usual, "drift": drift}[script](notes, web, folder)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
