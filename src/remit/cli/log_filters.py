"""The filters of `remit log`: options, and what they choose."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import click

from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.app.project import load_project
from remit.console.detail import find
from remit.console.history import History
from remit.core.effects import EFFECTS
from remit.core.errors import InvalidInput, NotFound, RemitError
from remit.core.settings import read_settings
from remit.ledger.record import KINDS
from remit.storage.index_choice import IDENTITIES, Choice, is_glob, matcher
from remit.storage.reader import Reader
from remit.tasks.durations import seconds_of

RESULTS: Final = (
    *("response", "error", "not_executed", "unknown"),
    *("open", "completed", "cancelled", "expired", "suspended"),
    *("permit", "deny", "observed"),
)
_NAMED: Final[Mapping[str, str]] = {  # fields whose values are names that somebody gave, and what they are called
    "action": "action",
    "destination": "destination",
    "intent": "intent",
    "label": "label",
    "pep": "enforcement point",
    "person": "person",
    "policy": "policy",
    "reason": "reason",
    "workload": "workload",
}
F = TypeVar("F", bound=Callable[..., Any])


class _Filter(NamedTuple):
    option: str
    field: str
    metavar: str
    help: str
    choices: tuple[str, ...] = ()


_FILTERS: Final = (
    _Filter("--workload", "workload", "W", "Only this workload (its name or SPIFFE ID)."),
    _Filter("--person", "person", "P", "Only what this person started, had done on his behalf, or did."),
    _Filter("--intent", "intent", "NAME", "Only under this intent."),
    _Filter("--action", "action", "ACTION", "Only this action, such as `bank/pay` or `bank/*`."),
    _Filter("--effect", "effect", "EFFECT", "Only actions of this effect, such as `pay`.", EFFECTS),
    _Filter("--decision", "decision", "", "Only these decisions.", ("permit", "deny", "observed")),
    _Filter(
        "--result", "result", "RESULT", "Only this result, of an outcome (`error`), a task or a decision.", RESULTS
    ),
    _Filter("--policy", "policy", "ID", "Only what this policy decided."),
    _Filter("--reason", "reason", "CODE", "Only decisions with this reason."),
    _Filter("--label", "label", "LABEL", "Only what brought this label into a session, or happened under it."),
    _Filter("--destination", "destination", "HOST", "Only what went to this host, or would have."),
    _Filter("--pep", "pep", "P", "Only through this enforcement point."),
    _Filter(
        "--kind",
        "kind",
        "KIND",
        "Only records of this kind, also of kinds that are not shown else.",
        tuple(sorted(KINDS)),
    ),
)


def filters(function: F) -> F:
    """Adds the options; the command gets them as `given`, for `choice_of`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = {each.field: kwargs.pop(each.field) for each in _FILTERS}
        return function(*args, given={name: values for name, values in given.items() if values}, **kwargs)

    options: list[Callable[[Any], Any]] = [
        click.option("--task", default="", metavar="ID", help="Only this task and its children (an id, or its end)."),
        *(_option(each) for each in _FILTERS),
        click.option("--denied", is_flag=True, help="Only what was refused."),
        click.option("--since", default="", metavar="TIME", help="Not before: `2h` ago, `2026-11-01`, or RFC 3339."),
        click.option("--until", default="", metavar="TIME", help="Before: in the same forms."),
    ]
    for option in reversed(options):
        run = option(run)
    return run  # type: ignore[return-value]  # what click makes of it takes the options instead


def _option(each: _Filter) -> Callable[[Any], Any]:
    if each.choices:
        kind = click.Choice(each.choices)
        return click.option(
            each.option, each.field, type=kind, multiple=True, metavar=each.metavar or None, help=each.help
        )
    return click.option(each.option, each.field, multiple=True, metavar=each.metavar, help=each.help)


def choice_of(
    folder: Folder,
    reader: Reader,
    given: Mapping[str, tuple[str, ...]],
    *,
    task: str,
    denied: bool,
    since: str,
    until: str,
    now: int,
) -> Choice:
    """What the options choose; `InvalidInput` for a time that is none, `NotFound` for an unknown task."""
    wanted = {field: _meant(folder, field, values) for field, values in given.items()}
    if denied:
        wanted["denied"] = ("yes",)
    return Choice(
        task=str(find(reader, task).record.body["task"]) if task else "",
        wanted=wanted,
        since=time_of(since, "--since", now) if since else 0,
        until=time_of(until, "--until", now) if until else None,
    )


def time_of(given: str, option: str, now: int) -> int:
    """The moment (ms) that is meant: so long ago, a day's beginning, or a time; local where no zone is named."""
    seconds = seconds_of(given)
    if seconds is not None:
        return max(0, now - seconds * 1000)
    try:
        at = datetime.fromisoformat(given)
        moment = at if at.tzinfo is not None else at.astimezone()
        return max(0, int(moment.astimezone(UTC).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            "filter_invalid",
            f"`{option} {given[:64]}` is no time",
            f"write `{option} 2h`, `{option} 2026-11-01` or `{option} 2026-11-01T08:00:00Z`",
        ) from None


def check_known(folder: Folder, history: History, choice: Choice) -> None:
    """For a choice that chose nothing: `NotFound` where it names something that nobody has heard of."""
    declared: Mapping[str, set[str]] | None = None
    for field, patterns in choice.wanted.items():
        names = [pattern for pattern in patterns if not is_glob(pattern)]
        if field not in _NAMED or not names:
            continue
        known = history.values(field)
        for name in names:
            if any(map(matcher(field, (name,)), known)):
                continue
            if declared is None:
                declared = _declared(folder)
            known |= declared.get(field, set())
            if name not in known:
                raise _unknown(field, name, known)


def _unknown(field: str, name: str, known: set[str]) -> NotFound:
    short = {each.rpartition("/")[2] if field in IDENTITIES and "/" not in name else each for each in known}
    close = difflib.get_close_matches(name[:200], sorted(short), n=1)
    if close:
        advice = f"did you mean `{close[0]}`?"
    else:
        some = ", ".join(f"`{each}`" for each in sorted(short)[:5])
        advice = f"there are {some}{' and others' if len(short) > 5 else ''}" if some else "nothing has one yet"
    return NotFound("filter_unknown", f"no record has the {_NAMED[field]} `{name[:128]}`", advice)


def _declared(folder: Folder) -> Mapping[str, set[str]]:
    """What the project's files name, where they can be read: it may not have happened yet."""
    with suppress(RemitError):
        _, configuration = load_project(folder)
        return {"action": set(configuration.catalogue.actions), "intent": set(configuration.intents)}
    return {}


def _meant(folder: Folder, field: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """The values with `workload/helper` as a SPIFFE ID of the own trust domain."""
    if field not in IDENTITIES or not any("/" in value for value in values):
        return values
    with suppress(RemitError):
        domain = read_settings(folder.root).trust_domain
        return tuple(spiffe_id(domain, value) if "/" in value and not is_glob(value) else value for value in values)
    return values
