"""From a token to a login: the checks that every way in shares, and the route ``login``."""

from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.auth.jwt import claims as rules
from strongroom.auth.jwt.config import Config
from strongroom.auth.jwt.keys import Invalid, header_of, verified
from strongroom.auth.jwt.provider import Provider
from strongroom.auth.jwt.roles import Role, Roles
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Auth, Op, Response

REFUSED = "invalid role or token"
_NO_CONFIG = "could not load configuration"


class LoginArgs(msgspec.Struct, frozen=True):
    """The fields of a login."""

    jwt: Text = Text("")
    role: Text = Text("")

    def __repr__(self) -> str:
        return "LoginArgs()"


class Logins:
    """What a mount needs to judge tokens."""

    __slots__ = ("_known", "_mount", "provider", "roles")

    def __init__(self, mount: Mount, roles: Roles, provider: Provider) -> None:
        self._mount, self.roles, self.provider = mount, roles, provider
        self._known: tuple[int, Config | None] = (0, None)

    def route(self) -> Route:
        """Log in with a token. No lockout: signatures cannot be guessed, and anybody could lock a name."""
        return Route(
            pattern="login",
            args=LoginArgs,
            ops={Op.UPDATE: self._login, Op.CREATE: self._login},
            login=True,
            facts=self._facts,
            help="Log in with a signed token.",
        )

    async def config(self) -> Config:
        """The configuration of the mount. Raises BadRequest while there is none."""
        entry = await self._mount.storage.get("config")
        if entry is None:
            raise BadRequest(_NO_CONFIG)
        if self._known[0] != entry.revision:
            self._known = (entry.revision, msgspec.json.decode(entry.value, type=Config))
        config = self._known[1]
        assert config is not None
        return config

    async def role(self, config: Config, name: str) -> tuple[str, Role] | None:
        """Name and role for what a caller calls it; "" is the default role. None if there is no such role."""
        name = (name or config.default_role).strip().lower()
        found = await self.roles.find(name)
        return None if found is None else (name, found[0])

    async def _facts(self, call: Call, args: LoginArgs) -> Mapping[str, Any]:
        return {}

    async def _login(self, call: Call, args: LoginArgs) -> Response:
        config = await self.config()
        found = await self.role(config, args.role)
        try:
            claims = await self.verify(config, args.jwt, browser=False)  # first: its cost says nothing about the role
            if found is None:
                raise Invalid("no such role")
            name, role = found
            if role.role_type != "jwt":
                raise Invalid("the role is for logins in the browser")
            self.check(role, claims, strict=True)
            return Response(auth=self.grant(name, role, claims, call.request.remote))
        except Invalid as error:
            told = found is not None and found[1].verbose_oidc_logging
            raise BadRequest(f"{REFUSED}: {error}" if told else REFUSED) from error

    async def verify(self, config: Config, token: str, *, browser: bool) -> dict[str, Any]:
        """The claims of ``token``, if a trusted key made it and its issuer is the one that is trusted.

        Args:
            config: of the mount.
            token: a compact JWS.
            browser: whether it came in answer to a login in the browser.

        Raises:
            Invalid: not so.
            Unreachable, Unavailable: the provider's keys are not to be had.
        """
        header = header_of(token)
        if header.alg not in config.algorithms(browser=browser):
            raise Invalid("the algorithm is not one that the mount accepts")
        claims = verified(token, header, await self.provider.candidates(config, header))
        wanted = config.bound_issuer
        if not wanted and config.oidc_discovery_url:
            wanted = (await self.provider.endpoints(config)).issuer
        if wanted and claims.get("iss") != wanted:
            raise Invalid("iss is another issuer")
        return claims

    def check(self, role: Role, claims: Mapping[str, Any], *, strict: bool) -> None:
        """Whether the role takes these claims. ``strict``: a token for somebody needs a role that says for whom.

        Raises:
            Invalid: it does not.
        """
        rules.check_times(
            claims,
            self._mount.now(),
            expiration=role.expiration_leeway,
            not_before=role.not_before_leeway,
            skew=role.clock_skew_leeway,
        )
        rules.check_audience(claims, role.bound_audiences, strict=strict)
        if role.bound_subject and claims.get("sub") != role.bound_subject:
            raise Invalid("sub is another subject")
        rules.check_bound(claims, role.bound_claims, role.bound_claims_type)

    def grant(self, name: str, role: Role, claims: Mapping[str, Any], remote: str) -> Auth:
        """The outcome of a login whose claims were checked.

        Raises:
            Invalid: a claim that the role takes something from is missing.
            PermissionDenied: the address may not log in.
        """
        taken = rules.taken(
            claims,
            user_claim=role.user_claim,
            user_pointer=role.user_claim_json_pointer,
            groups_claim=role.groups_claim,
            mappings=role.claim_mappings,
        )
        auth = role.token.grant(
            remote=remote,
            alias=taken.user,
            display_name=taken.user,
            metadata={**taken.metadata, "role": name},
            private={"role": name, "uid": role.uid},
        )
        return msgspec.structs.replace(auth, alias_metadata=taken.metadata or None, group_aliases=taken.groups)
