"""The identities that `remit.toml` declares: their SPIFFE IDs, registrations and local keys."""

from __future__ import annotations

from collections.abc import Callable

from remit.app.folder import Folder
from remit.core.errors import DocumentError
from remit.core.identities import Registration, Role
from remit.core.settings import FILE, PepSeed, PersonSeed, Settings, StarterSeed, WorkloadSeed
from remit.identity.keys import generate_key, load_key, save_key, thumbprint

ADMINISTRATORS = "administrators"
NO_KEY = "none"  # as `key`: nobody proves this identity by a key of its own, but by tokens from elsewhere

Seed = WorkloadSeed | StarterSeed | PepSeed | PersonSeed


def spiffe_id(trust_domain: str, path: str) -> str:
    """The SPIFFE ID of an identity of the trust domain; a full one comes back as it is."""
    return path if path.startswith("spiffe://") else f"spiffe://{trust_domain}/{path}"


def declared(
    settings: Settings, folder: Folder, known: Callable[[str], Registration | None] | None = None
) -> tuple[Registration, ...]:
    """The registrations that `remit.toml` asks for; a key that it does not name is made, or read, in `.remit/keys`.

    Unless the identity is `known` already: then it keeps its key, which may be another folder's.
    """
    keys: dict[str, str] = {}
    found: list[Registration] = []
    for path, roles, seed in _seeds(settings):
        registered = known(spiffe_id(settings.trust_domain, path)) if known else None
        if seed.key == NO_KEY:
            key = ""
        else:
            key = seed.key or (registered.key if registered else "") or local_key(folder, path)
        if key and key in keys:
            # SECURITY: with one key for both, a workload could be its own enforcement point.
            raise DocumentError(
                f"`{path}` and `{keys[key]}` have the same key",
                path=folder.root / FILE,
                next_step="give each identity a key of its own",
                code="key_taken",
            )
        keys[key] = path
        found.append(_registration(spiffe_id(settings.trust_domain, path), roles, key, seed))
    return tuple(found)


def _registration(identity: str, roles: tuple[Role, ...], key: str, seed: Seed) -> Registration:
    if isinstance(seed, PersonSeed):
        administers = "administrator" in roles and ADMINISTRATORS not in seed.groups
        groups = (*seed.groups, ADMINISTRATORS) if administers else seed.groups
        return Registration(
            id=identity,
            kind="person",
            roles=roles,
            key=key,
            owner=seed.name,
            groups=groups,
            description=seed.description,
        )
    return Registration(
        id=identity,
        kind=seed.kind,
        roles=roles,
        key=key,
        owner=seed.owner,
        groups=seed.groups,
        environment=seed.environment,
        servers=seed.servers if isinstance(seed, PepSeed) else (),
        mode=seed.mode if isinstance(seed, WorkloadSeed) else None,
        description=seed.description,
    )


def declared_in(settings: Settings) -> frozenset[str]:
    """The SPIFFE IDs of the identities that `remit.toml` declares."""
    return frozenset(spiffe_id(settings.trust_domain, path) for path, _, _ in _seeds(settings))


def without_key(settings: Settings) -> frozenset[str]:
    """Those of them for which it names no key."""
    return frozenset(spiffe_id(settings.trust_domain, path) for path, _, seed in _seeds(settings) if not seed.key)


def local_key(folder: Folder, path: str) -> str:
    """The thumbprint of an identity's key in `.remit/keys`, which is made, mode 0600, when there is none."""
    file = folder.key_file(path)
    if not file.exists():
        save_key(file, generate_key())
    return thumbprint(load_key(file))


def _seeds(settings: Settings) -> list[tuple[str, tuple[Role, ...], Seed]]:
    """Path, roles and declaration of each."""
    return [
        *((f"workload/{seed.name}", ("workload",), seed) for seed in settings.workloads),
        *((f"starter/{seed.name}", ("starter",), seed) for seed in settings.starters),
        *((f"pep/{seed.name}", ("pep",), seed) for seed in settings.enforcement_points),
        *((f"person/{seed.name}", seed.roles, seed) for seed in settings.people),
    ]
