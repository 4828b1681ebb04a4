"""Finds the task of the `remit run` that this process descends from.

Many MCP clients hand the servers that they start only a few variables of their environment, and not `REMIT_TASK`.
`remit run` therefore marks its task with its own process in `.remit/run`, and gateways look for a mark of a process
above them. Whoever can write there has the grants themselves, so that a mark gives nobody more than they have. Needs
`/proc`; elsewhere only the variable counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from remit.app.folder import Folder
from remit.core.errors import DocumentError
from remit.identity.private_file import read_private, write_private
from remit.sdk.grant import VARIABLE, TaskGrant, grant_of_environment, load_grant

_GENERATIONS: Final = 64
_MARKS: Final = 1024
_MARK: Final = re.compile(rb"([0-9]{1,10}) ([0-9]{1,20})\n")
_PROC: Final = Path("/proc")


def mark_run(folder: Folder, task: str) -> Path:
    """Marks the task as run by this process, until the returned file is removed."""
    path = folder.run / f"{task}.pid"
    write_private(path, f"{os.getpid()} {_started(os.getpid())}\n".encode(), replace=True)
    return path


def held_grant(folder: Folder, environment: Mapping[str, str] | None = None) -> TaskGrant | None:
    """The grant that `REMIT_TASK` names, or else that of the `remit run` above this process; None without either."""
    environment = os.environ if environment is None else environment
    return grant_of_environment(environment) if environment.get(VARIABLE) else grant_of_run(folder)


def grant_of_run(folder: Folder) -> TaskGrant | None:
    """The grant of the nearest `remit run` above this process; None when there is none."""
    marks = _marks(folder)
    pid = os.getpid()
    for _ in range(_GENERATIONS if marks else 0):
        # A process number is given again; number and start together are not.
        if (task := marks.get((pid, _started(pid)))) is not None:
            path = folder.run / f"{task}.json"
            return load_grant(path) if path.exists() else None
        pid = _parent(pid)
        if pid <= 1:
            break
    return None


def _marks(folder: Folder) -> dict[tuple[int, int], str]:
    """The marked tasks by process and its start."""
    found: dict[tuple[int, int], str] = {}
    for path in sorted(folder.run.glob("*.pid"))[-_MARKS:]:
        try:
            match = _MARK.fullmatch(read_private(path))
        except DocumentError:
            continue
        if match is not None and int(match[2]) > 0:
            found[int(match[1]), int(match[2])] = path.stem
    return found


def _started(pid: int) -> int:
    """When the process started, in clock ticks after the system did; 0 when there is none, or no `/proc`."""
    return _field(pid, 19)


def _parent(pid: int) -> int:
    return _field(pid, 1)


def _field(pid: int, number: int) -> int:
    """A number from `/proc/<pid>/stat`, counted from the state on: the name before it may hold anything."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[number]) if len(fields) > number and fields[number].isdecimal() else 0
