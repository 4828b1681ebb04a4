"""Where an action would go: the host and port that the catalogue and the arguments name.

The parser is strict on purpose. A text that two programs could read as two hosts (user information, backslashes,
odd numbers for addresses, characters that IDNA 2003 and 2008 map differently) is refused, never guessed: what is
decided here must be where the call goes.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import idna
import msgspec

from remit.core.actions import Action
from remit.core.errors import InvalidInput

DESTINATION_LENGTH: Final = 8_192
HOST_LENGTH: Final = 253

_PORTS: Final = {
    "http": 80,
    "https": 443,
    "ws": 80,
    "wss": 443,
    "ftp": 21,
    "ssh": 22,
    "sftp": 22,
    "git": 9418,
    "git+ssh": 22,
    "ssh+git": 22,
    "git+http": 80,
    "git+https": 443,
}
_SSH: Final = frozenset({"ssh", "sftp", "git+ssh", "ssh+git"})  # a user's name is part of their addresses
_MAIL: Final = 25
# Words that a lenient parser takes for a scheme, so that `http:80` means another host than `http`.
_SCHEMES: Final = frozenset({*_PORTS, "file", "data", "blob", "javascript", "mailto", "tel", "urn", "about"})

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"[^/?#]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_USER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9#$&'*+/=?^_{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")

# IPv6 ranges whose addresses carry an IPv4 address that a gateway may go to instead.
_CARRIERS: Final = tuple(
    ipaddress.IPv6Network(net) for net in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
_LOOPBACK6: Final = ipaddress.IPv6Address("::1")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One network destination: a canonical host (lower-case A-labels or an address), a port, and whether it is ours."""

    host: str
    port: int  # 0: unknown, the catalogue or the arguments name only a host
    internal: bool


class InternalHosts:
    """The hosts that a project calls internal: names with everything below them, addresses and networks.

    Nothing is internal unless listed, loopback and private addresses included.
    """

    __slots__ = ("_names", "_networks")

    def __init__(self, entries: Sequence[str] = ()) -> None:
        """Raises `InvalidInput` (`internal_host_invalid`) for an entry that is no host, address or network."""
        names: set[str] = set()
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            try:
                if "/" in entry or ":" in entry or _IPV4.fullmatch(entry):
                    networks.append(ipaddress.ip_network(entry))
                else:
                    names.add(host_of(entry))
            except (ValueError, InvalidInput):
                raise InvalidInput(
                    "internal_host_invalid",
                    f"`{entry[:100]}` is not a host, an address or a network",
                    "write `corp.example`, `10.0.0.0/8` or `::1`",
                ) from None
        self._names = frozenset(names)
        self._networks = tuple(networks)

    def holds(self, host: str) -> bool:
        """Whether a canonical host is one of them or below one of them."""
        if (address := _address(host)) is not None:
            return any(address.version == network.version and address in network for network in self._networks)
        while host:
            if host in self._names:
                return True
            host = host.partition(".")[2]
        return False


def destination_of(action: Action, arguments: dict[str, Any], internal: InternalHosts) -> Destination | None:
    """Where a call of `action` with these arguments would go; None when the catalogue gives it no destination.

    `Action.destination` is `input.<path>` or a fixed host or URL. Raises `InvalidInput` (`destination_unclear`) when
    the argument is missing or can't be understood without doubt.
    """
    where = action.destination
    if not where:
        return None
    if not where.startswith("input."):
        host, port = _fixed(where)
        return Destination(host=host, port=port, internal=internal.holds(host))
    value: Any = arguments
    for step in where.split(".")[1:]:
        value = value.get(step) if isinstance(value, dict) else None
    texts = value if isinstance(value, list) else [value]
    found = {parse_destination(text) for text in texts[:256]}
    if len(found) != 1 or len(texts) > 256:
        raise _unclear(f"`{where}` names more than one destination" if found else f"`{where}` names no destination")
    host, port = found.pop()
    return Destination(host=host, port=port, internal=internal.holds(host))


def parse_destination(text: Any) -> tuple[str, int]:
    """The canonical host and the port of a URL, a host (with or without port), an e-mail or an scp-like address.

    The port is 0 for a host alone. Raises `InvalidInput` (`destination_unclear`).
    """
    if not isinstance(text, str) or not text:
        raise _unclear("the argument that names the destination is missing or not a text")
    if len(text) > DESTINATION_LENGTH:
        raise _unclear("the destination is too long")
    _refuse_doubtful_characters(text)
    if match := _URL.fullmatch(text):
        return _of_url(match[1].lower(), match[2])
    if text[:7].lower() == "mailto:":
        return _of_mail(_mailto_address(text[7:]))
    if "/" not in text.partition(":")[0] and "@" in text:
        return _of_at(text)
    host, port = _host_and_port(text)
    if port and host in _SCHEMES:
        raise _unclear("the destination can be read as a URL of another host")
    return host, port


def host_of(text: str) -> str:
    """A canonical host: lower-case A-labels without a trailing dot, an IPv4 address, or an IPv6 address unbracketed.

    Follows UTS 46 (non-transitional) with IDNA 2008 (RFC 5891), RFC 1123 with underscores, and RFC 3986 for
    addresses, of which only the canonical IPv4 form is taken. Raises `InvalidInput` (`destination_unclear`).
    """
    if len(text) > HOST_LENGTH + 1:
        raise _unclear("the host is too long")
    _refuse_doubtful_characters(text)
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    name = text.lower() if text.isascii() else _mapped(text)
    name = name.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > HOST_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise _unclear("the host is not a host name")
    for label in labels:
        if label.startswith("xn--"):
            _check_a_label(label)
    return name


def _refuse_doubtful_characters(text: str) -> None:
    # SECURITY: programs drop, turn or stop at these, and so read another host than the one that was decided.
    if text.isascii():
        doubtful = "\\" in text or " " in text or not text.isprintable()
    else:
        doubtful = "\\" in text or any(unicodedata.category(character)[0] in "CZ" for character in text)
    if doubtful:
        raise _unclear("the destination holds a backslash, white space or an invisible character")


def _of_url(scheme: str, rest: str) -> tuple[str, int]:
    if scheme not in _PORTS:
        raise _unclear("the scheme of the destination is not one that can be decided")
    match = _AUTHORITY.match(rest)
    authority = match[0] if match else ""
    if rest[len(authority) : len(authority) + 1] in ("?", "#") and "@" in rest:
        # SECURITY: `http://a?@b` and `http://a#@b` are host `b` to some parsers.
        raise _unclear("the destination has an `@` where user information could stand")
    if "@" in authority:
        user, _, authority = authority.partition("@")
        # SECURITY: in `http://good.example@evil.example` a reader sees one host and a client goes to the other.
        if scheme not in _SSH or not _USER.fullmatch(user):
            raise _unclear("the destination holds user information")
    host, port = _host_and_port(authority)
    return host, port or _PORTS[scheme]


def _of_at(text: str) -> tuple[str, int]:
    """`user@host` is an e-mail address; `user@host:path` is how git and scp name a path on a host (never a port)."""
    user, _, rest = text.partition("@")
    host, colon, path = rest.partition(":")
    if not colon:
        return _of_mail(text)
    if not _USER.fullmatch(user) or not path or path.isdigit() or path.startswith(":"):
        raise _unclear("the destination is neither an e-mail address nor `user@host:path`")
    return host_of(host), _PORTS["ssh"]


def _of_mail(address: str) -> tuple[str, int]:
    local, at, domain = address.partition("@")
    # SECURITY: `a%b@c`, `"a@b"@c` and `c!a@b` are routes to another host for some mail servers.
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        raise _unclear("the destination is not a plain e-mail address")
    host = host_of(domain)
    if _address(host) is not None:
        raise _unclear("the e-mail address has a network address for its domain")
    return host, _MAIL


def _mailto_address(rest: str) -> str:
    address, _, query = rest.partition("?")
    for field in query.split("&"):
        name = field.partition("=")[0].lower()
        # SECURITY: further recipients, also written with percent signs.
        if name in ("to", "cc", "bcc") or "%" in name or ";" in name:
            raise _unclear("the destination names further recipients")
    return address


def _host_and_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        end = text.find("]") + 1
        host, rest = (text[:end], text[end:]) if end else (text, "")
    else:
        host, colon, after = text.partition(":")
        rest = colon + after
    if not rest:
        return host_of(host), 0
    if rest[0] != ":" or not _PORT.fullmatch(rest[1:]) or int(rest[1:]) > 65_535:
        raise _unclear("the destination has no clear port")
    return host_of(host), int(rest[1:])


@lru_cache(maxsize=1024)
def _mapped(text: str) -> str:
    """The A-labels of a name with characters beyond ASCII, as UTS 46 maps and IDNA 2008 allows them."""
    try:
        mapped = idna.uts46_remap(text, std3_rules=True, transitional=False).removesuffix(".")
        name = mapped if mapped.isascii() else idna.encode(mapped, strict=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError, IndexError):
        raise _unclear("the host is not a valid international name") from None
    # SECURITY: older programs still map by IDNA 2003, where `faß.example` is `fass.example`.
    try:
        older = text.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        older = name  # unknown there, so that it leads nowhere else
    if older != name:
        raise _unclear("the host means different names to different programs")
    return name


def _check_a_label(label: str) -> None:
    try:
        valid = idna.alabel(idna.ulabel(label)).decode("ascii") == label
    except (idna.IDNAError, UnicodeError, IndexError):
        valid = False
    if not valid:
        raise _unclear("the host holds a label that is not a valid international name")


def _ipv4(name: str) -> str:
    # SECURITY: `0x7f.1`, `2130706433` and `010.0.0.1` are other addresses to other programs.
    address = _address(name) if _IPV4.fullmatch(name) else None
    if address is None or name.startswith("0."):
        raise _unclear("the host is a number that is not a plain IPv4 address", "write four decimal numbers")
    return str(address)


def _ipv6(text: str) -> str:
    if "%" in text:
        raise _unclear("the address has a zone")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise _unclear("the host is not an IPv6 address") from None
    if address.ipv4_mapped is not None:
        return _ipv4(str(address.ipv4_mapped))
    if address != _LOOPBACK6 and any(address in network for network in _CARRIERS):
        raise _unclear("the IPv6 address carries an IPv4 address", "write the IPv4 address")
    return str(address)


def _address(host: str) -> Address | None:
    if not (":" in host or _IPV4.fullmatch(host)):
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _fixed(where: str) -> tuple[str, int]:
    return parse_destination(where)


def _unclear(message: str, next_step: str = "") -> InvalidInput:
    return InvalidInput(
        "destination_unclear", message, next_step or "write the destination as a plain URL or host name"
    )
