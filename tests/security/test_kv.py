"""Threats that touch the key/value engines and the cubbyhole. Each test has a positive control."""

import asyncio
import contextlib
import logging

import pytest

from engine_harness import ALICE, BOB, Harness, WatchedStore
from strongroom.engines.cubbyhole import Cubbyhole
from strongroom.engines.kv import factory
from strongroom.errors import BadRequest, NotFound, VaultError
from strongroom.sdk.request import Op

NEEDLE = "c4n4ry-5ecret"
ODD_PATHS = ["..\\x", "a/../../b", "a\x00b", "CON", "a%2fb", "é", "e\u0301", "a" * 4096, "{x}", "a b", "*", "+", "~"]


async def v2(**more) -> Harness:
    return await Harness(factory, options={"version": "2"}, **more).start()


async def test_sec_cve_2023_28433_path_is_a_name_and_nothing_else():
    """The engine never interprets a path: what gets past the door is kept apart under its own prefix, or refused."""
    for kv, at in ((await v2(), "data/"), (Harness(factory, options={"version": "1"}), "")):
        await kv.write(at + "b", {"data": {"n": "control"}})
        kept = 0
        for path in ODD_PATHS:
            try:
                await kv.write(at + path, {"data": {"n": path}})
            except BadRequest:
                continue
            kept += 1
            assert (await kv.read(at + path)).data["data"] == {"n": path}
        assert kept > 5, "control: names that are only odd are kept"
        assert all(key.startswith(("meta/", "v1/", "upgrade")) for key in await kv.keys())
        control = (await kv.read(at + "b")).data["data"]
        assert control == {"n": "control"}


async def test_sec_cve_2026_3605_delete_reaches_one_path_only():
    kv = await v2()
    for path in ("mine", "mine/a", "mine-too", "other"):
        await kv.write("data/" + path, {"data": {"n": path}})
    for path in ("mine/../other", "mine/", "min", "mine/a/", "*"):
        with contextlib.suppress(VaultError):
            await kv.delete("metadata/" + path)
    assert await kv.scan("metadata") == ["mine", "mine-too", "mine/a", "other"]
    await kv.delete("metadata/mine")
    assert await kv.scan("metadata") == ["mine-too", "mine/a", "other"]


async def test_sec_cve_2021_42135_reading_has_no_side_effect():
    kv = await v2()
    for n in range(12):
        await kv.write("data/a", {"data": {"n": n}})
    kv.store.commits = 0
    targets = ("data/a", "data/a?version=3", "data/a?version=1", "metadata/a", "subkeys/a", "config", "data/none", "x")
    for target in targets:
        await kv.http("GET", target)
    for method in ("LIST", "SCAN"):
        await kv.http(method, "metadata")
        await kv.http(method, "detailed-metadata")
    assert kv.store.commits == 0
    await kv.http("POST", "data/a", {"data": {}})
    assert kv.store.commits == 1, "control: the counter counts"


async def test_sec_cve_2024_8185_an_entry_over_1_mib_is_refused_before_the_store():
    for path in ("data/a", "metadata/a"):
        kv = await v2()
        commits = kv.store.commits
        with pytest.raises(BadRequest):
            await kv.write(path, {"data": {"x": "y" * 1_100_000}, "custom_metadata": {"x": "y" * 1_100_000}})
        assert kv.store.commits == commits
    await kv.write("data/a", {"data": {"x": "y" * 1_000_000}})
    assert kv.store.commits == commits + 1, "control: one just below is taken"


async def test_sec_gh_560_a_cancelled_write_leaves_whole_versions():
    kv = await v2(store=WatchedStore(interleave=True))
    await kv.write("data/a", {"data": {"n": 1}})
    cut = 0
    for waits in range(12):
        before = (await kv.read("data/a")).data
        task = asyncio.ensure_future(kv.write("data/a", {"data": {"n": before["metadata"]["version"] + 1}}))
        for _ in range(waits):
            await asyncio.sleep(0)
        cut += task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        after = (await kv.read("data/a")).data
        assert after["data"]["n"] == after["metadata"]["version"]
        for version in range(max(1, after["metadata"]["version"] - 5), after["metadata"]["version"]):
            assert (await kv.read("data/a", {"version": version})).data["data"] == {"n": version}
    assert cut >= 3, "control: some writes were cut short"


async def test_sec_gh_3551_a_patch_drops_no_field():
    kv = await v2()
    body = {"max_versions": 7, "cas_required": True, "delete_version_after": "9h", "custom_metadata": {"k": "v"}}
    await kv.write("metadata/a", body)
    await kv.write("data/a", {"data": {"x": 1, "y": {"z": 2}}, "options": {"cas": 0}})
    before = (await kv.read("metadata/a")).data
    await kv.patch("data/a", {"data": {"y": {"w": 3}}, "options": {"cas": 1}})
    after = (await kv.read("metadata/a")).data
    kept = ("max_versions", "cas_required", "delete_version_after", "custom_metadata", "created_time", "oldest_version")
    assert [after[field] for field in kept] == [before[field] for field in kept]
    assert (await kv.read("data/a")).data["data"] == {"x": 1, "y": {"z": 2, "w": 3}}
    assert after["current_version"] == 2, "control: the patch did something"


async def test_sec_ghsa_7m59_an_expired_version_is_gone_at_use():
    kv = await v2()
    await kv.write("config", {"delete_version_after": "2s"})
    await kv.write("data/a", {"data": {"x": NEEDLE}})
    assert (await kv.read("data/a")).data["data"] == {"x": NEEDLE}, "control: it is there before"
    kv.clock.tick(3)
    for target in ("data/a", "data/a?version=1", "subkeys/a"):
        status, body = await kv.http("GET", target)
        assert status == 404
        assert NEEDLE not in str(body)
    assert (await kv.http("PATCH", "data/a", {"data": {}}))[0] == 404


async def test_sec_destroyed_pruned_and_removed_data_leaves_the_store():
    kv = await v2()
    await kv.write("config", {"max_versions": 2})
    for n in range(4):
        await kv.write("data/a", {"data": {"x": f"{NEEDLE}-{n}"}})
    assert f"{NEEDLE}-3".encode() in await kv.store.dump(), "control: the dump shows what is kept"
    dump = await kv.store.dump()
    assert [n for n in range(4) if f"{NEEDLE}-{n}".encode() in dump] == [2, 3]
    await kv.write("destroy/a", {"versions": [3, 4]})
    assert NEEDLE.encode() not in await kv.store.dump()
    await kv.write("data/b", {"data": {"x": NEEDLE}})
    await kv.delete("metadata/b")
    assert NEEDLE.encode() not in await kv.store.dump()


async def test_sec_a_cubbyhole_answers_only_its_token():
    hole = Harness(Cubbyhole, path="cubbyhole/", kind="cubbyhole")
    await hole.write("response", {"x": NEEDLE}, caller=ALICE)
    for path in ("response", "alice/response", "../alice/response"):
        with pytest.raises(NotFound) as caught:
            await hole.read(path, caller=BOB)
        assert caught.value.messages == ()
    assert await hole.list(caller=BOB) == await hole.list("alice", caller=BOB) == []
    for op in (Op.UPDATE, Op.DELETE):
        await hole.call(op, "response", {"x": "bob's"}, caller=BOB)
    assert (await hole.read("response", caller=ALICE)).data == {"x": NEEDLE}, "control: its holder still has it"


async def test_sec_no_secret_in_errors_or_logs(caplog):
    caplog.set_level(logging.DEBUG)
    kv = await v2()
    await kv.write("data/a", {"data": {"x": NEEDLE}})
    bodies = [
        {"data": NEEDLE}, {"data": {"x": NEEDLE}, "options": {"cas": NEEDLE}}, {"data": [NEEDLE]},
        {"data": {NEEDLE: float("nan")}}, {"data": {"x": NEEDLE}, "options": NEEDLE}, {"data": {"x": {NEEDLE: b""}}},
        {"data": {"x": NEEDLE * 100_000}}, {"data": {"x": NEEDLE}, "version": NEEDLE},
    ]  # fmt: skip
    refused = 0
    for body in bodies:
        for op in (Op.UPDATE, Op.PATCH):
            with pytest.raises(VaultError) as caught:
                await kv.call(op, "data/a", body)
            refused += 1
            assert caught.value.status == 400
            assert NEEDLE not in f"{caught.value} {caught.value!r}"
    assert refused == 2 * len(bodies)
    assert NEEDLE not in caplog.text
    assert NEEDLE in str((await kv.read("data/a")).data), "control: the answer itself has it"
