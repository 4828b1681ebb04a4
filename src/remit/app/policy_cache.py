"""Where a folder's cache of policies stands: in memory across reloads, and under `.remit/cache/`."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from remit.app.folder import Folder
from remit.core.errors import RemitError
from remit.identity.private_file import read_private, write_private
from remit.policy.cache import Cache

FILE: Final = "policies"
_KEY_BYTES: Final = 32
_KEPT: Final = 4  # folders whose caches this process keeps

_caches: OrderedDict[Path, Cache] = OrderedDict()
_guard = threading.Lock()


def policy_cache(folder: Folder) -> Cache | None:
    """The cache of this folder; None where it has no state folder that is this user's alone."""
    if not _is_private(folder.state):
        return None
    with _guard:
        found = _caches.pop(folder.cache, None)
        if found is None:
            found = Cache(folder.cache / FILE, _key(folder))
        _caches[folder.cache] = found
        while len(_caches) > _KEPT:
            _caches.popitem(last=False)
    return found


def _key(folder: Folder) -> bytes:
    """The key that vouches for the file; empty where there can be none: then nothing is kept on disk."""
    try:
        if not folder.cache_key.exists():
            write_private(folder.cache_key, secrets.token_bytes(_KEY_BYTES), replace=False)
    except RemitError:
        pass  # another process made it, or nothing can be written here
    try:
        key = read_private(folder.cache_key)
    except RemitError:
        # SECURITY: a key that others could read or put in place vouches for nothing.
        return b""
    return key if len(key) == _KEY_BYTES else b""


def _is_private(state: Path) -> bool:
    try:
        status = state.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
