"""`[risk]`, `[novelty]` and `[denials]`: what is a habit of a workload, and what a risk (docs/guides/drift.md)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from remit.core.documents import Document

NOVELTY: Final = "novelty"
DENIALS: Final = "denials"
MANUAL: Final = "manual"
RAISED_HERE: Final = (NOVELTY, DENIALS)  # the signals that Remit itself raises

Signal = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Percent = Annotated[int, Meta(ge=0, le=100)]
Days = Annotated[int, Meta(ge=1, le=60)]
Lasting = Annotated[int, Meta(ge=1, le=30 * 86_400)]


class RiskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[risk]`: which signals make up `context.risk`, and when a workload is quarantined."""

    signals: Annotated[
        tuple[Signal, ...],
        Meta(
            max_length=64,
            description="the signals that count: `novelty` and `denials`, which Remit raises, and what others may set",
        ),
    ] = (NOVELTY, DENIALS, MANUAL)
    quarantine_at: Annotated[Percent, Meta(description="a signal that reaches this quarantines; 0: none does")] = 0


class NoveltySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[novelty]`: what counts as a habit of a workload, and how the risk signal `novelty` rises."""

    half_life_days: Annotated[Days, Meta(description="after so many days, what was learned weighs half")] = 30
    habit_days: Annotated[Days, Meta(description="so many full days, all recent, bring novelty from 100 to 0")] = 5
    learning_days: Annotated[
        Days, Meta(description="a workload that learned on fewer days is learning, and raises no signal")
    ] = 7
    rises_from: Annotated[
        int, Meta(ge=1, le=100, description="an action whose tool or destination is this novel or more raises it, once")
    ] = 80
    permitted: Annotated[Percent, Meta(description="by so much, where it was permitted")] = 20
    refused: Annotated[Percent, Meta(description="by so much, where it was refused")] = 40
    lasts_seconds: Annotated[Lasting, Meta(description="how long the signal lives after it rose last")] = 86_400


class DenialSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[denials]`: how the risk signal `denials` rises."""

    count: Annotated[int, Meta(ge=2, le=10_000, description="so many refusals of a workload, repeated ones too,")] = 20
    within_seconds: Annotated[int, Meta(ge=1, le=86_400, description="in this time raise the signal")] = 600
    value: Annotated[Percent, Meta(description="by so much; while it lives, further ones add up")] = 60
    lasts_seconds: Annotated[Lasting, Meta(description="how long the signal lives after it rose last")] = 3600


def check_risk(document: Document, risk: RiskSettings) -> None:
    """A threshold that no signal can reach is a `DocumentError`."""
    if risk.quarantine_at and not risk.signals:
        raise document.error(
            "no signal counts, so none can quarantine", ("risk", "signals"), 'name one, such as `signals = ["manual"]`'
        )
