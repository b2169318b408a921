"""Settings of a namespace that are kept in the store: CORS, UI headers, audited request headers."""

from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.quota_entry import Quotas


class Cors(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """sys/config/cors."""

    enabled: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ()


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """sys/config/authorization: how ACL and Cedar policies count together."""

    mode: str = "either"  # "either" may allow | "both" must


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, as one value that is replaced on change."""

    cors: Cors = Cors()
    ui_headers: dict[str, tuple[str, ...]] = {}
    audited_headers: dict[str, bool] = {}  # lower-case name -> HMAC it?
    rotate: dict[str, Any] = {}
    authorization: Authorization = Authorization()
    quotas: Quotas = Quotas()


_KINDS: dict[str, Any] = {
    "cors": Cors,
    "ui-headers": dict[str, tuple[str, ...]],
    "audited-headers": dict[str, bool],
    "rotate": dict[str, Any],
    "authorization": Authorization,
    "quotas": Quotas,
}


async def load_settings(storage: Any, namespace: str) -> Settings:
    """Read all settings in one round trip."""
    found = await storage.get_many([layout.config(namespace, name) for name in _KINDS])
    values = {
        name.replace("-", "_"): msgspec.json.decode(entry.value, type=kind)
        for (name, kind), entry in zip(_KINDS.items(), found, strict=True)
        if entry is not None
    }
    return Settings(**values)
