"""What a batch is going to append: entries numbered and linked, as the arguments of `append`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from remit.decide.sequence import Entry, Erased
from remit.decide.world import ADMINISTRATION, World
from remit.ledger.record import check_stream, encode_record, leaf_hash
from remit.storage.postgres_hand import NO_RECORD, Hand, Head, NotAtHand
from remit.storage.sealing import Sealed, Vault, owner_of

CALL: Final = f"SELECT append({', '.join(f'${n}' for n in range(1, 36))})"
TOLD: Final = 7_000  # bytes of stream names in one notification; PostgreSQL takes 8,000
EVERYTHING: Final = "*"

# An entry, its bytes, and the head that it makes.
Numbered = tuple[Entry, bytes, Head]


class Draft:
    """The entries of one batch, in order."""

    def __init__(self, trust_domain: str, hand: Hand, now: int) -> None:
        self._td = trust_domain
        self._hand = hand
        self._now = now
        self._heads: dict[str, Head] = {}
        self._rows: list[Numbered] = []
        self._looked: set[str] = set()  # sessions in which everything that was due is recorded now

    def __bool__(self) -> bool:
        return bool(self._rows or self._looked)

    @property
    def streams(self) -> set[str]:
        """The streams that have entries."""
        return {entry.stream for entry, _, _ in self._rows}

    def heads(self) -> list[tuple[str, Head]]:
        """The last records of the streams that change, as they will be."""
        return list(self._heads.items())

    def number(self, entries: Iterable[Entry]) -> list[Numbered]:
        """The entries with their bytes; nothing has changed yet.

        Raises `NotAtHand` for a stream that is not locked for appending, `TooLarge` and `InvalidInput` for what is no
        record.
        """
        heads: dict[str, Head] = {}
        numbered: list[Numbered] = []
        for entry in entries:
            stream = entry.stream
            last = heads.get(stream) or self._head(entry)
            at = max(last.t, self._now)
            recorded = entry.body if entry.recorded is None else entry.recorded
            data = encode_record(self._td, stream, last.n + 1, last.leaf, at, entry.kind, recorded)
            heads[stream] = Head(last.n + 1, leaf_hash(data), at, _earliest(last.due, entry))
            numbered.append((entry, data, heads[stream]))
        return numbered

    def add(self, numbered: list[Numbered], world: World) -> None:
        """Takes them into the batch and into the world."""
        for entry, data, head in numbered:
            stream = entry.stream
            # A new session was nobody's before: it is at hand from now on.
            self._hand.exclusive.add(stream)
            self._hand.streams.add(stream)
            self._heads[stream] = head
            self._rows.append((entry, data, head))
            world.apply(stream, entry.kind, entry.body, head.t)

    def look(self, stream: str) -> None:
        """Everything that is due in a session is recorded: only now is it known exactly when it is due next."""
        if stream in self._hand.heads and stream not in self._hand.broken:
            self._heads.setdefault(stream, self._hand.heads[stream])
            self._looked.add(stream)

    def schedule(self, world: World) -> None:
        """Settles when each session is due: exactly where it was looked at, else not later than that."""
        for stream, head in self._heads.items():
            if not stream.startswith("session/"):
                continue
            root = stream.removeprefix("session/")
            if stream in self._looked or head.due is None or not world.is_pending(root):
                self._heads[stream] = head._replace(due=world.next_due(root))

    def subjects(self) -> set[str]:
        """Whom the personal values of the batch are about."""
        return {owner_of(entry) for entry, _, _ in self._rows if entry.openings}

    def erased(self) -> list[Erased]:
        """What the batch takes away."""
        return [entry.erases for entry, _, _ in self._rows if entry.erases is not None]

    def arguments(self, process: str, name: str, channel: str, texts: dict[str, str], vault: Vault) -> list[Any]:
        """What `append` is called with."""
        heads = self.heads()
        known = [self._hand.heads.get(stream, NO_RECORD).n for stream, _ in heads]
        openings = self._seal(vault)
        made = vault.take_made()
        used = {row[3] for row in openings} - {subject.id for subject in made}
        erased = self.erased()
        digests = sorted(texts)  # in one order, so that no two batches wait for each other
        return [
            process,
            name,
            self._now,
            any(entry.kind == "identity" for entry, _, _ in self._rows),
            [stream for stream, _ in heads],
            known,
            *_columns([(head.n, head.leaf, head.t, head.due) for _, head in heads], 4),
            *_columns([(e.stream, head.n, head.t, e.kind, e.key or None, data) for e, data, head in self._rows], 6),
            *_columns(openings, 5),
            *_columns(made, 5),
            sorted(used),
            sorted({key for each in erased for key in each.keys}),
            *_columns([place for each in erased for place in each.openings], 3),
            digests,
            [texts[digest] for digest in digests],
            channel,
            self._payload(),
        ]

    def _seal(self, vault: Vault) -> list[Sealed]:
        """The openings of the batch; what is before an entry that erases their key is not kept at all."""
        found: list[Sealed] = []
        gone: set[int] = set()
        for entry, _, head in self._rows:
            if entry.erases is not None:
                vault.forget(entry.erases.keys)
                gone.update(entry.erases.keys)
            if entry.openings:
                found += vault.seal(owner_of(entry), entry.stream, head.n, entry.openings, head.t)
        return [row for row in found if row[3] not in gone] if gone else found

    def _head(self, entry: Entry) -> Head:
        stream = check_stream(entry.stream)
        head = self._heads.get(stream)
        if head is not None:
            return head
        if stream in self._hand.exclusive:
            return self._hand.heads.get(stream, NO_RECORD)
        if _is_new(entry) and stream not in self._hand.streams:
            return NO_RECORD
        raise NotAtHand(appends=(stream,))

    def _payload(self) -> str:
        """The streams that others should look at soon: changed identities, tasks that moved, administration."""
        told = {entry.stream for entry, _, _ in self._rows if _is_urgent(entry)}
        payload = "\n".join(sorted(told))
        return payload if len(payload) <= TOLD else EVERYTHING


def _earliest(due: int | None, entry: Entry) -> int | None:
    """When time alone may next change a session after this entry, as far as that is known without looking at all."""
    body = entry.body
    if entry.kind == "decision" and body["effect"] == "permit":
        at = int(body["deadline"])
    elif entry.kind == "task" and body["state"] == "open" and "expires" in body:
        at = int(body["expires"])
    else:
        return due
    return at if due is None else min(due, at)


def _is_new(entry: Entry) -> bool:
    """Whether the entry opens a task tree: its id was made by the work itself, so that nobody else can have it."""
    is_root = entry.kind == "task" and entry.body["state"] == "open" and not entry.body.get("parent")
    return is_root and entry.stream == f"session/{entry.body['task']}"


def _is_urgent(entry: Entry) -> bool:
    return (
        entry.kind == "identity"
        or entry.stream == ADMINISTRATION
        or (entry.kind == "task" and entry.body["state"] != "open")
    )


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
