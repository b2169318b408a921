"""A peer outside the vault: a real HTTP or TLS server in a thread, that answers as a test tells it to."""

import datetime
import ipaddress
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Asked(NamedTuple):
    """What came in."""

    method: str
    path: str  # with the query
    headers: Mapping[str, str]  # lower-case names
    body: bytes


Answer = tuple[int, Mapping[str, str], bytes]
Answers = Callable[[Asked], Answer]


class Peer:
    """``answers`` is asked for each request; ``asked`` has them all. A context manager."""

    def __init__(self, answers: Answers, *, tls: "Authority | None" = None, name: str = "127.0.0.1") -> None:
        self.answers, self.asked = answers, list[Asked]()
        peer = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {key.lower(): value for key, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                peer.asked.append(asked)
                status, more, body = peer.answers(asked)
                self.send_response(status)
                for key, value in more.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, *_: Any) -> None:
                """Tests look at ``asked``."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.context(name).wrap_socket(self._server.socket, server_side=True)
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Authority:
    """A CA of the test's own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self._cert = self._sign(self._name, self._key, ca=True)
        self.pem = self._cert.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, name: x509.Name, key: Any, *, ca: bool = False, host: str = "") -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            try:
                san: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
            except ValueError:
                san = x509.DNSName(host)
            made = made.add_extension(x509.SubjectAlternativeName([san]), critical=False)
        return made.sign(self._key, hashes.SHA256())

    def context(self, host: str) -> ssl.SSLContext:
        """A server's context with a certificate for ``host``."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key, host=host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "pair.pem")
            file.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                + cert.public_bytes(serialization.Encoding.PEM)
            )
            context.load_cert_chain(file)
        return context
