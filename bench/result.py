"""What a benchmark returns: rows that were measured, and claims that hold or not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_OPERATORS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Claim:
    """A figure and the bound that it is claimed to keep."""

    name: str
    value: float
    op: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return _OPERATORS[self.op](self.value, self.bound)


@dataclass
class Result:
    """Rows and claims of one run."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def as_json(self, name: str) -> dict[str, Any]:
        """The one line that machines read."""
        claims = [
            {"name": c.name, "value": c.value, "op": c.op, "bound": c.bound, "holds": c.holds} for c in self.claims
        ]
        return {"bench": name, "rows": self.rows, "claims": claims}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
