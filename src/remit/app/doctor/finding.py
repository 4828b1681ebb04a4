"""A finding, and the situation that is looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from remit.app.folder import Folder
from remit.core.actions import Catalogue
from remit.core.errors import RemitError
from remit.core.settings import Settings
from remit.decide.configuration import Configuration

Level = Literal["ok", "warn", "fail"]

NAMED: Final = 5  # names that a finding lists; the others are counted


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: how it is, and what to do."""

    check: str
    level: Level
    message: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine, as whom an agent may run."""

    name: str
    uid: int
    gids: frozenset[int]

    def may(self, path: Path, wanted: int) -> bool:
        """Whether this user has the access `wanted` (4 read, 2 write, 1 execute) to `path`, by the modes on its way.

        Access lists and mounts are not looked at.
        """
        try:
            real = path.resolve(strict=True)
            return self._has(real.stat(), wanted) and all(self._has(above.stat(), 1) for above in real.parents)
        except OSError:
            return False

    def _has(self, status: os.stat_result, wanted: int) -> bool:
        if self.uid == 0:
            return wanted != 1 or stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.gids else 0
        return (status.st_mode >> shift) & wanted == wanted


@dataclass(frozen=True, slots=True)
class Situation:
    """A project folder, who looks at it, and who the agent would be."""

    folder: Folder
    agent: User
    now: int  # ms
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Settings | None = None  # None: it does not load
    configuration: Configuration | None = None
    problem: RemitError | None = None  # why it does not load
    free_bytes: int = 0

    @property
    def catalogue(self) -> Catalogue | None:
        """The catalogue, where the project loads."""
        return self.configuration.catalogue if self.configuration else None


def listed(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:NAMED])
    return f"{shown} and {len(every) - NAMED} more" if len(every) > NAMED else shown
