"""The commands ``kv undelete``, ``destroy``, ``rollback`` and ``enable-versioning``."""

from strongroom.cli import terminal
from strongroom.cli.command import argument, command, value
from strongroom.cli.hints import Failed, Misused, NothingThere
from strongroom.cli.kv import parse_versions
from strongroom.cli.kv_mount import MOUNT, find
from strongroom.cli.session import Session, sanitise
from strongroom.client import calls

VERSIONS = value("versions", "Versions, as 1,2; may be repeated.", many=True)
NO_VERSIONS = "this mount has no versions"
HOW_ON = "kv enable-versioning turns them on"


@command("undelete", VERSIONS, MOUNT, argument("key"))
def undelete(session: Session, key: str, mount: str | None, versions: tuple[str, ...]) -> int:
    """Bring deleted versions of KEY back."""
    return _change(session, "undelete", key, mount, versions)


@command("destroy", VERSIONS, MOUNT, argument("key"))
def destroy(session: Session, key: str, mount: str | None, versions: tuple[str, ...]) -> int:
    """Remove versions of KEY for good."""
    return _change(session, "destroy", key, mount, versions)


def _change(session: Session, area: str, key: str, mount: str | None, versions: tuple[str, ...]) -> int:
    if not versions:
        raise Misused("no versions are given", "name them with -versions=1,2")
    numbers = parse_versions(versions)
    place = find(session, key, mount)
    if not place.versioned:
        raise Failed(NO_VERSIONS, HOW_ON, code=1)
    path = place.path(area)
    return session.show_written(session.call(calls.kv_versions(path, numbers)), f"Success! Data written to: {path}")


@command("rollback", value("version", "Version to take the data of.", kind=int), MOUNT, argument("key"))
def rollback(session: Session, key: str, mount: str | None, version: int | None) -> int:
    """Write the data of an earlier version of KEY as its newest version."""
    if version is None or version <= 0:
        raise Misused("-version must be given, as a number above 0")
    place = find(session, key, mount)
    if not place.versioned:
        raise Failed(NO_VERSIONS, HOW_ON)
    path = place.path("data")
    current = session.read(calls.read(path), aside=True)
    metadata = current.data.get("metadata") if current else None
    if not isinstance(metadata, dict) or not metadata.get("version"):
        raise NothingThere(f"no value found at {path}")
    old = session.read(calls.read(path, {"version": str(version)}), aside=True)
    data = old.data.get("data") if old else None
    if not isinstance(data, dict):
        raise NothingThere(f"version {version} of {path} is missing, deleted or destroyed")
    body = {"data": data, "options": {"cas": metadata["version"]}}
    return session.show_written(session.call(calls.write(path, body)), f"Success! Data written to: {path}")


@command("enable-versioning", argument("mount"))
def enable_versioning(session: Session, mount: str) -> int:
    """Make the version 1 mount at MOUNT keep versions from now on."""
    path = sanitise(mount)
    answer = session.call(calls.mount_tune(path, {"options": {"version": "2"}}))
    terminal.warn(answer.warnings)
    terminal.say(f"Success! Tuned the secrets engine at: {path}/")
    return 0
