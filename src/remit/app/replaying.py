"""Recorded decisions judged again under another configuration: what a change would have denied, or permitted.

Records are taken in the order of time into a state of their own, under the new configuration: what a permit spends,
which labels it adds and which steps it completes is worked out anew from the new intents and catalogue. At each
recorded decision the pipeline's own steps judge what was asked. What they are given:

| from the record | worked out anew |
|---|---|
| arguments, destination, caller, risk, novelty, time | limits, prerequisites, parameters, labels, trust, windows |
| identities as they were registered | histories of temporal policies, from the recorded events |

The question is: what would be said to each call as it was made, with history as it happened? With `cascade` history
is what would have happened: what would have been denied neither spends nor completes anything. What would have been
permitted has no outcome there, because nobody knows it.

SECURITY: where the new configuration depends on what was not recorded, or was erased, a decision is not comparable, and
says why; it is never counted as unchanged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from remit.app.folder import Folder
from remit.app.project import load_project
from remit.app.recordings import Recording, Recordings
from remit.app.trial import no_alarms
from remit.console.replay import CATEGORIES, Category, Change, Counts, Replayed, Side
from remit.core.actions import Action
from remit.core.decisions import OBSERVED, PERMITTED, Ask, Decision, Reason, TaskHandle
from remit.core.errors import InvalidInput, RemitError
from remit.core.identities import Identity
from remit.core.obligations import KNOWN
from remit.decide import facts
from remit.decide.case import Case
from remit.decide.configuration import Configuration
from remit.decide.destination import Destination, destination_of
from remit.decide.pipeline import Pipeline
from remit.decide.session import Task, is_erased
from remit.decide.world import World, workload_stream
from remit.ledger.concealed import known
from remit.tasks.parameters import check_params

log = logging.getLogger("remit.app")

Progress = Callable[[str, int, int], None]
START: Final = "task.start"
CHANGES: Final = 100_000  # that are kept one by one; all are counted
_EVERY: Final = 256
_FOREVER: Final = 2**53
# Why a call is denied before policies are asked, which no policy, intent or catalogue changes.
_ELSEWHERE: Final = frozenset(
    {
        *("identity_unknown", "identity_expired", "identity_quarantined", "identity_retired", "bearer_refused"),
        *("subject_not_proved", "no_task", "task_unknown", "task_not_yours", "task_key_mismatch", "task_expired"),
        *("task_completed", "task_cancelled", "task_suspended", "bound_reached", "internal_fault"),
        *("record_too_large", "record_too_deep", "record_invalid"),
    }
)
# Why the catalogue alone refuses, with arguments that are not recorded then.
_OF_CATALOGUE: Final = frozenset(
    {"action_unknown", "action_changed", "action_unreviewed", "arguments_invalid", "destination_unclear"}
)
_FINAL: Final = frozenset({"response", "error", "not_executed"})
_TOO_MANY: Final = "its session was begun too many sessions before to be kept in memory"
_NO_ANSWER: Final = frozenset({"engines_disagree", "provider_failed"})
_UNKNOWABLE: Final = frozenset({"task_value_erased"})


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions are told of; history is taken from all records."""

    since: int = 0
    until: int | None = None
    task: str = ""  # with those below it
    workload: Callable[[str], bool] = lambda _: True

    def fits(self, at: int, task: str, workload: str) -> bool:
        """Whether this decision is meant."""
        if at < self.since or (self.until is not None and at >= self.until):
            return False
        if self.task and task != self.task and not task.startswith(self.task + "."):
            return False
        return self.workload(workload)


def configuration_for(folder: Folder, other: Path | None, parts: Mapping[str, Path]) -> Configuration:
    """The configuration to judge by: the folder's, or another project's, with folders in place of parts of it."""
    for name, path in parts.items():
        if not path.is_dir():
            raise InvalidInput("folder_missing", f"`--{name} {path}` is no folder", "name the folder that has them")
    _, configuration = load_project(Folder(other.resolve()) if other is not None else folder, parts)
    return configuration


def replay(
    recordings: Recordings,
    configuration: Configuration,
    wanted: Wanted | None = None,
    *,
    cascade: bool = False,
    progress: Progress = lambda *_: None,
) -> Replayed:
    """Judges what was recorded by `configuration`; raises `InvalidInput` where the records make no state."""
    with no_alarms():
        return Replay(configuration, wanted or Wanted(), cascade=cascade).run(recordings, progress)


class Replay:
    """One pass over recorded decisions."""

    def __init__(self, configuration: Configuration, wanted: Wanted, *, cascade: bool) -> None:
        self._configuration = configuration
        self._wanted = wanted
        self._cascade = cascade
        self._world = World(lambda _: (), lambda _: None)
        self._world.watch(configuration.policies.temporal)
        self._judging = Judging(configuration)
        self._permits: dict[str, str] = {}  # without an outcome, in the new history: decision -> who acts
        self._begun: set[str] = set()  # roots of sessions
        self._tally = Tally(configuration.digest, cascade=cascade)

    def run(self, recordings: Recordings, progress: Progress) -> Replayed:
        """All records."""
        done = 0
        for done, recording in enumerate(recordings.records(), 1):
            if done % _EVERY == 0:
                progress("replaying", done, recordings.count)
            if self._wanted.until is not None and recording.t >= self._wanted.until and recording.kind != "denials":
                continue
            try:
                self._take(recording)
            except RemitError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
                log.debug("record %d of %s", recording.n, recording.stream, exc_info=True)
                raise InvalidInput(
                    "records_unreadable",
                    f"record {recording.n} of `{recording.stream[:128]}` does not follow from those before it "
                    f"({type(error).__name__})",
                    "replay the records from their beginning; `remit verify` says what is wrong with them",
                ) from None
        progress("replaying", done, max(done, recordings.count))
        return self._tally.replayed()

    # --- one record -------------------------------------------------------------------------------------------

    def _take(self, recording: Recording) -> None:
        kind, body = recording.kind, recording.body
        if recording.stream.startswith("session/") and not self._at_hand(recording):
            if kind == "decision" and "/" in body["action"]:
                self._told_if_wanted(recording, _TOO_MANY)
            return
        if kind == "decision":
            self._decision(recording)
        elif kind == "configuration":
            self._judging.catalogues[body["config"]] = body.get("catalogue", "")
        elif kind == "denials":
            self._tally.repeated(body["decision"], body["count"])
        elif kind in ("outcome", "resolution"):
            if body["decision"] in self._permits:
                self._apply(recording, body, self._permits[body["decision"]])
                if body.get("result") in _FINAL and body.get("standing", "believed") == "believed":
                    del self._permits[body["decision"]]
        elif kind == "task":
            if "intent" in body:
                self._start(recording)
            self._apply(recording, body)
        elif recording.stream.startswith("identity/") and kind in ("identity", "risk", "practice", "forgotten"):
            self._world.apply(recording.stream, kind, body, recording.t)

    def _at_hand(self, recording: Recording) -> bool:
        """Whether the session is in memory, or begins here; the state keeps `SESSIONS_IN_MEMORY` of them."""
        root = recording.stream[len("session/") :]
        if root not in self._begun:
            self._begun.add(root)
            return True
        return self._world.session(root) is not None

    def _told_if_wanted(self, recording: Recording, after: Side | str | None) -> None:
        if self._wanted.fits(recording.t, recording.body.get("task", ""), recording.body["subject"]):
            self._compare(recording, after)

    def _apply(self, recording: Recording, body: dict[str, Any], subject: str = "") -> None:
        self._world.apply(recording.stream, recording.kind, body, recording.t)
        if recording.stream.startswith("session/"):
            session = self._world.session(recording.stream[len("session/") :])
            if session is not None and recording.conceals:
                session.erased = True
        if subject and self._world.temporal.workload is not None and recording.kind in ("decision", "outcome"):
            self._world.apply(workload_stream(subject), recording.kind, body, recording.t)

    def _decision(self, recording: Recording) -> None:
        body = recording.body
        in_session = recording.stream.startswith("session/")
        is_call = "/" in body["action"] and in_session
        effect = _verdict(body)
        after: Side | str | None = None
        if is_call:
            after = self._judging.judge(recording, self._world)
            self._told_if_wanted(recording, after)
        if not is_call:
            if in_session:
                self._apply(recording, body)
            return
        applied = body["effect"]
        if self._cascade and isinstance(after, Side) and after.effect != effect:
            applied = after.effect
        self._apply(recording, self._judging.transformed(body, applied, self._world, recording.t), body["subject"])
        if applied == "permit":
            self._permits[body["id"]] = body["subject"]

    def _compare(self, recording: Recording, after: Side | str | None) -> None:
        body = recording.body
        before = Side(
            effect=_verdict(body),
            reason=body["reason"]["code"],
            message=body["reason"]["message"],
            policies=tuple(body["reason"]["policies"]),
        )
        task = body.get("task", "")
        about = Change(
            category="changed",
            id=body["id"],
            at=recording.t,
            stream=recording.stream,
            n=recording.n,
            action=body["action"],
            workload=body["subject"],
            task=task,
            intent=self._intent(task),
            before=before,
        )
        self._tally.compare(before, after, about)

    def _start(self, recording: Recording) -> None:
        body = recording.body
        if not self._wanted.fits(recording.t, body["task"], body["workload"]):
            return
        after = self._judging.start(body, self._world)
        if isinstance(after, Side) and after.effect == "permit":
            # Which policies permitted it is not recorded.
            after = Side(effect="permit", reason=PERMITTED)
        before = Side(effect="permit", reason=PERMITTED)
        about = Change(
            category="changed",
            id=body["task"],
            at=recording.t,
            stream=recording.stream,
            n=recording.n,
            action=START,
            workload=body["workload"],
            task=body["task"],
            intent=body["intent"],
            before=before,
        )
        self._tally.compare(before, after, about)

    def _intent(self, task: str) -> str:
        session = self._world.session(task) if task else None
        found = session.tasks.get(task) if session is not None else None
        return found.intent if found is not None else ""


class Tally:
    """Counts what would be different, and keeps each of it."""

    def __init__(self, config: str, *, cascade: bool = False) -> None:
        self._config = config
        self._cascade = cascade
        self._told: dict[str, int] = {}  # by id: its place in `changes`, or one of the two of `_count`
        self._changes: list[Change] = []
        self._counted: Counter[str] = Counter()
        self._omitted = 0
        self._first = self._last = 0

    def compare(self, before: Side | str, after: Side | str | None, about: Change) -> None:
        """Takes one decision: what was said, and what would be; `about` names it. `after` None: nothing changes it."""
        self._first = self._first or about.at
        self._last = about.at
        category = _category(before, after)
        if category is None:
            what = "elsewhere" if after is None else "unchanged"
            self._counted[what] += 1
            self._told[about.id] = -1 if what == "unchanged" else -2
            return
        why = next((each for each in (before, after) if isinstance(each, str)), "")
        said = after if isinstance(after, Side) and not why else None
        change = msgspec.structs.replace(about, category=category, after=said, why=why)
        if len(self._changes) >= CHANGES:
            self._omitted += 1
            self._counted[category] += 1
            return
        self._told[change.id] = len(self._changes)
        self._changes.append(change)

    def repeated(self, id_: str, times: int) -> None:
        """Identical denials that were only counted are as the first of them."""
        place = self._told.get(id_)
        if place is None:
            return
        if place < 0:
            self._counted["unchanged" if place == -1 else "elsewhere"] += times
            return
        change = self._changes[place]
        self._changes[place] = msgspec.structs.replace(change, times=change.times + times)

    def replayed(self) -> Replayed:
        """All of it."""
        counts: dict[str, int] = {name: self._counted[name] for name in CATEGORIES}
        why: Counter[str] = Counter()
        for change in self._changes:
            counts[change.category] += change.times
            if change.why:
                why[change.why] += change.times
        elsewhere = self._counted["elsewhere"]
        unchanged = self._counted["unchanged"] + elsewhere
        return Replayed(
            config=self._config,
            cascade=self._cascade,
            first=self._first,
            last=self._last,
            decisions=unchanged + sum(counts.values()),
            unchanged=unchanged,
            elsewhere=elsewhere,
            counts=counts,
            why=dict(why.most_common()),
            workloads=self._by(lambda change: (change.workload,)),
            tasks=self._by(lambda change: (change.task,)),
            actions=self._by(lambda change: (change.action,)),
            policies=self._by(_responsible),
            changes=tuple(self._changes),
            omitted=self._omitted,
        )

    def _by(self, names: Callable[[Change], Iterable[str]]) -> tuple[Counts, ...]:
        found: dict[str, Counter[str]] = {}
        for change in self._changes:
            for name in names(change):
                found.setdefault(name, Counter())[change.category] += change.times
        ordered = sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        return tuple(
            Counts(name=name, counts={each: counts[each] for each in CATEGORIES if counts[each]})
            for name, counts in ordered
        )


# --- judging ----------------------------------------------------------------------------------------------------


class Judging(Pipeline):
    """The pipeline's steps on recorded facts. Modes are left aside: what policies say is compared."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.catalogues: dict[str, str] = {}  # of recorded configurations, by their digest
        self._recorded: Mapping[str, Any] = {}
        self._hidden: frozenset[tuple[str, ...]] = frozenset()

    def judge(self, recording: Recording, world: World) -> Side | str | None:  # type: ignore[override]  # of a record
        """What would be said; a sentence where that can't be said; None where no configuration changes it."""
        body = recording.body
        code = body["reason"]["code"]
        if body["effect"] == "deny" and (code in _ELSEWHERE or (code in _OF_CATALOGUE and self._is_known(body))):
            return None
        case = Case(_ask(body, world), recording.t, body["digest"])
        self._recorded, self._hidden = known(body["context"])
        case.provided = dict(self._recorded.get("providers", {}))
        try:
            reason = super().judge(case, world, resume=False)
        except _NotRecorded as error:
            return error.why
        except RemitError as error:
            return f"its task does not fit the intent any more: {error.message}"
        if isinstance(reason, Decision):
            raise TypeError(reason)
        if reason.code in _UNKNOWABLE:
            return reason.message
        if reason.code in _ELSEWHERE and code not in _ELSEWHERE and body["effect"] == "permit":
            return f"under the records alone it is refused before policies are asked: {reason.code}"
        if not body["context"] and reason.code != code:
            return "its facts were not recorded, because it was refused before they were known"
        if why := self._unknown(case):
            return why
        permits = reason.code in (PERMITTED, OBSERVED)
        if code == "obligation_unsupported" and permits:
            return "which obligations its enforcement point can fulfil is not recorded"
        if code in _NO_ANSWER:
            return f"no policy gave the answer that was recorded: {code}"
        return Side(
            effect="permit" if permits else "deny",
            reason=reason.code,
            message=reason.message,
            policies=tuple(ref.id for ref in reason.policies),
        )

    def _is_known(self, body: Mapping[str, Any]) -> bool:
        """Whether the catalogue is the one that the decision was made by."""
        return self.catalogues.get(body["config"]) == self.configuration.catalogue.digest

    def start(self, body: Mapping[str, Any], world: World) -> Side | str:
        """What would be said to the start of a task; a sentence where that can't be said."""
        intent = self.configuration.intents.get(body["intent"])
        if intent is None:
            return Side(effect="deny", reason="intent_unknown", message=f"there is no intent `{body['intent']}`")
        starter, workload = world.registration(body["starter"]), world.registration(body["workload"])
        if starter is None or workload is None:
            return "who starts it, or acts, is not in the records"
        params = body.get("params", {})
        if not is_erased(params):
            try:
                check_params(intent, params)
            except RemitError as error:
                return Side(effect="deny", reason=error.code, message=error.message)
        else:
            return "a parameter of the task is not known any more"
        context: dict[str, Any] = {
            "hasPrompt": bool(body.get("prompt")),
            "workload": {"__entity": {"type": "Remit::Workload", "id": body["workload"]}},
        }
        context |= {"caseType": body["caseType"]} if body.get("caseType") else {}
        context |= {"parent": body["parent"]} if body.get("parent") else {}
        resource = ("Remit::Intent", intent.name)
        said = self.configuration.policies.evaluate(starter, START, resource, context, related=(workload,))
        return Side(
            effect="permit" if said.permitted else "deny",
            reason=said.reason.code,
            message=said.reason.message,
            policies=tuple(ref.id for ref in said.policies),
        )

    def transformed(self, body: dict[str, Any], effect: str, world: World, now: int) -> dict[str, Any]:
        """The record as it would be under this configuration: what it spends and adds."""
        action = self.configuration.catalogue.actions.get(body["action"])
        changed = {**body, "effect": effect, "idempotencyKey": ""}
        if effect != "permit":
            return changed | {"usage": {}}
        session = world.session(body["task"])
        chain = session.chain(session.tasks[body["task"]]) if session is not None else ()
        changed.setdefault("adds", {})
        changed["deadline"] = body["deadline"] or now + self.configuration.limits.outcome_deadline_ms
        if action is None:
            changed["usage"] = {}
            changed["serverEffect"] = body["serverEffect"] or "read"
            return changed
        changed["serverEffect"] = action.effect
        changed["usage"] = self._spending(chain, action, body["context"].get("input", {}))
        changed["adds"] = {**changed["adds"], "labels": list(action.labels), "untrusted": not action.trusted}
        return changed

    def _spending(self, chain: tuple[Task, ...], action: Action, arguments: dict[str, Any]) -> dict[str, str]:
        tasks = tuple(task for task in chain if task.intent in self.configuration.intents)
        return facts.spending(self.configuration.intents, tasks, action, arguments)

    # --- the pipeline's steps, on what was recorded -------------------------------------------------------------

    def _enforcement_point(self, case: Case, world: World) -> Reason | None:
        caller = self._recorded.get("caller")
        if isinstance(caller, dict):
            case.enforcement = ("self" if caller.get("isSubject") else "pep") if caller.get("registered") else ""
            return None
        return super()._enforcement_point(case, world)

    def _arguments(self, case: Case) -> Reason | None:
        arguments = self._recorded.get("input")
        if not isinstance(arguments, dict) or case.action is None:
            raise _NotRecorded("its arguments were not recorded, because it was refused before they were looked at")
        case.arguments = arguments
        for name in case.action.input_schema.get("required", ()):
            if isinstance(name, str) and name not in arguments and name not in case.action.content:
                intents = [task.intent for task in case.tasks]
                if any(self._reads(case.action, intent, ("input", name)) for intent in intents):
                    raise _NotRecorded(f"the argument `{name}` was not recorded")
        for invocation in self.configuration.policies.invocations(case.action.name):
            path = ("providers", invocation.name)
            if invocation.name not in case.provided and any(
                self._reads(case.action, task.intent, path) for task in case.tasks
            ):
                raise _NotRecorded(f"what `{invocation.function}` would have said was not recorded")
        case.destination = self._destination(case.action, arguments)
        return None

    def _destination(self, action: Action, arguments: Mapping[str, Any]) -> Destination | None:
        said = self._recorded.get("destination")
        if not action.destination:
            return None
        if not action.destination.startswith("input."):
            return destination_of(action, {}, self.configuration.internal)
        if isinstance(said, dict):
            return Destination(host=said["host"], port=said["port"], internal=said["internal"])
        name = action.destination.removeprefix("input.")
        if not isinstance(arguments.get(name), str):
            raise _NotRecorded("where it goes was not recorded")
        return destination_of(action, dict(arguments), self.configuration.internal)

    def _facts(self, case: Case, world: World) -> Reason | None:
        refusal = super()._facts(case, world)
        kept = {name: self._recorded[name] for name in ("caller", "risk", "novelty") if name in self._recorded}
        case.contexts = [{**context, **kept} for context in case.contexts]
        return refusal

    def _mode(self, case: Case, reason: Reason) -> Reason:
        return reason

    # --- what is not known --------------------------------------------------------------------------------------

    def _unknown(self, case: Case) -> str:
        """Why the answer can't be relied on; "" where it can."""
        if case.action is None or not case.contexts:
            return ""
        for path in self._hidden:
            if any(self._reads(case.action, task.intent, path) for task in case.tasks):
                if path[0] == "task":
                    continue  # worked out anew
                return f"it depends on `{'.'.join(path)}`, which the record holds only as a digest or commitment"
        return ""

    def _reads(self, action: Action, intent: str, path: tuple[str, ...]) -> bool:
        return self.configuration.policies.reads(action.name, action.server, intent, path)


class _NotRecorded(Exception):
    """Something that deciding needs is not in the record."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def _ask(body: Mapping[str, Any], world: World) -> Ask:
    """What was asked, with proofs that hold: that they did is what the record says."""
    session = world.session(body["task"]) if body.get("task") else None
    task = session.tasks.get(body["task"]) if session is not None else None
    key = task.key if task is not None else ""
    caller = Identity(id=body["pep"], key=key, expires=_FOREVER)
    return Ask(
        caller=caller,
        subject=body["subject"],
        proof=Identity(id=body["subject"], key=key, expires=_FOREVER),
        task=TaskHandle(task=body["task"], workload=body["subject"], key=key, expires=_FOREVER) if task else None,
        action=body["action"],
        input={},
        supports=KNOWN,
    )


def _verdict(body: Mapping[str, Any]) -> Literal["permit", "deny"]:
    """What policies said: in observe mode, what enforcing would have answered."""
    return "permit" if (body.get("would") or body["effect"]) == "permit" else "deny"


def _category(before: Side | str, after: Side | str | None) -> Category | None:
    if after is None:
        return None
    if isinstance(after, str) or isinstance(before, str):
        return "not comparable"
    if before.effect != after.effect:
        return "newly denied" if after.effect == "deny" else "newly permitted"
    if before.reason == OBSERVED:
        return None if set(before.policies) == set(after.policies) else "changed"
    same = before.reason == after.reason and set(before.policies) == set(after.policies)
    return None if same else "changed"


def _responsible(change: Change) -> Iterator[str]:
    """The policies that make the difference: those that would deny, or that denied and would not."""
    before, after = change.before, change.after
    if after is None:
        return
    if change.category == "newly denied":
        yield from after.policies or (f"({after.reason})",)
    elif change.category == "newly permitted":
        yield from before.policies or (f"({before.reason})",)
    else:
        yield from sorted(set(after.policies) ^ set(before.policies)) or (f"({after.reason})",)
