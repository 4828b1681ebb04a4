"""A small real MCP server: customers, with what must not leave, and more of them than should."""

from __future__ import annotations

from mcp.server import MCPServer
from pydantic import BaseModel

server = MCPServer("customers")


class Customer(BaseModel):
    name: str
    email: str


class Page(BaseModel):
    customers: list[Customer]
    total: int


@server.tool()
async def list_customers(region: str) -> Page:
    """Read the customers of a region."""
    found = [Customer(name=f"{region}-{number}", email=f"c{number}@example.org") for number in range(9)]
    return Page(customers=found, total=9)


@server.tool()
async def names(region: str) -> list[str]:
    """Read the names of the customers of a region."""
    return [f"{region}-{number}" for number in range(9)]


if __name__ == "__main__":
    server.run()
