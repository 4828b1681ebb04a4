"""The catalogue's types: what is known of each action, and how it came to be known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from remit.core.effects import Effect


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field of a result, by its dotted path, that the session keeps for later decisions."""

    path: str  # "invoice.account"; list elements are not addressed
    type: str = "string"  # string, integer, decimal, boolean


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one action, `<server>/<tool>`."""

    name: str  # "payments/pay_invoice"
    server: str
    tool: str
    effect: Effect
    pin: str  # SHA-256 of the canonical definition as the server declares it
    description: str = ""
    input_schema: dict[str, Any] = {}
    selectors: tuple[str, ...] = ()  # arguments that choose who, where, what, how much
    content: tuple[str, ...] = ()  # arguments that are payload
    personal: tuple[str, ...] = ()  # "input.email", "output.name": recorded as commitments
    labels: tuple[str, ...] = ()  # what its results carry
    trusted: bool = False  # whether its results can be trusted
    select: tuple[Field, ...] = ()  # result fields kept in the session
    redact: tuple[str, ...] = ()  # result fields removed before the result leaves the enforcement point
    destination: str = ""  # "input.url" (an argument), a fixed host, or "" for none
    reviewed: bool = False
    reasons: dict[str, str] = {}  # why each guess was made: {"effect": "…", "selectors.to": "…"}


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One governed server: its actions by tool name, and whether a pack covers unreviewed ones."""

    name: str
    actions: Mapping[str, Action]
    command: tuple[str, ...] = ()
    covers_unreviewed: bool = False
    self_enforced: bool = False  # the workload itself may ask for its own actions here; its outcomes are claimed
    output_schemas: Mapping[str, dict[str, Any]] = {}  # of the tools that declare one; a pin stands for it in digests


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """All servers by name, all actions by full name, and the digest that decisions quote."""

    servers: Mapping[str, Server]
    actions: Mapping[str, Action]
    digest: str
