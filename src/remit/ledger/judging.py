"""What is wrong with a recorded decision, by what its recorded policies and its configuration say to its facts.

A decision is made for its task and for every task above it (docs/design/deciding.md): permitted where all of them are,
else denied as the first one that denies; an error, or who may ask, decides wherever it is. Policies that read what is
concealed are unknown: then only what the others settle is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.decisions import OBSERVED, PERMITTED, Obligation
from remit.core.evaluations import Policies, Said
from remit.core.obligations import join
from remit.ledger.bodies import Decision
from remit.ledger.configured import Configured, Intent, first

NO_POLICY: Final = "no_policy_permits"
ERROR: Final = "policy_error"
UNSUPPORTED: Final = "obligation_unsupported"
QUARANTINED: Final = "identity_quarantined"
# Denials that observing never turns around.
NEVER_OBSERVED: Final = frozenset({ERROR, "enforcement_point_not_registered", "self_enforced"})
_OWN: Final = ("remit:", "intent:")
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """One decision with what its policies say: for its task first, then for each task above it."""

    decision: Decision
    intents: Sequence[Intent]
    said: Sequence[Said]
    policies: Policies
    configured: Configured

    @property
    def is_partial(self) -> bool:
        """Whether some policy reads what is concealed."""
        return any(one.unknown for one in self.said)

    def problems(self) -> Iterator[str]:
        """What the record says otherwise than the policies, one sentence each."""
        code, effect = self.decision.reason.code, self.decision.effect
        if effect == "permit" and code == PERMITTED:
            yield from self._permitted()
        elif effect == "permit" and code == OBSERVED:
            yield from self._observed()
        elif effect == "permit":
            yield f"it is a permit, and its reason is `{code[:64]}`"
        elif code == UNSUPPORTED:
            yield from self._unsupported()
        elif code == QUARANTINED and not self.decision.reason.policies:
            yield from self._stopped()
        else:
            yield from self._denied()

    # --- permits --------------------------------------------------------------------------------------------

    def _permitted(self) -> Iterator[str]:
        if self.decision.would == "deny":
            yield "it is permitted by policies, and enforcing would have denied it"
        for number, one in enumerate(self.said):
            if self._denies(one):
                yield f"it is recorded as permitted, and {self._why(one)}{_above(number)}"
                return
        yield from self._names(self.said[0], "permit")
        yield from self._obligations(self._of_permit(), exact=not self.is_partial)

    def _observed(self) -> Iterator[str]:
        if self.decision.would != "deny":
            yield "it is permitted because it is observed only, and not said that enforcing would have denied it"
        for number, one in enumerate(self.said):
            # SECURITY: an error, and who may ask, are never observed.
            if self._denies(one) and self._is_final(one):
                yield f"it is recorded as observed, and is denied in any mode: {self._why(one)}{_above(number)}"
                return
        yield from self._names_of_denial()
        yield from self._obligations(self._of_catalogue(), exact=True)

    # --- denials --------------------------------------------------------------------------------------------

    def _denied(self) -> Iterator[str]:
        if not self.is_partial:
            chosen = self._denying()
            if chosen is None:
                yield f"it is recorded as denied (`{self.decision.reason.code[:64]}`), and {self._why(self.said[0])}"
                return
            yield from self._as_denied(chosen)
            return
        answers = [list(self._as_denied(one)) for one in self.said if self._denies(one) or one.unknown]
        if answers and not all(answers):
            return
        yield answers[0][0] if answers else f"it is recorded as denied, and {self._why(self.said[0])}"

    def _as_denied(self, one: Said) -> Iterator[str]:
        """What is wrong if this is what denied."""
        decision, code, names = self.decision, self.decision.reason.code, self.decision.reason.policies
        if one.failed or one.broken:
            if code != ERROR:
                yield f"it is denied with `{code[:64]}`, and {self._why(one)}"
            elif set(one.failed) - set(names) or set(names) - {*one.failed, *one.unknown}:
                yield f"it names {_quoted(names)} as failing, and {self._why(one)}"
            return
        forbids = self._forbids(one)
        if not forbids and not one.unknown:
            if names or code != NO_POLICY:
                yield f"it is denied with `{code[:64]}` by {_quoted(names)}, and no policy permits it nor forbids it"
            return
        if code in (ERROR, NO_POLICY):
            if forbids or (code == NO_POLICY and one.permitted):
                yield f"it is denied with `{code}`, and {self._why(one)}"
            elif others := sorted(set(names) - set(one.unknown)):
                yield f"it names {self._places(others)} as failing, which can be evaluated"
            return
        yield from self._names(one, "forbid")
        if names:
            yield from self._code()
        if decision.mode == "observe" and not self._is_final(one) and names:
            yield f"it is observed only, and denied all the same by {_quoted(names)}"
        if not one.unknown:
            yield from self._obligations(self._demanded(forbids), exact=True)

    def _unsupported(self) -> Iterator[str]:
        """A permit that was refused for what it would oblige to."""
        denying = self._denying()
        if self.decision.mode == "enforce":
            if denying is not None:
                yield f"it is denied for its obligations alone, and {self._why(denying)}"
                return
            yield from self._names(self.said[0], "permit")
            if not self.is_partial and not self._of_permit():
                yield "it is denied for its obligations, and nothing obliges to any"
        elif denying is None:
            yield from self._names(self.said[0], "permit")
        else:
            yield from self._names_of_denial()

    def _stopped(self) -> Iterator[str]:
        """A permit that was refused because it would have made a risk signal quarantine."""
        denying = self._denying()
        if denying is not None and (self.decision.mode == "enforce" or self._is_final(denying)):
            yield f"it is denied for a quarantine that follows from it, and {self._why(denying)}"

    # --- what decided ---------------------------------------------------------------------------------------

    def _denying(self) -> Said | None:
        """What denies for the whole chain; None where nothing that is known does."""
        found: Said | None = None
        for one in self.said:
            if self._denies(one) and (found is None or self._is_final(one)):
                found = one
                if self._is_final(one):
                    break
        return found

    def _denies(self, one: Said) -> bool:
        """Whether it denies whatever is unknown."""
        if one.failed or one.broken or self._forbids(one):
            return True
        return not one.permitted and not one.unknown

    def _forbids(self, one: Said) -> tuple[str, ...]:
        return tuple(name for name in one.matched if self._effect(name) == "forbid")

    def _is_final(self, one: Said) -> bool:
        """Whether it stays a deny when it is observed."""
        if one.failed or one.broken:
            return True
        forbids = self._forbids(one)
        own = [name for name in forbids if name.startswith(_OWN)]
        return any(self._reason(name) in NEVER_OBSERVED for name in own or forbids)

    def _names(self, one: Said, effect: str) -> Iterator[str]:
        """Compares the policies that the record names with those that decided."""
        names = set(self.decision.reason.policies)
        matched = {name for name in one.matched if self._effect(name) == effect}
        possible = matched | {name for name in one.unknown if self._effect(name) == effect}
        if more := sorted(names - possible):
            yield f"it names {self._places(more)}, which did not decide; {self._why(one)}"
        elif fewer := sorted(matched - names):
            yield f"it does not name {self._places(fewer)}, which decided too"

    def _names_of_denial(self) -> Iterator[str]:
        if self.is_partial:
            answers = [list(self._names(one, "forbid")) for one in self.said]
            if all(answers):
                yield answers[0][0]
            return
        denying = self._denying()
        if denying is None:
            yield f"enforcing is said to have denied it, and {self._why(self.said[0])}"
        else:
            yield from self._names(denying, "forbid")

    def _code(self) -> Iterator[str]:
        """The code is that of the first policy, and Remit's own stand before the project's."""
        names, code = self.decision.reason.policies, self.decision.reason.code
        if self._reason(names[0]) != code:
            yield f"its reason is `{code[:64]}`, and that of {self._places(names[:1])} is `{self._reason(names[0])}`"
        elif not names[0].startswith(_OWN) and any(name.startswith(_OWN) for name in names):
            yield f"it gives {self._places(names[:1])} as the reason before a forbid of Remit's own"

    def _effect(self, name: str) -> str:
        policy = self.policies.policy(name)
        return policy.effect if policy is not None else ""

    def _reason(self, name: str) -> str:
        policy = self.policies.policy(name)
        return policy.reason if policy is not None else ""

    # --- obligations ----------------------------------------------------------------------------------------

    def _of_catalogue(self) -> tuple[Obligation, ...]:
        action = self.configured.actions.get(self.decision.action)
        return action.obligations + first(action, list(self.intents)) if action is not None else ()

    def _of_permit(self) -> tuple[Obligation, ...]:
        permits = [name for one in self.said for name in one.matched if self._effect(name) == "permit"]
        return (*self._of_catalogue(), *self._demanded(permits))

    def _demanded(self, names: Iterable[str]) -> list[Obligation]:
        found = [policy for name in names if (policy := self.policies.policy(name)) is not None]
        return [each for policy in found for each in policy.obligations]

    def _obligations(self, expected: Iterable[Obligation], *, exact: bool) -> Iterator[str]:
        wanted, recorded = join(expected), join(self.decision.obligations)
        if exact and wanted != recorded:
            named = sorted({each.id for each in (*wanted, *recorded) if each not in wanted or each not in recorded})
            yield f"its obligations are not those that its policies and the catalogue demand: {', '.join(named)[:200]}"
        elif not exact and join((*wanted, *recorded)) != recorded:
            yield "it lacks obligations that its policies and the catalogue demand"

    # --- in words -------------------------------------------------------------------------------------------

    def _why(self, one: Said) -> str:
        return why(one, self.policies)

    def _places(self, names: Sequence[str]) -> str:
        return places(names, self.policies)


def why(one: Said, policies: Policies) -> str:
    """What an answer follows from, with the places of the policies."""
    if one.broken:
        return f"its facts can't be put to the policies: {one.broken}"
    if one.failed:
        return f"{places(one.failed, policies)} can't be evaluated, which denies"
    if one.matched:
        return f"{places(one.matched, policies)} {'permits' if one.permitted else 'forbids'} it"
    return "no policy permits it"


def places(names: Sequence[str], policies: Policies) -> str:
    """Policies by id, file and line."""
    found = [policies.policy(name) for name in names[:_NAMED]]
    shown = [policy.place if policy else f"`{name[:200]}`" for name, policy in zip(names, found, strict=False)]
    return ", ".join(shown) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _above(number: int) -> str:
    return " for a task above it" if number else ""


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name[:200]}`" for name in names[:_NAMED])
    return shown or "no policy"
