"""Carries calls to a server over HTTP/1.1: TCP, TLS or a unix socket, with proxies, retries and one redirect.

Only the standard library is used, so that a command starts quickly. A transport belongs to one thread.
"""

import http.client
import random
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from strongroom.client.messages import MERGE_PATCH, Answer, Call, Refused, Unreachable, check, decode
from strongroom.client.settings import Settings
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    import ssl

MAX_ANSWER = 64 * 1024 * 1024  # bytes of one response body
IDLE_LIMIT = 5.0  # seconds; an older connection is opened anew, so that a write never meets a closed one
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0  # seconds between tries
_REDIRECTS = frozenset({301, 302, 307, 308})
_SAFE = "/~:@!$&'()*+,;=-._"


class Address(NamedTuple):
    """A server's address, taken apart."""

    scheme: str  # "http", "https" or "unix"
    host: str
    port: int
    base: str  # path before /v1, without a trailing slash; of a unix address: the socket's file

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"unix://{self.base}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}{self.base}"


def parse_address(text: str) -> Address:
    """Take ``http://host:port``, ``https://...`` or ``unix:///path`` apart. Raises ``BadRequest``."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise BadRequest("the server address is not a URL") from error
    if parts.scheme == "unix":
        file = parts.netloc + parts.path
        if not file:
            raise BadRequest("the server address unix:// needs the path of a socket")
        return Address("unix", "localhost", 80, file)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest("the server address must look like http://host:port, https://host:port or unix:///path")
    if parts.username or parts.password:
        raise BadRequest("the server address must not hold a user name or password")
    return Address(
        parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")
    )


def target(base: str, call: Call) -> str:
    """The request target of ``call`` below ``base``, percent-encoded."""
    path = quote(call.path.lstrip("/").encode("utf-8", "surrogateescape"), safe=_SAFE)
    return f"{base}/v1/{path}" + (f"?{urlencode(call.query)}" if call.query else "")


def tls_context(settings: Settings) -> "ssl.SSLContext":
    """A client context: TLS 1.2 or newer, the system's authorities unless others are named.

    Raises:
        BadRequest: a named file is missing or is not what it should be.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if settings.ca_bytes:
            context.load_verify_locations(cadata=settings.ca_bytes)
        elif settings.ca_cert:
            context.load_verify_locations(cafile=settings.ca_cert)
        elif settings.ca_path:
            _load_folder(context, settings.ca_path)
        else:
            context.load_default_certs()
    except (OSError, ValueError) as error:
        raise BadRequest("the certificate authority (CACERT, CAPATH) cannot be read") from error
    if settings.client_cert or settings.client_key:
        if not (settings.client_cert and settings.client_key):
            raise BadRequest("a client certificate needs both CLIENT_CERT and CLIENT_KEY")
        try:
            context.load_cert_chain(settings.client_cert, settings.client_key, password=_no_password)
        except (OSError, ValueError) as error:
            raise BadRequest("the client certificate or its key cannot be read") from error
    if settings.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal for the password of an encrypted key; a client must not hang on that."""
    return ""


def _load_folder(context: "ssl.SSLContext", folder: str) -> None:
    """Load every file of ``folder``; OpenSSL's own ``capath`` would want hashed names."""
    import os

    loaded = 0
    for name in sorted(os.listdir(folder)):
        file = os.path.join(folder, name)
        if os.path.isfile(file):
            try:
                context.load_verify_locations(cafile=file)
                loaded += 1
            except OSError:
                continue
    if not loaded:
        raise ValueError("no certificate in the folder")


class Connection(http.client.HTTPConnection):
    """An HTTP/1.1 connection over TCP or a unix socket, with TLS when a context is given."""

    def __init__(self, address: Address, settings: Settings, proxy: Address | None) -> None:
        hop = proxy or address
        super().__init__(hop.host, hop.port, timeout=settings.timeout)
        self._socket_file = address.base if address.scheme == "unix" else ""
        self._tls = tls_context(settings) if address.scheme == "https" else None
        self._server_name = settings.tls_server_name or address.host
        if proxy and address.scheme == "https":
            self.set_tunnel(address.host, address.port)

    def connect(self) -> None:
        if self._socket_file:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._socket_file)
            return
        super().connect()
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


class Transport:
    """Sends calls and returns answers; keeps one connection open between them."""

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.address = parse_address(settings.address)
        self._now, self._pause = now, pause
        self._connection: Connection | None = None
        self._connected_to: Address | None = None
        self._last_used = 0.0

    def __repr__(self) -> str:
        return f"Transport({self.address.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def call(self, call: Call) -> Answer:
        """Send ``call`` and return its answer.

        Raises:
            Refused: the server answered with a status of 400 or above.
            Unreachable: no usable answer came.
            BadRequest: a setting cannot be used.
        """
        try:
            return check(call, self.exchange(call))
        except Refused as refusal:
            refusal.without_token = not self.settings.token
            raise

    def read(self, call: Call) -> Answer | None:
        """As ``call``, but a 404 is its answer if it carries data or warnings, and None if it says nothing at all."""
        try:
            return self.call(call)
        except Refused as refusal:
            if refusal.code != 404:
                raise
            if refusal.answer.carries_something:
                return refusal.answer
            if refusal.messages:
                raise
            return None

    def exchange(self, call: Call) -> Answer:
        """Send ``call``, follow one redirect, try again where that is safe, and return whatever was answered."""
        tries = 0
        while True:
            failure: Unreachable | None = None
            try:
                answer = self._follow(call)
                if answer.status != 412 and (answer.status < 500 or answer.status == 501):
                    return answer
            except Unreachable as error:
                failure = error
                if not error.may_repeat(call):
                    raise
            if tries >= self.settings.max_retries:
                if failure:
                    raise failure
                return answer
            self._pause(min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries) * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
            tries += 1

    def headers(self, call: Call) -> dict[str, str]:
        """The headers that go with ``call``. Raises ``BadRequest`` for a value no header can hold."""
        settings = self.settings
        headers = {"X-Vault-Request": "true", "Accept-Encoding": "identity"}
        if settings.token:
            headers["X-Vault-Token"] = settings.token
        if settings.namespace.strip("/"):
            headers["X-Vault-Namespace"] = settings.namespace.strip("/") + "/"
        if settings.wrap_ttl:
            headers["X-Vault-Wrap-TTL"] = settings.wrap_ttl
        if call.body is not None:
            headers["Content-Type"] = MERGE_PATCH if call.method == "PATCH" else "application/json"
        headers.update(settings.headers)
        headers.update(call.headers)
        for name, value in headers.items():
            if not value.isascii() or not value.isprintable():
                what = "the token" if name == "X-Vault-Token" else f"the value of header {name}"
                raise BadRequest(f"{what} holds characters that cannot be sent")
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise BadRequest("a header name holds characters that cannot be sent")
        return {name: value for name, value in headers.items() if value}

    def _follow(self, call: Call) -> Answer:
        answer = self._once(self.address, target(self._base(self.address), call), call)
        if answer.status not in _REDIRECTS:
            return answer
        place = answer.headers.get("location", "")
        try:
            parts = urlsplit(place)
            port = parts.port
        except ValueError:
            raise Unreachable("the server redirects to something that is not an address") from None
        scheme = self.address.scheme
        if not parts.netloc:
            return self._once(self.address, place, call) if place.startswith("/") else answer
        if parts.scheme != scheme or not parts.hostname:
            raise Unreachable("the server redirects to another scheme; the token is not sent there")
        new = Address(scheme, parts.hostname, port or (443 if scheme == "https" else 80), "")
        return self._once(new, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), call)

    @staticmethod
    def _base(address: Address) -> str:
        return "" if address.scheme == "unix" else address.base

    def _once(self, address: Address, where: str, call: Call) -> Answer:
        proxy = self._proxy_for(address)
        headers = self.headers(call)
        if proxy and address.scheme == "http":
            where = f"http://{address.authority}{where}"
            headers["Host"] = address.authority
        try:
            connection = self._open(address, proxy)
            connection.request(call.method, where, body=call.content(), headers=headers)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            self.close()
            raise Unreachable.from_cause(error, address.url, sent=False) from error
        try:
            response = connection.getresponse()
            raw = response.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable.from_cause(error, address.url, sent=True) from error
        self._last_used = self._now()
        if len(raw) > MAX_ANSWER:
            self.close()
            raise Unreachable(f"the answer is longer than {MAX_ANSWER} bytes")
        declared = response.getheader("Content-Length", "")
        if declared.isdigit() and len(raw) < int(declared) and call.method != "HEAD":
            self.close()
            raise Unreachable(f"the connection to {address.url} broke in the middle of an answer", kind="broken")
        return decode(response.status, raw, _lower(response.getheaders()))

    def _open(self, address: Address, proxy: Address | None) -> Connection:
        stale = self._now() - self._last_used > IDLE_LIMIT
        if self._connection is None or self._connected_to != address or stale:
            self.close()
            self._connection = Connection(address, self.settings, proxy)
            self._connected_to = address
        return self._connection

    def _proxy_for(self, address: Address) -> Address | None:
        if address.scheme == "unix":
            return None
        if self.settings.proxy:
            return parse_proxy(self.settings.proxy)
        return environment_proxy(address)


def parse_proxy(text: str) -> Address:
    """The address of an HTTP proxy. Raises ``BadRequest``."""
    proxy = parse_address(text if "://" in text else f"http://{text}")
    if proxy.scheme != "http":
        raise BadRequest("only http:// proxies are supported")
    return proxy


def environment_proxy(address: Address) -> Address | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for ``address``; never one for this machine itself."""
    import os

    if not any(name.lower() in ("http_proxy", "https_proxy") for name in os.environ):
        return None
    if address.host == "localhost" or address.host.startswith("127.") or address.host == "::1":
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    if address.scheme not in proxies or proxy_bypass(f"{address.host}:{address.port}"):
        return None
    return parse_proxy(proxies[address.scheme])


def _lower(headers: list[tuple[str, str]]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers}
