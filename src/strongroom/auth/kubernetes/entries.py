"""What the Kubernetes method keeps: how to reach the API server, and roles; with the rules of their fields."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from strongroom.errors import BadRequest
from strongroom.sdk.fields import UNSET, Flag, StrList, Text, UnsetType
from strongroom.sdk.patterns import fits_any
from strongroom.sdk.token_fields import AliasedTokenArgs, TokenParams

MAX_JWT = 16 * 1024  # bytes of a service account's token
MAX_KEYS = 32
ALIAS_SOURCES = ("serviceaccount_uid", "serviceaccount_name")
_HOST = re.compile(r"(https?)://[A-Za-z0-9._\[\]:-]{1,300}(/[A-Za-z0-9._~/-]*)?")


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the configuration as a client may send them."""

    kubernetes_host: Text | UnsetType = UNSET
    kubernetes_ca_cert: Text | UnsetType = UNSET
    token_reviewer_jwt: Text | UnsetType = UNSET
    pem_keys: StrList | UnsetType = UNSET
    issuer: Text | UnsetType = UNSET
    disable_iss_validation: Flag | UnsetType = UNSET
    disable_local_ca_jwt: Flag | UnsetType = UNSET

    def __repr__(self) -> str:
        return "ConfigArgs()"


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The configuration as stored."""

    kubernetes_host: str = ""  # URL; "" = tokens are checked by ``pem_keys`` alone
    kubernetes_ca_cert: str = ""  # PEM
    token_reviewer_jwt: str = ""
    pem_keys: tuple[str, ...] = ()
    issuer: str = ""
    disable_iss_validation: bool = True
    disable_local_ca_jwt: bool = False

    def __repr__(self) -> str:
        return "Config()"

    def updated(self, args: ConfigArgs) -> "Config":
        """This configuration with the fields that ``args`` has set.

        Raises:
            BadRequest: it names nothing that could vouch for a token, or a URL, certificate or key is malformed.
        """
        changes: dict[str, Any] = {}
        for name in args.__struct_fields__:
            if (value := getattr(args, name)) is UNSET:
                continue
            if isinstance(value, Flag):
                changes[name] = bool(value)
            else:
                changes[name] = tuple(str(one) for one in value) if isinstance(value, tuple) else str(value)
        if changes.get("kubernetes_host"):
            changes["kubernetes_host"] = _host(changes["kubernetes_host"])
        made = msgspec.structs.replace(self, **changes)
        if not made.kubernetes_host and not made.pem_keys:
            raise BadRequest("no host provided: give kubernetes_host, or pem_keys to check tokens without asking")
        public_keys(made.pem_keys)
        _check_authority(made.kubernetes_ca_cert)
        if not made.token_reviewer_jwt.isascii() or not made.token_reviewer_jwt.isprintable():
            raise BadRequest("token_reviewer_jwt holds characters that no token has")
        return made

    def answer(self) -> dict[str, Any]:
        """The fields as a read shows them: all but the reviewer's token."""
        return {
            "kubernetes_host": self.kubernetes_host,
            "kubernetes_ca_cert": self.kubernetes_ca_cert,
            "pem_keys": list(self.pem_keys),
            "issuer": self.issuer,
            "disable_iss_validation": self.disable_iss_validation,
            "disable_local_ca_jwt": self.disable_local_ca_jwt,
            "token_reviewer_jwt_set": bool(self.token_reviewer_jwt),
        }

    def warnings(self) -> tuple[str, ...]:
        """What an operator should know."""
        if not self.kubernetes_host:
            return ("without kubernetes_host nobody is asked whether a service account still exists",)
        if self.kubernetes_host.startswith("http://"):
            return ("kubernetes_host is reached in clear: tokens can be read on the way",)
        return ()


class RoleArgs(AliasedTokenArgs, frozen=True, kw_only=True):
    """The fields of a role as a client may send them."""

    bound_service_account_names: StrList | UnsetType = UNSET
    bound_service_account_namespaces: StrList | UnsetType = UNSET
    bound_service_account_namespace_selector: Text | UnsetType = UNSET
    audience: Text | UnsetType = UNSET
    alias_name_source: Text | UnsetType = UNSET
    num_uses: int | UnsetType = UNSET


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role as stored. ``uid`` tells a role from a later one of the same name."""

    uid: str
    bound_service_account_names: tuple[str, ...] = ()
    bound_service_account_namespaces: tuple[str, ...] = ()
    bound_service_account_namespace_selector: str = ""  # JSON or YAML
    audience: str = ""
    alias_name_source: str = ALIAS_SOURCES[0]
    token: TokenParams = TokenParams()

    def updated(self, args: RoleArgs) -> "Role":
        """This role with the fields that ``args`` has set.

        Raises:
            BadRequest: nothing binds the role, or a field is malformed.
        """
        changes: dict[str, Any] = {}
        for name in ("bound_service_account_names", "bound_service_account_namespaces"):
            if (value := getattr(args, name)) is not UNSET:
                changes[name] = tuple(str(one) for one in value)
        for name in ("audience", "alias_name_source", "bound_service_account_namespace_selector"):
            if (value := getattr(args, name)) is not UNSET:
                changes[name] = str(value)
        made = msgspec.structs.replace(self, **changes, token=self.token.updated(_with_uses(args)))
        _check_role(made)
        return made

    def answer(self) -> dict[str, Any]:
        """The fields as a read shows them."""
        return {
            "bound_service_account_names": list(self.bound_service_account_names),
            "bound_service_account_namespaces": list(self.bound_service_account_namespaces),
            "bound_service_account_namespace_selector": self.bound_service_account_namespace_selector,
            "audience": self.audience,
            "alias_name_source": self.alias_name_source,
            **self.token.answer(),
        }

    def warnings(self) -> tuple[str, ...]:
        """What an operator should know."""
        if self.audience:
            return ()
        return ("the role has no audience: a token that a service account gave to somebody else logs in as well",)

    def takes_name(self, name: str) -> bool:
        """Whether a service account of this name may log in."""
        return fits_any(self.bound_service_account_names, [name])

    def takes_namespace(self, namespace: str) -> bool:
        """Whether one of this namespace may, by the namespace's name."""
        return fits_any(self.bound_service_account_namespaces, [namespace])


def read_selector(text: str) -> Mapping[str, Any]:
    """A label selector (JSON or YAML) in Kubernetes' words: ``matchLabels`` and ``matchExpressions``.

    Raises:
        BadRequest: it is none, or would select everything.
    """
    import yaml

    wrong = BadRequest("bound_service_account_namespace_selector is not a label selector (JSON or YAML)")
    try:
        found = yaml.safe_load(text) if len(text) <= 16384 else None
    except (yaml.YAMLError, RecursionError):
        raise wrong from None
    if not isinstance(found, dict) or not found or set(found) - {"matchLabels", "matchExpressions"}:
        raise wrong
    labels, rules = found.get("matchLabels") or {}, found.get("matchExpressions") or []
    if not isinstance(labels, dict) or not isinstance(rules, list) or not (labels or rules):
        raise wrong
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in labels.items()):
        raise wrong
    if not all(isinstance(rule, dict) and _sound(rule) for rule in rules):
        raise wrong
    return {"matchLabels": labels, "matchExpressions": rules}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a namespace with ``labels`` is selected; all that the selector says must hold."""
    if any(labels.get(key) != value for key, value in selector["matchLabels"].items()):
        return False
    return all(_holds(rule, labels) for rule in selector["matchExpressions"])


@functools.lru_cache(maxsize=64)
def public_keys(pems: tuple[str, ...]) -> tuple[Any, ...]:
    """RSA and EC public keys from PEM keys or certificates.

    Raises:
        BadRequest: one is neither, or too many are given.
    """
    if len(pems) > MAX_KEYS:
        raise BadRequest(f"more than {MAX_KEYS} pem_keys")
    return tuple(_public_key(pem) for pem in pems)


def _public_key(pem: str) -> Any:
    wrong = BadRequest("pem_keys must hold RSA (from 2048 bits) or EC public keys or certificates, PEM-encoded")
    try:
        key: Any
        if "BEGIN CERTIFICATE" in pem:
            key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        else:
            key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise wrong from None
    strong = isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
    if not strong and not isinstance(key, ec.EllipticCurvePublicKey):
        raise wrong
    return key


def _check_authority(pem: str) -> None:
    if not pem:
        return
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise BadRequest("The provided CA PEM data contains no valid certificates") from None


def _host(text: str) -> str:
    url = (text if "://" in text else f"https://{text}").rstrip("/")
    if not _HOST.fullmatch(url):
        raise BadRequest("kubernetes_host must be a host, host:port or an http(s) URL")
    return url


def _with_uses(args: RoleArgs) -> RoleArgs:
    """``num_uses`` is the deprecated name of ``token_num_uses``."""
    if args.num_uses is UNSET or args.token_num_uses is not UNSET:
        return args
    return msgspec.structs.replace(args, token_num_uses=args.num_uses)


def _check_role(role: Role) -> None:
    names, spaces = role.bound_service_account_names, role.bound_service_account_namespaces
    selector = role.bound_service_account_namespace_selector
    if not names:
        raise BadRequest("bound_service_account_names can not be empty")
    if not spaces and not selector:
        raise BadRequest(
            "bound_service_account_namespaces and bound_service_account_namespace_selector can not both be empty"
        )
    for what in (names, spaces):
        if "*" in what and len(what) > 1:
            raise BadRequest('can not mix "*" with values')
    if selector:
        read_selector(selector)
    if role.alias_name_source not in ALIAS_SOURCES:
        raise BadRequest(f"alias_name_source must be one of {', '.join(ALIAS_SOURCES)}")


_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}  # -> whether it takes values


def _sound(rule: Mapping[str, Any]) -> bool:
    values = rule.get("values") or []
    return (
        not set(rule) - {"key", "operator", "values"}
        and isinstance(rule.get("key"), str)
        and rule.get("operator") in _OPERATORS
        and isinstance(values, list)
        and all(isinstance(value, str) for value in values)
        and bool(values) is _OPERATORS[rule["operator"]]
    )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = rule["key"], rule["operator"], rule.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values  # a namespace without the label is selected, as Kubernetes has it
    return (key in labels) is (operator == "Exists")
