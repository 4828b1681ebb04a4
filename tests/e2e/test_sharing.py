"""All gateways, runs and execs of one folder share one service; nobody else gets a second sequencer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import remit
from remit.app.embedded import Embedded
from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.local import connect_as, ensure_service, is_served
from remit.app.operator import as_operator
from remit.core.errors import Conflict
from remit.sdk.client import Client
from remit.storage.sqlite_reader import SqliteReader
from tests.e2e.service import REMIT, Service, grants, is_running, kill_service, service, service_pid, told, wait_gone

SLEEP = "import sys, time; time.sleep(float(sys.argv[1]))"


def start_run(folder: Folder, *agent: str) -> subprocess.Popen[str]:
    """`remit run` as a user types it."""
    command = [*REMIT, "run", "--project", str(folder.root), "--intent", "work", "--", *agent]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def up(folder: Folder) -> subprocess.CompletedProcess[str]:
    """`remit up` that is expected to be refused."""
    command = [*REMIT, "up", "--plain", "--project", str(folder.root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def services_of(folder: Folder) -> list[int]:
    """The processes that are a service of this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"up" in command and str(folder.root).encode() in command and is_running(int(entry.name)):
            found.append(int(entry.name))
    return found


def task_states(folder: Folder) -> list[str]:
    """The last state of each task, in the order in which they were opened."""
    states: dict[str, str] = {}
    with SqliteReader(folder.database) as reader:
        for stored in reader.records(kinds=("task",)):
            states[stored.record.body["task"]] = stored.record.body["state"]
    return list(states.values())


def test_two_runs_at_once_share_one_service_which_ends_after_the_last(folder: Folder) -> None:
    runs = [start_run(folder, sys.executable, "-c", SLEEP, seconds) for seconds in ("1.5", "3")]
    until = time.monotonic() + 30
    while not is_served(folder) and time.monotonic() < until:
        time.sleep(0.05)
    pid = service_pid(folder)
    for run in runs:
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        assert service_pid(folder) == pid
        assert services_of(folder) == [pid]
    took = wait_gone(pid)
    assert 1.0 < took < 8.0
    assert not folder.socket.exists()
    assert task_states(folder) == ["completed", "completed"]
    assert told(verify_folder(folder)) == []


def test_eight_callers_that_need_a_service_at_once_start_one(folder: Folder) -> None:
    async def need() -> None:
        assert await ensure_service(folder) in (True, False)
        async with await connect_as(folder, "pep/gateway") as client, client.attached():
            await asyncio.sleep(0.2)

    async def all_of_them() -> int:
        needs = [asyncio.create_task(need()) for _ in range(8)]
        while not is_served(folder):
            await asyncio.sleep(0.02)
        pid = service_pid(folder)
        await asyncio.gather(*needs)
        return pid

    pid = asyncio.run(all_of_them())
    assert services_of(folder) in ([pid], [])
    wait_gone(pid)


def test_a_second_up_is_refused(folder: Folder) -> None:
    with service(folder) as running:
        refused = up(folder)
        assert refused.returncode == 1
        assert f"another process (pid {running.process.pid}) has this folder" in refused.stderr
        assert "next:" in refused.stderr
        assert is_served(folder)


def test_open_joins_the_running_service(folder: Folder) -> None:
    async def story() -> None:
        async with await remit.open(folder.root) as joined:
            assert isinstance(joined, Client)
            (grant,) = await grants(folder, "work", 1)
            assert (await joined.authorize(grant, "orders/get", {"order": "O-1"})).permitted

    with service(folder):
        asyncio.run(story())


def test_an_embedded_folder_refuses_up_and_a_second_opener(folder: Folder) -> None:
    async def story() -> None:
        async with await remit.open(folder.root) as embedded:
            assert isinstance(embedded, Embedded)
            refused = await asyncio.to_thread(up, folder)
            assert refused.returncode == 1
            assert f"another process (pid {os.getpid()}) has this folder" in refused.stderr
            with pytest.raises(Conflict) as caught:
                await remit.open(folder.root)
            assert caught.value.code == "folder_in_use"

    asyncio.run(story())
    with service(folder):
        assert is_served(folder)


def test_ctrl_c_while_it_starts_ends_it_well(folder: Folder) -> None:
    """The socket is there a moment before the service takes signals."""
    for _ in range(3):
        process = subprocess.Popen([*REMIT, "up", "--plain", "--project", str(folder.root)], stderr=subprocess.PIPE)
        while not folder.socket.exists() and process.poll() is None:
            time.sleep(0.0005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said.decode()
        assert not folder.socket.exists()


def test_a_stale_socket_and_lock_are_no_obstacle(folder: Folder) -> None:
    Service(folder).kill()
    assert folder.socket.exists()
    assert folder.database.with_suffix(".lock").exists()
    with service(folder):
        assert is_served(folder)
    assert not folder.socket.exists()

    Service(folder).kill()

    async def embed() -> None:
        async with await remit.open(folder.root) as opened:
            assert isinstance(opened, Embedded)

    asyncio.run(embed())


def test_commands_of_the_operator_use_the_service_or_open_the_folder(folder: Folder) -> None:
    async def known(opened: object) -> int:
        return len(await opened.identities())  # type: ignore[attr-defined]

    async def count() -> int:
        return await as_operator(folder, known)  # type: ignore[arg-type]

    assert asyncio.run(count()) == 3
    with service(folder):
        assert asyncio.run(count()) == 3


def test_the_exit_code_is_the_agents_and_the_task_says_how_it_ended(folder: Folder) -> None:
    with service(folder) as running:
        failed = start_run(folder, sys.executable, "-c", "raise SystemExit(7)")
        failed.communicate(timeout=60)
        missing = start_run(folder, "there-is-no-such-agent")
        _, err = missing.communicate(timeout=60)
        assert (failed.returncode, missing.returncode) == (7, 127)
        assert "can't start `there-is-no-such-agent`" in err
        assert running.process.poll() is None  # it was not started by the runs, so they leave it
    assert task_states(folder) == ["cancelled", "cancelled"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_agent_and_the_task_is_cancelled(folder: Folder, number: int) -> None:
    with service(folder):
        agent = "import time; print('ready', flush=True); time.sleep(60)"
        run = start_run(folder, sys.executable, "-c", agent)
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        run.communicate(timeout=30)
        assert run.returncode != 0
    assert task_states(folder) == ["cancelled"]
    assert list(folder.run.glob("*.json")) == []


def test_a_service_that_is_killed_under_a_run_does_not_end_the_agent(folder: Folder) -> None:
    run = start_run(folder, sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(1.5)")
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    kill_service(folder)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "Traceback" not in err
    pid = service_pid(folder)
    if is_running(pid):
        wait_gone(pid)
    assert task_states(folder) == ["completed"], err
    assert told(verify_folder(folder)) == []


def test_a_run_that_comes_as_the_service_ends_gets_one_all_the_same(folder: Folder) -> None:
    first = start_run(folder, sys.executable, "-c", "")
    first.communicate(timeout=60)
    pid = service_pid(folder)
    ended = time.monotonic()
    runs = []
    for moment in (1.3, 1.45, 1.6, 1.75, 1.9):  # it ends two seconds after the last caller; a run needs some to come
        time.sleep(max(0.0, ended + moment - time.monotonic()))
        runs.append(start_run(folder, sys.executable, "-c", ""))
    for run in runs:
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    wait_gone(service_pid(folder), 8)
    wait_gone(pid)
    assert task_states(folder) == ["completed"] * 6
    assert told(verify_folder(folder)) == []
