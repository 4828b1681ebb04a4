"""What a tool's arguments mean: selectors or content, personal or not, and which one names a destination.

The head noun of an argument's name is its last word (`comment_body` is a body), so the words are looked up from
the last to the first. An argument that no rule knows is taken as a selector, the stricter of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from remit.catalogue.definitions import Definition
from remit.catalogue.effect import argument_schemas
from remit.catalogue.words import forms, mentions, words_of_name, words_of_text
from remit.core.effects import Effect

Role = Literal["selector", "content"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class ArgumentRule(NamedTuple):
    """Arguments of one meaning, by words of their names."""

    kind: str
    role: Role
    because: str
    words: frozenset[str]


ARGUMENTS: Final[tuple[ArgumentRule, ...]] = (
    ArgumentRule(
        "secret",
        "selector",
        "is a secret or a key, and chooses who gets in",
        _words("password passwd passphrase secret token otp totp passcode pin credential apikey key cvv cookie"),
    ),
    ArgumentRule(
        "where",
        "selector",
        "chooses where the call goes",
        _words("url uri href link host hostname domain endpoint webhook website webpage site ip port server origin"),
    ),
    ArgumentRule(
        "who",
        "selector",
        "chooses who is concerned",
        _words(
            "recipient to cc bcc email mail address participant attendee guest invitee user username owner assignee"
            " reviewer collaborator member contact customer client payee beneficiary sender from author iban bic"
            " account phone mobile channel group team person people employee patient receiver handle merchant role"
        ),
    ),
    ArgumentRule(
        "path",
        "selector",
        "chooses which file or place",
        _words(
            "path dir directory folder file filename filepath source destination src dst dest target root cwd"
            " attachment pattern glob location"
        ),
    ),
    ArgumentRule(
        "when",
        "selector",
        "chooses when",
        _words(
            "date day time start end when until since before after deadline due month year week timestamp timezone cron"
        ),
    ),
    ArgumentRule(
        "amount",
        "selector",
        "chooses how much",
        _words(
            "amount price total quantity qty sum cost count limit max maximum min minimum size n k top head tail page"
            " offset line depth budget rating percentage number"
        ),
    ),
    ArgumentRule(
        "which",
        "selector",
        "chooses which one",
        _words(
            "id uuid guid identifier sha hash revision rev ref commit branch tag version index slug cursor name repo"
            " repository project table database collection bucket model code category status state type"
        ),
    ),
    ArgumentRule(
        "text",
        "content",
        "is text or data that is handed over",
        _words(
            "body content message text comment description summary note subject title caption html markdown query"
            " question prompt instruction q keyword reason data payload value input edit patch json xml image audio"
            " answer reply bio memo thought observation"
        ),
    ),
)

# Of these kinds every argument is recorded as a commitment, but for groups of people.
_PERSONAL_KINDS: Final = frozenset({"who", "secret"})
_NOT_PERSONAL: Final = _words("channel group team to role server merchant cursor key")
_COMPARED: Final = _words("match matching pattern regex regexp filter contain containing whose")
PERSONAL: Final = _words(
    "email address phone mobile iban username fullname firstname lastname surname birthday birthdate ssn passport"
    " salary password passwd secret credential ssh cvv diagnosis"
)
_PERSONAL_PAIRS: Final = frozenset(
    {
        ("first", "name"),
        ("last", "name"),
        ("full", "name"),
        ("birth", "date"),
        ("id", "number"),
        ("account", "number"),
        ("api", "key"),
        ("access", "key"),
        ("private", "key"),
    }
)
_ADDRESSES: Final = _words("url uri hostname")
_REFERENCES: Final = _words("id uuid guid")
_TOKEN_COUNTS: Final = _words("max min count limit num total")


class Argument(NamedTuple):
    """What is guessed of one argument."""

    name: str
    kind: str
    role: Role
    because: str


def arguments_of(definition: Definition) -> tuple[Argument, ...]:
    """All top-level arguments that the schema names, in its order."""
    return tuple(_argument(str(name), schema) for name, schema in argument_schemas(definition).items())


def personal_of(arguments: tuple[Argument, ...], effect: Effect) -> dict[str, str]:
    """The arguments whose values are recorded as commitments, as `input.<name>`, each with its reason."""
    found: dict[str, str] = {}
    for argument in arguments:
        words = words_of_name(argument.name)
        if is_personal(words):
            found[f"input.{argument.name}"] = f"`{argument.name}` names or describes a person, or is a secret"
        elif argument.kind in _PERSONAL_KINDS and not set(words[-1:]) & _NOT_PERSONAL:
            found[f"input.{argument.name}"] = f"`{argument.name}` {argument.because}, who may be a person"
        elif argument.kind == "text" and effect in ("send", "share"):
            found[f"input.{argument.name}"] = f"`{argument.name}` is text to other people"
    return found


def destination_of_tool(arguments: tuple[Argument, ...], schemas: Mapping[str, object]) -> tuple[str, str]:
    """`input.<name>` of the one argument that holds an address on a network, and the reason; empty for none."""
    named = [argument.name for argument in arguments if _is_address(argument, schemas[argument.name])]
    if not named:
        return "", ""
    if len(named) > 1:
        return f"input.{named[0]}", f"`{named[0]}` is the first of several addresses; say which one is called"
    return f"input.{named[0]}", f"`{named[0]}` holds the address that is called"


def is_personal(words: tuple[str, ...]) -> bool:
    """Whether a name stands for something about a person, or for a secret."""
    if words and any(form in _REFERENCES for form in forms(words[-1])):
        return False
    return any(form in PERSONAL for word in words for form in forms(word)) or any(
        pair in _PERSONAL_PAIRS for pair in pairwise(words)
    )


def types_of(schema: object) -> frozenset[str]:
    """The JSON types that a schema names, in `type` and in the branches of `anyOf` and `oneOf`."""
    if not isinstance(schema, dict):
        return frozenset()
    types: set[str] = set()
    for branch in (schema, *_branches(schema)):
        named = branch.get("type")
        types.update(item for item in (named if isinstance(named, list) else [named]) if isinstance(item, str))
    return frozenset(types)


def _argument(name: str, schema: object) -> Argument:
    words = words_of_name(name)
    types = types_of(schema) - {"null"}
    if types == {"boolean"}:
        return Argument(name, "option", "selector", "is a switch and chooses how")
    for branch in (schema, *_branches(schema)) if isinstance(schema, dict) else ():
        if branch.get("format") in ("uri", "url", "iri", "uri-reference", "hostname"):
            return Argument(name, "where", "selector", "holds an address and chooses where the call goes")
        if isinstance(branch.get("enum"), list):
            return Argument(name, "option", "selector", "is one of a few values and chooses how")
    for word in reversed(words):
        for rule in ARGUMENTS:
            if any(form in rule.words for form in forms(word)) and not _counts_tokens(rule, words):
                return Argument(name, rule.kind, rule.role, rule.because)
    if types & {"integer", "number"}:
        return Argument(name, "amount", "selector", "is a number and chooses how much")
    return Argument(name, "unknown", "selector", "is known to no rule, and a selector is the stricter of the two")


def _counts_tokens(rule: ArgumentRule, words: tuple[str, ...]) -> bool:
    return rule.kind == "secret" and bool(set(words) & _TOKEN_COUNTS)


def _is_address(argument: Argument, schema: object) -> bool:
    if "string" not in types_of(schema):
        return False
    if argument.kind == "where":
        return "port" not in words_of_name(argument.name)
    described = schema.get("description", "") if isinstance(schema, dict) else ""
    words = words_of_text(described)[:12] if isinstance(described, str) else ()
    return bool(_ADDRESSES & set(words)) and not mentions(words, _COMPARED) and argument.kind != "option"


def _branches(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        if isinstance(branches, list):
            found += [branch for branch in branches if isinstance(branch, dict)]
    return found
