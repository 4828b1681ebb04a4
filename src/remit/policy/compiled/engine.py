"""Which engine decides, and how often which one did.

Compiled policies decide, unless `[policy] engine` names the reference. What can't be compiled goes to the reference;
so does a sample of what compiled policies decide (`sampling`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Literal

from remit.policy.compiled.sampling import Case, Sampling, differences
from remit.policy.verdict import Verdict

_log = logging.getLogger("remit.policy")

Name = Literal["compiled", "cedarpy"]
SAMPLE: Final = 1_000  # one decision of so many is compared


class Engine:
    """What decides, for all policies of a project. Safe to use from several threads; then counts are about right."""

    def __init__(
        self, name: Name = "compiled", sample: int = SAMPLE, keep: Callable[[Case], str] | None = None
    ) -> None:
        """`sample` 0 compares nothing; `keep` keeps a case in which the engines disagree, and says where."""
        self.is_reference = name == "cedarpy"
        self.sampling = Sampling(sample)
        self._keep = keep
        self._fallbacks = self._comparisons = self._disagreements = 0
        self.uncompiled: dict[str, str] = {}  # policies that the reference evaluates, with the reason

    def metrics(self) -> dict[str, Any]:
        """How often since the start the reference decided, was compared, and disagreed."""
        return {
            "policy_fallbacks": self._fallbacks,
            "policy_comparisons": self._comparisons,
            "policy_disagreements": self._disagreements,
        }

    def fell_back(self, count: int) -> None:
        """Counts decisions of the reference for what is not compiled."""
        self._fallbacks += count

    def cant_compile(self, id_: str, why: str) -> None:
        """Notes a policy that is not compiled."""
        if id_ not in self.uncompiled:
            self.uncompiled[id_] = why
            _log.warning("policy %s is evaluated by the reference engine: %s", id_, why)

    def compare(self, verdict: Verdict, reference: Verdict, case: Callable[[], Case]) -> Verdict:
        """The verdict of the compiled policies, if the reference engine agrees; else one that denies.

        SECURITY: of two engines that disagree, one is wrong, and nobody knows which.
        """
        self._comparisons += 1
        found = differences(verdict, reference)
        if not found:
            return verdict
        self._disagreements += 1
        made = case()
        try:
            kept = self._keep(made) if self._keep is not None else "nowhere"
        except OSError as error:
            kept = f"nowhere ({error.strerror})"
        _log.critical(
            "ALARM the policy engines disagree on %s, which is denied: %s; the case is kept in %s",
            made.request["action"]["id"],
            "; ".join(found)[:500],
            kept,
        )
        return Verdict(False, (), (), is_disputed=True)
