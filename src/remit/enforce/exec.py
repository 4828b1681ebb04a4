"""`remit exec ACTION --param k=v -- COMMAND`: the enforcement point of pipelines.

1. Type the parameters by the action's schema; read and seal the files that the action names.
2. Ask, and tell whom the decision obliges to tell. Refused: the reason on stderr and exit code 77; the command does
   not run.
3. Use the permit: start the command, without a shell, on this process's stdin, stdout and stderr.
4. Forward signals, wait, report how it ended, and end with its exit code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from remit.core.decisions import Outcome, OutcomeResult
from remit.core.errors import InvalidInput, RemitError
from remit.core.obligations import KNOWN, LIMIT, REDACT
from remit.enforce.artifact import Artifact, place, seal
from remit.enforce.environment import child_environment
from remit.enforce.permits import Held, Question, ask
from remit.enforce.port import Decider
from remit.enforce.refusals import Refusal
from remit.sdk.grant import TaskGrant

REFUSED: Final = 77  # EX_NOPERM of sysexits.h
CANNOT_EXECUTE: Final = 126  # as a shell answers
NOT_FOUND: Final = 127
SUPPORTED: Final = KNOWN - {LIMIT, REDACT}  # obligations that a command's output can be held to
REPORT_PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds before each attempt to report

_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)

Log = Callable[[str], None]


def log_to_stderr(message: str) -> None:
    """Writes lines to stderr, each with the name of what speaks."""
    sys.stderr.write("".join(f"remit exec: {line}\n" for line in message.splitlines()))
    sys.stderr.flush()


async def execute(
    action: str,
    arguments: Mapping[str, Any],
    command: Sequence[str],
    *,
    decider: Decider,
    grant: TaskGrant | None,
    files: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] = os.environ,
    log: Log = log_to_stderr,
) -> int:
    """Runs `command` if `action` with `arguments` is permitted; the exit code is the command's, or 77 when refused.

    Each of `files` becomes an argument of its name: the file's SHA-256. The command reads the very bytes that were
    hashed at `{name}` (`artifact`). A command that a signal ended gives 128 plus its number; one that can't be started
    126 or 127. Raises `RemitError` for arguments and files that can't be used; nothing was asked then.
    """
    artifacts: dict[str, Artifact] = {}
    try:
        for name, source in (files or {}).items():
            if name in arguments:
                raise InvalidInput("param_repeated", f"`{name[:80]}` is given as a value and as a file")
            artifacts[name] = seal(source)
        placed = place(command, artifacts)
        question = Question(action, {**arguments, **{name: item.digest for name, item in artifacts.items()}})
        try:
            # SECURITY: the command writes to stdout itself: nothing of it can be held back, so no permit may demand it.
            held = await ask(decider, grant, question, SUPPORTED)
            return await _carry_out(decider, held, placed, environment, log)
        except Refusal as refusal:
            log(refusal.text())
            return REFUSED
    finally:
        for artifact in artifacts.values():
            artifact.close()


async def _carry_out(
    decider: Decider, held: Held, command: Sequence[str], environment: Mapping[str, str], log: Log
) -> int:
    with _signals() as forward:
        try:
            held.use()
        except Refusal:
            await _report(decider, held.outcome("not_executed"), log)
            raise
        try:
            process = await asyncio.create_subprocess_exec(*command, env=child_environment(environment))
        except (OSError, ValueError) as error:
            log(f"can't start `{command[0]}`: {getattr(error, 'strerror', None) or error}")
            await _report(decider, held.outcome("not_executed"), log)
            return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE
        forward(process)
        code = await process.wait()
        code = 128 - code if code < 0 else code
        result: OutcomeResult = "response" if code == 0 else "error"
        await _report(decider, held.outcome(result, {"exit_code": code}), log)
    return code


async def _report(decider: Decider, outcome: Outcome, log: Log) -> None:
    """Reports durably, again when it fails; what never arrives is recorded as unknown, and unlocks nothing."""
    for pause in REPORT_PAUSES:
        await asyncio.sleep(pause)
        try:
            await decider.report(outcome, wait=True)
        except RemitError as error:
            problem = error
        else:
            return
    log(f"the outcome of decision {outcome.decision} could not be reported: {problem.message}; it stays unknown")


@contextmanager
def _signals() -> Iterator[Callable[[asyncio.subprocess.Process], None]]:
    """Signals to this process go to the command; one that comes before it has started reaches it when it has.

    SIGINT and SIGQUIT from a terminal reach the command by themselves, with the whole foreground group.
    """
    loop = asyncio.get_running_loop()
    started: list[asyncio.subprocess.Process] = []
    early: list[int] = []
    from_terminal = sys.stdin is not None and sys.stdin.isatty()

    def take(number: int) -> None:
        if number in _FROM_TERMINAL and from_terminal and started:
            return
        if not started:
            early.append(number)
            return
        with suppress(ProcessLookupError):
            started[0].send_signal(number)

    def forward(process: asyncio.subprocess.Process) -> None:
        started.append(process)
        for number in early:
            take(number)

    numbers = (*_FORWARDED, *_FROM_TERMINAL)
    for number in numbers:
        loop.add_signal_handler(number, take, number)
    try:
        yield forward
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
