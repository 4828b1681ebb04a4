"""The identities that `remit.toml` declares: their SPIFFE IDs, registrations and local keys."""

from __future__ import annotations

from remit.app.folder import Folder
from remit.core.errors import DocumentError
from remit.core.identities import Registration, Role
from remit.core.settings import FILE, Settings
from remit.identity.keys import generate_key, load_key, save_key, thumbprint

ADMINISTRATORS = "administrators"


def spiffe_id(trust_domain: str, path: str) -> str:
    """The SPIFFE ID of an identity of the trust domain; a full one comes back as it is."""
    return path if path.startswith("spiffe://") else f"spiffe://{trust_domain}/{path}"


def declared(settings: Settings, folder: Folder) -> tuple[Registration, ...]:
    """The registrations that `remit.toml` asks for; a key that it does not name is made, or read, in `.remit/keys`."""
    found: list[Registration] = []
    keys: dict[str, str] = {}

    def add(path: str, roles: tuple[Role, ...], key: str, **fields: object) -> None:
        known = key or local_key(folder, path)
        identity = spiffe_id(settings.trust_domain, path)
        if known in keys:
            # SECURITY: with one key for both, a workload could be its own enforcement point.
            raise DocumentError(
                f"`{path}` and `{keys[known]}` have the same key",
                path=folder.root / FILE,
                next_step="give each identity a key of its own",
                code="key_taken",
            )
        keys[known] = path
        found.append(Registration(id=identity, roles=roles, key=known, **fields))  # type: ignore[arg-type]  # checked by the settings

    for workload in settings.workloads:
        add(
            f"workload/{workload.name}",
            ("workload",),
            workload.key,
            kind=workload.kind,
            owner=workload.owner,
            groups=workload.groups,
            environment=workload.environment,
            mode=workload.mode,
            description=workload.description,
        )
    for starter in settings.starters:
        add(
            f"starter/{starter.name}",
            ("starter",),
            starter.key,
            kind=starter.kind,
            owner=starter.owner,
            groups=starter.groups,
            environment=starter.environment,
            description=starter.description,
        )
    for point in settings.enforcement_points:
        add(
            f"pep/{point.name}",
            ("pep",),
            point.key,
            kind=point.kind,
            owner=point.owner,
            groups=point.groups,
            environment=point.environment,
            servers=point.servers,
            description=point.description,
        )
    for person in settings.people:
        administers = "administrator" in person.roles and ADMINISTRATORS not in person.groups
        add(
            f"person/{person.name}",
            person.roles,
            person.key,
            kind="person",
            owner=person.name,
            groups=(*person.groups, ADMINISTRATORS) if administers else person.groups,
            description=person.description,
        )
    return tuple(found)


def declared_in(settings: Settings) -> frozenset[str]:
    """The SPIFFE IDs of the identities that `remit.toml` declares."""
    paths = [f"workload/{seed.name}" for seed in settings.workloads]
    paths += [f"starter/{seed.name}" for seed in settings.starters]
    paths += [f"pep/{seed.name}" for seed in settings.enforcement_points]
    paths += [f"person/{seed.name}" for seed in settings.people]
    return frozenset(spiffe_id(settings.trust_domain, path) for path in paths)


def local_key(folder: Folder, path: str) -> str:
    """The thumbprint of an identity's key in `.remit/keys`, which is made, mode 0600, when there is none."""
    file = folder.key_file(path)
    if not file.exists():
        save_key(file, generate_key())
    return thumbprint(load_key(file))
