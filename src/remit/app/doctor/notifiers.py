"""Notifiers: can who must be told be told from here, and by nobody else in their name?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from remit.app.doctor.finding import Finding, Situation, listed
from remit.core.errors import DocumentError
from remit.core.notifiers import NotifierSettings
from remit.sdk.webhook import read_secrets


def notifiers(situation: Situation) -> Iterator[Finding]:
    """Secrets are there and private, files can be written. Nothing is sent."""
    settings = situation.settings
    if settings is None or not settings.notifiers:
        return
    found = [finding for each in settings.notifiers for finding in _look_at(situation, each)]
    yield from found
    if not found:
        names = listed(each.name for each in settings.notifiers)
        yield Finding(check="notifiers", level="ok", message=f"{names} can be told as far as this machine goes")


def _look_at(situation: Situation, notifier: NotifierSettings) -> Iterator[Finding]:
    root, agent = situation.folder.root, situation.agent
    if notifier.url:
        path = root / notifier.secret_file
        try:
            read_secrets(path)
        except DocumentError as error:
            yield Finding(
                check="notifiers",
                level="fail",
                message=f"`{notifier.name}` can't be told, so what must tell it is refused: `{path}`: {error.message}",
                next_step=error.next_step or f'(umask 077; echo "whsec_$(openssl rand -base64 32)" > {path})',
            )
            return
        if agent.uid not in (os.geteuid(), 0) and agent.may(path, 4):
            yield Finding(
                check="notifiers",
                level="fail",
                message=f"`{agent.name}` can read the secret of `{notifier.name}`, and sign in its name",
                next_step=f"chmod 600 {path}, and make a new secret",
            )
        return
    path = root / notifier.file
    if problem := _unwritable(path):
        yield Finding(
            check="notifiers",
            level="fail",
            message=f"`{notifier.name}` can't be told, so what must tell it is refused: {problem}",
            next_step=f"make it a file that the enforcement point's user can write: `{path}`",
        )
    elif agent.uid not in (os.geteuid(), 0) and agent.may(path, 2):
        yield Finding(
            check="notifiers",
            level="fail",
            message=f"`{agent.name}` can change what `{notifier.name}` was told, in `{path}`",
            next_step=f"chmod go-w {path}",
        )


def _unwritable(path: Path) -> str:
    """Why no line can be appended by this user, as far as modes tell; "" when it can."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "" if os.access(path.parent, os.W_OK | os.X_OK) else f"`{path.parent}` is no folder that can be written"
    except OSError as error:
        return f"`{path}`: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"`{path}` is no plain file"
    return "" if os.access(path, os.W_OK) else f"`{path}` can't be written"
