"""Live migration of an embedded vault; see ``strongroom.storage`` for the copying itself."""

from collections.abc import Mapping
from typing import Any

from strongroom.errors import BadRequest


async def migrate(vault: Any, source: Mapping[str, Any], target: Mapping[str, Any]) -> Any:
    """Not yet there: the storage room's live copy lands with it."""
    raise BadRequest("live migration is not available in this build")
