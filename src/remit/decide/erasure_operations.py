"""Erasing personal values: by an operator, and by the service when they are old (docs/design/erasure.md).

What is erased is looked for first, beside the sequencer; then one work records what goes, and storage takes it away in
the transaction that makes the record durable. The key of a subject goes with the last of its values, so that also what
was recorded in between is gone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from remit.core import bounds, canonical
from remit.core.erasing import AT_ONCE, Erasing, Erasure, Place, What
from remit.core.errors import InvalidInput, NotFound, TooLarge
from remit.core.identities import Identity
from remit.core.ids import new_id
from remit.decide.operations import Operations, check_length
from remit.decide.sequence import Entry, Erased, Kept, Needs, Step, Wanted
from remit.decide.world import ADMINISTRATION, World, identity_stream

log = logging.getLogger("remit.decide")

DAY_MS: Final = 86_400_000
LISTED_BYTES: Final = 48 * 1024  # of the openings that one record names
_ID: Final = re.compile(r"e_[0-9a-f]{28}")


class ErasureOperations(Operations):
    """Operations on what is kept beside the records."""

    _after = ""  # where retention goes on looking

    async def erase(self, caller: Identity, wanted: Erasing) -> Erasure:
        """One step of erasing: at most `AT_ONCE` openings; a subject's key goes with the last of them.

        `NotFound("nothing_to_erase")` where nothing of it is kept.
        """
        await self._run(lambda world, now: self._may_erase(caller, wanted, world, now), _reads(caller))
        kept = await self._sequencer.kept(Wanted(subject=wanted.subject, places=wanted.places, most=AT_ONCE))
        if not kept.places and not kept.keys:
            raise NotFound(
                "nothing_to_erase",
                "no personal values of this are kept" if wanted.subject else "none of these values is kept",
                "they were erased before, or there never were any; `remit log show ID` says which",
            )

        def work(world: World, now: int) -> Step[Erasure]:
            self._active(caller, world, now)
            self._require(caller, "record.erase", self._installation(), {}, world, now)
            id_ = wanted.id or new_id("e", now)
            found = entries_of(id_, wanted.what, caller.id, wanted.reason, kept)
            done = Erasure(id=id_, openings=len(kept.places), keys=len(kept.keys) * (not kept.more), more=kept.more)
            return Step(done, tuple(found))

        return await self._run(work, Needs(reads=(identity_stream(caller.id),), appends=(ADMINISTRATION,)))

    async def retain(self) -> int:
        """Erases personal values that are older than `[retention] personal_days`: one bounded step; how many it erased.

        A step looks at some streams, in the order of their names; the next one goes on there.
        """
        days = self.configuration.limits.personal_days
        if not days:
            return 0
        now = await self._run(lambda _, now: Step(now, durable=False), Needs(records=False))
        kept = await self._sequencer.kept(Wanted(before=now - days * DAY_MS, after=self._after, most=AT_ONCE))
        if kept.places:
            reason = f"kept for {days} days after the end of their session"

            def work(world: World, now: int) -> Step[None]:
                return Step(None, tuple(entries_of(new_id("e", now), "age", self.configuration.service, reason, kept)))

            await self._run(work, Needs(appends=(ADMINISTRATION,)))
        self._after = kept.after
        return len(kept.places)

    def _may_erase(self, caller: Identity, wanted: Erasing, world: World, now: int) -> Step[None]:
        self._active(caller, world, now)
        self._require(caller, "record.erase", self._installation(), {}, world, now)
        if not wanted.reason.strip():
            raise InvalidInput("reason_missing", "it is not said why", "give a reason; it stands in the record")
        check_length(wanted.reason, "reason")
        if bool(wanted.subject) == bool(wanted.places) or (wanted.what == "subject") != bool(wanted.subject):
            raise InvalidInput("erasure_unclear", "it is not said what to erase", "name a subject, or some places")
        if len(wanted.places) > AT_ONCE or len(wanted.subject.encode(errors="surrogatepass")) > 4 * bounds.NAME_BYTES:
            raise TooLarge("erasure_too_large", f"at most {AT_ONCE} values are erased at once", "split it")
        if wanted.id and not _ID.fullmatch(wanted.id):
            raise InvalidInput("erasure_unclear", "this is no id of an erasure", "leave it out to begin one")
        return Step(None, durable=False)


def entries_of(id_: str, what: What, by: str, reason: str, kept: Kept) -> Iterator[Entry]:
    """The records of one step: what they name is taken away as they become durable."""
    parts = list(_parts(sorted(kept.places))) or [[]]
    for number, part in enumerate(parts, 1):
        keys = kept.keys if number == len(parts) and not kept.more else ()
        body: dict[str, Any] = {
            "by": by,
            "count": len(part),
            "id": id_,
            "keys": [f"{key:016x}" for key in keys],
            "openings": [list(place) for place in part],
            "reason": reason,
            "what": what,
        }
        yield Entry(ADMINISTRATION, "erasure", body, erases=Erased(tuple(part), keys))


def _parts(places: Iterable[Place]) -> Iterator[list[Place]]:
    part: list[Place] = []
    size = 0
    for place in places:
        length = len(canonical.encode(place)) + 1
        if part and size + length > LISTED_BYTES:
            yield part
            part, size = [], 0
        part.append(place)
        size += length
    if part:
        yield part


def _reads(caller: Identity) -> Needs:
    return Needs(reads=(identity_stream(caller.id),))
