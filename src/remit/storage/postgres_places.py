"""The tables of PostgreSQL that say in which order records are published, and what of it all processes agreed on.

They are additions: a database without them is one from which nothing was published yet.
"""

from __future__ import annotations

from typing import Final

import asyncpg

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS places ( -- of records in the published log; no gaps, nothing is ever changed or deleted
    place bigint PRIMARY KEY CHECK (place >= 0),
    seq   bigint NOT NULL UNIQUE -- the record
);
CREATE TABLE IF NOT EXISTS agreed ( -- one row: who publishes, and the newest checkpoint
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    log     text NOT NULL, -- its public key
    epoch   bigint NOT NULL, -- grows with each election; who has an earlier one can't write any more
    leader  text NOT NULL, -- who was elected last
    settled bigint NOT NULL, -- up to here (seq), no record is without a place, or will be
    size    bigint NOT NULL,
    note    bytea NOT NULL -- as it is published; empty: nothing was
) WITH (fillfactor = 50);
"""


async def prepare_places(db: asyncpg.Connection[asyncpg.Record], schema: str) -> None:
    """Makes the tables where they are missing and this role may make them; within a transaction."""
    if not await has_places(db) and await db.fetchval("SELECT has_schema_privilege($1, 'CREATE')", schema):
        await db.execute(_TABLES)


async def has_places(db: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Whether both tables are there."""
    sql = "SELECT to_regclass('places') IS NOT NULL AND to_regclass('agreed') IS NOT NULL"
    return bool(await db.fetchval(sql))
