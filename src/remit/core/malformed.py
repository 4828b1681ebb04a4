"""Why JSON from outside was refused, in the same words whatever reads it (`msgspec`, or the verifier's stand-in)."""

from __future__ import annotations

import msgspec


def why_malformed(error: Exception) -> str:
    """One lower-case clause: which value does not fit its field, or that it is no JSON at all."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        message = str(error)[:200]
        return message[:1].lower() + message[1:]
    return "it is not JSON"
