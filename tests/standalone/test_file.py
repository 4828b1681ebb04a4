"""The verifier in one file: built the same each time, from what it may need, and run where nothing else is."""

from __future__ import annotations

import http.server
import json
import os
import pty
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.cli.verify import verify
from remit.ledger.opened import encode_opening
from remit.ledger.standalone import _parser
from tests.ledger.story import full, lines_of, replace_lines
from tests.ledger.test_receipt import Case
from tests.ledger.tlog.memory import MemoryLog
from tests.ledger.tlog.test_notes import LOG, WITNESS, signer
from tests.standalone.isolated import Isolated, built, environment
from tests.standalone.pair import ROOT, builder

KEY = str(LOG.key)


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isolated]:
    process = Isolated(tmp_path_factory.mktemp("isolated"))
    yield process
    process.close()


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.fixture
def folder(tmp_path: Path, case: Case) -> Path:
    """A published log."""
    return publish(MemoryLog(case.entries, LOG, WITNESS), tmp_path / "log", case)


def publish(log: MemoryLog, folder: Path, case: Case) -> Path:
    for path, data in log.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "texts").mkdir(exist_ok=True)
    for digest, text in case.story.texts.items():
        (folder / "texts" / digest).write_text(text)
    return folder


# --- the build ----------------------------------------------------------------------------------------------


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    first = built(tmp_path).read_bytes()
    script = str(ROOT / "tools" / "standalone" / "build.py")
    other = tmp_path / "elsewhere" / "verify.pyz"
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    said = subprocess.run([sys.executable, "-I", script, str(other)], env=environment, check=True, capture_output=True)
    assert other.read_bytes() == first
    assert said.stdout.decode().split()[0] == builder().hashlib.sha256(first).hexdigest()


def test_it_holds_readable_source_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(built(tmp_path)) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        for name in names:
            if name.startswith("remit/") and name != "remit/policy/__init__.py":
                assert archive.read(name) == (ROOT / "src" / name).read_bytes()
    rooms = {"/".join(name.split("/")[:2]) for name in names if name.startswith("remit/")}
    assert rooms == {"remit/__init__.py", "remit/core", "remit/ledger", "remit/policy"}
    assert {name for name in names if not name.startswith("remit/")} == {"LICENSE", "__main__.py", "standin.py"}
    policy = {name.removeprefix("remit/policy/") for name in names if name.startswith("remit/policy/")}
    assert {"recorded.py", "dogwood/lowering.py"} <= policy
    # What reads recorded policies, and nothing that decides.
    assert not {name for name in policy if name.startswith(("compiled/", "general/", "dogwood/monitor/"))}
    assert len(policy) < 25


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import yaml\n", "imports `yaml`"),
        ("from cedarpy import is_authorized\n", "imports `cedarpy`"),
        ("def late():\n    import rich.console\n", "imports `rich.console`"),
        ("from msgspec import toml\n", "uses `msgspec.toml`"),
        ("import msgspec\nmsgspec.json.schema(int)\n", "uses `msgspec.json.schema`"),
        ("from remit.policy import load\n", "packed empty"),
        ("from . import note\n", "relative"),
    ],
)
def test_a_module_that_needs_more_fails_the_build(text: str, said: str) -> None:
    with pytest.raises(builder().BuildError, match=said):
        list(builder()._needed("remit.ledger.new", text, builder().OUTSIDE))


# --- the file -----------------------------------------------------------------------------------------------


def test_it_runs_alone_and_needs_cryptography_only(tmp_path: Path, folder: Path) -> None:
    file = built(tmp_path)
    packages = environment(tmp_path / "packages")
    code = f"import runpy, sys; sys.path.append({str(packages)!r}); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", code, str(file), str(folder), "--key", KEY]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "in order: " in done.stdout
    assert "not checked: decisions not evaluated again" in done.stdout
    assert "pip install cedarpy" in done.stdout
    bare = subprocess.run([sys.executable, "-I", "-S", str(file), str(folder)], capture_output=True, text=True)
    assert bare.returncode == 1
    assert "pip install cryptography" in bare.stderr


def test_a_log_in_a_folder_and_over_http(isolated: Isolated, folder: Path) -> None:
    said = isolated.run(str(folder), "--key", KEY, "--witness", str(WITNESS.key), "--json")
    assert (said.code, said.json["failed"], said.json["findings"]) == (0, False, [])

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        over = isolated.run(url, "--key", KEY, "--witness", str(WITNESS.key), "--json")
        refused = isolated.run(url, "--json")
        server.shutdown()
    assert over.json == said.json
    assert (refused.code, refused.json["error"]) == (1, "key_missing")


def test_a_receipt(isolated: Isolated, case: Case, tmp_path: Path) -> None:
    file, openings = tmp_path / "r.json", tmp_path / "o.jsonl"
    file.write_bytes(case.receipt().encode())
    openings.write_bytes(encode_opening(case.opening))
    said = isolated.run(str(file), "--key", KEY)
    assert said.code == 0
    assert "this receipt proves" in said.out
    assert "it does not prove" in said.out
    shown = isolated.run(str(file), "--key", KEY, "--openings", str(openings), "--json")
    assert shown.json["opened"][0]["value"] == "ann@example.org"
    for wrong in (["--key", str(signer("example.org/log", 9).key)], ["--key", KEY, "--known", str(file)], []):
        refused = isolated.run(str(file), *wrong)
        assert refused.code == 1
        assert refused.err.startswith("error: ")
    file.write_bytes(case.receipt(id=case.other).encode())
    assert "proves nothing" in isolated.run(str(file), "--key", KEY).err


def test_an_export_and_what_was_kept_of_an_earlier_one(isolated: Isolated, tmp_path: Path) -> None:
    story = full()
    early = story.write(tmp_path / "early")
    story.task("t_2")
    late = story.write(tmp_path / "late")
    assert isolated.run(str(late), "--known", str(early / "export.json")).code == 0
    assert isolated.run(str(late), "--known", str(early)).code == 0
    back = isolated.run(str(early), "--known", str(late / "export.json"), "--json")
    assert (back.code, back.json["findings"][0]["check"]) == (1, "history")
    lines = lines_of(late)
    replace_lines(late, [lines[0], *lines[2:]])
    changed = isolated.run(str(late))
    assert changed.code == 1
    assert "wrong numbers: session/t_1 3: record 2 is missing before it" in changed.out


def test_a_log_that_was_cut_or_forked_since_a_checkpoint_that_was_kept(
    isolated: Isolated, case: Case, tmp_path: Path
) -> None:
    kept = tmp_path / "checkpoint"
    kept.write_bytes(MemoryLog(case.entries, LOG).files["checkpoint"])
    cut = publish(MemoryLog(case.entries[:-1], LOG), tmp_path / "cut", case)
    forged = [*case.entries[:-1], case.entries[-1].replace(b'"completed"', b'"cancelled"')]
    forked = publish(MemoryLog(forged, LOG), tmp_path / "forked", case)
    for log in (cut, forked):
        assert isolated.run(str(log), "--key", KEY).code == 0
        said = isolated.run(str(log), "--key", KEY, "--known", str(kept), "--json")
        assert (said.code, said.json["findings"][0]["check"]) == (1, "log_history")


def test_a_wrong_command_line_is_another_exit_code(isolated: Isolated, tmp_path: Path) -> None:
    assert isolated.run().code == 2
    assert isolated.run("--nonsense", ".").code == 2
    assert isolated.run("--help").code == 0
    missing = isolated.run(str(tmp_path / "none"), "--json")
    assert (missing.code, missing.json["error"]) == (1, "folder_missing")
    os.mkfifo(tmp_path / "pipe")
    assert isolated.run(str(tmp_path / "pipe"), "--key", KEY).code == 1
    assert isolated.run(str(tmp_path), "--known", str(tmp_path / "pipe")).code == 1


def test_what_a_record_says_does_not_drive_the_terminal(isolated: Isolated, case: Case, tmp_path: Path) -> None:
    line = case.line("mode") if b'"kind":"mode"' in b"".join(case.entries) else case.entries[0]
    evil = line.replace(b'"administration"', b'"\\u001b[2J"')
    log = publish(MemoryLog([evil], LOG), tmp_path / "log", case)
    assert "\x1b" not in isolated.run(str(log), "--key", KEY).out


def test_progress_is_shown_on_a_terminal_and_nowhere_else(tmp_path: Path, folder: Path, isolated: Isolated) -> None:
    assert isolated.run(str(folder), "--key", KEY).err == ""
    ours, theirs = pty.openpty()
    code = f"import runpy, sys; sys.path.append({str(isolated.packages)!r}); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", code, str(isolated.file), str(folder), "--key", KEY]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    os.close(theirs)
    assert b"reading 0 of" in os.read(ours, 65536)
    os.close(ours)


def test_its_json_is_that_of_remit_verify(isolated: Isolated, case: Case, folder: Path, tmp_path: Path) -> None:
    remit = [sys.executable, "-m", "remit", "verify", "--json", "--no-reevaluate"]
    receipt = tmp_path / "r.json"
    receipt.write_bytes(case.receipt(openings=(case.opening,)).encode())
    for arguments in ([str(folder), "--key", KEY], [str(receipt), "--key", KEY], [str(folder), "--key", "x"]):
        done = subprocess.run([*remit, *arguments], capture_output=True, text=True)
        said = isolated.run(*arguments, "--json", "--no-reevaluate")
        assert (said.code, said.out, said.err) == (done.returncode, done.stdout, done.stderr)
        json.loads(said.out or said.err)


def test_its_options_are_those_of_remit_verify() -> None:
    ours = {option for parameter in verify.params for option in parameter.opts + parameter.secondary_opts}
    theirs = {option for action in _parser()._actions for option in action.option_strings}
    assert ours - {"where", "--project"} == theirs - {"-h", "--help"}
