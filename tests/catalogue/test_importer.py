from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from remit.catalogue.importer import import_server
from remit.core.errors import RemitError

SERVER = Path(__file__).with_name("server.py")


def _import(mode: str, seconds: float = 10.0) -> list[dict[str, Any]]:
    return asyncio.run(import_server([sys.executable, str(SERVER), mode], "s", seconds))


def _code(mode: str, seconds: float = 10.0) -> str:
    with pytest.raises(RemitError) as caught:
        _import(mode, seconds)
    return caught.value.code


@pytest.mark.parametrize("mode", ["modern", "handshake", "old", "advertises", "names both", "dies", "pages", "chatty"])
def test_both_eras_and_all_versions(mode: str) -> None:
    assert [tool["name"] for tool in _import(mode)] == [f"tool_{i}" for i in range(5)]


@pytest.mark.parametrize("mode", ["silent", "late"])
def test_silence_on_the_probe_is_not_the_end(mode: str) -> None:
    assert len(_import(mode, 3.0)) == 5


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("alien", "server_refused"),
        ("newer", "server_refused"),
        ("refuse", "server_refused"),
        ("loop", "listing_invalid"),
        ("endless", "listing_too_large"),
        ("crowd", "listing_too_large"),
        ("nonsense", "listing_invalid"),
        ("flood", "listing_too_large"),
        ("crash", "server_ended"),
    ],
)
def test_server_that_misbehaves_ends_the_import(mode: str, code: str) -> None:
    assert _code(mode) == code


def test_hanging_server_is_given_up_in_time() -> None:
    started = time.monotonic()
    assert _code("hang", 2.0) == "server_silent"
    assert time.monotonic() - started < 6


def test_crash_shows_what_the_server_wrote_without_terminal_codes() -> None:
    with pytest.raises(RemitError) as caught:
        _import("crash")
    assert "no credentials" in caught.value.next_step
    assert "\x1b" not in str(caught.value)


def test_error_of_a_server_carries_no_terminal_codes() -> None:
    with pytest.raises(RemitError) as caught:
        _import("refuse")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ([], "command_missing"),
        (["/does/not/exist"], "server_not_started"),
        (["a\0b"], "server_not_started"),
        (["true"], "server_ended"),
        (["yes"], "listing_too_large"),
    ],
)
def test_command_that_is_no_server(command: list[str], code: str) -> None:
    with pytest.raises(RemitError) as caught:
        asyncio.run(import_server(command, "s", 10.0))
    assert caught.value.code == code


def test_task_handle_is_not_given_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_TASK", "/secret/grant.json")
    monkeypatch.setenv("OF_THE_USER", "1")
    names = {tool["name"] for tool in _import("environment")}
    assert "OF_THE_USER" in names
    assert not any(name.startswith("REMIT_") for name in names)


def test_what_the_server_started_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {mark}; exec {sys.executable} {SERVER} handshake"
    assert len(asyncio.run(import_server(["sh", "-c", script], "s", 10.0))) == 5
    for _ in range(100):
        if not _runs(int(mark.read_text())):
            return
        time.sleep(0.02)
    pytest.fail("the server's child still runs")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    os.kill(pid, 0)
    return state != "Z"
