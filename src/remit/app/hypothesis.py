"""What would be decided: a temporary installation with the same configuration and identities, and nothing real.

The project's files are read; the identities, risks and habits are taken from its records as they stand. Everything
else happens in a temporary folder with keys of its own. No service is asked, no record, limit or history is touched,
and no permit that comes out of it is worth anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.identities import declared, local_key, spiffe_id
from remit.app.installation import Installation, compose, make_state
from remit.app.project import load_project
from remit.app.records import reader_of
from remit.app.session import TaskChoice
from remit.app.trial import no_alarms
from remit.console.detail import detail, find
from remit.core.clock import Clock, system_clock
from remit.core.decisions import Decision
from remit.core.errors import Forbidden, InvalidInput, NotFound, RemitError
from remit.core.identities import Registration
from remit.core.intents import Intent
from remit.core.risk import NOVELTY
from remit.core.settings import Settings
from remit.core.tasks import TaskRequest
from remit.decide import entries
from remit.decide.habits import day_of, told
from remit.decide.sequence import Entry, Step
from remit.decide.world import LIFE_KINDS, Life, World, identity_stream
from remit.identity.keyring import KeyRing
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant
from remit.storage.sqlite import SqliteStore
from remit.storage.sqlite_reader import SqliteReader

_CANDIDATES: Final = 8  # starters that are tried


class Hypothetical(msgspec.Struct, frozen=True, kw_only=True):
    """What would be decided, as if this were the first action of a new task."""

    decision: Decision
    starter: str  # SPIFFE ID of who would have started the task
    workload: str
    detail: dict[str, Any]  # as `remit.console.detail` tells a recorded decision; {} when none was recorded


async def suppose(
    folder: Folder, choice: TaskChoice, action: str, arguments: dict[str, Any], point: str, clock: Clock = system_clock
) -> Hypothetical:
    """Starts the chosen task in a temporary installation, and asks there whether `action` would be permitted.

    `point` is the enforcement point that asks (`pep/gateway`); without a starter in `choice`, the operator or else
    the first that the intent names. Raises what starting the task would raise.
    """
    settings, configuration = load_project(folder)
    intent = configuration.intents.get(choice.intent)
    if intent is None:
        known = ", ".join(sorted(configuration.intents)) or "none"
        raise NotFound("intent_unknown", f"there is no intent `{choice.intent[:64]}`", f"known: {known}")
    with no_alarms(), tempfile.TemporaryDirectory(prefix="remit-decide-") as temporary:
        copy = Folder(Path(temporary))
        make_state(copy)
        keyring = KeyRing.create(copy.trust, clock())
        lives = _lives(folder)
        registered = tuple(_registrations(settings, copy, lives))
        starters = [choice.starter] if choice.starter else _starters(settings, intent, registered)[:_CANDIDATES]
        workload = _workload(settings, choice.workload)
        needed = {spiffe_id(settings.trust_domain, path) for path in (workload, point, *starters)}
        registered = tuple(_held(each, copy) if each.id in needed else each for each in registered)
        store = await SqliteStore.open(copy.database, settings.trust_domain, clock)
        installation = await compose(copy, settings, configuration, keyring, registered, clock, store)
        try:
            await _repeat_lives(installation, lives)
            starter, grant = await _start(installation, starters, workload, choice)
            decision = await Embedded(installation, point, owns=False).authorize(grant, action, arguments)
            found = _told(copy, decision)
            return Hypothetical(decision=decision, starter=starter, workload=workload, detail=found)
        finally:
            await installation.close()


def _told(copy: Folder, decision: Decision) -> dict[str, Any]:
    if not decision.id:
        return {}
    with SqliteReader(copy.database) as reader:
        return detail(reader, find(reader, decision.id))


async def _start(
    installation: Installation, candidates: list[str], workload: str, choice: TaskChoice
) -> tuple[str, TaskGrant]:
    """The first candidate that may start the task, and its grant; the refusal of the first one when none may."""
    refusal: RemitError | None = None
    for candidate in candidates:
        starter = Embedded(installation, candidate, owns=False)
        try:
            return starter.id, await _grant(installation, starter, workload, choice)
        except Forbidden as error:
            refusal = refusal or error
    raise refusal or NotFound(
        "starter_missing", f"nobody here may start a task under `{choice.intent}`", "name one with `--starter`"
    )


async def _grant(installation: Installation, starter: Embedded, workload: str, choice: TaskChoice) -> TaskGrant:
    key = generate_key()
    started = await starter.start_task(
        TaskRequest(
            intent=choice.intent,
            workload=workload,
            key=thumbprint(key),
            params=choice.params,
            prompt=choice.prompt,
            case_type=choice.case_type,
        )
    )
    document = await Embedded(installation, workload.split("/", 3)[3], owns=False).svid(thumbprint(key))
    return TaskGrant(
        task=started.task.id,
        token=started.token,
        svid=document,
        key=private_jwk(key),
        workload=workload,
        intent=choice.intent,
        expires=started.task.expires,
    )


def _workload(settings: Settings, given: str) -> str:
    name = given or settings.workload
    if not name:
        raise InvalidInput("workload_missing", "it is not said which workload would act", "give `--workload NAME`")
    return spiffe_id(settings.trust_domain, name if "/" in name else f"workload/{name}")


def _starters(settings: Settings, intent: Intent, registrations: Iterable[Registration]) -> list[str]:
    """Who could start a task under the intent: the operator first, then whom the intent names."""
    named = set(intent.starters)
    found = [f"person/{settings.operator}"] if settings.operator else []
    for each in registrations:
        path = each.id.split("/", 3)[3]
        if {each.id, path, *(f"group:{group}" for group in each.groups)} & named and path not in found:
            found.append(path)
    return found


def _registrations(settings: Settings, copy: Folder, lives: Mapping[str, Life]) -> Iterable[Registration]:
    """What `remit.toml` declares and what the records say beside it, as the service would have it."""
    recorded = {name: life.registration for name, life in lives.items() if life.registration is not None}
    for each in declared(settings, copy):
        known = recorded.pop(each.id, None)
        yield msgspec.structs.replace(each, state=known.state) if known else each
    yield from recorded.values()


def _held(registration: Registration, copy: Folder) -> Registration:
    """The registration with a key that the temporary installation holds."""
    return msgspec.structs.replace(registration, key=local_key(copy, registration.id.split("/", 3)[3]))


def _lives(folder: Folder) -> dict[str, Life]:
    """The identities, risks and habits of the records; none before the first start."""
    lives: dict[str, Life] = {}
    try:
        reader = reader_of(folder)
    except NotFound:
        return lives
    with reader:
        for stored in reader.records(kinds=LIFE_KINDS):
            record = stored.record
            lives.setdefault(record.stream.removeprefix("identity/"), Life()).apply(record.kind, record.body, record.t)
    return lives


async def _repeat_lives(installation: Installation, lives: Mapping[str, Life]) -> None:
    """Gives each identity the live signals and the habits that it has now."""

    def work(world: World, now: int) -> Step[None]:
        found: list[Entry] = []
        for id_, life in lives.items():
            live = [signal for signal in life.risk.values() if signal.expires > now]
            found += [
                entries.risk(signal, signal.source, items=life.novel if signal.signal == NOVELTY else ())
                for signal in live
            ]
            # Days are counted without those in quarantine, of which the copy had none.
            shift = day_of(now) - life.today(now)
            found += [Entry(identity_stream(id_), "practice", body) for body in told(life.habits, id_, shift)]
        return Step(None, tuple(found))

    await installation.store.run(work)
