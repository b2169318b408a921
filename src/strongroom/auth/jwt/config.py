"""The configuration of a mount: whose signatures count, and how the provider is asked. The shapes and their rules."""

import os
import re
from typing import Any

import msgspec

from strongroom.auth.jwt.keys import ALGORITHMS, from_pem
from strongroom.errors import BadRequest
from strongroom.sdk.fields import AnyMap, Flag, StrList, Text

_SECRET = "oidc_client_secret"
_MAX_TEXT = 64 * 1024  # characters of one field
# http or https, a host, no user, no blank, nothing that two readers would read differently.
_URL = re.compile(r"https?://[^\s/?#@\\<>\"^`{|}\x00-\x20]+(/[^\s?#\\<>\"^`{|}\x00-\x20]*)?(\?[^\s#\\]*)?", re.ASCII)
# What Vault's clients may send and nothing here follows.
_RESPONSE_MODES = ("", "query", "form_post")
_RESPONSE_TYPES = ("code", "id_token")


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields as a client may send them. A write replaces the whole configuration."""

    oidc_discovery_url: Text = Text("")
    oidc_discovery_ca_pem: Text = Text("")
    oidc_client_id: Text = Text("")
    oidc_client_secret: Text = Text("")
    oidc_response_mode: Text = Text("")
    oidc_response_types: StrList = StrList()
    jwks_url: Text = Text("")
    jwks_ca_pem: Text = Text("")
    jwt_validation_pubkeys: StrList = StrList()
    jwt_supported_algs: StrList = StrList()
    bound_issuer: Text = Text("")
    default_role: Text = Text("")
    namespace_in_state: Flag = Flag(1)
    provider_config: AnyMap = AnyMap()
    skip_jwks_validation: Flag = Flag(0)

    def __repr__(self) -> str:
        return "ConfigArgs()"


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The configuration as stored. ``uid`` tells it from the one before."""

    uid: str
    oidc_discovery_url: str = ""
    oidc_discovery_ca_pem: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_response_mode: str = ""
    oidc_response_types: tuple[str, ...] = ()
    jwks_url: str = ""
    jwks_ca_pem: str = ""
    jwt_validation_pubkeys: tuple[str, ...] = ()
    jwt_supported_algs: tuple[str, ...] = ()
    bound_issuer: str = ""
    default_role: str = ""
    namespace_in_state: bool = True
    provider_config: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Config(uid={self.uid!r})"

    @property
    def asks(self) -> bool:
        """Whether the keys come from somewhere else."""
        return bool(self.oidc_discovery_url or self.jwks_url)

    @property
    def ca_pem(self) -> str:
        """What the provider's certificate must be signed by; "" = by one that the system trusts."""
        return self.oidc_discovery_ca_pem if self.oidc_discovery_url else self.jwks_ca_pem

    def algorithms(self, *, browser: bool) -> tuple[str, ...]:
        """The accepted ones. The defaults are Vault's: all for tokens that are given, RS256 for those of a browser."""
        return self.jwt_supported_algs or (("RS256",) if browser else tuple(ALGORITHMS))

    def answer(self) -> dict[str, Any]:
        """The fields as a read shows them: all but the client's secret."""
        return {
            "oidc_discovery_url": self.oidc_discovery_url,
            "oidc_discovery_ca_pem": self.oidc_discovery_ca_pem,
            "oidc_client_id": self.oidc_client_id,
            "oidc_response_mode": self.oidc_response_mode,
            "oidc_response_types": list(self.oidc_response_types),
            "jwks_url": self.jwks_url,
            "jwks_ca_pem": self.jwks_ca_pem,
            "jwt_validation_pubkeys": list(self.jwt_validation_pubkeys),
            "jwt_supported_algs": list(self.jwt_supported_algs),
            "bound_issuer": self.bound_issuer,
            "default_role": self.default_role,
            "namespace_in_state": self.namespace_in_state,
            "provider_config": self.provider_config,
        }


def made(args: ConfigArgs) -> Config:
    """A Config of ``args``.

    Raises:
        BadRequest: not exactly one source of keys, or a field is wrong. No value is quoted.
    """
    _check_source(args)
    for name in ("oidc_discovery_url", "jwks_url"):
        if (url := getattr(args, name)) and not is_url(url):
            raise BadRequest(f"{name} must be an address (https://host/path)")
    for name in args.__struct_fields__:
        if isinstance(value := getattr(args, name), str) and (len(value) > _MAX_TEXT or "\0" in value):
            raise BadRequest(f"{name} is too long or holds a NUL")
    for alg in args.jwt_supported_algs:
        if alg not in ALGORITHMS:
            raise BadRequest(f"jwt_supported_algs takes {', '.join(ALGORITHMS)}")
    for text in args.jwt_validation_pubkeys:
        from_pem(text, name="jwt_validation_pubkeys")
    _check_response(args)
    return Config(
        uid=os.urandom(8).hex(),
        oidc_discovery_url=str(args.oidc_discovery_url).rstrip("/"),
        oidc_discovery_ca_pem=str(args.oidc_discovery_ca_pem),
        oidc_client_id=str(args.oidc_client_id),
        oidc_client_secret=str(args.oidc_client_secret),
        oidc_response_mode=str(args.oidc_response_mode),
        oidc_response_types=tuple(args.oidc_response_types),
        jwks_url=str(args.jwks_url),
        jwks_ca_pem=str(args.jwks_ca_pem),
        jwt_validation_pubkeys=tuple(args.jwt_validation_pubkeys),
        jwt_supported_algs=tuple(args.jwt_supported_algs),
        bound_issuer=str(args.bound_issuer),
        default_role=str(args.default_role).strip().lower(),
        namespace_in_state=bool(args.namespace_in_state),
        provider_config=dict(args.provider_config),
    )


def _check_source(args: ConfigArgs) -> None:
    sources = [bool(args.oidc_discovery_url), bool(args.jwks_url), bool(args.jwt_validation_pubkeys)]
    if sum(sources) != 1:
        raise BadRequest("exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set")
    if args.oidc_client_secret and not args.oidc_client_id:
        raise BadRequest("'oidc_client_secret' needs 'oidc_client_id'")
    if args.oidc_client_id and not args.oidc_discovery_url:
        raise BadRequest("'oidc_discovery_url' must be set for OIDC")
    if args.jwks_ca_pem and not args.jwks_url:
        raise BadRequest("'jwks_ca_pem' needs 'jwks_url'")
    if args.oidc_discovery_ca_pem and not args.oidc_discovery_url:
        raise BadRequest("'oidc_discovery_ca_pem' needs 'oidc_discovery_url'")


def _check_response(args: ConfigArgs) -> None:
    if args.oidc_response_mode not in _RESPONSE_MODES:
        raise BadRequest("oidc_response_mode must be query or form_post")
    if any(kind not in _RESPONSE_TYPES for kind in args.oidc_response_types):
        raise BadRequest("oidc_response_types takes code and id_token")
    if "id_token" in args.oidc_response_types and args.oidc_response_mode != "form_post":
        raise BadRequest("the response type 'id_token' may only be used with oidc_response_mode form_post")


def is_url(text: str) -> bool:
    """Whether ``text`` is an http or https address with a host, no user, and no character that readers differ on."""
    return len(text) <= 2048 and _URL.fullmatch(text) is not None
