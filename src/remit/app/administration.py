"""Registering identities and changing their lives, for the commands of every role."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from remit.app.folder import Folder
from remit.app.identities import declared_in, local_key, spiffe_id
from remit.app.records import reader_of
from remit.core import bounds
from remit.core.errors import Conflict, InvalidInput, NotFound
from remit.core.identities import Kind, Lifecycle, Registration, Role
from remit.core.settings import Settings
from remit.core.tasks import RiskSignal
from remit.identity.keys import THUMBPRINT
from remit.sdk.api import Remit
from remit.tasks.durations import seconds_of

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LONGEST: Final = 365 * 86_400  # seconds that a risk signal may live

ARRIVALS: Final = 20  # exchanges of outside tokens that are shown, the last ones

Managed = Literal["workload", "starter", "pep", "approver"]
SPACES: Final[Mapping[Managed, str]] = {
    "workload": "workload",
    "starter": "starter",
    "pep": "pep",
    "approver": "person",
}

KINDS: Final[Mapping[Managed, tuple[Kind, ...]]] = {
    "workload": ("agent", "service", "pipeline", "bot"),
    "starter": ("service", "pipeline", "bot"),
    "pep": ("service", "agent", "pipeline", "bot"),
    "approver": ("person",),
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said of an identity to register; what is empty stays as it is registered."""

    name: str
    kind: Kind | None = None
    owner: str = ""
    groups: tuple[str, ...] = ()
    environment: str = ""
    servers: tuple[str, ...] = ()
    description: str = ""
    key: str = ""  # thumbprint; empty: a key is made, or read, in `.remit/keys`


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What was registered, and the key file that was made for it, if one was."""

    registration: Registration
    key_file: str = ""


def identity_id(settings: Settings, role: Managed, name: str) -> str:
    """The SPIFFE ID that a name, a path (`workload/agent`) or an id stands for."""
    if len(name) > bounds.NAME_BYTES:
        raise InvalidInput("name_invalid", "this is too long for a name")
    return spiffe_id(settings.trust_domain, name if "/" in name else f"{SPACES[role]}/{name}")


async def add(
    folder: Folder, settings: Settings, remit: Remit, role: Managed, wanted: Wanted, *, update: bool
) -> Added:
    """Registers an identity with a role; an approver who is registered already keeps the other roles.

    `Conflict` when it is declared in `remit.toml`, or registered and not to be updated.
    """
    if not _NAME.fullmatch(wanted.name):
        raise InvalidInput("name_invalid", f"`{wanted.name[:64]}` is not a name", "use a-z, 0-9, `-`, `_` and `.`")
    if wanted.key and not THUMBPRINT.fullmatch(wanted.key):
        raise InvalidInput(
            "thumbprint_invalid", "this is not an RFC 7638 thumbprint", "it has 43 characters of base64url"
        )
    id_ = identity_id(settings, role, wanted.name)
    _check_not_declared(settings, id_)
    existing = {each.id: each for each in await remit.identities()}.get(id_)
    if existing is not None and not update and role in existing.roles:
        raise Conflict("identity_exists", f"`{id_}` is registered already", "give `--update` to change it")
    roles: tuple[Role, ...] = (role,)
    if existing is not None:
        roles = (*existing.roles, *(() if role in existing.roles else (role,)))
        made = ""
        # SECURITY: an identity whose key is held elsewhere must not get another one in passing.
        key = wanted.key or existing.key
    else:
        file = folder.key_file(id_.split("/", 3)[3])
        made = "" if wanted.key or file.exists() else str(file)
        key = wanted.key or local_key(folder, id_.split("/", 3)[3])
    owner = wanted.owner or (existing.owner if existing else wanted.name if role == "approver" else settings.operator)
    registered = await remit.register(
        Registration(
            id=id_,
            kind=wanted.kind or (existing.kind if existing else KINDS[role][0]),
            roles=roles,
            owner=owner,
            key=key,
            groups=wanted.groups or (existing.groups if existing else ()),
            environment=wanted.environment or (existing.environment if existing else ""),
            servers=wanted.servers or (existing.servers if existing else ()),
            mode=existing.mode if existing else None,
            description=wanted.description or (existing.description if existing else ""),
        )
    )
    return Added(registration=registered, key_file=made)


async def listed(remit: Remit, role: Managed) -> list[Registration]:
    """The identities that have the role, by id."""
    return sorted((each for each in await remit.identities() if role in each.roles), key=lambda each: each.id)


async def known(settings: Settings, remit: Remit, role: Managed, name: str) -> Registration:
    """The registration of one; `NotFound` says how to see them all."""
    id_ = identity_id(settings, role, name)
    for each in await remit.identities():
        if each.id == id_ and role in each.roles:
            return each
    raise NotFound("identity_unknown", f"there is no {role} `{name[:128]}`", f"`remit {role} list` shows them")


async def change(
    settings: Settings, remit: Remit, role: Managed, name: str, state: Lifecycle, reason: str
) -> Registration:
    """Quarantines, retires or reactivates one."""
    registration = await known(settings, remit, role, name)
    return await remit.change(registration.id, state, reason)


def lifetime(text: str) -> int:
    """The seconds of `90s`, `30m`, `1h` or `7d`; at most 365 days."""
    seconds = seconds_of(text) or 0
    if not 0 < seconds <= _LONGEST:
        raise InvalidInput("duration_invalid", f"`{text[:32]}` is not a length of time", "write `30m`, `1h` or `7d`")
    return seconds


def life_of(folder: Folder, id_: str) -> dict[str, Any]:
    """What the records say of an identity: its changes, its risk signals by name, how it came, how often refused."""
    changes: list[dict[str, Any]] = []
    risks: dict[str, dict[str, Any]] = {}
    refused = 0
    arrivals: deque[dict[str, Any]] = deque(maxlen=ARRIVALS)
    with suppress(NotFound), reader_of(folder) as reader:
        for stored in reader.stream(f"identity/{id_}"):
            record = stored.record
            if record.kind == "identity":
                said = {key: record.body.get(key, "") for key in ("by", "reason")}
                changes.append({"at": record.t, "state": record.body["registration"]["state"], **said})
            elif record.kind == "exchange":
                # What an issuer calls a person stands there as a commitment.
                said = {key: record.body[key] for key in ("source", "rule", "subject", "key")}
                arrivals.append({"at": record.t, **said})
            elif record.kind == "risk":
                fields = {name: record.body[name] for name in RiskSignal.__struct_fields__}
                more = {"at": record.t, **{key: record.body.get(key, "") for key in ("by", "decision")}}
                more["items"] = record.body.get("items", [])
                risks[fields["signal"]] = msgspec.to_builtins(msgspec.convert(fields, RiskSignal)) | more
            elif record.kind == "decision" and record.body["effect"] == "deny":
                refused += 1
            elif record.kind == "denials":
                refused += record.body["count"]
    return {
        "changes": changes,
        "risks": list(risks.values()),
        "arrivals": list(arrivals),
        "refused": refused,
    }


def _check_not_declared(settings: Settings, id_: str) -> None:
    if id_ in declared_in(settings):
        raise Conflict(
            "identity_declared",
            f"`{id_}` is declared in `remit.toml`, which says what is registered of it",
            "change it there, and start the service again",
        )
