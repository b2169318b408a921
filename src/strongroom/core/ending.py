"""Ending tokens and leases, and removing what hung on them: for requests, and for the leader through its own store."""

import contextlib
from collections.abc import Sequence
from typing import Any

from strongroom.core import layout
from strongroom.core.leases import Leases
from strongroom.core.mount_entry import MountEntry
from strongroom.core.mounts import MountTable
from strongroom.core.sweep import delete_prefix
from strongroom.core.tokens import Tokens
from strongroom.errors import Unreachable, VaultError
from strongroom.sdk.storage import Write

_PAGE = 50


class Ending:
    """One namespace's tokens and leases, written through ``storage``."""

    def __init__(self, space: Any, storage: Any, tokens: Tokens, leases: Leases, *, side: str) -> None:
        self._space, self._storage, self._side = space, storage, side  # a Namespace; its attribute that this is
        self._ns: str = space.id
        self._mounts: MountTable = space.mounts
        self.tokens, self.leases = tokens, leases

    async def end_tokens(self, token_ids: Sequence[str]) -> None:
        """Revoke tokens: their subtrees, their leases and cubbyholes."""
        await self.clean_up(await self.tokens.revoke_all(token_ids))

    async def clean_up(self, token_ids: Sequence[str]) -> None:
        """Remove what hung on dead tokens, then the notes about them. Safe to repeat."""
        cubby = self._mounts.entries.get("cubbyhole/")
        for token_id in token_ids:
            await self.leases.revoke_of_token(token_id)
            if cubby is not None:
                await delete_prefix(self._storage, f"{layout.data_prefix(self._ns, cubby.uuid)}{token_id}/")
            for name, space in await self._space.abroad(token_id):
                if space is not None:
                    there: Ending = getattr(space, self._side)
                    await there.clean_up(await there.tokens.resume(token_id))
                await self._storage.commit([Write(layout.abroad(self._ns, token_id) + name, None)])
        await self.tokens.forget(token_ids)

    async def revoke_prefix(self, prefix: str, *, force: bool = False, patient: bool = False) -> int:
        """Revoke every lease whose id starts with ``prefix`` (ends in "/"), tokens among them; how many ended.

        Args:
            prefix: of the lease ids.
            force: forget leases whose engine fails.
            patient: what fails now is left to the leader, which tries again.

        Raises:
            VaultError: an engine could not undo a lease (not with ``force`` or ``patient``); the first such error,
                after all leases were tried.
        """
        done, after = 0, ""
        unreachable: set[str] = set()
        first: VaultError | None = None
        while rows := await self.leases.page(prefix, after=after, limit=_PAGE):
            for lease_id, lease, revision in rows:
                if lease.kind == "token":
                    await self.end_tokens([lease.token])
                    await self.leases.forget(lease_id, lease)
                elif lease.mount in unreachable and not force:
                    await self.leases.queue(lease_id, lease, revision)
                    continue
                else:
                    try:
                        await self.leases.revoke(lease_id, force=force)
                    except VaultError as error:
                        first = first or error
                        if isinstance(error, Unreachable):
                            unreachable.add(lease.mount)
                        continue
                done += 1
            after = rows[-1][0]
        if first is not None and not patient:
            raise first
        return done

    async def revoke_mount(self, entry: MountEntry) -> None:
        """Revoke all that a mount gave, also at paths that it had before it was moved.

        Raises:
            VaultError: an engine could not undo a lease.
        """
        await self.revoke_prefix(entry.path)
        folder = f"{self.leases.keys.due}{entry.uuid}/"
        after, first = "", None
        while rows := await self._storage.scan(folder, after=after, limit=_PAGE):
            for key, stored in rows:
                try:
                    if not await self.leases.revoke(stored.value.decode()):
                        await self._storage.commit([Write(folder + key, None)])
                except VaultError as error:
                    first = first or error
            after = rows[-1][0]
        if first is not None:
            raise first

    async def remove_mounts(self) -> int:
        """Go on with the removal of mounts; how many are gone."""
        done = 0
        for entry in list(self._mounts.removing):
            with contextlib.suppress(VaultError):  # a lease that cannot be undone keeps its engine's data
                await self.revoke_mount(entry)
                await self._mounts.finish_removal(entry, storage=self._storage)
                done += 1
        return done
