"""The state of a monitor as bytes: canonical, so that equal states give equal bytes, and checked when they are read.

MessagePack: `[digest of what follows, version, digest of the plan, timepoints, time, stores, replayed]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec

from remit.policy.compiled.extensions import Datetime, Decimal, Duration, Extension, Ip
from remit.policy.compiled.values import Entity
from remit.policy.dogwood.monitor.stores import Last, Latest, Row, Runs, Store

VERSION: Final = 1
_EXTENSIONS: Final[dict[str, Any]] = {"decimal": Decimal, "datetime": Datetime, "duration": Duration, "ipaddr": Ip}
_BYTES: Final = 16
_PLAIN: Final = frozenset({str, int})  # keys that stand as they are


class _State(msgspec.Struct, frozen=True, array_like=True):
    version: int
    plan: str
    number: int
    at: int
    stores: list[Any]
    replayed: bytes


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    seal: bytes
    state: bytes


def written(plan: str, number: int, at: int, stores: list[Any], replayed: bytes) -> bytes:
    """The bytes of a state; `stores` in the form that `form_of` gives."""
    state = msgspec.msgpack.encode(_State(VERSION, plan, number, at, stores, replayed))
    return msgspec.msgpack.encode(_Sealed(_seal(state), state))


def read(data: bytes, plan: str) -> tuple[int, int, list[Any], bytes]:
    """What `written` took; `ValueError` for bytes that are damaged, or are no state of this plan."""
    try:
        sealed = msgspec.msgpack.decode(data, type=_Sealed)
        # SECURITY: what is damaged is not half read.
        if sealed.seal != _seal(sealed.state):
            raise ValueError("the stored state of a monitor is damaged: rebuild it from the events")
        state = msgspec.msgpack.decode(sealed.state, type=_State)
    except msgspec.MsgspecError as error:
        raise ValueError("this is no stored state of a monitor") from error
    if state.version != VERSION or state.plan != plan:
        raise ValueError("the stored state is one of other conditions: rebuild it from the events")
    if state.number < 0:
        raise ValueError("this is no stored state of a monitor")
    return state.number, state.at, state.stores, state.replayed


def form_of(store: Store) -> Any:
    """What a store holds, its rows by timepoint and then in the order of their bytes."""
    if isinstance(store, Last):
        return [store.at, _ordered(store.rows)]
    if isinstance(store, Runs):
        began: dict[int, list[Row]] = {}
        for row, number in store.rows.items():
            began.setdefault(number, []).append(row)
        return [[number, _ordered(rows)] for number, rows in sorted(began.items())]
    # They are in the order of their timepoints.
    by_stamp = groupby(store.rows.items(), itemgetter(1))
    return [(number, at, _ordered([row for row, _ in rows])) for (number, at), rows in by_stamp]


def in_order(forms: list[Any], stores: int) -> list[tuple[int, Any]]:
    """The number of each store that holds something, with its form; else `ValueError`."""
    found: list[tuple[int, Any]] = []
    for each in forms:
        _check(type(each) is list and len(each) == 2 and type(each[0]) is int)
        _check((found[-1][0] if found else -1) < each[0] < stores)
        found.append((each[0], each[1]))
    return found


def fill(store: Store, form: Any, columns: int, number: int, now: int) -> None:
    """Takes what `form_of` gave into an empty store, after `number` timepoints of which the last was at `now`."""
    try:
        _check(bool(form))
        if isinstance(store, Last):
            at, rows = form
            _check(type(at) is int and at <= now)
            store.commit(_rows(rows, columns), (number, at))
        elif isinstance(store, Runs):
            for began, rows in form:
                _check(type(began) is int and 0 <= began < number)
                store.rows.update((row, began) for row in _rows(rows, columns))
        else:
            _fill_latest(store, form, columns, number, now)
    except (TypeError, IndexError) as error:
        raise ValueError("this is no stored state of a monitor") from error


def _fill_latest(store: Latest, form: Any, columns: int, number: int, now: int) -> None:
    before = (-1, 0)
    for at_number, at, rows in form:
        _check(type(at_number) is int and type(at) is int and before[0] < at_number < number and at <= now)
        _check(before[0] < 0 or at >= before[1])
        before = (at_number, at)
        found = _rows(rows, columns)
        _check(not any(row in store.rows for row in found))
        store.commit(found, before)


def _rows(form: Any, columns: int) -> dict[Row, None]:
    found: dict[Row, None] = {
        tuple(row if _PLAIN.issuperset(map(type, row)) else map(_key_of, row)): None
        for row in form
        if type(row) is list
    }
    _check(len(found) == len(form) and all(len(row) == columns for row in found))
    return found


def _check(claim: bool) -> None:
    if not claim:
        raise ValueError("this is no stored state of a monitor")


def _ordered(rows: Collection[Row]) -> list[Any]:
    forms = [row if _PLAIN.issuperset(map(type, row)) else tuple(map(_form, row)) for row in rows]
    return sorted(forms, key=msgspec.msgpack.encode) if len(forms) > 1 else forms


def _form(key: Hashable) -> Any:
    if isinstance(key, Entity):
        return ["entity", *key]
    if isinstance(key, Extension):
        return list(key)  # type: ignore[call-overload]  # each is a tuple that begins with its name
    match key:
        case ("set", frozenset() as keys):
            return ["set", sorted(map(_form, keys), key=msgspec.msgpack.encode)]
        case ("record", frozenset() as fields):
            return ["record", sorted([name, _form(each)] for name, each in fields)]  # names differ
        case tuple():
            return list(key)
    return key


def _key_of(form: Any) -> Hashable:
    kind = type(form)
    if kind is str or kind is int:
        return form  # type: ignore[no-any-return]
    match form:
        case ["bool", bool(value)]:
            return ("bool", value)
        case ["entity", str(of), str(name)]:
            return Entity((of, name))
        case ["set", list(items)]:
            return ("set", frozenset(map(_key_of, items)))
        case ["record", list(fields)]:
            return ("record", frozenset((str(name), _key_of(each)) for name, each in fields))
        case [str(name), *parts] if name in _EXTENSIONS and all(type(each) is int for each in parts):
            made = _EXTENSIONS[name]
            if len(parts) + 1 == len(made._fields):
                return made(name, *parts)  # type: ignore[no-any-return]
    raise ValueError("this is no stored state of a monitor")


def _seal(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=_BYTES).digest()
