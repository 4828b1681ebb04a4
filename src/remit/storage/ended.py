"""Which sessions retention looks at: ids of tasks sort by time, so that the oldest sessions come first."""

from __future__ import annotations

import re
from typing import Final

LOOKED: Final = 256  # streams in one look

_MADE = re.compile(r"session/t_([0-9a-f]{12})[0-9a-f]{16}")


def is_over(stream: str, before: int) -> bool:
    """Whether no stream from this one on can hold what ended before: its session began later."""
    match = _MADE.fullmatch(stream)
    return match is not None and int(match[1], 16) >= before
