"""Arguments as JSON: what is hashed, sent and executed must be one and the same value."""

from __future__ import annotations

import math
from typing import Any, Final

from remit.core import bounds
from remit.core.errors import InvalidInput

_NEXT_STEP: Final = "pass JSON values: objects with string keys, lists, strings, numbers, booleans, null"
_INTEGER: Final = 2**63


def check_arguments(value: dict[str, Any]) -> None:
    """Refuses what JSON can't hold exactly, or what is nested or wide beyond the bounds; `InvalidInput` then.

    An encoder would turn infinities into null and bytes into text: the permit would be for another value than the
    one that is used.
    """
    left = _check(value, bounds.JSON_DEPTH, bounds.JSON_NODES)
    if left < 0 or type(value) is not dict:
        raise InvalidInput("arguments_too_complex", f"the arguments have more than {bounds.JSON_NODES} values")


def _check(value: Any, depth: int, left: int) -> int:
    """Nodes left after this value; below zero when there were too many."""
    left -= 1
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is int:
        if not -_INTEGER <= value < _INTEGER:
            raise InvalidInput("arguments_not_json", "an integer is larger than 64 bits", "pass it as a string")
    elif kind is float:
        # SECURITY: infinities and NaN would be hashed as null.
        if not math.isfinite(value):
            raise InvalidInput("arguments_not_json", "a number is not finite", _NEXT_STEP)
    elif kind is dict or kind is list:
        if depth <= 1:
            raise InvalidInput("arguments_too_deep", f"the arguments are nested deeper than {bounds.JSON_DEPTH} levels")
        if kind is dict:
            for key in value:
                if type(key) is not str:
                    raise InvalidInput("arguments_not_json", "a key is not a string", _NEXT_STEP)
                if not key.isascii():
                    _check_text(key)
        for item in value.values() if kind is dict else value:
            left = _check(item, depth - 1, left)
            if left < 0:
                return left
    elif value is not None and kind is not bool:
        raise InvalidInput("arguments_not_json", f"a value of type `{kind.__name__}` is not JSON", _NEXT_STEP)
    return left


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("arguments_not_json", "a string holds half of a character (a lone surrogate)") from None
