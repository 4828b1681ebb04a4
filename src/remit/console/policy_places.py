"""Where the policies stand that decided: file and line, from the texts that are kept; each configuration read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from remit.console.detail import policies_of
from remit.core.errors import RemitError
from remit.storage.reader import Reader


class PolicyPlace(msgspec.Struct, frozen=True):
    """A policy by its id; `path` is "" where its text is not kept."""

    id: str
    path: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """As people write it: `policies/limits.cedar:12 no-large-refunds`."""
        return f"{self.path}:{self.line} {self.id}" if self.path else self.id


class PolicyPlaces:
    """The places of the policies of every configuration that a reader has."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._digests: dict[str, str] | None = None  # configuration -> its policies
        self._known: dict[str, dict[str, PolicyPlace]] = {}

    def of(self, config: str, named: Sequence[Any]) -> list[PolicyPlace]:
        """The policies that a decision names, under the configuration that it quotes."""
        if not named:
            return []
        known = self._places(self._policies(config))
        ids = [str(item["id"]) if isinstance(item, dict) else str(item) for item in named]
        return [known.get(id_) or PolicyPlace(id=id_) for id_ in ids]

    def _policies(self, config: str) -> str:
        if self._digests is None:
            self._digests = {}
            for stored in self._reader.stream("administration"):
                if b'"kind":"configuration"' not in stored.data:
                    continue
                try:
                    body = stored.record.body
                except RemitError:
                    continue
                self._digests[str(body.get("config", ""))] = str(body.get("policies", ""))
        return self._digests.get(config, "")

    def _places(self, digest: str) -> dict[str, PolicyPlace]:
        if digest not in self._known:
            found: dict[str, PolicyPlace] = {}
            for policy in policies_of(self._reader, digest) if digest else ():
                found.setdefault(policy.id, PolicyPlace(policy.id, policy.ref.path, policy.ref.line))
            self._known[digest] = found
        return self._known[digest]
