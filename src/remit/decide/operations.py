"""Everything but tool actions: tasks, outcomes, identities, risk. Decided by policy, in the same sequencer.

Each operation has the same steps: 1 the caller is registered and active; 2 what it names exists and fits; 3 policy
decides (`Remit::Action::"task.start"` and so on; shipped policies and those generated from intents); 4 record;
answer. A refusal raises `Forbidden` with the reason, after the denial's record is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from remit.core import bounds, canonical
from remit.core.decisions import PERMITTED, Reason
from remit.core.errors import Forbidden, NotFound, RemitError, TooLarge, Unavailable
from remit.core.identities import Identity, Registration
from remit.core.ids import new_id
from remit.decide import entries
from remit.decide.configuration import Configuration
from remit.decide.folding import denial_key
from remit.decide.sequence import NOTHING_KNOWN, Entry, Needs, Sequencer, Step
from remit.decide.session import Task
from remit.decide.world import World, identity_stream

log = logging.getLogger("remit.decide")

T = TypeVar("T")
Resource = tuple[str, str]


class Operations:
    """The steps that every operation shares; each operation is one work of the sequencer."""

    def __init__(self, configuration: Configuration, sequencer: Sequencer) -> None:
        self.configuration = configuration
        self._sequencer = sequencer

    async def _run(self, work: Callable[[World, int], Step[T]], needs: Needs = NOTHING_KNOWN) -> T:
        """Runs a work; one that is refused makes its denial durable first, then raises it."""

        def guarded(world: World, now: int) -> Step[T | RemitError]:
            try:
                step = work(world, now)
            except Refused as refused:
                return Step(refused.error, refused.entries)
            return Step(step.answer, step.entries, step.durable)

        try:
            answer = await self._sequencer.run(guarded, needs)
        except RemitError:
            raise
        except Exception as error:
            log.critical("ALARM an operation failed; nothing changed", exc_info=True)
            raise Unavailable("internal_fault", "the operation failed, nothing changed", "look at the log") from error
        if isinstance(answer, RemitError):
            raise answer
        return answer

    def _active(self, caller: Identity, world: World, now: int) -> Registration:
        """1. The caller is registered, active, and its document has not expired."""
        registration = world.registration(caller.id)
        if registration is None:
            raise Forbidden("identity_unknown", f"`{caller.id}` is not registered", "register it first")
        if registration.state != "active":
            raise Forbidden(f"identity_{registration.state}", f"`{caller.id}` is {registration.state}")
        if caller.expires <= now:
            raise Forbidden("identity_expired", "the caller's identity document has expired", "renew it")
        if caller.possession == "none":
            # SECURITY: whoever sees a bearer secret can use it; it asks general questions and changes nothing.
            raise Forbidden("bearer_refused", "a bearer key asks general questions only", "prove a registered key")
        return registration

    def _installation(self) -> Resource:
        return ("Remit::Installation", self.configuration.trust_domain)

    def _decide(
        self,
        caller: Identity,
        action: str,
        resource: Resource,
        context: dict[str, Any],
        world: World,
        *,
        related: tuple[Registration, ...] = (),
    ) -> Reason | None:
        """3. Policy: None when permitted, else why not. Administration is never observed."""
        registration = registered(world, caller.id)
        intent = resource[1] if resource[0] == "Remit::Intent" else ""
        policies = self.configuration.policies
        evaluation = policies.evaluate(registration, action, resource, context, intent, related=related)
        for policy, message in evaluation.errors:
            log.critical("ALARM policy %s failed to evaluate: %s", policy, message)
        return None if evaluation.permitted and evaluation.reason.code == PERMITTED else evaluation.reason

    def _require(
        self, caller: Identity, action: str, resource: Resource, context: dict[str, Any], world: World, now: int
    ) -> None:
        refusal = self._decide(caller, action, resource, context, world)
        if refusal is not None:
            raise self._refused(caller, action, refusal, {}, world, now)

    def _refused(
        self,
        caller: Identity,
        action: str,
        reason: Reason,
        context: dict[str, Any],
        world: World,
        now: int,
    ) -> Refused:
        """The refusal as an error, and its record in the caller's stream; an identical one is counted."""
        body: dict[str, Any] = {
            "action": action,
            "config": self.configuration.digest,
            "context": context,
            "deadline": 0,
            "digest": canonical.request_digest(action, context),
            "effect": "deny",
            "enforcement": "self",
            "expires": 0,
            "id": new_id("d", now),
            "idempotencyKey": "",
            "mode": "enforce",
            "obligations": [],
            "pep": caller.id,
            "principal": entries.principal(registered(world, caller.id)),
            "reason": entries.reason_body(reason),
            "request": "",
            "serverEffect": "",
            "subject": caller.id,
            "task": "",
            "usage": {},
            "would": "",
        }
        error = Forbidden(reason.code, reason.message, reason.next_step)
        stream = identity_stream(caller.id)
        earlier = world.denials.repeat(stream, denial_key(body), now, self.configuration.limits.denial_fold_ms)
        if earlier is not None:
            error.decision = earlier.answer["id"]
            return Refused(error, ())
        error.decision = body["id"]
        return Refused(error, (Entry(stream, "decision", body, body["id"]),))


class Refused(Exception):
    """A refusal on its way out of a work, with the record that must be durable before it is told."""

    def __init__(self, error: Forbidden, recorded: tuple[Entry, ...]) -> None:
        super().__init__(error.message)
        self.error = error
        self.entries = recorded


def existing_task(world: World, task_id: str) -> Task:
    session = world.session(task_id[: bounds.NAME_BYTES])
    task = session.tasks.get(task_id) if session else None
    if task is None:
        raise NotFound("task_unknown", "there is no such task", "`remit task list` shows the tasks")
    return task


def registered(world: World, spiffe_id: str) -> Registration:
    registration = world.registration(spiffe_id)
    if registration is None:
        raise NotFound("identity_unknown", f"`{spiffe_id[:128]}` is not registered", "register it first")
    return registration


def check_length(text: str, what: str) -> None:
    if len(text.encode(errors="surrogatepass")) > 1024:
        raise TooLarge("text_too_long", f"the {what} is longer than 1,024 bytes", "shorten it")
