"""A real PostgreSQL for tests: a cluster of its own in a folder of its own, ended by its own pid.

It refuses to run as root, so it runs as ``postgres`` or ``nobody`` where the tests do.
"""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from ending import with_us

START = 30.0  # seconds


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs; "" where it is not installed."""
    return shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), "")


def user() -> str | None:
    """Who it is to run as; None: who runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


class Postgres:
    """One cluster. ``dsn`` is for its superuser ``tests``, who needs no password."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="pg-")
        self.run_as = user()
        if self.run_as is not None:
            shutil.chown(self.folder, self.run_as)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port: int = taken.getsockname()[1]
        self.dsn = f"postgresql://tests@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        made = [program("initdb"), "-D", f"{self.folder}/data", "-U", "tests", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, user=self.run_as, cwd="/", capture_output=True, timeout=120)

    def start(self) -> None:
        argv = [program("postgres"), "-D", f"{self.folder}/data", "-p", str(self.port), "-k", self.folder]
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=20"]
        self.process = subprocess.Popen(
            [*argv, *settings],
            user=self.run_as,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=with_us(signal.SIGINT),
        )
        deadline = time.monotonic() + START
        ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, timeout=START).returncode:
            assert time.monotonic() < deadline and self.process.poll() is None, "PostgreSQL does not start"
            time.sleep(0.05)  # another process: there is nothing to wait on

    def stop(self) -> None:
        """Fast shutdown."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def sql(self, text: str) -> list[str]:
        """The rows that ``text`` gives, one column each."""
        argv = [program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, "-c", text]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.splitlines()


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A cluster that answers; a test that asks for one is skipped where PostgreSQL is not installed."""
    if not all(map(program, ("initdb", "postgres", "psql", "pg_isready"))):
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    if os.geteuid() == 0 and user() is None:
        pytest.skip("PostgreSQL does not run as root, and there is no other user")
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
