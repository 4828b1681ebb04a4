"""What a recorded configuration says, from its kept texts: the catalogue, the intents, the mode.

Read as data, without the loaders of the service: what is missing or not what its digest says makes the whole
configuration unreadable, because nothing could be concluded from the rest.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from remit.core.decisions import Obligation
from remit.core.effects import CONSEQUENTIAL
from remit.core.errors import InvalidInput, RemitError
from remit.core.evaluations import Text
from remit.core.obligations import REDACT, REPORT_FIRST, SELECT

# The signals that count where the settings do not say so (`[risk] signals`).
SIGNALS: Final = ("novelty", "denials", "manual")
# Administrative actions whose facts are all in the record of their denial: they have none.
WITHOUT_FACTS: Final = frozenset({"record.read", "permit.resolve", "configuration.reload"})
START: Final = "task.start"  # its facts are those of the task that it opens
_ADMINISTRATION: Final = "administration"


@dataclass(frozen=True, slots=True)
class Action:
    """What the catalogue says of one action."""

    name: str
    effect: str
    labels: frozenset[str]
    trusted: bool
    reviewed: bool
    destination: str
    obligations: tuple[Obligation, ...]
    groups: tuple[str, ...]
    self_enforced: bool  # its server: the workload itself may ask


@dataclass(frozen=True, slots=True)
class Step:
    """A prerequisite: which action must have been completed, with which values, and how long that counts."""

    name: str
    done: str
    where: Mapping[str, str]
    within: int  # seconds; 0: for ever


@dataclass(frozen=True, slots=True)
class Limit:
    """What a limit counts: calls, and the argument at `sum`, of these actions."""

    name: str
    actions: frozenset[str]
    effects: frozenset[str]
    sum: str

    def counts(self, action: Action) -> bool:
        """Whether it counts this action."""
        return action.name in self.actions or action.effect in self.effects


@dataclass(frozen=True, slots=True)
class Intent:
    """What an intent says, as far as decisions are compared with it."""

    name: str
    actions: frozenset[str]
    effects: frozenset[str]
    order: tuple[Step, ...]
    limits: tuple[Limit, ...]
    risk_at_most: int
    enforces: bool  # whether its mode is `enforce`
    emergency: bool
    self_start: bool
    params: Mapping[str, str]  # by name, their types

    def justifies(self, action: Action) -> bool:
        """Whether the action is among what the intent is for."""
        return action.name in self.actions or action.effect in self.effects


@dataclass(frozen=True, slots=True)
class Configured:
    """One configuration."""

    sources: tuple[tuple[str, str], ...]  # of policies: path and text
    actions: Mapping[str, Action]
    intents: Mapping[str, Intent]
    signals: frozenset[str]
    observe_until: int  # ms; 0: enforced
    trust_domain: str

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups of every action that can be evaluated again, as policies name them."""
        found = {name: action.groups for name, action in self.actions.items()}
        return found | dict.fromkeys((*WITHOUT_FACTS, START), (_ADMINISTRATION,))

    @property
    def purposes(self) -> dict[str, dict[str, bool]]:
        """The attributes of every intent, as policies see them."""
        return {
            name: {
                "consequential": not CONSEQUENTIAL.isdisjoint(self._effects(intent)),
                "emergency": intent.emergency,
                "selfStart": intent.self_start,
            }
            for name, intent in self.intents.items()
        }

    def _effects(self, intent: Intent) -> frozenset[str]:
        return intent.effects | {self.actions[name].effect for name in intent.actions if name in self.actions}


def read_configured(parts: Mapping[str, Any], text: Text) -> Configured:
    """Reads the texts behind the digests of a `configuration` record.

    `InvalidInput("configuration_unreadable")` says what is missing, is not what its digest says, or can't be read.
    """
    try:
        catalogue = json.loads(_kept(parts, "catalogue", text))
        settings = tomllib.loads(_kept(parts, "settings", text).decode())
        listed = json.loads(_kept(parts, "policies", text))
        named = json.loads(_kept(parts, "intents", text))
        sources = tuple((_string(path), _at(digest, f"`{path}`", text).decode()) for path, digest in listed)
        intents = [_intent(json.loads(_at(digest, f"the intent `{name}`", text))) for name, digest in named.items()]
        return Configured(
            sources=sources,
            actions={
                action.name: action for server, content in catalogue.items() for action in _actions(server, content)
            },
            intents={intent.name: intent for intent in intents},
            signals=frozenset(settings.get("risk", {}).get("signals", SIGNALS)),
            observe_until=_observe_until(settings.get("mode", {})),
            trust_domain=_string(settings["trust_domain"]),
        )
    except RemitError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _unreadable(f"a text is not what it should be ({type(error).__name__})") from None


def awaited_in(configurations: Iterable[Mapping[str, Any]], text: Text) -> frozenset[str] | None:
    """The actions that prerequisites of any of these configurations wait for; None where one can't be read."""
    found: set[str] = set()
    seen: set[str] = set()
    try:
        for parts in configurations:
            for digest in json.loads(_kept(parts, "intents", text)).values():
                if digest not in seen:
                    seen.add(digest)
                    found.update(_string(step["done"]) for step in json.loads(_at(digest, "an intent", text))["order"])
    except (RemitError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return frozenset(found)


def _kept(parts: Mapping[str, Any], name: str, text: Text) -> bytes:
    if name not in parts:
        raise _unreadable(f"it has no {name}")
    return _at(parts[name], f"the text of the {name}", text)


def _at(digest: Any, what: str, text: Text) -> bytes:
    try:
        found = text(_string(digest))
    except RemitError:
        raise _unreadable(f"{what[:200]} is not there") from None
    # SECURITY: what decides is named by its digest; any other text could be put in its place.
    if hashlib.sha256(found).hexdigest() != digest:
        raise _unreadable(f"{what[:200]} is not what its digest says")
    return found


def _actions(server: str, content: Mapping[str, Any]) -> list[Action]:
    return [
        Action(
            name=_string(action["name"]),
            effect=_string(action["effect"]),
            labels=frozenset(action["labels"]),
            trusted=action["trusted"] is True,
            reviewed=action["reviewed"] is True or content["covers_unreviewed"] is True,
            destination=_string(action["destination"]),
            obligations=_obliged(action),
            groups=("tools", f"{server}/*", action["effect"]),
            self_enforced=content["self_enforced"] is True,
        )
        for action in content["actions"]
    ]


def _obliged(action: Mapping[str, Any]) -> tuple[Obligation, ...]:
    redact = (Obligation(id=REDACT, fields=tuple(map(_string, action["redact"]))),) if action["redact"] else ()
    paths = tuple(_string(field["path"]) for field in action["select"])
    return redact + ((Obligation(id=SELECT, fields=paths),) if paths else ())


def _intent(said: Mapping[str, Any]) -> Intent:
    return Intent(
        name=_string(said["name"]),
        actions=frozenset(said["actions"]),
        effects=frozenset(said["effects"]),
        order=tuple(
            Step(
                _string(step["name"]),
                _string(step["done"]),
                {_string(path): _string(value) for path, value in step["where"].items()},
                int(step["within"]),
            )
            for step in said["order"]
        ),
        limits=tuple(
            Limit(_string(each["name"]), frozenset(each["actions"]), frozenset(each["effects"]), _string(each["sum"]))
            for each in said["limits"]
        ),
        risk_at_most=int(said["risk_at_most"]),
        enforces=said["mode"] == "enforce",
        emergency=said["emergency"] is True,
        self_start=said["self_start"] is True,
        params={_string(name): _string(parameter["type"]) for name, parameter in said["params"].items()},
    )


def _observe_until(mode: Mapping[str, Any]) -> int:
    until = mode.get("observe_until")
    if mode.get("default", "enforce") != "observe" or until is None:
        return 0
    moment = datetime.fromisoformat(until) if isinstance(until, str) else until
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def awaited_by(intents: Iterable[Intent]) -> frozenset[str]:
    """The actions that prerequisites of these intents wait for."""
    return frozenset(step.done for intent in intents for step in intent.order)


def first(action: Action, intents: list[Intent]) -> tuple[Obligation, ...]:
    """`report_first`, where a prerequisite of one of these intents waits for the action."""
    return (Obligation(id=REPORT_FIRST),) if action.name in awaited_by(intents) else ()


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput("configuration_unreadable", f"the configuration can't be read: {why}")
