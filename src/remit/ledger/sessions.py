"""The meaning of one session's stream: the rules of docs/design/records.md, applied record by record.

State is what those rules need: tasks, permits, what limits have spent, idempotency keys. It is bounded by what one
session may hold, and is dropped with the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from remit.core import bounds
from remit.core.effects import CONSEQUENTIAL
from remit.ledger import bodies
from remit.ledger.facts import Shown, contradictions
from remit.ledger.findings import Report
from remit.ledger.history import History
from remit.ledger.limits import Spending, read_bounds
from remit.ledger.lives import Lives
from remit.ledger.practice import Item
from remit.ledger.reevaluation import Reevaluation
from remit.ledger.tasks import Task

_FINAL: Final = frozenset({"completed", "cancelled", "expired"})
_RELEASED_FOR_READS: Final = frozenset({"error", "unknown"})


@dataclass(slots=True)
class Permit:
    """One permit and what became of it."""

    digest: str
    subject: str
    pep: str
    expires: int
    deadline: int
    reads: bool
    usage: dict[str, int]
    items: tuple[Item, ...] = ()  # what its completion may teach
    action: str = ""
    result: str = ""  # "" while open
    by_pep: bool = False
    resolved: bool = False
    claimed: bool = False
    released: bool = False


@dataclass(slots=True)
class Session:
    """The checks of one stream `session/<root>`."""

    root: str
    stream: str
    lives: Lives
    report: Report
    reevaluation: Reevaluation
    tasks: dict[str, Task] = field(default_factory=dict)
    permits: dict[str, Permit] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)  # by workload: the action that it completed last
    practised: set[tuple[str, Item]] = field(default_factory=set)
    n: int = 0
    t: int = 0
    spending: Spending = field(init=False)
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.spending = Spending(self.report, self.find)
        self.history = History(self.reevaluation.awaited)

    def find(self, check: str, message: str) -> None:
        """Adds a finding at the record in hand."""
        self.report.find(check, self.stream, self.n, message)

    def chain(self, task_id: str) -> tuple[Task, ...]:
        """A task and those above it, nearest first; none where there is no such task."""
        task = self.tasks.get(task_id)
        return () if task is None else (task, *task.chain)

    def finish(self) -> None:
        """Counts what the stream leaves open."""
        self.report.permits += len(self.permits)
        self.report.open_permits += sum(
            1 for permit in self.permits.values() if not permit.result and not permit.claimed
        )

    # --- tasks ----------------------------------------------------------------------------------------------

    def task(self, body: bodies.Task) -> None:
        """Takes a `task` record."""
        self.report.made("tasks")
        known = self.tasks.get(body.task)
        if known is None:
            self._open(body)
        elif known.state in _FINAL:
            self.find("tasks", f"the task `{body.task}` is {known.state} and can't become {body.state}")
        elif body.state == "open" and known.state != "suspended":
            self.find("tasks", f"the task `{body.task}` opens again")
        else:
            if body.state == "expired" and self.t < known.expires:
                self.find("tasks", f"the task `{body.task}` expires {known.expires - self.t} ms before its time")
            if body.state == "suspended" and body.by == f"spiffe://{self.report.td}/remit":
                self.report.made("causes")
                if body.decision not in self.denied:
                    self.find("causes", f"the service suspends `{body.task}`, and no denial before it says why")
            known.state = body.state

    def _open(self, body: bodies.Task) -> None:
        if body.state != "open":
            self.find("tasks", f"the task `{body.task}` becomes {body.state} and was never opened")
            return
        if not (body.workload and body.starter and body.intent and body.expires):
            self.find("tasks", f"the task `{body.task}` opens without workload, starter, intent or expiry")
        parent = self.tasks.get(body.parent) if body.parent else None
        if body.parent:
            self._child(body, parent)
        elif body.task != self.root:
            self.find("tasks", f"the task `{body.task}` has no parent and is not the root of this stream")
        if body.root != self.root:
            self.find("tasks", f"the task `{body.task}` names the root `{body.root}`")
        self.reevaluation.start(self.stream, self.n, self.t, body)
        above = () if parent is None else (parent, *parent.chain)
        self.tasks[body.task] = Task(
            id=body.task,
            intent=body.intent,
            workload=body.workload,
            expires=body.expires,
            on_behalf_of=body.on_behalf_of,
            chain=above,
            self_started=parent.self_started if parent else body.starter == body.workload,
            bounds=read_bounds(body, self.find) + (() if parent is None else parent.bounds),
            starter=body.starter,
            case_type=body.case_type,
            params=body.params,
            created=self.t,
            emergency=body.emergency,
        )

    def _child(self, body: bodies.Task, parent: Task | None) -> None:
        if parent is None:
            self.find("tasks", f"the parent `{body.parent}` of the task `{body.task}` was never opened")
            return
        if not body.task.startswith(body.parent + "."):
            self.find("tasks", f"the id of the child `{body.task}` does not continue its parent's, `{body.parent}`")
        if parent.state != "open" or parent.expires <= self.t:
            state = parent.state if parent.state != "open" else "expired"
            self.find("tasks", f"the child `{body.task}` opens while its parent is {state}")
        if body.expires > parent.expires:
            self.find(
                "tasks", f"the child `{body.task}` lasts {body.expires - parent.expires} ms longer than its parent"
            )
        if body.on_behalf_of != parent.on_behalf_of and isinstance(body.on_behalf_of, str):
            self.find("tasks", f"the child `{body.task}` acts on behalf of another person than its parent")

    # --- decisions ------------------------------------------------------------------------------------------

    def decision(self, body: bodies.Decision) -> None:
        """Takes a `decision` record."""
        self.report.made("decisions")
        if body.id in self.permits or body.id in self.denied:
            self.find("decisions", f"the id `{body.id}` was given to an earlier decision")
        task = self.tasks.get(body.task)
        if task is None:
            self.find("decisions", f"there is no task `{body.task}` in this session")
        self.lives.deeds.decided(body, self.report)
        self.lives.practised.decided(body.id, body.subject, self.t, self.report)
        self._novelty(body)
        self._facts(body)
        if body.effect == "deny":
            self.denied.add(body.id)
            return
        if body.requestable is not None:
            self.find("decisions", f"the permit `{body.id}` says that somebody would have to approve it")
        self._permit(body, task)
        usage = self.spending.take(body, task.bounds if task else ())
        self._once(body)
        self.permits[body.id] = Permit(
            digest=body.digest,
            subject=body.subject,
            pep=body.pep,
            expires=body.expires,
            deadline=body.deadline,
            reads=body.server_effect == "read",
            usage=usage,
            items=self._teaches(body, task),
            action=body.action,
        )
        self.history.permitted(body)

    def _facts(self, body: bodies.Decision) -> None:
        """Compares what it was decided on with what the records before it show."""
        self.report.made("facts")
        configured = self.reevaluation.configured(body.config)
        risks = self.lives.risk_at(body.subject, self.t, configured.signals) if configured else None
        shown = Shown(
            chain=self.chain(body.task),
            history=self.history,
            spent=self.spending.spent,
            subjects=self.lives.registrations(body.subject, self.t),
            callers=self.lives.registrations(body.pep, self.t),
            risks=risks,
            configured=configured,
            at=self.t,
        )
        for problem in contradictions(body, shown):
            self.find("facts", f"`{body.id}`: {problem}")

    def _novelty(self, body: bodies.Decision) -> None:
        """Compares the novelty that a decision states with what was practised before it."""
        facts = body.context.get("novelty")
        if not isinstance(facts, dict):
            return
        self.report.made("practice")
        destination = body.context.get("destination")
        host = destination.get("host") if isinstance(destination, dict) else None
        items: list[Item] = [("tool", "", body.action), ("step", self.last.get(body.subject, ""), body.action)]
        items += [("destination", "", host)] if isinstance(host, str) and "destination" in facts else []
        if refusal := self.lives.practised.unlearned(body.subject, self.t, facts, items):
            self.find("practice", refusal)

    def _teaches(self, body: bodies.Decision, task: Task | None) -> tuple[Item, ...]:
        """What the completion of a permit may teach: nothing in emergencies, and where its root started itself."""
        if task is None or task.emergency or task.self_started or body.would == "deny":
            return ()
        items: list[Item] = [("tool", "", body.action), ("step", self.last.get(body.subject, ""), body.action)]
        if body.adds.destination and (body.adds.fixed or not self.history.untrusted):
            items.append(("destination", "", body.adds.destination))
        return tuple(items)

    def _permit(self, body: bodies.Decision, task: Task | None) -> None:
        self.report.made("permits")
        self.report.made("quarantine")
        if task is not None:
            self._lifetime(body, task)
        if not self.t < body.expires <= self.t + bounds.PERMIT_MS:
            self.find("permits", f"the permit holds {body.expires - self.t} ms, not 1 to {bounds.PERMIT_MS}")
        if (body.enforcement == "self") != (body.pep == body.subject) or not body.enforcement:
            self.find("permits", f"enforcement is `{body.enforcement}` with `{body.pep}` as the enforcement point")
        if body.would == "deny" and body.mode != "observe":
            self.find("permits", "it permits what the policies denied, and not in mode `observe`")
        if body.enforcement == "self" and body.server_effect in CONSEQUENTIAL and body.would != "deny":
            self.find("permits", f"a workload that enforces itself is permitted to {body.server_effect}")
        for who in sorted({body.subject, body.pep}):
            if refusal := self.lives.refusal(who, self.t):
                self.find("quarantine", f"a permit is given, and {refusal}")

    def _lifetime(self, body: bodies.Decision, task: Task) -> None:
        if body.subject != task.workload:
            self.find("permits", f"`{body.subject}` is permitted under a task of `{task.workload}`")
        for each in (task, *task.chain):
            if each.state != "open":
                self.find("permits", f"a permit is given while the task `{each.id}` is {each.state}")
            elif each.expires <= self.t:
                self.find("permits", f"a permit is given {self.t - each.expires} ms after the task `{each.id}` expired")
        if task.self_started and body.server_effect in CONSEQUENTIAL:
            self.find("permits", f"a workload that started its own task is permitted to {body.server_effect}")

    def _once(self, body: bodies.Decision) -> None:
        if not body.idempotency_key:
            return
        self.report.made("idempotency")
        earlier = self.keys.setdefault(body.idempotency_key, body.id)
        if earlier != body.id:
            self.find("idempotency", f"the key `{body.idempotency_key[:16]}…` was permitted before, as `{earlier}`")

    # --- what became of permits -----------------------------------------------------------------------------

    def denials(self, body: bodies.Denials) -> None:
        """Takes a `denials` record."""
        self.report.made("denials")
        if body.decision not in self.denied:
            self.find("denials", f"there is no denial `{body.decision}` before it")

    def outcome(self, body: bodies.Outcome) -> None:
        """Takes an `outcome` record."""
        self.report.made("outcomes")
        permit = self.permits.get(body.decision)
        if permit is None:
            self.find("outcomes", f"there is no permit `{body.decision}` before it")
            return
        if body.digest != permit.digest:
            self.find("outcomes", f"it quotes another digest than the permit `{body.decision}`")
        late = body.started > permit.expires
        self.report.late += late
        if late and not body.late:
            over = body.started - permit.expires
            self.find("outcomes", f"the action began {over} ms after its permit had run out, and is not called late")
        if body.result == "unknown":
            self._unknown(body, permit)
        elif body.standing == "believed":
            self._believed(body, permit, late)
        else:
            permit.claimed = True
            if body.by == permit.pep != permit.subject:
                self.find("outcomes", f"the outcome of the enforcement point `{body.by}` is only claimed")

    def _unknown(self, body: bodies.Outcome, permit: Permit) -> None:
        if permit.result:
            self.find("outcomes", f"the permit `{body.decision}` becomes unknown, and was {permit.result}")
            return
        if body.by in (permit.subject, permit.pep):
            self.find("outcomes", f"`{body.by}` makes the permit `{body.decision}` unknown, which only the service may")
        if self.t < permit.deadline:
            self.find(
                "outcomes", f"the permit `{body.decision}` becomes unknown {permit.deadline - self.t} ms too early"
            )
        self._close(permit, "unknown")

    def _believed(self, body: bodies.Outcome, permit: Permit, late: bool) -> None:
        # SECURITY: nobody but the enforcement point that asked is believed, and never the workload itself.
        if body.by != permit.pep or body.by == permit.subject:
            who = "the workload itself" if body.by == permit.subject else "not the enforcement point that asked"
            self.find("outcomes", f"the outcome by `{body.by}` is believed, which is {who}")
            return
        if permit.by_pep or permit.resolved:
            by = "its enforcement point" if permit.by_pep else "an operator"
            self.find("outcomes", f"the outcome of `{body.decision}` was told by {by} before; it is {permit.result}")
            return
        permit.by_pep = True
        self.lives.deeds.ended(body.decision, body.result)
        if body.result == "response":
            self.history.completed(body, self.t)
            self._completed(permit, late)
        self._close(permit, body.result)

    def _completed(self, permit: Permit, late: bool) -> None:
        """What a believed response shows, unless the workload was stopped by then."""
        items = [] if late else [item for item in permit.items if (permit.subject, item) not in self.practised]
        self.practised.update((permit.subject, item) for item in items)
        if not self.lives.refusal(permit.subject, self.t):
            self.lives.practised.show(permit.subject, self.t, items)
        self.last[permit.subject] = permit.action

    def resolution(self, body: bodies.Resolution) -> None:
        """Takes a `resolution` record."""
        self.report.made("resolutions")
        permit = self.permits.get(body.decision)
        if permit is None:
            self.find("resolutions", f"there is no permit `{body.decision}` before it")
            return
        if permit.result != "unknown":
            self.find("resolutions", f"the outcome of `{body.decision}` is {permit.result or 'open'}, not unknown")
            return
        if body.by == permit.subject:
            self.find("resolutions", f"the workload `{body.by}` resolves its own permit")
            return
        permit.resolved = True
        self._close(permit, body.result)

    def _close(self, permit: Permit, result: str) -> None:
        permit.result = result
        released = result == "not_executed" or (permit.reads and result in _RELEASED_FOR_READS)
        if released == permit.released:
            return
        permit.released = released
        self.spending.move(permit.usage, released)
