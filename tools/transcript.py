"""Runs the commands of a page and writes their output into it.

python tools/transcript.py PAGE            runs, and writes what came
python tools/transcript.py PAGE --check    runs, and compares; exit 1 where something else came

In a page, every ```console block is run in order, in an empty folder: lines with `$ ` are commands, the others are
replaced by their output. What differs each time (ids, times, digests, free space) is not compared. Comments before a
block change that: `<!-- not run -->`; `<!-- background -->` starts a service, in place of the one before; `<!-- file:
PATH -->` before any other block writes the block to that file. `<!-- given: PATH -->` copies an example, and `<!--
verifier: FILE -->` builds the verifier in one file. `remit log show` and `remit explain` are given the latest denial's
id.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.ledger.record import decode_record
from tools.standalone.build import build

ROOT: Final = Path(__file__).resolve().parents[1]
WIDTH: Final = 96
HOME: Final = "/home/alice"
PORT: Final = "127.0.0.1:8181"
SECONDS: Final = 60
START_SECONDS: Final = 20
SHOWN: Final = 6  # characters of an id's end in `remit log`

_BLOCK: Final = re.compile(r"(?:<!-- (?P<note>[^>]+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```\n", re.DOTALL)
_GIVEN: Final = re.compile(r"<!-- given: (\S+) -->")
_VERIFIER: Final = re.compile(r"<!-- verifier: (\S+) -->")
_MASKS: Final = (
    (re.compile(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}"), "+VKEY"),
    (re.compile(r"\b[a-z]{1,2}_[0-9a-f]{20,}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b"), "DIGEST"),
    (re.compile(r"\b[0-9a-f]{6}\b"), "ID"),
    (re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])"), "THUMBPRINT"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]"), ""),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?(\.\d{3})?\b(Z| UTC)?"), "TIME"),
    (re.compile(r"\b\d+\.\d (GiB free|s\b)"), r"N \1"),
    (re.compile(r"-?\d{10,} ms"), "N ms"),
    (re.compile(r"\bafter \d+(\.\d+)? (ms|s|min)( \d+ s)?"), "after N"),
    (re.compile(r"\b(now|\d+ (s|min) ago)$", re.MULTILINE), "AGE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\b\d+ policies\b"), "N policies"),
    (re.compile(r"\bpolicies +\d+\b"), "policies N"),
)


@dataclass
class Stage:
    """Where the commands run: a home folder of its own, and the service that a page started."""

    home: Path
    at: Path
    port: str
    service: subprocess.Popen[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> str:
        """What one command prints, as the page shows it."""
        if command.startswith("cd "):
            self.at = (self.at / command[3:]).resolve()
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.at,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        if command.startswith("remit init"):
            self._prepare(self.at / command.split()[2])
        if self.service is None and command.startswith(("remit run", "remit exec")):
            self._wait_until_alone()
        return self.shown(done.stdout)

    def start(self, command: str) -> str:
        """What a service prints until it answers."""
        self.stop()
        words = ["bash", "-c", f"exec {command}"]
        self.service = subprocess.Popen(
            words, cwd=self.at, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        output = self.service.stdout
        if output is None:
            raise SystemExit("the service has no output")
        lines = [output.readline()]
        while lines[-1].strip():
            lines.append(output.readline())
        return self.shown("".join(lines))

    def stop(self) -> None:
        """Ends the service, as Ctrl-C would."""
        if self.service is not None:
            self.service.send_signal(signal.SIGINT)
            self.service.communicate(timeout=START_SECONDS)
            self.service = None

    def shown(self, text: str) -> str:
        """A text without what belongs to this machine."""
        text = text.replace(str(self.home), HOME).replace(self.port, PORT)
        user = pwd.getpwuid(os.geteuid()).pw_name
        return re.sub(rf"`{re.escape(user)}`", "`alice`", "\n".join(line.rstrip() for line in text.splitlines()))

    def denial(self) -> str:
        """The end of the latest denial's id."""
        with reader_of(Folder(self.at)) as reader:
            bodies = [decode_record(stored.data).body for stored in reader.records(kinds=("decision",))]
        return str([body["id"] for body in bodies if body["effect"] == "deny"][-1])[-SHOWN:]

    def _wait_until_alone(self) -> None:
        """A service that was started on demand ends by itself, a moment after the last command."""
        until = time.monotonic() + START_SECONDS
        while Folder(self.at).socket.exists() and time.monotonic() < until:
            time.sleep(0.1)

    def _prepare(self, project: Path) -> None:
        """Another port than anyone else's, and the third-party servers that were installed already."""
        file = project / "remit.toml"
        file.write_text(file.read_text("utf-8").replace(PORT, self.port), "utf-8")
        (project / "node_modules").symlink_to(ROOT / "node_modules")


def transcribe(page: str) -> tuple[str, list[str]]:
    """The page with what its commands print now, and what differs from what it says."""
    home = Path(tempfile.mkdtemp(prefix="transcript-"))
    stage = Stage(home, home, f"127.0.0.1:{_free_port()}")
    stage.environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HOME": str(home),
        "LOGNAME": "alice",
        "COLUMNS": str(WIDTH),
        "LANG": "C.UTF-8",
    }
    for name in _GIVEN.findall(page):
        shutil.copytree(ROOT / name, home / Path(name).name, ignore=shutil.ignore_patterns(".remit", "__pycache__"))
    for name in _VERIFIER.findall(page):
        build(home / name)
    differences: list[str] = []
    parts: list[str] = []
    end = 0
    try:
        for block in _BLOCK.finditer(page):
            parts += [page[end : block.start("body")], _block(stage, block, differences)]
            end = block.end("body")
        return "".join([*parts, page[end:]]), differences
    finally:
        stage.stop()
        shutil.rmtree(home, ignore_errors=True)


def _block(stage: Stage, block: re.Match[str], differences: list[str]) -> str:
    body, note = block["body"], block["note"] or ""
    if note.startswith("file: "):
        path = stage.at / note.removeprefix("file: ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, "utf-8")
    if block["kind"] != "console" or note == "not run":
        return body
    shown: list[str] = []
    for command, expected in _commands(body):
        if command.startswith("remit log show "):
            command = f"remit log show {stage.denial()}"
        if command.startswith("remit explain ") and "/" not in command:
            command = f"remit explain {stage.denial()}"
        output = stage.start(command) if note == "background" else stage.run(command.replace("\\\n", " "))
        output = output.strip("\n")
        if _masked(output) != _masked(expected):
            differences.append(f"$ {command}\n--- the page\n{expected.strip()}\n--- now\n{output}\n")
        shown.append(f"$ {command}\n" + (f"{output}\n" if output else ""))
    return "".join(shown)


def _commands(body: str) -> list[tuple[str, str]]:
    """The commands of a block, each with the output that stands below it."""
    found: list[tuple[str, str]] = []
    continued = False
    for line in body.splitlines(keepends=True):
        if line.startswith("$ ") or continued:
            text = line.removeprefix("$ ").rstrip("\n")
            command = f"{found.pop()[0]}\n{text}" if continued else text
            found.append((command, ""))
            continued = text.endswith("\\")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def _masked(text: str) -> str:
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return " ".join(text.replace("│", " ").split())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Writes or compares."""
    parser = argparse.ArgumentParser(description="Run the commands of a page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    given = parser.parse_args()
    before = given.page.read_text("utf-8")
    began = time.monotonic()
    after, differences = transcribe(before)
    if given.check:
        print("\n".join(differences), end="")
        return 1 if differences else 0
    given.page.write_text(after, "utf-8")
    print(f"ran {given.page} in {time.monotonic() - began:.0f} s; {len(differences)} outputs changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
