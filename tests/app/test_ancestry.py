"""The task of a run is found through the process tree, and only there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remit.app import ancestry
from remit.app.ancestry import grant_of_run, held_grant, mark_run
from remit.app.folder import Folder
from remit.identity.keys import generate_key, private_jwk
from remit.sdk.grant import TaskGrant, save_grant

FIND = (
    "import sys; from pathlib import Path; from remit.app.ancestry import grant_of_run as g; "
    "from remit.app.folder import Folder; found = g(Folder(Path(sys.argv[1]))); print(found.task if found else '')"
)


def write_grant(folder: Folder, task: str) -> None:
    grant = TaskGrant(
        task=task, token="t", svid="s", key=private_jwk(generate_key()), workload="w", intent="i", expires=0
    )
    save_grant(folder.run / f"{task}.json", grant)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.state.mkdir(mode=0o700)
    made.run.mkdir(mode=0o700)
    write_grant(made, "t_1")
    return made


def find_below(folder: Folder) -> str:
    """What a grandchild of this process finds."""
    program = [sys.executable, "-c", FIND, str(folder.root)]
    outer = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [sys.executable, "-c", outer, *program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


def test_a_gateway_below_the_run_finds_its_task_without_the_environment(folder: Folder) -> None:
    mark = mark_run(folder, "t_1")
    assert mark.stat().st_mode & 0o777 == 0o600
    assert find_below(folder) == "t_1"
    mark.unlink()
    assert find_below(folder) == ""


def test_the_variable_goes_before_the_run_above(folder: Folder) -> None:
    write_grant(folder, "t_2")
    mark_run(folder, "t_1")
    named = held_grant(folder, {"REMIT_TASK": str(folder.run / "t_2.json")})
    above = held_grant(folder, {})
    assert named is not None
    assert above is not None
    assert (named.task, above.task) == ("t_2", "t_1")


def test_a_process_beside_the_run_finds_nothing(folder: Folder) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (folder.run / "t_1.pid").write_text(f"{other.pid} {ancestry._started(other.pid)}\n")
        (folder.run / "t_1.pid").chmod(0o600)
        assert grant_of_run(folder) is None
        assert find_below(folder) == ""
        other.communicate(b"\n")


def test_a_process_id_that_is_used_again_is_another_process(folder: Folder) -> None:
    mark = mark_run(folder, "t_1")
    pid, _, started = mark.read_text().strip().partition(" ")
    mark.write_text(f"{pid} {int(started) - 1}\n")
    assert find_below(folder) == ""


@pytest.mark.parametrize("text", ["", "1", "x y\n", "1 2", "99999999999999 1\n", "1 0\n", "\udc80"])
def test_a_mark_that_is_none_is_passed_over(folder: Folder, text: str) -> None:
    (folder.run / "t_1.pid").write_bytes(text.encode("utf-8", "surrogateescape"))
    (folder.run / "t_1.pid").chmod(0o600)
    assert grant_of_run(folder) is None


def test_a_mark_that_others_can_write_is_passed_over(folder: Folder) -> None:
    mark_run(folder, "t_1").chmod(0o666)
    assert grant_of_run(folder) is None
