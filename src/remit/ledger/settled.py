"""What a configuration settles about a decision without asking its policies: the action, the effect, the mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remit.ledger.bodies import Decision, Registration
from remit.ledger.configured import Configured, Intent


def unsettled(
    decision: Decision, intents: Sequence[Intent], subjects: Sequence[Registration], configured: Configured, at: int
) -> Iterator[str]:
    """What the record of a tool action says otherwise than its configuration, one sentence each.

    `intents` are those of its task and of the tasks above it; `subjects` the registrations of its subject that may
    have held at `at`.
    """
    action = configured.actions.get(decision.action)
    if action is None:
        if decision.effect == "permit" or decision.context:
            yield f"`{decision.action[:100]}` is decided on, and the catalogue does not have it"
        return
    if decision.server_effect and decision.server_effect != action.effect:
        yield f"its effect is recorded as {decision.server_effect[:40]}, and the catalogue says {action.effect}"
    if decision.effect == "permit":
        yield from _permit(decision, intents, configured)
    if decision.context:
        yield from _mode(decision, intents, subjects, configured, at)


def _permit(decision: Decision, intents: Sequence[Intent], configured: Configured) -> Iterator[str]:
    action, adds = configured.actions[decision.action], decision.adds
    if decision.server_effect != action.effect:
        yield f"its effect is not recorded, and the catalogue says {action.effect}"
    if not action.reviewed:
        yield f"`{action.name}` is permitted, and what the catalogue says of it was never reviewed"
    if decision.would != "deny":
        for intent in intents:
            if not intent.justifies(action):
                yield f"`{action.name}` is permitted, and the intent `{intent.name}` does not justify it"
    if frozenset(adds.labels) != action.labels or adds.untrusted is action.trusted:
        yield "what it adds to the session is not what the catalogue says of the action's results"
    destination = decision.context.get("destination")
    host = destination.get("host", "") if isinstance(destination, dict) else ""
    if adds.destination != host or bool(host) != bool(action.destination):
        yield "the destination that it adds to the session is not the one that was decided on"
    if adds.fixed != (bool(host) and not action.destination.startswith("input.")):
        yield "whether an argument chose the destination is not what the catalogue says"


def _mode(
    decision: Decision, intents: Sequence[Intent], subjects: Sequence[Registration], configured: Configured, at: int
) -> Iterator[str]:
    """Observed exactly where the settings say so until then, and neither an intent nor the workload enforces."""
    enforcing = {subject.mode == "enforce" for subject in subjects}
    if len(enforcing) != 1:
        return  # not registered, which is found elsewhere, or changed in this very millisecond
    observes = at < configured.observe_until and not any(intent.enforces for intent in intents) and enforcing == {False}
    if decision.mode == "observe" and not observes:
        yield "it is only observed, and its configuration enforces"
    elif decision.mode == "enforce" and observes:
        yield "it is enforced, and its configuration only observes"
    if (decision.mode == "observe") != bool(decision.would):
        yield "what enforcing would have answered is said exactly of what is observed"
