"""One writer for all processes of a host: they send it their commits, and it puts what waits into one transaction.

    worker  WriterLink  --- socket --->  SharedWriter  (a process of its own; see docs/decisions/0014)

A message is its length (4 bytes, big-endian) and msgpack. To the writer goes a list of commits, each
``[[[key, value or nil], ...], [[key, expected revision], ...], size]`` with values that the barrier has sealed; back
comes one answer to each list, in order: for each commit 0 (durable) or 1 (an expectation did not hold), or the text of
what failed with all of them. Both ends are the same release, so there is no version.
"""

import select
import socket
import struct
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from threading import get_ident

import msgspec

from strongroom.errors import Conflict, StorageFailed, VaultError
from strongroom.storage.completion import Completion, settle
from strongroom.storage.group import MAX_BATCH, MAX_BATCH_BYTES, Job, WriteBatch
from strongroom.storage.limits import Puts

_LENGTH = struct.Struct(">I")
_MAX_MESSAGE = 1 << 30
_READ = 1 << 20  # bytes taken from a socket at a time
_DURABLE, _CONFLICT = 0, 1
_LOST = "the writer process ended before it answered: whether the change was stored is not known"
Wire = list[tuple[Puts, list[tuple[bytes, int]], int]]

_encode = msgspec.msgpack.Encoder().encode
_decode_jobs = msgspec.msgpack.Decoder(Wire).decode
_decode_answer = msgspec.msgpack.Decoder(list[int] | str).decode


class _Inbox:
    """Bytes of one socket, cut into messages."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def cut(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        if not self._bytes and len(data) >= 4 and _LENGTH.unpack_from(data)[0] == len(data) - 4:
            return [data[4:]]
        self._bytes += data
        found, at = [], 0
        while len(self._bytes) - at >= 4:
            (size,) = _LENGTH.unpack_from(self._bytes, at)
            if size > _MAX_MESSAGE:
                raise EOFError
            if len(self._bytes) - at < 4 + size:
                break
            found.append(bytes(self._bytes[at + 4 : at + 4 + size]))
            at += 4 + size
        del self._bytes[:at]
        return found


class WriterLink:
    """The end of a process that has commits. Belongs to one event loop; the commits of a turn go out together.

    Args:
        sock: connected with a ``SharedWriter``; taken over.
        loop: the running one.
        otherwise: commits a job that could not be sent, once the writer is gone.
    """

    def __init__(self, sock: socket.socket, loop: AbstractEventLoop, otherwise: Callable[[Job], Completion]) -> None:
        sock.setblocking(False)
        self._sock, self.loop, self._otherwise = sock, loop, otherwise
        self._turn: list[Job] = []  # submitted in this turn of the loop
        self._sent: deque[list[Job]] = deque()  # waiting for an answer
        self._out = b""  # what the socket did not take yet
        self._inbox = _Inbox()
        self._thread = get_ident()
        self.lost = False
        loop.add_reader(sock.fileno(), self._readable)

    def here(self) -> bool:
        """Whether this is the thread of the link's loop, in which commits may be submitted, and the writer is there."""
        return not self.lost and get_ident() == self._thread

    async def commit(self, job: Job) -> None:
        """Send a commit with the others of this turn, and wait for its outcome."""
        if not self._turn:
            self.loop.call_soon(self._send)
        self._turn.append(job)
        await job.completion.await_in(self.loop)
        job.completion.result()

    def _send(self) -> None:
        jobs, self._turn = self._turn, []
        if self.lost:
            for job in jobs:
                try:
                    self._otherwise(job)
                except VaultError as error:
                    settle([(job.completion, error)])
            return
        if not jobs:
            return
        body = _encode([(job.puts, job.expect, job.size) for job in jobs])
        self._sent.append(jobs)
        waiting = bool(self._out)
        self._out += _LENGTH.pack(len(body)) + body
        if not waiting:
            self._flush()

    def _flush(self) -> None:
        try:
            taken = self._sock.send(self._out)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.close()
            return
        self._out = self._out[taken:]
        if self._out:
            self.loop.add_writer(self._sock.fileno(), self._flush)
        elif taken:
            self.loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_READ)
            messages = self._inbox.cut(data) if data else None
        except BlockingIOError:
            return
        except (OSError, EOFError):
            messages = None
        if messages is None:
            self.close()
            return
        for message in messages:
            self._answered(self._sent.popleft(), _decode_answer(message))

    def _answered(self, jobs: list[Job], answer: list[int] | str) -> None:
        if isinstance(answer, str):
            settle([(job.completion, StorageFailed(answer)) for job in jobs])
        else:
            settle([(job.completion, _error(code)) for job, code in zip(jobs, answer, strict=True)])

    def close(self) -> None:
        """Part from the writer. What it has not answered fails, since nobody can say what became of it."""
        if self.lost:
            return
        self.lost = True
        self.loop.remove_reader(self._sock.fileno())
        self.loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._out = b""
        unanswered, self._sent = self._sent, deque()
        for jobs in unanswered:
            self._answered(jobs, _LOST)


def _error(code: int) -> VaultError | None:
    return None if code == _DURABLE else Conflict("the entry changed since it was read")


class _Message:
    """Commits that came together and are answered together."""

    __slots__ = ("jobs", "peer", "size")

    def __init__(self, peer: "_Peer", jobs: list[Job]) -> None:
        self.peer, self.jobs, self.size = peer, jobs, sum(job.size for job in jobs)


class _Peer:
    """One process that sends commits."""

    __slots__ = ("inbox", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.inbox = sock, _Inbox()


class SharedWriter:
    """The process that writes. ``run`` goes on until ``stop``; nothing here is a coroutine or a thread.

    Args:
        write_batch: as for ``GroupWriter``: locks the store, takes the jobs, returns when they are durable.
    """

    def __init__(self, write_batch: WriteBatch) -> None:
        self._write_batch = write_batch
        self._poll = select.poll()
        self._peers: dict[int, _Peer] = {}
        self._watched: dict[int, Callable[[], None]] = {}
        self._waiting: deque[_Message] = deque()
        self._running = True

    def add(self, sock: socket.socket) -> None:
        """Serve one more process; ``sock`` is taken over."""
        sock.setblocking(False)
        self._peers[sock.fileno()] = _Peer(sock)
        self._poll.register(sock, select.POLLIN)

    def watch(self, fd: int, told: Callable[[], None]) -> None:
        """Call ``told`` whenever ``fd`` has something to read, between two batches."""
        self._watched[fd] = told
        self._poll.register(fd, select.POLLIN)

    def stop(self) -> None:
        """End ``run`` after what has been read is written."""
        self._running = False

    def run(self) -> None:
        """Write what comes."""
        while self._running or self._waiting:
            if not self._waiting:
                for fd in self._collect(None):
                    self._watched[fd]()
            if self._waiting:
                self._write()

    def close(self) -> None:
        """Part from all processes."""
        for peer in list(self._peers.values()):
            self._drop(peer)

    def _collect(self, timeout: int | None) -> list[int]:
        """Read what the processes sent; the descriptors that are watched for others, where those are ready."""
        others = []
        for fd, _ in self._poll.poll(timeout):
            peer = self._peers.get(fd)
            if peer is None:
                others.append(fd)
                continue
            try:
                data = peer.sock.recv(_READ)
                if not data:
                    raise EOFError
                for message in peer.inbox.cut(data):
                    jobs = [Job.checked(*one) for one in _decode_jobs(message)]
                    self._waiting.append(_Message(peer, jobs))
            except BlockingIOError:
                continue
            except (OSError, EOFError, msgspec.MsgspecError):
                self._drop(peer)
        return others

    def _drop(self, peer: _Peer) -> None:
        """It is gone, or does not read its answers. What it sent whole is still written."""
        if self._peers.pop(peer.sock.fileno(), None) is not None:
            self._poll.unregister(peer.sock)
            peer.sock.close()

    def _write(self) -> None:
        batch: list[_Message] = []

        def take() -> list[Job]:
            self._collect(0)  # what came while another process held the lock shares the flush
            return [job for message in self._fill(batch) for job in message.jobs]

        try:
            self._write_batch(take)
        except BaseException as error:  # whatever it is, those who wait must hear of it
            self._fill(batch)
            what = str(error) if isinstance(error, StorageFailed) else "the store could not write"
            answers: list[list[int] | str] = [what] * len(batch)
        else:
            answers = [[_DURABLE if job.error is None else _CONFLICT for job in message.jobs] for message in batch]
        for message, answer in zip(batch, answers, strict=True):
            self._answer(message.peer, answer)

    def _fill(self, batch: list[_Message]) -> list[_Message]:
        if not batch:
            count = size = 0
            while self._waiting and (not batch or (count < MAX_BATCH and size < MAX_BATCH_BYTES)):
                batch.append(self._waiting.popleft())
                count += len(batch[-1].jobs)
                size += batch[-1].size
        return batch

    def _answer(self, peer: _Peer, answer: list[int] | str) -> None:
        if peer.sock.fileno() < 0:
            return
        body = _encode(answer)
        data = _LENGTH.pack(len(body)) + body
        try:
            if peer.sock.send(data) == len(data):
                return
        except OSError:
            pass
        self._drop(peer)  # it takes no answers: nothing waits for a process that hangs
