"""Runs a victim with the recorder preloaded, and says what a service makes of the files that are left."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.installation import ACTION, INPUT
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import open_installation
from remit.app.publishing import open_publisher, signer_of
from remit.core.errors import RemitError
from remit.core.settings import read_settings
from remit.ledger.published import verify_log
from remit.ledger.tlog.source import FolderSource
from tests.faults.victim import ACKNOWLEDGED, start

LOG: Final = ".remit/log"
HERE: Final = Path(__file__).parent


def build_recorder(folder: Path) -> Path:
    """The recorder, compiled."""
    library = folder / "recorder.so"
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(
        ["cc", *flags, "-o", library, HERE / "recorder.c", "-ldl", "-lpthread"], check=True, capture_output=True
    )
    return library


def run_victim(
    root: Path, rounds: int, recorder: Path, journal: Path | None = None, **fault: int
) -> subprocess.CompletedProcess[str]:
    """One run; `fault` are settings of the recorder, such as `kill_at=3`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST"))}
    environment |= {"LD_PRELOAD": str(recorder), "FAULT_ROOT": str(root)}
    environment |= {f"FAULT_{name.upper()}": str(value) for name, value in fault.items()}
    if journal is not None:
        environment["FAULT_JOURNAL"] = str(journal)
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.victim", root, str(rounds)],
        env=environment,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class Left:
    """What became of an installation: refused to start, and why; or what was found when it had gone on."""

    refused: RemitError | None = None
    missing: tuple[str, ...] = ()  # acknowledged, and not in the records or not in the log
    findings: tuple[str, ...] = ()
    records: int = 0
    published: int = 0

    @property
    def whole(self) -> bool:
        """Whether everything is there and verifies."""
        return self.refused is None and not self.missing and not self.findings and self.records == self.published > 0


def go_on(root: Path, acknowledged: Iterable[str], seen: bytes = b"") -> Left:
    """Starts a service on what is there, lets it decide and publish, and then verifies as an outsider does.

    `seen` is a checkpoint that an outsider had read before.
    """
    try:
        decided = asyncio.run(_decide(root))
    except RemitError as error:
        return Left(refused=error)
    wanted = {*acknowledged, decided}
    with sqlite3.connect(root / ".remit/remit.db") as db:
        stored = [bytes(data) for (data,) in db.execute("SELECT bytes FROM records ORDER BY seq")]
        keys = {key for (key,) in db.execute("SELECT key FROM records WHERE key IS NOT NULL")}
    db.close()
    folder = Folder(root)
    key = signer_of(folder, read_settings(root)).key
    report = verify_log(FolderSource(root / LOG), key, earlier=seen)
    found = tuple(f"{each.check} {each.stream} {each.n}: {each.message}" for each in report.findings)
    return Left(None, tuple(sorted(wanted - keys)), found, len(stored), report.records)


async def _decide(root: Path) -> str:
    folder = Folder(root)
    opened = await open_installation(folder)
    try:
        publisher = await asyncio.to_thread(open_publisher, folder, opened.settings)
        point = Embedded(opened, "pep/point", owns=False)
        decision = await point.authorize(await start(opened), ACTION, INPUT)
    finally:
        await opened.close()
    if publisher is not None:
        await asyncio.to_thread(publisher.stop)
    return decision.id


def acknowledged_in(root: Path) -> list[str]:
    """The whole lines of the victim's file."""
    try:
        text = (root / ACKNOWLEDGED).read_text()
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].split()


def copied(root: Path, to: Path) -> Path:
    """A copy of an installation that does not run."""
    shutil.copytree(root, to, ignore=shutil.ignore_patterns("*.sock", "*-shm", "agents"))
    return to
