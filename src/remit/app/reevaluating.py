"""What evaluates recorded decisions again: the policy engine, on recorded texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from remit.core.evaluations import Evaluator, Policies
from remit.policy.recorded import RecordedPolicies


class CedarEvaluator:
    """Recorded policies in the engine; fulfils `remit.core.evaluations.Evaluator`."""

    def policies(
        self,
        sources: Sequence[tuple[str, str]],
        actions: Mapping[str, Sequence[str]],
        intents: Mapping[str, Mapping[str, bool]],
    ) -> Policies:
        """As `Evaluator.policies`."""
        return RecordedPolicies(sources, actions, intents)


ENGINE: Final[Evaluator] = CedarEvaluator()
