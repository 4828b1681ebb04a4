"""A permit in the hands of an enforcement point: for one action, these arguments, five seconds, once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from remit.core import bounds
from remit.core.canonical import request_digest
from remit.core.decisions import Decision
from remit.core.errors import Conflict, Forbidden
from remit.sdk.access_request import in_words
from remit.sdk.arguments import check_arguments

Monotonic = Callable[[], float]


class Refused(Forbidden):
    """The action may not happen. `answer` is the decision, None where none was reached."""

    def __init__(self, code: str, message: str, next_step: str = "", answer: Decision | None = None) -> None:
        super().__init__(code, message, next_step)
        self.answer = answer
        self.decision = answer.id if answer is not None else ""


class Permit:
    """A recorded permit that was not used yet. `use` must be called right before the action."""

    def __init__(self, decision: Decision, asked_at: float, monotonic: Monotonic = time.monotonic) -> None:
        """`asked_at` is the monotonic time (s) before the question left, so that its age is never underestimated.

        Raises `Refused` when the decision is no recorded permit.
        """
        # SECURITY: a probe, or an answer without an id, authorises nothing, whatever it says.
        if not decision.permitted or decision.probe or not decision.id:
            raise refusal(decision)
        self.decision = decision
        self.started = 0  # ms by the service's clock: when it was used
        self._monotonic = monotonic
        self._asked_at = asked_at
        self._until = asked_at + min(bounds.PERMIT_MS, max(0, decision.expires - decision.at)) / 1000
        self._lock = threading.Lock()
        self._used = False

    def use(self, action: str, input: dict[str, Any]) -> None:
        """Spends it for `action` with exactly these arguments.

        Raises `Conflict("permit_spent")` the second time, `Refused("permit_expired")` after five seconds, and
        `Refused("permit_mismatch")` for another action or other arguments, which spends it too.
        """
        with self._lock:
            # SECURITY: once, whichever thread comes first.
            if self._used:
                raise Conflict("permit_spent", "the permit was used already", "ask again")
            self._used = True
        now = self._monotonic()
        self.started = self.decision.at + int((now - self._asked_at) * 1000)
        if now >= self._until:
            raise Refused("permit_expired", "the permit is older than five seconds", "ask again", self.decision)
        check_arguments(input)
        if action != self.decision.action or request_digest(action, input) != self.decision.digest:
            raise Refused(
                "permit_mismatch", "the permit is for another action or other arguments", "ask again", self.decision
            )


class HandedOut:
    """Which permits were handed out lately: a decision that is answered again gives no second permit."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: OrderedDict[str, float] = OrderedDict()

    def permit(self, decision: Decision, asked_at: float) -> Permit:
        """The permit of a decision: `Refused` on a deny, `Conflict("permit_spent")` when it was handed out already."""
        permit = Permit(decision, asked_at, self._monotonic)
        now = self._monotonic()
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        # SECURITY: a repeated answer (same idempotency key) must not become a second use of one permit.
        if decision.id in self._until:
            raise Conflict("permit_spent", "this permit was handed out already", "ask with another idempotency key")
        self._until[decision.id] = now + 2 * bounds.PERMIT_MS / 1000
        return permit


def refusal(decision: Decision) -> Refused:
    """Why this decision lets nothing happen, as an error to raise."""
    if decision.permitted:
        return Refused(
            "not_authorized",
            "the service answered a probe, which authorises nothing",
            "ask with a task, as a registered enforcement point of this server",
            decision,
        )
    reason = decision.reason
    wanted = in_words(decision)
    next_step = reason.next_step or (f"a person could approve this; what to ask for: {wanted}" if wanted else "")
    return Refused(reason.code, reason.message, next_step, decision)
