"""How a key becomes a file name that a person recognises and no file system misreads.

    app/db          data/app/db.entry
    app/            data/app/
    Team A/x        data/%54eam%20%41/x.entry       all but a-z 0-9 - _ . is escaped, so case-blind disks do no harm
    .hidden         data/%2ehidden.entry            a leading dot is escaped: neither "." nor ".." can arise
    x.entry/y       data/x%2eentry/y.entry          a folder never ends in ".entry"
    200 x ... 99    data/xxx...~/999.entry          a name over 200 characters goes on in a folder ending in "~"

A key whose path would be over 900 characters lies in ``long/`` under its hash; each file names its key inside.
"""

from hashlib import blake2b

ENTRY = ".entry"
MORE = "~"
PIECE = 200  # characters of one file name; file systems take 255 bytes
MAX_PATH = 900  # characters below the store's folder; macOS takes 1024 in all
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_EMPTY = "%00"  # a//b; no key holds a NUL
_TOKEN = [chr(byte) if byte in _SAFE else f"%{byte:02x}" for byte in range(256)]


def pieces(component: bytes) -> list[str]:
    """The file names that stand for one component of a key, all but the last ending in ``MORE``."""
    if not component:
        return [_EMPTY]
    found: list[str] = []
    piece = ""
    for byte in component:
        token = _TOKEN[byte]
        if len(piece) + len(token) > PIECE:
            found.append(piece + MORE)
            piece = ""
        piece += "%2e" if token == "." and not piece else token
    if piece.endswith(ENTRY):
        piece = piece[: -len(ENTRY)] + "%2e" + ENTRY[1:]
    found.append(piece)
    return found


def text(name: str) -> bytes:
    """What a piece (without its ``MORE`` or ``ENTRY``) stands for.

    Raises:
        ValueError: it is no name of ours.
    """
    if name == _EMPTY:
        return b""
    if "%" not in name:
        return name.encode("ascii")
    head, *rest = name.split("%")
    return head.encode("ascii") + b"".join(bytes.fromhex(part[:2]) + part[2:].encode("ascii") for part in rest)


def folder_path(folder: bytes) -> str:
    """Where the keys under ``folder`` ("" or with its final slash) lie."""
    names = [name for component in folder.split(b"/")[:-1] for name in pieces(component)]
    return "/".join(["data", *names])


def entry_path(key: bytes) -> str:
    """Where the entry of ``key`` lies, relative to the store's folder."""
    path = "/".join(["data", *(name for component in key.split(b"/") for name in pieces(component))]) + ENTRY
    if len(path) <= MAX_PATH:
        return path
    return f"long/{blake2b(key, digest_size=32).hexdigest()}{ENTRY}"
