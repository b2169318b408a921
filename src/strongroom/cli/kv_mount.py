"""Finding the mount behind a key: which path it has, and whether it keeps versions."""

from typing import NamedTuple

from strongroom.cli.command import value
from strongroom.cli.session import Session, sanitise
from strongroom.client import calls
from strongroom.client.messages import Refused

MOUNT = value("mount", "Path of the mount; KEY is then below it.")


class Place(NamedTuple):
    """A key in a mount. Without versions there are no areas."""

    mount: str  # "secret/"
    key: str  # "a/b"
    versioned: bool

    def path(self, area: str) -> str:
        """The API path of the key in ``area`` (data, metadata, delete, ...)."""
        return calls.kv_path(self.mount, area if self.versioned else "", self.key)


def find(session: Session, key: str, mount: str | None) -> Place:
    """Ask the server which mount serves ``key``.

    A server that does not know the question (404) has version 1. Other refusals are raised as they are.
    """
    key = sanitise(key)
    named = sanitise(mount or "")
    asked = named or key
    try:
        found = session.call(calls.mount_of(asked), aside=True).data
    except Refused as refusal:
        if refusal.code != 404:
            raise
        return Place(named, key, versioned=False) if named else Place(*_first(key), versioned=False)
    path = str(found.get("path") or "").strip("/")
    options = found.get("options")
    version = options.get("version") if isinstance(options, dict) else None
    if named:
        below = named.removeprefix(path).strip("/") if path else ""
        return Place(f"{path or named}/", calls.kv_path(below, "", key), str(version) == "2")
    if path and (key == path or key.startswith(f"{path}/")):
        return Place(f"{path}/", key[len(path) :].strip("/"), str(version) == "2")
    return Place(*_first(key), str(version) == "2")


def _first(key: str) -> tuple[str, str]:
    head, _, rest = key.partition("/")
    return f"{head}/", rest
