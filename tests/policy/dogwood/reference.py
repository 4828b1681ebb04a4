"""The reference engine (`dogwood-py`), asked in a process of its own: it may crash, or never end."""

from __future__ import annotations

import multiprocessing
import re
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

_LOST_S = 100.0
_VERDICT = re.compile(r"@(-?[0-9]+) \(time point ([0-9]+)\): (true|false)")


@dataclass(frozen=True)
class Answer:
    """What the reference says of one policy: why it refuses it, or its verdicts by the number of the trace's line."""

    refused: str = ""
    verdicts: tuple[tuple[int, bool], ...] = ()
    lost: bool = False  # it crashed, or took too long


class Reference:
    """The reference engine, with `patience_s` seconds of processor time for each policy. Use it as a context."""

    def __init__(self, patience_s: int = 10) -> None:
        self._patience_s = patience_s
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def ask(self, policies: Sequence[str], schema: str, trace: str, events: str | None) -> list[Answer]:
        """Each policy on its own, over this trace; a policy that the reference does not accept is refused."""
        return [self._ask((policy, schema, trace, events)) for policy in policies]

    def _ask(self, question: tuple[Any, ...]) -> Answer:
        if self._pipe is None:
            self._start()
        pipe = self._pipe
        assert pipe is not None
        try:
            pipe.send((self._patience_s, *question))
            if pipe.poll(_LOST_S):
                answer = pipe.recv()
                assert isinstance(answer, Answer)
                return answer
        except (EOFError, OSError):
            pass
        self._stop()
        return Answer(lost=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def _stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None


def _serve(pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            patience_s, *question = pipe.recv()
            # The system ends a process that used it up.
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime) + 1 + patience_s
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            pipe.send(_answer(*question))
        except (EOFError, OSError):
            return  # nobody waits any more


def _answer(policy: str, schema: str, trace: str, events: str | None) -> Answer:
    from dogwood import native

    try:
        found = native.validate_policy(policy, schema, events)
        if not found["passed"]:
            return Answer(refused="; ".join(found["errors"]))
        text = native.replay(policy, schema, trace, events)
    except RuntimeError as error:
        return Answer(refused=str(error))
    except BaseException as error:
        # A panic of the reference is no `Exception`.
        if type(error).__name__ == "PanicException":
            return Answer(lost=True)
        raise
    verdicts = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _VERDICT.fullmatch(line)
        if match is None:
            raise ValueError(f"the reference says `{line}`")
        verdicts.append((int(match[2]), match[3] == "true"))
    return Answer(verdicts=tuple(verdicts))
