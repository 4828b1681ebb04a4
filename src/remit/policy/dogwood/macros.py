"""Macros: named pieces of conditions with parameters, put in where they are called.

A macro is kept as its tokens: a call reads them again with the arguments in the place of the parameters. Bodies hold
no calls (Dogwood guide, chapter 06), so each call is read once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from remit.policy.text import Token

Kind = Literal["cedar", "condition", "aggregate"]
Use = Literal["term", "condition", "window", "binder"]

# Words of Cedar and of temporal conditions.
RESERVED: Final = frozenset(
    {
        *("decimal", "datetime", "duration", "ip", "if", "then", "else", "in", "has", "like", "is", "true", "false"),
        *("let", "where", "for", "sum", "count", "tp", "formerly", "previous", "since", "exists", "within"),
        *("temporal", "guardrails", "permit", "forbid", "when", "unless", "def"),
        *("principal", "action", "resource", "context"),
    }
)
MAX_MACROS: Final = 1_000  # that one file can see
MAX_PARAMETERS: Final = 32


@dataclass(frozen=True, slots=True)
class Macro:
    """One `def`, checked."""

    name: str
    kind: Kind
    parameters: tuple[str, ...]  # without `?`
    body: tuple[Token, ...]
    uses: Mapping[str, frozenset[Use]]  # how the body uses each parameter
    path: str = ""
    at: int = field(default=-1, compare=False)


Macros = Mapping[str, Macro]


def instead(name: str, known: Sequence[str], kind: str) -> str:
    """What to do about a macro that there is not."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known are: {', '.join(sorted(known)[:8])}" if known else f"define it with `def {kind}`"
