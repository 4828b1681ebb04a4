"""The one-file verifier where nothing is importable but Python's own library and `cryptography`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.standalone.pair import builder

CRYPTOGRAPHY: Final = ("cryptography", "cffi", "_cffi_backend")
ENGINE: Final = (*CRYPTOGRAPHY, "cedarpy")
# Each line that it reads is a list of arguments; it answers what the command printed and its exit code.
_SERVE: Final = """
import contextlib, io, json, runpy, sys
sys.path[:0], sys.argv = [sys.argv[1]], [sys.argv[1]]
sys.path.append({folder!r})
main = runpy.run_path(sys.argv[0], run_name="remit_verify")
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main["run"](json.loads(line))
        except SystemExit as error:
            code = error.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed, as JSON: a report, what a receipt proves, or an error."""
        found: dict[str, Any] = json.loads(self.out or self.err)
        return found


def environment(folder: Path, names: tuple[str, ...] = CRYPTOGRAPHY) -> Path:
    """A folder of packages that holds these only."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        file = Path(spec.origin)
        there = file.parent if file.name.startswith("__init__") else file
        (folder / there.name).symlink_to(there)
    return folder


def built(folder: Path) -> Path:
    """The file, built from the source as it stands."""
    file = folder / "remit-verify.pyz"
    builder().build(file)
    return file


class Isolated:
    """A process in such an environment that runs the file again and again."""

    def __init__(self, folder: Path, names: tuple[str, ...] = CRYPTOGRAPHY) -> None:
        self.file = built(folder)
        self.packages = environment(folder / "packages", names)
        code = _SERVE.format(folder=str(self.packages))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, str(self.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Said:
        """Runs the command with these arguments."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Said(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
