"""`make demo`: Remit in front of real MCP servers and a deployment, in two scenarios, with a live table.

Everything runs in a temporary folder and on loopback. The file server and the git server are third-party programs;
the payments server is a fake of ours, and is called one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.console.rows import Row, row_of
from remit.console.status import TITLES, line
from remit.ledger.record import decode_record

EXAMPLES = Path(__file__).resolve().parent
REMIT = [sys.executable, "-m", "remit"]
console = Console(highlight=False, record=True, width=None if sys.stdout.isatty() else 132)


class Live:
    """Prints every decision of one folder as it is recorded, and keeps the rows."""

    def __init__(self, folder: Folder) -> None:
        self.rows: list[tuple[Row, str]] = []
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Live:
        console.print(line(TITLES, header=True), soft_wrap=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)  # the last rows are on their way
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._folder.socket.exists():  # the service makes its database before it listens
            if self._stop.wait(0.03):
                return
        intents: dict[str, str] = {}
        with reader_of(self._folder) as reader:
            tail, stopped = reader.tail(("decision", "task")), False
            while not stopped:
                stopped = self._stop.wait(0.03)
                for stored in tail.fresh():
                    record = decode_record(stored.data)
                    if record.kind == "task":
                        intents.setdefault(record.body["task"], record.body.get("intent", ""))
                        continue
                    row = row_of(record, intents)
                    self.rows.append((row, record.body["reason"]["message"]))
                    console.print(line(row[1:]), soft_wrap=True)


@contextmanager
def service(folder: Path) -> Iterator[None]:
    """`remit up` in the background, until the block ends."""
    log = (folder / "service.log").open("wb")
    process = subprocess.Popen([*REMIT, "up", "--plain", "--project", str(folder)], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 20
        while not (folder / ".remit" / "remit.sock").exists():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit((folder / "service.log").read_text("utf-8"))
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def say(text: str) -> None:
    """One line of the story."""
    console.print(f"\n[bold cyan]{text}[/bold cyan]", soft_wrap=True)


def remit(folder: Path, *arguments: str) -> int:
    """One `remit` command in a folder, as a person would type it; its output as it comes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [*REMIT, *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for text in process.stdout or ():
            if text.strip() and not text.startswith(("task ", "Secure MCP", "Client does not")):
                console.print(f"[dim]    {escape(text.rstrip()[:150])}[/dim]", soft_wrap=True)
    return process.returncode


def finance(folder: Path) -> list[tuple[Row, str]]:
    """Scenario 1: reading does not justify paying; paying is bound to the invoice that the task names."""
    invoices = folder / "invoices"
    invoice = "INV-2041"
    agent = [sys.executable, str(EXAMPLES / "finance" / "agent.py")]
    with service(folder), Live(Folder(folder)) as live:
        say("1. A person asks a question. The agent reads, then tries to pay what a document asks for.")
        question = "What does invoice INV-2042 ask us to pay, and by when?"
        remit(
            folder, "run", "--intent", "answer-question", "--prompt", question,
            "--", *agent, "question", str(invoices), "INV-2042",
        )  # fmt: skip
        say("2. The agent starts a payment task for itself.")
        remit(
            folder, "task", "start", "--starter", "workload/finance-agent", "--intent", "pay-invoice",
            *named("--param", invoice=invoice, file="x", account="GB33BUKB20201555555555", amount="312.00"),
        )  # fmt: skip
        say("3. The accounts application starts it, for one approved invoice.")
        params = named(
            "--param",
            invoice=invoice,
            file=str(invoices / f"{invoice}.json"),
            account="DE02100100100006820101",
            amount="1840.50",
        )
        remit(
            folder, "run", "--starter", "starter/accounts", "--intent", "pay-invoice", *params,
            "--", *agent, "payment", str(invoices), invoice,
        )  # fmt: skip
    return live.rows


def pipeline(folder: Path) -> list[tuple[Row, str]]:
    """Scenario 2: a valid token deploys only in the window, only the artifact of the task; an emergency is its own."""
    artifact = folder / "web.tar"
    artifact.write_bytes(b"the artifact that CI built\n")
    other = folder / "other.tar"
    other.write_bytes(b"something else\n")
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    target = folder / "deployed"
    repository(folder / "repository")

    def deploy(starter: str, intent: str, file: Path, **more: str) -> None:
        remit(
            folder, "exec", "deploy/release", "--starter", starter, "--intent", intent,
            *named("--task-param", service="web", artifact=digest, **more),
            *named("--param", service="web", environment="production"), "--file-param", f"artifact={file}",
            "--", "install", "-D", "{artifact}", str(target),
        )  # fmt: skip

    window(folder, opens=datetime.now(UTC) + timedelta(days=1))
    with Live(Folder(folder)) as live:
        with service(folder):
            say("4. The window is closed. CI has a valid identity, a task and the right artifact.")
            deploy("starter/ci", "release", artifact)
            say("5. CI declares an emergency itself; then whoever is on call does.")
            deploy("starter/ci", "emergency", artifact, incident="INC-7")
            deploy("person/on-call", "emergency", artifact, incident="INC-7")
        window(folder, opens=datetime.now(UTC) - timedelta(minutes=5))
        with service(folder):
            say("6. The window is open. First another artifact than the task names, then the right one.")
            deploy("starter/ci", "release", other)
            deploy("starter/ci", "release", artifact)
            say("7. The pipeline reads the history through the git server, and may not rewrite it.")
            remit(
                folder, "run", "--starter", "starter/ci", "--intent", "release",
                *named("--param", service="web", artifact=digest),
                "--", sys.executable, str(EXAMPLES / "pipeline" / "agent.py"), str(folder / "repository"),
            )  # fmt: skip
    return live.rows


def window(folder: Path, opens: datetime) -> None:
    """Writes the change window `production`, one hour long."""
    stamp = "%Y%m%dT%H%M%SZ"
    lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//remit//demo//EN", "BEGIN:VEVENT", "UID:demo@delivery.example",
        f"DTSTAMP:{opens:{stamp}}", f"DTSTART:{opens:{stamp}}", f"DTEND:{opens + timedelta(hours=1):{stamp}}",
        "SUMMARY:Production changes", "END:VEVENT", "END:VCALENDAR",
    ]  # fmt: skip
    (folder / "windows" / "production.ics").write_text("\r\n".join(lines) + "\r\n", "utf-8")


def repository(path: Path) -> None:
    """A git repository with one commit, for the third-party git server."""
    path.mkdir()
    (path / "README.md").write_text("web\n", "utf-8")
    author = ["-c", "user.name=ci", "-c", "user.email=ci@delivery.example", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "First release"]):
        subprocess.run(["git", "-C", str(path), *arguments], check=True)


def named(option: str, **values: str) -> list[str]:
    """`--option name=value` for each value."""
    return [part for name, value in values.items() for part in (option, f"{name}={value}")]


def summary(folders: dict[str, Path], rows: list[tuple[Row, str]]) -> None:
    """What was permitted and refused and why, and the commands that show and check it."""
    refused = Table(title="\nRefused, and why", title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in ("action", "intent", "reason", "what the agent was told"):
        refused.add_column(name, overflow="fold")
    for row, message in rows:
        if row.decision == "deny":
            refused.add_row(row.action, row.intent, f"[yellow]{row.reason}[/yellow]", message)
    permitted = sum(row.decision == "permit" for row, _ in rows)
    console.print(refused)
    console.print(
        f"\n{len(rows)} decisions: [green]{permitted} permitted[/green], [red]{len(rows) - permitted} refused[/red]"
    )
    shown = next(row.id for row, _ in rows if row.decision == "deny")
    console.print("\nLook at any one of them, and check them all:")
    console.print('  export PATH="$PWD/.venv/bin:$PATH"', soft_wrap=True)
    for folder in folders.values():
        console.print(f"  cd {folder}", soft_wrap=True)
        if folder == next(iter(folders.values())):
            console.print(f"  remit log show {shown}", soft_wrap=True)
        console.print("  remit verify", soft_wrap=True)
    console.print()


def main() -> None:
    """Both scenarios, the summary, and the verification of every record."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=main.__doc__)
    parser.add_argument("--svg", type=Path, help="also write a picture of the terminal, up to the summary")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="remit-demo-"))
    folders = {name: root / name for name in ("finance", "pipeline")}
    for name, folder in folders.items():
        shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns(".remit", "__pycache__"))
    started = time.monotonic()
    console.rule("[bold]Remit: a finance agent, and a build pipeline")
    rows = finance(folders["finance"]) + pipeline(folders["pipeline"])
    summary(folders, rows)
    if given.svg:
        picture = console.export_svg(title="make demo", clear=False)
        # The reader's own monospaced font will do; nothing is loaded from elsewhere.
        picture = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", picture, flags=re.DOTALL)
        given.svg.write_text(picture, "utf-8")
    failed = [name for name, folder in folders.items() if remit(folder, "verify")]
    console.print(f"\ndone in {time.monotonic() - started:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
