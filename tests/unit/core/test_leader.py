"""One leads, and who led before cannot write any more."""

import asyncio
from typing import Any

import pytest

from strongroom.core import layout
from strongroom.core.leader import BEAT, Fenced, Leader, NotLeading
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore
from vault_world import Clock, World


class Plain(MemoryStore):
    """A store in the place of the barrier."""

    async def get_sealed(self, key: str):
        return await self.get(key)


async def test_the_lead_is_kept_without_writing_and_renewed_in_time():
    store, clock = Plain(), Clock()
    leader = Leader(store, "a", clock)
    fence = await leader.hold()
    beat = await store.get(layout.LEADER_BEAT)
    clock.tick(BEAT / 2 - 1)
    assert await leader.hold() == fence and await store.get(layout.LEADER_BEAT) == beat
    clock.tick(2)
    assert await leader.hold() == fence and await store.get(layout.LEADER_BEAT) != beat


async def test_another_node_waits_until_the_beat_has_run_out():
    store, clock = Plain(), Clock()
    one, two = Leader(store, "a", clock), Leader(store, "b", clock)
    first = await one.hold()
    assert not await two.free() and await one.free()
    with pytest.raises(NotLeading):
        await two.hold()
    clock.tick(BEAT)
    assert await two.free() and await two.hold() > first
    with pytest.raises(NotLeading):
        await one.hold()


async def test_another_process_of_the_same_node_takes_over_at_once():
    store, clock = Plain(), Clock()
    one, two = Leader(store, "a", clock), Leader(store, "a", clock)
    first = await one.hold()
    second = await two.hold()
    assert second > first
    with pytest.raises(NotLeading):
        await Fenced(store, one).commit([Write("x", b"1")])
    assert await store.get("x") is None
    await Fenced(store, one).commit([Write("x", b"1")])  # it looked again, and is of the same node
    assert await store.get("x") is not None


async def test_a_paused_leader_cannot_write():
    store, clock = Plain(), Clock()
    paused_clock = Clock(clock())
    paused = Leader(store, "a", paused_clock)
    await Fenced(store, paused).commit([Write("x", b"1")])
    clock.tick(BEAT)
    await Fenced(store, Leader(store, "b", clock)).commit([Write("x", b"2")])
    with pytest.raises(NotLeading):  # its clock stood still too: it still believes that it leads
        await Fenced(store, paused).commit([Write("x", b"3")])
    stored = await store.get("x")
    assert stored is not None and stored.value == b"2"


async def test_work_side_by_side_in_one_process_does_not_take_the_lead_from_itself():
    class Slow(Plain):
        async def commit(self, writes: Any, *, expect: Any = {}) -> None:
            await asyncio.sleep(0)
            await super().commit(writes, expect=expect)

    store, clock = Slow(), Clock()
    fenced = Fenced(store, Leader(store, "a", clock))
    for _ in range(3):
        await asyncio.gather(*(fenced.commit([Write(f"x{n}", b"1")]) for n in range(10)))
        clock.tick(BEAT * 0.6)  # a renewal, then one that ran out
        await asyncio.gather(*(fenced.commit([Write(f"x{n}", b"2")]) for n in range(10)))
        clock.tick(BEAT * 2)


async def test_of_many_at_once_one_leads():
    store, clock = Plain(), Clock()
    leaders = [Leader(store, f"n{n}", clock) for n in range(20)]
    led = 0
    for leader in leaders:
        try:
            await leader.hold()
            led += 1
        except NotLeading:
            continue
    assert led == 1


async def test_a_clock_that_was_set_back_does_not_make_a_lead_last_for_ever():
    store, clock = Plain(), Clock()
    leader = Leader(store, "a", clock)
    await leader.hold()
    clock.tick(-100_000)
    await leader.hold()
    other = Leader(store, "b", clock)
    clock.tick(BEAT)
    assert await other.free()


async def test_an_idle_vault_takes_no_lead_and_a_busy_one_does():
    world = await World.unsealed()
    assert await world.core.tidy() == 0
    assert await world.core.barrier.get(layout.LEADER) is None  # type: ignore[union-attr]
    await world.token(policies=["a"], ttl=60)
    world.clock.tick(61)
    assert await world.core.tidy() == 1
    assert await world.core.barrier.get(layout.LEADER) is not None  # type: ignore[union-attr]


async def test_a_node_that_does_not_lead_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    world = await World.unsealed()
    other = await world.other()
    monkeypatch.setattr(other.space.parts.leader, "_node", "elsewhere")
    for _ in range(2):
        await world.token(policies=["a"], ttl=60)
    world.clock.tick(61)
    await world.space.parts.leader.hold()
    assert await other.core.tidy() == 0
    assert await world.core.tidy() == 2
