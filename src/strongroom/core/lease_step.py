"""The step in which an engine's wish for a lease becomes a lease id in the answer."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.lease_entry import LeaseEntry
from strongroom.core.namespace import Namespace
from strongroom.core.token_auth import SPENT
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import BadRequest, Conflict, VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.leases import batch_end
from strongroom.sdk.request import Lease, Response
from strongroom.sdk.storage import Write

_ONE_USE = "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked."


class LeaseStep:
    """Handler: see the module. What gets no lease is undone at once, or later by the engine's own note."""

    special_only = True  # see Pipeline

    def __init__(self, namespace: Callable[[str], Any]) -> None:
        self._namespace = namespace

    async def post_route(self, call: Call, response: Response) -> Response:
        wish = response.lease
        if wish is None:
            return response
        space: Namespace = self._namespace(call.request.namespace)
        entry, warnings = _entry(space, call, wish)
        engine = space.mounts.engine(entry.mount)  # of now: ``give`` may find its mount gone
        also, expect = _note(space, call, wish)
        try:
            if SPENT in call.notes:  # the token ends with this request, and the lease with the token
                raise BadRequest(_ONE_USE)
            if entry.ttl <= 0:
                raise BadRequest("the lease would be over already")
            home = call.caller.namespace if call.caller else ""
            lease_id = await space.leases.give(call.request.path, entry, home=home, also=also, expect=expect)
        except VaultError as error:
            with contextlib.suppress(VaultError):
                if engine is not None:
                    await engine.revoke(entry.private)
            if isinstance(error, Conflict):
                raise VaultError("the secret took too long to make and was revoked") from None
            raise
        return msgspec.structs.replace(
            response,
            lease=None,
            lease_id=lease_id,
            lease_duration=entry.ttl,
            renewable=wish.renewable,
            warnings=(*response.warnings, *warnings),
        )


def _entry(space: Namespace, call: Call, wish: Lease) -> tuple[LeaseEntry, tuple[str, ...]]:
    default_ttl, max_ttl = space.mounts.ttls(space.mounts.at(call.match.mount_path))
    maximum = min(wish.max_ttl or max_ttl, max_ttl)
    ttl, warnings = bounded_ttl(asked=wish.ttl, default=default_ttl, maximum=maximum)
    caller, now = call.caller, space.parts.now()
    end = batch_end(caller)
    if end is not None:
        ttl = min(ttl, int(end - now))
    entry = LeaseEntry(
        token=(caller.token_id or caller.parent) if caller else "",
        issued=now,
        expires=now + ttl,
        ttl=ttl,
        max_ttl=maximum,
        renewable=wish.renewable,
        mount=call.match.mount_uuid,
        private=wish.private,
        until=end or 0.0,
    )
    return entry, warnings


def _note(space: Namespace, call: Call, wish: Lease) -> tuple[list[Write], dict[str, int]]:
    """The engine's own note of what it made goes in the commit that stores the lease, or there is no lease."""
    if wish.intent is None:
        return [], {}
    key = layout.data_prefix(space.id, call.match.mount_uuid) + wish.intent[0]
    return [Write(key, None)], {key: wish.intent[1]}
