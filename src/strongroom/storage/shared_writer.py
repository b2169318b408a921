"""One writer for all processes of a host: they send it their commits, and it puts what waits into one transaction.

    worker  WriterLink  --- socket --->  SharedWriter  (a process of its own; see docs/decisions/0014)

A message is its length (4 bytes, big-endian) and msgpack. To the writer goes a list of commits, each
``[[[key, value or nil], ...], [[key, expected revision], ...], size]`` with values that the barrier has sealed; back
comes one answer to each list, in order: for each commit 0 (durable) or 1 (an expectation did not hold), or the text of
what failed with all of them. Both ends are the same release, so there is no version.
"""

import contextlib
import select
import socket
import struct
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable, Iterator
from threading import get_ident

import msgspec

from strongroom.errors import Conflict, StorageFailed, VaultError
from strongroom.storage.completion import Completion, settle
from strongroom.storage.group import MAX_BATCH, MAX_BATCH_BYTES, Job, WriteBatch
from strongroom.storage.limits import Puts

_LENGTH = struct.Struct(">I")
_MAX_MESSAGE = 1 << 30
_MAX_UNREAD = 1 << 18  # bytes of answers kept for a process that does not read them: those to ten thousand messages
_READ = 1 << 16  # bytes taken from a socket at a time; the C library maps memory anew for buffers twice as large
_IDLE = 1000  # ms until a writer with nothing to do turns all the same
_DURABLE, _CONFLICT = 0, 1
_LOST = "the writer process ended before it answered: whether the change was stored is not known"
Wire = list[tuple[Puts, list[tuple[bytes, int]], int]]

_encode = msgspec.msgpack.Encoder().encode
_decode_jobs = msgspec.msgpack.Decoder(Wire).decode
_decode_answer = msgspec.msgpack.Decoder(list[int] | str).decode
_RUBBISH = (EOFError, IndexError, ValueError, msgspec.MsgspecError)


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
        loop: whose thread calls everything here.
        otherwise: commits a job that the writer cannot have seen, once it is gone.
    """

    def __init__(self, sock: socket.socket, loop: AbstractEventLoop, otherwise: Callable[[Job], object]) -> None:
        sock.setblocking(False)
        self._sock, self.loop, self._otherwise = sock, loop, otherwise
        self._turn: list[Job] = []  # submitted in this turn of the loop
        self._unsent: deque[tuple[memoryview, list[Job]]] = deque()  # what the socket did not take, or not whole
        self._sent: deque[list[Job]] = deque()  # waiting for an answer
        self._blocked = False  # told when the socket takes more
        self._leaving = False
        self._inbox = _Inbox()
        self._thread = get_ident()
        self.lost = False
        self.closed: Future[None] = loop.create_future()
        loop.add_reader(sock.fileno(), self._readable)

    def submit(self, job: Job) -> Completion:
        """Queue a commit."""
        if self.lost:
            self._alone([job])
            return job.completion
        if not self._turn:
            self.loop.call_soon(self._send)
        self._turn.append(job)
        return job.completion

    def here(self) -> bool:
        """Whether this is the thread of the link's loop, in which commits may be submitted, and the writer is there."""
        return not self.lost and get_ident() == self._thread

    async def commit(self, job: Job) -> None:
        """``submit``, and wait for the outcome (quicker than to await the completion, which asks where it is)."""
        completion = self.submit(job)
        if self.lost:
            await completion
        else:
            await completion.await_in(self.loop)
            completion.result()

    def _send(self) -> None:
        jobs, self._turn = self._turn, []
        for part in _parts(jobs):
            body = _encode([(job.puts, job.expect, job.size) for job in part])
            self._unsent.append((memoryview(_LENGTH.pack(len(body)) + body), part))
        if not self._blocked and self._unsent:
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            data, jobs = self._unsent[0]
            try:
                taken = self._sock.send(data)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            if taken < len(data):
                self._unsent[0] = data[taken:], jobs
            else:
                self._unsent.popleft()
                self._sent.append(jobs)
        if self._blocked != bool(self._unsent):
            self._blocked = bool(self._unsent)
            if self._blocked:
                self.loop.add_writer(self._sock.fileno(), self._flush)
            else:
                self.loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_READ)
            self._answers(data)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        except _RUBBISH:
            self._fail()  # which answer belongs to what is no longer known
            data = b""
        if not data or (self._leaving and not self._pending()):
            self.close()

    def _answers(self, data: bytes) -> None:
        for message in self._inbox.cut(data):
            answer = _decode_answer(message)
            jobs = self._sent[0]
            if isinstance(answer, str):
                outcomes = [(job.completion, _failure(answer)) for job in jobs]
            else:
                outcomes = [(job.completion, _outcome(code)) for job, code in zip(jobs, answer, strict=True)]
            self._sent.popleft()
            settle(outcomes)

    def _pending(self) -> bool:
        return bool(self._turn or self._unsent or self._sent)

    def leave(self) -> None:
        """Part from the writer when it has answered what is under way; ``closed`` tells. Submit nothing more."""
        self._leaving = True
        if not self._pending():
            self.close()

    def close(self) -> None:
        """Part from the writer now.

        What it was sent and has not answered fails, since nobody can say what became of it; what it has not got whole
        is committed otherwise.
        """
        if self.lost:
            return
        self.lost = True
        if not self.loop.is_closed():
            self.loop.remove_reader(self._sock.fileno())
            self.loop.remove_writer(self._sock.fileno())
        with contextlib.suppress(OSError, *_RUBBISH):  # it may have answered before it ended
            while data := self._sock.recv(_READ):
                self._answers(data)
        self._sock.close()
        self._fail()
        left = [job for _, jobs in self._unsent for job in jobs] + self._turn
        self._unsent.clear()
        self._turn = []
        self._alone(left)
        if not self.closed.done() and not self.loop.is_closed():
            self.closed.set_result(None)

    def _fail(self) -> None:
        unanswered, self._sent = self._sent, deque()
        settle([(job.completion, _failure(_LOST)) for jobs in unanswered for job in jobs])

    def _alone(self, jobs: list[Job]) -> None:
        for job in jobs:
            try:
                self._otherwise(job)
            except VaultError as error:
                settle([(job.completion, error)])


def _parts(jobs: list[Job]) -> Iterator[list[Job]]:
    """Cut what is more than a batch."""
    part: list[Job] = []
    size = 0
    for job in jobs:
        if part and (len(part) == MAX_BATCH or size + job.size > MAX_BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(job)
        size += job.size
    if part:
        yield part


def _outcome(code: int) -> VaultError | None:
    return None if code == _DURABLE else Conflict("the entry changed since it was read")


def _failure(text: str) -> VaultError | None:
    return StorageFailed(text)


class _Peer:
    """One process that sends commits."""

    __slots__ = ("inbox", "out", "sock", "waiting", "waiting_size")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.inbox = sock, _Inbox()
        self.out = bytearray()  # answers that its socket did not take
        self.waiting = self.waiting_size = 0  # commits that were read and not begun, and their bytes


class _Message:
    """Commits that came together and are answered together."""

    __slots__ = ("jobs", "peer", "size")

    def __init__(self, peer: _Peer, jobs: list[Job]) -> None:
        self.peer, self.jobs, self.size = peer, jobs, sum(job.size for job in jobs)
        peer.waiting += len(jobs)
        peer.waiting_size += self.size

    def begin(self) -> None:
        """It waits no longer."""
        self.peer.waiting -= len(self.jobs)
        self.peer.waiting_size -= self.size


class SharedWriter:
    """The process that writes. ``run`` goes on until ``stop``; nothing here is a coroutine or a thread.

    Args:
        write_batch: as for ``GroupWriter``: locks the store, takes the jobs, returns when they are durable.
        turned: called at each turn, at least once a second unless the store or the system holds the process up.
    """

    def __init__(self, write_batch: WriteBatch, turned: Callable[[], None] = lambda: None) -> None:
        self._write_batch, self._turned = write_batch, turned
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
        """End ``run`` after what has come is written. For ``told`` and ``turned``."""
        self._running = False

    def run(self) -> None:
        """Write what comes."""
        while self._running:
            for fd in self._collect(0 if self._waiting else _IDLE):
                self._watched[fd]()
            self._turned()
            if self._waiting:
                self._write()
        self._collect(0)
        while self._waiting:
            self._write()

    def close(self) -> None:
        """Part from all processes."""
        for peer in list(self._peers.values()):
            self._drop(peer)

    def _collect(self, timeout: int) -> list[int]:
        """Read what the processes sent; the descriptors that are watched for others, where those are ready."""
        others = []
        for fd, events in self._poll.poll(timeout):
            peer = self._peers.get(fd)
            if peer is None:
                others.append(fd)
                continue
            if events & select.POLLOUT:
                self._push(peer)
            if events & ~select.POLLOUT and fd in self._peers:
                self._read(peer)
        return others

    def _read(self, peer: _Peer) -> None:
        """At most a batch of each process waits here; more stays in its socket."""
        if peer.waiting >= MAX_BATCH or peer.waiting_size >= MAX_BATCH_BYTES:
            return
        try:
            data = peer.sock.recv(_READ)
            if not data:
                raise EOFError
            for message in peer.inbox.cut(data):
                self._waiting.append(_Message(peer, [Job.checked(*one) for one in _decode_jobs(message)]))
        except BlockingIOError:
            return
        except (OSError, *_RUBBISH):
            self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        """It is gone, sends rubbish or does not read its answers. What it sent whole is still written."""
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
        peers = {}
        for message, answer in zip(batch, answers, strict=True):
            body = _encode(answer)
            message.peer.out += _LENGTH.pack(len(body)) + body
            peers[id(message.peer)] = message.peer
        for peer in peers.values():  # all answers to one process in one piece: its socket holds few hundred small ones
            self._push(peer)

    def _fill(self, batch: list[_Message]) -> list[_Message]:
        """Take a batch, if none was taken: at most what the limits allow, but for a message that is larger alone."""
        if not batch:
            count = size = 0
            while self._waiting:
                count += len(self._waiting[0].jobs)
                size += self._waiting[0].size
                if batch and (count > MAX_BATCH or size > MAX_BATCH_BYTES):
                    break
                batch.append(self._waiting.popleft())
                batch[-1].begin()
        return batch

    def _push(self, peer: _Peer) -> None:
        """Send a process its answers. It is not waited for; with too many that it did not read it is cut off."""
        if peer.sock.fileno() < 0:
            return
        try:
            del peer.out[: peer.sock.send(peer.out)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(peer)
            return
        if len(peer.out) > _MAX_UNREAD:
            self._drop(peer)
        else:
            self._poll.modify(peer.sock, select.POLLIN | select.POLLOUT if peer.out else select.POLLIN)
