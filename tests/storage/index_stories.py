"""Random records with what filters ask about, and random filters; what a plain look at each record says about them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from remit.storage.index_choice import Choice, Predicate
from remit.storage.index_facts import Facts, Lookup
from remit.storage.reader import Reader

DOMAIN: Final = "spiffe://example.org"
Append = Callable[[str, str, dict[str, Any], str, int], None]  # stream, kind, body, key, time

_WORKLOADS: Final = ("finance-agent", "agent", "helper")
_ACTIONS: Final = ("bank/pay", "bank/read", "mail/send", "task.start")
_INTENTS: Final = ("refund", "answer")
_LABELS: Final = ("pii", "secret")
_PEOPLE: Final = ("alice", "bob")
_HOSTS: Final = ("", "a.example.org", "b.example.org")
_POLICIES: Final = ("no-large-refunds", "intent:refund/justifies", "other")


class Writer:
    """Appends random records of a few sessions and identities, also broken ones."""

    def __init__(self, append: Append, seed: int) -> None:
        self._append = append
        self._chance = random.Random(seed)
        self._made = 0
        self._tasks: list[str] = []
        self._decisions: list[tuple[str, str]] = []  # stream and id
        self.now = 1_000_000

    def write(self, count: int) -> None:
        """Appends so many records."""
        for _ in range(count):
            self._made += 1
            self.now += self._chance.choice((0, 0, 1, 1, 5, 500))
            kind = self._chance.choices(
                ("task", "decision", "outcome", "denials", "resolution", "child", "identity", "mode", "broken"),
                (6, 30, 20, 6, 2, 2, 3, 1, 2),
            )[0]
            getattr(self, f"_{kind}")()

    def _one(self, values: tuple[str, ...]) -> str:
        # The first ones are frequent.
        return values[min(int(self._chance.expovariate(1.2)), len(values) - 1)]

    def _task(self, parent: str = "") -> None:
        task = f"{parent}.{self._made}" if parent else f"t_{self._made}"
        person = f"{DOMAIN}/person/{self._one(_PEOPLE)}"
        body = {
            "task": task, "root": task.partition(".")[0], "state": "open", "intent": self._one(_INTENTS),
            "workload": f"{DOMAIN}/workload/{self._one(_WORKLOADS)}", "starter": person, "by": person, "reason": "",
            "expires": 9, "onBehalfOf": self._chance.choice(("", f"{DOMAIN}/person/carol")),
            "params": {"who": "kim@example.org"},
        }  # fmt: skip
        self._tasks.append(task)
        self._put(task, "task", body, task)

    def _child(self) -> None:
        self._task(self._any_task())

    def _decision(self) -> None:
        task, id_ = self._any_task(), f"d_{self._made}"
        permit = self._chance.random() < 0.7
        code = "permitted" if permit else self._chance.choice(("too_large", "observed"))
        host = self._one(_HOSTS)
        context: dict[str, Any] = {"session": {"labels": [each for each in _LABELS if self._chance.random() < 0.2]}}
        if host:
            context["destination"] = {"host": host}
        body = {
            "id": id_, "task": task, "subject": f"{DOMAIN}/workload/{self._one(_WORKLOADS)}", "expires": 0,
            "pep": f"{DOMAIN}/pep/gateway", "action": self._one(_ACTIONS), "effect": "permit" if permit else "deny",
            "mode": "enforce", "enforcement": "pep", "digest": "", "config": "",
            "serverEffect": self._one(("read", "pay")),
            "reason": {"code": code, "policies": [self._one(_POLICIES)]}, "context": context,
        }  # fmt: skip
        if permit:
            body["adds"] = {"labels": [self._one(_LABELS)] if self._chance.random() < 0.3 else [], "destination": host}
        self._decisions.append((task, id_))
        self._put(task, "decision", body, id_)

    def _about(self, kind: str, **body: Any) -> None:
        if not self._decisions:
            return self._decision()
        task, id_ = self._chance.choice(self._decisions)
        return self._put(task, kind, {"decision": id_, **body})

    def _outcome(self) -> None:
        result = self._one(("response", "error", "unknown"))
        self._about("outcome", result=result, standing="believed", by=f"{DOMAIN}/pep/gateway")

    def _denials(self) -> None:
        self._about("denials", count=3)

    def _resolution(self) -> None:
        self._about("resolution", result="not_executed", by=f"{DOMAIN}/person/dora", reason="x")

    def _identity(self) -> None:
        id_ = self._chance.choice((f"{DOMAIN}/workload/{self._one(_WORKLOADS)}", f"{DOMAIN}/person/alice"))
        body = {"registration": {"id": id_, "state": "active"}, "by": "remit.toml", "reason": ""}
        self._append(f"identity/{id_}", "identity", body, "", self.now)

    def _mode(self) -> None:
        self._append(
            "administration", "mode", {"mode": "observe", "until": 5, "by": f"{DOMAIN}/person/bob"}, "", self.now
        )

    def _broken(self) -> None:
        self._put(self._any_task(), "decision", {"id": 5, "action": ["x"], "subject": None})

    def _any_task(self) -> str:
        if not self._tasks:
            self._task()
        return self._chance.choice(self._tasks[-12:])

    def _put(self, task: str, kind: str, body: dict[str, Any], key: str = "") -> None:
        self._append(f"session/{task.partition('.')[0]}", kind, body, key, self.now)


def choices(chance: random.Random, now: int, tasks: list[str]) -> Choice:
    """A random filter."""
    wanted: dict[str, tuple[str, ...]] = {}
    fields: dict[str, tuple[str, ...]] = {
        "workload": ("agent", "helper", "workload/helper", "*-agent", f"{DOMAIN}/workload/agent"),
        "person": ("alice", "carol", "dora", "person/bob"),
        "intent": _INTENTS,
        "action": (*_ACTIONS, "bank/*", "*/?e*", "none"),
        "effect": ("read", "pay"),
        "decision": ("permit", "deny", "observed"),
        "denied": ("yes",),
        "result": ("error", "open", "response"),
        "policy": _POLICIES,
        "reason": ("too_large",),
        "label": _LABELS,
        "destination": ("a.example.org", "*.example.org"),
        "pep": ("gateway",),
        "kind": ("task", "identity", "mode", "outcome", "decision"),
    }
    for field in chance.sample(sorted(fields), chance.choice((0, 1, 1, 2, 2, 3, 4))):
        wanted[field] = tuple(chance.sample(fields[field], min(len(fields[field]), chance.choice((1, 1, 2)))))
    since = chance.choice((0, 0, chance.randrange(1_000_000, now + 1)))
    until = chance.choice((None, None, chance.randrange(1_000_000, now + 1)))
    task = chance.choice(tasks) if tasks and chance.random() < 0.1 else ""
    return Choice(task=task, wanted=wanted, since=since, until=until)


def look(reader: Reader) -> list[tuple[int, Facts]]:
    """The facts of every record, by a plain look at each."""
    lookup = Lookup(reader)
    return [(each.seq, lookup.facts(each)) for each in list(reader.records())]


def scanned(looked: list[tuple[int, Facts]], choice: Choice) -> list[int]:
    """The places of the records that fit, the newest first."""
    fits = Predicate(choice)
    return [seq for seq, facts in reversed(looked) if fits.fits(facts)]
