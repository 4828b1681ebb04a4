"""Rules of Dogwood as Cedar: what only Dogwood has becomes a read of the context (guide, chapter 08, section 4).

1. `temporal { φ }` becomes `context.temporal["<policy id>/<n>"]`; φ is a `Leaf`.
2. `Ns::Fn(arguments).method(…)` becomes `context.providers["<policy id>/<n>"]`; the call is an `Invocation`.
3. Calls of `def cedar` macros become their bodies, in parentheses, with the arguments in parentheses.
4. The scope gets its three variables in order; the word `guardrails` goes.
5. Everything else stays as it was written, and Cedar's own parser judges it.

SECURITY: text is put together from whole tokens and quoted names only, so nothing in an id or an argument can end what
it stands in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from remit.policy import text as cedar_text
from remit.policy.dogwood import conditions, lexer
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.bodies import FUNCTIONS, KEYWORDS, METHODS, check_expression
from remit.policy.dogwood.invocations import Call, Invocation, read_arguments
from remit.policy.dogwood.macros import Macro, Macros, instead
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.rules import Rule
from remit.policy.text import Token

MAX_LEAVES: Final = 16  # of one policy; and as many calls of providers
LEAF: Final = "leaf"  # the name that every leaf has for the validator

_VARIABLES: Final = ("principal", "action", "resource")
_TEMPLATES: Final = ("?principal", "?resource")


@dataclass(frozen=True, slots=True)
class Lowered:
    """A rule as Cedar."""

    text: str
    checked: str  # with names in the place of ids that are the same for every policy: what the validator sees
    leaves: tuple[Leaf, ...]
    invocations: tuple[Invocation, ...]
    written: str  # the text of the file that the rule stands in
    _starts: tuple[int, ...] = field(repr=False)  # of the parts in `text`
    _places: tuple[tuple[int, bool], ...] = field(repr=False)  # where each was written, and whether as it stands

    def original(self, offset: int) -> int:
        """Where in the file that was written which stands at `offset` of `text`."""
        place = max(0, bisect_right(self._starts, offset) - 1)
        at, is_same = self._places[place]
        return at + offset - self._starts[place] if is_same else at


def lower(rule: Rule, macros: Macros) -> Lowered:
    """The rule as Cedar, with what it reads of the past and of providers. Raises `Mistake`."""
    return _Lowering(rule, macros).run()


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    at: int  # where it was written
    is_same: bool = False  # whether just so
    checked: str | None = None  # what the validator sees instead


class _Lowering:
    __slots__ = ("_id", "_invocations", "_leaves", "_macros", "_parts", "_text", "_tokens")

    def __init__(self, rule: Rule, macros: Macros) -> None:
        self._id = rule.id
        self._text = rule.text
        self._tokens = rule.tokens
        self._macros = macros
        self._parts: list[_Part] = []
        self._leaves: list[Leaf] = []
        self._invocations: list[Invocation] = []

    def run(self) -> Lowered:
        place = self._annotations()
        effect = self._tokens[place]
        if effect.text not in ("permit", "forbid"):
            raise Mistake(effect.start, f"a policy begins with `permit` or `forbid`, not `{effect.text[:40]}`")
        self._same(place, place + 1)
        place = self._scope(place + 1)
        while self._tokens[place].text != ";":
            place = self._clause(place)
        self._same(place, place + 1)
        if place + 1 != len(self._tokens):
            raise Mistake(self._tokens[place].start, "this is not one whole policy", "end each policy with `;`")
        starts: list[int] = []
        length = 0
        for part in self._parts:
            starts.append(length)
            length += len(part.text)
        return Lowered(
            text="".join(part.text for part in self._parts),
            checked="".join(part.text if part.checked is None else part.checked for part in self._parts),
            leaves=tuple(self._leaves),
            invocations=tuple(self._invocations),
            written=self._text,
            _starts=tuple(starts),
            _places=tuple((part.at, part.is_same) for part in self._parts),
        )

    # --- the frame of a rule --------------------------------------------------------------------------------

    def _annotations(self) -> int:
        """Copies `@name("…")`…; the place of what follows."""
        place = 0
        while self._tokens[place].text == "@":
            start, place = place, place + 2
            if place < len(self._tokens) and self._tokens[place].text == "(":
                place = lexer.closing(self._tokens, place) + 1
            if place >= len(self._tokens):
                raise Mistake(self._tokens[start].start, "an annotation stands before a policy")
            self._same(start, place)
        return place

    def _scope(self, place: int) -> int:
        """Copies `(principal, action, resource)`, completed and in order."""
        opening = self._tokens[place]
        if opening.text != "(":
            raise Mistake(opening.start, "the scope is missing", "write `(principal, action, resource)`")
        end = lexer.closing(self._tokens, place)
        found: dict[str, tuple[int, int]] = {}
        for start, stop in self._split(place + 1, end, may_end_with_comma=True):
            found[self._variable(start, stop, found)] = (start, stop)
        if list(found) == list(_VARIABLES) and self._tokens[end - 1].text != ",":
            self._same(place, end + 1)
            return end + 1
        self._same(place, place + 1)
        for number, variable in enumerate(_VARIABLES):
            if number:
                self._add(_Part(", ", opening.start))
            if variable in found:
                start, stop = found[variable]
                self._same(start, stop, gap=False)
            else:
                self._add(_Part(variable, opening.start))
        self._same(end, end + 1, gap=False)
        return end + 1

    def _variable(self, start: int, stop: int, found: Mapping[str, tuple[int, int]]) -> str:
        token = self._tokens[start]
        following = self._tokens[start + 1].text if start + 1 < stop else ""
        if len(found) == len(_VARIABLES):
            raise Mistake(token.start, f"`{token.text[:40]}` is one too many in the scope", "it has three variables")
        if token.text not in _VARIABLES:
            raise Mistake(
                token.start, f"`{token.text[:40]}` is no variable of the scope", "use `principal`, `action`, `resource`"
            )
        if token.text in found:
            raise Mistake(token.start, f"`{token.text}` stands twice in the scope")
        if following == ":":
            raise Mistake(token.start, f"`{token.text} : Type` is not supported", f"write `{token.text} is Type`")
        if following == "=":
            raise Mistake(self._tokens[start + 1].start, "`=` compares nothing", "write `==`")
        if following not in ("", "==", "in", "is"):
            raise Mistake(
                self._tokens[start + 1].start, f"a scope has `==`, `in` or `is`, not `{following[:40]}`", "use `when`"
            )
        return token.text

    def _clause(self, place: int) -> int:
        """Copies `when { … }`, with what Dogwood adds."""
        keyword = self._tokens[place]
        if keyword.text not in ("when", "unless"):
            raise Mistake(
                keyword.start,
                f"`when`, `unless` or `;` is expected, not `{keyword.text[:40]}`",
                "end the policy with `;`",
            )
        self._same(place, place + 1)
        tag = self._tokens[place + 1] if place + 1 < len(self._tokens) else keyword
        is_tagged = tag.text in ("temporal", "guardrails")
        opening = place + 1 + is_tagged
        if opening >= len(self._tokens) or self._tokens[opening].text != "{":
            raise Mistake(
                tag.start,
                f"`{{` is expected after `{keyword.text}`, not `{tag.text[:40]}`",
                f"write `{keyword.text} {{ … }}` or `{keyword.text} temporal {{ … }}`",
            )
        end = lexer.closing(self._tokens, opening)
        if tag.text == "temporal":
            self._add(_Part(" { ", tag.start))
            self._add(self._leaf(self._tokens, place + 1, end))
            self._add(_Part(" }", self._tokens[end].start))
            return end + 1
        if is_tagged:
            self._add(_Part(" ", tag.start))
        self._same(opening, opening + 1, gap=not is_tagged)
        self._expression(opening + 1, end)
        self._same(end, end + 1)
        return end + 1

    # --- expressions ----------------------------------------------------------------------------------------

    def _expression(self, start: int, stop: int) -> None:
        """Copies an expression with its white space and comments."""
        place = start
        while place < stop:
            parts, after = self._special(self._tokens, place, stop)
            if not parts:
                after = place + 1
                self._same(place, after)
            else:
                self._gap(place)
                for part in parts:
                    self._add(part)
            place = after

    def _compact(self, found: Sequence[Token]) -> list[_Part]:
        """An expression as it is put into a macro: without comments, on one line."""
        parts: list[_Part] = []
        place = 0
        while place < len(found):
            special, after = self._special(found, place, len(found))
            parts += special or [_Part(found[place].text, found[place].start, is_same=True)]
            parts.append(_Part(" ", found[place].start))
            place = after if special else place + 1
        return parts[:-1]

    def _special(self, found: Sequence[Token], place: int, stop: int) -> tuple[list[_Part], int]:
        """What stands here, where it is not plain Cedar, and the place after it."""
        token = found[place]
        before = found[place - 1].text if place else ""
        after = found[place + 1].text if place + 1 < stop else ""
        if token.kind == "sigil" and token.text not in _TEMPLATES:
            what = "a macro's parameter" if token.text[0] == "?" else "a macro's own variable"
            raise Mistake(token.start, f"`{token.text}` is {what}, and stands outside of a macro", "use a value here")
        if token.kind != "word":
            return [], place
        if before == ".":
            if after == "(" and token.text not in METHODS:
                raise Mistake(
                    token.start,
                    f"there is no method `{token.text}`",
                    "methods of a provider stand directly after its call, before any field",
                )
            return [], place
        if before in ("::", "@"):
            return [], place
        if token.text == "temporal" and after == "{":
            end = lexer.closing(found, place + 1)
            return [self._leaf(found, place, end)], end + 1
        if after == "::":
            return self._invocation(found, place, stop)
        if after == "(" and token.text not in FUNCTIONS | KEYWORDS:
            return self._macro(found, place)
        return [], place

    def _leaf(self, found: Sequence[Token], place: int, end: int) -> _Part:
        """The read in the place of `temporal { … }`, which begins at `place` and ends at `end`."""
        token = found[place]
        if len(self._leaves) >= MAX_LEAVES:
            raise Mistake(token.start, f"a policy has at most {MAX_LEAVES} temporal conditions", "write several")
        name = f"{self._id}/{len(self._leaves)}"
        condition = conditions.parse_tokens(found[place + 2 : end], found[end].start, self._macros)
        self._leaves.append(Leaf(name, condition, token.start))
        return _read("temporal", name, LEAF, token.start)

    def _invocation(self, found: Sequence[Token], place: int, stop: int) -> tuple[list[_Part], int]:
        names = [found[place].text]
        last = place
        while last + 2 < stop and found[last + 1].text == "::" and found[last + 2].kind == "word":
            last += 2
            names.append(found[last].text)
        if last + 1 >= stop or found[last + 1].text != "(":
            return [], place
        token = found[place]
        if len(self._invocations) >= MAX_LEAVES:
            raise Mistake(token.start, f"a policy calls providers at most {MAX_LEAVES} times", "write several policies")
        calls: list[Call] = []
        here = last + 1
        name, at = "::".join(names), token.start
        while True:
            end = lexer.closing(found, here)
            calls.append(Call(name, read_arguments(self._pass(found, here + 1, end)), at))
            here = end + 3
            if here >= stop or found[end + 1].text != "." or found[here].text != "(":
                break
            if found[end + 2].kind != "word" or found[end + 2].text in METHODS:
                break
            name, at = found[end + 2].text, found[end + 2].start
        named = f"{self._id}/{len(self._invocations)}"
        invocation = Invocation(named, calls[0].name, calls[0].arguments, tuple(calls[1:]), token.start)
        self._invocations.append(invocation)
        return [_read("providers", named, invocation.pipeline, token.start)], end + 1

    def _pass(self, found: Sequence[Token], start: int, end: int) -> list[list[Token]]:
        """The arguments between parentheses; with calls of macros put in."""
        several: list[list[Token]] = []
        for first, last in _split(found, start, end):
            tokens = list(found[first:last])
            if any(each.kind == "word" and after.text == "(" for each, after in pairwise(tokens)):
                at = tokens[0].start
                text = "".join(part.text for part in self._compact(tokens))
                tokens = [Token(each.kind, each.text, at) for each in lexer.tokens(text)]
            several.append(tokens)
        return several

    def _macro(self, found: Sequence[Token], place: int) -> tuple[list[_Part], int]:
        name = found[place]
        macro = self._macros.get(name.text)
        if macro is None:
            known = [each.name for each in self._macros.values() if each.kind == "cedar"]
            raise Mistake(
                name.start, f"there is no function or macro `{name.text}`", instead(name.text, known, "cedar")
            )
        if macro.kind != "cedar":
            raise Mistake(
                name.start, f"`{name.text}` is a macro of temporal conditions", "call it within `temporal { … }`"
            )
        end = lexer.closing(found, place + 1)
        passed = [self._compact(found[first:last]) for first, last in _split(found, place + 2, end)]
        if len(passed) != len(macro.parameters):
            wanted = ", ".join(f"?{parameter}" for parameter in macro.parameters) or "none"
            raise Mistake(
                name.start,
                f"the macro `{macro.name}` takes {len(macro.parameters)} arguments, not {len(passed)}",
                f"its parameters are: {wanted}",
            )
        used = {token.text[1:] for token in macro.body if token.kind == "sigil"}
        for parameter, parts in zip(macro.parameters, passed, strict=True):
            if parameter not in used:
                # Nobody else would look at it.
                check_expression("".join(part.text for part in parts), parts[0].at)
        return list(_expanded(macro, passed, name.start)), end + 1

    # --- parts ----------------------------------------------------------------------------------------------

    def _split(self, start: int, end: int, *, may_end_with_comma: bool = False) -> list[tuple[int, int]]:
        return list(_split(self._tokens, start, end, may_end_with_comma=may_end_with_comma))

    def _same(self, start: int, stop: int, *, gap: bool = True) -> None:
        """Copies tokens as they were written, with what stands between them; with `gap`, also before them."""
        if gap:
            self._gap(start)
        at = self._tokens[start].start
        self._add(_Part(self._text[at : self._tokens[stop - 1].end], at, is_same=True))

    def _gap(self, place: int) -> None:
        if place:
            at = self._tokens[place - 1].end
            self._add(_Part(self._text[at : self._tokens[place].start], at, is_same=True))

    def _add(self, part: _Part) -> None:
        if part.text:
            self._parts.append(part)


def _expanded(macro: Macro, passed: Sequence[Sequence[_Part]], at: int) -> Iterator[_Part]:
    by_name = dict(zip(macro.parameters, passed, strict=True))
    count = 0
    yield _Part("(", at)
    for token in macro.body:
        parts = by_name[token.text[1:]] if token.kind == "sigil" else [_Part(token.text, at)]
        count += len(parts)
        if count > cedar_text.MAX_POLICY_TOKENS:
            # SECURITY: an argument that stands twice, in calls within each other, doubles with each.
            raise Mistake(at, f"the macro `{macro.name}` grows the policy beyond {cedar_text.MAX_POLICY_TOKENS} tokens")
        if token.kind == "sigil":
            yield _Part("(", at)
            yield from parts
            yield _Part(")", at)
        else:
            yield from parts
        yield _Part(" ", at)
    yield _Part(")", at)


def _read(record: str, name: str, checked: str, at: int) -> _Part:
    return _Part(
        f"context.{record}[{cedar_text.quote(name)}]", at, checked=f"context.{record}[{cedar_text.quote(checked)}]"
    )


def _split(
    found: Sequence[Token], start: int, end: int, *, may_end_with_comma: bool = False
) -> Iterator[tuple[int, int]]:
    """Where each of the parts begins and ends that commas separate."""
    if start == end:
        return
    first, place = start, start
    while place < end:
        if found[place].text in ("(", "[", "{"):
            place = lexer.closing(found, place)
        elif found[place].text == ",":
            if first == place:
                raise Mistake(found[place].start, "something is missing before the `,`")
            yield first, place
            first = place + 1
        place += 1
    if first < end:
        yield first, end
    elif not may_end_with_comma:
        raise Mistake(found[end].start, "something is missing after the `,`")
