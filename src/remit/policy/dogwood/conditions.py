"""The text of `temporal { … }` read into a condition, with macros put in (Dogwood guide, chapter 08, section 2.4).

`&&` binds loosest, `!` binds tighter than `since`; `exists` and `where` reach as far to the right as they can. Read by
recursive descent with one token ahead, so no text takes longer than its length, times the macros it calls.

1. SECURITY: nesting, height and size are bounded, before and after macros were put in.
2. What a macro's body says stands at the call for errors; its arguments stand where they were written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NoReturn

from remit.policy.dogwood import lexer
from remit.policy.dogwood.ast import (
    UNITS,
    And,
    Argument,
    ArrayTerm,
    Binder,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Count,
    DecimalTerm,
    EntityTerm,
    Exists,
    Formerly,
    Not,
    Operator,
    Path,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Wildcard,
    Window,
)
from remit.policy.dogwood.macros import Macro, Macros, Use, instead
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.text import Token

MAX_NESTING: Final = 32  # brackets and operators within each other
MAX_HEIGHT: Final = 96  # of the tree; a chain of `&&` makes it one higher each
MAX_NODES: Final = 4_096  # of the tree, after macros
MAX_AMOUNT: Final = 1_000_000_000  # of a window
_LONG: Final = 1 << 63

_COMPARING: Final[Mapping[str, Operator]] = {"<=": "<=", ">=": ">=", "==": "==", "!=": "!=", "<": "<", ">": ">"}
_TERMS: Final = (
    EntityTerm,
    Constant,
    DecimalTerm,
    ContextTerm,
    ScopeTerm,
    Var,
    Wildcard,
    ArrayTerm,
    Count,
    Sum,
)
_SHAPES: Final[Mapping[Use, str]] = {
    "term": "a value",
    "condition": "a temporal condition",
    "window": "a window such as `1h`, without `within`",
    "binder": "the name of a variable",
}
_HOLE: Final = Predicate("", "", "")  # stands for a parameter while a definition is checked

Passed = Condition | Term | Window


def parse(text: str, macros: Macros | None = None) -> Condition:
    """The condition that `text` is: what stands between the braces of `temporal { … }`. Raises `Mistake`."""
    return parse_tokens(lexer.tokens(text), len(text), macros)


def parse_tokens(found: Sequence[Token], end: int, macros: Macros | None = None) -> Condition:
    """As `parse`, from tokens; `end` is the offset after them."""
    reader = _Reader(found, end, macros or {})
    condition = reader.condition()
    reader.finish()
    check_size(condition, found[0].start)
    return condition


def parse_term(found: Sequence[Token], end: int) -> Term:
    """One value, and nothing else. Raises `Mistake`."""
    reader = _Reader(found, end, {})
    term = reader.term()
    reader.finish()
    return term


def parse_body(found: Sequence[Token], end: int, parameters: Sequence[str]) -> tuple[bool, dict[str, frozenset[Use]]]:
    """Checks the body of a `def temporal`: whether it is an aggregate, and how it uses its parameters."""
    reader = _Reader(found, end, {}, inside=_Inside(None, {}, "", parameters=tuple(parameters)))
    body = reader.either()
    reader.finish()
    if isinstance(body, _TERMS) and not isinstance(body, Count | Sum):
        raise Mistake(found[0].start, "a value is not a condition", "compare it, or end with `count` or `sum`")
    check_size(body, found[0].start)
    inside = reader.inside
    uses = {name: frozenset(inside.uses.get(name, ())) for name in parameters} if inside is not None else {}
    for name, several in uses.items():
        if len(several - {"binder", "term"}) > 1 or (len(several) > 1 and not several <= {"binder", "term"}):
            kinds = " and as ".join(_SHAPES[use] for use in sorted(several))
            raise Mistake(found[0].start, f"the parameter `?{name}` is used as {kinds}", "make two parameters of it")
    return isinstance(body, Count | Sum), uses


def check_size(node: Condition | Term, at: int) -> None:
    """Refuses a tree that is too high or too large. Raises `Mistake`."""
    # SECURITY: whoever walks a condition recurses; and macros may double it at every call.
    waiting: list[tuple[Any, int]] = [(node, 1)]
    count = 0
    while waiting:
        one, height = waiting.pop()
        count += 1
        if height > MAX_HEIGHT or count > MAX_NODES:
            bound = f"is nested more than {MAX_HEIGHT} deep" if height > MAX_HEIGHT else f"has over {MAX_NODES} parts"
            raise Mistake(at, f"the condition {bound}, with its macros put in", "split it into several rules")
        for name in type(one).__slots__:
            value = getattr(one, name)
            if isinstance(value, tuple):
                waiting.extend((item, height + 1) for item in value if not isinstance(item, str))
            elif not isinstance(value, str | int):
                waiting.append((value, height + 1))


def free(node: Condition | Term) -> frozenset[str]:
    """The variables that nothing in `node` binds."""
    match node:
        case Var(name) | Tp(name):
            return frozenset([name])
        case Exists(binder, body):
            return free(body) - {binder.name}
        case Count(binders=binders, body=body) | Sum(binders=binders, body=body):
            summed = {node.summed} if isinstance(node, Sum) else set()
            return (free(body) | summed) - {binder.name for binder in binders}
        case And(left, right) | Since(left=left, right=right) | Comparison(left=left, right=right):
            return free(left) | free(right)
        case Not(body) | Formerly(body=body) | Previous(body=body):
            return free(body)
        case Predicate(arguments=arguments):
            return frozenset().union(*(free(argument.value) for argument in arguments))
        case ArrayTerm(items):
            return frozenset().union(*(free(item) for item in items))
        case _:
            return frozenset()


class _Inside:
    """That a macro's body is read: for a call, with its arguments; else to check the definition."""

    __slots__ = ("bound", "macro", "parameters", "passed", "site", "suffix", "uses")

    def __init__(
        self,
        macro: Macro | None,
        passed: Mapping[str, tuple[Passed, int]],
        suffix: str,
        *,
        site: int = -1,
        parameters: tuple[str, ...] = (),
    ) -> None:
        self.macro = macro
        self.passed = passed
        self.suffix = suffix  # of fresh variables; no name that can be written has one
        self.site = site
        self.parameters = parameters
        self.uses: dict[str, set[Use]] = {}
        self.bound: list[str] = []  # the body's own variables in scope, by plain names


class _Reader:
    """Reads tokens from left to right."""

    __slots__ = ("_depth", "_end", "_found", "_macros", "_place", "inside")

    def __init__(
        self, found: Sequence[Token], end: int, macros: Macros, inside: _Inside | None = None, depth: int = 0
    ) -> None:
        self._found = found
        self._end = end
        self._macros = macros
        self._place = 0
        self._depth = depth
        self.inside = inside

    # --- conditions -----------------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """`a && b && …`."""
        first = self._since(bare=False)
        return self._chain(first) if not isinstance(first, _TERMS) else self._refuse("a value is not a condition")

    def either(self) -> Condition | Term:
        """A condition, or a value that a `)`, a `,` or the end follows."""
        first = self._since(bare=True)
        return first if isinstance(first, _TERMS) else self._chain(first)

    def finish(self) -> None:
        """Refuses what is left over."""
        if self._place < len(self._found):
            token = self._found[self._place]
            if token.text == "||":
                self._refuse("temporal conditions have no `||`", "write two rules, or one condition for each side")
            if token.text in _COMPARING:
                self._refuse("a condition can't be compared", "compare values, or a `count` or `sum` in parentheses")
            if token.text == "since":
                self._refuse("`since` follows one condition only", "put what stands before it in parentheses")
            self._refuse(f"{self._seen()} can't follow here", "join conditions with `&&`")

    def _chain(self, first: Condition) -> Condition:
        while self._text() == "&&":
            at = self._take().start
            right = self._since(bare=False)
            first = And(first, self._as_condition(right), self._at(at))
        return first

    def _since(self, *, bare: bool) -> Condition | Term:
        bangs: list[int] = []
        while self._text() == "!":
            bangs.append(self._take().start)
        if len(bangs) > MAX_NESTING:
            self._refuse(f"there are more than {MAX_NESTING} negations", "two of them cancel out", at=bangs[0])
        left = self._conjunct(bare=bare and not bangs)
        if isinstance(left, _TERMS):
            return left
        for at in reversed(bangs):
            left = Not(left, self._at(at))
        if self._text() == "since":
            at = self._take().start
            window = self._within("since")
            right = self._atom("since")
            left = Since(left, window, right, self._at(at))
        return left

    def _conjunct(self, *, bare: bool = False) -> Condition | Term:
        token = self._peek()
        if token is None:
            self._refuse("a temporal condition is missing", 'such as `formerly within 1h Ns::Action::"x"::request{}`')
        following = self._text(1)
        if token.text == "(":
            return self._parenthesized(bare=bare)
        is_name = following in _COMPARING or following in ("::", ".", "&&") or self._stops(1)
        if token.text in ("formerly", "previous") and not is_name:
            self._take()
            self._enter(token)
            window = self._within(token.text)
            body = self._atom(token.text)
            self._depth -= 1
            make = Formerly if token.text == "formerly" else Previous
            return make(window, body, self._at(token.start))
        if token.text == "exists" and following == "(":
            return self._exists(self._take())
        if token.text == "tp" and following == "(":
            self._take(2)
            name = self._slot("tp")
            self._expect(")", "`tp(t)` names one variable")
            return Tp(name, self._at(token.start))
        if token.text == "let":
            self._refuse("there is no `let`", "bind a count with `exists (n: Long). ((count …) == n && …)`")
        if token.kind == "sigil" and token.text[0] == "?" and following not in _COMPARING:
            return self._refined(self._as_condition(self._spliced(self._take(), "condition")))
        left = self._start()
        if not isinstance(left, _TERMS):
            return left
        return self._compared(left, token.start, bare=bare)

    def _compared(self, left: Term, start: int, *, bare: bool) -> Condition | Term:
        op = _COMPARING.get(self._text())
        if op is None:
            if bare and self._stops(0):
                return left
            what = "a count or a sum" if isinstance(left, Count | Sum) else "a value"
            if self._text() == "=":
                self._refuse("`=` compares nothing", "write `==`")
            self._refuse(f"{what} is not a condition", "compare it with `<`, `<=`, `==`, `!=`, `>=` or `>`", at=start)
        at = self._take().start
        right = self.term()
        return Comparison(op, left, right, self._at(at))

    def _parenthesized(self, *, bare: bool) -> Condition | Term:
        opening = self._take()
        self._enter(opening)
        is_double = self._text() == "("
        inner = self.either()
        self._expect(")", "close the parenthesis")
        self._depth -= 1
        if isinstance(inner, Count | Sum) and not is_double:
            return self._compared(inner, opening.start, bare=bare)
        if isinstance(inner, _TERMS):
            self._refuse(
                "a value is not a condition",
                "of values, only `count` and `sum` take parentheses, once",
                at=opening.start,
            )
        return inner

    def _atom(self, after: str) -> Condition:
        token = self._peek()
        following = self._text(1)
        if token is not None and (
            token.text == "!"
            or (token.text in ("formerly", "previous") and following == "within")
            or (token.text == "exists" and following == "(")
        ):
            self._refuse(f"after `{after} within …`, `{token.text}` needs parentheses", f"write `({token.text} …)`")
        return self._as_condition(self._conjunct())

    def _exists(self, token: Token) -> Condition:
        self._enter(token)
        binder, plain = self._binder()
        self._expect(".", "write `exists (x: Type). condition`")
        self._bind(plain)
        body = self.condition()
        self._unbind(plain)
        self._depth -= 1
        return Exists(binder, body, self._at(token.start))

    def _refined(self, base: Condition) -> Condition:
        while self._text() == "{":
            opening = self._take()
            more = self._arguments()
            if not isinstance(base, Predicate):
                self._refuse(
                    "`{…}` refines single events only",
                    "give the parameter one event, not a whole condition",
                    at=opening.start,
                )
            base = Predicate(base.type, base.action, base.kind, (*base.arguments, *more), base.at)
        return base

    def _arguments(self) -> tuple[Argument, ...]:
        """The rest of `{ a.b: term, … }`."""
        arguments: list[Argument] = []
        while self._text() != "}":
            if arguments:
                self._expect(",", "separate the fields with `,`, and close them with `}`")
            first = self._word("a field", "such as `input.user: context.input.user`")
            path = [first.text, *self._dotted()]
            self._expect(":", f"write `{'.'.join(path)}: value`")
            arguments.append(Argument(tuple(path), self.term(), self._at(first.start)))
        self._take()
        return tuple(arguments)

    # --- terms ----------------------------------------------------------------------------------------------

    def term(self) -> Term:
        """A value."""
        token = self._peek()
        if token is not None and token.text == "(":
            self._take()
            self._enter(token)
            is_double = self._text() == "("
            inner = self.term()
            self._expect(")", "close the parenthesis")
            self._depth -= 1
            if is_double or not isinstance(inner, Count | Sum):
                self._refuse("of values, only `count` and `sum` take parentheses, once", "remove them", at=token.start)
            return inner
        found = self._start()
        if not isinstance(found, _TERMS):
            at = token.start if token is not None else None
            self._refuse("a condition is not a value", "only events' fields, constants and variables are", at=at)
        return found

    def _start(self) -> Condition | Term:
        """A term; or an event or a called condition, which begin as terms do."""
        token = self._peek()
        if token is None:
            self._refuse("a value is missing")
        at = self._at(token.start)
        following = self._text(1)
        if token.kind == "number":
            return Constant(self._long(self._take()), at)
        if token.kind == "string":
            return Constant(lexer.string(self._take()), at)
        if token.kind == "sigil":
            self._take()
            return Var(self._fresh(token), at) if token.text[0] == "$" else self._spliced(token, "term")
        if token.text == "*":
            self._take()
            return Wildcard(at)
        if token.text == "[":
            return self._array()
        if token.kind != "word":
            self._refuse(f"{self._seen()} begins no condition and no value")
        if following == "::":
            return self._entity()
        if token.text == "count" and following == "for":
            return self._aggregate(self._take(), None)
        if token.text == "sum" and "for" in (following, self._text(2)):
            self._take()
            return self._aggregate(token, self._slot("sum"))
        if following == "(":
            return self._decimal() if token.text == "decimal" else self._called()
        self._take()
        if token.text in ("true", "false"):
            return Constant(token.text == "true", at)
        if token.text == "_":
            return Wildcard(at)
        if token.text == "context":
            path = self._dotted()
            if not path:
                self._refuse(
                    "`context` as a whole is no value", "name a field, such as `context.input.user`", at=token.start
                )
            return ContextTerm(path, at)
        if token.text == "principal" or token.text == "resource":
            root: Literal["principal", "resource"] = "principal" if token.text == "principal" else "resource"
            return ScopeTerm(root, self._dotted(), at)
        if self._text() == ".":
            self._refuse(
                f"`{token.text}` has no fields", "name the fields of an event in its braces, and bind them to variables"
            )
        return Var(token.text, at)

    def _array(self) -> Term:
        opening = self._take()
        self._enter(opening)
        items: list[Term] = []
        while self._text() != "]":
            if items:
                self._expect(",", "separate the values with `,`, and close them with `]`")
            items.append(self.term())
        self._take()
        self._depth -= 1
        return ArrayTerm(tuple(items), self._at(opening.start))

    def _decimal(self) -> Term:
        token = self._take(2)
        at = self._at(self._found[self._place - 2].start)
        text = self._peek()
        if text is None or text.kind != "string":
            self._refuse('`decimal` takes a string, such as `decimal("1.5")`')
        self._take()
        self._expect(")", 'write `decimal("1.5")`')
        value = lexer.string(text)
        whole, _, fraction = value.removeprefix("-").partition(".")
        if not (whole.isascii() and whole.isdigit() and fraction.isascii() and fraction.isdigit()) or (
            len(fraction) > 4 or abs(int(whole + fraction.ljust(4, "0"))) >= _LONG
        ):
            self._refuse(f"`{value}` is no decimal", "one to four digits follow the `.`", at=token.start)
        return DecimalTerm(value, at)

    def _entity(self) -> Condition | Term:
        """`Ns::Type::"id"`; with `::kind{…}`, an event."""
        first = self._take()
        names = [first.text]
        while True:
            self._expect("::", 'name it as `Ns::Type::"id"`')
            token = self._peek()
            if token is not None and token.kind == "string":
                break
            names.append(self._word("a name or a string", 'such as `Ns::Action::"read"`').text)
        id_ = lexer.string(self._take())
        at = self._at(first.start)
        if self._text() != "::":
            if self._text() == "{":
                self._refuse("the kind of the event is missing", 'name it, as in `Ns::Action::"read"::request{…}`')
            return EntityTerm("::".join(names), id_, at)
        self._take()
        kind = self._word("a kind of events", "such as `request`").text
        self._expect("{", f"write `::{kind}{{…}}`, with `{{}}` for any fields")
        self._enter(first)
        event = self._refined(Predicate("::".join(names), id_, kind, self._arguments(), at))
        self._depth -= 1
        return event

    def _aggregate(self, token: Token, summed: str | None) -> Term:
        self._enter(token)
        self._expect("for", f"write `{token.text} … for (x: Type). where condition`")
        bound = [self._binder()]
        while self._text() == ",":
            self._take()
            bound.append(self._binder())
        self._expect(".", "end the variables with `.`")
        self._expect("where", "the condition follows `where`")
        for _, plain in bound:
            self._bind(plain)
        body = self.condition()
        for _, plain in reversed(bound):
            self._unbind(plain)
        self._depth -= 1
        binders = tuple(binder for binder, _ in bound)
        at = self._at(token.start)
        return Count(binders, body, at) if summed is None else Sum(summed, binders, body, at)

    # --- macros ---------------------------------------------------------------------------------------------

    def _called(self) -> Condition | Term:
        """The body of the macro that is called here, with the arguments put in."""
        name = self._take()
        self._take()
        if self.inside is not None:
            self._refuse("a macro's body can't call macros", "pass what it calls as an argument", at=name.start)
        macro = self._macros.get(name.text)
        if macro is None:
            temporal = [each.name for each in self._macros.values() if each.kind != "cedar"]
            self._refuse(f"there is no macro `{name.text}`", instead(name.text, temporal, "temporal"), at=name.start)
        if macro.kind == "cedar":
            self._refuse(
                f"`{name.text}` is a macro of Cedar, not of temporal conditions", "call it outside", at=name.start
            )
        self._enter(name)
        passed = self._passed(name, macro)
        self._depth -= 1
        inside = _Inside(macro, passed, f"${name.start}", site=name.start)
        body = _Reader(macro.body, name.start, {}, inside, self._depth)
        result = body.either() if macro.kind == "aggregate" else body.condition()
        check_size(result, name.start)
        return result

    def _passed(self, name: Token, macro: Macro) -> dict[str, tuple[Passed, int]]:
        several: list[tuple[Passed, int]] = []
        while self._text() != ")":
            if several:
                self._expect(",", "separate the arguments with `,`, and close them with `)`")
            token = self._peek()
            several.append((self._argument(), token.start if token is not None else self._end))
        self._take()
        if len(several) != len(macro.parameters):
            wanted = ", ".join(f"?{parameter}" for parameter in macro.parameters) or "none"
            self._refuse(
                f"the macro `{macro.name}` takes {len(macro.parameters)} arguments, not {len(several)}",
                f"its parameters are: {wanted}",
                at=name.start,
            )
        passed = dict(zip(macro.parameters, several, strict=True))
        for parameter, (value, at) in passed.items():
            for use in sorted(macro.uses[parameter]):
                if not _fits(value, use):
                    self._refuse(
                        f"`?{parameter}` of the macro `{macro.name}` takes {_SHAPES[use]}, not {_shape(value)}", at=at
                    )
        return passed

    def _argument(self) -> Passed:
        token = self._peek()
        if token is not None and token.kind == "number" and self._text(1) in UNITS:
            return self._interval()
        if token is not None and token.text == "within":
            self._refuse("a window is passed without `within`", "write `1h`")
        return self.either()

    def _spliced(self, token: Token, use: Use) -> Condition | Term:
        """What `?p` stands for."""
        inside = self.inside
        if inside is None:
            self._refuse(
                f"`{token.text}` stands outside of a macro", "parameters are known in `def` only", at=token.start
            )
        name = token.text[1:]
        if inside.macro is None:
            self._use(token, use)
            return Wildcard() if use == "term" else _HOLE
        value, at = inside.passed[name]
        if isinstance(value, Window):
            self._refuse(f"`?{name}` takes {_SHAPES[use]}, not a window", at=at)
        captured = free(value).intersection(inside.bound)
        if captured:
            # SECURITY: an argument would speak of the macro's variable, not of the caller's.
            variable = min(captured)
            raise Mistake(
                at,
                f"the macro `{inside.macro.name}` has a variable `{variable}` of its own, which would capture this one",
                f"name it `${variable}` in the macro, or use another name here",
            )
        return value

    def _use(self, token: Token, use: Use) -> None:
        inside = self.inside
        if inside is None or inside.macro is not None:
            return
        name = token.text[1:]
        if name not in inside.parameters:
            declared = ", ".join(f"?{each}" for each in inside.parameters) or "none"
            self._refuse(f"`?{name}` is no parameter of this macro", f"its parameters are: {declared}", at=token.start)
        inside.uses.setdefault(name, set()).add(use)

    def _fresh(self, token: Token) -> str:
        if self.inside is None:
            what = "a macro's parameter" if token.text[0] == "?" else "a macro's own variable"
            self._refuse(
                f"`{token.text}` is {what}, and stands outside of a macro", "write a plain name", at=token.start
            )
        return token.text[1:] + (self.inside.suffix or "$")

    # --- small parts ----------------------------------------------------------------------------------------

    def _binder(self) -> tuple[Binder, str | None]:
        """`(x: Type)`; and the name, where the text itself says it."""
        opening = self._expect("(", "write `(x: Type)`")
        token = self._peek()
        name = self._slot("a variable")
        self._expect(":", "a variable has a type: `(x: Long)`")
        names = [self._word("a type", "such as `Long`, `String`, `Timepoint` or `Ns::Type`").text]
        while self._text() == "::":
            self._take()
            names.append(self._word("a name", "such as `Ns::Type`").text)
        self._expect(")", "write `(x: Type)`")
        plain = name if token is not None and token.kind == "word" else None
        return Binder(name, "::".join(names), self._at(opening.start)), plain

    def _slot(self, of: str) -> str:
        token = self._peek()
        if token is not None and token.kind == "sigil":
            self._take()
            if token.text[0] == "$":
                return self._fresh(token)
            if self.inside is None:
                self._refuse(f"`{token.text}` stands outside of a macro", "write a plain name", at=token.start)
            self._use(token, "binder")
            if self.inside.macro is None:
                return token.text
            value, at = self.inside.passed[token.text[1:]]
            return value.name if isinstance(value, Var) else self._refuse("the name of a variable is expected", at=at)
        return self._word(f"the name of {of}" if of == "a variable" else f"the variable of `{of}`", "such as `x`").text

    def _within(self, operator: str) -> Window:
        self._expect("within", f"`{operator}` needs a window: `{operator} within 1h …`")
        token = self._peek()
        if token is not None and token.kind == "sigil" and token.text[0] == "?":
            self._take()
            if self.inside is None:
                self._refuse(f"`{token.text}` stands outside of a macro", "write a window such as `1h`", at=token.start)
            self._use(token, "window")
            if self.inside.macro is None:
                return Window(1, "s")
            value, at = self.inside.passed[token.text[1:]]
            return value if isinstance(value, Window) else self._refuse("a window is expected", at=at)
        if token is None or token.kind != "number":
            self._refuse("the window is missing", f"write `{operator} within 1h …`")
        return self._interval()

    def _interval(self) -> Window:
        number = self._take()
        unit = self._text()
        if unit not in UNITS:
            self._refuse("the unit of the window is missing", "`s`, `m`, `h` or `d` follows the number")
        self._take()
        amount = self._long(number)
        if not 0 < amount <= MAX_AMOUNT:
            self._refuse(f"the window `{number.text}{unit}` is not positive or too long", "write `1h`", at=number.start)
        return Window(amount, unit)

    def _long(self, token: Token) -> int:
        if len(token.text) > 20 or not -_LONG <= int(token.text) < _LONG:
            self._refuse("the number is outside of 64 bits", at=token.start)
        return int(token.text)

    def _dotted(self) -> Path:
        names: list[str] = []
        while self._text() == ".":
            self._take()
            names.append(self._word("the name of a field", "after the `.`").text)
            if len(names) > MAX_NESTING:
                self._refuse(f"a path has more than {MAX_NESTING} names")
        return tuple(names)

    def _as_condition(self, node: Condition | Term) -> Condition:
        if isinstance(node, _TERMS):
            self._refuse("a value is not a condition", "compare it with something")
        return node

    def _bind(self, plain: str | None) -> None:
        if self.inside is not None and plain is not None:
            self.inside.bound.append(plain)

    def _unbind(self, plain: str | None) -> None:
        if self.inside is not None and plain is not None:
            self.inside.bound.pop()

    def _enter(self, token: Token) -> None:
        # SECURITY: this reader recurses; a text must not end the process.
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._refuse(
                f"the condition is nested more than {MAX_NESTING} deep", "split it into several", at=token.start
            )

    def _word(self, what: str, example: str) -> Token:
        token = self._peek()
        if token is None or token.kind != "word":
            self._refuse(f"{what} is expected, not {self._seen()}", example)
        return self._take()

    def _expect(self, text: str, next_step: str) -> Token:
        if self._text() != text:
            self._refuse(f"`{text}` is expected, not {self._seen()}", next_step)
        return self._take()

    def _stops(self, ahead: int) -> bool:
        return self._text(ahead) in ("", ")", ",")

    def _peek(self, ahead: int = 0) -> Token | None:
        place = self._place + ahead
        return self._found[place] if place < len(self._found) else None

    def _text(self, ahead: int = 0) -> str:
        token = self._peek(ahead)
        return token.text if token is not None else ""

    def _take(self, count: int = 1) -> Token:
        for _ in range(count):
            if self._place >= len(self._found):
                self._refuse("the condition is not finished")
            self._place += 1
        return self._found[self._place - 1]

    def _seen(self) -> str:
        token = self._peek()
        return "the end" if token is None else f"`{token.text[:40]}`"

    def _at(self, at: int) -> int:
        return at if self.inside is None or self.inside.macro is None else self.inside.site

    def _refuse(self, message: str, next_step: str = "", *, at: int | None = None) -> NoReturn:
        if at is None:
            token = self._peek()
            at = token.start if token is not None else self._end
        raise Mistake(self._at(at) if at >= 0 else self._end, message, next_step)


def _fits(value: Passed, use: Use) -> bool:
    if use == "window":
        return isinstance(value, Window)
    if use == "binder":
        return isinstance(value, Var)
    return not isinstance(value, Window) and isinstance(value, _TERMS) == (use == "term")


def _shape(value: Passed) -> str:
    if isinstance(value, Window):
        return "a window"
    return "a value" if isinstance(value, _TERMS) else "a condition"
