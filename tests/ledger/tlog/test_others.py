"""A published log, verified by software that is not ours: it accepts the log, and rejects every fake.

`golang.org/x/mod/sumdb` (Go's checksum database) and `aics_tlog`; both read every tile and every entry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from remit.app.publishing import Publisher
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.tiles import bundles_of, decode_bundle, encode_bundle, tiles_of
from remit.storage.postgres_placed import PostgresPlaced
from tests.ledger.tlog.test_folder import entries
from tests.ledger.tlog.test_notes import LOG, WITNESS, signer
from tests.postgres import PostgresServer
from tests.storage.test_postgres_placed import Place

SIZE = 600
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def sumdb(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("go")
    program = folder / "sumdb"
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
    }
    build = ["go", "build", "-o", program, HERE / "sumdb" / "main.go"]
    subprocess.run(build, check=True, env=environment, timeout=300)
    return [str(program)]


@pytest.fixture(scope="module")
def aics() -> list[str]:
    return [sys.executable, str(HERE / "aics.py")]


@pytest.fixture(params=["sumdb", "aics"])
def verifier(request: pytest.FixtureRequest) -> list[str]:
    found: list[str] = request.getfixturevalue(request.param)
    return found


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


def accepts(verifier: list[str], folder: Path, vkey: str = str(LOG.key), *witnesses: str) -> bool:
    run = subprocess.run(
        [*verifier, folder / "log", vkey, folder / "earlier", *witnesses],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # Where tools/setup.sh puts it: it asks for a later Python, and runs on this one.
        env=os.environ | {"PYTHONPATH": str(Path(sys.prefix) / "aics")},
    )
    said = run.stdout + run.stderr
    assert run.returncode == (1 if "rejected: " in said else 0), said
    assert ("accepted: " in said) != ("rejected: " in said), said
    return run.returncode == 0


def test_it_accepts_the_log(verifier: list[str], folder: Path) -> None:
    assert accepts(verifier, folder)


def test_it_rejects_a_changed_byte_in_any_file(verifier: list[str], folder: Path) -> None:
    for tile in (*tiles_of(SIZE), *bundles_of(SIZE)):
        path = folder / "log" / tile.path
        data = path.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            assert not accepts(verifier, folder), f"{path} at {place}"
        path.write_bytes(data)


def test_it_rejects_a_changed_entry_in_the_middle(verifier: list[str], folder: Path) -> None:
    bundle = folder / "log" / "tile/entries/001"
    kept = decode_bundle(bundle.read_bytes(), 256)
    bundle.write_bytes(encode_bundle([*kept[:100], b"record 357", *kept[101:]]))
    assert not accepts(verifier, folder)


def test_it_rejects_a_dropped_entry(verifier: list[str], folder: Path) -> None:
    bundle = folder / "log" / "tile/entries/001"
    kept = decode_bundle(bundle.read_bytes(), 256)
    bundle.write_bytes(encode_bundle([*kept[:100], *kept[101:]]))
    assert not accepts(verifier, folder)


def test_it_rejects_a_forked_history(verifier: list[str], folder: Path) -> None:
    shutil.rmtree(folder / "log")
    LogFolder(folder / "log", LOG).extend([*entries(0, 10), b"another", *entries(11, SIZE)])
    assert not accepts(verifier, folder)


def test_it_rejects_a_rolled_back_checkpoint(verifier: list[str], folder: Path) -> None:
    now = (folder / "log" / "checkpoint").read_bytes()
    shutil.rmtree(folder / "log")
    LogFolder(folder / "log", LOG).extend(entries(0, 500))
    (folder / "earlier").write_bytes(now)
    assert not accepts(verifier, folder)


def test_it_rejects_another_key(verifier: list[str], folder: Path) -> None:
    assert not accepts(verifier, folder, str(signer("example.org/log", 9).key))


def test_it_accepts_the_cosignature_of_a_witness(aics: list[str], folder: Path) -> None:
    log = LogFolder(folder / "log", LOG)
    assert not accepts(aics, folder, str(LOG.key), str(WITNESS.key))
    log.cosign([WITNESS.sign(log.checkpoint.text, 1_795_000_000)])
    assert accepts(aics, folder, str(LOG.key), str(WITNESS.key))


def test_it_accepts_what_processes_published_from_postgresql(
    verifier: list[str], postgres: PostgresServer, tmp_path: Path
) -> None:
    """Two of them, one after the other, each in a folder of its own; records were recorded out of order."""
    place = Place(postgres)
    for number in range(2):
        for stream in ("b", "a"):
            place.add(stream, number * 160 + 1, number * 160 + 160)
        placed = PostgresPlaced(place.address)
        placed.take_key(str(LOG.key))
        publisher = Publisher(placed, LogFolder(tmp_path / str(number), LOG))
        publisher.stop()
    shutil.copy(tmp_path / "0/checkpoint", tmp_path / "earlier")
    shutil.move(tmp_path / "1", tmp_path / "log")
    assert accepts(verifier, tmp_path)
    shutil.copytree(tmp_path / "0/tile", tmp_path / "log/tile", dirs_exist_ok=True)
    assert accepts(verifier, tmp_path)  # they hold the same
    bundle = tmp_path / "log/tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"b 100", b"b 101"))
    assert not accepts(verifier, tmp_path)
