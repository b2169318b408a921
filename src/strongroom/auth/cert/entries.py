"""What the certificate method keeps: roles, revocation lists, settings, and the rules of their fields."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.errors import BadRequest
from strongroom.sdk.fields import UNSET, Duration, Flag, StrList, Text, UnsetType
from strongroom.sdk.token_fields import AliasedTokenArgs, TokenParams

MAX_CERTIFICATES = 64  # of one role
MAX_PEM = 256 * 1024  # bytes
_LISTS = (
    "allowed_names",
    "allowed_common_names",
    "allowed_dns_sans",
    "allowed_email_sans",
    "allowed_uri_sans",
    "allowed_organizational_units",
    "required_extensions",
    "allowed_metadata_extensions",
    "ocsp_servers_override",
)
_FLAGS = ("ocsp_enabled", "ocsp_fail_open", "ocsp_query_all_servers")
_OID = re.compile(r"\d+(\.\d+)+")
_REQUIRED = re.compile(r"(hex:)?\d+(\.\d+)+:.*", re.DOTALL)


class RoleArgs(AliasedTokenArgs, frozen=True, kw_only=True):
    """The fields of a role as a client may send them."""

    certificate: Text | UnsetType = UNSET
    display_name: Text | UnsetType = UNSET
    allowed_names: StrList | UnsetType = UNSET
    allowed_common_names: StrList | UnsetType = UNSET
    allowed_dns_sans: StrList | UnsetType = UNSET
    allowed_email_sans: StrList | UnsetType = UNSET
    allowed_uri_sans: StrList | UnsetType = UNSET
    allowed_organizational_units: StrList | UnsetType = UNSET
    required_extensions: StrList | UnsetType = UNSET
    allowed_metadata_extensions: StrList | UnsetType = UNSET
    ocsp_enabled: Flag | UnsetType = UNSET
    ocsp_ca_certificates: Text | UnsetType = UNSET
    ocsp_servers_override: StrList | UnsetType = UNSET
    ocsp_fail_open: Flag | UnsetType = UNSET
    ocsp_query_all_servers: Flag | UnsetType = UNSET
    ocsp_this_update_max_age: Duration | UnsetType = UNSET


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role as stored. ``uid`` tells a role from a later one of the same name; certificates are PEM."""

    uid: str
    certificate: str = ""
    display_name: str = ""
    allowed_names: tuple[str, ...] = ()
    allowed_common_names: tuple[str, ...] = ()
    allowed_dns_sans: tuple[str, ...] = ()
    allowed_email_sans: tuple[str, ...] = ()
    allowed_uri_sans: tuple[str, ...] = ()
    allowed_organizational_units: tuple[str, ...] = ()
    required_extensions: tuple[str, ...] = ()
    allowed_metadata_extensions: tuple[str, ...] = ()
    ocsp_enabled: bool = False
    ocsp_ca_certificates: str = ""
    ocsp_servers_override: tuple[str, ...] = ()
    ocsp_fail_open: bool = False
    ocsp_query_all_servers: bool = False
    ocsp_this_update_max_age: int = 0  # seconds; 0 = no limit beside nextUpdate
    token: TokenParams = TokenParams()

    def updated(self, name: str, args: RoleArgs) -> "Role":
        """This role with the fields that ``args`` has set.

        Raises:
            BadRequest: no certificate, one that cannot be read or used, or a malformed OID, URL or token field.
        """
        changes: dict[str, Any] = {}
        for field in _LISTS:
            if (value := getattr(args, field)) is not UNSET:
                changes[field] = tuple(str(item) for item in value)
        for field in _FLAGS:
            if (value := getattr(args, field)) is not UNSET:
                changes[field] = bool(value)
        for field in ("certificate", "ocsp_ca_certificates", "display_name"):
            if (value := getattr(args, field)) is not UNSET:
                changes[field] = str(value)
        if args.ocsp_this_update_max_age is not UNSET:
            changes["ocsp_this_update_max_age"] = int(args.ocsp_this_update_max_age)
        made = msgspec.structs.replace(self, **changes, token=self.token.updated(args))
        _check(made)
        return made if made.display_name else msgspec.structs.replace(made, display_name=name)

    def answer(self) -> dict[str, Any]:
        """The fields as a read shows them."""
        shown: dict[str, Any] = {"certificate": self.certificate, "display_name": self.display_name}
        shown |= {field: list(getattr(self, field)) for field in _LISTS}
        shown |= {field: getattr(self, field) for field in _FLAGS}
        return {
            **shown,
            "ocsp_ca_certificates": self.ocsp_ca_certificates,
            "ocsp_this_update_max_age": self.ocsp_this_update_max_age,
            **self.token.answer(),
        }

    def warnings(self) -> tuple[str, ...]:
        """What an operator should know: authorities by which no chain can be checked."""
        weak = [one for one in read_pem(self.certificate, "certificate") if is_authority(one) and not _usable(one)]
        if not weak:
            return ()
        return ("a CA certificate has a key that chains are not checked by (RSA from 2048 bits, P-256, P-384, P-521)",)


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the mount."""

    disable_binding: bool = False
    enable_identity_alias_metadata: bool = False


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Settings as a client may send them."""

    disable_binding: Flag | UnsetType = UNSET
    enable_identity_alias_metadata: Flag | UnsetType = UNSET


class Crl(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A revocation list as stored, beside its DER. Times are seconds since the Unix epoch; 0 = the list names none."""

    url: str = ""
    this_update: float = 0.0
    next_update: float = 0.0
    fetched: float = 0.0

    def due(self, now: float) -> bool:
        """Whether a fetched list should be renewed: after half its life, or a day."""
        if not self.url:
            return False
        life = (self.next_update - self.this_update) / 2 if self.next_update else 86400.0
        return now >= self.fetched + min(max(life, 0.0), 86400.0) or self.expired(now)

    def expired(self, now: float) -> bool:
        """Whether a fetched list may no longer be gone by. One that an operator gave stands until it is replaced."""
        return bool(self.url and self.next_update) and now >= self.next_update


@functools.lru_cache(maxsize=1024)
def read_pem(text: str, what: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, in its order; none for "".

    Raises:
        BadRequest: it holds something else, none, or too many. The message names ``what``.
    """
    if not text.strip():
        return ()
    if len(text) > MAX_PEM:
        raise BadRequest(f"{what} is longer than {MAX_PEM} bytes")
    try:
        found = tuple(x509.load_pem_x509_certificates(text.encode()))
        for one in found:
            _ = one.subject, one.extensions  # parsed lazily, so that it fails here if it fails
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise BadRequest(f"failed to parse {what}: PEM-encoded X.509 certificates are wanted") from error
    if len(found) > MAX_CERTIFICATES:
        raise BadRequest(f"{what} holds more than {MAX_CERTIFICATES} certificates")
    return found


@functools.lru_cache(maxsize=1024)
def der(text: str, what: str) -> tuple[bytes, ...]:
    """As ``read_pem``, in DER."""
    return tuple(one.public_bytes(Encoding.DER) for one in read_pem(text, what))


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may issue others: basicConstraints says so (RFC 5280 section 4.2.1.9)."""
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def settings(config: Config, args: ConfigArgs) -> Config:
    """``config`` with what ``args`` has set."""
    changes = {name: bool(value) for name in args.__struct_fields__ if (value := getattr(args, name)) is not UNSET}
    return msgspec.structs.replace(config, **changes)


def shown(config: Config) -> Mapping[str, Any]:
    """The settings as a read shows them."""
    return msgspec.structs.asdict(config)


def check_url(url: str, what: str) -> str:
    """An http or https URL. Raises BadRequest."""
    if not re.fullmatch(r"https?://[!-~]{1,2048}", url):
        raise BadRequest(f"{what} must be an http or https URL")
    return url


def _check(role: Role) -> None:
    certificates = read_pem(role.certificate, "certificate")
    if not certificates:
        raise BadRequest("failed to parse certificate: at least one PEM-encoded certificate is needed")
    read_pem(role.ocsp_ca_certificates, "ocsp_ca_certificates")
    for text in role.required_extensions:
        if not _REQUIRED.fullmatch(text):
            raise BadRequest("required_extensions must be a list of OID:value or hex:OID:value")
    for text in role.allowed_metadata_extensions:
        if not _OID.fullmatch(text):
            raise BadRequest("allowed_metadata_extensions must be a list of OIDs")
    for url in role.ocsp_servers_override:
        check_url(url, "ocsp_servers_override")


def _usable(certificate: x509.Certificate) -> bool:
    try:
        key = certificate.public_key()
    except ValueError:
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= 2048
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1", "secp521r1")
