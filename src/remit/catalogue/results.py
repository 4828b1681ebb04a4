"""What a tool's results carry: labels, whether they can be trusted, and which fields are personal or secret."""

from __future__ import annotations

from typing import Final, NamedTuple

from remit.catalogue.arguments import Argument, is_personal
from remit.catalogue.definitions import Definition
from remit.catalogue.words import first_sentence, forms, mentions, words_of_name, words_of_text
from remit.core.effects import Effect

_TELLING: Final = frozenset({"read", "export", "execute"})  # effects whose results tell more than that it is done
_DEPTH: Final = 4
_FIELDS: Final = 64


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class LabelRule(NamedTuple):
    """A label of results, by words of the name, the description and the fields of the output schema."""

    label: str
    because: str
    words: frozenset[str]


LABELS: Final[tuple[LabelRule, ...]] = (
    LabelRule(
        "personal",
        "tells about people",
        _words(
            "email mail inbox contact user username profile address phone calendar appointment attendee participant"
            " customer employee patient passport person people member collaborator owner author"
        ),
    ),
    LabelRule(
        "financial",
        "tells about money",
        _words(
            "balance transaction invoice payment iban bank payroll salary card billing receipt refund ledger order"
            " price cart discount"
        ),
    ),
    LabelRule(
        "secret",
        "may hold a secret",
        _words("password secret credential ssh apikey otp passcode token env vault keychain"),
    ),
    LabelRule(
        "health",
        "tells about somebody's health",
        _words("diagnosis medical prescription health patient symptom allergy"),
    ),
)

# Read tools that only tell what the server itself knows: nothing in their results was written by an outsider.
OWN: Final = _words(
    "balance time date day weekday clock timezone version health uptime total count quota usage capability allowed ping"
)
OUTSIDE: Final = _words(
    "email mail inbox message web webpage website page url browse channel post comment review issue thread chat file"
    " document attachment event calendar appointment note forum feed tweet ticket invoice form transcript repository"
    " commit log diff search history product resource"
)
SECRET_FIELDS: Final = _words("password passwd secret apikey otp passcode cvv credential")


class Results(NamedTuple):
    """What is guessed of a tool's results; the reasons stand under the keys that the file uses."""

    labels: tuple[str, ...]
    trusted: bool
    personal: tuple[str, ...]
    redact: tuple[str, ...]
    reasons: dict[str, str]


def results_of(definition: Definition, effect: Effect, arguments: tuple[Argument, ...]) -> Results:
    """Labels, trust, personal fields and fields to redact."""
    reasons: dict[str, str] = {}
    fields = output_fields(definition)
    labels = _labels(definition, effect, fields, reasons)
    trusted = _is_own(definition, effect, arguments, reasons)
    if not trusted and effect in _TELLING:
        labels += ("untrusted",)
        reasons["labels.untrusted"] = "what it returns may have been written by outsiders"
    personal = tuple(f"output.{path}" for path, words in fields.items() if is_personal(words))
    redact = tuple(path for path, words in fields.items() if mentions(words, SECRET_FIELDS))
    reasons |= {f"personal.{path}": "its name stands for something personal, or for a secret" for path in personal}
    reasons |= {f"redact.{path}": "its name says that it holds a secret" for path in redact}
    return Results(labels, trusted, personal, redact, reasons)


def output_fields(definition: Definition) -> dict[str, tuple[str, ...]]:
    """The dotted paths of the fields that the output schema declares, with the words of their names.

    A list stands for itself; what its elements hold counts to it, since elements are not addressed.
    """
    found: dict[str, tuple[str, ...]] = {}
    stack: list[tuple[str, object, int]] = [("", definition.output_schema, 0)]
    while stack and len(found) < _FIELDS:
        path, schema, depth = stack.pop()
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(properties, dict) or depth >= _DEPTH:
            continue
        for name, child in properties.items():
            if not isinstance(name, str) or "." in name or not name:
                continue
            at = f"{path}.{name}" if path else name
            found[at] = words_of_name(name) + _words_of_elements(child, depth)
            stack.append((at, child, depth + 1))
    return dict(sorted(found.items()))


def _words_of_elements(schema: object, depth: int) -> tuple[str, ...]:
    items = schema.get("items") if isinstance(schema, dict) else None
    properties = items.get("properties") if isinstance(items, dict) else None
    if not isinstance(properties, dict) or depth >= _DEPTH:
        return ()
    return tuple(word for name in list(properties)[:_FIELDS] for word in words_of_name(str(name)))


def _labels(
    definition: Definition, effect: Effect, fields: dict[str, tuple[str, ...]], reasons: dict[str, str]
) -> tuple[str, ...]:
    if effect in _TELLING:
        said = words_of_name(definition.name) + words_of_text(definition.description)
    else:
        said = ()
    shown = tuple(word for words in fields.values() for word in words)
    found: list[str] = []
    for rule in LABELS:
        if word := mentions(said + shown, rule.words):
            found.append(rule.label)
            reasons[f"labels.{rule.label}"] = f"`{word}`: what it returns {rule.because}"
    return tuple(found)


def _is_own(definition: Definition, effect: Effect, arguments: tuple[Argument, ...], reasons: dict[str, str]) -> bool:
    """Trusted only if it reads, takes nothing that could point at an outsider's text, and names the server's own."""
    named = words_of_name(definition.name)
    own = next((word for word in named if any(form in OWN for form in forms(word))), "")
    outside = mentions(named + words_of_text(first_sentence(definition.description)), OUTSIDE)
    points = [argument.name for argument in arguments if argument.kind not in ("when", "amount", "option")]
    if effect != "read":
        reasons["trusted"] = "results are not trusted until a person says so"
    elif definition.annotations.get("openWorldHint") is True:
        reasons["trusted"] = "the server says that it reaches the open world"
    elif own and not outside and not points:
        reasons["trusted"] = f"`{own}`: it tells what the server itself knows, and no outsider writes that"
        return True
    elif outside:
        reasons["trusted"] = f"`{outside}`: outsiders may have written what it returns"
    else:
        reasons["trusted"] = "nothing says that the server alone writes what it returns"
    return False
