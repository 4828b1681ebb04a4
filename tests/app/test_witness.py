"""A witness's folder: one name, one key, one process; what is not whole there is not taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from remit.app.witness import default_name, default_state, key_of, open_witness
from remit.cli.main import cli
from remit.core.errors import RemitError
from tests.ledger.tlog.test_notes import LOG, WITNESS

LOGS = [str(LOG.key)]


def test_a_witness_is_made_once_and_stays_who_it_is(tmp_path: Path) -> None:
    state = tmp_path / "deep/state"
    made = open_witness(state, "witness.example.org/w1", LOGS)
    with pytest.raises(RemitError, match="another process") as caught:
        open_witness(state, "", LOGS)
    assert caught.value.code == "folder_in_use"
    made.lock.release()
    assert key_of(state) == made.key
    assert made.key.name == "witness.example.org/w1"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "key.pem").stat().st_mode & 0o777 == 0o600
    again = open_witness(state, "", LOGS)
    assert again.key == made.key
    again.lock.release()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda state: (state / "key.pem").unlink(), "witness_key_missing"),
        (lambda state: (state / "key.pem").chmod(0o644), "key_file_exposed"),
        (lambda state: (state / "key.pem").write_text("nothing"), "document_invalid"),
        (lambda state: (state / "vkey").write_text(str(WITNESS.key)), "witness_key_missing"),
        (lambda state: (state / "vkey").write_bytes(b"\xff"), "vkey_invalid"),
        (lambda state: (state / "vkey").write_text(""), "vkey_invalid"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_and_let_go_of(tmp_path: Path, spoil: object, code: str) -> None:
    open_witness(tmp_path, "w", LOGS).lock.release()
    spoil(tmp_path)  # type: ignore[operator]
    for _ in range(2):
        with pytest.raises(RemitError) as caught:
            open_witness(tmp_path, "", LOGS)
        assert caught.value.code == code


def test_a_start_that_was_cut_off_after_the_key_goes_on(tmp_path: Path) -> None:
    first = open_witness(tmp_path, "w", LOGS)
    first.lock.release()
    (tmp_path / "vkey").unlink()
    again = open_witness(tmp_path, "w", LOGS)
    again.lock.release()
    assert again.key == first.key


def test_another_name_is_another_witness(tmp_path: Path) -> None:
    open_witness(tmp_path, "w1", LOGS).lock.release()
    with pytest.raises(RemitError) as caught:
        open_witness(tmp_path, "w2", LOGS)
    assert caught.value.code == "witness_name_changed"
    with pytest.raises(RemitError) as caught:
        open_witness(tmp_path / "other", "two words", LOGS)
    assert caught.value.code == "vkey_invalid"
    assert "+" not in default_name()


def test_state_stands_where_states_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/x")
    assert default_state() == Path("/var/lib/x/remit/witness")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_state() == Path.home() / ".local/state/remit/witness"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "knows no log"),
        (["--log", "nothing"], "no verifier key"),
        (["--log", str(WITNESS.key)], "no log's key"),
        (["--log", *LOGS, "--log", *LOGS], "stands twice"),
        (["--log", *LOGS, "--listen", "0.0.0.0:8190"], "--tls-certificate"),
        (["--log", *LOGS, "--listen", ""], "needs an address"),
        (["--log", *LOGS, "--listen", "127.0.0.1"], "not host:port"),
        (["--log", *LOGS, "--tls-key", "k.pem"], "give both"),
        (["key"], "there is no witness"),
    ],
)
def test_a_wrong_command_says_what_to_do(tmp_path: Path, arguments: list[str], said: str) -> None:
    state = ["--state", str(tmp_path / "s")]
    where = [*arguments, *state] if arguments == ["key"] else [*state, *arguments]
    found = CliRunner().invoke(cli, ["witness", *where], catch_exceptions=False)
    assert (found.exit_code, said in found.output) == (1, True), found.output
