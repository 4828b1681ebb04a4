"""Asks a real server for its tools: MCP over stdio, both eras of the protocol.

1. `server/discover` with the envelope of revision 2026-07-28, which has no handshake. A server that answers, or
   refuses the version in a way that only that era knows, is spoken to in that era.
2. Anything else, or silence, is a server of the handshake era: `initialize` with 2025-11-25, then the version that
   the server answers, then `notifications/initialized`. A server that ended over the question is started again.
3. `tools/list`, page by page, until there is no cursor; a cursor that comes twice, too many pages, tools or bytes,
   or the end of the time given, ends the import with an error.

(MCP 2026-07-28, basic/versioning and basic/transports/stdio, "Backward compatibility"; 2025-11-25, basic/lifecycle.)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from remit.catalogue.child import Child, RpcError
from remit.core import bounds
from remit.core.errors import InvalidInput, TooLarge, Unavailable

MODERN: Final = ("2026-07-28",)
HANDSHAKE: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the first one is asked for
UNSUPPORTED_VERSION: Final = -32022
_PROBE_SECONDS: Final = 5.0
_CLIENT: Final = {"name": "remit", "title": "Remit", "version": "1"}


async def import_server(
    command: Sequence[str], name: str, seconds: float = 30.0, *, environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The tools that the server started by `command` lists, as it declares them; they are not checked yet.

    `name` stands in errors; `seconds` is for everything together. The server gets this process's environment, but
    for what begins with `REMIT_`, unless `environment` is given. Raises a `RemitError` (`server_not_started`,
    `server_ended`, `server_silent`, `server_refused`, `listing_invalid`, `listing_too_large`).
    """
    given = os.environ if environment is None else environment
    # SECURITY: a task's handle is not for a server to read.
    kept = {key: value for key, value in given.items() if not key.startswith("REMIT_")}
    try:
        async with asyncio.timeout(seconds):
            return await _import(tuple(command), kept, min(_PROBE_SECONDS, seconds / 3))
    except TimeoutError:
        raise Unavailable(
            "server_silent",
            f"the server `{name}` did not list its tools within {seconds:g} seconds",
            "run its command by itself to see what it waits for, or give it more time",
        ) from None
    except RpcError as error:
        raise InvalidInput(
            "server_refused",
            f"the server `{name}` refused to list its tools: {error.message} ({error.code})",
            "it may need credentials in its environment",
        ) from None


async def _import(
    command: tuple[str, ...], environment: Mapping[str, str], probe_seconds: float
) -> list[dict[str, Any]]:
    try:
        async with Child(command, environment) as child:
            return await _tools(child, await _open(child, probe_seconds))
    except _EndedOverProbe:
        async with Child(command, environment) as child:
            await _handshake(child)
            return await _tools(child, "")


class _EndedOverProbe(Exception):
    """The server ended when it was asked a question that its era doesn't know."""


async def _open(child: Child, probe_seconds: float) -> str:
    """Settles the era: the modern version to speak, or the empty string after a handshake."""
    version = MODERN[0]
    try:
        async with asyncio.timeout(probe_seconds):
            result = await child.request("server/discover", {"_meta": _envelope(version)}, answers=False)
        return _mutual(result.get("supportedVersions")) or await _handshake(child)
    except TimeoutError:
        return await _handshake(child)
    except RpcError as error:
        if error.code == UNSUPPORTED_VERSION and not _supported(error) & set(HANDSHAKE):
            return _agreed(error)
        return await _handshake(child)
    except InvalidInput:
        return await _handshake(child)
    except Unavailable:
        raise _EndedOverProbe from None


async def _handshake(child: Child) -> str:
    """`initialize`; the empty string, or the version of a server that turns out to be modern after all."""
    try:
        result = await child.request(
            "initialize", {"protocolVersion": HANDSHAKE[0], "capabilities": {}, "clientInfo": _CLIENT}
        )
    except RpcError as error:
        # A slow server may have taken the question before this, and is modern since.
        if error.code == UNSUPPORTED_VERSION:
            return _agreed(error)
        raise
    version = result.get("protocolVersion")
    if version not in HANDSHAKE:
        raise InvalidInput(
            "server_refused",
            f"the server speaks version `{version if _is_version(version) else '?'}` of MCP, which Remit doesn't know",
            f"Remit knows {', '.join((*MODERN, *HANDSHAKE))}",
        )
    await child.notify("notifications/initialized")
    return ""


async def _tools(child: Child, version: str) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(bounds.TOOL_PAGES):
        params: dict[str, Any] = {"cursor": cursor} if cursor is not None else {}
        if version:
            params["_meta"] = _envelope(version)
        page = await child.request("tools/list", params, answers=not version)
        listed, cursor = page.get("tools"), page.get("nextCursor")
        if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
            raise InvalidInput("listing_invalid", "the server's list of tools is not a list of objects")
        tools += listed
        if len(tools) > bounds.TOOLS_PER_SERVER:
            raise TooLarge("listing_too_large", f"the server lists more than {bounds.TOOLS_PER_SERVER} tools")
        if cursor is None or cursor == "":
            return tools
        if not isinstance(cursor, str) or cursor in seen:
            raise InvalidInput("listing_invalid", "the server's list of tools leads back to a page already read")
        seen.add(cursor)
    raise TooLarge("listing_too_large", f"the server's list of tools has more than {bounds.TOOL_PAGES} pages")


def _agreed(error: RpcError) -> str:
    supported = _supported(error)
    version = _mutual(sorted(supported))
    if version:
        return version
    raise InvalidInput(
        "server_refused",
        f"the server speaks only versions of MCP that Remit doesn't know: {', '.join(sorted(supported)) or 'none'}",
        f"Remit knows {', '.join((*MODERN, *HANDSHAKE))}",
    )


def _supported(error: RpcError) -> set[str]:
    listed = error.data.get("supported") if isinstance(error.data, dict) else None
    return {version for version in listed[:20] if _is_version(version)} if isinstance(listed, list) else set()


def _is_version(version: Any) -> bool:
    return isinstance(version, str) and len(version) <= 40 and version.isascii() and version.isprintable()


def _mutual(supported: Any) -> str:
    return next((version for version in MODERN if isinstance(supported, list) and version in supported), "")


def _envelope(version: str) -> dict[str, Any]:
    """What every request of revision 2026-07-28 says of itself (basic/index, "_meta")."""
    return {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": _CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
