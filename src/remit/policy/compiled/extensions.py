"""Cedar's extension types: ipaddr, decimal, datetime, duration (docs.cedarpolicy.com, operators; RFC 80 of Cedar).

Each value compares by what it is and never by how it was written. A function that can't take its arguments gives
None, which the caller turns into the failure of the policy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

_MAX: Final = 2**63 - 1
_MIN: Final = -(2**63)
_DAY: Final = 86_400_000
_UNITS: Final = {"d": _DAY, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

_DECIMAL: Final = re.compile(r"(-?)([0-9]+)\.([0-9]{1,4})")
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{3}))?(?:Z|([+-])([0-9]{2})([0-9]{2})))?"
)
_DURATION: Final = re.compile(r"(-?)(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?")
_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Extension:
    """What all extension values are."""

    __slots__ = ()


class Decimal(Extension, NamedTuple("_Decimal", [("name", str), ("value", int)])):
    """A number with four digits behind the point: `value` ten-thousandths."""

    __slots__ = ()


class Datetime(Extension, NamedTuple("_Datetime", [("name", str), ("value", int)])):
    """Milliseconds since 1970, UTC."""

    __slots__ = ()


class Duration(Extension, NamedTuple("_Duration", [("name", str), ("value", int)])):
    """Milliseconds."""

    __slots__ = ()


class Ip(Extension, NamedTuple("_Ip", [("name", str), ("version", int), ("address", int), ("prefix", int)])):
    """An address with the length of its prefix; a single address has the full length."""

    __slots__ = ()

    @property
    def bits(self) -> int:
        """Of an address of this version."""
        return 32 if self.version == 4 else 128

    @property
    def first(self) -> int:
        """The first address of the range."""
        return self.address >> (self.bits - self.prefix) << (self.bits - self.prefix)

    @property
    def last(self) -> int:
        """The last address of the range."""
        return self.first + (1 << (self.bits - self.prefix)) - 1


T = TypeVar("T", Decimal, Datetime, Duration)


def made(name: str, arguments: Sequence[Any]) -> Any:
    """The result of a function or method of an extension type; None where it can't take these arguments."""
    arity, function = EXTENSIONS[name]
    return function(*arguments) if len(arguments) == arity else None


# --- making values from text ----------------------------------------------------------------------------------------


def _decimal(text: Any) -> Decimal | None:
    match = _DECIMAL.fullmatch(text) if type(text) is str else None
    if match is None:
        return None
    value = int(match[2]) * 10_000 + int(match[3].ljust(4, "0"))
    return _bounded(Decimal, "decimal", -value if match[1] else value)


def _datetime(text: Any) -> Datetime | None:
    match = _DATE.fullmatch(text) if type(text) is str else None
    if match is None:
        return None
    year, month, day, hour, minute, second, milli = (int(part or 0) for part in match.groups()[:7])
    if not 1 <= month <= 12 or not 1 <= day <= _MONTHS[month - 1] or hour > 23 or minute > 59 or second > 59:
        return None
    if (month, day) == (2, 29) and (year % 4 or (year % 100 == 0 and year % 400)):
        return None
    value = _days(year, month, day) * _DAY + hour * 3_600_000 + minute * 60_000 + second * 1_000 + milli
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 23 or minutes > 59:
            return None
        away = (hours * 60 + minutes) * 60_000
        value += -away if match[8] == "+" else away
    return Datetime("datetime", value)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar, in which there is a year 0."""
    shifted = year - (month <= 2)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    era, of_era = divmod(shifted, 400)
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _duration(text: Any) -> Duration | None:
    match = _DURATION.fullmatch(text) if type(text) is str else None
    if match is None or not any(match.groups()[1:]):
        return None
    parts = zip(match.groups()[1:], _UNITS.values(), strict=True)
    value = sum(int(part) * unit for part, unit in parts if part)
    return _bounded(Duration, "duration", -value if match[1] else value)


def _ip(text: Any) -> Ip | None:
    if type(text) is not str or len(text) > 43 or not text.isascii():
        return None
    host, parted, length = text.partition("/")
    # An IPv4 address within an IPv6 one, or a zone, is nothing that Cedar takes.
    if (":" in host and "." in host) or "%" in host:
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    bits = address.max_prefixlen
    if not parted:
        return Ip("ipaddr", address.version, int(address), bits)
    is_number = length.isdecimal() and len(length) <= (2 if bits == 32 else 3) and (length == "0" or length[0] != "0")
    if not is_number or int(length) > bits:
        return None
    return Ip("ipaddr", address.version, int(address), int(length))


# --- what values can do ---------------------------------------------------------------------------------------------


def _comparing(compare: Callable[[int, int], bool]) -> Callable[[Any, Any], bool | None]:
    def compared(left: Any, right: Any) -> bool | None:
        if type(left) is not Decimal or type(right) is not Decimal:
            return None
        return compare(left.value, right.value)

    return compared


def _of_ip(claim: Callable[[Ip], bool]) -> Callable[[Any], bool | None]:
    return lambda ip: claim(ip) if type(ip) is Ip else None


def _in_range(ip: Any, of: Any) -> bool | None:
    if type(ip) is not Ip or type(of) is not Ip:
        return None
    return ip.version == of.version and of.first <= ip.first and ip.last <= of.last


def _is_loopback(ip: Ip) -> bool:
    if ip.version == 4:
        return ip.address >> 24 == 127 and ip.prefix >= 8
    return ip.address == 1 and ip.prefix == 128


def _is_multicast(ip: Ip) -> bool:
    if ip.version == 4:
        return ip.address >> 28 == 0b1110 and ip.prefix >= 4
    return ip.address >> 120 == 0xFF and ip.prefix >= 8


def _offset(at: Any, by: Any) -> Datetime | None:
    if type(at) is not Datetime or type(by) is not Duration:
        return None
    return _bounded(Datetime, "datetime", at.value + by.value)


def _since(at: Any, other: Any) -> Duration | None:
    if type(at) is not Datetime or type(other) is not Datetime:
        return None
    return _bounded(Duration, "duration", at.value - other.value)


def _to_date(at: Any) -> Datetime | None:
    return _bounded(Datetime, "datetime", at.value // _DAY * _DAY) if type(at) is Datetime else None


def _to_time(at: Any) -> Duration | None:
    return Duration("duration", at.value % _DAY) if type(at) is Datetime else None


def _in_units(unit: str) -> Callable[[Any], int | None]:
    size = _UNITS[unit]

    def counted(of: Any) -> int | None:
        if type(of) is not Duration:
            return None
        whole = abs(of.value) // size
        return whole if of.value >= 0 else -whole

    return counted


def _bounded(kind: Callable[[str, int], T], name: str, value: int) -> T | None:
    return kind(name, value) if _MIN <= value <= _MAX else None


EXTENSIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "decimal": (1, _decimal),
    "ip": (1, _ip),
    "datetime": (1, _datetime),
    "duration": (1, _duration),
    "lessThan": (2, _comparing(lambda left, right: left < right)),
    "lessThanOrEqual": (2, _comparing(lambda left, right: left <= right)),
    "greaterThan": (2, _comparing(lambda left, right: left > right)),
    "greaterThanOrEqual": (2, _comparing(lambda left, right: left >= right)),
    "isIpv4": (1, _of_ip(lambda ip: ip.version == 4)),
    "isIpv6": (1, _of_ip(lambda ip: ip.version == 6)),
    "isLoopback": (1, _of_ip(_is_loopback)),
    "isMulticast": (1, _of_ip(_is_multicast)),
    "isInRange": (2, _in_range),
    "offset": (2, _offset),
    "durationSince": (2, _since),
    "toDate": (1, _to_date),
    "toTime": (1, _to_time),
    "toMilliseconds": (1, _in_units("ms")),
    "toSeconds": (1, _in_units("s")),
    "toMinutes": (1, _in_units("m")),
    "toHours": (1, _in_units("h")),
    "toDays": (1, _in_units("d")),
}
