"""Puts kept personal values back in place of their commitments, for state that is rebuilt from records."""

from __future__ import annotations

from typing import Any

import msgspec

from remit.decide.entries import DIGEST
from remit.ledger import commitments


def reveal(body: dict[str, Any], openings: list[tuple[str, bytes]]) -> dict[str, Any]:
    """The body with each opened value (pointer, canonical JSON) in its place; erased values stay concealed."""
    values = {path: msgspec.json.decode(value) for path, value in openings}
    digest = values.pop(DIGEST, None)
    revealed = commitments.reveal(body, values.items())
    if digest is not None:
        revealed |= {"digest": digest, "recordedDigest": revealed["digest"]}
    return revealed
