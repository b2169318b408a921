"""The one place that reaches outside the vault: one HTTP request, to an address that may be asked.

A name is resolved here, each address is judged, and the connection goes to a judged address: a name that leads to
another place at its second look-up (DNS rebinding) gains nothing. Everything blocks, so it runs through ``offload``.
"""

import functools
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.errors import BadRequest, Unreachable
from strongroom.sdk.outside import Fetched

if TYPE_CHECKING:
    import httpcore2
    import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
MAX_URL = 8192  # characters
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")


def check_hosts(hosts: Iterable[str], *, name: str) -> tuple[str, ...]:
    """Host names, ``*.suffix`` and networks in their plain spelling.

    Raises:
        BadRequest: an item is neither. The message names the setting.
    """
    kept = tuple(text.strip().lower().rstrip(".") for text in hosts)
    for text in kept:
        if _network(text) is None and not _NAME.fullmatch(text):
            raise BadRequest(f'{name} takes host names, "*.suffix" and networks')
    return kept


def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``, as the system's resolver orders them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(row[4][0]) for row in found]


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    ca_pem: str
    seconds: float
    limit: int

    def __repr__(self) -> str:
        return "_Ask()"


class Outside:
    """``strongroom.sdk.outside.Fetch`` of a vault that may reach out.

    Args:
        offload: runs blocking work where it holds up nobody.
        allowed: names, ``*.suffix`` and networks that names may lead to although they are private.
        resolve: (name, port) -> addresses; raises OSError.
    """

    def __init__(
        self,
        offload: Callable[[Callable[[], Any]], Awaitable[Any]],
        allowed: Iterable[str] = (),
        *,
        resolve: Resolve = resolved,
    ) -> None:
        self._offload, self._resolve = offload, resolve
        kept = check_hosts(allowed, name="allowed_private_hosts")
        self._networks = tuple(network for text in kept if (network := _network(text)) is not None)
        self._names = tuple(text for text in kept if _network(text) is None)

    def __repr__(self) -> str:
        return "Outside()"

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes = b"",
        ca_pem: str = "",
        seconds: float = 10.0,
        limit: int = 1024 * 1024,
    ) -> Fetched:
        """See ``strongroom.sdk.outside.Fetch``."""
        ask = _Ask(
            method=method, url=url, headers=dict(headers), body=body, ca_pem=ca_pem, seconds=seconds, limit=limit
        )
        answer: Fetched = await self._offload(functools.partial(self._fetch, ask))
        return answer

    def _fetch(self, ask: _Ask) -> Fetched:
        import httpcore2

        url = _parsed(ask)
        host = url.host
        secure = _trust(ask.ca_pem) if url.scheme == "https" else None
        backend = _backend(self._addresses, ask.seconds)
        late = Unreachable(f"{host} did not answer within {ask.seconds:g} s")
        try:
            with httpcore2.ConnectionPool(secure, max_connections=1, network_backend=backend) as pool:
                answer = _exchange(pool, url, ask)
        except Unreachable:
            raise
        except (httpcore2.TimeoutException, TimeoutError):
            raise late from None
        except httpcore2.ConnectError as error:
            raise (late if backend.cut.late else Unreachable(_why(host, error))) from None
        except (httpcore2.ProtocolError, httpcore2.NetworkError, OSError, ValueError):
            # The cause is left out: it may quote a header.
            raise (late if backend.cut.late else Unreachable(f"{host} gave no HTTP answer")) from None
        finally:
            backend.cut.end()
        if backend.cut.late:  # the cut looks like the end of a body that has no length
            raise late
        return answer

    def _addresses(self, host: str, port: int) -> list[str]:
        """Where a connection to ``host`` may go. Raises Unreachable if nowhere."""
        if _address(host) is not None:
            return [host]
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise Unreachable(f"{host} has no address") from None
        good = [text for text in found if self._may(host, text)]
        if not good:
            raise Unreachable(f"{host} may not be asked: its name leads to a private address (allowed_private_hosts)")
        return good

    def _may(self, host: str, text: str) -> bool:
        address = _address(text)
        if address is None:
            return False
        name = host.lower().rstrip(".")
        named = any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in self._names)
        return named or public(address) or any(address in network for network in self._networks)


def public(address: Address) -> bool:
    """Whether ``address`` is one that the whole internet means by it, also inside its IPv6 clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _parsed(ask: _Ask) -> "httpx2.URL":
    import httpx2

    if ask.method not in _METHODS:
        raise Unreachable("the method is not one that is asked with")
    try:
        if len(ask.url) > MAX_URL or any(c <= " " or c == "\\" or c == "\x7f" for c in ask.url):
            raise ValueError
        url = httpx2.URL(ask.url)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise ValueError
    except (httpx2.InvalidURL, ValueError):
        raise Unreachable("not an address that can be asked (https://host/path)") from None
    return url


def _exchange(pool: "httpcore2.ConnectionPool", url: "httpx2.URL", ask: _Ask) -> Fetched:
    """One request over ``pool``. Raises Unreachable for a body over the limit."""
    sent = {"host": url.netloc.decode(), "accept-encoding": "identity", "connection": "close"}
    sent |= {name.lower(): value for name, value in ask.headers.items()}
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), ask.seconds)
    extensions = {"timeout": timeouts, "target": url.raw_path}
    content = ask.body or None
    if content is not None or ask.method in ("POST", "PUT"):
        sent["content-length"] = str(len(ask.body))
    target = f"{url.scheme}://{url.netloc.decode()}/"
    pairs = list(sent.items())
    with pool.stream(ask.method, target, headers=pairs, content=content, extensions=extensions) as answer:
        body = bytearray()
        for chunk in answer.iter_stream():
            body += chunk
            if len(body) > ask.limit:
                raise Unreachable(f"{url.host} answered with more than {ask.limit} bytes")
        headers: dict[str, str] = {}
        for raw_name, raw_value in answer.headers:
            name, value = raw_name.decode("ascii", "replace").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Fetched(answer.status, headers, bytes(body))


def _why(host: str, error: Exception) -> str:
    """What to tell about a connection that was not made. OpenSSL's words name no secret, and help."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {host} does not verify: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS connection to {host}"
    return f"no connection to {host}"


@functools.lru_cache(maxsize=32)
def _trust(ca_pem: str) -> ssl.SSLContext:
    """Verifies by the certificates in ``ca_pem`` alone, or by the system's. Raises Unreachable."""
    try:
        context = ssl.create_default_context(cadata=ca_pem or None)
    except (ssl.SSLError, ValueError):
        raise Unreachable("the CA certificate is not PEM") from None
    if ca_pem:
        # Python 3.13 asks more of a CA's extensions than the CAs that clusters make for themselves have.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _Cut:
    """Ends a connection when its time is over, wherever it hangs: in a handshake, in a header, between two bytes."""

    def __init__(self, seconds: float) -> None:
        self.late = False
        self._guard = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, peer: socket.socket) -> None:
        """Include ``peer``; through a copy, because TLS takes the original away."""
        copy = peer.dup()
        with self._guard:
            self._sockets.append(copy)
            late = self.late
        if late:
            self._shut(copy)

    def end(self) -> None:
        """The work is done. Safe to call twice."""
        self._timer.cancel()
        with self._guard:
            for copy in self._sockets:
                copy.close()
            self._sockets.clear()

    def _cut(self) -> None:
        with self._guard:
            self.late = True
            for copy in self._sockets:
                self._shut(copy)

    @staticmethod
    def _shut(copy: socket.socket) -> None:
        try:
            copy.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _backend(addresses: Callable[[str, int], list[str]], seconds: float) -> Any:
    """httpcore's sockets, connected only to what ``addresses`` gives. A class inside: httpcore is imported late."""
    import httpcore2

    class Judged(httpcore2.SyncBackend):
        """See ``_backend``."""

        def __init__(self) -> None:
            self.cut = _Cut(seconds)

        def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Any = None,
        ) -> httpcore2.NetworkStream:
            failure: Exception | None = None
            for address in addresses(host, port):
                if self.cut.late:
                    raise httpcore2.ConnectTimeout
                try:
                    stream = super().connect_tcp(address, port, timeout, local_address, socket_options)
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                    failure = error
                    continue
                self.cut.watch(stream.get_extra_info("socket"))
                return stream
            raise failure or httpcore2.ConnectError

    return Judged()
