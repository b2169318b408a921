"""Versions against a model: any row of writes, deletes and settings, and after each step all that can be seen."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_harness import Harness
from strongroom.engines.kv import factory
from strongroom.engines.kv.secret import decode_secret
from strongroom.errors import NotFound
from strongroom.sdk.request import Op

NUMBERS = st.lists(st.integers(1, 14), min_size=1, max_size=4)
STEP = st.one_of(
    st.tuples(st.just("put"), st.none()),
    st.tuples(st.just("puts"), st.integers(2, 5)),
    st.tuples(st.just("delete_newest"), st.none()),
    st.tuples(st.sampled_from(["delete", "undelete", "destroy"]), NUMBERS),
    st.tuples(st.just("tick"), st.integers(1, 50)),
    st.tuples(st.sampled_from(["key_max", "mount_max"]), st.integers(0, 4)),
    st.tuples(st.just("key_after"), st.sampled_from([0, 30])),
    st.tuples(st.just("mount_after"), st.sampled_from([-1, 0, 40])),
    st.tuples(st.just("remove"), st.none()),
)


def data_of(n: int) -> dict[str, Any]:
    """Small, or so large that two older ones stay with their secret and the next does not, or larger than may stay."""
    return {"n": n, "x": "x" * (0, 400, 5, 2000)[n % 4]}


class Entry(msgspec.Struct):
    data: dict[str, Any]
    deleted: float | None = None
    destroyed: bool = False


class Model:
    """What version 2 promises, in the fewest words."""

    def __init__(self) -> None:
        self.time = 0.0
        self.count = 0
        self.mount_max, self.mount_after = 0, 0
        self.forget()

    def forget(self) -> None:
        self.versions: dict[int, Entry] = {}
        self.current = self.oldest = self.key_max = self.key_after = 0
        self.there = False

    def until(self) -> float | None:
        after = min([n for n in (self.key_after, self.mount_after) if n], default=0)
        return self.time + after if after and self.mount_after >= 0 else None

    def live(self, number: int) -> bool:
        entry = self.versions.get(number)
        return bool(entry and not entry.destroyed and (entry.deleted is None or entry.deleted > self.time))

    def put(self, _: None = None) -> None:
        self.there = True
        self.count += 1
        self.current += 1
        self.versions[self.current] = Entry(data_of(self.count), self.until())
        keep = max(self.key_max, self.mount_max) or 10
        if self.current - self.oldest >= keep:
            self.oldest = self.current - keep + 1
            self.versions = {n: entry for n, entry in self.versions.items() if n >= self.oldest}

    def puts(self, count: int) -> None:
        for _ in range(count):
            self.put()

    def delete_newest(self, _: None) -> None:
        self.delete([self.current])

    def delete(self, numbers: list[int]) -> None:
        for number in filter(self.live, numbers):
            self.versions[number].deleted = self.time

    def undelete(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in self.versions and not self.versions[number].destroyed:
                self.versions[number].deleted = self.until()

    def destroy(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in self.versions:
                self.versions[number].destroyed = True

    def tick(self, seconds: int) -> None:
        self.time += seconds

    def step(self, name: str, value: Any) -> None:
        if name == "remove":
            self.forget()
        elif name in ("key_max", "key_after"):
            setattr(self, name, value)
            self.there = True
        elif name in ("mount_max", "mount_after"):
            setattr(self, name, value)
        else:
            getattr(self, name)(value)


async def act(kv: Harness, name: str, value: Any, count: int) -> None:
    match name:
        case "put" | "puts":
            for n in range(value or 1):
                await kv.write("data/a/b", {"data": data_of(count + n + 1)})
        case "delete_newest":
            await kv.delete("data/a/b")
        case "delete" | "undelete" | "destroy":
            await kv.write(f"{name}/a/b", {"versions": value})
        case "tick":
            kv.clock.tick(value)
        case "key_max":
            await kv.write("metadata/a/b", {"max_versions": value})
        case "mount_max":
            await kv.write("config", {"max_versions": value})
        case "key_after":
            await kv.write("metadata/a/b", {"delete_version_after": value})
        case "mount_after":
            await kv.write("config", {"delete_version_after": f"{value}s"})
        case "remove":
            await kv.delete("metadata/a/b")


async def seen(kv: Harness, number: int) -> Any:
    try:
        return (await kv.read("data/a/b", {"version": number} if number else {})).data["data"]
    except NotFound as error:
        if error.data is None:
            return "nothing"
        assert error.data["data"] is None
        return "destroyed" if error.data["metadata"]["destroyed"] else "deleted"


def told(model: Model, number: int) -> Any:
    entry = model.versions.get(number or model.current)
    if entry is None:
        return "nothing"
    if entry.destroyed:
        return "destroyed"
    return entry.data if model.live(number or model.current) else "deleted"


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=14))
async def test_a_secret_is_what_its_history_says(steps):
    kv, model = Harness(factory, options={"version": "2"}), Model()
    await kv.start()
    for name, value in steps:
        await act(kv, name, value, model.count)
        model.step(name, value)
        for number in range(model.current + 2):
            assert await seen(kv, number) == told(model, number), (name, number)
        status, body = await kv.http("GET", "metadata/a/b")
        assert status == (200 if model.there else 404)
        if model.there:
            assert [int(n) for n in body["data"]["versions"]] == sorted(model.versions)
            assert (body["data"]["current_version"], body["data"]["oldest_version"]) == (model.current, model.oldest)
        older = {n for n, entry in model.versions.items() if n != model.current and not entry.destroyed}
        stored = [int(key.split("/")[-1]) for key in await kv.keys() if key.startswith("version/")]
        entry = await kv.mount.storage.get("meta/a/b")
        near = decode_secret(entry.value).near_data() if entry else {}
        assert sorted([*stored, *near]) == sorted(older), "exactly the data of readable or deleted older versions"


async def test_the_model_can_tell_a_difference():
    kv, model = Harness(factory, options={"version": "2"}), Model()
    await act(kv, "put", None, 0)
    model.put()
    assert await seen(kv, 0) == told(model, 0) == data_of(1)
    model.destroy([1])
    assert await seen(kv, 0) != told(model, 0)
    assert await kv.op_of("data/a/b") is Op.UPDATE
