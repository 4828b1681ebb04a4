"""Ways around Remit on this machine: the agent's user, the upstreams, and what an agent inherits.

What each deployment holds against stands in docs/threat-model.md.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from remit.app.doctor.finding import Finding, Situation, User, listed
from remit.app.trust import is_shared, trust_folder
from remit.core.errors import NotFound

THREAT_MODEL: Final = "docs/threat-model.md"
_FILES = ("REMIT_KEY",)  # variables that look like secrets and name files
_SECRET: Final = re.compile(
    r"(?i)(^|_)(TOKEN|SECRET|SECRETS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|CREDENTIALS|APIKEY|PRIVATE|PAT)(_|$)"
    r"|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|ENCRYPTION_?KEY|_AUTH$|DATABASE_URL|_DSN$|CONNECTION_STRING"
)


def user_of(name: str = "") -> User:
    """A user of this machine by name or number, or the one that runs this; `NotFound` where there is none."""
    if not name:
        uid = os.geteuid()
        return User(_name(uid), uid, frozenset({os.getegid(), *os.getgroups()}))
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise NotFound(
            "user_unknown", f"there is no user `{name[:64]}` on this machine", "name the one that agents run as"
        ) from None
    member = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
    return User(entry.pw_name, entry.pw_uid, frozenset({entry.pw_gid, *member}))


def users(situation: Situation) -> Iterator[Finding]:
    """Whether the agent's user could act as Remit: the same user, or one that reads its keys."""
    state = situation.folder.state
    if not state.is_dir():
        return
    agent, owner = situation.agent, state.stat().st_uid
    if agent.uid in (owner, 0):
        same = "the same user as the service" if agent.uid == owner else "root"
        yield Finding(
            check="users",
            level="warn",
            message=(
                f"an agent that runs as `{agent.name}`, {same}, can read keys, grants and records, stop the service, "
                "change policies, and start upstreams itself: enforcement is advisory. It holds against an agent that "
                "errs or is misled through the tools that Remit governs, not against one that sets out to get around it"
            ),
            next_step=f"run agents as another user, then `remit doctor --agent-user NAME`; {THREAT_MODEL} says how",
        )
        return
    folder = situation.folder
    secrets = [path for place in (folder.trust, folder.keys, folder.run) if place.is_dir() for path in place.iterdir()]
    secrets += _elsewhere(situation)
    readable = [path.name for path in (*secrets, folder.database) if agent.may(path, 4)]
    if readable:
        yield Finding(
            check="users",
            level="fail",
            message=f"`{agent.name}` can read {listed(readable)}",
            next_step=f"chmod -R go= {state}",
        )
    changeable = [
        name
        for name in ("remit.toml", "policies", "intents", "catalogue", "windows", "entities")
        if _may_write(situation, name)
    ]
    if changeable:
        yield Finding(
            check="users",
            level="fail",
            message=f"`{agent.name}` can change {listed(changeable)}",
            next_step="chown and chmod them, so that only the service's user can write",
        )
    if agent.may(folder.socket, 2):
        yield Finding(
            check="users",
            level="warn",
            message=f"`{agent.name}` can connect to the socket",
            next_step="without a registered key it gets health, metadata and keys only; mode 0600 keeps it out",
        )
    if not readable and not changeable:
        yield Finding(
            check="users",
            level="ok",
            message=f"`{agent.name}` can neither read the keys of `{_name(owner)}` nor change what decides",
        )


def upstreams(situation: Situation) -> Iterator[Finding]:
    """Which of the catalogue's servers the agent's user could start itself."""
    if situation.catalogue is None:
        return
    agent = situation.agent
    reachable = [
        name
        for name, server in sorted(situation.catalogue.servers.items())
        if server.command and _starts(agent, server.command[0], situation.folder.root)
    ]
    if reachable:
        yield Finding(
            check="upstreams",
            level="warn",
            message=(
                f"`{agent.name}` can start {listed(reachable)} itself, past Remit; this matters where their data and "
                "credentials are in reach of that user too"
            ),
            next_step=f"keep credentials and data for the service's user alone; {THREAT_MODEL}, “Upstreams”",
        )
    elif situation.catalogue.servers:
        yield Finding(check="upstreams", level="ok", message=f"`{agent.name}` can't start the catalogue's servers")


def environment(situation: Situation) -> Iterator[Finding]:
    """Names of variables that look like secrets, which an agent started from here inherits."""
    given = ((name, value) for name, value in situation.environment.items() if name not in _FILES)
    names = sorted(name for name, value in given if value and _SECRET.search(name))
    if names:
        yield Finding(
            check="environment",
            level="warn",
            message=f"an agent started from here inherits {listed(names)}",
            next_step="unset them before `remit run`; give them to the server that needs them instead",
        )
    else:
        yield Finding(check="environment", level="ok", message="no variable looks like a secret")


def _may_write(situation: Situation, name: str) -> bool:
    path = situation.folder.root / name
    if not path.exists():
        return False
    inside = [each for each in path.rglob("*") if not each.is_symlink()][:1000] if path.is_dir() else []
    return any(situation.agent.may(each, 2) for each in (path, situation.folder.root, *inside))


def _starts(agent: User, program: str, root: Path) -> bool:
    found = shutil.which(program, path=os.environ.get("PATH")) if "/" not in program else str(root / program)
    return found is not None and agent.may(Path(found), 1)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _elsewhere(situation: Situation) -> list[Path]:
    """Secrets that stand outside `.remit`: shared signing keys, and the password of the database."""
    settings = situation.settings
    if settings is None:
        return []
    found = [*trust_folder(situation.folder, settings).glob("*")] if is_shared(settings) else []
    if settings.storage.password_file:
        found.append(situation.folder.root / settings.storage.password_file)
    return found
