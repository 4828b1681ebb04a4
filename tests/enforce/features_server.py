"""A server that uses every main feature of the protocol, built with the official SDK."""

from __future__ import annotations

import sys
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import Completion
from pydantic import BaseModel

server = MCPServer("features", instructions="Try them all.")


class Name(BaseModel):
    name: str


class Weather(BaseModel):
    city: str
    degrees: float
    email: str


async def ask_name() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


@server.tool()
async def echo(text: str) -> str:
    """Echoes the text."""
    return text


@server.tool(title="Weather")
async def weather(city: str) -> Weather:
    """The weather, structured."""
    return Weather(city=city, degrees=21.50, email="a@b.c")


@server.tool()
async def fail() -> str:
    """Always fails."""
    raise ValueError("it failed")


@server.tool()
async def greet(name: Annotated[Name, Resolve(ask_name)]) -> str:
    """Asks for a name first."""
    return f"hello {name.name}"


@server.tool()
async def slow(ctx: Context, steps: int) -> str:
    """Reports progress."""
    for step in range(steps):
        await ctx.report_progress(step, steps, f"step {step}")
    return "done"


@server.resource("config://main", mime_type="application/json")
def config() -> str:
    """The configuration."""
    return '{"a": 1}'


@server.resource("note://{name}")
def note(name: str) -> str:
    """A note."""
    return f"note {name}"


@server.prompt(title="Review")
def review(code: str) -> str:
    """Asks for a review."""
    return f"Review this: {code}"


@server.completion()  # type: ignore[no-untyped-call,untyped-decorator]
async def complete(ref: object, argument: object, context: object) -> Completion:
    return Completion(values=["python", "rust"], total=2, has_more=False)


if __name__ == "__main__":
    print("features server up", file=sys.stderr)
    server.run()
