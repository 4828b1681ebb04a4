"""`filters`: how fast `remit log` finds records by combinations of filters, at 10 million entries on one machine.

Records are made with the encoder, like those of a large installation: many workloads, intents, actions and people, of
which few do most; tasks that overlap, with their decisions, outcomes and denials. Each question is asked as the command
asks it: reader and index are opened anew, and 20 lines are made. Beside it, the same questions in plain SQL on the same
database, for decisions alone, and over the last entries only where all of them would take minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.result import Claim, Result, percentile
from remit.app.indexing import catch_up
from remit.console.history import History
from remit.ledger.record import encode_record, leaf_hash
from remit.storage.index_choice import Choice
from remit.storage.index_folder import IndexFolder
from remit.storage.schema import prepare
from remit.storage.sqlite_reader import SqliteReader

DOMAIN: Final = "bench.internal"
BEGAN: Final = 1_780_000_000_000
FULL, QUICK = 10_000_000, 100_000
QUESTIONS: Final = 400
LAST: Final = 20
OPEN_TASKS: Final = 300  # that are under way at the same time
SCANNED: Final = 1_000_000  # of the last entries, in which plain SQL looks
SCANS: Final = 20
_BATCH: Final = 20_000

# What there is of each; the first of them do most.
_MANY: Final = {"workload": 400, "person": 250, "intent": 60, "tool": 240, "policy": 120, "host": 300, "label": 12}
_EFFECTS: Final = ("read", "read", "read", "create", "update", "send", "pay", "delete", "share", "export")
_REASONS: Final = ("not_justified", "too_large", "out_of_order", "untrusted_input", "outside_window")


# Where plain SQL finds what a filter asks about.
_PATHS: Final = {
    "workload": "body.subject", "intent": "body.context.task.intent", "action": "body.action",
    "decision": "body.effect", "effect": "body.serverEffect", "person": "body.context.task.starter",
    "destination": "body.context.destination.host", "pep": "body.pep", "reason": "body.reason.code",
}  # fmt: skip


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    entries = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="remit-filters-", dir=os.environ.get("REMIT_BENCH_DIR")) as place:
        return _measure(Path(place), entries, 60 if quick else QUESTIONS, 10 if quick else SCANS)


def _measure(place: Path, entries: int, questions: int, scans: int) -> Result:
    result = Result()
    path, index = place / "remit.db", IndexFolder(place / "index")
    began = time.perf_counter()
    stored, last = _fill(path, entries)
    result.rows.append(
        {
            "what": "records",
            "entries": entries,
            "bytes_per_entry": round(stored / entries, 1),
            "on_disk_per_entry": round(path.stat().st_size / entries, 1),
            "per_second": round(entries / (time.perf_counter() - began)),
        }
    )
    began = time.perf_counter()
    with SqliteReader(path) as reader:
        catch_up(reader, index)
    rate = entries / (time.perf_counter() - began)
    per_entry = index.size() / entries
    result.rows.append(
        {"what": "index", "entries": entries, "bytes_per_entry": round(per_entry, 1), "per_second": round(rate)}
    )
    chance = random.Random(11)
    asked = [_question(chance, last) for _ in range(questions)]
    used = [time.process_time()]
    times = []
    for choice in asked:
        times.append(_ask(path, index, choice))
        used.append(time.process_time())
    cpu = [after - before for before, after in itertools.pairwise(used)]
    result.rows.append(
        {
            "what": f"last {LAST} by filters",
            "entries": entries,
            "questions": questions,
            **_figures(times),
            "cpu_p95_ms": round(percentile(cpu, 0.95) * 1000, 1),
        }
    )
    for name, chosen in (
        ("of these, with a time", [bool(choice.since or choice.until) for choice in asked]),
        ("of these, 3 or 4 filters", [len(choice.wanted) >= 3 for choice in asked]),
        ("of these, fewer lines than asked for", [found < LAST for _, found in times]),
    ):
        some = [each for each, counts in zip(times, chosen, strict=True) if counts]
        result.rows.append({"what": name, "entries": entries, "questions": len(some), **_figures(some)})
    counted = [_ask(path, index, choice, count=True) for choice in asked[:: max(1, questions // 50)]]
    result.rows.append(
        {"what": "how many, by filters", "entries": entries, "questions": len(counted), **_figures(counted)}
    )
    looked = min(entries, SCANNED)
    plain = [_scan(path, choice, entries - looked) for choice in asked if choice.wanted.keys() <= _PATHS.keys()][:scans]
    result.rows.append(
        {"what": "plain SQL, decisions only", "entries": looked, "questions": len(plain), **_figures(plain)}
    )
    p95 = percentile([seconds for seconds, _ in times], 0.95) * 1000
    result.claims.append(Claim(f"filters at {entries} entries, p95 in ms", round(p95, 1), "<=", 200))
    result.claims.append(Claim("index, bytes per entry", round(per_entry, 1), "<=", 40))
    return result


def _fill(path: Path, entries: int) -> tuple[int, int]:
    """Writes the records; their bytes, and the time of the last one."""
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db)
    db.execute("PRAGMA synchronous = OFF")
    made, stored, last = records(entries), 0, 0
    while rows := list(itertools.islice(made, _BATCH)):
        db.execute("BEGIN")
        db.executemany("INSERT INTO records(stream, n, t, kind, key, bytes) VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.execute("COMMIT")
        stored += sum(len(row[5]) for row in rows)
        last = rows[-1][2]
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return stored, last


def _question(chance: random.Random, last: int) -> Choice:
    """One to four filters, on frequent and on rare values; every third with a time."""
    values = {
        "workload": lambda: f"agent-{_any(chance, 'workload')}",
        "person": lambda: f"person-{_any(chance, 'person')}",
        "intent": lambda: f"intent-{_any(chance, 'intent')}",
        "action": lambda: _action(chance),
        "decision": lambda: chance.choice(("permit", "deny", "deny")),
        "effect": lambda: chance.choice(_EFFECTS),
        "destination": lambda: f"host-{_any(chance, 'host')}.example.org",
        "label": lambda: f"label-{_any(chance, 'label')}",
        "policy": lambda: f"policy-{_any(chance, 'policy')}",
        "reason": lambda: chance.choice(_REASONS),
        "pep": lambda: f"gateway-{chance.randrange(8)}",
        "result": lambda: chance.choice(("error", "completed")),
        "kind": lambda: chance.choice(("decision", "outcome", "denials", "task")),
    }
    number = chance.choice((1, 1, 2, 2, 2, 3, 3, 4))
    wanted = {field: (values[field](),) for field in chance.sample(sorted(values), number)}
    since, until = 0, None
    if chance.random() < 1 / 3:
        since = BEGAN + int((last - BEGAN) * chance.random())
        if chance.random() < 0.5:
            until = since + int((last - since) * chance.random() ** 3) + 60_000
    return Choice(wanted=wanted, since=since, until=until)


def _any(chance: random.Random, name: str) -> int:
    """A frequent one as often as a rare one."""
    return int(_MANY[name] ** chance.random()) - 1


def _action(chance: random.Random) -> str:
    tool = _any(chance, "tool")
    return f"server-{tool % 30}/{'*' if chance.random() < 0.3 else f'tool-{tool}'}"


def _ask(path: Path, index: IndexFolder, choice: Choice, *, count: bool = False) -> tuple[float, int]:
    """Seconds, and how many lines were found."""
    began = time.perf_counter()
    with SqliteReader(path) as reader:
        catch_up(reader, index)  # as the command does: there is nothing to do
        history = History(reader, index)
        found = history.count(choice) if count else len(history.last(choice, LAST))
    return time.perf_counter() - began, found


def _scan(path: Path, choice: Choice, after: int) -> tuple[float, int]:
    """The same for decisions, with SQLite's functions for JSON."""
    where, values = ["seq > ?", "kind = 'decision'"], [after]
    for field, patterns in choice.wanted.items():
        pattern = patterns[0] if field not in ("workload", "person", "pep") else f"*/{patterns[0]}"
        where.append(f"json_extract(CAST(bytes AS TEXT), '$.{_PATHS[field]}') GLOB ?")
        values.append(pattern)  # type: ignore[arg-type]  # numbers and texts
    if choice.since:
        where.append("t >= ?")
        values.append(choice.since)
    if choice.until is not None:
        where.append("t < ?")
        values.append(choice.until)
    sql = f"SELECT seq, bytes FROM records WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT {LAST}"
    began = time.perf_counter()
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = [json.loads(data) for _, data in db.execute(sql, values)]
    db.close()
    return time.perf_counter() - began, len(found)


def _figures(times: list[tuple[float, int]]) -> dict[str, float]:
    seconds = [each for each, _ in times] or [0.0]
    return {f"p{share}_ms": round(percentile(seconds, share / 100) * 1000, 1) for share in (50, 95, 99)} | {
        "max_ms": round(max(seconds) * 1000, 1)
    }


class Skewed:
    """Numbers below a bound, of which the low ones are frequent (Zipf, exponent 1.1)."""

    def __init__(self, bound: int, chance: random.Random) -> None:
        self._numbers = range(bound)
        self._weights: list[float] = []
        total = 0.0
        for number in range(bound):
            total += (number + 1) ** -1.1
            self._weights.append(total)
        self._chance = chance

    def some(self, count: int) -> list[int]:
        """So many of them."""
        return self._chance.choices(self._numbers, cum_weights=self._weights, k=count)


class Task:
    """One task that is under way: its identities, and the end of its stream."""

    def __init__(self, number: int, names: dict[str, int], config: str, records: int) -> None:
        self.number = number
        self.id = f"t_{number:028x}"
        self.stream = f"session/{self.id}"
        self.workload = f"spiffe://{DOMAIN}/workload/agent-{names['workload']}"
        self.person = f"spiffe://{DOMAIN}/person/person-{names['person']}"
        self.intent = f"intent-{names['intent']}"
        self.config = config
        self.left = records
        self.n = 0
        self.head = ""
        self.waiting: list[tuple[str, str]] = []  # permits without an outcome, with their digests
        self.denied = ""  # the last denial
        self.labels: list[str] = []


def records(entries: int) -> Iterator[tuple[str, int, int, str, str | None, bytes]]:
    """Rows of the table of records: stream, number, time, kind, key, bytes."""
    chance = random.Random(7)  # the same records in each run
    skewed = {name: Skewed(bound, chance) for name, bound in _MANY.items()}
    drawn: dict[str, list[int]] = {name: [] for name in skewed}
    tasks: list[Task] = []
    opened = 0
    now = BEGAN
    config = "c" * 64

    def draw(name: str) -> int:
        if not drawn[name]:
            drawn[name] = skewed[name].some(4096)
        return drawn[name].pop()

    for made in range(1, entries + 1):
        now += int(chance.expovariate(0.1))
        if len(tasks) < OPEN_TASKS:
            opened += 1
            names = {name: draw(name) for name in ("workload", "person", "intent")}
            task = Task(opened, names, config, 4 + int(chance.expovariate(0.08)))
            tasks.append(task)
            kind, key, body = "task", task.id, _opening(task, now)
        else:
            number = chance.randrange(OPEN_TASKS)
            task = tasks[number]
            task.left -= 1
            if task.left <= 0:
                tasks[number] = tasks[-1]
                tasks.pop()
                kind, key, body = "task", "", _end(task)
            elif task.waiting and chance.random() < 0.9:
                kind, key, body = "outcome", "", _outcome(task, chance)
            elif task.denied and chance.random() < 0.5:
                kind, key, body = "denials", "", {"count": 2, "decision": task.denied}
                task.denied = ""
            else:
                kind, key = "decision", f"d_{made:028x}"
                body = _decision(task, key, now, chance, draw)
        task.n += 1
        data = encode_record(DOMAIN, task.stream, task.n, task.head, now, kind, body)
        task.head = leaf_hash(data)
        yield task.stream, task.n, now, kind, key or None, data


def _opening(task: Task, now: int) -> dict[str, Any]:
    limit = {
        "actions": [],
        "atMost": None,
        "calls": 100,
        "effects": ["read"],
        "name": f"{task.intent}/reads",
        "sum": "",
    }
    return {
        "by": task.person, "caseType": "", "config": task.config, "emergency": False, "expires": now + 3_600_000,
        "intent": task.intent, "key": "k" * 43, "limits": [limit], "onBehalfOf": task.person,
        "params": {"order": f"O-{task.id[-6:]}"}, "parent": "", "prompt": {"commitment": "5" * 64}, "reason": "",
        "root": task.id, "starter": task.person, "state": "open", "task": task.id, "workload": task.workload,
    }  # fmt: skip


def _end(task: Task) -> dict[str, Any]:
    return {"by": task.workload, "reason": "", "root": task.id, "state": "completed", "task": task.id}


def _outcome(task: Task, chance: random.Random) -> dict[str, Any]:
    decision, digest = task.waiting.pop()
    result = "response" if chance.random() < 0.95 else "error"
    return {
        "by": f"spiffe://{DOMAIN}/pep/gateway-{task.number % 8}", "bytes": 900, "decision": decision,
        "digest": digest,
        "late": False, "result": result, "selected": {"status": "paid"}, "standing": "believed", "started": 0,
    }  # fmt: skip


def _decision(task: Task, id_: str, now: int, chance: random.Random, draw: Any) -> dict[str, Any]:
    tool = draw("tool")
    effect = _EFFECTS[tool % len(_EFFECTS)]
    permit = chance.random() < 0.9
    host = f"host-{draw('host')}.example.org" if tool % 3 == 0 else ""
    digest = f"{chance.getrandbits(256):064x}"
    pep = f"spiffe://{DOMAIN}/pep/gateway-{task.number % 8}"
    policy = f"intent:{task.intent}/justifies" if permit else f"policy-{draw('policy')}"
    code = "permitted" if permit else _REASONS[tool % len(_REASONS)]
    context: dict[str, Any] = {
        "caller": {"id": pep, "isSubject": False, "registered": True},
        "input": {"amount": {"__extn": {"arg": "20.0", "fn": "decimal"}}, "order": f"O-{task.id[-6:]}"},
        "novelty": {"days": 30, "isLearning": False, "step": 0, "tool": 0}, "risk": 0,
        "session": {"calls": task.n, "destinations": [], "labels": list(task.labels), "untrusted": False},
        "system": {"now": {"__extn": {"arg": "2026-11-22T14:00:19.973Z", "fn": "datetime"}}, "windows": []},
        "task": {
            "ageSeconds": 4, "depth": 0, "done": {}, "emergency": False, "id": task.id, "intent": task.intent,
            "onBehalfOf": {"__entity": {"id": task.person, "type": "Remit::Person"}},
            "params": {"order": f"O-{task.id[-6:]}"}, "root": task.id, "starter": task.person, "usage": {},
        },
    }  # fmt: skip
    if host:
        context["destination"] = {"host": host, "internal": False, "port": 443}
    body: dict[str, Any] = {
        "action": f"server-{tool % 30}/tool-{tool}", "config": task.config, "context": context,
        "deadline": now + 5000 if permit else 0, "digest": digest, "effect": "permit" if permit else "deny",
        "enforcement": "pep", "expires": now + 5000 if permit else 0, "id": id_, "idempotencyKey": "",
        "mattered": ["task.intent"], "micros": 400, "mode": "enforce", "obligations": [], "pep": pep,
        "principal": {
            "environment": "production", "groups": ["agents"], "id": task.workload, "kind": "agent",
            "owner": task.person, "roles": ["workload"],
        },
        "reason": {
            "code": code, "message": f"the task's intent `{task.intent}` decides on this action", "nextStep": "",
            "policies": [policy],
        },
        "request": "", "serverEffect": effect, "subject": task.workload, "task": task.id, "usage": {}, "would": "",
    }  # fmt: skip
    if permit:
        labels = [f"label-{draw('label')}"] if tool % 5 == 0 else []
        task.labels = sorted({*task.labels, *labels})
        body["adds"] = {"destination": host, "labels": labels, "untrusted": False}
        task.waiting.append((id_, digest))
    else:
        task.denied = id_
    return body
