"""A `.dw` text taken apart: macros, and rules as their tokens, each with the id that its conditions are named by.

What is inside of a rule is read by `lowering`; what a rule's plain Cedar says is judged by Cedar's own parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Final

from remit.policy.dogwood import conditions, lexer
from remit.policy.dogwood.bodies import check_body
from remit.policy.dogwood.macros import MAX_MACROS, MAX_PARAMETERS, RESERVED, Macro, Macros
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.text import MAX_POLICY_TOKENS, Token

ENDING: Final = ".dw"
LIBRARY: Final = "macros.dw"  # files of this name: their macros are known in all files
SHIPPED: Final = f"shipped/{LIBRARY}"  # that comes with Remit
MAX_NESTING: Final = 64  # brackets of one policy


_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it was written."""

    id: str  # its @id, or the file's name and its number in the file
    text: str  # of the whole file
    tokens: tuple[Token, ...]  # with the `;`; their offsets are those of the file

    @property
    def start(self) -> int:
        """Where it begins in the file."""
        return self.tokens[0].start

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.tokens[-1].end


@dataclass(frozen=True, slots=True)
class File:
    """One `.dw` file."""

    rules: tuple[Rule, ...]
    macros: Macros  # that its rules can call: its own, and those of the library that it does not define itself


def is_library(path: str) -> bool:
    """Whether all files know the macros of the file of this path."""
    return PurePosixPath(path).name == LIBRARY


def shipped() -> str:
    """The library that comes with Remit."""
    return (resources.files("remit.policy") / "shipped" / LIBRARY).read_text(encoding="utf-8")


def library(files: Iterable[tuple[str, str]]) -> Macros:
    """The macros that all files know, of texts with their paths, of which only the library's are read.

    A project's macro comes before that of the same name which comes with Remit; no two of its files may define one.
    Raises `Mistake`, with the `path` of the file.
    """
    shipped_: dict[str, Macro] = {}
    found: dict[str, Macro] = {}
    for path, text in files:
        if not is_library(path):
            continue
        try:
            for macro in _macros(_pieces(text), path).values():
                known = shipped_ if path == SHIPPED else found
                first = known.get(macro.name)
                if first is not None:
                    raise Mistake(
                        macro.at, f"the macro `{macro.name}` is defined in `{first.path}` too", "give it another name"
                    )
                known[macro.name] = macro
        except Mistake as mistake:
            mistake.path = path
            raise
    return {**shipped_, **found}


def read(path: str, text: str, known: Macros) -> File:
    """The rules of a file and the macros that they know, its own before those of `known`. Raises `Mistake`."""
    pieces = _pieces(text)
    own = {} if is_library(path) else _macros(pieces, path)
    stem = PurePosixPath(path).stem
    rules = [piece for piece in pieces if not _defines(piece)]
    return File(
        tuple(Rule(_id(piece) or f"{stem}#{number}", text, piece) for number, piece in enumerate(rules)),
        {**known, **own},
    )


def _pieces(text: str) -> list[tuple[Token, ...]]:
    """The tokens of each rule and each definition."""
    pieces: list[tuple[Token, ...]] = []
    piece: list[Token] = []
    depth = 0
    for token in lexer.tokens(text):
        piece.append(token)
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth > MAX_NESTING:
            # SECURITY: what reads the pieces recurses.
            raise Mistake(token.start, f"the policy is nested more than {MAX_NESTING} deep", "split it into several")
        if len(piece) > MAX_POLICY_TOKENS:
            raise Mistake(piece[0].start, f"the policy has more than {MAX_POLICY_TOKENS} tokens", "split it")
        if token.text == ";":
            pieces.append(tuple(piece))
            piece, depth = [], 0
    if piece:
        raise Mistake(piece[-1].start, "the policy is not finished: its `;` or a closing bracket is missing")
    return pieces


def _defines(piece: Sequence[Token]) -> bool:
    return piece[0].text == "def"


def _id(piece: Sequence[Token]) -> str:
    """What the annotation `@id` says."""
    for place, token in enumerate(piece):
        if token.text in ("permit", "forbid") and (place == 0 or piece[place - 1].text != "@"):
            break
        words = piece[place : place + 5]
        if [word.text for word in words[:3]] == ["@", "id", "("] and len(words) == 5 and words[3].kind == "string":
            return lexer.string(words[3])
    return ""


def _macros(pieces: Iterable[Sequence[Token]], path: str) -> dict[str, Macro]:
    found: dict[str, Macro] = {}
    for piece in pieces:
        if not _defines(piece):
            continue
        macro = _macro(piece, path)
        if macro.name in found:
            raise Mistake(macro.at, f"the macro `{macro.name}` is defined twice", "give one of them another name")
        if len(found) >= MAX_MACROS:
            raise Mistake(macro.at, f"there are more than {MAX_MACROS} macros")
        found[macro.name] = macro
    return found


def _macro(piece: Sequence[Token], path: str) -> Macro:
    """`def cedar name(?a, ?b) { body };`."""
    words = _expected(piece)
    next(words)
    kind = next(words)
    if kind.text not in ("cedar", "temporal"):
        raise Mistake(
            kind.start, f"a macro is `cedar` or `temporal`, not `{kind.text}`", "write `def temporal name(…)`"
        )
    name = next(words)
    if name.kind != "word":
        raise Mistake(name.start, "the name of the macro is missing", "write `def temporal name(?a) { … };`")
    if name.text in RESERVED:
        raise Mistake(name.start, f"`{name.text}` is a word of the language", "give the macro another name")
    opening = next(words)
    if opening.text != "(":
        raise Mistake(opening.start, "the parameters are missing", f"write `{name.text}(?a, ?b)`, or `{name.text}()`")
    parameters: list[str] = []
    token = next(words)
    while token.text != ")":
        if parameters:
            if token.text != ",":
                raise Mistake(token.start, "`,` or `)` is expected", "separate the parameters with `,`")
            token = next(words)
        if token.kind != "sigil" or token.text[0] != "?":
            raise Mistake(token.start, f"`{token.text}` is no parameter", "parameters are written `?name`")
        if token.text[1:] in parameters:
            raise Mistake(token.start, f"the parameter `{token.text}` stands twice", "give one of them another name")
        if token.text in ("?principal", "?resource") and kind.text == "cedar":
            raise Mistake(token.start, f"`{token.text}` is a slot of templates", "give the parameter another name")
        if len(parameters) >= MAX_PARAMETERS:
            raise Mistake(token.start, f"a macro has at most {MAX_PARAMETERS} parameters")
        parameters.append(token.text[1:])
        token = next(words)
    brace = next(words)
    if brace.text != "{":
        raise Mistake(brace.start, "the body of the macro is missing", "write it between `{` and `}`")
    start = next(place for place, each in enumerate(piece) if each is brace)
    end = lexer.closing(piece, start)
    if piece[end + 1].text != ";" or end + 2 != len(piece):
        raise Mistake(piece[end + 1].start, "`;` is expected after the macro", "end each `def` with `;`")
    body = tuple(piece[start + 1 : end])
    if not body:
        raise Mistake(brace.start, "the body of the macro is empty", "write a condition between `{` and `}`")
    if kind.text == "cedar":
        check_body(body, parameters)
        return Macro(name.text, "cedar", tuple(parameters), body, {}, path, name.start)
    is_aggregate, uses = conditions.parse_body(body, piece[end].start, parameters)
    return Macro(
        name.text, "aggregate" if is_aggregate else "condition", tuple(parameters), body, uses, path, name.start
    )


def _expected(piece: Sequence[Token]) -> Iterator[Token]:
    """The tokens one by one; the last one again where more are asked for, so that it is refused."""
    yield from piece
    while True:
        yield piece[-1]
