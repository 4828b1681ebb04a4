"""What became of permits: outcomes from enforcement points, and resolutions by operators (docs/design/deciding.md)."""

from __future__ import annotations

import logging
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from remit.core import bounds
from remit.core.actions import Action, Field
from remit.core.decisions import Outcome, OutcomeReceipt, OutcomeResult, Reason, Standing
from remit.core.errors import Conflict, InvalidInput, NotFound
from remit.core.identities import Identity
from remit.decide import entries
from remit.decide.histories import OUTCOMES, Told
from remit.decide.lessons import Lesson
from remit.decide.operations import Operations, check_length
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.session import Permit, Session
from remit.decide.world import World, identity_stream, session_stream

log = logging.getLogger("remit.decide")

_NUMBER_LENGTH: Final = 64


class OutcomeOperations(Operations):
    """Operations on permits that were given."""

    async def report(self, caller: Identity, outcome: Outcome, *, durable: bool = True) -> OutcomeReceipt:
        """Takes what an enforcement point reports after a permit; the first believed one counts.

        With `durable=False` the answer comes once the outcome is sequenced: a later permit is then decided and
        made durable after it. What the workload says of itself is stored as claimed.
        """
        needs = Needs(reads=(identity_stream(caller.id),), keys=(outcome.decision[: bounds.NAME_BYTES],))
        return await self._run(lambda world, now: self._report(caller, outcome, durable, world, now), needs)

    async def resolve(self, caller: Identity, decision_id: str, result: OutcomeResult, reason: str) -> None:
        """An operator says what became of a permit whose outcome is unknown."""

        def work(world: World, now: int) -> Step[None]:
            self._active(caller, world, now)
            check_length(reason, "reason")
            session, permit = self._permit(world, decision_id)
            self._require(caller, "permit.resolve", self._installation(), {}, world, now)
            if caller.id == permit.subject:
                # SECURITY: who acted is not believed about what became of it, whatever else it may administer.
                reason_ = Reason(code="own_permit", message="a workload can't resolve its own permit")
                raise self._refused(caller, "permit.resolve", reason_, {"target": decision_id}, world, now)
            _check_result(result)
            if permit.state != "unknown":
                raise Conflict("outcome_known", f"the outcome of this permit is {permit.state}, not unknown")
            body = {"by": caller.id, "decision": decision_id, "reason": reason, "result": result}
            return Step(None, (Entry(session_stream(session.root), "resolution", body),))

        needs = Needs(reads=(identity_stream(caller.id),), keys=(decision_id[: bounds.NAME_BYTES],))
        await self._run(work, needs)

    def _report(
        self, caller: Identity, outcome: Outcome, durable: bool, world: World, now: int
    ) -> Step[OutcomeReceipt]:
        self._active(caller, world, now)
        _check_result(outcome.result)
        session, permit = self._permit(world, outcome.decision)
        if outcome.digest != permit.digest:
            # SECURITY: an outcome belongs to exactly the arguments that were permitted.
            raise Conflict(
                "outcome_digest_mismatch", "the outcome quotes other arguments than the permit was given for"
            )
        action = self.configuration.catalogue.actions.get(permit.action)
        context = {
            "isPep": permit.pep == caller.id,
            "workload": {"__entity": {"type": "Remit::Workload", "id": permit.subject}},
        }
        resource = ("Remit::Server", permit.action.partition("/")[0])
        refusal = self._decide(caller, "outcome.report", resource, context, world)
        if refusal is not None:
            raise self._refused(caller, "outcome.report", refusal, {"target": outcome.decision}, world, now)
        # SECURITY: an outcome is believed from the permit's own enforcement point only, never from who acted.
        believed = caller.id == permit.pep and caller.id != permit.subject
        standing: Standing = "believed" if believed else "claimed"
        late = outcome.started > permit.at + bounds.PERMIT_MS
        receipt = OutcomeReceipt(decision=outcome.decision, standing=standing, late=late)
        if standing == "believed" and permit.state not in ("open", "unknown"):
            if permit.state == outcome.result:
                return Step(receipt)
            raise Conflict("outcome_already_reported", f"the outcome of this permit was reported as {permit.state}")
        if standing == "claimed" and permit.claimed:
            return Step(receipt)  # once is enough: a workload must not fill the record with claims
        if late and believed:  # who acted could sound as many alarms as it likes
            log.critical("ALARM the permit %s was used after it had run out", permit.decision)
        body: dict[str, Any] = {
            "by": caller.id,
            "bytes": min(max(outcome.bytes, 0), 2**50),
            "decision": outcome.decision,
            "late": late,
            "result": outcome.result,
            "selected": _selected(action, outcome),
            "standing": standing,
            "started": min(max(outcome.started, 0), 2**50),
        }
        personal = (
            ()
            if action is None
            else tuple(
                f"selected.{path.removeprefix('output.')}" for path in action.personal if path.startswith("output.")
            )
        )
        stream = session_stream(session.root)
        if believed:
            items = session.teaches(permit, late) if outcome.result == "response" else ()
            world.lessons.note(permit.subject, permit.decision, Lesson(stream, now, items))
        root = entries.behind((session.tasks[session.root],))
        entry = entries.outcome(stream, body, permit.recorded_digest, personal, root)
        events = self._events(session, permit, outcome.result, body["selected"]) if believed else ()
        return Step(receipt, (entry, *events), durable)

    def _events(self, session: Session, permit: Permit, result: str, selected: dict[str, Any]) -> tuple[Entry, ...]:
        """The outcome among what its workload did, where policies are about that over all its tasks."""
        scope = self.configuration.policies.temporal.workload
        if scope is None or result not in OUTCOMES or not scope.watches(permit.action, result):
            return ()
        told = Told(permit.action, permit.subject, permit.decision, permit.task, permit.input, selected)
        chain = session.chain(session.tasks[permit.task])
        return (entries.event(self.configuration, result, told, scope, chain),)

    def _permit(self, world: World, decision_id: str) -> tuple[Session, Permit]:
        root = world.locate(decision_id[: bounds.NAME_BYTES])
        session = world.session(root) if root else None
        permit = session.permits.get(decision_id) if session else None
        if session is None or permit is None:
            raise NotFound("permit_unknown", "there is no such permit", "quote the id of the decision that permitted")
        return session, permit


def _check_result(result: str) -> None:
    # SECURITY: `unknown` is the service's to say, at the deadline.
    if result not in ("response", "error", "not_executed"):
        raise InvalidInput("result_invalid", "an outcome is `response`, `error` or `not_executed`")


def _selected(action: Action | None, outcome: Outcome) -> dict[str, Any]:
    """The result fields that the catalogue selects, typed; what does not fit its type is left out."""
    if action is None or outcome.result != "response":
        return {}
    found: dict[str, Any] = {}
    for field in action.select:
        value = _typed(field, outcome.output.get(field.path))
        if value is not None:
            found[field.path] = value
    return found


def _typed(field: Field, value: Any) -> Any:
    if field.type == "string":
        return value if isinstance(value, str) and _is_short(value) else None
    if field.type == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > _NUMBER_LENGTH:
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    if not number.is_finite() or abs(number) >= Decimal(2) ** 49 or number != round(number, 4):
        return None
    if field.type == "integer":
        return int(number) if number == int(number) else None
    return {"__extn": {"fn": "decimal", "arg": f"{number:.4f}"}}


def _is_short(text: str) -> bool:
    """Whether a record holds the text as it is; a longer one would be a digest, and no string, after a replay."""
    try:
        return len(text.encode()) <= bounds.STRING_IN_RECORD
    except UnicodeEncodeError:
        return False
