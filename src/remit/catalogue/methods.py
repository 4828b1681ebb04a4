"""MCP methods other than `tools/call` that are decided: they are actions of every server, with no pin."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from remit.core.actions import Action
from remit.core.effects import Effect

PREFIX: Final = "mcp:"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_OBJECT: Final[dict[str, Any]] = {"type": "object"}


class Method(NamedTuple):
    """One method: what it does, and those of its parameters that policies may read."""

    name: str
    effect: Effect
    because: str
    selectors: tuple[str, ...]
    content: tuple[str, ...]
    properties: dict[str, Any]


METHODS: Final[tuple[Method, ...]] = (
    Method("resources/read", "read", "reads what the server offers at an address", ("uri",), (), {"uri": _TEXT}),
    Method("resources/subscribe", "read", "is told when a resource changes", ("uri",), (), {"uri": _TEXT}),
    Method("subscriptions/listen", "read", "is told of changes (MCP 2026-07-28)", (), (), {}),
    Method(
        "prompts/get",
        "read",
        "reads a prompt that the server wrote",
        ("name",),
        ("arguments",),
        {"name": _TEXT, "arguments": _OBJECT},
    ),
    Method(
        "completion/complete",
        "read",
        "asks the server to complete an argument",
        ("ref",),
        ("argument",),
        {"ref": _OBJECT, "argument": _OBJECT},
    ),
    Method(
        "sampling/createMessage",
        "send",
        "the server asks the agent's model, and its answer goes to the server",
        (),
        ("systemPrompt",),
        {"systemPrompt": _TEXT, "includeContext": _TEXT, "maxTokens": {"type": "integer"}},
    ),
    Method(
        "elicitation/create",
        "send",
        "the server asks the person, whose answer goes to the server",
        ("mode", "url"),
        ("message",),
        {"mode": _TEXT, "url": _TEXT, "message": _TEXT},
    ),
)


def method_actions(server: str) -> tuple[Action, ...]:
    """The decided methods as actions `<server>/mcp:<method>`; their results are never trusted."""
    return tuple(_action(server, method) for method in METHODS)


def _action(server: str, method: Method) -> Action:
    tool = f"{PREFIX}{method.name}"
    return Action(
        name=f"{server}/{tool}",
        server=server,
        tool=tool,
        effect=method.effect,
        pin="",
        description=f"MCP `{method.name}`: {method.because}.",
        input_schema={"type": "object", "properties": method.properties},
        selectors=method.selectors,
        content=method.content,
        labels=("untrusted",) if method.effect == "read" else (),
        reviewed=True,
        reasons={"effect": method.because},
    )
