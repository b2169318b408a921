"""The commands ``kv metadata get``, ``put``, ``patch``, ``delete`` and ``list``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, switch, value
from strongroom.cli.hints import Failed, Misused, NothingThere
from strongroom.cli.kv_mount import MOUNT, Place, find
from strongroom.cli.kv_versions import HOW_ON, NO_VERSIONS
from strongroom.cli.session import Session
from strongroom.cli.words import parse_pairs
from strongroom.client import calls

METADATA = Group(
    "metadata",
    {
        "get": "kv_metadata:get",
        "put": "kv_metadata:put",
        "patch": "kv_metadata:patch",
        "delete": "kv_metadata:delete",
        "list": "kv:list_keys",
    },
    "Work with what is kept about a key: its versions, settings and custom metadata.",
)

SETTINGS = (
    switch("cas-required", "Whether every write must name the current version."),
    value("max-versions", "How many versions are kept; 0 is the mount's setting.", kind=int),
    value("delete-version-after", "How long a version lives, as 72h; -1s is for ever."),
    value("custom-metadata", "key=value kept with the key; may be repeated.", many=True),
)


@command("get", MOUNT, argument("key"), field=True)
def get(session: Session, key: str, mount: str | None) -> int:
    """Show the metadata of KEY and of its versions."""
    path = _versioned(session, key, mount).path("metadata")
    answer = session.read(calls.read(path))
    if answer is None:
        raise NothingThere(f"no value found at {path}")
    if session.field or session.form != "table" or (answer.body or {}).get("wrap_info"):
        return session.show_answer(answer)
    terminal.warn(answer.warnings)
    about = dict(answer.data)
    versions = about.pop("versions", None) or {}
    terminal.say(output.path_block("Metadata Path", path))
    terminal.say(f"{output.data_title('Metadata', about)}\n{output.data_table(about)}")
    for number in sorted(versions, key=lambda text: int(text) if str(text).isdigit() else 0):
        entry = versions[number]
        if isinstance(entry, dict):
            terminal.say(f"\n{output.data_title(f'Version {number}', entry)}\n{output.data_table(entry)}")
    return 0


@command("put", *SETTINGS, MOUNT, argument("key"))
def put(session: Session, key: str, mount: str | None, **flags: Any) -> int:
    """Set the settings and the custom metadata of KEY; custom metadata is replaced as a whole."""
    path = _versioned(session, key, mount).path("metadata")
    answer = session.call(calls.write(path, _body(flags, {})))
    return session.show_written(answer, f"Success! Data written to: {path}")


@command(
    "patch",
    *SETTINGS,
    value("remove-custom-metadata", "Name of custom metadata to remove; may be repeated.", many=True),
    MOUNT,
    argument("key"),
)
def patch(session: Session, key: str, mount: str | None, remove_custom_metadata: tuple[str, ...], **flags: Any) -> int:
    """Change some settings or some custom metadata of KEY; the others stay."""
    body = _body(flags, dict.fromkeys(remove_custom_metadata, None))
    if not body:
        raise Misused("nothing is given to change")
    path = _versioned(session, key, mount).path("metadata")
    answer = session.call(calls.patch(path, body))
    return session.show_written(answer, f"Success! Data written to: {path}")


@command("delete", MOUNT, argument("key"))
def delete(session: Session, key: str, mount: str | None) -> int:
    """Remove KEY with all its versions, for good."""
    path = _versioned(session, key, mount).path("metadata")
    answer = session.call(calls.delete(path))
    return session.show_written(answer, f"Success! Data deleted (if it existed) at: {path}")


def _versioned(session: Session, key: str, mount: str | None) -> Place:
    place = find(session, key, mount)
    if not place.versioned:
        raise Failed(NO_VERSIONS, HOW_ON, code=1)
    return place


def _body(flags: dict[str, Any], removed: dict[str, None]) -> dict[str, Any]:
    custom: dict[str, str | None] = {**parse_pairs(flags.pop("custom_metadata"), "custom-metadata"), **removed}
    body = {name: given for name, given in flags.items() if given is not None}
    return {**body, "custom_metadata": custom} if custom else body
