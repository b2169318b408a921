"""TLS contexts of the listeners, and certificates for development."""

import datetime
import ipaddress
import os
import ssl
from typing import Any

from strongroom.errors import BadRequest
from strongroom.server.config_listener import Tls

_VERSIONS = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}


def context(tls: Tls) -> ssl.SSLContext:
    """A server context. Raises BadRequest if a file cannot be used; the message names the file."""
    out = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    out.minimum_version = _VERSIONS[tls.min_version]
    if tls.max_version:
        out.maximum_version = _VERSIONS[tls.max_version]
    out.options |= ssl.OP_NO_RENEGOTIATION
    out.set_alpn_protocols(["http/1.1"])
    load_files(out, tls)
    if tls.client_ca_file:
        out.verify_mode = ssl.CERT_REQUIRED if tls.require_client_cert else ssl.CERT_OPTIONAL
    return out


def load_files(target: ssl.SSLContext, tls: Tls) -> None:
    """(Re)load certificate and key into a living context: new handshakes use them. Raises BadRequest."""
    problems = check_files(tls)
    if problems:
        raise BadRequest(*problems)
    target.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    if tls.client_ca_file:
        target.load_verify_locations(tls.client_ca_file)


def check_files(tls: Tls) -> list[str]:
    """What is wrong with the files, one sentence each. Tried on a context of its own, so a living one is not hurt."""
    files = filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file))
    problems = [f"{path}: cannot be read" for path in files if not os.access(path, os.R_OK)]
    if problems:
        return problems
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        trial.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except (ssl.SSLError, OSError, ValueError):
        problems.append(f"{tls.cert_file} and {tls.key_file} are not a certificate and its key (PEM, unencrypted)")
    if tls.client_ca_file:
        try:
            trial.load_verify_locations(tls.client_ca_file)
        except (ssl.SSLError, OSError):
            problems.append(f"{tls.client_ca_file} holds no certificate (PEM)")
    return problems


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # instead of asking the terminal


def development_files(
    folder: str, hosts: tuple[str, ...] = ("localhost",), addresses: tuple[str, ...] = ("127.0.0.1",)
) -> Tls:
    """Make ``vault-ca.pem``, ``vault-cert.pem`` and ``vault-key.pem`` in ``folder`` (P-256, 30 days) and say where."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def builder(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        built = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Strongroom development CA"))
        built = built.public_key(public).serial_number(x509.random_serial_number())
        return built.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(
            now + datetime.timedelta(days=30)
        )

    def usage(**wanted: bool) -> Any:
        names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
        every = dict.fromkeys([*names.split(), "crl_sign", "encipher_only", "decipher_only"], False)
        return x509.KeyUsage(**(every | wanted))

    ca = (
        builder("Strongroom development CA", ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    cert = (
        builder(hosts[0] if hosts else addresses[0], key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(os.path.join(folder, "vault-ca.pem"), ca.public_bytes(pem), 0o644)
    cert_file, key_file = os.path.join(folder, "vault-cert.pem"), os.path.join(folder, "vault-key.pem")
    _write(cert_file, cert.public_bytes(pem), 0o644)
    _write(key_file, private, 0o600)
    return Tls(cert_file=cert_file, key_file=key_file)


def _write(path: str, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, data)
    finally:
        os.close(fd)
