"""Rules for identities of other trust domains: which foreign SPIFFE ID is who here."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from remit.core.errors import InvalidInput
from remit.core.issuers import FederationRule
from remit.identity.spiffe import parse_spiffe_id

_LOCAL: Final = re.compile(r"(?:workload|starter|pep|person)/[a-z0-9][a-z0-9._-]{0,63}")
_BELOW: Final = "/*"


class ForeignRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: an exact id, or everything below one."""

    number: int  # from 1, as they stand in the file
    spiffe_id: str  # without the `/*`
    below: bool
    identity: str


def read_foreign_rule(rule: FederationRule, number: int, *, trust_domain: str) -> ForeignRule:
    """The rule, checked; `InvalidInput("rule_invalid")` says what is wrong with it."""
    below = rule.spiffe_id.endswith(_BELOW)
    named = rule.spiffe_id.removesuffix(_BELOW) if below else rule.spiffe_id
    try:
        foreign = parse_spiffe_id(named)
    except InvalidInput:
        raise _invalid(
            f"`{rule.spiffe_id[:128]}` is no SPIFFE ID, nor one followed by `/*`",
            f"write `spiffe://{trust_domain}/path`, or `spiffe://{trust_domain}/path/*`",
        ) from None
    if foreign.trust_domain != trust_domain:
        # SECURITY: a trust domain vouches for its own identities only.
        raise _invalid(
            f"`{rule.spiffe_id[:128]}` is not of the trust domain `{trust_domain}`", "move it to that trust domain"
        )
    if not foreign.path:
        # SECURITY: a rule for a whole trust domain would let in whatever it names tomorrow.
        raise _invalid("a rule names a path of the trust domain, never all of it", "write out at least one segment")
    if not _LOCAL.fullmatch(rule.identity):
        raise _invalid(f"`{rule.identity[:64]}` is no identity", "write `workload/NAME`, `starter/NAME` or `pep/NAME`")
    return ForeignRule(number=number, spiffe_id=named, below=below, identity=rule.identity)


def matches_id(rule: ForeignRule, spiffe_id: str) -> bool:
    """Whether the rule is about this id, which was parsed before."""
    # SECURITY: with its slash, so that `…/prod/*` does not match `…/prod-evil/x`.
    return spiffe_id.startswith(rule.spiffe_id + "/") if rule.below else spiffe_id == rule.spiffe_id


def _invalid(message: str, next_step: str) -> InvalidInput:
    return InvalidInput("rule_invalid", message, next_step)
