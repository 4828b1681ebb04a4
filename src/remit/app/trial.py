"""Runs decision cases: each in a fresh installation of the folder's configuration, in a temporary folder.

The pipeline, the keys and the database are the real ones; the clock is the case's own. The folder's records are
neither read nor written, and only the identities that `remit.toml` declares exist.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.app import disagreements
from remit.app.cases import AnyCase, Call, Case, Change, Habits, Move, Risk, Step, TaskOf, milliseconds
from remit.app.coverage import Coverage, Covered
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.identities import declared, local_key, spiffe_id
from remit.app.installation import Installation, audience_of, compose, make_state
from remit.app.project import load_project
from remit.app.question_cases import QuestionCase, answer
from remit.app.session import operator_path, point_for
from remit.console.detail import revealed
from remit.console.screen import readable
from remit.core.decisions import Decision, Outcome
from remit.core.errors import InvalidInput, NotFound, RemitError
from remit.core.identities import Registration
from remit.core.obligations import terms
from remit.core.settings import Settings
from remit.core.tasks import RiskSignal, StartedTask, TaskRequest
from remit.decide.configuration import Configuration
from remit.decide.habits import day_of, practice_body
from remit.decide.sequence import Entry
from remit.decide.sequence import Step as Work
from remit.decide.world import World, identity_stream
from remit.identity.keyring import KeyRing
from remit.identity.keys import load_key, private_jwk
from remit.sdk.grant import TaskGrant
from remit.sdk.obligations import fields_of, select
from remit.storage.sqlite import SqliteStore
from remit.storage.sqlite_reader import SqliteReader

ABSENT: Final = "(absent)"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there, mode 0700


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What was expected and what came."""

    what: str  # "reason", "record context.task.emergency"
    expected: Any
    got: Any


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a case went. `error`: it could not be carried through to its question."""

    name: str
    path: str
    line: int
    passed: bool
    differences: tuple[Difference, ...] = ()
    error: str = ""
    next_step: str = ""
    answer: str = ""  # the message of the decision or refusal
    policies: tuple[str, ...] = ()  # that decided, as `id (file:line)`
    seconds: float = 0.0
    touched: tuple[str, ...] = ()  # with coverage: the policies whose scope fitted what was asked on the way


class CaseFault(Exception):
    """The case can't be carried through as it says; the message is for whoever wrote it."""


async def run_cases(
    folder: Folder, cases: Iterable[AnyCase], told: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Runs the cases one after the other; `told` gets each result as it comes."""
    results, _ = await run_covered(folder, cases, told)
    return results


async def run_covered(
    folder: Folder, cases: Iterable[AnyCase], told: Callable[[Result], None] = lambda _: None, *, covers: bool = False
) -> tuple[list[Result], Covered | None]:
    """The same, and which policies the cases exercised, if that is asked for."""
    settings, configuration = load_project(folder)
    coverage = Coverage(configuration) if covers else None
    results: list[Result] = []
    with no_alarms(), tempfile.TemporaryDirectory(prefix="remit-test-", dir=_scratch()) as temporary:
        trial = Trial(Path(temporary), settings, coverage.configuration if coverage else configuration)
        for case in cases:
            result = await trial.run(case)
            if coverage is not None:
                if isinstance(case, QuestionCase):
                    coverage.answered(policy.partition(" ")[0] for policy in result.policies)
                result = msgspec.structs.replace(result, touched=tuple(sorted(coverage.mentioned())))
            results.append(result)
            told(result)
    return results, coverage.covered() if coverage is not None else None


def run_disagreements(folder: Folder, pattern: str, told: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """Puts the requests on which the two policy engines once disagreed to both again (`remit.app.disagreements`)."""
    results: list[Result] = []
    for file in disagreements.files(folder.disagreements):
        name = f"the policy engines agree on {file.stem}"
        if pattern.casefold() not in name.casefold():
            continue
        began = time.perf_counter()
        try:
            differences, error, next_step = disagreements.run(file), "", ""
        except RemitError as failure:
            differences, error, next_step = [], failure.message, failure.next_step
        result = Result(
            name=name,
            path=str(file),
            line=1,
            passed=not differences and not error,
            differences=tuple(Difference(what="engines", expected="the same", got=each) for each in differences),
            error=error,
            next_step=next_step,
            seconds=round(time.perf_counter() - began, 4),
        )
        results.append(result)
        told(result)
    return results


@contextmanager
def no_alarms() -> Iterator[None]:
    """What happens in a trial is told as its result, and alarms nobody."""
    log = logging.getLogger("remit.decide")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


class Clock:
    """Time that stands still until a case moves it."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        """The time, in ms."""
        return self.now


class Trial:
    """Runs cases under one configuration; the identities' keys are made once for all of them."""

    def __init__(self, root: Path, settings: Settings, configuration: Configuration) -> None:
        self._root = root
        self._settings = settings
        self._configuration = configuration
        keys = Folder(root)
        make_state(keys)
        self._keys = keys.keys
        self._registrations = tuple(_held(each, keys) for each in declared(settings, keys))
        self._count = 0

    async def run(self, case: AnyCase) -> Result:
        """One case: a general question of the policies alone, any other in an installation of its own."""
        began = time.perf_counter()
        try:
            differences, told, policies = self._ask(case) if isinstance(case, QuestionCase) else await self._run(case)
            found = _result(case, passed=not differences, differences=differences, answer=told, policies=policies)
        except RemitError as error:
            found = _result(case, passed=False, error=error.message, next_step=error.next_step)
        except CaseFault as fault:
            found = _result(case, passed=False, error=str(fault))
        return msgspec.structs.replace(found, seconds=round(time.perf_counter() - began, 4))

    def _ask(self, case: QuestionCase) -> tuple[tuple[Difference, ...], str, tuple[str, ...]]:
        compared, told, policies = answer(case, self._configuration.policies.general)
        return (
            tuple(Difference(what=what, expected=expected, got=got) for what, expected, got in compared),
            told,
            policies,
        )

    async def _run(self, case: Case) -> tuple[tuple[Difference, ...], str, tuple[str, ...]]:
        self._count += 1
        with self._folder(self._count) as folder:
            clock = Clock(case.at)
            make_state(folder)
            keyring = KeyRing.create(folder.trust, clock())
            store = await SqliteStore.open(folder.database, self._settings.trust_domain, clock)
            installation = await compose(
                folder, self._settings, self._configuration, keyring, self._registrations, clock, store
            )
            try:
                return await Play(installation, case, clock).run()
            finally:
                await installation.close()

    @contextmanager
    def _folder(self, number: int) -> Iterator[Folder]:
        """A state folder of its own for one case, with the keys of all."""
        with tempfile.TemporaryDirectory(prefix=f"case-{number}-", dir=self._root) as name:
            folder = Folder(Path(name))
            folder.state.mkdir(mode=0o700)
            folder.keys.symlink_to(self._keys)
            yield folder


class Play:
    """One case in its installation."""

    def __init__(self, installation: Installation, case: Case, clock: Clock) -> None:
        self._installation = installation
        self._settings = installation.settings
        self._case = case
        self._clock = clock
        self._tasks: dict[str, StartedTask] = {}

    async def run(self) -> tuple[tuple[Difference, ...], str, tuple[str, ...]]:
        """What differs from what is expected, what was answered, and by which policies."""
        case = self._case
        if case.when.start:
            return await self._run_start()
        await self._started("")
        for number, step in enumerate(case.given, 1):
            await self._pass(step.after)
            started = await self._started(step.in_ if isinstance(step, Call | Move) else "")
            await self._step(number, step, started)
        when = case.when
        await self._pass(when.after)
        started = await self._started(when.in_)
        asking = self._as(self._asker(when.as_, when.action))
        decision = await asking.authorize(self._grant(started), when.action, when.input, definition=when.definition)
        refs = tuple(f"{ref.id} ({ref.path}:{ref.line})" if ref.path else ref.id for ref in decision.reason.policies)
        return tuple(self._compared(decision)), decision.reason.message, refs

    # --- who may start ----------------------------------------------------------------------------------------

    async def _run_start(self) -> tuple[tuple[Difference, ...], str, tuple[str, ...]]:
        expect, record, answer, got = self._case.expect, "", "", "started"
        await self._pass(self._case.when.after)
        parent = await self._start(self._case.task.parent) if self._case.task.parent else None
        try:
            started = await self._start_one(self._case.task, parent)
            record = started.task.id
        except RemitError as error:
            answer, got, record = error.message, error.code, error.decision
        wanted = "started" if expect.started else expect.refused if expect.refused is not None else got
        differences = [] if got == wanted else [Difference(what="start", expected=wanted, got=got)]
        differences.extend(self._recorded(record))
        return tuple(differences), answer, ()

    # --- the task ---------------------------------------------------------------------------------------------

    async def _started(self, name: str) -> StartedTask:
        """The case's task, or another one of its `tasks`, started now when nothing happened in it before."""
        if name not in self._tasks:
            self._tasks[name] = await self._start(self._case.tasks[name] if name else self._case.task)
        return self._tasks[name]

    async def _start(self, task: TaskOf) -> StartedTask:
        parent = await self._start(task.parent) if task.parent else None
        try:
            return await self._start_one(task, parent)
        except RemitError as error:
            raise CaseFault(f"the task could not be started: {error.message} ({error.code})") from None

    async def _start_one(self, task: TaskOf, parent: StartedTask | None) -> StartedTask:
        workload = self._workload(task)
        person = self._person(task.on_behalf_of) if task.on_behalf_of else ""
        request = TaskRequest(
            intent=task.intent,
            workload=spiffe_id(self._settings.trust_domain, workload),
            key=self._as(workload).key,
            params=task.params,
            prompt=task.prompt,
            case_type=task.case_type,
            on_behalf_of=person,
            parent=parent.task.id if parent else "",
        )
        return await self._as(task.starter or operator_path(self._settings)).start_task(request)

    def _grant(self, started: StartedTask) -> TaskGrant:
        """The task's grant as it would be now, with a fresh identity document; the key is the workload's own."""
        installation, task = self._installation, started.task
        path = task.workload.split("/", 3)[3]
        return TaskGrant(
            task=task.id,
            token=started.token,
            svid=self._document(path),
            key=private_jwk(load_key(installation.folder.key_file(path))),
            workload=task.workload,
            intent=task.intent,
            expires=task.expires,
        )

    def _person(self, path: str) -> str:
        return self._document(path if "/" in path else f"person/{path}")

    def _document(self, path: str) -> str:
        installation = self._installation
        return installation.authority.issue_svid(
            spiffe_id(self._settings.trust_domain, path),
            self._as(path).key,
            audience_of(self._settings.trust_domain),
            self._clock(),
            self._settings.identity.svid_seconds,
        )

    # --- history ----------------------------------------------------------------------------------------------

    async def _pass(self, duration: str) -> None:
        """Time goes by, and what is due by then is recorded."""
        if duration:
            self._clock.now += milliseconds(duration)
            while await self._installation.governor.sweep_now():
                pass
            await self._installation.governor.record_practice()

    async def _step(self, number: int, step: Step, started: StartedTask) -> None:
        if isinstance(step, Call):
            await self._call(number, step, started)
            return
        try:
            if isinstance(step, Move):
                starter = started.task.starter.split("/", 3)[3]
                await self._as(step.by or starter).end_task(started.task.id, step.task)
            elif isinstance(step, Change):
                await self._as(step.by or operator_path(self._settings)).change(self._id(step.identity), step.state)
            elif isinstance(step, Habits):
                await self._practise(step, started)
            else:
                await self._set_risk(step, started)
        except RemitError as error:
            raise CaseFault(f"step {number} was refused: {error.message} ({error.code})") from None

    async def _set_risk(self, step: Risk, started: StartedTask) -> None:
        by = step.by or operator_path(self._settings)
        signal = RiskSignal(
            id=self._id(step.identity) if step.identity else started.task.workload,
            signal=step.signal,
            value=step.risk,
            source=by,
            expires=self._clock() + milliseconds(step.lasts),
        )
        await self._as(by).set_risk(signal)

    async def _practise(self, step: Habits, started: StartedTask) -> None:
        """Supposes habits: what they would follow from is written as it is recorded, without what it sums up."""
        workload = self._id(step.identity) if step.identity else started.task.workload
        tools: dict[str, int] = {}
        steps: dict[tuple[str, str], int] = {}
        hosts: dict[str, int] = {}
        for name in step.practised:
            before, arrow, action = (part.strip() for part in name.partition("->"))
            if arrow:
                steps[before, action] = step.tasks
            elif "/" in name:
                tools[name] = step.tasks
            else:
                hosts[name] = step.tasks
        end = day_of(self._clock()) - step.ago

        def work(_: World, __: int) -> Work[None]:
            days = range(max(0, end - step.days), end)
            bodies = [practice_body(workload, day, tools, steps, hosts) for day in days]
            return Work(None, tuple(Entry(identity_stream(workload), "practice", body) for body in bodies))

        await self._installation.store.run(work)

    async def _call(self, number: int, step: Call, started: StartedTask) -> None:
        asking = self._as(self._asker("pep", step.action))
        decision = await asking.authorize(self._grant(started), step.action, step.input, definition=step.definition)
        told = f"step {number}, `{step.action}`,"
        if step.outcome == "refused":
            if decision.permitted:
                raise CaseFault(f"{told} was permitted, and is said to have been refused")
            return
        if not decision.permitted or not decision.id:
            reason = decision.reason
            raise CaseFault(f"{told} was not permitted: {reason.message} ({reason.code})")
        if step.outcome == "none":
            return
        began = self._clock()
        await self._pass(step.took)
        outcome = Outcome(
            decision=decision.id,
            digest=decision.digest,
            result=step.outcome,
            started=began,
            output=select(step.output, fields_of(decision, "select")),
            bytes=len(msgspec.json.encode(step.output)),
        )
        try:
            await self._as(self._asker(step.by, step.action)).report(outcome)
        except RemitError as error:
            raise CaseFault(f"{told} could not be reported by {step.by}: {error.message} ({error.code})") from None

    # --- what came --------------------------------------------------------------------------------------------

    def _compared(self, decision: Decision) -> Iterator[Difference]:
        expect, reason = self._case.expect, decision.reason
        pairs = (
            ("effect", expect.effect, decision.effect),
            ("reason", expect.reason, reason.code),
            ("would", expect.would, decision.would),
            ("probe", expect.probe, decision.probe),
            ("requestable", expect.requestable, decision.requestable),
        )
        for what, expected, got in pairs:
            if expected is not None and expected != got:
                yield Difference(what=what, expected=expected, got=got)
        if expect.message is not None and expect.message not in reason.message:
            yield Difference(what="message", expected=expect.message, got=reason.message)
        decided = [ref.id for ref in reason.policies]
        if missing := [id_ for id_ in expect.policies if id_ not in decided]:
            yield Difference(what="policies", expected=missing, got=decided)
        if expect.obligations is not None:
            obliged: dict[str, list[str]] = {}
            for each in decision.obligations:
                obliged[each.id] = sorted([*obliged.get(each.id, []), *terms(each)])
            wanted = {id_: sorted(fields) for id_, fields in expect.obligations.items()}
            found = {id_: obliged.get(id_, []) for id_ in wanted}
            if wanted != found:
                yield Difference(what="obligations", expected=wanted, got=found)
        yield from self._recorded(decision.id)

    def _recorded(self, key: str) -> Iterator[Difference]:
        """Compares the record of a decision or task; personal values read `{personal: value}`."""
        wanted = self._case.expect.record
        if not wanted:
            return
        body = self._body(key)
        if body is None:
            yield Difference(what="record", expected=wanted, got=ABSENT)
            return
        for path, expected in wanted.items():
            got = value_at(body, path)
            if type(got) is not type(expected) or got != expected:
                yield Difference(what=f"record {path}", expected=expected, got=got)

    def _body(self, key: str) -> dict[str, Any] | None:
        if not key:
            return None
        with SqliteReader(self._installation.folder.database) as reader:
            stored = reader.find(key)
            if stored is None:
                return None
            body: dict[str, Any] = readable(revealed(reader, stored, stored.record))
            return body

    # --- who --------------------------------------------------------------------------------------------------

    def _asker(self, who: str, action: str) -> str:
        """The path of who asks or reports: the enforcement point of the action's server, the workload, or a path."""
        if who == "workload":
            return self._workload(self._case.task)
        if who != "pep":
            return who
        server = self._installation.configuration.catalogue.servers.get(action.partition("/")[0])
        points = self._settings.enforcement_points
        if server is not None and server.self_enforced and not any(server.name in point.servers for point in points):
            return self._workload(self._case.task)
        try:
            return point_for(self._settings, action.partition("/")[0])
        except (NotFound, InvalidInput):
            # Nobody stands before this server, or several do: the question is asked by the first, as it would be.
            named = [point.name for point in points if server is not None and server.name in point.servers]
            named = named or [point.name for point in points]
            if not named:
                raise
            return f"pep/{named[0]}"

    def _workload(self, task: TaskOf) -> str:
        name = task.workload or self._settings.workload
        if not name:
            raise CaseFault("it is not said which workload acts: give `workload` in `task`")
        return name if "/" in name else f"workload/{name}"

    def _id(self, path: str) -> str:
        return spiffe_id(self._settings.trust_domain, path if "/" in path else f"workload/{path}")

    def _as(self, path: str) -> Embedded:
        try:
            return Embedded(self._installation, path, owns=False)
        except NotFound:
            raise CaseFault(f"`{path}` is not declared in `remit.toml`") from None


def value_at(body: Any, path: str) -> Any:
    """The value at a dotted path; a key may have dots of its own, and a number is a place in a list."""
    if not path:
        return body
    steps = path.split(".")
    if isinstance(body, list):
        number = int(steps[0]) if steps[0].isdecimal() and len(steps[0]) < 6 else len(body)
        return value_at(body[number], ".".join(steps[1:])) if number < len(body) else ABSENT
    if not isinstance(body, Mapping):
        return ABSENT
    for taken in range(len(steps), 0, -1):
        key = ".".join(steps[:taken])
        if key in body:
            found = value_at(body[key], ".".join(steps[taken:]))
            if found is not ABSENT:
                return found
    return ABSENT


def _scratch() -> str | None:
    """Memory where the system offers it: these records need not outlive the process."""
    return str(_MEMORY) if os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _held(registration: Registration, copy: Folder) -> Registration:
    """The registration with a key that the temporary folder holds."""
    return msgspec.structs.replace(registration, key=local_key(copy, registration.id.split("/", 3)[3]))


def _result(case: AnyCase, **fields: Any) -> Result:
    return Result(name=case.name, path=case.path, line=case.line, **fields)
