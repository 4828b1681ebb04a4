"""Why JSON from outside was refused, in the same words whatever reads it (`msgspec`, or the verifier's stand-in)."""

from __future__ import annotations

import msgspec


def why_malformed(error: Exception, data: bytes) -> str:
    """One lower-case clause about what `data` raised: that it is no JSON at all, or which value does not fit."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, msgspec.ValidationError) or not _is_json(data):
        return "it is not JSON"
    message = str(error)[:200]
    return message[:1].lower() + message[1:]


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except msgspec.ValidationError:
        return True  # a number that no type can hold
    except (ValueError, RecursionError):
        return False
    return True
