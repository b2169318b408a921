"""A mount goes from version 1 to version 2: nothing lost, nothing twice, whatever crashes or comes late."""

import pytest

from engine_harness import Clock, Crash, Harness, WatchedStore
from strongroom.engines.kv import factory, upgrade
from strongroom.errors import BadRequest
from strongroom.sdk.request import Op
from strongroom.sdk.storage import Write

BIG = 900_000


def old(store: WatchedStore, clock: Clock) -> Harness:
    return Harness(factory, options={"version": "1"}, store=store, clock=clock)


def new(store: WatchedStore, clock: Clock) -> Harness:
    return Harness(factory, options={"version": "2"}, store=store, clock=clock)


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def filled(store: WatchedStore, clock: Clock, count: int) -> dict[str, dict]:
    kv = old(store, clock)
    secrets = {f"a/{n:03}": {"n": n, "ttl": "1h"} for n in range(count)} | {"a": {"x": "y" * BIG}}
    for path, data in secrets.items():
        await kv.write(path, data)
    return secrets


async def check(kv: Harness, secrets: dict[str, dict]) -> None:
    assert await kv.scan("metadata") == sorted(secrets)
    for path, data in secrets.items():
        answer = (await kv.read("data/" + path)).data
        assert (answer["data"], answer["metadata"]["version"]) == (data, 1)
    assert not [key for key in await kv.keys() if key.startswith(("v1/", "version/", "sweep/"))]


@pytest.mark.parametrize("count", [0, 1, 62, 63, 64, 200])
async def test_each_secret_becomes_version_1_of_itself(store, clock, count):
    secrets = await filled(store, clock, count)
    await check(await new(store, clock).start(), secrets)


async def test_without_initialize_the_first_requests_do_it(store, clock):
    secrets = await filled(store, clock, 150)
    kv, refused = new(store, clock), 0
    while True:
        try:
            await kv.read("data/a")
            break
        except BadRequest as error:
            assert str(error).startswith(
                "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period"
            )
            refused += 1
    assert refused == 2
    await check(kv, secrets)


async def test_while_one_request_moves_others_are_refused_at_once(store, clock):
    await filled(store, clock, 10)
    store.interleave = True
    kv = new(store, clock)
    mover = kv.call(Op.READ, "data/a")
    for _ in range(12):
        mover.send(None)
    with pytest.raises(BadRequest, match="^Upgrading"):
        await kv.read("data/a/001")
    mover.close()
    store.interleave = False
    assert (await kv.read("data/a/001")).data["data"]["n"] == 1


@pytest.mark.parametrize("kind", ["crash_at", "crash_after"])
@pytest.mark.parametrize("at", range(1, 12))
async def test_a_crash_at_any_commit(store, clock, kind, at):
    secrets = await filled(store, clock, 6)
    setattr(store, kind, at)
    try:
        await new(store, clock).start()
    except Crash:
        clock.tick()
    store.crash_at = store.crash_after = 0
    await check(await new(store, clock).start(), secrets)


async def test_two_processes_move_at_once(store, clock):
    secrets = await filled(store, clock, 70)
    store.interleave = True
    one, two = new(store, clock).start(), new(store, clock).start()
    running = [one, two]
    while running:
        for mover in list(running):
            try:
                mover.send(None)
            except StopIteration:
                running.remove(mover)
    store.interleave = False
    await check(await new(store, clock).start(), secrets)


async def test_a_process_that_has_not_heard_cannot_leave_a_secret_behind(store, clock):
    late = old(store, clock)
    await late.write("a", {"n": 1})
    kv = await new(store, clock).start()
    for write in (late.write("b", {"n": 2}), late.delete("a")):
        with pytest.raises(BadRequest, match="^Upgrading"):
            await write
    await check(kv, {"a": {"n": 1}})


async def test_starting_again_costs_no_write(store, clock):
    await filled(store, clock, 3)
    await new(store, clock).start()
    store.commits = 0
    await new(store, clock).start()
    assert store.commits == 0


async def test_a_version_2_secret_of_the_same_path_keeps_its_history(store, clock):
    kv = await new(store, clock).start()
    await kv.write("data/a", {"data": {"n": 1}})
    await kv.mount.storage.commit([Write(upgrade.MARKER, None), Write("v1/a", b'{"n":2}')])
    again = await new(store, clock).start()
    assert (await again.read("data/a")).data["data"] == {"n": 2}
    assert (await again.read("data/a", {"version": 1})).data["data"] == {"n": 1}
