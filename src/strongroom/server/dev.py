"""Servers for development: ``server -dev`` (keeps nothing) and ``make serve`` (keeps its data and its share).

The first worker initialises and unseals; what it prints, it alone has seen. The supervisor learns no share.
"""

import os
import sys
from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.server.node import Node

KEEP_FILE = "development-keys.json"


class BringUp(msgspec.Struct, frozen=True, kw_only=True):
    """What the first worker is to do."""

    root_token: str = ""  # "" = a random one
    keep: str = ""  # file for share and root token; "" = kept nowhere
    mount_kv: bool = True
    notes: tuple[str, ...] = ()  # lines to print behind the keys

    def __repr__(self) -> str:
        return "BringUp()"


class Kept(msgspec.Struct, frozen=True):
    """What the 0600 file beside the data holds."""

    unseal_key: str
    root_token: str

    def __repr__(self) -> str:
        return "Kept()"


async def bring_up(node: Node, wish: dict[str, Any]) -> bool:
    """Initialise (or take the kept share), unseal, mount ``secret/``, and print.

    Returns:
        False if the kept share does not unseal (the vault was rekeyed): it stays sealed.

    Raises:
        BadRequest: the vault was initialised before and its share is not in the file.
    """
    want = msgspec.convert(wish, BringUp)
    kept = _read(want.keep) if want.keep else None
    if kept is None:
        try:
            made = await node.initialize(1, 1, root_token=want.root_token)
        except BadRequest as error:
            where = f": its share is not in {want.keep}" if want.keep else ""
            raise BadRequest(f"{error}{where}") from error
        kept = Kept(made.keys_base64[0], made.root_token)
        if want.keep:
            _write(want.keep, kept)
    told, node.on_transition = node.on_transition, None
    try:
        await node.unseal(kept.unseal_key)
    except BadRequest:
        pass
    if node.sealed:
        node.on_transition = told
        _say(f"WARNING: the share in {want.keep} does not unseal this vault; unseal it by hand")
        return False
    if want.mount_kv:
        await node.enable_kv("secret")
    node.on_transition = told
    lines = [f"Unseal Key: {kept.unseal_key}", f"Root Token: {kept.root_token}", *want.notes]
    _say("\n".join(lines).replace("{root_token}", kept.root_token))
    return True


def _say(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:
        pass  # nobody reads


def _read(path: str) -> Kept | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from None
    with open(fd, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise BadRequest(f"{path} lets other users in; run: chmod 600 {path}")
        try:
            return msgspec.json.decode(file.read(65536), type=Kept)
        except msgspec.DecodeError:
            raise BadRequest(f"{path} is damaged") from None


def _write(path: str, kept: Kept) -> None:
    """0600, whole or not at all, on disk before the vault is used."""
    part = path + ".part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o600)
        file.write(msgspec.json.encode(kept))
        file.flush()
        os.fsync(fd)
    os.rename(part, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
