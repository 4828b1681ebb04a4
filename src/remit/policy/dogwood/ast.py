"""Temporal conditions after macros were expanded (Dogwood guide, chapter 08, section 3).

Nodes are immutable, and equal when they say the same, wherever they stand; `at` is the offset in the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}  # in ms
TIMEPOINT: Final = "Timepoint"

Path = tuple[str, ...]
Operator = Literal["<", "<=", ">", ">=", "==", "!="]


def _at() -> int:
    return field(default=-1, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Window:
    """How far back, with both ends included: `1h`."""

    amount: int
    unit: str

    @property
    def ms(self) -> int:
        """Its length in milliseconds."""
        return self.amount * UNITS[self.unit]

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}"


# --- terms --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntityTerm:
    """An entity: `Remit::Server::"files"`."""

    type: str
    id: str
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Constant:
    """An integer, a string or a boolean."""

    value: int | str | bool
    at: int = _at()

    def __eq__(self, other: object) -> bool:
        # `True == 1` in Python.
        return isinstance(other, Constant) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class DecimalTerm:
    """`decimal("1.50")`; compared by equality alone."""

    text: str
    at: int = _at()


@dataclass(frozen=True, slots=True)
class ContextTerm:
    """`context.input.user`: of the request that is decided."""

    path: Path  # without `context`; never empty
    at: int = _at()


@dataclass(frozen=True, slots=True)
class ScopeTerm:
    """`principal`, `resource`, or an attribute of it: of the request that is decided."""

    root: Literal["principal", "resource"]
    path: Path = ()
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Var:
    """A variable that an `exists` or a `for` binds."""

    name: str
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`_` or `*`: anything; each one is its own."""

    at: int = _at()


@dataclass(frozen=True, slots=True)
class ArrayTerm:
    """`[a, b]`."""

    items: tuple[Term, ...]
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Binder:
    """`(name: Type)`; `Timepoint`, or a type of Cedar or of the schema."""

    name: str
    type: str
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Count:
    """`count for (…). where φ`: how many different rows of the binders satisfy φ."""

    binders: tuple[Binder, ...]
    body: Condition
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Sum:
    """`sum v for (…). where φ`: the sum of one binder over the different rows that satisfy φ."""

    summed: str
    binders: tuple[Binder, ...]
    body: Condition
    at: int = _at()


Term = EntityTerm | Constant | DecimalTerm | ContextTerm | ScopeTerm | Var | Wildcard | ArrayTerm | Count | Sum


# --- conditions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Argument:
    """`input.user: term` in a predicate."""

    path: Path
    value: Term
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Predicate:
    """`Remit::Action::"files/read"::response{…}`: the event at a timepoint is this one."""

    type: str  # of the action: `Remit::Action`
    action: str
    kind: str
    arguments: tuple[Argument, ...] = ()
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Tp:
    """`tp(t)`: `t` is the timepoint."""

    name: str
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left op right`; an equality with one unbound variable binds it."""

    op: Operator
    left: Term
    right: Term
    at: int = _at()


@dataclass(frozen=True, slots=True)
class And:
    """Both, from left to right."""

    left: Condition
    right: Condition
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Not:
    """Not so; binds nothing."""

    body: Condition
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Formerly:
    """At some timepoint within the window, this one included."""

    window: Window
    body: Condition
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Previous:
    """At the timepoint before this one, if that is within the window."""

    window: Window
    body: Condition
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Since:
    """`right` within the window, and `left` at every timepoint after it up to this one."""

    left: Condition
    window: Window
    right: Condition
    at: int = _at()


@dataclass(frozen=True, slots=True)
class Exists:
    """For at least one value."""

    binder: Binder
    body: Condition
    at: int = _at()


Condition = Predicate | Tp | Comparison | And | Not | Formerly | Previous | Since | Exists


@dataclass(frozen=True, slots=True)
class Leaf:
    """One `temporal { … }` of a policy: policies read its value as `context.temporal["<name>"]`."""

    name: str  # "<policy id>/<number in the policy>"
    condition: Condition  # with the pins of the event schema
    at: int = _at()
