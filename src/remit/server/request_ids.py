"""`X-Request-ID`: echoed when it is short and printable (AuthZEN 1.0, section 10.1.3), else replaced by a fresh one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final

REQUEST_ID_BYTES: Final = 256

_PRINTABLE = re.compile(rb"[\x20-\x7e]+")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's request id, or 16 fresh hex digits when there is none, several, or one that can't be echoed."""
    found = [value for name, value in headers if name == b"x-request-id"]
    # SECURITY: the value goes into a response header and the log; nothing passes that could end a line there.
    if len(found) == 1 and len(found[0]) <= REQUEST_ID_BYTES and _PRINTABLE.fullmatch(found[0]):
        return found[0].decode("ascii")
    return secrets.token_hex(8)
