"""Exports the records of a folder, also beside a running service, and verifies exports."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.app.reevaluating import ENGINE
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput
from remit.core.evaluations import Evaluator
from remit.core.settings import read_settings
from remit.ledger.export import MANIFEST, MANIFEST_BYTES, Manifest, decode_manifest, export
from remit.ledger.findings import Report
from remit.ledger.opened import Openings
from remit.ledger.verify import verify

Progress = Callable[[str, int, int], None]  # what is being done, records done, records in all

_EVERY = 2048


def export_folder(folder: Folder, target: Path, progress: Progress = lambda *_: None) -> Manifest:
    """Writes the records and texts of `folder` to `target`, which must be new or empty."""
    settings = read_settings(folder.root)
    with reader_of(folder) as reader:
        total = reader.count()
        if total == 0:
            raise InvalidInput("no_records", "there are no records yet", "start the service with `remit up`")
        records = _counted(reader.by_stream(), total, progress)
        target.parent.mkdir(parents=True, exist_ok=True)
        return export(records, reader.texts(), target, td=settings.trust_domain, created=system_clock())


def verify_folder(
    folder: Folder,
    progress: Progress = lambda *_: None,
    *,
    known: Manifest | None = None,
    evaluator: Evaluator | None = ENGINE,
    openings: Openings | None = None,
) -> Report:
    """Exports to a temporary folder in `.remit`, and verifies that; without an evaluator, no decision again."""
    place = folder.state if folder.state.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="verify-", dir=place) as temporary:
        target = Path(temporary) / "export"
        export_folder(folder, target, progress)
        return verify_export(target, progress, known=known, evaluator=evaluator, openings=openings)


def verify_export(
    target: Path,
    progress: Progress = lambda *_: None,
    *,
    known: Manifest | None = None,
    evaluator: Evaluator | None = ENGINE,
    openings: Openings | None = None,
) -> Report:
    """Verifies an export that stands in `target`; without an evaluator, no decision again."""

    def told(done: int, total: int) -> None:
        progress("verifying", done, total)

    return verify(target, told, known=known, evaluator=evaluator, openings=openings)


def known_manifest(path: Path) -> Manifest:
    """The manifest of an earlier export: its `export.json`, or the folder that has it."""
    file = path / MANIFEST if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            data = opened.read(MANIFEST_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            "known_unreadable", f"can't read `{file}`: {error.strerror}", "name the `export.json` of an earlier export"
        ) from None
    return decode_manifest(data)


def _counted(
    records: Iterator[tuple[str, int, bytes]], total: int, progress: Progress
) -> Iterator[tuple[str, int, bytes]]:
    done = 0
    for done, record in enumerate(records, 1):
        if done % _EVERY == 0:
            progress("exporting", done, total)
        yield record
    progress("exporting", done, max(total, done))
