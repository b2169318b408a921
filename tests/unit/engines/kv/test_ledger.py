"""Commits: one if it fits, in a safe order if not; crashes, conflicts and parallel writers."""

import asyncio
import json

import pytest

from engine_harness import PREFIX, Clock, Crash, Harness, WatchedStore
from strongroom.engines.kv import factory
from strongroom.engines.kv.secret import NEAR, add_version
from strongroom.errors import BadRequest, Conflict, IntegrityError, NotFound, StorageFailed
from strongroom.sdk.storage import Write

V2 = {"version": "2"}
BIG = 900_000  # bytes; two of them are more than any commit takes
APART = "x" * NEAR  # too much to stay with the secret once the version is an older one


async def started(store: WatchedStore | None = None, clock: Clock | None = None) -> Harness:
    return await Harness(factory, options=V2, store=store, clock=clock).start()


@pytest.mark.parametrize(("more", "writes", "reads"), [("", (1, 1), 1), (APART, (2, 3), 2)])
async def test_costs(more, writes, reads):
    """Small older versions stay with the secret: a change of it is one write, and each version one read."""
    kv = await started()
    await kv.write("data/a", {"data": {"n": 0, "x": more}})
    for n in range(1, 20):
        kv.store.commits = kv.store.writes = 0
        await kv.write("data/a", {"data": {"n": n, "x": more}})
        assert (kv.store.commits, kv.store.writes) == (1, writes[0] if n < 10 else writes[1])
    kv.store.reads = 0
    await kv.read("data/a")
    assert kv.store.reads == 1
    assert (await kv.read("data/a", {"version": 15})).data["data"]["n"] == 14
    assert kv.store.reads == 1 + reads
    kv.store.commits = kv.store.writes = 0
    await kv.write("destroy/a", {"versions": [14, 15]})
    assert (kv.store.commits, kv.store.writes) == (1, 1 if not more else 3)


async def small(kv: Harness) -> bytes:
    """The entry of the secret at ``a``, as the engine stores it."""
    return (await kv.store.inner.get(PREFIX + "meta/a")).value


async def test_of_a_small_older_version_that_is_destroyed_or_dropped_nothing_is_left():
    kv = await started()
    for word in ("canary", "parrot", "finch"):
        await kv.write("data/a", {"data": {"bird": word}})
    assert b"canary" in await small(kv)
    await kv.write("destroy/a", {"versions": [1]})
    entry = await small(kv)
    assert b"canary" not in entry and b"parrot" in entry
    await kv.write("metadata/a", {"max_versions": 1})
    await kv.write("config", {"max_versions": 1})
    await kv.write("data/a", {"data": {"bird": "owl"}})
    entry = await small(kv)
    assert b"parrot" not in entry and b"finch" not in entry and b"owl" in entry
    assert await kv.keys() == ["config", "meta/a", "upgrade"]


async def test_what_stays_with_a_secret_is_bounded():
    kv = await started()
    await kv.write("config", {"max_versions": 100})
    for n in range(100):
        await kv.write("data/a", {"data": {"n": n, "x": "x" * (n * 7 % 400)}})
    near = json.loads(await small(kv))[15]
    assert len(near) > 5 and sum(len(json.dumps(data, separators=(",", ":"))) for data in near.values()) <= NEAR
    assert len(await left(kv)) == 1 + 99 - len(near)
    for n in range(100):
        found = (await kv.read("data/a", {"version": n + 1})).data["data"]
        assert found == {"n": n, "x": "x" * (n * 7 % 400)}
    await kv.delete("metadata/a")
    assert await left(kv) == []


async def test_a_secret_of_the_first_layout_is_read_and_goes_on():
    """As releases wrote it that kept every older version under a key of its own."""
    kv = await started()
    first = b'[1,"0123456789abcdef01234567",2,0,5,6,0,false,0,null,0,false,[6,0,false],[[5,0,false]],{"n":2}]'
    await kv.mount.storage.commit([Write("meta/a", first), Write("version/0123456789abcdef01234567/1", b'{"n":1}')])
    assert [(await kv.read("data/a", {"version": n})).data["data"] for n in (0, 1, 2)] == [{"n": 2}, {"n": 1}, {"n": 2}]
    await kv.write("data/a", {"data": {"n": 3}})
    assert [(await kv.read("data/a", {"version": n})).data["data"]["n"] for n in (1, 2, 3)] == [1, 2, 3]
    assert json.loads(await small(kv))[0] == 2, "a release that does not know what was added must not write it"
    await kv.write("destroy/a", {"versions": [1, 2]})
    assert len(await left(kv)) == 1
    await kv.mount.storage.commit([Write("meta/a", first.replace(b"[1,", b"[3,", 1))])
    with pytest.raises(IntegrityError):
        await kv.read("data/a")


async def test_parallel_check_and_set_has_one_winner():
    kv = await started(WatchedStore(interleave=True))
    await kv.write("data/a", {"data": {"who": "first"}})

    async def attempt(who: int) -> int | None:
        try:
            await kv.write("data/a", {"data": {"who": who}, "options": {"cas": 1}})
        except BadRequest as error:
            assert str(error) == "check-and-set parameter did not match the current version"
            return None
        return who

    winners = [who for who in await asyncio.gather(*map(attempt, range(20))) if who is not None]
    assert len(winners) == 1
    newest = (await kv.read("data/a")).data
    assert (newest["data"], newest["metadata"]["version"]) == ({"who": winners[0]}, 2)


async def test_parallel_writers_lose_nothing():
    store = WatchedStore(interleave=True)
    workers = [await started(store) for _ in range(3)]
    await workers[0].write("config", {"max_versions": 100})

    async def write(n: int) -> int:
        response = await workers[n % 3].write("data/a", {"data": {"n": n}})
        return response.data["version"]

    versions = await asyncio.gather(*map(write, range(30)))
    assert sorted(versions) == list(range(1, 31))
    for n, version in enumerate(versions):
        assert (await workers[0].read("data/a", {"version": version})).data["data"] == {"n": n}


async def test_settings_that_another_process_changed_count_at_once():
    """The mount's settings are remembered; a commit or a refusal that rests on old ones is made anew."""
    store = WatchedStore()
    one, two = [await started(store) for _ in range(2)]
    for n in range(4):
        await one.write("data/a", {"data": {"n": n}})
    await two.write("config", {"max_versions": 2})
    await one.write("data/a", {"data": {"n": 4}})
    assert list((await one.read("metadata/a")).data["versions"]) == ["4", "5"]
    await two.write("config", {"cas_required": True})
    with pytest.raises(BadRequest, match="check-and-set parameter required"):
        await one.write("data/a", {"data": {}})
    await two.write("config", {"cas_required": False})
    assert (await one.write("data/a", {"data": {"n": 5}})).data["version"] == 6, "a refusal does not rest on old ones"
    await two.write("config", {"max_versions": 0})
    store.reads = 0
    await one.write("data/a", {"data": {"n": 6}})
    assert store.reads == 1 + 1, "it was found for the policy, and then both were read anew"
    store.reads = 0
    await one.write("data/a", {"data": {"n": 7}})
    assert store.reads == 1


async def test_what_was_found_for_the_policy_may_be_old_when_it_is_used():
    kv = await started()
    await kv.write("data/a", {"data": {"n": 1}})
    found = await kv.engine._ledger.find("a")
    await kv.write("data/a", {"data": {"n": 2}})
    seen: list[int] = []

    def change(config, secret):
        seen.append(secret.current)
        return add_version(secret, b'{"n":3}', now=1, config=config)

    assert (await kv.engine._ledger.change("a", change, found=found)).current == 3
    assert seen == [1, 2]
    assert (await kv.read("data/a", {"version": 2})).data["data"] == {"n": 2}


async def test_endless_conflicts_end():
    kv = await started()

    async def commit(*args, **kwargs):
        raise Conflict

    kv.store.commit = commit
    with pytest.raises(Conflict):
        await kv.write("data/a", {"data": {}})
    with pytest.raises(Conflict):
        await kv.write("config", {"max_versions": 1})


async def test_secrets_too_big_for_one_commit():
    kv = await started()
    for n in range(4):
        await kv.write("data/a", {"data": {"n": n, "x": str(n) * BIG}})
    for version in (1, 2, 3, 4):
        data = (await kv.read("data/a", {"version": version})).data["data"]
        assert data == {"n": version - 1, "x": str(version - 1) * BIG}
    await kv.delete("metadata/a")
    assert await kv.keys() == ["upgrade"]


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("kind", ["crash_at", "crash_after"])
async def test_a_crash_at_any_commit_of_a_big_write(kind, at):
    kv = await started()
    await kv.write("config", {"max_versions": 2})
    for n in (1, 2):
        await kv.write("data/a", {"data": {"n": n, "x": str(n) * BIG}})
    setattr(kv.store, kind, at)
    try:
        await kv.write("data/a", {"data": {"n": 3, "x": "3" * BIG}})
        crashed = False
    except Crash:
        crashed = True
    kv.store.crash_at = kv.store.crash_after = 0
    again = await started(kv.store)
    newest = (await again.read("data/a")).data
    assert newest["data"]["n"] in ((2, 3) if crashed else (3,))
    assert newest["data"]["x"] == str(newest["data"]["n"]) * BIG
    await again.write("data/a", {"data": {"n": 9}})
    older = newest["metadata"]["version"]
    assert (await again.read("data/a", {"version": older})).data == newest
    assert sorted(key.split("/")[-1] for key in await again.keys() if key.startswith("version/")) == [str(older)]
    assert not [key for key in await again.keys() if key.startswith("sweep/")]


async def many_versions(count: int) -> Harness:
    kv = await started()
    await kv.write("config", {"max_versions": 1000})
    for n in range(1, count + 1):
        await kv.write("data/a", {"data": {"n": n, "x": APART}})
    return kv


async def left(kv: Harness) -> list[str]:
    return [key for key in await kv.keys() if key.split("/")[0] in ("version", "sweep", "meta")]


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("kind", ["crash_at", "crash_after"])
async def test_deleting_many_versions_survives_a_crash_at_any_commit(kind, at):
    kv = await many_versions(150)
    setattr(kv.store, kind, at)
    crashed = False
    try:
        await kv.delete("metadata/a")
    except Crash:
        crashed = True
    kv.store.crash_at = kv.store.crash_after = 0
    if not crashed:
        assert await left(kv) == []
        return
    again = await started(kv.store)
    if (await again.http("GET", "data/a"))[0] == 200:
        assert len(await left(again)) == 150, "all of it or nothing"
        await again.delete("metadata/a")
    assert await left(again) == []


async def test_a_path_written_anew_never_shows_what_a_crash_left_behind():
    kv = await many_versions(150)
    kv.store.crash_after = 2
    with pytest.raises(Crash):
        await kv.delete("metadata/a")
    other = Harness(factory, options=V2, store=kv.store)
    with pytest.raises(NotFound):
        await other.read("data/a")
    for n in ("new 1", "new 2"):
        await other.write("data/a", {"data": {"n": n}})
    assert (await other.read("data/a", {"version": 1})).data["data"] == {"n": "new 1"}
    assert len(await left(other)) == 1, "the first change of a process sweeps"


async def test_lowering_max_versions_prunes_many_at_once():
    kv = await many_versions(150)
    await kv.write("config", {"max_versions": 3})
    assert len(await left(kv)) == 150
    await kv.write("data/a", {"data": {"n": 151}})
    assert len(await left(kv)) == 3
    assert list((await kv.read("metadata/a")).data["versions"]) == ["149", "150", "151"]
    with pytest.raises(NotFound):
        await kv.read("data/a", {"version": 148})


async def test_destroying_many_versions_at_once():
    kv = await many_versions(150)
    await kv.write("destroy/a", {"versions": list(range(1, 140))})
    assert len(await left(kv)) == 150 - 139
    assert (await kv.read("data/a", {"version": 140})).data["data"]["n"] == 140


async def test_a_sweep_spares_what_lives():
    kv = await many_versions(3)
    living = [key for key in await kv.keys() if key.startswith("version/")]
    secret_id = living[0].split("/")[1]
    note = f'["a","{secret_id}",[1,2,3]]'.encode()
    await kv.mount.storage.commit([Write("sweep/0", note)])
    again = await started(kv.store)
    assert [key for key in await again.keys() if key.startswith("version/")] == living
    assert not [key for key in await again.keys() if key.startswith("sweep/")]


async def test_a_failing_store_changes_nothing():
    kv = await started()
    await kv.write("data/a", {"data": {"n": 1}})
    before = await kv.store.dump()
    for path, body in (("data/a", {"data": {}}), ("destroy/a", {"versions": [1]}), ("metadata/a", {"max_versions": 1})):
        kv.store.fail_at = 1
        with pytest.raises(StorageFailed):
            await kv.write(path, body)
    assert await kv.store.dump() == before


async def test_a_full_secret_can_still_be_deleted_and_destroyed():
    fits, limit = 0, 1024 * 1024
    too_big = limit
    while too_big - fits > 1:  # find the very largest secret that is taken
        size = (fits + too_big) // 2
        kv = await started()
        try:
            await kv.write("data/a", {"data": {"x": "x" * size}})
            fits = size
        except BadRequest as error:
            assert "too large" in str(error)
            too_big = size
    assert fits > limit - 4096
    kv = await started()
    await kv.write("data/a", {"data": {"x": "x" * fits}})
    for step in ("delete", "undelete", "delete", "destroy"):
        await kv.write(f"{step}/a", {"versions": [1]})
        for key in await kv.keys():
            assert len((await kv.store.inner.get(PREFIX + key)).value) <= limit


async def test_reading_an_older_version_while_it_goes():
    """Between the two reads of an older version, it is destroyed: the answer is one of before or one of after."""
    kv = await started()
    for n in (1, 2):
        await kv.write("data/a", {"data": {"n": n, "x": APART}})
    get, destroyed = kv.store.get, False

    async def get_slowly(key: str):
        nonlocal destroyed
        if "/version/" in key and not destroyed:
            destroyed = True
            await kv.write("destroy/a", {"versions": [1]})
        return await get(key)

    kv.store.get = get_slowly
    status, body = await kv.http("GET", "data/a?version=1")
    assert (status, body["data"]["metadata"]["destroyed"]) == (404, True)


@pytest.mark.parametrize("point", range(12))
async def test_a_request_dropped_at_any_point_leaves_a_whole_secret(point):
    """The client goes away: the coroutine is closed at its n-th wait (OpenBao GH-560)."""
    kv = await started(WatchedStore(interleave=True))
    await kv.write("data/a", {"data": {"n": 1}})
    coroutine = kv.write("data/a", {"data": {"n": 2}})
    try:
        for _ in range(point):
            coroutine.send(None)
    except StopIteration:
        pass
    coroutine.close()
    newest = (await kv.read("data/a")).data
    assert newest["data"] == {"n": newest["metadata"]["version"]}
    await kv.write("data/a", {"data": {"n": 3}})
    before = (await kv.read("data/a", {"version": newest["metadata"]["version"]})).data
    assert before == newest
