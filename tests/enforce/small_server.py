"""A small real MCP server: one tool that reads, one that shows its environment, one that deletes."""

from __future__ import annotations

import os

from mcp.server import MCPServer

server = MCPServer("small")


@server.tool()
async def echo(text: str) -> str:
    """Read the text back."""
    return text


@server.tool()
async def environment() -> str:
    """Read the names of the environment's variables."""
    return " ".join(os.environ)


@server.tool()
async def drop(table: str) -> str:
    """Delete a table."""
    return f"dropped {table}"


if __name__ == "__main__":
    server.run()
