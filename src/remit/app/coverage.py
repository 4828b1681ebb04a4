"""Which policies decision cases exercise: matched, decided, and for temporal clauses true and false.

A policy *matches* a request when its scope and conditions hold. It *decides* when the answer follows from it: a permit
whose match permitted, a forbid that gave the reason of a denial (the first of those that it names). A policy that
matches and never decides is behind another one in every case. Remit's shipped policies are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from remit.app.ruling import Ruling, ruling_of
from remit.core.identities import Registration
from remit.decide import entries
from remit.decide.configuration import Configuration
from remit.policy.compiled.values import Failed, Unsupported
from remit.policy.engine import Policies
from remit.policy.evaluation import Evaluation
from remit.policy.sources import Policy

_TEMPORAL: Final = "temporal"
Told = Callable[[Registration, str, tuple[str, str], Mapping[str, Any], tuple[Registration, ...], Evaluation], None]


class ClauseCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """One temporal clause: its name (`<policy>/<number>`), and how often it was true and false."""

    name: str
    true: int
    false: int


class PolicyCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: how often a request came to it, it matched, and it decided."""

    id: str
    path: str
    line: int
    origin: str  # user, generated
    effect: str
    asked: int
    matched: int
    decided: int
    clauses: tuple[ClauseCoverage, ...] = ()

    @property
    def lacks(self) -> str:
        """What no case shows of it, in words; "" when it is covered."""
        if not self.matched:
            return "never matched" if self.asked else "never asked"
        if not self.decided:
            return "never decisive"
        return ""


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """The coverage of a run."""

    policies: tuple[PolicyCoverage, ...]
    shown: int  # policies that decided, and clauses that were true, and false
    of: int

    @property
    def percent(self) -> float:
        """How much of it is covered, rounded down; 100 when there is nothing to cover."""
        return int(1000 * self.shown / self.of) / 10 if self.of else 100.0


class Coverage:
    """Counts while cases run; `configuration` is the one to run them under."""

    def __init__(self, configuration: Configuration) -> None:
        self._ruling: Ruling = ruling_of(configuration)
        self._policies = [policy for policy in self._ruling.policies if policy.origin != "shipped"]
        self._asked: dict[str, int] = {}
        self._matched: dict[str, int] = {}
        self._decided: dict[str, int] = {}
        self._clauses: dict[str, list[int]] = {name: [0, 0] for name in _names(configuration.policies)}
        self._mentioned: set[str] = set()  # by the case that runs
        self.configuration = replace(configuration, policies=Observed(configuration.policies, self._saw))

    def mentioned(self) -> frozenset[str]:
        """The policies that came up since this was asked last."""
        found, self._mentioned = frozenset(self._mentioned), set()
        return found

    def answered(self, ids: Iterable[str]) -> None:
        """Takes the policies that decided a general question."""
        for id_ in ids:
            for counts in (self._asked, self._matched, self._decided):
                counts[id_] = counts.get(id_, 0) + 1
            self._mentioned.add(id_)

    def covered(self) -> Covered:
        """What was seen so far."""
        found = []
        for policy in sorted(self._policies, key=lambda each: (each.origin, each.ref.path, each.ref.line, each.id)):
            clauses = tuple(
                ClauseCoverage(name=name, true=true, false=false)
                for name, (true, false) in self._clauses.items()
                if name.rpartition("/")[0] == policy.id
            )
            found.append(
                PolicyCoverage(
                    id=policy.id,
                    path=policy.ref.path,
                    line=policy.ref.line,
                    origin=policy.origin,
                    effect=policy.effect,
                    asked=self._asked.get(policy.id, 0),
                    matched=self._matched.get(policy.id, 0),
                    decided=self._decided.get(policy.id, 0),
                    clauses=clauses,
                )
            )
        sides = [bool(side) for policy in found for clause in policy.clauses for side in (clause.true, clause.false)]
        shown = [bool(policy.decided) for policy in found] + sides
        return Covered(policies=tuple(found), shown=sum(shown), of=len(shown))

    def _saw(
        self,
        principal: Registration,
        action: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        related: tuple[Registration, ...],
        said: Evaluation,
    ) -> None:
        try:
            request = self._ruling.request(
                entries.principal(principal), action, resource, context, map(entries.principal, related)
            )
        except (Failed, Unsupported, KeyError, TypeError):  # it can't be evaluated at all
            return
        for policy, traced in self._ruling.traces(request):
            self._asked[policy.id] = self._asked.get(policy.id, 0) + 1
            self._mentioned.add(policy.id)
            if traced.status == "matched":
                self._matched[policy.id] = self._matched.get(policy.id, 0) + 1
        deciding = said.policies if said.permitted else said.policies[:1]
        for ref in deciding:
            self._decided[ref.id] = self._decided.get(ref.id, 0) + 1
        values = context.get(_TEMPORAL)
        for name, value in values.items() if isinstance(values, dict) else ():
            if name in self._clauses and isinstance(value, bool):
                self._clauses[name][not value] += 1


class Observed(Policies):
    """Policies that tell of each evaluation; they decide as those that they are made from."""

    def __init__(self, policies: Policies, told: Told) -> None:
        self.__dict__.update(policies.__dict__)
        self._told = told

    def evaluate(
        self,
        principal: Registration,
        action: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        intent: str = "",
        *,
        related: tuple[Registration, ...] = (),
    ) -> Evaluation:
        """As `Policies.evaluate`."""
        said = super().evaluate(principal, action, resource, context, intent, related=related)
        self._told(principal, action, resource, context, related, said)
        return said


def _names(policies: Policies) -> list[str]:
    return sorted(leaf for policy in policies.policies() for leaf in _leaves(policy))


def _leaves(policy: Policy) -> list[str]:
    return [leaf.name for leaf in getattr(policy, "leaves", ())]
