import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_harness import WatchedStore
from strongroom.engines.kv import names
from strongroom.sdk.storage import Write

SEGMENT = st.text(st.sampled_from("ab-.z0é"), min_size=1, max_size=3)
PATHS = st.sets(st.lists(SEGMENT, min_size=1, max_size=4).map("/".join), max_size=25)


async def filled(paths) -> WatchedStore:
    store = WatchedStore()
    for path in paths:
        await store.commit(
            [Write("meta/" + path, b"x"), Write("meta" + path, b"not below"), Write("metb", b"nor this")]
        )
    return store


@pytest.fixture(params=[1, 2, 1000])
def page(request, monkeypatch):
    monkeypatch.setattr(names, "PAGE", request.param)


async def test_scan_pages(page):
    store = await filled(["a", "a/b", "a-b", "c/d/e", "c/f", "g"])
    assert await names.scan_names(store, "meta/") == ["a", "a-b", "a/b", "c/d/e", "c/f", "g"]
    assert await names.scan_names(store, "meta/", "c/d/e", 1) == ["c/f"]
    assert await names.scan_names(store, "meta/", "c/d/", 1) == ["c/d/e"]


@given(PATHS, st.lists(SEGMENT, max_size=4).map("/".join), st.integers(0, 5))
async def test_scan_is_every_path_in_order_from_anywhere(paths, after, limit):
    store = await filled(paths)
    expected = sorted((path for path in paths if path > after), key=str.encode)
    assert await names.scan_names(store, "meta/", after, limit) == expected[: limit or None]


async def test_scan_reads_no_secret():
    store = await filled(["a", "b/c"])
    scans = []
    store.scan = lambda *a, **k: scans.append(a)
    await names.scan_names(store, "meta/")
    assert scans == []
