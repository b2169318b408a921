"""sys/mfa/validate: the second factor of a login that waits for it, in exchange for the token."""

from typing import TYPE_CHECKING

import msgspec

from strongroom.core.identity.mfa_login import payload_passcodes
from strongroom.core.identity.mfa_records import Pending
from strongroom.core.namespace import Namespace
from strongroom.core.token_auth import shown_auth, store
from strongroom.core.token_entry import TokenEntry
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import AnyMap, Text
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.core import Core


class ValidateArgs(msgspec.Struct, frozen=True, kw_only=True):
    mfa_request_id: Text = Text("")
    mfa_payload: AnyMap = AnyMap()

    def __repr__(self) -> str:
        return "ValidateArgs()"


class MfaRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        route = Route(
            pattern="mfa/validate",
            login=True,
            args=ValidateArgs,
            ops={Op.UPDATE: self.validate},
            help="The second factor of a login that waits for it.",
        )
        return (route,)

    async def validate(self, call: Call, args: ValidateArgs) -> Response:
        if not args.mfa_request_id:
            raise BadRequest("missing mfa_request_id")
        if not args.mfa_payload:
            raise BadRequest("missing mfa_payload")
        given = payload_passcodes(args.mfa_payload)
        space = self._core.space(call.request.namespace)
        mfa = space.identity.mfa
        pending = await mfa.waiting(str(args.mfa_request_id))
        mount = space.mounts.by_accessor(pending.entry.mount_accessor)
        if mount is None:
            raise BadRequest("invalid request ID")
        # As things are now: what was enforced after the login began counts too.
        rules = await mfa.rules(mount, pending.entry.entity_id)
        request_id = str(args.mfa_request_id)
        passed = await mfa.satisfy(rules, pending.entry.entity_id, given, request_id=request_id)
        auth = await self._made(space, mount.uuid, msgspec.structs.replace(pending.entry, mfa=passed), pending)
        return Response(auth=auth, warnings=pending.warnings)

    async def _made(self, space: Namespace, mount: str, entry: TokenEntry, pending: Pending) -> Auth:
        """The token, counted against the lease-count quota that its login was under."""
        counter, extra = space.lease_counter, [Write(key, value) for key, value in pending.extra]
        quota = next((q for q in space.lease_quotas.quotas.values() if q.id == pending.quota), None)
        if quota is None:
            token, entry = await store(space.tokens, entry, extra=extra, mounts=space.mounts, mount=mount)
            return await shown_auth(space, entry, token)
        await counter.room(quota, entry.path, take=True)
        made = False
        try:
            token, entry = await store(space.tokens, entry, extra=extra, mounts=space.mounts, mount=mount)
            made = True
        finally:
            counter.end(quota.id, made=made)
        return await shown_auth(space, entry, token)
