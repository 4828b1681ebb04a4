"""Records of erasures: who had which openings erased, and that there were commitments to what they opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from remit.core.errors import RemitError
from remit.ledger import bodies
from remit.ledger.findings import Report
from remit.ledger.record import ADMINISTRATION, check_stream

ERASED: Final = "personal values that were erased"
ELSEWHERE: Final = "erasures from records that are not here"
_DIGEST: Final = "/digest"  # a salted digest stands in the record itself


@dataclass(slots=True)
class Erasures:
    """What `erasure` records say, for the checks of the records that values were erased from."""

    _places: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    _by: list[tuple[str, int, int]] = field(default_factory=list)

    def take(self, body: bodies.Erasure, at: int, n: int, report: Report) -> None:
        """Takes an `erasure` record of the stream `administration`."""
        report.made("erasures")
        if body.count != len(body.openings):
            report.find("erasures", ADMINISTRATION, n, f"it counts {body.count} values and names {len(body.openings)}")
        if not body.openings and not body.keys:
            report.find("erasures", ADMINISTRATION, n, "it erases nothing")
        self._by.append((body.by, at, n))
        for opening in body.openings:
            if not _is_place(opening):
                report.find(
                    "erasures", ADMINISTRATION, n, "an opening that it names is not a stream, a number and a path"
                )
                continue
            stream, number, path = opening
            try:
                check_stream(stream)
            except RemitError as error:
                report.find("erasures", ADMINISTRATION, n, error.message)
                continue
            self._places.setdefault(stream, {}).setdefault(number, set()).add(path)

    def check(self, stream: str, n: int, body: Mapping[str, Any], report: Report) -> None:
        """Compares a record with what was erased of it."""
        paths = self._places.get(stream, {}).pop(n, None)
        for path in sorted(paths or ()):
            report.made("erasures")
            report.skipped(ERASED)
            if not _is_committed(body, path):
                report.find(
                    "erasures", stream, n, f"a value at `{path[:200]}` was erased, and none is committed to there"
                )

    def finish(self, refusal: Callable[[str, int], str], report: Report) -> None:
        """Closes the export: who erased was somebody then; `refusal` says why an identity was not, at a time."""
        for by, at, n in self._by:
            if by != f"spiffe://{report.td}/remit" and (why := refusal(by, at)):
                report.find("erasures", ADMINISTRATION, n, f"values are erased, and {why}")
        for numbers in self._places.values():
            for _ in numbers:
                report.skipped(ELSEWHERE)


def _is_place(opening: list[Any]) -> bool:
    return len(opening) == 3 and [type(part) for part in opening] == [str, int, str] and opening[1] > 0


def _is_committed(body: Mapping[str, Any], path: str) -> bool:
    if path == _DIGEST:
        return isinstance(body.get("digest"), str)
    node: Any = body
    for step in path.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and node.keys() == {"literal"}:
            node = node["literal"]
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            return False
    return isinstance(node, dict) and node.keys() == {"commitment"}
