"""The questions to the provider's endpoints, and what an ID token in answer must say."""

import base64
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from strongroom.auth.jwt.claims import MISSING, leeway
from strongroom.auth.jwt.config import Config, is_url
from strongroom.auth.jwt.flows import Flow
from strongroom.auth.jwt.keys import Invalid
from strongroom.auth.jwt.login import Logins
from strongroom.auth.jwt.provider import Endpoints
from strongroom.auth.jwt.roles import Role
from strongroom.errors import Unreachable

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_NOT_FROM_USERINFO = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "nonce", "azp", "auth_time", "acr", "amr"})
_SKEW = 60  # seconds


class Waiting(Exception):
    """The person has not decided yet. ``word`` is RFC 8628's: "authorization_pending" or "slow_down"."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class Device(msgspec.Struct, frozen=True):
    """An answer of the device authorization endpoint (RFC 8628 section 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in: int = 300  # seconds
    interval: int = 5  # seconds

    def __repr__(self) -> str:
        return "Device()"


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""
    access_token: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return "_Tokens()"


class Exchange:
    """Asks the provider of one mount."""

    __slots__ = ("_logins", "_now")

    def __init__(self, logins: Logins, now: Any) -> None:
        self._logins, self._now = logins, now

    async def code(self, config: Config, role: Role, flow: Flow) -> dict[str, Any]:
        """The checked claims of the person whom the authorization code in ``flow`` stands for.

        Raises:
            Invalid: the provider refuses the code, or its token is not for us.
            Unreachable: the provider did not answer.
        """
        if flow.id_token:
            return await self._checked(config, role, flow, _Tokens(id_token=flow.id_token))
        form = {
            "grant_type": "authorization_code",
            "code": flow.code,
            "redirect_uri": flow.redirect_uri,
            "code_verifier": flow.verifier,
        }
        tokens = await self._tokens(config, form)
        if not tokens.id_token:
            raise Invalid("the provider did not accept the code")
        return await self._checked(config, role, flow, tokens)

    async def device(self, config: Config, role: Role, flow: Flow) -> dict[str, Any]:
        """The checked claims of the person who entered the code of ``flow`` elsewhere.

        Raises:
            Waiting: nobody did yet.
            Invalid: refused or too late.
            Unreachable: the provider did not answer.
        """
        tokens = await self._tokens(config, {"grant_type": DEVICE_GRANT, "device_code": flow.device_code})
        if tokens.error in ("authorization_pending", "slow_down"):
            raise Waiting(tokens.error)
        if not tokens.id_token:
            raise Invalid("the provider refused the device code")
        return await self._checked(config, role, flow, tokens)

    async def begin_device(self, config: Config, scopes: str) -> Device:
        """Codes for a login on another device. Raises Unreachable."""
        endpoints = await self._logins.provider.endpoints(config)
        if not endpoints.device_authorization_endpoint:
            raise Unreachable("the provider has no device authorization endpoint")
        body = await self._post(
            config,
            endpoints,
            endpoints.device_authorization_endpoint,
            {"client_id": config.oidc_client_id, "scope": scopes},
        )
        try:
            found = msgspec.json.decode(body, type=Device, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unreachable("the provider gave no device code") from None
        if not all(is_url(url) for url in (found.verification_uri, found.verification_uri_complete or "https://x/")):
            raise Unreachable("the provider gave no device code")
        return found

    async def _tokens(self, config: Config, form: Mapping[str, str]) -> _Tokens:
        endpoints = await self._logins.provider.endpoints(config)
        if not endpoints.token_endpoint:
            raise Unreachable("the provider has no token endpoint")
        body = await self._post(config, endpoints, endpoints.token_endpoint, form)
        try:
            return msgspec.json.decode(body, type=_Tokens)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Invalid("the provider gave no tokens") from None

    async def _post(self, config: Config, endpoints: Endpoints, url: str, form: Mapping[str, str]) -> bytes:
        """The answer's body, whatever its status. The client's secret goes where the provider wants it (RFC 6749)."""
        methods, headers, fields = endpoints.token_endpoint_auth_methods_supported, dict(_FORM), dict(form)
        if not config.oidc_client_secret:
            fields["client_id"] = config.oidc_client_id
        elif methods and "client_secret_basic" not in methods:
            fields |= {"client_id": config.oidc_client_id, "client_secret": config.oidc_client_secret}
        else:
            pair = f"{quote(config.oidc_client_id, safe='')}:{quote(config.oidc_client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = await self._logins.provider.ask(config, "POST", url, headers=headers, body=urlencode(fields).encode())
        return answer.body

    async def _checked(self, config: Config, role: Role, flow: Flow, tokens: _Tokens) -> dict[str, Any]:
        """OpenID Connect Core 1.0 section 3.1.3.7, then the role's own rules."""
        claims = await self._logins.verify(config, tokens.id_token, browser=True)
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if config.oidc_client_id not in named or claims.get("azp", config.oidc_client_id) != config.oidc_client_id:
            raise Invalid("the ID token is for another client")
        if "exp" not in claims or "iat" not in claims:
            raise Invalid("the ID token has no exp or no iat")
        if flow.mode != "device":
            nonce = claims.get("nonce")
            if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), flow.nonce.encode()):
                raise Invalid("the ID token answers another request")
        if role.max_age:
            since = claims.get("auth_time")
            allowed = role.max_age + leeway(role.clock_skew_leeway, _SKEW)
            if isinstance(since, bool) or not isinstance(since, int | float) or self._now() > since + allowed:
                raise Invalid("the person proved who they are too long ago")
        claims = await self._with_userinfo(config, claims, tokens.access_token)
        self._logins.check(role, claims, strict=False)
        return claims

    async def _with_userinfo(self, config: Config, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """The claims and what the userinfo endpoint adds; it cannot change who issued the token, for whom and when."""
        endpoints = await self._logins.provider.endpoints(config)
        if not (endpoints.userinfo_endpoint and access_token):
            return claims
        headers = {"Authorization": f"Bearer {access_token}"}
        try:
            answer = await self._logins.provider.ask(config, "GET", endpoints.userinfo_endpoint, headers=headers)
            more = msgspec.json.decode(answer.body, type=dict[str, Any]) if answer.status == 200 else None
        except (Unreachable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            more = None
        if more is None:
            return claims  # what the role needs of it is missing then, and refuses the login
        if more.get("sub", MISSING) != claims.get("sub"):
            raise Invalid("userinfo is about somebody else")
        return {**claims, **{name: value for name, value in more.items() if name not in _NOT_FROM_USERINFO}}
