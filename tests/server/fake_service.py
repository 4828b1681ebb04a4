"""A small recording stand-in of `ServicePort`, called a fake: it answers from a script and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remit.core.canonical import request_digest
from remit.core.clock import Clock
from remit.core.decisions import Ask, Decision, Obligation, Outcome, OutcomeReceipt, OutcomeResult, PolicyRef, Reason
from remit.core.erasing import Erasing, Erasure
from remit.core.errors import Forbidden, InvalidInput, NotFound
from remit.core.identities import Identity, Lifecycle, Registration
from remit.core.ids import new_id
from remit.core.reloading import Reloaded
from remit.core.tasks import Forgetting, RiskSignal, TaskEnd, TaskRequest, TaskView
from remit.decide.questions import Answered, Until
from remit.identity.arrival import Arrival
from remit.policy.evaluation import Evaluation
from remit.policy.general import Found, Named, Question, What


def general_answer(question: Question) -> Answered:
    """By the action's name: `deny` is denied, `fail` fails, `misfit` can't be asked, `obliged` has an obligation."""
    name = question.action
    if name == "misfit":
        return InvalidInput("property_invalid", "`subject.properties.age` is not a whole number")
    if name == "fail":
        reason = Reason(code="policy_error", message="policy `x` could not be evaluated")
        return Evaluation(permitted=False, reason=reason, errors=(("x", "overflow"),))
    permitted = name != "deny"
    reason = Reason(
        code="permitted" if permitted else "no_policy_permits",
        message="permitted by policy" if permitted else "no policy permits it",
        policies=(PolicyRef(id="readers", path="policies/x.cedar", line=3),) if permitted else (),
    )
    obliged = (Obligation(id="redact", fields=("email",)),) if name == "obliged" else ()
    return Evaluation(permitted=permitted, reason=reason, obligations=obliged)


class FakeService:
    """Permits every tool but `deny`; never forgets what reached it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.registrations: dict[str, Registration] = {}
        self.asks: list[tuple[str, Ask]] = []
        self.reports: list[tuple[Identity, Outcome, bool]] = []
        self.records: list[tuple[str, Any]] = []  # everything that would be written
        self.tasks: dict[str, TaskView] = {}
        self.by_idempotency: dict[str, Decision] = {}
        self.obligations: tuple[Obligation, ...] = ()
        self.fault: Exception | None = None
        self.questions: list[tuple[Identity, Question]] = []
        self.named: tuple[str, ...] = ("a", "b", "c")  # what a search finds
        self.why = ""
        self.found_with: dict[str, tuple[Obligation, ...]] = {}  # what goes with which result
        self.bearer_may_ask = True

    async def authorize(self, ask: Ask) -> Decision:
        self._check_fault()
        self.asks.append(("authorize", ask))
        self.records.append(("decision", ask))
        key = f"{ask.task.task if ask.task else ''}/{ask.idempotency_key}"
        if ask.idempotency_key and key in self.by_idempotency:
            return self.by_idempotency[key]
        decision = self._decide(ask, probe=False)
        self.by_idempotency[key] = decision
        return decision

    async def probe(self, ask: Ask) -> Decision:
        self._check_fault()
        self.asks.append(("probe", ask))
        return self._decide(ask, probe=True)

    async def listing(self, ask: Ask, server: str, tools: Mapping[str, str]) -> Mapping[str, Reason | None]:
        self._check_fault()
        self.asks.append(("listing", ask))
        denied = Reason(code="not_justified", message="the task does not justify it", next_step="ask for another task")
        return {name: denied if name == "deny" else None for name in tools}

    async def question(
        self, caller: Identity, questions: Sequence[Question], now: int, until: Until = ""
    ) -> Sequence[Answered]:
        self._check_fault()
        self._check_may_ask(caller)
        found: list[Answered] = []
        for question in questions:
            self.questions.append((caller, question))
            found.append(general_answer(question))
            if until and (isinstance(found[-1], Evaluation) and found[-1].permitted) is (until == "permit"):
                break
        return found

    async def search(
        self, caller: Identity, what: What, question: Question, now: int, *, after: str = "", limit: int
    ) -> Found:
        self._check_fault()
        self._check_may_ask(caller)
        self.questions.append((caller, question))
        names = [name for name in self.named if name > after] if after else list(self.named)
        type_ = question.subject.type if what == "subject" else question.resource.type
        page: list[Named | str] = [name if what == "action" else Named(type_, name) for name in names[:limit]]
        return Found(
            results=tuple(page),
            obligations={name: obliged for name, obliged in self.found_with.items() if name in names[:limit]},
            next=names[limit - 1] if len(names) > limit else "",
            exact=not self.why,
            why=self.why,
        )

    def _check_may_ask(self, caller: Identity) -> None:
        if caller.possession == "none" and not self.bearer_may_ask:
            raise Forbidden("no_policy_permits", "no policy lets you ask with a bearer key")

    async def start_task(self, caller: Identity, request: TaskRequest, person: Identity | None) -> TaskView:
        self._check_fault()
        now = self.clock()
        view = TaskView(
            id=new_id("t", now),
            root="",
            parent=request.parent,
            intent=request.intent,
            workload=request.workload,
            starter=caller.id,
            state="open",
            created=now,
            expires=now + 600_000,
            params=request.params,
            case_type=request.case_type,
            on_behalf_of=person.id if person else "",
        )
        self.tasks[view.id] = view
        self.records.append(("task", view))
        return view

    async def end_task(self, caller: Identity, task_id: str, state: TaskEnd, reason: str) -> TaskView:
        self.records.append(("task", (task_id, state, reason)))
        return await self.task(caller, task_id)

    async def task(self, caller: Identity, task_id: str) -> TaskView:
        self._check_fault()
        if task_id not in self.tasks:
            raise NotFound("task_unknown", "there is no such task", "look at `remit task list`")
        return self.tasks[task_id]

    async def report(self, caller: Identity, outcome: Outcome, *, durable: bool = True) -> OutcomeReceipt:
        self._check_fault()
        self.reports.append((caller, outcome, durable))
        self.records.append(("outcome", outcome))
        registration = self.registrations[caller.id]
        return OutcomeReceipt(
            decision=outcome.decision, standing="believed" if "pep" in registration.roles else "claimed"
        )

    async def register(self, caller: Identity, registration: Registration) -> Registration:
        self._check_fault()
        if "administrator" not in self.registrations[caller.id].roles:
            error = Forbidden("no_policy_permits", "no policy permits this", "ask an administrator")
            error.decision = "d_refused"
            raise error
        self.registrations[registration.id] = registration
        self.records.append(("identity", registration))
        return registration

    async def change(self, caller: Identity, id: str, state: Lifecycle, reason: str) -> Registration:
        old = self.registrations[id]
        new = Registration(
            id=old.id, kind=old.kind, roles=old.roles, owner=old.owner, key=old.key, servers=old.servers, state=state
        )
        return await self.register(caller, new)

    async def identities(self, caller: Identity) -> Sequence[Registration]:
        return list(self.registrations.values())

    async def resolve(self, caller: Identity, decision_id: str, result: OutcomeResult, reason: str) -> None:
        self.records.append(("resolution", (decision_id, result, reason)))

    async def reload(self, caller: Identity) -> Reloaded:
        return Reloaded(config="1" * 64, before="0" * 64, changed=("policies",), restart=("service",), seconds=0.5)

    async def erase(self, caller: Identity, wanted: Erasing) -> Erasure:
        self.records.append(("erasure", wanted))
        return Erasure(id="e_1", openings=len(wanted.places), keys=0, more=False)

    async def set_risk(self, caller: Identity, signal: RiskSignal) -> None:
        self.records.append(("risk", signal))

    async def forget(self, caller: Identity, wanted: Forgetting) -> Sequence[str]:
        self.records.append(("forgotten", wanted))
        return [*wanted.tools, *wanted.destinations]

    async def exchange(self, arrival: Arrival, prove: Callable[[], str]) -> tuple[Registration, str]:
        key = prove()
        self._check_fault()
        registration = self.registrations.get(arrival.id)
        if registration is None:
            raise Forbidden("identity_unknown", f"`{arrival.id}` is not registered")
        self.records.append(("exchange", (arrival, key)))
        return registration, key

    def registration(self, id: str) -> Registration | None:
        return self.registrations.get(id)

    def metrics(self) -> Mapping[str, Any]:
        return {
            "decisions": [{"kind": "authorize", "effect": "permit", "code": "permitted", "count": 3}],
            "latency": {"buckets": {1: 2, 5: 1}, "sum": 4.5},
            "openPermits": 1,
            "unknownOutcomes": 0,
            "queueDepth": 0,
        }

    def _decide(self, ask: Ask, *, probe: bool) -> Decision:
        now = self.clock()
        permitted = not ask.action.endswith("/deny")
        reason = (
            Reason(code="permitted", message="permitted by policy")
            if permitted
            else Reason(
                code="not_justified",
                message="the task does not justify it",
                next_step="ask for another task",
                policies=(PolicyRef(id="intent:x/ceiling", path="intents/x.yaml", line=3),),
            )
        )
        return Decision(
            id=new_id("d", now),
            effect="permit" if permitted else "deny",
            reason=reason,
            action=ask.action,
            digest=request_digest(ask.action, ask.input),
            task=ask.task.task if ask.task else "",
            at=now,
            expires=now + 5000 if permitted else 0,
            obligations=self.obligations if permitted else (),
            probe=probe,
        )

    def _check_fault(self) -> None:
        if self.fault is not None:
            raise self.fault
