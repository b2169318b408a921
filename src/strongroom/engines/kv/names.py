"""Names at all levels below a folder (SCAN), page by page. One level (LIST) is ``sdk.listing``."""

from collections.abc import AsyncIterator

from strongroom.sdk.storage import Storage

PAGE = 1000  # names asked from the store at a time


async def scan_names(storage: Storage, prefix: str, after: str = "", limit: int = 0) -> list[str]:
    """Paths of all secrets below ``prefix``, relative to it, in byte order; ``after`` and ``limit`` as above."""
    names: list[str] = []
    async for name in _walk(storage, prefix, after):
        names.append(name)
        if len(names) == limit:
            break
    return names


async def _walk(storage: Storage, prefix: str, after: str) -> AsyncIterator[str]:
    """Depth first. It lists and never scans: a scan would decrypt every secret on the way.

    ``x`` < ``x-y`` < ``x/z`` in byte order, and a listing has ``x/`` in the place of all ``x/...``, so walking
    into folders where they stand gives the order of the whole keys.
    """
    folder, slash, rest = after.partition("/")
    if slash:
        after = folder + "/"
        async for name in _walk(storage, prefix + after, rest):
            yield after + name
    while page := await storage.list(prefix, after=after, limit=PAGE):
        for name in page:
            if name.endswith("/"):
                async for below in _walk(storage, prefix + name, ""):
                    yield name + below
            else:
                yield name
        after = page[-1]
