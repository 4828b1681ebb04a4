"""General questions: may this subject do this to this resource, by the policies and entities of this project?

Nothing of them is recorded, consumed or authorised: they are probes, for enforcement points of other systems.

    rate -> 1 the caller is registered and active -> 2 policy lets it ask -> 3 policy answers

1. What was last heard of the caller counts: with several processes a quarantine reaches them all within a second.
2. `Remit::Action::"question.ask"` on the installation, with how the caller proved its key. The answer depends on
   nothing else, so it is remembered for as long as the registration stays.
3. `remit.policy.general`; an evaluation error denies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Literal

from remit.core.decisions import Reason
from remit.core.errors import Forbidden, InvalidInput, Unavailable
from remit.core.identities import Identity, Possession, Registration
from remit.decide.configuration import Configuration
from remit.policy.evaluation import Evaluation
from remit.policy.general import Found, General, Question, What

log = logging.getLogger("remit.decide")

Until = Literal["permit", "deny", ""]

IN_ONE_GO: Final = 16  # evaluations, before others get their turn
SEARCHES: Final = 2  # at once, each in a thread, for up to a quarter of a second
SEARCHES_WAITING: Final = 64  # those at work included
REMEMBERED: Final = 10_000  # callers

Answered = Evaluation | InvalidInput

# Who asked, how its key was proved, and whether it searched: the refusal, or None.
_Asked = tuple[str, Possession, bool]


def is_permit(answer: Answered) -> bool:
    """Whether it is a permit; an error is none."""
    return isinstance(answer, Evaluation) and answer.permitted


def alarm(evaluation: Evaluation) -> None:
    """Tells the operator of policies that failed."""
    for policy, message in evaluation.errors:
        log.critical("ALARM policy %s failed to evaluate: %s", policy, message)


class Questions:
    """Answers general questions by one configuration; `registration` says what is known of a caller now."""

    def __init__(self, configuration: Configuration, registration: Callable[[str], Registration | None]) -> None:
        self.configuration = configuration  # may be replaced at any time: what takes several turns keeps its own
        self._registration = registration
        self._allowed: dict[_Asked, tuple[Configuration, Registration, Reason | None]] = {}
        self._searching = asyncio.Semaphore(SEARCHES)
        self._waiting = 0

    async def evaluate(
        self, caller: Identity, questions: Sequence[Question], now: int, until: Until = ""
    ) -> list[Answered]:
        """One answer for each question, in order; with `until`, up to the first that comes out so.

        A question that can't be put is answered with its error, which is a deny. Raises `Forbidden` when the caller
        may not ask.
        """
        self._check(caller, now, is_search=False)
        found: list[Answered] = []
        step = 1 if until else IN_ONE_GO
        # SECURITY: the answers to one request come from one configuration.
        general = self.configuration.policies.general
        for start in range(0, len(questions), step):
            if start:
                await asyncio.sleep(0)
            found += _answered(general, questions[start : start + step])
            if until and is_permit(found[-1]) is (until == "permit"):
                break
        return found

    async def search(
        self, caller: Identity, what: What, question: Question, now: int, *, after: str, limit: int
    ) -> Found:
        """Which subjects, resources or actions would be permitted; at most `limit` of them, from behind `after`.

        Raises as `evaluate` does, `InvalidInput` for a search that can't be put, and `Unavailable` when too many wait.
        """
        self._check(caller, now, is_search=True)
        if self._waiting >= SEARCHES_WAITING:
            raise Unavailable("busy", f"{SEARCHES_WAITING} searches are waiting already", "retry in a second")
        general = self.configuration.policies.general
        self._waiting += 1
        try:
            async with self._searching:
                return await asyncio.to_thread(general.search, what, question, after=after, limit=limit)
        finally:
            self._waiting -= 1

    def may_ask(self, id: str, possession: Possession, *, is_search: bool) -> Reason | None:
        """1 and 2: None when the identity is registered and active, and a policy lets it ask; else why not."""
        registration = self._registration(id)
        if registration is None:
            return Reason(code="identity_unknown", message=f"`{id}` is not registered", next_step="register it first")
        if registration.state != "active":
            return Reason(code=f"identity_{registration.state}", message=f"`{id}` is {registration.state}")
        asked = (id, possession, is_search)
        known, configuration = self._allowed.get(asked), self.configuration
        # SECURITY: what was allowed to another registration of the same name, or by other policies, says nothing.
        if known is None or known[0] is not configuration or known[1] is not registration:
            if len(self._allowed) >= REMEMBERED:
                self._allowed = {}
            refusal = _refusal(configuration, registration, possession, is_search)
            known = self._allowed[asked] = (configuration, registration, refusal)
        return known[2]

    def _check(self, caller: Identity, now: int, *, is_search: bool) -> None:
        if caller.expires <= now:
            raise Forbidden("identity_expired", "the caller's identity document has expired", "renew it")
        if refusal := self.may_ask(caller.id, caller.possession, is_search=is_search):
            raise Forbidden(refusal.code, refusal.message, refusal.next_step)


def _answered(general: General, questions: Sequence[Question]) -> list[Answered]:
    if len(questions) == 1:
        return [_answer(general, questions[0])]
    try:
        found = general.evaluate_many(questions)
    except InvalidInput:
        return [_answer(general, question) for question in questions]
    for evaluation in found:
        alarm(evaluation)
    return [*found]


def _answer(general: General, question: Question) -> Answered:
    try:
        evaluation = general.evaluate(question)
    except InvalidInput as error:
        return error
    alarm(evaluation)
    return evaluation


def _refusal(
    configuration: Configuration, registration: Registration, possession: Possession, is_search: bool
) -> Reason | None:
    evaluation = configuration.policies.evaluate(
        registration,
        "question.ask",
        ("Remit::Installation", configuration.trust_domain),
        {"possession": possession, "isSearch": is_search},
    )
    alarm(evaluation)
    if evaluation.permitted:
        return None
    reason = evaluation.reason
    if reason.policies:
        return reason
    what = "search" if is_search else "ask general questions"
    how = " with a bearer key" if possession == "none" else ""
    return Reason(
        code=reason.code,
        message=f"no policy lets `{registration.id}` {what}{how}",
        next_step='one that does permits `Remit::Action::"question.ask"`: docs/guides/pdp.md shows it',
    )
