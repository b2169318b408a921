"""What the route groups of ``identity/oidc/`` share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from strongroom.core.identity.oidc_records import NamedKey, PrivateKey, check_name
from strongroom.core.identity.oidc_signing import generate
from strongroom.core.identity.oidc_store import OidcStore
from strongroom.core.identity.parts import Parts
from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from strongroom.core.identity import Identity

Offload = Callable[[Callable[[], Any]], Any]


class OidcParts(Parts):
    """See the module.

    Args:
        identity: the namespace's identity.
        base: the address of ``identity/oidc`` for an issuer ("" = the server's own): "https://host/v1/identity/oidc".
        offload: runs the making of keys where it holds up nobody.
    """

    def __init__(self, identity: "Callable[[], Identity]", base: Callable[[str], str], offload: Offload) -> None:
        super().__init__(identity)
        self._base, self._offload = base, offload

    @property
    def _oidc(self) -> OidcStore:
        return OidcStore(self._store.storage, self._store.namespace)

    def _now(self) -> float:
        return self._store.now()

    async def _issuer(self) -> str:
        """Who tokens of roles are from: what was configured, never what a request says of the host."""
        return self._base((await self._oidc.config()).issuer)

    async def _pair(self, algorithm: str) -> PrivateKey:
        made: PrivateKey = await self._offload(lambda: generate(algorithm))
        return made

    async def _named_key(self, name: str) -> NamedKey:
        """The key of that name. Raises BadRequest."""
        found = await self._oidc.key(check_name(name))
        if found is None:
            raise BadRequest(f"key {name!r} not found")
        return found
