"""`X-Request-ID`: echoed when it is a plain short word, replaced by a fresh one otherwise."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final

REQUEST_ID_BYTES: Final = 128

_PLAIN = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's request id, or 16 fresh hex digits when there is none, several, or one that is not plain."""
    found = [value for name, value in headers if name == b"x-request-id"]
    # SECURITY: the value goes into a response header and the log; only characters that mean nothing there pass.
    if len(found) == 1 and _PLAIN.fullmatch(found[0]):
        return found[0].decode("ascii")
    return secrets.token_hex(8)
