from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.errors import DocumentError, NotFound
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant, grant_of_environment, load_grant, save_grant


def grant() -> TaskGrant:
    return TaskGrant(
        task="t_1",
        token="token",
        svid="svid",
        key=private_jwk(generate_key()),
        workload="spiffe://example.org/workload/a",
        intent="pay-invoice",
        expires=1,
    )


def test_written_for_the_owner_only_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "grant.json"
    given_ = grant()
    save_grant(path, given_)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_grant(path) == given_
    assert given_.holder().key == thumbprint(given_.key)
    save_grant(path, grant())
    assert load_grant(path) != given_


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_grant_that_others_can_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "grant.json"
    save_grant(path, grant())
    path.chmod(mode)
    with pytest.raises(DocumentError) as caught:
        load_grant(path)
    assert caught.value.code == "key_file_exposed"


def test_the_environment_names_it(tmp_path: Path) -> None:
    path = tmp_path / "grant.json"
    save_grant(path, grant())
    assert grant_of_environment({"REMIT_TASK": str(path)}).task == "t_1"
    with pytest.raises(NotFound) as caught:
        grant_of_environment({})
    assert caught.value.next_step == "start this with `remit run`"
    with pytest.raises(DocumentError):
        grant_of_environment({"REMIT_TASK": str(tmp_path / "none")})


def test_the_key_is_not_printed() -> None:
    given_ = grant()
    assert given_.key["d"] not in f"{given_} {given_!r}"
    assert "token" not in repr(given_)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_grant_or_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "grant.json"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(DocumentError):
        load_grant(path)
