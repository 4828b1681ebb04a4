"""What is right by the schema, and probably not what was meant: shown by `remit check`, for the project's own policies.

Whether a condition can never hold, or always does, is asked of the engine's validator. It gives such a condition the
type `False` or `True`, does not look at what is then never evaluated, and so accepts a wrong expression there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.core.effects import CONSEQUENTIAL
from remit.core.errors import DocumentError
from remit.policy import text as cedar_text
from remit.policy import validation
from remit.policy.compiled.facts import conditions_of
from remit.policy.compiled.values import Unsupported
from remit.policy.placing import conditions_in
from remit.policy.schema import Vocabulary
from remit.policy.sources import Policy

# Of leading conditions those by which an index leaves policies out.
_HOT: Final = frozenset({"equal", "within", "contains"})
_WRONG: Final = "(!1)"
# Scripts whose letters look like Latin ones.
_ALIKE: Final = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "FULLWIDTH", "MATHEMATICAL"})


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """One warning, and where it stands: the line is that of the policy, or of what is odd in it."""

    code: str
    policy: str
    path: str
    line: int
    column: int
    message: str
    next: str
    shown: str = ""
    width: int = 1

    def as_error(self) -> DocumentError:
        """In the form in which mistakes are shown."""
        return DocumentError(
            self.message,
            path=self.path,
            line=self.line,
            column=self.column,
            next_step=self.next,
            code=self.code,
            shown=self.shown,
            width=self.width,
        )


def warnings(policies: Iterable[Policy], vocabulary: Vocabulary) -> list[Warned]:
    """All warnings, in the order of the files. As costly as validating all policies anew."""
    own = sorted((each for each in policies if each.origin == "user"), key=lambda each: (each.ref.path, each.start))
    handle = cedar.Schema.from_json_str(msgspec.json.encode(vocabulary.cedar_json()).decode(), release_gil=True)
    groups = {name: validation.groups_of(known) for name, known in vocabulary.actions.items()}
    active = [each for each in own if not validation.is_idle(each, vocabulary, groups)]
    never = _constant(active, handle, "if ({}) then " + _WRONG + " else true")
    always = _constant(active, handle, "if ({}) then true else " + _WRONG)
    found: list[Warned] = []
    for policy in own:
        found += _odd_characters(policy)
        if policy not in active:
            what = f"policy `{policy.id}` covers no action that there is"
            found.append(_warned("covers_nothing", policy, what, "correct its scope, or remove it"))
        elif policy.id in never:
            what = f"policy `{policy.id}` can never apply: its conditions are never true together"
            found.append(_warned("never_applies", policy, what, "look at which of them contradict each other"))
        elif (known := _permits_everything(policy, policy.id in always, vocabulary, groups)) is not None:
            what = f"policy `{policy.id}` permits `{known}` to everybody, without a condition"
            found.append(_warned("permits_everything", policy, what, "name who, or add a condition with `when`"))
        elif not is_indexed(policy):
            what = (
                f"policy `{policy.id}` is looked at for every request: neither scope nor a first condition narrows it"
            )
            step = "name actions in its scope, or begin with an equality such as `context.task.intent == …`"
            found.append(_warned("not_indexed", policy, what, step))
    return found


def is_indexed(policy: Policy) -> bool:
    """Whether a look at an index can leave the policy out: by its scope, or a leading comparison with a literal."""
    if any(policy.json[part]["op"] in ("==", "in") or "in" in policy.json[part] for part in _PARTS):
        return True
    try:
        return any(each.fact.kind in _HOT and each.fact.wanted for each in conditions_of(policy.json))
    except Unsupported:
        return False


_PARTS: Final = ("principal", "action", "resource")


def _constant(policies: Sequence[Policy], handle: Any, form: str) -> set[str]:
    """The policies whose conditions, put into `form`, are accepted although that has something wrong in it."""
    probes = [(policy.id, probe) for policy in policies if (probe := _probe(policy, form))]
    if not probes:
        return set()
    try:
        joined = "\n".join(probe for _, probe in probes)
        errors = msgspec.json.decode(cedar.validate_policies(joined, handle, release_gil=True))["errors"]
    except ValueError:
        return set()  # one that can't be put so spoils them all
    wrong = {error.get("policy_id", "") for error in errors}
    if "" in wrong:
        return set()
    return {id_ for number, (id_, _) in enumerate(probes) if f"policy{number}" not in wrong}


def _probe(policy: Policy, form: str) -> str:
    text = policy.checked or policy.text
    head, bodies = conditions_in(text)
    if not bodies:
        return ""
    whole = " && ".join(f"({body})" if kind == "when" else f"!({body})" for kind, body in bodies)
    before, after = form.split("{}")
    return f"{head}\nwhen {{ {before}\n{whole}\n{after} }};"


def _permits_everything(
    policy: Policy, is_always: bool, vocabulary: Vocabulary, groups: dict[str, frozenset[tuple[str, str]]]
) -> str | None:
    """A consequential action that the policy permits whoever asks; None where it does not."""
    if policy.effect != "permit" or (policy.json.get("conditions") and not is_always):
        return None
    if policy.json["principal"]["op"] not in ("All", "is") or "in" in policy.json["principal"]:
        return None
    # Of several, one that a person knows: a tool, and no request of the protocol.
    for name, known in sorted(vocabulary.actions.items(), key=lambda each: ("/mcp:" in each[0], each[0])):
        if known.is_tool and not CONSEQUENTIAL.isdisjoint(known.groups) and validation.covers(policy, name, groups):
            return name
    return None


def _odd_characters(policy: Policy) -> Iterator[Warned]:
    """Words and strings that mix letters that look alike, and characters that can't be seen."""
    if policy.source.text.isascii():
        return
    for token in cedar_text.tokens(policy.source.text[policy.start : policy.end]):
        if token.kind not in ("string", "word") or token.text.isascii():
            continue
        if any(unicodedata.category(char) == "Cf" for char in token.text):
            what, step = "has a character that can't be seen", "remove it, or write it as `\\u{…}`"
        elif {"LATIN"} < _scripts(token.text) and not _ALIKE.isdisjoint(_scripts(token.text)):
            what, step = "mixes letters of several scripts that look alike", "write it in one script"
        else:
            continue
        at = policy.start + token.start
        yield _warned("odd_characters", policy, f"{token.text[:80]!a} {what}", step, at, len(token.text))


def _scripts(text: str) -> set[str]:
    return {unicodedata.name(char, " ").split()[0] for char in text if char.isalpha()}


def _warned(code: str, policy: Policy, message: str, step: str, at: int = -1, width: int = 0) -> Warned:
    effect = policy.end - len(policy.text)
    place = effect if policy.source.text.startswith(policy.effect, max(effect, 0)) else policy.start
    if at >= 0:
        place = at
    line, column = cedar_text.position(policy.source.text, place)
    return Warned(
        code=code,
        policy=policy.id,
        path=policy.ref.path,
        line=line,
        column=column,
        message=message,
        next=step,
        shown=cedar_text.line_at(policy.source.text, line),
        width=width or len(policy.effect),
    )
