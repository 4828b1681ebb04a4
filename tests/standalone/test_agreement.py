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
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.standalone.agreeing",
        "-q",
        "-p",
        "no:cacheprovider",
        *CORPORA,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    told = re.search(r"compared: \{'in order': (\d+), 'refused': (\d+), 'with findings': (\d+)\}", done.stdout)
    assert told is not None, done.stdout[-1000:]
    in_order, refused, with_findings = (int(number) for number in told.groups())
    assert (in_order > 20, refused > 0, with_findings > 200) == (True, True, True)
