"""Policy files: read, split into single policies with file, line and column, and checked one by one.

`*.cedar` files are Cedar. `*.dw` files are Dogwood: each of their rules is lowered to Cedar text, which is then read as
any other, with errors at what was written (see `docs/design/dogwood.md`).
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
from remit.policy.dogwood import mistakes, rules
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.events import FILE as EVENTS
from remit.policy.dogwood.invocations import Invocation
from remit.policy.dogwood.lowering import Lowered, lower
from remit.policy.dogwood.macros import Macros
from remit.policy.obligations import Mistake
from remit.policy.obligations import read as read_obligations
from remit.policy.reads import Reads, Scope, reads_of, scope_of
from remit.policy.requestable import read as read_requestable
from remit.policy.text import Token

Origin = Literal["shipped", "generated", "user"]
ScopeKind = Literal["task", "workload"]

RESERVED_IDS: Final = ("intent:", "remit:")  # of generated and shipped policies
NOTE_LENGTH: Final = 1_024  # of @message and @next
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNFINISHED = "unexpected end of input"
_WORKLOAD: Final = "workload"  # the folder of rules across tasks
_EVENT_SCHEMA: Final = ".dwschema"
_NO_MACROS: Final[Macros] = {}


class Source(msgspec.Struct, frozen=True):
    """One text of policies and where it stands. `at` overrides the place that decisions quote: an intent's."""

    path: str
    text: str
    origin: Origin
    at: tuple[str, int] | None = None
    lowered: Lowered | None = None  # of a rule of Dogwood; `text` is then that rule as Cedar

    @property
    def is_dogwood(self) -> bool:
        """Whether it is to be lowered."""
        return self.path.endswith(rules.ENDING)

    @property
    def is_event_schema(self) -> bool:
        """Whether it says which events there are, and is no policy."""
        return self.path.endswith(_EVENT_SCHEMA)

    @property
    def scope_kind(self) -> ScopeKind:
        """Whose past its policies, or its events, are about."""
        return "workload" if _WORKLOAD in Path(self.path).parts[:-1] else "task"


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
    leaves: tuple[Leaf, ...] = ()  # what it asks of the past; without the event schema's pins
    providers: tuple[Invocation, ...] = ()  # what it asks of information providers
    scope_kind: ScopeKind = "task"  # whose past: that of the task tree, or of the workload over all its tasks
    checked: str = ""  # what the validator sees instead of `text`; "" for the same

    def mistaken(self, mistake: Mistake) -> DocumentError:
        """The error of an annotation."""
        piece = list(cedar_text.tokens(self.source.text[self.start : self.end]))
        offset = self.start + _annotation(piece, mistake.annotation)
        return error_at(self.source, offset, mistake.message, mistake.next_step, len(mistake.annotation) + 1)

    def error(
        self, message: str, next_step: str = "", word: str = "", within: tuple[int, int] | None = None
    ) -> DocumentError:
        """An error at this policy; at `word`, where that occurs in it.

        `within` are offsets of its text (`text`): the word is looked for there first, and the place is there without.
        """
        names = (word, cedar_text.quote(word))
        offset, width = self.start, len(self.effect) if self.source.text.startswith(self.effect, self.start) else 1
        spans = [(self.start, self.end)]
        if within is not None and self.source.text.endswith(self.text, self.start, self.end):
            begin = self.end - len(self.text)
            spans.insert(0, (begin + within[0], begin + within[1]))
            offset, width = spans[0][0], within[1] - within[0]
        for start, end in spans if word else ():
            found = next((each for each in cedar_text.tokens(self.source.text[start:end]) if each.text in names), None)
            if found is not None:
                offset, width = start + found.start, len(found.text)
                break
        return error_at(self.source, offset, message, next_step, width)


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


def macros(sources: Iterable[Source]) -> Macros:
    """The macros that all files know: those that come with Remit, and those of the files `macros.dw`."""
    several = list(sources)
    try:
        return rules.library((source.path, source.text) for source in several)
    except mistakes.Mistake as mistake:
        source = next(source for source in several if source.path == mistake.path)
        raise error_at(source, mistake.at, mistake.message, mistake.next_step) from None


def library() -> Source:
    """The macros that come with Remit; part of what decides wherever there is Dogwood."""
    return Source(rules.SHIPPED, rules.shipped(), "shipped")


def parse(source: Source, cache: Cache | None = None, known: Macros = _NO_MACROS) -> Iterator[Policy]:
    """The policies of one source; a `DocumentError` at the line that can't be read.

    `known` are the macros of other files (`macros`).
    """
    if source.is_event_schema:
        return
    turned = cedar_text.turning(source.text)
    if turned is not None:
        # SECURITY: what a reviewer reads would not be what decides (CVE-2021-42574).
        what = f"a character that turns the direction of the text (U+{ord(source.text[turned]):04X})"
        raise error_at(source, turned, what, "remove it; in a string write it as `\\u{…}`")
    if source.is_dogwood:
        yield from _lowered(source, cache, known)
        return
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


def _lowered(source: Source, cache: Cache | None, known: Macros) -> Iterator[Policy]:
    """The policies of a `.dw` file."""
    try:
        file = rules.read(source.path, source.text, known)
        line, seen = 1, 0
        for number, rule in enumerate(file.rules):
            line += source.text.count("\n", seen, rule.start)
            seen = rule.start
            lowered = lower(rule, file.macros)
            view = Source(source.path, lowered.text, source.origin, lowered=lowered)
            parsed = cache.parsed(lowered.text) if cache is not None else None
            if parsed is None:
                parsed = _parsed(view, 0, lowered.text)
                if cache is not None:
                    cache.keep(lowered.text, parsed)
            policy = _policy(view, 0, len(lowered.text), parsed, f"{Path(source.path).stem}#{number}", line)
            if policy.id != rule.id:
                # SECURITY: what it asks of the past is found by its id.
                raise error_at(source, rule.start, "the @id can't be read", "write it once, as plain text")
            yield msgspec.structs.replace(
                policy,
                source=source,
                start=rule.start,
                end=rule.end,
                leaves=lowered.leaves,
                providers=lowered.invocations,
                checked=lowered.checked[parsed.begins :],
            )
    except mistakes.Mistake as mistake:
        raise error_at(source, mistake.at, mistake.message, mistake.next_step) from None


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
                f"the id `{policy.id}` stands twice: also at {other.path}:{other.line}",
                "give one of them another @id",
                word="id" if "id" in policy.annotations else "",
            )
        if count >= cedar_text.MAX_POLICIES:
            raise policy.error(f"there are more than {cedar_text.MAX_POLICIES} policies")
        seen[policy.id] = policy


def error_at(source: Source, offset: int, message: str, next_step: str = "", width: int = 1) -> DocumentError:
    """An error at `offset` of the source, about `width` characters, with the line itself.

    For a generated policy it is at its intent.
    """
    text = source.text
    if source.lowered is not None:
        offset, text = source.lowered.original(offset), source.lowered.written
    line, column = cedar_text.position(text, offset)
    shown = cedar_text.line_at(text, line)
    if source.at is not None:
        path, at_line = source.at
        message = f"{message} (in the generated `{shown.strip()[:160]}`)"
        return DocumentError(message, path=path, line=at_line, next_step=next_step)
    return DocumentError(
        message, path=source.path, line=line, column=column, next_step=next_step, shown=shown, width=width
    )


def _read(path: Path) -> Source:
    if path.suffix == _EVENT_SCHEMA:
        if path.name != EVENTS or _below(path).parts[1:-1] not in ((), (_WORKLOAD,)):
            # SECURITY: a schema that is not read would leave its pins out without a word.
            raise DocumentError(
                "this event schema is not used",
                path=path,
                next_step=f"it is `policies/{EVENTS}`, or `policies/{_WORKLOAD}/{EVENTS}`",
            )
        return Source(_below(path).as_posix(), read_text(path), "user")
    if path.suffix not in (".cedar", rules.ENDING):
        # SECURITY: a misspelt ending must not switch a policy off without a word.
        raise DocumentError(
            "this file is not a policy",
            path=path,
            next_step="end its name with `.cedar` or `.dw`, or move it elsewhere",
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
        at, width = _annotation(piece, mistake.annotation), len(mistake.annotation) + 1
        raise error_at(source, at, mistake.message, mistake.next_step, width) from None
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
        scope_kind="workload" if f"/{_WORKLOAD}/" in f"/{source.path}" else "task",
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
    wrong = piece[low - 1]
    if message == _UNFINISHED:
        wrong, message = piece[-1], "the policy is not finished: its `;` or a closing bracket is missing"
    elif low == len(piece) and named is None and message != "invalid token":
        # Found only in the whole: the message names the word.
        wrong = next((token for token in piece if len(token.text) > 1 and token.text in message), piece[0])
    return error_at(source, wrong.start, f"not valid Cedar: {message}", width=len(wrong.text))


def _problem(text: str) -> str:
    try:
        cedar.policies_to_json_str(text)
    except ValueError as error:
        return str(error)
    return ""
