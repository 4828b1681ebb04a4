"""What policies oblige to, checked against the project: a mistake would leave open what was meant to be closed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from remit.core.actions import Action, Catalogue
from remit.core.decisions import Obligation
from remit.core.fields import has_field, has_list
from remit.core.obligations import LIMIT, REDACT
from remit.policy import obligations, validation
from remit.policy.schema import ADMINISTRATION, Vocabulary
from remit.policy.sources import Policy


def check(policies: Sequence[Policy], vocabulary: Vocabulary, catalogue: Catalogue, notifiers: Collection[str]) -> None:
    """Refuses, at its line, an obligation that nobody could fulfil or that would never apply.

    1. A notifier that `remit.toml` does not declare.
    2. A policy that covers administrative actions too: no enforcement point stands before them.
    3. A result field that no action has which the policy covers, as far as output schemas tell.
    """
    obliging = [policy for policy in policies if policy.obligations]
    if not obliging:
        return
    groups = {name: validation.groups_of(known) for name, known in vocabulary.actions.items()}
    for policy in obliging:
        covered = [name for name in vocabulary.actions if validation.covers(policy, name, groups)]
        try:
            obligations.check_notifiers(policy.obligations, notifiers)
            _check_covered(policy.obligations, covered, vocabulary)
            actions = [catalogue.actions[name] for name in covered if name in catalogue.actions]
            _check_fields(policy.obligations, [_schema_of(action, catalogue) for action in actions])
        except obligations.Mistake as mistake:
            raise policy.mistaken(mistake) from None


def _check_covered(demands: Iterable[Obligation], covered: Iterable[str], vocabulary: Vocabulary) -> None:
    own = [name for name in covered if ADMINISTRATION in vocabulary.actions[name].groups]
    if own:
        # SECURITY: an obligation that is silently not done is worse than none.
        raise obligations.Mistake(
            next(each.id for each in demands),
            f"this policy also covers `{own[0]}`, which Remit itself carries out: nobody would fulfil the obligation",
            'name the actions that enforcement points ask about, such as `action in Remit::Action::"tools"`',
        )


def _check_fields(demands: Iterable[Obligation], schemas: Sequence[Any]) -> None:
    if not schemas:
        return
    for each in demands:
        for path in each.fields if each.id == REDACT else ():
            # SECURITY: a mistyped field would be let through where it was meant to be removed.
            if not any(has_field(schema, path) for schema in schemas):
                raise obligations.Mistake(
                    REDACT, f"no result of these actions has the field `output.{path}`{_similar(path, schemas)}"
                )
        for path in each.items if each.id == LIMIT else ():
            if not any(has_list(schema, path) for schema in schemas):
                shown = f"output.{path}" if path else "output"
                raise obligations.Mistake(
                    LIMIT, f"no result of these actions has a list at `{shown}`{_similar(path, schemas)}"
                )


def _schema_of(action: Action, catalogue: Catalogue) -> Any:
    """The output schema that the tool declares, None where it declares none."""
    server = catalogue.servers.get(action.server)
    return server.output_schemas.get(action.tool) if server is not None else None


def _similar(path: str, schemas: Iterable[Any]) -> str:
    declared = [schema.get("properties") for schema in schemas if isinstance(schema, dict)]
    names = {name for properties in declared if isinstance(properties, dict) for name in properties}
    close = difflib.get_close_matches(path, sorted(names), n=1)
    return f" (did you mean `output.{close[0]}`?)" if close else ""
