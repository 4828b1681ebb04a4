"""What workloads' own streams say that they did, against what the sessions show.

Policies over all tasks of a workload are decided on these events, so a made-up one could permit, or refuse. Workloads'
streams are read before sessions: what they claim waits here until the sessions have shown it. That none is missing
can't be seen here: it depends on what the policies ask about.
"""

from __future__ import annotations

from typing import Final

from remit.ledger import bodies
from remit.ledger.findings import Report

# Decision, kind of event.
_Named = tuple[str, str]
_OF_DECISIONS: Final = ("request", "permitted")


class Deeds:
    """Events that are claimed and not yet shown, with where it was said."""

    def __init__(self) -> None:
        self._claimed: dict[_Named, list[tuple[str, int, bodies.Event]]] = {}

    def claim(self, stream: str, owner: str, n: int, event: bodies.Event, report: Report) -> None:
        """Takes an event of a workload's stream."""
        report.made("events")
        if event.subject != owner:
            report.find("events", stream, n, f"it is about `{event.subject[:200]}`, whose stream this is not")
            return
        self._claimed.setdefault((event.decision, event.kind), []).append((stream, n, event))

    def decided(self, body: bodies.Decision, report: Report) -> None:
        """Takes a decision of a session."""
        for kind in _OF_DECISIONS:
            if kind == "permitted" and body.effect != "permit":
                continue
            for stream, n, event in self._claimed.pop((body.id, kind), ()):
                if (event.subject, event.action, event.task) != (body.subject, body.action, body.task):
                    report.find("events", stream, n, f"the decision `{body.id}` is about something else")

    def ended(self, decision: str, result: str) -> None:
        """Takes a believed outcome of a session."""
        self._claimed.pop((decision, result), None)

    def finish(self, report: Report) -> None:
        """What no session has shown."""
        for (decision, kind), several in self._claimed.items():
            for stream, n, _ in several:
                report.find("events", stream, n, f"no session shows the `{kind}` of the decision `{decision[:100]}`")
        self._claimed = {}
