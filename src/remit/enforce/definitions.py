"""The tools as the server declares them: the digests that decisions quote, and the list of what could be permitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from remit.catalogue.definitions import definition_digest
from remit.core import bounds
from remit.core.decisions import Reason
from remit.core.errors import InvalidInput
from remit.enforce.frames import Message, assemble

UNLISTED: Final = "unlisted"
"""The definition quoted for a tool that the server does not list: equal to no digest, so never permitted."""

_CACHE_PRIVATE: Final = msgspec.Raw(b'"private"')


class Tool(msgspec.Struct, frozen=True):
    """One tool as last seen: the digest of its definition, and its arguments by their folded names."""

    digest: str
    arguments: frozenset[str] = frozenset()
    folded: frozenset[str] = frozenset()


class Page(msgspec.Struct, frozen=True):
    """One page of tools/list: its members, the bytes and digest of each tool with a usable definition."""

    members: dict[str, msgspec.Raw]
    tools: tuple[tuple[str, msgspec.Raw], ...]
    seen: Mapping[str, Tool]
    cursor: str
    dropped: int  # definitions that can't be used: no name, or two of one name that differ


class _Listed(msgspec.Struct):
    tools: list[msgspec.Raw]
    nextCursor: str | None = None  # noqa: N815 - the wire's name


def read_page(answer: Message) -> Page:
    """The page of tools in an answer; an `InvalidInput` when it is not one."""
    try:
        result = answer.part("result")
        members = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
        listed = msgspec.json.decode(result, type=_Listed)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidInput("list_malformed", "the server's list of tools has an unknown shape") from None
    tools: list[tuple[str, msgspec.Raw]] = []
    seen: dict[str, Tool] = {}
    twice: set[str] = set()
    for raw in listed.tools:
        name, tool = _tool(raw)
        if not name or tool is None:
            continue
        if name in seen and seen[name].digest != tool.digest:
            twice.add(name)
        seen[name] = tool
        tools.append((name, raw))
    # SECURITY: of two definitions under one name the client sees one and the pin covers the other; both go.
    kept = tuple(item for item in tools if item[0] not in twice)
    for name in twice:
        seen[name] = Tool(UNLISTED)
    return Page(members, kept, seen, listed.nextCursor or "", len(listed.tools) - len(kept))


def filtered(answer: Message, page: Page, verdicts: Mapping[str, Reason | None]) -> bytes:
    """The answer with the tools that the task could be permitted to call, as it came when that is all of them."""
    # SECURITY: a tool without a verdict is not listed.
    kept = [raw for name, raw in page.tools if verdicts.get(name, _NO_VERDICT) is None]
    if len(kept) == len(page.tools) and not page.dropped:
        return answer.frame()
    members: dict[str, Any] = dict(page.members)
    members["tools"] = b"[" + b",".join(bytes(raw) for raw in kept) + b"]"
    if "cacheScope" in members:
        members["cacheScope"] = _CACHE_PRIVATE  # what one task may see is not for another
    return assemble({**answer.members, "result": assemble(members).strip()})


def usable_name(name: str) -> bool:
    """Whether a tool of this name can have an action: not empty, bounded, and no MCP method's action."""
    # SECURITY: a tool named `mcp:resources/read` would be decided as that method.
    return 0 < len(name.encode(errors="replace")) <= bounds.NAME_BYTES and not name.startswith("mcp:")


def _tool(raw: msgspec.Raw) -> tuple[str, Tool | None]:
    try:
        definition = msgspec.json.decode(raw)
        name = definition["name"]
        if not isinstance(name, str) or not usable_name(name):
            return "", None
        arguments = _arguments(definition.get("inputSchema"))
        return name, Tool(definition_digest(definition), arguments, frozenset(map(str.casefold, arguments)))
    except (msgspec.MsgspecError, InvalidInput, RecursionError, KeyError, TypeError, AttributeError):
        return "", None


def _arguments(schema: Any) -> frozenset[str]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else frozenset()


_NO_VERDICT: Final = Reason(code="not_listed", message="no verdict")
