"""SealedSecrets, opened by an implementation of their own here, and by the real kubeseal where there is one."""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from strongroom.errors import BadRequest
from strongroom.kubevault import sealed

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "db",
        "namespace": "ns",
        "labels": {"app": "web"},
        "annotations": {
            "kubevault.chezmoi.sh/source": "a/b",
            "kubectl.kubernetes.io/last-applied-configuration": '{"data": "aGk="}',
        },
        "uid": "1",
        "creationTimestamp": None,
    },
    "type": "Opaque",
    "immutable": True,
    "data": {"word": base64.b64encode(b"s3cret \xff\x00").decode(), "empty": ""},
}


def certificate(key: Any = KEY, end: datetime = NOW + timedelta(days=1)) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sealed-secrets")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(NOW - timedelta(days=9)).not_valid_after(end)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def unseal(text: str, label: bytes) -> bytes:
    """The controller's side: counter mode by hand, with the tag checked by GCM's own mode."""
    data = base64.b64decode(text, validate=True)
    size = int.from_bytes(data[:2], "big")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)
    key = KEY.decrypt(data[2 : 2 + size], oaep)
    assert len(key) == 32
    body, tag = data[2 + size : -16], data[-16:]
    opener = Cipher(algorithms.AES(key), modes.GCM(bytes(12), tag)).decryptor()
    return opener.update(body) + opener.finalize()


LABELS = {"strict": b"ns/db", "namespace-wide": b"ns", "cluster-wide": b""}


@pytest.mark.parametrize("scope", LABELS)
@pytest.mark.parametrize("value", [b"", b"x", b"\x00\xff" * 5000], ids=["empty", "short", "long"])
def test_a_value_opens_in_its_scope_alone(scope: str, value: bytes) -> None:
    key = sealed.load_certificate(certificate(), NOW)
    text = sealed.seal(value, certificate=key, namespace="ns", name="db", scope=scope)
    assert unseal(text, LABELS[scope]) == value
    for other in {b"ns/db", b"ns", b"", b"ns/other"} - {LABELS[scope]}:
        with pytest.raises(ValueError):
            unseal(text, other)


def test_each_value_has_a_key_of_its_own_and_is_authentic() -> None:
    asked: list[int] = []

    def randomness(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    one, two = (
        sealed.seal(b"v", certificate=KEY.public_key(), namespace="n", name="a", randomness=randomness) for _ in "ab"
    )
    assert asked == [32, 32] and one != two
    data = bytearray(base64.b64decode(one))
    data[-1] ^= 1
    with pytest.raises(InvalidTag):
        unseal(base64.b64encode(data).decode(), b"n/a")


def test_certificates() -> None:
    assert sealed.load_certificate(certificate() + certificate(), NOW).key_size == 2048
    assert sealed.load_certificate(certificate(end=NOW), NOW)
    with pytest.raises(BadRequest, match="expired on 2026-01-01"):
        sealed.load_certificate(certificate(end=NOW - timedelta(days=1)), NOW)
    with pytest.raises(BadRequest, match="not RSA"):
        sealed.load_certificate(certificate(ec.generate_private_key(ec.SECP256R1())), NOW)
    for pem in (b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"):
        with pytest.raises(BadRequest, match="no PEM certificate"):
            sealed.load_certificate(pem, NOW)


def test_a_secret_becomes_a_sealed_secret() -> None:
    made = sealed.sealed_secret(SECRET, certificate=KEY.public_key())
    encrypted = made["spec"].pop("encryptedData")
    assert {key: unseal(text, b"ns/db") for key, text in encrypted.items()} == {
        "empty": b"",
        "word": b"s3cret \xff\x00",
    }
    assert made == {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "db", "namespace": "ns"},
        "spec": {
            "template": {
                "metadata": {
                    "name": "db",
                    "namespace": "ns",
                    "labels": {"app": "web"},
                    "annotations": {"kubevault.chezmoi.sh/source": "a/b"},
                },
                "type": "Opaque",
                "immutable": True,
            },
        },
    }
    assert "last-applied-configuration" in str(SECRET)  # what was given is left as it was


@pytest.mark.parametrize("scope", ["namespace-wide", "cluster-wide"])
def test_a_wide_scope_is_written_down_and_read_from_annotations(scope: str) -> None:
    annotation = {f"sealedsecrets.bitnami.com/{scope}": "true"}
    asked = sealed.sealed_secret(SECRET, certificate=KEY.public_key(), scope=scope)
    wide = {**SECRET, "metadata": {"name": "db", "namespace": "ns", "annotations": annotation}}
    read = sealed.sealed_secret(wide, certificate=KEY.public_key())
    for made in (asked, read):
        assert made["metadata"]["annotations"] == annotation
        assert annotation.items() <= made["spec"]["template"]["metadata"]["annotations"].items()
        assert unseal(made["spec"]["encryptedData"]["empty"], LABELS[scope]) == b""
    strict = sealed.sealed_secret(wide, certificate=KEY.public_key(), scope="strict")
    assert "annotations" not in strict["metadata"] and "annotations" not in strict["spec"]["template"]["metadata"]


def test_what_cannot_be_sealed() -> None:
    key = KEY.public_key()
    for secret in (
        {"metadata": {"namespace": "ns"}},
        {"metadata": {"name": "db"}},
        {**SECRET, "stringData": {"a": "b"}},
        {**SECRET, "data": {"a": "no base64!"}},
    ):
        with pytest.raises(BadRequest):
            sealed.sealed_secret(secret, certificate=key)
    with pytest.raises(BadRequest, match="scope"):
        sealed.sealed_secret(SECRET, certificate=key, scope="galaxy-wide")
    assert sealed.sealed_secret({"metadata": {"name": "db"}}, certificate=key, scope="cluster-wide")["spec"]


# Seen with kubeseal 0.29.0: all three scopes open, and what it makes of SECRET differs from ours only in
# creationTimestamp: null, which we leave out.
@pytest.mark.skipif(shutil.which("kubeseal") is None, reason="the program kubeseal is not installed")
@pytest.mark.parametrize("scope", LABELS)
def test_the_real_program_opens_ours_and_makes_the_same(tmp_path: Path, scope: str) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "cert.pem"
    pkcs8 = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(KEY.private_bytes(serialization.Encoding.PEM, *pkcs8))
    public.write_bytes(certificate(end=datetime.now(UTC) + timedelta(days=1)))

    def kubeseal(given: Any, *words: str) -> Any:
        command = ["kubeseal", "-o", "json", *words]
        done = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    ours = sealed.sealed_secret(SECRET, certificate=KEY.public_key(), scope=scope)
    opened = kubeseal(ours, "--recovery-unseal", "--recovery-private-key", str(private))
    data = {name: value or "" for name, value in opened["data"].items()}  # Go shows no bytes as null
    assert data == SECRET["data"] and opened["immutable"] is True and opened["type"] == "Opaque"
    theirs = kubeseal(
        {**SECRET, "metadata": ours["spec"]["template"]["metadata"]}, "--cert", str(public), "--scope", scope
    )
    for part in (theirs["metadata"], theirs["spec"]["template"]["metadata"]):
        assert part.pop("creationTimestamp", None) is None
    assert theirs["spec"].pop("encryptedData").keys() == ours["spec"].pop("encryptedData").keys()
    assert theirs == ours
