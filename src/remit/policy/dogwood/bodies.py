"""Bodies of `def cedar`: plain Cedar with parameters, checked before any call (Dogwood guide, chapter 06)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cedarpy import _internal as cedar

from remit.policy import text as cedar_text
from remit.policy.dogwood import lexer
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.text import Token

FUNCTIONS: Final = frozenset({"decimal", "datetime", "duration", "ip"})  # that Cedar has
METHODS: Final = frozenset(
    {
        *("contains", "containsAll", "containsAny", "isEmpty", "getTag", "hasTag"),
        *("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"),
        *("isIpv4", "isIpv6", "isLoopback", "isMulticast", "isInRange", "offset", "durationSince"),
        *("toDate", "toTime", "toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"),
    }
)
KEYWORDS: Final = frozenset({"if", "then", "else", "in", "is", "has", "like"})
_NAMING: Final = frozenset({".", "::", "has", "like", "is", "@"})  # a name follows, not an expression


def check_body(body: Sequence[Token], parameters: Collection[str]) -> None:
    """Refuses what no call of the macro could make right. Raises `Mistake`."""
    # SECURITY: the engine recurses without a bound of its own.
    over = cedar_text.excess(list(body))
    if over is not None:
        raise Mistake(over[0].start, over[1].replace("the policy", "the macro"), "split it into several")
    checked = ["permit(principal,action,resource)when{("]
    for place, token in enumerate(body):
        before = body[place - 1].text if place else ""
        after = body[place + 1].text if place + 1 < len(body) else ""
        if token.kind == "sigil":
            if token.text[0] == "$":
                raise Mistake(token.start, f"`{token.text}` has no meaning in Cedar", "use a parameter: `?name`")
            if token.text[1:] not in parameters:
                declared = ", ".join(f"?{name}" for name in parameters) or "none"
                raise Mistake(
                    token.start, f"`{token.text}` is no parameter of this macro", f"its parameters are: {declared}"
                )
            if before in _NAMING or after == "::" or (after == ":" and before in ("{", ",")):
                raise Mistake(token.start, f"`{token.text}` can't be a name here", "parameters stand for values only")
            checked.append("(principal)")
            continue
        checked.append(token.text)
        if token.text in ("(", "[", "{"):
            lexer.closing(body, place)
        if token.text == "temporal" and after == "{" and before != ".":
            raise Mistake(
                token.start, "a macro of Cedar can't hold `temporal { … }`", "write it where the macro is called"
            )
        if token.kind == "word" and after == "(" and before != "." and token.text not in FUNCTIONS | KEYWORDS:
            what = "providers" if before == "::" else "macros"
            raise Mistake(token.start, f"a macro's body can't call {what}", "pass what it calls as an argument")
    try:
        cedar.policies_to_json_str(" ".join([*checked, ")};"]))
    except (ValueError, RecursionError) as error:
        raise Mistake(_named(body, str(error)), f"the body is not valid Cedar: {error}") from None


def check_expression(text: str, at: int) -> None:
    """Refuses what is no expression of Cedar. Raises `Mistake`."""
    whole = f"permit(principal,action,resource)when{{({text})}};"
    over = cedar_text.excess(list(cedar_text.tokens(whole)))
    if over is not None:
        raise Mistake(at, over[1])
    try:
        cedar.policies_to_json_str(whole)
    except (ValueError, RecursionError) as error:
        raise Mistake(at, f"the argument is not valid Cedar: {error}") from None


def _named(body: Sequence[Token], message: str) -> int:
    """Where the word stands that the engine names."""
    return next((token.start for token in body if f"`{token.text}`" in message), body[0].start)
