"""Lists of names, page by page."""

import pytest

from engine_harness import WatchedStore
from strongroom.errors import NotFound
from strongroom.sdk import listing
from strongroom.sdk.fields import Text
from strongroom.sdk.listing import Page, answer_names, list_names
from strongroom.sdk.storage import Write


@pytest.fixture(params=[1, 2, 1000])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_AT_ONCE", request.param)


async def filled() -> WatchedStore:
    store = WatchedStore()
    for path in ("a", "a/b", "a-b", "c/d/e", "c/f", "g"):
        await store.commit([Write("role/" + path, b"x"), Write("role" + path, b"not below")])
    return store


@pytest.mark.parametrize("limit", [-1, 0, 1, 3, 100])
async def test_names_and_folders_of_one_level(at_once: None, limit: int) -> None:
    store = await filled()
    most = limit if limit > 0 else None
    assert await list_names(store, "role/", "", limit) == ["a", "a-b", "a/", "c/", "g"][:most]
    assert await list_names(store, "role/", "a-b", limit) == ["a/", "c/", "g"][:most]
    assert await list_names(store, "role/c/", "", limit) == ["d/", "f"][:most]
    assert await list_names(store, "role/none/", "", limit) == []


async def test_an_answer(at_once: None) -> None:
    store = await filled()
    assert (await answer_names(store, "role/", Page())).data == {"keys": ["a", "a-b", "a/", "c/", "g"]}
    assert (await answer_names(store, "role/", Page(after=Text("a/"), limit=1))).data == {"keys": ["c/"]}
    with pytest.raises(NotFound):
        await answer_names(store, "role/", Page(after=Text("g")))
