"""Messages and descriptors between the supervisor and a worker, over one inherited socket pair.

A message is a msgpack map with a type ``t``, behind its length (4 bytes, big-endian). Descriptors travel beside the
message that names them. Nothing secret goes this way: the keyring key has a socket of its own between two workers.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

_LENGTH = struct.Struct(">I")
_MAX = 1024 * 1024
_MAX_FDS = 64

Message = dict[str, Any]


class Channel:
    """One end. Never blocks: a peer that does not read is treated as dead."""

    __slots__ = ("_buffer", "_fds", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._buffer = bytearray()
        self._fds: list[int] = []

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, kind: str, fds: Sequence[int] = (), **fields: Any) -> bool:
        """Send a message; False if the peer is gone or does not read."""
        body = msgspec.msgpack.encode({"t": kind, "fds": len(fds), **fields})
        data = _LENGTH.pack(len(body)) + body
        try:
            if fds:
                sent = socket.send_fds(self.sock, [data], list(fds))
                return sent == len(data)
            return self.sock.send(data) == len(data)
        except OSError:
            return False

    def receive(self) -> list[tuple[Message, list[int]]]:
        """The messages that came, each with its descriptors. Raises EOFError when the peer is gone."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self.sock, 65536, _MAX_FDS)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._buffer += data
        self._fds += fds
        found = []
        while len(self._buffer) >= 4:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > _MAX:
                raise EOFError
            if len(self._buffer) < 4 + size:
                break
            message: Message = msgspec.msgpack.decode(bytes(self._buffer[4 : 4 + size]))
            del self._buffer[: 4 + size]
            count = message.pop("fds")
            found.append((message, self._fds[:count]))
            del self._fds[:count]
        return found

    def close(self) -> None:
        self.sock.close()
