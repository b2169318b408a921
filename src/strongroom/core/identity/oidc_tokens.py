"""identity/oidc/token, introspect and .well-known: signed tokens that say who somebody is, and what checks them."""

from typing import Any

import msgspec

from strongroom.core.identity.oidc_parts import OidcParts
from strongroom.core.identity.oidc_records import PublicKeys, check_name
from strongroom.core.identity.oidc_signing import ALGORITHMS, signed, verified
from strongroom.core.identity.oidc_template import claims
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

_DISCOVERY_AGE = 3600  # seconds that a client may keep the discovery document

_CAPPED = "the token lives no longer than the verification_ttl of the key, which is shorter than the ttl of the role"


class TokenArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: Text


class IntrospectArgs(msgspec.Struct, frozen=True, kw_only=True):
    token: Text = Text("")
    client_id: Text = Text("")


class OidcTokenRoutes(OidcParts):
    """See the module."""

    _known: tuple[int, list[PublicKeys]] = (-1, [])

    async def _public(self) -> list[PublicKeys]:
        """The published keys. Anybody may ask for them, as often as he likes: they are put together once a change."""
        revision = await self._oidc.revision()  # before the keys, so that a change meanwhile is seen the next time
        if self._known[0] != revision:
            self._known = revision, await self._oidc.published()
        return self._known[1]

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                pattern="oidc/token/{name}", args=TokenArgs, ops={Op.READ: self.token}, help="A token for the caller."
            ),
            Route(
                pattern="oidc/introspect",
                args=IntrospectArgs,
                ops={Op.UPDATE: self.introspect},
                help="Whether a token holds and its entity may still log in.",
            ),
            Route(
                pattern="oidc/.well-known/openid-configuration",
                login=True,
                ops={Op.READ: self.discovery},
                help="What clients need to know to check tokens.",
            ),
            Route(
                pattern="oidc/.well-known/keys",
                login=True,
                ops={Op.READ: self.public_keys},
                help="The public keys that tokens are checked with.",
            ),
        )

    async def token(self, call: Call, args: TokenArgs) -> Response:
        role = await self._oidc.role(check_name(args.name))
        if role is None:
            raise BadRequest(f"role {str(args.name)!r} not found")
        entity_id = call.caller.entity_id if call.caller is not None else ""
        view = await self._identity().view(entity_id)
        if view is None or view.disabled:  # also an entity of another namespace: nobody here answers for it
            raise BadRequest("no entity associated with the request's token")
        key = await self._named_key(role.key)
        if not key.allows(role.client_id):
            raise BadRequest(
                f"the key {role.key!r} does not list the client ID of the role {str(args.name)!r} "
                "as an allowed client ID"
            )
        now, ttl = self._now(), min(role.ttl, key.verification_ttl)
        identity = await self._identity().template(view.id)
        own: dict[str, Any] = {
            "aud": role.client_id,
            "exp": int(now) + ttl,
            "iat": int(now),
            "iss": await self._issuer(),
            "namespace": self._store.namespace,
            "sub": view.id,
        }
        payload = msgspec.json.encode({**claims(role.template, identity, now), **own})
        return Response(
            data={
                "client_id": role.client_id,
                "token": signed(payload, key.algorithm, key.signing),
                "ttl": ttl,
            },
            warnings=(_CAPPED,) if ttl < role.ttl else (),
        )

    async def introspect(self, call: Call, args: IntrospectArgs) -> Response:
        reason = await self._why_not(str(args.token), str(args.client_id))
        return Response(data={"active": False, "error": reason} if reason else {"active": True}, bare=True)

    async def _why_not(self, token: str, client_id: str) -> str:
        """Why a token does not count; "" if it does."""
        found = verified(token, await self._jwks())
        if found is None:
            return "unable to validate the token signature"
        exp = found.get("exp")
        if not isinstance(exp, int) or isinstance(exp, bool) or exp <= self._now():
            return "the token is expired"
        if found.get("iss") != await self._issuer() or found.get("namespace") != self._store.namespace:
            return "the token is from another issuer"
        if client_id and found.get("aud") != client_id:
            return "the token is for another client"
        subject = found.get("sub")
        view = await self._identity().view(subject) if isinstance(subject, str) else None
        if view is None:
            return "entity was not found"
        return "entity is disabled" if view.disabled else ""

    async def _jwks(self) -> list[dict[str, str]]:
        now = self._now()
        return [jwk for key in await self._public() for jwk in key.at(now)]

    async def discovery(self, call: Call, args: NoArgs) -> Response:
        issuer = await self._issuer()
        return Response(
            bare=True,
            headers={"Cache-Control": f"max-age={_DISCOVERY_AGE}"},
            data={
                "issuer": issuer,
                "jwks_uri": issuer + "/.well-known/keys",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": list(ALGORITHMS),
            },
        )

    async def public_keys(self, call: Call, args: NoArgs) -> Response:
        return jwks_response(await self._public(), self._now())


def jwks_response(keys: list[PublicKeys], now: float) -> Response:
    """The public halves of ``keys``, to be kept no longer than until the next of them changes."""
    age = int(min((key.next_rotation for key in keys), default=now) - now)
    headers = {"Cache-Control": f"max-age={age}"} if age > 0 else {}
    return Response(bare=True, headers=headers, data={"keys": [jwk for key in keys for jwk in key.at(now)]})
