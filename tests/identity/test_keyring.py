from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.errors import Conflict, DocumentError, InvalidInput, NotFound, Unauthenticated, Unavailable
from remit.identity.keyring import FILE, LONGEST_LIFE_MS, MAX_KEYS, KeyRing
from remit.identity.svid import LEEWAY_MS

from .parties import DOMAIN, NOW, URL, Parties

DAY = 24 * 3600 * 1000


def kids(ring: KeyRing) -> list[str]:
    return [key["kid"] for key in ring.bundle()["keys"]]


def test_a_ring_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    KeyRing.create(tmp_path / "trust", NOW)
    assert stat.S_IMODE((tmp_path / "trust" / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "trust").stat().st_mode) == 0o700
    with pytest.raises(Conflict):
        KeyRing.create(tmp_path / "trust", NOW)


def test_the_bundle_is_a_spiffe_bundle_without_private_parts(tmp_path: Path) -> None:
    bundle = KeyRing.create(tmp_path, NOW).bundle()
    assert bundle["spiffe_sequence"] == 1
    assert isinstance(bundle["spiffe_refresh_hint"], int)
    (key,) = bundle["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use"}
    assert key["use"] == "jwt-svid"


def test_a_ring_is_the_same_after_a_restart(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    ring.rotate(NOW + DAY)
    again = KeyRing.load(tmp_path)
    assert again.bundle() == ring.bundle()
    assert again.signing_key(NOW + DAY).kid == ring.signing_key(NOW + DAY).kid


def test_a_rotated_key_verifies_until_everything_that_it_signed_has_expired(parties: Parties) -> None:
    holder = parties.holder()
    token = parties.authority.issue_task_token("t_1", holder.id, holder.key, NOW + LONGEST_LIFE_MS, NOW)
    old = parties.ring.signing_key(NOW).kid
    new = parties.ring.rotate(NOW + 1)
    assert parties.ring.signing_key(NOW + 1).kid == new.kid != old
    assert kids(parties.ring) == [old, new.kid]
    parties.service.trust(DOMAIN, parties.ring.bundle())
    headers = holder.headers("POST", URL, NOW + 2)
    parties.service.authenticate(headers["Authorization"], headers["DPoP"], method="POST", url=URL, now=NOW + 2)
    last = NOW + LONGEST_LIFE_MS - 1
    parties.ring.rotate(last)
    assert old in kids(parties.ring)
    parties.service.trust(DOMAIN, parties.ring.bundle())
    assert parties.service.task_handle(token, last).task == "t_1"
    parties.ring.rotate(NOW + 1 + LONGEST_LIFE_MS + LEEWAY_MS)
    assert old not in kids(parties.ring)


def test_a_delayed_key_is_published_before_it_signs(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    old = ring.signing_key(NOW).kid
    new = ring.rotate(NOW, delay_ms=DAY).kid
    assert kids(ring) == [old, new]
    assert ring.signing_key(NOW + DAY - 1).kid == old
    assert ring.signing_key(NOW + DAY).kid == new
    assert [ring.signs_since(now) for now in (NOW - 1, NOW + 1, NOW + DAY)] == [0, NOW, NOW + DAY]


def test_a_key_to_come_is_replaced_by_the_next_rotation(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    old = ring.signing_key(NOW).kid
    pending = ring.rotate(NOW, delay_ms=DAY).kid
    new = ring.rotate(NOW, delay_ms=7 * DAY).kid
    assert kids(ring) == [old, new]
    assert pending not in kids(ring)
    # `old` signs until the new one does, seven days from now, so it is needed for another 31.
    ring.rotate(NOW + 37 * DAY)
    assert old in kids(ring)
    ring.rotate(NOW + 39 * DAY)
    assert old not in kids(ring)


def test_a_revoked_key_verifies_nothing_any_more(parties: Parties) -> None:
    holder = parties.holder()
    revoked = parties.ring.signing_key(NOW).kid
    parties.ring.revoke(revoked, NOW)
    assert parties.ring.signing_key(NOW).kid != revoked
    parties.service.trust(DOMAIN, parties.ring.bundle())
    headers = holder.headers("POST", URL, NOW)
    with pytest.raises(Unauthenticated) as caught:
        parties.service.authenticate(headers["Authorization"], headers["DPoP"], method="POST", url=URL, now=NOW)
    assert caught.value.code == "token_invalid"


def test_a_revocation_reaches_what_was_verified_before(parties: Parties) -> None:
    holder = parties.holder()
    token = parties.task_token(holder)
    headers = holder.headers("POST", URL, NOW)
    parties.service.authenticate(headers["Authorization"], headers["DPoP"], method="POST", url=URL, now=NOW)
    parties.service.task_handle(token, NOW)
    parties.ring.revoke(parties.ring.signing_key(NOW).kid, NOW)
    parties.service.trust(DOMAIN, parties.ring.bundle())
    headers = holder.headers("POST", URL, NOW)
    with pytest.raises(Unauthenticated):
        parties.service.authenticate(headers["Authorization"], headers["DPoP"], method="POST", url=URL, now=NOW)
    with pytest.raises(Unauthenticated):
        parties.service.task_handle(token, NOW)


def test_a_revocation_does_not_bring_a_retired_key_back(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    retired = ring.signing_key(NOW).kid
    current = ring.rotate(NOW + 1).kid
    ring.revoke(current, NOW + 2)
    assert ring.signing_key(NOW + 2).kid not in (retired, current)
    ring.revoke(retired, NOW + 3)
    assert len(kids(ring)) == 1
    with pytest.raises(NotFound):
        ring.revoke(retired, NOW + 3)


def test_a_revocation_keeps_the_key_to_come(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    pending = ring.rotate(NOW, delay_ms=DAY).kid
    ring.revoke(ring.signing_key(NOW).kid, NOW)
    assert ring.signing_key(NOW).kid != pending
    assert ring.signing_key(NOW + DAY).kid == pending
    assert KeyRing.load(tmp_path).bundle() == ring.bundle()


def test_of_several_processes_that_find_a_key_too_old_one_rotates(tmp_path: Path) -> None:
    rings = [KeyRing.create(tmp_path, NOW), *(KeyRing.load(tmp_path) for _ in range(7))]
    late = NOW + 30 * DAY

    def rotate(ring: KeyRing) -> bool:
        return ring.rotate_older(late, age_ms=30 * DAY, delay_ms=60_000)

    assert not rings[0].rotate_older(late - 1, age_ms=30 * DAY)
    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(rotate, rings))
    assert {tuple(kids(ring)) for ring in rings if not ring.refresh()} == {tuple(kids(rings[0]))}
    assert len(kids(rings[0])) == 2
    # Nobody takes the next one while this one is still to come.
    assert not any(rotate(ring) for ring in rings)
    assert rings[0].signing_key(late).kid == kids(rings[0])[0]


def test_a_mounted_ring_is_read_through_links_and_changed_elsewhere(tmp_path: Path) -> None:
    real = tmp_path / "..data"
    ring = KeyRing.create(real, NOW)
    mounted = tmp_path / "trust"
    mounted.mkdir()
    (mounted / FILE).symlink_to(real / FILE)
    reading = KeyRing.load(mounted, mounted=True)
    with pytest.raises(DocumentError):
        KeyRing.load(mounted)
    assert reading.bundle() == ring.bundle()
    ring.rotate(NOW + 1)
    assert reading.refresh()
    assert reading.bundle() == ring.bundle()
    (real / FILE).chmod(0o604)
    with pytest.raises(DocumentError) as caught:
        KeyRing.load(mounted, mounted=True)
    assert caught.value.code == "key_file_exposed"


def test_two_processes_change_one_ring(tmp_path: Path) -> None:
    one = KeyRing.create(tmp_path, NOW)
    two = KeyRing.load(tmp_path)
    first = one.rotate(NOW + 1).kid
    second = two.rotate(NOW + 2).kid
    assert kids(two)[1:] == [first, second]
    assert two.bundle()["spiffe_sequence"] == 3
    assert one.refresh()
    assert not one.refresh()
    assert one.bundle() == two.bundle()


def test_rotations_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    KeyRing.create(tmp_path, NOW)
    rings = [KeyRing.load(tmp_path) for _ in range(3)]

    def rotate(ring: KeyRing) -> list[str]:
        return [ring.rotate(NOW + 1).kid for _ in range(5)]

    with ThreadPoolExecutor(3) as pool:
        added = [kid for kids_of_one in pool.map(rotate, rings) for kid in kids_of_one]
    ring = KeyRing.load(tmp_path)
    assert set(added) < set(kids(ring))
    assert ring.bundle()["spiffe_sequence"] == 16


def test_a_ring_is_bounded(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    for step in range(MAX_KEYS - 1):
        ring.rotate(NOW + step)
    with pytest.raises(InvalidInput) as caught:
        ring.rotate(NOW + MAX_KEYS)
    assert caught.value.code == "too_many_keys"
    assert KeyRing.load(tmp_path).bundle() == ring.bundle()


def test_a_rotation_each_day_never_fills_the_ring(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    for day in range(1, 80):
        ring.rotate(NOW + day * DAY)
    assert len(kids(ring)) == 33


@pytest.mark.parametrize("delay", [-1, 8 * DAY])
def test_a_delay_out_of_bounds_is_refused(tmp_path: Path, delay: int) -> None:
    with pytest.raises(InvalidInput):
        KeyRing.create(tmp_path, NOW).rotate(NOW, delay_ms=delay)


def test_a_clock_before_the_first_key_signs_nothing(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    with pytest.raises(Unavailable) as caught:
        ring.signing_key(NOW - 1)
    assert caught.value.code == "signing_key_missing"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_ring_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    (tmp_path / FILE).chmod(mode)
    for use in (lambda: KeyRing.load(tmp_path), ring.refresh, lambda: ring.rotate(NOW + 1)):
        with pytest.raises(DocumentError) as caught:
            use()
        assert caught.value.code == "key_file_exposed"


def test_a_missing_ring_says_so(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        KeyRing.load(tmp_path)
    assert caught.value.code == "key_file_missing"


def test_a_full_disk_leaves_the_old_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing.create(tmp_path, NOW)
    before = (tmp_path / FILE).read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable) as caught:
        ring.rotate(NOW + 1)
    assert caught.value.code == "key_file_unwritable"
    monkeypatch.undo()
    assert (tmp_path / FILE).read_bytes() == before
    assert os.listdir(tmp_path) == [FILE]
    assert KeyRing.load(tmp_path).bundle() == ring.bundle()


def test_a_vanished_folder_is_an_error(tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path / "trust", NOW)
    (tmp_path / "trust" / FILE).unlink()
    (tmp_path / "trust").rmdir()
    with pytest.raises(DocumentError):
        ring.rotate(NOW + 1)


def spoiled(ring: dict[str, Any]) -> list[dict[str, Any]]:
    (key,) = ring["keys"]
    return [
        {**ring, "v": 2},
        {**ring, "keys": []},
        {**ring, "keys": [key, key]},
        {**ring, "keys": [{**key, "jwk": {**key["jwk"], "d": "A" * 43}}]},
        {**ring, "keys": [{**key, "jwk": {"kty": "oct", "k": "c2VjcmV0"}}]},
        {**ring, "more": 1},
    ]


@pytest.mark.parametrize("case", range(6))
def test_a_spoiled_ring_is_refused(tmp_path: Path, case: int) -> None:
    KeyRing.create(tmp_path, NOW)
    path = tmp_path / FILE
    path.write_text(json.dumps(spoiled(json.loads(path.read_text()))[case]))
    with pytest.raises(DocumentError) as caught:
        KeyRing.load(tmp_path)
    assert caught.value.code == "key_file_invalid"


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_in_the_ring_give_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / FILE
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(DocumentError):
        KeyRing.load(tmp_path)
