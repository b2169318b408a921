"""A real PostgreSQL for tests: initialised in a temporary folder, with passwords that are really asked for.

with PostgresServer() as server:
    server.url            postgresql://{{username}}:{{password}}@127.0.0.1:<port>/postgres?sslmode=disable
    server.sql("SELECT 1", user="postgres", password=server.password)
"""

import asyncio
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
from collections.abc import Callable
from typing import Any

import asyncpg

from ending import with_us

ADMIN = "postgres"
PASSWORD = "adm1n-'n33dle'\\$-canary"
_WAIT = 30.0  # seconds


def folder_of_programs() -> str | None:
    """Where ``initdb`` and ``postgres`` are, or None."""
    for place in (shutil.which("initdb"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)):
        if place:
            return os.path.dirname(os.path.realpath(place))
    return None


def _other_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {}


class PostgresServer:
    """See the module."""

    def __init__(self) -> None:
        programs = folder_of_programs()
        assert programs is not None
        self._programs = programs
        self.password = PASSWORD
        self._folder = tempfile.mkdtemp(prefix="pg-", dir="/tmp")
        self._as = _other_user()
        if self._as:
            os.chown(self._folder, self._as["user"], self._as["group"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def __enter__(self) -> "PostgresServer":
        secret = os.path.join(self._folder, "secret")
        with open(secret, "w") as file:
            file.write(PASSWORD + "\n")
        if self._as:
            os.chown(secret, self._as["user"], self._as["group"])
        self._data = os.path.join(self._folder, "data")
        initdb = [os.path.join(self._programs, "initdb"), "-D", self._data, "-U", ADMIN, "-A", "scram-sha-256"]
        subprocess.run(
            [*initdb, f"--pwfile={secret}", "-N", "-E", "UTF8", "--no-locale"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            timeout=120,
            **self._as,
        )
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self._folder}
        options |= {"fsync": "off", "shared_buffers": "16MB", "max_connections": 60}
        self._process = subprocess.Popen(
            [os.path.join(self._programs, "postgres"), "-D", self._data, *(f"--{k}={v}" for k, v in options.items())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            preexec_fn=with_us(signal.SIGINT),
            **self._as,
        )
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                self.sql("SELECT 1")
                return
            except (OSError, asyncpg.PostgresError):
                assert time.monotonic() < deadline and self._process.poll() is None, "PostgreSQL did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once; ``start`` brings it back."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_WAIT)
            self._process = None

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def sql(self, query: str, *values: Any, user: str = ADMIN, password: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query, on a connection of its own."""
        return self._with(user, password, lambda connection: connection.fetch(query, *values))

    def script(self, text: str) -> None:
        """Several statements, as the administrator."""
        self._with(ADMIN, None, lambda connection: connection.execute(text))

    def logs_in(self, user: str, password: str) -> bool:
        """Whether the server lets ``user`` in."""
        try:
            return self.sql("SELECT current_user::text", user=user, password=password) == [(user,)]
        except asyncpg.InvalidAuthorizationSpecificationError:
            return False

    def roles(self) -> set[str]:
        """The names of all roles that tests or the vault made."""
        rows = self.sql("SELECT rolname::text FROM pg_roles WHERE rolname <> $1 AND rolname !~ '^pg_'", ADMIN)
        return {name for (name,) in rows}

    def _with(self, user: str, password: str | None, work: Callable[[Any], Any]) -> Any:
        async def run() -> Any:
            connection = await asyncpg.connect(
                host="127.0.0.1",
                port=self.port,
                user=user,
                password=PASSWORD if password is None else password,
                database="postgres",
                ssl=False,
                timeout=10,
            )
            try:
                rows = await work(connection)
                return [tuple(row) for row in rows] if isinstance(rows, list) else rows
            finally:
                await connection.close()

        import threading

        out: list[Any] = []

        def in_thread() -> None:  # the caller's thread may have a running loop
            try:
                out.append((True, asyncio.run(run())))
            except BaseException as error:
                out.append((False, error))

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        done, value = out[0]
        if not done:
            raise value
        return value
