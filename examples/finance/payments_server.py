"""A fake payments server (MCP over stdio, made with the official SDK): it pays nobody and remembers for one run."""

from __future__ import annotations

from typing import TypedDict

from mcp.server import MCPServer

server = MCPServer("payments")
PAID: dict[str, str] = {}


class Payment(TypedDict):
    """One payment, as the bank would confirm it."""

    invoice: str
    account: str
    amount: str
    reference: str


@server.tool()
def pay_invoice(invoice: str, account: str, amount: float) -> Payment:
    """Pay an invoice: transfers the amount in EUR to the supplier's account. A payment can't be taken back."""
    PAID[invoice] = f"{amount:.2f}"
    return Payment(invoice=invoice, account=account, amount=f"{amount:.2f}", reference=f"PAY-{len(PAID):04d}")


@server.tool()
def payment_status(invoice: str) -> str:
    """Read whether an invoice was paid in this run."""
    return f"paid {PAID[invoice]}" if invoice in PAID else "not paid"


if __name__ == "__main__":
    server.run()
