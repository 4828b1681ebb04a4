"""From a question to a permit in hand: ask, tell whom the decision obliges to tell, hand out once."""

from __future__ import annotations

import time
from typing import Any

from remit.core.decisions import Outcome
from remit.core.errors import RemitError
from remit.core.obligations import NOTIFY
from remit.sdk.api import Remit
from remit.sdk.grant import TaskGrant
from remit.sdk.permit import HandedOut, Permit, Refused


async def ask_for_permit(
    remit: Remit,
    handed_out: HandedOut,
    grant: TaskGrant | None,
    action: str,
    input: dict[str, Any],
    definition: str,
    idempotency_key: str,
) -> Permit:
    """The permit, after everybody was told who must be told before the action.

    Raises `Refused` on a deny, after who must be told of it was, and `Refused("obligation_failed")` where a permit's
    notification could not be delivered; that it was not executed is reported then.
    """
    asked_at = time.monotonic()
    decision = await remit.authorize(grant, action, input, definition=definition, idempotency_key=idempotency_key)
    if not decision.permitted:
        await remit.tell(grant, decision)
    permit = handed_out.permit(decision, asked_at)
    try:
        await remit.tell(grant, decision)
    except Refused:
        await hand_back(remit, permit)
        raise
    return permit


async def hand_back(remit: Remit, permit: Permit) -> None:
    """Reports that nothing was done under a permit, as far as that can be reported."""
    decision = permit.decision
    try:
        await remit.report(Outcome(decision=decision.id, digest=decision.digest, result="not_executed"))
    except RemitError:
        return  # it becomes unknown at its deadline


def supported(supports: frozenset[str], notifiers: frozenset[str]) -> frozenset[str]:
    """What of it can be fulfilled with these notifiers: without any, nobody can be told."""
    return supports if notifiers else supports - {NOTIFY}
