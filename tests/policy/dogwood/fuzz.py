"""How much is left to chance, and what the reference reads."""

from __future__ import annotations

import os
from typing import Any

from dogwood import native


def times(count: int) -> int:
    """So many examples; with `REMIT_FUZZ=N`, N times as many."""
    return count * int(os.environ.get("REMIT_FUZZ", "1"))


def lowered(text: str, schema: str) -> str | None:
    """What the reference makes of the rules; None where it refuses them."""
    try:
        found: Any = native.lower_to_cedar(text, schema, None)
    except RuntimeError:
        return None
    return str(found)
