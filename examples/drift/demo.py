"""`python -m examples.drift.demo`: an agent leaves its habits, is refused as requestable, and then quarantined.

Everything runs in a temporary folder, on the unix socket. The file server is a third-party program; the web client is a
fake of ours, and is called one. The agent's past is made with a clock moved by hand (history.py says how); what it does
today goes through `remit up`, `remit run` and `remit gateway` as anywhere.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from examples.demo import Live, console, remit, say, service
from examples.drift import history
from remit.app.folder import Folder

HERE = Path(__file__).resolve().parent
AGENT = [sys.executable, str(HERE / "agent.py")]
RUN = ("run", "--starter", "starter/desk", "--intent", "answer-question", "--prompt", "When do we close?")


def play(folder: Path) -> None:
    """An ordinary task, the drift, what an operator sees of it, and the way back."""
    notes = str(folder / "notes")
    with service(folder), Live(Folder(folder)):
        say("2. Today, an ordinary task. It is as on every day: nothing is new.")
        remit(folder, *RUN, "--", *AGENT, "usual", notes)
        say("3. The agent begins to drift: a tool that it used once, three weeks ago; then a place where it never was.")
        remit(folder, *RUN, "--", *AGENT, "drift", notes)
    say("4. What the operator sees.")
    remit(folder, "workload", "show", "research-agent")
    say("5. Somebody looks at it, and brings it back: the signals that Remit raised are over.")
    with service(folder), Live(Folder(folder)):
        remit(folder, "workload", "reactivate", "research-agent", "--reason", "the prompt was changed back")
        remit(folder, *RUN, "--", *AGENT, "usual", notes)


def main() -> None:
    """Makes the past, plays the day, verifies every record."""
    folder = Path(tempfile.mkdtemp(prefix="remit-drift-")) / "research"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns(".remit", "__pycache__", "*.py"))
    started = time.monotonic()
    console.rule("[bold]Remit: an agent leaves its habits")
    say(f"1. Its past: {7 * history.WEEKS} days of real tasks, with a clock that is moved by hand.")
    asyncio.run(history.make(folder))
    play(folder)
    failed = remit(folder, "verify")
    console.print(f"\n  cd {folder}", soft_wrap=True)
    console.print("  remit log --denied", soft_wrap=True)
    console.print(f"\ndone in {time.monotonic() - started:.0f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
