"""The eventful session of `tests.console.stories`, once for all tests that read it."""

from __future__ import annotations

import asyncio

import pytest

from remit.app.folder import Folder
from tests.console.stories import PROJECT, eventful
from tests.decide.stage import Clock, Stage, write_project


@pytest.fixture(scope="session")
def eventful_project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, str]:
    """A project in which it happened, and the id of its root task. For reading only."""
    root = tmp_path_factory.mktemp("eventful")

    async def run() -> str:
        write_project(root, **PROJECT)
        stage = Stage(root, Clock())
        await stage.open()
        try:
            grant = await eventful(stage)
        finally:
            await stage.close()
        stage.verify()
        return grant.task

    return Folder(root), asyncio.run(run())
