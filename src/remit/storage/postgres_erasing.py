"""Keys and sealed openings in PostgreSQL: finding them. `append` puts them there and erases them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from remit.core.errors import Unavailable
from remit.decide.sequence import Kept, Place, Wanted
from remit.storage.ended import LOOKED, is_over
from remit.storage.postgres_link import Db
from remit.storage.sealing import mark_of, name_of

_MAY: Final = """
    SELECT bool_and(has_table_privilege(name, 'DELETE')) FROM unnest('{openings,subjects,subject_streams}'::text[]) name
"""
_KEYS: Final = "SELECT id, name, key FROM subjects WHERE mark = ANY($1::bytea[]) ORDER BY id DESC"
_OF_KEYS: Final = """
    SELECT o.stream, o.n, o.path FROM subject_streams u JOIN openings o ON o.stream = u.stream AND o.key = u.key
    WHERE u.key = ANY($1::bigint[]) ORDER BY o.stream, o.n, o.path LIMIT $2
"""
_PRESENT: Final = """
    SELECT o.stream, o.n, o.path FROM unnest($1::text[], $2::bigint[], $3::text[]) AS p(stream, n, path)
    JOIN openings o ON o.stream = p.stream AND o.n = p.n AND o.path = p.path ORDER BY o.stream, o.n, o.path
"""
# The next streams that have openings, by steps in the index.
_NEXT: Final = f"""
    WITH RECURSIVE s(stream, step) AS (
        (SELECT min(stream), 1 FROM openings WHERE stream > $1)
        UNION ALL
        SELECT (SELECT min(o.stream) FROM openings o WHERE o.stream > s.stream), s.step + 1
            FROM s WHERE s.stream IS NOT NULL AND s.step < {LOOKED}
    ) SELECT s.stream, t.t, t.due FROM s LEFT JOIN streams t ON t.name = s.stream
    WHERE s.stream IS NOT NULL ORDER BY s.step
"""  # noqa: S608 - a number
_OLD: Final = """
    SELECT o.stream, o.n, o.path FROM openings o JOIN records r ON r.stream = o.stream AND r.n = o.n
    WHERE o.stream = ANY($1::text[]) AND (o.stream LIKE 'session/%' OR r.t < $2)
    ORDER BY o.stream, o.n, o.path LIMIT $3
"""


async def keys_of(db: Db, names: Iterable[str]) -> dict[str, list[tuple[int, bytes]]]:
    """The keys of subjects that have one, the newest one first."""
    marks = {mark_of(name): name for name in names}
    found: dict[str, list[tuple[int, bytes]]] = {}
    wanted = set(marks.values())
    for id_, sealed, key in await db.fetch(_KEYS, list(marks)):
        name = name_of(id_, sealed, key)
        if name in wanted:
            found.setdefault(str(name), []).append((id_, key))
    return found


async def find(db: Db, wanted: Wanted, lock: int) -> Kept:
    """As `Sequencer.kept`; what ended before is told to one process only, as long as it is connected.

    `Unavailable("erasing_not_granted")` where the role may append only.
    """
    if not await db.fetchval(_MAY):
        raise Unavailable(
            "erasing_not_granted",
            "the service's role in the database may not delete openings and keys",
            "GRANT DELETE ON openings, subjects, subject_streams to it (docs/guides/operating.md)",
        )
    if wanted.subject:
        keys = tuple(id_ for id_, _ in (await keys_of(db, [wanted.subject])).get(wanted.subject, ()))
        return _kept(await db.fetch(_OF_KEYS, list(keys), wanted.most + 1), wanted, keys=keys)
    if not wanted.before:
        return _kept(await db.fetch(_PRESENT, *_columns(wanted.places)), wanted)
    if not await db.fetchval("SELECT pg_try_advisory_lock($1)", lock):
        return Kept()
    rows = await db.fetch(_NEXT, wanted.after)
    over = next((place for place, row in enumerate(rows) if is_over(row[0], wanted.before)), None)
    looked = rows[:over]
    old = [name for name, t, due in looked if not name.startswith("session/") or _ended(t, due, wanted.before)]
    found = await db.fetch(_OLD, old, wanted.before, wanted.most + 1)
    at_the_end = over is not None or len(rows) < LOOKED
    return _kept(found, wanted, after="" if at_the_end or not looked else str(looked[-1][0]))


def _ended(t: int | None, due: int | None, before: int) -> bool:
    return t is not None and due is None and t < before


def _kept(rows: Iterable[Iterable[object]], wanted: Wanted, *, keys: tuple[int, ...] = (), after: str = "") -> Kept:
    places: list[Place] = [tuple(row) for row in rows]  # type: ignore[misc]  # three columns
    more = len(places) > wanted.most
    return Kept(places=tuple(places[: wanted.most]), keys=keys, more=more, after=wanted.after if more else after)


def _columns(places: Iterable[Place]) -> tuple[list[str], list[int], list[str]]:
    rows = list(places)
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
