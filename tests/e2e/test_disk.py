"""A disk that fills up under a running service: it denies with the reason, and goes on when there is room again."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.core.decisions import Decision, Outcome
from remit.core.errors import Unavailable
from remit.core.tasks import TaskRequest
from remit.identity.keys import generate_key, thumbprint
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant
from tests.e2e.service import Service, grants, point, told, write_project


def outcome_of(decision: Decision) -> Outcome:
    return Outcome(decision=decision.id, digest=decision.digest, result="response", output={"state": "open"})


async def until_denied(client: Client, grant: TaskGrant, most: int) -> Decision:
    """Asks until it is denied; the permits before were real ones."""
    for number in range(most):
        decision = await client.authorize(grant, "orders/get", {"order": f"O-{number}" + "x" * 900})
        if not decision.permitted:
            return decision
        assert decision.id
    raise AssertionError("the disk did not fill up")


async def through_an_outage(folder: Folder, fill: Callable[[], None], free: Callable[[], None]) -> str:
    """Permits, then no room, then permits again; the advice that callers got."""
    (held,) = await grants(folder, "work", 1)
    async with await point(folder) as client, await connect_as(folder, "person/alice") as alice:
        before = await client.authorize(held, "orders/get", {"order": "O-1"})
        assert before.permitted
        fill()
        denied = await until_denied(client, held, 5_000)
        assert (denied.effect, denied.id, denied.expires) == ("deny", "", 0)
        assert denied.reason.code == "storage_unavailable"
        assert denied.reason.message == "the record could not be stored, so nothing is permitted"
        with pytest.raises(Unavailable) as refused:
            await client.report(outcome_of(before))
        assert refused.value.code == "storage_unavailable"
        with pytest.raises(Unavailable):
            await alice.start_task(TaskRequest(intent="work", workload=held.workload, key=thumbprint(generate_key())))
        # What needs no record is answered all the same.
        assert (await client.probe(held, "orders/get", {"order": "O-2"})).permitted
        again = await client.authorize(held, "orders/close", {"order": "O-2"})
        assert again.reason.code == "storage_unavailable"
        free()
        after = await client.authorize(held, "orders/close", {"order": "O-2"})
        assert after.permitted, after.reason
        assert (await client.report(outcome_of(after))).standing == "believed"
        assert (await client.report(outcome_of(before))).standing == "believed"
        return denied.reason.next_step


@pytest.fixture
def small_disk(short_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB of its own."""
    disk = short_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs", disk], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no `mount` here; the test with a limit on the size of files runs everywhere")
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk; the test with a limit on the size of files runs everywhere")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_denies_and_recovers_without_a_restart(small_disk: Path) -> None:
    folder = write_project(small_disk / "p")
    running = Service(folder)
    filler = small_disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 65_536):
                    pass
            except OSError:
                pass

    try:
        advice = asyncio.run(through_an_outage(folder, fill, filler.unlink))
        assert advice == "the disk is full: free space; the service recovers by itself"
        assert running.process.poll() is None
        assert running.stop() == 0
        assert told(verify_folder(folder)) == []
    finally:
        running.kill()


def test_a_limit_on_the_size_of_files_denies_and_recovers_without_a_restart(folder: Folder) -> None:
    running = Service(folder)
    _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)

    def fill() -> None:
        size = max(os.stat(path).st_size for path in folder.state.glob("remit.db*"))
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size + 8_192, hard))

    def free() -> None:
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    try:
        advice = asyncio.run(through_an_outage(folder, fill, free))
        assert "recovers by itself" in advice
        assert running.process.poll() is None
        assert running.stop() == 0
        assert told(verify_folder(folder)) == []
    finally:
        running.kill()
