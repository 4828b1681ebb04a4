"""How leaves are watched: which stores they share, which of them the interpreter answers, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.extent import reach_of
from remit.policy.dogwood.history import Monitor
from remit.policy.dogwood.interpreter import Interpreter
from remit.policy.dogwood.monitor import refusing
from remit.policy.dogwood.monitor.forms import Replayed
from remit.policy.dogwood.monitor.layout import Kept, Layout, LeafForm
from remit.policy.dogwood.monitor.snapshots import VERSION
from remit.policy.dogwood.monitor.watching import Shared, Watch

BOUND: Final = 10_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a leaf's state can hold. `replayed` says why it has no incremental form; empty if it has one."""

    reach: int  # in ms: no event before that changes its value
    replayed: str
    is_wide: bool  # an event can refresh each row of another operator's, not only its own
    kept: tuple[Kept, ...]  # by each of its operators
    most: int  # rows of a history, of all its leaves; of a replayed leaf, events


class Plan:
    """How these leaves are watched; one state for each history, all of the same plan."""

    def __init__(self, leaves: Iterable[Leaf], bound: int) -> None:
        layout = Layout()
        self._bound = bound
        forms: dict[str, LeafForm] = {}
        self._bounds: dict[str, Bounds] = {}
        replayed: list[Leaf] = []
        for leaf in sorted(leaves, key=lambda each: (repr(each.condition), each.name)):
            refusing.check(leaf)
            reach, why = reach_of(leaf.condition), ""
            is_wide, kept = False, tuple[Kept, ...]()
            try:
                form = forms[leaf.name] = layout.leaf(leaf)
                is_wide = any(layout.bodies[number].is_wide for number in form.stores)
                kept = form.kept
            except Replayed as error:
                why = str(error)
                replayed.append(leaf)
            self._bounds[leaf.name] = Bounds(reach, why, is_wide, kept, bound)
        self._replayed = tuple(replayed)
        self.digest = _digest([body.key for body in layout.bodies], self._replayed)
        self._shared = Shared(self.digest, tuple(layout.bodies), forms)

    def start(self) -> Monitor:
        """The state of a history in which nothing happened."""
        return self._watch()

    def restore(self, data: bytes) -> Monitor:
        """The state that was dumped; `ValueError` where it is damaged, or is not one of this plan."""
        made = self._watch()
        made.load(data)
        return made

    def bounds(self, leaf: str) -> Bounds:
        """What the state of the leaf of this name can hold."""
        return self._bounds[leaf]

    def _watch(self) -> Watch:
        replayed = Interpreter(self._replayed, self._bound) if self._replayed else None
        return Watch(self._shared, replayed, self._bound)


def plan(leaves: Iterable[Leaf], bound: int = BOUND) -> Plan:
    """The plan of these leaves, of which each history holds at most `bound` rows; `Mistake` for what is refused."""
    return Plan(leaves, bound)


def _digest(bodies: Iterable[str], replayed: Iterable[Leaf]) -> str:
    told = repr((VERSION, list(bodies), [leaf.condition for leaf in replayed]))
    return hashlib.sha256(told.encode()).hexdigest()
