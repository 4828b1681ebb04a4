"""A published log, verified by Go's `golang.org/x/mod/sumdb`, which is not ours: it accepts it, and rejects fakes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.tiles import bundles_of, decode_bundle, encode_bundle, tiles_of
from tests.ledger.tlog.test_folder import entries
from tests.ledger.tlog.test_notes import LOG, signer

SIZE = 600


@pytest.fixture(scope="module")
def sumdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    program = folder / "sumdb"
    source = Path(__file__).parent / "sumdb" / "main.go"
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
    }
    subprocess.run(["go", "build", "-o", program, source], check=True, env=environment, timeout=300)
    return program


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`log` has grown since `earlier` was kept."""
    folder = tmp_path_factory.mktemp("log")
    LogFolder(folder / "log", LOG).extend(entries(0, 300))
    shutil.copy(folder / "log" / "checkpoint", folder / "earlier")
    LogFolder(folder / "log", LOG).extend(entries(300, SIZE))
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "copy")
    return tmp_path / "copy"


def verdict(sumdb: Path, folder: Path, vkey: str = str(LOG.key)) -> tuple[bool, str]:
    run = subprocess.run(
        [sumdb, folder / "log", vkey, folder / "earlier"], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode in (0, 1), run.stderr
    return run.returncode == 0, run.stdout


def test_go_accepts_the_log(sumdb: Path, folder: Path) -> None:
    assert verdict(sumdb, folder) == (True, f"accepted: {SIZE}\n")


def test_go_rejects_a_changed_byte_in_any_file(sumdb: Path, folder: Path) -> None:
    for tile in (*tiles_of(SIZE), *bundles_of(SIZE)):
        path = folder / "log" / tile.path
        data = path.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            accepted, said = verdict(sumdb, folder)
            assert not accepted, f"{path} at {place}: {said}"
        path.write_bytes(data)


def test_go_rejects_a_dropped_entry(sumdb: Path, folder: Path) -> None:
    bundle = folder / "log" / "tile/entries/001"
    kept = decode_bundle(bundle.read_bytes(), 256)
    bundle.write_bytes(encode_bundle([*kept[:100], *kept[101:]]))
    assert not verdict(sumdb, folder)[0]


def test_go_rejects_a_forked_history(sumdb: Path, folder: Path) -> None:
    shutil.rmtree(folder / "log")
    LogFolder(folder / "log", LOG).extend([*entries(0, 10), b"another", *entries(11, SIZE)])
    assert not verdict(sumdb, folder)[0]


def test_go_rejects_a_rolled_back_checkpoint(sumdb: Path, folder: Path) -> None:
    now = (folder / "log" / "checkpoint").read_bytes()
    shutil.rmtree(folder / "log")
    LogFolder(folder / "log", LOG).extend(entries(0, 500))
    (folder / "earlier").write_bytes(now)
    assert not verdict(sumdb, folder)[0]


def test_go_rejects_another_key(sumdb: Path, folder: Path) -> None:
    assert not verdict(sumdb, folder, str(signer("example.org/log", 9).key))[0]
