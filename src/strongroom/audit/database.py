"""Audit lines as rows of a PostgreSQL table.

A line is taken when it stands in a local spool file (see ``spool``); a thread with an event loop of its own carries it
over, in order. So the database may be away until the spool is full, and no request ever waits for it.
"""

import asyncio
import contextlib
import datetime
import importlib
import os
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from strongroom.audit.options import check_options
from strongroom.audit.spool import LIMIT, Spool, Waiting, left_behind
from strongroom.audit.target import inside, open_folder
from strongroom.errors import AuditFailed, BadRequest
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import run_inline
from strongroom.sdk.fields import parse_bool

Offload = Callable[[Callable[[], Any]], Awaitable[Any]]
_OWN = frozenset({"dsn", "password", "table", "spool", "spool_size", "fsync"})
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?\Z")
_RETRY = (0.2, 5.0)  # seconds between two tries to reach the database: the first, and the longest
_SECONDS = 10.0  # that one statement may take
_GOODBYE = 0.25  # seconds that closing waits for what is under way
_EVER = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_SKEW = datetime.timedelta(minutes=5)  # that the clocks of server and database may differ
CREATE = """CREATE TABLE IF NOT EXISTS {table} (
    id bigserial, arrived timestamptz NOT NULL DEFAULT now(), writer text NOT NULL, number bigint NOT NULL,
    line text NOT NULL, PRIMARY KEY (writer, number))"""
_INDEX = "CREATE INDEX IF NOT EXISTS {name}_arrived ON {table} (arrived)"
_INSERT = """INSERT INTO {table} (writer, number, line)
    SELECT $1, n, l FROM unnest($2::bigint[], $3::text[]) AS u(n, l) ORDER BY n ON CONFLICT DO NOTHING"""
_SELECT = "SELECT id, line FROM {table} WHERE id > $1 AND arrived >= $2 ORDER BY id LIMIT $3"


class Options:
    """The checked options of a database device. Raises BadRequest."""

    def __init__(self, options: Mapping[str, str]) -> None:
        check_options("database", options, _OWN)
        self.dsn, self.password = options.get("dsn", ""), options.get("password", "")
        try:
            parts = urlsplit(self.dsn)
            inline = parts.password is not None or "password" in parts.query
        except ValueError:
            raise BadRequest("dsn is not a URL") from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise BadRequest("dsn must be a URL that begins with postgresql://")
        if inline:
            raise BadRequest("dsn must not hold a password: give it as password, which is shown to nobody")
        self.table = options.get("table") or "strongroom_audit"
        if not _TABLE.match(self.table):
            raise BadRequest("table must be a plain lower-case name, with or without a schema")
        self.spool = options.get("spool") or f"{self.table}.spool"
        size = options.get("spool_size") or str(LIMIT)
        if not (size.isascii() and size.isdigit() and len(size) < 13 and int(size) >= 65536):
            raise BadRequest("spool_size must be a number of bytes, 65536 or more")
        self.spool_size = int(size)
        self.fsync = parse_bool(options.get("fsync", ""), name="fsync")


def open_sink(options: Mapping[str, str], *, audit_dir: str, offload: Offload = run_inline) -> AuditSink:
    """A sink for a PostgreSQL table.

    Args:
        options: ``dsn`` (postgresql://user@host:port/database, without a password), ``password``, ``table`` (default
            strongroom_audit; made if it is missing), ``spool`` (how the names of the spool files begin; default
            <table>.spool in ``audit_dir``), ``spool_size`` (bytes; default 64 MiB), ``fsync`` (of the spool).

    Raises:
        BadRequest: an option that is not allowed, or the spool cannot be made.
    """
    checked = Options(options)
    parts = inside(checked.spool, audit_dir)
    folder = open_folder(parts, audit_dir)
    try:
        return DatabaseSink(checked, folder, parts[-1], offload)
    except OSError as error:
        os.close(folder)
        raise BadRequest("the spool of the audit device cannot be made") from error


class DatabaseSink:
    """See the module."""

    def __init__(self, options: Options, folder: int, name: str, offload: Offload) -> None:
        self._options, self._folder, self._offload = options, folder, offload
        self.spool = Spool(folder, name, limit=options.spool_size)
        self.problem = ""  # the kind of the last failure to reach the database; "" while it works
        self._stop = False
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(name,), name="audit-database", daemon=True)
        self._thread.start()

    def request(self, line: bytes) -> None:
        self._put(line, keep_room=True)

    def response(self, line: bytes) -> None:
        self._put(line, keep_room=False)

    def both(self, lines: bytes) -> None:
        self._put(lines, keep_room=False)

    def _put(self, lines: bytes, *, keep_room: bool) -> None:
        self.spool.put(lines.splitlines(keepends=True), keep_room=keep_room)
        if not self._wake.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has gone: the next process carries it over
                self._loop.call_soon_threadsafe(self._wake.set)

    def reopen(self) -> None:
        """A database is not rotated."""

    async def sync(self) -> None:
        """Wait until what was taken is on the local disk. Raises AuditFailed."""
        if self._options.fsync:
            try:
                await self._offload(lambda: os.fsync(self.spool.fd))
            except OSError as error:
                raise AuditFailed("the audit device could not bring the record to disk") from error

    def close(self) -> None:
        """Stop; what still waits is carried over by the next process that opens the device."""
        self._stop = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake.set)
        self._thread.join(_GOODBYE)

    # -- the thread

    def _run(self, name: str) -> None:
        try:
            self._loop.run_until_complete(self._carry(left_behind(self._folder, name)))
        finally:
            self._loop.close()
            self.spool.close()
            os.close(self._folder)

    async def _carry(self, old: list[Spool]) -> None:
        connection: Any = None
        wait = _RETRY[0]
        while not (self._stop and not (self.spool.waiting or old)):
            try:
                if connection is None:
                    connection = await self._connect()
                while old:
                    await self._empty(connection, old[0])
                    old.pop(0).close()
                await self._empty(connection, self.spool)
                self.problem, wait = "", _RETRY[0]
            except Exception as error:  # whatever the driver raises: the lines wait, and it is tried again
                self.problem = type(error).__name__
                if connection is not None:
                    connection.terminate()
                    connection = None
                if self._stop:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped(), wait)
                wait = min(2 * wait, _RETRY[1])
                continue
            if not self._stop and not self.spool.waiting:
                await self._wake.wait()
                self._wake.clear()
        for spool in old:
            spool.close()
        if connection is not None:
            connection.terminate()

    async def _stopped(self) -> None:
        while not self._stop:
            await self._wake.wait()
            self._wake.clear()

    async def _connect(self) -> Any:
        asyncpg: Any = importlib.import_module("asyncpg")  # only here, and it is not typed
        options = self._options
        connection = await asyncpg.connect(
            options.dsn, password=options.password or None, timeout=_SECONDS, command_timeout=_SECONDS
        )
        if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", options.table):
            await connection.execute(CREATE.format(table=options.table))
            await connection.execute(_INDEX.format(name=options.table.rpartition(".")[2][:50], table=options.table))
        return connection

    async def _empty(self, connection: Any, spool: Spool) -> None:
        while spool.waiting:
            batch: list[Waiting] = spool.batch()
            numbers, lines = [w.number for w in batch], [w.line.replace("\x00", "") for w in batch]
            if batch:
                await connection.execute(_INSERT.format(table=self._options.table), spool.writer, numbers, lines)
            spool.handed_on()


def fetched(options: Options, since: str, size: int = 1000) -> Iterator[list[str]]:
    """The lines of a table that arrived at ``since`` (RFC 3339 without an offset, UTC) or later, ``size`` at a time.

    Raises:
        BadRequest: the database cannot be read.
    """
    asyncpg: Any = importlib.import_module("asyncpg")
    loop = asyncio.new_event_loop()
    begin = datetime.datetime.fromisoformat(since).replace(tzinfo=datetime.UTC) if since else _EVER
    try:
        connection = loop.run_until_complete(
            asyncpg.connect(options.dsn, password=options.password or None, timeout=_SECONDS)
        )
        last = 0
        text = _SELECT.format(table=options.table)
        while rows := loop.run_until_complete(connection.fetch(text, last, begin - _SKEW, size)):
            last = rows[-1]["id"]
            yield [row["line"] for row in rows]
        loop.run_until_complete(connection.close())
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise BadRequest(f"the database cannot be read ({type(error).__name__})") from error
    finally:
        loop.close()
