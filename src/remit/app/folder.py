"""Where things stand in a project folder, and in its state folder `.remit/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from remit.core.errors import NotFound
from remit.core.settings import FILE

STATE: Final = ".remit"


@dataclass(frozen=True, slots=True)
class Folder:
    """One project folder; nothing is read or written here."""

    root: Path

    @property
    def state(self) -> Path:
        """`.remit/`, mode 0700: records, keys and the socket; never shared or committed."""
        return self.root / STATE

    @property
    def database(self) -> Path:
        """The records, unless they stand in PostgreSQL."""
        return self.state / "remit.db"

    @property
    def lock(self) -> Path:
        """Held by the one process that has the folder."""
        return self.database.with_suffix(".lock")

    @property
    def socket(self) -> Path:
        """The service's unix socket, mode 0600."""
        return self.state / "remit.sock"

    @property
    def trust(self) -> Path:
        """The trust domain's signing keys, unless `[identity] trust` names another folder."""
        return self.state / "trust"

    @property
    def keys(self) -> Path:
        """Private keys of identities that act from this machine."""
        return self.state / "keys"

    @property
    def disagreements(self) -> Path:
        """Requests on which the two policy engines disagreed."""
        return self.state / "disagreements"

    @property
    def run(self) -> Path:
        """Handles of running tasks."""
        return self.state / "run"

    @property
    def issuers(self) -> Path:
        """What was read last of outside issuers and trust domains: public keys, and how each source stands."""
        return self.state / "issuers"

    @property
    def index(self) -> Path:
        """The index by which `remit log` finds records; derived from them, and may be deleted at any time."""
        return self.state / "index"

    @property
    def cache(self) -> Path:
        """What was found out about policies, so that unchanged ones load fast; may be deleted at any time."""
        return self.state / "cache"

    @property
    def cache_key(self) -> Path:
        """The key that vouches for it; without it, it is made anew."""
        return self.state / "cache.key"

    @property
    def lineage(self) -> Path:
        """The index of values (`remit lineage`); derived from the records, and may be deleted at any time."""
        return self.state / "lineage.db"

    @property
    def lineage_key(self) -> Path:
        """The key under which values stand in it; without it, it is made anew."""
        return self.state / "lineage.key"

    @property
    def forward(self) -> Path:
        """How far records were forwarded (`[[forward]]`), a file for each receiver."""
        return self.state / "forward"

    @property
    def log_key(self) -> Path:
        """The key that signs the published log (`[ledger]`)."""
        return self.state / "log.pem"

    @property
    def evidence_key(self) -> Path:
        """The key that signs packs of evidence."""
        return self.state / "evidence.pem"

    @property
    def log_failing(self) -> Path:
        """Why the service can't publish the log now; there only while it can't."""
        return self.state / "log.failing"

    @property
    def log(self) -> Path:
        """What a service that was started on demand wrote to its log."""
        return self.state / "service.log"

    def key_file(self, path: str) -> Path:
        """The key file of an identity by the path of its SPIFFE ID (`workload/finance-agent`)."""
        return self.keys / (path.replace("/", "-") + ".jwk")


def find_folder(start: Path) -> Folder:
    """The project folder at `start` or above it; `NotFound` says how to make one."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return Folder(folder)
    raise NotFound("no_project", f"there is no `{FILE}` in `{start}` or above it", "make a project with `remit init`")
