"""Remit decides, at the moment an action is about to happen, whether it lies within the actor's remit."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# The public API is loaded on first use, so that `import remit.core` stays light.
_PUBLIC = {"connect": "remit.app.api", "open": "remit.app.api", "governed": "remit.sdk.governed"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'remit' has no attribute {name!r}")
