"""A vault folder for tests of kubevault, made of what a test says."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strongroom.kubevault import making
from strongroom.kubevault.folder import Folder
from strongroom.kubevault.making import Made, Wanted

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def vault(folder: Path, secrets: Mapping[str, str | bytes], users: Mapping[str, str] = {}) -> Path:
    """A vault below ``folder``: ``secrets`` and ``users`` are texts by path."""
    made = folder / "vault"
    for room, files in (("kvstore", secrets), ("access_control", users)):
        (made / room).mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            file = made / room / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return made


def clear(data: bytes, path: str, where: str) -> bytes:
    """No file is encrypted."""
    return data


def make(folder: Path, **wanted: Any) -> Made:
    """What is made of the vault."""
    return making.make(Folder(folder), Wanted(**wanted), clear, now=NOW)


def objects(folder: Path, **wanted: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects by kind and name."""
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in make(folder, **wanted).objects()}


def problems(folder: Path, **wanted: Any) -> list[str]:
    """What keeps the vault from being used, as ``path: code``."""
    from strongroom.kubevault.tree import Invalid

    try:
        make(folder, **wanted)
    except Invalid as error:
        return [
            f"{problem.where.removeprefix(f'{folder}/')}:{problem.line} {problem.code}" for problem in error.problems
        ]
    return []
