"""What a reload came to."""

from __future__ import annotations

import msgspec


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that decides from now on, and the one before it; field names are single words on the wire."""

    config: str  # the digest that decisions name from now on
    before: str  # the same when nothing that decides has changed
    changed: tuple[str, ...] = ()  # its parts: policies, intents, catalogue, settings, windows, entities
    restart: tuple[str, ...] = ()  # settings that have changed and need a restart
    notices: tuple[str, ...] = ()
    seconds: float = 0.0  # from the question until it decided
