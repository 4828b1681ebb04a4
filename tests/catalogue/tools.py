"""Tool definitions that tests build on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

VECTORS = Path(os.environ.get("REMIT_VECTORS", Path(__file__).parents[2].parent / "shared" / "vectors"))


def tool(name: str, description: str = "", /, *arguments: str, **rest: Any) -> dict[str, Any]:
    """A tool whose arguments are strings, or `name:type`."""
    pairs = [argument.partition(":") for argument in arguments]
    properties = {key: {"type": type_ or "string"} for key, _, type_ in pairs}
    schema = {"type": "object", "properties": properties}
    return {"name": name, "description": description, "inputSchema": schema, **rest}


PAY: dict[str, Any] = {
    "name": "pay_invoice",
    "title": "Pay an invoice",
    "description": "Pays an invoice from the company's account.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "invoice": {"type": "string"},
            "amount": {"type": "number", "minimum": 0.01},
            "account": {"type": "string", "description": "IBAN"},
            "note": {"type": "string"},
        },
        "required": ["invoice", "amount", "account"],
        "additionalProperties": False,
    },
    "outputSchema": {
        "type": "object",
        "properties": {
            "payment": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "iban": {"type": "string"}},
                "required": ["id"],
            },
            "token_secret": {"type": "string"},
        },
    },
    "annotations": {"readOnlyHint": True},
}
READ: dict[str, Any] = tool("get_invoice", "Returns one invoice.", "invoice")
