"""Erasing where something else goes on: a process that is killed, a reader of an older state, a disk that fails."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.core.erasing import Erasing
from remit.core.errors import Unavailable
from tests.decide.stage import ADMIN, LOOKUP, Stage, identity, spiffe, staged, write_project
from tests.decide.test_personal import INTENT, SECRETS

EVE = identity("person/eve")
SUBJECTS = 12

# Opens the project, starts a task for each person that has none yet, then erases one person after the other.
KILLED = """
import asyncio, sys
from pathlib import Path
from remit.core.erasing import Erasing
from tests.decide.stage import ADMIN, LOOKUP, Clock, Stage, identity, spiffe
from remit.core.identities import Registration

async def main(root, first, last):
    stage = Stage(Path(root), Clock())
    await stage.open()
    for number in range(first, last):
        id = spiffe(f"person/p{number}")
        person = Registration(id=id, kind="person", owner="ada", roles=("starter",), key=f"k{number}")
        await stage.governor.register(ADMIN, person)
        params = {"email": f"mail-{number}", "most": "1"}
        grant = await stage.start("reach", params=params, prompt="hello", person=identity(f"person/p{number}"))
        for n in range(3):
            await stage.permit(grant, LOOKUP, {"email": f"mail-{number}"})
    print("ready", flush=True)
    for number in range(first, last):
        wanted = Erasing(what="subject", subject=spiffe(f"person/p{number}"), reason="asked for")
        done = await stage.governor.erase(ADMIN, wanted)
        print("erased", number, done.openings, flush=True)
    await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def files(folder: Folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.state.glob("remit.db*"))


def test_a_process_that_is_killed_while_it_erases_has_erased_all_of_a_person_or_nothing(tmp_path: Path) -> None:
    write_project(tmp_path, intents=INTENT)
    folder = Folder(tmp_path)
    choice = random.Random(11)
    for first in range(0, 3 * SUBJECTS, SUBJECTS):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(first), str(first + SUBJECTS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(choice.random() * 0.05)
            os.kill(process.pid, signal.SIGKILL)
            told = [line.split() for line in process.stdout.read().splitlines()]
        with reader_of(folder) as reader:
            recorded = [stored.record.body for stored in reader.records(kinds=("erasure",))]
            left = {number: list(reader.opened(spiffe(f"person/p{number}"))) for number in range(first + SUBJECTS)}
            for stored in reader.records():
                assert reader.broken(stored.stream, stored.n) == []
        counts = {body["openings"][0][0]: body["count"] for body in recorded}
        assert all(body["keys"] for body in recorded)
        for number in range(first, first + SUBJECTS):
            # Its prompt, its two parameters, and of each decision the argument, the parameters and the digest.
            assert len(left[number]) in (0, 15), number
        assert sum(not left[number] for number in range(first + SUBJECTS)) == len(counts)
        assert set(counts.values()) <= {15}
        for _, number, erased in told:
            assert left[int(number)] == []  # what was answered is durable
            assert int(erased) == 15
    assert verify_folder(folder).findings == []


@staged(intents=INTENT)
async def test_what_a_reader_of_an_older_state_holds_back_goes_when_it_has_ended(stage: Stage) -> None:
    params = {"email": SECRETS["param"], "most": "1"}
    grant = await stage.start("reach", params=params, prompt=SECRETS["prompt"], person=EVE)
    path = stage.folder.database
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (key,) = db.execute("SELECT key FROM subjects").fetchone()
        assert key in files(stage.folder)
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM openings").fetchone() == (3,)
        wanted = Erasing(what="subject", subject=EVE.id, reason="asked for")
        assert (await stage.governor.erase(ADMIN, wanted)).openings == 3
        assert key in files(stage.folder)
        assert db.execute("SELECT count(*) FROM openings").fetchone() == (3,)
        db.execute("COMMIT")
        assert db.execute("SELECT count(*) FROM openings").fetchone() == (0,)
    await stage.permit(grant, LOOKUP, {"email": "a@example.org"})
    assert key not in files(stage.folder)


@staged(intents=INTENT)
async def test_an_erasure_that_could_not_be_stored_erased_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"email": SECRETS["param"], "most": "1"}
    grant = await stage.start("reach", params=params, prompt=SECRETS["prompt"], person=EVE)
    with closing(sqlite3.connect(stage.folder.database, isolation_level=None)) as db:
        db.execute("CREATE TRIGGER full BEFORE UPDATE ON subjects BEGIN SELECT RAISE(ABORT, 'full'); END")
    wanted = Erasing(what="subject", subject=EVE.id, reason="asked for")
    with pytest.raises(Unavailable):
        await stage.governor.erase(ADMIN, wanted)
    with closing(sqlite3.connect(stage.folder.database, isolation_level=None)) as db:
        db.execute("DROP TRIGGER full")
    assert stage.records("erasure") == []
    with reader_of(stage.folder) as reader:
        assert len(list(reader.opened(EVE.id))) == 3
    await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    with reader_of(stage.folder) as reader:
        assert all(reader.broken(stored.stream, stored.n) == [] for stored in reader.records())
    assert (await stage.governor.erase(ADMIN, wanted)).openings == 7


@staged(intents=INTENT)
async def test_a_value_that_was_swapped_in_the_database_counts_for_nothing(stage: Stage) -> None:
    grant = await stage.start("reach", params={"email": "ann@private.example", "most": "1"}, person=EVE)
    await stage.start("reach", params={"email": "eve@private.example", "most": "9"}, person=EVE)
    await stage.close()
    with closing(sqlite3.connect(stage.folder.database, isolation_level=None)) as db:
        sql = "SELECT sealed FROM openings WHERE path = '/params/email' AND stream <> ?"
        (other,) = db.execute(sql, (f"session/{grant.task}",)).fetchone()
        sql = "UPDATE openings SET sealed = ? WHERE path = '/params/email' AND stream = ?"
        db.execute(sql, (other, f"session/{grant.task}"))
    await stage.open()
    assert await stage.refusal(grant, "payments/pay_invoice", {"invoice": "I", "amount": 1}) == "task_value_erased"
    with reader_of(stage.folder) as reader:
        assert reader.broken(f"session/{grant.task}", 1) == ["/params/email"]
        assert [path for path, _, _ in reader.openings(f"session/{grant.task}", 1)] == ["/params/most"]
