"""Decision cases: `tests/*.yaml` of a project folder, read and checked. `remit.app.trial` runs them.

A case says what was done before (`given`), what is asked (`when`) and what must be answered (`expect`). A mistake in
a file is a `DocumentError` with its line; docs/guides/cases.md explains every key. Cases for general questions stand
in the same files: `remit.app.question_cases`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from remit.app.question_cases import QuestionCase, is_question, question_case
from remit.core import bounds
from remit.core.documents import Document, Path_, read_yaml
from remit.core.errors import DocumentError, InvalidInput
from remit.core.identities import Lifecycle
from remit.core.tasks import TaskEnd
from remit.tasks.durations import seconds_of

FILES: Final = 1_000
CASES_PER_FILE: Final = 1_000
STEPS_PER_CASE: Final = 200
TASKS_PER_CASE: Final = 50
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
NOON: Final = int(datetime(2026, 1, 15, 12, 0, tzinfo=UTC).timestamp() * 1000)  # a case that says no time

Earlier = Literal["response", "error", "not_executed", "none", "refused"]


class TaskOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task that is started; identities by path (`workload/agent`, `starter/accounts`)."""

    intent: str
    workload: str = ""  # by default `workload` of remit.toml
    starter: str = ""  # by default the operator
    params: dict[str, Any] = {}
    prompt: str = ""
    case_type: str = ""
    on_behalf_of: str = ""  # a person
    parent: TaskOf | None = None  # started first; this task is its child


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An earlier action: asked by its enforcement point, permitted, and reported."""

    action: str
    input: dict[str, Any] = {}
    outcome: Earlier = "response"  # `none`: not reported; `refused`: it was not permitted
    output: dict[str, Any] = {}
    by: str = "pep"  # who reports the outcome: pep, workload or a path
    definition: str = ""
    took: str = ""  # how long after the permit it is reported
    in_: str = msgspec.field(default="", name="in")  # one of `tasks`; by default `task`
    after: str = ""


class Move(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task's state is changed by its starter, or by whom `by` names."""

    task: TaskEnd
    by: str = ""
    in_: str = msgspec.field(default="", name="in")
    after: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity's state is changed by the operator, or by whom `by` names."""

    identity: str
    state: Lifecycle
    by: str = ""
    after: str = ""


class Risk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A live risk signal of the case's workload, or of `identity`, for an hour or for as long as `lasts` says."""

    risk: int
    signal: str = "manual"
    identity: str = ""
    lasts: str = "1h"
    by: str = ""
    after: str = ""


class Habits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the case's workload, or `identity`, is supposed to have done on each of so many days, until so many ago.

    `server/tool`, a step `server/tool -> server/tool` (`-> server/tool` at the beginning of a session), or a host.
    """

    practised: tuple[str, ...]
    days: int = 30
    ago: int = 0  # days between the last of them and yesterday
    tasks: int = 3  # task trees on each of these days; more than 3 count no more
    identity: str = ""
    after: str = ""


Step = Call | Move | Change | Risk | Habits


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked: an action, or whether the task may be started at all."""

    action: str = ""
    input: dict[str, Any] = {}
    as_: str = msgspec.field(default="pep", name="as")  # pep, workload or a path
    definition: str = ""  # digest of the tool's definition, as the enforcement point sees it
    start: bool = False
    in_: str = msgspec.field(default="", name="in")  # one of `tasks`; by default `task`
    after: str = ""


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be answered; what is left out is not compared."""

    effect: Literal["permit", "deny"] | None = None
    reason: str | None = None
    message: str | None = None  # a part of it
    would: Literal["permit", "deny"] | None = None
    probe: bool | None = None  # whether the answer only tells, and authorises nothing
    policies: tuple[str, ...] = ()  # ids, some of those that decided
    obligations: dict[str, tuple[str, ...]] | None = None  # the terms of each; none: it does not oblige to this
    record: dict[str, Any] = {}  # fields of the record by dotted path
    requestable: bool | None = None  # whether a person could overcome the denial
    started: bool = False
    refused: str | None = None  # the reason for which the task is not started


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One case and where it stands."""

    name: str
    path: str
    line: int
    at: int  # ms
    task: TaskOf
    given: tuple[Step, ...]
    when: Ask
    expect: Expected
    tasks: dict[str, TaskOf] = {}  # others, each started when a step is first `in` it


AnyCase = Case | QuestionCase


class _Raw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    task: TaskOf
    when: Ask
    expect: Expected
    at: str = ""
    given: tuple[dict[str, Any], ...] = ()
    tasks: dict[str, TaskOf] = {}


def load_cases(folder: Path) -> list[AnyCase]:
    """All cases of `tests/*.yaml`, file by file; a `DocumentError` for the first mistake."""
    files = sorted(folder.glob("*.yaml"))
    if len(files) > FILES:
        raise InvalidInput("too_many_cases", f"there are more than {FILES} case files", "join some of them")
    return [case for path in files for case in read_cases(read_yaml(path))]


def read_cases(document: Document) -> list[AnyCase]:
    """The cases of one file."""
    data = document.data if document.data is not None else []
    if not isinstance(data, list):
        raise document.error("a case file is a list of cases", (), "begin each case with `- name: …`")
    if len(data) > CASES_PER_FILE:
        raise document.error(f"there are more than {CASES_PER_FILE} cases", (), "split the file")
    cases = [
        question_case(document, item, (number,)) if is_question(item) else _case(document, item, (number,))
        for number, item in enumerate(data)
    ]
    seen: dict[str, AnyCase] = {}
    for number, case in enumerate(cases):
        if case.name in seen:
            raise document.error(f"a case of this name stands in line {seen[case.name].line}", (number, "name"))
        seen[case.name] = case
    return cases


def milliseconds(duration: str) -> int:
    """The length of time that a checked `after` or `lasts` says; 0 when it is empty."""
    return (seconds_of(duration) or 0) * 1000


def _case(document: Document, item: Any, at: Path_) -> Case:
    raw = document.convert_part(item, _Raw, at)
    if not raw.name.strip() or len(raw.name) > bounds.NAME_BYTES:
        raise document.error("a case needs a name of at most 256 characters", (*at, "name"))
    if len(raw.given) > STEPS_PER_CASE:
        raise document.error(f"there are more than {STEPS_PER_CASE} steps", (*at, "given"))
    given = tuple(_step(document, step, (*at, "given", number)) for number, step in enumerate(raw.given))
    _check_ask(document, raw, at)
    _check_tasks(document, raw, given, at)
    return Case(
        name=raw.name.strip(),
        path=str(document.path),
        line=document.position(at)[0],
        at=_time(document, raw.at, (*at, "at")) if raw.at else NOON,
        task=raw.task,
        given=given,
        when=raw.when,
        expect=raw.expect,
        tasks=raw.tasks,
    )


_STEPS: Final[Mapping[str, type[Step]]] = {
    "action": Call,
    "task": Move,
    "identity": Change,
    "risk": Risk,
    "practised": Habits,
}


def _step(document: Document, item: Mapping[str, Any], at: Path_) -> Step:
    """One step of `given`; its kind is told by the key that it has. A risk or habits may name an identity too."""
    found = [key for key in _STEPS if key in item]
    first = next((kind for kind in ("risk", "practised") if kind in found), "")
    kind = first or (found[0] if len(found) == 1 else "")
    if not kind:
        raise document.error(
            "it is not clear what happened in this step",
            at,
            "give one of `action`, `task`, `identity`, `risk` and `practised`",
        )
    step: Step = document.convert_part(dict(item), _STEPS[kind], at)
    _check_duration(document, step.after, (*at, "after"))
    if isinstance(step, Risk):
        _check_duration(document, step.lasts, (*at, "lasts"))
        if not 0 <= step.risk <= 100:
            raise document.error("a risk is between 0 and 100", (*at, "risk"))
    if isinstance(step, Habits):
        _check_habits(document, step, at)
    if isinstance(step, Call):
        _check_duration(document, step.took, (*at, "took"))
        if step.output and step.outcome != "response":
            raise document.error("only a response has an output", (*at, "output"), "leave it out")
        if step.took and step.outcome in ("none", "refused"):
            raise document.error("what is not reported takes no time", (*at, "took"), "leave it out")
    return step


def _check_tasks(document: Document, raw: _Raw, given: Sequence[Step], at: Path_) -> None:
    if len(raw.tasks) > TASKS_PER_CASE:
        raise document.error(f"there are more than {TASKS_PER_CASE} other tasks", (*at, "tasks"))
    used = [
        (step.in_, (*at, "given", number, "in")) for number, step in enumerate(given) if isinstance(step, Call | Move)
    ]
    for name, place in (*used, (raw.when.in_, (*at, "when", "in"))):
        if name and name not in raw.tasks:
            known = ", ".join(f"`{each}`" for each in raw.tasks) or "none"
            raise document.error(f"there is no task `{name[:64]}` in `tasks`", place, f"declared there: {known}")
    if unused := raw.tasks.keys() - {name for name, _ in used} - {raw.when.in_}:
        raise document.error(
            f"nothing happens in the task `{min(unused)}`", (*at, "tasks"), f"say `in: {min(unused)}` in a step"
        )


def _check_habits(document: Document, step: Habits, at: Path_) -> None:
    for key, value, least in (("days", step.days, 1), ("ago", step.ago, 0), ("tasks", step.tasks, 1)):
        if not least <= value <= bounds.HABIT_DAYS:
            raise document.error(f"`{key}` is between {least} and {bounds.HABIT_DAYS}", (*at, key))
    for number, name in enumerate(step.practised):
        if not name.strip() or len(name) > 4 * bounds.NAME_BYTES:
            raise document.error(
                "this is no habit", (*at, "practised", number), "write `server/tool`, `a/b -> c/d`, or a host"
            )


def _check_ask(document: Document, raw: _Raw, at: Path_) -> None:
    when, expect = raw.when, raw.expect
    if bool(when.action) == when.start:
        raise document.error(
            "it is not clear what is asked", (*at, "when"), "give `action: server/tool`, or `start: true`"
        )
    if when.start and (when.input or when.definition or when.as_ != "pep" or raw.given):
        raise document.error(
            "who may start a task depends on the task alone", (*at, "when"), "leave out `given` and everything else"
        )
    _check_duration(document, when.after, (*at, "when", "after"))
    of_start = expect.started or expect.refused is not None
    of_action = any(
        value is not None and value != ()
        for value in (
            expect.effect,
            expect.reason,
            expect.message,
            expect.would,
            expect.probe,
            expect.policies,
            expect.obligations,
            expect.requestable,
        )
    )
    if expect.started and expect.refused is not None:
        raise document.error("it can't be both started and refused", (*at, "expect"), "keep one of them")
    if (of_action if when.start else of_start) or not (of_start or of_action or expect.record):
        fix = (
            "`started: true`, `refused: REASON` or `record`" if when.start else "`effect`, `reason`, `record` and such"
        )
        raise document.error("this is not what the case can be answered with", (*at, "expect"), f"expect {fix}")


def _check_duration(document: Document, text: str, at: Path_) -> None:
    seconds = seconds_of(text) if text else 0
    if seconds is None or seconds > 366 * 86_400:
        raise document.error(f"`{text[:32]}` is not a length of time", at, "write `90s`, `30m`, `1h30m` or `2d`")


def _time(document: Document, text: str, at: Path_) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise _bad_time(document, text, at)
    try:
        moment = found.astimezone(UTC)
    except OverflowError:
        raise _bad_time(document, text, at) from None
    if not datetime(1971, 1, 1, tzinfo=UTC) <= moment < LATEST:
        raise _bad_time(document, text, at)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def _bad_time(document: Document, text: str, at: Path_) -> DocumentError:
    return document.error(
        f"`{text[:40]}` is not a time with a zone", at, "write `2026-11-03T10:00:00+01:00` or `…T09:00:00Z`"
    )


def chosen(cases: Sequence[AnyCase], pattern: str) -> list[AnyCase]:
    """The cases whose name or file has `pattern` in it; all without one."""
    wanted = pattern.casefold()
    return [case for case in cases if wanted in case.name.casefold() or wanted in Path(case.path).name.casefold()]
