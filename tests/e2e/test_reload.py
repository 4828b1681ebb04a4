"""`remit reload` and SIGHUP reach a real service; a mistake in a file is told with its place, and changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from remit.app.folder import Folder
from remit.app.records import reader_of
from tests.e2e.service import REMIT, service, service_pid, write_project

RULE = '@id("rule")\nforbid (principal, action == Remit::Action::"identity.change", resource)\nwhen { context.WHAT };\n'


def reload(folder: Folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*REMIT, "reload"], cwd=folder.root, capture_output=True, text=True, timeout=60, check=False)


def configurations(folder: Folder) -> int:
    with reader_of(folder) as reader:
        return sum(stored.record.kind == "configuration" for stored in reader.records())


def test_a_running_service_takes_what_the_folder_says(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "p")
    rules = folder.root / "policies" / "rule.cedar"
    rules.parent.mkdir(exist_ok=True)
    refused = reload(folder)
    assert refused.returncode == 1
    assert "no service runs here" in refused.stderr
    with service(folder):
        rules.write_text(RULE.replace("WHAT", "isSelf"), "utf-8")
        told = reload(folder)
        assert (told.returncode, told.stdout[:20]) == (0, "reloaded: policies; ")
        rules.write_text(RULE.replace("WHAT", "isSelff"), "utf-8")
        told = reload(folder)
        assert told.returncode == 1
        assert "policies/rule.cedar:3:16: no action that this policy covers has `context.isSelff`" in told.stderr
        assert "\n  3 | when { context.isSelff };\n    |                ^^^^^^^\n" in told.stderr
        assert configurations(folder) == 2
        rules.write_text(RULE.replace("WHAT", 'state == "retired"'), "utf-8")
        os.kill(service_pid(folder), signal.SIGHUP)
        until = time.monotonic() + 30
        while configurations(folder) < 3 and time.monotonic() < until:
            time.sleep(0.1)
        assert configurations(folder) == 3
