"""How far the chains of sealed processes had come when these ended, for whoever unseals the vault to sign.

A sealed node has no key to sign with. Without this note nothing would ever vouch for the first lines of every log: a
server answers before it is initialised, and the process that saw the shares is replaced. The note is in clear, below
the barrier; what it states is proved from the checkpoint on that takes it over (docs/formats/audit-chain.md).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from strongroom.core import layout
from strongroom.core.audit_chain import Head
from strongroom.core.audit_device import Device
from strongroom.sdk.storage import Storage, Write

MOST = 64  # notes that are taken over at once; more wait for the next unseal


class _Note(msgspec.Struct):
    target: str  # the file
    head: Head


class Left(NamedTuple):
    """A note: the chain of ``writer`` on ``target`` had come to ``head``."""

    key: str
    target: str
    writer: str
    head: Head


async def leave(store: Storage, devices: Iterable[Device]) -> None:
    """Note the chains of a sealed process that ends. ``store``: below the barrier. Raises what the store raises.

    Nothing is written into a store without a vault: whoever initialises it finds it empty.
    """
    notes = [
        Write(layout.AUDIT_LEFT + writer, msgspec.json.encode(_Note(target(device), head)))
        for device in devices
        if device.chain is not None and device.chain.signer is None
        for writer, head in device.chain.unsaid().items()
    ]
    if notes and await store.get(layout.FORMAT) is not None:
        await store.commit(notes[-MOST:])


async def left(store: Storage) -> list[Left]:
    """The notes that nobody took over yet; what is no note is passed over."""
    found = []
    for name, entry in await store.scan(layout.AUDIT_LEFT, limit=MOST):
        try:
            note = msgspec.json.decode(entry.value, type=_Note)
        except msgspec.MsgspecError:
            continue
        writer = name.rpartition("/")[2]
        found.append(Left(layout.AUDIT_LEFT + writer, note.target, writer, note.head))
    return found


def take_over(notes: Iterable[Left], devices: Iterable[Device]) -> dict[str, tuple[Device, str]]:
    """Let the next checkpoint of each device state what was left on its target; key -> device and writer."""
    taken = {}
    for device in devices:
        chain = device.chain
        if chain is None or chain.signer is None:
            continue
        for note in notes:
            if note.target == target(device):
                known = chain.known.get(note.writer)
                if known is None or known[0] < note.head[0]:
                    chain.past[note.writer] = note.head
                taken[note.key] = device, note.writer
    return taken


async def forget(store: Storage, taken: Mapping[str, tuple[Device, str]]) -> list[str]:
    """Remove the notes that a checkpoint has stated by now; returns their keys."""
    done = [key for key, (device, writer) in taken.items() if device.chain is None or writer not in device.chain.past]
    if done:
        await store.commit([Write(key, None) for key in done])
    return done


def target(device: Device) -> str:
    """The file that ``device`` writes to."""
    options = device.entry.options
    return options.get("file_path") or options.get("path") or ""
