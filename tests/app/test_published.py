"""A published log, verified by an outsider: the folder, its key and nothing else."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

from remit.app.publishing import Publisher
from remit.core.errors import RemitError
from remit.ledger.findings import CHECKS, LOG_CHECKS
from remit.ledger.published import verify_log
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.source import FolderSource, source_of
from remit.storage.placed import SqlitePlaced
from tests.decide.stage import READ, Stage, staged
from tests.ledger.tlog.test_notes import LOG, WITNESS, signer


async def publish(stage: Stage, folder: Path) -> None:
    grant = await stage.start()
    for n in range(3):
        await stage.report(await stage.permit(grant, READ, {"invoice": str(n)}))
    await stage.end(grant)
    Publisher(SqlitePlaced(stage.installation.folder.database), LogFolder(folder, LOG)).stop()


@staged()
async def test_the_whole_record_is_verified_from_the_log_alone(stage: Stage) -> None:
    folder = stage.installation.folder.state / "log"
    for _ in range(2):
        await publish(stage, folder)
    report = verify_log(FolderSource(folder), LOG.key)
    assert report.findings == []
    assert report.td == "example.org"
    assert (report.records, report.permits) == (len(stage.records()), 6)
    assert report.checks.keys() >= LOG_CHECKS.keys() - {"log_history", "log_archived"}
    assert report.checks.keys() <= LOG_CHECKS.keys() | CHECKS.keys()


@staged()
async def test_it_is_verified_over_http_and_redirects_are_not_followed(stage: Stage) -> None:
    folder = stage.installation.folder.state / "log"
    await publish(stage, folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/moved"))
                self.end_headers()
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        report = verify_log(source_of(url), LOG.key)
        with pytest.raises(RemitError, match="302"):
            verify_log(source_of(url + "/moved"), LOG.key)
        server.shutdown()
    assert not report.failed


@staged()
async def test_what_was_left_out_of_the_log_is_missing_in_its_stream(stage: Stage) -> None:
    folder = stage.installation.folder.state / "log"
    await publish(stage, folder)
    placed = SqlitePlaced(stage.installation.folder.database)
    entries = placed.entries(0, 10_000)
    decision = next(n for n, entry in enumerate(entries) if b'"kind":"decision"' in entry)
    forged = stage.installation.folder.state / "forged"
    log = LogFolder(forged, LOG)
    for digest, text in placed.texts():
        log.keep_text(digest, text.encode())
    log.extend([*entries[:decision], *entries[decision + 1 :]])
    report = verify_log(FolderSource(forged), LOG.key)
    assert "numbers" in {finding.check for finding in report.findings}
    checkpoint = (folder / "checkpoint").read_bytes()
    report = verify_log(FolderSource(forged), LOG.key, earlier=checkpoint)
    assert report.findings[0].check == "log_history"


@staged()
async def test_a_text_that_was_not_published_is_missing(stage: Stage) -> None:
    folder = stage.installation.folder.state / "log"
    await publish(stage, folder)
    texts = sorted((folder / "texts").iterdir())
    assert texts
    texts[0].write_bytes(texts[0].read_bytes() + b" ")
    assert {finding.check for finding in verify_log(FolderSource(folder), LOG.key).findings} == {"texts"}
    texts[0].unlink()
    assert {finding.check for finding in verify_log(FolderSource(folder), LOG.key).findings} == {"texts"}


@staged()
async def test_without_a_checkpoint_that_is_trusted_nothing_is_said(stage: Stage) -> None:
    folder = stage.installation.folder.state / "log"
    await publish(stage, folder)
    with pytest.raises(RemitError, match="given keys"):
        verify_log(FolderSource(folder), signer("example.org/log", 9).key)
    with pytest.raises(RemitError, match="1 are wanted"):
        verify_log(FolderSource(folder), LOG.key, witnesses=[WITNESS.key], quorum=1)
    with pytest.raises(RemitError, match="not there"):
        verify_log(FolderSource(folder / "texts"), LOG.key)


@staged()
async def test_an_entry_that_is_no_record_is_found(stage: Stage) -> None:
    folder = stage.installation.folder.state / "log"
    await publish(stage, folder)
    LogFolder(folder, LOG).extend([b"{}", b"\xff", b'{"stream":"../x","n":1,"td":"x","kind":"mode","body":{}}'])
    report = verify_log(FolderSource(folder), LOG.key)
    assert [finding.check for finding in report.findings] == ["format"] * 3
