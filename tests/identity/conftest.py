from __future__ import annotations

from pathlib import Path

import pytest

from .parties import Parties


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    return Parties(tmp_path)
