"""The seal of a pack: whatever is not one is refused with a clear error, and nothing else happens."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.console.evidence import seal
from remit.core.errors import InvalidInput, RemitError
from remit.ledger.tlog.note import signed_note
from tests.ledger.tlog.test_notes import signer

OWN = signer("example.org/evidence", 5)
FILES = {"evidence.json": b"{}", "evidence.html": b"<!doctype html>", "receipts/" + "a" * 64 + ".json": b"{}"}
SEAL = seal.seal(FILES, "example.org", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", OWN)


def test_it_says_what_was_sealed() -> None:
    sealed = seal.open_seal(SEAL, OWN.key)
    assert (sealed.trust_domain, sealed.start, sealed.end) == (
        "example.org",
        "2026-10-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
    )
    assert sealed.digests.keys() == FILES.keys()


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(RemitError):
        seal.open_seal(data, OWN.key)


@given(st.integers(0, len(SEAL) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_any_changed_byte(place: int, change: int) -> None:
    with pytest.raises(RemitError):
        seal.open_seal(SEAL[:place] + bytes([SEAL[place] ^ change]) + SEAL[place + 1 :], OWN.key)


HEX = "0" * 64
WHOLE = f"{HEX} evidence.html\n{HEX} evidence.json\n"


@pytest.mark.parametrize(
    "text",
    [
        f"example.org/log\n5\n{WHOLE}",
        f"remit evidence pack v2\nexample.org\na b\n{WHOLE}",
        f"remit evidence pack v1\nexample.org\na\n{WHOLE}",
        f"remit evidence pack v1\nexample.org\na b\n{HEX} evidence.html\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}{HEX} evidence.json\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}{HEX} ../../etc/passwd\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}{HEX} /etc/passwd\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}{HEX} receipts/../x\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}{HEX} SIGNATURE\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}{HEX.upper()}0 receipts/x.json\n",
        f"remit evidence pack v1\nexample.org\na b\n{WHOLE}what else\n",
    ],
)
def test_attack_a_note_of_the_same_key_that_is_no_seal(text: str) -> None:
    note = signed_note(text, [OWN.sign(text)]).encode()
    with pytest.raises(InvalidInput) as raised:
        seal.open_seal(note, OWN.key)
    assert raised.value.code == "pack_invalid"


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_in_place_of_a_zip(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.zip"
    file.write_bytes(b"PK\x03\x04" + data)
    with pytest.raises(RemitError):
        seal.read(file)


def test_attack_a_zip_that_is_damaged_inside(tmp_path: Path) -> None:
    seal.write(tmp_path / "pack.zip", FILES)
    data = (tmp_path / "pack.zip").read_bytes()
    for place in range(len(data)):
        (tmp_path / "other.zip").write_bytes(data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :])
        try:
            found = seal.read(tmp_path / "other.zip")
        except RemitError:
            continue
        assert all(len(name) < 1_000 for name in found)  # another name, or a field that nobody reads


def test_attack_names_in_a_zip_lead_nowhere(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("../../outside", b"x")
    (tmp_path / "pack.zip").write_bytes(made.getvalue())
    assert seal.read(tmp_path / "pack.zip") == {"../../outside": b"x"}  # nothing is unpacked, and no seal names it
    assert not (tmp_path.parent.parent / "outside").exists()
