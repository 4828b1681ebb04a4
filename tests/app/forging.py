"""What somebody can do who holds everything: the database, the texts and the log's key. All links and digests are
made anew, so that nothing but the meaning of the records can tell."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from remit.core import canonical
from remit.ledger.export import export, open_export
from remit.ledger.record import decode_record, encode_record, leaf_hash

Body = dict[str, Any]


class Forgery:
    """Records and texts of an export, to be changed and written again."""

    def __init__(self, folder: Path) -> None:
        opened = open_export(folder)
        self.td = opened.manifest.td
        self.records: dict[str, list[tuple[int, str, Body]]] = {}
        for entry in opened.manifest.streams:
            found = [decode_record(line.data) for line in opened.lines(entry)]
            self.records[entry.name] = [(record.t, record.kind, record.body) for record in found]
        self.texts = {digest: opened.text(digest).decode() for digest in opened.manifest.texts}

    def bodies(self, kind: str) -> list[Body]:
        """The bodies of one kind, in the order of their streams."""
        return [body for records in self.records.values() for _, of, body in records if of == kind]

    def decision(self, **said: Any) -> Body:
        """The first decision with these fields; `code` is its reason's."""
        code = said.pop("code", "")
        for body in self.bodies("decision"):
            if body["reason"]["code"] == (code or body["reason"]["code"]) and said.items() <= body.items():
                return body
        raise LookupError(said)

    def copy(self) -> Forgery:
        return copy.deepcopy(self)

    # --- what decides ---------------------------------------------------------------------------------------

    def text_of(self, part: str) -> str:
        """The text of a part of the first configuration."""
        return self.texts[self.bodies("configuration")[0][part]]

    def replace_policy(self, path: str, change: Callable[[str], str]) -> None:
        """Puts another text in the place of a policy's, under new digests everywhere."""
        listed = [(name, digest) for name, digest in msgspec.json.decode(self.text_of("policies"))]
        old = dict(listed)[path]
        text = change(self.texts[old])
        assert text != self.texts[old]
        new = self._keep(text)
        self.replace_part("policies", canonical.encode([[n, new if n == path else d] for n, d in listed]).decode())

    def replace_settings(self, change: Callable[[str], str]) -> None:
        self.replace_part("settings", change(self.text_of("settings")))

    def _keep(self, text: str) -> str:
        digest = canonical.sha256(text.encode())
        self.texts[digest] = text
        return digest

    def replace_part(self, part: str, text: str) -> None:
        """Puts another text in the place of a part of every configuration."""
        digest, renamed = self._keep(text), {}
        for body in self.bodies("configuration"):
            body[part] = digest
            old = body.pop("config")
            body["config"] = renamed[old] = canonical.digest(body)
        for kind in ("decision", "task"):
            for body in self.bodies(kind):
                if "config" in body:
                    body["config"] = renamed[body["config"]]

    # --- the export -----------------------------------------------------------------------------------------

    def streams(self) -> Mapping[str, list[bytes]]:
        """All streams, numbered and linked as they must be."""
        found: dict[str, list[bytes]] = {}
        for stream, records in self.records.items():
            lines = found.setdefault(stream, [])
            for t, kind, body in records:
                link = leaf_hash(lines[-1]) if lines else ""
                lines.append(encode_record(self.td, stream, len(lines) + 1, link, t, kind, body))
        return found

    def write(self, folder: Path) -> Path:
        lines = ((name, n, line) for name, lines in self.streams().items() for n, line in enumerate(lines, 1))
        export(lines, self.texts, folder, td=self.td, created=0)
        return folder
