"""The spool: its file is locked before anybody sees it, keeps order over being made anew, and is taken over once."""

import os
from pathlib import Path

import pytest

from strongroom.audit import spool as module
from strongroom.audit.spool import Spool, left_behind
from strongroom.errors import AuditFailed


@pytest.fixture
def folder(tmp_path: Path) -> int:
    return os.open(tmp_path, os.O_RDONLY)


def test_a_new_spool_is_never_seen_without_its_lock(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another opener looks for what was left behind at the worst moments: before the lock, and before the name."""
    seen: list[Spool] = []

    def looking(name: str) -> None:
        original = getattr(module.os, name) if name == "rename" else getattr(module.fcntl, name)
        owner = module.os if name == "rename" else module.fcntl

        def first(*args: object, **kwargs: object) -> object:
            monkeypatch.setattr(owner, name, original)
            seen.extend(left_behind(folder, f"of-{name}"))
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, first)

    for name in ("flock", "rename"):
        looking(name)
        mine = Spool(folder, f"of-{name}")
        assert seen == []
        mine.put([b"{}\n"], keep_room=False)
        mine.close()
        assert len(left_behind(folder, f"of-{name}")) == 1, "control: what was closed with lines in it is found"


def test_lines_keep_their_numbers_when_the_file_is_made_anew(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMPACT", 100)
    spool = Spool(folder, "s")
    got: list[int] = []
    for n in range(60):
        spool.put([b'{"n":%d}\n' % (2 * n + 1), b'{"n":%d}\n' % (2 * n + 2)], keep_room=False)
        if n % 2:
            got += [waiting.number for waiting in spool.batch(40)]
            spool.handed_on()
    while spool.waiting:
        got += [waiting.number for waiting in spool.batch(40)]
        spool.handed_on()
    assert got == list(range(1, 121))
    spool.close()
    assert os.listdir(folder) == []


def test_a_request_leaves_room_for_its_response(folder: int) -> None:
    spool = Spool(folder, "s", limit=8192)
    line = b'"' + b"x" * 1500 + b'"\n'
    spool.put([line], keep_room=True)
    spool.put([line], keep_room=True)
    with pytest.raises(AuditFailed):
        spool.put([line], keep_room=True)
    spool.put([line], keep_room=False)
    spool.close()
