"""Roles for machines: a RoleID says which role, a SecretID proves the right to it.

``entries`` holds the shapes and their rules, ``store`` the keys and commits, ``fields`` the paths of single fields,
``roles`` and ``secret_ids`` the routes, ``login`` the login.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.auth.approle.login import Login
from strongroom.auth.approle.roles import RoleRoutes
from strongroom.auth.approle.secret_ids import SecretIdRoutes
from strongroom.auth.approle.store import Roles, SecretIds
from strongroom.errors import PermissionDenied
from strongroom.sdk.engine import Mount, Route
from strongroom.sdk.request import Auth


class AppRole:
    """The auth method ``approle``."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._roles = Roles(mount)
        self._secrets = SecretIds(mount, self._roles)

    def routes(self) -> Sequence[Route]:
        """Login, roles, SecretIDs."""
        return (
            Login(self._roles, self._secrets).route(),
            *RoleRoutes(self._mount, self._roles).routes(),
            *SecretIdRoutes(self._mount, self._roles, self._secrets).routes(),
        )

    async def initialize(self) -> None:
        """Make the salt."""
        await self._roles.salt()

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Logins are leased by the token store; nothing is left behind here."""

    async def renew(self, auth: Auth) -> Auth:
        """Today's TTLs for a token whose role still exists.

        Raises:
            PermissionDenied: the role is gone; one of the same name created since does not count.
        """
        found = await self._roles.find(str(auth.private.get("role_name", "")))
        if found is None or found[0].uid != auth.private.get("uid"):
            raise PermissionDenied("the role of this token no longer exists")
        return found[0].token.renewed(auth)
