"""What sys/host-info tells of the machine: processors, disks, memory. Read from /proc; what is not there is empty."""

import os
import platform
from typing import Any

_TICKS = ("user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guestNice")
_ORDER = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guestNice")  # proc(5)
_REAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "f2fs", "apfs")
_MAX_DISKS = 64
_MEMORY = (  # proc_meminfo(5); those that Linux does not have are 0
    "Active", "Inactive", "Wired", "Laundry", "Buffers", "Cached", "Writeback", "Dirty", "WritebackTmp", "Shmem",
    "Slab", "SReclaimable", "SUnreclaim", "PageTables", "SwapCached", "CommitLimit", "Committed_AS", "HighTotal",
    "HighFree", "LowTotal", "LowFree", "SwapTotal", "SwapFree", "Mapped", "VmallocTotal", "VmallocUsed",
    "VmallocChunk", "HugePages_Total", "HugePages_Free", "Hugepagesize",
)  # fmt: skip


def host_info(now: float) -> dict[str, Any]:
    """The parts that sys/host-info shows, in its field names.

    Args:
        now: seconds since the Unix epoch, for the uptime.
    """
    return {"cpu": _cpus(), "cpu_times": _cpu_times(), "disk": _disks(), "host": _host(now), "memory": _memory()}


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _cpus() -> list[dict[str, Any]]:
    found: list[dict[str, str]] = []
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "processor":
            found.append({})
        if found:
            found[-1][name.strip()] = value.strip()
    if not found:
        found = [{} for _ in range(os.cpu_count() or 1)]
    return [
        {
            "cpu": index,
            "vendorId": cpu.get("vendor_id", ""),
            "family": cpu.get("cpu family", ""),
            "model": cpu.get("model", ""),
            "stepping": _number(cpu.get("stepping", "")),
            "physicalId": cpu.get("physical id", ""),
            "coreId": cpu.get("core id", ""),
            "cores": 1,
            "modelName": cpu.get("model name", ""),
            "mhz": _number(cpu.get("cpu MHz", "")),
            "cacheSize": _number(cpu.get("cache size", "").split(" ")[0]),
            "flags": cpu.get("flags", "").split(),
            "microcode": cpu.get("microcode", ""),
        }
        for index, cpu in enumerate(found)
    ]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0


def _cpu_times() -> list[dict[str, Any]]:
    rows = []
    hertz = os.sysconf("SC_CLK_TCK")
    for line in _lines("/proc/stat"):
        name, *ticks = line.split()
        if not name.startswith("cpu") or name == "cpu":
            continue
        spent = dict(zip(_ORDER, (int(tick) / hertz for tick in ticks), strict=False))
        rows.append({"cpu": name, **{kind: spent.get(kind, 0) for kind in _TICKS}})
    return rows


def _disks() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    places = [line.split()[1:3] for line in _lines("/proc/mounts") if len(line.split()) > 2] or [["/", ""]]
    for path, kind in places:
        if len(rows) >= _MAX_DISKS or (kind and kind not in _REAL):
            continue
        try:
            disk = os.statvfs(path)
        except OSError:
            continue
        total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        inodes = disk.f_files - disk.f_ffree
        rows.append(
            {
                "path": path,
                "fstype": kind,
                "total": total,
                "free": free,
                "used": used,
                "usedPercent": 100 * used / (used + free) if used + free else 0,
                "inodesTotal": disk.f_files,
                "inodesUsed": inodes,
                "inodesFree": disk.f_ffree,
                "inodesUsedPercent": 100 * inodes / disk.f_files if disk.f_files else 0,
            }
        )
    return rows


def _host(now: float) -> dict[str, Any]:
    uptime = next((_number(line.split()[0]) for line in _lines("/proc/uptime")), 0)
    release = dict(line.partition("=")[::2] for line in _lines("/etc/os-release"))
    return {
        "hostname": platform.node(),
        "uptime": int(uptime),
        "bootTime": int(now - uptime),
        "procs": sum(name.isdigit() for name in os.listdir("/proc")) if os.path.isdir("/proc") else 0,
        "os": platform.system().lower(),
        "platform": release.get("ID", platform.system().lower()).strip('"'),
        "platformFamily": release.get("ID_LIKE", release.get("ID", "")).strip('"'),
        "platformVersion": release.get("VERSION_ID", "").strip('"'),
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
        "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostid": "",
    }


def _memory() -> dict[str, Any]:
    rows = dict(line.split(":", 1) for line in _lines("/proc/meminfo") if ":" in line)
    sizes = {name: int(text.split()[0]) * 1024 for name, text in rows.items() if text.split()[:1]}
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    used = total - available
    data: dict[str, Any] = {
        "total": total,
        "available": available,
        "used": used,
        "usedPercent": 100 * used / total if total else 0,
        "free": sizes.get("MemFree", 0),
    }
    return data | {
        "shared" if name == "Shmem" else name.lower().replace("_", ""): sizes.get(name, 0) for name in _MEMORY
    }
