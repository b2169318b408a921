"""Lists of identity's records: which part, and how answers show it."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from strongroom.core.identity.store import IdentityStore
from strongroom.errors import NotFound
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Response

MAX_KEY_INFO = 10_000  # rows of a list that are described; the names of the rest are listed all the same
_PAGE = 500


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted: what comes after a key, and how many (0 = all)."""

    after: Text = Text("")
    limit: int = 0


async def list_records(
    store: IdentityStore, prefix: str, args: Listing, describe: Callable[[bytes], Awaitable[dict[str, Any]]]
) -> Response:
    """The keys below ``prefix``, each described from its record. Raises NotFound for an empty list."""
    keys: list[str] = []
    info: dict[str, Any] = {}
    after, most = str(args.after), max(args.limit, 0)
    while rows := await store.storage.scan(prefix, after=after, limit=min(_PAGE, most - len(keys)) if most else _PAGE):
        for key, stored in rows:
            keys.append(key)
            if len(info) < MAX_KEY_INFO:
                info[key] = await describe(stored.value)
        after = rows[-1][0]
        if most and len(keys) >= most:
            break
    return listed(keys, info)


def listed(keys: list[str], info: dict[str, Any] | None = None) -> Response:
    """A list as answers show it. Raises NotFound for an empty one."""
    if not keys:
        raise NotFound
    if info is None:
        return Response(data={"keys": keys})
    note = f"key_info describes the first {len(info)} keys: ask for less at a time with limit and after"
    return Response(data={"keys": keys, "key_info": info}, warnings=(note,) if len(info) < len(keys) else ())
