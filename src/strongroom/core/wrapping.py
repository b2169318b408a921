"""Response wrapping: the answer is kept for one use, the caller gets a token for it.

The kept answer lies in the wrapping token's cubbyhole as ``response``: the JSON envelope as text, as clients that
read ``cubbyhole/response`` expect. It is stored in the commit that creates the token.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.clock import rfc3339
from strongroom.core.names import service_token, tail
from strongroom.core.namespace import Namespace
from strongroom.core.token_entry import TokenEntry
from strongroom.core.tokens import Found
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call
from strongroom.sdk.envelope import Envelope, plain, wire_auth
from strongroom.sdk.request import Auth, Op, Response, WrapInfo
from strongroom.sdk.storage import Write

POLICY = "response-wrapping"
_GONE = "wrapping token is not valid or does not exist"
_NEVER = frozenset({"sys/wrapping/lookup", "sys/wrapping/rewrap", "sys/wrapping/unwrap"})


class Wrapping:
    """Handler: wraps the answer of a request that asked for it (X-Vault-Wrap-TTL)."""

    special_only = True  # see Pipeline

    def __init__(self, namespace: Callable[[str], Namespace]) -> None:
        self._namespace = namespace

    async def post_route(self, call: Call, response: Response) -> Response:
        ttl = response.wrap_ttl or call.request.wrap_ttl
        if not ttl or response.wrap_info is not None or response.raw is not None or response.bare:
            return response
        if call.request.path in _NEVER or call.request.op is Op.HELP:
            return response
        if response.data is None and response.auth is None:
            return response
        if response.auth is not None and response.auth.mfa_requirement is not None:
            return response  # nothing secret yet: what the second factor gets can be wrapped
        space = self._namespace(call.request.namespace)
        accessor = response.auth.accessor if response.auth else str((response.data or {}).get("secret_id_accessor", ""))
        info = await wrap(
            space, kept(response, call.request.id), ttl=ttl, path=call.request.path, wrapped_accessor=accessor
        )
        return Response(wrap_info=info, warnings=response.warnings, headers=response.headers)


async def wrap(space: Namespace, text: str, *, ttl: int, path: str, wrapped_accessor: str = "") -> WrapInfo:
    """Keep ``text`` (a JSON envelope) for one use.

    Args:
        space: the namespace.
        text: the envelope.
        ttl: seconds, > 0.
        path: of the request whose answer it is.
        wrapped_accessor: of a token or SecretID inside, "" = none.
    """
    cubby = space.mounts.entries["cubbyhole/"]
    entry = space.tokens.draft(
        TokenEntry(
            accessor="",
            policies=(POLICY,),
            path=path,
            display_name="wrapping",
            ttl=ttl,
            explicit_max_ttl=ttl,
            num_uses=1,
            renewable=False,
            creation_path=path,
            namespace=space.id,
        )
    )
    token = service_token() + tail(space.id)
    key = f"{layout.data_prefix(space.id, cubby.uuid)}{space.tokens.hash(token)}/response"
    extra = [Write(key, msgspec.json.encode({"response": text}))]
    token, entry = await space.tokens.create(entry, token=token, extra=extra)
    return WrapInfo(
        token=token,
        accessor=entry.accessor,
        ttl=ttl,
        creation_time=rfc3339(entry.created),
        creation_path=path,
        wrapped_accessor=wrapped_accessor,
    )


async def find(space: Namespace, token: str) -> Found:
    """The live wrapping token. Raises BadRequest (never 403: the path needs no token, wire facts B.2)."""
    found = await space.tokens.find(token) if token else None
    if found is None or found.entry.policies != (POLICY,) or not found.entry.creation_path:
        raise BadRequest(_GONE)
    return found


async def take(space: Namespace, token: str) -> tuple[str, TokenEntry]:
    """The kept envelope, once: of many who ask at the same time one gets it.

    Raises:
        BadRequest: used, expired, revoked or never there.
    """
    found = await find(space, token)
    if not await space.tokens.spend(found.id):
        raise BadRequest(_GONE)
    cubby = space.mounts.entries["cubbyhole/"]
    stored = await space.storage.get(f"{layout.data_prefix(space.id, cubby.uuid)}{found.id}/response")
    await space.end_token(found.id)
    if stored is None:
        raise BadRequest(_GONE)
    text: str = msgspec.json.decode(stored.value)["response"]
    return text, found.entry


def kept(response: Response, request_id: str) -> str:
    """The answer as the JSON envelope that will be unwrapped."""
    envelope = Envelope(
        request_id,
        response.lease_id,
        response.renewable,
        response.lease_duration,
        response.data,
        None,
        response.warnings or None,
        None if response.auth is None else wire_auth(response.auth),
    )
    return msgspec.json.encode(envelope, enc_hook=plain).decode()


def unkept(text: str) -> Response:
    """The answer that was kept."""
    envelope: Mapping[str, Any] = msgspec.json.decode(text)
    block = envelope.get("auth")
    auth = None
    if block:
        auth = Auth(
            client_token=block["client_token"],
            accessor=block["accessor"],
            policies=tuple(block["policies"]),
            token_policies=tuple(block.get("token_policies", ())),
            identity_policies=tuple(block.get("identity_policies", ())),
            metadata=block["metadata"],
            ttl=block["lease_duration"],
            renewable=block["renewable"],
            entity_id=block["entity_id"],
            token_type=block["token_type"],
            orphan=block["orphan"],
            num_uses=block["num_uses"],
        )
    return Response(
        data=envelope["data"],
        auth=auth,
        lease_id=envelope["lease_id"],
        lease_duration=envelope["lease_duration"],
        renewable=envelope["renewable"],
        warnings=tuple(envelope["warnings"] or ()),
    )
