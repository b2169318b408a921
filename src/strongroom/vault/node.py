"""The vault as a server's worker runs it: ``strongroom.server.node.Node``."""

from typing import Any


async def open_node(config: Any) -> Any:
    """A sealed node over the configured store."""
    raise NotImplementedError
