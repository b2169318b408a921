"""Locked memory: protected, wiped, and never shown."""

import copy
import gc
import logging
import mmap
import os
import pickle
import sys

import pytest

from strongroom.crypto import memory
from strongroom.crypto.memory import LockedArena, SecretBytes, wipe

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def secret(text: bytes = b"canary-canary-canary") -> SecretBytes:
    return SecretBytes.take_over(bytearray(text))


def test_take_over_wipes_its_source() -> None:
    source = bytearray(b"canary")
    kept = SecretBytes.take_over(source)
    assert bytes(kept.view()) == b"canary" and source == bytes(6)


def test_close_wipes_the_pages_and_is_safe_twice() -> None:
    kept = secret()
    view = kept.view()
    kept.close()
    kept.close()
    assert bytes(view) == bytes(20) and kept.closed and len(kept) == 0
    with pytest.raises(ValueError):
        kept.view()


def test_dropping_the_last_reference_wipes() -> None:
    kept = secret()
    view = kept.view()
    del kept
    gc.collect()
    assert bytes(view) == bytes(20)


def test_slots_come_back_clean_and_do_not_overlap() -> None:
    arena = LockedArena()
    many = [SecretBytes(size, arena=arena) for size in (1, 32, 33, 64) for _ in range(40)]
    for number, one in enumerate(many):
        one.view()[:] = bytes([number % 251]) * len(one)
    assert all(set(one.view()) == {number % 251} for number, one in enumerate(many))
    for one in many:
        one.close()
    assert not any(any(SecretBytes(64, arena=arena).view()) for _ in range(200))


def test_large_secrets_have_pages_of_their_own() -> None:
    size = 3 * mmap.PAGESIZE + 5
    kept = SecretBytes(size)
    kept.view()[:] = b"x" * size
    view = kept.view()
    kept.close()
    assert not any(view)


def test_it_prints_compares_and_copies_like_a_secret() -> None:
    one, same, other = secret(), secret(), secret(b"something else")
    assert "canary" not in f"{one!r} {one} {one!s}"
    assert one == same and one != other and one != b"canary-canary-canary"
    assert one.copy() == one
    for refused in (lambda: pickle.dumps(one), lambda: copy.copy(one), lambda: copy.deepcopy(one), lambda: hash(one)):
        with pytest.raises(TypeError):
            refused()
    with pytest.raises(ValueError):
        SecretBytes(0)


def test_wipe() -> None:
    buffer = bytearray(b"abc")
    wipe(buffer)
    assert buffer == bytes(3)


@linux
def test_pages_are_locked_undumpable_and_wiped_on_fork() -> None:
    kept = secret()
    address = memory._address(kept.view())
    flags = ""
    with open("/proc/self/smaps") as maps:
        inside = False
        for line in maps:
            if "-" in line.split()[0]:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                inside = start <= address < end
            elif inside and line.startswith("VmFlags"):
                flags = line
    assert memory.ARENA.locked
    assert {"lo", "dd", "wf"} <= set(flags.split())


@linux
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # a fork is what is tested
def test_a_forked_child_sees_zeros() -> None:
    kept = secret()
    child = os.fork()
    if child == 0:
        os._exit(0 if not any(kept.view()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert any(kept.view())


def test_elsewhere_it_works_and_warns_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with caplog.at_level(logging.WARNING):
        arena = LockedArena()
        kept = [SecretBytes(5000, arena=arena), SecretBytes(32, arena=arena)]
    assert len(caplog.records) == 1 and "MADV_DONTDUMP" in caplog.text
    assert [len(one) for one in kept] == [5000, 32]


def test_failing_to_lock_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PROTECTIONS", (("mlock", lambda pages, size: False),))
    arena = LockedArena()
    assert len(SecretBytes(32, arena=arena)) == 32
    assert arena.locked is False and LockedArena().locked is True
