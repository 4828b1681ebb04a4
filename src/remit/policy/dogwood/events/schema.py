"""An event schema: which kinds of events there are, and what each carries (Dogwood guide, chapter 08, section 2.6).

It speaks of "any action"; `derivation` says what it means for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from remit.policy.dogwood.ast import ContextTerm, Path, ScopeTerm, Window

Selector = Literal["inputs", "outputs", "principalType", "resourceType"]

DEFAULT_WINDOW: Final = Window(24, "h")  # how far back conditions may look where the schema does not say
GROUPS: Final = {"inputs": "input", "outputs": "output"}  # what a spread is called in events


@dataclass(frozen=True, slots=True)
class Spread:
    """`...inputs(A)`: the arguments, or the results, of the action, as a group of their own."""

    selector: Selector
    at: int


@dataclass(frozen=True, slots=True)
class Pin:
    """What a field must equal wherever it is asked for: `= context.task.root`."""

    value: ContextTerm | ScopeTerm
    at: int


@dataclass(frozen=True, slots=True)
class Field:
    """`name: type`, with what pins it."""

    name: str
    type: Selector | Path  # a type of the action, or a type's name
    members: tuple[Spread | Field, ...] | None  # of a group, which has no type
    pin: Pin | None
    at: int


@dataclass(frozen=True, slots=True)
class Declaration:
    """`event <A>::kind { … }`."""

    kind: str
    fields: tuple[Spread | Field, ...]
    decision: bool  # whether such an event is decided
    at: int


@dataclass(frozen=True, slots=True)
class EventSchema:
    """All declarations of a text, and how far back conditions may look."""

    declarations: tuple[Declaration, ...]
    max_window: Window | None
    text: str
    path: str

    @property
    def window(self) -> Window:
        """How far back conditions may look."""
        return self.max_window or DEFAULT_WINDOW

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of events, in the order of the text."""
        return tuple(dict.fromkeys(declaration.kind for declaration in self.declarations))
