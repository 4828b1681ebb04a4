"""Receipts from the published log of a project, whatever stores its records."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.app import proving
from remit.app.folder import Folder
from remit.app.proving import prove
from remit.app.publishing import open_publisher, signer_of
from remit.core.errors import RemitError, Unavailable
from remit.core.identities import Identity
from remit.core.settings import read_settings
from remit.ledger.proven import verify_receipt
from remit.ledger.receipt import decode_receipt
from tests.cli import desk
from tests.decide.stage import FAR, Stage, play
from tests.postgres import PostgresServer
from tests.storage.places import use_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Folder:
    made = desk.write_project(tmp_path / "desk")
    with (made.root / "remit.toml").open("a") as file:
        file.write('\n[ledger]\nfolder = ".remit/log"\n')
    if request.param == "postgres":
        use_postgres(made.root, postgres.database())
    return made


def publish(folder: Folder) -> None:
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()


def test_a_receipt_is_made_from_the_log_with_what_the_records_say_of_places(folder: Folder) -> None:
    story = desk.make_history(folder)
    publish(folder)
    key = signer_of(folder, read_settings(folder.root)).key
    for name, kinds in (
        ("look", ["configuration", "task", "decision", "outcome"]),
        ("large", ["configuration", "task", "decision"]),
        ("refund", ["configuration", "task"]),
    ):
        made = prove(folder, story[name], open_=["all"])
        proven = verify_receipt(decode_receipt(made.receipt.encode()), key)
        assert proven.id == story[name]
        assert sorted(each.kind for each in proven.records) == sorted(kinds)
        assert proven.concealed == 0
        assert made.pending == 0


def test_what_is_recorded_and_not_published_is_pending(folder: Folder) -> None:
    story = desk.make_history(folder)
    with pytest.raises(Unavailable, match="nothing is published in the log yet"):
        prove(folder, story["look"])
    assert not folder.log_key.exists()  # nothing was made by asking
    publish(folder)
    later = desk.make_history(folder)
    with pytest.raises(Unavailable) as caught:
        prove(folder, later["look"])
    assert caught.value.code == "record_pending"
    assert "try again" in caught.value.next_step
    assert prove(folder, story["look"]).proven.id == story["look"]


def test_claims_do_not_crowd_out_what_the_enforcement_point_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "ENTRIES", 4)  # configuration, task, decision, and one more

    async def story(stage: Stage) -> None:
        grant = await stage.start()
        decision = await stage.permit(grant)
        own = Identity(id=grant.workload, key=grant.key, expires=FAR)
        await stage.report(decision, "error", by=own)
        await stage.report(decision)
        publish(stage.folder)
        made = prove(stage.folder, decision.id)
        assert [each.body["standing"] for each in made.proven.of("outcome")] == ["believed"]
        assert made.left_out == len(stage.records("outcome")) - 1 == 1

    play(tmp_path, story, settings='[ledger]\nfolder = ".remit/log"\n')


def test_with_another_key_nothing_is_proved(folder: Folder) -> None:
    story = desk.make_history(folder)
    publish(folder)
    folder.log_key.unlink()
    with pytest.raises(RemitError) as caught:
        prove(folder, story["look"])
    assert caught.value.code == "log_key_missing"
    assert not folder.log_key.exists()
