"""The reference pages are what the code says: settings and bounds, and every reason and error code."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import msgspec
import pytest

from remit.core.settings import Settings
from tools import reference


def test_the_settings_page_is_what_the_code_says() -> None:
    assert reference.SETTINGS_PAGE.read_text("utf-8") == reference.settings_page(), "run `python tools/reference.py`"


@pytest.mark.parametrize("name", [field.encode_name for field in msgspec.structs.fields(Settings)])
def test_every_table_of_the_settings_is_on_the_page(name: str) -> None:
    page = reference.settings_page()
    assert f"| `{name}` |" in page or f"`[{name}]`" in page or f"`[[{name}]]`" in page


def test_every_code_is_explained() -> None:
    assert reference.codes() - set(reference.explained()) == set()


def test_no_code_is_explained_that_is_gone() -> None:
    assert set(reference.explained()) - reference.codes() == set()


def test_no_code_is_explained_twice() -> None:
    assert [code for code, times in Counter(reference.explained()).items() if times > 1] == []


def test_codes_of_every_kind_are_collected() -> None:
    found = reference.codes()
    for code in (
        "action_unknown",  # a reason
        "observed",  # a constant of another module
        "policy_forbids",  # a constant that is chosen at run time
        "task_suspended",  # put together
        "self_start",  # a shipped policy
        "limit_reached",  # a generated policy
        "untrusted_content",  # the template's policy
        "permit_spent",  # an error
        "server_hung",  # an error frame of the gateway
        "connections_full",  # an answer before routing
    ):
        assert code in found, code


def test_the_command_checks() -> None:
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"],
        cwd=reference.ROOT,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
