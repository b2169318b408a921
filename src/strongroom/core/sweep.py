"""Deleting a whole prefix: in commits of bounded size, resumable, and without opening a single value."""

from typing import Any

from strongroom.sdk.storage import Storage, Write

_BATCH = 60  # of the 64 writes a commit takes


async def keys_below(storage: Storage, prefix: str, limit: int) -> list[str]:
    """Up to ``limit`` full keys under ``prefix`` (which ends in "/"), depth first."""
    found: list[str] = []
    folders = [prefix]
    while folders and len(found) < limit:
        folder = folders.pop()
        for name in await storage.list(folder, limit=limit - len(found)):
            if name.endswith("/"):
                folders.append(folder + name)
            else:
                found.append(folder + name)
    return found


async def delete_prefix(storage: Any, prefix: str) -> int:
    """Delete everything under ``prefix``; how many keys went. Safe to interrupt and repeat."""
    gone = 0
    while keys := await keys_below(storage, prefix, _BATCH):
        await storage.commit([Write(key, None) for key in keys])
        gone += len(keys)
    return gone
