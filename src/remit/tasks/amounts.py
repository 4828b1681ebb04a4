"""Numbers as intents and their parameters use them: exact, bounded, with one spelling for one value."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,4})?")
_DECIMAL_MIN: Final = Decimal("-922337203685477.5808")
_DECIMAL_MAX: Final = Decimal("922337203685477.5807")


def canonical_decimal(value: object) -> str | None:
    """The one spelling of a decimal number, with 2 to 4 fractional digits; None when it is not one.

    Takes a string in plain notation, an integer, or a float whose shortest form has at most 4 fractional digits.
    The range is that of Cedar's `decimal`: 64 bits at 4 fractional digits.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        return None
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, float) and len(text.strip("-")) > 16:
        return None  # beyond 15 digits a float no longer says which number was meant
    if not _DECIMAL.fullmatch(text):
        return None
    number = Decimal(text)
    if not _DECIMAL_MIN <= number <= _DECIMAL_MAX:
        return None
    whole, _, fraction = f"{number:.4f}".partition(".")
    fraction = fraction.rstrip("0").ljust(2, "0")
    spelled = f"{whole}.{fraction}"
    return "0.00" if spelled == "-0.00" else spelled


def canonical_integer(value: object) -> int | None:
    """A 64-bit integer from an integer or its plain decimal digits; None when it is not one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            return None
        value = int(value)
    if not isinstance(value, int) or not INTEGER_MIN <= value <= INTEGER_MAX:
        return None
    return value
