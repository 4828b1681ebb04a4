"""Signing keys that several processes share: one replaces them, in time for all; a mounted folder is only read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from remit.app.folder import Folder
from remit.app.trust import SHARED_DELAY_MS, load_keyring, open_keyring, rotate_when_due, rotation_delay, trust_folder
from remit.core.errors import DocumentError
from remit.core.settings import IdentitySettings, Settings
from remit.core.storage import StorageSettings
from remit.identity.keyring import KeyRing

NOW = 1_800_000_000_000
DAY = 24 * 3600 * 1000
ALONE = Settings(trust_domain="example.org")
SHARED = msgspec.structs.replace(ALONE, identity=IdentitySettings(trust="../trust"))


def test_a_relative_folder_is_seen_from_the_project(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a")
    assert trust_folder(folder, ALONE) == tmp_path / "a/.remit/trust"
    assert trust_folder(folder, SHARED).resolve() == tmp_path / "trust"
    absolute = msgspec.structs.replace(ALONE, identity=IdentitySettings(trust="/run/secrets/trust"))
    assert trust_folder(folder, absolute) == Path("/run/secrets/trust")


def test_the_first_makes_the_keys_and_the_others_read_them(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    first = open_keyring(Folder(tmp_path / "a"), SHARED, NOW, has_records=False)
    second = open_keyring(Folder(tmp_path / "b"), SHARED, NOW, has_records=True)
    assert second.bundle() == first.bundle()
    assert load_keyring(Folder(tmp_path / "b"), SHARED).fingerprint() == first.fingerprint()


def test_attack_records_that_others_signed_for_get_no_new_keys(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="the trust domain's keys are not") as refused:
        open_keyring(Folder(tmp_path), SHARED, NOW, has_records=True)
    assert "`[identity] trust`" in refused.value.next_step


def test_a_new_key_signs_when_all_have_read_it(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    one = open_keyring(Folder(tmp_path / "a"), SHARED, NOW, has_records=False)
    other = open_keyring(Folder(tmp_path / "b"), SHARED, NOW, has_records=False)
    late = NOW + 30 * DAY
    before = one.signing_key(late).kid
    assert rotate_when_due(one, SHARED, late)
    assert not rotate_when_due(one, SHARED, late + 5_000)
    other.refresh()
    assert not rotate_when_due(other, SHARED, late + 5_000)
    for ring in (one, other):
        assert ring.signing_key(late + SHARED_DELAY_MS - 1).kid == before
        assert ring.signing_key(late + SHARED_DELAY_MS).kid != before
    assert one.fingerprint() == other.fingerprint()


def test_one_that_is_alone_replaces_its_key_at_once(tmp_path: Path) -> None:
    ring = open_keyring(Folder(tmp_path), ALONE, NOW, has_records=False)
    before = ring.signing_key(NOW).kid
    assert not rotate_when_due(ring, ALONE, NOW + 30 * DAY - 1)
    assert rotate_when_due(ring, ALONE, NOW + 30 * DAY)
    assert ring.signing_key(NOW + 30 * DAY).kid != before
    assert rotation_delay(ALONE) == 0
    database = msgspec.structs.replace(ALONE, storage=StorageSettings(url="postgresql:///remit"))
    assert rotation_delay(database) == SHARED_DELAY_MS


def test_keys_that_can_t_be_written_here_are_replaced_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    ring = open_keyring(Folder(tmp_path / "a"), SHARED, NOW, has_records=False)
    monkeypatch.setattr(KeyRing, "is_writable", False)
    assert not rotate_when_due(ring, SHARED, NOW + 300 * DAY)
