"""The sample of decisions that the reference engine evaluates too: which, what is compared, what is kept of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.policy.sources import Policy
from remit.policy.verdict import Verdict

VERSION: Final = 1
_WITHIN: Final = 400  # policies of a case; of more, those that the engines name


class Sampling:
    """Chooses one decision of `every`, at random."""

    def __init__(self, every: int, draw: Callable[[], float] = random.random) -> None:
        self._share = 1 / every if every > 0 else 0.0
        self._draw = draw

    def is_due(self) -> bool:
        """Whether this decision is compared."""
        # SECURITY: at random, so that nobody can place a request between two comparisons.
        return self._draw() < self._share


class Said(msgspec.Struct, frozen=True):
    """What one engine said, with policies by their ids."""

    permitted: bool
    matched: tuple[str, ...]
    failed: tuple[str, ...]
    is_broken: bool = False


class Text(msgspec.Struct, frozen=True):
    """One policy."""

    id: str
    text: str


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request on which the engines disagree, with all that both were given."""

    version: int = VERSION
    policies: tuple[Text, ...]
    is_cut: bool = False  # only the policies that an engine names, since there are too many
    entities: Sequence[Mapping[str, Any]]  # in Cedar's JSON form
    request: Mapping[str, Any]  # principal, action, resource, context
    compiled: Said
    reference: Said


def case_of(
    policies: Sequence[Policy],
    entities: Sequence[Mapping[str, Any]],
    request: Mapping[str, Any],
    compiled: Verdict,
    reference: Verdict,
) -> Case:
    """The case of two verdicts on one request."""
    said, other = _said(compiled), _said(reference)
    is_cut = len(policies) > _WITHIN
    if is_cut:
        named = {*said.matched, *said.failed, *other.matched, *other.failed}
        policies = [policy for policy in policies if policy.id in named][:_WITHIN]
    return Case(
        policies=tuple(Text(policy.id, policy.text) for policy in policies),
        is_cut=is_cut,
        entities=entities,
        request=request,
        compiled=said,
        reference=other,
    )


def differences(compiled: Verdict, reference: Verdict) -> list[str]:
    """In what two verdicts differ: the decision, the policies that decided, or those that failed."""
    return differing(_said(compiled), _said(reference))


def differing(compiled: Said, reference: Said) -> list[str]:
    """In what two engines' words differ, one sentence each."""
    if compiled.is_broken and reference.is_broken:
        return []
    found = []
    if compiled.is_broken is not reference.is_broken:
        found.append(f"{'compiled' if compiled.is_broken else 'cedarpy'} can't evaluate it")
    if compiled.permitted is not reference.permitted:
        found.append(f"compiled {_word(compiled)}, cedarpy {_word(reference)}")
    for what, one, other in (
        ("matches", compiled.matched, reference.matched),
        ("fails", compiled.failed, reference.failed),
    ):
        for name in sorted(set(one) - set(other)):
            found.append(f"`{name}` {what} only as compiled")
        for name in sorted(set(other) - set(one)):
            found.append(f"`{name}` {what} only for cedarpy")
    return found


def _word(said: Said) -> str:
    return "permits" if said.permitted else "denies"


def _said(verdict: Verdict) -> Said:
    return Said(
        verdict.permitted,
        tuple(policy.id for policy in verdict.matched),
        tuple(policy.id for policy, _ in verdict.failed),
        verdict.is_broken,
    )
