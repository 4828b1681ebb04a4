"""The situation that `remit doctor` looks at: this folder, on this machine, with agents that run as some user."""

from __future__ import annotations

import os
import shutil

from remit.app.doctor import Finding, Situation, examine
from remit.app.doctor.exposure import user_of
from remit.app.folder import Folder
from remit.app.project import load_project
from remit.core.clock import system_clock
from remit.core.errors import RemitError
from remit.core.settings import Settings, read_settings
from remit.decide.configuration import Configuration


def check_up(folder: Folder, agent_user: str = "") -> list[Finding]:
    """All findings about the folder; `agent_user` is whom agents run as, by default who asks."""
    settings: Settings | None = None
    configuration: Configuration | None = None
    problem: RemitError | None = None
    try:
        settings = read_settings(folder.root)
        settings, configuration = load_project(folder)
    except RemitError as error:
        problem = error
    place = folder.state if folder.state.is_dir() else folder.root
    situation = Situation(
        folder=folder,
        agent=user_of(agent_user),
        now=system_clock(),
        environment=dict(os.environ),
        settings=settings,
        configuration=configuration,
        problem=problem,
        free_bytes=shutil.disk_usage(place).free,
    )
    return examine(situation)
