"""Certificates of TLS clients: asking for them while an auth method goes by them, without judging them here.

Who may log in is for the auth method to say, at each login: a certificate that no role trusts refuses a login and not
the connection. Python's ``ssl`` has no verify callback, so OpenSSL is told through ``ctypes`` to take every chain
(``SSL_CTX_set_cert_verify_callback``); the handshake itself still proves that the client holds the private key. Where
that cannot be done (``can_take_any``), the context gets the roles' certificates as its trust, and a client with
another certificate cannot connect.
"""

import contextlib
import ctypes
import functools
import platform
import ssl
import sys
from collections.abc import Callable
from typing import Any

from strongroom.server.config_listener import Tls

_TAKE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


_take_any = _TAKE(lambda _store, _argument: 1)  # kept for good: OpenSSL holds a pointer to it


class Asking:
    """Whether one TLS listener asks its clients for a certificate, following what auth methods trust.

    A listener with a ``tls_client_ca_file``, or one that must not ask, stays as its configuration says.

    Args:
        tls: the listener's files.
        make: a fresh context from them.
        take_any: how to make a context take every certificate; None where there is no way.
    """

    def __init__(
        self, tls: Tls, make: Callable[[], ssl.SSLContext], take_any: Callable[[ssl.SSLContext], None] | None = None
    ) -> None:
        self.context = make()
        self._tls, self._make, self._take_any = tls, make, take_any
        self._follows = tls.request_client_cert and not tls.client_ca_file
        self._current = self.context
        self._trust: frozenset[bytes] = frozenset()

    def follow(self, trust: frozenset[bytes]) -> None:
        """From the next connection on: ask for a certificate if ``trust`` (DER) holds any."""
        if not self._follows or trust == self._trust:
            return
        if self._take_any is not None:
            if trust and not self._trust:
                self.context.verify_mode = ssl.CERT_OPTIONAL
                self._take_any(self.context)
            elif not trust:
                self.context.verify_mode = ssl.CERT_NONE
        else:
            self._swap(trust)
        self._trust = trust

    def reload(self, load: Callable[[ssl.SSLContext], None]) -> None:
        """Let ``load`` put new files into the living contexts."""
        load(self.context)
        if self._current is not self.context:
            load(self._current)

    def _swap(self, trust: frozenset[bytes]) -> None:
        """A context that trusts just these takes the place of the last, so that what is trusted no more is gone."""
        fresh = self._make()
        for certificate in trust:
            with contextlib.suppress(ssl.SSLError):
                fresh.load_verify_locations(cadata=certificate)
        self._current = fresh
        # A connection has these two of the context it began with, and only its trust of the one that it is given.
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a pinned certificate is no authority
        self.context.verify_mode = ssl.CERT_OPTIONAL if trust else ssl.CERT_NONE

        def choose(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._current

        self.context.sni_callback = choose  # called for every client, also one that names no server


@functools.cache
def can_take_any() -> Callable[[ssl.SSLContext], None] | None:
    """The way to make a context take every client certificate; None where Python's OpenSSL cannot be reached.

    The pointer to OpenSSL's context stands first in CPython's object (3.11 to 3.14); that it does is tried out here.
    """
    if platform.python_implementation() != "CPython" or not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return None
    try:
        import _ssl

        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        number, mode, take = (
            library.OpenSSL_version_num,
            library.SSL_CTX_get_verify_mode,
            library.SSL_CTX_set_cert_verify_callback,
        )
    except (ImportError, OSError, AttributeError):
        return None
    number.restype = ctypes.c_ulong
    mode.argtypes, mode.restype = [ctypes.c_void_p], ctypes.c_int
    take.argtypes, take.restype = [ctypes.c_void_p, _TAKE, ctypes.c_void_p], None
    if number() != ssl.OPENSSL_VERSION_NUMBER:
        return None  # another OpenSSL than the one that ssl was built upon
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    seen = []
    for wanted in (ssl.CERT_NONE, ssl.CERT_OPTIONAL):
        trial.verify_mode = wanted
        seen.append(mode(_pointer(trial)))
    if seen != [0, 1]:
        return None

    def take_any(context: ssl.SSLContext) -> None:
        take(_pointer(context), _take_any, None)

    return take_any


def peer_certificates(connection: Any) -> tuple[bytes, ...]:
    """The certificates (DER) that the client of a TLS connection sent, its own first; none if it sent none."""
    own = None if connection is None else connection.getpeercert(binary_form=True)
    if not own:
        return ()
    found: Any = None
    with contextlib.suppress(AttributeError, ssl.SSLError):
        if hasattr(connection, "get_unverified_chain"):  # from Python 3.13
            found = connection.get_unverified_chain()
        else:
            found = connection._sslobj.get_unverified_chain()
    rest = [one if isinstance(one, bytes) else one.public_bytes(ssl._ssl.ENCODING_DER) for one in found or ()]  # type: ignore[attr-defined]
    return (own, *(one for one in rest if one != own))


def _pointer(context: ssl.SSLContext) -> ctypes.c_void_p:
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
