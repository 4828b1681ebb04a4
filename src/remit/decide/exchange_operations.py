"""Exchanges: an outside token for an identity here, once it is recorded (docs/design/identity.md).

1. The identity is registered and active; or the rule says how it is registered at first sight.
2. Who approves, administers or enforces was named by a rule outright, never by a claim.
3. The key is no other identity's.
4. The token was not used with another key before: it is bound to the first one until it has expired.
5. The exchange is recorded in the identity's stream; the same token and key again are not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.core.errors import Conflict, Forbidden, Unauthenticated, Unavailable
from remit.core.identities import Registration, Role
from remit.decide import entries
from remit.decide.operations import Operations
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.world import EVERYBODY, World, identity_stream
from remit.identity.arrival import Arrival

# How long after its expiry a token is remembered: longer than any clock may be from another.
REMEMBERED_MS: Final = 60_000

_TRUSTED: Final[frozenset[Role]] = frozenset({"pep", "approver", "administrator"})
_ROLES: Final[dict[str, Role]] = {"workload": "workload", "starter": "starter", "person": "starter"}


class ExchangeOperations(Operations):
    """Operations on outside identities."""

    async def exchange_for(self, arrival: Arrival, key: str) -> Registration:
        """The registration of the identity that a verified outside token stands for, with `key` proved by its holder.

        Durable before it is answered. Raises `Forbidden` (`identity_unknown`, `identity_quarantined`,
        `identity_retired`, `identity_chosen`), `Conflict("key_taken")`, `Unauthenticated("token_replayed")` and, at
        bounds, `Unavailable("token_memory_full")` or `Forbidden("identities_full")`.
        """

        def work(world: World, now: int) -> Step[Registration]:
            everybody = world.registrations()
            existing = world.registration(arrival.id)
            registered = _admitted(arrival, existing, world, everybody)
            if arrival.chosen and not _TRUSTED.isdisjoint(registered.roles):
                # SECURITY: who names accounts at the issuer must not become an administrator here by a name.
                raise Forbidden(
                    "identity_chosen",
                    f"`{arrival.id}` may approve, administer or enforce, so a claim alone does not name it",
                    "write a rule that names it outright, by a claim that nobody else can have",
                )
            _check_key(arrival, key, everybody)
            changed = () if registered == existing else (entries.registration(registered, _by(arrival), ""),)
            return Step(registered, (*changed, *self._exchanged(arrival, key, world, now)))

        return await self._run(work, Needs(reads=(EVERYBODY,), appends=(identity_stream(arrival.id),)))

    def _exchanged(self, arrival: Arrival, key: str, world: World, now: int) -> tuple[Entry, ...]:
        life = world.life(arrival.id)
        used = life.tokens if life is not None else {}
        bound, until = used.get(arrival.token, ("", 0))
        if until > now:
            # SECURITY: who stole a token that was used already can't use it with a key of his own.
            if bound != key:
                raise Unauthenticated(
                    "token_replayed",
                    "the token was used before, with another key",
                    "get a token of your own; if nobody else should have this one, look into who had it",
                )
            return ()
        if sum(until > now for _, until in used.values()) >= bounds.TOKENS_PER_IDENTITY:
            # SECURITY: full means refuse; to forget a token early would let another key use it.
            raise Unavailable(
                "token_memory_full",
                f"`{arrival.id}` has used {bounds.TOKENS_PER_IDENTITY} tokens that are still valid",
                "renew with the tokens that there are, or let the issuer give them a shorter life",
            )
        body: dict[str, Any] = {
            "config": self.configuration.digest,
            "expires": arrival.expires,
            "issuer": arrival.issuer,
            "key": key,
            "rule": arrival.rule,
            "source": arrival.source,
            "subject": arrival.subject,
            "token": arrival.token,
            "until": arrival.expires + REMEMBERED_MS,
        }
        return (entries.exchange(arrival.id, body, personal=arrival.path.startswith("person/")),)


def _admitted(
    arrival: Arrival, existing: Registration | None, world: World, everybody: list[Registration]
) -> Registration:
    """The identity as it is registered, or as the rule registers it."""
    if existing is not None and existing.state != "active":
        raise Forbidden(f"identity_{existing.state}", f"`{arrival.id}` is {existing.state}", "ask its owner")
    life = world.life(arrival.id)
    by_rule = life is not None and life.registered_by == _by(arrival)
    wanted = arrival.register
    if existing is not None:
        # SECURITY: what an operator or `remit.toml` registered is not changed by what an issuer says.
        if not by_rule or wanted is None:
            return existing
        return msgspec.structs.replace(existing, groups=_groups(arrival, wanted.groups))
    if wanted is None:
        raise Forbidden("identity_unknown", f"`{arrival.id}` is not registered", "register it, or let the rule do so")
    if len(everybody) >= bounds.IDENTITIES_AT_FIRST_SIGHT:
        raise Forbidden(
            "identities_full",
            f"{bounds.IDENTITIES_AT_FIRST_SIGHT} identities are registered, so none is at first sight any more",
            "look at `remit issuers` for the rule that lets so many in, and register by hand",
        )
    if len(arrival.id) > bounds.NAME_BYTES:
        raise Forbidden("identity_too_long", f"an identity's id has at most {bounds.NAME_BYTES} bytes")
    space = arrival.path.partition("/")[0]
    return Registration(
        id=arrival.id,
        kind="person" if space == "person" else wanted.kind,
        roles=(_ROLES[space],),
        owner=wanted.owner,
        key="",  # no key speaks for it but one that comes with a token
        groups=_groups(arrival, wanted.groups),
        environment=wanted.environment,
    )


def _groups(arrival: Arrival, always: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*always, *arrival.groups)))


def _check_key(arrival: Arrival, key: str, everybody: list[Registration]) -> None:
    for other in everybody:
        if other.key == key and other.id != arrival.id and other.state != "retired":
            # SECURITY: with one key for both, a workload would be its own enforcement point or starter.
            raise Conflict("key_taken", f"`{other.id}` is registered with this key", "make a key for each identity")


def _by(arrival: Arrival) -> str:
    """Who registered it, in the record."""
    return f"{arrival.source} rule {arrival.rule}"
