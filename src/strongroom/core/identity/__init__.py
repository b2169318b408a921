"""Who people and programs are across auth methods: entities, their aliases, groups, and the policies these give."""

from collections.abc import Callable, Mapping
from typing import Any

from strongroom.core.identity.login import Logins
from strongroom.core.identity.membership import Membership
from strongroom.core.identity.mfa_login import LoginMfa
from strongroom.core.identity.mfa_secrets import MfaSecrets
from strongroom.core.identity.records import IdentityView
from strongroom.core.identity.removal import Removal
from strongroom.core.identity.store import IdentityStore
from strongroom.core.identity.view import Views
from strongroom.core.mount_entry import MountEntry
from strongroom.sdk.request import Caller


class Identity:
    """The identity of one namespace, as the rest of the core sees it."""

    def __init__(
        self,
        storage: Any,
        namespace: str,
        *,
        hash_text: Callable[[str], str],
        mount_of: Callable[[str], MountEntry | None],
        now: Callable[[], float],
    ) -> None:
        self.store = IdentityStore(storage, namespace, hash_text, now)
        self.views = Views(self.store, mount_of)
        self.mfa = LoginMfa(self.store, self.views, hash_text)
        self.mfa_secrets = MfaSecrets(self.store)
        self.store.on_change = self._changed
        self.logins = Logins(self.store)
        self.known = self.views.known  # asked for every request
        self.membership = Membership(self.store)
        self.removal = Removal(self.store)

    def _changed(self) -> None:
        self.views.forget()
        self.mfa.forget()

    async def forget(self) -> None:
        """The namespace's epoch moved."""
        self._changed()

    async def caller(self, caller: Caller, *, keep: bool = True) -> Caller | None:
        """See ``Views.caller``."""
        return await self.views.caller(caller, keep=keep)

    async def view(self, entity_id: str) -> IdentityView | None:
        """The entity with that id, or the one that it was merged into; None if there is none."""
        return await self.views.view(entity_id) if entity_id else None

    async def template(self, entity_id: str) -> Mapping[str, Any]:
        """See ``Views.template``."""
        return await self.views.template(entity_id)

    async def policies_of(self, entity_id: str) -> tuple[str, ...]:
        """The policies that the entity has by itself and by its groups."""
        view = await self.view(entity_id)
        return () if view is None else view.policies


__all__ = ["Identity", "IdentityView"]
