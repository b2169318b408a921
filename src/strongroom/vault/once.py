"""What happens once and must not be lost on the way: key shares that are made while somebody waits for them."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from strongroom.core.core import Core
from strongroom.core.shares import KeyShares
from strongroom.errors import AuditFailed
from strongroom.sdk.engine import Call
from strongroom.sdk.request import ROOT_NAMESPACE, Op, Response
from strongroom.vault import calls

T = TypeVar("T")


async def recorded_unseal(core: Core, shares: Sequence[str]) -> KeyShares:
    """Unseal and replace the shares, with its two audit records.

    The new shares are given out even if the response record fails: the old ones are void by then, and a vault without
    shares is lost. (A sink reserves room for that record before it takes the request's.)

    Raises:
        AuditFailed: the request could not be recorded; nothing was done.
        BadRequest, Conflict, NotInitialized, IntegrityError: as ``SealKeeper.unseal_once``.
    """
    request = calls.request(Op.UPDATE, "sys/unseal", None, "")
    match, _ = core.router(ROOT_NAMESPACE).match(request.op, request.path)
    call = Call(request, match)
    await core.audit.request(call, None)
    try:
        fresh = await core.unseal_once(shares)
    except BaseException as error:
        await core.audit.response(call, error)
        raise
    with contextlib.suppress(AuditFailed):
        await core.audit.response(call, Response(data={"sealed": False}, bare=True))
    return fresh


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work`` in spite of a cancellation: once begun it ends, and what it made reaches the caller."""
    task = asyncio.ensure_future(work)
    cancelled = 0
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled += 1
    current = asyncio.current_task()
    while current is not None and cancelled:
        current.uncancel()
        cancelled -= 1
    return task.result()
