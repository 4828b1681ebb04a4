"""Loads a project folder: everything that decides, checked, as one configuration with one digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from remit.app.disagreements import Disagreements
from remit.app.elsewhere import elsewhere_of
from remit.app.folder import Folder
from remit.app.policy_cache import policy_cache
from remit.catalogue.document import catalogue_text, load_catalogue
from remit.core import canonical
from remit.core.settings import Settings, read_settings
from remit.decide.configuration import Configuration, Limits, RiskTerms
from remit.decide.destination import InternalHosts
from remit.decide.habits import Terms
from remit.decide.windows import Windows
from remit.policy.compiled.engine import Engine
from remit.policy.dogwood.providers import load as load_providers
from remit.policy.engine import load as load_policies
from remit.tasks.against import check_against
from remit.tasks.intents import digest_of, load_intents, texts_of

_WINDOW = re.compile(r'windows\s*\.\s*contains\(\s*"([^"]+)"')


def load_project(folder: Folder, others: Mapping[str, Path] | None = None) -> tuple[Settings, Configuration]:
    """Reads and checks every file of the folder; the first mistake is a `DocumentError` with file, line and fix.

    `others` are folders in place of its `catalogue`, `intents` or `policies`.
    """
    places = {name: folder.root / name for name in ("catalogue", "intents", "policies")} | dict(others or {})
    settings = read_settings(folder.root)
    elsewhere_of(folder, settings)  # checks the rules
    catalogue = load_catalogue(places["catalogue"])
    intents = load_intents(places["intents"])
    check_against(catalogue, intents)
    providers = load_providers(settings.providers, folder.root)
    policies = load_policies(
        folder_policies=[path] if (path := places["policies"]).is_dir() else [],
        catalogue=catalogue,
        intents=intents,
        trust_domain=settings.trust_domain,
        notifiers=frozenset(notifier.name for notifier in settings.notifiers),
        folder_entities=folder.root / "entities",
        namespace=settings.authzen.namespace,
        cache=policy_cache(folder),
        engine=Engine(settings.policy.engine, settings.policy.sample, Disagreements(folder.disagreements).keep),
        providers=providers,
        events=settings.policy.events,
    )
    # The list behind the digest of the policies: each path, and the digest of its text.
    listed = [[path, canonical.sha256(text.encode())] for path, text in policies.sources()]
    windows = Windows.load(folder.root / "windows")
    text = (folder.root / "remit.toml").read_text("utf-8")
    parts = {
        "catalogue": catalogue.digest,
        "intents": digest_of(intents),
        "policies": policies.digest,
        "settings": canonical.sha256(text.encode()),
        "windows": windows.digest,
    }
    entities = policies.general.entities
    if entities.digest:
        parts["entities"] = entities.digest
    if providers.digest:
        parts["providers"] = providers.digest
    until = settings.mode.observe_until
    return settings, Configuration(
        trust_domain=settings.trust_domain,
        catalogue=catalogue,
        intents=intents,
        policies=policies,
        windows=windows,
        internal=InternalHosts(settings.destinations.internal),
        limits=Limits(
            personal_days=settings.retention.personal_days,
            outcome_deadline_ms=settings.limits.outcome_seconds * 1000,
            rate_per_second=settings.limits.rate_per_second,
            rate_burst=settings.limits.rate_burst,
            denial_fold_ms=settings.limits.denial_fold_seconds * 1000,
        ),
        habits=Terms(
            half_life_days=settings.novelty.half_life_days,
            habit_days=settings.novelty.habit_days,
            learning_days=settings.novelty.learning_days,
        ),
        risk=_risk_terms(settings),
        mode=settings.mode.default,
        observe_until=int(until.timestamp() * 1000) if until and settings.mode.default == "observe" else 0,
        digest=canonical.digest(parts),
        parts=parts,
        texts={
            **policies.texts,
            policies.digest: canonical.encode(listed).decode(),
            **windows.texts,
            **entities.texts,
            **providers.texts,
            **texts_of(intents),
            catalogue.digest: catalogue_text(catalogue),
            parts["settings"]: text,
        },
    )


def _risk_terms(settings: Settings) -> RiskTerms:
    risk, novelty, denials = settings.risk, settings.novelty, settings.denials
    return RiskTerms(
        signals=frozenset(risk.signals),
        quarantine_at=risk.quarantine_at,
        novel_from=novelty.rises_from,
        novel_permitted=novelty.permitted,
        novel_refused=novelty.refused,
        novel_ms=novelty.lasts_seconds * 1000,
        denials=denials.count,
        denials_within_ms=denials.within_seconds * 1000,
        denials_value=denials.value,
        denials_ms=denials.lasts_seconds * 1000,
    )


def notices(configuration: Configuration) -> list[str]:
    """What works but deserves a look before it is relied on, one sentence each."""
    found = list(configuration.policies.notices())
    named = {name for _, text in configuration.policies.sources() for name in _WINDOW.findall(text)}
    for name in sorted(named - set(configuration.windows.names)):
        found.append(f"a policy asks for the window `{name}`, but there is no `windows/{name}.ics`: it is never open")
    return found
