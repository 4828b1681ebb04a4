"""No garbage is collected while many lasting objects are made: each collection would look at all of them again."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_guard = threading.Lock()
_pausing = 0
_was_enabled = False


@contextmanager
def no_collection() -> Iterator[None]:
    """Until the last of those who are in it, in whatever threads, has left."""
    global _pausing, _was_enabled
    with _guard:
        if not _pausing:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pausing += 1
    try:
        yield
    finally:
        with _guard:
            _pausing -= 1
            if not _pausing and _was_enabled:
                gc.enable()
