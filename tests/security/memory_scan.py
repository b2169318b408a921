"""Looks for secrets in the memory of other processes (Linux, root)."""

import base64
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from strongroom.core.keyring import Keyring
from strongroom.core.layout import KEYRING, SEAL_KEYRING_KEY
from strongroom.core.seal import open_root, read_seal
from strongroom.core.shares import ShareBox, parse_share
from strongroom.crypto import aead
from strongroom.storage.completion import drive
from strongroom.storage.lmdb import open_store

_PIECE = 1 << 22  # bytes read at once; pieces overlap by the longest needle
allowed = hasattr(os, "geteuid") and os.geteuid() == 0 and os.path.exists("/proc/self/mem")


def regions(pid: int) -> Iterator[tuple[int, int]]:
    """The readable mappings of a process, the kernel's own excepted."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            fields = line.split(maxsplit=5)
            if fields[1].startswith("r") and not (len(fields) > 5 and fields[5].startswith(("[vv", "[vs"))):
                low, high = fields[0].split("-")
                yield int(low, 16), int(high, 16)


def held(pid: int, needles: Mapping[str, bytes]) -> set[str]:
    """The names of the needles that lie in the memory of ``pid``; none if it has ended."""
    found: set[str] = set()
    overlap = max(map(len, needles.values()))
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        places = list(regions(pid))
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for low, high in places:
                for start in range(low, high, _PIECE):
                    try:
                        memory.seek(start)
                        chunk = memory.read(min(_PIECE + overlap, high - start))
                    except (OSError, ValueError, OverflowError):
                        continue
                    found |= {name for name, needle in needles.items() if needle in chunk}
    return found


def held_by(pids: Iterable[int], needles: Mapping[str, bytes]) -> set[str]:
    return {name for pid in pids for name in held(pid, needles)}


def descendants(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    out = [pid]
    for at in out:
        for task in Path(f"/proc/{at}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                out += [int(child) for child in task.read_text().split()]
    return out


def share_needles(shares: Iterable[str], what: str) -> dict[str, bytes]:
    """Each share as bytes, in hex and in base64."""
    out = {}
    for number, share in enumerate(shares):
        raw = bytes.fromhex(share)
        out |= {
            f"{what} {number} raw": raw,
            f"{what} {number} hex": share.encode(),
            f"{what} {number} base64": base64.b64encode(raw),
        }
    return out


def keys_of(path: Path, shares: Iterable[str]) -> dict[str, bytes]:
    """Every key of the vault in the LMDB store at ``path``, by the way that an unseal takes."""
    store = open_store({"path": str(path)})
    try:
        record = drive(read_seal(store))
        terms = drive(store.get(KEYRING))
        assert terms is not None
        with _box(shares).combine() as unseal_key:
            keys = {"unseal key": bytes(unseal_key.view())}
        with open_root(_box(shares), record.root) as root_key:
            keys["root key"] = bytes(root_key.view())
            with aead.unwrap(root_key, SEAL_KEYRING_KEY, record.keyring_key) as keyring_key:
                keys["keyring key"] = bytes(keyring_key.view())
                with Keyring.open(keyring_key, terms.value) as keyring:
                    keys |= {f"term {term.number}": bytes(term.key.view()) for term in keyring.terms}
    finally:
        drive(store.close())
    assert all(any(key) for key in keys.values())
    return keys


def _box(shares: Iterable[str]) -> ShareBox:
    box = ShareBox("")
    for share in shares:
        box.add(parse_share(share))
    return box
