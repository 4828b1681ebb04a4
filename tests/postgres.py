"""A real PostgreSQL for tests and benches: of its own, in a temporary folder, on a free port of the loopback.

`postgres` is one server for all tests of a process, in which each takes a `place()`, a schema of its own;
`own_postgres` is one for tests that stop or kill it. Both need
Debian's binaries only (`tools/setup.sh`), never a cluster that runs already.

PostgreSQL does not run as root: tests that do start it as `postgres`, or else as `nobody`. Without `durable` it writes
with `fsync = off`: what was committed survives a killed server, not a machine that loses power.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 30.0
USER = "remit"
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 64MB
max_wal_size = 512MB
logging_collector = off
log_min_messages = warning
log_min_error_statement = panic
"""


class PostgresServer:
    """One PostgreSQL server: `database()` makes an empty database in it and says its URL.

    `place()` costs less: a schema that does not exist yet, in one database for all. `settings` are lines of
    `postgresql.conf`. It ends with the process that started it, however that ends.
    """

    def __init__(self, *, durable: bool = False, settings: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remit-postgres-"))
        self.port = 0
        self._password = secrets.token_hex(8)
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._user = _unprivileged()
        self._databases = 0
        self._places = 0
        self._shared = ""
        try:
            if self._user:
                os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            password = self.folder / "password"
            password.write_text(self._password)
            if self._user:
                os.chown(password, self._user.pw_uid, self._user.pw_gid)
            self._run(
                *(_binary("initdb"), "-D", str(self._data), "-U", USER, "-A", "scram-sha-256", "-E", "UTF8"),
                # It sorts as most servers do, which is not by bytes.
                *("--no-locale", "--locale-provider=icu", "--icu-locale=en-US"),
                *("--no-sync", "--no-instructions", f"--pwfile={password}"),
            )
            fsync = "" if durable else "fsync = off\n"
            with (self._data / "postgresql.conf").open("a") as file:
                file.write(SETTINGS + fsync + settings)
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str = "") -> str:
        """Makes an empty database and returns its URL."""
        self._databases += 1
        name = name or f"remit_{self._databases}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def place(self) -> tuple[str, str]:
        """The URL of a database, and the name of a schema in it that nobody has made yet."""
        self._shared = self._shared or self.database("shared")
        self._places += 1
        return self.url("shared"), f"place_{self._places}"

    def sql(self, statement: str, database: str = "postgres") -> list[str]:
        """The rows of one statement, as `psql` prints them; `database` is a name or a URL."""
        url = database if "://" in database else self.url(database)
        done = self._run(_binary("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement)
        return done.splitlines()

    def start(self) -> None:
        """Starts it, on the port that it had before; returns when it answers."""
        for _ in range(50):
            self.port = self.port or _free_port()
            log = (self.folder / "log").open("ab")
            with log:
                self._process = subprocess.Popen(
                    [_binary("postgres"), "-D", self._data, "-p", str(self.port)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    **self._as_user(),  # type: ignore[call-overload]
                )
            self._watch()
            if self._ready():
                return
            if not self._databases:
                self.port = 0  # somebody else took it
            time.sleep(0.1)  # after a kill its other processes may not have ended yet
        raise RuntimeError(f"PostgreSQL does not start: {self.log()[-2000:]}")

    def stop(self, how: str = "fast") -> None:
        """Stops it: `smart` waits for connections to end, `fast` ends them, `immediate` as if it crashed."""
        self._end({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])

    def kill(self) -> None:
        """Kills its first process; the others end by themselves when they see that."""
        self._end(signal.SIGKILL)

    def restart(self, how: str = "fast") -> None:
        """Stops it and starts it again, on the same port and with the same data."""
        self.stop(how)
        self.start()

    def log(self) -> str:
        """What it has written to its log."""
        return (self.folder / "log").read_text(errors="replace") if (self.folder / "log").exists() else ""

    def close(self) -> None:
        """Ends it and removes everything."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self) -> None:
        """Stops the server when this process has ended, however it did: then nobody holds the pipe open any more."""
        assert self._process is not None
        end, self._pipe = os.pipe()
        self._watcher = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -INT "$1"', "sh", str(self._process.pid)],
            stdin=end,
            **self._as_user(),  # type: ignore[call-overload]
        )
        os.close(end)

    def _ready(self) -> bool:
        """Whether it came up; what it says of itself in its lock file is what `pg_ctl` looks at."""
        process = self._process
        assert process is not None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and process.poll() is None:
            try:
                lines = (self._data / "postmaster.pid").read_text().split("\n")
            except OSError:
                lines = []
            if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.01)
        self._end(signal.SIGQUIT)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            os.close(self._pipe)
            self._watcher = None
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self._as_user(),  # type: ignore[call-overload]
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
        return str(done.stdout)

    def _as_user(self) -> dict[str, object]:
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole run; each test takes a `database()` of its own and leaves the server alone."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, to stop, kill and start."""
    server = PostgresServer()
    yield server
    server.close()


def _binary(name: str) -> str:
    """The newest of what is installed; Debian keeps servers apart from the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise RuntimeError(f"there is no `{name}`: install it with `tools/setup.sh`, or the package postgresql")
    return path


def _unprivileged() -> pwd.struct_passwd | None:
    """Who runs the server when the tests run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
