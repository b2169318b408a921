"""The memory store's order of keys, and its options."""

import random

import pytest

from strongroom.errors import BadRequest, StorageFailed
from strongroom.storage import memory


def test_sorted_keys_against_a_list() -> None:
    chance, keys, plain = random.Random(1), memory.SortedKeys(), set()
    for _ in range(6000):
        key = f"{chance.randrange(5000):04}"
        if key in plain:
            keys.remove(key)
            plain.remove(key)
        else:
            keys.add(key)
            plain.add(key)
        if chance.random() < 0.02:
            low, equal = f"{chance.randrange(5200):04}", chance.random() < 0.5
            assert list(keys.above(low, equal=equal)) == sorted(k for k in plain if k > low or (equal and k == low))
    assert max(len(block) for block in keys._blocks) <= 2 * memory._LOAD
    for key in list(plain):
        keys.remove(key)
    assert list(keys.above("")) == []


async def test_closed() -> None:
    store = memory.open_store({})
    await store.close()
    for work in (store.get("a"), store.get_many(["a"]), store.list(""), store.scan(""), store.commit([])):
        with pytest.raises(StorageFailed, match="closed"):
            await work


def test_options() -> None:
    with pytest.raises(BadRequest, match="path"):
        memory.open_store({"path": "x"})
