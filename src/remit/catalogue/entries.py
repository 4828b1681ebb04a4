"""One tool's entry in `catalogue/<server>.yaml`, as it is written and read."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from remit.catalogue.definitions import Definition, definition_digest
from remit.core.actions import Action, Field
from remit.core.effects import Effect

FIELD_TYPES: Final = ("string", "integer", "decimal", "boolean")


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who reviewed an entry, and when (RFC 3339, UTC)."""

    by: str
    at: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says of one tool: what Remit guessed or a person stated, then what the server declares.

    The definition stands in the file whole, so that policies are typed without the server, and the pin is checked
    against it whenever the file is loaded. Schemas are JSON objects here; the file holds them as JSON text.
    """

    effect: Effect
    selectors: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    trusted: bool = False
    personal: tuple[str, ...] = ()
    select: dict[str, str] = {}  # result field: string, integer, decimal or boolean
    redact: tuple[str, ...] = ()
    destination: str = ""
    why: dict[str, str] = {}
    reviewed: bool | Review = False
    pin: str = ""  # empty only for an action that is no MCP tool
    title: str = ""
    description: str = ""
    annotations: dict[str, Any] = {}
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] | None = None


def entry_of(definition: Definition, **stated: Any) -> Entry:
    """An unreviewed entry of a tool, pinned to its definition."""
    return Entry(
        pin=definition_digest(definition),
        title=definition.title,
        description=definition.description,
        annotations=definition.annotations,
        input_schema=definition.input_schema,
        output_schema=definition.output_schema,
        **stated,
    )


def definition_of(name: str, entry: Entry) -> Definition:
    """The definition that an entry holds."""
    return Definition(
        name=name,
        title=entry.title,
        description=entry.description,
        annotations=entry.annotations,
        input_schema=entry.input_schema,
        output_schema=entry.output_schema,
    )


def action_of(server: str, name: str, entry: Entry) -> Action:
    """The action that decisions are made about. An argument that stands in no list counts as a selector."""
    properties = entry.input_schema.get("properties")
    named = tuple(properties) if isinstance(properties, dict) else ()
    unlisted = tuple(argument for argument in named if argument not in (*entry.selectors, *entry.content))
    return Action(
        name=f"{server}/{name}",
        server=server,
        tool=name,
        effect=entry.effect,
        pin=entry.pin,
        description=entry.description,
        input_schema=entry.input_schema,
        selectors=(*entry.selectors, *unlisted),
        content=entry.content,
        personal=entry.personal,
        labels=entry.labels,
        trusted=entry.trusted,
        select=tuple(Field(path=path, type=type_) for path, type_ in entry.select.items()),
        redact=entry.redact,
        destination=entry.destination,
        reviewed=entry.reviewed is not False,
        reasons=entry.why,
    )
