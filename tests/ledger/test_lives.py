"""Identities and configurations against the sessions: what a service that lies would write."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core import canonical
from tests.ledger.story import (
    AGENT,
    CONFIG,
    OTHER,
    PARTS,
    PEP,
    STARTER,
    begin,
    found,
    only,
)

# --- identities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [AGENT, PEP])
@pytest.mark.parametrize("state", ["quarantined", "retired"])
def test_quarantine_in_the_middle_of_a_task(tmp_path: Path, who: str, state: str) -> None:
    story = begin()
    story.decision()
    story.identity(who, state)
    story.now += 1
    story.decision("deny")
    story.decision()
    only(tmp_path, story, "quarantine", f"a permit is given, and `{who}` was {state}")


def test_permits_before_and_after_a_quarantine(tmp_path: Path) -> None:
    story = begin()
    story.decision()
    story.now += 5
    story.identity(AGENT, "quarantined")
    story.now += 5
    story.identity(AGENT, "active")
    story.decision()
    assert found(tmp_path, story) == []


def test_permit_in_the_millisecond_of_the_quarantine(tmp_path: Path) -> None:
    story = begin()
    story.decision()
    story.identity(AGENT, "quarantined")
    story.decision()
    assert found(tmp_path, story) == []


def test_permit_of_an_unregistered_workload(tmp_path: Path) -> None:
    story = begin()
    del story.streams[f"identity/{AGENT}"]
    story.decision()
    only(tmp_path, story, "quarantine", f"a permit is given, and `{AGENT}` is not registered in this export")


def test_permit_before_registration(tmp_path: Path) -> None:
    story = begin()
    del story.streams[f"identity/{AGENT}"]
    story.decision()
    story.now += 1
    story.identity(AGENT)
    only(tmp_path, story, "quarantine", f"a permit is given, and `{AGENT}` was registered only later")


def test_retired_identity_comes_back(tmp_path: Path) -> None:
    story = begin()
    story.identity(OTHER, "retired")
    story.identity(OTHER, "active")
    only(tmp_path, story, "identities", "it makes a retired identity active")


def test_registration_in_the_stream_of_another(tmp_path: Path) -> None:
    story = begin()
    registration = {"id": OTHER, "state": "active"}
    story.append(f"identity/{AGENT}", "identity", {"registration": registration, "by": STARTER, "reason": ""})
    only(tmp_path, story, "identities", f"it registers `{OTHER}`, whose stream this is not")


def test_risk_in_the_stream_of_another(tmp_path: Path) -> None:
    story = begin()
    risk = {"id": OTHER, "signal": "edr", "value": 1, "source": "edr", "expires": 0}
    story.append(f"identity/{AGENT}", "risk", risk)
    only(tmp_path, story, "identities", f"the signal is about `{OTHER}`, whose stream this is not")


# --- configuration ---------------------------------------------------------------------------------------------------


def test_decision_under_an_unrecorded_configuration(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny", config="0" * 64)
    only(tmp_path, story, "configuration", "the configuration `0000000000000000…` was never recorded")


def test_decision_under_a_later_configuration(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny")
    del story.streams["administration"]
    story.now += 1
    story.configure()
    only(tmp_path, story, "configuration", f"the configuration `{CONFIG[:16]}…` was recorded only later")


def test_configuration_with_other_parts(tmp_path: Path) -> None:
    story = begin()
    story.append("administration", "configuration", {"config": "0" * 64, **PARTS})
    only(tmp_path, story, "configuration", "the digest `0000000000000000…` is not that of its parts")


def test_configuration_without_its_text(tmp_path: Path) -> None:
    story = begin()
    parts = {"policies": "0" * 64}
    story.append("administration", "configuration", {"config": canonical.digest(parts), **parts})
    only(tmp_path, story, "texts", "the text of the policies `0000000000000000…` is not in the export")
