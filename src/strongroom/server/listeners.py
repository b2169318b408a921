"""The listening sockets. The supervisor opens them once and keeps them; workers inherit them and accept.

On Linux a TCP listener has one socket per worker (SO_REUSEPORT): the kernel spreads new connections over them, and
those that wait on the socket of a worker that died are served by its successor. Elsewhere all workers share one.
"""

import contextlib
import grp
import os
import pwd
import socket
import stat
import sys
from collections.abc import Sequence

import msgspec

from strongroom.errors import BadRequest
from strongroom.server.config_listener import Listener

BACKLOG = 1024


class Opened(msgspec.Struct):
    """One listener's sockets; a unix listener has a single one, which all workers share."""

    listener: Listener
    sockets: list[socket.socket]


def open_all(listeners: Sequence[Listener], workers: int) -> list[Opened]:
    """Open every listener. Raises BadRequest naming the address that cannot be had; then none stays open."""
    opened: list[Opened] = []
    try:
        for listener in listeners:
            make = _unix if listener.kind == "unix" else _tcp
            opened.append(make(listener, workers))
    except OSError as error:
        close_all(opened)
        raise BadRequest(f"cannot listen on {listener.address}: {error.strerror or 'bad address'}") from error
    return opened


def close_all(opened: Sequence[Opened]) -> None:
    """Close the sockets and remove those that have a path."""
    for one in opened:
        for sock in one.sockets:
            sock.close()
        if one.listener.kind == "unix":
            with contextlib.suppress(OSError):
                os.unlink(one.listener.address)


def _tcp(listener: Listener, workers: int) -> Opened:
    host, port = listener.host_port()
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    # SO_REUSEPORT would let a second server of the same user join in silently: try without it first.
    with _socket(family) as trial:
        trial.bind(address)
    first = _socket(family, shared=True)
    sockets = [first]
    try:
        first.bind(address)
        bound = first.getsockname()
        for _ in range(workers - 1 if sys.platform == "linux" else 0):  # elsewhere the option spreads nothing
            sockets.append(_socket(family, shared=True))
            sockets[-1].bind(bound)
        for sock in sockets:
            sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if port == 0:
        listener = msgspec.structs.replace(listener, address=f"{listener.address.rpartition(':')[0]}:{bound[1]}")
    return Opened(listener, sockets)


def _socket(family: int, *, shared: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared and hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return sock


def _unix(listener: Listener, _workers: int) -> Opened:
    path = listener.address
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody else may connect between bind and chmod
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    try:
        owner = pwd.getpwnam(listener.socket_user).pw_uid if listener.socket_user else -1
        group = grp.getgrnam(listener.socket_group).gr_gid if listener.socket_group else -1
    except KeyError:
        sock.close()
        raise BadRequest(f"socket_user or socket_group of {path} does not exist") from None
    os.chown(path, owner, group)
    os.chmod(path, listener.socket_mode)
    sock.listen(BACKLOG)
    return Opened(listener, [sock])


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; anything else at this path is left, and bind refuses it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return
