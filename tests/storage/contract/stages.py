"""Stages whose records stand in PostgreSQL, beside those of `tests.decide.stage`; states as the records have them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from remit.app.installation import Installation, open_installation
from remit.decide.session import Session
from remit.decide.world import LIFE_KINDS, Replayed, World
from remit.storage.postgres import PostgresStore
from remit.storage.reader import Reader
from remit.storage.reveal import reveal
from tests.decide.stage import TD, Clock, Stage, play
from tests.postgres import PostgresServer
from tests.storage.places import use_postgres

KINDS = ("sqlite", "postgres")


class PostgresStage(Stage):
    """A stage on a schema of a database; with `own_clock` its clock stands in for the database's."""

    def __init__(
        self, root: Path, clock: Clock, url: str, schema: str, *, own_clock: bool = True, trust: Path | None = None
    ) -> None:
        super().__init__(root, clock)
        self.url, self.schema = url, schema
        self._trust = trust  # the folder of keys that stages on one place share
        self._given = clock if own_clock else None

    @property
    def postgres(self) -> PostgresStore:
        store = self.installation.store
        assert isinstance(store, PostgresStore)
        return store

    async def compose(self) -> Installation:
        if "[storage]" not in (self.folder.root / "remit.toml").read_text():
            use_postgres(self.folder.root, self.url, self.schema)
            if self._trust is not None:
                with (self.folder.root / "remit.toml").open("a") as file:
                    file.write(f'[identity]\ntrust = "{self._trust}"\n')

        async def open_store(*_: Any) -> PostgresStore:
            return await PostgresStore.open(self.url, TD, schema=self.schema, clock=self._given)

        return await open_installation(self.folder, self.clock, storage=open_store)


def stages(kind: str, request: pytest.FixtureRequest) -> Callable[[Path, Clock], Stage]:
    """How to make a stage of one kind; the server is started when it is first needed."""
    if kind == "sqlite":
        return Stage
    server: PostgresServer = request.getfixturevalue("postgres")
    return lambda root, clock: PostgresStage(root, clock, *server.place())


def staged_on(*kinds: str, **project: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """As `tests.decide.stage.staged`, on each of these kinds of storage."""
    return lambda story: _test(story, kinds, project)


def staged_everywhere(**project: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """The same on every kind."""
    return staged_on(*KINDS, **project)


def on_postgres(module: ModuleType, *, leave: tuple[str, ...] = ()) -> dict[str, Callable[..., None]]:
    """The staged tests of a module, but for those named, as tests on PostgreSQL."""
    found = {name: test for name, test in vars(module).items() if name.startswith("test_") and hasattr(test, "story")}
    unknown = set(leave) - found.keys()
    assert not unknown, unknown
    prefix = f"test_{module.__name__.rpartition('.test_')[2]}"
    return {
        f"{prefix}__{name.removeprefix('test_')}": _test(test.story, ("postgres",), test.project, test)
        for name, test in found.items()
        if name not in leave
    }


def _test(
    story: Callable[..., Awaitable[None]],
    kinds: tuple[str, ...],
    project: dict[str, Any],
    like: Callable[..., None] | None = None,
) -> Callable[..., None]:
    def test(tmp_path: Path, storage: str, request: pytest.FixtureRequest, **parameters: Any) -> None:
        play(tmp_path, lambda stage: story(stage, **parameters), stages(storage, request), **project)

    _, *others = inspect.signature(story).parameters.values()
    names = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("tmp_path", "storage", "request")]
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in others]
    known = {each.name for each in kept}
    names = [name for name in names if name.name not in known]
    test.__signature__ = inspect.Signature([*names, *kept])  # type: ignore[attr-defined]  # what pytest reads
    test.__name__, test.__doc__, test.__module__ = story.__name__, story.__doc__, story.__module__
    test.pytestmark = list(getattr(like, "pytestmark", []))  # type: ignore[attr-defined]
    return pytest.mark.parametrize("storage", kinds)(test)


# --- what the records alone say ---------------------------------------------------------------------------------


def replayed(reader: Reader) -> World:
    """A world that is read from the records as they are when they are asked for."""

    def replay(stream: str) -> list[Replayed]:
        found = []
        for stored in list(reader.stream(stream)):
            record = stored.record
            if not stream.startswith("identity/") or record.kind in LIFE_KINDS:
                opened = [(path, value) for path, _, value in reader.openings(stream, stored.n)]
                found.append((record.kind, reveal(record.body, opened), record.t))
        return found

    return World(replay, lambda _: None)


def differences(world: World, reader: Reader) -> list[str]:
    """The streams of which a world holds something else than what the records say; sessions only if it holds them."""
    fresh = replayed(reader)
    found = []
    for root, session in list(world._sessions.items()):
        if _plain(session) != _plain(fresh.session(root)):
            found.append(f"session/{root}")
    streams = {stored.stream for stored in reader.records(kinds=LIFE_KINDS)} | {"administration"}
    for stream in sorted(streams):
        fresh.load(stream)
    found += [
        f"identity/{name}"
        for name in {*world._lives, *fresh._lives}
        if world._lives.get(name) != fresh._lives.get(name)
    ]
    if (world._configuration, world._modes) != (fresh._configuration, fresh._modes):
        found.append("administration")
    held = {permit: root for permit, root in world.open_permits.items() if root in world._sessions}
    expected = {permit: root for permit, root in fresh.open_permits.items() if root in world._sessions}
    return found + (["open permits"] if held != expected else [])


def _plain(session: Session | None) -> Any:
    """Without indexes, which are made when they are needed."""
    return copy.deepcopy(replace(session, indexes={})) if session is not None else None
