"""Copies of whole stores: from any kind into any other, resumable, compared at the end, ciphertext untouched.

A copy marks its target with ``UNFINISHED`` until it was compared, so that an interrupted one is gone on with and is
not taken for a store. Every revision in the target is greater than any the source gave, so what was read from the
source can never pass as ``expect`` in the target.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import MAX_COMMIT_BYTES, MAX_COMMIT_WRITES, Pairs, Storage, Write

UNFINISHED = "migration/unfinished"  # in the target, while a copy into it is under way
MARGIN = 1 << 32  # revisions the source may still give while it is copied
PAGE = MAX_COMMIT_WRITES - 1  # entries in memory at once, up to 2 MiB each; small ones fit one commit with the mark
_ROOM = MAX_COMMIT_BYTES - 32 * 1024  # the mark needs some: it names a key of up to 4 KiB, escaped
Progress = Callable[[int, int | None], None]


class CopyReport(msgspec.Struct, frozen=True):
    """What a copy did: entries written and compared in this run, and whether it went on with an earlier one."""

    copied: int
    compared: int
    resumed: bool


class _Mark(msgspec.Struct):
    after: str  # the last key copied
    clean: bool = True  # nothing but copied entries can be in the target


async def copy(
    source: Storage, target: Storage, *, progress: Progress | None = None, resume_key: str = UNFINISHED
) -> CopyReport:
    """Copy every entry of ``source``, which nobody writes to meanwhile, and compare.

    Args:
        source: any store.
        target: an empty store, or one that an interrupted copy left.
        progress: called with (entries copied so far, None) after each page.
        resume_key: where the target keeps the mark.

    Raises:
        BadRequest: the target holds something else, or the source is itself an unfinished copy.
        StorageFailed: a store failed, or the two differ (the source was written to); run it again.
    """
    mark, resumed = await begin(source, target, resume_key)
    copied = await fill(source, target, mark, resume_key=resume_key, progress=progress)
    compared = 0
    async for key, same in differences(source, target, resume_key):
        if not same:
            await target.commit([Write(resume_key, msgspec.json.encode(_Mark("", clean=False)))])
            raise StorageFailed(f"the copy differs from its source at {key!r}; was the source in use? Run it again")
        compared += 1
    await target.commit([Write(resume_key, None)])
    return CopyReport(copied, compared, resumed)


async def begin(source: Storage, target: Storage, resume_key: str = UNFINISHED) -> tuple[_Mark, bool]:
    """Mark the target, or find the mark of an earlier copy; whether there was one.

    Raises:
        BadRequest: as ``copy``.
    """
    if await source.get(resume_key) is not None:
        raise BadRequest("the source is itself an unfinished copy")
    found = await target.get(resume_key)
    if found is not None:
        return msgspec.json.decode(found.value, type=_Mark), True
    if await target.scan("", limit=1):
        raise BadRequest("the target is not empty")
    raise_revisions(source, target)
    mark = _Mark("")
    await target.commit([Write(resume_key, msgspec.json.encode(mark))], expect={resume_key: 0})
    return mark, False


def raise_revisions(source: Storage, target: Storage) -> None:
    """Make the target give only revisions that the source neither gave nor will give while it is copied.

    Stores of other makers that lack ``last_revision`` or ``raise_revisions`` must see to it themselves.
    """
    last, lift = getattr(source, "last_revision", None), getattr(target, "raise_revisions", None)
    if last is not None and lift is not None:
        lift(last() + MARGIN)


async def fill(
    source: Storage,
    target: Storage,
    mark: _Mark,
    *,
    resume_key: str = UNFINISHED,
    progress: Progress | None = None,
    omit: Callable[[str], bool] = lambda key: False,
) -> int:
    """Copy what comes after the mark, but for the keys that ``omit`` names; the number of entries written."""
    copied = 0
    while True:
        page = await source.scan("", after=mark.after, limit=PAGE)
        if not mark.clean:
            await _remove_others(target, page, mark.after, resume_key)
        if not page:
            return copied
        for writes in batches([Write(key, entry.value) for key, entry in page if not omit(key)]):
            last = writes[-1].key
            if len(writes) < MAX_COMMIT_WRITES and sum(len(w.value or b"") for w in writes) < _ROOM:
                mark = _Mark(last, mark.clean)
                writes.append(Write(resume_key, msgspec.json.encode(mark)))
                copied -= 1
            await target.commit(writes)
            copied += len(writes)
        mark = _Mark(page[-1][0], mark.clean)
        if progress is not None:
            progress(copied, None)


def batches(writes: list[Write]) -> list[list[Write]]:
    """Writes cut into commits that keep the limits, with room for the mark in each that has several writes."""
    commits: list[list[Write]] = []
    size = _ROOM
    for write in writes:
        weight = len(write.key.encode()) + len(write.value or b"")
        if not commits or len(commits[-1]) >= MAX_COMMIT_WRITES - 1 or size + weight > _ROOM:
            commits.append([])
            size = 0
        commits[-1].append(write)
        size += weight
    return commits


async def _remove_others(target: Storage, page: Pairs, after: str, resume_key: str) -> None:
    """Delete what lies in the target between ``after`` and the end of the page and is not in the page."""
    keys = {key for key, _ in page}
    until = page[-1][0] if page else ""
    while found := await target.scan("", after=after, until=until, limit=MAX_COMMIT_WRITES):
        after = found[-1][0]
        gone = [Write(key, None) for key, _ in found if key not in keys and key != resume_key]
        if gone:
            await target.commit(gone)


async def differences(
    source: Storage, target: Storage, resume_key: str = UNFINISHED
) -> AsyncIterator[tuple[str, bool]]:
    """Every key of either store but the mark, in order, and whether both hold the same value there."""
    ours, theirs = _Reader(source, resume_key), _Reader(target, resume_key)
    left, right = await ours.next(), await theirs.next()
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None
            yield left[0], False
            left = await ours.next()
        elif left is None or right[0] < left[0]:
            yield right[0], False
            right = await theirs.next()
        else:
            yield left[0], left[1] == right[1]
            left, right = await ours.next(), await theirs.next()


class _Reader:
    """The entries of a store one by one."""

    def __init__(self, store: Storage, without: str) -> None:
        self._store, self._without = store, without
        self._page: Pairs = []
        self._after, self._at, self._end = "", 0, False

    async def next(self) -> tuple[str, bytes] | None:
        while True:
            if self._at >= len(self._page):
                if self._end:
                    return None
                self._page = await self._store.scan("", after=self._after, limit=PAGE)
                self._at, self._end = 0, not self._page
                if self._end:
                    return None
                self._after = self._page[-1][0]
            key, entry = self._page[self._at]
            self._at += 1
            if key != self._without:
                return key, entry.value
