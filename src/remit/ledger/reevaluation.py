"""Each recorded decision evaluated again, from its recorded facts under its recorded policies (docs/design/ledger.md).

1. Of every decision: what its configuration settles by itself (`settled`), and who the principal was.
2. Which decisions policies made: permits, denials that name policies, `no_policy_permits`, `policy_error`, and what was
   refused only after they had permitted. All others are counted by reason.
3. They wait until there are enough of them, and go to the engine together, by configuration.
4. The answers are compared with the records (`judging`).
5. Of every task that opens: that it was permitted to its starter.

SECURITY: nothing is passed over silently. What can't be evaluated again is counted, with why.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar

from remit.core.errors import RemitError
from remit.core.evaluations import Asked, Evaluator, Path, Policies, Said, Text
from remit.ledger.bodies import Decision, Registration, Task
from remit.ledger.concealed import known
from remit.ledger.configured import START, WITHOUT_FACTS, Configured, Intent, awaited_in, read_configured
from remit.ledger.findings import Report
from remit.ledger.judging import ERROR, NO_POLICY, QUARANTINED, UNSUPPORTED, Judged, why
from remit.ledger.lives import Lives
from remit.ledger.settled import unsettled

T = TypeVar("T")

CHECK: Final = "reevaluation"
NOT_ASKED: Final = "decisions not evaluated again: without the policy engine"
NOT_OPENED: Final = "decisions evaluated again only in part: facts that are concealed, and not opened"
NO_FACTS: Final = "denials of administrative actions, whose facts are not recorded"
UNREADABLE: Final = "decisions not evaluated again: their configuration can't be read"
CHANGED: Final = "decisions not evaluated again: an identity changed in the same millisecond"
STARTS: Final = "starts of tasks not evaluated again"
FOLDED: Final = "denials that were only counted, with those that they repeat"

_WAITING: Final = 512  # decisions that wait for the engine
_BYTES: Final = 32 << 20  # and how much their records may be in all
_KEPT: Final = 16  # configurations that are kept ready
# Why else than by policies a decision is a deny, in the order of the service's steps (docs/design/deciding.md).
_BEFORE: Final = frozenset(
    {
        *("identity_unknown", "identity_expired", "identity_quarantined", "identity_retired", "bearer_refused"),
        *("subject_not_proved", "no_task", "task_unknown", "task_not_yours", "task_key_mismatch", "task_expired"),
        *("task_completed", "task_cancelled", "task_suspended", "intent_unknown"),
        *("action_unknown", "action_changed", "action_unreviewed", "arguments_invalid", "destination_unclear"),
        *("bound_reached", "internal_fault", "record_too_large", "record_too_deep", "record_invalid"),
    }
)


class Recorded(NamedTuple):
    """One recorded decision, and where it stands."""

    stream: str
    n: int
    t: int
    body: Decision
    size: int
    conceals: bool
    intents: tuple[str, ...] = ()  # of its task and of the tasks above it


class Reevaluation:
    """Takes decisions in the order of their records, and finds those that are not what they should be."""

    def __init__(self, report: Report, lives: Lives, text: Text, evaluator: Evaluator | None) -> None:
        self._report = report
        self._lives = lives
        self._text = text
        self._evaluator = evaluator
        self._waiting: dict[str, list[Recorded]] = {}
        self._count = self._bytes = 0
        self._configured: OrderedDict[str, Configured | str] = OrderedDict()
        self._policies: OrderedDict[str, Policies | str] = OrderedDict()
        self._awaited: frozenset[str] | None = None
        self._knows_awaited = False

    @property
    def awaited(self) -> frozenset[str] | None:
        """The actions that prerequisites of any configuration wait for; None where one can't be read.

        To be asked for after `administration` was read.
        """
        if not self._knows_awaited:
            self._awaited, self._knows_awaited = awaited_in(self._lives.parts.values(), self._text), True
        return self._awaited

    def configured(self, config: str) -> Configured | None:
        """What a configuration says, by its digest; None where it can't be read."""
        found = self._read(config)
        return None if isinstance(found, str) else found

    def take(self, recorded: Recorded) -> None:
        """Takes one decision."""
        self._waiting.setdefault(recorded.body.config, []).append(recorded)
        self._count += 1
        self._bytes += recorded.size
        if self._evaluator is None or self._count >= _WAITING or self._bytes >= _BYTES:
            self.flush()

    def start(self, stream: str, n: int, t: int, body: Task) -> None:
        """Takes a task that opens: it was permitted to its starter."""
        configured = self._read(body.config)
        policies = self._engine(body.config, configured) if isinstance(configured, Configured) else None
        if not isinstance(configured, Configured) or policies is None:
            self._report.skipped(f"{STARTS}: their configuration can't be read")
            return
        if isinstance(policies, str):
            self._report.skipped(f"{STARTS}: without the policy engine")
            return
        starters, workloads = self._lives.registrations(body.starter, t), self._lives.registrations(body.workload, t)
        if len(starters) != 1 or len(workloads) != 1:
            # One that is not registered is found where it acts.
            self._report.skipped(f"{STARTS}: who starts it, or acts, is not registered or changed in the millisecond")
            return
        context: dict[str, Any] = {
            "hasPrompt": bool(body.prompt),
            "workload": {"__entity": {"id": body.workload, "type": "Remit::Workload"}},
        }
        context |= {"caseType": body.case_type} if body.case_type else {}
        context |= {"parent": body.parent} if body.parent else {}
        principal, related = attributes(starters[0]), attributes(workloads[0])
        asked = Asked(principal, START, ("Intent", body.intent), context, frozenset(), related)
        self._report.made(CHECK)
        [said] = policies.evaluate([asked])
        if not said.permitted or body.intent not in configured.intents:
            who = f"`{body.starter}` starts it for `{body.workload}` under `{body.intent[:64]}`"
            self._report.find(CHECK, stream, n, f"`{body.task}`: {who}, and {why(said, policies)}")

    def flush(self) -> None:
        """Compares all that wait."""
        waiting, self._waiting = self._waiting, {}
        self._count = self._bytes = 0
        for config, several in waiting.items():
            configured = self._read(config)
            policies = self._engine(config, configured) if isinstance(configured, Configured) else configured
            if isinstance(configured, Configured):
                self._compare(several, configured, policies)
            else:
                self._report.skipped(f"{UNREADABLE} ({configured})", len(several))

    def _read(self, config: str) -> Configured | str:
        """A configuration by its digest, or why it can't be read."""
        found = self._configured.pop(config, None)
        if found is None:
            parts = self._lives.parts.get(config)
            try:
                found = read_configured(parts, self._text) if parts is not None else "it was never recorded"
            except RemitError as error:
                found = error.message[:300]
        return _keep(self._configured, config, found)

    def _engine(self, config: str, configured: Configured) -> Policies | str:
        """The policies of a configuration, or why they can't be asked."""
        if self._evaluator is None:
            return NOT_ASKED
        found = self._policies.pop(config, None)
        if found is None:
            try:
                found = self._evaluator.policies(configured.sources, configured.groups, configured.purposes)
            except RemitError as error:
                found = f"{UNREADABLE} ({error.message[:300]})"
        return _keep(self._policies, config, found)

    # --- one configuration ----------------------------------------------------------------------------------

    def _compare(self, several: Sequence[Recorded], configured: Configured, policies: Policies | str) -> None:
        asked: list[Asked] = []
        places: list[tuple[Recorded, tuple[Intent, ...], int, int]] = []
        for recorded in several:
            intents = self._settled(recorded, configured)
            if not self._is_policies(recorded):
                continue
            if isinstance(policies, str):
                self._report.skipped(policies)
                continue
            requests = self._requests(recorded, configured)
            if requests is None:
                continue
            places.append((recorded, intents, len(asked), len(asked) + len(requests)))
            asked += requests
        if isinstance(policies, str) or not asked:
            return
        said = policies.evaluate(asked)
        for recorded, intents, start, end in places:
            self._judge(recorded, Judged(recorded.body, intents, said[start:end], policies, configured))

    def _settled(self, recorded: Recorded, configured: Configured) -> tuple[Intent, ...]:
        """The intents of its tasks; what the configuration settles is compared on the way."""
        intents = tuple(configured.intents[name] for name in recorded.intents if name in configured.intents)
        if "/" not in recorded.body.action:
            return intents
        if len(intents) < len(recorded.intents) and (recorded.body.effect == "permit" or recorded.body.context):
            self._find(recorded, "the intent of its task, or of one above it, is not in its configuration")
        subjects = self._lives.registrations(recorded.body.subject, recorded.t)
        for problem in unsettled(recorded.body, intents, subjects, configured, recorded.t):
            self._find(recorded, problem)
        return intents

    def _is_policies(self, recorded: Recorded) -> bool:
        """Whether policies made the decision; others are counted by reason, or are findings."""
        body = recorded.body
        code, names = body.reason.code, body.reason.policies
        if "/" not in body.action:
            if body.action in WITHOUT_FACTS and not body.context and (names or code in (NO_POLICY, ERROR)):
                return True
            self._report.skipped(NO_FACTS)
            return False
        if body.effect == "permit":
            if body.context:
                return True
            self._find(recorded, "it is a permit, and there is no fact that it was decided on")
            return False
        if body.context and (names or code in (NO_POLICY, ERROR, UNSUPPORTED, QUARANTINED)):
            return True
        if names:
            self._find(recorded, "it names policies, and there is no fact that they were asked about")
            return False
        known_code = code if code in _BEFORE else "another reason"
        self._report.skipped(f"denials that no policy made: {known_code}")
        return False

    # --- requests -------------------------------------------------------------------------------------------

    def _requests(self, recorded: Recorded, configured: Configured) -> list[Asked] | None:
        """What is asked: once for the task and once for each task above it."""
        body = recorded.body
        if "/" not in body.action:
            return [Asked(body.principal, body.action, ("Installation", configured.trust_domain), {})]
        resource = ("Server", body.action.partition("/")[0])
        requests = []
        for facts in _contexts(body):
            context, concealed = _known(facts) if recorded.conceals else (facts, frozenset[Path]())
            person = self._person(context, recorded.t)
            if isinstance(person, str):
                self._report.skipped(person)
                return None
            requests.append(Asked(body.principal, body.action, resource, context, concealed, person))
        return requests

    def _person(self, context: Mapping[str, Any], at: int) -> dict[str, Any] | str | None:
        """Who the task acts for, as policies saw that person; None for nobody."""
        task = context.get("task")
        entity = task.get("onBehalfOf") if isinstance(task, dict) else None
        uid = entity.get("__entity") if isinstance(entity, dict) else None
        named = uid.get("id") if isinstance(uid, dict) else None
        if not isinstance(named, str):
            return None
        found = self._lives.registrations(named, at)
        if len(found) > 1:
            return CHANGED
        return attributes(found[0]) if found else None

    def _judge(self, recorded: Recorded, judged: Judged) -> None:
        if recorded.body.principal.get("kind") == "person" and "/" in recorded.body.action:
            # No tool is called by a person: the schema has no such request, so nothing permits it.
            judged = replace(judged, said=[Said(False) for _ in judged.said])
        self._report.made(CHECK)
        if judged.is_partial:
            self._report.skipped(NOT_OPENED)
        for problem in judged.problems():
            self._find(recorded, problem)

    def _find(self, recorded: Recorded, problem: str) -> None:
        self._report.find(CHECK, recorded.stream, recorded.n, f"`{recorded.body.id}`: {problem}")


def _keep(kept: OrderedDict[str, T], config: str, found: T) -> T:
    while len(kept) >= _KEPT:
        kept.popitem(last=False)
    kept[config] = found
    return found


def attributes(registration: Registration) -> dict[str, Any]:
    """An identity as policies see it."""
    return {
        "environment": registration.environment,
        "groups": list(registration.groups),
        "id": registration.id,
        "kind": registration.kind,
        "owner": registration.owner,
        "roles": list(registration.roles),
    }


def _known(facts: dict[str, Any]) -> tuple[dict[str, Any], frozenset[Path]]:
    """The facts as far as they are known; the context itself, and the task in it, are never concealed as a whole."""
    hidden: set[Path] = set()
    context: dict[str, Any] = {}
    for name, value in facts.items():
        context[name], below = known(value, (name,))
        hidden |= below
    return context, frozenset(hidden)


def _contexts(body: Decision) -> Iterator[dict[str, Any]]:
    yield body.context
    for number, task in enumerate(body.above):
        context = {**body.context, "task": task}
        if number < len(body.above_temporal):
            context["temporal"] = body.above_temporal[number]
        yield context
