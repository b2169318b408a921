"""Lease-count quotas: as many leases and login tokens at a time as a quota allows, and no more.

A lease is reserved in its quota's tally before it is made. What is full is looked at again, at most once a second or
so, because leases end without telling. Only then it is refused, and where that is known beforehand, before the engine
or the login did any work. Workers of a server share the tallies; what one is just storing while another counts may be
missed by that count, so for a moment a quota may be over by as many.

None of this is in the pipeline while no namespace has such a quota (``core.Core``).
"""

import contextlib
from collections.abc import Callable
from typing import Any

from strongroom.core.lease_entry import LeaseEntry
from strongroom.core.names import accessor
from strongroom.core.rate_limit import role_of
from strongroom.core.token_auth import ACCESSOR, QUOTA, token_type
from strongroom.errors import QuotaExceeded, VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Lease, Response

_NOTE = QUOTA


class LeaseLimit:
    """Handler, before the steps that make tokens and leases."""

    special_only = True  # see Pipeline
    log_note = _NOTE

    def __init__(self, space: Callable[[str], Any]) -> None:
        self._space = space
        self._leasing: set[tuple[str, str]] = set()  # mount type and route of what gave leases: it will again

    def concerns(self, call: Call) -> bool:
        match = call.match
        return (
            match.route.login or match.mount_type == "token" or (match.mount_type, match.route.pattern) in self._leasing
        )

    async def pre_route(self, call: Call) -> Response | None:
        """Refuse what would need a lease while there is no room, before anything is done. Raises QuotaExceeded."""
        match = call.match
        space = self._space(call.request.namespace)
        if not space.lease_quotas or match.refusal is not None:
            return None
        path, counter = call.request.path, space.lease_counter
        if match.mount_type == "token" and match.route.pattern.startswith("create"):
            quota = counter.quota(path)
            if quota is not None:
                await counter.room(quota, path, take=True)
                call.notes[_NOTE] = quota.id
        elif match.route.login and match.mount_class == "auth":
            quota = counter.quota(path, await self._role(call, space))
            if quota is not None:
                await counter.room(quota, path, take=False)
        elif (match.mount_type, match.route.pattern) in self._leasing:
            quota = counter.quota(path)
            if quota is not None:
                await counter.room(quota, path, take=False)
        return None

    async def post_route(self, call: Call, response: Response) -> Response:
        """Reserve the lease or token that is made next. Raises QuotaExceeded; what the engine did is undone."""
        space = self._space(call.request.namespace)
        path, counter, match = call.request.path, space.lease_counter, call.match
        if not space.lease_quotas or _NOTE in call.notes:
            return response
        if response.lease is not None:
            self._leasing.add((match.mount_type, match.route.pattern))
            quota = counter.quota(path)
            if quota is not None:
                try:
                    await counter.room(quota, path, take=True)
                except QuotaExceeded:
                    await _undo(space, call, response.lease)
                    raise
                call.notes[_NOTE] = quota.id
        elif response.auth is not None and match.route.login and match.mount_class == "auth":
            await self._login(call, response, space)
        return response

    async def _login(self, call: Call, response: Response, space: Any) -> None:
        assert response.auth is not None
        mount = space.mounts.at(call.match.mount_path)
        if token_type(response.auth.token_type, mount.config.token_type if mount else "") == "batch":
            return  # nothing is stored of it
        counter = space.lease_counter
        quota = counter.quota(call.request.path, await self._role(call, space))
        if quota is None:
            return
        await counter.room(quota, call.request.path, take=True)
        name = accessor() + space.tokens.keys.tail
        call.notes[_NOTE] = quota.id
        call.notes[ACCESSOR] = name, counter.note_role(quota, name)

    async def _role(self, call: Call, space: Any) -> str:
        return await role_of(call) if space.lease_quotas.asks_role(call.match.mount_path) else ""

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        """The lease is made; one that was not made after all is given back."""
        quota = call.notes.pop(_NOTE, None)
        if quota is None:
            return
        made = not isinstance(outcome, BaseException)
        auth = outcome.auth if isinstance(outcome, Response) else None
        if made and call.match.mount_type == "token":
            made = auth is None or (auth.token_type != "batch" and auth.ttl > 0)
        if auth is not None and auth.mfa_requirement is not None:
            made = False  # its token comes with the second factor, and is reserved then
        self._space(call.request.namespace).lease_counter.end(quota, made=made)


async def _undo(space: Any, call: Call, lease: Lease) -> None:
    """Take back what an engine gave out. If it cannot now, it becomes a lease that is over: those are tried again."""
    engine = space.mounts.engine(call.match.mount_uuid)
    try:
        await engine.revoke(lease.private)
    except VaultError:
        now = space.parts.now()
        entry = LeaseEntry(issued=now, expires=now, mount=call.match.mount_uuid, private=lease.private)
        with contextlib.suppress(VaultError):
            await space.leases.give(call.request.path, entry)
