"""Registering identities, their life, and the risk that is known of them (docs/design/deciding.md)."""

from __future__ import annotations

from typing import Final

import msgspec

from remit.core import bounds
from remit.core.errors import Conflict, InvalidInput, TooLarge
from remit.core.identities import Identity, Lifecycle, Registration
from remit.core.risk import RAISED_HERE
from remit.core.tasks import Forgetting, RiskSignal
from remit.decide import entries, risk
from remit.decide.habits import Habits
from remit.decide.operations import Operations, check_length, registered
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.world import EVERYBODY, World, identity_stream
from remit.identity.spiffe import parse_spiffe_id

FORGOTTEN_AT_ONCE: Final = 64


class IdentityOperations(Operations):
    """Operations on identities."""

    async def register(self, caller: Identity, wanted: Registration) -> Registration:
        """Registers an identity, or changes what is registered; its state is changed by `change` alone."""

        def work(world: World, now: int) -> Step[Registration]:
            self._active(caller, world, now)
            context = {"isSelf": caller.id == wanted.id, "target": wanted.id}
            self._require(caller, "identity.register", self._installation(), context, world, now)
            self._check_id(wanted.id)
            existing = world.registration(wanted.id)
            if existing is not None and existing.state == "retired":
                raise Conflict("identity_retired", f"`{wanted.id}` is retired", "a retired identity does not come back")
            for same in world.registrations():
                if same.id == wanted.id or same.state == "retired":
                    continue
                if wanted.key and same.key == wanted.key:
                    # SECURITY: with one key for both, a workload would be its own enforcement point or starter.
                    raise Conflict(
                        "key_taken", f"`{same.id}` is registered with this key", "make a key for each identity"
                    )
            kept = msgspec.structs.replace(wanted, state=existing.state if existing else "active")
            return Step(kept, () if kept == existing else (entries.registration(kept, caller.id, ""),))

        target = identity_stream(wanted.id[: bounds.NAME_BYTES])
        return await self._run(work, Needs(reads=(identity_stream(caller.id), EVERYBODY), appends=(target,)))

    async def change(self, caller: Identity, spiffe_id: str, state: Lifecycle, reason: str) -> Registration:
        """Quarantines, retires or reactivates an identity; from its record on nothing is permitted to it."""

        def work(world: World, now: int) -> Step[Registration]:
            self._active(caller, world, now)
            check_length(reason, "reason")
            context = {"isSelf": caller.id == spiffe_id, "state": state, "target": spiffe_id}
            self._require(caller, "identity.change", self._installation(), context, world, now)
            existing = registered(world, spiffe_id)
            if existing.state == "retired" and state != "retired":
                raise Conflict("identity_retired", f"`{spiffe_id}` is retired", "a retired identity does not come back")
            changed = msgspec.structs.replace(existing, state=state)
            if changed == existing:
                return Step(changed)
            cleared = self._cleared(caller, spiffe_id, world, now) if state == "active" else ()
            return Step(changed, (entries.registration(changed, caller.id, reason), *cleared))

        return await self._run(work, self._needs(caller, spiffe_id))

    def _cleared(self, caller: Identity, spiffe_id: str, world: World, now: int) -> tuple[Entry, ...]:
        """Who brings a workload back has looked at why it was stopped: the signals that Remit raised are over.

        Those that people or detectors set stay until they expire or are set again.
        """
        life = world.life(spiffe_id)
        live = [life.risk[name] for name in RAISED_HERE if name in life.risk] if life is not None else []
        return tuple(
            entries.risk(
                RiskSignal(id=spiffe_id, signal=each.signal, value=0, source="it was brought back", expires=now),
                caller.id,
            )
            for each in live
            if each.expires > now and each.value
        )

    async def set_risk(self, caller: Identity, signal: RiskSignal) -> RiskSignal:
        """Sets a live risk signal of a workload, with a source and an expiry."""

        def work(world: World, now: int) -> Step[RiskSignal]:
            self._active(caller, world, now)
            self._require(caller, "risk.set", self._installation(), {"target": signal.id}, world, now)
            about = registered(world, signal.id)
            if not 0 <= signal.value <= 100 or not signal.signal or len(signal.signal) > 64:
                raise InvalidInput("risk_invalid", "a risk signal has a name and a value from 0 to 100")
            if signal.signal not in self.configuration.risk.signals:
                # SECURITY: a signal that counts for nothing must not look as if it were set.
                raise InvalidInput(
                    "risk_signal_unknown",
                    f"the signal `{signal.signal}` is none of those that count",
                    "name it in `[risk] signals` of remit.toml",
                )
            found = [entries.risk(signal, caller.id)]
            is_live = signal.expires > now and about.state == "active" and "workload" in about.roles
            if is_live and risk.quarantines(self.configuration, signal):
                found.append(risk.quarantine(self.configuration, about, signal))
            return Step(signal, tuple(found))

        return await self._run(work, self._needs(caller, signal.id))

    async def forget(self, caller: Identity, wanted: Forgetting) -> list[str]:
        """Has habits of a workload forgotten: what it does of them is new again. Answers what was known of them."""

        def work(world: World, now: int) -> Step[list[str]]:
            self._active(caller, world, now)
            check_length(wanted.reason, "reason")
            self._require(caller, "habits.forget", self._installation(), {"target": wanted.id}, world, now)
            registered(world, wanted.id)
            named = (*wanted.tools, *wanted.destinations)
            if wanted.everything == bool(named):
                raise InvalidInput(
                    "habits_unclear", "it is not said which habits are forgotten", "name tools, destinations, or all"
                )
            if len(named) > FORGOTTEN_AT_ONCE or any(len(name) > 2 * bounds.NAME_BYTES for name in named):
                raise TooLarge(
                    "habits_too_many", f"at most {FORGOTTEN_AT_ONCE} habits are forgotten at once", "split it"
                )
            life = world.life(wanted.id)
            habits = life.habits if life is not None else Habits()
            known = sorted(
                {*habits.tools, *habits.destinations}
                if wanted.everything
                else {*(habits.tools.keys() & wanted.tools), *(habits.destinations.keys() & wanted.destinations)}
            )
            if not known and (named or habits.anything is None):
                return Step(known)
            return Step(known, (entries.forgotten(wanted, caller.id),))

        return await self._run(work, self._needs(caller, wanted.id))

    def _check_id(self, spiffe_id: str) -> None:
        """An identity is of this trust domain, and its id short enough to stand in every record."""
        known = parse_spiffe_id(spiffe_id)
        if known.trust_domain != self.configuration.trust_domain or not known.path:
            # SECURITY: foreign identities are refused unless federated; their ids belong to somebody else.
            raise InvalidInput(
                "identity_foreign",
                f"`{spiffe_id[:256]}` is not an identity of `{self.configuration.trust_domain}`",
                f"register `spiffe://{self.configuration.trust_domain}/workload/…`",
            )
        if len(spiffe_id) > bounds.NAME_BYTES:
            raise TooLarge("identity_too_long", f"an identity's id has at most {bounds.NAME_BYTES} bytes")

    async def identities(self, caller: Identity) -> list[Registration]:
        """All registrations, for whoever may read the record."""

        def work(world: World, now: int) -> Step[list[Registration]]:
            self._active(caller, world, now)
            self._require(caller, "record.read", self._installation(), {}, world, now)
            return Step(sorted(world.registrations(), key=lambda registration: registration.id), durable=False)

        return await self._run(work, Needs(reads=(identity_stream(caller.id), EVERYBODY), records=False))

    def _needs(self, caller: Identity, spiffe_id: str) -> Needs:
        target = identity_stream(spiffe_id[: bounds.NAME_BYTES])
        return Needs(reads=(identity_stream(caller.id),), appends=(target,))
