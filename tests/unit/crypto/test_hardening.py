"""Hardening is checked in processes of its own: it cannot be undone in this one."""

import json
import os
import select
import signal
import subprocess
import sys
from typing import Any

import pytest

from strongroom.crypto import hardening
from strongroom.errors import VaultError

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def in_child(code: str) -> Any:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(run.stdout)


@linux
def test_a_hardened_process() -> None:
    got = in_child(
        "import json, msgspec, resource\n"
        "from strongroom.crypto import hardening as h\n"
        "before = h._prctl_value(h._PR_GET_DUMPABLE)\n"
        "report = h.harden_process()\n"
        "print(json.dumps([before, h._prctl_value(h._PR_GET_DUMPABLE), resource.getrlimit(resource.RLIMIT_CORE),"
        " msgspec.to_builtins(report)]))"
    )
    assert got[:3] == [1, 0, [0, 0]]
    assert got[3]["undumpable"] and got[3]["no_core"]
    assert not got[3]["warnings"] or got[3]["swap_in_use"]


@linux
def test_locking_everything_says_whether_it_did() -> None:
    got = in_child(
        "import json\n"
        "from strongroom.crypto import hardening as h\n"
        "r = h.harden_process(lock_all=True)\n"
        "held = [l.split()[1] for l in open('/proc/self/status') if l.startswith('VmLck')]\n"
        "print(json.dumps([r.all_locked, int(held[0]), len(r.warnings)]))"
    )
    assert got[0] == (got[1] > 0) == (not got[2])


@linux
def test_a_child_dies_with_its_parent() -> None:
    end, held = os.pipe()
    child = (
        "import os, time\nfrom strongroom.crypto.hardening import die_with_parent\n"
        "print(die_with_parent(os.getppid()), flush=True)\ntime.sleep(60)"
    )
    start = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], pass_fds=[{held}])\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], pass_fds=[held], stdout=subprocess.PIPE, text=True)
    os.close(held)
    try:
        assert parent.stdout is not None and parent.stdout.readline() == "True\n"
        assert not select.select([end], [], [], 0)[0]  # the child lives and holds the pipe
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        assert select.select([end], [], [], 10)[0] and os.read(end, 1) == b""
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        os.close(end)


@linux
def test_a_parent_that_is_gone_already_ends_the_child() -> None:
    code = "from strongroom.crypto.hardening import die_with_parent as d; d(2**22 - 1); print('alive')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert run.returncode == -signal.SIGKILL and run.stdout == ""


def test_swap_without_locking_is_a_warning_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardening, "_prctl_value", lambda option, value=0: 0)
    monkeypatch.setattr(hardening, "_forbid_core", lambda: True)
    monkeypatch.setattr(hardening, "_lock_all", lambda: False)
    monkeypatch.setattr(hardening, "swap_in_use", lambda: False)
    assert hardening.harden_process(strict=True).warnings == ()
    monkeypatch.setattr(hardening, "swap_in_use", lambda: True)
    assert "swap" in hardening.harden_process().warnings[0]
    with pytest.raises(VaultError, match="swap"):
        hardening.harden_process(strict=True)
    monkeypatch.setattr(hardening, "_lock_all", lambda: True)
    assert hardening.harden_process(strict=True).all_locked


def test_elsewhere_it_degrades_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardening.sys, "platform", "darwin")
    monkeypatch.setattr(hardening, "_forbid_core", lambda: True)
    report = hardening.harden_process()
    assert not report.undumpable and "PR_SET_DUMPABLE" in report.warnings[0]
    assert hardening.die_with_parent() is False


@pytest.mark.parametrize(("limit", "held", "may"), [(-1, "0", True), (8 << 20, "0", False), (8 << 20, "4000", True)])
def test_locking_is_tried_only_without_a_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, limit: int, held: str, may: bool
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{held}\n")
    monkeypatch.setattr(hardening.resource, "getrlimit", lambda what: (limit, limit))
    real = open
    monkeypatch.setattr(hardening, "open", lambda path, **kw: real(status, **kw), raising=False)
    assert hardening._may_lock_everything() is may
