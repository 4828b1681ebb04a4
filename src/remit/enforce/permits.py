"""How an enforcement point asks and reports: one question, one permit in hand, one outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from remit.core.decisions import Decision, Outcome, OutcomeResult, Reason
from remit.core.errors import RemitError, Unavailable
from remit.core.notifiers import TELL_SECONDS
from remit.enforce.port import Decider
from remit.enforce.refusals import Refusal
from remit.sdk.grant import TaskGrant
from remit.sdk.obligations import KNOWN, REPORT_FIRST, SELECT, fields_of, shaping_of
from remit.sdk.permit import Permit

DECIDE_SECONDS: Final = 10.0
REPORT_SECONDS: Final = 10.0
REPORT_AGAIN: Final = (0.5, 2.0, 8.0, 20.0)  # seconds between further attempts of a report that failed


NO_TASK: Final = Reason(
    code="task_required",
    message="there is no task under which this could be permitted",
    next_step="start the agent with `remit run --intent INTENT -- AGENT`, or set `REMIT_TASK` to the task's grant",
)


LATE: Final = Reason(code="decision_timeout", message="Remit did not decide in time", next_step="try again later")


class Question(msgspec.Struct, frozen=True):
    """What is asked: one action on exactly this input, with the tool's definition as seen."""

    action: str
    input: dict[str, Any]
    definition: str = ""


class Held:
    """A permit in hand for one question, and what is said of it afterwards."""

    def __init__(self, question: Question, decision: Decision, asked_at: float) -> None:
        self.question = question
        self.decision = decision
        self.shaping = shaping_of(decision)
        self.selections = fields_of(decision, SELECT)
        self.reports_first = any(item.id == REPORT_FIRST for item in decision.obligations)
        self._permit = Permit(decision, asked_at)
        self._started = 0

    def use(self) -> None:
        """Spends the permit; a `Refusal` when it is older than 5 seconds or was spent before."""
        try:
            # SECURITY: a permit holds for 5 seconds, once, for this action with these arguments; an answer to another
            # question permits nothing.
            self._permit.use(self.question.action, self.question.input)
        except RemitError as error:
            raise Refusal.of(error, self.question.action, self.decision) from None
        self._started = time.time_ns() // 1_000_000

    def outcome(self, result: OutcomeResult, output: dict[str, Any] | None = None, size: int = 0) -> Outcome:
        """What happened under this permit."""
        return Outcome(
            decision=self.decision.id,
            digest=self.decision.digest,
            result=result,
            started=self._started,
            output=output or {},
            bytes=size,
        )


async def ask(decider: Decider, grant: TaskGrant | None, question: Question, supports: frozenset[str] = KNOWN) -> Held:
    """The permit for `question`, after who must be told was told.

    A `Refusal` for all else: a denial, an error, silence, an obligation that is not among `supports` or was not
    fulfilled. Who must be told is told in each of these cases.
    """
    if grant is None:
        raise Refusal(NO_TASK, question.action)
    asked_at = time.monotonic()
    try:
        async with asyncio.timeout(DECIDE_SECONDS):
            decision = await decider.authorize(
                grant, question.action, question.input, definition=question.definition, supports=supports
            )
        held = Held(question, decision, asked_at) if decision.permitted else None
    except RemitError as error:
        raise Refusal.of(error, question.action) from None
    except TimeoutError:
        raise Refusal(LATE, question.action) from None
    untold = await _tell(decider, grant, decision)
    if held is None:
        raise Refusal(decision.reason, question.action, decision)
    unknown = {item.id for item in decision.obligations} - supports
    if unknown or untold:
        # SECURITY: a permit with an obligation that can't be met is a denial.
        await report(decider, held.outcome("not_executed"))
    if untold:
        raise Refusal.of(untold, question.action, decision)
    if unknown:
        message = f"the permit demands `{min(unknown)[:64]}`, which this enforcement point can't do"
        reason = Reason(code="obligation_unknown", message=message, next_step="update the enforcement point")
        raise Refusal(reason, question.action, decision)
    return held


async def _tell(decider: Decider, grant: TaskGrant, decision: Decision) -> RemitError | None:
    """Tells whom the decision obliges to tell; why a permit's is worth nothing when somebody could not be told."""
    try:
        async with asyncio.timeout(2 * TELL_SECONDS):
            await decider.tell(grant, decision)
    except RemitError as error:
        return error
    except TimeoutError:
        return Unavailable("obligation_failed", "who must be told of this action could not be told in time")
    return None


async def could_permit(
    decider: Decider, grant: TaskGrant | None, server: str, tools: dict[str, str]
) -> Mapping[str, Reason | None]:
    """For each tool None where the task could be permitted to call it; a `Refusal` without a task or an answer."""
    if grant is None:
        raise Refusal(NO_TASK, f"{server}/*")
    if not tools:
        return {}
    try:
        async with asyncio.timeout(DECIDE_SECONDS):
            return await decider.listing(grant, server, tools)
    except RemitError as error:
        raise Refusal.of(error, f"{server}/*") from None
    except TimeoutError:
        raise Refusal(LATE, f"{server}/*") from None


async def report(decider: Decider, outcome: Outcome) -> bool:
    """Whether the outcome is taken, in its order; False when it could not be reported now."""
    try:
        async with asyncio.timeout(REPORT_SECONDS):
            await decider.report(outcome, wait=False)
    except (RemitError, TimeoutError):
        return False
    return True


async def report_until_taken(decider: Decider, outcome: Outcome, log: Callable[[str], None]) -> None:
    """Reports, and again when that fails."""
    if not await report(decider, outcome):
        await report_again(decider, outcome, log)


async def report_again(decider: Decider, outcome: Outcome, log: Callable[[str], None]) -> None:
    """Reports again with growing pauses; a permit whose outcome never arrives becomes unknown at its deadline."""
    for pause in REPORT_AGAIN:
        await asyncio.sleep(pause)
        if await report(decider, outcome):
            return
    log(f"the outcome of decision {outcome.decision} could not be reported; it will be recorded as unknown")
