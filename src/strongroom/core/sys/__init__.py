"""The engine at ``sys/``: one file for each group of routes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from strongroom.core.sys.root_only import in_child
from strongroom.sdk.engine import Mount, Route
from strongroom.sdk.request import ROOT_NAMESPACE

if TYPE_CHECKING:
    from strongroom.core.core import Core


class System:
    """All routes below ``sys/``. Privileged: it is given the Core."""

    def __init__(self, core: "Core", mount: Mount) -> None:
        from strongroom.core.sys import (
            access,
            audit,
            capabilities,
            cedar,
            config,
            explain,
            host,
            internal,
            leases,
            locked,
            mfa,
            mounts,
            namespaces,
            operator,
            passwords,
            policies,
            quotas,
            seal,
            tools,
            wrapping,
        )

        groups = (
            seal.SealRoutes,
            operator.OperatorRoutes,
            mounts.MountRoutes,
            access.RemountRoutes,
            explain.ExplainRoutes,
            namespaces.NamespaceRoutes,
            policies.PolicyRoutes,
            cedar.CedarRoutes,
            passwords.PasswordRoutes,
            locked.LockedRoutes,
            capabilities.CapabilityRoutes,
            leases.LeaseRoutes,
            wrapping.WrappingRoutes,
            mfa.MfaRoutes,
            audit.AuditRoutes,
            config.ConfigRoutes,
            quotas.QuotaRoutes,
            internal.InternalRoutes,
            tools.ToolRoutes,
            host.HostRoutes,
        )
        routes = (route for group in groups for route in group(core).routes())
        if mount.namespace != ROOT_NAMESPACE:
            routes = (in_child(route) for route in routes)
        self._routes: tuple[Route, ...] = tuple(routes)

    def routes(self) -> Sequence[Route]:
        return self._routes

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing below sys/ is leased."""
