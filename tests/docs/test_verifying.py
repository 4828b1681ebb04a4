"""`docs/guides/verifying.md`: its commands print what it says, and its table has every check."""

from __future__ import annotations

import re
import shutil

import pytest

from remit.ledger.findings import CHECKS, LOG_CHECKS
from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/verifying.md").read_text("utf-8")


def test_every_check_stands_in_the_table_in_its_words() -> None:
    assert re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE) == list(CHECKS.items())


def test_every_check_of_a_published_log_stands_on_the_page() -> None:
    assert re.findall(r"^\| `(log_\w+)` \| ([^|]+) \|$", PAGE, re.MULTILINE) == list(LOG_CHECKS.items())


@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed here")
def test_its_commands_print_what_it_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/verifying.md`\n" + "\n".join(differences)
