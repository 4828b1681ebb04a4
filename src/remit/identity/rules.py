"""Rules: which claims of a verified token make it which identity here.

1. All claims of a rule must match. A value is compared exactly, type and all; a list names several, one of which must
   match; where the claim is a list, one of its members must.
2. `*` stands for the rest of one segment: one or more of `A-Z a-z 0-9 . _ -`, between `/`, `:` and `@`. It stands for a
   whole segment, or ends the last one. So `repo:org/*` does not match `repo:org-evil/x` nor `repo:org/x/y`.
3. An identity may end in one claim's value (`person/{login}`), which must be a name as `remit.toml` has names.
4. Of all rules for the token's audience exactly one must match: no order decides, and none is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from remit.core.errors import InvalidInput
from remit.core.issuers import FirstSight, IssuerRule, Wanted

MAX_VALUE: Final = 512
MAX_LISTED: Final = 1_000  # members of a claim that is a list

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_IDENTITY: Final = re.compile(
    r"(?P<space>workload|starter|pep|person)/(?:[a-z0-9][a-z0-9._-]{0,63}|\{(?P<claim>[^{}]{1,256})\})"
)
_BETWEEN: Final = re.compile(r"[/:@]")
_ONE: Final = "[A-Za-z0-9._-]+"
_PRINTED: Final = re.compile(r"[^\x00-\x1f\x7f]+")
# What the verification itself looks at; and what is different in each token.
_NOT_FOR_RULES: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})

# Issuers that serve everybody, and the claims of which a rule must name one exactly, for it to mean somebody.
_FOR_EVERYBODY: Final[Mapping[str, tuple[str, ...]]] = {
    "https://token.actions.githubusercontent.com": ("repository_id", "repository_owner_id", "enterprise_id"),
    "https://gitlab.com": ("project_id", "namespace_id", "user_id"),
    "https://accounts.google.com": ("sub", "hd"),
}

RESERVED_GROUP: Final = "administrators"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, ready to match."""

    number: int  # from 1, as they stand in the file
    identity: str  # `starter/ci`, or `person/` where a claim completes it
    claim: str  # the claim that completes it; "" for none
    audience: str
    claims: tuple[tuple[str, tuple[re.Pattern[str] | bool | int, ...]], ...]
    register: FirstSight | None
    group_claim: str
    groups: Mapping[str, str]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that matched, and the path of the identity that it gives."""

    rule: Rule
    path: str  # `starter/ci`

    @property
    def chosen(self) -> bool:
        """Whether the issuer chose the name: a claim completed it."""
        return self.rule.claim != ""


def read_rule(rule: IssuerRule, number: int, *, issuer: str, audience: str) -> Rule:
    """The rule, checked; `InvalidInput("rule_invalid")` says what is wrong with it."""
    form = _IDENTITY.fullmatch(rule.identity)
    if form is None:
        raise _invalid(
            f"`{rule.identity[:64]}` is no identity",
            "write `starter/NAME`, `workload/NAME`, `pep/NAME`, `person/NAME`, or `person/{claim}`",
        )
    claim = form["claim"] or ""
    if claim and form["space"] == "pep":
        # SECURITY: an enforcement point is believed; an issuer must not make one up.
        raise _invalid("an enforcement point is named outright, never after a claim", "write `pep/NAME`")
    if not rule.claims:
        # SECURITY: a rule without claims would let in everybody whom the issuer knows.
        raise _invalid("a rule names no claim", "name the claims that only the right tokens have")
    if named := sorted(_NOT_FOR_RULES.intersection(rule.claims)):
        raise _invalid(f"`{named[0]}` is checked for every token and is no claim for a rule", "leave it out")
    _check_pinned(rule, issuer)
    _check_groups(rule)
    if rule.register is not None and form["space"] == "pep":
        raise _invalid("an enforcement point is registered by an administrator", "leave `register` out")
    return Rule(
        number=number,
        identity=f"{form['space']}/" if claim else rule.identity,
        claim=claim,
        audience=rule.audience or audience,
        claims=tuple((name, _patterns(name, wanted)) for name, wanted in rule.claims.items()),
        register=rule.register,
        group_claim=rule.group_claim,
        groups=rule.groups,
    )


def matches(rule: Rule, claims: Mapping[str, Any]) -> Match | None:
    """The identity that the rule gives a token with these claims; None where it does not match."""
    if misses(rule, claims):
        return None
    if not rule.claim:
        return Match(rule=rule, path=rule.identity)
    value = claim_at(claims, rule.claim)
    # SECURITY: nothing but a name may come out of a claim: no slash, no dots alone, no second spelling.
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        return None
    return Match(rule=rule, path=rule.identity + value)


def misses(rule: Rule, claims: Mapping[str, Any]) -> list[str]:
    """The claims that the rule asks for and these are not."""
    return [name for name, wanted in rule.claims if not _holds(claim_at(claims, name), wanted)]


def groups_of(rule: Rule, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The groups here that the issuer's groups stand for, by the rule's own list and no other way."""
    if not rule.group_claim:
        return ()
    value = claim_at(claims, rule.group_claim)
    given = value[:MAX_LISTED] if isinstance(value, list) else [value]
    return tuple(sorted({rule.groups[each] for each in given if isinstance(each, str) and each in rule.groups}))


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that name; where the name begins with a slash, what the JSON Pointer (RFC 6901) leads to."""
    if not name.startswith("/"):
        return claims.get(name)
    value: Any = claims
    for step in name[1:].split("/"):
        if not isinstance(value, dict):
            return None
        value = value.get(step.replace("~1", "/").replace("~0", "~"))
    return value


def _holds(value: Any, wanted: tuple[re.Pattern[str] | bool | int, ...]) -> bool:
    members = value[:MAX_LISTED] if isinstance(value, list) else (value,)
    return any(_equal(member, each) for member in members for each in wanted)


def _equal(value: Any, wanted: re.Pattern[str] | bool | int) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and len(value) <= MAX_VALUE and wanted.fullmatch(value) is not None
    # SECURITY: `true` is not 1, and "1" is neither.
    return type(value) is type(wanted) and value == wanted


def _patterns(name: str, wanted: Wanted) -> tuple[re.Pattern[str] | bool | int, ...]:
    if isinstance(wanted, bool | int):
        return (wanted,)
    values = (wanted,) if isinstance(wanted, str) else wanted
    if not values:
        raise _invalid(f"the rule wants no value of `{name[:64]}`", "name the values, or leave the claim out")
    return tuple(_pattern(value) for value in values)


def _pattern(text: str) -> re.Pattern[str]:
    """A value as an expression; every `*` is bounded to its segment."""
    if not 0 < len(text) <= MAX_VALUE or not _PRINTED.fullmatch(text):
        raise _invalid(f"a value is empty, longer than {MAX_VALUE} characters, or has control characters", "correct it")
    segments = _BETWEEN.split(text)
    if "*" in text and all(segment in ("*", "") for segment in segments):
        # SECURITY: what matches everything says nothing.
        raise _invalid(f"`{text[:64]}` matches whatever is there", "write out at least one segment")
    for place, segment in enumerate(segments):
        last = 0 < place == len(segments) - 1
        if "*" in segment and segment != "*" and not (last and segment.index("*") == len(segment) - 1):
            # SECURITY: `org*/x` would match `org-evil/x`.
            raise _invalid(
                f"`*` in `{text[:64]}` is not a whole segment, nor the end of the last one",
                "write `org/*`, `refs/tags/v*`, or the values one by one",
            )
    return re.compile(_ONE.join(re.escape(part) for part in text.split("*")))


def _check_pinned(rule: IssuerRule, issuer: str) -> None:
    """A rule for an issuer that serves everybody names its own part of it exactly."""
    needed = _FOR_EVERYBODY.get(issuer.rstrip("/"))
    if needed is None:
        return
    for name in needed:
        wanted = rule.claims.get(name)
        values = (wanted,) if isinstance(wanted, str) else wanted
        if isinstance(values, tuple) and values and not any("*" in value for value in values):
            return
    # SECURITY: anybody can have tokens of this issuer, and names of repositories are given again after a deletion.
    raise _invalid(
        "this issuer serves everybody, and the rule does not say whose tokens it means",
        f"name one of {', '.join(f'`{name}`' for name in needed)} exactly",
    )


def _check_groups(rule: IssuerRule) -> None:
    if bool(rule.group_claim) != bool(rule.groups):
        raise _invalid("`group_claim` and `groups` need each other", "give both, or neither")
    if rule.groups and rule.register is None:
        raise _invalid("`groups` is for identities that are registered at first sight", "add `register`")
    granted = [*rule.groups.values(), *(rule.register.groups if rule.register else ())]
    if RESERVED_GROUP in granted:
        # SECURITY: no issuer makes an administrator.
        raise _invalid(f"the group `{RESERVED_GROUP}` comes from `[[people]]` alone", "give the person that role there")


def _invalid(message: str, next_step: str) -> InvalidInput:
    return InvalidInput("rule_invalid", message, next_step)
