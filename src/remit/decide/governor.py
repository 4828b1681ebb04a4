"""The governor: everything that enforcement points, starters and operators may ask of one installation.

It joins the hot path, administration, the rates before the pipeline, and the sweep of what is due.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.core.canonical import request_digest
from remit.core.decisions import Ask, Decision, Reason
from remit.core.errors import RemitError, TooLarge, Unavailable
from remit.core.identities import Identity, Possession, Registration
from remit.core.tasks import TaskEnd, TaskRequest, TaskView
from remit.decide import entries
from remit.decide.case import Case
from remit.decide.configuration import Configuration
from remit.decide.configuration_operations import ConfigurationOperations
from remit.decide.deeds import Made
from remit.decide.erasure_operations import ErasureOperations
from remit.decide.exchange_operations import ExchangeOperations
from remit.decide.identity_operations import IdentityOperations
from remit.decide.outcome_operations import OutcomeOperations
from remit.decide.pipeline import Pipeline, needs_of
from remit.decide.practice import Practice
from remit.decide.questions import Answered, Questions, Until, is_permit
from remit.decide.rates import Rates
from remit.decide.sequence import Needs, Sequencer, Step
from remit.decide.sweep import BATCH, Sweep
from remit.decide.task_operations import TaskOperations
from remit.decide.world import EVERYBODY, World, identity_stream
from remit.identity.arrival import Arrival
from remit.policy.evaluation import Evaluation
from remit.policy.general import Found, Question, What

log = logging.getLogger("remit.decide")

SWEEP_SECONDS: Final = 0.25
PRACTICE_TURNS: Final = 20  # of the sweep, from one record of what was practised to the next
RETENTION_TURNS: Final = 20  # of the sweep, from one look at what is old to the next
_RATE_LIMITED: Final = Reason(
    code="rate_limited",
    message="this workload asks more often than it may",
    next_step="wait a second; `[limits]` in remit.toml sets the rate",
)
_TOOLS_PER_ASK: Final = 10  # of a listing: so many cost as much as one question
_QUESTIONS_PER_ASK: Final = 10  # general ones in one request: likewise
_ASKS_PER_SEARCH: Final = 5.0
_LAST_SWEEPS: Final = 400  # at a stop: 100,000 records


class Governor(
    TaskOperations,
    OutcomeOperations,
    IdentityOperations,
    ExchangeOperations,
    ErasureOperations,
    ConfigurationOperations,
):
    """Decides, records and administers; one for each open installation."""

    def __init__(self, configuration: Configuration, sequencer: Sequencer, world: World) -> None:
        super().__init__(configuration, sequencer)
        sequencer.renew(world.watch(configuration.policies.temporal))
        self._pipeline = Pipeline(configuration, sequencer, world.glance)
        self._world = world
        self._rates = Rates(configuration.limits.rate_per_second, configuration.limits.rate_burst)
        self._exchanges = Rates(bounds.EXCHANGES_PER_MINUTE / 60, bounds.EXCHANGES_AT_ONCE)
        self._questions = Questions(configuration, self.registration)
        self._decided: Counter[tuple[str, str, str]] = Counter()  # kind, effect, reason code
        self._sweeper: asyncio.Task[None] | None = None

    async def authorize(self, ask: Ask) -> Decision:
        """Decides and records; a permit is answered after its record is durable, and consumes."""
        if not self._rates.admit(_proved(ask)):
            return self._counted("authorize", _rate_limited(ask))
        return self._counted("authorize", await self._pipeline.authorize(ask))

    async def probe(self, ask: Ask) -> Decision:
        """Decides without recording: changes no history, consumes nothing, authorises nothing."""
        if not self._rates.admit(_proved(ask)):
            return self._counted("probe", _rate_limited(ask))
        return self._counted("probe", await self._pipeline.probe(ask))

    async def listing(self, ask: Ask, server: str, tools: Mapping[str, str]) -> dict[str, Reason | None]:
        """For each tool (name to its definition's digest): None where the task could be permitted, else why not.

        Counts against the rate by the number of tools. `TooLarge` for more than a server may have.
        """
        if len(tools) > bounds.TOOLS_PER_SERVER:
            raise TooLarge(
                "too_many_tools", f"a listing has at most {bounds.TOOLS_PER_SERVER} tools", "ask for them in parts"
            )
        if not self._rates.admit(_proved(ask), max(1.0, len(tools) / _TOOLS_PER_ASK)):
            return dict.fromkeys(tools, _RATE_LIMITED)

        def work(world: World, now: int) -> Step[dict[str, Reason | None]]:
            return Step(self._pipeline.listing(Case(ask, now, ""), world, server, tools), durable=False)

        return await self._run(work, needs_of(ask, consume=False))

    async def question(
        self, caller: Identity, questions: Sequence[Question], now: int, until: Until = ""
    ) -> list[Answered]:
        """General questions, answered in order; with `until`, up to the first that comes out so. Nothing is recorded.

        One that can't be put is answered with its error. Counts against the caller's rate by their number.
        `Forbidden` unless a policy lets the caller ask.
        """
        self._admit(caller, len(questions) / _QUESTIONS_PER_ASK)
        found = await self._questions.evaluate(caller, questions, now, until)
        for answer in found:
            code = answer.reason.code if isinstance(answer, Evaluation) else answer.code
            self._decided["question", "permit" if is_permit(answer) else "deny", code] += 1
        return found

    async def search(
        self, caller: Identity, what: What, question: Question, now: int, *, after: str = "", limit: int
    ) -> Found:
        """Which subjects, resources or actions a general question would be permitted for. Nothing is recorded.

        One search counts as much as several questions against the caller's rate.
        """
        self._admit(caller, _ASKS_PER_SEARCH)
        return await self._questions.search(caller, what, question, now, after=after, limit=limit)

    def may_ask(self, id: str, possession: Possession) -> Reason | None:
        """Why an identity may not ask general questions now; None when it may."""
        return self._questions.may_ask(id, possession, is_search=False)

    async def start_task(self, caller: Identity, request: TaskRequest, person: Identity | None) -> TaskView:
        """Opens a task; a starter that starts too many has to wait (`rate_limited`)."""
        self._admit(caller)
        return await super().start_task(caller, request, person)

    async def exchange(self, arrival: Arrival, prove: Callable[[], str]) -> tuple[Registration, str]:
        """Takes an outside token for an identity here; one that does so too often has to wait (`rate_limited`).

        `prove` gives the key that the token's holder proves; it is called once the rate admits.
        """
        if not self._exchanges.admit(arrival.id):
            raise Unavailable(
                _RATE_LIMITED.code,
                f"`{arrival.id}` exchanges tokens more than {bounds.EXCHANGES_PER_MINUTE} times a minute",
                "use the SVID until it is half over, then exchange again",
            )
        key = prove()
        return await self.exchange_for(arrival, key), key

    def _admit(self, caller: Identity, cost: float = 1.0) -> None:
        if not self._rates.admit(caller.id, max(1.0, cost)):
            raise Unavailable(_RATE_LIMITED.code, "you ask more often than you may", _RATE_LIMITED.next_step)

    def registration(self, spiffe_id: str) -> Registration | None:
        """What is registered of one identity now."""
        return self._world.glance(spiffe_id)

    async def bootstrap(
        self, registrations: tuple[Registration, ...], by: str, made: frozenset[str] = frozenset()
    ) -> list[Registration]:
        """Registers what the project's own file names and is not yet registered as it says; composition only.

        The keys of the identities in `made` were made by this process: they are registered only where none is.
        """

        def work(world: World, now: int) -> Step[list[Registration]]:
            changed = []
            for wanted in registrations:
                existing = world.registration(wanted.id)
                if existing is not None and wanted.id in made:
                    wanted = msgspec.structs.replace(wanted, key=existing.key or wanted.key)
                if existing is None or (existing.state != "retired" and _differs(existing, wanted)):
                    changed.append(_merged(existing, wanted))
            return Step(changed, tuple(entries.registration(each, by, "") for each in changed))

        streams = tuple(identity_stream(each.id) for each in registrations)
        return await self._run(work, Needs(reads=(EVERYBODY,), appends=streams))

    def _take(self, configuration: Configuration, made: Made | None) -> None:
        # SECURITY: clauses and the histories that they are about change together, or not at all.
        self._sequencer.renew(self._world.watch(configuration.policies.temporal, made.histories if made else None))
        super()._take(configuration, made)
        self._pipeline.configuration = configuration
        self._questions.configuration = configuration
        self._rates.change(configuration.limits.rate_per_second, configuration.limits.rate_burst)

    def prepared(self) -> None:
        """A change of what decides is over, whether it was made or not."""
        self._world.note(False)

    def start(self) -> None:
        """Begins to sweep: permits whose deadline has passed, tasks whose time is over, denials that were counted."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def stop(self) -> None:
        """Stops sweeping, after one last sweep."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        for _ in range(_LAST_SWEEPS):
            if not await self.sweep_now(everything=True):
                break
        await self.record_practice()

    async def sweep_now(self, *, everything: bool = False) -> int:
        """Records what is due, and returns how many records that were; `everything` also flushes fresh counts."""
        sweep = Sweep(self.configuration, everything=everything)
        try:
            return await self._run(sweep)
        except BaseException:
            sweep.give_back(self._world)
            raise

    async def end_task(self, caller: Identity, task_id: str, state: TaskEnd, reason: str) -> TaskView:
        """Moves a task to `state`; what was learned in it by then is recorded, once per task and not per call."""
        view = await super().end_task(caller, task_id, state, reason)
        if view.state != "open":
            try:
                await self.record_practice(view.workload)
            except RemitError:
                log.warning("what %s practised could not be recorded, and is not learned", view.workload)
        return view

    async def record_practice(self, *workloads: str) -> int:
        """Records what workloads (all, if none is named) have practised since the last time; how many records."""
        count = 0
        for workload in workloads or self._world.lessons.workloads():
            if lessons := self._world.lessons.take(workload):
                practice = Practice(workload, lessons)
                count += await self._run(practice, Needs(appends=(identity_stream(workload),)))
        return count

    async def _sweep(self) -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                while await self.sweep_now() >= BATCH:
                    pass
                if turn % PRACTICE_TURNS == 0:
                    await self.record_practice()
                if turn % RETENTION_TURNS == 0:
                    await self.retain()
            except Exception:
                log.critical("ALARM what is due could not be recorded; it is tried again", exc_info=True)

    def metrics(self) -> dict[str, Any]:
        """Decisions since the start by kind, effect and reason code, and gauges; `remit.server.metrics` shows them."""
        return {
            "decisions": [
                {"kind": kind, "effect": effect, "code": code, "count": count}
                for (kind, effect, code), count in sorted(self._decided.items())
            ],
            "open_permits": len(self._world.open_permits),
            "unknown_outcomes": len(self._world.unknown_permits),
            **self.configuration.policies.engine.metrics(),
            **self._sequencer.gauges(),
        }

    def _counted(self, kind: str, decision: Decision) -> Decision:
        self._decided[kind, decision.effect, decision.reason.code] += 1
        return decision


def _proved(ask: Ask) -> str:
    """Whose rate a question counts against: the workload's if it is proved, else the caller's."""
    # SECURITY: whoever only names a workload must not use up its rate.
    return ask.subject if ask.proof is not None and ask.proof.id == ask.subject else ask.caller.id


def _rate_limited(ask: Ask) -> Decision:
    try:
        digest = request_digest(ask.action, ask.input)
    except (TypeError, ValueError, OverflowError, RecursionError):
        digest = ""
    return Decision(id="", effect="deny", reason=_RATE_LIMITED, action=ask.action, digest=digest)


def _differs(existing: Registration, wanted: Registration) -> bool:
    return _merged(existing, wanted) != existing


def _merged(existing: Registration | None, wanted: Registration) -> Registration:
    """What the file says, with the state that stands in the record."""
    if existing is None:
        return wanted
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    # SECURITY: where the file says that no key speaks for an identity, the earlier one must not go on doing so.
    fields |= {"state": existing.state}
    return Registration(**fields)
