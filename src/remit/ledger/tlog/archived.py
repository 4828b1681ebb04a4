"""What a log states to be archived: a signed note, of which nobody can take another for it.

remit-archived/v1
<the log's origin>
<how many entries, from the first one on: a multiple of 256>
<the root over them, in base64>
"""

from __future__ import annotations

import base64
import re
from typing import Final, NamedTuple

from remit.core.errors import InvalidInput, NotFound
from remit.ledger.tlog.checkpoint import SIZE_MAX, decode_hash
from remit.ledger.tlog.note import NOTE_BYTES, VerifierKey, open_note
from remit.ledger.tlog.source import Source
from remit.ledger.tlog.tiles import WIDTH

ARCHIVED: Final = "archived"  # the path of the statement
_HEAD: Final = "remit-archived/v1"  # no origin: nobody takes the statement for a checkpoint
_SIZE: Final = re.compile(r"[1-9][0-9]{0,18}")


class Archived(NamedTuple):
    """What a log states: that its first `size` entries are archived, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{_HEAD}\n{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def read_archived(source: Source, log: VerifierKey) -> Archived | None:
    """What the log in `source` states to be archived; None where it says nothing.

    `InvalidInput` where the statement is not signed by `log`, or is none.
    """
    try:
        data = source.read(ARCHIVED, NOTE_BYTES)
    except NotFound:
        return None
    lines = open_note(data, [log]).text.split("\n")
    if len(lines) == 5 and lines[0] == _HEAD and lines[1] == log.name and _SIZE.fullmatch(lines[2]):
        found = Archived(lines[1], int(lines[2]), decode_hash(lines[3]))
        if found.text == "\n".join(lines) and found.size <= SIZE_MAX and not found.size % WIDTH:
            return found
    raise InvalidInput("archived_invalid", "this is no statement of what the log has archived", "fetch it again")
