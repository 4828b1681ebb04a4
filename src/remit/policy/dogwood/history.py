"""What temporal conditions are about: events that happened, and the request that is decided.

Values are those of `remit.policy.compiled.values`; times are milliseconds and never go back within one history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from remit.policy.compiled.values import Entity
from remit.policy.dogwood.ast import Path


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Of one history each event is a timepoint of its own, also where several have the same time."""

    type: str  # of the action: `Remit::Action`
    action: str
    kind: str
    at: int
    fields: Mapping[Path, Any]  # by the path of the leaf: ("input", "user"); what is not there is not there


@dataclass(frozen=True, slots=True)
class Request:
    """The request that is decided, as `context.…`, `principal` and `resource` read it."""

    principal: Entity
    resource: Entity
    context: Mapping[str, Any]  # a record of values
    attribute: Callable[[Entity, Path], Any] = field(default=lambda _entity, _path: None)  # None: there is none


class Exceeded(Exception):
    """A history holds, or a question would look at, more than its bound: whoever asked denies."""


class Monitor(Protocol):
    """The state of several leaves over one history (one key of the pins)."""

    def observe(self, event: Event) -> None:
        """Takes an event that happened. Raises `Exceeded` and changes nothing where the bound is reached."""
        ...

    def evaluate(self, request: Request, event: Event, names: frozenset[str]) -> dict[str, bool]:
        """The leaves of these names at `event`, which is the decision's own and the last; changes nothing.

        Raises `Exceeded` where a bound is reached.
        """
        ...

    def dump(self) -> bytes:
        """The whole state; the same state gives the same bytes."""
        ...
