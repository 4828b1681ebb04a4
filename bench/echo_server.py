"""A tiny MCP server over stdio (the official SDK): one tool that gives back what it is given."""

from mcp.server import MCPServer

server = MCPServer("echo")


@server.tool()
async def echo(text: str) -> str:
    """Read back the text."""
    return text


if __name__ == "__main__":
    server.run()
