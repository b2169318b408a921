"""What every store promises; each kind runs this suite (tests/contracts/test_storage.py).

A store of a third party subclasses ``StorageContract`` and gives a fixture ``store``.
"""

import asyncio
import threading

import pytest

from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.storage import MAX_COMMIT_BYTES, MAX_COMMIT_WRITES, MAX_KEY, MAX_VALUE, Storage, View, Write
from strongroom.storage.completion import drive


async def put(store: Storage, key: str, value: bytes = b"v") -> int:
    """Store ``value`` and return its revision."""
    await store.commit([Write(key, value)])
    entry = await store.get(key)
    assert entry is not None
    assert entry.value == value
    return entry.revision


async def fill(store: Storage, *keys: str) -> None:
    for start in range(0, len(keys), MAX_COMMIT_WRITES):
        await store.commit([Write(key, key.encode()[:50]) for key in keys[start : start + MAX_COMMIT_WRITES]])


async def pages(store: Storage, prefix: str, limit: int) -> list[str]:
    """All of ``list`` in pages of ``limit``."""
    names: list[str] = []
    while page := await store.list(prefix, after=names[-1] if names else "", limit=limit):
        assert len(page) <= limit
        names += page
    return names


async def increment(store: Storage, key: str, times: int) -> None:
    """Count up at ``key`` by compare and commit, retrying on ``Conflict``."""
    for _ in range(times):
        while True:
            entry = await store.get(key)
            now, revision = (int(entry.value), entry.revision) if entry else (0, 0)
            try:
                await store.commit([Write(key, b"%d" % (now + 1))], expect={key: revision})
                break
            except Conflict:
                continue


ODD_NAMES = [  # of files and folders: escapes, dots, case, Unicode forms, length
    "a.", ".a", "..a", "a..", "...", ".entry", "a.entry", "a.entry.entry", "A", "a", "Aa", "aA", "é", "e\u0301", "ÿ",
    "😀", "con", "%41", "%", "a~", "~", "~a", "a b", " ", "\x01", "\x7f", "a\nb", "a\\b", "-rf", "lock", "journal",
    "x" * 300, "X" * 300, "é" * 200, "." * 260, "x" * 190 + ".entry", "x" * 191 + "~",
]  # fmt: skip


class StorageContract:
    """Inherit, and give a fixture ``store`` with an empty store."""

    async def test_missing_is_none(self, store: Storage) -> None:
        assert await store.get("nothing/here") is None
        assert await store.get_many(["a", "b"]) == [None, None]
        assert await store.list("") == []
        assert await store.list("nothing/") == []
        assert await store.scan("") == []

    async def test_keys_that_cannot_be_stored_are_not_found(self, store: Storage) -> None:
        await fill(store, "a/b")
        bad = ["", "/a", "a/", "/", "\0", "a\0", "\0format", "k" * 5000, "a/b\0", "\ud800"]
        for key in bad:
            assert await store.get(key) is None
        assert await store.get_many(bad) == [None] * len(bad)
        assert await store.scan("\0") == []

    async def test_put_get_replace_delete(self, store: Storage) -> None:
        first = await put(store, "a/b", b"1")
        assert first >= 1
        assert await put(store, "a/b", b"") > first
        await store.commit([Write("a/b", None)])
        assert await store.get("a/b") is None
        assert await store.list("") == []

    async def test_delete_of_missing_is_no_error(self, store: Storage) -> None:
        await store.commit([Write("gone", None), Write("here", b"1")])
        await store.commit([Write("gone", None)])
        assert await store.list("") == ["here"]

    async def test_revision_grows_over_delete(self, store: Storage) -> None:
        seen = 0
        for _ in range(3):
            revision = await put(store, "k")
            assert revision > seen
            seen = revision
            await store.commit([Write("k", None)])

    async def test_later_write_wins(self, store: Storage) -> None:
        await store.commit([Write("a", b"1"), Write("a", b"2"), Write("b", b"1"), Write("b", None)])
        entry = await store.get("a")
        assert entry is not None
        assert entry.value == b"2"
        assert await store.get("b") is None
        await store.commit([Write("a", None), Write("a", b"3")])
        assert [e.value for _, e in await store.scan("")] == [b"3"]

    async def test_get_many_keeps_order(self, store: Storage) -> None:
        await fill(store, "a", "b", "c")
        found = await store.get_many(["c", "x", "a", "c"])
        assert [e and e.value for e in found] == [b"c", None, b"a", b"c"]

    async def test_key_and_folder_of_one_name(self, store: Storage) -> None:
        await fill(store, "a", "a/b", "a/b/c", "a-", "a0")
        assert await store.list("") == ["a", "a-", "a/", "a0"]
        assert await store.list("a/") == ["b", "b/"]
        await store.commit([Write("a", None)])
        assert await store.list("") == ["a-", "a/", "a0"]
        await store.commit([Write("a/b/c", None), Write("a/b", None)])
        assert await store.list("") == ["a-", "a0"]

    async def test_list_is_ordered_and_paged(self, store: Storage) -> None:
        names = sorted([f"n{i:03}" for i in range(30)] + ["n", "N", "ä", "n!", "z" * 255])
        folders = [f"f{i}" for i in range(7)]
        await fill(store, *(f"p/{n}" for n in names), *(f"p/{f}/{i}" for f in folders for i in range(3)), "q/x", "p0")
        every = sorted(names + [f + "/" for f in folders], key=str.encode)
        assert await store.list("p/") == every
        for limit in (1, 2, 7, 1000):
            assert await pages(store, "p/", limit) == every
        assert await store.list("p/", after="n010", limit=2) == ["n011", "n012"]
        assert await store.list("p/", after="f3", limit=1) == ["f3/"]
        assert await store.list("p/", after="f3/", limit=1) == ["f4/"]
        assert await store.list("p/", after="f3/5", limit=1) == ["f4/"]
        assert await store.list("p/", limit=0) == []
        assert await store.list("p/", after="\U0010ffff") == []

    async def test_list_wants_a_folder(self, store: Storage) -> None:
        await fill(store, "a/b")
        with pytest.raises(BadRequest):
            await store.list("a")

    async def test_scan_bounds(self, store: Storage) -> None:
        await fill(store, "s", *(f"s/{i}" for i in range(10)), "s/5/x", "s0", "t")
        keys = [key for key, _ in await store.scan("s/")]
        assert keys == ["0", "1", "2", "3", "4", "5", "5/x", "6", "7", "8", "9"]
        assert [e.value for _, e in await store.scan("s/", limit=2)] == [b"s/0", b"s/1"]
        assert [k for k, _ in await store.scan("s/", after="4", until="6")] == ["5", "5/x"]
        assert [k for k, _ in await store.scan("s/", after="5", limit=1)] == ["5/x"]
        assert [k for k, _ in await store.scan("s/", until="1")] == ["0"]
        assert await store.scan("s/", after="9") == []
        assert await store.scan("s/", limit=0) == []
        # The prefix need not be a folder; the key that equals it is no part of it.
        assert [k for k, _ in await store.scan("s", limit=2)] == ["/0", "/1"]
        assert [k for k, _ in await store.scan("s", after="/9")] == ["0"]

    async def test_scan_pages(self, store: Storage) -> None:
        await fill(store, *(f"p/{i % 7}/{i}" for i in range(100)))
        found: list[str] = []
        while page := await store.scan("p/", after=found[-1] if found else "", limit=9):
            found += [key for key, _ in page]
        assert found == sorted(f"{i % 7}/{i}" for i in range(100))

    async def test_expect(self, store: Storage) -> None:
        revision = await put(store, "a", b"1")
        for wrong in ({"a": 0}, {"a": revision + 1}, {"b": 1}, {"a": revision, "b": revision}, {"a": -1}):
            with pytest.raises(Conflict):
                await store.commit([Write("a", b"2"), Write("b", b"2")], expect=wrong)
        assert [(k, e.value) for k, e in await store.scan("")] == [("a", b"1")]
        await store.commit([Write("c", b"3")], expect={"a": revision, "b": 0})
        await store.commit([], expect={"a": revision})
        with pytest.raises(Conflict):
            await store.commit([], expect={"a": 0})
        await store.commit([Write("a", None)], expect={"a": revision})
        with pytest.raises(Conflict):
            await store.commit([Write("a", b"1")], expect={"a": revision})

    async def test_conflict_text_holds_no_value(self, store: Storage) -> None:
        await put(store, "a", b"canary-value")
        with pytest.raises(Conflict) as caught:
            await store.commit([Write("a", b"canary-value-2")], expect={"a": 0})
        assert "canary" not in str(caught.value)
        assert "canary" not in repr(await store.get("a")) + repr(Write("a", b"canary"))

    @pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a\0b", "\0", "k" * (MAX_KEY + 1), "é" * 2049, "\ud800"])
    async def test_bad_keys_are_refused(self, store: Storage, key: str) -> None:
        if isinstance(store, View) and key == "/a":
            pytest.skip("behind a prefix this is an empty component, which can be stored")
        with pytest.raises(BadRequest):
            await store.commit([Write("good", b"1"), Write(key, b"1")])
        with pytest.raises(BadRequest):
            await store.commit([Write("good", b"1")], expect={key: 0})
        with pytest.raises(BadRequest):
            await store.commit([Write(key, None)])
        assert await store.list("") == []

    async def test_long_keys(self, store: Storage) -> None:
        room = MAX_KEY - 20  # a view adds its prefix
        keys = ["k" * n for n in (400, 479, 480, 481, 510, 511, 512, 959, 960, 961, 1440, room)]
        keys += ["k" * 480 + "/" + "x" * n for n in (1, 480, 481)] + ["a/" * 1900 + "b", "é" * (room // 2)]
        await fill(store, *keys)
        assert [k for k, _ in await store.scan("")] == sorted(keys)
        for key in keys:
            entry = await store.get(key)
            assert entry is not None
            assert entry.value == key.encode()[:50]
        for key in keys[::2]:
            await store.commit([Write(key, None)])
        left = [k[480:] for k in keys[1::2] if k.startswith("k" * 480) and len(k) > 480]
        assert [k for k, _ in await store.scan("k" * 480)] == sorted(left)
        await store.commit([Write(key, None) for key in keys])
        assert await store.list("") == []

    async def test_odd_names(self, store: Storage) -> None:
        keys = [
            *ODD_NAMES,
            *(f"d/{n}" for n in ODD_NAMES),
            *(f"{n}/x" for n in ODD_NAMES),
            *(f"o/{n}/{n}" for n in ODD_NAMES),
        ]
        keys += ["e//x", "e///y", "e/x"]
        await fill(store, *keys)
        assert [k for k, _ in await store.scan("")] == sorted(keys)
        assert await store.list("d/") == sorted(ODD_NAMES)
        assert [await store.list(f) for f in ("e/", "e//", "e///")] == [["/", "x"], ["/", "x"], ["y"]]
        assert await pages(store, "d/", 3) == sorted(ODD_NAMES)
        assert await store.list("o/") == sorted(n + "/" for n in ODD_NAMES)
        for key in keys:
            assert await store.get(key) is not None, key

    async def test_commit_limits(self, store: Storage) -> None:
        with pytest.raises(BadRequest):
            await store.commit([Write(f"k{i}", b"") for i in range(MAX_COMMIT_WRITES + 1)])
        with pytest.raises(BadRequest):
            await store.commit([Write("a", bytes(MAX_COMMIT_BYTES // 2)), Write("b", bytes(MAX_COMMIT_BYTES // 2))])
        with pytest.raises(BadRequest):
            await store.commit([Write("a", bytes(MAX_VALUE + 1))])
        assert await store.list("") == []
        await store.commit([Write(f"k{i}", b"") for i in range(MAX_COMMIT_WRITES)])
        await put(store, "big", bytes(range(256)) * (MAX_VALUE // 256))

    async def test_a_bad_commit_does_not_hurt_its_neighbours(self, store: Storage) -> None:
        bad = [[Write("x", bytes(MAX_VALUE + 1))], [Write("k" * 5000, b"1")], [Write("", b"1")]]
        work = [store.commit([Write(f"good/{i}", b"1")]) for i in range(20)]
        work += [store.commit(w) for w in bad] + [store.commit([Write("good/0", b"2")], expect={"good/0": 77777})]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        assert [type(o) for o in outcomes] == [type(None)] * 20 + [BadRequest] * 3 + [Conflict]
        assert len(await store.list("good/")) == 20

    async def test_cancelled_waiters_do_not_hurt(self, store: Storage) -> None:
        for turn in range(20):
            tasks = [asyncio.ensure_future(store.commit([Write(f"c/{turn}/{i}", b"1")])) for i in range(5)]
            await asyncio.sleep(0)
            for task in tasks[:4]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert outcomes[4] is None
        assert await put(store, "after")

    async def test_compare_and_commit_from_tasks(self, store: Storage) -> None:
        await asyncio.gather(*(increment(store, "n", 10) for _ in range(8)))
        entry = await store.get("n")
        assert entry is not None
        assert entry.value == b"80"

    def test_threads_without_a_loop(self, store: Storage) -> None:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                drive(increment(store, "n", 25))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        entry = drive(store.get("n"))
        assert entry is not None
        assert entry.value == b"100"

    async def test_two_keys_change_together(self, store: Storage) -> None:
        """A reader in another thread never sees one half of a commit."""
        await store.commit([Write("one/a", b"0"), Write("two/b", b"0")])
        stop, torn = threading.Event(), []

        def look() -> None:
            while not stop.is_set():
                a, b = drive(store.get_many(["one/a", "two/b"]))
                pair = [e.value for _, e in drive(store.scan(""))]
                assert a is not None
                assert b is not None
                if a.value != b.value or len(set(pair)) != 1:
                    torn.append((a.value, b.value, pair))

        thread = threading.Thread(target=look)
        thread.start()
        for i in range(1, 60):
            await store.commit([Write("one/a", b"%d" % i), Write("two/b", b"%d" % i)])
        stop.set()
        thread.join()
        assert torn == []

    async def test_watch(self, store: Storage) -> None:
        await fill(store, "w/old", "w/gone")
        watching = store.watch("w/")
        first = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)
        await store.commit([Write("w/new", b"1"), Write("w/gone", None), Write("other", b"1")])
        seen = {await asyncio.wait_for(first, 10)}
        while seen != {"w/new", "w/gone"}:
            seen.add(await asyncio.wait_for(anext(watching), 10))
        await watching.aclose()  # type: ignore[attr-defined]
