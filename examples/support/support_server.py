"""A fake support desk (MCP over stdio, made with the official SDK): customers that nobody has, for one run."""

from __future__ import annotations

from typing import TypedDict

from mcp.server import MCPServer

server = MCPServer("support")
CUSTOMERS: dict[str, dict[str, str]] = {
    "C-1": {"name": "Kim Example", "email": "kim@example.org", "code": "1111"},
    "C-2": {"name": "Robin Example", "email": "robin@example.org", "code": "2222"},
}
CASES: list[str] = []


class Case(TypedDict):
    """An opened case."""

    case: str
    customer: str


class Verification(TypedDict):
    """Whether the customer is who they say."""

    customer: str
    verified: bool


class Consent(TypedDict):
    """Whether the customer agrees that their data are handed out."""

    customer: str
    granted: bool


class Export(TypedDict):
    """All that is kept of a customer."""

    customer: str
    name: str
    email: str


@server.tool()
def read_customer(customer: str) -> str:
    """Read what is known of a customer."""
    found = CUSTOMERS[customer]
    return f"{found['name']} ({found['email']})"


@server.tool()
def open_case(customer: str) -> Case:
    """Open a case for a customer."""
    CASES.append(customer)
    return Case(case=f"CASE-{len(CASES):04d}", customer=customer)


@server.tool()
def verify_customer(customer: str, code: str) -> Verification:
    """Verify that somebody is the customer, by the code that was sent to the customer's address."""
    return Verification(customer=customer, verified=CUSTOMERS[customer]["code"] == code)


@server.tool()
def obtain_consent(customer: str) -> Consent:
    """Ask the customer, by mail, for consent to hand out their data; waits for the answer."""
    return Consent(customer=customer, granted=customer in CUSTOMERS)


@server.tool()
def export_customer(customer: str) -> Export:
    """Export all that is kept of a customer."""
    found = CUSTOMERS[customer]
    return Export(customer=customer, name=found["name"], email=found["email"])


if __name__ == "__main__":
    server.run()
