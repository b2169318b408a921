"""What a process that will hold keys does first: no core dump, no reading by its own user, no swap.

Everything here is best effort and reports what it could not do. Off Linux nothing but the core limit is available.
Sources: prctl(2), mlockall(2), getrlimit(2), proc(5).
"""

import ctypes
import os
import resource
import signal
import sys

import msgspec

from strongroom.errors import VaultError

_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14  # capabilities(7)


class HardeningReport(msgspec.Struct, frozen=True):
    """What holds now. ``warnings`` are sentences for the operator, empty if all is well."""

    undumpable: bool  # other processes of this user cannot read our memory
    no_core: bool
    all_locked: bool  # no page of the process can be swapped (keys have locked pages in any case)
    swap_in_use: bool
    warnings: tuple[str, ...] = ()


def harden_process(strict: bool = False, *, lock_all: bool | None = None) -> HardeningReport:
    """Shut this process against dumps, debuggers of the same user, and swap. Call before any key is read.

    Args:
        strict: raise instead of warning.
        lock_all: lock every page, also of files mapped later (a database in mapped files then stays in memory once
            read). None: only if swap is in use. Tried only where no limit could make later allocations fail.

    Raises:
        VaultError: ``strict`` and something is not in place.
    """
    warnings = []
    undumpable = _prctl(_PR_SET_DUMPABLE, 0) and _prctl_value(_PR_GET_DUMPABLE) == 0
    if not undumpable:
        warnings.append("processes of the same user can read this one's memory (PR_SET_DUMPABLE is not available)")
    no_core = _forbid_core()
    if not no_core:
        warnings.append("core dumps could not be turned off")
    swap = swap_in_use()
    wanted = swap if lock_all is None else lock_all
    locked = wanted and _lock_all()
    if swap and not locked:
        warnings.append(
            "swap is in use and memory could not be locked: only keys are kept out of it "
            "(turn swap off, or allow locking with LimitMEMLOCK=infinity)"
        )
    elif wanted and not locked:
        warnings.append("memory could not be locked: only keys have locked pages")
    if strict and warnings:
        raise VaultError(*warnings)
    return HardeningReport(undumpable, no_core, locked, swap, tuple(warnings))


def die_with_parent(parent: int | None = None, signum: int = signal.SIGKILL) -> bool:
    """Ask the kernel to send ``signum`` to this process when the thread that started it ends.

    Args:
        parent: the pid the parent had when it started us; if it is gone already, ``signum`` is sent at once.

    Returns:
        whether the kernel will (False off Linux: watch a pipe instead).
    """
    armed = _prctl(_PR_SET_PDEATHSIG, int(signum))
    if parent is not None and os.getppid() != parent:  # it ended before the call above
        os.kill(os.getpid(), signum)
    return armed


def swap_in_use() -> bool:
    """Whether the system has a swap area (False where that cannot be told)."""
    try:
        with open("/proc/swaps", encoding="utf-8") as table:
            return len(table.readlines()) > 1
    except OSError:
        return False


def _forbid_core() -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        return False
    return resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def _lock_all() -> bool:
    if sys.platform != "linux" or not _may_lock_everything():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def _may_lock_everything() -> bool:
    """Under a limit MCL_FUTURE would make some later allocation fail, so only without one."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            held = next((line.split()[1] for line in status if line.startswith("CapEff:")), "0")
    except OSError:
        return False
    return bool(int(held, 16) >> _CAP_IPC_LOCK & 1)


def _prctl(option: int, value: int) -> bool:
    return _prctl_value(option, value) == 0


def _prctl_value(option: int, value: int = 0) -> int:
    if sys.platform != "linux":
        return -1
    zero = ctypes.c_ulong(0)
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), zero, zero, zero))
