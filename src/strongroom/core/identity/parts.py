"""What the route groups of ``identity/`` share: the namespace's identity, looked up when a request needs it (the
mount table is built before the namespace is open)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from strongroom.core.identity.membership import Membership
from strongroom.core.identity.removal import Removal
from strongroom.core.identity.store import IdentityStore
from strongroom.core.identity.view import Views
from strongroom.core.mount_entry import MountEntry

if TYPE_CHECKING:
    from strongroom.core.identity import Identity


class Parts:
    """See the module."""

    def __init__(self, identity: "Callable[[], Identity]") -> None:
        self._identity = identity

    @property
    def _store(self) -> IdentityStore:
        return self._identity().store

    @property
    def _views(self) -> Views:
        return self._identity().views

    @property
    def _members(self) -> Membership:
        return self._identity().membership

    @property
    def _removal(self) -> Removal:
        return self._identity().removal

    def _mount_of(self, accessor: str) -> MountEntry | None:
        return self._views.mount_of(accessor)
