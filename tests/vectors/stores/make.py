"""Writes the golden stores of this release: ``python make.py FOLDER`` makes FOLDER/lmdb-1 and FOLDER/file-1."""

import os
import sys
from pathlib import Path

from strongroom.sdk.storage import Write
from strongroom.storage import file, lmdb
from strongroom.storage.completion import drive

CONTENT = {
    "core/format": b'{"version":1}',
    "core/seal-config": b"{}",
    "ns/root/epoch": b"",
    "ns/root/policy/dev": bytes(range(256)),
    "ns/root/data/u/Team A/\u00e9t\u00e9": b"unicode",
    "ns/root/data/u/" + "k" * 465: b"480 bytes of key",
    "ns/root/data/u/" + "k" * 466: b"481 bytes of key",
    "ns/root/data/u/" + "k" * 4081: b"4096 bytes of key",
    "a": b"also a folder",
    "a/b": b"x",
    "a//b": b"empty component",
    "big": b"0123456789abcdef" * 512,
}
REVISIONS = len(CONTENT) + 2  # the greatest revision at least: one commit each, and two for a deleted key


def main(folder: Path) -> None:
    for name, store in (
        ("lmdb-1", lmdb.open_store({"path": folder / "lmdb-1", "map_size": 1 << 20})),
        ("file-1", file.open_store({"path": folder / "file-1"})),
    ):
        drive(store.commit([Write("deleted", b"1")]))
        drive(store.commit([Write("deleted", None)]))
        for key, value in CONTENT.items():
            drive(store.commit([Write(key, value)]))
        drive(store.close())
        for lock in ("lock.mdb", "lock"):
            if (folder / name / lock).exists():
                os.unlink(folder / name / lock)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
