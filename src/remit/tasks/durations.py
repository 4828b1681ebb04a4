"""Durations in files: `90`, `90s`, `30m`, `1h`, `2d`, `1h30m`, always whole seconds."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s?)?")
_SECONDS = (86_400, 3_600, 60, 1)


def seconds_of(value: object) -> int | None:
    """The seconds that `value` says; None when it says none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value < 10**9 else None
    if not isinstance(value, str) or not value:
        return None
    match = _DURATION.fullmatch(value)
    if match is None:
        return None
    return sum(int(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part)
