"""Why a request is permitted or denied, as it is told: policies, clauses with values, facts with their sources."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from remit.policy.traced import Trace

_LONGEST: Final = 160


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that a clause reads: its value, who or what says so, and how old that is."""

    path: str  # `context.task.params.amount`, `principal.environment`
    value: Any
    known: bool  # whether there is a value, and it is known
    source: str
    age: int | None = None  # ms before the decision; None where it has none


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event that witnessed a temporal clause."""

    at: int  # ms
    what: str  # `support/obtain_consent response`
    decision: str  # the id of its decision; "" where the policies do not look at it
    is_now: bool = False  # the request that is decided

    @property
    def told(self) -> str:
        """What it was."""
        return "the request itself" if self.is_now else f"{self.what}  {self.decision}".rstrip()


class Temporal(msgspec.Struct, frozen=True, kw_only=True):
    """A temporal condition, or a part of one, where it was looked at."""

    text: str
    holds: bool
    events: tuple[Event, ...] = ()
    values: tuple[str, ...] = ()  # of what it compares
    parts: tuple[Temporal, ...] = ()


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One policy with its trace."""

    id: str
    path: str
    line: int
    trace: Trace
    temporal: dict[str, Temporal] = {}  # by clause, where its history is at hand


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What policies say for one task: that of the call, or one above it."""

    task: str
    intent: str
    policies: tuple[Explained, ...]  # those that could matter, the ones that would be named first standing first
    elsewhere: int  # policies that are about other principals, resources or intents
    facts: tuple[Fact, ...]
    verdict: bool | None  # what follows from the traces; None where that depends on what is not known


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why."""

    kind: Literal["recorded", "now", "hypothetical"]
    action: str
    effect: Literal["permit", "deny"]  # what policies decided: in observe mode, what enforcing would have answered
    reason: str
    message: str
    policies: tuple[str, ...]  # that decided
    at: int  # ms
    id: str = ""
    workload: str = ""
    config: str = ""
    levels: tuple[Level, ...] = ()
    note: str = ""  # why there is nothing to trace, or what is not told
    disagrees: str = ""  # SECURITY: where the trace is not what was decided, in a sentence


def age_in_words(ms: int) -> str:
    """`now`, `40 s ago`, `12 min ago`, `3 h ago`, `5 days ago`."""
    if ms < 1000:
        return "now"
    for size, unit in ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= 2 * size or unit == "s":
            return f"{ms // size} {unit} ago"
    raise AssertionError(ms)


def written(value: Any) -> str:
    """A value in one line."""
    text = value if isinstance(value, str) and value.startswith("(") else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
