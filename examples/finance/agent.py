"""A scripted finance agent: an MCP client (the official SDK) that reaches its tools through `remit gateway` only.

It is started by `remit run`, which gives its gateways the task. It does what a document or a mistake might make a
real agent do: the third-party file server and the payments server answer it, or Remit refuses.

    python agent.py question|payment INVOICES INVOICE
"""

from __future__ import annotations

import asyncio
import json
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


async def call(client: Client, tool: str, **arguments: Any) -> str:
    """Calls one tool and returns its text, refusals included: the agent can act on them."""
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(block, "text", "") for block in result.content)
    print(f"agent: {tool} {'refused' if result.is_error else 'done'}: {text.splitlines()[0][:150] if text else ''}")
    return text


async def question(files: Client, payments: Client, invoices: Path, name: str) -> None:
    """Answers a question about an invoice; then follows the document that tells it to pay."""
    await call(files, "list_directory", path=str(invoices))
    invoice = json.loads(await call(files, "read_text_file", path=str(invoices / f"{name}.json")))
    await call(payments, "pay_invoice", invoice=name, account=invoice["account"], amount=float(invoice["amount"]))


async def payment(files: Client, payments: Client, invoices: Path, name: str) -> None:
    """Pays an approved invoice, and tries what it must not."""
    file = str(invoices / f"{name}.json")
    invoice = json.loads((invoices / f"{name}.json").read_text("utf-8"))
    account, amount = invoice["account"], float(invoice["amount"])
    await call(payments, "pay_invoice", invoice=name, account=account, amount=amount)  # before reading it
    await call(files, "read_text_file", path=file)
    await call(payments, "pay_invoice", invoice=name, account="GB33BUKB20201555555555", amount=amount)
    await call(payments, "pay_invoice", invoice=name, account=account, amount=amount * 10)
    await call(payments, "pay_invoice", invoice="INV-2042", account=account, amount=amount)
    await call(payments, "pay_invoice", invoice=name, account=account, amount=amount)
    await call(payments, "pay_invoice", invoice=name, account=account, amount=amount)  # a second time
    await call(payments, "payment_status", invoice=name)


async def main(script: str, invoices: Path, name: str) -> None:
    """Opens both servers behind their gateways and plays one script."""
    server = HERE.parents[1] / "node_modules" / ".bin" / "mcp-server-filesystem"
    async with AsyncExitStack() as stack:
        files = await stack.enter_async_context(gateway("files", str(server), str(invoices)))
        payments = await stack.enter_async_context(
            gateway("payments", sys.executable, str(HERE / "payments_server.py"))
        )
        await {"question": question, "payment": payment}[script](files, payments, invoices, name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
