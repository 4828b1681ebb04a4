"""What the gateway does with each MCP method: the one table. A method that is not here does not pass.

`pass`: protocol plumbing, or a listing that carries no content. `ask`: decided as the action `<server>/mcp:<method>`
on its params. `tools/call`, `tools/list` and `subscriptions/listen` have rules of their own. Methods are those of MCP
2024-11-05 to 2026-07-28; `tasks/*` is not among them: a result fetched later would leave without its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

Rule = Literal["pass", "ask", "call", "list", "listen", "refuse"]

CLIENT_REQUESTS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "initialize": "pass",
        "server/discover": "pass",
        "ping": "pass",
        "logging/setLevel": "pass",
        "prompts/list": "pass",
        "resources/list": "pass",
        "resources/templates/list": "pass",
        "resources/unsubscribe": "pass",
        "tools/list": "list",
        "tools/call": "call",
        "prompts/get": "ask",
        "resources/read": "ask",
        "resources/subscribe": "ask",
        "completion/complete": "ask",
        "subscriptions/listen": "listen",  # its resource subscriptions are asked for as resources/subscribe
    }
)

SERVER_REQUESTS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "ping": "pass",
        "roots/list": "pass",
        "sampling/createMessage": "ask",
        "elicitation/create": "ask",
    }
)

CLIENT_NOTIFICATIONS: Final = frozenset(
    {
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)

SERVER_NOTIFICATIONS: Final = frozenset(
    {
        "notifications/cancelled",
        "notifications/progress",
        "notifications/message",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
        "notifications/elicitation/complete",
        "notifications/subscriptions/acknowledged",
    }
)

CONTINUED: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests that may be answered with `input_required` and sent again (MCP 2026-07-28, multi round-trip requests)."""


def method_action(server: str, method: str) -> str:
    """The action that decides a method other than tools/call."""
    return f"{server}/mcp:{method}"


def method_input(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a decided method is decided on: its params without the protocol's own metadata."""
    return {name: value for name, value in params.items() if name not in ("_meta", "inputResponses", "requestState")}
