"""What Remit guesses of a tool from its definition alone; a guess binds nothing until a person has reviewed it.

The rules stand as tables in `verbs` (effects), `arguments` and `results`. Everything that they read is written by
the server, a stranger: its name and schema are taken at their word, its description and annotations can only
raise the effect, and where nothing is clear the more consequential effect and the stricter role are taken.
"""

from __future__ import annotations

from typing import Final

from remit.catalogue.arguments import arguments_of, destination_of_tool, personal_of
from remit.catalogue.definitions import Definition
from remit.catalogue.effect import argument_schemas, effect_of
from remit.catalogue.entries import Entry, entry_of
from remit.catalogue.results import results_of

_LISTS: Final = {"selector": "selectors", "content": "content"}


def guess(definition: Definition) -> Entry:
    """The entry of one tool as Remit would write it, unreviewed, each guess with a one-sentence reason in `why`."""
    effect = effect_of(definition)
    arguments = arguments_of(definition)
    results = results_of(definition, effect.effect, arguments)
    personal = personal_of(arguments, effect.effect)
    destination, address = destination_of_tool(arguments, argument_schemas(definition))
    why = {"effect": effect.because}
    why |= {f"{_LISTS[argument.role]}.{argument.name}": argument.because for argument in arguments}
    why |= {f"personal.{path}": because for path, because in personal.items()}
    why |= {"destination": address} if destination else {}
    return entry_of(
        definition,
        effect=effect.effect,
        selectors=tuple(argument.name for argument in arguments if argument.role == "selector"),
        content=tuple(argument.name for argument in arguments if argument.role == "content"),
        labels=results.labels,
        trusted=results.trusted,
        personal=(*personal, *results.personal),
        redact=results.redact,
        destination=destination,
        why=why | results.reasons,
    )
