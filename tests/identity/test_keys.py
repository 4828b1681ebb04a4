from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from remit.core.errors import Conflict, DocumentError, InvalidInput
from remit.identity.keys import (
    generate_key,
    import_private,
    import_public,
    load_key,
    private_jwk,
    public_jwk,
    save_key,
    thumbprint,
)

from .parties import attempt

# RFC 9449, figures 4 and 8 (sections 4.1 and 6.1)
RFC_JWK = {
    "kty": "EC",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    "crv": "P-256",
}


def test_the_thumbprint_of_rfc_9449() -> None:
    assert thumbprint(RFC_JWK) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert thumbprint(import_public(RFC_JWK)) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_the_thumbprint_is_the_librarys() -> None:
    key = generate_key()
    assert thumbprint(key) == key.thumbprint() == thumbprint(private_jwk(key))


def test_public_jwk_has_no_private_part() -> None:
    assert set(public_jwk(generate_key())) == {"kty", "crv", "x", "y"}


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {**RFC_JWK, "kty": "oct"},
        {**RFC_JWK, "crv": "P-384"},
        {**RFC_JWK, "x": RFC_JWK["x"] + "A"},
        {**RFC_JWK, "x": RFC_JWK["x"][:-1] + '"'},
        {**RFC_JWK, "x": 7},
        {**RFC_JWK, "y": RFC_JWK["x"]},  # not on the curve
        {"kty": "oct", "k": "c2VjcmV0"},
    ],
)
def test_other_keys_are_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_public(jwk)
    assert caught.value.code == "key_invalid"


def test_a_private_key_that_is_not_its_public_keys_is_refused() -> None:
    with pytest.raises(InvalidInput):
        import_private({**private_jwk(generate_key()), "d": private_jwk(generate_key())["d"]})


def test_a_key_is_saved_and_loaded(tmp_path: Path) -> None:
    key = generate_key()
    path = tmp_path / "keys" / "workload-invoices.jwk"
    save_key(path, key)
    assert private_jwk(load_key(path)) == private_jwk(key)
    assert os.listdir(path.parent) == [path.name]


def test_a_key_file_is_made_with_mode_0600_in_a_folder_with_mode_0700(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.jwk"
    before = os.umask(0)
    try:
        save_key(path, generate_key())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    key = generate_key()
    path = tmp_path / "a.jwk"
    save_key(path, key)
    with pytest.raises(Conflict) as caught:
        save_key(path, generate_key())
    assert caught.value.code == "key_file_exists"
    assert private_jwk(load_key(path)) == private_jwk(key)
    assert os.listdir(tmp_path) == ["a.jwk"]


def test_replacing_makes_a_loose_file_private(tmp_path: Path) -> None:
    path = tmp_path / "a.jwk"
    save_key(path, generate_key())
    path.chmod(0o644)
    save_key(path, generate_key(), replace=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.jwk"
    save_key(path, generate_key())
    path.chmod(mode)
    with pytest.raises(DocumentError) as caught:
        load_key(path)
    assert caught.value.code == "key_file_exposed"
    assert "chmod 600" in caught.value.next_step


def test_a_link_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    save_key(tmp_path / "real.jwk", generate_key())
    (tmp_path / "a.jwk").symlink_to(tmp_path / "real.jwk")
    with pytest.raises(DocumentError) as caught:
        load_key(tmp_path / "a.jwk")
    assert caught.value.code == "key_file_invalid"


def test_a_pipe_in_place_of_a_key_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jwk", 0o600)
    with pytest.raises(DocumentError) as caught:
        load_key(tmp_path / "a.jwk")
    assert caught.value.code == "key_file_invalid"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jwk"
    save_key(path, generate_key())
    os.chown(path, 12345, 12345)
    with pytest.raises(DocumentError) as caught:
        load_key(path)
    assert caught.value.code == "key_file_exposed"


def test_a_missing_or_oversized_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        load_key(tmp_path / "a.jwk")
    assert caught.value.code == "key_file_missing"
    (tmp_path / "a.jwk").write_bytes(b" " * (256 * 1024 + 1))
    (tmp_path / "a.jwk").chmod(0o600)
    with pytest.raises(DocumentError) as caught:
        load_key(tmp_path / "a.jwk")
    assert caught.value.code == "key_file_invalid"


def test_a_public_key_in_place_of_a_private_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jwk"
    path.write_text(json.dumps(RFC_JWK))
    path.chmod(0o600)
    with pytest.raises(DocumentError):
        load_key(path)


@given(
    st.binary(max_size=400)
    | st.dictionaries(st.sampled_from([*RFC_JWK, "d"]), st.text(max_size=50)).map(json.dumps).map(str.encode)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_in_a_key_file_give_a_key_or_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jwk"
    path.write_bytes(data)
    path.chmod(0o600)
    key, error = attempt(lambda: load_key(path))
    if error is None:
        assert isinstance(key, ECKey)
    else:
        assert error.code == "key_file_invalid"
        assert str(path) in str(error)
