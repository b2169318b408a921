"""The audit devices that are enabled, as the store keeps them, and the list of file targets that a sealed node reads.

Format: docs/formats/audit-line.md, "What is stored". Every change is one commit that also rewrites that list and moves
the namespace's epoch, so other processes open or close the device too.
"""

import base64
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from strongroom.core import layout
from strongroom.crypto.chain import SEED
from strongroom.errors import BadRequest, Conflict, IntegrityError, StorageFailed
from strongroom.sdk.fields import parse_bool
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Entry, Pairs, Write

SALT_BYTES = 32
MAX_DEVICES = 64
MAX_PATH = 256  # characters
_TRIES = 20
_SPACE = re.compile(r"[\x00-\x20\x7f]")


class DeviceEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device. ``salt`` keys its HMACs, ``seed`` signs its checkpoints; neither leaves the vault."""

    path: str  # with its trailing slash: "file/"
    type: str
    description: str = ""
    options: dict[str, str] = {}
    local: bool = False
    salt: str = ""  # base64 of SALT_BYTES random bytes
    seed: str = ""  # base64 of the 32 bytes of an Ed25519 key
    configured: bool = False  # from the configuration file; the API cannot remove it

    def __repr__(self) -> str:
        return f"DeviceEntry(path={self.path!r}, type={self.type!r})"

    def key(self) -> bytes:
        """The salt's bytes."""
        return base64.b64decode(self.salt)


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that a sealed node writes its records to."""

    type: str
    file_path: str
    fsync: bool = False
    chain: bool = False


class _Targets(msgspec.Struct, frozen=True):
    version: int
    targets: tuple[Target, ...]


class AuditStore(Protocol):
    """The barrier, as far as audit devices need it."""

    async def get(self, key: str) -> Entry | None: ...

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs: ...

    async def commit(
        self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}, clear: Sequence[Write] = ()
    ) -> None: ...


class ClearStore(Protocol):
    """The store below the barrier, as far as a sealed node needs it."""

    async def get(self, key: str) -> Entry | None: ...


def device_path(text: str) -> str:
    """``text`` as a device's path with its one trailing slash. Raises BadRequest."""
    parts = text.strip("/").split("/")
    if not all(parts) or any(part in (".", "..") for part in parts) or len(text) > MAX_PATH or _SPACE.search(text):
        raise BadRequest("the path of an audit device must be a name without blanks")
    return "/".join(parts) + "/"


def new_entry(
    path: str,
    kind: str,
    *,
    description: str = "",
    options: Mapping[str, str] = {},
    local: bool = False,
    configured: bool = False,
    rng: Callable[[int], bytes] = os.urandom,
) -> DeviceEntry:
    """A device with a salt of its own. Raises BadRequest for an unusable path, type or description."""
    if not kind:
        raise BadRequest("missing type: an audit device needs one, such as 'file'")
    if len(description) > 1024 or sum(len(k) + len(v) for k, v in options.items()) > 16384:
        raise BadRequest("the description or the options of an audit device are too long")
    return DeviceEntry(
        path=device_path(path),
        type=kind,
        description=description,
        options=dict(options),
        local=local,
        salt=base64.b64encode(rng(SALT_BYTES)).decode(),
        seed=base64.b64encode(rng(SEED)).decode(),
        configured=configured,
    )


def with_seed(entry: DeviceEntry, rng: Callable[[int], bytes] = os.urandom) -> DeviceEntry:
    """``entry`` with a key to sign with, for a device of a time when there was none."""
    return msgspec.structs.replace(entry, seed=base64.b64encode(rng(SEED)).decode())


class DeviceTable:
    """The entries of one namespace in the store."""

    __slots__ = ("_epoch", "_ns", "_store")

    def __init__(self, store: AuditStore, namespace: str = ROOT_NAMESPACE) -> None:
        self._store, self._ns = store, namespace
        self._epoch = layout.epoch(namespace)

    async def load(self) -> list[DeviceEntry]:
        """All entries, sorted by path. Raises IntegrityError if one of them cannot be read."""
        found = await self._store.scan(layout.audit_prefix(self._ns), limit=MAX_DEVICES + 1)
        try:
            return [msgspec.json.decode(entry.value, type=DeviceEntry) for _, entry in found]
        except msgspec.MsgspecError as error:
            raise IntegrityError("an audit device in the store cannot be read") from error

    async def add(self, entry: DeviceEntry) -> None:
        """Store a new device. Raises BadRequest if its path is taken."""

        def change(devices: list[DeviceEntry]) -> list[DeviceEntry]:
            check_free(entry.path, devices)
            return [*devices, entry]

        await self.change(change)

    async def remove(self, path: str) -> bool:
        """Forget a device. False if there is none at ``path``. Raises BadRequest if the configuration declares it."""

        def change(devices: list[DeviceEntry]) -> list[DeviceEntry]:
            for device in devices:
                if device.path == path and device.configured:
                    raise BadRequest("this audit device is declared in the configuration and is removed there")
            return [device for device in devices if device.path != path]

        before, after = await self.change(change)
        return len(after) < len(before)

    async def change(
        self, change: Callable[[list[DeviceEntry]], list[DeviceEntry]]
    ) -> tuple[list[DeviceEntry], list[DeviceEntry]]:
        """Commit what ``change`` makes of today's entries, unless it is the same; the entries before and after.

        Raises:
            StorageFailed: others kept changing the namespace at the same time.
        """
        for _ in range(_TRIES):
            epoch = await self._store.get(self._epoch)
            before = await self.load()
            after = change(before)
            if after == before:
                return before, after
            old = {device.path: device for device in before}
            new = {device.path: device for device in after}
            writes = [
                Write(layout.audit(self._ns, p), msgspec.json.encode(d)) for p, d in new.items() if old.get(p) != d
            ]
            for path in old.keys() - new.keys():
                writes += [Write(layout.audit(self._ns, path), None), Write(layout.audit_heads(self._ns, path), None)]
            try:
                await self._store.commit(
                    [*writes, Write(self._epoch, b"1")],
                    expect={self._epoch: epoch.revision if epoch else 0},
                    clear=[Write(layout.AUDIT_TARGETS, targets_json(after))],
                )
            except Conflict:
                continue
            return before, after
        raise StorageFailed("the audit devices could not be changed: too many changes at the same time")


def chained(entry: DeviceEntry) -> bool:
    """Whether the lines of a device are chained: as its option ``chain`` says, else those of a file are."""
    said = entry.options.get("chain", "")
    if said:
        return parse_bool(said, name="chain")
    target = entry.options.get("file_path") or entry.options.get("path")
    return entry.type == "file" and target != "stdout"


def check_free(path: str, devices: Sequence[DeviceEntry]) -> None:
    """Raises BadRequest if ``path`` is taken, lies under a device or above one, or there are too many devices."""
    for device in devices:
        if path.startswith(device.path) or device.path.startswith(path):
            raise BadRequest(f"path already in use: an audit device is enabled at {device.path}")
    if len(devices) >= MAX_DEVICES:
        raise BadRequest(f"no more than {MAX_DEVICES} audit devices can be enabled")


def targets_of(devices: Sequence[DeviceEntry]) -> tuple[Target, ...]:
    """What a sealed node may know of ``devices``: type and file of each that writes to a file, and nothing else."""
    return tuple(
        dict.fromkeys(
            Target(device.type, path, parse_bool(device.options.get("fsync", ""), name="fsync"), chain=chained(device))
            for device in devices
            if (path := device.options.get("file_path") or device.options.get("path"))
        )
    )


def targets_json(devices: Sequence[DeviceEntry]) -> bytes:
    """The clear list."""
    return msgspec.json.encode(_Targets(1, targets_of(devices)))


async def read_targets(store: ClearStore) -> tuple[Target, ...]:
    """The clear list of the store below the barrier; empty where there is none.

    Raises:
        StorageFailed: the list is there and is not one; a sealed node must not go on unrecorded.
    """
    entry = await store.get(layout.AUDIT_TARGETS)
    if entry is None:
        return ()
    try:
        return msgspec.json.decode(entry.value, type=_Targets).targets
    except msgspec.MsgspecError as error:
        raise StorageFailed("the list of audit targets cannot be read") from error
