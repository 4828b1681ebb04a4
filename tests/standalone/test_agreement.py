"""Whatever the tests of the ledger tamper with, the file finds the same as `remit verify`, to the word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final

import pytest

from tests.standalone.pair import ROOT

# Where exports and published logs are tampered with.
CORPORA: Final = (
    "tests/ledger/test_verify.py",
    "tests/ledger/test_limits.py",
    "tests/ledger/test_lives.py",
    "tests/ledger/test_outcomes.py",
    "tests/ledger/test_permits.py",
    "tests/ledger/test_practice.py",
    "tests/app/test_published.py",
    "tests/app/test_reevaluating.py",
)


@pytest.mark.timeout(300)
def test_every_tampering_of_the_corpora_is_found_by_the_file_too() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "tests.standalone.agreeing", "-q", "-p", "no:cacheprovider"]
    # Long random runs look for crashes, not for tampering.
    command += ["-k", "not ends_the_verifier", *CORPORA]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    told = re.search(r"^compared: (.*), differences: (\d+)$", done.stdout, re.MULTILINE)
    assert told is not None, done.stdout[-4000:] + done.stderr[-2000:]
    assert told[2] == "0", "\n".join(line for line in done.stdout.splitlines() if line.startswith("difference: "))
    compared = {result: int(times) for result, times in re.findall(r"'([a-z ]+)': (\d+)", told[1])}
    assert (compared["in order"] > 20, compared["refused"] > 0, compared["with findings"] > 200) == (True, True, True)
