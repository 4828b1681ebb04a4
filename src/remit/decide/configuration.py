"""What decides: policies, intents, catalogue, windows and settings, as one frozen snapshot with one digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from remit.core.actions import Catalogue
from remit.core.identities import Mode
from remit.core.intents import Intent
from remit.decide.destination import InternalHosts
from remit.decide.habits import Terms
from remit.decide.windows import Windows
from remit.policy.engine import Policies


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that an installation may set in `remit.toml`."""

    personal_days: int = 0  # after the end of their session personal values are erased; 0: kept
    outcome_deadline_ms: int = 120_000  # a permit without an outcome becomes `unknown` after this
    rate_per_second: float = 100.0  # asks per workload, sustained
    rate_burst: int = 500
    denial_fold_ms: int = 60_000  # identical denials within this are one counted record


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskTerms:
    """Which risk signals count, and what Remit's own rise from; `[risk]`, `[novelty]` and `[denials]` set them."""

    signals: frozenset[str] = frozenset({"novelty", "denials", "manual"})
    quarantine_at: int = 0  # 0: no signal quarantines
    novel_from: int = 80  # a tool or destination this novel counts
    novel_permitted: int = 20  # what each of them adds to the signal `novelty`
    novel_refused: int = 40
    novel_ms: int = 86_400_000
    denials: int = 20  # so many
    denials_within_ms: int = 600_000  # in this time
    denials_value: int = 60  # add so much to the signal `denials`
    denials_ms: int = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One loaded project; a decision names its `digest`, and the texts behind it are kept."""

    trust_domain: str
    catalogue: Catalogue
    intents: Mapping[str, Intent]
    policies: Policies
    windows: Windows
    internal: InternalHosts
    limits: Limits
    mode: Mode
    observe_until: int  # ms; 0 when mode is enforce
    digest: str
    parts: Mapping[str, str]  # {"policies": digest, "intents": digest, ...}
    texts: Mapping[str, str]  # digest -> text
    habits: Terms = field(default_factory=Terms)
    risk: RiskTerms = field(default_factory=RiskTerms)

    @property
    def service(self) -> str:
        """Who records what Remit does by itself."""
        return f"spiffe://{self.trust_domain}/remit"
