"""The hot path. One question, read from top to bottom:

    request -> 1 identity -> 2 enforcement point -> 3 task -> 4 action -> 5 bounds -> 6 facts
            -> 7 policy -> 8 mode -> 9 obligations -> 10 record -> answer

1. identity: who asks and who will act are registered, active, and have proved it. No identity, no answer.
2. enforcement point: the caller is registered for this server, or is the subject itself.
3. task: the handle was proved with its key; the task exists, is the subject's, is open, as are all tasks above it.
4. action: it stands in the catalogue, reviewed, with the definition that was pinned, and its arguments fit.
5. bounds: the session is within its bounds.
6. facts: the context is computed from records, configuration and time; so are the clauses of temporal policies, from
   what happened before. Information providers were asked before the question's turn.
7. policy: Cedar decides, for the task and for every task above it. A policy that errs denies.
8. mode: in `observe` a policy's deny of a tool action becomes a permit that says so; nothing else does.
9. obligations: what the enforcement point must do beside the decision; a permit that it did not say it can fulfil is
   a deny.
10. record: the decision's entry; the answer is given after it is durable.

`judge` is a plain function of the question, the state and the time. It runs in the sequencer, so that deciding and
appending are one step. Only `Pipeline` turns an exception into a deny.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from remit.core import bounds, canonical
from remit.core.decisions import OBSERVED, PERMITTED, Approval, Ask, Decision, Obligation, PolicyRef, Reason
from remit.core.errors import Conflict, InvalidInput, TooLarge, Unavailable
from remit.core.identities import Registration
from remit.core.ids import new_id
from remit.core.obligations import REDACT, REPORT_FIRST, SELECT, join, unsupported
from remit.decide import entries, facts, risk
from remit.decide.case import Case
from remit.decide.configuration import Configuration
from remit.decide.destination import destination_of
from remit.decide.folding import BOUND, is_coarse
from remit.decide.histories import WORKLOAD, Told, Unknowable
from remit.decide.novelty import novelty_facts
from remit.decide.requests import access_request, selecting
from remit.decide.sequence import Entry, Needs, Sequencer, Step, Unreadable
from remit.decide.session import Task
from remit.decide.world import World, identity_stream, session_stream, workload_stream
from remit.policy.compiled.values import Entity
from remit.policy.dogwood.providers import ProviderFailed
from remit.policy.dogwood.temporal import NO_CLAUSES, Temporal
from remit.policy.identities import entity_of

log = logging.getLogger("remit.decide")

T = TypeVar("T")


class Pipeline:
    """Answers questions against one configuration, through one sequencer."""

    def __init__(
        self,
        configuration: Configuration,
        sequencer: Sequencer,
        glance: Callable[[str], Registration | None] = lambda _: None,
    ) -> None:
        """`glance` says what was last heard of an identity; what providers are told of it."""
        self.configuration = configuration
        self._sequencer = sequencer
        self._glance = glance

    async def authorize(self, ask: Ask) -> Decision:
        """Decides and records; a permit is returned after its record is durable, and consumes.

        A caller that is not an enforcement point for the server gets a probe's answer, which authorises nothing.
        Raises `Conflict` when an idempotency key comes back with other arguments.
        """
        return await self._answer(ask, consume=True)

    async def probe(self, ask: Ask) -> Decision:
        """Decides without recording: changes no history, consumes nothing, authorises nothing."""
        return await self._answer(ask, consume=False)

    async def _answer(self, ask: Ask, *, consume: bool) -> Decision:
        try:
            digest = canonical.request_digest(ask.action, ask.input)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return _refusal(ask, "", Reason(code="arguments_invalid", message="the arguments can't be read as JSON"))
        asked = time.perf_counter()
        needs = needs_of(ask, consume=consume, temporal=self.configuration.policies.temporal)
        try:
            try:
                while True:
                    given = await self._provide(ask)
                    try:
                        return await self._sequencer.run(partial(self._step, ask, digest, consume, asked, given), needs)
                    except _Reloaded:
                        needs = needs_of(ask, consume=consume, temporal=self.configuration.policies.temporal)
            except (TooLarge, InvalidInput) as error:
                message = "the record of this decision would be over its bounds"
                reason = Reason(code=error.code, message=message, next_step="send smaller arguments")
                return await self._sequencer.run(lambda world, now: self._bare(ask, digest, reason, world, now), needs)
        except Conflict:
            raise
        except Unavailable as error:
            return _refusal(ask, digest, Reason(code=error.code, message=error.message, next_step=error.next_step))
        except Exception:
            log.critical("ALARM the decision of %a failed; it is denied", ask.action[:256], exc_info=True)
            return _refusal(ask, digest, _FAULT)

    async def _provide(self, ask: Ask) -> _Given:
        """What the information providers say that policies of this action ask; before its turn, as they take time."""
        configuration = self.configuration
        policies, subject = configuration.policies, self._glance(ask.subject)
        invocations = policies.invocations(ask.action)
        if not invocations or subject is None:
            return _Given(configuration)
        try:
            arguments = policies.typed_input(ask.action, ask.input)
            resource = ("Remit::Server", ask.action.partition("/")[0])
            values = await policies.providers.ask(invocations, subject, resource, {"input": arguments})
        except InvalidInput:
            return _Given(configuration)  # it is refused in its turn
        except ProviderFailed as error:
            log.critical("ALARM an information provider failed: %s", error)
            return _Given(configuration, failed=_provider_failed(str(error)))
        return _Given(configuration, values)

    def _step(
        self, ask: Ask, digest: str, consume: bool, asked: float, given: _Given, world: World, now: int
    ) -> Step[Decision]:
        if given.configuration is not self.configuration:
            raise _Reloaded
        case = Case(ask, now, digest, asked=asked, provided=given.values, unprovided=given.failed)
        try:
            reason = self.judge(case, world, resume=consume)
            if isinstance(reason, Decision):
                return Step(reason)
            if not consume or (case.enforcement == "" and case.session is not None):
                return Step(_decision(case, reason, probe=True), durable=False)
            return self._record(case, reason, world)
        except (Conflict, Unreadable):
            raise
        except Exception:
            # The one place where an exception becomes a deny; the record says that it was one.
            log.critical("ALARM a step of the pipeline failed for %a; it is denied", ask.action[:256], exc_info=True)
            return (
                self._record_fault(case, world) if consume else Step(_decision(case, _FAULT, probe=True), durable=False)
            )

    def _bare(self, ask: Ask, digest: str, reason: Reason, world: World, now: int) -> Step[Decision]:
        """The denial of what can't be recorded with its facts: a record without them."""
        case = Case(ask, now, digest)
        refusal = self._identity(case, world) or self._enforcement_point(case, world) or self._task(case, world)
        return self._record(case, refusal or reason, world)

    def listing(self, case: Case, world: World, server: str, tools: Mapping[str, str]) -> dict[str, Reason | None]:
        """For each tool of a server: None where the task could be permitted to call it, else why not.

        Errs towards listing: what depends on arguments or on steps still to come is decided when it is called.
        """
        refusal = self._identity(case, world) or self._task(case, world)
        found: dict[str, Reason | None] = {}
        for tool, definition in tools.items():
            one = Case(
                msgspec.structs.replace(case.ask, action=f"{server}/{tool}", definition=definition),
                case.now,
                case.digest,
                case.subject,
                session=case.session,
                tasks=case.tasks,
            )
            found[tool] = refusal or self._known(one) or self._could_permit(one)
        return found

    def _could_permit(self, case: Case) -> Reason | None:
        action, subject = _established(case.action), _established(case.subject)
        for task in case.tasks:
            resource = ("Remit::Server", action.server)
            preview = self.configuration.policies.preview(subject, action.name, resource, {}, task.intent)
            if not preview.permitted:
                return preview.reason
        return None

    # --- the numbered steps ---------------------------------------------------------------------------------

    def judge(self, case: Case, world: World, *, resume: bool = True) -> Reason | Decision:
        """Steps 1 to 9: the reason of the permit or deny, or the earlier decision for the same idempotency key."""
        refusal = self._identity(case, world) or self._enforcement_point(case, world) or self._task(case, world)
        if refusal:
            return refusal
        if resume and (earlier := _earlier(case, world, self.configuration.policies.refs)):
            return earlier
        refusal = self._known(case) or self._arguments(case) or _bounds(case) or self._erased(case)
        if refusal:
            return refusal
        refusal = self._facts(case, world)
        if refusal:
            return refusal
        reason = self._policy(case, world)
        reason = self._mode(case, reason)
        return self._obligations(case, reason)

    def _identity(self, case: Case, world: World) -> Reason | None:
        """1. Who asks and who will act are registered, active, and proved."""
        ask, now = case.ask, case.now
        caller = world.registration(ask.caller.id)
        if caller is None:
            return _unknown(ask.caller.id)
        if ask.caller.expires <= now:
            return Reason(
                code="identity_expired", message="the caller's identity document has expired", next_step="renew it"
            )
        if ask.caller.possession == "none":
            # SECURITY: whoever sees a bearer secret can use it; nothing about a workload is told or permitted to it.
            return Reason(
                code="bearer_refused",
                message="a bearer key asks general questions only, and none about workloads",
                next_step="prove a registered key",
            )
        subject = world.registration(ask.subject)
        if subject is None or "workload" not in subject.roles:
            return _unknown(ask.subject)
        proof = case.proof
        # SECURITY: the subject of a question is proved, not named.
        if proof is None or proof.id != ask.subject:
            return Reason(
                code="subject_not_proved",
                message="the workload that would act has not proved itself",
                next_step="forward its identity document and a proof by its key",
            )
        if proof.expires <= now:
            return Reason(
                code="identity_expired", message="the workload's identity document has expired", next_step="renew it"
            )
        case.subject = subject
        for registration in (caller, subject):
            if registration.state != "active":
                return Reason(
                    code=f"identity_{registration.state}",
                    message=f"`{registration.id}` is {registration.state}",
                    next_step="ask its owner or an administrator",
                )
        return None

    def _enforcement_point(self, case: Case, world: World) -> Reason | None:
        """2. How the caller stands to this action: its enforcement point, the workload itself, or neither."""
        ask = case.ask
        name = ask.action.partition("/")[0]
        caller = world.registration(ask.caller.id)
        if ask.caller.id == ask.subject:
            server = self.configuration.catalogue.servers.get(name)
            # SECURITY: the workload itself is never a trusted enforcement point.
            case.enforcement = "self" if server is not None and server.self_enforced else ""
        elif caller is not None and "pep" in caller.roles and name in caller.servers:
            case.enforcement = "pep"
        return None

    def _task(self, case: Case, world: World) -> Reason | None:
        """3. The task: proved with its key, the subject's own, open, and so are all tasks above it."""
        ask, handle, now = case.ask, case.ask.task, case.now
        if handle is None:
            return Reason(
                code="no_task", message="every action belongs to a task, and none was given", next_step=_START
            )
        if handle.expires <= now:
            return Reason(code="task_expired", message="the task's time is over", next_step=_START)
        # SECURITY: a task token is a handle; without the key that it is bound to it is worth nothing.
        if case.proof is None or handle.key != case.proof.key:
            return Reason(
                code="task_key_mismatch",
                message="the task is bound to another key than the one that was proved",
                next_step="use the key that the task was started for",
            )
        session = world.session(handle.task)
        task = session.tasks.get(handle.task) if session else None
        if session is None or task is None:
            return Reason(code="task_unknown", message="there is no such task", next_step=_START)
        if task.workload != ask.subject or handle.workload != ask.subject:
            return Reason(code="task_not_yours", message="the task belongs to another workload", next_step=_START)
        case.session = session
        case.tasks = session.chain(task)
        for each in case.tasks:
            if each.state != "open":
                return Reason(
                    code=f"task_{each.state}", message=f"the task `{each.id}` is {each.state}", next_step=_START
                )
            if each.expires <= now:
                return Reason(code="task_expired", message=f"the time of task `{each.id}` is over", next_step=_START)
            behalf = world.registration(each.on_behalf_of) if each.on_behalf_of else None
            if behalf is not None and behalf.state != "active":
                # SECURITY: a person's quarantine reaches what is done on their behalf.
                return Reason(
                    code=f"identity_{behalf.state}",
                    message=f"`{behalf.id}`, on whose behalf this task runs, is {behalf.state}",
                    next_step="ask its owner or an administrator",
                )
            if each.intent not in self.configuration.intents:
                return Reason(
                    code="intent_unknown",
                    message=f"the intent `{each.intent}` is no longer declared",
                    next_step="start a task under an approved intent",
                )
        return None

    def _known(self, case: Case) -> Reason | None:
        """4. The action: known, with the definition that was pinned, and reviewed."""
        ask = case.ask
        action = self.configuration.catalogue.actions.get(ask.action)
        if action is None:
            return Reason(
                code="action_unknown",
                message=f"`{ask.action[:128]}` is not in the catalogue",
                next_step="import it with `remit catalogue import` and review it",
            )
        case.action = action
        # SECURITY: a tool whose definition changed after review is another tool.
        if ask.definition and ask.definition != action.pin:
            return Reason(
                code="action_changed",
                message=f"the definition of `{ask.action}` is not the one that was reviewed",
                next_step="look at what changed with `remit catalogue review`",
            )
        if not action.reviewed and not self.configuration.catalogue.servers[action.server].covers_unreviewed:
            return Reason(
                code="action_unreviewed",
                message=f"what is known of `{ask.action}` was guessed and nobody reviewed it",
                next_step="review it with `remit catalogue review`",
            )
        return None

    def _arguments(self, case: Case) -> Reason | None:
        """4. Its arguments: they fit the pinned schema, and their destination is clear."""
        action, ask = _established(case.action), case.ask
        try:
            case.arguments = self.configuration.policies.typed_input(action.name, ask.input)
            case.destination = destination_of(action, ask.input, self.configuration.internal)
        except InvalidInput as error:
            return Reason(code=error.code, message=error.message, next_step=error.next_step)
        return None

    def _erased(self, case: Case) -> Reason | None:
        """5. Values that were erased: what depends on them is denied, also where their absence would permit."""
        action, session = _established(case.action), _established(case.session)
        if not session.erased:
            return None
        for task in case.tasks:
            for path, what in facts.erased_facts(self.configuration, session, task):
                # SECURITY: an erased value is left as its commitment; no policy may take it for one never given.
                if self.configuration.policies.reads(action.name, action.server, task.intent, path):
                    return Reason(
                        code="task_value_erased",
                        message=f"this depends on {what}, which was erased",
                        next_step=_START,
                    )
        return None

    def _facts(self, case: Case, world: World) -> Reason | None:
        """6. Facts: one context for the task and one for each task above it; why they can't be had."""
        configuration, action, session = self.configuration, _established(case.action), _established(case.session)
        caller = {
            "id": case.ask.caller.id,
            "isSubject": case.ask.caller.id == case.ask.subject,
            "registered": case.enforcement != "",
        }
        life = _established(world.life(case.ask.subject))
        level = life.risk_at(case.now, configuration.risk.signals)
        host = case.destination.host if case.destination is not None else None
        novelty = novelty_facts(life, session, case.ask.subject, action.name, host, case.now, configuration.habits)
        shared = facts.shared_context(
            configuration, session, case.arguments, case.destination, caller, level, novelty, case.now
        )
        case.contexts = [
            shared | {"task": facts.task_facts(configuration, session, task, action, case.arguments, case.now)}
            for task in case.tasks
        ]
        case.usage = facts.spending(configuration.intents, case.tasks, action, case.arguments)
        if case.unprovided is not None:
            return case.unprovided
        if case.provided:
            for context in case.contexts:
                context["providers"] = case.provided
        return self._happened(case, world)

    def _happened(self, case: Case, world: World) -> Reason | None:
        """6. Facts about what happened: what clauses of temporal policies say, for the task and each task above it."""
        policies, action, session = self.configuration.policies, _established(case.action), _established(case.session)
        subject = _established(case.subject)
        for task, context in zip(case.tasks, case.contexts, strict=True):
            names = policies.clauses(action.name, action.server, task.intent)
            if not names:
                continue
            told = Told(action.name, subject.id, "", case.tasks[0].id, case.arguments)
            principal = Entity((WORKLOAD, subject.id))
            attributes = {principal: entity_of(subject)["attrs"]}
            found: dict[str, bool] = {}
            try:
                for scope, history in (
                    (policies.temporal.task, session.history),
                    (policies.temporal.workload, world.workload_history(subject.id)),
                ):
                    wanted = names & scope.names if scope is not None else frozenset()
                    if wanted and scope is not None:
                        if history is None:
                            # SECURITY: a history that is not there is not one in which nothing happened.
                            raise LookupError("the history that policies ask about is not at hand")
                        history.serve(scope)
                        found |= history.evaluate(wanted, told, principal, context, attributes, case.now)
            except Unknowable as error:
                return Reason(code=error.code, message=error.message, next_step=_START)
            context["temporal"] = found
        return None

    def _policy(self, case: Case, world: World) -> Reason:
        """7. Policy: permitted only if permitted for the task and for every task above it."""
        action, subject = _established(case.action), _established(case.subject)
        permitted: Reason | None = None
        denied: Reason | None = None
        demanded: list[Obligation] = []
        approvals: list[tuple[Approval, ...]] = []
        for task, context in zip(case.tasks, case.contexts, strict=True):
            resource = ("Remit::Server", action.server)
            evaluation = self.configuration.policies.evaluate(
                subject, action.name, resource, context, task.intent, related=_person(task, world)
            )
            for policy, message in evaluation.errors:
                log.critical("ALARM policy %s failed to evaluate: %s", policy, message)
            if not evaluation.permitted:
                approvals.append(evaluation.approvals)
            # SECURITY: a task above is asked even after a deny: an error there denies, whatever observing would do.
            if evaluation.permitted:
                permitted = permitted or evaluation.reason
                demanded += evaluation.obligations
            elif denied is None or evaluation.reason.code in NEVER_OBSERVED:
                denied = evaluation.reason
                case.mattered = evaluation.facts
                case.demanded = evaluation.obligations
            if denied is None:
                case.mattered = evaluation.facts
            elif denied.code in NEVER_OBSERVED:
                break
        if denied is None:
            # SECURITY: a task above obliges too; of two limits the lower one holds.
            case.demanded = join(demanded) if demanded else ()
        elif all(approvals):
            # SECURITY: one final denial, also of a task above, and nobody can approve.
            case.approvals = tuple(dict.fromkeys(each for several in approvals for each in several))
        case.denied = denied
        return denied or _established(permitted)

    def _mode(self, case: Case, reason: Reason) -> Reason:
        """8. Mode: the strictest of installation, intent and workload; observe turns only a policy's deny around."""
        configuration = self.configuration
        modes = {configuration.intents[task.intent].mode for task in case.tasks}
        modes.add(_established(case.subject).mode)
        observing = configuration.mode == "observe" and case.now < configuration.observe_until
        if not observing or "enforce" in modes:
            return reason
        case.mode = "observe"
        case.would = "permit" if reason.code == PERMITTED else "deny"
        # SECURITY: an evaluation error is not a policy's deny, and who may ask is not observed; both stay a deny.
        if case.would == "deny" and reason.code not in NEVER_OBSERVED:
            return Reason(
                code=OBSERVED,
                message=f"permitted because this is observed only; enforcing would deny: {reason.message}",
                next_step=reason.next_step,
                policies=reason.policies,
            )
        return reason

    def _obligations(self, case: Case, reason: Reason) -> Reason:
        """9. Obligations: of the policies that decided and, for a permit, of the catalogue.

        The outcome must be reported first where a prerequisite waits for it: its result may be used at another
        enforcement point at once. What observing lets through carries the catalogue's obligations only.
        """
        if reason.code not in (PERMITTED, OBSERVED):
            case.obligations = case.demanded
            return reason
        action = _established(case.action)
        redact = (Obligation(id=REDACT, fields=action.redact),) if action.redact else ()
        select = (Obligation(id=SELECT, fields=tuple(f.path for f in action.select)),) if action.select else ()
        orders = (step.done for task in case.tasks for step in self.configuration.intents[task.intent].order)
        first = (Obligation(id=REPORT_FIRST),) if action.name in orders else ()
        obligations = redact + select + first
        if case.demanded and reason.code == PERMITTED:
            obligations = join(obligations + case.demanded)
        lacking = {each.id for each in obligations} - case.ask.supports if obligations else ()
        if lacking:
            # SECURITY: an obligation is never dropped: whoever did not say that it can fulfil it gets no permit.
            if case.would:
                case.would = "deny"
            return unsupported(lacking, reason)
        case.obligations = obligations
        return reason

    def _record(self, case: Case, reason: Reason, world: World) -> Step[Decision]:
        """10. Record: the decision, and what follows from it; an identical denial is folded into the first one."""
        if world.registration(case.ask.caller.id) is None:
            return Step(_decision(case, reason, probe=True), durable=False)  # a stranger writes no record
        # Before denials are counted: from there on, the work is not run again for another stream.
        rising = risk.rises(self.configuration, case, world, reason)
        if rising and reason.code in (PERMITTED, OBSERVED):
            # SECURITY: what makes a signal quarantine does not pass itself.
            reason = self._unless_quarantined(case, reason, rising)
        decision = _decision(case, reason, probe=False)
        if decision.effect == "permit":
            entry = entries.decision(self.configuration, case, decision, self._deadline(case))
            events = self._events(case, decision, "request", "permitted")
            return Step(decision, (entry, *events, *risk.recorded(self.configuration, case, rising, decision.id)))
        if case.session is not None and case.session.denials >= bounds.SESSION_DENIALS:
            # SECURITY: from here on whatever is denied is one record and a count.
            decision = _decision(case, _bounds(case) or reason, probe=False)
        coarse = is_coarse(decision.task, case.ask.action, decision.reason.code)
        # SECURITY: a denial that temporal policies can see is an event of its own, however often it comes.
        counts = not coarse and bool(case.contexts) and self._is_watched(case, "request")
        earlier = (
            None
            if counts
            else world.denials.repeat(
                case.stream,
                entries.denial_key(case, decision),
                case.now,
                self.configuration.limits.denial_fold_ms,
                entries.idempotency(case.ask) if case.ask.idempotency_key and not coarse else "",
            )
        )
        if earlier is not None:
            refs = self.configuration.policies.refs
            folded = entries.as_decision(earlier.answer, refs, case.now, case.ask, earlier.total)
            # It may be of other arguments; the answer is to this question. Who must be told was told of the first.
            answer = msgspec.structs.replace(folded, action=case.ask.action, digest=case.digest, obligations=())
            return Step(answer, self._follows(case, rising, folded.id))
        entry = entries.decision(self.configuration, case, decision, 0)
        events = self._events(case, decision, "request")
        return Step(decision, (entry, *events, *self._follows(case, rising, decision.id)))

    def _is_watched(self, case: Case, kind: str) -> bool:
        """Whether a clause of a temporal policy can tell that such an event happened."""
        temporal = self.configuration.policies.temporal
        scopes = [scope for scope in (temporal.task, temporal.workload) if scope is not None]
        return any(scope.watches(case.ask.action, kind) for scope in scopes)

    def _events(self, case: Case, decision: Decision, *kinds: str) -> tuple[Entry, ...]:
        """The decision among what its workload did, where policies are about that over all its tasks."""
        scope, action = self.configuration.policies.temporal.workload, case.action
        if scope is None or action is None or not case.contexts:
            return ()
        told = Told(action.name, case.ask.subject, decision.id, decision.task, case.arguments)
        return tuple(
            entries.event(self.configuration, kind, told, scope, case.tasks)
            for kind in kinds
            if scope.watches(action.name, kind)
        )

    def _unless_quarantined(self, case: Case, reason: Reason, rising: tuple[risk.Rise, ...]) -> Reason:
        refusal = risk.refusal(self.configuration, rising)
        if refusal is None:
            return reason
        case.obligations = ()
        return refusal

    def _follows(self, case: Case, rising: tuple[risk.Rise, ...], denial: str) -> tuple[Entry, ...]:
        """What a denial leads to: tasks that are suspended, signals that rise, a quarantine."""
        suspended = risk.suspended(self.configuration, case, denial)
        return (*suspended, *risk.recorded(self.configuration, case, rising, denial))

    def _record_fault(self, case: Case, world: World) -> Step[Decision]:
        """The record that a step failed, without what that step was about; a fault that repeats is counted."""
        bare = Case(case.ask, case.now, case.digest, case.subject, session=case.session, tasks=case.tasks)
        return self._record(bare, _FAULT, world)

    def _deadline(self, case: Case) -> int:
        return case.now + self.configuration.limits.outcome_deadline_ms


NEVER_OBSERVED: Final = frozenset(
    {"policy_error", "engines_disagree", "enforcement_point_not_registered", "self_enforced"}
)
_START: Final = "start a task with `remit run --intent …`"
_FAULT: Final = Reason(
    code="internal_fault",
    message="a step of the decision failed, so it is denied",
    next_step="look at the service's log for the alarm",
)


@dataclass(frozen=True, slots=True)
class _Given:
    """What information providers said, for one configuration."""

    configuration: Configuration
    values: dict[str, Any] = field(default_factory=dict)
    failed: Reason | None = None


class _Reloaded(Exception):
    """Another configuration decides than the one that providers were asked for: they are asked again."""


def _provider_failed(message: str) -> Reason:
    return Reason(code="provider_failed", message=message, next_step="see what the provider's code logs, and try again")


def needs_of(ask: Ask, *, consume: bool, temporal: Temporal = NO_CLAUSES) -> Needs:
    """The streams of those who ask and act, and of the session; a task that is only named is looked up too."""
    subject = ask.subject[: bounds.NAME_BYTES]
    who = (identity_stream(subject), identity_stream(ask.caller.id))
    session: tuple[str, ...] = (session_stream(ask.task.task),) if ask.task is not None else ()
    if temporal.workload is not None and session:
        session = (*session, workload_stream(subject))
    return Needs(reads=who, appends=session) if consume else Needs(reads=(*who, *session), records=False)


def _bounds(case: Case) -> Reason | None:
    """5. Bounds of the session: at a bound, deny with the reason."""
    session = _established(case.session)
    for name, value, bound in (
        ("calls", session.calls, bounds.SESSION_CALLS),
        ("denials", session.denials, bounds.SESSION_DENIALS),
        ("labels", len(session.labels), bounds.SESSION_LABELS),
        ("destinations", len(session.destinations), bounds.SESSION_DESTINATIONS),
        ("bytes", session.bytes, bounds.SESSION_BYTES),
    ):
        if value >= bound:
            return Reason(
                code=BOUND,
                message=f"this session has reached its bound of {bound} {name}",
                next_step="complete this task and start another",
            )
    return None


def _person(task: Task, world: World) -> tuple[Registration, ...]:
    """Who the task acts for, if they are registered here, so that policies can read their groups."""
    registration = world.registration(task.on_behalf_of) if task.on_behalf_of else None
    return (registration,) if registration else ()


def _earlier(case: Case, world: World, refs: Mapping[str, PolicyRef]) -> Decision | None:
    """The decision that the same idempotency key was given before; with another digest it is a conflict."""
    ask, session = case.ask, case.session
    if not ask.idempotency_key or session is None:
        return None
    key = entries.idempotency(ask)
    answer = session.answered(key) or world.denials.answered(case.stream, key)
    if answer is None:
        return None
    # SECURITY: also in another task of the tree, whose intent may be narrower than the one that was decided on.
    if answer["digest"] != case.digest or answer["task"] != case.tasks[0].id:
        raise Conflict(
            "idempotency_conflict",
            "this idempotency key was used for another action, other arguments or another task",
            "use a new key for a new request",
        )
    decision = entries.as_decision(answer, refs, case.now, ask)
    if decision.permitted and not ask.supports.issuperset(each.id for each in decision.obligations):
        # SECURITY: a permit is not answered again to who no longer says that it can fulfil its obligations.
        raise Conflict(
            "idempotency_conflict",
            "this idempotency key was permitted with obligations that are not supported now",
            "use a new key for a new request",
        )
    return decision


def _decision(case: Case, reason: Reason, *, probe: bool) -> Decision:
    permit = reason.code in (PERMITTED, OBSERVED)
    request = None
    if case.approvals and reason is case.denied and case.action is not None:
        request = access_request(case.ask, case.approvals, selecting(case.action, case.ask.input))
    return Decision(
        id="" if probe else new_id("d", case.now),
        effect="permit" if permit else "deny",
        reason=reason,
        action=case.ask.action,
        digest=case.digest,
        task=case.tasks[0].id if case.tasks else "",
        at=case.now,
        expires=case.now + bounds.PERMIT_MS if permit and not probe else 0,
        obligations=case.obligations,
        mode=case.mode,
        would=case.would,
        probe=probe,
        requestable=request is not None,
        request=request,
    )


def _refusal(ask: Ask, digest: str, reason: Reason) -> Decision:
    """A deny without a record: nothing was durable, or nothing could be read."""
    return Decision(id="", effect="deny", reason=reason, action=ask.action, digest=digest)


def _unknown(spiffe_id: str) -> Reason:
    return Reason(
        code="identity_unknown",
        message=f"`{spiffe_id[:256]}` is not registered",
        next_step="register it with `remit workload add`",
    )


def _established(value: T | None) -> T:
    """What an earlier step has established; its absence is a fault, and denies."""
    if value is None:
        raise LookupError("an earlier step has not established this")
    return value
