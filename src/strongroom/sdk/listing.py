"""Lists of names: which part of one is wanted, and how it is answered."""

import sys

import msgspec

from strongroom.errors import NotFound
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Response
from strongroom.sdk.storage import Storage

_AT_ONCE = 1000


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a LIST takes: names after ``after``, at most ``limit`` (0 = all)."""

    after: Text = Text("")
    limit: int = 0


async def list_names(storage: Storage, prefix: str, after: str = "", limit: int = 0) -> list[str]:
    """Names directly under ``prefix`` that come after ``after``, at most ``limit`` (0 or less = all)."""
    most = limit if limit > 0 else sys.maxsize
    names: list[str] = []
    while len(names) < most:
        asked = min(_AT_ONCE, most - len(names))
        page = await storage.list(prefix, after=after, limit=asked)
        names += page
        if len(page) < asked:
            break
        after = page[-1]
    return names


async def answer_names(storage: Storage, prefix: str, page: Page) -> Response:
    """The answer of a LIST of the names directly under ``prefix``. Raises NotFound for none (wire facts B.2)."""
    names = await list_names(storage, prefix, str(page.after), page.limit)
    if not names:
        raise NotFound
    return Response(data={"keys": names})
