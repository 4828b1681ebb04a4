"""Who vouches from elsewhere: whether their keys are fresh, and what their rules let in."""

from __future__ import annotations

from collections.abc import Iterator

from remit.app.doctor.finding import Finding, Situation, listed
from remit.app.identities import declared_in, spiffe_id
from remit.app.issuers import listed as sources
from remit.core.errors import RemitError
from remit.core.settings import Settings


def keys(situation: Situation) -> Iterator[Finding]:
    """The keys of issuers and trust domains could be read lately."""
    settings = situation.settings
    if settings is None or not (settings.issuers or settings.federation):
        return
    try:
        found = sources(situation.folder, settings, lambda: situation.now)
    except RemitError as error:
        yield Finding(check="issuers", level="fail", message=error.message, next_step=error.next_step)
        return
    wrong = [each for each in found if each.standing in ("stale", "unread")]
    failing = [each for each in found if each.standing == "failing"]
    for each in (*wrong, *failing):
        yield Finding(
            check="issuers",
            level="fail" if each in wrong else "warn",
            message=f"`{each.source}`: {each.error or 'its keys have not been read, or no service runs'}",
            next_step="its tokens are refused until its keys are read; `remit issuers list` says since when"
            if each in wrong
            else "its last good keys serve for a while; `remit issuers list` says until when",
        )
    if not wrong and not failing:
        yield Finding(check="issuers", level="ok", message=f"the keys of {len(found)} sources are fresh")


def rules(situation: Situation) -> Iterator[Finding]:
    """What the rules let in, where it deserves a second look."""
    settings = situation.settings
    if settings is None or not (settings.issuers or settings.federation):
        return
    if tests := [issuer.name for issuer in settings.issuers if issuer.allow_http]:
        yield Finding(
            check="issuers",
            level="warn",
            message=f"{listed(tests)} may be read over http, which is for tests",
            next_step="remove `allow_http`",
        )
    if missing := sorted(_never_registered(settings)):
        yield Finding(
            check="issuers",
            level="warn",
            message=f"rules name {listed(missing)}, which `remit.toml` does not declare",
            next_step='declare them with `key = "none"`, or register them; until then their tokens are refused',
        )
    if powerful := sorted(_administrators(settings)):
        yield Finding(
            check="issuers",
            level="warn",
            message=f"tokens from elsewhere are {listed(powerful)}, who may approve or administer",
            next_step="see that each rule matches one account alone, by a claim that is never given again",
        )


def _named(settings: Settings) -> set[str]:
    """The identities that rules name outright and do not register."""
    named = {rule.identity for issuer in settings.issuers for rule in issuer.rules if rule.register is None}
    named |= {rule.identity for domain in settings.federation for rule in domain.rules}
    return {path for path in named if not path.endswith("}")}


def _never_registered(settings: Settings) -> set[str]:
    declared = declared_in(settings)
    return {path for path in _named(settings) if spiffe_id(settings.trust_domain, path) not in declared}


def _administrators(settings: Settings) -> set[str]:
    powerful = {
        f"person/{person.name}" for person in settings.people if {"approver", "administrator"} & set(person.roles)
    }
    return powerful & _named(settings)
