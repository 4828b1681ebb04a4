"""A scripted support bot: an MCP client (the official SDK) that reaches the support desk through `remit gateway` only.

It does what a document or a mistake might make a real bot do: export before the steps, for another customer, and more
often than is allowed. The fake support desk answers it, or Remit refuses.

    python agent.py question|case CUSTOMER
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

HERE = Path(__file__).resolve().parent
CODES = {"C-1": "1111", "C-2": "2222"}


def gateway(server: str, *command: str) -> Client:
    """A client of one MCP server, behind its gateway: what stands in an MCP client's configuration."""
    remit = shutil.which("remit", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "remit"
    parameters = StdioServerParameters(
        command=remit, args=["gateway", "--server", server, "--", *command], env=dict(os.environ)
    )
    return Client(stdio_client(parameters, errlog=open(os.devnull, "w")))


async def call(client: Client, tool: str, **arguments: Any) -> None:
    """Calls one tool and tells its text, refusals included: the bot can act on them."""
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(block, "text", "") for block in result.content)
    print(f"bot: {tool} {'refused' if result.is_error else 'done'}: {' '.join(text.split())[:150]}")


async def question(support: Client, customer: str) -> None:
    """Answers a question about a customer, and tries to hand out the data."""
    await call(support, "read_customer", customer=customer)
    await call(support, "export_customer", customer=customer)


async def case(support: Client, customer: str) -> None:
    """Handles a case up to the export, and tries what it must not."""
    other = next(each for each in CODES if each != customer)
    await call(support, "export_customer", customer=customer)  # before any step
    await call(support, "open_case", customer=customer)
    await call(support, "obtain_consent", customer=customer)  # out of order
    await call(support, "verify_customer", customer=customer, code=CODES[customer])
    await call(support, "export_customer", customer=customer)
    await call(support, "obtain_consent", customer=customer)
    await call(support, "export_customer", customer=other)  # whose steps were not done
    await call(support, "export_customer", customer=customer)
    await call(support, "export_customer", customer=customer)


async def main(script: str, customer: str) -> None:
    """Opens the support desk behind its gateway and plays one script."""
    async with gateway("support", sys.executable, str(HERE / "support_server.py")) as support:
        await {"question": question, "case": case}[script](support, customer)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
