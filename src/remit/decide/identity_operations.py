"""Registering identities, their life, and the risk that is known of them (docs/design/deciding.md)."""

from __future__ import annotations

import msgspec

from remit.core.errors import Conflict, InvalidInput
from remit.core.identities import Identity, Lifecycle, Registration
from remit.core.tasks import RiskSignal
from remit.decide import entries
from remit.decide.operations import Operations, check_length, registered
from remit.decide.sequence import Step
from remit.decide.world import World


class IdentityOperations(Operations):
    """Operations on identities."""

    async def register(self, caller: Identity, wanted: Registration) -> Registration:
        """Registers an identity, or changes what is registered; its state is changed by `change` alone."""

        def work(world: World, now: int) -> Step[Registration]:
            self._active(caller, world, now)
            context = {"isSelf": caller.id == wanted.id, "target": wanted.id}
            self._require(caller, "identity.register", self._installation(), context, world, now)
            existing = world.registration(wanted.id)
            if existing is not None and existing.state == "retired":
                raise Conflict("identity_retired", f"`{wanted.id}` is retired", "a retired identity does not come back")
            kept = msgspec.structs.replace(wanted, state=existing.state if existing else "active")
            return Step(kept, () if kept == existing else (entries.registration(kept, caller.id, ""),))

        return await self._run(work)

    async def change(self, caller: Identity, spiffe_id: str, state: Lifecycle, reason: str) -> Registration:
        """Quarantines, retires or reactivates an identity; from its record on nothing is permitted to it."""

        def work(world: World, now: int) -> Step[Registration]:
            self._active(caller, world, now)
            check_length(reason, "reason")
            existing = registered(world, spiffe_id)
            context = {"isSelf": caller.id == spiffe_id, "state": state, "target": spiffe_id}
            self._require(caller, "identity.change", self._installation(), context, world, now)
            if existing.state == "retired" and state != "retired":
                raise Conflict("identity_retired", f"`{spiffe_id}` is retired", "a retired identity does not come back")
            changed = msgspec.structs.replace(existing, state=state)
            return Step(changed, () if changed == existing else (entries.registration(changed, caller.id, reason),))

        return await self._run(work)

    async def set_risk(self, caller: Identity, signal: RiskSignal) -> RiskSignal:
        """Sets a live risk signal of a workload, with a source and an expiry."""

        def work(world: World, now: int) -> Step[RiskSignal]:
            self._active(caller, world, now)
            registered(world, signal.id)
            if not 0 <= signal.value <= 100 or not signal.signal or len(signal.signal) > 64:
                raise InvalidInput("risk_invalid", "a risk signal has a name and a value from 0 to 100")
            self._require(caller, "risk.set", self._installation(), {"target": signal.id}, world, now)
            return Step(signal, (entries.risk(signal, caller.id),))

        return await self._run(work)

    async def identities(self, caller: Identity) -> list[Registration]:
        """All registrations, for whoever may read the record."""

        def work(world: World, now: int) -> Step[list[Registration]]:
            self._active(caller, world, now)
            self._require(caller, "record.read", self._installation(), {}, world, now)
            found = [life.registration for life in world.lives.values() if life.registration is not None]
            return Step(sorted(found, key=lambda registration: registration.id), durable=False)

        return await self._run(work)
