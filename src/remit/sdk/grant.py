"""What a workload is given for one task: its token, and a key and SVID of its own that last as long."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from remit.core.errors import DocumentError, InvalidInput, NotFound
from remit.identity.holder import Holder
from remit.identity.keys import import_private
from remit.identity.private_file import read_private, write_private

VARIABLE: Final = "REMIT_TASK"  # names the grant's file


class TaskGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A task's handle and the key to prove it with. Whoever reads it can act as this workload under this task."""

    task: str  # the task's id
    token: str  # the task token
    svid: str  # the workload's JWT-SVID, bound to `key`
    key: dict[str, str]  # private JWK
    workload: str  # SPIFFE ID
    intent: str
    expires: int  # ms; of the task

    def holder(self) -> Holder:
        """The workload as a holder of the grant's key."""
        return Holder(import_private(self.key), self.svid, self.workload)

    def __repr__(self) -> str:
        # SECURITY: the key never reaches a log through a formatted value.
        return f"TaskGrant(task={self.task!r}, workload={self.workload!r}, intent={self.intent!r})"


def load_grant(path: Path) -> TaskGrant:
    """The grant in the file at `path`; `DocumentError` when it is missing, malformed, or readable by others."""
    data = read_private(path)
    try:
        grant = msgspec.json.decode(data, type=TaskGrant)
        import_private(grant.key)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput):
        raise DocumentError("the file holds no task grant", path=path, code="grant_invalid") from None
    return grant


def save_grant(path: Path, grant: TaskGrant) -> None:
    """Writes the grant to `path`, mode 0600, atomically; an earlier one is replaced."""
    write_private(path, msgspec.json.encode(grant) + b"\n", replace=True)


def grant_of_environment(environment: Mapping[str, str] | None = None) -> TaskGrant:
    """The grant whose file the environment variable `REMIT_TASK` names; `NotFound` when it names none."""
    path = (os.environ if environment is None else environment).get(VARIABLE, "")
    if not path:
        raise NotFound(
            "grant_missing", f"the environment variable `{VARIABLE}` names no task", "start this with `remit run`"
        )
    return load_grant(Path(path))
