"""Logins through a browser: the address to open, what comes back from the provider, and the poll for the token.

``callback_mode`` says who gets the authorization code: ``client`` (a listener of the command line, or a console, which
brings it here), ``direct`` (this server; a person must confirm, and the one who started it polls) or ``device``
(nobody: the person enters a code at the provider, and the one who started it polls).
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from strongroom.auth.jwt import pages
from strongroom.auth.jwt.config import Config
from strongroom.auth.jwt.exchange import Exchange, Waiting
from strongroom.auth.jwt.flows import LIFE, Flow, Flows, Kept, challenge, secret
from strongroom.auth.jwt.keys import Invalid
from strongroom.auth.jwt.login import Logins
from strongroom.auth.jwt.redirect import allowed, without_namespace
from strongroom.auth.jwt.roles import Role
from strongroom.errors import BadRequest, Unreachable, VaultError
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

REFUSED = "the login was refused"
_LOST = "expired or missing OAuth state"
_MAX_NONCE = 512  # characters
# Error codes of RFC 6749 4.1.2.1 and OpenID Connect Core 3.1.2.6; others, and every description, are not repeated.
_ERRORS = frozenset(
    {"access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope",
     "server_error", "temporarily_unavailable", "login_required", "interaction_required", "consent_required",
     "account_selection_required"}
)  # fmt: skip


class UrlArgs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``oidc/auth_url``."""

    role: Text = Text("")
    redirect_uri: Text = Text("")
    client_nonce: Text = Text("")

    def __repr__(self) -> str:
        return "UrlArgs()"


class CallbackArgs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``oidc/callback``: what the provider sends, and what a page or client of ours adds."""

    state: Text = Text("")
    code: Text = Text("")
    id_token: Text = Text("")
    client_nonce: Text = Text("")
    confirmation: Text = Text("")
    error: Text = Text("")

    def __repr__(self) -> str:
        return "CallbackArgs()"


class PollArgs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``oidc/poll``."""

    state: Text = Text("")
    client_nonce: Text = Text("")

    def __repr__(self) -> str:
        return "PollArgs()"


class Browser:
    """The routes below ``oidc/``."""

    __slots__ = ("_exchange", "_flows", "_logins", "_mount")

    def __init__(self, mount: Mount, logins: Logins) -> None:
        self._mount, self._logins = mount, logins
        self._flows = Flows(mount)
        self._exchange = Exchange(logins, mount.now)

    def routes(self) -> Sequence[Route]:
        """Where a login begins, where the provider sends the browser, and where the token is fetched."""
        return (
            Route(
                pattern="oidc/auth_url",
                args=UrlArgs,
                ops={Op.UPDATE: self._auth_url, Op.CREATE: self._auth_url},
                login=True,
                help="The address at which a person logs in.",
            ),
            Route(
                pattern="oidc/callback",
                args=CallbackArgs,
                ops={Op.READ: self._callback, Op.UPDATE: self._posted, Op.CREATE: self._posted},
                login=True,
                strict=False,
                help="Where the provider's answer goes.",
            ),
            Route(
                pattern="oidc/poll",
                args=PollArgs,
                ops={Op.UPDATE: self._poll, Op.CREATE: self._poll},
                login=True,
                help="The token of a login in the browser, once the person has agreed.",
            ),
        )

    # -- the beginning

    async def _auth_url(self, call: Call, args: UrlArgs) -> Response:
        config = await self._config()
        found = await self._logins.role(config, args.role)
        if found is None or found[1].role_type != "oidc":
            raise BadRequest("there is no oidc role of that name")
        name, role = found
        if len(args.client_nonce) > _MAX_NONCE:
            raise BadRequest("client_nonce is too long")
        flow = Flow(
            role=name,
            uid=role.uid,
            config=config.uid,
            mode=role.callback_mode,
            client_nonce=str(args.client_nonce),
            remote=call.request.remote,
            started=self._mount.now(),
            nonce=secret(),
            verifier=secret(),
        )
        if role.callback_mode == "device":
            return await self._begin_device(config, role, flow)
        if not allowed(args.redirect_uri, role.allowed_redirect_uris):
            raise BadRequest("unauthorized redirect_uri")
        if role.callback_mode == "direct" and not args.client_nonce:
            raise BadRequest("missing client_nonce")
        return await self._begin(config, role, flow, str(args.redirect_uri))

    async def _begin(self, config: Config, role: Role, flow: Flow, redirect_uri: str) -> Response:
        """Remember the login and make the address (OpenID Connect Core 1.0 section 3.1.2.1)."""
        endpoints = await self._logins.provider.endpoints(config)
        if not endpoints.authorization_endpoint:
            raise Unreachable("the provider has no authorization endpoint")
        namespace = ""
        if config.namespace_in_state:
            redirect_uri, namespace = without_namespace(redirect_uri)
        state = await self._flows.begin(msgspec.structs.replace(flow, redirect_uri=redirect_uri))
        kinds = config.oidc_response_types or ("code",)
        fields = {
            "client_id": config.oidc_client_id,
            "redirect_uri": redirect_uri,
            "response_type": " ".join(kinds),
            "scope": _scopes(role),
            "state": f"{state},ns={namespace}" if namespace else state,
            "nonce": flow.nonce,
        }
        if "code" in kinds:
            fields |= {"code_challenge": challenge(flow.verifier), "code_challenge_method": "S256"}
        if config.oidc_response_mode == "form_post":
            fields["response_mode"] = "form_post"
        if role.max_age:
            fields["max_age"] = str(role.max_age)
        mark = "&" if urlsplit(endpoints.authorization_endpoint).query else "?"
        data = {"auth_url": f"{endpoints.authorization_endpoint}{mark}{urlencode(fields)}"}
        return Response(data={**data, **(_polling(role, state) if flow.mode == "direct" else {})})

    async def _begin_device(self, config: Config, role: Role, flow: Flow) -> Response:
        device = await self._exchange.begin_device(config, _scopes(role))
        interval = min(max(device.interval, role.poll_interval, 1), 300)
        life = min(max(device.expires_in, 30), 1800)
        kept = msgspec.structs.replace(flow, device_code=device.device_code, interval=interval)
        state = await self._flows.begin(kept, life=life)
        url = device.verification_uri_complete or device.verification_uri
        data = {"auth_url": url, "user_code": device.user_code, "verification_uri": device.verification_uri}
        return Response(data={**data, **_polling(role, state), "poll_interval": str(interval)})

    # -- what the provider sends

    async def _callback(self, call: Call, args: CallbackArgs) -> Response:
        kept = await self._flows.find(str(args.state).partition(",ns=")[0])
        if kept is None:
            raise BadRequest(_LOST)
        if kept.flow.mode == "client":
            return await self._finish_client(call, args, kept)
        if kept.flow.mode != "direct":
            raise BadRequest(_LOST)
        return await self._ask(args, kept)

    async def _posted(self, call: Call, args: CallbackArgs) -> Response:
        if not args.confirmation:
            return await self._callback(call, args)
        kept = await self._flows.find(str(args.state).partition(",ns=")[0])
        if kept is None or kept.flow.stage != "asked" or not _same(args.confirmation, kept.flow.confirmation):
            return pages.failed()
        return await self._confirmed(kept)

    async def _finish_client(self, call: Call, args: CallbackArgs, kept: Kept) -> Response:
        """The client brings the code that its own listener got, and gets the token."""
        flow = kept.flow
        if flow.client_nonce and not _same(args.client_nonce, flow.client_nonce):
            raise BadRequest("invalid client_nonce")
        if not await self._flows.take(kept):
            raise BadRequest(_LOST)
        if args.error:
            raise BadRequest(f"{REFUSED} by the provider: {args.error if args.error in _ERRORS else 'unknown error'}")
        if not (args.code or args.id_token):
            raise BadRequest("missing code")
        flow = msgspec.structs.replace(flow, code=str(args.code), id_token=str(args.id_token))
        config, role = await self._standing(flow)
        try:
            claims = await self._exchange.code(config, role, flow)
            return Response(auth=self._logins.grant(flow.role, role, claims, call.request.remote))
        except Invalid as error:
            raise BadRequest(_words(role, error)) from error

    async def _ask(self, args: CallbackArgs, kept: Kept) -> Response:
        """Keep what the provider gave and ask the person: the token is for whoever started this, maybe a stranger."""
        flow = kept.flow
        if args.error:
            await self._flows.take(kept)
            return pages.failed()
        confirmation = flow.confirmation
        if flow.stage == "started" and (args.code or args.id_token):
            confirmation = secret()
            fields = {"code": str(args.code), "id_token": str(args.id_token), "confirmation": confirmation}
            if not await self._flows.change(kept, stage="asked", **fields):
                return pages.failed()
        elif flow.stage != "asked" or not (_same(args.code, flow.code) and _same(args.id_token, flow.id_token)):
            return pages.failed()  # a reload shows the page again; another code does not
        return pages.ask(
            state=str(args.state),
            confirmation=confirmation,
            role=flow.role,
            remote=flow.remote,
            started=flow.started,
        )

    async def _confirmed(self, kept: Kept) -> Response:
        """The person clicked: exchange the code and let the poll have the token."""
        flow = kept.flow
        try:
            config, role = await self._standing(flow)
            claims = await self._exchange.code(config, role, flow)
        except (Invalid, VaultError):
            await self._flows.take(kept)
            return pages.failed()
        proved = await self._flows.change(kept, stage="proved", claims=claims, code="", id_token="", confirmation="")
        return pages.done() if proved else pages.failed()

    # -- the end

    async def _poll(self, call: Call, args: PollArgs) -> Response:
        kept = await self._flows.find(str(args.state))
        if kept is None or kept.flow.mode == "client":
            raise BadRequest(_LOST)
        flow = kept.flow
        if flow.client_nonce and not _same(args.client_nonce, flow.client_nonce):
            raise BadRequest("invalid client_nonce")
        config, role = await self._standing(flow)
        if flow.mode == "device":
            return await self._poll_device(call, kept, config, role)
        if flow.stage != "proved":
            raise BadRequest("authorization_pending")
        if not await self._flows.take(kept):
            raise BadRequest(_LOST)
        return self._granted(call, flow, role, flow.claims)

    async def _poll_device(self, call: Call, kept: Kept, config: Config, role: Role) -> Response:
        flow, now = kept.flow, self._mount.now()
        if now < flow.next_poll:  # the provider is asked no more often than it wants, however many poll
            raise BadRequest("authorization_pending")
        if not await self._flows.change(kept, next_poll=now + flow.interval):
            raise BadRequest("authorization_pending")
        asked = await self._flows.find(str(call.request.data.get("state", "")))
        if asked is None:
            raise BadRequest(_LOST)
        try:
            claims = await self._exchange.device(config, role, flow)
        except Waiting as wait:
            if wait.word == "slow_down":
                await self._flows.change(asked, interval=flow.interval + 5, next_poll=now + flow.interval + 5)
            raise BadRequest(wait.word) from None
        except Invalid as error:
            await self._flows.take(asked)
            raise BadRequest(_words(role, error)) from error
        if not await self._flows.take(asked):
            raise BadRequest(_LOST)
        return self._granted(call, flow, role, claims)

    def _granted(self, call: Call, flow: Flow, role: Role, claims: Mapping[str, Any]) -> Response:
        try:
            self._logins.check(role, claims, strict=False)  # the role, or the time, may have changed
            return Response(auth=self._logins.grant(flow.role, role, claims, call.request.remote))
        except Invalid as error:
            raise BadRequest(_words(role, error)) from error

    # -- what must stand

    async def _config(self) -> Config:
        config = await self._logins.config()
        if not (config.oidc_discovery_url and config.oidc_client_id):
            raise BadRequest(
                "logins in the browser are not configured: oidc_discovery_url and oidc_client_id are needed"
            )
        return config

    async def _standing(self, flow: Flow) -> tuple[Config, Role]:
        """Configuration and role of a login under way. Raises BadRequest if they were replaced since it began."""
        config = await self._config()
        found = await self._logins.roles.find(flow.role)
        if config.uid != flow.config or found is None or found[0].uid != flow.uid or found[0].role_type != "oidc":
            raise BadRequest(_LOST)
        return config, found[0]


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(str(given).encode(), wanted.encode())


def _words(role: Role, error: Invalid) -> str:
    return f"{REFUSED}: {error}" if role.verbose_oidc_logging else REFUSED


def _scopes(role: Role) -> str:
    return " ".join(dict.fromkeys(("openid", *role.oidc_scopes)))


def _polling(role: Role, state: str) -> dict[str, str]:
    return {"state": state, "poll_interval": str(role.poll_interval)}


__all__ = ["LIFE", "Browser"]
