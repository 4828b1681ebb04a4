"""The identities that `remit.toml` declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.app.identities import declared
from remit.core.errors import DocumentError
from remit.core.settings import PepSeed, Settings, WorkloadSeed

KEY = "A" * 43


def test_attack_one_key_for_a_workload_and_its_enforcement_point(tmp_path: Path) -> None:
    settings = Settings(
        trust_domain="example.org",
        workloads=(WorkloadSeed(name="agent", kind="agent", owner="o", key=KEY),),
        enforcement_points=(PepSeed(name="gateway", servers=("files",), owner="o", key=KEY),),
    )
    with pytest.raises(DocumentError) as refused:
        declared(settings, Folder(tmp_path))
    assert refused.value.code == "key_taken"
    assert "`pep/gateway` and `workload/agent`" in refused.value.message
