"""`remit forward`: how far each receiver is, sending what waits, and beginning again."""

from __future__ import annotations

import json

import pytest

from remit.app.folder import Folder
from remit.app.forwarding.forwarder import cursor_of
from tests.cli.desk import Command

SIEM = '[[forward]]\nname = "siem"\nformat = "ocsf"\nto = "file:out.jsonl"\n'
AWAY = '[[forward]]\nname = "away"\nformat = "otlp"\nto = "http://127.0.0.1:9"\n'


@pytest.fixture
def forwarding(folder: Folder) -> Folder:
    """A project that forwards to a file, and to nobody."""
    settings = folder.root / "remit.toml"
    settings.write_text(settings.read_text() + SIEM + AWAY)
    return folder


def test_nothing_is_forwarded(remit: Command) -> None:
    result = remit("forward", "status")
    assert result.exit_code == 0
    assert "nothing is forwarded" in result.output


def test_what_waits_is_sent_once(forwarding: Folder, remit: Command) -> None:
    waiting = json.loads(remit("forward", "status", "--json").output.splitlines()[0])["waiting"]
    assert waiting > 0
    sent = remit("forward", "send", "siem")
    assert (sent.exit_code, sent.output) == (0, f"sent {waiting} records\n")
    assert len((forwarding.root / "out.jsonl").read_text().splitlines()) == waiting
    assert json.loads(remit("forward", "send", "siem", "--json").output) == {"name": "siem", "sent": 0}
    rows = [json.loads(line) for line in remit("forward", "status", "--json").output.splitlines()]
    assert [row["waiting"] for row in rows] == [0, waiting]


def test_a_receiver_that_is_away_says_why_and_loses_nothing(forwarding: Folder, remit: Command) -> None:
    result = remit("forward", "send", "away")
    assert result.exit_code == 1
    assert "refused" in result.output
    assert cursor_of(forwarding, "away").read().place == 0


def test_beginning_again(forwarding: Folder, remit: Command) -> None:
    remit("forward", "send", "siem")
    assert "begins anew" in remit("forward", "rewind", "siem", "--to", "start").output
    assert "sent 0" not in remit("forward", "send", "siem").output
    assert "goes on behind record" in remit("forward", "rewind", "away", "--to", "now").output


def test_a_cursor_that_does_not_fit_is_shown_and_looked_at(forwarding: Folder, remit: Command) -> None:
    (forwarding.forward).mkdir()
    (forwarding.forward / "siem.json").write_text('{"place": 1, "leaf": "00"}')
    result = remit("forward", "status")
    assert result.exit_code == 1
    assert "not in these records" in result.output
    found = [each for each in json.loads(remit("doctor", "--json").output) if each["check"] == "forwarding"]
    assert [each["level"] for each in found] == ["fail", "ok"]


def test_one_that_nobody_declared(forwarding: Folder, remit: Command) -> None:
    result = remit("forward", "send", "other")
    assert result.exit_code == 1
    assert "siem, away" in result.output
