"""The history of one task tree, as a fold over the records of its stream.

State here is a function of the records alone, so that a restart, a failed commit or another process arrives at
the same state by replaying them. Nothing in this module reads the clock, the configuration or storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from remit.core import bounds
from remit.core.effects import Effect
from remit.core.tasks import TaskState, TaskView
from remit.decide.histories import History

PERMIT_OPEN: Final = "open"
_RELEASED_FOR_READS: Final = frozenset({"error", "unknown"})
# What a completed action may teach of a workload: (workload, "tool" | "step" | "destination", from, name).
Item = tuple[str, str, str, str]
_ANSWER: Final = (
    *("action", "digest", "effect", "expires", "id", "mode", "obligations", "reason", "requestable", "task", "would"),
)


@dataclass(slots=True)
class Task:
    """One task of the tree."""

    id: str
    root: str
    parent: str
    intent: str
    workload: str
    starter: str
    key: str
    created: int
    expires: int
    params: dict[str, Any]
    case_type: str
    on_behalf_of: str
    emergency: bool
    depth: int
    state: TaskState = "open"
    moved_by: str = ""  # who moved it to its state last
    calls: int = 0
    children: int = 0

    def view(self) -> TaskView:
        """How the task stands, for an answer."""
        return TaskView(
            id=self.id,
            root=self.root,
            parent=self.parent,
            intent=self.intent,
            workload=self.workload,
            starter=self.starter,
            state=self.state,
            created=self.created,
            expires=self.expires,
            depth=self.depth,
            params=self.params,
            case_type=self.case_type,
            on_behalf_of=self.on_behalf_of,
            emergency=self.emergency,
            calls=self.calls,
        )


@dataclass(slots=True)
class Permit:
    """One permit and what became of it: `open`, `response`, `error`, `not_executed`, `unknown` or `claimed`."""

    decision: str
    task: str
    action: str
    effect: Effect
    digest: str
    recorded_digest: str  # as the record has it: salted when arguments are personal
    subject: str
    pep: str
    at: int
    deadline: int
    usage: Mapping[str, str]
    input: dict[str, Any]
    previous: str = ""  # what the workload had completed last in this session
    host: str = ""  # where it goes, unless untrusted content may have said so
    teaches: bool = False  # whether its completion is a habit in the making
    state: str = PERMIT_OPEN
    claimed: bool = False  # the workload said something of it, once
    released: bool = False


@dataclass(slots=True)
class Step:
    """One completed action, believed from an enforcement point: what it was asked and which result fields it kept."""

    action: str
    task: str
    at: int
    input: dict[str, Any]
    selected: Mapping[str, Any]


@dataclass(slots=True)
class Used:
    """What permits have spent of one limit."""

    calls: int = 0
    total: Decimal = Decimal(0)


@dataclass(slots=True)
class Index:
    """Completed steps of one prerequisite by the values that its `where` compares."""

    seen: int = 0
    latest: dict[tuple[Any, ...], Step] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """One task tree: its tasks, permits, spent limits, completed steps and what its reads carried."""

    root: str
    tasks: dict[str, Task] = field(default_factory=dict)
    permits: dict[str, Permit] = field(default_factory=dict)
    used: dict[str, Used] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=dict)
    indexes: dict[tuple[Any, ...], Index] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    destinations: set[str] = field(default_factory=set)
    untrusted: bool = False
    calls: int = 0
    denials: int = 0
    bytes: int = 0
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  # permits by idempotency key
    refusals: dict[str, dict[str, Any]] = field(default_factory=dict)  # denials by idempotency key, the last ones
    open_permits: int = 0
    last: dict[str, str] = field(default_factory=dict)  # by workload: the action that it completed last
    practised: set[Item] = field(default_factory=set)
    records: int = field(default=0, compare=False)  # of its stream
    history: History | None = None  # what temporal policies see of it; None where there are none
    erased: bool = False  # whether values that decisions may need were erased, when the records were read

    def look_for_erased(self) -> None:
        """Notes whether any value was left as its commitment; once all records were taken."""
        steps = [step for steps in self.steps.values() for step in steps]
        self.erased = any(is_erased(task.params) for task in self.tasks.values()) or any(map(step_is_erased, steps))

    def apply(self, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes one record into the state; unknown kinds change nothing."""
        self.records += 1
        if self.history is not None:
            self.history.take(kind, body, at)
        if kind == "decision":
            self._decision(body, at)
        elif kind == "outcome":
            self._outcome(body, at)
        elif kind == "resolution":
            self._close(self.permits[body["decision"]], body["result"])
        elif kind == "task":
            self._task(body, at)

    def is_pending(self) -> bool:
        """Whether time alone can still change this session: open permits, or tasks that have not ended."""
        return self.open_permits > 0 or any(task.state in ("open", "suspended") for task in self.tasks.values())

    def chain(self, task: Task) -> tuple[Task, ...]:
        """The task and its ancestors, from the task upwards."""
        found = [task]
        while found[-1].parent:
            found.append(self.tasks[found[-1].parent])
        return tuple(found)

    def descendants(self, task_id: str) -> list[Task]:
        """The tasks below `task_id`, deepest first."""
        below = [task for task in self.tasks.values() if task.id.startswith(task_id + ".")]
        return sorted(below, key=lambda task: -task.depth)

    def latest_step(self, action: str, left: tuple[str, ...], right: tuple[Any, ...]) -> Step | None:
        """The latest completed `action` whose values at the paths `left` equal `right`; cost independent of history."""
        steps = self.steps.get(action)
        if not steps:
            return None
        index = self.indexes.setdefault((action, *left), Index())
        for step in steps[index.seen :]:
            values = tuple(_value_at(step, path) for path in left)
            if None not in values:
                index.latest[values] = step
        index.seen = len(steps)
        return index.latest.get(right)

    def answered(self, idempotency: str) -> dict[str, Any] | None:
        """What was answered to this idempotency key before (`answer_of`)."""
        return self.answers.get(idempotency) or self.refusals.get(idempotency)

    def teaches(self, permit: Permit, late: bool) -> tuple[Item, ...]:
        """What a believed response to this permit teaches: what no other call of this session has taught."""
        if late or not permit.teaches:
            return ()
        found = [(permit.subject, "tool", "", permit.action), (permit.subject, "step", permit.previous, permit.action)]
        if permit.host:
            found.append((permit.subject, "destination", "", permit.host))
        return tuple(item for item in found if item not in self.practised)

    def _task(self, body: dict[str, Any], at: int) -> None:
        task_id, state = body["task"], body["state"]
        if task_id in self.tasks:
            self.tasks[task_id].state = state
            self.tasks[task_id].moved_by = body["by"]
            return
        parent = body.get("parent", "")
        if parent:
            self.tasks[parent].children += 1
        self.tasks[task_id] = Task(
            id=task_id,
            root=body["root"],
            parent=parent,
            intent=body["intent"],
            workload=body["workload"],
            starter=body["starter"],
            key=body["key"],
            created=at,
            expires=body["expires"],
            params=body.get("params", {}),
            case_type=body.get("caseType", ""),
            on_behalf_of=body.get("onBehalfOf", ""),
            emergency=body.get("emergency", False),
            depth=task_id.count("."),
        )

    def _decision(self, body: dict[str, Any], at: int) -> None:
        if key := body.get("idempotencyKey"):
            self._answered(key, body)
        if body["effect"] != "permit":
            self.denials += 1
            return
        permit = Permit(
            decision=body["id"],
            task=body["task"],
            action=body["action"],
            effect=body["serverEffect"],
            digest=body["digest"],
            recorded_digest=body.get("recordedDigest", body["digest"]),
            subject=body["subject"],
            pep=body["pep"],
            at=at,
            deadline=body["deadline"],
            usage=body.get("usage", {}),
            input=_scalars(body["context"].get("input", {})),
            previous=self.last.get(body["subject"], ""),
            host=self._learnable(body.get("adds", {})),
            teaches=self._teaches(body),
        )
        self.permits[permit.decision] = permit
        self.open_permits += 1
        self.calls += 1
        self.tasks[permit.task].calls += 1
        for limit, amount in permit.usage.items():
            used = self.used.setdefault(limit, Used())
            used.calls += 1
            used.total += Decimal(amount)
        adds = body.get("adds")
        if adds:
            self.labels.update(adds.get("labels", ()))
            self.untrusted = self.untrusted or adds.get("untrusted", False)
            if host := adds.get("destination"):
                self.destinations.add(host)

    def _learnable(self, adds: Mapping[str, Any]) -> str:
        """The destination that a permit adds, unless untrusted content may have named it; a fixed one it can't."""
        # SECURITY: what was read in this session may be what chose the destination.
        return "" if self.untrusted and not adds.get("fixed", False) else str(adds.get("destination", ""))

    def _teaches(self, body: Mapping[str, Any]) -> bool:
        """Habits are learned from what policies permitted, in ordinary tasks that others started."""
        root = self.tasks[self.root]
        return (
            body.get("would", "") != "deny"
            and not self.tasks[body["task"]].emergency
            # SECURITY: who starts its own tasks could start as many as it takes.
            and root.starter != root.workload
        )

    def _answered(self, key: str, body: dict[str, Any]) -> None:
        """The first answer to a key stays. Permits are bounded by a session's calls, denials here."""
        if body["effect"] == "permit":
            self.answers.setdefault(key, answer_of(body))
            return
        self.refusals.setdefault(key, answer_of(body))
        if len(self.refusals) > bounds.IDEMPOTENCY_KEYS:
            del self.refusals[next(iter(self.refusals))]

    def _outcome(self, body: dict[str, Any], at: int) -> None:
        permit = self.permits[body["decision"]]
        self.bytes += body.get("bytes", 0)
        if body["standing"] == "claimed":
            permit.claimed = True
            if permit.pep == permit.subject:
                self._close(permit, "claimed")
            return
        self._close(permit, body["result"])
        if body["result"] == "response":
            self.practised.update(self.teaches(permit, body.get("late", False)))
            self.last[permit.subject] = permit.action
            step = Step(permit.action, permit.task, at, permit.input, body.get("selected", {}))
            self.steps.setdefault(permit.action, []).append(step)
        if body["result"] != "unknown":
            permit.input = {}

    def _close(self, permit: Permit, result: str) -> None:
        if permit.state == PERMIT_OPEN:
            self.open_permits -= 1
        permit.state = result
        released = result == "not_executed" or (permit.effect == "read" and result in _RELEASED_FOR_READS)
        if released == permit.released:
            return
        permit.released = released
        sign = -1 if released else 1
        for limit, amount in permit.usage.items():
            used = self.used[limit]
            used.calls += sign
            used.total += sign * Decimal(amount)


def answer_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of a decision's record is needed to give the same answer again (`entries.as_decision`)."""
    return {name: body[name] for name in _ANSWER if name in body}


def _scalars(record: Mapping[str, Any]) -> dict[str, Any]:
    """A typed record without its sets: prerequisites compare none, and they are as long as the caller likes."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and "__extn" not in value:
            found[name] = _scalars(value)
        elif not isinstance(value, list):
            found[name] = value
    return found


def _value_at(step: Step, path: str) -> Any:
    """The value at `input.<path>` or `output.<path>` of a step; None where it is missing or not a scalar."""
    side, _, rest = path.partition(".")
    if side == "output":
        value: Any = step.selected.get(rest)
    else:
        value = step.input
        for name in rest.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    return scalar(value)


def is_erased(value: Any) -> bool:
    """Whether a personal value was left as its commitment, here or below."""
    if isinstance(value, Mapping):
        return value.keys() == {"commitment"} or any(is_erased(each) for each in value.values())
    return isinstance(value, list) and any(is_erased(each) for each in value)


def step_is_erased(step: Step) -> bool:
    """Whether an argument or a result of a completed action was erased."""
    return is_erased(step.input) or is_erased(step.selected)


def scalar(value: Any) -> Any:
    """A comparable form of a scalar: type-exact, decimals by value; None for anything else."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int):
        return ("number", Decimal(value))
    if isinstance(value, str):
        return ("string", value)
    if isinstance(value, dict) and set(value) == {"__extn"}:
        extension = value["__extn"]
        return ("number", Decimal(extension["arg"])) if extension.get("fn") == "decimal" else None
    return None
