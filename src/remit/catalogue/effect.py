"""The effect of a tool, guessed from its name, description, arguments and annotations.

1. The verb of the name decides, together with what it acts on.
2. The first verb of the description, and what its sentences say, can only raise that.
3. So can the arguments, and the annotations: a stranger's hint never lowers the risk.
4. Where nothing says what a tool does, it is taken to execute something.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from remit.catalogue import verbs
from remit.catalogue.definitions import Definition
from remit.catalogue.verbs import ObjectRule, VerbRule
from remit.catalogue.words import first_sentence, forms, mentions, words_of_name, words_of_text
from remit.core.effects import Effect

_LEAD: Final = 3  # the verb of a description is among its first words: "This tool sends"


class Finding(NamedTuple):
    """One guess and the sentence that says why."""

    effect: Effect
    because: str


class _Verb(NamedTuple):
    word: str
    stem: str
    rule: VerbRule


class Reading(NamedTuple):
    """The words of a definition that the rules look at."""

    name: tuple[str, ...]
    sentence: tuple[str, ...]
    description: str
    arguments: tuple[tuple[str, ...], ...]


def effect_of(definition: Definition) -> Finding:
    """The most consequential effect that a rule finds, with its reason."""
    reading = Reading(
        name=words_of_name(definition.name),
        sentence=words_of_text(first_sentence(definition.description)),
        description=definition.description[:4_000].lower(),
        arguments=tuple(words_of_name(str(argument)) for argument in argument_schemas(definition)),
    )
    said = _by_words(reading)
    findings = said or [Finding("execute", "nothing says what the tool does, and it may do anything")]
    findings += _by_sentences(reading)
    findings += _by_arguments(reading, _most_consequential(findings).effect)
    findings += _by_annotations(definition, reading, _most_consequential(findings).effect)
    return _most_consequential(findings)


def argument_schemas(definition: Definition) -> dict[str, object]:
    """The schemas of the top-level arguments by name; empty where the schema doesn't name them."""
    properties = definition.input_schema.get("properties")
    return dict(properties) if isinstance(properties, dict) else {}


def _most_consequential(findings: list[Finding]) -> Finding:
    return max(findings, key=lambda finding: verbs.RANK.index(finding.effect))


def _by_words(reading: Reading) -> list[Finding]:
    findings = _by_proof(reading)
    if findings:
        return findings
    named = _verbs_of_name(reading.name)
    findings = [_of_verb(verb, reading, reading.name, "name") for verb in named]
    objects = reading.name if named else reading.name + reading.sentence[:8]
    findings += [_of_verb(verb, reading, objects, "description") for verb in _verbs_of_sentence(reading, named)]
    return findings


def _by_proof(reading: Reading) -> list[Finding]:
    """Confirming by a one-time code completes something that was begun: a payment, or a change of an account."""
    proving = mentions(reading.name, verbs.PROVING)
    if not proving or not any(mentions(words, verbs.ONE_TIME) for words in reading.arguments):
        return []
    money = mentions(reading.name + reading.sentence, verbs.MONEY)
    if money:
        return [Finding("pay", f"a one-time code completes a payment (`{money}`)")]
    return [Finding("configure", "a one-time code completes a change of an account")]


def _verbs_of_name(name: tuple[str, ...]) -> list[_Verb]:
    """The verb that leads the name; with `and` or `or` behind it, the verb after that as well."""
    first = _first_of_any(name)
    if first is None:
        return []
    later = [word for before, word in pairwise(name) if before in ("and", "or")]
    return [first, *(verb for word in later if (verb := _first_of_any((word,))) is not None)]


def _verbs_of_sentence(reading: Reading, named: list[_Verb]) -> list[_Verb]:
    """The verb that leads the description, with those listed behind it: "List, create or close a tab"."""
    words = reading.sentence
    first = _first(words[:_LEAD], nouns=False)
    if first is None:
        # A word such as `order` leads a description as a verb only if nothing else says what the tool does.
        alone = None if named else _first(words[:1], nouns=True)
        return [alone] if alone is not None else []
    found = [first]
    for word in words[words.index(first.word) + 1 :]:
        verb = _first((word,), nouns=False)
        if verb is None and word not in ("and", "or"):
            break
        found += [verb] if verb is not None else []
    return found


def _first_of_any(words: tuple[str, ...]) -> _Verb | None:
    return _first(words, nouns=False) or _first(words, nouns=True)


def _first(words: tuple[str, ...], *, nouns: bool) -> _Verb | None:
    for word in words:
        for rule in verbs.VERBS:
            if nouns:
                stem = word if word in rule.nouns else ""
            else:
                stem = next((form for form in forms(word) if form in rule.verbs), "")
            if stem:
                return _Verb(word, stem, rule)
    return None


def _of_verb(verb: _Verb, reading: Reading, objects: tuple[str, ...], where: str) -> Finding:
    rest = tuple(word for word in objects if word != verb.word)
    flat = tuple(word for words in reading.arguments for word in words)
    for rule in verbs.OBJECTS:
        found = _applies(rule, verb, rest + flat if rule.arguments else rest)
        if found:
            return Finding(rule.effect, f"the {where}'s `{verb.word}` with `{found}` {rule.because}")
    return Finding(verb.rule.effect, f"the {where}'s verb `{verb.word}` {verb.rule.because}")


def _applies(rule: ObjectRule, verb: _Verb, words: tuple[str, ...]) -> str:
    if verb.stem not in rule.verbs and verb.rule.effect not in rule.effects:
        return ""
    return "" if mentions(words, rule.unless) else mentions(words, rule.objects)


def _by_sentences(reading: Reading) -> list[Finding]:
    return [Finding(rule.effect, rule.because) for rule in verbs.SENTENCES if rule.pattern.search(reading.description)]


def _by_arguments(reading: Reading, so_far: Effect) -> list[Finding]:
    def takes(wanted: frozenset[str]) -> str:
        return next((" ".join(words) for words in reading.arguments if mentions(words[-1:], wanted)), "")

    found: list[Finding] = []
    if command := takes(verbs.COMMAND_ARGUMENTS):
        found.append(Finding("execute", f"the argument `{command}` is something to run"))
    if (address := takes(verbs.ADDRESS_ARGUMENTS)) and (body := takes(verbs.BODY_ARGUMENTS)):
        found.append(Finding("send", f"the arguments `{address}` and `{body}` send data to an address"))
    if so_far != "read" and (amount := takes(verbs.AMOUNT_ARGUMENTS)) and (payee := takes(verbs.PAYEE_ARGUMENTS)):
        found.append(Finding("pay", f"the arguments `{amount}` and `{payee}` say how much goes to whom"))
    if so_far != "read" and (to := takes(verbs.RECIPIENT_ARGUMENTS)) and (text := takes(verbs.TEXT_ARGUMENTS)):
        found.append(Finding("send", f"the arguments `{to}` and `{text}` address a text to somebody"))
    if submit := takes(verbs.SUBMIT_ARGUMENTS):
        found.append(Finding("send", f"the argument `{submit}` has it sent as well"))
    return found


def _by_annotations(definition: Definition, reading: Reading, so_far: Effect) -> list[Finding]:
    """What the server says of itself is believed only where it raises the risk (MCP: annotations are untrusted)."""
    # SECURITY: `readOnlyHint: true` and `destructiveHint: false` are not looked at.
    hints = definition.annotations
    found: list[Finding] = []
    if hints.get("readOnlyHint") is False and so_far == "read":
        found.append(Finding("write", "the server says that the tool is not read-only"))
    if hints.get("destructiveHint") is True and hints.get("readOnlyHint") is not True:
        undoing = mentions(reading.name, verbs.UNDOING)
        if so_far == "read":
            found.append(Finding("delete", "the server says that the tool destroys something"))
        elif undoing:
            found.append(Finding("delete", f"`{undoing}` loses work, and the server says that it destroys something"))
    return found
