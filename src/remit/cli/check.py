"""`remit check`: reads everything in the folder and says what is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from remit.app.project import load_project, notices
from remit.cli import options
from remit.cli.failures import FAILED, OK, reported, tell
from remit.policy.clauses import InWords


@click.command()
@options.project
@click.option("--show-generated", is_flag=True, help="Print the policies that intents generate and those that ship.")
@click.option("--show-schema", is_flag=True, help="Print the Cedar schema: all that a policy can read.")
@click.option("--strict", is_flag=True, help="Exit with 1 where there are warnings.")
@options.as_json
@click.pass_context
@reported
def check(
    context: click.Context,
    project: Path | None,
    show_generated: bool,
    show_schema: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Check settings, catalogue, intents, policies, entities and windows; the first mistake with file, line and fix."""
    folder = options.folder_of(context, project)
    settings, configuration = load_project(folder)
    if show_generated:
        for path, text in configuration.policies.sources():
            if path.startswith(("generated/", "shipped/")):
                click.secho(f"// {path}", fg="cyan")
                click.echo(text)
        return
    if show_schema:
        click.echo(configuration.policies.schema_text())
        return
    configuration.policies.compile()  # so that notices name what can't be
    actions = configuration.catalogue.actions.values()
    found: dict[str, Any] = {
        "trustDomain": settings.trust_domain,
        "mode": configuration.mode,
        "intents": len(configuration.intents),
        "actions": sum(not action.tool.startswith("mcp:") for action in actions),
        "unreviewed": sum(not action.reviewed for action in actions),
        "policies": len(configuration.policies.refs),
        "entities": len(configuration.policies.general.entities.by_uid),
        "digest": configuration.digest,
        "notices": notices(configuration),
        "warnings": configuration.policies.warnings(),
        "code": list(configuration.policies.providers.code),
        "clauses": [_clause(each) for each in configuration.policies.in_words()],
    }
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        sys.exit(FAILED if strict and found["warnings"] else OK)
    for notice in notices(configuration):
        click.secho("notice: ", fg="yellow", nl=False)
        click.echo(notice)
    for warning in found["warnings"]:
        tell(warning.as_error(), kind="warning")
    for clause in configuration.policies.in_words():
        click.secho(f"{clause.path}:{clause.line}: ", fg="cyan", nl=False)
        click.echo(f"{clause.says}; {clause.keeps}")
    for code in configuration.policies.providers.code:
        click.secho("code: ", fg="cyan", nl=False)
        click.echo(f"{code}, for information providers; it runs in the service")
    entities = f"{found['entities']} entities, " if found["entities"] else ""
    click.secho("in order: ", fg="green", nl=False)
    click.echo(
        f"{found['intents']} intents, {found['actions']} actions ({found['unreviewed']} not reviewed), "
        f"{found['policies']} policies, {entities}mode {found['mode']}, digest {str(found['digest'])[:12]}"
    )
    sys.exit(FAILED if strict and found["warnings"] else OK)


def _clause(clause: InWords) -> dict[str, Any]:
    return {
        "policy": clause.policy,
        "path": clause.path,
        "line": clause.line,
        "says": clause.says,
        "keeps": clause.keeps,
        "reachMs": clause.reach_ms,
        "looksThrough": clause.looks_through,
    }
