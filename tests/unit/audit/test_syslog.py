"""Audit to syslog: RFC 5424 over unix datagrams, UDP, TCP and TLS, against real listeners."""

import datetime
import ipaddress
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from contracts.audit_contract import NetworkSinkContract
from strongroom.audit.syslog import Framer, open_sink
from strongroom.errors import AuditFailed, BadRequest
from unit.audit.listeners import Listener, TlsListener

MESSAGE = re.compile(rb"<38>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ strongroom \d+ audit - (.*)\Z", re.DOTALL)


def counted(stream: bytes) -> list[bytes]:
    """RFC 6587, section 3.4.1."""
    out = []
    while stream:
        size, _, rest = stream.partition(b" ")
        out.append(rest[: int(size)])
        stream = rest[int(size) :]
    return out


def certificate() -> tuple[bytes, bytes]:
    """A self-signed one for 127.0.0.1, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "syslog")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class SyslogPlace:
    def __init__(self, kind: str, folder: Path) -> None:
        self.more: dict[str, str] = {}
        self.listener: Any
        if kind == "tls":
            cert, key = certificate()
            (folder / "c.pem").write_bytes(cert + key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "c.pem")
            self.listener = TlsListener(context, counted)
            self.more = {"ca_cert": cert.decode()}
            self.address = f"tls://127.0.0.1:{self.listener.port}"
        elif kind == "unix":
            self.listener = Listener(socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "log"))
            self.address = f"unix://{self.listener.address}"
        else:
            form = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
            self.listener = Listener(socket.AF_INET, form, ("127.0.0.1", 0), counted)
            self.address = f"{kind}://127.0.0.1:{self.listener.address[1]}"

    def open(self) -> Any:
        return open_sink({"address": self.address, **self.more})

    def lines(self) -> list[bytes]:
        found = [MESSAGE.match(piece) for piece in self.listener.pieces()]
        assert all(found)
        return [one[1] + b"\n" for one in found if one is not None]

    def break_(self) -> None:
        self.listener.close()

    def mend(self) -> None:
        self.listener.open()


@pytest.fixture(params=["udp", "tcp", "tls", "unix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    place = SyslogPlace(request.param, tmp_path)
    yield place
    place.listener.close()


class TestSyslog(NetworkSinkContract):
    @pytest.fixture
    def place(self, place: Any) -> Any:
        return place


def test_the_message() -> None:
    frame = Framer(20, "vault", counted=True, now=lambda: 1_800_000_000.25)
    size, _, rest = frame(b'{"a":1}\n').partition(b" ")
    assert int(size) == len(rest)
    assert rest.startswith(b"<166>1 2027-01-15T08:00:00.250000Z ")
    assert re.search(rb' vault \d+ audit - \{"a":1\}\Z', rest)


def test_a_certificate_of_somebody_else_is_refused(tmp_path: Path) -> None:
    place = SyslogPlace("tls", tmp_path)
    place.open().close()  # control
    place.more = {"ca_cert": certificate()[0].decode()}
    with pytest.raises(BadRequest):
        place.open()
    place.more = {}
    with pytest.raises(BadRequest):
        place.open()
    place.listener.close()


@pytest.mark.parametrize(
    "options",
    [
        {"facility": "nothing"},
        {"tag": "two words"},
        {"address": "/dev/log"},
        {"address": "http://127.0.0.1:1"},
        {"address": "tcp://127.0.0.1:1"},
        {"address": "tls://127.0.0.1:1", "ca_cert": "no pem"},
        {"address": "unix://relative"},
        {"address": "udp://127.0.0.1:99999"},
        {"file_path": "x"},
    ],
)
def test_refused(options: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        open_sink(options)


def test_a_line_too_long_for_a_datagram_is_a_refusal(tmp_path: Path) -> None:
    place = SyslogPlace("udp", tmp_path)
    sink = place.open()
    with pytest.raises(AuditFailed):
        sink.request(b"x" * 70_000 + b"\n")
    sink.request(b"short\n")
    assert place.lines() == [b"short\n"]
    sink.close()
    place.listener.close()
