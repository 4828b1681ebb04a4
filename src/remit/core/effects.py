"""What an action does to the world: the ten effects of the catalogue."""

from __future__ import annotations

from typing import Final, Literal, get_args

Effect = Literal["read", "write", "send", "pay", "share", "delete", "execute", "configure", "deploy", "export"]

EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)

# Effects that leave the system or can't be taken back: never self-started, never self-enforced.
CONSEQUENTIAL: Final[frozenset[Effect]] = frozenset({"pay", "send", "share", "delete", "configure", "deploy", "export"})
