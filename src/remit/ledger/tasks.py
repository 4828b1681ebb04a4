"""One task of a session, as its records open and change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remit.ledger.limits import Bound


@dataclass(slots=True)
class Task:
    """One task of the tree, with what it may spend: its own limits and those of the tasks above it."""

    id: str
    intent: str
    workload: str
    expires: int
    on_behalf_of: object
    chain: tuple[Task, ...]  # the tasks above it, nearest first
    self_started: bool
    bounds: tuple[Bound, ...]
    starter: str
    case_type: str
    params: dict[str, Any]
    created: int
    emergency: bool = False
    state: str = "open"
