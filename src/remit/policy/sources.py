"""Policy files: read, split into single policies with file, line and column, and checked one by one.

Only `*.cedar` files are policies. Temporal policies (`*.dw`, `policies/workload/`) are refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from cedarpy import _internal as cedar

from remit.core import bounds
from remit.core.decisions import Obligation, PolicyRef
from remit.core.documents import read_text
from remit.core.errors import DocumentError
from remit.policy import text as cedar_text
from remit.policy.cache import Cache, Parsed
from remit.policy.obligations import Mistake
from remit.policy.obligations import read as read_obligations
from remit.policy.reads import Reads, Scope, reads_of, scope_of
from remit.policy.requestable import read as read_requestable
from remit.policy.text import Token

Origin = Literal["shipped", "generated", "user"]

RESERVED_IDS: Final = ("intent:", "remit:")  # of generated and shipped policies
NOTE_LENGTH: Final = 1_024  # of @message and @next
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNFINISHED = "unexpected end of input"
_TEMPORAL_NEXT: Final = "remove it, or state the order or the limit in the intent (`order`, `limits`)"


class Source(msgspec.Struct, frozen=True):
    """One text of policies and where it stands. `at` overrides the place that decisions quote: an intent's."""

    path: str
    text: str
    origin: Origin
    at: tuple[str, int] | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: its text, what its annotations say, where it can apply and what it reads."""

    id: str
    text: str  # without annotations
    effect: Literal["permit", "forbid"]
    annotations: Mapping[str, str]
    ref: PolicyRef
    origin: Origin
    source: Source
    start: int  # offset in the source's text
    end: int
    json: Mapping[str, Any]  # Cedar's JSON form
    scope: Scope
    reads: Reads
    obligations: tuple[Obligation, ...] = ()
    approvers: tuple[str, ...] | None = None  # of a forbid: who may approve what it refuses; None: nobody

    def mistaken(self, mistake: Mistake) -> DocumentError:
        """The error of an annotation."""
        piece = list(cedar_text.tokens(self.source.text[self.start : self.end]))
        offset = self.start + _annotation(piece, mistake.annotation)
        return error_at(self.source, offset, mistake.message, mistake.next_step)

    def error(self, message: str, next_step: str = "", word: str = "") -> DocumentError:
        """An error at this policy; at `word`, where that occurs in it."""
        offset = self.start
        if word:
            found = cedar_text.tokens(self.source.text[self.start : self.end])
            names = (word, cedar_text.quote(word))
            offset += next((token.start for token in found if token.text in names), 0)
        return error_at(self.source, offset, message, next_step)


def read_folder(paths: Iterable[Path]) -> list[Source]:
    """The policy files among `paths`: files, and folders with all that is below them, each file once.

    Hidden files, Markdown and READMEs are no policies; any other file is read or refused.
    """
    files: dict[Path, None] = {}
    for path in paths:
        files.update(dict.fromkeys(sorted(path.rglob("*")) if path.is_dir() else [path]))
    return [
        _read(file)
        for file in files
        if not (file.is_dir() or file.name.startswith(".") or file.suffix == ".md" or file.name.startswith("README"))
    ]


def shipped() -> list[Source]:
    """The policies that come with Remit."""
    folder = resources.files("remit.policy") / "shipped"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".cedar")), key=lambda file: file.name)
    return [Source(f"shipped/{file.name}", file.read_text(encoding="utf-8"), "shipped") for file in files]


def parse(source: Source, cache: Cache | None = None) -> Iterator[Policy]:
    """The policies of one source; a `DocumentError` at the line that can't be read."""
    stem = Path(source.path).stem
    line = 1
    seen = 0
    for number, (start, end) in enumerate(cedar_text.spans(source.text)):
        line += source.text.count("\n", seen, start)
        seen = start
        body = source.text[start:end]
        parsed = cache.parsed(body) if cache is not None else None
        if parsed is None:
            parsed = _parsed(source, start, body)
            if cache is not None:
                cache.keep(body, parsed)
        yield _policy(source, start, end, parsed, f"{stem}#{number}", line)


def check_ids(policies: Iterable[Policy]) -> None:
    """Refuses two policies of one id, in whatever files, and users' policies with Remit's own ids."""
    seen: dict[str, Policy] = {}
    for count, policy in enumerate(policies):
        # SECURITY: a decision names its policies by id: two of one name, or a borrowed name, would mislead.
        if policy.origin == "user" and policy.id.startswith(RESERVED_IDS):
            raise policy.error(
                f"the id `{policy.id}` is reserved", "ids that begin with `intent:` or `remit:` are Remit's own", "id"
            )
        if policy.id in seen:
            other = seen[policy.id].ref
            raise policy.error(
                f"the id `{policy.id}` stands twice: also at {other.path}:{other.line}", "give one of them another @id"
            )
        if count >= cedar_text.MAX_POLICIES:
            raise policy.error(f"there are more than {cedar_text.MAX_POLICIES} policies")
        seen[policy.id] = policy


def error_at(source: Source, offset: int, message: str, next_step: str = "") -> DocumentError:
    """An error at `offset` of the source, with the line itself; for a generated policy, at its intent."""
    line, column = cedar_text.position(source.text, offset)
    shown = cedar_text.line_at(source.text, line).strip()[:160]
    if source.at is not None:
        path, at_line = source.at
        return DocumentError(f"{message} (in the generated `{shown}`)", path=path, line=at_line, next_step=next_step)
    return DocumentError(f"{message}: `{shown}`", path=source.path, line=line, column=column, next_step=next_step)


def _read(path: Path) -> Source:
    if path.suffix == ".dw" or "workload" in _below(path).parts[:-1]:
        # SECURITY: a rule that is written down and not enforced is worse than none.
        what = "" if path.suffix == ".dw" else " (`policies/workload/`, rules across tasks)"
        raise DocumentError(
            f"temporal policies are not supported by this version{what}", path=path, next_step=_TEMPORAL_NEXT
        )
    if path.suffix != ".cedar":
        # SECURITY: a misspelt ending must not switch a policy off without a word.
        raise DocumentError(
            "this file is not a policy", path=path, next_step="end its name with `.cedar`, or move it elsewhere"
        )
    return Source(_below(path).as_posix(), read_text(path), "user")


def _below(path: Path) -> Path:
    """The path from its folder `policies` on, as decisions name it; else with its own folder only."""
    parts = path.parts
    start = len(parts) - 1 - parts[::-1].index("policies") if "policies" in parts[:-1] else max(0, len(parts) - 2)
    return Path(*parts[start:])


def _parsed(source: Source, start: int, body: str) -> Parsed:
    """How one policy reads: `body`, which stands at `start` of the source."""
    piece = [Token(token.kind, token.text, token.start + start) for token in cedar_text.tokens(body)]
    over = cedar_text.excess(piece)
    if over is not None:
        # SECURITY: the engine's parser has no bound on nesting; over-nested text would end the process.
        raise error_at(source, over[0].start, over[1], "split it into several policies")
    try:
        parsed = msgspec.json.decode(cedar.policies_to_json_str(body))
    except ValueError as error:
        raise _parse_error(source, piece, str(error)) from None
    except RecursionError:
        raise error_at(source, start, "the policy is nested too deeply", "split it into several policies") from None
    if parsed["templates"]:
        raise error_at(source, start, "policy templates are not supported", "name the principal or the resource")
    if len(parsed["staticPolicies"]) != 1:
        raise error_at(source, start, "this is not one whole policy", "end each policy with `;`")
    est: dict[str, Any] = next(iter(parsed["staticPolicies"].values()))
    annotations = {name: value or "" for name, value in est.get("annotations", {}).items()}
    _check_annotations(source, piece, annotations)
    try:
        obliged = read_obligations(est["effect"], annotations)
        approvers = read_requestable(est["effect"], annotations)
    except Mistake as mistake:
        raise error_at(source, _annotation(piece, mistake.annotation), mistake.message, mistake.next_step) from None
    return Parsed(
        effect=est["effect"],
        begins=_effect(piece).start - start,
        annotations=annotations,
        json=est,
        scope=scope_of(est),
        reads=reads_of(est),
        obligations=obliged,
        approvers=approvers,
    )


def _policy(source: Source, start: int, end: int, parsed: Parsed, default_id: str, line: int) -> Policy:
    """The policy that stands there; `line` is where it begins."""
    id_ = parsed.annotations.get("id") or default_id
    path, line = source.at or (source.path, line)
    return Policy(
        id=id_,
        text=source.text[start + parsed.begins : end],
        effect=parsed.effect,
        annotations=parsed.annotations,
        ref=PolicyRef(id=id_, path=path, line=line),
        origin=source.origin,
        source=source,
        start=start,
        end=end,
        json=parsed.json,
        scope=parsed.scope,
        reads=parsed.reads,
        obligations=parsed.obligations,
        approvers=parsed.approvers,
    )


def _annotation(piece: list[Token], name: str) -> int:
    """Where an annotation stands."""
    return next((at.start for at, word in pairwise(piece) if at.text == "@" and word.text == name), piece[0].start)


def _effect(piece: list[Token]) -> Token:
    """The `permit` or `forbid` after the annotations `@name("…")`."""
    depth = 0
    for index, token in enumerate(piece):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text in ("permit", "forbid") and (index == 0 or piece[index - 1].text != "@"):
            return token
    return piece[0]


def _check_annotations(source: Source, piece: list[Token], annotations: Mapping[str, str]) -> None:
    id_ = annotations.get("id", "")
    if len(id_.encode()) > bounds.NAME_BYTES or not id_.isprintable():
        raise error_at(source, piece[0].start, f"an @id has at most {bounds.NAME_BYTES} printable characters")
    if "reason" in annotations and _CODE.fullmatch(annotations["reason"]) is None:
        raise error_at(
            source,
            piece[0].start,
            "an @reason is a code of small letters, digits and `_`",
            'for a sentence use @message, as in @message("payments stop at night")',
        )
    for name in ("message", "next"):
        if len(annotations.get(name, "")) > NOTE_LENGTH:
            raise error_at(source, piece[0].start, f"@{name} has at most {NOTE_LENGTH} characters")


def _parse_error(source: Source, piece: list[Token], message: str) -> DocumentError:
    """The error at the first token that can't follow what stands before it.

    The engine names no position. A text that ends too early is told apart from one that is wrong, so the wrong
    token is the last one of the shortest beginning that is wrong.
    """
    base, low, high = piece[0].start, 1, len(piece)
    while low < high:
        middle = (low + high) // 2
        if _problem(source.text[base : piece[middle - 1].end]) in ("", _UNFINISHED):
            low = middle + 1
        else:
            high = middle
    named = re.match(r"unexpected token `(.*)`", message, re.DOTALL)
    if named is not None:  # a wrong token may be seen only with the next one
        low = next((place for place in range(low, 0, -1) if piece[place - 1].text == named[1]), low)
    offset = piece[low - 1].start
    if message == _UNFINISHED:
        offset, message = piece[-1].start, "the policy is not finished: its `;` or a closing bracket is missing"
    elif low == len(piece) and named is None and message != "invalid token":
        # Found only in the whole: the message names the word.
        offset = next((token.start for token in piece if len(token.text) > 1 and token.text in message), base)
    return error_at(source, offset, f"not valid Cedar: {message}")


def _problem(text: str) -> str:
    try:
        cedar.policies_to_json_str(text)
    except ValueError as error:
        return str(error)
    return ""
