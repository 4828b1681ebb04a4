"""Where in a policy the engine's validator finds something wrong: it names the policy, and no place in it.

A condition is a row of clauses joined by `&&`. The first beginning of that row which is wrong in the same way ends in
the wrong clause: it is found by validating beginnings, which keeps what earlier clauses test for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.policy import text as cedar_text
from remit.policy.text import Token

MOST_TRIED: Final = 64  # beginnings
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")

Span = tuple[int, int]


def clause_at(text: str, message: str, handle: Any) -> Span | None:
    """The first and the last offset in the policy's `text` of the clause that `message` is about; None: not known."""
    tokens = list(cedar_text.tokens(text))
    tried = 0
    head = next((token.start for token in tokens if token.text in ("when", "unless")), len(text))
    if message in _messages(text[:head].rstrip("; \n") + ";", handle):
        return 0, head
    for body in _bodies(tokens):
        for clause in body:
            tried += 1
            if tried > MOST_TRIED:
                return None
            end = clause[-1].end
            beginning = text[:end] + (" };" if end < len(text) else "")
            if message in _messages(beginning, handle):
                return clause[0].start, end
    return None


def conditions_in(text: str) -> tuple[str, list[tuple[str, str]]]:
    """What stands before the conditions of a policy, and each with its `when` or `unless`, without braces."""
    tokens = list(cedar_text.tokens(text))
    first = next((token.start for token in tokens if token.text in ("when", "unless")), len(text))
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(tokens) - 1:
        if tokens[place].text in ("when", "unless") and tokens[place + 1].text == "{":
            inside = _inside(tokens, place + 1)
            found.append((tokens[place].text, " ".join(token.text for token in inside)))
            place += len(inside) + 2
        place += 1
    return " ".join(token.text for token in tokens if token.start < first and token.text != ";"), found


def _bodies(tokens: list[Token]) -> Iterator[list[list[Token]]]:
    """The clauses of each `when { … }` and `unless { … }`."""
    place = 0
    while place < len(tokens) - 1:
        if tokens[place].text in ("when", "unless") and tokens[place + 1].text == "{":
            inside = _inside(tokens, place + 1)
            yield _clauses(inside)
            place += len(inside) + 2
        place += 1


def _inside(tokens: list[Token], opening: int) -> list[Token]:
    """The tokens between a bracket and the one that closes it."""
    depth = 0
    for place in range(opening, len(tokens)):
        depth += (tokens[place].text in _OPENING) - (tokens[place].text in _CLOSING)
        if depth == 0:
            return tokens[opening + 1 : place]
    return tokens[opening + 1 :]


def _clauses(inside: list[Token]) -> list[list[Token]]:
    """Between the `&&` that are in no brackets; all of it where `||` or `if` stand beside them."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in inside:
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth == 0 and token.text in ("||", "if"):
            return [inside] if inside else []
        if depth == 0 and token.text == "&&":
            found.append([])
        else:
            found[-1].append(token)
    return [clause for clause in found if clause]


def _messages(text: str, handle: Any) -> set[str]:
    try:
        result = msgspec.json.decode(cedar.validate_policies(text, handle))
    except ValueError:
        return set()
    return {error["error"] for error in result["errors"]}
