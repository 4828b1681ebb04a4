"""The project's files: do they load, is everything reviewed, who stands before what, and who can change them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from remit.app.doctor.finding import Finding, Situation, listed
from remit.app.identities import declared_in
from remit.app.records import reader_of
from remit.core.errors import DocumentError, RemitError
from remit.core.identities import Registration
from remit.core.settings import FILE

_FOLDERS: Final = ("policies", "intents", "catalogue", "windows", "entities", "tests")
_FILES_LOOKED_AT: Final = 10_000


def loads(situation: Situation) -> Iterator[Finding]:
    """Every file loads and fits the others, as `remit check` says."""
    error = situation.problem
    if error is None:
        yield Finding(check="project", level="ok", message="settings, catalogue, intents, policies and windows load")
        return
    where = f"{error.path}:{error.line}: " if isinstance(error, DocumentError) else ""
    yield Finding(
        check="project",
        level="fail",
        message=f"{where}{error.message}",
        next_step=error.next_step or "`remit check` says more",
    )


def reviews(situation: Situation) -> Iterator[Finding]:
    """No action waits for review."""
    catalogue = situation.catalogue
    if catalogue is None:
        return
    waiting = [action.name for action in catalogue.actions.values() if not action.reviewed]
    if waiting:
        servers = sorted({name.partition("/")[0] for name in waiting})
        yield Finding(
            check="reviews",
            level="warn",
            message=f"{len(waiting)} actions wait for review, and are refused until then: {listed(waiting)}",
            next_step=f"`remit catalogue review {servers[0]}`",
        )
    else:
        yield Finding(check="reviews", level="ok", message=f"all {len(catalogue.actions)} actions are reviewed")


def points(situation: Situation) -> Iterator[Finding]:
    """Every server has somebody standing before it, and every enforcement point a server that exists."""
    if situation.settings is None or situation.catalogue is None:
        return
    served = {name for point in situation.settings.enforcement_points for name in point.servers}
    served |= {name for each in _registered(situation) if "pep" in each.roles for name in each.servers}
    servers = situation.catalogue.servers
    bare = [name for name, server in servers.items() if name not in served and not server.self_enforced]
    if bare:
        yield Finding(
            check="enforcement points",
            level="warn",
            message=f"nobody stands before {listed(bare)}: every call through Remit is refused",
            next_step=f'add "{bare[0]}" to `servers` of an enforcement point in `remit.toml`',
        )
    unknown = sorted(served - servers.keys())
    if unknown:
        yield Finding(
            check="enforcement points",
            level="warn",
            message=f"the catalogue does not know {listed(unknown)}, which an enforcement point names",
            next_step=f"`remit catalogue import {unknown[0]} -- COMMAND`, or remove the name",
        )
    alone = [name for name, server in servers.items() if server.self_enforced]
    if alone:
        yield Finding(
            check="enforcement points",
            level="warn",
            message=f"the workload may enforce {listed(alone)} itself: its outcomes there are claims",
            next_step="put `remit gateway` or `remit exec` in front where it matters",
        )
    if not bare and not unknown and servers:
        yield Finding(check="enforcement points", level="ok", message=f"{len(servers)} servers, each has one")


def mode(situation: Situation) -> Iterator[Finding]:
    """Whether policies are enforced."""
    if situation.settings is None:
        return
    chosen = situation.settings.mode
    if chosen.default == "enforce":
        yield Finding(check="mode", level="ok", message="policies are enforced")
        return
    until = chosen.observe_until
    if until is not None and until < datetime.fromtimestamp(situation.now / 1000, UTC):
        yield Finding(
            check="mode",
            level="warn",
            message=f"observe ended {until:%Y-%m-%d %H:%M %Z}: policies are enforced",
            next_step='write `default = "enforce"` in `remit.toml`',
        )
        return
    yield Finding(
        check="mode",
        level="warn",
        message=f"observe: what policies deny is recorded and permitted, until {until:%Y-%m-%d %H:%M %Z}",
        next_step="look at `remit log --denied`, then enforce",
    )


def owners(situation: Situation) -> Iterator[Finding]:
    """Somebody answers for every workload, and somebody administers."""
    settings = situation.settings
    if settings is None:
        return
    people = {person.name for person in settings.people}
    owned = {seed.name: seed.owner for seed in settings.workloads}
    for each in _registered(situation):
        if "workload" in each.roles and each.state != "retired":
            owned[each.id.rsplit("/", 1)[-1]] = each.owner
    lost = sorted(name for name, owner in owned.items() if owner not in people)
    if lost:
        yield Finding(
            check="owners",
            level="warn",
            message=f"nobody of `[[people]]` answers for {listed(lost)}",
            next_step="name an owner, or declare that person",
        )
    if not any("administrator" in person.roles for person in settings.people):
        yield Finding(
            check="owners",
            level="warn",
            message="nobody has the role administrator: nobody can quarantine or resolve",
            next_step='give one of `[[people]]` the role "administrator"',
        )
    if not lost and owned:
        yield Finding(check="owners", level="ok", message=f"{len(owned)} workloads, each has an owner")


def writable(situation: Situation) -> Iterator[Finding]:
    """Nobody else can change what decides."""
    root = situation.folder.root
    open_ = [path for path in _deciding(root) if path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)]
    if open_:
        yield Finding(
            check="files",
            level="fail",
            message=f"others can change {listed(str(path.relative_to(root)) or '.' for path in open_)}",
            next_step=f"chmod go-w {open_[0]}",
        )
    else:
        yield Finding(check="files", level="ok", message="only their owner can change what decides")


def _deciding(root: Path) -> Iterator[Path]:
    yield root
    yield root / FILE
    count = 0
    for name in _FOLDERS:
        place = root / name
        if not place.is_dir():
            continue
        yield place
        for path in sorted(place.rglob("*")):
            count += 1
            if count > _FILES_LOOKED_AT:
                return
            if not path.is_symlink():
                yield path


def _registered(situation: Situation) -> list[Registration]:
    """What the records say of identities that `remit.toml` does not declare: the last registration of each."""
    found: dict[str, Registration] = {}
    if situation.settings is None:
        return []
    declared = declared_in(situation.settings)
    try:
        with reader_of(situation.folder) as reader:
            for stored in reader.records(kinds=("identity",)):
                found[stored.stream] = _registration(stored.record.body["registration"])
    except RemitError:
        return []
    return [each for each in found.values() if each.id not in declared]


def _registration(body: dict[str, object]) -> Registration:
    known = {name: body[name] for name in Registration.__struct_fields__ if name in body}
    return msgspec.convert(known, Registration)
