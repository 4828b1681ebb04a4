"""The support bot as its user runs it: `remit run`, the gateway, and a real MCP server behind it."""

from __future__ import annotations

import sys
from pathlib import Path

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from tests.e2e.service import decisions, service, told
from tests.e2e.test_scenarios import copied, run_remit

EXPORT, OPEN, VERIFY, CONSENT = (
    f"support/{tool}" for tool in ("export_customer", "open_case", "verify_customer", "obtain_consent")
)


def play(folder: Folder, script: str, intent: str, *more: str) -> str:
    agent = (sys.executable, str(folder.root / "agent.py"), script, "C-1")
    done = run_remit(folder, "run", "--starter", "starter/tickets", "--intent", intent, *more, "--", *agent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_data_leave_only_after_the_steps_and_three_times_an_hour_over_all_tasks(short_path: Path) -> None:
    folder = copied("support", short_path)
    with service(folder):
        said = play(folder, "question", "answer-customer")
        assert "export_customer refused" in said
        case = ("--case-type", "access-request")
        assert play(folder, "case", "handle-case", *case).count("export_customer done") == 2
        assert play(folder, "case", "handle-case", *case).count("export_customer done") == 1
        assert play(folder, "case", "handle-case", "--case-type", "complaint").count("export_customer done") == 0
    steps = [(OPEN, "permit", "permitted"), (CONSENT, "permit", "permitted"), (VERIFY, "permit", "permitted")]
    early, permitted = (EXPORT, "deny", "steps_missing"), (EXPORT, "permit", "permitted")
    found = decisions(folder)
    assert found[1] == (EXPORT, "deny", "not_justified")
    # The second export that came too early is the same as the first, and only counted.
    first = [early, *steps, (CONSENT, "permit", "permitted"), early, permitted, permitted]
    assert found[2 : 2 + len(first)] == first
    assert [reason for action, effect, reason in found if (action, effect) == (EXPORT, "deny")].count(
        "too_many_exports"
    ) >= 1
    assert told(verify_folder(folder)) == []
