"""The engine at ``identity/``: one file for each group of routes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from strongroom.core.identity.aliases import AliasRoutes
from strongroom.core.identity.entities import EntityRoutes
from strongroom.core.identity.group_aliases import GroupAliasRoutes
from strongroom.core.identity.groups import GroupRoutes
from strongroom.core.identity.lookup import LookupRoutes
from strongroom.core.identity.merge import MergeRoutes
from strongroom.core.identity.mfa_enforcements import EnforcementRoutes
from strongroom.core.identity.mfa_methods import MethodRoutes
from strongroom.core.identity.oidc_named_keys import NamedKeyRoutes
from strongroom.core.identity.oidc_roles import OidcRoleRoutes
from strongroom.core.identity.oidc_tokens import OidcTokenRoutes
from strongroom.sdk.engine import Call, Mount, Route

if TYPE_CHECKING:
    from strongroom.core.identity import Identity
    from strongroom.core.namespace import Namespace


class IdentityEngine:
    """See the module. ``space`` gives the open namespace with that id, ``address`` the server's api_addr."""

    def __init__(self, mount: Mount, space: "Callable[[str], Namespace]", address: Callable[[], str]) -> None:
        self._mount, self._space, self._address = mount, space, address

    def _identity(self) -> "Identity":
        return self._space(self._mount.namespace).identity

    def routes(self) -> Sequence[Route]:
        entities, groups = EntityRoutes(self._identity), GroupRoutes(self._identity)
        return (
            *MergeRoutes(self._identity).routes(),
            *entities.routes(),
            *AliasRoutes(self._identity, self._may_change).routes(),
            *groups.routes(),
            *GroupAliasRoutes(self._identity).routes(),
            *MethodRoutes(self._identity).routes(),
            *EnforcementRoutes(self._identity).routes(),
            *LookupRoutes(self._identity, entities, groups).routes(),
            *(
                route
                for group in (NamedKeyRoutes, OidcRoleRoutes, OidcTokenRoutes)
                for route in group(self._identity, self._issuer_base, self._mount.offload).routes()
            ),
        )

    def _issuer_base(self, issuer: str) -> str:
        """The address of ``identity/oidc`` of this namespace, on ``issuer`` or else on the server's api_addr."""
        host = (issuer or self._address()).rstrip("/")
        return f"{host}/v1/{self._space(self._mount.namespace).path}identity/oidc"

    async def _may_change(self, call: Call, entity_id: str) -> bool:
        """Whether the caller's policies let it change the entity with that id."""
        caller = call.caller
        if caller is None or caller.root:
            return caller is not None
        acl = await self._space(self._mount.namespace).policies.acl(caller)
        return "update" in acl.capabilities(f"identity/entity/id/{entity_id}")

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing is leased."""
